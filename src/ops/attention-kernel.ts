// The kernels of attention: scores are never written. Every query keeps the largest score so far, the sum of exponentials and the
// weighted sum of values, and scales the last two when a larger score comes (online softmax, arXiv 1805.02867, 2205.14135).
// A query that sees no key ends with sums of 0, and its result is 0.

import { ceilDiv, dim, type Dim } from "../ir/dim.ts";
import {
  add,
  div,
  F32,
  f32,
  fma,
  kernelType,
  lt,
  max,
  min,
  mod,
  mul,
  select,
  splat,
  sub,
  u32,
} from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { Program, ProgramFacts } from "../ir/program.ts";
import { across, Operands } from "./attention-operands.ts";
import { attentionFacts, scheduleOf, type AttentionCut } from "./attention-schedule.ts";
import { attentionBySubgroup } from "./attention-subgroup.ts";
import { exp } from "./expressions.ts";
import { lowest } from "./softmax.ts";

export function attentionProgram(f: ProgramFacts, scale: number, cut: AttentionCut): Program {
  const schedule = scheduleOf(cut, attentionFacts(f));
  const [batch, queries, heads, width] = f.results[0]!.shape as readonly [Dim, Dim, Dim, Dim];
  const blocks = ceilDiv(width, dim(schedule.columns * schedule.valueWidth));
  return {
    steps: [
      {
        reads: ["q", "k", "v", "mask", "bias"].filter((name) => f.has(name)),
        writes: ["y"],
        workgroups: [batch, heads, ceilDiv(queries, dim(schedule.rows)), blocks],
        invocations: schedule.threads,
        ...(schedule.kind === "subgroup" && { subgroupSize: schedule.threads }),
        schedule: "attention",
        write: (k) => write[schedule.kind](new Operands(k, f, schedule, scale)),
      },
    ],
  };
}

const write = {
  subgroup: attentionBySubgroup,
  workgroup: byWorkgroup,
  keys: byKeys,
  direct,
} as const;

/** What is known of one query while keys pass by. */
interface Row {
  readonly at: Expr;
  /** Vector of the query. */
  part(c: number): Expr;
  readonly largest: Expr;
  readonly total: Expr;
  readonly sums: readonly Expr[];
}

/** Some keys: their places, whether they are there, and their products and values. */
interface Step {
  readonly at: readonly Expr[];
  readonly inside: readonly (Expr | undefined)[];
  products(row: Row): readonly Expr[];
  value(u: number, c: number): Expr;
}

// ---- the ways ---------------------------------------------------------------------------------------------------------

function byWorkgroup(o: Operands): void {
  const { k, s, keys } = o;
  const row = ownRow(o);
  const staged = (name: "k" | "v", of: number, width: 1 | 4) => {
    const array = k.shared(`${name}_tile`, kernelType("f32", width), s.tile * of);
    const fill = (first: Expr): void =>
      k.loop(
        "flat",
        k.local,
        u32(s.tile * of),
        (flat) => {
          const j = k.bind("key", min(add(first, div(flat, u32(of))), sub(keys, u32(1))));
          array.store(flat, o.vector(name, j, k.bind("c", mod(flat, u32(of)))));
        },
        u32(s.threads),
      );
    return { fill, load: (at: Expr, c: number) => array.load(add(mul(at, u32(of)), u32(c))) };
  };
  const key = staged("k", o.parts, s.width);
  const value = staged("v", s.columns, s.valueWidth);
  const tile = (first: Expr): void => {
    k.barrier();
    key.fill(first);
    value.fill(first);
    k.barrier();
    k.loop(
      "in_tile",
      u32(0),
      u32(s.tile),
      (inTile) => {
        const own = (u: number) => k.bind("own", add(inTile, u32(u)));
        take(o, row, {
          ...places(o, k.bind("j", add(first, inTile))),
          products: (r) => range(s.step).map((u) => product(o, r, (c) => key.load(own(u), c))),
          value: (u, c) => value.load(own(u), c),
        });
      },
      u32(s.step),
    );
  };
  k.loop("first", u32(0), endOfWorkgroup(o), tile, u32(s.tile));
  finish(o, row);
}

function direct(o: Operands): void {
  const { k, s } = o;
  const row = ownRow(o);
  const step = (j: Expr): void => {
    const at = places(o, j);
    take(o, row, {
      ...at,
      products: (r) => {
        const sums = at.at.map(() => k.variable("parts", splat(f32(0), s.width)));
        k.loop("c", u32(0), o.partCount, (c) => {
          const query = o.vector("q", r.at, c);
          at.at.forEach((x, u) => k.set(sums[u]!, fma(query, o.vector("k", x, c), sums[u]!)));
        });
        return sums.map((sum) => across(k, k.bind("parts", sum)));
      },
      value: (u, c) => o.vector("v", at.at[u]!, o.column(u32(c))),
    });
  };
  k.loop("j", u32(0), endOfWorkgroup(o), step, u32(s.step));
  finish(o, row);
}

