// How attention is cut: a schedule is data, chosen from the target and what is known of the sizes. attention-kernel.ts can make a kernel
// for any of them.

import { constantOf, isMultipleOf, type Dim } from "../ir/dim.ts";
import type { Target } from "../ir/target.ts";

/**
 * subgroup: a workgroup is one subgroup with a few queries. Its lanes lie along the keys for the scores and along the head for the
 * values; queries and weights are handed round. workgroup: an invocation has a query of its own, and keys and values go through
 * workgroup memory in tiles. keys: a workgroup has one query, an invocation other keys, and what they found is put together at the
 * end. direct: as workgroup, but everything is read from its buffer when it is needed; for heads too wide for registers.
 */
const kinds = ["subgroup", "workgroup", "keys", "direct"] as const;

export interface AttentionSchedule {
  readonly kind: (typeof kinds)[number];
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** Queries of a workgroup. */
  readonly rows: number;
  /** Keys between two looks at the largest score, of an invocation. */
  readonly step: number;
  /** Keys in workgroup memory at once; 0 where there are none. */
  readonly tile: number;
  /** Neighbours along the head that are read at once, of queries and keys. */
  readonly width: 1 | 4;
  /** The same of values and results. */
  readonly valueWidth: 1 | 4;
  /** Vectors of the result in one workgroup: all of a head, but where it is too wide. */
  readonly columns: number;
}

export interface AttentionFacts {
  readonly target: Target;
  readonly queries: Dim;
  /** Size of a head of q and k, and of v. */
  readonly size: number;
  readonly valueSize: Dim;
}

/** Vectors of queries and results that an invocation keeps in registers. */
const REGISTERS = 64;
/** Vectors of a result in one workgroup where heads are wider. */
const WIDE = 16;
/** Multiply-adds of vectors that are written out in the body of the loop over keys: larger bodies compile slowly. */
const BODY = 32;
/** Vectors of sums that a lane keeps, of its rows and columns. */
const SUMS = 32;

export function chooseAttentionSchedule(f: AttentionFacts): AttentionSchedule {
  const width = f.size % 4 === 0 ? 4 : 1;
  const valueWidth = isMultipleOf(f.valueSize, 4) ? 4 : 1;
  const valueSize = constantOf(f.valueSize);
  const head = valueSize === undefined ? Infinity : valueSize / valueWidth;
  const common = { tile: 0, width, valueWidth } as const;
  const { subgroupSize: lanes, measured, limits } = f.target;
  const few = constantOf(f.queries) ?? Infinity;
  if (lanes > 0 && measured.workgroupMemoryGain <= 1) {
    const columns = Math.min(head, 4 * lanes);
    const rows = Math.min(few, 2 * lanes, Math.max(1, Math.floor(SUMS / Math.ceil(columns / lanes))));
    return { ...common, kind: "subgroup", threads: lanes, rows, step: rows <= 4 ? 4 : 2, columns };
  }
  const parts = f.size / width;
  if (parts + head > REGISTERS)
    return { ...common, kind: "direct", threads: 64, rows: 64, step: 4, columns: Math.min(head, WIDE) };
  const memory = limits.maxComputeWorkgroupStorageSize;
  if (few <= 16) {
    const threads = sideBySide(head * valueWidth, memory);
    return { ...common, kind: "keys", threads, rows: 1, step: 1, columns: head };
  }
  const fits = Math.floor(memory / (4 * (parts * width + head * valueWidth)));
  const step = Math.max(1, Math.min(4, fits, Math.floor(BODY / Math.max(parts, head))));
  const tile = Math.min(32, fits);
  return {
    ...common,
    kind: "workgroup",
    threads: 64,
    rows: 64,
    step,
    tile: tile - (tile % step),
    columns: head,
  };
}

/** Invocations whose results of `size` numbers, with the two that go with them, fit in so many bytes. */
function sideBySide(size: number, bytes: number): number {
  let threads = 64;
  while (threads > 1 && threads * 4 * (size + 2) > bytes) threads /= 2;
  return threads;
}

/** For dumps: `attention by subgroup, 16 queries a workgroup of 8, 2 keys at once`. */
export function showAttentionSchedule(s: AttentionSchedule): string {
  const tile = s.tile > 0 ? `, ${s.tile} keys in workgroup memory` : "";
  const queries = s.rows === 1 ? "a query" : `${s.rows} queries`;
  return `attention by ${s.kind}, ${queries} a workgroup of ${s.threads}, ${s.step} keys at once${tile}`;
}
