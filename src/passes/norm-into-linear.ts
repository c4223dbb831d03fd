// A norm in front of a pointwise layer becomes two numbers per sample or token, applied behind the product (identities M5 and M6): the
// layer reads x itself, the norm's scale goes into the weight, and its statistics are one small reduction. With the pass switched
// off the norm is applied to each element before the product.

import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { axisOf, numberOf } from "../ops/define.ts";
import {
  allF32,
  along,
  layerOf,
  readersOf,
  rowSums,
  scalar,
  scaledWeight,
  weightTimes,
  withInputs,
  type Layer,
} from "./match.ts";
import type { Pass } from "./pass.ts";

const norms: ReadonlySet<string> = new Set(["group_norm", "layer_norm", "rms_norm"]);

/** Why a norm cannot go behind a layer that reads it; undefined where it can. */
function obstacle(layer: Layer, norm: Node): string | undefined {
  if (layer.inputAxis !== 1) return "each group of the convolution reads a part of the channels";
  const { rank, axis } = layer;
  if (layer.padded) return "the padding is zeros, not the norm's shift: results at the border differ";
  if (!layer.pointwise) return "the kernel is larger than 1x1: a result would need the statistics of several";
  if (norm.op.name === "group_norm") {
    if (numberOf(norm.attrs, "groups") !== 1) return "group_norm has more than one group of channels";
    return axisOf(norm.attrs, "channel_axis", rank) === axis
      ? undefined
      : "the norm's scale is along another axis than the product";
  }
  if (axisOf(norm.attrs, "axis", rank) !== axis) return "the norm is along another axis than the product";
  return layer.strided
    ? "the layer has a stride: it would need the statistics of some positions only"
    : undefined;
}

const normBehindLayer: Rule = {
  name: "norm-behind-layer",
  equation:
    "W norm(x) + b = (W' x - mean * W' 1) * r + (W beta + b),  W' = W diag(gamma), r = 1 / sqrt(variance + eps)",
  doc: "For layer_norm the mean is itself a product with x, so it goes into the weight: W' less the mean of its rows. rms_norm has none.",
  roots: ["linear", "conv2d"],
  apply(root, c) {
    const layer = layerOf(c, root);
    const norm = layer && c.producer(layer.x);
    if (!layer || !norm || !norms.has(norm.op.name) || !allF32(c, norm.inputs)) return null;
    const reason = obstacle(layer, norm);
    if (reason !== undefined) return c.refuse(reason);
    if (!onlyLayersRead(c, norm)) return c.refuse("the norm is read elsewhere too, so it is computed anyway");
    c.matched(norm);

    const [x, gamma, beta] = norm.inputs as readonly [ValueId, ValueId | undefined, ValueId | undefined];
    const { rank, axis } = layer;
    const axes = norm.op.name === "group_norm" ? Array.from({ length: rank - 1 }, (_, i) => i + 1) : [axis];
    const statistics = { axes, keepdims: true };
    const scaled = gamma ? scaledWeight(c, layer.weight, gamma, 1) : layer.weight;
    let y: ValueId;
    let spread: ValueId;
    if (norm.op.name === "rms_norm") {
      y = withInputs(c, layer, { x, weight: scaled, bias: undefined });
      spread = c.add("mean", [c.add("square", [x])], statistics);
    } else if (norm.op.name === "layer_norm") {
      const rowMeans = c.add("mean", [scaled], { axes: [1], keepdims: true });
      y = withInputs(c, layer, { x, weight: c.add("sub", [scaled, rowMeans]), bias: undefined });
      spread = c.add("variance", [x], statistics);
    } else {
      const product = withInputs(c, layer, { x, weight: scaled, bias: undefined });
      const sums = along(c, rowSums(c, scaled), axis, rank);
      y = c.add("sub", [product, c.add("mul", [c.add("mean", [x], statistics), sums])]);
      spread = c.add("variance", [x], statistics);
    }
    const inverse = c.add("rsqrt", [c.add("add", [spread, scalar(c, numberOf(norm.attrs, "eps"))])]);
    y = c.add("mul", [y, inverse]);
    const shift = beta ? weightTimes(c, layer.weight, beta) : undefined;
    const bias = shift && layer.bias ? c.add("add", [shift, layer.bias]) : (shift ?? layer.bias);
    return [bias ? c.add("add", [y, along(c, bias, axis, rank)]) : y];
  },
};

/** Else the norm is computed anyway, and nothing is won. */
function onlyLayersRead(c: RewriteContext, norm: Node): boolean {
  const id = norm.results[0]!.id;
  if (c.uses(id) === 1) return true;
  const readers = readersOf(c, id);
  const fits = (n: Node) => {
    const layer = layerOf(c, n);
    return layer?.x === id && !n.inputs.slice(1).includes(id) && obstacle(layer, norm) === undefined;
  };
  // An output reads it too where there are more uses than nodes.
  return readers.length === c.uses(id) && readers.every(fits);
}

export const normIntoLinear: Pass = {
  name: "norm-into-linear",
  doc: "A norm in front of a pointwise layer is applied behind it, by two numbers per sample or token.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs, |mean| / deviation below 1e4",
  needs: [],
  gives: [],
  rules: [normBehindLayer],
};
