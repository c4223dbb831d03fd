// Convolution of images, channels first as PyTorch has them. With groups it is written with the ops of grouped-conv.ts.

import { and } from "../ir/expr.ts";
import { constantOf, dim, divideExact, mulDim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { InferContext, ReferenceContext } from "../ir/op.ts";
import { elementsOf, type TensorType } from "../ir/types.ts";
import {
  checkFloat,
  checkRank,
  checkSameDType,
  checkVector,
  defineOp,
  dimOf,
  isOne,
  numberOf,
  pairOf,
  reduced,
  same,
  sentences,
} from "./define.ts";
import { expandGroups } from "./grouped-conv.ts";
import { layerAttrs } from "./linear.ts";
import { asDoubles, multiplyRows } from "./loops.ts";
import {
  fitsSentence,
  runningTap,
  slideWindows,
  windowRelation,
  windowSentence,
  windowsOf,
  type Window,
} from "./window.ts";

const imageAxes = ["batch", "channels", "height", "width"] as const;

function kernelSize(weight: TensorType): readonly [number, number] {
  return [constantOf(weight.shape[2]!) ?? 0, constantOf(weight.shape[3]!) ?? 0];
}

function convWindows(weight: TensorType, attrs: Attrs): readonly [Window, Window] {
  return windowsOf(attrs, kernelSize(weight), pairOf(attrs, "stride"));
}

/** Channels that one group reads. */
function channelsOfGroup(c: InferContext, channels: Dim): Dim {
  const groups = numberOf(c.attrs, "groups");
  const own = groups >= 1 ? divideExact(channels, dim(groups)) : undefined;
  c.check("groups", own !== undefined, {
    input: "x",
    axis: 1,
    got: channels.key,
    expected: groups >= 1 ? `a multiple of ${groups}` : "at least one group",
  });
  return own ?? channels;
}

export const conv2d = defineOp({
  name: "conv2d",
  doc: "Two-dimensional convolution (cross-correlation: the kernel is not flipped), padded with zeros. The weight is stored [out, in, height, width], as in PyTorch.",
  equation:
    "y[b, o, i, j] = sum over c, u, v of x[b, c, i*stride - pad + u*dilation, j*stride - pad + v*dilation] * weight[o, c, u, v] + bias[o]",
  traits: ["contraction"],
  inputs: [
    { name: "x", doc: "[B, C, H, W], f32 or f16" },
    {
      name: "weight",
      doc: "[out, C / groups, kernel height, kernel width]",
      weight: {
        shape: (c) => [
          dimOf(c.attrs, "out"),
          channelsOfGroup(c, c.type("x").shape[1] ?? dim(1)),
          ...pairOf(c.attrs, "kernel").map((k) => dim(k)),
        ],
      },
    },
    {
      name: "bias",
      doc: "[out]",
      optional: true,
      weight: { shape: (c) => [dimOf(c.attrs, "out")], when: (attrs) => attrs["bias"] !== false },
    },
  ],
  attrs: {
    ...layerAttrs,
    kernel: { kind: "pair", doc: "size of the kernel", role: "weight-shape" },
    stride: { kind: "pair", doc: "distance between windows", default: [1, 1] },
    pad: { kind: "pair", doc: "zeros put on each side", default: [0, 0] },
    dilation: { kind: "pair", doc: "distance between taps", default: [1, 1] },
    groups: {
      kind: "int",
      doc: "equal parts of the channels that are convolved apart; as many as channels: depthwise",
      default: 1,
    },
  },
  constraints: {
    float: sentences.float,
    rank: "x and the weight have four axes",
    groups: "the channels of x and of the result can be cut into so many equal parts",
    channels: "x has as many channels as the weight takes",
    kernel: "the kernel's size is a number",
    window: windowSentence,
    fits: fitsSentence,
    bias: "the bias has one number per output channel",
    dtype: sentences.dtype,
  },
  infer(c) {
    const x = checkFloat(c);
    checkRank(c, "x", 4);
    const weight = checkRank(c, "weight", 4);
    const [out, into] = weight.shape as readonly [Dim, Dim, Dim, Dim];
    const own = channelsOfGroup(c, x.shape[1]!);
    const groups = numberOf(c.attrs, "groups");
    c.check("groups", divideExact(out, dim(groups)) !== undefined, {
      input: "weight",
      axis: 0,
      got: out.key,
      expected: `a multiple of ${groups}`,
    });
    c.check("channels", sameDim(own, into), {
      input: "x",
      axis: 1,
      got: x.shape[1]!.key,
      expected: mulDim(into, dim(groups)).key,
      from: "weight",
    });
    for (const axis of [2, 3])
      c.check("kernel", constantOf(weight.shape[axis]!) !== undefined, {
        input: "weight",
        axis,
        got: weight.shape[axis]!.key,
        expected: "a number",
      });
    const sizes = slideWindows(c, [x.shape[2]!, x.shape[3]!], convWindows(weight, c.attrs));
    checkVector(c, "bias", out, "bias");
    checkSameDType(c, ["x", "weight", "bias"]);
    const axes = imageAxes.map((name, i) => x.axes[i] ?? name);
    return [{ dtype: x.dtype, shape: [x.shape[0]!, out, ...sizes], axes }];
  },
  axes([x, weight, bias], attrs) {
    if (!weight) return [[], [], []];
    const [rows, columns] = convWindows(weight, attrs);
    const depthwise = x && sameDim(x.shape[1]!, weight.shape[0]!) && isOne(weight.shape[1]!);
    return [
      [same(0), depthwise ? same(1) : reduced, windowRelation(2, rows), windowRelation(3, columns)],
      [same(1), reduced, reduced, reduced],
      bias ? [same(1)] : [],
    ];
  },
  reference: convolve,
  lowering: {
    kind: "contraction",
    describe([x, weight, bias], attrs) {
      const [rows, columns] = convWindows(weight!, attrs);
      return {
        batch: [],
        left: [0, 2, 3],
        right: [1],
        // Channels innermost: they are neighbours in memory when images lie channels-last.
        reduce: [weight!.shape[2]!, weight!.shape[3]!, weight!.shape[1]!],
        leftIndex(c, out, k) {
          const i = runningTap(c, out[2]!, x!.shape[2]!, rows, k[0]!);
          const j = runningTap(c, out[3]!, x!.shape[3]!, columns, k[1]!);
          const inside = i.inside && j.inside ? and(i.inside, j.inside) : (i.inside ?? j.inside);
          return { index: [out[0]!, k[2]!, i.at, j.at], ...(inside && { inside }) };
        },
        rightIndex: (_, out, k) => ({ index: [out[1]!, k[2]!, k[0]!, k[1]!] }),
        ...(bias && { biasAxis: 1 }),
      };
    },
  },
  /** One group is a contraction as it stands. */
  expand(b, [x, weight, bias], attrs) {
    const { groups, ...window } = attrs;
    return groups === 1 ? undefined : expandGroups(b, x!, weight!, bias, Number(groups), window);
  },
  examples: [
    {
      about: "depthwise: every channel has a kernel of its own",
      inputs: { x: [[[[1, 2, 3]], [[4, 5, 6]]]], weight: [[[[1, 1]]], [[[1, -1]]]], bias: [0, 10] },
      attrs: { groups: 2 },
      outputs: [[[[[3, 5]], [[9, 9]]]]],
    },
    {
      about: "a difference of neighbours",
      inputs: { x: [[[[1, 3, 6]]]], weight: [[[[-1, 1]]]] },
      outputs: [[[[[2, 3]]]]],
    },
    {
      about: "a sum of 3x3 neighbours, every second one, zeros outside",
      inputs: {
        x: [
          [
            [
              [1, 2, 3],
              [4, 5, 6],
              [7, 8, 9],
            ],
          ],
        ],
        weight: [
          [
            [
              [1, 1, 1],
              [1, 1, 1],
              [1, 1, 1],
            ],
          ],
        ],
        bias: [100],
      },
      attrs: { stride: 2, pad: 1 },
      outputs: [
        [
          [
            [
              [112, 116],
              [124, 128],
            ],
          ],
        ],
      ],
    },
  ],
  macs: ([, weight], _, result) => mulDim(elementsOf(result), productDim(weight!.shape.slice(1))),
});

/** Gathers a few windows at a time into rows, and multiplies them with the rows of the weight, group by group. */
function convolve(c: ReferenceContext) {
  const x = c.input("x");
  const weight = c.input("weight");
  const y = c.result();
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [, out, outHeight, outWidth] = y.shape as [number, number, number, number];
  const [, own, kernelHeight, kernelWidth] = weight.shape as [number, number, number, number];
  const [strideY, strideX] = pairOf(c.attrs, "stride");
  const [padY, padX] = pairOf(c.attrs, "pad");
  const [dilationY, dilationX] = pairOf(c.attrs, "dilation");
  const groups = channels / own;
  const outs = out / groups;
  const image = asDoubles(x.data);
  const rows = asDoubles(weight.data);
  const bias = c.has("bias") ? c.input("bias").data : undefined;
  const length = own * kernelHeight * kernelWidth;
  const positions = outHeight * outWidth;
  // Small enough to stay in cache.
  const tile = Math.max(4, Math.min(256, Math.floor(16384 / length)));
  const windows = new Float64Array(tile * length);
  const product = new Float64Array(tile * outs);
  for (let part = 0; part < batch * groups; part++) {
    const b = Math.floor(part / groups);
    const g = part % groups;
    const kernels = rows.subarray(g * outs * length, (g + 1) * outs * length);
    for (let first = 0; first < positions; first += tile) {
      const count = Math.min(tile, positions - first);
      for (let p = 0; p < count; p++) {
        const top = Math.floor((first + p) / outWidth) * strideY - padY;
        const left = ((first + p) % outWidth) * strideX - padX;
        let at = p * length;
        for (let ch = g * own; ch < (g + 1) * own; ch++)
          for (let u = 0; u < kernelHeight; u++)
            for (let v = 0; v < kernelWidth; v++) {
              const i = top + u * dilationY;
              const j = left + v * dilationX;
              const inside = i >= 0 && i < height && j >= 0 && j < width;
              windows[at++] = inside ? image[((b * channels + ch) * height + i) * width + j]! : 0;
            }
      }
      multiplyRows(windows, count, kernels, outs, length, product);
      for (let p = 0; p < count; p++)
        for (let o = 0; o < outs; o++) {
          const channel = g * outs + o;
          y.data[(b * out + channel) * positions + first + p] =
            product[p * outs + o]! + (bias ? bias[channel]! : 0);
        }
    }
  }
  return [y];
}
