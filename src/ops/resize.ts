// Changing the number of positions along axes, by repeating or by straight lines between neighbours: what pyramids are joined with.
// Positions are found in integers, so that no size is off by one for rounding.

import { add, cast, div, f32, min, mod, mul, select, sub, u32, ge } from "../ir/expr.ts";
import { constantOf, type Dim } from "../ir/dim.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AxisRelation, ElementContext } from "../ir/op.ts";
import { stridesOfShape } from "../ir/tensor.ts";
import {
  axesOf,
  checkAxes,
  checkFloat,
  defineOp,
  dimsOf,
  flagOf,
  other,
  same,
  sentences,
  textOf,
} from "./define.ts";
import { sameDim } from "../ir/dim.ts";

/** One position of the result as two of x, and how far it is from the first to the second. */
interface Between {
  readonly low: Expr;
  readonly high: Expr;
  /** Of the second; absent where the first alone counts. */
  readonly part?: Expr;
}

function nearest(c: ElementContext, i: Expr, into: Dim, out: Dim): Between {
  const low = div(mul(i, c.size(into)), c.size(out));
  return { low, high: low };
}

/** Position num/den of x, in whole numbers: num/den stays below the last position but for what `min` holds there. */
function linear(c: ElementContext, i: Expr, into: Dim, out: Dim, corners: boolean): Between {
  const [size, count] = [c.size(into), c.size(out)];
  const last = c.bind("last", sub(size, u32(1)));
  if (corners && constantOf(out) === 1) return { low: u32(0), high: u32(0) };
  // A size of one that is only known when the kernel runs: 0 / 1 in place of 0 / 0.
  const den = corners
    ? constantOf(out) === undefined
      ? select(ge(count, u32(2)), sub(count, u32(1)), u32(1))
      : sub(count, u32(1))
    : mul(u32(2), count);
  const twice = mul(add(mul(u32(2), i), u32(1)), size);
  const num = corners ? mul(i, last) : select(ge(twice, count), sub(twice, count), u32(0));
  const [n, d] = [c.bind("num", num), c.bind("den", den)];
  const low = c.bind("low", min(div(n, d), last));
  const part = c.bind("part", div(cast(mod(n, d), "f32"), cast(d, "f32")));
  return { low, high: c.bind("high", min(add(low, u32(1)), last)), part };
}

