// Attention by a subgroup, for adapters where reads are what costs: a few queries together, so that every key and value that is read
// serves all of them. A lane reads other keys than its neighbours; their scores stay in registers, are brought to one scale across the
// lanes, and are handed round when the lanes turn to the columns of the values.
// The lengths of inner loops are parameters, though they are known: drivers unroll what they know, and take ten times as long for it.

import {
  add,
  component,
  div,
  f32,
  fma,
  lt,
  max,
  min,
  mod,
  mul,
  select,
  sub,
  subgroup,
  u32,
} from "../ir/expr.ts";
import { dim } from "../ir/dim.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter } from "../ir/program.ts";
import type { Operands } from "./attention-operands.ts";
import { exp } from "./expressions.ts";
import { lowest } from "./softmax.ts";

const range = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

export function attentionBySubgroup(o: Operands): void {
  const { k, s, queries, keys } = o;
  const lanes = s.threads;
  const first = k.bind("first", mul(k.workgroup[2]!, u32(s.rows)));
  const row = (r: number) => k.bind("i", min(add(first, u32(r)), sub(queries, u32(1))));
  // Where a head has fewer vectors than there are lanes, the lanes share out the rows: lane `l` has column l % columns of every
  // `groups`-th row from l / columns on.
  const groups = Math.max(1, Math.floor(lanes / s.columns));
  const across = Math.ceil(s.columns / lanes);
  const ownRows = range(Math.ceil(s.rows / groups));
  const group = k.bind("group", groups === 1 ? u32(0) : min(div(k.local, u32(s.columns)), u32(groups - 1)));
  const own = groups === 1 ? k.local : k.bind("own", mod(k.local, u32(s.columns)));
  const place = (v: number) => k.bind("place", add(own, u32(v * lanes)));
  /** Of one value for each row, that of the lane's row number `a`. */
  const ofOwnRow = (a: number, values: (r: number) => Expr): Expr =>
    range(groups)
      .slice(1)
      .filter((g) => a * groups + g < s.rows)
      .reduce((at, g) => select(lt(group, u32(g)), at, values(a * groups + g)), values(a * groups));

  const rows = range(s.rows);
  const largest = rows.map(() => k.variable("largest", f32(lowest)));
  const totals = rows.map(() => k.variable("total", f32(0)));
  const sums = ownRows.map(() => range(across).map(() => k.variable("sum", o.nothing())));
  const end = o.end(add(first, u32(s.rows)));

  k.loop(
    "j",
    u32(0),
    end,
    (j) => {
      const turns = range(s.step);
      const at = turns.map((m) => k.bind("at", add(j, add(k.local, u32(m * lanes)))));
      const key = at.map((x) => k.bind("key", min(x, sub(keys, u32(1)))));
      const products = scoresOf(o, first, key);
      const inside = at.map((x) => k.bind("inside", lt(x, keys)));
      const weights = rows.map((r) => {
        const seen = turns.map((m) => o.seen(row(r), key[m]!, inside[m]!)!);
        const scores = turns.map((m) => o.score(products[r]![m]!, row(r), key[m]!, seen[m]));
        const before = k.bind("before", largest[r]!);
        const highest = k.bind(
          "highest",
          max(
            before,
            overLanes(
              k,
              lanes,
              scores.reduce((a, b) => max(a, b)),
              max,
            ),
          ),
        );
        const factor = k.bind("factor", exp(sub(before, highest)));
        const own = turns.map((m) =>
          k.bind("weight", select(seen[m]!, exp(sub(scores[m]!, highest)), f32(0))),
        );
        k.set(largest[r]!, highest);
        k.set(
          totals[r]!,
          fma(
            totals[r]!,
            factor,
            own.reduce((a, b) => add(a, b)),
          ),
        );
        return { factor, own };
      });
      ownRows.forEach((a) => {
        const factor = k.bind(
          "rescale",
          ofOwnRow(a, (r) => weights[r]!.factor),
        );
        sums[a]!.forEach((sum) => k.set(sum, mul(sum, o.wide(factor))));
      });
      k.loop("lane", u32(0), k.size(dim(lanes)), (lane) =>
        turns.forEach((m) => {
          const from = k.bind("from", min(add(j, add(lane, u32(m * lanes))), sub(keys, u32(1))));
          const values = range(across).map((v) => o.vector("v", from, o.column(inColumns(o, place(v), v))));
          ownRows.forEach((a) => {
            const handed = (r: number) => k.bind("handed", subgroup("shuffle", weights[r]!.own[m]!, lane));
            const weight = k.bind("w", ofOwnRow(a, handed));
            sums[a]!.forEach((sum, v) => k.set(sum, fma(values[v]!, o.wide(weight), sum)));
          });
        }),
      );
    },
    u32(lanes * s.step),
  );

  const all = totals.map((total) => k.bind("all", overLanes(k, lanes, total, add)));
  ownRows.forEach((a) => {
    const r = k.bind("r", add(u32(a * groups), group));
    const i = k.bind("i", add(first, r));
    const total = k.bind(
      "of_row",
      ofOwnRow(a, (n) => all[n]!),
    );
    const exists = [lt(i, queries), ...((a + 1) * groups > s.rows ? [lt(r, u32(s.rows))] : [])];
    const isOwner = groups * s.columns < lanes && groups > 1 ? [lt(k.local, u32(groups * s.columns))] : [];
    k.when(allOf([...exists, ...isOwner]), () =>
      sums[a]!.forEach((sum, v) => {
        const write = () => o.write(i, place(v), sum, total);
        if ((v + 1) * lanes <= s.columns || groups > 1) write();
        else k.when(lt(place(v), u32(s.columns)), write);
      }),
    );
  });
}

