// A maximum over positions goes in front of what keeps the order of values: an activation that never falls, a shift, a positive factor
// (H6, P4). It is then computed for each result instead of for each position. Bit-exact: the largest element is the same one.

import { productDim } from "../ir/dim.ts";
import type { ValueId } from "../ir/graph.ts";
import { typicalOf } from "../ir/positions.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { isConstantOver, sameKind } from "./match.ts";
import type { Pass } from "./pass.ts";
import { besideResult, reducedAxes } from "./reduction.ts";

const neverFalls: ReadonlySet<string> = new Set(["relu", "sigmoid", "tanh", "exp", "floor", "ceil"]);
const fallsSomewhere: ReadonlySet<string> = new Set(["gelu", "silu", "abs", "square", "neg"]);

const maxBeforeMonotone: Rule = {
  name: "max-before-monotone",
  equation: "max f(x) = f(max x)   if f never falls: relu, sigmoid, tanh, exp, + t and * a positive number",
  doc: "Of a shift t that is the same at all positions, as the bias of a layer is.",
  roots: ["reduce_max", "max_pool2d"],
  apply(root, c) {
    const map = c.soleProducer(root.inputs[0]!);
    if (!map || !fewer(c, root.inputs[0]!, root.results[0]!.id)) return null;
    if (fallsSomewhere.has(map.op.name))
      return c.refuse(`${map.op.name} falls somewhere: the largest value need not stay it`);
    if (neverFalls.has(map.op.name)) {
      c.matched(map);
      return [c.add(map.op.name, [c.add(root.op.name, [map.inputs[0]], root.attrs)], map.attrs)];
    }
    const [x, t] = map.inputs as readonly [ValueId, ValueId | undefined];
    if (t === undefined || !sameKind(c, x, root.inputs[0]!)) return null;
    const factor = c.constant(t);
    const positive = ["mul", "div"].includes(map.op.name) && factor !== undefined && factor > 0;
    const shape = c.type(x).shape;
    const shift =
      ["add", "sub"].includes(map.op.name) && isConstantOver(c, t, shape.length, reducedAxes(c, root, 0));
    const beside = positive || shift ? besideResult(c, { root, input: 0, steps: [], x }, t) : undefined;
    if (beside === undefined) return null;
    c.matched(map);
    return [c.add(map.op.name, [c.add(root.op.name, [x], root.attrs), beside])];
  },
};

function fewer(c: RewriteContext, from: ValueId, to: ValueId): boolean {
  const count = (id: ValueId) => typicalOf(productDim(c.type(id).shape));
  return count(to) < count(from);
}

export const maxBeforeMap: Pass = {
  name: "max-before-map",
  doc: "Take the maximum first, then apply what keeps the order of values.",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  rules: [maxBeforeMonotone],
};
