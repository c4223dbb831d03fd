// What conv2d with groups is written with: a stencil where every channel stands alone, and a batched contraction where a group has
// several. Made by the compiler only.

import { and } from "../ir/expr.ts";
import { constantOf, dim, divideExact, mulDim, productDim, type Dim } from "../ir/dim.ts";
import type { Attrs, GraphBuilder, ValueId } from "../ir/graph.ts";
import type { ReferenceContext } from "../ir/op.ts";
import { elementsOf, type TensorType } from "../ir/types.ts";
import { checkFloat, checkRank, defineOp, isOne, other, pairOf, reduced, same, sentences } from "./define.ts";
import { stencil } from "./depthwise-kernel.ts";
import {
  fitsSentence,
  runningTap,
  slideWindows,
  windowRelation,
  windowSentence,
  windowsOf,
} from "./window.ts";

const windowAttrs = {
  stride: { kind: "pair", doc: "distance between windows", default: [1, 1] },
  pad: { kind: "pair", doc: "zeros put on each side", default: [0, 0] },
  dilation: { kind: "pair", doc: "distance between taps", default: [1, 1] },
} as const;

/** conv2d with `groups` parts, in terms of the ops below. */
export function expandGroups(
  b: GraphBuilder,
  x: ValueId,
  weight: ValueId,
  bias: ValueId | undefined,
  groups: number,
  attrs: Attrs,
): readonly ValueId[] {
  const [batch, channels, height, width] = b.type(x).shape as readonly [Dim, Dim, Dim, Dim];
  const [out, own, ...kernel] = b.type(weight).shape as readonly [Dim, Dim, Dim, Dim];
  if (isOne(own)) {
    const flat = b.call("reshape", [weight], { dims: [out, productDim(kernel)] });
    const taps = b.call("transpose", [flat], { perm: [1, 0] });
    const size = kernel.map((d) => constantOf(d)!);
    return [b.call("depthwise_conv2d", [x, taps, bias], { ...attrs, kernel: size })];
  }
  const parts = dim(groups);
  const inside = b.call("reshape", [x], {
    dims: [batch, parts, divideExact(channels, parts)!, height, width],
  });
  const kernels = b.call("reshape", [weight], { dims: [parts, divideExact(out, parts)!, own, ...kernel] });
  const product = b.call("grouped_conv2d", [inside, kernels], attrs);
  const [, , , rows, columns] = b.type(product).shape as readonly [Dim, Dim, Dim, Dim, Dim];
  const y = b.call("reshape", [product], { dims: [batch, out, rows, columns] });
  if (bias === undefined) return [y];
  return [b.call("add", [y, b.call("reshape", [bias], { dims: [out, dim(1), dim(1)] })])];
}

