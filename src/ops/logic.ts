// Comparisons, logic on bool, and selection.

import { and, eq, ge, gt, le, lt, ne, not, or, select } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { OpDefinition, Trait } from "../ir/op.ts";
import { broadcastInputs, broadcastRelations, defineOp, readBroadcast, same, sentences } from "./define.ts";
import { applyBroadcast, binary } from "./elementwise.ts";
import { broadcastOffsets } from "./loops.ts";

interface ComparisonInit {
  readonly name: string;
  readonly sign: string;
  readonly doc: string;
  readonly traits?: readonly Trait[];
  apply(a: number, b: number): boolean;
  lower(a: Expr, b: Expr): Expr;
  /** Of [1, 2, 3] against 2. */
  readonly example: readonly number[];
}

function comparison(init: ComparisonInit): OpDefinition {
  return binary({
    name: init.name,
    doc: init.doc,
    equation: `y = a ${init.sign} b`,
    domain: "numeric",
    traits: init.traits ?? [],
    result: "bool",
    apply: (a, b) => Number(init.apply(a, b)),
    lower: (a, b) => init.lower(a, b),
    examples: [{ about: "against a scalar", inputs: { a: [1, 2, 3], b: 2 }, outputs: [init.example] }],
  });
}

export const less = comparison({
  name: "less",
  sign: "<",
  doc: "Is a below b?",
  apply: (a, b) => a < b,
  lower: (a, b) => lt(a, b),
  example: [1, 0, 0],
});

export const lessEqual = comparison({
  name: "less_equal",
  sign: "<=",
  doc: "Is a at most b?",
  apply: (a, b) => a <= b,
  lower: (a, b) => le(a, b),
  example: [1, 1, 0],
});

export const greater = comparison({
  name: "greater",
  sign: ">",
  doc: "Is a above b?",
  apply: (a, b) => a > b,
  lower: (a, b) => gt(a, b),
  example: [0, 0, 1],
});

export const greaterEqual = comparison({
  name: "greater_equal",
  sign: ">=",
  doc: "Is a at least b?",
  apply: (a, b) => a >= b,
  lower: (a, b) => ge(a, b),
  example: [0, 1, 1],
});

export const equal = comparison({
  name: "equal",
  sign: "==",
  doc: "Are a and b equal?",
  traits: ["commutative"],
  apply: (a, b) => a === b,
  lower: (a, b) => eq(a, b),
  example: [0, 1, 0],
});

export const notEqual = comparison({
  name: "not_equal",
  sign: "!=",
  doc: "Do a and b differ?",
  traits: ["commutative"],
  apply: (a, b) => a !== b,
  lower: (a, b) => ne(a, b),
  example: [1, 0, 1],
});

interface LogicalInit {
  readonly name: string;
  readonly equation: string;
  readonly doc: string;
  apply(a: boolean, b: boolean): boolean;
  lower(a: Expr, b: Expr): Expr;
  /** Of [0, 0, 1, 1] and [0, 1, 0, 1]. */
  readonly example: readonly number[];
}

function logical(init: LogicalInit): OpDefinition {
  return defineOp({
    name: init.name,
    doc: init.doc,
    equation: init.equation,
    traits: ["elementwise", "commutative"],
    inputs: [
      { name: "a", doc: "bool" },
      { name: "b", doc: "bool; sizes of 1 and missing leading axes are repeated" },
    ],
    constraints: { bool: "a and b are bool", shapes: sentences.shapes },
    infer(c) {
      for (const input of ["a", "b"]) {
        const got = c.type(input).dtype;
        c.check("bool", got === "bool", { input, got, expected: "bool" });
      }
      return [{ dtype: "bool", ...broadcastInputs(c, ["a", "b"]) }];
    },
    axes: (types) => broadcastRelations(types),
    reference(c) {
      const y = c.result();
      applyBroadcast(c.input("a"), c.input("b"), y, (a, b) => Number(init.apply(a !== 0, b !== 0)));
      return [y];
    },
    lowering: {
      kind: "element",
      element: (c, index) => init.lower(readBroadcast(c, 0, index), readBroadcast(c, 1, index)),
    },
    examples: [
      {
        about: "the truth table",
        inputs: { a: [0, 0, 1, 1], b: [0, 1, 0, 1] },
        dtypes: { a: "bool", b: "bool" },
        outputs: [init.example],
      },
    ],
  });
}

