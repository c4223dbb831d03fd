// Fewer tokens: merging those that are alike (ToMe, PiToMe) and keeping those that matter (EViT, DynamicViT). How many are left is known
// while compiling; which ones is data. The references are the papers' definitions in plain loops; what runs is written with other ops.
// Ties go to the lower index everywhere.

import { constantOf, dim, sameDim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { AttrSpec, AxisRelation, InferContext, ReferenceContext } from "../ir/op.ts";
import type { Tensor } from "../ir/tensor.ts";
import type { TensorType } from "../ir/types.ts";
import {
  checkFloat,
  checkRank,
  checkSameDType,
  defineOp,
  flagOf,
  numberOf,
  other,
  reduced,
  same,
} from "./define.ts";
import {
  keptWritten,
  pitomePairs,
  pitomeWritten,
  tokensOf,
  tomePairs,
  tomeWritten,
} from "./token-reduction-written.ts";

const protect: AttrSpec = {
  kind: "int",
  doc: "tokens in front that stay as they are: 1 with a class token, 2 with one for distillation behind it",
  default: 1,
};

const sentence = {
  float: "x is f32 or f16",
  rank: "x and metric have three axes, and size two",
  dtype: "x, metric and size have the same element type",
  sizes: "metric and size have the batch and the tokens of x",
  tokens: "the number of tokens is known while compiling",
  protect: "protect is 0, 1 or 2, and less than the number of tokens",
} as const;

const mergeInputs = [
  { name: "x", doc: "tokens, [B, N, C], f32 or f16" },
  { name: "metric", doc: "what tokens are compared by, [B, N, D]: the mean of their keys over the heads" },
  { name: "size", doc: "how many tokens of the image each stands for, [B, N]" },
] as const;

function inferMerge(c: InferContext, pairs: (tokens: number) => number): readonly TensorType[] {
  const x = checkFloat(c);
  for (const name of ["x", "metric"]) checkRank(c, name, 3);
  const size = checkRank(c, "size", 2);
  checkSameDType(c, ["x", "metric", "size"]);
  for (const name of ["metric", "size"])
    for (const axis of [0, 1]) {
      const [got, expected] = [c.type(name).shape[axis]!, x.shape[axis]!];
      c.check("sizes", sameDim(got, expected), {
        input: name,
        axis,
        got: got.key,
        expected: expected.key,
        from: "x",
      });
    }
  const left = checkTokens(c, x, "protect") - pairs(tokensOf(x));
  return [withTokens(x, left), withTokens(size, left)];
}

/** The number of tokens, of which `protect` are fewer. */
function checkTokens(c: InferContext, x: TensorType, label: string): number {
  const tokens = constantOf(x.shape[1]!);
  c.check("tokens", tokens !== undefined, {
    input: "x",
    axis: 1,
    got: x.shape[1]!.key,
    expected: "a number",
  });
  const kept = numberOf(c.attrs, "protect");
  c.check(label, Number.isInteger(kept) && kept >= 0 && kept <= 2 && kept < tokens!, {
    got: `protect = ${kept}`,
    expected: `0 to ${Math.min(2, tokens! - 1)}`,
  });
  return tokens!;
}

const withTokens = (t: TensorType, tokens: number): TensorType => ({
  dtype: t.dtype,
  shape: t.shape.map((d, i) => (i === 1 ? dim(tokens) : d)),
  axes: t.axes,
});

/** Which tokens a result comes from is data; channels of x stay apart. */
function mergeRelations([x, metric, size]: readonly (TensorType | undefined)[]): readonly AxisRelation[][] {
  return [
    x ? [same(0), other, same(2)] : [],
    metric ? [same(0), other, reduced] : [],
    size ? [same(0), other] : [],
  ];
}

export const tome = defineOp({
  name: "tome",
  doc:
    "Token merging (ToMe, arXiv 2210.09461): tokens at even places look for the one at an odd place that is most alike; the r pairs " +
    "that are most alike become one, their mean weighted by size. Left are the unmerged even ones, in order where tokens are protected " +
    "and best match first otherwise, then the odd ones.",
  equation: "y = [unmerged; (size_b x_b + sum of size_a x_a) / (size_b + sum of size_a)]",
  inputs: mergeInputs,
  attrs: {
    r: { kind: "int", doc: "pairs merged, at most half of the tokens that are not protected" },
    protect,
  },
  results: ["y", "sizes"],
  constraints: { ...sentence, r: "r is not negative" },
  infer(c) {
    const r = numberOf(c.attrs, "r");
    c.check("r", Number.isInteger(r) && r >= 0, { got: String(r), expected: "0 or more" });
    return inferMerge(c, (tokens) => tomePairs(tokens, c.attrs));
  },
  axes: mergeRelations,
  reference(c) {
    const kept = numberOf(c.attrs, "protect");
    const tokens = c.input("x").shape[1]!;
    const pairs = tomePairs(tokens, c.attrs);
    return merged(c, (similar) => {
      const even = indices(tokens).filter((i) => i % 2 === 0);
      const odd = indices(tokens).filter((i) => i % 2 === 1);
      const score = (a: number, b: number) =>
        (kept > 0 && a === 0) || (kept > 1 && b === 1) ? -Infinity : similar(a, b);
      const best = new Map(even.map((a) => [a, firstLargest(odd, (b) => score(a, b))]));
      if (pairs === 0) return { groups: indices(tokens).map((i) => [i]) };
      const ranked = [...even].sort((a, b) => score(b, best.get(b)!) - score(a, best.get(a)!) || a - b);
      const source = ranked.slice(0, pairs);
      const rest = ranked.slice(pairs);
      if (kept > 0) rest.sort((a, b) => a - b);
      const others = odd.map((b) => [b, ...source.filter((a) => best.get(a) === b)]);
      const alone = rest.map((a) => [a]);
      if (kept < 2) return { groups: [...alone, ...others] };
      return { groups: [alone[0]!, others[0]!, ...alone.slice(1), ...others.slice(1)] };
    });
  },
  lowering: {
    kind: "decompose",
    decompose: (b, [x, metric, size], attrs) => tomeWritten(b, x!, metric!, size!, attrs),
  },
  examples: [
    {
      about: "six tokens without a class token, one pair",
      inputs: {
        x: [
          [
            [1, 0],
            [0, 1],
            [0.9, 0.1],
            [0.1, 1],
            [0, -1],
            [1, 0.05],
          ],
        ],
        metric: [
          [
            [1, 0],
            [0, 1],
            [0.9, 0.1],
            [0.1, 1],
            [0, -1],
            [1, 0.05],
          ],
        ],
        size: [[1, 1, 1, 1, 1, 1]],
      },
      attrs: { r: 1, protect: 0 },
      outputs: [
        [
          [
            [0.9, 0.1],
            [0, -1],
            [0, 1],
            [0.1, 1],
            [1, 0.025],
          ],
        ],
        [[1, 1, 1, 1, 2]],
      ],
    },
    {
      about: "a class token stays first, though it is most alike; sizes weigh",
      inputs: {
        x: [[[8], [8], [4], [2]]],
        metric: [
          [
            [1, 0],
            [1, 0],
            [1, 1],
            [1, 1],
          ],
        ],
        size: [[1, 1, 1, 3]],
      },
      attrs: { r: 1 },
      outputs: [[[[8], [8], [2.5]]], [[1, 1, 4]]],
    },
  ],
});

export const pitome = defineOp({
  name: "pitome",
  doc:
    "Spectrum-preserving token merging (PiToMe, arXiv 2405.16148): tokens with many alike have a high energy; of the 2r highest, every " +
    "second one is merged into the one of the others that is most alike. Left are protected tokens, those of low energy (highest " +
    "first), then the merged ones. With fewer than one pair nothing happens.",
  equation: "E_i = mean over j of elu(cos(m_i, m_j) - margin); r = floor(N - N*ratio)",
  inputs: mergeInputs,
  attrs: {
    ratio: { kind: "float", doc: "share of the tokens that is left, 0.5 to 1" },
    margin: { kind: "float", doc: "cosine from which on tokens count as alike", default: 0.5 },
    alpha: { kind: "float", doc: "slope of the energy of tokens that are not alike", default: 1 },
    protect: { ...protect, doc: "tokens in front that stay as they are: 1 with a class token" },
  },
  results: ["y", "sizes"],
  constraints: { ...sentence, ratio: "ratio is from 0.5 to 1" },
  infer(c) {
    const ratio = numberOf(c.attrs, "ratio");
    c.check("ratio", ratio >= 0.5 && ratio <= 1, { got: String(ratio), expected: "0.5 to 1" });
    return inferMerge(c, (tokens) => pitomePairs(tokens, c.attrs));
  },
  axes: mergeRelations,
  reference(c) {
    const kept = numberOf(c.attrs, "protect");
    const tokens = c.input("x").shape[1]!;
    const pairs = pitomePairs(tokens, c.attrs);
    const [margin, alpha] = [numberOf(c.attrs, "margin"), numberOf(c.attrs, "alpha")];
    return merged(c, (similar) => {
      const free = indices(tokens).slice(kept);
      const elu = (z: number) => (z > 0 ? z : alpha * (Math.exp(z) - 1));
      const energy = new Map(free.map((i) => [i, mean(free.map((j) => elu(similar(i, j) - margin)))]));
      if (pairs < 1) return { groups: indices(tokens).map((i) => [i]) };
      const ranked = [...free].sort((a, b) => energy.get(b)! - energy.get(a)! || a - b);
      const source = indices(pairs).map((i) => ranked[2 * i]!);
      const target = indices(pairs).map((i) => ranked[2 * i + 1]!);
      const best = new Map(source.map((a) => [a, firstLargest(target, (b) => similar(a, b))]));
      const others = target.map((b) => [b, ...source.filter((a) => best.get(a) === b)]);
      const stays = [...indices(kept), ...ranked.slice(2 * pairs)];
      return { groups: [...stays.map((i) => [i]), ...others] };
    });
  },
  lowering: {
    kind: "decompose",
    decompose: (b, [x, metric, size], attrs) => pitomeWritten(b, x!, metric!, size!, attrs),
  },
  examples: [
    {
      about: "of four tokens behind the class token two are alike: they have the highest energy, and merge",
      inputs: {
        x: [[[9], [1], [3], [5], [7]]],
        metric: [
          [
            [1, 0],
            [1, 0],
            [0, 1],
            [1, 0.1],
            [-1, 0.2],
          ],
        ],
        size: [[1, 1, 1, 1, 1]],
      },
      attrs: { ratio: 0.75 },
      outputs: [[[[9], [3], [7], [3]]], [[1, 1, 1, 2]]],
    },
  ],
});

export const keepTokens = defineOp({
  name: "keep_tokens",
  doc:
    "Keeps the first token and the k others with the highest scores, best first. With `fuse`, the sum of all others, weighted by their " +
    "scores and not divided by them, is one more token (EViT, arXiv 2202.07800; without it, DynamicViT, arXiv 2106.02034). Where all are " +
    "kept nothing happens.",
  equation: "y = [x_0; x_i for i in top_k(scores); sum over the others of scores_i x_i]",
  inputs: [
    { name: "x", doc: "a class token and others, [B, 1 + N, C], f32 or f16" },
    { name: "scores", doc: "of the others, [B, N]" },
  ],
  attrs: {
    k: { kind: "int", doc: "tokens kept behind the first" },
    fuse: { kind: "bool", doc: "are the others fused into one more token?", default: false },
  },
  constraints: {
    float: "x is f32 or f16",
    rank: "x has three axes, and scores two",
    dtype: "x and scores have the same element type",
    sizes: "scores have the batch of x, and one number for each token but the first",
    tokens: "the number of tokens is known while compiling",
    k: "k is at least 1 and at most the number of scores",
  },
  infer(c) {
    const x = checkFloat(c);
    checkRank(c, "x", 3);
    const scores = checkRank(c, "scores", 2);
    checkSameDType(c, ["x", "scores"]);
    const tokens = constantOf(x.shape[1]!);
    c.check("tokens", tokens !== undefined, {
      input: "x",
      axis: 1,
      got: x.shape[1]!.key,
      expected: "a number",
    });
    for (const [axis, d] of [x.shape[0]!, dim(tokens! - 1)].entries())
      c.check("sizes", sameDim(scores.shape[axis]!, d), {
        input: "scores",
        axis,
        got: scores.shape[axis]!.key,
        expected: d.key,
        from: "x",
      });
    const k = numberOf(c.attrs, "k");
    c.check("k", Number.isInteger(k) && k >= 1 && k < tokens!, {
      got: String(k),
      expected: `1 to ${tokens! - 1}`,
    });
    return [withTokens(x, tokensKept(tokens!, c.attrs))];
  },
  axes: ([x, scores]) => [x ? [same(0), other, same(2)] : [], scores ? [same(0), other] : []],
  reference(c) {
    const [x, scores] = [c.input("x"), c.input("scores")];
    const y = c.result();
    const [batch, tokens, channels] = x.shape as [number, number, number];
    const k = numberOf(c.attrs, "k");
    const left = y.shape[1]!;
    for (let b = 0; b < batch; b++) {
      const score = (i: number) => scores.data[b * (tokens - 1) + i - 1]!;
      const ranked = indices(tokens).slice(1);
      if (k < tokens - 1) ranked.sort((p, q) => score(q) - score(p) || p - q);
      for (let d = 0; d < channels; d++) {
        const at = (i: number) => x.data[(b * tokens + i) * channels + d]!;
        const put = (i: number, value: number) => (y.data[(b * left + i) * channels + d] = value);
        put(0, at(0));
        ranked.slice(0, k).forEach((i, place) => put(place + 1, at(i)));
        if (left === k + 2)
          put(
            k + 1,
            ranked.slice(k).reduce((sum, i) => sum + score(i) * at(i), 0),
          );
      }
    }
    return [y];
  },
  lowering: { kind: "decompose", decompose: (b, [x, scores], attrs) => [keptWritten(b, x!, scores!, attrs)] },
  examples: [
    {
      about: "two of four, best first; the others are summed by their scores",
      inputs: { x: [[[9], [1], [2], [3], [4]]], scores: [[0.1, 0.4, 0.2, 0.3]] },
      attrs: { k: 2, fuse: true },
      outputs: [[[[9], [2], [4], [0.7]]]],
    },
    {
      about: "without the others",
      inputs: { x: [[[9], [1], [2], [3]]], scores: [[0.1, 0.4, 0.2]] },
      attrs: { k: 1 },
      outputs: [[[[9], [2]]]],
    },
  ],
});

/** How many tokens `keep_tokens` leaves. */
export function tokensKept(tokens: number, attrs: Attrs): number {
  const k = numberOf(attrs, "k");
  return k >= tokens - 1 ? tokens : k + 1 + (flagOf(attrs, "fuse") ? 1 : 0);
}

// ---- references -------------------------------------------------------------------------------------------------------

const indices = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const mean = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0) / all.length;