export const depthwiseConv2d = defineOp({
  name: "depthwise_conv2d",
  doc: "What conv2d with one channel a group becomes: each channel has kernels of its own, stored tap by tap.",
  equation:
    "y[b, o, i, j] = sum over u, v of x[b, o / m, i*stride - pad + u*dilation, j*stride - pad + v*dilation] * taps[u*width + v, o] + bias[o],  m = out / C",
  traits: ["contraction"],
  inputs: [
    { name: "x", doc: "[B, C, H, W], f32 or f16" },
    { name: "taps", doc: "[kernel height * kernel width, out]" },
    { name: "bias", doc: "[out]", optional: true },
  ],
  attrs: { kernel: { kind: "pair", doc: "size of the kernel" }, ...windowAttrs },
  constraints: {
    float: sentences.float,
    rank: "x has four axes, the taps two",
    window: windowSentence,
    fits: fitsSentence,
  },
  infer(c) {
    const x = checkFloat(c);
    checkRank(c, "x", 4);
    const out = checkRank(c, "taps", 2).shape[1]!;
    const windows = windowsOf(c.attrs, pairOf(c.attrs, "kernel"), pairOf(c.attrs, "stride"));
    const sizes = slideWindows(c, [x.shape[2]!, x.shape[3]!], windows);
    return [{ dtype: x.dtype, shape: [x.shape[0]!, out, ...sizes], axes: imageAxes(x) }];
  },
  axes([x, taps, bias], attrs) {
    const [rows, columns] = windowsOf(attrs, pairOf(attrs, "kernel"), pairOf(attrs, "stride"));
    const channel = x && taps && x.shape[1]!.key === taps.shape[1]!.key ? same(1) : other;
    return [
      [same(0), channel, windowRelation(2, rows), windowRelation(3, columns)],
      [reduced, same(1)],
      bias ? [same(1)] : [],
    ];
  },
  reference: slideKernels,
  lowering: { kind: "program", epilogue: true, program: (f) => ({ steps: [stencil(f)] }) },
  examples: [
    {
      about: "a sum and a difference of neighbours",
      inputs: {
        x: [[[[1, 2, 3]], [[4, 5, 6]]]],
        taps: [
          [1, 1],
          [1, -1],
        ],
      },
      attrs: { kernel: [1, 2] },
      outputs: [[[[[3, 5]], [[-1, -1]]]]],
    },
  ],
  macs: ([, taps], _, result) => mulDim(elementsOf(result), taps!.shape[0]!),
  inLanguage: false,
});

const imageAxes = (x: TensorType): readonly (string | null)[] =>
  ["batch", "channels", "height", "width"].map((name, i) => x.axes[i] ?? name);

function slideKernels(c: ReferenceContext) {
  const [x, taps] = [c.input("x"), c.input("taps")];
  const bias = c.has("bias") ? c.input("bias").data : undefined;
  const y = c.result();
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const [batch, out, outHeight, outWidth] = y.shape as [number, number, number, number];
  const [kernelHeight, kernelWidth] = pairOf(c.attrs, "kernel");
  const [strideY, strideX] = pairOf(c.attrs, "stride");
  const [padY, padX] = pairOf(c.attrs, "pad");
  const [dilationY, dilationX] = pairOf(c.attrs, "dilation");
  let at = 0;
  for (let b = 0; b < batch; b++)
    for (let o = 0; o < out; o++) {
      const plane = (b * channels + Math.floor((o * channels) / out)) * height;
      for (let i = 0; i < outHeight; i++)
        for (let j = 0; j < outWidth; j++) {
          let sum = 0;
          for (let u = 0; u < kernelHeight; u++)
            for (let v = 0; v < kernelWidth; v++) {
              const row = i * strideY - padY + u * dilationY;
              const column = j * strideX - padX + v * dilationX;
              if (row < 0 || row >= height || column < 0 || column >= width) continue;
              sum += x.data[(plane + row) * width + column]! * taps.data[(u * kernelWidth + v) * out + o]!;
            }
          y.data[at++] = sum + (bias ? bias[o]! : 0);
        }
    }
  return [y];
}