const allOf = (conditions: readonly Expr[]): Expr =>
  conditions.reduce((a, b) => ({ kind: "binary", op: "and", a, b, type: a.type }));

/** The last vectors of a head may not fill the lanes: the rest read the last one. */
function inColumns(o: Operands, place: Expr, v: number): Expr {
  return (v + 1) * o.s.threads <= o.s.columns
    ? place
    : o.k.bind("in_columns", min(place, u32(o.s.columns - 1)));
}

/** Products of every row with the lane's keys. Lanes fetch the rows' vectors, one each, and hand them round. */
function scoresOf(o: Operands, first: Expr, keys: readonly Expr[]): readonly (readonly Expr[])[] {
  const { k, s } = o;
  const lanes = s.threads;
  const rows = range(s.rows);
  const products = rows.map(() => keys.map(() => k.variable("product", f32(0))));
  const fetchers = range(Math.ceil(s.rows / lanes)).map((n) =>
    k.bind("query", min(add(first, add(k.local, u32(n * lanes))), sub(o.queries, u32(1)))),
  );
  k.loop("c", u32(0), o.partCount, (c) => {
    const fetched = fetchers.map((i) => o.vector("q", i, c));
    const vectors = keys.map((j) => o.vector("k", j, c));
    rows.forEach((r) => {
      const query = k.bind("q", subgroup("broadcast", fetched[Math.floor(r / lanes)]!, u32(r % lanes)));
      vectors.forEach((key, m) => k.set(products[r]![m]!, dot(query, key, products[r]![m]!)));
    });
  });
  return products;
}

function dot(a: Expr, b: Expr, sum: Expr): Expr {
  return range(a.type.width).reduce((at, i) => fma(component(a, i), component(b, i), at), sum);
}

/** One value for all lanes, by halving distances: registers change places, and nothing is read. */
function overLanes(k: KernelWriter, lanes: number, x: Expr, join: (a: Expr, b: Expr) => Expr): Expr {
  let all = x;
  for (let distance = 1; distance < lanes; distance *= 2)
    all = k.bind("joined", join(all, subgroup("shuffle_xor", all, u32(distance))));
  return all;
}
