// A layer of routed experts in ONNX as exporters of eager code leave it: for each expert the rows that chose it are found (NonZero),
// gathered, put through its network, weighed and added back (ScatterND). How many there are is known only while it runs.

import type { Graph } from "../src/ir/graph.ts";
import type { Tensor } from "../src/ir/tensor.ts";
import { MoeWriter, stackAt } from "./moe-writer.ts";

/** Of `examples/moe_layers.model` with softmax scores that are not divided by their sum: `x` [T, dim] to `y`. */
export function loopedOnnx(graph: Graph, weights: (key: string) => Tensor, tokens: number): Uint8Array {
  const m = new MoeWriter(graph, weights, tokens);
  const { w } = m;
  const { best, ids } = m.chosen();
  let y = m.shared() ?? m.zeros();
  for (let e = 0; e < m.experts; e++) {
    // [2, n]: tokens, and which of their choices it is.
    const chosen = w.node("NonZero", [w.node("Equal", [ids, w.integer(e)])]);
    const places = w.node("Transpose", [chosen], { perm: { ints: [1, 0] } });
    const rows = w.node("Slice", [places, w.integers([0]), w.integers([1]), w.integers([1])]);
    const stack = m.stacks.map((t) => stackAt(t, e));
    const made = m.network(w.node("GatherND", ["x", rows]), `expert${e}`, stack);
    const share = w.node("Unsqueeze", [w.node("GatherND", [best, places]), w.integers([1])]);
    y = w.node("ScatterND", [y, rows, w.node("Mul", [made, share])], { reduction: { string: "add" } });
  }
  return m.finish(y);
}
