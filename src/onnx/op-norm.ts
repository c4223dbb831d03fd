// Normalisations in ONNX. Opset 17 has InstanceNormalization, LayerNormalization (over trailing axes), BatchNormalization and
// Softmax; other axes are written out. f16 is widened first, as our decompositions do.

import { constantOf, dim, productDim } from "../ir/dim.ts";
import {
  alongAxis,
  axis,
  fixedSize,
  narrow,
  number,
  rank,
  wide,
  type OpContext,
  type Translate,
} from "./context.ts";

/** x * weight + bias along an axis of x, in f32; inputs `weight` and `bias` of the op may be missing. */
function scaleAndShift(c: OpContext, x: string, at: number, weight = 1, bias = 2): string {
  const scaled = c.has(weight) ? c.writer.node("Mul", [x, alongAxis(c, wide(c, weight), at, rank(c))]) : x;
  return c.has(bias) ? c.writer.node("Add", [scaled, alongAxis(c, wide(c, bias), at, rank(c))]) : scaled;
}

function mean(c: OpContext, x: string, axes: readonly number[]): string {
  return c.writer.node("ReduceMean", [x], { axes: { ints: axes }, keepdims: { int: 1 } });
}

/** (x - mean) / sqrt(variance + eps), statistics over the axes. */
function standardize(
  c: OpContext,
  x: string,
  axes: readonly number[],
  centered = c.writer.node("Sub", [x, mean(c, x, axes)]),
): string {
  const variance = mean(c, c.writer.node("Mul", [centered, centered]), axes);
  const shifted = c.writer.node("Add", [variance, c.writer.scalar(number(c, "eps"), "f32")]);
  return c.writer.node("Div", [centered, c.writer.node("Sqrt", [shifted])]);
}

/** A group is one instance channel: [B, groups, everything else]. */
export const groupNorm: Translate = (c) => {
  const { writer } = c;
  const { shape } = c.type(0);
  const channel = axis(c, "channel_axis");
  const groups = number(c, "groups");
  const channels = fixedSize(c, shape[channel]!);
  const x = wide(c, 0);
  if (channel !== 1) {
    // Channels apart from their groups, at the front: [B, groups, channels of a group, positions...], and back.
    const others = shape.map((_, i) => i).filter((i) => i !== 0 && i !== channel);
    const perm = [0, channel, ...others];
    const inverse = shape.map((_, i) => perm.indexOf(i));
    const front = writer.node("Transpose", [x], { perm: { ints: perm } });
    const back = writer.node("Transpose", [normalize(front, perm)], { perm: { ints: inverse } });
    return narrow(c, scaleAndShift(c, back, channel));
  }
  return narrow(
    c,
    scaleAndShift(
      c,
      normalize(
        x,
        shape.map((_, i) => i),
      ),
      channel,
    ),
  );

  function normalize(value: string, perm: readonly number[]): string {
    // Of no rows nothing can be inferred, so the size is said where it is known.
    const each = constantOf(writer.fix(productDim(shape.filter((_, i) => i !== 0 && i !== channel))));
    const rest = each === undefined ? -1 : (each * channels) / groups;
    const cut = writer.node("Reshape", [value, writer.integers([0, groups, rest])]);
    const normal = writer.node(
      "InstanceNormalization",
      [cut, writer.filled(1, groups, "f32"), writer.filled(0, groups, "f32")],
      { epsilon: { float: number(c, "eps") } },
    );
    const sizes = perm.map((i) => (i === channel ? dim(channels) : shape[i]!));
    return writer.node("Reshape", [normal, writer.shape(sizes, "infer one")]);
  }
};

export const layerNorm: Translate = (c) => {
  const at = axis(c);
  const x = wide(c, 0);
  if (at !== rank(c) - 1) return narrow(c, scaleAndShift(c, standardize(c, x, [at]), at));
  const count = fixedSize(c, c.type(0).shape[at]!);
  const scale = c.has(1) ? wide(c, 1) : c.writer.filled(1, count, "f32");
  return narrow(
    c,
    c.writer.node("LayerNormalization", c.has(2) ? [x, scale, wide(c, 2)] : [x, scale], {
      axis: { int: -1 },
      epsilon: { float: number(c, "eps") },
    }),
  );
};

export const rmsNorm: Translate = (c) => {
  const at = axis(c);
  const x = wide(c, 0);
  return narrow(c, scaleAndShift(c, standardize(c, x, [at], x), at, 1, -1));
};

/** Inputs: x, weight?, bias?, running_mean, running_var. */
export const batchNorm: Translate = (c) => {
  const at = axis(c, "channel_axis");
  const count = fixedSize(c, c.type(3).shape[0]!);
  const x = wide(c, 0);
  if (at === 1) {
    const scale = c.has(1) ? wide(c, 1) : c.writer.filled(1, count, "f32");
    const shift = c.has(2) ? wide(c, 2) : c.writer.filled(0, count, "f32");
    const inputs = [x, scale, shift, wide(c, 3), wide(c, 4)];
    return narrow(c, c.writer.node("BatchNormalization", inputs, { epsilon: { float: number(c, "eps") } }));
  }
  const { writer } = c;
  const deviation = writer.node("Sqrt", [
    writer.node("Add", [wide(c, 4), writer.scalar(number(c, "eps"), "f32")]),
  ]);
  const centered = writer.node("Sub", [x, alongAxis(c, wide(c, 3), at, rank(c))]);
  const normal = writer.node("Div", [centered, alongAxis(c, deviation, at, rank(c))]);
  return narrow(c, scaleAndShift(c, normal, at));
};

/** ONNX gives NaN for a row of nothing but -infinity, ours 0: where such a row cannot be excluded it is put right. */
export const softmax: Translate = (c) => {
  const { writer } = c;
  const at = axis(c);
  const x = wide(c, 0);
  const powers = writer.node("Softmax", [x], { axis: { int: at } });
  if (!c.mayBeInfinite(0)) return narrow(c, powers);
  const largest = writer.node("ReduceMax", [x], { axes: { ints: [at] }, keepdims: { int: 1 } });
  const masked = writer.node("Equal", [largest, writer.scalar(-Infinity, "f32")]);
  return narrow(c, writer.node("Where", [masked, writer.scalar(0, "f32"), powers]));
};

export const logSoftmax: Translate = (c) =>
  narrow(c, c.writer.node("LogSoftmax", [wide(c, 0)], { axis: { int: axis(c) } }));

export const l2Normalize: Translate = (c) => {
  const { writer } = c;
  const x = wide(c, 0);
  const norm = writer.node("ReduceL2", [x], { axes: { ints: [axis(c)] }, keepdims: { int: 1 } });
  return narrow(
    c,
    writer.node("Div", [x, writer.node("Max", [norm, writer.scalar(number(c, "eps"), "f32")])]),
  );
};
