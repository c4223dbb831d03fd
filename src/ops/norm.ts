// Normalisations. All decompose into reductions and elementwise ops; the fusion passes put them together again.
// f16 inputs are widened first, so that statistics are never held in f16.

import { dim, divideExact, type Dim } from "../ir/dim.ts";
import type { Attrs, GraphBuilder, ValueId } from "../ir/graph.ts";
import type { AttrSpec, AxisRelation, InferContext, InputSpec, ReferenceContext } from "../ir/op.ts";
import type { TensorType } from "../ir/types.ts";
import {
  axisOf,
  checkAxis,
  checkFloat,
  checkSameDType,
  checkVector,
  defineOp,
  numberOf,
  same,
  sentences,
  whole,
} from "./define.ts";
import { indexAlong, moments, rowsWithout } from "./loops.ts";

const epsilon = (value: number): AttrSpec => ({
  kind: "float",
  doc: "added to the variance, inside the root",
  default: value,
});

const affine: AttrSpec = {
  kind: "bool",
  doc: "does the layer own a weight (and a bias)?",
  default: true,
  role: "weight-shape",
};
const ownsBias: AttrSpec = {
  kind: "bool",
  doc: "does the layer own a bias?",
  default: true,
  role: "weight-shape",
};

/** A parameter vector along the axis that the attribute `axis` names. */
function vectorInput(
  name: string,
  doc: string,
  axis: string,
  attrs: readonly string[],
  optional?: "optional",
): InputSpec {
  return {
    name,
    doc,
    ...(optional && { optional: true }),
    weight: {
      shape: (c) => [sizeOfAxis(c, axis)],
      when: (a) => attrs.every((flag) => a[flag] !== false),
    },
  };
}

function sizeOfAxis(c: InferContext, attr: string): Dim {
  const { shape } = c.type("x");
  return shape[axisOf(c.attrs, attr, shape.length)] ?? dim(1);
}

// Decompositions.

/** Runs `body` on an f32 version of x, and narrows its result again. */
export function widened(b: GraphBuilder, x: ValueId, body: (wide: ValueId) => ValueId): readonly ValueId[] {
  if (b.type(x).dtype !== "f16") return [body(x)];
  return [b.call("cast", [body(b.call("cast", [x], { dtype: "f32" }))], { dtype: "f16" })];
}

/** A parameter vector in f32, shaped so that it broadcasts along `axis` of a tensor of `rank` axes. */
function alongAxis(b: GraphBuilder, vector: ValueId, axis: number, rank: number): ValueId {
  const { dtype, shape } = b.type(vector);
  const wide = dtype === "f16" ? b.call("cast", [vector], { dtype: "f32" }) : vector;
  const behind = rank - 1 - axis;
  if (behind === 0) return wide;
  return b.call("reshape", [wide], { dims: [shape[0]!, ...Array.from({ length: behind }, () => dim(1))] });
}

/** x * weight + bias along an axis; either may be missing. */
function scaleAndShift(
  b: GraphBuilder,
  x: ValueId,
  weight: ValueId | undefined,
  bias: ValueId | undefined,
  axis: number,
): ValueId {
  const rank = b.type(x).shape.length;
  const scaled = weight ? b.call("mul", [x, alongAxis(b, weight, axis, rank)]) : x;
  return bias ? b.call("add", [scaled, alongAxis(b, bias, axis, rank)]) : scaled;
}

export const scalar = (b: GraphBuilder, value: number): ValueId => b.call("constant", [], { value });

/** (x - mean) / sqrt(variance + eps), with statistics over `axes`. */
function standardize(b: GraphBuilder, x: ValueId, axes: readonly number[], eps: number): ValueId {
  const mean = b.call("mean", [x], { axes, keepdims: true });
  const centered = b.call("sub", [x, mean]);
  const variance = b.call("mean", [b.call("square", [centered])], { axes, keepdims: true });
  const inverse = b.call("rsqrt", [b.call("add", [variance, scalar(b, eps)])]);
  return b.call("mul", [centered, inverse]);
}

/** The same type, without a physical order: layout is decided later. */
function unchanged({ dtype, shape, axes }: TensorType): TensorType {
  return { dtype, shape, axes };
}

/** Relations of the inputs of a norm: statistics over `axes`, vectors along `axis`. */
function normRelations(
  types: readonly (TensorType | undefined)[],
  axes: readonly number[],
  axis: number,
): readonly (readonly AxisRelation[])[] {
  return types.map((t, input) => {
    if (!t) return [];
    return input === 0 ? t.shape.map((_, i) => (axes.includes(i) ? whole(i) : same(i))) : [same(axis)];
  });
}

