// Windows laid out as an axis of their own, in front: what pools, weighs or compares the positions of a window is then an ordinary
// reduction along that axis. Nothing is copied: the read is computed where the reduction reads.

import { add, cast, div, lt, mul, sub, u32 } from "../ir/expr.ts";
import { addDim, constantOf, dim, divideExact, floorDiv, sameDim, type Dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AxisRelation, AttrSpec, ElementContext, ReferenceContext } from "../ir/op.ts";
import { stridesOfShape } from "../ir/tensor.ts";
import { tensorType, type TensorType } from "../ir/types.ts";
import {
  axisOf,
  checkAxis,
  checkFloat,
  defineOp,
  dimOf,
  numberOf,
  other,
  same,
  sentences,
} from "./define.ts";
import { indexAlong } from "./loops.ts";
import { fitsSentence, reach, runningTap, windowCount, type Window } from "./window.ts";

const fill: AttrSpec = { kind: "float", doc: "what is read outside of the window", default: 0 };

/** [taps, x's axes with `axis` counting windows]. */
function unfolded(x: TensorType, axis: number, taps: Dim, windows: Dim): TensorType {
  const shape = [taps, ...x.shape.map((d, i) => (i === axis ? windows : d))];
  return { dtype: x.dtype, shape, axes: [null, ...x.axes] };
}

/** What the result reads of x along `axis`, as an offset that depends on the tap and the window alone. */
function gather(
  c: ReferenceContext,
  axis: number,
  position: (tap: number, window: number) => number | undefined,
) {
  const x = c.input("x");
  const y = c.result();
  const strides = stridesOfShape(x.shape);
  const [tap, window] = [indexAlong(y.shape, 0), indexAlong(y.shape, axis + 1)];
  const rest = x.shape.map((_, i) => i).filter((i) => i !== axis);
  const others = rest.map((i) => indexAlong(y.shape, i + 1));
  for (let i = 0; i < y.data.length; i++) {
    const at = position(tap[i]!, window[i]!);
    const base = rest.reduce((sum, a, k) => sum + others[k]![i]! * strides[a]!, 0);
    y.data[i] = at === undefined ? numberOf(c.attrs, "fill") : x.data[base + at * strides[axis]!]!;
  }
  return [y];
}

/** Reads x at `at` along the axis, and `fill` where that is not inside. */
function readAt(c: ElementContext, index: readonly Expr[], axis: number, at: Expr, inside: Expr | undefined) {
  const place = index.slice(1).map((x, i) => (i === axis ? c.bind("at", at) : x));
  return inside ? c.readInside(0, place, inside, numberOf(c.attrs, "fill")) : c.read(0, place);
}

function windowOf(attrs: Attrs): Window {
  const [size, stride] = [numberOf(attrs, "size"), numberOf(attrs, "stride")];
  return { size, stride, pad: numberOf(attrs, "pad"), dilation: numberOf(attrs, "dilation"), ceil: false };
}

