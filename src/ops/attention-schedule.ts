// How attention is cut: a schedule is data, chosen from the target and what is known of the sizes. attention-kernel.ts can make a kernel
// for any of them.

import { constantOf, isMultipleOf, productDim, type Dim } from "../ir/dim.ts";
import type { ProgramCut, ProgramCuts, ProgramFacts } from "../ir/program.ts";
import { runsOnCores, type Target } from "../ir/target.ts";

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

// ---- as schedules of the whole compiler -------------------------------------------------------------------------------

/** What of a schedule is a choice: its text. Widths follow from the sizes. */
export interface AttentionCut extends ProgramCut {
  readonly threads: number;
  readonly rows: number;
  readonly step: number;
  readonly tile: number;
  readonly columns: number;
}

const PREFIX = "attention_";

const cutOf = ({ kind, threads, rows, step, tile, columns }: AttentionSchedule): AttentionCut => {
  return { kind: `${PREFIX}${kind}`, threads, rows, step, tile, columns };
};

export function attentionFacts(f: ProgramFacts): AttentionFacts {
  const q = f.type("q");
  return {
    target: f.target,
    queries: q.shape[1]!,
    size: constantOf(q.shape[3]!)!,
    valueSize: f.type("v").shape[3]!,
  };
}

export function scheduleOf(cut: AttentionCut, f: AttentionFacts): AttentionSchedule {
  const { width, valueWidth } = chooseAttentionSchedule(f);
  const kind = kinds.find((k) => `${PREFIX}${k}` === cut.kind)!;
  return { ...cut, kind, width, valueWidth };
}

/** Bounds of what a lane keeps, and of what is written out in a body. */
const MOST = { threads: 1024, rows: 1024, step: 16, tile: 256, columns: 64, products: 64 };

/** Why no kernel is cut so. */
function refuse(s: AttentionSchedule, f: AttentionFacts): string | undefined {
  const { limits, subgroupSize: lanes, name } = f.target;
  const parts = f.size / s.width;
  const valueSize = constantOf(f.valueSize);
  const head = valueSize === undefined ? Infinity : valueSize / s.valueWidth;
  const memory = limits.maxComputeWorkgroupStorageSize;
  const most = Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX);
  if (s.threads > most) return `${s.threads} invocations, and ${most} are the most`;
  if (s.columns > head) return `a head has ${head} vectors: columns`;
  if (s.kind === "subgroup") {
    if (lanes === 0) return `${name} has no subgroups of a fixed size`;
    if (s.threads !== lanes) return `a workgroup is one subgroup here: threads=${lanes}`;
    if (s.tile > 0) return "keys do not go through workgroup memory: tile=0";
    const sums =
      Math.ceil(s.rows / Math.max(1, Math.floor(lanes / s.columns))) * Math.ceil(s.columns / lanes);
    if (sums > 2 * SUMS) return `${sums} vectors of sums in a lane, and ${2 * SUMS} are the most`;
    if (s.rows * s.step > MOST.products)
      return `${s.rows * s.step} products in a lane, and ${MOST.products} are the most`;
    return undefined;
  }
  if (s.kind !== "direct" && (parts + head > REGISTERS || s.columns !== head))
    return `an invocation has a whole head in registers, of ${REGISTERS} vectors of q and v at most: columns=${head}`;
  if (s.kind === "keys") {
    if (s.rows !== 1 || s.step !== 1 || s.tile !== 0)
      return "a workgroup has one query, an invocation a key: rows=1,step=1,tile=0";
    const bytes = 4 * s.threads * (s.columns * s.valueWidth + 2);
    return bytes > memory ? `${bytes} bytes of workgroup memory, and ${memory} are the most` : undefined;
  }
  if (s.threads !== s.rows) return "an invocation has a query of its own: threads as rows";
  if (s.kind === "direct") return s.tile > 0 ? "keys do not go through workgroup memory: tile=0" : undefined;
  if (s.tile === 0 || s.tile % s.step !== 0) return "a tile of keys is a multiple of step";
  const bytes = 4 * s.tile * (parts * s.width + s.columns * s.valueWidth);
  return bytes > memory ? `${bytes} bytes of workgroup memory, and ${memory} are the most` : undefined;
}