/** y = (x - mean) / sqrt(variance + eps) * weight + bias, given which statistics each element uses. */
function applyStatistics(
  c: ReferenceContext,
  row: Uint32Array,
  mean: Float64Array,
  variance: Float64Array,
  channel: Uint32Array,
) {
  const x = c.input("x").data;
  const weight = c.has("weight") ? c.input("weight").data : undefined;
  const bias = c.has("bias") ? c.input("bias").data : undefined;
  const eps = numberOf(c.attrs, "eps");
  const y = c.result();
  const inverse = variance.map((v) => 1 / Math.sqrt(v + eps));
  for (let i = 0; i < x.length; i++) {
    const r = row[i]!;
    const k = channel[i]!;
    y.data[i] = (x[i]! - mean[r]!) * inverse[r]! * (weight ? weight[k]! : 1) + (bias ? bias[k]! : 0);
  }
  return [y];
}

// Ops.

const channelAxis: AttrSpec = { kind: "axis", doc: "the axis of the channels (index or name)", default: 1 };

export const groupNorm = defineOp({
  name: "group_norm",
  doc: "Normalises each sample over groups of channels and all positions, then scales and shifts each channel. With one group this is PoolFormer's norm.",
  equation:
    "y = (x - mean) / sqrt(variance + eps) * weight[c] + bias[c]; statistics over a group of channels and all positions",
  inputs: [
    { name: "x", doc: "[B, C, ...], f32 or f16; the channels may be on another axis" },
    vectorInput("weight", "scale per channel, [C]", "channel_axis", ["affine"], "optional"),
    vectorInput("bias", "shift per channel, [C]", "channel_axis", ["affine", "bias"], "optional"),
  ],
  attrs: {
    groups: { kind: "int", doc: "number of groups that the channels are cut into" },
    eps: epsilon(1e-5),
    channel_axis: channelAxis,
    affine,
    bias: ownsBias,
  },
  constraints: {
    float: sentences.float,
    rank: "x has a batch axis and a channel axis",
    groups: "the channels divide evenly into groups",
    channels: "weight and bias have one number per channel",
    dtype: sentences.dtype,
  },
  infer(c) {
    const x = checkFloat(c);
    const axis = axisOf(c.attrs, "channel_axis", x.shape.length);
    c.check("rank", axis >= 1 && axis < x.shape.length, {
      input: "x",
      got: `channel axis ${numberOf(c.attrs, "channel_axis")} of ${x.shape.length} axes`,
      expected: "a channel axis after the batch axis",
    });
    const channels = x.shape[axis]!;
    const groups = numberOf(c.attrs, "groups");
    const ok = Number.isInteger(groups) && groups >= 1 && divideExact(channels, dim(groups)) !== undefined;
    c.check("groups", ok, {
      input: "x",
      axis,
      got: channels.key,
      expected: `a multiple of ${groups} groups`,
    });
    checkVector(c, "weight", channels);
    checkVector(c, "bias", channels);
    checkSameDType(c, ["x", "weight", "bias"]);
    return [unchanged(x)];
  },
  axes(types, attrs) {
    const rank = types[0]?.shape.length ?? 0;
    const statistics = Array.from({ length: rank - 1 }, (_, i) => i + 1);
    return normRelations(types, statistics, axisOf(attrs, "channel_axis", rank));
  },
  reference(c) {
    const x = c.input("x");
    const axis = axisOf(c.attrs, "channel_axis", x.shape.length);
    const groups = numberOf(c.attrs, "groups");
    const perGroup = x.shape[axis]! / groups;
    const batch = indexAlong(x.shape, 0);
    const channel = indexAlong(x.shape, axis);
    const row = batch.map((b, i) => b * groups + Math.floor(channel[i]! / perGroup));
    const { mean, variance } = moments(x.data, row, x.shape[0]! * groups);
    return applyStatistics(c, row, mean, variance, channel);
  },
  lowering: {
    kind: "decompose",
    decompose: (b, [x, weight, bias], attrs) =>
      widened(b, x!, (wide) => {
        const { shape } = b.type(wide);
        const axis = axisOf(attrs, "channel_axis", shape.length);
        const y = standardizeGroups(b, wide, axis, attrs);
        return scaleAndShift(b, y, weight, bias, axis);
      }),
  },
  examples: [
    {
      about: "one group: statistics over everything in the sample",
      inputs: { x: [[[[1, 2]], [[3, 6]]]] },
      attrs: { groups: 1 },
      outputs: [[[[[-1.069043, -0.534522]], [[0, 1.603565]]]]],
    },
    {
      about: "a group per channel, with scale and shift",
      inputs: {
        x: [
          [
            [1, 3],
            [2, 6],
          ],
        ],
        weight: [1, 2],
        bias: [0, 10],
      },
      attrs: { groups: 2, eps: 0 },
      outputs: [
        [
          [
            [-1, 1],
            [8, 12],
          ],
        ],
      ],
    },
  ],
});

