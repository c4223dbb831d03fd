// A mean over positions goes in front of the pointwise layer that made them (identities M9 and M10): the layer then runs once instead
// of once per position. Residual sums and scales per channel let it through; norms with statistics per token and activations do not.

import { dim, sameDim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { axesOf } from "../ops/define.ts";
import { alignedShape, flag, isConstantOver, layerOf, reshapeTo, sameKind } from "./match.ts";
import type { Pass } from "./pass.ts";

const nonlinear: ReadonlySet<string> = new Set([
  "relu",
  "gelu",
  "silu",
  "sigmoid",
  "tanh",
  "erf",
  "exp",
  "log",
  "square",
  "sqrt",
  "abs",
  "pow",
  "maximum",
  "minimum",
  "softmax",
  "max_pool2d",
]);
const perToken: ReadonlySet<string> = new Set(["layer_norm", "rms_norm", "l2_normalize"]);

interface Mean {
  readonly axes: readonly number[];
  readonly rank: number;
  readonly keepdims: boolean;
}

function meanOf(c: RewriteContext, root: Node): Mean {
  const rank = c.type(root.inputs[0]!).shape.length;
  return { axes: axesOf(root.attrs, "axes", rank), rank, keepdims: flag(root.attrs, "keepdims") };
}

/** Is the node a layer through which this mean can go? Otherwise why not, where it is a layer at all. */
function layerLetsThrough(c: RewriteContext, node: Node, mean: Mean): boolean | string {
  const layer = layerOf(c, node);
  if (!layer) return false;
  if (mean.axes.includes(layer.axis)) return "the mean is over the channels that the layer makes";
  if (!layer.pointwise) return "the kernel is larger than 1x1: positions at the border are read less often";
  return layer.strided ? "the layer has a stride: it does not read every position" : true;
}

const meanOfLayer: Rule = {
  name: "mean-of-layer",
  equation: "mean(W x + b) = W mean(x) + b   over positions, if the layer is pointwise",
  doc: "The weights of a mean sum to 1, so the bias stays as it is.",
  roots: ["mean"],
  apply(root, c) {
    const node = c.producer(root.inputs[0]!);
    if (!node) return null;
    if (perToken.has(node.op.name))
      return c.refuse(`${node.op.name} divides each token by a number of its own`);
    if (node.op.name === "group_norm")
      return c.refuse(
        "group_norm's statistics are of all positions: pooled first, the variance is another one",
      );
    if (nonlinear.has(node.op.name)) return c.refuse(`${node.op.name} is not linear`);
    const mean = meanOf(c, root);
    const verdict = layerLetsThrough(c, node, mean);
    if (typeof verdict === "string") return c.refuse(verdict);
    const layer = layerOf(c, node);
    if (!verdict || !layer) return null;
    if (!c.soleProducer(root.inputs[0]!)) return c.refuse("every position is read elsewhere too");
    c.matched(node);
    const pooled = c.add("mean", [layer.x], root.attrs);
    const inputs = layer.bias ? [pooled, layer.weight, layer.bias] : [pooled, layer.weight];
    if (node.op.name === "linear" || mean.keepdims) return [c.add(node.op.name, inputs, node.attrs)];
    if (mean.axes.length !== 2) return c.refuse("one of the image's axes stays");
    inputs[1] = reshapeTo(c, layer.weight, c.type(layer.weight).shape.slice(0, 2));
    return [c.add("linear", inputs)];
  },
};

/** Is there, behind sums and factors that let the mean through, a layer that does too? */
function leadsToLayer(c: RewriteContext, id: ValueId, mean: Mean, depth = 0): boolean {
  const node = c.soleProducer(id);
  if (!node || depth > 8) return false;
  if (layerLetsThrough(c, node, mean) === true) return true;
  const [a, b] = node.inputs as readonly [ValueId, ValueId];
  const constant = (x: ValueId) => isConstantOver(c, x, mean.rank, mean.axes);
  const wide = (x: ValueId) => sameKind(c, x, id);
  if (node.op.name === "add" || node.op.name === "sub")
    return [a, b].some((x) => wide(x) && leadsToLayer(c, x, mean, depth + 1));
  if (node.op.name === "mul") return wide(a) && constant(b) && leadsToLayer(c, a, mean, depth + 1);
  return false;
}

const meanOfSum: Rule = {
  name: "mean-of-sum",
  equation: "mean(x + y) = mean(x) + mean(y),  and for -   if behind x or y there is a layer to go through",
  doc: "Two means instead of one, which the layer that runs once repays.",
  roots: ["mean"],
  apply(root, c) {
    const sum = c.soleProducer(root.inputs[0]!);
    if (!sum || (sum.op.name !== "add" && sum.op.name !== "sub")) return null;
    if (!sum.inputs.every((x) => sameKind(c, x, root.inputs[0]!))) return null;
    const mean = meanOf(c, root);
    if (!sum.inputs.some((x) => leadsToLayer(c, x, mean))) return null;
    c.matched(sum);
    return [
      c.add(
        sum.op.name,
        sum.inputs.map((x) => c.add("mean", [x], root.attrs)),
      ),
    ];
  },
};

const meanOfAffine: Rule = {
  name: "mean-of-affine",
  equation: "mean(x * t) = mean(x) * t,  and for / t, + t, - t   if t is the same at all positions",
  doc: "Fewer elements are scaled or shifted.",
  roots: ["mean"],
  apply(root, c) {
    const node = c.soleProducer(root.inputs[0]!);
    if (!node || !["mul", "div", "add", "sub"].includes(node.op.name)) return null;
    const mean = meanOf(c, root);
    const [a, b] = node.inputs as readonly [ValueId, ValueId];
    const wide = (x: ValueId) => sameKind(c, x, root.inputs[0]!);
    const constant = (x: ValueId) => isConstantOver(c, x, mean.rank, mean.axes);
    if (mean.axes.every((axis) => sameDim(c.type(root.inputs[0]!).shape[axis]!, dim(1)))) return null;
    const pooled = (x: ValueId) => c.add("mean", [x], root.attrs);
    if (wide(a) && constant(b)) {
      c.matched(node);
      return [c.add(node.op.name, [pooled(a), withoutAxes(c, b, mean)])];
    }
    if (!wide(b) || !constant(a) || node.op.name === "div") return null;
    c.matched(node);
    return [c.add(node.op.name, [withoutAxes(c, a, mean), pooled(b)])];
  },
};

/** A value of size 1 along the axes, shaped to broadcast against the result of the mean. */
function withoutAxes(c: RewriteContext, id: ValueId, mean: Mean): ValueId {
  if (mean.keepdims) return id;
  const missing = mean.rank - c.type(id).shape.length;
  const kept = alignedShape(c, id, mean.rank)!.filter((_, i) => i >= missing && !mean.axes.includes(i));
  return reshapeTo(c, id, kept);
}

export const meanBeforeLinear: Pass = {
  name: "mean-before-linear",
  doc: "Pool first, then run the layer once instead of once per position.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs",
  needs: [],
  gives: [],
  rules: [meanOfLayer, meanOfSum, meanOfAffine],
};
