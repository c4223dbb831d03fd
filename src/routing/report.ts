// What routing did in a run, as numbers: how even the loads are, how sure the router is, what was dropped. From the logits and choices of
// each `route`, so that it is the same whoever computed them. Definitions are those of the papers; docs/experts.md has them.

import type { Attrs } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { scoreRow } from "../ops/route.ts";
import { loadsOf, maxViolation } from "./loads.ts";

export interface RoutingSource {
  /** Path of the layer in the model. */
  readonly layer: string;
  /** Of its `route`. */
  readonly attrs: Attrs;
  /** [..., E] */
  readonly logits: Tensor;
  /** [..., k], E where a slot has no expert. */
  readonly ids: Tensor;
  /** The ids that products were computed for, where experts drop some of them; any shape of as many. */
  readonly served?: Tensor;
  /** Experts that have a product; ids from there on cost none. */
  readonly networks?: number;
  readonly bias?: Tensor;
}

export interface LayerRouting {
  readonly layer: string;
  readonly experts: number;
  readonly tokens: number;
  /** Slots of each expert. */
  readonly loads: readonly number[];
  /** Largest load over the mean, less 1. */
  readonly maxVio: number;
  /** Deviation of the loads over their mean. */
  readonly variation: number;
  /** Entropy of the loads over that of even ones: 1 is even. */
  readonly loadEntropy: number;
  readonly dead: number;
  /** E * sum of load share * mean score; 1 is even. Over everything, and the mean over the first axis (micro-batches). */
  readonly balanceLoss: number;
  readonly microBalanceLoss: number;
  /** Mean squared log of the sum of exponentials of the logits. */
  readonly zLoss: number;
  /** Entropy of a token's scores over that of even ones, mean. */
  readonly tokenEntropy: number;
  /** Mean of the best score. */
  readonly confidence: number;
  /** Between the last expert chosen and the first one not: mean, and the smallest with their places. */
  readonly meanMargin: number;
  readonly closest: readonly { readonly token: readonly number[]; readonly margin: number }[];
  /** Shares of all slots. */
  readonly dropRate: number;
  readonly zeroComputation: number;
  /** Logits that are NaN. */
  readonly nan: number;
  readonly warnings: readonly string[];
}

const CLOSEST = 5;
/** In f32 another choice is as good. */
const NEAR_TIE = 1e-6;

export function routingReport(sources: readonly RoutingSource[]): readonly LayerRouting[] {
  return sources.map(layerReport);
}

