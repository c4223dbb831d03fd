// Pooling over sliding windows of an image, channels first; PyTorch's semantics, with count_include_pad off by default.

import { add, cast, div, f32, max, min, mul, select, splat, sub, u32 } from "../ir/expr.ts";
import type { Dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AttrSpec, ElementContext, InferContext, ReferenceContext, SlidingWindow } from "../ir/op.ts";
import type { TensorType } from "../ir/types.ts";
import { checkFloat, checkRank, defineOp, flagOf, pairOf, same, sentences } from "./define.ts";
import {
  fitsSentence,
  slideWindows,
  tapPosition,
  windowRelation,
  windowSentence,
  windowsOf,
  type Window,
} from "./window.ts";

const poolAttrs: Readonly<Record<string, AttrSpec>> = {
  size: { kind: "pair", doc: "size of the window" },
  stride: { kind: "pair", doc: "distance between windows; 0, the default, means the size", default: [0, 0] },
  pad: { kind: "pair", doc: "positions put on each side, at most half the size", default: [0, 0] },
  ceil_mode: {
    kind: "bool",
    doc: "round the number of windows up: the last one may be cut off",
    default: false,
  },
};

const poolConstraints = {
  float: sentences.float,
  rank: "x has four axes",
  window: windowSentence,
  pad: "the padding is at most half the size of the window",
  fits: fitsSentence,
} as const;

/** A stride of 0 means the size. */
function poolWindows(attrs: Attrs): readonly [Window, Window] {
  const size = pairOf(attrs, "size");
  const [down, across] = pairOf(attrs, "stride");
  return windowsOf(attrs, size, [down === 0 ? size[0] : down, across === 0 ? size[1] : across]);
}

function inferPool(c: InferContext): readonly TensorType[] {
  const x = checkFloat(c);
  checkRank(c, "x", 4);
  const windows = poolWindows(c.attrs);
  for (const w of windows)
    c.check("pad", w.pad * 2 <= w.size || w.size < 1, {
      input: "x",
      got: `pad ${w.pad} for a window of ${w.size}`,
      expected: `at most ${Math.floor(w.size / 2)}`,
    });
  const sizes = slideWindows(c, [x.shape[2]!, x.shape[3]!], windows);
  const names = ["batch", "channels", "height", "width"];
  return [
    {
      dtype: x.dtype,
      shape: [x.shape[0]!, x.shape[1]!, ...sizes],
      axes: names.map((name, i) => x.axes[i] ?? name),
    },
  ];
}

function poolRelations(attrs: Attrs) {
  const [rows, columns] = poolWindows(attrs);
  return [[same(0), same(1), windowRelation(2, rows), windowRelation(3, columns)]];
}

function poolSlides(attrs: Attrs): readonly SlidingWindow[] {
  return poolWindows(attrs).map((w, i) => slidingAlong(i + 2, w));
}

const slidingAlong = (axis: number, w: Window): SlidingWindow => ({
  axis,
  size: w.size,
  step: w.stride / w.dilation,
});

/** Folds a window: first across the axis that the kernel walks along, so that what is kept of it is one value a position. */
function foldWindow(
  c: ElementContext,
  index: readonly Expr[],
  fill: number,
  combine: (a: Expr, b: Expr) => Expr,
): Expr {
  const { shape } = c.type(0);
  const windows = poolWindows(c.attrs);
  const outer = c.walked === 2 ? 2 : 3;
  const inner = 5 - outer;
  const taps = (axis: number, at: (position: Expr, inside: Expr | undefined) => Expr): Expr => {
    const w = windows[axis - 2]!;
    const values = c.sliding(slidingAlong(axis, w), index, (t, anywhere) => {
      const { at: position, inside } = tapPosition(c, index[axis]!, shape[axis]!, w, t, anywhere);
      return at(position, inside && c.bind("inside", inside));
    });
    return values.reduce(combine);
  };
  return taps(outer, (position, inside) => {
    const safe = inside ? c.bind("at", select(inside, position, u32(0))) : position;
    const folded = taps(inner, (across, within) => {
      const at = [...index];
      at[outer] = safe;
      at[inner] = across;
      return within ? c.readInside(0, at, within, fill) : c.read(0, at);
    });
    return inside ? select(inside, folded, splat(f32(fill), folded.type.width)) : folded;
  });
}

/** What PyTorch divides by along one axis: positions of the window that are in bounds, or in the padded bounds. */
function tapCount(c: ElementContext, out: Expr, size: Dim, w: Window, includePad: boolean): Expr {
  if (!w.ceil && (includePad || w.pad === 0)) return f32(w.size);
  // In padded positions, where nothing is negative.
  const start = mul(out, u32(w.stride));
  const end = add(start, u32(w.size));
  const limit = add(c.size(size), u32(includePad ? 2 * w.pad : w.pad));
  const from = includePad || w.pad === 0 ? start : max(start, u32(w.pad));
  return cast(sub(min(end, limit), from), "f32");
}

