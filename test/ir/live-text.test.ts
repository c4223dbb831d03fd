// Live positions as remarks of a dump: what they say, and that the text is the same graph.

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { liveRemarks } from "../../src/ir/live-text.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { printGraph } from "../../src/ir/print.ts";
import { lookupOp } from "../../src/index.ts";
import { explainedFile, explainedText, firstToken } from "../explain/support.ts";

const graphOf = (text: string) => explainedText("m.model", text).compiled.module.graphs[0]!;

it("say which positions are wanted, and nothing where all are", () => {
  const graph = graphOf(firstToken);
  const remark = liveRemarks(graph);
  const said = new Map(graph.nodes.map((n) => [n.op.name, remark(n)]));
  expect(said.get("gelu")).toBe("live [:, 0:1, :]");
  expect(said.get("reshape")).toBeUndefined();
});

it("name the value that chooses positions when the model runs", () => {
  const { compiled } = explainedFile("examples/mistral_embed.model", { config: "tiny" });
  const graph = compiled.module.graphs[0]!;
  const remark = liveRemarks(graph);
  const chosen = graph.nodes.map(remark).find((r) => r?.includes("at %"));
  const id = /at (%\d+)/.exec(chosen!)![1];
  expect(graph.nodes.some((n) => n.results[0]!.id === id)).toBe(true);
});

it("are comments: the text reads back as the graph without them", () => {
  for (const text of [firstToken, readFileSync("examples/digits_vit.model", "utf8")]) {
    const graph = graphOf(text);
    const whole = printGraph(graph, { remark: liveRemarks(graph) });
    expect(whole).toContain(" // live [");
    const read = parseGraphs(whole, "m.ir", lookupOp);
    expect(read.diagnostics).toEqual([]);
    expect(printGraph(read.module!.graphs[0]!)).toBe(printGraph(graph));
  }
});
