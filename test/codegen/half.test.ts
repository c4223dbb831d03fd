// f16 as a storage type: layers and reductions whose numbers are stored in 16 bits and summed in 32, on odd sizes. The interpreter and an
// adapter that has f16 are held against the f64 reference.
//
// The bound: inputs and weights are the same f16 numbers everywhere, sums are in f32, and the result is rounded once, to 11 bits. So a
// single op is within 2^-10 of its largest result, and a chain within that for each of its stored values.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, load } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { seededInputs } from "../models/compare.ts";
import { compileText, differenceOf, openAdapter, seededWeights } from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";

interface Case {
  readonly name: string;
  readonly body: string;
  readonly input: string;
  readonly output: string;
  /** Values that are rounded on the way, the result among them. */
  readonly stored?: number;
}

const tokens = "f16[B, T, 13]";
const image = "f16[B, 6, H, W]";

const cases: readonly Case[] = [
  { name: "linear", input: tokens, output: "f16[B, T, 7]", body: "linear(x, out = 7) @fc" },
  {
    name: "linear and gelu",
    input: tokens,
    output: "f16[B, T, 9]",
    body: "linear(x, out = 9) @fc |> gelu()",
    stored: 2,
  },
  {
    name: "two layers",
    input: tokens,
    output: "f16[B, T, 5]",
    body: "linear(x, out = 26) @a |> relu() |> linear(out = 5) @b",
    stored: 3,
  },
  { name: "matmul", input: tokens, output: "f16[B, T, T]", body: "matmul(x, x, transpose_b = true)" },
  {
    name: "attention",
    input: tokens,
    output: "f16[B, T, 1, 13]",
    body: "attention(unsqueeze(x, axes = [2]), unsqueeze(x, axes = [2]), unsqueeze(x, axes = [2]))",
  },
  {
    name: "conv2d",
    input: image,
    output: "f16[B, 5, h, w]",
    body: "conv2d(x, out = 5, kernel = 3, pad = 1) @c",
  },
  {
    name: "depthwise",
    input: image,
    output: "f16[B, 6, h, w]",
    body: "conv2d(x, out = 6, kernel = 3, stride = 2, pad = 1, groups = 6) @c",
  },
  { name: "layer_norm", input: tokens, output: tokens, body: "layer_norm(x) @norm" },
  { name: "rms_norm", input: tokens, output: tokens, body: "rms_norm(x) @norm" },
  { name: "group_norm", input: image, output: image, body: "group_norm(x, groups = 2) @norm" },
  { name: "softmax", input: tokens, output: tokens, body: "softmax(x)" },
  { name: "mean", input: tokens, output: "f16[B, 13]", body: "mean(x, axes = [1])" },
  { name: "max", input: tokens, output: "f16[B, 13]", body: "reduce_max(x, axes = [1])" },
  { name: "l2", input: tokens, output: tokens, body: "l2_normalize(x, axis = 2)" },
  {
    name: "avg_pool2d",
    input: image,
    output: "f16[B, 6, h, w]",
    body: "avg_pool2d(x, size = 3, stride = 1, pad = 1)",
  },
  {
    name: "adaptive_avg_pool",
    input: image,
    output: "f16[B, 6, 3, 2]",
    body: "adaptive_avg_pool(x, axes = [2, 3], size = [3, 2])",
  },
  {
    name: "mean of a layer",
    input: tokens,
    output: "f16[B, 7]",
    body: "linear(x, out = 7) @fc |> mean(axes = [1])",
    stored: 2,
  },
];

const sizes = [
  { B: 2, T: 7, H: 9, W: 5 },
  { B: 1, T: 1, H: 3, W: 4 },
];

describe("f16", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(cases.map((c) => [c.name, c] as const))("%s", async (_, { input, output, body, stored = 1 }) => {
    const text = `model m (x: ${input}) -> (y: ${output}) {\n  return ${body}\n}\n`;
    const compiled = compileText(text);
    const graph = compiled.module.graphs[0]!;
    const weights = seededWeights([graph]);
    for (const all of sizes) {
      const dims = Object.fromEntries(
        graph.symbols.map((s) => [s.name, all[s.name as keyof typeof all]]),
      ) as Record<string, number>;
      const inputs = seededInputs(graph, dims);
      const wanted = evaluate(graph, weights, inputs, { dims }).outputs["y"]!;
      const scale = Math.max(...Array.from(wanted.data, Math.abs), 2 ** -14);
      const hold = (got: { readonly data: ArrayLike<number> }, where: string) =>
        expect(differenceOf(got.data, wanted.data) / scale, where).toBeLessThanOrEqual(stored * 2 ** -10);
      hold(runPlan(compiled, weights, inputs, dims).outputs["y"]!, "the interpreter");
      if (!opened.target.features.includes("shader-f16")) continue;
      const session = await load(compileText(text, { target: opened.target }), weights, opened.device);
      const got = (await session.run(inputs, { dims }))["y"]!;
      expect(got.dtype).toBe("f16");
      hold(got, opened.name);
      await session.dispose();
    }
  });
});
