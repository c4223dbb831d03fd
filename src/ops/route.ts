// Choosing: the k best of a row, and the router of a layer of experts in its normal form (scores, selection bias, groups, top-k, weights).
// Ties go to the lower index everywhere, so that a choice is a function of the numbers alone.

import { dim, isMultipleOf, type Dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { AttrSpec, InferContext, ReferenceContext } from "../ir/op.ts";
import type { Tensor } from "../ir/tensor.ts";
import { showType, type TensorType } from "../ir/types.ts";
import {
  checkFloat,
  checkVector,
  defineOp,
  dimOf,
  flagOf,
  numberOf,
  same,
  sentences,
  textOf,
  whole,
} from "./define.ts";
import { routeProgram } from "./route-kernel.ts";
import { topKProgram } from "./top-k-kernel.ts";

/** Indices of the `k` largest of a row, larger first, lower index on ties; what is NaN is never chosen. */
function largest(row: ArrayLike<number>, k: number): number[] {
  const order = Array.from({ length: row.length }, (_, i) => i).filter((i) => !Number.isNaN(row[i]));
  return order.sort((a, b) => row[b]! - row[a]! || a - b).slice(0, k);
}

export const topK = defineOp({
  name: "top_k",
  doc:
    "The k largest along the last axis, larger first; of equal ones the lower index. NaN counts as the lowest of all: where fewer than k " +
    "numbers are left, the index is the size of the axis and the value the lowest f32.",
  equation: "y[j] = x[indices[j]], y[0] >= y[1] >= ...",
  inputs: [{ name: "x", doc: "at least one axis, f32 or f16" }],
  attrs: { k: { kind: "dim", doc: "how many are kept" } },
  results: ["y", "indices"],
  constraints: {
    float: sentences.float,
    rank: "x has at least one axis",
    k: "k is at least 1 and at most the size of the last axis",
  },
  infer(c) {
    const x = checkFloat(c);
    c.check("rank", x.shape.length >= 1, { input: "x", got: showType(x), expected: "at least one axis" });
    const k = dimOf(c.attrs, "k");
    checkCount(c, "k", k, x.shape.at(-1)!, x.shape.length - 1);
    const shape = [...x.shape.slice(0, -1), k];
    const axes = [...x.axes.slice(0, -1), null];
    return [
      { dtype: x.dtype, shape, axes },
      { dtype: "u32", shape, axes },
    ];
  },
  axes: ([x]) => [rowRelations(x)],
  reference(c) {
    const x = c.input("x");
    const [y, indices] = [c.result(0), c.result(1)];
    const n = x.shape.at(-1)!;
    const k = y.shape.at(-1)!;
    y.data.fill(LOWEST);
    indices.data.fill(n);
    for (let row = 0; row * k < y.data.length; row++)
      for (const [j, i] of largest(x.data.subarray(row * n, (row + 1) * n), k).entries()) {
        y.data[row * k + j] = x.data[row * n + i]!;
        indices.data[row * k + j] = i;
      }
    return [y, indices];
  },
  lowering: { kind: "program", inPlace: [], program: topKProgram },
  examples: [
    {
      about: "equal values: the lower index first",
      inputs: { x: [[1, 3, 3, 2]] },
      attrs: { k: 3 },
      outputs: [[[3, 3, 2]], [[1, 2, 3]]],
    },
  ],
});

/** The lowest finite f32, which WGSL can write. */
const LOWEST = -3.4028234663852886e38;

function checkCount(c: InferContext, label: string, k: Dim, size: Dim, axis: number, input = "x"): void {
  const [least, most] = [Number(k.key), Number(size.key)];
  const wrong = least < 1 || (Number.isInteger(most) && least > most);
  c.check(label, !wrong, { input, axis, got: `k = ${k.key}`, expected: `1 to ${size.key}` });
}

/** Each row by itself. */
function rowRelations(x: TensorType | undefined) {
  const last = (x?.shape.length ?? 1) - 1;
  return (x?.shape ?? []).map((_, i) => (i === last ? whole(i) : same(i)));
}

export const routeAttrs: Readonly<Record<string, AttrSpec>> = {
  k: { kind: "int", doc: "experts a token goes to" },
  scores: {
    kind: "string",
    doc: "softmax over all experts, sigmoid of each, or the logits themselves",
    choices: ["softmax", "sigmoid", "logits"],
    default: "softmax",
  },
  weights: {
    kind: "string",
    doc: "what the chosen weigh: their scores, or softmax or sigmoid of the chosen logits alone",
    choices: ["scores", "softmax", "sigmoid"],
    default: "scores",
  },
  renorm: { kind: "bool", doc: "are the weights divided by their sum? 0 / 0 is 0", default: false },
  eps: { kind: "float", doc: "added to that sum", default: 0 },
  scale: { kind: "float", doc: "factor on the weights, after that", default: 1 },
  groups: { kind: "int", doc: "groups of neighbouring experts", default: 1 },
  keep_groups: { kind: "int", doc: "groups that stay", default: 1 },
  group_score: {
    kind: "string",
    doc: "what groups are compared by: their best expert, or the sum of their two best",
    choices: ["max", "top2"],
    default: "max",
  },
  weightless: {
    kind: "int",
    doc: "experts from this id on have the weight 0, before the weights are divided by their sum; -1: none",
    default: -1,
  },
};

export const routeConstraints = {
  experts: "the number of experts is known while compiling",
  k: "k is at least 1 and at most the number of experts",
  groups: "the groups are of equal size, and there are at most 32",
  keep: "between one and all groups stay, and they have at least k experts",
  bias: "the bias has one number per expert",
};

/** Ids and weights of the choice among logits of this type; `input`: what their last axis comes from. */
export function inferChoice(c: InferContext, logits: TensorType, input: string): readonly TensorType[] {
  const last = logits.shape.length - 1;
  const axis = c.type(input).shape.length - 1;
  const size = logits.shape[last]!;
  const experts = Number(size.key);
  c.check("experts", Number.isInteger(experts), { input, axis, got: size.key, expected: "a number" });
  const k = numberOf(c.attrs, "k");
  checkCount(c, "k", dim(k), size, axis, input);
  const groups = numberOf(c.attrs, "groups");
  const keep = numberOf(c.attrs, "keep_groups");
  c.check("groups", groups >= 1 && groups <= 32 && isMultipleOf(size, groups), {
    input,
    axis,
    got: `${groups} groups of ${size.key} experts`,
    expected: "groups of equal size",
  });
  c.check("keep", keep >= 1 && keep <= groups && keep * (experts / groups) >= k, {
    input,
    axis,
    got: `${keep} groups of ${experts / groups} for k = ${k}`,
    expected: `at most ${groups} groups, with ${k} experts or more`,
  });
  checkVector(c, "bias", size, "bias");
  const shape = [...logits.shape.slice(0, -1), dim(k)];
  const axes = [...logits.axes.slice(0, -1), null];
  return [
    { dtype: "u32", shape, axes },
    { dtype: "f32", shape, axes },
  ];
}

/** Choices of every row of logits, by the definition. */
export function writeChoices(
  logits: ArrayLike<number>,
  experts: number,
  c: Pick<ReferenceContext, "attrs">,
  bias: ArrayLike<number> | undefined,
  [ids, weights]: readonly [Tensor, Tensor],
): void {
  const k = ids.shape.at(-1)!;
  ids.data.fill(experts);
  for (let row = 0; row * k < ids.data.length; row++) {
    const own = Array.prototype.slice.call(logits, row * experts, (row + 1) * experts) as number[];
    const chosen = routeRow(own, bias, c.attrs);
    ids.data.set(chosen.experts, row * k);
    weights.data.set(chosen.weights, row * k);
  }
}

export const route = defineOp({
  name: "route",
  doc:
    "The router of a layer of experts: which k experts each token goes to, and with what weight. Scores are made of the logits; " +
    "`bias` is added to choose, never to weigh; with `groups`, only experts of the best groups are left. A logit that is NaN is never " +
    "chosen: a slot without an expert has the id E (the number of experts) and the weight 0. Infinite logits count as 3e38.",
  equation:
    "s = scores(x); experts = top_k(mask_groups(s + bias), k); v = s[experts] (or a function of x[experts]); weights = scale * v, or " +
    "scale * v / (sum v + eps)",
  inputs: [
    { name: "x", doc: "[..., E] logits, f32 or f16" },
    { name: "bias", doc: "[E], added to the scores to choose", optional: true },
  ],
  attrs: routeAttrs,
  results: ["experts", "weights"],
  constraints: {
    float: sentences.float,
    rank: "x has at least one axis",
    ...routeConstraints,
  },
  infer(c) {
    const x = checkFloat(c);
    c.check("rank", x.shape.length >= 1, { input: "x", got: showType(x), expected: "at least one axis" });
    return inferChoice(c, x, "x");
  },
  axes: ([x, bias]) => [rowRelations(x), bias ? [{ kind: "other" }] : []],
  reference(c) {
    const x = c.input("x");
    const bias = c.has("bias") ? c.input("bias").data : undefined;
    const [ids, weights] = [c.result(0), c.result(1)];
    writeChoices(x.data, x.shape.at(-1)!, c, bias, [ids, weights]);
    return [ids, weights];
  },
  lowering: { kind: "program", inPlace: [], moved: ["x"], program: routeProgram },
  examples: [
    {
      about: "DeepSeekMoE's gate: softmax over all, not divided by the sum",
      inputs: { x: [[2, 1, 0, -1]] },
      attrs: { k: 2 },
      outputs: [[[0, 1]], [[0.643914, 0.236883]]],
    },
    {
      about: "Mixtral's: divided by the sum",
      inputs: { x: [[2, 1, 0, -1]] },
      attrs: { k: 2, renorm: true },
      outputs: [[[0, 1]], [[0.731059, 0.268941]]],
    },
    {
      about:
        "DeepSeek-V3's: sigmoid, a bias that only chooses, two of four groups by the sum of their two best",
      inputs: {
        x: [[1, 0.5, -0.2, 0.3, 2, -3, 0.1, 0]],
        bias: [-0.9, -0.9, -0.1, -0.1, -1.5, -0.1, -0.9, -0.9],
      },
      attrs: {
        k: 3,
        scores: "sigmoid",
        renorm: true,
        eps: 1e-20,
        scale: 2.5,
        groups: 4,
        keep_groups: 2,
        group_score: "top2",
      },
      outputs: [[[3, 2, 0]], [[0.817983, 0.641018, 1.040998]]],
    },
    {
      about: "DeepSeek-V2's: softmax, groups by their best",
      inputs: { x: [[1, 0.5, -0.2, 0.3, 2, -3, 0.1, 0]] },
      attrs: { k: 2, scale: 16, groups: 4, keep_groups: 2 },
      outputs: [[[4, 0]], [[7.352474, 2.704824]]],
    },
    {
      about: "all equal: the lowest ids",
      inputs: { x: [[1, 1, 1]] },
      attrs: { k: 2, weights: "softmax", scores: "logits" },
      outputs: [[[0, 1]], [[0.5, 0.5]]],
    },
    {
      about: "MoE++: the zero expert, the last one, has no weight",
      inputs: { x: [[0.5, -1, -1, -2, 0.2, 1]] },
      attrs: { k: 2, renorm: true, weightless: 5 },
      outputs: [[[5, 0]], [[0, 1]]],
    },
  ],
});

interface Choice {
  readonly experts: readonly number[];
  readonly weights: readonly number[];
}

/** The definition, for one token. */
export function routeRow(
  logits: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  attrs: Attrs,
): Choice {
  const { z, s, by } = scoreRow(logits, bias, attrs);
  const experts = largest(by, numberOf(attrs, "k"));
  const from = weigh(
    experts.map((i) => z[i]!),
    experts.map((i) => s[i]!),
    textOf(attrs, "weights"),
  );
  const weightless = numberOf(attrs, "weightless");
  let v = experts.map((id, j) => (weightless >= 0 && id >= weightless ? 0 : from[j]!));
  if (flagOf(attrs, "renorm")) {
    const sum = v.reduce((a, b) => a + b, 0) + numberOf(attrs, "eps");
    v = v.map((x) => (sum === 0 ? 0 : x / sum));
  }
  return { experts, weights: v.map((x) => x * numberOf(attrs, "scale")) };
}

/** Logits within bounds, scores, and what experts are chosen by: NaN where one cannot be. */
export function scoreRow(
  logits: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  attrs: Attrs,
): { readonly z: readonly number[]; readonly s: readonly number[]; readonly by: readonly number[] } {
  const z = Array.from(logits, (x) => Math.min(3e38, Math.max(-3e38, x)));
  const s = scoresOf(z, textOf(attrs, "scores"));
  const chosenBy = s.map((x, i) => x + (bias ? bias[i]! : 0));
  return { z, s, by: withinGroups(chosenBy, attrs) };
}

function softmaxOf(z: readonly number[]): number[] {
  const numbers = z.filter((x) => !Number.isNaN(x));
  const most = Math.max(...numbers);
  const sum = numbers.reduce((total, x) => total + Math.exp(x - most), 0);
  return z.map((x) => Math.exp(x - most) / sum);
}

const sigmoidOf = (x: number): number => 1 / (1 + Math.exp(-x));

/** Scores of one token, by the `scores` attribute. */
export function scoresOf(z: readonly number[], kind: string): readonly number[] {
  return kind === "softmax" ? softmaxOf(z) : kind === "sigmoid" ? z.map(sigmoidOf) : z;
}

function weigh(z: readonly number[], s: readonly number[], kind: string): readonly number[] {
  return kind === "softmax" ? softmaxOf(z) : kind === "sigmoid" ? z.map(sigmoidOf) : s;
}

/** Those of other groups than the best are NaN, which is never chosen. */
function withinGroups(by: readonly number[], attrs: Attrs): readonly number[] {
  const groups = numberOf(attrs, "groups");
  if (groups === 1) return by;
  const size = by.length / groups;
  const scores = Array.from({ length: groups }, (_, g) => {
    const best = largest(by.slice(g * size, (g + 1) * size), textOf(attrs, "group_score") === "top2" ? 2 : 1);
    return best.length === 0 ? LOWEST : best.reduce((sum, i) => sum + by[g * size + i]!, 0);
  });
  const kept = new Set(largest(scores, numberOf(attrs, "keep_groups")));
  return by.map((x, i) => (kept.has(Math.floor(i / size)) ? x : NaN));
}
