// The static memory plan of one entry point: lifetimes follow from the order of dispatches, offsets from lifetimes and sizes.
// Pure; knows plans and numbers.
//
// Invariant: two values that are alive at the same dispatch never share a byte, so no dispatch writes what it reads.

import { Bug } from "../support/bug.ts";
import { evaluateDim, type Dim, type DimEnv } from "../ir/dim.ts";
import { parseDim } from "../ir/dim-parse.ts";
import type { PlanEntry, PlanTensor } from "../ir/plan.ts";
import { bytesOf } from "../ir/types.ts";
import { showBytes } from "./sizes.ts";

export interface Lifetime {
  readonly id: string;
  readonly bytes: number;
  /** Dispatch that writes it first. */
  readonly first: number;
  /** Dispatch that reads it last; the number of dispatches for what leaves the run. */
  readonly last: number;
}

export interface MemoryPlan {
  readonly offsets: ReadonlyMap<string, number>;
  readonly lifetimes: readonly Lifetime[];
  /** Size of the arena. */
  readonly bytes: number;
  /** Largest sum of values that are alive at once: no plan can be smaller. */
  readonly peakLive: number;
  /** The dispatch at which that is. */
  readonly peakAt: number;
}

export type DimReader = (text: string) => number;

/** Evaluates dimension text for one set of sizes; bounded symbols stand for their bounds. */
export function dimReader(entry: Pick<PlanEntry, "symbols">, env: DimEnv): DimReader {
  const known = new Map<string, number>();
  const full: Record<string, number> = { ...env };
  const read = (text: string): number => {
    const old = known.get(text);
    if (old !== undefined) return old;
    const value = evaluateDim(dimOf(text), full);
    if (!Number.isSafeInteger(value) || value < 0)
      throw new Bug(`the size ${text} comes to ${value} in this run`);
    known.set(text, value);
    return value;
  };
  for (const s of entry.symbols) if (s.kind === "bounded") full[s.name] = read(s.bound);
  return read;
}

/** A size of the plan; the compiler wrote it, so text that is not one is a mistake of ours. */
export function dimOf(text: string): Dim {
  const d = parseDim(text);
  if (!d) throw new Bug(`the plan has a size that cannot be read: ${text}`);
  return d;
}

export function tensorBytes(t: Pick<PlanTensor, "shape" | "dtype">, size: DimReader): number {
  const bytes = t.shape.reduce((n, d) => n * size(d), 1) * bytesOf[t.dtype];
  return Math.ceil(bytes / 4) * 4;
}

export function planMemory(entry: PlanEntry, size: DimReader, alignment = 256): MemoryPlan {
  const lifetimes = lifetimesOf(entry, size);
  const { bytes: peakLive, at: peakAt } = peakOf(lifetimes, (l) => l.bytes);
  const { offsets, bytes } = pack(lifetimes, alignment);
  return { offsets, lifetimes, bytes, peakLive, peakAt };
}

function lifetimesOf(entry: PlanEntry, size: DimReader): readonly Lifetime[] {
  const first = new Map<string, number>();
  const last = new Map<string, number>();
  entry.dispatches.forEach((d, i) => {
    for (const id of d.buffers) {
      if (!first.has(id)) first.set(id, i);
      last.set(id, i);
    }
  });
  const leaves = new Set([...entry.outputs.map((o) => o.value), ...entry.states.map((s) => s.next)]);
  return entry.values.map((v) => ({
    id: v.id,
    bytes: tensorBytes(v, size),
    first: first.get(v.id) ?? 0,
    last: leaves.has(v.id) ? entry.dispatches.length : (last.get(v.id) ?? 0),
  }));
}

/** The largest sum of values alive at one dispatch; the earliest such dispatch. */
export function peakOf(
  lifetimes: readonly Lifetime[],
  bytesIn: (l: Lifetime) => number,
): { readonly bytes: number; readonly at: number } {
  const change = new Map<number, number>();
  const add = (at: number, bytes: number): void => void change.set(at, (change.get(at) ?? 0) + bytes);
  for (const l of lifetimes) {
    add(l.first, bytesIn(l));
    add(l.last + 1, -bytesIn(l));
  }
  let live = 0;
  let peak = { bytes: 0, at: 0 };
  for (const [at, bytes] of [...change].sort(([a], [b]) => a - b)) {
    live += bytes;
    if (live > peak.bytes) peak = { bytes: live, at };
  }
  return peak;
}

// ---- packing --------------------------------------------------------------------------------------------------------
// Offsets for intervals with lifetimes ("dynamic storage allocation") is NP-hard; greedy placement in a good order is within a few
// percent in practice. Which order is good depends on the network, and trying several costs milliseconds.

type Order = (a: Lifetime, b: Lifetime) => number;
const length = (l: Lifetime): number => l.last - l.first + 1;

