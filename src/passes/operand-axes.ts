// Which axes of a contraction's right operand are summed over, and which are the result's: found by asking its index function with names.

import { constant, name as nameExpr, U32 } from "../ir/expr.ts";
import type { Node } from "../ir/graph.ts";
import type { ContractionSpec, ElementContext } from "../ir/op.ts";
import type { TensorType } from "../ir/types.ts";

/** The axis that each index lands on: `o1` of the result, `k0` of the sum, `group`. Undefined where one is computed. */
export function rightAxes(
  spec: ContractionSpec,
  n: Node,
  types: readonly (TensorType | undefined)[],
  result: TensorType,
): ReadonlyMap<string, number> | undefined {
  const context: ElementContext = {
    attrs: n.attrs,
    count: types.length,
    result,
    type: (i) => types[i]!,
    has: (i) => types[i] !== undefined,
    size: () => constant(1, U32),
    read: () => constant(0),
    readInside: () => constant(0),
    readOr: () => constant(0),
    bind: (_, e) => e,
    sliding: () => [],
  };
  const out = result.shape.map((_, i) => nameExpr(`o${i}`, U32));
  const k = spec.reduce.map((_, i) => nameExpr(`k${i}`, U32));
  const { index } = spec.rightIndex(context, out, k, nameExpr("group", U32));
  const found = new Map<string, number>();
  for (const [axis, e] of index.entries()) {
    if (e.kind !== "name") return undefined;
    found.set(e.name, axis);
  }
  return found;
}
