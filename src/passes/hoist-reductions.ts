// Reductions over positions go in front of the pointwise layers that made them (identities M9, M10, H3, H5, V1, W1): the layer then runs once
// for each result instead of once for each position. Residual sums, scales per channel, masks and other mixers of tokens let them
// through; norms with statistics per token and activations do not.

import { constantOf, dim, sameDim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { axesOf, pairOf } from "../ops/define.ts";
import { allF32, along, flag, isConstantOver, layerOf, reshapeTo, sameKind, type Layer } from "./match.ts";
import type { Pass } from "./pass.ts";
import { meanOfRouted, routedSum } from "./routed-mean.ts";
import {
  again,
  besideResult,
  channelThrough,
  ofOnes,
  reducedAxes,
  reducers,
  reductionAt,
  type Reduction,
} from "./reduction.ts";

/** Why a reduction does not go in front of a node that is no layer, sum or scale; undefined for nodes that nobody would expect it of. */
function obstacleAt(node: Node): string | undefined {
  const { name, traits } = node.op;
  if (["layer_norm", "rms_norm", "l2_normalize"].includes(name))
    return `${name} divides each token by a number of its own`;
  if (name === "group_norm")
    return "group_norm's statistics are of all positions: pooled first, the variance is another one";
  const activation = traits.includes("elementwise") && !traits.includes("linear") && node.inputs.length === 1;
  return activation || ["softmax", "maximum", "minimum", "pow", "max_pool2d"].includes(name)
    ? `${name} is not linear`
    : undefined;
}

/** Where the channels of a layer are in the result, or why the reduction cannot go in front of it. */
function throughLayer(c: RewriteContext, r: Reduction, layer: Layer): number | string {
  if (!layer.pointwise) return "the kernel is larger than 1x1: positions at the border are read less often";
  if (layer.strided) return "the layer has a stride: it does not read every position";
  return channelThrough(c, r, layer.axis) ?? "the reduction is over the channels that the layer makes";
}

const reductionOfLayer: Rule = {
  name: "reduction-of-layer",
  equation: "R(W x + b) = W R(x) + b R(1)   over positions, if the layer is pointwise;  R(1) = 1 for means",
  doc: "R is a mean, a sum, a pooling window or a product with weights, of values that may be masked, weighted and moved about. Where its weights sum to 1 the bias stays as it is, else it is multiplied by their sum.",
  roots: reducers,
  apply(root, c) {
    const r = reductionAt(c, root);
    const node = r && c.producer(r.x);
    if (!r || !node) return null;
    const layer = layerOf(c, node);
    if (!layer) {
      const obstacle = obstacleAt(node);
      return obstacle === undefined ? null : c.refuse(obstacle);
    }
    const axis = throughLayer(c, r, layer);
    if (typeof axis === "string") return root.op.name === "matmul" ? null : c.refuse(axis);
    if (!c.soleProducer(r.x)) return c.refuse("every position is read elsewhere too");
    c.matched(node, ...r.steps.map((s) => s.node));
    const ones = layer.bias === undefined ? "one" : ofOnes(c, r, layer.axis);
    const pooled = again(c, r, layer.x, layer.axis);
    const made = layerOn(c, layer, pooled, axis, ones === "one" ? layer.bias : undefined);
    if (ones === "one") return [made];
    const rank = c.type(pooled).shape.length;
    return [c.add("add", [made, c.add("mul", [ones, along(c, layer.bias!, axis, rank)])])];
  },
};

/** The layer on a value whose channels are on another axis than its own. */
function layerOn(
  c: RewriteContext,
  layer: Layer,
  x: ValueId,
  axis: number,
  bias: ValueId | undefined,
): ValueId {
  const { shape } = c.type(x);
  const { op, attrs } = layer.node;
  const convolves = op.name === "conv2d" && axis === 1 && shape.length === 4;
  if (convolves) return c.add("conv2d", bias ? [x, layer.weight, bias] : [x, layer.weight], attrs);
  const weight = reshapeTo(c, layer.weight, c.type(layer.weight).shape.slice(0, 2));
  const others = shape.map((_, i) => i).filter((i) => i !== axis);
  const perm = [...others, axis];
  const last = axis === shape.length - 1;
  const turned = last ? x : c.add("transpose", [x], { perm });
  const made = c.add("linear", bias ? [turned, weight, bias] : [turned, weight]);
  return last ? made : c.add("transpose", [made], { perm: shape.map((_, i) => perm.indexOf(i)) });
}

/** Is there, behind sums, factors and movements that let the reduction through, a layer that does too? */
function leadsToLayer(c: RewriteContext, id: ValueId, depth = 0): boolean {
  const node = c.soleProducer(id);
  if (!node || depth > 12 || c.isPrepared(id)) return false;
  const layer = layerOf(c, node);
  if (layer) return layer.pointwise && !layer.strided;
  if (routedSum(c, id)) return true;
  const { name, traits } = node.op;
  if (name === "matmul") return c.isPrepared(node.inputs[0]!);
  const through = ["add", "sub", "mul", "where"].includes(name) || traits.includes("movement");
  return through && node.inputs.some((x) => x !== "" && leadsToLayer(c, x, depth + 1));
}

const reductionOfSum: Rule = {
  name: "reduction-of-sum",
  equation: "R(x + y) = R(x) + R(y),  and for -   if behind x or y there is a layer to go through",
  doc: "Two reductions instead of one, which the layer that runs once repays.",
  roots: reducers,
  apply(root, c) {
    const r = reductionAt(c, root);
    const sum = r && c.soleProducer(r.x);
    if (!r || !sum || (sum.op.name !== "add" && sum.op.name !== "sub")) return null;
    if (!sum.inputs.every((x) => sameKind(c, x, r.x)) || !sum.inputs.some((x) => leadsToLayer(c, x)))
      return null;
    // Any axis that comes through will do: sizes stay as they are.
    const axis = c.type(r.x).shape.findIndex((_, i) => channelThrough(c, r, i) !== undefined);
    if (axis < 0) return null;
    c.matched(sum, ...r.steps.map((s) => s.node));
    return [
      c.add(
        sum.op.name,
        sum.inputs.map((x) => again(c, r, x, axis)),
      ),
    ];
  },
};

const reductionOfAffine: Rule = {
  name: "reduction-of-affine",
  equation:
    "R(x * t) = R(x) * t,  R(x / t) = R(x) / t,  R(x + t) = R(x) + t R(1)   if t is the same at all positions",
  doc: "Fewer elements are scaled or shifted.",
  roots: reducers,
  apply(root, c) {
    const r = reductionAt(c, root);
    const node = r && c.soleProducer(r.x);
    if (!r || !node || !["mul", "div", "add", "sub"].includes(node.op.name)) return null;
    if (r.steps.length > 0 || root.op.name === "matmul") return null;
    const reduced = reducedAxes(c, root, r.input);
    const { shape } = c.type(r.x);
    if (reduced.every((axis) => sameDim(shape[axis]!, dim(1)))) return null;
    const [a, b] = node.inputs as readonly [ValueId, ValueId];
    const wide = (x: ValueId) => sameKind(c, x, r.x);
    const constant = (x: ValueId) => isConstantOver(c, x, shape.length, reduced);
    const flipped = !(wide(a) && constant(b));
    if (flipped && (!wide(b) || !constant(a) || node.op.name === "div")) return null;
    const [x, t] = flipped ? [b, a] : [a, b];
    const shift = node.op.name === "add" || node.op.name === "sub";
    const ones = shift ? ofOnes(c, r, shape.length - 1) : "one";
    const beside = besideResult(c, r, t);
    if (beside === undefined || (ones !== "one" && reduced.includes(shape.length - 1))) return null;
    c.matched(node);
    const pooled = again(c, r, x, 0);
    const weighted = ones === "one" ? beside : c.add("mul", [beside, ones]);
    return [c.add(node.op.name, flipped ? [weighted, pooled] : [pooled, weighted])];
  },
};

const reductionOfMixer: Rule = {
  name: "reduction-of-mixer",
  equation: "mean over m of (A x)[m] = (mean over m of A[m]) x,  and for sums   if A is prepared",
  doc: "A fixed matrix that mixes tokens (RandFormer's) becomes one row of it.",
  roots: ["mean", "sum"],
  apply(root, c) {
    const product = c.soleProducer(root.inputs[0]!, "matmul");
    const [matrix, x] = product?.inputs ?? [];
    if (!product || !c.isPrepared(matrix!) || c.isPrepared(x!) || !allF32(c, product.inputs)) return null;
    const { shape } = c.type(root.inputs[0]!);
    const [only, ...more] = axesOf(root.attrs, "axes", shape.length);
    if (only !== shape.length - 2 || more.length > 0) return null;
    c.matched(product);
    const behind = flag(product.attrs, "transpose_a") ? -1 : -2;
    const row = c.add(root.op.name, [matrix], {
      axes: [c.type(matrix!).shape.length + behind],
      keepdims: true,
    });
    return [reshapeTo(c, c.add("matmul", [row, x], product.attrs), c.type(root.results[0]!.id).shape)];
  },
};

const meanOfOutputs: Rule = {
  name: "mean-of-outputs",
  equation: "mean over o of (W x + b)[o] = (mean over o of W[o]) x + mean over o of b[o],  and for sums",
  doc: "Where the channels that a layer makes are what is averaged, one channel is made. So is a mixer that was written as a layer over tokens.",
  roots: ["mean", "sum"],
  apply(root, c) {
    const node = c.soleProducer(root.inputs[0]!, "linear");
    const layer = layerOf(c, node);
    if (!node || !layer || c.isPrepared(root.inputs[0]!)) return null;
    const [only, ...more] = axesOf(root.attrs, "axes", layer.rank);
    if (only !== layer.axis || more.length > 0) return null;
    c.matched(node);
    const averaged = (v: ValueId) => c.add(root.op.name, [v], { axes: [0], keepdims: true });
    const inputs = [layer.x, averaged(layer.weight), ...(layer.bias ? [averaged(layer.bias)] : [])];
    return [reshapeTo(c, c.add("linear", inputs), c.type(root.results[0]!.id).shape)];
  },
};

const meanOfTiles: Rule = {
  name: "mean-of-tiles",
  equation:
    "mean(avg_pool(x)) = mean(x)   if the windows are equal and tile x: no overlap, no padding, nothing left over",
  doc: "Windows that overlap, or are cut off at the border, would count some positions more than others.",
  roots: ["mean"],
  apply(root, c) {
    const pool = c.soleProducer(root.inputs[0]!, "avg_pool2d");
    if (!pool) return null;
    const axes = axesOf(root.attrs, "axes", 4);
    if (!axes.includes(2) || !axes.includes(3)) return null;
    const [size, stride, pad] = ["size", "stride", "pad"].map((name) => pairOf(pool.attrs, name));
    const { shape } = c.type(pool.inputs[0]!);
    const tiles = [0, 1].every((i) => {
      const length = constantOf(shape[2 + i]!);
      const apart = stride![i] === 0 || stride![i] === size![i];
      return apart && pad![i] === 0 && length !== undefined && length % size![i]! === 0;
    });
    if (!tiles)
      return c.refuse(
        "the windows overlap, reach over the border or leave positions over: they do not count all alike",
      );
    c.matched(pool);
    return [c.add("mean", [pool.inputs[0]!], root.attrs)];
  },
};

export const hoistReductions: Pass = {
  name: "hoist-reductions",
  doc: "Pool first, then run the layer once for each result instead of once for each position.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs",
  needs: [],
  gives: [],
  rules: [
    meanOfTiles,
    meanOfRouted,
    reductionOfLayer,
    reductionOfSum,
    reductionOfAffine,
    reductionOfMixer,
    meanOfOutputs,
  ],
};
