// A layer of routed experts in ONNX as exporters of eager code leave it: for each expert the rows that chose it are found (NonZero),
// gathered, put through its network, weighed and added back (ScatterND). How many there are is known only while it runs.

import { constantOf } from "../src/ir/dim.ts";
import type { Graph } from "../src/ir/graph.ts";
import type { Tensor } from "../src/ir/tensor.ts";
import { dimOf } from "../src/ops/define.ts";
import { encodeModel, type ModelProto } from "../src/onnx/proto.ts";
import { tensorProto, OnnxWriter } from "../src/onnx/writer.ts";

const FLOAT = 1;

/** Of `examples/moe_layers.model` with softmax scores that are not divided by their sum: `x` [T, dim] to `y`. */
export function loopedOnnx(graph: Graph, weights: (key: string) => Tensor, tokens: number): Uint8Array {
  const w = new OnnxWriter({}, new Map());
  const route = graph.nodes.find((n) => n.op.name === "route")!;
  const k = constantOf(dimOf(route.attrs, "k"))!;
  const dim = weights("gate.weight").shape[1]!;
  const experts = weights("gate.weight").shape[0]!;

  /** A matrix, stored for a product from the left. */
  const matrix = (name: string, t: Tensor, at = 0): string => {
    const [out, into] = t.shape.slice(-2) as [number, number];
    const data = new Float32Array(out * into);
    for (let o = 0; o < out; o++)
      for (let i = 0; i < into; i++) data[i * out + o] = t.data[(at * out + o) * into + i]!;
    return w.initializer(name, tensorProto({ dtype: "f32", shape: [into, out], data }));
  };
  const network = (x: string, names: string, tensors: readonly Tensor[], at = 0): string => {
    const [gate, up, down] = tensors.map((t, i) => matrix(`${names}.${i}`, t, at));
    const a = w.node("MatMul", [x, gate!]);
    const hidden = w.node("Mul", [w.node("Mul", [a, w.node("Sigmoid", [a])]), w.node("MatMul", [x, up!])]);
    return w.node("MatMul", [hidden, down!]);
  };
  const named = (scope: string): Tensor[] =>
    ["gate", "up", "down"].map((part) => weights(`${scope}.${part}_proj.weight`));

  const logits = w.node("MatMul", ["x", matrix("gate", weights("gate.weight"))]);
  const scores = w.node("Softmax", [logits], { axis: { int: -1 } });
  const [best, ids] = w.outputs("TopK", [scores, w.integers([k])], 2, { axis: { int: -1 } }) as [
    string,
    string,
  ];
  const zero = tensorProto({ dtype: "f32", shape: [1], data: new Float32Array(1) });
  let y = graph.weights.some((x) => x.key.startsWith("shared_experts."))
    ? network("x", "shared", named("shared_experts"))
    : w.node("ConstantOfShape", [w.integers([tokens, dim])], { value: { tensor: zero } });
  const stacks = named("experts.*");
  for (let e = 0; e < experts; e++) {
    // [2, n]: tokens, and which of their choices it is.
    const chosen = w.node("NonZero", [w.node("Equal", [ids, w.integer(e)])]);
    const places = w.node("Transpose", [chosen], { perm: { ints: [1, 0] } });
    const rows = w.node("Slice", [places, w.integers([0]), w.integers([1]), w.integers([1])]);
    const made = network(w.node("GatherND", ["x", rows]), `expert${e}`, stacks, e);
    const share = w.node("Unsqueeze", [w.node("GatherND", [best, places]), w.integers([1])]);
    y = w.node("ScatterND", [y, rows, w.node("Mul", [made, share])], { reduction: { string: "add" } });
  }
  w.alias(y, "y");
  const info = (name: string) => ({
    name,
    type: { tensorType: { elemType: FLOAT, shape: { dim: [{ dimValue: tokens }, { dimValue: dim }] } } },
  });
  const model: ModelProto = {
    irVersion: 8,
    opsetImport: [{ version: 18 }],
    producerName: "tokenloom-bench",
    graph: {
      name: "looped",
      node: w.nodes,
      initializer: w.initializers,
      input: [info("x")],
      output: [info("y")],
    },
  };
  return encodeModel(model);
}
