// A walk along one axis of the result, in a loop: windows that slide along it keep in registers what neighbours share. Where a 3 x 3 window
// reads nine elements for each result, one that walks reads three: a column, and the two before it are there.

import { symbolsOf } from "../ir/dim.ts";
import { constant } from "../ir/expr.ts";
import type { Region, ValueId } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { SlidingWindow } from "../ir/op.ts";
import { orderOf, sameShape, type TensorType } from "../ir/types.ts";
import type { Emitter } from "./emitter.ts";
import type { Bounds } from "./sizes.ts";

/** What a group could walk along: an axis of its result, and the windows that slide along it. */
export interface WalkFacts {
  readonly axis: number;
  readonly nodes: readonly ValueId[];
  /** Turns before the first result, in which the windows fill. */
  readonly lead: number;
}

/** More would not stay in registers. */
const MOST_KEPT = 8;

/** Whether a window has taps of the one before it. */
const sharesTaps = (size: number, step: number): boolean => Number.isInteger(step) && step < size;

/** The axis that a walk keeps most along; never the innermost in memory, which invocations lie along. */
export function walkOf(
  region: Region,
  types: ReadonlyMap<ValueId, TensorType>,
  bounds: Bounds,
): WalkFacts | undefined {
  const result = types.get(region.results[0]!)!;
  if (result.shape.some((d) => [...symbolsOf(d)].some((s) => bounds[s]))) return undefined;
  const inner = orderOf(result).at(-1);
  const byAxis = new Map<number, { nodes: ValueId[]; kept: number; lead: number }>();
  for (const node of region.nodes) {
    const { lowering } = node.op;
    const { id, type } = node.results[0]!;
    if (lowering.kind !== "element" || !lowering.slides || !sameShape(type.shape, result.shape)) continue;
    for (const { axis, size, step } of lowering.slides(node.attrs)) {
      const kept = size - step;
      if (axis === inner || kept > MOST_KEPT || !sharesTaps(size, step)) continue;
      const known = byAxis.get(axis) ?? { nodes: [], kept: 0, lead: 0 };
      byAxis.set(axis, {
        nodes: [...known.nodes, id],
        kept: known.kept + kept,
        lead: Math.max(known.lead, Math.ceil(kept / step)),
      });
    }
  }
  const [best] = [...byAxis].sort(([a, x], [b, y]) => y.kept - x.kept || b - a);
  return best && { axis: best[0], nodes: best[1].nodes, lead: best[1].lead };
}

export class Walk {
  readonly axis: number;
  /** Values whose windows slide along the axis. */
  readonly nodes: readonly ValueId[];
  /** The index in this turn. In the first turns, which only fill what is kept, it lies in front of the first result. */
  readonly index: readonly Expr[];
  readonly #emitter: Emitter;
  readonly #rotations: (() => void)[] = [];
  #reading = false;

  constructor(emitter: Emitter, { axis, nodes }: WalkFacts, index: readonly Expr[]) {
    this.#emitter = emitter;
    this.axis = axis;
    this.nodes = nodes;
    this.index = index;
  }

  /** Windows are read in every turn, outside of any `if`: what is read elsewhere keeps nothing. */
  windows(read: () => void): void {
    this.#reading = true;
    read();
    this.#reading = false;
  }

  /** The taps of a window, of which the first are kept from earlier turns; undefined where it does not slide along this walk. */
  sliding(
    { axis, size, step }: SlidingWindow,
    index: readonly Expr[],
    tap: (t: number) => Expr,
  ): readonly Expr[] | undefined {
    if (!this.#reading || axis !== this.axis || index[axis] !== this.index[axis]) return undefined;
    if (!sharesTaps(size, step)) return undefined;
    const fresh = Array.from({ length: step }, (_, i) => this.#emitter.bind("column", tap(size - step + i)));
    const zero = constant(0, fresh[0]!.type);
    const kept = Array.from({ length: size - step }, () => this.#emitter.kept("kept", zero));
    const all = [...kept, ...fresh];
    this.#rotations.push(() => kept.forEach((k, i) => this.#emitter.set(k, all[i + step]!)));
    return all;
  }

  /** The end of a turn. */
  turn(): void {
    for (const rotate of this.#rotations) rotate();
  }
}
