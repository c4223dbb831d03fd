// Which positions of an axis are meant: all of them, or an arithmetic range; and boxes, one such set per axis of a value. Sizes are
// symbolic, so a comparison answers yes only where it holds for every size. Knows no graph and no op.

import {
  addDim,
  constantOf,
  dim,
  divideExact,
  evaluateDim,
  mulDim,
  sameDim,
  subDim,
  symbolsOf,
} from "./dim.ts";
import type { Dim } from "./dim.ts";
import type { ValueId } from "./graph.ts";

/** Positions start + step * i for 0 <= i < count. */
export interface Range {
  readonly start: Dim;
  readonly step: number;
  readonly count: Dim;
}

/** Positions that a value says when the model runs, for each sample: its elements are [batch, count] in row-major order. */
export interface Picked {
  readonly by: ValueId;
  readonly batch: Dim;
  readonly count: Dim;
}

export type Positions = "all" | Range | Picked;

export const isPicked = (p: Positions): p is Picked => p !== "all" && "by" in p;

/** One set of positions per axis. */
export type Box = readonly Positions[];

export const wholeBox = (rank: number): Box => Array.from({ length: rank }, () => "all" as const);

/** A range; `all` where it is every position of an axis of that size. */
export function rangeOf(start: Dim, step: number, count: Dim, size: Dim): Positions {
  return constantOf(start) === 0 && step === 1 && sameDim(count, size) ? "all" : { start, step, count };
}

export const asRange = (p: "all" | Range, size: Dim): Range =>
  p === "all" ? { start: dim(0), step: 1, count: size } : p;

export const countOf = (p: Positions, size: Dim): Dim => (p === "all" ? size : p.count);

/** One past the last position. */
export function endOf(r: Range): Dim {
  return addDim(r.start, addDim(mulDim(dim(r.step), subDim(r.count, dim(1))), dim(1)));
}

export const isWhole = (box: Box): boolean => box.every((p) => p === "all");

export function sameBox(a: Box, b: Box): boolean {
  return boxKey(a) === boxKey(b);
}

/** Equal for equal boxes. */
export function boxKey(box: Box): string {
  return box.map(positionsKey).join(", ");
}

function positionsKey(p: Positions): string {
  if (p === "all") return "*";
  return isPicked(p) ? `by ${p.by}` : `${p.start.key}+${p.step}*${p.count.key}`;
}

/** Is d >= 0 for all sizes of 1 or more? False where that is not plain. */
export function isNonNegative(d: Dim): boolean {
  let least = 0;
  for (const t of d.terms) {
    if (t.atoms.length > 0 && t.coefficient < 0) return false;
    // A quotient may be 0, a size may not.
    least += t.atoms.every((a) => a.kind === "symbol") ? t.coefficient : 0;
  }
  return least >= 0;
}

const isAtMost = (a: Dim, b: Dim): boolean => isNonNegative(subDim(b, a));

/** Where `inner` stands among the positions of `outer`; undefined where it is not known to lie in it. */
export function relativeTo(outer: Positions, inner: Positions, size: Dim): Positions | undefined {
  if (outer === "all") return inner;
  if (isPicked(outer) || isPicked(inner))
    return positionsKey(outer) === positionsKey(inner) ? "all" : undefined;
  const b = asRange(inner, size);
  const start = divideExact(subDim(b.start, outer.start), dim(outer.step));
  const inside = start && isNonNegative(start) && isAtMost(endOf(b), endOf(outer));
  if (!inside || b.step % outer.step !== 0) return undefined;
  return rangeOf(start, b.step / outer.step, b.count, outer.count);
}

/** Does a hold everything of b, for all sizes? */
export function holds(a: Box, b: Box, sizes: readonly Dim[]): boolean {
  return a.every((p, i) => relativeTo(p, b[i]!, sizes[i]!) !== undefined);
}

/** The shortest run of positions with all of both; `all` where which comes first depends on sizes. */
function hullOf(a: Positions, b: Positions, size: Dim): Positions {
  if (a === "all" || b === "all") return "all";
  if (boxKey([a]) === boxKey([b])) return a;
  if (relativeTo(a, b, size) !== undefined) return a;
  if (relativeTo(b, a, size) !== undefined) return b;
  if (isPicked(a) || isPicked(b)) return "all";
  const start = isAtMost(a.start, b.start) ? a.start : isAtMost(b.start, a.start) ? b.start : undefined;
  const [x, y] = [endOf(a), endOf(b)];
  const end = isAtMost(x, y) ? y : isAtMost(y, x) ? x : undefined;
  return start && end ? rangeOf(start, 1, subDim(end, start), size) : "all";
}

const hullOfBoxes = (a: Box, b: Box, sizes: readonly Dim[]): Box =>
  a.map((p, i) => hullOf(p, b[i]!, sizes[i]!));

/** What stands for a size that is not known when compiling, where two costs are compared. */
const typicalSize = 64;

/** The dimension where every symbol is a typical size: for comparing costs, never for deciding what is legal. */
export function typicalOf(d: Dim): number {
  return evaluateDim(d, Object.fromEntries([...symbolsOf(d)].map((name) => [name, typicalSize])));
}

const volumeOf = (box: Box, sizes: readonly Dim[]): number =>
  box.reduce((n, p, i) => n * typicalOf(countOf(p, sizes[i]!)), 1);

/** More boxes than this are not worth their dispatches. */
const mostBoxes = 4;
/** Boxes stay apart only where together they are smaller than this part of the one box around them. */
const worthApart = 7 / 8;

/** Few boxes that hold all of those given: boxes that touch or overlap become one where that makes no more to compute. */
export function mergeBoxes(boxes: readonly Box[], sizes: readonly Dim[]): readonly Box[] {
  const volume = (box: Box) => volumeOf(box, sizes);
  // What picks positions may itself depend on others, so that these two cannot come one after the other.
  if (boxes.some((box) => box.some(isPicked))) return [boxes.reduce((a, b) => hullOfBoxes(a, b, sizes))];
  let merged: readonly Box[] = [];
  for (const box of boxes) {
    let grown = box;
    for (let i = 0; i < merged.length;) {
      const hull = hullOfBoxes(merged[i]!, grown, sizes);
      if (volume(hull) > volume(merged[i]!) + volume(grown)) {
        i++;
        continue;
      }
      grown = hull;
      merged = merged.filter((_, k) => k !== i);
      i = 0;
    }
    merged = [...merged, grown];
    if (merged.length > mostBoxes) merged = [merged.reduce((a, b) => hullOfBoxes(a, b, sizes))];
  }
  if (merged.length < 2) return merged;
  const hull = merged.reduce((a, b) => hullOfBoxes(a, b, sizes));
  const apart = merged.reduce((n, b) => n + volume(b), 0);
  return apart <= worthApart * volume(hull) ? merged : [hull];
}
