// What a model chooses by: the logits of routers, what is ranked, and the layer that makes them. A choice must not depend on rounding.

import type { Graph, Node, ValueId } from "../ir/graph.ts";

/** Layers: numbers are made anew by them. */
export const layers: readonly string[] = [
  "linear",
  "matmul",
  "conv2d",
  "grouped_linear",
  "layer_norm",
  "rms_norm",
  "group_norm",
  "batch_norm",
];

const choosers: readonly string[] = ["route", "top_k", "argmax"];

/** Nodes that choose, and what leads to them from the last layer on, that layer included. */
export function beforeChoices(graph: Graph): ReadonlySet<Node> {
  const makers = new Map<ValueId, Node>();
  for (const n of graph.nodes) for (const r of n.results) makers.set(r.id, n);
  const found = new Set<Node>();
  const stack = graph.nodes.filter((n) => choosers.includes(n.op.name));
  while (stack.length > 0) {
    const n = stack.pop()!;
    if (found.has(n)) continue;
    found.add(n);
    if (layers.includes(n.op.name)) continue;
    for (const x of n.inputs) if (makers.has(x)) stack.push(makers.get(x)!);
  }
  return found;
}
