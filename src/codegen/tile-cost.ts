// What a tile of a contraction costs on a GPU, in cycles of one of its cores: which tile, and whether to split the sum, where all sizes
// are known. Three things take time: multiply-adds with what they read, waiting for slabs, and cores that have nothing to do.
// Constants are of one large card (docs/performance.md has what was measured there); only their ratios matter.

import type { ContractionSchedule } from "./schedule.ts";

export interface TileSizes {
  readonly rows: number;
  readonly columns: number;
  readonly reduction: number;
  readonly batch: number;
  /** Products with the same rows, computed together. */
  readonly products: number;
}

/** Cores that run workgroups at the same time, and multiply-adds of one in a cycle. */
const CORES = 128;
const LANES = 128;
const CYCLES_PER_MICROSECOND = 1700;
/** Bytes that all memory moves in a cycle. */
const BYTES_PER_CYCLE = 1500;
/** From one slab to the next: the read from a buffer, and two barriers. */
const SLAB = 1000;
/** Of every step: what a subgroup waits for workgroup memory, shared by the subgroups that a core has to choose from. */
const STEP = 256;
/** Reading one value from workgroup memory, of a multiply-add; and one from a buffer. */
const NEAR = 0.8;
const FAR = 16;

export function tileCost(s: ContractionSchedule, z: TileSizes, dispatchMicroseconds: number): number {
  const [across, down] = s.threads;
  const rows = down * s.rows;
  const columns = across * s.vectors * s.width * z.products;
  const workgroups =
    z.batch * Math.ceil(z.rows / rows) * Math.ceil((z.columns * z.products) / columns) * s.split;
  const steps = Math.ceil(z.reduction / s.split / s.step) * s.step;
  const own = s.rows * s.vectors * s.width * z.products;
  const reads =
    (NEAR * (s.rows + s.vectors * s.width * z.products)) / own + (FAR * (rows + columns)) / (rows * columns);
  const rounds = Math.ceil(workgroups / CORES);
  const work = rounds * ((rows * columns * steps) / LANES) * (1 + reads);
  const subgroups = Math.min(64, rounds * Math.ceil((across * down) / 32));
  const waiting = (steps / s.step) * SLAB + (steps * STEP) / subgroups;
  const adding =
    s.split === 1
      ? 0
      : dispatchMicroseconds * CYCLES_PER_MICROSECOND +
        (2 * 4 * s.split * z.batch * z.rows * z.columns) / BYTES_PER_CYCLE;
  return work + waiting + adding;
}