function layerReport(source: RoutingSource): LayerRouting {
  const { logits, ids, attrs, bias } = source;
  const experts = logits.shape.at(-1)!;
  const k = ids.shape.at(-1)!;
  const tokens = logits.data.length / experts;
  const leading = logits.shape.slice(0, -1);
  const micro = leading.length > 1 ? leading[0]! : 1;
  const loads = loadsOf(ids.data, experts);
  const means = new Float64Array(experts);
  const perMicro = tokens / micro;
  const microLosses: number[] = [];
  let own = new Float64Array(experts);
  let [zLoss, entropy, confidence, margins, measured, nan, flat] = [0, 0, 0, 0, 0, 0, 0];
  const closest: { token: number; margin: number }[] = [];
  for (let t = 0; t < tokens; t++) {
    const row = logits.data.subarray(t * experts, (t + 1) * experts);
    for (const x of row) if (Number.isNaN(x)) nan++;
    const { z, s, by } = scoreRow(row, bias?.data, attrs);
    const shares = normalised(s);
    shares.forEach((p, e) => {
      means[e]! += p;
      own[e]! += p;
    });
    entropy += evenness(shares);
    confidence += Math.max(...shares);
    zLoss += logSumExp(z) ** 2;
    if (row.every((x) => x === row[0])) flat++;
    const sorted = by.filter((x) => !Number.isNaN(x)).sort((a, b) => b - a);
    if (sorted.length > k) {
      const margin = sorted[k - 1]! - sorted[k]!;
      margins += margin;
      measured++;
      closest.push({ token: t, margin });
      if (closest.length > 4096) keepClosest(closest);
    }
    if ((t + 1) % perMicro === 0) {
      const from = t + 1 - perMicro;
      const here = loadsOf(ids.data.subarray(from * k, (t + 1) * k), experts);
      microLosses.push(balance(here, own, perMicro * k, perMicro));
      own = new Float64Array(experts);
    }
  }
  keepClosest(closest);
  const slots = tokens * k;
  const networks = source.networks ?? experts;
  const zero = loads.slice(networks).reduce((a, b) => a + b, 0);
  const served = loadsOf((source.served ?? ids).data, networks).reduce((a, b) => a + b, 0);
  const dead = loads.filter((n) => n === 0).length;
  const mean = slots / experts;
  return {
    layer: source.layer,
    experts,
    tokens,
    loads,
    maxVio: maxViolation(loads),
    variation: tokens === 0 ? 0 : Math.sqrt(loads.reduce((a, n) => a + (n - mean) ** 2, 0) / experts) / mean,
    loadEntropy: evenness(loads.map((n) => n / slots)),
    dead,
    balanceLoss: balance(loads, means, slots, tokens),
    microBalanceLoss: microLosses.reduce((a, b) => a + b, 0) / microLosses.length,
    zLoss: zLoss / tokens,
    tokenEntropy: entropy / tokens,
    confidence: confidence / tokens,
    meanMargin: measured === 0 ? Infinity : margins / measured,
    closest: closest.map(({ token, margin }) => ({ token: placeOf(token, leading), margin })),
    dropRate: slots === 0 ? 0 : (slots - zero - served) / slots,
    zeroComputation: slots === 0 ? 0 : zero / slots,
    nan,
    warnings: warningsOf({ dead, experts, flat, tokens, nan, closest }),
  };
}

function warningsOf(x: {
  readonly dead: number;
  readonly experts: number;
  readonly flat: number;
  readonly tokens: number;
  readonly nan: number;
  readonly closest: readonly { readonly margin: number }[];
}): readonly string[] {
  const out: string[] = [];
  if (x.nan > 0) out.push(`${x.nan} logits are NaN: their experts are never chosen`);
  if (x.tokens > 0 && 2 * x.flat > x.tokens)
    out.push("most tokens have equal logits for all experts: is this router trained?");
  if (x.dead > 0) out.push(`${x.dead} of ${x.experts} experts got no token`);
  const near = x.closest.filter((c) => c.margin < NEAR_TIE).length;
  if (near > 0)
    out.push(
      `${near === 1 ? "a token is a near-tie" : `${near} tokens are near-ties`}: another rounding may choose otherwise`,
    );
  return out;
}

/** E * sum of f_i p_i, with the share of slots f and the mean score p. */
function balance(loads: readonly number[], sums: ArrayLike<number>, slots: number, tokens: number): number {
  return loads.reduce((total, n, e) => total + (n / slots) * (sums[e]! / tokens), 0) * loads.length;
}

/** Scores as shares of 1; what is NaN has none. */
function normalised(s: readonly number[]): readonly number[] {
  const positive = s.map((x) => (x > 0 ? x : 0));
  const sum = positive.reduce((a, b) => a + b, 0);
  return sum === 0 ? positive : positive.map((x) => x / sum);
}

/** Entropy over that of an even distribution. */
function evenness(shares: readonly number[]): number {
  if (shares.length === 1) return 1;
  return -shares.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0) / Math.log(shares.length);
}

function logSumExp(z: readonly number[]): number {
  const numbers = z.filter((x) => !Number.isNaN(x));
  if (numbers.length === 0) return 0;
  const most = Math.max(...numbers);
  return most + Math.log(numbers.reduce((sum, x) => sum + Math.exp(x - most), 0));
}

function keepClosest(all: { token: number; margin: number }[]): void {
  all.sort((a, b) => a.margin - b.margin || a.token - b.token);
  all.length = Math.min(all.length, CLOSEST);
}

function placeOf(token: number, shape: readonly number[]): number[] {
  const out: number[] = [];
  let rest = token;
  for (const size of [...shape].reverse()) {
    out.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return out;
}
