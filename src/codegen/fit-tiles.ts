// Constants of the tile model from measured times: those at which predictions are off by the smallest factor. Pure.

import type { AdapterConstants, Target, TileConstants } from "../ir/target.ts";
import { descend, offBy } from "../support/descent.ts";
import type { ContractionSchedule } from "./schedule.ts";
import { tileConstants, tileCost, tileKibibytes, type TileSizes } from "./tile-cost.ts";

export interface TilePoint {
  readonly schedule: ContractionSchedule;
  readonly sizes: TileSizes;
  readonly milliseconds: number;
  /** From the shader's text to its first result, less a run. */
  readonly shaderMilliseconds: number;
}

export interface TileFit {
  readonly tiles: TileConstants;
  /** By which factor predictions are off: of most points (root mean square of logarithms), before and after. */
  readonly before: number;
  readonly after: number;
}

const withTiles = (target: Target, tiles: TileConstants): Target => ({
  ...target,
  measured: { ...target.measured, tiles },
});

const ratios = (points: readonly TilePoint[], target: Target, tiles: TileConstants): readonly number[] =>
  points.map((p) => tileCost(p.schedule, p.sizes, withTiles(target, tiles)) / 1000 / p.milliseconds);

const off = (points: readonly TilePoint[], target: Target, tiles: TileConstants): number =>
  offBy(ratios(points, target, tiles));

/** The same with the clock at which predictions are right on average: everything else is counted in its cycles. */
function clocked(points: readonly TilePoint[], target: Target, tiles: TileConstants): TileConstants {
  const logs = ratios(points, target, tiles).map(Math.log);
  const factor = Math.exp(logs.reduce((a, b) => a + b, 0) / Math.max(1, logs.length));
  return { ...tiles, cyclesPerMicrosecond: tiles.cyclesPerMicrosecond * factor };
}

/** `free`: which constants may change beside the clock; the others are known. */
export function fitTiles(
  points: readonly TilePoint[],
  target: Target,
  start: TileConstants = tileConstants(target),
  free: readonly (keyof TileConstants)[] = ["workgroup", "slab", "step", "far"],
): TileFit {
  const least = descend(start, free, (tiles) => off(points, target, clocked(points, target, tiles)));
  return {
    tiles: clocked(points, target, least.at),
    before: off(points, target, start),
    after: least.error,
  };
}

/** A line through the times of shaders by how much text a tile adds, as `shaderCost` counts it; never below 0. */
export function fitShaders(
  points: readonly TilePoint[],
): Required<Pick<AdapterConstants, "shaderMilliseconds" | "shaderMillisecondsPerKibibyte">> {
  const least = new Map<number, number>();
  for (const { schedule: s, sizes, shaderMilliseconds } of points) {
    const added = tileKibibytes(s, sizes.products);
    least.set(added, Math.min(least.get(added) ?? Infinity, shaderMilliseconds));
  }
  const [xs, ys] = [[...least.keys()], [...least.values()]];
  const mean = (list: readonly number[]): number =>
    list.reduce((a, b) => a + b, 0) / Math.max(1, list.length);
  const [x, y] = [mean(xs), mean(ys)];
  const spread = mean(xs.map((v) => (v - x) ** 2));
  const together = mean(xs.map((v, i) => (v - x) * (ys[i]! - y)));
  const slope = spread === 0 ? 0 : Math.max(0, together / spread);
  return { shaderMilliseconds: Math.max(0, y - slope * x), shaderMillisecondsPerKibibyte: slope };
}
