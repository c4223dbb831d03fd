// Schedules that were measured: what `tokenloom tune-schedules` writes and compilation reads. Pure data (JSON), for one adapter; what is
// read is not trusted: a schedule is only taken where the kernel can run by it.

import type { KernelSizes } from "./schedule-family.ts";

export const tunedFormat = "tokenloom-schedules";
/** Of the format, and of what a structure's name is made from: older entries are measured again. */
export const tunedVersion = 1;

export interface TunedTable {
  readonly format: typeof tunedFormat;
  readonly version: typeof tunedVersion;
  /** `Target.adapter` of where it was measured. */
  readonly adapter: string;
  readonly entries: readonly TunedEntry[];
}

export interface TunedEntry {
  /** Name of the group's text: what it computes, on which types. */
  readonly structure: string;
  /** For the reader. */
  readonly kernel: string;
  readonly sizes: KernelSizes;
  /** The winner. */
  readonly schedule: string;
  /** What a millisecond of compilation counted, of one of a run. */
  readonly firstRunWeight: number;
  readonly tried: readonly TriedSchedule[];
}

export interface TriedSchedule {
  readonly schedule: string;
  /** By the cost model. */
  readonly predictedMilliseconds: number;
  /** Median of interleaved runs. */
  readonly milliseconds: number;
  /** Until its first result, less a run. */
  readonly shaderMilliseconds: number;
}

/** Entries and where they are from: `the cache`, or a folder. */
export interface TunedSource {
  readonly from: string;
  readonly entries: readonly TunedEntry[];
}

export interface FoundEntry {
  readonly entry: TunedEntry;
  readonly from: string;
}

const sameSizes = (a: KernelSizes, b: KernelSizes): boolean =>
  Object.keys(a).length === Object.keys(b).length && Object.keys(a).every((name) => a[name] === b[name]);

/**
 * The entry for a structure, the first source first: that of these sizes; where sizes are open, of all that there are, the one whose
 * schedule loses least at the sizes of the others.
 */
export function findTuned(
  sources: readonly TunedSource[],
  structure: string,
  sizes: KernelSizes | undefined,
): FoundEntry | undefined {
  for (const { from, entries } of sources) {
    const all = entries.filter((e) => e.structure === structure);
    const entry = sizes ? all.find((e) => sameSizes(e.sizes, sizes)) : leastLoss(all);
    if (entry) return { entry, from };
  }
  return undefined;
}

function leastLoss(entries: readonly TunedEntry[]): TunedEntry | undefined {
  const loss = (schedule: string): number =>
    Math.max(
      ...entries.map(({ tried }) => {
        const best = Math.min(...tried.map((t) => t.milliseconds));
        return (tried.find((t) => t.schedule === schedule)?.milliseconds ?? Infinity) / best;
      }),
    );
  let found: { readonly entry: TunedEntry; readonly loss: number } | undefined;
  for (const entry of entries) {
    const l = loss(entry.schedule);
    if (!found || l < found.loss) found = { entry, loss: l };
  }
  return found?.entry;
}

// ---- reading --------------------------------------------------------------------------------------------------------

const MOST_ENTRIES = 20000;
const MOST_TRIED = 64;
const MOST_SIZES = 16;
type Fields = Readonly<Record<string, unknown>>;

const isRecord = (x: unknown): x is Fields => typeof x === "object" && x !== null && !Array.isArray(x);
const isText = (x: unknown): x is string => typeof x === "string" && x.length <= 1000;
const isAmount = (x: unknown): boolean => typeof x === "number" && Number.isFinite(x) && x >= 0;

/** What is wrong with a table that was read; an empty list where it is one. */
export function checkTuned(data: unknown): readonly string[] {
  if (!isRecord(data) || data["format"] !== tunedFormat) return ["holds no tuned schedules"];
  if (data["version"] !== tunedVersion)
    return [`is of version ${String(data["version"])}, and this program reads version ${tunedVersion}`];
  if (!isText(data["adapter"])) return ["does not say which adapter it is of"];
  const entries = data["entries"];
  if (!Array.isArray(entries)) return ["has no entries"];
  if (entries.length > MOST_ENTRIES)
    return [`has ${entries.length} entries, and ${MOST_ENTRIES} are the most`];
  return entries.flatMap((e: unknown, i) => checkEntry(e).map((p) => `entry ${i} ${p}`));
}

function checkEntry(e: unknown): readonly string[] {
  if (!isRecord(e)) return ["is no record"];
  const found: string[] = [];
  if (!isText(e["structure"]) || !/^[0-9a-f]{16}$/.test(e["structure"])) found.push("has no structure");
  if (!isText(e["kernel"])) found.push("has no kernel");
  if (!isSizes(e["sizes"])) found.push("has no sizes");
  if (!isAmount(e["firstRunWeight"])) found.push("has no firstRunWeight");
  if (!isSchedule(e["schedule"])) found.push("has no schedule that can be read");
  const tried = e["tried"];
  if (!Array.isArray(tried) || tried.length > MOST_TRIED || !tried.every(isTried))
    found.push("does not say what was tried");
  return found;
}

function isSizes(x: unknown): boolean {
  const all = isRecord(x) ? Object.values(x) : [];
  return (
    all.length > 0 && all.length <= MOST_SIZES && all.every((n) => Number.isSafeInteger(n) && isAmount(n))
  );
}

/** Which family reads it is known where its kernel is: there it is read, and refused where it cannot be. */
const isSchedule = (x: unknown): boolean => isText(x) && /^\w+:\S+$/.test(x);

function isTried(t: unknown): boolean {
  return (
    isRecord(t) &&
    isSchedule(t["schedule"]) &&
    ["predictedMilliseconds", "milliseconds", "shaderMilliseconds"].every((n) => isAmount(t[n]))
  );
}
