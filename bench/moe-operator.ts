// A layer of routed experts in ONNX as one operator of onnxruntime: MoE with weights in f32, or QMoE with weights of four bits. Both take
// the gate and what it gates as one matrix, row about row.

import { elementCount, type Tensor } from "../src/ir/tensor.ts";
import type { Graph } from "../src/ir/graph.ts";
import { elementType } from "../src/onnx/proto.ts";
import { tensorProto, type OnnxAttributes } from "../src/onnx/writer.ts";
import { MICROSOFT, MoeWriter } from "./moe-writer.ts";

const swiglu: OnnxAttributes = {
  activation_type: { string: "swiglu" },
  swiglu_fusion: { int: 1 },
  // silu(gate) * up; the operator's own form is silu(1.702 gate) * (up + 1).
  activation_alpha: { float: 1 },
  activation_beta: { float: 0 },
};

/** Weights that share a scale. */
const GROUP = 32;
const UINT8 = 2;

/** The same layer as `loopedOnnx`. */
export function moeOnnx(
  graph: Graph,
  weights: (key: string) => Tensor,
  tokens: number,
  bits: 4 | 32,
): Uint8Array {
  const m = new MoeWriter(graph, weights, tokens);
  const { w } = m;
  const logits = m.logits();
  const first = interleaved(m.stacks[0]!, m.stacks[1]!);
  const second = m.stacks[2]!;
  const k = { k: { int: m.k } };
  const whole = (name: string, t: Tensor): string[] => [w.initializer(name, tensorProto(t)), ""];
  const packed = (name: string, t: Tensor): string[] => {
    const { bytes, scales } = nibbles(t);
    const [experts, out, into] = t.shape as [number, number, number];
    const dims = [experts, out, into / 2];
    return [
      w.initializer(name, { dims, dataType: UINT8, rawData: bytes }),
      w.initializer(`${name}.scales`, {
        dims: [experts, out, into / GROUP],
        dataType: elementType.f32,
        rawData: new Uint8Array(scales.buffer),
      }),
      "",
    ];
  };
  let y: string;
  if (bits === 32) {
    const inputs = ["x", logits, ...whole("fc1", first), ...whole("fc2", second)];
    y = w.node("MoE", inputs, { ...k, ...swiglu, normalize_routing_weights: { int: 0 } });
  } else {
    const inputs = ["x", logits, ...packed("fc1", first), ...packed("fc2", second)];
    const how = { expert_weight_bits: { int: bits }, block_size: { int: GROUP } };
    y = w.node("QMoE", inputs, { ...k, ...swiglu, ...how, normalize_routing_weights: { int: 1 } });
  }
  w.nodes.at(-1)!.domain = MICROSOFT;
  if (bits === 4) {
    // It divides by the sum of the chosen scores, whatever the attribute says.
    const sum = w.node("ReduceSum", [m.chosen(logits).best, w.integers([-1])], { keepdims: { int: 1 } });
    y = w.node("Mul", [y, sum]);
  }
  const shared = m.shared();
  return m.finish(shared === undefined ? y : w.node("Add", [y, shared]));
}

/** Rows of both, in turn: [E, 2 hidden, dim]. */
function interleaved(gate: Tensor, up: Tensor): Tensor {
  const [experts, hidden, dim] = gate.shape as [number, number, number];
  const data = new Float32Array(2 * gate.data.length);
  for (let row = 0; row < experts * hidden; row++)
    for (const [i, t] of [gate, up].entries())
      data.set(t.data.slice(row * dim, (row + 1) * dim) as Float32Array, (2 * row + i) * dim);
  return { dtype: "f32", shape: [experts, 2 * hidden, dim], data };
}

/** Integers from -7 to 7, stored with 8 added, the first of two in the low half of a byte; one scale for a group of a row. */
function nibbles({ shape, data }: Tensor): { readonly bytes: Uint8Array; readonly scales: Float32Array } {
  const size = elementCount(shape);
  const bytes = new Uint8Array(size / 2);
  const scales = new Float32Array(size / GROUP);
  for (let g = 0; g < scales.length; g++) {
    const group = data.slice(g * GROUP, (g + 1) * GROUP);
    const scale = Math.max(...Array.from(group, Math.abs)) / 7;
    scales[g] = scale;
    group.forEach((v, i) => {
      const q = 8 + (scale === 0 ? 0 : Math.round(v / scale));
      bytes[(g * GROUP + i) >> 1]! |= i % 2 === 0 ? q : q << 4;
    });
  }
  return { bytes, scales };
}