const orders: readonly Order[] = [
  (a, b) => b.bytes - a.bytes || a.first - b.first,
  (a, b) => b.bytes * length(b) - a.bytes * length(a) || a.first - b.first,
  (a, b) => length(b) - length(a) || b.bytes - a.bytes,
  (a, b) => a.first - b.first || b.bytes - a.bytes,
  (a, b) => b.last - a.last || b.bytes - a.bytes,
];

/** Above this many values only the first order is tried: placing is quadratic. */
const FEW = 2000;
/** Steps that improving an order may take. */
const WORK = 4_000_000;

interface Packing {
  readonly offsets: ReadonlyMap<string, number>;
  readonly bytes: number;
}

export function pack(lifetimes: readonly Lifetime[], alignment: number): Packing {
  // An empty value still needs a window that can be bound.
  const taken = (l: Lifetime): number => Math.ceil(Math.max(l.bytes, 4) / alignment) * alignment;
  const bound = peakOf(lifetimes, taken).bytes;
  let best: Packing | undefined;
  let bestOrder: readonly Lifetime[] = [];
  const attempt = (order: readonly Lifetime[], tightest: boolean): Packing => {
    const made = place(order, taken, tightest);
    if (!best || made.bytes < best.bytes) [best, bestOrder] = [made, order];
    return made;
  };
  for (const order of lifetimes.length > FEW ? orders.slice(0, 1) : orders)
    for (const tightest of [false, true])
      if (attempt([...lifetimes].sort(order), tightest).bytes === bound) return best!;
  // What ended up on top came too late: give it its place first, and see.
  let order = bestOrder;
  let last: Packing = best!;
  const rounds = Math.min(64, Math.floor(WORK / lifetimes.length ** 2));
  for (let round = 0; round < rounds && best!.bytes > bound; round++) {
    const top = new Set(order.filter((l) => last.offsets.get(l.id)! + taken(l) === last.bytes));
    order = [...order.filter((l) => top.has(l)), ...order.filter((l) => !top.has(l))];
    last = attempt(order, round % 2 === 1);
  }
  return best!;
}

/** One after the other: into the lowest gap that is free for its whole life, or the tightest such gap. */
function place(lifetimes: readonly Lifetime[], taken: (l: Lifetime) => number, tightest: boolean): Packing {
  const offsets = new Map<string, number>();
  /** Sorted by offset. */
  const placed: { readonly offset: number; readonly end: number; readonly life: Lifetime }[] = [];
  let bytes = 0;
  for (const life of lifetimes) {
    const need = taken(life);
    let end = 0;
    let best: number | undefined;
    let bestGap = Infinity;
    for (const p of placed) {
      if (p.life.first > life.last || life.first > p.life.last) continue;
      const gap = p.offset - end;
      if (gap >= need && gap < bestGap) {
        best = end;
        bestGap = gap;
        if (!tightest) break;
      }
      end = Math.max(end, p.end);
    }
    const offset = best ?? end;
    offsets.set(life.id, offset);
    bytes = Math.max(bytes, offset + need);
    const at = placed.findIndex((p) => p.offset > offset);
    placed.splice(at < 0 ? placed.length : at, 0, { offset, end: offset + need, life });
  }
  return { offsets, bytes };
}

// ---- printing -------------------------------------------------------------------------------------------------------

/** The values that are alive at the peak, largest first. */
export function atPeak(plan: MemoryPlan): readonly Lifetime[] {
  return plan.lifetimes
    .filter((l) => l.first <= plan.peakAt && plan.peakAt <= l.last)
    .sort((a, b) => b.bytes - a.bytes);
}

/** A line for each value, in order of offset: where it lies, how large, from which dispatch to which. */
export function showMemoryPlan(plan: MemoryPlan): string {
  const leaves = plan.lifetimes.reduce((n, l) => Math.max(n, l.last), 0);
  const rows = [...plan.lifetimes]
    .sort((a, b) => plan.offsets.get(a.id)! - plan.offsets.get(b.id)! || a.first - b.first)
    .map((l) => [
      String(plan.offsets.get(l.id)!),
      String(l.bytes),
      `${l.first}..${l.last === leaves ? "end" : l.last}`,
      l.first <= plan.peakAt && plan.peakAt <= l.last ? "*" : "",
      l.id,
    ]);
  const head = ["offset", "bytes", "dispatches", "", "value"];
  const widths = head.map((h, c) => rows.reduce((w, r) => Math.max(w, r[c]!.length), h.length));
  const line = (r: readonly string[]): string =>
    r
      .map((text, c) => (c < 2 ? text.padStart(widths[c]!) : text.padEnd(widths[c]!)))
      .join("  ")
      .trimEnd();
  const ratio = plan.peakLive === 0 ? "" : `, ${(plan.bytes / plan.peakLive).toFixed(2)} times that`;
  return [
    `${plan.lifetimes.length} values, ${showBytes(plan.peakLive)} alive at most (dispatch ${plan.peakAt}, marked *)`,
    `arena of ${showBytes(plan.bytes)}${ratio}`,
    line(head),
    ...rows.map(line),
  ].join("\n");
}
