// Schedules of row reductions: what is reduced lies together in memory, and workgroups take rows. How many invocations a row has, how many rows
// a workgroup, whether several workgroups share a row, what stays in registers between sweeps. row-kernel.ts makes a kernel for any that is
// not refused here.

import { constantOf, substituteDim, type Dim, type DimEnv } from "../ir/dim.ts";
import type { Region } from "../ir/graph.ts";
import { runsOnCores, type Target } from "../ir/target.ts";
import { bytesOf, type DType } from "../ir/types.ts";
import {
  isWhole,
  levelsOf,
  rowCount,
  rowLength,
  rowReads,
  typesIn,
  wholeParams,
  type Domain,
} from "./reduction-domain.ts";
import { countText, sizeIn, type Ranked, type ScheduleCost, type SpaceOptions } from "./schedule-family.ts";
import { AGAIN, cardBandwidth, surelyBest, HELD, ITEM, shaderOf } from "./streaming-cost.ts";
import { tileConstants } from "./tile-cost.ts";

export interface RowSchedule {
  readonly kind: "row";
  /** Invocations of a row, in one workgroup: a power of two. */
  readonly threads: number;
  /** Rows of a workgroup: a power of two. */
  readonly rows: number;
  /** Workgroups that share a row. What each found is added up in order by the next dispatch. */
  readonly parts: number;
  /** Elements read at once: 1 or 4. */
  readonly width: number;
  /** Of each invocation: reads of each value that stay in registers from the first sweep to the last. Those beyond are made again. */
  readonly keep: number;
}

export interface RowFacts {
  readonly target: Target;
  readonly rows: Dim;
  readonly length: Dim;
  /** Elements lie in fours. */
  readonly wide: boolean;
  /** Reductions that wait for each other. */
  readonly levels: number;
  /** Sweeps over a row: one for each level, and one more where elements are written. */
  readonly sweeps: number;
  /** Values of the whole domain that are read at the index of the sweep alone: they can stay in registers. */
  readonly keepable: number;
  /** Bytes of an element of all that is read in a sweep, and of all that is written. */
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly expected: DimEnv;
}

export type RowSizes = { readonly rows: number; readonly length: number };

/** Bounds of the space. */
const MOST = { threads: 1024, rows: 64, parts: 256, keep: 16 };

export const rowText = countText<RowSchedule>([
  { name: "threads", most: MOST.threads },
  { name: "rows", most: MOST.rows, default: 1 },
  { name: "parts", most: MOST.parts, default: 1 },
  { name: "width", most: 4, default: 1 },
  { name: "keep", least: 0, most: MOST.keep, default: 0 },
]);

export function rowFacts(region: Region, domain: Domain, o: SpaceOptions): RowFacts {
  const types = typesIn(region);
  const whole = wholeParams(region, domain);
  const written = region.results.map((id) => types.get(id)!).filter((t) => isWhole(t, domain));
  const levels = levelsOf(region).length;
  const bytes = (list: readonly { readonly dtype: DType }[]): number =>
    list.reduce((n, t) => n + bytesOf[t.dtype], 0);
  return {
    ...{ target: o.target, levels, expected: o.sizes },
    rows: substituteDim(rowCount(domain), o.bounds),
    length: substituteDim(rowLength(domain), o.bounds),
    wide: rowReads(region, domain, o.bounds).wide,
    sweeps: levels + (written.length > 0 ? 1 : 0),
    keepable: whole.filter((p) => p.isAligned).length,
    readBytes: bytes(whole.map((p) => p.type)),
    writtenBytes: bytes(written),
  };
}

export function rowSizes(f: RowFacts): RowSizes | undefined {
  const [rows, length] = [sizeIn(f.rows, f.expected), sizeIn(f.length, f.expected)];
  return rows === undefined || length === undefined ? undefined : { rows, length };
}

const isPowerOfTwo = (n: number): boolean => Math.log2(n) % 1 === 0;

