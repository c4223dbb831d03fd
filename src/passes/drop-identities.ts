// Whole sub-graphs that come to nothing where sizes or literals say so: a window of one, a token mixer on a grid of one position, a
// factor of zero. Equal in real arithmetic only: 0 * inf is NaN, and the sign of a zero may change, so these are not canonicalize's.

import { constantOf } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { axesOf, isOne, pairOf } from "../ops/define.ts";
import { flag, operandWhere, reshapeTo, sameKind } from "./match.ts";
import type { Pass } from "./pass.ts";

function zero(c: RewriteContext, root: Node): readonly ValueId[] {
  const { dtype, shape } = c.type(root.results[0]!.id);
  return [c.add("constant", [], { value: 0, dtype, shape })];
}

const rules: readonly Rule[] = [
  {
    name: "window-of-one",
    equation: "pool(x, size 1, stride 1) = x",
    doc: "Each window holds its own position.",
    roots: ["avg_pool2d", "max_pool2d"],
    apply(root, c) {
      const one = (name: string) => pairOf(root.attrs, name).every((n) => n === 1);
      const stays = pairOf(root.attrs, "stride").every((n) => n === 0 || n === 1);
      return one("size") && stays && sameKind(c, root.results[0]!.id, root.inputs[0]!)
        ? [root.inputs[0]!]
        : null;
    },
  },
  {
    name: "pool-of-one-position",
    equation: "avg_pool2d(x) = x   on a 1x1 grid, padding not counted",
    doc: "All but one position of the window is padding.",
    roots: ["avg_pool2d", "max_pool2d"],
    apply(root, c) {
      const x = root.inputs[0]!;
      const onePosition = [2, 3].every((axis) => constantOf(c.type(x).shape[axis]!) === 1);
      if (!onePosition || !sameKind(c, root.results[0]!.id, x)) return null;
      const padded = pairOf(root.attrs, "pad").some((p) => p > 0);
      if (flag(root.attrs, "count_include_pad") && padded)
        return c.refuse("the padding counts: the mean is a fraction of the one position");
      return [x];
    },
  },
  {
    name: "less-itself",
    equation: "x - x = 0",
    doc: "For finite x. On a 1x1 grid this is what is left of a pooling mixer.",
    roots: ["sub"],
    apply: (root, c) => (root.inputs[0] === root.inputs[1] ? zero(c, root) : null),
  },
  {
    name: "times-zero",
    equation: "x * 0 = 0,  0 / x = 0",
    doc: "For finite x, not 0 where it divides.",
    roots: ["mul", "div"],
    apply(root, c) {
      const [a, b] = root.inputs as readonly [ValueId, ValueId];
      const is = (x: ValueId) => c.constant(x) === 0;
      return is(a) || (root.op.name === "mul" && is(b)) ? zero(c, root) : null;
    },
  },
  {
    name: "plus-zero",
    equation: "x + 0 = x",
    doc: "Not canonicalize's, because -0 + 0 is +0.",
    roots: ["add"],
    apply(root, c) {
      const match = operandWhere(root, (x) => c.constant(x) === 0);
      return match && sameKind(c, root.results[0]!.id, match.other) ? [match.other] : null;
    },
  },
  {
    name: "sum-of-one",
    equation: "mean(x, axes of size 1) = x,  and sum",
    doc: "The sum starts at +0, so a lone -0 would come out as +0.",
    roots: ["mean", "sum"],
    apply(root, c) {
      const x = root.inputs[0]!;
      const { shape } = c.type(x);
      if (!axesOf(root.attrs, "axes", shape.length).every((a) => isOne(shape[a]!))) return null;
      return [reshapeTo(c, x, c.type(root.results[0]!.id).shape)];
    },
  },
];

export const dropIdentities: Pass = {
  name: "drop-identities",
  doc: "Windows of one, mixers on a 1x1 grid and factors of zero come to nothing.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs; the sign of a zero may change",
  needs: [],
  gives: [],
  rules,
};
