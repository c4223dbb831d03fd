// Schedules of column reductions: what lies together in memory is kept, and each invocation sums alone for its own results. How many
// invocations lie along a row, how many rows share a workgroup, and whether what is summed is cut into parts, each in workgroups of its own.
// column-kernel.ts makes a kernel for any that is not refused here.

import {
  ceilDiv,
  constantOf,
  dim,
  isMultipleOf,
  productDim,
  substituteDim,
  type Dim,
  type DimEnv,
} from "../ir/dim.ts";
import type { Region } from "../ir/graph.ts";
import { runsOnCores, type Target } from "../ir/target.ts";
import { bytesOf, orderOf, stridesOf } from "../ir/types.ts";
import { isWhole, levelsOf, rowLength, typesIn, wholeParams, type Domain } from "./reduction-domain.ts";
import { cut } from "./rows.ts";
import { countText, sizeIn, type Ranked, type ScheduleCost, type SpaceOptions } from "./schedule-family.ts";
import { AGAIN, cardBandwidth, surelyBest, HELD, ITEM, shaderOf } from "./streaming-cost.ts";
import { tileConstants } from "./tile-cost.ts";

export interface ColumnSchedule {
  readonly kind: "column";
  /** Invocations along the innermost axis, in one workgroup. */
  readonly threads: number;
  /** Rows of a workgroup. */
  readonly rows: number;
  /** Parts of what is summed, along its outermost axis; the next dispatch adds them up in order. */
  readonly parts: number;
  /** Neighbours that an invocation has: 1 or 4. */
  readonly width: number;
}

export interface ColumnFacts {
  readonly target: Target;
  /** Results: of all axes but the innermost, and of that. */
  readonly rows: Dim;
  readonly columns: Dim;
  readonly length: Dim;
  /** Of the outermost axis that is summed over. */
  readonly outer: Dim;
  readonly wide: boolean;
  readonly levels: number;
  readonly sweeps: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly expected: DimEnv;
}

export type ColumnSizes = {
  readonly rows: number;
  readonly columns: number;
  readonly length: number;
  readonly outer: number;
};

const MOST = { threads: 1024, rows: 1024, parts: 256 };

export const columnText = countText<ColumnSchedule>([
  { name: "threads", most: MOST.threads },
  { name: "rows", most: MOST.rows, default: 1 },
  { name: "parts", most: MOST.parts, default: 1 },
  { name: "width", most: 4, default: 1 },
]);

/** Axes that rows are counted over, and the one that invocations lie along. */
export function columnAxes({ type, kept }: Domain): {
  readonly outer: readonly number[];
  readonly inner: number;
} {
  const inner = orderOf(type).at(-1)!;
  return { outer: kept.filter((a) => a !== inner), inner };
}

export function columnFacts(region: Region, domain: Domain, o: SpaceOptions): ColumnFacts {
  const { type, reduced } = domain;
  const { outer, inner } = columnAxes(domain);
  const types = typesIn(region);
  const written = region.results.map((id) => types.get(id)!).filter((t) => isWhole(t, domain));
  const levels = levelsOf(region).length;
  const of = (d: Dim): Dim => substituteDim(d, o.bounds);
  return {
    ...{ target: o.target, levels, expected: o.sizes },
    rows: of(productDim(outer.map((a) => type.shape[a]!))),
    columns: of(type.shape[inner]!),
    length: of(rowLength(domain)),
    outer: of(type.shape[reduced[0]!]!),
    wide: isMultipleOf(type.shape[inner]!, 4) && constantOf(stridesOf(type)[inner]!) === 1,
    sweeps: levels + (written.length > 0 ? 1 : 0),
    readBytes: wholeParams(region, domain).reduce((n, p) => n + bytesOf[p.type.dtype], 0),
    writtenBytes: written.reduce((n, t) => n + bytesOf[t.dtype], 0),
  };
}

export function columnSizes(f: ColumnFacts): ColumnSizes | undefined {
  const [rows, columns] = [sizeIn(f.rows, f.expected), sizeIn(f.columns, f.expected)];
  const [length, outer] = [sizeIn(f.length, f.expected), sizeIn(f.outer, f.expected)];
  if (rows === undefined || columns === undefined || length === undefined || outer === undefined)
    return undefined;
  return { rows, columns, length, outer };
}

export function refuseColumn(s: ColumnSchedule, f: ColumnFacts): string | undefined {
  const { limits } = f.target;
  const invocations = s.threads * s.rows;
  const most = Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX);
  if (invocations > most) return `${invocations} invocations, and ${most} are the most`;
  if (s.width !== 1 && s.width !== 4) return "width is 1 or 4";
  if (s.width === 4 && !f.wide)
    return "what is kept does not lie in fours in memory: it has to be taken one by one (width=1)";
  return undefined;
}