/** With one group nothing needs reshaping: the statistics are over all axes but the batch. */
function standardizeGroups(b: GraphBuilder, x: ValueId, axis: number, attrs: Attrs): ValueId {
  const { shape } = b.type(x);
  const groups = numberOf(attrs, "groups");
  const eps = numberOf(attrs, "eps");
  const behind = (rank: number, skip: number) =>
    Array.from({ length: rank }, (_, i) => i).filter((i) => i > 0 && i !== skip);
  if (groups === 1) return standardize(b, x, behind(shape.length, 0), eps);
  const split = [
    ...shape.slice(0, axis),
    dim(groups),
    divideExact(shape[axis]!, dim(groups))!,
    ...shape.slice(axis + 1),
  ];
  const grouped = b.call("reshape", [x], { dims: split });
  return b.call("reshape", [standardize(b, grouped, behind(split.length, axis), eps)], { dims: shape });
}

const normAxis: AttrSpec = { kind: "axis", doc: "the axis normalised over (index or name)", default: -1 };

export const layerNorm = defineOp({
  name: "layer_norm",
  doc: "Normalises over one axis, the last by default, then scales and shifts each of its positions.",
  equation: "y = (x - mean) / sqrt(variance + eps) * weight + bias; statistics along the axis",
  inputs: [
    { name: "x", doc: "any shape, f32 or f16" },
    vectorInput("weight", "scale, one number per position of the axis", "axis", ["affine"], "optional"),
    vectorInput("bias", "shift, one number per position of the axis", "axis", ["affine", "bias"], "optional"),
  ],
  attrs: { axis: normAxis, eps: epsilon(1e-5), affine, bias: ownsBias },
  constraints: {
    float: sentences.float,
    axis: sentences.axis,
    channels: "weight and bias have one number per position of the axis",
    dtype: sentences.dtype,
  },
  infer: inferAxisNorm,
  axes: axisNormRelations,
  reference(c) {
    const x = c.input("x");
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const { row, rows } = rowsWithout(x.shape, [axis]);
    const { mean, variance } = moments(x.data, row, rows);
    return applyStatistics(c, row, mean, variance, indexAlong(x.shape, axis));
  },
  lowering: {
    kind: "decompose",
    decompose: (b, [x, weight, bias], attrs) =>
      widened(b, x!, (wide) => {
        const axis = axisOf(attrs, "axis", b.type(wide).shape.length);
        return scaleAndShift(b, standardize(b, wide, [axis], numberOf(attrs, "eps")), weight, bias, axis);
      }),
  },
  examples: [
    {
      about: "over the channels of an image (LayerNorm2d)",
      inputs: { x: [[[[1, 2]], [[3, 6]]]] },
      attrs: { axis: 1 },
      outputs: [[[[[-1, -1]], [[1, 1]]]]],
      tolerance: 1e-5,
    },
    {
      about: "over the last axis, with scale and shift",
      inputs: { x: [[1, 3]], weight: [1, 2], bias: [0, 10] },
      attrs: { eps: 0 },
      outputs: [[[-1, 12]]],
    },
  ],
});

export function inferAxisNorm(c: InferContext): readonly TensorType[] {
  const x = checkFloat(c);
  const axis = checkAxis(c);
  checkVector(c, "weight", x.shape[axis]!);
  checkVector(c, "bias", x.shape[axis]!);
  checkSameDType(c, ["x", "weight", "bias"]);
  return [unchanged(x)];
}

export function axisNormRelations(types: readonly (TensorType | undefined)[], attrs: Attrs) {
  const axis = axisOf(attrs, "axis", types[0]?.shape.length ?? 0);
  return normRelations(types, [axis], axis);
}