export function refuseRow(s: RowSchedule, f: RowFacts): string | undefined {
  const { limits, subgroupSize } = f.target;
  const invocations = s.threads * s.rows;
  const most = Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX);
  if (invocations > most) return `${invocations} invocations, and ${most} are the most`;
  if (!isPowerOfTwo(s.threads) || !isPowerOfTwo(s.rows)) return "threads and rows are powers of two";
  if (s.width !== 1 && s.width !== 4) return "width is 1 or 4";
  if (s.width === 4 && !f.wide)
    return "elements of a row do not lie in fours in memory: they have to be read one by one (width=1)";
  if (s.keep > 0 && f.sweeps < 2) return "there is one sweep, and nothing to keep for another: keep=0";
  if (s.keep > 0 && f.keepable === 0)
    return "nothing is read at the place of the sweep alone, so that nothing can be kept: keep=0";
  if (s.keep * f.keepable > MOST.keep)
    return `${s.keep * f.keepable} registers for what is kept, and ${MOST.keep} are the most`;
  if (s.parts > 1 && s.rows > 1) return "a row that is shared by workgroups has them to itself: rows=1";
  if (s.parts > 1 && s.keep > 0) return "the next dispatch has no registers of this one: keep=0";
  const bytes = sharedBytes(s, subgroupSize);
  if (bytes > limits.maxComputeWorkgroupStorageSize)
    return `${bytes} bytes of workgroup memory, and ${limits.maxComputeWorkgroupStorageSize} are the most`;
  return undefined;
}

/** Do whole subgroups share a row? Then they add up by themselves, and only their sums go through workgroup memory. */
export function bySubgroups(s: RowSchedule, subgroupSize: number): boolean {
  return subgroupSize > 0 && s.threads > 1 && s.threads % subgroupSize === 0;
}

/** Of the three types that numbers are reduced in, at most. */
function sharedBytes(s: RowSchedule, subgroupSize: number): number {
  if (s.threads === 1 || (bySubgroups(s, subgroupSize) && s.threads === subgroupSize)) return 0;
  return 3 * 4 * s.threads * s.rows;
}

// ---- choosing ---------------------------------------------------------------------------------------------------------

export function chooseRow(f: RowFacts): RowSchedule {
  const plain = plainRow(f);
  const sizes = rowSizes(f);
  // On cores the plain form was measured, and none of the others gains enough to be sure of (docs/performance.md).
  if (runsOnCores(f.target) || !sizes) return plain;
  return surelyBest(plain, rowCost(plain, f, sizes), rankRows(f, sizes));
}

/**
 * One row a workgroup, everything read again in each sweep. Short rows get one subgroup, or 32; long ones as many invocations as the adapter
 * allows by default, very long ones as many as it allows. Where one core runs a workgroup, a subgroup at a time, one subgroup is as fast as
 * many, and needs no barrier: a shader with barriers takes five times as long to compile there.
 */
export function plainRow(f: RowFacts): RowSchedule {
  const width = f.wide ? 4 : 1;
  return { kind: "row", threads: plainThreads(f, width), rows: 1, parts: 1, width, keep: 0 };
}

function plainThreads(f: RowFacts, width: number): number {
  const { target, length } = f;
  if (runsOnCores(target) && target.subgroupSize > 0) return target.subgroupSize;
  const known = constantOf(length);
  const items = known === undefined ? undefined : Math.ceil(known / width);
  const { maxComputeInvocationsPerWorkgroup: all } = target.limits;
  // A whole image is a long row at any size, and one workgroup waits for each of its reads: the more at once, the better.
  const veryLong = items === undefined ? length.terms.some((t) => t.atoms.length > 1) : items >= 16384;
  const most = Math.min(veryLong ? 1024 : 256, all);
  if (items === undefined) return most;
  let threads = Math.max(8, target.subgroupSize);
  while (threads * 8 < items && threads < most) threads *= 2;
  return threads;
}

export function whyRow(s: RowSchedule, f: RowFacts): string {
  const unit = s.width === 4 ? "vectors" : "elements";
  const narrow = s.width === 4 || !f.wide ? "" : "; one by one, though elements lie in fours";
  const kept = s.keep > 0 ? `; the first ${s.keep} ${unit} of each invocation stay in registers` : "";
  const found = `what is summed lies together in memory`;
  if (s.parts > 1)
    return `${found}, and there are too few rows for the adapter: ${s.parts} workgroups share a row, and the next dispatch adds up in order what they found${narrow}`;
  if (s.rows > 1)
    return `${found}, and rows are short: ${s.rows} of them share a workgroup, ${s.threads} invocations each${kept}${narrow}`;
  return `${found}, so that a workgroup takes a row: about eight ${unit} an invocation where it is long enough${kept}${narrow}`;
}

// ---- cost -------------------------------------------------------------------------------------------------------------

/** Reads that an invocation has under way at the same time, where nothing waits for the first of them. */
const UNDER_WAY = 4;

export function rowCost(s: RowSchedule, f: RowFacts, z: RowSizes): ScheduleCost {
  const stages = s.parts > 1 ? f.levels + 1 : 1;
  return {
    microseconds: runsOnCores(f.target) ? onCores(s, f, z) : onCard(s, f, z),
    shaderMilliseconds: shaderOf(f.target, f.sweeps * (1 + s.keep), stages),
  };
}

