// The static memory plan of one entry point: lifetimes follow from the order of dispatches, offsets from lifetimes and sizes.
// Pure; knows plans and numbers.

import { Bug } from "../support/bug.ts";
import { evaluateDim, type Dim, type DimEnv } from "../ir/dim.ts";
import { parseDim } from "../ir/dim-parse.ts";
import type { PlanEntry, PlanTensor } from "../ir/plan.ts";
import { bytesOf } from "../ir/types.ts";

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
export function dimReader(entry: PlanEntry, env: DimEnv): DimReader {
  const known = new Map<string, Dim>();
  const full: Record<string, number> = { ...env };
  const read = (text: string): number => {
    let d = known.get(text);
    if (!d) {
      d = parseDim(text);
      if (!d) throw new Bug(`the plan has a size that cannot be read: ${text}`);
      known.set(text, d);
    }
    return evaluateDim(d, full);
  };
  for (const s of entry.symbols) if (s.kind === "bounded") full[s.name] = read(s.bound);
  return read;
}

export function tensorBytes(t: PlanTensor, size: DimReader): number {
  const bytes = t.shape.reduce((n, d) => n * size(d), 1) * bytesOf[t.dtype];
  return Math.ceil(bytes / 4) * 4;
}

export function planMemory(entry: PlanEntry, size: DimReader, alignment: number): MemoryPlan {
  const lifetimes = lifetimesOf(entry, size);
  const offsets = new Map<string, number>();
  const placed: { offset: number; end: number; life: Lifetime }[] = [];
  const round = (n: number): number => Math.ceil(Math.max(n, 4) / alignment) * alignment;
  // Large ones first: each goes to the lowest gap that is free for its whole life.
  for (const life of [...lifetimes].sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    const rivals = placed
      .filter((p) => p.life.first <= life.last && life.first <= p.life.last)
      .sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const r of rivals) {
      if (offset + round(life.bytes) <= r.offset) break;
      offset = Math.max(offset, r.end);
    }
    offsets.set(life.id, offset);
    placed.push({ offset, end: offset + round(life.bytes), life });
  }
  const bytes = placed.reduce((m, p) => Math.max(m, p.end), 0);
  const { peakLive, peakAt } = peakOf(lifetimes, entry.dispatches.length);
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

function peakOf(lifetimes: readonly Lifetime[], dispatches: number): { peakLive: number; peakAt: number } {
  const change = new Array<number>(dispatches + 2).fill(0);
  for (const l of lifetimes) {
    change[l.first]! += l.bytes;
    change[l.last + 1]! -= l.bytes;
  }
  let live = 0;
  let peakLive = 0;
  let peakAt = 0;
  for (let i = 0; i <= dispatches; i++) {
    live += change[i]!;
    if (live > peakLive) [peakLive, peakAt] = [live, i];
  }
  return { peakLive, peakAt };
}
