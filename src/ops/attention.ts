// Attention: queries against keys, softmax, and the mean of the values that it weights. One op, so that passes see it whole and a
// kernel never has to write the scores. What makes queries, keys and values (projections, rotary positions) stays outside.

import { addDim, constantOf, dim, divideExact, mulDim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import type { Attrs, GraphBuilder, ValueId } from "../ir/graph.ts";
import type { AxisRelation, InferContext, ReferenceContext } from "../ir/op.ts";
import type { Tensor } from "../ir/tensor.ts";
import type { TensorType } from "../ir/types.ts";
import {
  checkFloat,
  checkRank,
  checkSameDType,
  defineOp,
  flagOf,
  isOne,
  numberOf,
  reduced,
  same,
  tail,
} from "./define.ts";
import { attentionProgram } from "./attention-kernel.ts";
import { attentionCuts, type AttentionCut } from "./attention-schedule.ts";
import { scalar, widened } from "./norm.ts";
import { lowest, tiny } from "./softmax.ts";

/** The factor of the products: as given, or 1/sqrt(head size). */
export function attentionScale(q: TensorType, attrs: Attrs): number {
  const given = numberOf(attrs, "scale");
  return given === 0 ? 1 / Math.sqrt(constantOf(q.shape[3]!)!) : given;
}

export const attention = defineOp({
  name: "attention",
  doc:
    "Scaled dot-product attention with any number of heads. With fewer heads in k and v than in q, neighbouring heads of q share one " +
    "(grouped-query; with one, multi-query). A query that may see no key gives 0, not NaN as in PyTorch. " +
    "`causal` is aligned at the end: the last query sees every key, as where keys of earlier tokens are kept.",
  equation:
    "y[b, i, h] = sum over j of softmax_j(scale * q[b, i, h] . k[b, j, h / group] + bias[b, h, i, j]) * v[b, j, h / group]",
  traits: ["contraction"],
  inputs: [
    { name: "q", doc: "queries, [B, Tq, heads, D], f32 or f16" },
    { name: "k", doc: "keys, [B, Tk, key heads, D]" },
    { name: "v", doc: "values, [B, Tk, key heads, Dv]" },
    {
      name: "mask",
      doc: "bool or i32, [B, Tk]: keys where it is false or 0 are not seen",
      optional: true,
    },
    { name: "bias", doc: "added to the scaled products; broadcasts to [B, heads, Tq, Tk]", optional: true },
  ],
  attrs: {
    causal: { kind: "bool", doc: "query i sees keys up to i + Tk - Tq", default: false },
    scale: { kind: "float", doc: "factor of the products; 0 stands for 1/sqrt(D)", default: 0 },
  },
  constraints: {
    float: "q is f32 or f16",
    rank: "q, k, v and bias have four axes, and mask two",
    dtype: "q, k, v and bias have the same element type",
    mask: "the mask is bool or i32",
    head: "q and k have the same head size, which is a number",
    heads: "k and v have the same number of heads, which divides that of q",
    keys: "k, v and mask have the same number of keys",
    batch: "batch sizes are equal, or 1",
    bias: "every size of the bias is that of [B, heads, Tq, Tk], or 1",
  },
  infer(c) {
    const q = checkFloat(c, "q");
    for (const name of ["q", "k", "v"]) checkRank(c, name, 4);
    if (c.has("bias")) checkRank(c, "bias", 4);
    checkSameDType(c, ["q", "k", "v", "bias"]);
    const [k, v] = [c.type("k"), c.type("v")];
    checkHeads(c, q, k);
    checkEqual(c, "keys", "v", 1, k.shape[1]!, "k");
    if (c.has("mask")) {
      const { dtype } = checkRank(c, "mask", 2);
      c.check("mask", dtype === "bool" || dtype === "i32", {
        input: "mask",
        got: dtype,
        expected: "bool or i32",
      });
      checkEqual(c, "keys", "mask", 1, k.shape[1]!, "k");
    }
    const batch = batchOf(c);
    if (c.has("bias"))
      for (const [axis, d] of [batch, q.shape[2]!, q.shape[1]!, k.shape[1]!].entries())
        if (!isOne(c.type("bias").shape[axis]!))
          checkEqual(c, "bias", "bias", axis, d, axis === 3 ? "k" : "q");
    return [
      {
        dtype: q.dtype,
        shape: [batch, q.shape[1]!, q.shape[2]!, v.shape[3]!],
        axes: [...q.axes.slice(0, 3), v.axes[3] ?? null],
      },
    ];
  },
  axes(types, attrs) {
    const [q, k, v, mask, bias] = types;
    const rows = q?.shape[2] ?? dim(1);
    const many = types.some((t) => t && !isOne(t.shape[0]!));
    const leading = (t: TensorType): AxisRelation =>
      many && isOne(t.shape[0]!) ? { kind: "broadcast", axis: 0 } : same(0);
    const queries = flagOf(attrs, "causal") ? tail(1) : same(1);
    const ofKeys = (t: TensorType, last: AxisRelation) => [
      leading(t),
      reduced,
      headRelation(t.shape[2]!, rows),
      last,
    ];
    const ofBias = (t: TensorType): AxisRelation[] => [
      leading(t),
      isOne(t.shape[1]!) && !isOne(rows) ? { kind: "broadcast", axis: 2 } : same(2),
      isOne(t.shape[2]!) && q && !isOne(q.shape[1]!) ? { kind: "broadcast", axis: 1 } : queries,
      reduced,
    ];
    return [
      q ? [leading(q), queries, same(2), reduced] : [],
      k ? ofKeys(k, reduced) : [],
      v ? ofKeys(v, same(3)) : [],
      mask ? [leading(mask), reduced] : [],
      bias ? ofBias(bias) : [],
    ];
  },
  reference(c) {
    const y = c.result();
    const [batches, queries, heads, width] = y.shape as [number, number, number, number];
    for (let b = 0; b < batches; b++)
      for (let i = 0; i < queries; i++)
        for (let h = 0; h < heads; h++) {
          const row = weightedMean(c, b, i, h);
          y.data.set(row, ((b * queries + i) * heads + h) * width);
        }
    return [y];
  },
  lowering: {
    kind: "program",
    inPlace: ["q"],
    moved: ["k", "v", "mask", "bias"],
    epilogue: true,
    program: (f, cut) => attentionProgram(f, attentionScale(f.type("q"), f.attrs), cut as AttentionCut),
    cuts: attentionCuts,
    decompose: asProducts,
  },
  expand: (b, inputs, attrs) =>
    isCheaperAsProducts(b.type(inputs[0]!), b.type(inputs[2]!)) ? asProducts(b, inputs, attrs) : undefined,
  examples: [
    {
      about: "two keys, one of which weighs three times as much",
      inputs: {
        q: [[[[1, 0]]]],
        k: [[[[1.098612289, 0]], [[0, 5]]]],
        v: [[[[4]], [[8]]]],
      },
      attrs: { scale: 1 },
      outputs: [[[[[5]]]]],
    },
    {
      about: "the first query does not see the second key",
      inputs: { q: [[[[0]], [[0]]]], k: [[[[1]], [[2]]]], v: [[[[4]], [[8]]]] },
      attrs: { causal: true },
      outputs: [[[[[4]], [[6]]]]],
    },
    {
      about: "causal with earlier keys kept: the only query is the last token",
      inputs: { q: [[[[0]]]], k: [[[[1]], [[2]]]], v: [[[[4]], [[8]]]] },
      attrs: { causal: true },
      outputs: [[[[[6]]]]],
    },
    {
      about: "two heads of q share one of k and v; the second sample sees no key",
      inputs: {
        q: [[[[1], [-1]]], [[[1], [-1]]]],
        k: [
          [[[1.098612289]], [[0]]],
          [[[1]], [[0]]],
        ],
        v: [
          [[[4]], [[8]]],
          [[[4]], [[8]]],
        ],
        mask: [
          [1, 1],
          [0, 0],
        ],
      },
      dtypes: { mask: "bool" },
      outputs: [[[[[5], [7]]], [[[0], [0]]]]],
    },
    {
      about: "a bias of ln 3 on the first key, for every query",
      inputs: {
        q: [[[[0]], [[0]]]],
        k: [[[[1]], [[2]]]],
        v: [[[[4]], [[8]]]],
        bias: [[[[1.098612289, 0]]]],
      },
      outputs: [[[[[5]], [[5]]]]],
    },
  ],
  macs([q, k, v], _, result) {
    const scores = productDim([result.shape[0]!, q!.shape[2]!, q!.shape[1]!, k!.shape[1]!]);
    return mulDim(scores, addDim(q!.shape[3]!, v!.shape[3]!));
  },
});

function checkEqual(
  c: InferContext,
  label: string,
  input: string,
  axis: number,
  expected: Dim,
  from: string,
): void {
  const got = c.type(input).shape[axis]!;
  c.check(label, sameDim(got, expected), { input, axis, got: got.key, expected: expected.key, from });
}

function checkHeads(c: InferContext, q: TensorType, k: TensorType): void {
  const known = constantOf(q.shape[3]!) !== undefined;
  c.check("head", known, { input: "q", axis: 3, got: q.shape[3]!.key, expected: "a number" });
  checkEqual(c, "head", "k", 3, q.shape[3]!, "q");
  checkEqual(c, "heads", "v", 2, k.shape[2]!, "k");
  const [heads, keyHeads] = [constantOf(q.shape[2]!), constantOf(k.shape[2]!)];
  const divides =
    heads !== undefined && keyHeads !== undefined
      ? heads % keyHeads === 0
      : sameDim(q.shape[2]!, k.shape[2]!);
  c.check("heads", divides, {
    input: "k",
    axis: 2,
    got: k.shape[2]!.key,
    expected: `a divisor of ${q.shape[2]!.key}`,
    from: "q",
  });
}

/** The batch that q, k, v and mask have, where they are not of one sample for all. */
function batchOf(c: InferContext): Dim {
  const names = ["q", "k", "v", "mask"].filter((n) => c.has(n));
  const from = names.find((n) => !isOne(c.type(n).shape[0]!));
  if (from === undefined) return dim(1);
  const batch = c.type(from).shape[0]!;
  for (const name of names) if (!isOne(c.type(name).shape[0]!)) checkEqual(c, "batch", name, 0, batch, from);
  return batch;
}

/** How the heads of k and v relate to those of the result. */
function headRelation(own: Dim, heads: Dim): AxisRelation {
  if (sameDim(own, heads)) return same(2);
  const group = divideExact(heads, own);
  return isOne(own) || !group
    ? { kind: "broadcast", axis: 2 }
    : { kind: "grouped", axis: 2, size: constantOf(group)! };
}

// The reference.

/** One row of the result: sample b, query i, head h. */
function weightedMean(c: ReferenceContext, b: number, i: number, h: number): Float64Array {
  const [q, k, v] = [c.input("q"), c.input("k"), c.input("v")];
  const [, queries, heads, size] = q.shape as [number, number, number, number];
  const [, keys, keyHeads] = k.shape as [number, number, number];
  const width = v.shape[3]!;
  const scale = numberOf(c.attrs, "scale") || 1 / Math.sqrt(size);
  const last = flagOf(c.attrs, "causal") ? i + keys - queries : keys - 1;
  const shared = Math.floor(h / (heads / keyHeads));
  const sample = (t: Tensor) => (t.shape[0] === 1 ? 0 : b);
  const scores = new Float64Array(keys).fill(-Infinity);
  for (let j = 0; j <= last; j++) {
    if (c.has("mask") && c.input("mask").data[sample(c.input("mask")) * keys + j] === 0) continue;
    let product = 0;
    for (let d = 0; d < size; d++)
      product +=
        q.data[((sample(q) * queries + i) * heads + h) * size + d]! *
        k.data[((sample(k) * keys + j) * keyHeads + shared) * size + d]!;
    scores[j] = scale * product + biasAt(c, b, h, i, j);
  }
  const row = new Float64Array(width);
  const largest = scores.reduce((a, x) => Math.max(a, x), -Infinity);
  if (largest === -Infinity) return row;
  let total = 0;
  for (let j = 0; j < keys; j++) {
    const weight = Math.exp(scores[j]! - largest);
    if (weight === 0) continue;
    total += weight;
    for (let d = 0; d < width; d++)
      row[d]! += weight * v.data[((sample(v) * keys + j) * keyHeads + shared) * width + d]!;
  }
  return row.map((x) => x / total);
}

function biasAt(c: ReferenceContext, ...at: readonly [number, number, number, number]): number {
  if (!c.has("bias")) return 0;
  const { shape, data } = c.input("bias");
  return data[at.reduce((flat, x, axis) => flat * shape[axis]! + (shape[axis] === 1 ? 0 : x), 0)]!;
}

/**
 * Few queries with wide values: a workgroup keeps a part of a value's width in registers, and each part would compute the scores again. The
 * scores of few queries are small, so that writing them costs little.
 */
function isCheaperAsProducts(q: TensorType, v: TensorType): boolean {
  const [queries, width] = [constantOf(q.shape[1]!), constantOf(v.shape[3]!)];
  return queries !== undefined && queries <= 16 && width !== undefined && width > 256;
}

// With matrix products: what exporters write, and passes after `decompose` where that is less work.

function asProducts(
  b: GraphBuilder,
  [q, k, v, mask, bias]: readonly (ValueId | undefined)[],
  attrs: Attrs,
): readonly ValueId[] {
  return widened(b, q!, (wide) => {
    const widen = (x: ValueId) => (b.type(x).dtype === "f16" ? b.call("cast", [x], { dtype: "f32" }) : x);
    return decomposed(b, { q: wide, k: widen(k!), v: widen(v!), mask, bias: bias && widen(bias) }, attrs);
  });
}

interface Operands {
  readonly q: ValueId;
  readonly k: ValueId;
  readonly v: ValueId;
  readonly mask: ValueId | undefined;
  readonly bias: ValueId | undefined;
}

function decomposed(b: GraphBuilder, { q, k, v, mask, bias }: Operands, attrs: Attrs): ValueId {
  const [, queries, heads] = b.type(q).shape as readonly [Dim, Dim, Dim];
  const [, keys, keyHeads] = b.type(k).shape as readonly [Dim, Dim, Dim];
  const group = isOne(keyHeads) ? dim(1) : divideExact(heads, keyHeads)!;
  const grouped = !isOne(group);
  // [batch, heads, tokens, size], with the heads in two axes where groups share keys.
  const headsFirst = (x: ValueId, split: readonly Dim[]): ValueId => {
    const [batch, tokens, , size] = b.type(x).shape as readonly [Dim, Dim, Dim, Dim];
    if (!grouped) return b.call("transpose", [x], { perm: [0, 2, 1, 3] });
    const apart = b.call("reshape", [x], { dims: [batch, tokens, ...split, size] });
    return b.call("transpose", [apart], { perm: [0, 2, 3, 1, 4] });
  };
  const scale = attentionScale(b.type(q), attrs);
  const left = headsFirst(b.call("mul", [q, scalar(b, scale)]), [keyHeads, group]);
  let scores = b.call("matmul", [left, headsFirst(k, [keyHeads, dim(1)])], { transpose_b: true });
  if (bias !== undefined)
    scores = b.call("add", [scores, biasBeside(b, bias, grouped ? [keyHeads, group] : [])]);
  const weights = weightsOf(b, scores, visible(b, mask, flagOf(attrs, "causal"), queries, keys, grouped));
  const mixed = b.call("matmul", [weights, headsFirst(v, [keyHeads, dim(1)])]);
  if (!grouped) return b.call("transpose", [mixed], { perm: [0, 2, 1, 3] });
  const together = b.call("transpose", [mixed], { perm: [0, 3, 1, 2, 4] });
  const [batch, , , , width] = b.type(together).shape as readonly [Dim, Dim, Dim, Dim, Dim];
  return b.call("reshape", [together], { dims: [batch, queries, heads, width] });
}

/** The bias with its heads split as the scores have them. */
function biasBeside(b: GraphBuilder, bias: ValueId, split: readonly Dim[]): ValueId {
  if (split.length === 0) return bias;
  const [batch, heads, queries, keys] = b.type(bias).shape as readonly [Dim, Dim, Dim, Dim];
  const own = isOne(heads) ? [dim(1), dim(1)] : split;
  return b.call("reshape", [bias], { dims: [batch, ...own, queries, keys] });
}

/** Which keys a query may see, to broadcast against the scores; undefined where it is all of them. */
function visible(
  b: GraphBuilder,
  mask: ValueId | undefined,
  causal: boolean,
  queries: Dim,
  keys: Dim,
  grouped: boolean,
): ValueId | undefined {
  const ones = Array.from({ length: grouped ? 3 : 2 }, () => dim(1));
  let seen: ValueId | undefined;
  if (mask !== undefined) {
    const { dtype, shape } = b.type(mask);
    const zero = () => b.call("constant", [], { value: 0, dtype: "i32" });
    const truth = dtype === "bool" ? mask : b.call("not_equal", [mask, zero()]);
    seen = b.call("reshape", [truth], { dims: [shape[0]!, ...ones, keys] });
  }
  if (!causal) return seen;
  // j <= i + keys - queries, without a difference that may be negative.
  const j = b.call("iota", [], { dims: [dim(1), keys], axis: 1, start: queries });
  const i = b.call("iota", [], { dims: [queries, dim(1)], axis: 0, start: keys });
  const earlier = b.call("less_equal", [j, i]);
  return seen === undefined ? earlier : b.call("logical_and", [seen, earlier]);
}

/** Softmax over the keys that are seen; 0 for every other. */
function weightsOf(b: GraphBuilder, scores: ValueId, seen: ValueId | undefined): ValueId {
  if (seen === undefined) return b.call("softmax", [scores]);
  const axes = [b.type(scores).shape.length - 1];
  const low = () => scalar(b, lowest);
  const kept = b.call("where", [seen, scores, low()]);
  const largest = b.call("maximum", [b.call("reduce_max", [kept], { axes, keepdims: true }), low()]);
  const powers = b.call("where", [seen, b.call("exp", [b.call("sub", [kept, largest])]), scalar(b, 0)]);
  const total = b.call("maximum", [b.call("sum", [powers], { axes, keepdims: true }), scalar(b, tiny)]);
  return b.call("div", [powers, total]);
}
