// Schedules of a contraction whose sizes are known, the cheapest first: by what tiles cost, and what it costs to compile them.

import { constantOf } from "../ir/dim.ts";
import { runsOnCores } from "../ir/target.ts";
import { refuseSchedule, swizzleOf, tiled, withinGroups, withSums } from "./schedule.ts";
import type { ContractionFacts, ContractionSchedule } from "./schedule.ts";
import type { Ranked } from "./schedule-family.ts";
import { shaderCost, tileCost, type TileSizes } from "./tile-cost.ts";

export type RankedSchedule = Ranked<ContractionSchedule>;

/** Sizes that a schedule is chosen for: those of the graph, else those that are expected; undefined where one is open. */
export function sizesOf(f: ContractionFacts): TileSizes | undefined {
  const [rows, columns] = [constantOf(f.rows), constantOf(f.columns)];
  const [reduction, batch] = [constantOf(f.steps ?? f.reduction), constantOf(f.batch)];
  const products = f.products ?? 1;
  if (rows === undefined || columns === undefined || reduction === undefined || batch === undefined)
    return f.expected && { ...f.expected, products };
  return { rows, columns, reduction, batch, products };
}

/** All that the target can run, the cheapest first. */
export function rankSchedules(f: ContractionFacts, sizes: TileSizes): readonly RankedSchedule[] {
  const seen = new Set<string>();
  const found: RankedSchedule[] = [];
  for (const one of candidates(f)) {
    const summed = withSums(one, sizes.products);
    const schedule = f.groupTile === undefined ? summed : withinGroups(summed, f.groupTile);
    const key = JSON.stringify(schedule);
    if (seen.has(key) || refuseSchedule(schedule, f) !== undefined) continue;
    seen.add(key);
    const microseconds = tileCost(schedule, sizes, f.target, f.halves);
    found.push({
      schedule: { ...schedule, grid: gridFor(f, sizes, microseconds) },
      microseconds,
      shaderMilliseconds: shaderCost(schedule, sizes.products, f.target),
    });
  }
  // Of a second dispatch less is certain than of a tile: it has to gain a quarter.
  const cost = (r: RankedSchedule): number => r.microseconds * (r.schedule.split > 1 ? 4 / 3 : 1);
  return found.sort((a, b) => cost(a) - cost(b));
}

/** Half of each last tile of a group is a part of the grid that no row fills: where that takes longer than to read the grid from a buffer. */
function gridFor(f: ContractionFacts, sizes: TileSizes, microseconds: number): ContractionSchedule["grid"] {
  const { indirectMicroseconds } = f.target.measured;
  if (!f.live || f.groups === undefined || f.groupTile === undefined || indirectMicroseconds === undefined)
    return "bound";
  const empty = (Math.min(f.groups, sizes.rows / f.groupTile) * (f.groupTile - 1)) / 2;
  return microseconds * (empty / sizes.rows) > indirectMicroseconds ? "live" : "bound";
}

function candidates(f: ContractionFacts): readonly ContractionSchedule[] {
  return runsOnCores(f.target) ? onCores(f) : onCard(f);
}

/** Threads, rows and vectors. */
const tiles = [
  [16, 16, 4, 1],
  [16, 16, 8, 2],
  [8, 16, 8, 2],
  [16, 16, 8, 1],
  [16, 8, 4, 1],
  [8, 8, 4, 1],
] as const;

function onCard(f: ContractionFacts): readonly ContractionSchedule[] {
  const reduction = constantOf(f.reduction) ?? 0;
  // What is stored in f16 may stay so in the slabs.
  const slabs = f.halves ? (["f32", "f16"] as const) : (["f32"] as const);
  const splits = f.groupTile === undefined && f.products === undefined ? [1, 2, 4, 8, 16] : [1];
  return splits.flatMap((split) =>
    tiles
      .flatMap(([across, down, rows, vectors]) =>
        slabs.map((kept): ContractionSchedule => {
          return { ...tiled(f), threads: [across, down], rows, vectors, split, slabs: kept };
        }),
      )
      .filter((s) => split === 1 || reduction / split >= 4 * s.step),
  );
}

/** Rows of a tile. */
const heights = [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 25, 28, 32, 40, 48, 50, 56, 64];
/** Up to here the epilogue is written out for each row. */
const DIRECT = 4;

function onCores(f: ContractionFacts): readonly ContractionSchedule[] {
  const lanes = f.target.subgroupSize;
  const width = f.columnVectors ? 4 : 1;
  const common = {
    vectors: 1,
    width,
    step: f.rowVectors ? 4 : 1,
    split: 1,
    grid: "bound",
    swizzle: swizzleOf(f),
    slabs: "f32",
  } as const;
  return heights.map((rows): ContractionSchedule => {
    const stagedEpilogue = lanes > 0 && rows > DIRECT;
    if (lanes > 0) return { ...common, kind: "subgroup", threads: [lanes, 1], rows, stagedEpilogue };
    const threads = rows === 1 ? ([64, 1] as const) : ([8, 8] as const);
    return { ...common, kind: "register", threads, rows, stagedEpilogue };
  });
}