export const unfold = defineOp({
  name: "unfold",
  doc: "Sliding windows along one axis as an axis of their own, in front (PyTorch's Tensor.unfold has it last, and no padding). Reductions over that axis pool: `unfold(x, axis = T, size = 3) |> reduce_max(axes = [0])`.",
  equation: "y[t, ..., i, ...] = x[..., i*stride - pad + t*dilation, ...], or fill where that is outside",
  traits: ["view"],
  inputs: [{ name: "x", doc: "f32 or f16" }],
  attrs: {
    axis: { kind: "axis", doc: "the axis the windows slide along" },
    size: { kind: "int", doc: "positions of a window" },
    stride: { kind: "int", doc: "distance between windows", default: 1 },
    pad: { kind: "int", doc: "positions put on each side", default: 0 },
    dilation: { kind: "int", doc: "distance between the positions of a window", default: 1 },
    fill,
  },
  constraints: {
    float: sentences.float,
    axis: sentences.axis,
    window: "size, stride and dilation are integers of 1 or more, padding of 0 or more",
    fits: fitsSentence,
  },
  infer(c) {
    const x = checkFloat(c);
    const axis = checkAxis(c);
    const w = windowOf(c.attrs);
    const counts = [w.size, w.stride, w.dilation, w.pad + 1].every((n) => Number.isInteger(n) && n >= 1);
    c.check("window", counts, {
      input: "x",
      got: `size ${w.size}, stride ${w.stride}, pad ${w.pad}, dilation ${w.dilation}`,
      expected: "positive integers (padding may be 0)",
    });
    const count = windowCount(x.shape[axis]!, w);
    c.check("fits", (constantOf(count) ?? 1) >= 1, {
      input: "x",
      axis,
      got: `${x.shape[axis]!.key}, padded to ${addDim(x.shape[axis]!, dim(2 * w.pad)).key}`,
      expected: `${reach(w)} or more`,
    });
    return [unfolded(x, axis, dim(w.size), count)];
  },
  axes([x], attrs) {
    const axis = axisOf(attrs, "axis", x?.shape.length ?? 0);
    const { size, stride, pad, dilation } = windowOf(attrs);
    const window: AxisRelation = { kind: "window", axis: axis + 1, size, stride, pad, dilation };
    return [(x?.shape ?? []).map((_, i) => (i === axis ? window : same(i + 1)))];
  },
  reference(c) {
    const x = c.input("x");
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const { stride, pad, dilation } = windowOf(c.attrs);
    return gather(c, axis, (tap, window) => {
      const at = window * stride - pad + tap * dilation;
      return at >= 0 && at < x.shape[axis]! ? at : undefined;
    });
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const { shape } = c.type(0);
      const axis = axisOf(c.attrs, "axis", shape.length);
      const { at, inside } = runningTap(c, index[axis + 1]!, shape[axis]!, windowOf(c.attrs), index[0]!);
      return readAt(c, index, axis, at, inside && c.bind("inside", inside));
    },
  },
  examples: [
    {
      about: "pairs of neighbours",
      inputs: { x: [1, 2, 4] },
      attrs: { axis: 0, size: 2 },
      outputs: [
        [
          [1, 2],
          [2, 4],
        ],
      ],
    },
    {
      about: "three around every second position, 9 outside",
      inputs: { x: [[1, 2, 3, 4]] },
      attrs: { axis: 1, size: 3, stride: 2, pad: 1, fill: 9 },
      outputs: [[[[9, 2]], [[1, 3]], [[2, 4]]]],
    },
  ],
});

/** Windows of adaptive pooling: [floor(i*I/O), ceil((i+1)*I/O)). */
export interface AdaptiveWindows {
  readonly into: Dim;
  readonly windows: Dim;
}

