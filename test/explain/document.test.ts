// The explain document says what compilation did: its differences give every graph again, its totals are the plan's.

import { readFileSync } from "node:fs";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import {
  annotate,
  explainKernel,
  explainLine,
  explainWeight,
  onLine,
  whyNot,
} from "../../src/explain/answers.ts";
import { explainNode } from "../../src/explain/lineage.ts";
import type { EntryDoc, NodeDoc } from "../../src/explain/document.ts";
import { applyStep, changesOf, graphAt } from "../../src/explain/replay.ts";
import { diffGraphs } from "../../src/ir/diff.ts";
import { printNode } from "../../src/ir/print.ts";
import { explainedFile, explainedText, firstToken, poolformer, type Explained } from "./support.ts";

const tiny = explainedFile(poolformer, { config: "tiny" }, { dims: { B: 2, H: 64, W: 64 } });
const token = explainedText("first.model", firstToken, {}, { dims: { B: 2, T: 32 } });
const entryOf = (e: Explained): EntryDoc => e.doc.entries[0]!;

describe.each([
  ["poolformer", tiny],
  ["first token", token],
])("%s", (_, made) => {
  const entry = entryOf(made);
  const steps = made.compiled.steps[0]!;

  it("gives every graph again from its differences, in order", () => {
    expect(entry.steps.length).toBe(steps.length);
    steps.forEach((s, i) => {
      const { nodes, outputs } = graphAt(entry, i + 1);
      expect(nodes.map((n) => n.text)).toEqual(s.after.nodes.map(printNode));
      expect(outputs.map((o) => o.value)).toEqual(s.after.outputs.map((o) => o.value));
      for (const [k, n] of nodes.entries()) expect(n.places.length).toBe(s.after.nodes[k]!.spans.length);
    });
  });

  it("says the same of each step as the terminal's difference", () => {
    let state = graphAt(entry, 0);
    steps.forEach((s, i) => {
      const changes = changesOf(state, entry.steps[i]!);
      const ids = (kind: string): string[] =>
        [...changes].filter(([, k]) => k === kind).map(([id]) => id).sort(); // prettier-ignore
      const d = diffGraphs(s.before, s.after);
      const of = (list: readonly { readonly results: readonly { readonly id: string }[] }[]): string[] =>
        list.map((n) => n.results[0]!.id).sort();
      expect(ids("removed")).toEqual(of(d.removed));
      expect(ids("added")).toEqual(of(d.added));
      expect(ids("changed")).toEqual(of(d.changed.map((c) => c.after)));
      state = applyStep(state, entry.steps[i]!);
    });
  });

  it("counts the FLOPs of the plan in the nodes of the groups", () => {
    const last = graphAt(entry, entry.steps.length);
    const total = entry.dispatches.reduce((n, d) => n + d.flops, 0);
    expect(total).toBeGreaterThan(0);
    expect(last.cost.flops).toBe(total);
    // A sum in parts is one node and two dispatches.
    const second = entry.dispatches.filter((d) => d.schedule.includes("parts of a sum"));
    expect(last.cost.nodes).toBe(entry.dispatches.length - second.length);
  });

  it("knows what the nodes of a group were before", () => {
    const at = entry.steps.findIndex((s) => made.doc.passes[s.pass]!.name === "form-groups");
    const before = new Map(graphAt(entry, at).nodes.map((n) => [n.id, n]));
    const inside = graphAt(entry, at + 1).nodes.flatMap((n): (readonly [NodeDoc, string])[] =>
      n.body ? n.body.nodes.map((x, i) => [x, n.body!.were[i]!]) : [],
    );
    expect(inside.length).toBeGreaterThan(4);
    for (const [node, was] of inside) expect(before.get(was)?.op).toBe(node.op);
  });

  it("places memory as the plan does", () => {
    const { memory } = entry;
    const alive = memory.lifetimes.filter((l) => l.first <= memory.peakAt && memory.peakAt <= l.last);
    expect(alive.reduce((n, l) => n + l.bytes, 0)).toBe(memory.peakBytes);
    for (const l of memory.lifetimes) expect(l.offset + l.bytes).toBeLessThanOrEqual(memory.arenaBytes);
  });
});