export const logicalAnd = logical({
  name: "logical_and",
  equation: "y = a and b",
  doc: "Are both true?",
  apply: (a, b) => a && b,
  lower: (a, b) => and(a, b),
  example: [0, 0, 0, 1],
});

export const logicalOr = logical({
  name: "logical_or",
  equation: "y = a or b",
  doc: "Is either true?",
  apply: (a, b) => a || b,
  lower: (a, b) => or(a, b),
  example: [0, 1, 1, 1],
});

export const logicalNot = defineOp({
  name: "logical_not",
  doc: "Is it false?",
  equation: "y = not x",
  traits: ["elementwise"],
  inputs: [{ name: "x", doc: "bool, any shape" }],
  constraints: { bool: "x is bool" },
  infer(c) {
    const { dtype, shape, axes } = c.type("x");
    c.check("bool", dtype === "bool", { input: "x", got: dtype, expected: "bool" });
    return [{ dtype, shape, axes }];
  },
  axes: ([x]) => [(x?.shape ?? []).map((_, i) => same(i))],
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    for (let i = 0; i < y.data.length; i++) y.data[i] = x.data[i] === 0 ? 1 : 0;
    return [y];
  },
  lowering: { kind: "element", element: (c, index) => not(c.read(0, index)) },
  examples: [{ about: "both values", inputs: { x: [0, 1] }, dtypes: { x: "bool" }, outputs: [[1, 0]] }],
});

export const where = defineOp({
  name: "where",
  doc: "Chooses between two tensors at each position.",
  equation: "y = condition ? a : b",
  traits: ["elementwise"],
  inputs: [
    { name: "condition", doc: "bool" },
    { name: "a", doc: "taken where the condition is true" },
    { name: "b", doc: "taken where it is false; same element type as a. All three broadcast" },
  ],
  constraints: {
    bool: "the condition is bool",
    dtype: "a and b have the same element type",
    shapes: sentences.shapes,
  },
  infer(c) {
    const got = c.type("condition").dtype;
    c.check("bool", got === "bool", { input: "condition", got, expected: "bool" });
    const a = c.type("a").dtype;
    const b = c.type("b").dtype;
    c.check("dtype", a === b, { input: "b", got: b, expected: a, from: "a" });
    return [{ dtype: a, ...broadcastInputs(c, ["condition", "a", "b"]) }];
  },
  axes: (types) => broadcastRelations(types),
  reference(c) {
    const [condition, a, b] = [c.input("condition"), c.input("a"), c.input("b")];
    const y = c.result();
    const atC = broadcastOffsets(condition.shape, y.shape);
    const atA = broadcastOffsets(a.shape, y.shape);
    const atB = broadcastOffsets(b.shape, y.shape);
    for (let i = 0; i < y.data.length; i++)
      y.data[i] = condition.data[atC[i]!] === 0 ? b.data[atB[i]!]! : a.data[atA[i]!]!;
    return [y];
  },
  lowering: {
    kind: "element",
    element: (c, index) =>
      select(readBroadcast(c, 0, index), readBroadcast(c, 1, index), readBroadcast(c, 2, index)),
  },
  examples: [
    {
      about: "masked values become 0",
      inputs: { condition: [1, 0, 1], a: [1, 2, 3], b: 0 },
      dtypes: { condition: "bool" },
      outputs: [[1, 0, 3]],
    },
  ],
});
