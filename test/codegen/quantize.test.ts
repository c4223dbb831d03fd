// Weights in 8 and 4 bits, on odd sizes: the interpreter and an adapter are held against the model as it is written, in f64, with weights
// that were rounded by a transcription of the definition.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, load, type Tensor } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { seededInputs } from "../models/compare.ts";
import { compileText, differenceOf, openAdapter, seededWeights } from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";
import { rounded } from "./rounded.ts";

interface Case {
  readonly name: string;
  readonly input: string;
  readonly output: string;
  readonly body: string;
  /** Weights that are quantised, and the axis of their groups. */
  readonly weights: Readonly<Record<string, number>>;
}

const tokens = "f32[B, T, 45]";
const image = "f32[B, 9, H, W]";

const cases: readonly Case[] = [
  {
    name: "linear, columns not by four",
    input: tokens,
    output: "f32[B, T, 7]",
    body: "linear(x, out = 7) @fc",
    weights: { "fc.weight": 1 },
  },
  {
    name: "linear, columns by four and not by eight, and gelu",
    input: tokens,
    output: "f32[B, T, 12]",
    body: "linear(x, out = 12) @fc |> gelu()",
    weights: { "fc.weight": 1 },
  },
  {
    name: "two layers",
    input: tokens,
    output: "f32[B, T, 5]",
    body: "linear(x, out = 32) @a |> relu() |> linear(out = 5) @b",
    weights: { "a.weight": 1, "b.weight": 1 },
  },
  {
    name: "a gate and what it gates",
    input: tokens,
    output: "f32[B, T, 24]",
    body: "silu(linear(x, out = 24) @gate) * (linear(x, out = 24) @up)",
    weights: { "gate.weight": 1, "up.weight": 1 },
  },
  {
    name: "a single row",
    input: "f32[64]",
    output: "f32[36]",
    body: "linear(x, out = 36) @fc",
    weights: { "fc.weight": 1 },
  },
  {
    name: "1x1 convolution",
    input: image,
    output: "f32[B, 8, H, W]",
    body: "conv2d(x, out = 8, kernel = 1) @c",
    weights: { "c.weight": 1 },
  },
  {
    name: "a convolution whose weights are named as images are",
    input: "f32[B, C = 9, H, W]",
    output: "f32[B, C = 8, H, W]",
    body: "conv2d(x, out = 8, kernel = 3, pad = 1) @c",
    weights: { "c.weight": 1 },
  },
  {
    name: "strided convolution",
    input: image,
    output: "f32[B, 6, h, w]",
    body: "conv2d(x, out = 6, kernel = 3, stride = 2, pad = 1) @c",
    weights: { "c.weight": 1 },
  },
];

const ways = [
  { quantize: "int8", group: 128, most: 127 },
  { quantize: "int8:group=8", group: 8, most: 127 },
  { quantize: "int4", group: 32, most: 7 },
  { quantize: "int4:group=7", group: 7, most: 7 },
];

const sizes = [
  { B: 2, T: 7, H: 9, W: 5 },
  { B: 1, T: 1, H: 3, W: 4 },
];

describe("quantised weights", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(cases.map((c) => [c.name, c] as const))("%s", async (_, c) => {
    const text = `model m (x: ${c.input}) -> (y: ${c.output}) {\n  return ${c.body}\n}\n`;
    for (const { quantize, group, most } of ways) {
      const compiled = compileText(text, { quantize });
      const graph = compiled.module.graphs[0]!;
      const weights = seededWeights([graph]);
      const own = (key: string): Tensor => {
        const axis = c.weights[key];
        return axis === undefined ? weights(key) : rounded(weights(key), axis, group, most);
      };
      const types = compiled.plan.constants.map((k) => k.dtype);
      expect(types.filter((t) => t === "i8" || t === "i4")).toHaveLength(Object.keys(c.weights).length);
      for (const all of sizes) {
        const dims = Object.fromEntries(
          graph.symbols.map((s) => [s.name, all[s.name as keyof typeof all]]),
        ) as Record<string, number>;
        const inputs = seededInputs(graph, dims);
        const wanted = evaluate(graph, own, inputs, { dims }).outputs["y"]!;
        const plain = evaluate(graph, weights, inputs, { dims }).outputs["y"]!;
        const scale = Math.max(1, ...Array.from(wanted.data, Math.abs));
        const hold = (got: { readonly data: ArrayLike<number> }, where: string) =>
          expect(differenceOf(got.data, wanted.data) / scale, `${quantize}, ${where}`).toBeLessThan(2e-5);
        expect(differenceOf(plain.data, wanted.data), "rounding changes results").toBeGreaterThan(1e-4);
        hold(runPlan(compiled, weights, inputs, dims).outputs["y"]!, "the interpreter");
        const session = await load(
          compileText(text, { quantize, target: opened.target }),
          weights,
          opened.device,
        );
        hold((await session.run(inputs, { dims }))["y"]!, opened.name);
        await session.dispose();
      }
    }
  });
});