export function chooseColumn(f: ColumnFacts): ColumnSchedule {
  const plain = plainColumn(f);
  const sizes = columnSizes(f);
  // On cores the plain form was measured.
  if (runsOnCores(f.target) || !sizes) return plain;
  return surelyBest(plain, columnCost(plain, f, sizes), rankColumns(f, sizes));
}

function plainColumn(f: ColumnFacts): ColumnSchedule {
  const width = f.wide ? 4 : 1;
  const items = f.wide ? ceilDiv(f.columns, dim(4)) : f.columns;
  const { width: threads, together } = cut(items, f.target);
  return { kind: "column", threads, rows: together, parts: 1, width };
}

export function whyColumn(s: ColumnSchedule): string {
  const shared = s.rows > 1 ? ", and short rows share a workgroup" : "";
  const parts =
    s.parts > 1
      ? `; what is summed is cut into ${s.parts} parts, or most of the adapter would wait, and the next dispatch adds them up in order`
      : "";
  return `what lies together in memory is kept, not summed: neighbours are read by neighbouring invocations${shared}${parts}`;
}

// ---- cost -------------------------------------------------------------------------------------------------------------

/** Reads of one invocation that are under way at the same time: each waits only to be added. */
const UNDER_WAY = 4;

export function columnCost(s: ColumnSchedule, f: ColumnFacts, z: ColumnSizes): ScheduleCost {
  const { measured, subgroupSize } = f.target;
  const c = tileConstants(f.target);
  const items = Math.ceil(z.columns / s.width);
  const reads = (Math.ceil(z.outer / s.parts) * z.length) / z.outer;
  const workgroups = Math.ceil(items / s.threads) * Math.ceil(z.rows / s.rows) * s.parts;
  const dispatches = (s.parts > 1 ? f.levels : 0) * measured.dispatchMicroseconds;
  const shader = shaderOf(f.target, f.sweeps, s.parts > 1 ? f.levels + 1 : 1);
  if (runsOnCores(f.target)) {
    const subgroups = Math.max(1, (s.threads * s.rows) / (subgroupSize || c.lanes));
    const one = c.workgroup + subgroups * f.sweeps * reads * (c.far + 2 * s.width);
    const microseconds = (Math.ceil(workgroups / c.cores) * one) / c.cyclesPerMicrosecond + dispatches;
    return { microseconds, shaderMilliseconds: shader };
  }
  const wait = c.slab / c.cyclesPerMicrosecond;
  const held = Math.max(1, Math.min(HELD.workgroups, Math.floor(HELD.invocations / (s.threads * s.rows))));
  const rounds = Math.ceil(workgroups / (c.cores * held));
  const adding = s.parts > 1 ? wait * (1 + s.parts / 16) : 0;
  const waiting = rounds * (f.sweeps * wait * Math.ceil(reads / UNDER_WAY) + f.levels * adding);
  const elements = z.rows * z.columns * z.length;
  const bytes = elements * (f.readBytes * (1 + AGAIN * (f.sweeps - 1)) + f.writtenBytes);
  const lanes = (elements / s.width) * f.sweeps * (ITEM / (c.cores * c.lanes * c.cyclesPerMicrosecond));
  const microseconds = Math.max(bytes / cardBandwidth(f.target), waiting, lanes) + dispatches;
  return { microseconds, shaderMilliseconds: shader };
}

export function rankColumns(f: ColumnFacts, z: ColumnSizes): readonly Ranked<ColumnSchedule>[] {
  const found = new Map<string, Ranked<ColumnSchedule>>();
  for (const schedule of [plainColumn(f), ...candidates(f, z)])
    if (refuseColumn(schedule, f) === undefined)
      found.set(columnText.show(schedule), { schedule, ...columnCost(schedule, f, z) });
  return [...found.values()].sort((a, b) => a.microseconds - b.microseconds);
}

function candidates(f: ColumnFacts, z: ColumnSizes): readonly ColumnSchedule[] {
  const plain = plainColumn(f);
  const cores = runsOnCores(f.target);
  const threads = [8, 16, 32, 64, 128].filter((t) => t < 2 * Math.ceil(z.columns / plain.width));
  const parts = [1, 2, 4, 8, 16, 32, 64].filter((p) => p <= (cores ? 2 : z.outer / 2));
  const widths = f.wide && !cores ? [4, 1] : [plain.width];
  return widths.flatMap((width) =>
    parts.flatMap((p) => [
      { ...plain, width, parts: p },
      ...threads.map((t) => ({
        ...plain,
        width,
        parts: p,
        threads: t,
        rows: Math.max(1, (cores ? 16 : 64) / t),
      })),
    ]),
  );
}
