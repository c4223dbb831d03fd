// Scales and shifts per channel (LayerScale, BatchNorm, StarReLU's pair) go into the weights of the layer before or behind. The new
// weights are ordinary nodes that depend on weights alone, so the prepare program computes them once, at load, in f64.
// A shift never goes through zero padding: at the border the layer sees zeros, not the shift.

import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { axisOf, numberOf } from "../ops/define.ts";
import {
  allF32,
  along,
  asBias,
  channelVector,
  layerOf,
  operandWhere,
  sameKind,
  scalar,
  scaledWeight,
  weightTimes,
  withInputs,
  type Layer,
} from "./match.ts";
import type { Pass } from "./pass.ts";

const batchNormIsAffine: Rule = {
  name: "batch-norm-is-affine",
  equation: "batch_norm(x) = x * a[c] + (bias[c] - mean[c] * a[c]),  a = weight / sqrt(var + eps)",
  doc: "Stored statistics make it one scale and one shift per channel.",
  roots: ["batch_norm"],
  apply(root, c) {
    const [x, weight, bias, mean, variance] = root.inputs as readonly ValueId[];
    const vectors = root.inputs.slice(1).filter((v) => v !== "");
    if (!vectors.every((v) => c.isPrepared(v)) || !allF32(c, root.inputs)) return null;
    const rank = c.type(x!).shape.length;
    const axis = axisOf(root.attrs, "channel_axis", rank);
    const inverse = c.add("rsqrt", [c.add("add", [variance, scalar(c, numberOf(root.attrs, "eps"))])]);
    const scale = weight ? c.add("mul", [weight, inverse]) : inverse;
    const moved = c.add("mul", [mean, scale]);
    const shift = bias ? c.add("sub", [bias, moved]) : c.add("neg", [moved]);
    const scaled = c.add("mul", [x, along(c, scale, axis, rank)]);
    return [c.add("add", [scaled, along(c, shift, axis, rank)])];
  },
};

interface Affine {
  readonly y: ValueId;
  /** One number per channel, or one for all. */
  readonly vector: ValueId;
}

/** `y op vector`, where the second operand is prepared and the result has the shape of y; axis -1 is the last. */
function affineOf(c: RewriteContext, node: Node, axis: number): Affine | undefined {
  const match = operandWhere(node, (x) => c.isPrepared(x));
  if (!match || c.isPrepared(match.other) || !sameKind(c, node.results[0]!.id, match.other)) return undefined;
  const rank = c.type(match.other).shape.length;
  const vector = channelVector(c, match.found, rank, axis < 0 ? axis + rank : axis);
  return vector === undefined ? undefined : { y: match.other, vector };
}

/** The layer that makes an operand of the node, and the prepared vector that the node applies to it. */
function affineBehindLayer(c: RewriteContext, root: Node): (Affine & { readonly layer: Layer }) | null {
  const layerSide = operandWhere(root, (x) => c.isPrepared(x))?.other;
  const layer = layerSide === undefined ? undefined : layerOf(c, c.producer(layerSide));
  if (!layer || c.isPrepared(layerSide!)) return null;
  const affine = affineOf(c, root, layer.axis);
  if (!affine) return c.refuse("the factor or shift does not vary along the channels alone");
  if (!c.soleProducer(affine.y)) return c.refuse(`the result of ${layer.node.op.name} is read elsewhere too`);
  c.matched(layer.node);
  return { ...affine, layer };
}

const scaleBehindLayer: Rule = {
  name: "scale-behind-layer",
  equation: "(W x + b) * s = (diag(s) W) x + s b,  and for / s",
  doc: "LayerScale, or a norm's scale, goes into the rows of the weight.",
  roots: ["mul", "div"],
  apply(root, c) {
    const match = affineBehindLayer(c, root);
    if (!match) return null;
    const { layer, vector } = match;
    const op = root.op.name as "mul" | "div";
    const weight = scaledWeight(c, layer.weight, vector, 0, op);
    const bias = layer.bias && c.add(op, [layer.bias, vector]);
    return [withInputs(c, layer, { weight, bias })];
  },
};

const shiftBehindLayer: Rule = {
  name: "shift-behind-layer",
  equation: "(W x + b) + t = W x + (b + t),  and for - t",
  doc: "A shift joins the bias, or becomes it.",
  roots: ["add", "sub"],
  apply(root, c) {
    const match = affineBehindLayer(c, root);
    if (!match) return null;
    const { layer, vector } = match;
    const shift = asBias(c, layer, vector);
    if (layer.bias) return [withInputs(c, layer, { bias: c.add(root.op.name, [layer.bias, shift]) })];
    return [withInputs(c, layer, { bias: root.op.name === "add" ? shift : c.add("neg", [shift]) })];
  },
};

