// Windows that slide along an axis: sizes of results, and where a tap reads. Shared by convolution and pooling, in lowerings and
// inference; references have their own arithmetic.

import { add, lt, mul, sub, u32 } from "../ir/expr.ts";
import { addDim, ceilDiv, constantOf, dim, floorDiv, minDim, type Dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AxisRelation, ElementContext, InferContext } from "../ir/op.ts";
import { pairOf } from "./define.ts";

export interface Window {
  readonly size: number;
  readonly stride: number;
  readonly pad: number;
  readonly dilation: number;
  /** Round the number of windows up. */
  readonly ceil: boolean;
}

/** Taps are written out one by one, so there cannot be very many. */
export const maxTaps = 1024;

/** Positions from the first tap to the last. */
export const reach = (w: Window): number => w.dilation * (w.size - 1) + 1;

/**
 * floor((I + 2 pad - reach) / stride) + 1. Rounding up, the last window must still begin inside or in the padding in front:
 * (O - 1) stride < I + pad.
 */
export function windowCount(size: Dim, w: Window): Dim {
  const room = addDim(size, dim(2 * w.pad - reach(w)));
  if (!w.ceil) return addDim(floorDiv(room, dim(w.stride)), dim(1));
  const starts = floorDiv(addDim(size, dim(w.pad - 1)), dim(w.stride));
  return addDim(minDim(ceilDiv(room, dim(w.stride)), starts), dim(1));
}

export function windowRelation(axis: number, w: Window): AxisRelation {
  return { kind: "window", axis, size: w.size, stride: w.stride, pad: w.pad, dilation: w.dilation };
}

/** Both windows of an op with these attributes. */
export function windowsOf(
  attrs: Attrs,
  size: readonly [number, number],
  stride: readonly [number, number],
): readonly [Window, Window] {
  const pad = pairOf(attrs, "pad");
  const dilation = "dilation" in attrs ? pairOf(attrs, "dilation") : ([1, 1] as const);
  const ceil = attrs["ceil_mode"] === true;
  const make = (i: 0 | 1): Window => ({
    size: size[i],
    stride: stride[i],
    pad: pad[i],
    dilation: dilation[i],
    ceil,
  });
  return [make(0), make(1)];
}

export const windowSentence = `size, stride and dilation are integers of 1 or more, padding of 0 or more, and there are at most ${maxTaps} taps`;
export const fitsSentence = "at least one window fits into the padded input";

/** Checks `window` and `fits`, and gives the sizes of the result. */
export function slideWindows(
  c: InferContext,
  sizes: readonly [Dim, Dim],
  windows: readonly [Window, Window],
): readonly [Dim, Dim] {
  for (const w of windows) {
    const counts = [w.size, w.stride, w.dilation].every((n) => Number.isInteger(n) && n >= 1 && n <= 0xffff);
    const pad = Number.isInteger(w.pad) && w.pad >= 0 && w.pad <= 0xffff;
    c.check("window", counts && pad, {
      got: `size ${w.size}, stride ${w.stride}, pad ${w.pad}, dilation ${w.dilation}`,
      expected: "positive integers (padding may be 0)",
    });
  }
  const taps = windows[0].size * windows[1].size;
  c.check("window", taps <= maxTaps, { got: `${taps} taps`, expected: `at most ${maxTaps}` });
  const along = (i: 0 | 1): Dim => {
    const count = windowCount(sizes[i], windows[i]);
    c.check("fits", (constantOf(count) ?? 1) >= 1, {
      input: "x",
      axis: i + 2,
      got: `${sizes[i].key}, padded to ${addDim(sizes[i], dim(2 * windows[i].pad)).key}`,
      expected: `${reach(windows[i])} or more`,
    });
    return count;
  };
  return [along(0), along(1)];
}

/**
 * Where tap `t` of result position `out` reads along an axis of `size`, and whether that is inside; `inside` is left out where it
 * always is, unless `out` is not of the result itself (`anywhere`). In front of the axis the unsigned arithmetic wraps around, so one
 * comparison sees both ends.
 */
export function tapPosition(
  c: ElementContext,
  out: Expr,
  size: Dim,
  w: Window,
  t: number,
  anywhere = false,
): { readonly at: Expr; readonly inside?: Expr } {
  const shift = t * w.dilation - w.pad;
  const start = mul(out, u32(w.stride));
  const at = shift >= 0 ? add(start, u32(shift)) : sub(start, u32(-shift));
  // The last window starts at most at I + 2 pad - reach (in padded positions) unless the count is rounded up.
  const endsInside = !w.ceil && shift + w.pad + w.pad - reach(w) <= -1;
  return shift >= 0 && endsInside && !anywhere ? { at } : { at, inside: lt(at, c.size(size)) };
}

/** The same for a tap that is only known when the kernel runs. */
export function runningTap(
  c: ElementContext,
  out: Expr,
  size: Dim,
  w: Window,
  t: Expr,
): { readonly at: Expr; readonly inside?: Expr } {
  const tap = w.size === 1 ? u32(0) : mul(t, u32(w.dilation));
  const at = sub(add(mul(out, u32(w.stride)), tap), u32(w.pad));
  return w.pad === 0 && !w.ceil ? { at } : { at, inside: lt(at, c.size(size)) };
}
