// What a tile of a contraction costs: which tile, and whether to split the sum, where sizes are known. On a GPU three things take time:
// multiply-adds with what they read, waiting for slabs, and cores that have nothing to do. On cores it is multiply-adds and reads alone.
// Constants are measured by `tokenloom tune-device`; the defaults are of one large card and of Mesa's lavapipe (docs/performance.md).

import { runsOnCores, type Target, type TileConstants } from "../ir/target.ts";
import { slabBytes, type ContractionSchedule, type Halves } from "./schedule.ts";

export type TileSizes = {
  readonly rows: number;
  readonly columns: number;
  readonly reduction: number;
  readonly batch: number;
  /** Products with the same rows, computed together. */
  readonly products: number;
};

const card: TileConstants = {
  ...{ cores: 128, lanes: 128, cyclesPerMicrosecond: 1700, workgroup: 0 },
  ...{ slab: 1000, step: 256, near: 0.8, far: 16 },
};

const cores: TileConstants = {
  ...{ cores: 2, lanes: 8, cyclesPerMicrosecond: 1200, workgroup: 500 },
  ...{ slab: 0, step: 0, near: 0.8, far: 12 },
};

/** Bytes that all memory of such a card moves in a cycle: only what a split sum writes and reads again is counted. */
const BYTES_PER_CYCLE = 1500;

export function tileConstants(target: Target): TileConstants {
  const { measured, subgroupSize } = target;
  if (measured.tiles) return measured.tiles;
  return runsOnCores(target) ? { ...cores, lanes: subgroupSize || cores.lanes } : card;
}

/** What it takes to widen a number from a slab in f16, in multiply-adds: an instruction. Not measured. */
const WIDENED = 1;

/** Microseconds of all tiles of one contraction, as far as the model goes. */
export function tileCost(s: ContractionSchedule, z: TileSizes, target: Target, halves?: Halves): number {
  const c = tileConstants(target);
  const cycles = runsOnCores(target)
    ? cyclesOnCores(s, z, c, target.subgroupSize || c.lanes)
    : cyclesOnCard(s, z, c, target.measured.dispatchMicroseconds, halves);
  return cycles / c.cyclesPerMicrosecond;
}

function cyclesOnCard(
  s: ContractionSchedule,
  z: TileSizes,
  c: TileConstants,
  dispatch: number,
  halves?: Halves,
): number {
  const [across, down] = s.threads;
  const rows = down * s.rows;
  const columns = across * s.vectors * s.width * z.products;
  const workgroups =
    z.batch * Math.ceil(z.rows / rows) * Math.ceil((z.columns * z.products) / columns) * s.split;
  const steps = Math.ceil(z.reduction / s.split / s.step) * s.step;
  const own = s.rows * s.vectors * s.width * z.products;
  const bytes = slabBytes(s, halves);
  const read = (b: 2 | 4): number => (c.near * b) / 4 + (b === 2 ? WIDENED : 0);
  const near = s.rows * read(bytes.row) + s.vectors * s.width * z.products * read(bytes.column);
  const reads = near / own + (c.far * (rows + columns)) / (rows * columns);
  const rounds = Math.ceil(workgroups / c.cores);
  const work = rounds * ((rows * columns * steps) / c.lanes) * (1 + reads);
  const subgroups = Math.min(64, rounds * Math.ceil((across * down) / 32));
  const waiting = (steps / s.step) * c.slab + (steps * c.step) / subgroups;
  const adding =
    s.split === 1
      ? 0
      : dispatch * c.cyclesPerMicrosecond +
        (2 * 4 * s.split * z.batch * z.rows * z.columns) / BYTES_PER_CYCLE;
  return rounds * c.workgroup + work + waiting + adding;
}

/** Of each row of a tile: the epilogue, and finding out where the row lies. */
const ROW = 40;

/**
 * A subgroup at a time; a read costs the same wherever it goes, and more than a whole row of multiply-adds. Sums beyond the registers have no
 * term: from 12 to 64 rows of a tile a fit with one is no nearer to what was measured than one without (docs/performance.md).
 */
function cyclesOnCores(s: ContractionSchedule, z: TileSizes, c: TileConstants, subgroup: number): number {
  const [across, down] = s.threads;
  const wide = s.vectors * s.width * z.products;
  const tiles = Math.ceil(z.rows / (down * s.rows)) * Math.ceil(z.columns / (across * s.vectors * s.width));
  const subgroups = Math.max(1, (across * down) / subgroup);
  // A subgroup hands its rows round; elsewhere each invocation reads for itself.
  const rowReads = s.kind === "subgroup" ? Math.ceil(s.rows / subgroup) : s.rows;
  const step = s.rows * wide + c.far * (wide + rowReads);
  const one = c.workgroup + subgroups * (z.reduction * step + ROW * s.rows * wide);
  return Math.ceil((z.batch * tiles) / c.cores) * one;
}

/** Multiply-adds of a vector that make about a KiB of text: what a turn of the loop over the sum writes out. */
const MULTIPLY_ADDS_OF_KIBIBYTE = 32;

/** Milliseconds until the first result of a kernel by this schedule. */
export function shaderCost(s: ContractionSchedule, products: number, target: Target): number {
  const { shaderMilliseconds = 0, shaderMillisecondsPerKibibyte = 0 } = target.measured;
  return shaderMilliseconds + shaderMillisecondsPerKibibyte * tileKibibytes(s, products);
}

/** Text that a tile adds to its shader. */
export function tileKibibytes(s: ContractionSchedule, products: number): number {
  return (s.rows * s.vectors * products * Math.min(s.step, 4)) / MULTIPLY_ADDS_OF_KIBIBYTE;
}