function byKeys(o: Operands): void {
  const { k, s } = o;
  const row = rowAt(o, k.workgroup[2]!);
  const step = (j: Expr): void =>
    take(o, row, {
      at: [j],
      inside: [undefined],
      products: (r) => [product(o, r, (c) => o.vector("k", j, u32(c)))],
      value: (_, c) => o.vector("v", j, u32(c)),
    });
  k.loop("j", k.local, o.end(add(row.at, u32(1))), step, u32(s.threads));

  // Every invocation has seen other keys: what each found is scaled to the largest score of all.
  const largest = k.shared("largest_of", F32, s.threads);
  const totals = k.shared("totals", F32, s.threads);
  const sums = k.shared("sums", kernelType("f32", s.valueWidth), s.threads * s.columns);
  largest.store(k.local, row.largest);
  totals.store(k.local, row.total);
  row.sums.forEach((sum, c) => sums.store(add(mul(k.local, u32(s.columns)), u32(c)), sum));
  k.barrier();
  const most = k.variable("most", f32(lowest));
  k.loop("n", u32(0), u32(s.threads), (n) => k.set(most, max(most, largest.load(n))));
  const join = (c: Expr): void => {
    const total = k.variable("total", f32(0));
    const sum = k.variable("sum", o.nothing());
    k.loop("n", u32(0), u32(s.threads), (n) => {
      const factor = k.bind("factor", exp(sub(largest.load(n), most)));
      k.set(total, fma(totals.load(n), factor, total));
      k.set(sum, fma(sums.load(add(mul(n, u32(s.columns)), c)), o.wide(factor), sum));
    });
    o.write(row.at, c, sum, total);
  };
  k.loop("c", k.local, u32(s.columns), join, u32(s.threads));
}

// ---- parts of them ----------------------------------------------------------------------------------------------------

const range = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

/** The query of this invocation; beyond the last, that one again. */
function ownRow(o: Operands): Row {
  const { k, s } = o;
  const place = add(mul(k.workgroup[2]!, u32(s.rows)), k.local);
  return rowAt(o, k.bind("i", min(place, sub(o.queries, u32(1)))));
}

function rowAt(o: Operands, at: Expr): Row {
  const { k, s } = o;
  const isKept = s.kind !== "direct";
  const parts = isKept ? range(o.parts).map((c) => o.vector("q", at, u32(c))) : [];
  return {
    at,
    part: (c) => parts[c]!,
    largest: k.variable("largest", f32(lowest)),
    total: k.variable("total", f32(0)),
    sums: range(s.columns).map(() => k.variable("sum", o.nothing())),
  };
}

function endOfWorkgroup(o: Operands): Expr {
  return o.end(mul(add(o.k.workgroup[2]!, u32(1)), u32(o.s.rows)));
}

/** Keys from `j` on; beyond the last, that one again, which is then not inside. */
function places(o: Operands, j: Expr): Pick<Step, "at" | "inside"> {
  const { k, s, keys } = o;
  const at = range(s.step).map((u) => k.bind("at", add(j, u32(u))));
  return {
    at: at.map((x) => k.bind("key", min(x, sub(keys, u32(1))))),
    inside: at.map((x) => k.bind("inside", lt(x, keys))),
  };
}

function product(o: Operands, row: Row, key: (c: number) => Expr): Expr {
  const sum = range(o.parts).reduce<Expr | undefined>(
    (at, c) => (at ? fma(row.part(c), key(c), at) : mul(row.part(c), key(c))),
    undefined,
  );
  return across(o.k, o.k.bind("parts", sum!));
}

function take(o: Operands, row: Row, step: Step): void {
  const { k } = o;
  const products = step.products(row);
  const seen = step.at.map((j, u) => o.seen(row.at, j, step.inside[u]));
  const scores = step.at.map((j, u) => o.score(products[u]!, row.at, j, seen[u]));
  const before = k.bind("before", row.largest);
  const largest = k.bind(
    "highest",
    scores.reduce((a, b) => max(a, b), before),
  );
  const factor = k.bind("factor", exp(sub(before, largest)));
  const weights = scores.map((score, u) => {
    const weight = exp(sub(score, largest));
    return k.bind("weight", seen[u] ? select(seen[u], weight, f32(0)) : weight);
  });
  k.set(row.largest, largest);
  const together = weights.reduce((a, b) => add(a, b));
  k.set(row.total, fma(row.total, factor, together));
  row.sums.forEach((sum, c) => {
    const scaled = mul(sum, o.wide(factor));
    k.set(
      sum,
      weights.reduce<Expr>((at, w, u) => fma(step.value(u, c), o.wide(w), at), scaled),
    );
  });
}

function finish(o: Operands, row: Row): void {
  const { k, s } = o;
  const place = k.bind("place", add(mul(k.workgroup[2]!, u32(s.rows)), k.local));
  k.when(lt(place, o.queries), () => row.sums.forEach((sum, c) => o.write(row.at, u32(c), sum, row.total)));
}
