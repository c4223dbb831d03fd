// How each op is written in ONNX (opset 17), by name; families that need more than a line are in files of their own. Where ONNX has
// an operator of the same meaning it is used, so that a runtime finds its fast kernel; elsewhere the op is written with several.

import { addDim, constantOf, type Dim } from "../ir/dim.ts";
import {
  alongAxis,
  axes,
  axis,
  castTo,
  flag,
  narrow,
  number,
  numbers,
  rank,
  size,
  wide,
  type OpContext,
  type Translate,
} from "./context.ts";
import { groupedLinear, packRows, route, takeRows, topK } from "./op-experts.ts";
import { averagePool, convolution, depthwiseConvolution, groupedConvolution, maxPool } from "./op-window.ts";
import { adaptiveLengths, adaptiveUnfold, resize, segmentReduce, unfold } from "./op-unfold.ts";
import { batchNorm, groupNorm, l2Normalize, layerNorm, logSoftmax, rmsNorm, softmax } from "./op-norm.ts";
import { tensorProto } from "./writer.ts";

const inputsOf = (c: OpContext): string[] => Array.from({ length: c.count }, (_, i) => c.input(i));

/** One operator, same inputs, no attributes. */
const plain =
  (opType: string, inputs: number): Translate =>
  (c) =>
    c.writer.node(
      opType,
      Array.from({ length: inputs }, (_, i) => c.input(i)),
    );

const unary = (opType: string): Translate => plain(opType, 1);

/** onnxruntime's CPU provider has no Where on u32: the same bits as i32. */
const chosen: Translate = (c) => {
  if (c.result.dtype !== "u32") return plain("Where", 3)(c);
  const [a, b] = [1, 2].map((i) => castTo(c, c.input(i), "i32")) as [string, string];
  return castTo(c, c.writer.node("Where", [c.input(0), a, b]), "u32");
};
const binary = (opType: string): Translate => plain(opType, 2);

/** onnxruntime's WebGPU provider (1.30) fails on an exponent that is broadcast, unless it is one number without axes. */
const power: Translate = (c) => {
  const { shape } = c.type(1);
  const one =
    shape.length > 1 && shape.length <= c.type(0).shape.length && shape.every((d) => constantOf(d) === 1);
  const exponent = one ? c.writer.node("Reshape", [c.input(1), c.writer.integers([1])]) : c.input(1);
  return c.writer.node("Pow", [c.input(0), exponent]);
};

const keepdims = (c: OpContext) => ({ int: flag(c, "keepdims") ? 1 : 0 });

/** ONNX takes an empty list of axes for all of them; ours means none. */
const nothingReduced = (c: OpContext): boolean => axes(c).length === 0;

/** Axes as an attribute, as ReduceMean, ReduceMax and ReduceMin of opset 17 have them. */
const reduction =
  (opType: string): Translate =>
  (c) => {
    if (nothingReduced(c)) return c.writer.node("Identity", [c.input(0)]);
    const over = { axes: { ints: axes(c) }, keepdims: keepdims(c) };
    return narrow(c, c.writer.node(opType, [wide(c, 0)], over));
  };

const sum: Translate = (c) => {
  if (nothingReduced(c)) return c.writer.node("Identity", [c.input(0)]);
  const over = c.writer.integers(axes(c));
  return narrow(c, c.writer.node("ReduceSum", [wide(c, 0), over], { keepdims: keepdims(c) }));
};

const variance: Translate = (c) => {
  const { writer } = c;
  if (nothingReduced(c)) return writer.node("Sub", [c.input(0), c.input(0)]);
  const over = { ints: axes(c) };
  const x = wide(c, 0);
  const mean = writer.node("ReduceMean", [x], { axes: over, keepdims: { int: 1 } });
  const centered = writer.node("Sub", [x, mean]);
  const squares = writer.node("Mul", [centered, centered]);
  return narrow(c, writer.node("ReduceMean", [squares], { axes: over, keepdims: keepdims(c) }));
};