function candidates(f: AttentionFacts): readonly AttentionSchedule[] {
  const plain = chooseAttentionSchedule(f);
  const of = <K extends "threads" | "rows" | "step" | "tile">(name: K, list: readonly number[]) =>
    list.map((n) => ({ [name]: n }) as Record<K, number>);
  if (plain.kind === "subgroup")
    return of("rows", [1, 2, 4, 8, 12, 16]).flatMap((r) =>
      of("step", [1, 2, 4]).map((t) => ({ ...plain, ...r, ...t })),
    );
  if (plain.kind === "keys") return of("threads", [32, 64, 128, 256]).map((t) => ({ ...plain, ...t }));
  return [32, 64, 128].flatMap((threads) =>
    of("step", [1, 2, 4]).flatMap((t) => {
      const one = { ...plain, threads, rows: threads, ...t };
      return plain.kind === "direct" ? [one] : of("tile", [8, 16, 32, 64]).map((x) => ({ ...one, ...x }));
    }),
  );
}

/** Cycles from one tile of keys in workgroup memory to the next. */
const WAIT = 1000;

export const attentionCuts: ProgramCuts = {
  kinds: kinds.map((k) => `${PREFIX}${k}`),
  counts: [
    { name: "threads", most: MOST.threads },
    { name: "rows", most: MOST.rows },
    { name: "step", most: MOST.step },
    { name: "tile", least: 0, most: MOST.tile },
    { name: "columns", most: MOST.columns },
  ],
  example: "attention_workgroup:threads=64,rows=64,step=2,tile=32,columns=16",
  sizes(f) {
    const [q, k] = [f.type("q"), f.type("k")];
    return { heads: productDim([q.shape[0]!, q.shape[2]!]), queries: q.shape[1]!, keys: k.shape[1]! };
  },
  choose: (f) => cutOf(chooseAttentionSchedule(attentionFacts(f))),
  why: (cut: AttentionCut, f) => whyAttention(scheduleOf(cut, attentionFacts(f))),
  refuse: (cut: AttentionCut, f) => refuse(scheduleOf(cut, attentionFacts(f)), attentionFacts(f)),
  candidates: (f) => candidates(attentionFacts(f)).map(cutOf),
  cycles(cut: AttentionCut, f, { heads = 1, queries = 1, keys = 1 }) {
    const { size, valueSize, target } = attentionFacts(f);
    const workgroups = heads * Math.ceil(queries / cut.rows);
    const each = keys * (size + (constantOf(valueSize) ?? size));
    if (runsOnCores(target)) {
      // A read serves all rows of a workgroup; a subgroup of 8 lanes takes a multiply-add of each in a cycle.
      const perKey = (each / Math.max(1, target.subgroupSize)) * (cut.rows + 16 / 4);
      return Math.ceil(workgroups / 2) * (perKey * 1.5 + (keys / cut.step) * 8);
    }
    const perCore = Math.ceil(workgroups / 128);
    const own = cut.kind.endsWith("keys") ? each / cut.threads : each;
    const work = own * 1.5 * Math.max(1, (perCore * cut.threads) / 128);
    return work + ((keys / Math.max(1, cut.tile)) * WAIT) / Math.max(1, perCore) + (keys / cut.step) * 16;
  },
};

/** For the reader: the way, then the figures. */
function whyAttention(s: AttentionSchedule): string {
  const ways = {
    subgroup: "a read is dear, and a subgroup hands round what its lanes read",
    workgroup:
      "keys and values go through workgroup memory, which is nearer than a buffer, and an invocation has a query",
    keys: "there are few queries: a workgroup has one, and each invocation other keys",
    direct: "a head is too wide for registers: everything is read when it is needed",
  } as const;
  const tile = s.tile > 0 ? `, ${s.tile} in workgroup memory` : "";
  const queries = s.rows === 1 ? "a query" : `${s.rows} queries`;
  return `${ways[s.kind]}; ${queries} a workgroup of ${s.threads}, ${s.step} keys at once${tile}`;
}
