// Where a size came from: follows an axis back through the nodes that pass it on, to the call or the input that made it.

import type { GraphState } from "./graph-state.ts";
import type { Note } from "../support/diagnostic.ts";
import { sameDim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import { axisRelations } from "../ir/op.ts";
import type { TensorValue } from "./value.ts";

/** A note that points at the origin of one axis; nothing where that is the value itself. */
export function axisSource(g: GraphState, value: TensorValue, axis: number): Note | undefined {
  let id: ValueId = value.id;
  let at = axis;
  const size = value.type.shape[axis];
  if (!size) return undefined;
  for (let steps = 0; steps < 10_000; steps++) {
    const node = g.producers.get(id);
    const back = node && sourceOf(g, node, at);
    if (!back) break;
    id = back.id;
    at = back.axis;
  }
  if (id === value.id) return undefined;
  const span = g.origins.get(id);
  return span && { message: `the ${size.key} of axis ${axis} comes from here`, span };
}

function sourceOf(g: GraphState, node: Node, axis: number): { id: ValueId; axis: number } | undefined {
  const types = node.inputs.map((x) => (x === "" ? undefined : g.builder.type(x)));
  const size = node.results[0]!.type.shape[axis];
  const relations = axisRelations(node.op, types, node.attrs);
  for (const [i, input] of node.inputs.entries())
    for (const [k, relation] of (relations[i] ?? []).entries()) {
      const kept = (relation.kind === "same" || relation.kind === "whole") && relation.axis === axis;
      const inputSize = types[i]?.shape[k];
      if (kept && size && inputSize && sameDim(size, inputSize) && !input.startsWith("$"))
        return { id: input, axis: k };
    }
  return undefined;
}
