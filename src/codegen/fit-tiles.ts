// Constants of the tile model from measured times: those at which predictions are off by the smallest factor, found by changing one after
// the other. Pure.

import type { AdapterConstants, Target, TileConstants } from "../ir/target.ts";
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

const logs = (points: readonly TilePoint[], target: Target, tiles: TileConstants): readonly number[] =>
  points.map((p) =>
    Math.log(tileCost(p.schedule, p.sizes, withTiles(target, tiles)) / 1000 / p.milliseconds),
  );

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / Math.max(1, list.length);

const off = (points: readonly TilePoint[], target: Target, tiles: TileConstants): number =>
  Math.exp(Math.sqrt(mean(logs(points, target, tiles).map((l) => l * l))));

/** The same with the clock at which predictions are right on average: everything else is counted in its cycles. */
function clocked(points: readonly TilePoint[], target: Target, tiles: TileConstants): TileConstants {
  const factor = Math.exp(mean(logs(points, target, tiles)));
  return { ...tiles, cyclesPerMicrosecond: tiles.cyclesPerMicrosecond * factor };
}

/** `free`: which constants may change beside the clock; the others are known. */
export function fitTiles(
  points: readonly TilePoint[],
  target: Target,
  start: TileConstants = tileConstants(target),
  free: readonly (keyof TileConstants)[] = ["workgroup", "slab", "step", "far"],
): TileFit {
  const before = off(points, target, start);
  let tiles = clocked(points, target, start);
  let after = off(points, target, tiles);
  for (const factor of [2, 1.5, 1.2, 1.1, 1.03, 1.01])
    for (let round = 0; round < 20; round++) {
      const last = after;
      for (const name of free)
        for (const f of [factor, 1 / factor]) {
          const next = clocked(points, target, { ...tiles, [name]: tiles[name] * f });
          const error = off(points, target, next);
          if (error < after) [tiles, after] = [next, error];
        }
      if (after > last * 0.9999) break;
    }
  return { tiles, before, after };
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