const groupsApart =
  "each group of the convolution reads channels of its own, which the vector does not tell apart";

const scaleBeforeLayer: Rule = {
  name: "scale-before-layer",
  equation: "W (x * s) + b = (W diag(s)) x + b,  and for / s",
  doc: "Holds for zero-padded convolutions too: a scaled zero is zero.",
  roots: ["linear", "conv2d"],
  apply(root, c) {
    const layer = layerOf(c, root);
    const before = layer && c.soleProducer(layer.x);
    if (!layer || !before || (before.op.name !== "mul" && before.op.name !== "div")) return null;
    const affine = affineOf(c, before, layer.axis);
    if (!affine) return null;
    if (layer.inputAxis === undefined) return c.refuse(groupsApart);
    c.matched(before);
    const weight = scaledWeight(c, layer.weight, affine.vector, layer.inputAxis, before.op.name);
    return [withInputs(c, layer, { x: affine.y, weight })];
  },
};

const shiftBeforeLayer: Rule = {
  name: "shift-before-layer",
  equation: "W (x + t) + b = W x + (b + W t),  and for - t   if nothing is padded with zeros",
  doc: "The shift reaches every result in full only where the layer reads no padding.",
  roots: ["linear", "conv2d"],
  apply(root, c) {
    const layer = layerOf(c, root);
    const before = layer && c.soleProducer(layer.x);
    if (!layer || !before || (before.op.name !== "add" && before.op.name !== "sub")) return null;
    const affine = affineOf(c, before, layer.axis);
    if (!affine) return null;
    if (layer.inputAxis === undefined) return c.refuse(groupsApart);
    if (layer.padded) return c.refuse("the padding is zeros, not the shift: results at the border differ");
    c.matched(before);
    const shift = weightTimes(c, layer.weight, affine.vector, layer.inputAxis);
    if (layer.bias)
      return [withInputs(c, layer, { x: affine.y, bias: c.add(before.op.name, [layer.bias, shift]) })];
    const bias = before.op.name === "add" ? shift : c.add("neg", [shift]);
    return [withInputs(c, layer, { x: affine.y, bias })];
  },
};

const preparedFirst: Rule = {
  name: "prepared-first",
  equation: "(x * r) * a = (x * a) * r   if a is prepared and r is not",
  doc: "Brings prepared factors together, so that they become one.",
  roots: ["mul"],
  apply(root, c) {
    const outer = operandWhere(root, (x) => c.isPrepared(x));
    const inner = outer && c.soleProducer(outer.other, "mul");
    if (!inner || operandWhere(inner, (x) => c.isPrepared(x)) || !allF32(c, root.inputs)) return null;
    const [x, r] = inner.inputs as readonly [ValueId, ValueId];
    const same = (id: ValueId) => sameKind(c, id, root.results[0]!.id);
    if (!same(x) || same(r)) return null;
    c.matched(inner);
    return [c.add("mul", [c.add("mul", [x, outer.found]), r])];
  },
};

const joinFactors: Rule = {
  name: "join-factors",
  equation: "(x * a) * b = x * (a * b)   if a and b are prepared",
  doc: "One product at load instead of two in every run.",
  roots: ["mul"],
  apply(root, c) {
    const outer = operandWhere(root, (x) => c.isPrepared(x));
    const inner = outer && c.soleProducer(outer.other, "mul");
    const factor = inner && operandWhere(inner, (x) => c.isPrepared(x));
    if (!outer || !factor || c.isPrepared(factor.other) || !allF32(c, root.inputs)) return null;
    const product = c.add("mul", [factor.found, outer.found]);
    // [C, 1, 1] and [H, 1] would make a table.
    if (!sameKind(c, product, factor.found) && !sameKind(c, product, outer.found)) return null;
    c.matched(inner!);
    return [c.add("mul", [factor.other, product])];
  },
};

export const foldAffineIntoWeights: Pass = {
  name: "fold-affine-into-weights",
  doc: "Scales and shifts per channel go into the weights of the layer next to them, once, at load.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs and weights",
  needs: [],
  gives: [],
  rules: [
    batchNormIsAffine,
    scaleBehindLayer,
    shiftBehindLayer,
    scaleBeforeLayer,
    shiftBeforeLayer,
    preparedFirst,
    joinFactors,
  ],
};