export const resize = defineOp({
  name: "resize",
  doc: "Another number of positions along axes: `nearest` repeats or leaves out, `linear` interpolates between neighbours (bilinear over two axes, trilinear over three). Positions are PyTorch's F.interpolate's, for sizes that are given.",
  equation:
    "nearest: y[i] = x[floor(i*I/O)];  linear: y[i] = x at (i + 0.5)*I/O - 0.5 (kept inside), or at i*(I - 1)/(O - 1) with align_corners",
  traits: ["linear"],
  keepsConstants: () => true,
  inputs: [{ name: "x", doc: "f32 or f16" }],
  attrs: {
    axes: { kind: "axes", doc: "the axes resized, at most three" },
    size: { kind: "dims", doc: "number of positions along each of them" },
    mode: {
      kind: "string",
      doc: "how values between positions are found",
      choices: ["nearest", "linear"],
      default: "nearest",
    },
    align_corners: {
      kind: "bool",
      doc: "linear: the first and last positions stay where they are",
      default: false,
    },
  },
  constraints: {
    float: sentences.float,
    axes: sentences.axes,
    size: "there is a size of 1 or more for each of at most three axes",
    corners: "align_corners belongs to the mode linear",
  },
  infer(c) {
    const x = checkFloat(c);
    const axes = checkAxes(c);
    const sizes = dimsOf(c.attrs, "size");
    const fits = sizes.length === axes.length && axes.length <= 3;
    c.check("size", fits && sizes.every((d) => (constantOf(d) ?? 1) >= 1), {
      input: "x",
      got: `size = [${sizes.map((d) => d.key).join(", ")}] for ${axes.length} axes`,
      expected: "one of 1 or more for each",
    });
    const linearly = textOf(c.attrs, "mode") === "linear";
    c.check("corners", linearly || !flagOf(c.attrs, "align_corners"), {
      got: "align_corners with nearest",
      expected: "mode = linear",
    });
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => sizes[axes.indexOf(i)] ?? d), axes: x.axes }];
  },
  axes([x], attrs) {
    const rank = x?.shape.length ?? 0;
    const axes = axesOf(attrs, "axes", rank);
    const sizes = dimsOf(attrs, "size");
    return [
      Array.from({ length: rank }, (_, i): AxisRelation => {
        const size = sizes[axes.indexOf(i)];
        return !size || sameDim(size, x!.shape[i]!) ? same(i) : other;
      }),
    ];
  },
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    const axes = axesOf(c.attrs, "axes", x.shape.length);
    const [linearly, corners] = [textOf(c.attrs, "mode") === "linear", flagOf(c.attrs, "align_corners")];
    const [from, to] = [stridesOfShape(x.shape), stridesOfShape(y.shape)];
    for (let i = 0; i < y.data.length; i++) {
      const place = y.shape.map((size, a) => Math.floor(i / to[a]!) % size);
      // Offsets into x and their weights, doubled by every axis.
      let parts = [{ at: 0, weight: 1 }];
      for (const [a, p] of place.entries()) {
        const [into, out] = [x.shape[a]!, y.shape[a]!];
        let at = p;
        if (axes.includes(a)) {
          if (!linearly) at = Math.floor((p * into) / out);
          else if (corners) at = out === 1 ? 0 : (p * (into - 1)) / (out - 1);
          else at = Math.min(Math.max(((p + 0.5) * into) / out - 0.5, 0), into - 1);
        }
        const low = Math.floor(at);
        const high = Math.min(low + 1, into - 1);
        parts = parts.flatMap((part) => [
          { at: part.at + low * from[a]!, weight: part.weight * (1 - (at - low)) },
          ...(at > low ? [{ at: part.at + high * from[a]!, weight: part.weight * (at - low) }] : []),
        ]);
      }
      y.data[i] = parts.reduce((sum, part) => sum + part.weight * x.data[part.at]!, 0);
    }
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const { shape } = c.type(0);
      const axes = axesOf(c.attrs, "axes", shape.length);
      const sizes = dimsOf(c.attrs, "size");
      const linearly = textOf(c.attrs, "mode") === "linear";
      const corners = flagOf(c.attrs, "align_corners");
      const between = new Map<number, Between>();
      for (const [k, axis] of axes.entries()) {
        if (sameDim(sizes[k]!, shape[axis]!)) continue;
        const args = [c, index[axis]!, shape[axis]!, sizes[k]!] as const;
        between.set(axis, linearly ? linear(...args, corners) : nearest(...args));
      }
      const blend = (left: readonly number[], at: readonly Expr[]): Expr => {
        const [axis, ...rest] = left;
        if (axis === undefined) return c.read(0, at);
        const { low, high, part } = between.get(axis)!;
        const put = (e: Expr) => at.map((x, i) => (i === axis ? e : x));
        const first = blend(rest, put(low));
        if (!part) return first;
        return add(mul(first, sub(f32(1), part)), mul(blend(rest, put(high)), part));
      };
      return blend([...between.keys()], index);
    },
  },
  examples: [
    {
      about: "each twice",
      inputs: { x: [[1, 2]] },
      attrs: { axes: [1], size: [4] },
      outputs: [[[1, 1, 2, 2]]],
    },
    {
      about: "two into four by straight lines: the borders are kept",
      inputs: { x: [0, 4] },
      attrs: { axes: [0], size: [4], mode: "linear" },
      outputs: [[0, 1, 3, 4]],
    },
    {
      about: "two into five with the corners kept",
      inputs: { x: [0, 4] },
      attrs: { axes: [0], size: [5], mode: "linear", align_corners: true },
      outputs: [[0, 1, 2, 3, 4]],
    },
    {
      about: "bilinear",
      inputs: {
        x: [
          [0, 2],
          [4, 6],
        ],
      },
      attrs: { axes: [0, 1], size: [3, 3], mode: "linear", align_corners: true },
      outputs: [
        [
          [0, 1, 2],
          [2, 3, 4],
          [4, 5, 6],
        ],
      ],
    },
  ],
});