/** The longest window: I/O where that is exact, else at most ceil(I/O) + 1. */
export function longestWindow({ into, windows }: AdaptiveWindows): Dim {
  const exact = divideExact(into, windows);
  if (exact) return exact;
  const [size, count] = [constantOf(into), constantOf(windows)];
  if (size === undefined || count === undefined)
    return addDim(floorDiv(addDim(into, dim(-1)), windows), dim(2));
  // i*I mod O takes every multiple of the greatest common divisor g; the last of them, O - g, makes the longest window.
  const rest = size % count;
  return dim(Math.floor(size / count) + (rest === greatestDivisor(size, count) ? 1 : 2));
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** First position of window `i`, and the position behind its last. */
function boundsOf(c: ElementContext, { into, windows }: AdaptiveWindows, i: Expr) {
  const [size, count] = [c.size(into), c.size(windows)];
  const start = div(mul(i, size), count);
  const end = div(add(mul(add(i, u32(1)), size), sub(count, u32(1))), count);
  return { start, end };
}

const tapsAttr: AttrSpec = { kind: "dim", doc: "length of the axis in front: the longest window, or more" };
const windowsAttr: AttrSpec = { kind: "dim", doc: "number of windows" };

export const adaptiveUnfold = defineOp({
  name: "adaptive_unfold",
  doc: "The windows of adaptive pooling along one axis as an axis of their own, in front.",
  equation:
    "y[t, ..., i, ...] = x[..., s + t, ...] where s + t < e, else fill;  s = floor(i*I/O), e = ceil((i + 1)*I/O)",
  traits: ["view"],
  inputs: [{ name: "x", doc: "f32 or f16" }],
  attrs: { axis: { kind: "axis", doc: "the axis divided" }, windows: windowsAttr, taps: tapsAttr, fill },
  constraints: { float: sentences.float, axis: sentences.axis },
  infer(c) {
    const x = checkFloat(c);
    const axis = checkAxis(c);
    return [unfolded(x, axis, dimOf(c.attrs, "taps"), dimOf(c.attrs, "windows"))];
  },
  axes([x], attrs) {
    const axis = axisOf(attrs, "axis", x?.shape.length ?? 0);
    return [(x?.shape ?? []).map((_, i) => (i === axis ? other : same(i + 1)))];
  },
  reference(c) {
    const x = c.input("x");
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const [into, windows] = [x.shape[axis]!, c.size(dimOf(c.attrs, "windows"))];
    return gather(c, axis, (tap, i) => {
      const at = Math.floor((i * into) / windows) + tap;
      return at < Math.ceil(((i + 1) * into) / windows) ? at : undefined;
    });
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const { shape } = c.type(0);
      const axis = axisOf(c.attrs, "axis", shape.length);
      const windows = { into: shape[axis]!, windows: dimOf(c.attrs, "windows") };
      const { start, end } = boundsOf(c, windows, index[axis + 1]!);
      const at = c.bind("at", add(start, index[0]!));
      const exact = divideExact(windows.into, windows.windows);
      const full = exact && sameDim(exact, dimOf(c.attrs, "taps"));
      return readAt(c, index, axis, at, full ? undefined : lt(at, end));
    },
  },
  examples: [
    {
      about: "seven positions in three windows that overlap",
      inputs: { x: [1, 2, 3, 4, 5, 6, 7] },
      attrs: { axis: 0, windows: 3, taps: 3 },
      outputs: [
        [
          [1, 3, 5],
          [2, 4, 6],
          [3, 5, 7],
        ],
      ],
    },
    {
      about: "five positions in eight windows",
      inputs: { x: [1, 2, 3, 4, 5] },
      attrs: { axis: 0, windows: 8, taps: 2 },
      outputs: [
        [
          [1, 1, 2, 2, 3, 4, 4, 5],
          [0, 2, 0, 3, 4, 0, 5, 0],
        ],
      ],
    },
  ],
  inLanguage: false,
});

export const adaptiveLengths = defineOp({
  name: "adaptive_lengths",
  doc: "How many positions each window of adaptive pooling has.",
  equation: "y[i] = ceil((i + 1)*I/O) - floor(i*I/O)",
  inputs: [],
  attrs: { into: { kind: "dim", doc: "positions that are divided" }, windows: windowsAttr },
  infer: (c) => [tensorType("f32", [dimOf(c.attrs, "windows")])],
  axes: () => [],
  reference(c) {
    const y = c.result();
    const [into, windows] = [c.size(dimOf(c.attrs, "into")), c.size(dimOf(c.attrs, "windows"))];
    for (let i = 0; i < windows; i++)
      y.data[i] = Math.ceil(((i + 1) * into) / windows) - Math.floor((i * into) / windows);
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const windows = { into: dimOf(c.attrs, "into"), windows: dimOf(c.attrs, "windows") };
      const { start, end } = boundsOf(c, windows, index[0]!);
      return cast(sub(end, start), "f32");
    },
  },
  examples: [
    { about: "10 in 4", inputs: {}, attrs: { into: 10, windows: 4 }, outputs: [[3, 3, 3, 3]] },
    { about: "5 in 8", inputs: {}, attrs: { into: 5, windows: 8 }, outputs: [[1, 2, 1, 2, 2, 1, 2, 1]] },
  ],
  inLanguage: false,
});