function firstLargest(of: readonly number[], value: (i: number) => number): number {
  return of.reduce((best, i) => (value(i) > value(best) ? i : best), of[0]!);
}

/** Means weighted by size of groups of tokens, which `group` forms for each sample from the cosines of their metrics. */
function merged(
  c: ReferenceContext,
  group: (similar: (i: number, j: number) => number) => { readonly groups: readonly (readonly number[])[] },
): readonly Tensor[] {
  const [x, metric, size] = [c.input("x"), c.input("metric"), c.input("size")];
  const [y, sizes] = [c.result(0), c.result(1)];
  const [batch, tokens, channels] = x.shape as [number, number, number];
  const width = metric.shape[2]!;
  for (let b = 0; b < batch; b++) {
    const row = (i: number) => metric.data.subarray((b * tokens + i) * width, (b * tokens + i + 1) * width);
    const dot = (i: number, j: number) => {
      let sum = 0;
      for (let d = 0; d < width; d++) sum += row(i)[d]! * row(j)[d]!;
      return sum;
    };
    const norm = (i: number) => Math.max(Math.sqrt(dot(i, i)), 1e-12);
    const { groups } = group((i, j) => dot(i, j) / (norm(i) * norm(j)));
    const weight = (i: number) => size.data[b * tokens + i]!;
    for (const [place, members] of groups.entries()) {
      const total = members.reduce((sum, i) => sum + weight(i), 0);
      const at = b * groups.length + place;
      sizes.data[at] = total;
      for (let d = 0; d < channels; d++) {
        const sum = members.reduce((s, i) => s + weight(i) * x.data[(b * tokens + i) * channels + d]!, 0);
        y.data[at * channels + d] = sum / total;
      }
    }
  }
  return [y, sizes];
}