export const groupedConv2d = defineOp({
  name: "grouped_conv2d",
  doc: "What conv2d with several channels a group becomes: a convolution for each group.",
  equation:
    "y[b, g, o, i, j] = sum over c, u, v of x[b, g, c, i*stride - pad + u*dilation, j*stride - pad + v*dilation] * weight[g, o, c, u, v]",
  traits: ["contraction", "linear"],
  inputs: [
    { name: "x", doc: "[B, groups, C, H, W], f32 or f16" },
    { name: "weight", doc: "[groups, out, C, kernel height, kernel width]" },
  ],
  attrs: windowAttrs,
  constraints: {
    float: sentences.float,
    rank: "x and the weight have five axes",
    window: windowSentence,
    fits: fitsSentence,
  },
  infer(c) {
    const x = checkFloat(c);
    checkRank(c, "x", 5);
    const { shape } = checkRank(c, "weight", 5);
    const sizes = slideWindows(c, [x.shape[3]!, x.shape[4]!], weightWindows(shape, c.attrs));
    const axes = ["batch", null, "channels", "height", "width"];
    return [{ dtype: x.dtype, shape: [x.shape[0]!, x.shape[1]!, shape[1]!, ...sizes], axes }];
  },
  axes([, weight], attrs) {
    const [rows, columns] = weightWindows(weight!.shape, attrs);
    return [
      [same(0), same(1), reduced, windowRelation(3, rows), windowRelation(4, columns)],
      [same(1), same(2), reduced, reduced, reduced],
    ];
  },
  reference(c) {
    const [x, weight] = [c.input("x"), c.input("weight")];
    const y = c.result();
    const [batch, groups, channels, height, width] = x.shape as [number, number, number, number, number];
    const [, outs, , kernelHeight, kernelWidth] = weight.shape as [number, number, number, number, number];
    const [outHeight, outWidth] = y.shape.slice(3) as [number, number];
    const [strideY, strideX] = pairOf(c.attrs, "stride");
    const [padY, padX] = pairOf(c.attrs, "pad");
    const [dilationY, dilationX] = pairOf(c.attrs, "dilation");
    let at = 0;
    for (let part = 0; part < batch * groups; part++)
      for (let o = 0; o < outs; o++)
        for (let i = 0; i < outHeight; i++)
          for (let j = 0; j < outWidth; j++) {
            let sum = 0;
            const kernel = ((part % groups) * outs + o) * channels * kernelHeight * kernelWidth;
            for (let k = 0; k < channels * kernelHeight * kernelWidth; k++) {
              const channel = Math.floor(k / (kernelHeight * kernelWidth));
              const row = i * strideY - padY + (Math.floor(k / kernelWidth) % kernelHeight) * dilationY;
              const column = j * strideX - padX + (k % kernelWidth) * dilationX;
              if (row < 0 || row >= height || column < 0 || column >= width) continue;
              const pixel = ((part * channels + channel) * height + row) * width + column;
              sum += x.data[pixel]! * weight.data[kernel + k]!;
            }
            y.data[at++] = sum;
          }
    return [y];
  },
  lowering: {
    kind: "contraction",
    describe([x, weight], attrs) {
      const [rows, columns] = weightWindows(weight!.shape, attrs);
      return {
        batch: [1],
        left: [0, 3, 4],
        right: [2],
        reduce: [weight!.shape[3]!, weight!.shape[4]!, weight!.shape[2]!],
        leftIndex(c, out, k) {
          const i = runningTap(c, out[3]!, x!.shape[3]!, rows, k[0]!);
          const j = runningTap(c, out[4]!, x!.shape[4]!, columns, k[1]!);
          const inside = i.inside && j.inside ? and(i.inside, j.inside) : (i.inside ?? j.inside);
          return { index: [out[0]!, out[1]!, k[2]!, i.at, j.at], ...(inside && { inside }) };
        },
        rightIndex: (_, out, k) => ({ index: [out[1]!, out[2]!, k[2]!, k[0]!, k[1]!] }),
      };
    },
  },
  examples: [
    {
      about: "two groups of two channels, each with one result",
      inputs: {
        x: [
          [
            [[[1]], [[2]]],
            [[[3]], [[4]]],
          ],
        ],
        weight: [[[[[1]], [[1]]]], [[[[1]], [[-1]]]]],
      },
      outputs: [[[[[[3]]], [[[-1]]]]]],
    },
  ],
  macs: ([, weight], _, result) => mulDim(elementsOf(result), productDim(weight!.shape.slice(2))),
  inLanguage: false,
});

function weightWindows(shape: readonly Dim[], attrs: Attrs) {
  const size = (axis: number) => constantOf(shape[axis]!) ?? 0;
  return windowsOf(attrs, [size(3), size(4)], pairOf(attrs, "stride"));
}
