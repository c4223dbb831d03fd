// Influences of layers against the definition on tapped tokens, and what has no layers.

import { expect, it } from "vitest";
import { evaluate, type Tensor } from "../../src/index.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { layerScores } from "../../src/passes/layer-scores.ts";
import { seededInputs } from "../models/compare.ts";
import { compileText, seededWeights } from "../models/support.ts";

const encoder = `
import { Attention } from "std/attention"
import { Mlp } from "std/layers"
import { TransformerBlock } from "std/transformer"

model encoder (x: f32[B, 5, 8]) -> (y: f32[B, 5, 8]) {
  output tap[0] = x
  for i in range(3) {
    x = x |> TransformerBlock(attn = Attention(heads = 2), mlp = Mlp) @blocks[i]
    output tap[i + 1] = x
  }
  return x
}
`;

/** The mean over the tokens of each row of cos(before, after). */
function cosines(before: Tensor, after: Tensor): number[] {
  const dot = (a: Tensor, b: Tensor, token: number) =>
    Array.from({ length: 8 }, (_, c) => a.data[token * 8 + c]! * b.data[token * 8 + c]!).reduce(
      (x, y) => x + y,
      0,
    );
  const cosine = (t: number) =>
    dot(before, after, t) / Math.sqrt(dot(before, before, t) * dot(after, after, t));
  const ofRow = (r: number) => Array.from({ length: 5 }, (_, t) => cosine(r * 5 + t));
  return [0, 1, 2].map((r) => ofRow(r).reduce((a, b) => a + b, 0) / 5);
}

it("is the cosine of what goes into a layer and what comes out", () => {
  const graph = compileText(encoder).module.graphs[0]!;
  const scored = layerScores(graph, lookupOp);
  if (typeof scored === "string") throw new Error(scored);
  expect(scored.layers.map((l) => [l.block.name, l.output])).toEqual([
    ["blocks.0", "cosine.0"],
    ["blocks.1", "cosine.1"],
    ["blocks.2", "cosine.2"],
  ]);
  const dims = { B: 3 };
  const weights = seededWeights([graph]);
  const inputs = seededInputs(graph, dims);
  const taps = evaluate(graph, weights, inputs, { dims }).outputs;
  const found = evaluate(scored.graph, weights, inputs, { dims }).outputs;
  for (const i of [0, 1, 2])
    cosines(taps[`tap.${i}`]!, taps[`tap.${i + 1}`]!).forEach((c, r) =>
      expect(found[`cosine.${i}`]!.data[r]).toBeCloseTo(c, 10),
    );
});

it("says why there are none", () => {
  const of = (text: string) => layerScores(compileText(text).module.graphs[0]!, lookupOp);
  expect(of(`model m (x: f32[B, 4]) -> f32[B, 4] { return relu(x) }`)).toContain("no attention");
  expect(of(`model m (x: f32[B, 5, 1, 4]) -> f32[B, 5, 1, 4] { return attention(x, x, x) }`)).toContain(
    "no sum",
  );
});