/** Reads of one invocation in one sweep: those that are kept, once for all sweeps, and those that are made in each. */
function readsOf(s: RowSchedule, z: RowSizes): { readonly kept: number; readonly again: number } {
  const items = Math.ceil(Math.ceil(z.length / s.width) / s.parts / s.threads);
  const kept = Math.min(items, s.keep);
  return { kept, again: items - kept };
}

function onCard(s: RowSchedule, f: RowFacts, z: RowSizes): number {
  const { measured, subgroupSize } = f.target;
  const c = tileConstants(f.target);
  const wait = c.slab / c.cyclesPerMicrosecond;
  const workgroups = Math.ceil(z.rows / s.rows) * s.parts;
  const held = Math.max(1, Math.min(HELD.workgroups, Math.floor(HELD.invocations / (s.threads * s.rows))));
  const rounds = Math.ceil(workgroups / (c.cores * held));
  const { kept, again } = readsOf(s, z);
  const joined = s.threads === 1 || (s.threads === subgroupSize && subgroupSize > 0) ? wait / 4 : 2 * wait;
  const adding = s.parts > 1 ? wait * (1 + s.parts / 16) : 0;
  const waiting = rounds * (wait * (kept / UNDER_WAY + f.sweeps * again) + f.levels * (joined + adding));
  const elements = z.rows * z.length;
  const share = again / Math.max(1, kept + again);
  const bytes = elements * (f.readBytes * (1 + AGAIN * (f.sweeps - 1) * share) + f.writtenBytes);
  const lanes = (elements / s.width) * f.sweeps * (ITEM / (c.cores * c.lanes * c.cyclesPerMicrosecond));
  const dispatches = s.parts > 1 ? f.levels : 0;
  return (
    Math.max(bytes / cardBandwidth(f.target), waiting, lanes) + dispatches * measured.dispatchMicroseconds
  );
}

function onCores(s: RowSchedule, f: RowFacts, z: RowSizes): number {
  const { measured, subgroupSize } = f.target;
  const c = tileConstants(f.target);
  const lanes = subgroupSize || c.lanes;
  const workgroups = Math.ceil(z.rows / s.rows) * s.parts;
  const subgroups = Math.max(1, (s.threads * s.rows) / lanes);
  const { kept, again } = readsOf(s, z);
  const values = Math.max(1, f.keepable);
  const cycles =
    subgroups * (c.far * values * (kept + f.sweeps * again) + f.sweeps * (kept + again) * 2 * s.width);
  const stages = s.parts > 1 ? f.levels + 1 : 1;
  const one = stages * c.workgroup + cycles;
  return (
    (Math.ceil(workgroups / c.cores) * one) / c.cyclesPerMicrosecond +
    (stages - 1) * measured.dispatchMicroseconds
  );
}

export function rankRows(f: RowFacts, z: RowSizes): readonly Ranked<RowSchedule>[] {
  const seen = new Set<string>();
  const found: Ranked<RowSchedule>[] = [];
  for (const schedule of [plainRow(f), ...candidates(f, z)]) {
    const text = rowText.show(schedule);
    if (seen.has(text) || refuseRow(schedule, f) !== undefined) continue;
    seen.add(text);
    found.push({ schedule, ...rowCost(schedule, f, z) });
  }
  return found.sort((a, b) => a.microseconds - b.microseconds);
}

function candidates(f: RowFacts, z: RowSizes): readonly RowSchedule[] {
  const cores = runsOnCores(f.target);
  const width = f.wide ? 4 : 1;
  const items = Math.ceil(z.length / width);
  const lanes = f.target.subgroupSize;
  const threads = cores
    ? [lanes || 8]
    : [32, 64, 128, 256, 512, 1024].filter((t) => t === 32 || t < 2 * items);
  const keeps = [0, 1, 2, 4, 8].filter((k) => k === 0 || f.keepable > 0);
  const together = cores ? [1, 2, 4] : [1, 2, 4, 8];
  const parts = cores ? [1, 2] : [1, 2, 4, 8, 16, 32, 64];
  const of = (over: Partial<RowSchedule>): RowSchedule => {
    return { kind: "row", threads: threads[0] ?? 32, rows: 1, parts: 1, width, keep: 0, ...over };
  };
  return threads.flatMap((t) => [
    ...together.flatMap((rows) => keeps.map((keep) => of({ threads: t, rows, keep }))),
    // A part that is shorter than its invocations gains nothing.
    ...parts.filter((p) => p > 1 && items / p >= t).map((p) => of({ threads: t, parts: p })),
  ]);
}
