// Weights in 8 and 4 bits as ONNX has them, against onnxruntime's CPU provider, and both against the model with weights that were rounded by
// a transcription of the definition.

import { describe, expect, it } from "vitest";
import { evaluate, optimizeModule, type Tensor } from "../../src/index.ts";
import { rounded } from "../codegen/rounded.ts";
import { expectClose, seededInputs } from "../models/compare.ts";
import { elaborateCase, exampleCases } from "../models/examples.ts";
import { compileText, seededWeights } from "../models/support.ts";
import { oracleOutputs } from "./ort.ts";

const layers = `
model m (x: f32[B, T, 50], i: f32[B, C = 20, H = 6, W = 5]) -> (y: f32[B, T, 7], z: f32[B, C = 6, H = 6, W = 5]) {
  y = linear(x, out = 24) @a |> gelu() |> linear(out = 7) @b |> softmax()
  z = conv2d(i, out = 6, kernel = 3, pad = 1) @c |> group_norm(groups = 1) @norm
  return y = y, z = z
}
`;

const experts = `
import { Combine } from "std/experts"
import { SwiGlu } from "std/transformer"
model m (x: f32[T, 40]) -> (y: f32[T, 40]) {
  ids, weights = route(linear(x, out = 4, bias = false) @gate, k = 2)
  return x |> per_expert(ids, of = SwiGlu(hidden = 24), count = 4) @experts |> Combine(weights)
}
`;

const cases = [
  { name: "layers and a convolution", text: layers, sizes: { B: 2, T: 3 }, router: undefined },
  { name: "experts, and a router that is left", text: experts, sizes: { T: 9 }, router: "gate.weight" },
];

const ways = [
  { quantize: "int8", group: 128, most: 127 },
  { quantize: "int8:group=16", group: 16, most: 127 },
  { quantize: "int4", group: 32, most: 7 },
  { quantize: "int4:group=16", group: 16, most: 7 },
];

describe("quantised weights in ONNX", () => {
  // Other operators of these files change with the opset, too.
  it.each(exampleCases.map((c) => [c.name, c] as const))("%s", async (_, c) => {
    const { module } = elaborateCase(c);
    const how = { quantize: "int8:group=4" };
    const [graph] = optimizeModule(module!, how, undefined, ["quantize-weights"]).optimized.graphs;
    const names = graph!.symbols.map((s) => s.name);
    const dims = Object.fromEntries(Object.entries(c.sizes[0]!).filter(([name]) => names.includes(name)));
    const weights = seededWeights([graph!]);
    const inputs = seededInputs(graph!, dims);
    const wanted = evaluate(graph!, weights, inputs, { dims }).outputs;
    expectClose(await oracleOutputs(graph!, weights, inputs, dims), wanted, c.name, 1e-3);
  });

  it.each(cases.map((c) => [c.name, c] as const))("%s", async (_, { text, sizes, router }) => {
    for (const { quantize, group, most } of ways) {
      const { module } = compileText(text);
      const graph = optimizeModule(module, { quantize }, undefined, ["quantize-weights"]).optimized
        .graphs[0]!;
      const weights = seededWeights([graph]);
      const inputs = seededInputs(graph, sizes);
      const own = (key: string): Tensor => {
        const w = weights(key);
        const isLayer = w.shape.length > 1 && key !== router;
        // Of a stack of experts the last axis is summed, of a convolution its channels.
        return isLayer ? rounded(w, w.shape.length === 3 ? 2 : 1, group, most) : w;
      };
      const wanted = evaluate(module.graphs[0]!, own, inputs).outputs;
      expectClose(evaluate(graph, weights, inputs).outputs, wanted, `${quantize}: the reference`, 1e-9);
      expectClose(await oracleOutputs(graph, weights, inputs), wanted, `${quantize}: onnxruntime`, 1e-4);
      expect(graph.nodes.filter((n) => n.op.name === "dequantize")).toHaveLength(3);
    }
  });
});
