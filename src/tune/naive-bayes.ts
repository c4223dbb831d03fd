// Gaussian naive Bayes on features, as the linear layer that it is (Revisiting Discriminative vs. Generative Classifiers, 2023): with one variance per feature for all classes the
// squares of a score are the same for every class, and what is left is a product and a bias. All in f64.
//
//   score_k(x) = log prior_k - 1/2 sum_j (x_j - mean_kj)^2 / variance_j
//              = sum_j (mean_kj / variance_j) x_j + log prior_k - 1/2 sum_j mean_kj^2 / variance_j + what no class changes

import { constantOf } from "../ir/dim.ts";
import { typesOf, type Graph, type Node, type ValueId } from "../ir/graph.ts";
import { removeDead } from "../ir/rewrite.ts";
import { showType } from "../ir/types.ts";

/** The layer that is fitted, and what it reads. */
export interface FittedLayer {
  readonly weight: string;
  readonly bias: string;
  readonly features: ValueId;
  /** Rows of its weight, where the model has the layer. */
  readonly classes?: number;
}

export interface LinearHead {
  readonly classes: number;
  readonly features: number;
  /** [classes, features]. */
  readonly weight: Float64Array;
  readonly bias: Float64Array;
  /** Features that are the same number in every row: they say nothing, and their weights are 0. */
  readonly constant: number;
  /** Features that never vary within a class and yet differ between classes: their weights are of the size of 1 / epsilon. */
  readonly degenerate: number;
}

/** The linear layer called `key`, by default the one that makes the first output; or why it cannot be fitted. */
export function layerIn(graph: Graph, key: string | undefined): FittedLayer | string {
  const keys = new Map(graph.weights.map((w) => [w.id, w]));
  const [first] = graph.outputs;
  const node = graph.nodes.find((n) =>
    key === undefined
      ? n.results.some((r) => r.id === first?.value)
      : keys.get(n.inputs[1] ?? "")?.key === `${key}.weight`,
  );
  const weight = keys.get(node?.inputs[1] ?? "");
  if (!node || !weight || node.op.name !== "linear")
    return key === undefined
      ? `output ${first?.name ?? "?"} is not made by a linear layer with a weight of the checkpoint`
      : `the model has no linear layer ${key}`;
  const bias = keys.get(node.inputs[2] ?? "");
  if (!bias) return `linear layer ${weight.key.replace(/\.weight$/, "")} has no bias, which holds the priors`;
  const refused = notRows(graph, node.inputs[0]!);
  if (refused !== undefined) return `the input of ${weight.key} is ${refused}`;
  const classes = constantOf(weight.type.shape[0]!)!;
  return { weight: weight.key, bias: bias.key, features: node.inputs[0]!, classes };
}

/** A layer `key` that reads an output and that the model has not. */
export function layerBehind(graph: Graph, output: string, key: string): FittedLayer | string {
  const found = graph.outputs.find((o) => o.name === output);
  if (!found)
    return `the model has no output ${output}; it has ${graph.outputs.map((o) => o.name).join(", ")}`;
  const refused = notRows(graph, found.value);
  if (refused !== undefined) return `output ${output} is ${refused}`;
  return { weight: `${key}.weight`, bias: `${key}.bias`, features: found.value };
}

function notRows(graph: Graph, id: ValueId): string | undefined {
  const type = typesOf(graph).get(id)!;
  const fits = type.shape.length === 2 && constantOf(type.shape[1]!) !== undefined && type.dtype !== "i32";
  return fits ? undefined : `${showType(type)}, and features are one row for each sample: [rows, features]`;
}

export const featuresName = "features";

/** What the layer reads as the only output, with the weights that it takes to make it. */
export function featuresGraph(graph: Graph, { features }: FittedLayer): Graph {
  const maker: Node | undefined = graph.nodes.find((n) => n.results.some((r) => r.id === features));
  const cut = removeDead({
    ...graph,
    outputs: [{ name: featuresName, value: features, spans: maker?.spans ?? [] }],
  });
  const read = new Set([
    ...cut.nodes.flatMap((n) => n.inputs),
    ...cut.states.map((s) => s.next),
    ...cut.guards.map((g) => g.condition),
    features,
  ]);
  return { ...cut, weights: cut.weights.filter((w) => read.has(w.id)) };
}

/** `x` is [rows, features], `labels` the class of each row; every class has a row. `epsilon` is added to each variance. */
export function naiveBayes(
  x: ArrayLike<number>,
  labels: ArrayLike<number>,
  classes: number,
  epsilon: number,
): LinearHead {
  const rows = labels.length;
  const features = x.length / rows;
  const counts = new Float64Array(classes);
  const means = new Float64Array(classes * features);
  for (let r = 0; r < rows; r++) {
    const k = labels[r]!;
    counts[k]!++;
    for (let j = 0; j < features; j++) means[k * features + j]! += x[r * features + j]!;
  }
  for (let i = 0; i < means.length; i++) means[i]! /= counts[Math.floor(i / features)]!;
  // Weighted by the priors, the biased variances of the classes are the mean of all squared distances.
  const within = new Float64Array(features);
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < features; j++) {
      const off = x[r * features + j]! - means[labels[r]! * features + j]!;
      within[j]! += (off * off) / rows;
    }
  const weight = new Float64Array(means.length);
  const bias = Float64Array.from(counts, (n) => Math.log(n / rows));
  let [constant, degenerate] = [0, 0];
  for (let j = 0; j < features; j++) {
    const of = (k: number): number => means[k * features + j]!;
    const known = within[j] === 0;
    if (known && bias.every((_, k) => of(k) === of(0))) {
      constant++;
      continue;
    }
    if (known) degenerate++;
    const variance = within[j]! + epsilon;
    for (let k = 0; k < classes; k++) {
      weight[k * features + j] = of(k) / variance;
      bias[k]! -= (of(k) * of(k)) / variance / 2;
    }
  }
  return { classes, features, weight, bias, constant, degenerate };
}

/** Share of rows whose largest score is that of their class. */
export function shareOfRows(head: LinearHead, x: ArrayLike<number>, labels: ArrayLike<number>): number {
  const { classes, features, weight, bias } = head;
  let right = 0;
  for (let r = 0; r < labels.length; r++) {
    let [best, most] = [0, -Infinity];
    for (let k = 0; k < classes; k++) {
      let score = bias[k]!;
      for (let j = 0; j < features; j++) score += weight[k * features + j]! * x[r * features + j]!;
      if (score > most) [best, most] = [k, score];
    }
    if (best === labels[r]) right++;
  }
  return right / labels.length;
}