describe("answers", () => {
  const { doc } = token;
  const entry = entryOf(token);
  const line = (n: number) => ({ source: 0, line: n });

  it("a line: its nodes, its passes, its kernels, its weights", () => {
    const a = explainLine(doc, entry, line(2));
    expect(a.text).toBe("h = x |> linear(out = 16) @up");
    expect(a.nodes.map((n) => n.op)).toEqual(["linear"]);
    expect(a.steps.map((s) => s.pass)).toContain("dead-tokens");
    expect(a.dispatches.length).toBe(1);
    expect(a.weights).toEqual(["up.weight", "up.bias"]);
    expect(explainLine(doc, entry, line(7)).nodes).toEqual([]);
  });

  it("live tokens: one of 32 for each of two sequences", () => {
    const rows = annotate(doc, entry, 0);
    const up = rows.find((r) => r.line === 2)!;
    expect([up.tokens, up.liveTokens]).toEqual([64, 2]);
    // 8 x 16 multiply-adds for each live token; dead tokens cost nothing.
    expect(up.flops).toBe(2 * 2 * 8 * 16);
    expect(up.timeShare).toBeUndefined();
  });

  it("shares of a profile: the layers' lines hold all of the time of their kernels", () => {
    const nanoseconds = entry.dispatches.map((_, i) => 1000 * (i + 1));
    const profiled = { ...entry, profile: { adapter: "test", method: "timestamps", nanoseconds } as const };
    const rows = annotate(doc, profiled, 0);
    const down = rows.find((r) => r.line === 5)!;
    const i = entry.dispatches.findIndex((d) => onLine(doc, d.places, line(5)));
    const total = nanoseconds.reduce((a, b) => a + b, 0);
    expect(down.timeShare).toBeGreaterThan(0);
    expect(down.timeShare).toBeLessThanOrEqual(nanoseconds[i]! / total + 1e-12);
  });

  it("a kernel, a weight, a rule", () => {
    const kernel = explainKernel(doc, entry, entry.dispatches.at(-1)!.kernel);
    expect(kernel.wgsl).toContain("@compute");
    expect(kernel.nodes.join("\n")).toContain("linear");
    const weight = explainWeight(doc, entry, "down.weight")!;
    expect(weight.type).toBe("f32[4, 16]");
    expect(weight.dispatches.map((d) => d.kernelName)).toEqual([kernel.name]);
    expect(weight.constants.length).toBe(1);
    expect(explainWeight(doc, entry, "nope")).toBeUndefined();
    const fired = whyNot(doc, entry, "live-positions");
    expect(fired.fired).toBe(2);
    expect(fired.equation).toContain("f(x[live])");
    expect(whyNot(doc, entry, "live-positions", line(5)).fired).toBe(0);
  });

  it("why two operations were not fused", () => {
    const { refused } = whyNot(tiny.doc, entryOf(tiny), "form-groups");
    expect(refused.map((r) => r.reason).join()).toContain("its result is written to memory, because");
    expect(refused.every((r) => r.pass === "form-groups" && r.lines.length > 0)).toBe(true);
  });
});

describe("the published schema", () => {
  const ajv = new Ajv({ strict: false });
  const valid = ajv.compile(JSON.parse(readFileSync("docs/explain.schema.json", "utf8")) as object);
  const check = (value: unknown): void => {
    expect(valid(JSON.parse(JSON.stringify(value))), ajv.errorsText(valid.errors?.slice(-3))).toBe(true);
  };
  const as = (kind: string, value: object) => ({ format: `tokenloom-explain-${kind}`, version: 1, ...value });

  it.each([
    ["poolformer", tiny],
    ["first token", token],
  ])("takes the document and every answer: %s", (_, { doc }) => {
    const entry = doc.entries[0]!;
    check(doc);
    check(as("line", explainLine(doc, entry, { source: 0, line: 2 })));
    check(as("line", explainLine(doc, entry, { source: 0, line: 31 })));
    check(as("kernel", explainKernel(doc, entry, 0)));
    check(as("weight", explainWeight(doc, entry, entry.weights[0]!.key)!));
    check(as("why-not", whyNot(doc, entry, "form-groups")));
    check(as("node", explainNode(doc, entry, entry.nodes[1]!.id)!));
    const file = doc.sources[0]!.name;
    check(as("annotation", { file, dims: entry.dims, lines: annotate(doc, entry, 0) }));
  });

  it("refuses another version and what it does not know", () => {
    const doc = JSON.parse(JSON.stringify(token.doc)) as object;
    expect(valid({ ...doc, version: 2 })).toBe(false);
    expect(valid({ ...doc, more: 1 })).toBe(false);
  });
});
