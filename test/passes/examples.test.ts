// The examples in their tiny configuration, pass by pass: numbers, text, verifier; and how many kernels come out.

import { describe, expect, it } from "vitest";
import type { Graph } from "../../src/ir/graph.ts";
import { printGraph } from "../../src/ir/print.ts";
import { baseline } from "../../src/ir/target.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { pipeline } from "../../src/passes/pipeline.ts";
import { choosePasses, runPasses } from "../../src/passes/run.ts";
import { elaborateFile, graphOf } from "../elaborate/support.ts";
import { breaches, numbersFor, outputsOf } from "./contract.ts";
import { readGraph } from "./goldens.ts";

const run = (graph: Graph, options: Partial<Parameters<typeof runPasses>[1]> = {}) =>
  runPasses(graph, { target: baseline, lookup: lookupOp, ...options });
const groups = (graph: Graph) => graph.nodes.filter((n) => n.op.name === "group");

const models = [
  ["digits_poolformer", {}, { B: 2 }],
  ["poolformer", { head: "timm" }, { B: 2, H: 64, W: 96 }],
  ["poolformer", { head: "original", taps: "true" }, { B: 1, H: 64, W: 96 }],
  ["digits_vit", {}, { B: 2 }],
  ["vit", {}, { B: 1 }],
] as const;

// Software on a busy machine is slow; these are not tests of speed.
const patience = 120_000;

describe.each(models)("tiny %s %o", { timeout: patience }, (name, set, dims) => {
  const graph = graphOf(elaborateFile(`examples/${name}.model`, { config: "tiny", set }));

  it("keeps every pass's contract, and its text reads back", () => {
    const numbers = numbersFor(graph, dims);
    let before = outputsOf(graph, numbers);
    const { steps } = run(graph);
    expect(steps.map((s) => s.pass.name)).toEqual(choosePasses({}).map((p) => p.name));
    for (const { pass, after, changed } of steps) {
      const text = printGraph(after);
      expect(printGraph(readGraph(text, `${pass.name}.ir`)), pass.name).toBe(text);
      if (!changed) continue;
      const now = outputsOf(after, numbers);
      expect(breaches(before, now, pass.numerics), pass.name).toEqual([]);
      before = now;
    }
  });

  it("works with any one pass switched off", () => {
    const numbers = numbersFor(graph, dims);
    const meaning = outputsOf(graph, numbers);
    for (const pass of pipeline.filter((p) => p.level === 1)) {
      const { graph: result } = run(graph, { without: [pass.name] });
      expect(breaches(meaning, outputsOf(result, numbers), "reassociates"), pass.name).toEqual([]);
    }
  });
});

describe("PoolFormer-S12", { timeout: patience }, () => {
  const s12 = (head: string) =>
    run(graphOf(elaborateFile("examples/poolformer.model", { config: "s12", set: { head } }))).graph;

  it("is 68 kernels with timm's head, 67 with the authors'", () => {
    expect(groups(s12("timm"))).toHaveLength(68);
    expect(groups(s12("original"))).toHaveLength(67);
  });

  it("has five kernels in a block", () => {
    const inBlock = groups(s12("timm")).filter((n) => n.scope.startsWith("stages.2.blocks.3"));
    expect(inBlock.map((n) => n.attrs["name"])).toEqual([
      "mean_rsqrt",
      "avg_pool2d",
      "mean_rsqrt",
      "conv2d_gelu",
      "conv2d_add",
    ]);
    // The bias of the first norm is dead.
    const read = new Set(s12("timm").nodes.flatMap((n) => n.inputs));
    expect(read.has("$stages.2.blocks.3.norm1.weight")).toBe(true);
    expect(read.has("$stages.2.blocks.3.norm1.bias")).toBe(false);
  });
});
