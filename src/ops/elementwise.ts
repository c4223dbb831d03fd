// Elementwise arithmetic: each result depends on the inputs at one position. Activations are in activation.ts, comparisons and
// logic in logic.ts. Factories hold what all ops of one arity have in common; each op still says its own equation twice, as a
// plain function of numbers (`apply`, the meaning) and as a kernel expression (`lower`).

import { abs, ceil, exp, floor, log, negate, round, rsqrt, sqrt } from "./expressions.ts";
import {
  add as addExpr,
  and,
  constant,
  cast as castExpr,
  div as divExpr,
  eq,
  f32,
  gt,
  kernelType,
  lt,
  max,
  min,
  mod,
  mul as mulExpr,
  ne,
  binary as binaryExpr,
  select,
  sub as subExpr,
} from "../ir/expr.ts";
import type { Attrs } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AttrSpec, ElementContext, InferContext, OpDefinition, OpExample, Trait } from "../ir/op.ts";
import type { Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import {
  broadcastInputs,
  broadcastRelations,
  checkFloat,
  checkInteger,
  checkNumeric,
  checkSameDType,
  defineOp,
  dtypeOf,
  floats,
  readBroadcast,
  same,
  sentences,
} from "./define.ts";
import { broadcastRows } from "./loops.ts";

/** Which element types an op takes. */
export type Domain = "float" | "integer" | "numeric";

const takes: Readonly<Record<Domain, string>> = {
  float: "f32 or f16",
  integer: "i32 or u32",
  numeric: "any number type",
};

export interface UnaryInit {
  readonly name: string;
  readonly doc: string;
  readonly equation: string;
  readonly domain: Domain;
  readonly traits?: readonly Trait[];
  readonly attrs?: Readonly<Record<string, AttrSpec>>;
  /** The meaning, of one number. */
  apply(x: number, attrs: Attrs, dtype: DType): number;
  /** The kernel's expression for the same. */
  lower(x: Expr, c: ElementContext): Expr;
  readonly examples: readonly OpExample[];
}

/** An op of one input whose result has its shape and element type. */
export function unary(init: UnaryInit): OpDefinition {
  const { domain } = init;
  return defineOp({
    name: init.name,
    doc: init.doc,
    equation: init.equation,
    traits: ["elementwise", ...(init.traits ?? [])],
    inputs: [{ name: "x", doc: `any shape, ${takes[domain]}` }],
    attrs: init.attrs ?? {},
    constraints: { [domain]: sentences[domain] },
    infer: (c) => {
      const { dtype, shape, axes } = checkDomain(c, domain, "x");
      return [{ dtype, shape, axes }];
    },
    axes: ([x]) => [(x?.shape ?? []).map((_, i) => same(i))],
    reference(c) {
      const x = c.input("x");
      const y = c.result();
      for (let i = 0; i < y.data.length; i++) y.data[i] = init.apply(x.data[i]!, c.attrs, x.dtype);
      return [y];
    },
    lowering: { kind: "element", element: (c, index) => init.lower(c.read(0, index), c) },
    examples: init.examples,
  });
}

export interface BinaryInit {
  readonly name: string;
  readonly doc: string;
  readonly equation: string;
  readonly domain: Domain;
  readonly traits?: readonly Trait[];
  /** Element type of the result, where it is not that of the inputs. */
  readonly result?: DType;
  apply(a: number, b: number, dtype: DType): number;
  lower(a: Expr, b: Expr, c: ElementContext): Expr;
  readonly examples: readonly OpExample[];
}

/** An op of two inputs of one element type that broadcast. */
export function binary(init: BinaryInit): OpDefinition {
  const { domain } = init;
  return defineOp({
    name: init.name,
    doc: init.doc,
    equation: init.equation,
    traits: ["elementwise", ...(init.traits ?? [])],
    inputs: [
      { name: "a", doc: takes[domain] },
      { name: "b", doc: "same element type as a; sizes of 1 and missing leading axes are repeated" },
    ],
    constraints: {
      [domain]: sentences[domain].replace("x is", "a is"),
      dtype: sentences.dtype,
      shapes: sentences.shapes,
    },
    infer: (c) => {
      const { dtype } = checkDomain(c, domain, "a");
      checkSameDType(c, ["a", "b"]);
      return [{ dtype: init.result ?? dtype, ...broadcastInputs(c, ["a", "b"]) }];
    },
    axes: (types) => broadcastRelations(types),
    reference(c) {
      const a = c.input("a");
      const b = c.input("b");
      const y = c.result();
      applyBroadcast(a, b, y, (p, q) => init.apply(p, q, a.dtype));
      return [y];
    },
    lowering: {
      kind: "element",
      element: (c, index) => init.lower(readBroadcast(c, 0, index), readBroadcast(c, 1, index), c),
    },
    examples: init.examples,
  });
}

function checkDomain(c: InferContext, domain: Domain, input: string) {
  return { float: checkFloat, integer: checkInteger, numeric: checkNumeric }[domain](c, input);
}

/** y = f(a, b) with broadcasting. */
export function applyBroadcast(a: Tensor, b: Tensor, y: Tensor, f: (a: number, b: number) => number): void {
  const rowsOfA = broadcastRows(a.shape, y.shape);
  const rowsOfB = broadcastRows(b.shape, y.shape);
  const width = y.shape.at(-1) ?? 1;
  for (let row = 0, i = 0; i < y.data.length; row++) {
    let atA = rowsOfA.starts[row]!;
    let atB = rowsOfB.starts[row]!;
    for (const end = i + width; i < end; i++, atA += rowsOfA.step, atB += rowsOfB.step)
      y.data[i] = f(a.data[atA]!, b.data[atB]!);
  }
}

/** A constant of the same element type as `like`. */
function literal(value: number, like: Expr): Expr {
  return constant(value, kernelType(like.type.scalar));
}

export const add = binary({
  name: "add",
  doc: "Sum of two tensors.",
  equation: "y = a + b",
  domain: "numeric",
  traits: ["commutative"],
  apply: (a, b) => a + b,
  lower: (a, b) => addExpr(a, b),
  examples: [
    {
      about: "a row added to a column",
      inputs: { a: [[1], [2]], b: [10, 20] },
      outputs: [
        [
          [11, 21],
          [12, 22],
        ],
      ],
    },
  ],
});

export const sub = binary({
  name: "sub",
  doc: "Difference of two tensors.",
  equation: "y = a - b",
  domain: "numeric",
  apply: (a, b) => a - b,
  lower: (a, b) => subExpr(a, b),
  examples: [{ about: "a vector minus a scalar", inputs: { a: [1, 2, 3], b: 2 }, outputs: [[-1, 0, 1]] }],
});

export const mul = binary({
  name: "mul",
  doc: "Product of two tensors, element by element.",
  equation: "y = a * b",
  domain: "numeric",
  traits: ["commutative", "linear"],
  // The 32-bit product, where an f64 would lose its low bits.
  apply: (a, b, dtype) => (dtype === "i32" || dtype === "u32" ? Math.imul(a, b) : a * b),
  lower: (a, b) => mulExpr(a, b),
  examples: [
    {
      about: "a scale per column",
      inputs: {
        a: [
          [1, 2],
          [3, 4],
        ],
        b: [10, 100],
      },
      outputs: [
        [
          [10, 200],
          [30, 400],
        ],
      ],
    },
  ],
});

export const div = binary({
  name: "div",
  doc: "Quotient of two tensors.",
  equation: "y = a / b",
  domain: "float",
  traits: ["linear"],
  apply: (a, b) => a / b,
  lower: (a, b) => divExpr(a, b),
  examples: [{ about: "halves", inputs: { a: [1, 2, 3], b: 2 }, outputs: [[0.5, 1, 1.5]] }],
});

export const maximum = binary({
  name: "maximum",
  doc: "The larger of two values at each position; `reduce_max` is the largest along axes.",
  equation: "y = max(a, b)",
  domain: "numeric",
  traits: ["commutative"],
  apply: (a, b) => Math.max(a, b),
  lower: (a, b) => max(a, b),
  examples: [{ about: "clamped from below", inputs: { a: [-1, 0.5, 2], b: 0 }, outputs: [[0, 0.5, 2]] }],
});

export const minimum = binary({
  name: "minimum",
  doc: "The smaller of two values at each position; `reduce_min` is the smallest along axes.",
  equation: "y = min(a, b)",
  domain: "numeric",
  traits: ["commutative"],
  apply: (a, b) => Math.min(a, b),
  lower: (a, b) => min(a, b),
  examples: [{ about: "clamped from above", inputs: { a: [-1, 0.5, 2], b: 1 }, outputs: [[-1, 0.5, 1]] }],
});

export const pow = binary({
  name: "pow",
  doc: "Power. A negative base needs an integer exponent; the result of any other exponent is not defined.",
  equation: "y = a ^ b",
  domain: "float",
  apply: (a, b) => Math.pow(a, b),
  // WGSL's pow is exp2(b * log2(a)): defined for a > 0 only, so signs and zeros are put right by hand.
  lower(a, b, c) {
    const base = c.bind("base", a);
    const exponent = c.bind("exponent", b);
    const size = binaryExpr("pow", abs(base), exponent);
    const half = mulExpr(exponent, f32(0.5));
    const odd = ne(half, floor(half));
    const signed = c.bind("power", select(and(lt(base, f32(0)), odd), negate(size), size));
    const atZero = select(gt(exponent, f32(0)), f32(0), signed);
    return select(eq(exponent, f32(0)), f32(1), select(eq(base, f32(0)), atZero, signed));
  },
  examples: [
    { about: "cubes", inputs: { a: [-2, 0, 1, 3], b: 3 }, outputs: [[-8, 0, 1, 27]] },
    { about: "roots", inputs: { a: [0, 4, 9], b: [0.5, 0.5, 0] }, outputs: [[0, 2, 1]] },
  ],
});

export const neg = unary({
  name: "neg",
  doc: "Negation; of a u32, modulo 2^32.",
  equation: "y = -x",
  domain: "numeric",
  traits: ["linear"],
  apply: (x) => -x,
  lower: (x) => (x.type.scalar === "u32" ? subExpr(literal(0, x), x) : negate(x)),
  examples: [{ about: "signs change", inputs: { x: [-1, 2] }, outputs: [[1, -2]] }],
});

export const absolute = unary({
  name: "abs",
  doc: "Absolute value.",
  equation: "y = |x|",
  domain: "numeric",
  apply: (x) => Math.abs(x),
  lower: (x) => abs(x),
  examples: [{ about: "signs go", inputs: { x: [-1.5, 2] }, outputs: [[1.5, 2]] }],
});

export const square = unary({
  name: "square",
  doc: "Square.",
  equation: "y = x * x",
  domain: "float",
  apply: (x) => x * x,
  lower(x, c) {
    const v = c.bind("x", x);
    return mulExpr(v, v);
  },
  examples: [{ about: "squares", inputs: { x: [-2, 3] }, outputs: [[4, 9]] }],
});

export const squareRoot = unary({
  name: "sqrt",
  doc: "Square root.",
  equation: "y = sqrt(x)",
  domain: "float",
  apply: (x) => Math.sqrt(x),
  lower: (x) => sqrt(x),
  examples: [{ about: "roots", inputs: { x: [0, 4, 9] }, outputs: [[0, 2, 3]] }],
});

export const inverseSquareRoot = unary({
  name: "rsqrt",
  doc: "Inverse of the square root.",
  equation: "y = 1 / sqrt(x)",
  domain: "float",
  apply: (x) => 1 / Math.sqrt(x),
  lower: (x) => rsqrt(x),
  examples: [{ about: "inverse roots", inputs: { x: [0.25, 1, 4] }, outputs: [[2, 1, 0.5]] }],
});

export const exponential = unary({
  name: "exp",
  doc: "Exponential.",
  equation: "y = e ^ x",
  domain: "float",
  apply: (x) => Math.exp(x),
  lower: (x) => exp(x),
  examples: [{ about: "e^0 and e^1", inputs: { x: [0, 1] }, outputs: [[1, 2.718281828]] }],
});

export const logarithm = unary({
  name: "log",
  doc: "Natural logarithm.",
  equation: "y = ln(x)",
  domain: "float",
  apply: (x) => Math.log(x),
  lower: (x) => log(x),
  examples: [{ about: "ln 1 and ln e", inputs: { x: [1, 2.718281828] }, outputs: [[0, 1]] }],
});

export const roundDown = unary({
  name: "floor",
  doc: "The largest integer that is not above x.",
  equation: "y = floor(x)",
  domain: "float",
  apply: (x) => Math.floor(x),
  lower: (x) => floor(x),
  examples: [{ about: "down", inputs: { x: [-1.5, 1.5] }, outputs: [[-2, 1]] }],
});

export const roundUp = unary({
  name: "ceil",
  doc: "The smallest integer that is not below x.",
  equation: "y = ceil(x)",
  domain: "float",
  apply: (x) => Math.ceil(x),
  lower: (x) => ceil(x),
  examples: [{ about: "up", inputs: { x: [-1.5, 1.5] }, outputs: [[-1, 2]] }],
});

export const roundNearest = unary({
  name: "round",
  doc: "The nearest integer; halves go to the even one.",
  equation: "y = round(x)",
  domain: "float",
  apply(x) {
    const down = Math.floor(x);
    const part = x - down;
    return part < 0.5 || (part === 0.5 && down % 2 === 0) ? down : down + 1;
  },
  lower: (x) => round(x),
  examples: [{ about: "halves", inputs: { x: [-1.5, 0.5, 1.5, 1.6] }, outputs: [[-2, 0, 2, 2]] }],
});

export const modulo = binary({
  name: "mod",
  doc: "Remainder of integers, with the sign of the divisor, as in Python and PyTorch; of a division by 0 it is 0.",
  equation: "y = a - b * floor(a / b)",
  domain: "integer",
  apply: (a, b) => (b === 0 ? 0 : a - b * Math.floor(a / b)),
  lower(a, b, c) {
    const divisor = c.bind("divisor", b);
    const rest = c.bind("rest", mod(a, divisor));
    if (rest.type.scalar === "u32") return rest;
    const zero = literal(0, rest);
    const astray = and(ne(rest, zero), ne(lt(rest, zero), lt(divisor, zero)));
    return select(astray, addExpr(rest, divisor), rest);
  },
  examples: [
    {
      about: "three kinds of seven",
      inputs: { a: [7, -7, 7], b: [3, 3, -3] },
      dtypes: { a: "i32", b: "i32" },
      outputs: [[1, 2, -2]],
    },
  ],
});

export const cast = defineOp({
  name: "cast",
  doc: "Changes the element type. Floats become integers by dropping the fraction, at most the type's largest and smallest; anything but 0 is true.",
  equation: "y = x as dtype",
  traits: ["elementwise"],
  inputs: [{ name: "x", doc: "any shape and type" }],
  attrs: { dtype: { kind: "dtype", doc: "element type of the result" } },
  infer: (c) => {
    const { shape, axes } = c.type("x");
    return [{ dtype: dtypeOf(c.attrs, "dtype"), shape, axes }];
  },
  axes: ([x]) => [(x?.shape ?? []).map((_, i) => same(i))],
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    for (let i = 0; i < y.data.length; i++) y.data[i] = convert(x.data[i]!, x.dtype, y.dtype);
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const x = c.read(0, index);
      const to = dtypeOf(c.attrs, "dtype");
      if (to === "bool") return x.type.scalar === "bool" ? x : ne(x, literal(0, x));
      return castExpr(x, floats.includes(to) ? "f32" : to);
    },
  },
  examples: [
    {
      about: "fractions are dropped",
      inputs: { x: [-1.7, 1.7] },
      attrs: { dtype: "i32" },
      outputs: [[-1, 1]],
    },
    { about: "truth", inputs: { x: [0, 0.5] }, attrs: { dtype: "bool" }, outputs: [[0, 1]] },
    {
      about: "truth as numbers",
      inputs: { x: [0, 1] },
      dtypes: { x: "bool" },
      attrs: { dtype: "f32" },
      outputs: [[0, 1]],
    },
  ],
});

/** Between integers the bits are kept, as the hardware does; f16 is rounded by whoever stores it. */
function convert(x: number, from: DType, to: DType): number {
  if (to === "bool") return x === 0 ? 0 : 1;
  if (floats.includes(to) || !floats.includes(from)) return x;
  const [low, high] = to === "u32" ? [0, 0xffffffff] : [-0x80000000, 0x7fffffff];
  return Number.isNaN(x) ? 0 : Math.min(high, Math.max(low, Math.trunc(x)));
}
