// One way to write each thing, so that later rules have less to look for. Bit-exact: what would change the sign of a zero
// (x + 0 for x = -0) or make a number of an infinity (x * 0) is left to drop-identities, which states its domain.

import { addDim, constantOf, dim, mulDim, subDim, type Dim } from "../ir/dim.ts";
import type { Attrs, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { axesOf, axisOf, dimOf, isOne, numberOf, numbersOf } from "../ops/define.ts";
import { allOps } from "../ops/index.ts";
import { adaptiveRules } from "./canonicalize-pool.ts";
import { operandWhere, reshapeTo, sameKind } from "./match.ts";
import type { Pass } from "./pass.ts";

const commutative = allOps
  .filter((op) => op.traits.includes("commutative") && op.inputs.length === 2)
  .map((op) => op.name);

/** Replaces the root by a value that was there; null where the types differ (a broadcast has happened too). */
function keep(c: RewriteContext, root: ValueId, value: ValueId): readonly ValueId[] | null {
  return sameKind(c, root, value) ? [value] : null;
}

const constantsRight: Rule = {
  name: "constants-right",
  equation: "c + x = x + c   where + is commutative, c is a literal or prepared, and x is not",
  doc: "Numbers stand right of tensors, prepared values right of those that a run makes.",
  roots: commutative,
  apply(root, c) {
    const [a, b] = root.inputs as readonly [ValueId, ValueId];
    const rank = (x: ValueId) => (c.constant(x) !== undefined ? 2 : c.isPrepared(x) ? 1 : 0);
    return rank(a) > rank(b) ? [c.add(root.op.name, [b, a], root.attrs)] : null;
  },
};

const addNothing: Rule = {
  name: "add-nothing",
  equation: "x - 0 = x,  x + -0 = x",
  doc: "Exact for every x; x + 0 is not, because -0 + 0 is +0.",
  roots: ["add", "sub"],
  apply(root, c) {
    const nothing = root.op.name === "add" ? -0 : 0;
    const isFloat = c.type(root.results[0]!.id).dtype.startsWith("f");
    const match = operandWhere(root, (x) => {
      const value = c.constant(x);
      return value !== undefined && (isFloat ? Object.is(value, nothing) : value === 0);
    });
    return match ? keep(c, root.results[0]!.id, match.other) : null;
  },
};

const timesOne: Rule = {
  name: "times-one",
  equation: "x * 1 = x,  x / 1 = x,  x ^ 1 = x",
  doc: "A factor of one.",
  roots: ["mul", "div", "pow"],
  apply(root, c) {
    const match = operandWhere(root, (x) => c.constant(x) === 1);
    return match ? keep(c, root.results[0]!.id, match.other) : null;
  },
};

const twice: Rule = {
  name: "twice-is-nothing",
  equation: "-(-x) = x,  not not x = x",
  doc: "Operations that undo themselves.",
  roots: ["neg", "logical_not"],
  apply(root, c) {
    const inner = c.producer(root.inputs[0]!);
    if (inner?.op.name !== root.op.name) return null;
    c.matched(inner);
    return [inner.inputs[0]!];
  },
};

const onceIsEnough: Rule = {
  name: "once-is-enough",
  equation: "relu(relu(x)) = relu(x),  and abs, floor, ceil",
  doc: "Operations that change nothing the second time.",
  roots: ["relu", "abs", "floor", "ceil"],
  apply(root, c) {
    const inner = c.producer(root.inputs[0]!);
    if (inner?.op.name !== root.op.name) return null;
    c.matched(inner);
    return [root.inputs[0]!];
  },
};

const sameTwice: Rule = {
  name: "same-twice",
  equation: "max(x, x) = x,  min(x, x) = x,  where(p, x, x) = x",
  doc: "A choice between equals.",
  roots: ["maximum", "minimum", "where"],
  apply(root, c) {
    const [a, b] = root.inputs.slice(-2) as [ValueId, ValueId];
    return a === b ? keep(c, root.results[0]!.id, a) : null;
  },
};

const reshapeRules: readonly Rule[] = [
  {
    name: "same-shape",
    equation: "reshape(x, shape of x) = x,  and broadcast_to, and cast to the type it has",
    doc: "The result is what went in.",
    roots: ["reshape", "broadcast_to", "cast"],
    apply: (root, c) => keep(c, root.results[0]!.id, root.inputs[0]!),
  },
  {
    name: "reshape-of-reshape",
    equation: "reshape(reshape(x, s), t) = reshape(x, t)",
    doc: "Only the last shape counts.",
    roots: ["reshape"],
    apply(root, c) {
      const inner = c.producer(root.inputs[0]!);
      if (inner?.op.name !== "reshape") return null;
      c.matched(inner);
      return [reshapeTo(c, inner.inputs[0]!, c.type(root.results[0]!.id).shape)];
    },
  },
  {
    name: "squeeze-of-unsqueeze",
    equation: "squeeze(unsqueeze(x, a), a) = x,  and the other way round",
    doc: "Axes of size 1 that come and go.",
    roots: ["squeeze", "unsqueeze"],
    apply(root, c) {
      const inner = c.producer(root.inputs[0]!);
      const opposite = root.op.name === "squeeze" ? "unsqueeze" : "squeeze";
      if (inner?.op.name !== opposite || !sameKind(c, root.results[0]!.id, inner.inputs[0]!)) return null;
      c.matched(inner);
      return [inner.inputs[0]!];
    },
  },
];

const transposeRules: readonly Rule[] = [
  {
    name: "transpose-nothing",
    equation: "transpose(x, [0, 1, ...]) = x",
    doc: "Every axis stays.",
    roots: ["transpose"],
    apply: (root) => (numbersOf(root.attrs, "perm").every((p, i) => p === i) ? [root.inputs[0]!] : null),
  },
  {
    name: "transpose-of-transpose",
    equation: "transpose(transpose(x, p), q)[i] = transpose(x, p[q[i]])",
    doc: "Two orders make one.",
    roots: ["transpose"],
    apply(root, c) {
      const inner = c.producer(root.inputs[0]!);
      if (inner?.op.name !== "transpose") return null;
      c.matched(inner);
      const p = numbersOf(inner.attrs, "perm");
      const perm = numbersOf(root.attrs, "perm").map((q) => p[q]!);
      if (perm.every((a, i) => a === i)) return [inner.inputs[0]!];
      return [c.add("transpose", [inner.inputs[0]!], { perm })];
    },
  },
];

const sliceRules: readonly Rule[] = [
  {
    name: "slice-nothing",
    equation: "slice(x, 0 : size) = x,  pad(x, 0, 0) = x",
    doc: "Nothing is cut off, nothing is put on.",
    roots: ["slice", "pad"],
    apply(root, c) {
      const keepsAll =
        root.op.name === "pad"
          ? [...numbersOf(root.attrs, "before"), ...numbersOf(root.attrs, "after")].every((n) => n === 0)
          : numberOf(root.attrs, "step") === 1 && constantOf(dimOf(root.attrs, "start")) === 0;
      return keepsAll ? keep(c, root.results[0]!.id, root.inputs[0]!) : null;
    },
  },
  {
    name: "slice-of-slice",
    equation: "slice(slice(x, a : b : s), c : d : t) = slice(x, a + s c : ... : s t)   along one axis",
    doc: "Two cuts make one, where both starts are known and count from the front.",
    roots: ["slice"],
    apply(root, c) {
      const inner = c.producer(root.inputs[0]!);
      if (inner?.op.name !== "slice") return null;
      const x = inner.inputs[0]!;
      const rank = c.type(x).shape.length;
      const axis = axisOf(root.attrs, "axis", rank);
      if (axis !== axisOf(inner.attrs, "axis", rank)) return null;
      const first = startOf(inner.attrs, c, x, axis);
      const second = startOf(root.attrs, c, root.inputs[0]!, axis);
      if (!first || !second) return null;
      const [s, t] = [numberOf(inner.attrs, "step"), numberOf(root.attrs, "step")];
      const start = addDim(first, mulDim(dim(s), second));
      const length = c.type(root.results[0]!.id).shape[axis]!;
      const end = addDim(start, addDim(mulDim(dim(s * t), subDim(length, dim(1))), dim(1)));
      c.matched(inner);
      return [c.add("slice", [x], { axis, start, end, step: s * t })];
    },
  },
];

/** Where a slice starts, counted from the front. */
function startOf(attrs: Attrs, c: RewriteContext, x: ValueId, axis: number): Dim | undefined {
  const start = dimOf(attrs, "start");
  const value = constantOf(start);
  if (value === undefined) return undefined;
  return value < 0 ? addDim(c.type(x).shape[axis]!, start) : start;
}

const extremeOfOne: Rule = {
  name: "extreme-of-one",
  equation: "reduce_max(x, axes of size 1) = x,  and reduce_min",
  doc: "There is nothing to choose from.",
  roots: ["reduce_max", "reduce_min"],
  apply(root, c) {
    const x = root.inputs[0]!;
    const { shape } = c.type(x);
    if (!axesOf(root.attrs, "axes", shape.length).every((a) => isOne(shape[a]!))) return null;
    const result = c.type(root.results[0]!.id).shape;
    return [reshapeTo(c, x, result)];
  },
};

export const canonicalize: Pass = {
  name: "canonicalize",
  doc: "One way to write each thing: no identities, constants on the right, movements merged.",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  rules: [
    constantsRight,
    addNothing,
    timesOne,
    twice,
    onceIsEnough,
    sameTwice,
    ...reshapeRules,
    ...transposeRules,
    ...sliceRules,
    extremeOfOne,
    ...adaptiveRules,
  ],
};