const squeeze: Translate = (c) =>
  axes(c).length === 0
    ? c.writer.node("Identity", [c.input(0)])
    : c.writer.node("Squeeze", [c.input(0), c.writer.integers(axes(c))]);

const constant: Translate = (c) => {
  const { dtype, shape } = c.result;
  const value = number(c, "value");
  if (shape.length === 0) return c.writer.scalar(value, dtype);
  const one = tensorProto({ dtype, shape: [1], data: new Float64Array([value]) });
  return c.writer.node("ConstantOfShape", [c.writer.shape(shape)], { value: { tensor: one } });
};

const iota: Translate = (c) => {
  const { writer } = c;
  const { dtype, shape } = c.result;
  const of = shape.length;
  const along = (number(c, "axis") + of) % of;
  const from = size(c, "start");
  const bound = (d: Dim) => writer.node("Squeeze", [writer.size(d)]);
  const counted = writer.node("Range", [bound(from), bound(addDim(from, shape[along]!)), writer.integer(1)]);
  const wide = writer.node("Expand", [alongAxis(c, counted, along, of), writer.shape(shape)]);
  return castTo(c, wide, dtype);
};

const sizeAsNumber: Translate = (c) =>
  castTo(c, c.writer.node("Squeeze", [c.writer.size(size(c, "of"))]), c.result.dtype);

/** Indices as ONNX has them: 64-bit, and in range, where ours are moved into it. */
function indexInto(c: OpContext, along: number): string {
  const { writer } = c;
  const last = writer.node("Sub", [writer.size(c.type(0).shape[along]!), writer.integer(1)]);
  const low = writer.node("Max", [castTo(c, c.input(1), "i64"), writer.integer(0)]);
  return writer.node("Min", [low, writer.node("Squeeze", [last])]);
}

const gather: Translate = (c) =>
  c.writer.node("Gather", [c.input(0), indexInto(c, axis(c))], { axis: { int: axis(c) } });

const takeAlongAxis: Translate = (c) => {
  const index = c.writer.node("Expand", [indexInto(c, axis(c)), c.writer.shape(c.result.shape)]);
  return c.writer.node("GatherElements", [c.input(0), index], { axis: { int: axis(c) } });
};

const argmax: Translate = (c) => {
  const found = c.writer.node("ArgMax", [c.input(0)], { axis: { int: axis(c) }, keepdims: keepdims(c) });
  return castTo(c, found, "i32");
};

/** Unsigned numbers have no Neg. */
const negation: Translate = (c) =>
  c.result.dtype === "u32"
    ? c.writer.node("Sub", [c.writer.scalar(0, "u32"), c.input(0)])
    : c.writer.node("Neg", [c.input(0)]);

/** Runtimes refuse a division by 0, whose remainder is 0 here. */
const mod: Translate = (c) => {
  const { writer } = c;
  const [a, b] = [castTo(c, c.input(0), "i64"), castTo(c, c.input(1), "i64")];
  const none = writer.node("Equal", [b, writer.integer(0)]);
  const rest = writer.node("Mod", [a, writer.node("Where", [none, writer.integer(1), b])]);
  return castTo(c, writer.node("Where", [none, writer.integer(0), rest]), c.result.dtype);
};

/** The form that runtimes know and fuse. */
const gelu: Translate = (c) => {
  const { writer } = c;
  const { dtype } = c.result;
  const x = c.input(0);
  const literal = (value: number) => writer.scalar(value, dtype);
  const inner = () => {
    if (c.attrs["approximate"] !== "tanh")
      return writer.node("Erf", [writer.node("Div", [x, literal(Math.SQRT2)])]);
    const cube = writer.node("Mul", [writer.node("Mul", [x, x]), x]);
    const bent = writer.node("Add", [x, writer.node("Mul", [cube, literal(0.044715)])]);
    return writer.node("Tanh", [writer.node("Mul", [bent, literal(Math.sqrt(2 / Math.PI))])]);
  };
  const scaled = writer.node("Mul", [x, writer.node("Add", [inner(), literal(1)])]);
  return writer.node("Mul", [scaled, literal(0.5)]);
};

