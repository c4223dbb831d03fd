// The history of a node: which pass changed it, by which rule and which equation, and what stands for it in the end.

import { describe, expect, it } from "vitest";
import { explainNode, Lineage } from "../../src/explain/lineage.ts";
import { graphAt } from "../../src/explain/replay.ts";
import { explainedFile, explainedText, firstToken, poolformer } from "./support.ts";

const { doc } = explainedFile(poolformer, { config: "tiny" }, { dims: { B: 2, H: 64, W: 64 } });
const entry = doc.entries[0]!;

describe("the history of a node", () => {
  it("names the pass, the rule and its equation", () => {
    const a = explainNode(doc, entry, "%3")!;
    expect(a.text).toContain("%3 = sub %2, %1");
    expect(a.firstStep).toBe(0);
    const first = a.history[0]!;
    expect([first.pass, first.kind]).toEqual(["pool-mixer", "changed"]);
    expect(first.fired[0]!.rule).toBe("mixer-of-norm");
    expect(first.fired[0]!.equation).toContain("pool(n) - n =");
    expect(a.history.at(-1)!.kind).toBe("removed");
  });

  it("says what a node that is gone became", () => {
    const last = new Set(graphAt(entry, entry.steps.length).nodes.map((n) => n.id));
    for (const n of entry.nodes) {
      const { became, lastStep } = explainNode(doc, entry, n.id)!;
      for (const id of became) expect(last.has(id), `${n.id} became ${id}`).toBe(true);
      if (lastStep < entry.steps.length && !n.prepared) expect(became.length, n.text).toBeGreaterThan(0);
    }
  });

  it("says why a node was left out of a group", () => {
    const refused = entry.steps.at(-1)!.refused[0]!;
    const a = explainNode(doc, entry, refused.node)!;
    expect(a.refused).toContainEqual({ pass: "form-groups", rule: refused.rule, reason: refused.reason });
  });

  it("knows no node that never was", () => expect(explainNode(doc, entry, "%nope")).toBeUndefined());

  it("follows nodes that took over another's id", () => {
    const e = explainedText("first.model", firstToken, {}, { dims: { B: 2, T: 32 } }).doc.entries[0]!;
    const lineage = new Lineage(e);
    const last = new Set(graphAt(e, e.steps.length).nodes.map((n) => n.id));
    for (const n of e.nodes.filter((x) => x.op === "linear" || x.op === "gelu"))
      expect(
        lineage.descendants(0, n.id).some((id) => last.has(id)),
        n.text,
      ).toBe(true);
  });
});