export const avgPool2d = defineOp({
  name: "avg_pool2d",
  doc: "Mean over sliding windows. Padding is not counted unless asked for: PyTorch's default is the opposite (count_include_pad = true), timm's PoolFormer passes false.",
  equation:
    "y[b, c, i, j] = sum of x over the window at (i*stride - pad, j*stride - pad), divided by the number of its positions that count",
  traits: ["linear"],
  inputs: [{ name: "x", doc: "[B, C, H, W], f32 or f16" }],
  attrs: {
    ...poolAttrs,
    count_include_pad: {
      kind: "bool",
      doc: "divide by all positions in the padded bounds, not just by those in bounds",
      default: false,
    },
  },
  constraints: poolConstraints,
  keepsConstants: (attrs) =>
    !flagOf(attrs, "count_include_pad") || pairOf(attrs, "pad").every((p) => p === 0),
  infer: inferPool,
  axes: (_, attrs) => poolRelations(attrs),
  reference: (c) =>
    slide(c, (window) => {
      let sum = 0;
      for (const x of window.values) sum += x;
      return sum / (flagOf(c.attrs, "count_include_pad") ? window.padded : window.values.length);
    }),
  lowering: {
    kind: "element",
    slides: poolSlides,
    element(c, index) {
      const { shape } = c.type(0);
      const [rows, columns] = poolWindows(c.attrs);
      const includePad = flagOf(c.attrs, "count_include_pad");
      const sum = foldWindow(c, index, 0, add);
      const high = tapCount(c, index[2]!, shape[2]!, rows, includePad);
      const wide = tapCount(c, index[3]!, shape[3]!, columns, includePad);
      const known = high.kind === "const" && wide.kind === "const";
      return div(sum, known ? f32(rows.size * columns.size) : mul(high, wide));
    },
  },
  examples: [
    {
      about: "PoolFormer's window: corners divide by 4, edges by 6",
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
      },
      attrs: { size: 3, stride: 1, pad: 1 },
      outputs: [
        [
          [
            [
              [3, 3.5, 4],
              [4.5, 5, 5.5],
              [6, 6.5, 7],
            ],
          ],
        ],
      ],
    },
    {
      about: "with PyTorch's default the corners divide by 9",
      inputs: {
        x: [
          [
            [
              [1, 2],
              [4, 5],
            ],
          ],
        ],
      },
      attrs: { size: 3, stride: 1, pad: 1, count_include_pad: true },
      outputs: [
        [
          [
            [
              [1.333333333, 1.333333333],
              [1.333333333, 1.333333333],
            ],
          ],
        ],
      ],
    },
    {
      about: "rounded up, the last window is cut off",
      inputs: { x: [[[[1, 2, 3]]]] },
      attrs: { size: [1, 2], ceil_mode: true },
      outputs: [[[[[1.5, 3]]]]],
    },
  ],
});

/** The lowest finite f32: WGSL has no literal for infinity. */
const lowest = -3.4028234663852886e38;

export const maxPool2d = defineOp({
  name: "max_pool2d",
  doc: "Largest value over sliding windows; padding never wins.",
  equation:
    "y[b, c, i, j] = max over u, v of x[b, c, i*stride - pad + u*dilation, j*stride - pad + v*dilation]",
  inputs: [{ name: "x", doc: "[B, C, H, W], f32 or f16, finite" }],
  attrs: { ...poolAttrs, dilation: { kind: "pair", doc: "distance between taps", default: [1, 1] } },
  constraints: poolConstraints,
  infer: inferPool,
  axes: (_, attrs) => poolRelations(attrs),
  reference: (c) => slide(c, (window) => window.values.reduce((a, b) => Math.max(a, b), -Infinity)),
  lowering: {
    kind: "element",
    slides: poolSlides,
    element: (c, index) => foldWindow(c, index, lowest, max),
  },
  examples: [
    {
      about: "halved",
      inputs: {
        x: [
          [
            [
              [1, 2, 5, 3],
              [4, 0, -1, 2],
            ],
          ],
        ],
      },
      attrs: { size: 2 },
      outputs: [[[[[4, 5]]]]],
    },
    {
      about: "3x3 around each, all negative: the padding does not win",
      inputs: {
        x: [
          [
            [
              [-1, -2],
              [-3, -4],
            ],
          ],
        ],
      },
      attrs: { size: 3, stride: 1, pad: 1 },
      outputs: [
        [
          [
            [
              [-1, -1],
              [-1, -1],
            ],
          ],
        ],
      ],
    },
  ],
});

interface Seen {
  /** Values in bounds, row by row. */
  readonly values: readonly number[];
  /** Positions of the window within the padded bounds. */
  readonly padded: number;
}

/** Shows every window to `summarize`. */
function slide(c: ReferenceContext, summarize: (window: Seen) => number) {
  const x = c.input("x");
  const y = c.result();
  const [planes, height, width] = [x.shape[0]! * x.shape[1]!, x.shape[2]!, x.shape[3]!];
  const [outHeight, outWidth] = [y.shape[2]!, y.shape[3]!];
  const size = pairOf(c.attrs, "size");
  const [strideY, strideX] = pairOf(c.attrs, "stride").map((s, i) => (s === 0 ? size[i]! : s)) as [
    number,
    number,
  ];
  const [padY, padX] = pairOf(c.attrs, "pad");
  const [dilationY, dilationX] = "dilation" in c.attrs ? pairOf(c.attrs, "dilation") : [1, 1];
  for (let plane = 0; plane < planes; plane++)
    for (let i = 0; i < outHeight; i++)
      for (let j = 0; j < outWidth; j++) {
        const values: number[] = [];
        let padded = 0;
        for (let u = 0; u < size[0]; u++)
          for (let v = 0; v < size[1]; v++) {
            const row = i * strideY - padY + u * dilationY;
            const column = j * strideX - padX + v * dilationX;
            if (row < height + padY && column < width + padX) padded++;
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            values.push(x.data[(plane * height + row) * width + column]!);
          }
        y.data[(plane * outHeight + i) * outWidth + j] = summarize({ values, padded });
      }
  return [y];
}
