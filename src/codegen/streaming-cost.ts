// What the cost models of kernels share that read much and compute little of it: on a card they take as long as their bytes, or as they wait.
// The constants are of one large card (docs/performance.md), as the defaults of tile-cost.ts are.

import type { Target } from "../ir/target.ts";
import type { Ranked, ScheduleCost } from "./schedule-family.ts";

/** Another form than the plain one, of which most is known, has to come below this part of its time. */
const CERTAIN = 0.8;

/** The plain form, or the first of a ranking where that is faster for certain. */
export function surelyBest<S>(plain: S, its: ScheduleCost, [first]: readonly Ranked<S>[]): S {
  return first && first.microseconds < CERTAIN * its.microseconds ? first.schedule : plain;
}

/** Of a copy, where the adapter at hand was not measured: GB/s. */
const CARD_BANDWIDTH = 2684;
/** Of the time of a first read: what is read again comes from a nearer cache. */
export const AGAIN = 0.5;
/** Invocations that a core of a card holds at the same time, and workgroups. */
export const HELD = { invocations: 2048, workgroups: 24 };
/** Cycles of a lane for one read and what is computed of it. */
export const ITEM = 12;

/** Bytes that a card moves in a microsecond. */
export function cardBandwidth({ measured }: Target): number {
  return 1e3 * (measured.tiles ? measured.gigabytesPerSecond : CARD_BANDWIDTH);
}

/** Milliseconds of so many shaders with so many bodies of loops in each: a body is about an eighth of a KiB of text. */
export function shaderOf({ measured }: Target, bodies: number, shaders: number): number {
  const { shaderMilliseconds = 0, shaderMillisecondsPerKibibyte = 0 } = measured;
  return shaders * (shaderMilliseconds + (shaderMillisecondsPerKibibyte * bodies) / 8);
}
