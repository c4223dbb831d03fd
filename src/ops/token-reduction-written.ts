// Token reduction written with other ops: matching by matrix products, choices by top-k, and sums of those that merge as a product with
// a matrix of zeros and ones, which has one order.

import { constantOf, dim, type Dim } from "../ir/dim.ts";
import type { Attrs, GraphBuilder, ValueId } from "../ir/graph.ts";
import type { TensorType } from "../ir/types.ts";
import { flagOf, numberOf } from "./define.ts";
import { scalar } from "./norm.ts";
import { topK } from "./route.ts";
import { lowest } from "./softmax.ts";

/** The number of tokens, which decides how many are left. */
export function tokensOf(x: TensorType): number {
  return constantOf(x.shape[1]!)!;
}

/** Pairs that ToMe merges of `tokens`. */
export function tomePairs(tokens: number, attrs: Attrs): number {
  return Math.max(0, Math.min(numberOf(attrs, "r"), Math.floor((tokens - numberOf(attrs, "protect")) / 2)));
}

/** Pairs that PiToMe merges. */
export function pitomePairs(tokens: number, attrs: Attrs): number {
  const free = tokens - numberOf(attrs, "protect");
  return Math.floor(free - free * numberOf(attrs, "ratio"));
}

const part = (b: GraphBuilder, x: ValueId, start: number, end?: number, step = 1): ValueId =>
  b.call("slice", [x], { axis: 1, start, step, ...(end !== undefined && { end }) });

const wideOf = (b: GraphBuilder, x: ValueId): ValueId =>
  b.type(x).dtype === "f16" ? b.call("cast", [x], { dtype: "f32" }) : x;
const narrowed = (b: GraphBuilder, x: ValueId, like: ValueId): ValueId =>
  b.type(like).dtype === "f16" ? b.call("cast", [x], { dtype: "f16" }) : x;

/** Places of the k largest of each row, largest first. */
const bestOf = (b: GraphBuilder, scores: ValueId, k: number): ValueId =>
  b.add(topK, [scores], { k: dim(k) }).results[1]!.id;

/** Rows of [B, N, C] at the places of an index [B, n]; of [B, N], its numbers. */
function rowsAt(b: GraphBuilder, x: ValueId, index: ValueId): ValueId {
  const deep = b.type(x).shape.length === 3;
  return b.call("take_along_axis", [x, deep ? b.call("unsqueeze", [index], { axes: [2] }) : index], {
    axis: 1,
  });
}

const unsqueezed = (b: GraphBuilder, x: ValueId, axis: number): ValueId =>
  b.call("unsqueeze", [x], { axes: [axis] });

/** Adds rows to those that `to` [B, n] names of `into`, all weighted by size: sums and sizes. */
function addedInto(
  b: GraphBuilder,
  into: { readonly x: ValueId; readonly size: ValueId },
  rows: { readonly x: ValueId; readonly size: ValueId },
  to: ValueId,
): { readonly x: ValueId; readonly size: ValueId } {
  const targets = b.type(into.size).shape[1]!;
  const place = b.call("iota", [], { dims: [dim(1), targets, dim(1)], axis: 1 });
  const chosen = b.call("equal", [place, b.call("cast", [unsqueezed(b, to, 1)], { dtype: "i32" })]);
  const hot = b.call("cast", [chosen], { dtype: "f32" });
  const weigh = (of: { readonly x: ValueId; readonly size: ValueId }) =>
    b.call("mul", [of.x, unsqueezed(b, of.size, 2)]);
  const sums = b.call("add", [weigh(into), b.call("matmul", [hot, weigh(rows)])]);
  const sizes = b.call("add", [
    into.size,
    b.call("sum", [b.call("mul", [hot, unsqueezed(b, rows.size, 1)])], { axes: [2] }),
  ]);
  return { x: b.call("div", [sums, unsqueezed(b, sizes, 2)]), size: sizes };
}

/** Where `axis` of the scores has the place 0: the lowest number. */
function without(b: GraphBuilder, scores: ValueId, axis: 1 | 2): ValueId {
  const dims = b.type(scores).shape.map((d, i): Dim => (i === axis ? d : dim(1)));
  const place = b.call("iota", [], { dims, axis });
  const first = b.call("equal", [place, b.call("constant", [], { value: 0, dtype: "i32" })]);
  return b.call("where", [first, scalar(b, lowest), scores]);
}