/** ONNX leaves open what a float beyond the integer's range becomes; ours is the nearest integer there is, and 0 for NaN. */
const cast: Translate = (c) => {
  const { writer } = c;
  const from = c.type(0).dtype;
  const to = c.result.dtype;
  const x = c.input(0);
  if (from === to) return writer.node("Identity", [x]);
  const toInteger = (from === "f32" || from === "f16") && (to === "i32" || to === "u32");
  if (!toInteger) return castTo(c, x, to);
  const value = wide(c, 0);
  const defined = writer.node("Where", [writer.node("IsNaN", [value]), writer.scalar(0, "f32"), value]);
  const [low, high] = to === "u32" ? [0, 2 ** 32] : [-(2 ** 31), 2 ** 31];
  const inside = writer.node("Clip", [defined, writer.scalar(low, "f32"), writer.scalar(high, "f32")]);
  // The upper end is no f32, so it is cut off among 64-bit integers.
  const whole = writer.node("Min", [castTo(c, inside, "i64"), writer.integer(high - 1)]);
  return castTo(c, whole, to);
};

const dequantize: Translate = (c) => {
  const blocks = { axis: { int: axis(c) }, block_size: { int: number(c, "group") } };
  return narrow(c, c.writer.node("DequantizeLinear", [c.input(0), c.input(1)], blocks));
};

const linear: Translate = (c) => {
  const { writer } = c;
  const [x, weight] = [c.input(0), c.input(1)];
  if (rank(c) === 2)
    return writer.node("Gemm", c.has(2) ? [x, weight, c.input(2)] : [x, weight], { transB: { int: 1 } });
  const columns = writer.node("Transpose", [weight], { perm: { ints: [1, 0] } });
  const product = writer.node("MatMul", [x, columns]);
  return c.has(2) ? writer.node("Add", [product, c.input(2)]) : product;
};

const matmul: Translate = (c) => {
  const operand = (i: number, transposed: boolean) => {
    const of = c.type(i).shape.length;
    const perm = Array.from({ length: of }, (_, k) => (k < of - 2 ? k : 2 * of - 3 - k));
    return transposed ? c.writer.node("Transpose", [c.input(i)], { perm: { ints: perm } }) : c.input(i);
  };
  return c.writer.node("MatMul", [operand(0, flag(c, "transpose_a")), operand(1, flag(c, "transpose_b"))]);
};

/** The largest i32 means the end of the axis in both languages. */
const slice: Translate = (c) => {
  const along = axis(c);
  const length = c.type(0).shape[along]!;
  // A symbolic position that begins with a minus counts from the front all the same.
  const bound = (d: Dim) => c.writer.size((constantOf(d) ?? 0) < 0 ? addDim(length, d) : d);
  return c.writer.node("Slice", [
    c.input(0),
    bound(size(c, "start")),
    bound(size(c, "end")),
    c.writer.integers([along]),
    c.writer.integers([number(c, "step")]),
  ]);
};

const pad: Translate = (c) =>
  c.writer.node("Pad", [
    c.input(0),
    c.writer.integers([...numbers(c, "before"), ...numbers(c, "after")]),
    c.writer.scalar(number(c, "value"), c.result.dtype),
  ]);

const unsqueeze: Translate = (c) => {
  const of = c.result.shape.length;
  const at = numbers(c, "axes").map((a) => (a < 0 ? a + of : a));
  return c.writer.node("Unsqueeze", [c.input(0), c.writer.integers(at)]);
};