export const rmsNorm = defineOp({
  name: "rms_norm",
  doc: "Divides by the root of the mean square over one axis, then scales each of its positions; nothing is subtracted.",
  equation: "y = x / sqrt(mean of x^2 + eps) * weight",
  inputs: [
    { name: "x", doc: "any shape, f32 or f16" },
    vectorInput("weight", "scale, one number per position of the axis", "axis", ["affine"], "optional"),
  ],
  attrs: { axis: normAxis, eps: epsilon(1e-6), affine },
  constraints: {
    float: sentences.float,
    axis: sentences.axis,
    channels: "weight has one number per position of the axis",
    dtype: sentences.dtype,
  },
  infer: inferAxisNorm,
  axes: axisNormRelations,
  reference(c) {
    const x = c.input("x");
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const { row, rows } = rowsWithout(x.shape, [axis]);
    const meanSquare = new Float64Array(rows);
    for (let i = 0; i < x.data.length; i++)
      meanSquare[row[i]!]! += (x.data[i]! * x.data[i]!) / x.shape[axis]!;
    return applyStatistics(c, row, new Float64Array(rows), meanSquare, indexAlong(x.shape, axis));
  },
  lowering: {
    kind: "decompose",
    decompose: (b, [x, weight], attrs) =>
      widened(b, x!, (wide) => {
        const axis = axisOf(attrs, "axis", b.type(wide).shape.length);
        const meanSquare = b.call("mean", [b.call("square", [wide])], { axes: [axis], keepdims: true });
        const inverse = b.call("rsqrt", [b.call("add", [meanSquare, scalar(b, numberOf(attrs, "eps"))])]);
        return scaleAndShift(b, b.call("mul", [wide, inverse]), weight, undefined, axis);
      }),
  },
  examples: [
    {
      about: "root of the mean square is 5",
      inputs: { x: [[1, 7]], weight: [1, 10] },
      attrs: { eps: 0 },
      outputs: [[[0.2, 14]]],
    },
  ],
});

export const batchNorm = defineOp({
  name: "batch_norm",
  doc: "Batch normalisation at inference: an affine map per channel, from stored statistics.",
  equation: "y = (x - running_mean[c]) / sqrt(running_var[c] + eps) * weight[c] + bias[c]",
  inputs: [
    { name: "x", doc: "[B, C, ...], f32 or f16; the channels may be on another axis" },
    vectorInput("weight", "scale per channel, [C]", "channel_axis", ["affine"], "optional"),
    vectorInput("bias", "shift per channel, [C]", "channel_axis", ["affine"], "optional"),
    vectorInput("running_mean", "stored mean per channel, [C]", "channel_axis", []),
    vectorInput("running_var", "stored variance per channel, [C]", "channel_axis", []),
  ],
  attrs: { eps: epsilon(1e-5), channel_axis: channelAxis, affine },
  constraints: {
    float: sentences.float,
    axis: "the channel axis is one of x",
    channels: "weight, bias and statistics have one number per channel",
    dtype: sentences.dtype,
  },
  infer(c) {
    const x = checkFloat(c);
    const channels = x.shape[checkAxis(c, "channel_axis")]!;
    const vectors = ["weight", "bias", "running_mean", "running_var"];
    for (const name of vectors) checkVector(c, name, channels);
    checkSameDType(c, ["x", ...vectors]);
    return [unchanged(x)];
  },
  axes: (types, attrs) =>
    normRelations(types, [], axisOf(attrs, "channel_axis", types[0]?.shape.length ?? 0)),
  reference(c) {
    const x = c.input("x");
    const channel = indexAlong(x.shape, axisOf(c.attrs, "channel_axis", x.shape.length));
    const mean = Float64Array.from(c.input("running_mean").data);
    return applyStatistics(c, channel, mean, Float64Array.from(c.input("running_var").data), channel);
  },
  lowering: {
    kind: "decompose",
    decompose: (b, [x, weight, bias, mean, variance], attrs) =>
      widened(b, x!, (wide) => {
        const rank = b.type(wide).shape.length;
        const axis = axisOf(attrs, "channel_axis", rank);
        const centered = b.call("sub", [wide, alongAxis(b, mean!, axis, rank)]);
        const spread = b.call("add", [
          alongAxis(b, variance!, axis, rank),
          scalar(b, numberOf(attrs, "eps")),
        ]);
        const y = b.call("mul", [centered, b.call("rsqrt", [spread])]);
        return scaleAndShift(b, y, weight, bias, axis);
      }),
  },
  examples: [
    {
      about: "two channels",
      inputs: {
        x: [
          [
            [1, 3],
            [2, 6],
          ],
        ],
        weight: [1, 2],
        bias: [0, 10],
        running_mean: [2, 4],
        running_var: [1, 4],
      },
      attrs: { eps: 0 },
      outputs: [
        [
          [
            [-1, 1],
            [8, 12],
          ],
        ],
      ],
    },
  ],
});