export function tomeWritten(
  b: GraphBuilder,
  x16: ValueId,
  m16: ValueId,
  s16: ValueId,
  attrs: Attrs,
): readonly ValueId[] {
  const tokens = tokensOf(b.type(x16));
  const pairs = tomePairs(tokens, attrs);
  const kept = numberOf(attrs, "protect");
  if (pairs === 0) return [x16, s16];
  const [x, metric, size] = [x16, m16, s16].map((id) => wideOf(b, id)) as [ValueId, ValueId, ValueId];
  const normed = b.call("l2_normalize", [metric]);
  const even = { x: part(b, x, 0, undefined, 2), size: part(b, size, 0, undefined, 2) };
  const odd = { x: part(b, x, 1, undefined, 2), size: part(b, size, 1, undefined, 2) };
  let scores = b.call("matmul", [part(b, normed, 0, undefined, 2), part(b, normed, 1, undefined, 2)], {
    transpose_b: true,
  });
  if (kept > 0) scores = without(b, scores, 1);
  if (kept > 1) scores = without(b, scores, 2);
  const count = Math.ceil(tokens / 2);
  const order = bestOf(b, b.call("reduce_max", [scores], { axes: [2] }), count);
  const source = part(b, order, 0, pairs);
  const match = rowsAt(b, b.call("argmax", [scores], { axis: 2 }), source);
  const rows = { x: rowsAt(b, even.x, source), size: rowsAt(b, even.size, source) };
  const others = addedInto(b, odd, rows, match);
  const back = (all: readonly { readonly x: ValueId; readonly size: ValueId }[]) => [
    narrowed(
      b,
      joined(
        b,
        all.map((t) => t.x),
      ),
      x16,
    ),
    narrowed(
      b,
      joined(
        b,
        all.map((t) => t.size),
      ),
      s16,
    ),
  ];
  if (pairs === count) return back([others]);
  let rest = part(b, order, pairs);
  if (kept > 0) {
    // In order of their places: the largest of the negated ones first.
    const negated = b.call("neg", [b.call("cast", [rest], { dtype: "f32" })]);
    const sorted = b.call("neg", [b.call("top_k", [negated], { k: dim(count - pairs) })]);
    rest = b.call("cast", [sorted], { dtype: "i32" });
  }
  const alone = { x: rowsAt(b, even.x, rest), size: rowsAt(b, even.size, rest) };
  if (kept < 2) return back([alone, others]);
  const cut = (t: typeof alone, start: number, end?: number) => ({
    x: part(b, t.x, start, end),
    size: part(b, t.size, start, end),
  });
  const more = (t: typeof alone) => (constantOf(b.type(t.size).shape[1]!)! > 1 ? [cut(t, 1)] : []);
  return back([cut(alone, 0, 1), cut(others, 0, 1), ...more(alone), ...more(others)]);
}

function joined(b: GraphBuilder, all: readonly ValueId[]): ValueId {
  return all.length === 1 ? all[0]! : b.call("concat", all, { axis: 1 });
}

export function pitomeWritten(
  b: GraphBuilder,
  x16: ValueId,
  m16: ValueId,
  s16: ValueId,
  attrs: Attrs,
): readonly ValueId[] {
  const tokens = tokensOf(b.type(x16));
  const pairs = pitomePairs(tokens, attrs);
  const kept = numberOf(attrs, "protect");
  if (pairs < 1) return [x16, s16];
  const [x, metric, size] = [x16, m16, s16].map((id) => wideOf(b, id)) as [ValueId, ValueId, ValueId];
  const free = { x: part(b, x, kept), size: part(b, size, kept) };
  const normed = b.call("l2_normalize", [part(b, metric, kept)]);
  const similar = b.call("matmul", [normed, normed], { transpose_b: true });
  const z = b.call("sub", [similar, scalar(b, numberOf(attrs, "margin"))]);
  const below = b.call("mul", [
    b.call("sub", [b.call("exp", [z]), scalar(b, 1)]),
    scalar(b, numberOf(attrs, "alpha")),
  ]);
  const elu = b.call("where", [b.call("greater", [z, scalar(b, 0)]), z, below]);
  const order = bestOf(b, b.call("mean", [elu], { axes: [2] }), tokens - kept);
  const ends = 2 * pairs;
  const source = part(b, order, 0, ends, 2);
  const target = part(b, order, 1, ends, 2);
  const scores = b.call("matmul", [rowsAt(b, normed, source), rowsAt(b, normed, target)], {
    transpose_b: true,
  });
  const at = (index: ValueId) => ({ x: rowsAt(b, free.x, index), size: rowsAt(b, free.size, index) });
  const others = addedInto(b, at(target), at(source), b.call("argmax", [scores], { axis: 2 }));
  const stays = [
    ...(kept > 0 ? [{ x: part(b, x, 0, kept), size: part(b, size, 0, kept) }] : []),
    ...(ends < tokens - kept ? [at(part(b, order, ends))] : []),
  ];
  const all = [...stays, others];
  return [
    narrowed(
      b,
      joined(
        b,
        all.map((t) => t.x),
      ),
      x16,
    ),
    narrowed(
      b,
      joined(
        b,
        all.map((t) => t.size),
      ),
      s16,
    ),
  ];
}

export function keptWritten(b: GraphBuilder, x16: ValueId, s16: ValueId, attrs: Attrs): ValueId {
  const tokens = tokensOf(b.type(x16));
  const k = numberOf(attrs, "k");
  if (k >= tokens - 1) return x16;
  const [x, scores] = [wideOf(b, x16), wideOf(b, s16)];
  const others = part(b, x, 1);
  const chosen = bestOf(b, scores, k);
  const kept = [part(b, x, 0, 1), rowsAt(b, others, chosen)];
  if (!flagOf(attrs, "fuse")) return narrowed(b, joined(b, kept), x16);
  const place = b.call("iota", [], { dims: [dim(1), dim(1), dim(tokens - 1)], axis: 2 });
  const hot = b.call("equal", [unsqueezed(b, b.call("cast", [chosen], { dtype: "i32" }), 2), place]);
  const isKept = b.call("reduce_max", [b.call("cast", [hot], { dtype: "f32" })], { axes: [1] });
  const weights = b.call("mul", [scores, b.call("sub", [scalar(b, 1), isKept])]);
  const extra = b.call("matmul", [unsqueezed(b, weights, 1), others]);
  return narrowed(b, joined(b, [...kept, extra]), x16);
}