export const opTable: Readonly<Record<string, Translate>> = {
  constant,
  iota,
  copy: unary("Identity"),

  add: binary("Add"),
  sub: binary("Sub"),
  mul: binary("Mul"),
  div: binary("Div"),
  pow: power,
  maximum: binary("Max"),
  minimum: binary("Min"),
  neg: negation,
  abs: unary("Abs"),
  square: (c) => c.writer.node("Mul", [c.input(0), c.input(0)]),
  sqrt: unary("Sqrt"),
  rsqrt: (c) => c.writer.node("Reciprocal", [c.writer.node("Sqrt", [c.input(0)])]),
  exp: unary("Exp"),
  log: unary("Log"),
  floor: unary("Floor"),
  ceil: unary("Ceil"),
  round: unary("Round"),
  sin: unary("Sin"),
  cos: unary("Cos"),
  mod,
  cast,
  size: sizeAsNumber,

  relu: unary("Relu"),
  gelu,
  silu: (c) => c.writer.node("Mul", [c.input(0), c.writer.node("Sigmoid", [c.input(0)])]),
  sigmoid: unary("Sigmoid"),
  tanh: unary("Tanh"),
  erf: unary("Erf"),

  less: binary("Less"),
  less_equal: binary("LessOrEqual"),
  greater: binary("Greater"),
  greater_equal: binary("GreaterOrEqual"),
  equal: binary("Equal"),
  not_equal: (c) => c.writer.node("Not", [c.writer.node("Equal", [c.input(0), c.input(1)])]),
  logical_and: binary("And"),
  logical_or: binary("Or"),
  logical_not: unary("Not"),
  where: chosen,

  reshape: (c) => c.writer.node("Reshape", [c.input(0), c.writer.shape(c.result.shape, "infer one")]),
  transpose: (c) => c.writer.node("Transpose", [c.input(0)], { perm: { ints: axes(c, "perm") } }),
  broadcast_to: (c) => c.writer.node("Expand", [c.input(0), c.writer.shape(c.result.shape)]),
  squeeze,
  unsqueeze,
  slice,
  concat: (c) => c.writer.node("Concat", inputsOf(c), { axis: { int: axis(c) } }),
  pad,
  gather,
  take_along_axis: takeAlongAxis,

  sum,
  mean: reduction("ReduceMean"),
  variance,
  reduce_max: reduction("ReduceMax"),
  reduce_min: reduction("ReduceMin"),
  argmax,

  cumsum: (c) => {
    const attributes = {
      exclusive: { int: flag(c, "exclusive") ? 1 : 0 },
      reverse: { int: flag(c, "reverse") ? 1 : 0 },
    };
    return narrow(c, c.writer.node("CumSum", [wide(c, 0), c.writer.integer(axis(c))], attributes));
  },

  dequantize,
  top_k: topK,
  route,
  grouped_linear: groupedLinear,
  pack_rows: packRows,
  take_rows: takeRows,

  group_norm: groupNorm,
  layer_norm: layerNorm,
  rms_norm: rmsNorm,
  batch_norm: batchNorm,
  softmax,
  log_softmax: logSoftmax,
  l2_normalize: l2Normalize,

  linear,
  matmul,
  conv2d: convolution,
  depthwise_conv2d: depthwiseConvolution,
  grouped_conv2d: groupedConvolution,
  avg_pool2d: averagePool,
  max_pool2d: maxPool,
  unfold,
  adaptive_unfold: adaptiveUnfold,
  adaptive_lengths: adaptiveLengths,
  resize,
  segment_reduce: segmentReduce,
};

/** Ops that ONNX cannot say, and why; the export names them and their line. */
export const withoutOperator: Readonly<Record<string, string>> = {
  random_bits: "exclusive or on integers came with opset 18",
};

/** Ops whose results are taken for finite: an infinity that goes into one is a mistake of the model, not a mask. */
export const finiteResults: ReadonlySet<string> = new Set([
  ...["linear", "matmul", "conv2d", "group_norm", "layer_norm", "rms_norm", "batch_norm", "l2_normalize"],
  ...["sigmoid", "tanh", "erf", "softmax"],
  ...["attention", "iota", "sin", "cos", "size", "argmax"],
]);

/** Ops that can make an infinity of finite numbers, other than by overflow. */
export const infiniteResults: ReadonlySet<string> = new Set([
  "log",
  "log_softmax",
  "div",
  "pow",
  "rsqrt",
  "pad",
]);
