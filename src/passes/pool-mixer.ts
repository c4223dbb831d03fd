// PoolFormer's token mixer sees through the norm in front of it (identities M1-M3 of MetaFormer, arXiv 2111.11418): a norm with
// statistics per sample is an affine map per channel, a mean of neighbours keeps constants, and "minus identity" cancels the shift.
// What is left of the norm is its variance; its bias is dead. Scale and residual then join the stencil when kernels are formed.

import type { ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { axisOf, numberOf, pairOf } from "../ops/define.ts";
import { allF32, along, flag, sameKind, scalar } from "./match.ts";
import type { Pass } from "./pass.ts";

const mixerOfNorm: Rule = {
  name: "mixer-of-norm",
  equation:
    "pool(n) - n = (pool(x) - x) * weight[c] / sqrt(variance(x) + eps),  n = group_norm(x)   if pool keeps constants",
  doc: "Mean and bias of the norm cancel. Needs statistics that all positions share, and windows whose weights sum to 1 everywhere: padding not counted.",
  roots: ["sub"],
  apply(root, c) {
    const [pooled, n] = root.inputs as readonly [ValueId, ValueId];
    const pool = c.producer(pooled);
    const norm = c.producer(n);
    if (pool?.op.name !== "avg_pool2d" || pool.inputs[0] !== n || !norm || !sameKind(c, pooled, n))
      return null;
    if (norm.op.name === "layer_norm" || norm.op.name === "rms_norm")
      return c.refuse(`${norm.op.name} has statistics of its own at each token, which pooling would mix`);
    if (norm.op.name !== "group_norm" || !allF32(c, norm.inputs)) return null;
    if (numberOf(norm.attrs, "groups") !== 1)
      return c.refuse("group_norm has more than one group: their statistics are not of the whole sample");
    if (flag(pool.attrs, "count_include_pad") && pairOf(pool.attrs, "pad").some((p) => p > 0))
      return c.refuse("the padding counts: at the border the window's weights sum to less than 1");
    if (c.uses(pooled) !== 1) return c.refuse("the pooled value is read elsewhere too");
    if (c.uses(n) !== 2) return c.refuse("the norm is read elsewhere too, so it is computed anyway");
    c.matched(norm, pool);
    const [x, weight] = norm.inputs as readonly [ValueId, ValueId | undefined];
    const rank = c.type(x).shape.length;
    const difference = c.add("sub", [c.add("avg_pool2d", [x], pool.attrs), x]);
    const scaled = weight
      ? c.add("mul", [difference, along(c, weight, axisOf(norm.attrs, "channel_axis", rank), rank)])
      : difference;
    return [c.add("mul", [scaled, inverseDeviation(c, x, numberOf(norm.attrs, "eps"))])];
  },
};

/** 1 / sqrt(variance + eps) of each sample: [B, 1, 1, 1]. */
function inverseDeviation(c: RewriteContext, x: ValueId, eps: number): ValueId {
  const axes = Array.from({ length: c.type(x).shape.length - 1 }, (_, i) => i + 1);
  const variance = c.add("variance", [x], { axes, keepdims: true });
  return c.add("rsqrt", [c.add("add", [variance, scalar(c, eps)])]);
}

export const poolMixer: Pass = {
  name: "pool-mixer",
  doc: "Pooling minus identity needs only the variance of the norm in front of it.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs",
  needs: [],
  gives: [],
  rules: [mixerOfNorm],
};
