// Convolution and pooling in ONNX.

import { mulDim, type Dim } from "../ir/dim.ts";
import { fixedSize, flag, number, pair, type OpContext, type Translate } from "./context.ts";

type Pair = readonly [number, number];

/** ONNX lists what is in front of every axis, then what is behind. */
const pads = (front: Pair, behind: Pair) => ({ ints: [...front, ...behind] });

export const convolution: Translate = (c) => {
  const [, , ...kernel] = c.type(1).shape.map((d) => d);
  const pad = pair(c, "pad");
  return c.writer.node("Conv", c.has(2) ? [c.input(0), c.input(1), c.input(2)] : [c.input(0), c.input(1)], {
    kernel_shape: { ints: kernel.map((d) => fixedSize(c, d)) },
    strides: { ints: pair(c, "stride") },
    pads: pads(pad, pad),
    dilations: { ints: pair(c, "dilation") },
    group: { int: number(c, "groups") },
  });
};

/** The taps as the kernels of an ordinary convolution with a group for each channel. */
export const depthwiseConvolution: Translate = (c) => {
  const { writer } = c;
  const kernel = pair(c, "kernel");
  const pad = pair(c, "pad");
  const out = fixedSize(c, c.type(1).shape[1]!);
  const rows = writer.node("Transpose", [c.input(1)], { perm: { ints: [1, 0] } });
  const weight = writer.node("Reshape", [rows, writer.integers([out, 1, ...kernel])]);
  return writer.node("Conv", c.has(2) ? [c.input(0), weight, c.input(2)] : [c.input(0), weight], {
    kernel_shape: { ints: kernel },
    strides: { ints: pair(c, "stride") },
    pads: pads(pad, pad),
    dilations: { ints: pair(c, "dilation") },
    group: { int: fixedSize(c, c.type(0).shape[1]!) },
  });
};

/** Groups side by side are channels. */
export const groupedConvolution: Translate = (c) => {
  const { writer } = c;
  const [batch, groups, channels, height, width] = c.type(0).shape as readonly [Dim, Dim, Dim, Dim, Dim];
  const [, outs, , ...kernel] = c.type(1).shape as readonly [Dim, Dim, Dim, Dim, Dim];
  const pad = pair(c, "pad");
  const image = writer.shape([batch, mulDim(groups, channels), height, width], "infer one");
  const kernels = writer.shape([mulDim(groups, outs), channels, ...kernel], "infer one");
  const product = writer.node(
    "Conv",
    [writer.node("Reshape", [c.input(0), image]), writer.node("Reshape", [c.input(1), kernels])],
    {
      kernel_shape: { ints: kernel.map((d) => fixedSize(c, d)) },
      strides: { ints: pair(c, "stride") },
      pads: pads(pad, pad),
      dilations: { ints: pair(c, "dilation") },
      group: { int: fixedSize(c, groups) },
    },
  );
  return writer.node("Reshape", [product, writer.shape(c.result.shape, "infer one")]);
};

/** A stride of 0 means the size of the window. */
function strides(c: OpContext): Pair {
  const size = pair(c, "size");
  const [down, across] = pair(c, "stride");
  return [down === 0 ? size[0] : down, across === 0 ? size[1] : across];
}

/**
 * Positions that rounding up puts behind each axis, beyond the padding. ONNX's own ceil_mode starts a window in the padding behind,
 * which ours never does, so the sizes are worked out here and ONNX rounds down.
 */
function overhang(c: OpContext, dilation: Pair = [1, 1]): Pair {
  if (!flag(c, "ceil_mode")) return [0, 0];
  const [size, stride, pad] = [pair(c, "size"), strides(c), pair(c, "pad")];
  const along = (i: 0 | 1): number => {
    const into = fixedSize(c, c.type(0).shape[2 + i] as Dim);
    const windows = fixedSize(c, c.result.shape[2 + i] as Dim);
    const reach = dilation[i] * (size[i] - 1) + 1;
    return Math.max(0, (windows - 1) * stride[i] + reach - (into + 2 * pad[i]));
  };
  return [along(0), along(1)];
}

export const averagePool: Translate = (c) => {
  const { writer } = c;
  const pad = pair(c, "pad");
  const over = overhang(c);
  const padded = pad.some((n) => n > 0);
  const includes = flag(c, "count_include_pad") && padded;
  const hangs = over.some((n) => n > 0);
  const attributes = { kernel_shape: { ints: pair(c, "size") }, strides: { ints: strides(c) } };
  if (includes && hangs) {
    // The padding counts and the overhang does not: make the padding part of the image.
    const around = writer.integers([0, 0, ...pad, 0, 0, ...pad]);
    const image = writer.node("Pad", [c.input(0), around, writer.scalar(0, c.result.dtype)]);
    return writer.node("AveragePool", [image], { ...attributes, pads: pads([0, 0], over) });
  }
  return writer.node("AveragePool", [c.input(0)], {
    ...attributes,
    pads: pads(pad, [pad[0] + over[0], pad[1] + over[1]]),
    count_include_pad: { int: includes ? 1 : 0 },
  });
};

export const maxPool: Translate = (c) => {
  const { writer } = c;
  const size = pair(c, "size");
  const pad = pair(c, "pad");
  const dilation = pair(c, "dilation");
  const over = overhang(c, dilation);
  const behind: Pair = [pad[0] + over[0], pad[1] + over[1]];
  const attributes = {
    kernel_shape: { ints: size },
    strides: { ints: strides(c) },
    dilations: { ints: dilation },
  };
  // Runtimes refuse a padding that is as long as the undilated window, which the overhang of a dilated one can be.
  if (behind.every((n, i) => n < size[i]!))
    return writer.node("MaxPool", [c.input(0)], { ...attributes, pads: pads(pad, behind) });
  const around = writer.integers([0, 0, ...pad, 0, 0, ...behind]);
  const image = writer.node("Pad", [c.input(0), around, writer.scalar(-Infinity, c.result.dtype)]);
  return writer.node("MaxPool", [image], attributes);
};
