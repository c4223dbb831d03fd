// What cannot change the result is not computed: what softmax does not see because it is the same along its axis, and what a
// normalisation divides out again (the bias of AttSets, the logit bias of SigLIP, the count of a mean).

import { constantOf, dim } from "../ir/dim.ts";
import { axisOf, isOne, numberOf } from "../ops/define.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { allF32, isConstantOver, layerOf, operandWhere, sameKind, scalar, withInputs } from "./match.ts";
import type { Pass } from "./pass.ts";

function rowOf(c: RewriteContext, root: Node): { readonly rank: number; readonly axis: number } {
  const rank = c.type(root.inputs[0]!).shape.length;
  return { rank, axis: axisOf(root.attrs, "axis", rank) };
}

const softmaxOfShift: Rule = {
  name: "softmax-of-shift",
  equation:
    "softmax(x + t) = softmax(x)   if t is the same along the axis,  and for log_softmax, and for - t",
  doc: "The largest of the row is subtracted anyway.",
  roots: ["softmax", "log_softmax"],
  apply(root, c) {
    const { rank, axis } = rowOf(c, root);
    const sum = c.soleProducer(root.inputs[0]!);
    if (!sum || !["add", "sub"].includes(sum.op.name) || isOne(c.type(root.inputs[0]!).shape[axis]!))
      return null;
    const match = operandWhere(sum, (t) => isConstantOver(c, t, rank, [axis]));
    if (!match || !sameKind(c, match.other, root.inputs[0]!)) return null;
    c.matched(sum);
    return [c.add(root.op.name, [match.other], root.attrs)];
  },
};

const softmaxOfBias: Rule = {
  name: "softmax-of-bias",
  equation: "softmax(W x + b) = softmax(W x)   over positions, for each channel by itself",
  doc: "A bias per channel is the same at all positions (AttSets, arXiv 1808.00758).",
  roots: ["softmax", "log_softmax"],
  apply(root, c) {
    const { axis } = rowOf(c, root);
    const layer = layerOf(c, c.soleProducer(root.inputs[0]!));
    if (!layer?.bias || layer.axis === axis) return null;
    c.matched(layer.node);
    return [c.add(root.op.name, [withInputs(c, layer, { bias: undefined })], root.attrs)];
  },
};

const softmaxOfOne: Rule = {
  name: "softmax-of-one",
  equation: "softmax(x) = 1   along an axis of size 1",
  doc: "One weight, and weights sum to 1.",
  roots: ["softmax"],
  apply(root, c) {
    const { axis } = rowOf(c, root);
    const { shape, dtype } = c.type(root.inputs[0]!);
    if (!isOne(shape[axis]!) || dtype !== "f32") return null;
    return [c.add("broadcast_to", [scalar(c, 1)], { dims: shape })];
  },
};

/** Is every element plainly above 0? */
function isPositive(c: RewriteContext, id: ValueId, depth = 0): boolean {
  const value = c.constant(id);
  if (value !== undefined) return value > 0;
  const node = c.producer(id);
  if (!node || depth > 6) return false;
  const of = (x: ValueId) => isPositive(c, x, depth + 1);
  const { name, traits } = node.op;
  if (["exp", "sigmoid"].includes(name)) return true;
  if (name === "maximum") return node.inputs.some(of);
  if (["mul", "div", "add", "minimum"].includes(name)) return node.inputs.every(of);
  const keeps = ["sqrt", "rsqrt"].includes(name) || (traits.includes("movement") && node.inputs.length === 1);
  return keeps && of(node.inputs[0]!);
}

const scaleBeforeL2: Rule = {
  name: "scale-before-l2",
  equation: "l2_normalize(x * s) = l2_normalize(x)   if s > 0 is the same along the axis,  and for / s",
  doc: "The count that a mean divides by does not matter to its direction (H7).",
  roots: ["l2_normalize"],
  apply(root, c) {
    const { rank, axis } = rowOf(c, root);
    const scaled = c.soleProducer(root.inputs[0]!);
    if (!scaled || !["mul", "div"].includes(scaled.op.name) || !allF32(c, scaled.inputs)) return null;
    const match = operandWhere(scaled, (s) => isConstantOver(c, s, rank, [axis]));
    if (!match || !sameKind(c, match.other, root.inputs[0]!)) return null;
    if (!isPositive(c, match.found)) return c.refuse("the factor may be 0 or negative");
    c.matched(scaled);
    return [c.add("l2_normalize", [match.other], root.attrs)];
  },
};

/** z where the node is sqrt(relu(z)). */
function rootOfPositive(c: RewriteContext, id: ValueId): ValueId | undefined {
  const root = c.producer(id);
  const relu = root?.op.name === "sqrt" ? c.producer(root.inputs[0]!) : undefined;
  return relu?.op.name === "relu" ? relu.inputs[0]! : undefined;
}

const l2OfSignedSqrt: Rule = {
  name: "l2-of-signed-sqrt",
  equation: "|sign(z) sqrt|z||^2 = sum |z|:   l2_normalize(ssr(z)) = ssr(z) / max(sqrt(sum |z|), eps)",
  doc: "The squares of the roots are the values again: one reduction of |z|, which need not wait for the roots (B4).",
  roots: ["l2_normalize"],
  apply(root, c) {
    const signed = c.producer(root.inputs[0]!);
    if (signed?.op.name !== "sub" || !allF32(c, signed.inputs)) return null;
    const [up, down] = signed.inputs.map((x) => rootOfPositive(c, x));
    const negated = down === undefined ? undefined : c.producer(down);
    if (up === undefined || negated?.op.name !== "neg" || negated.inputs[0] !== up) return null;
    c.matched(signed);
    const total = c.add("sum", [c.add("abs", [up])], { axes: [rowOf(c, root).axis], keepdims: true });
    const norm = c.add("maximum", [c.add("sqrt", [total]), scalar(c, numberOf(root.attrs, "eps"))]);
    return [c.add("div", [root.inputs[0], norm])];
  },
};

const rankingOfTwo: Rule = {
  name: "ranking-of-two",
  equation:
    "log_softmax(W x + b)[0] is in the order of (W[0] - W[1]) x + b[0] - b[1]   for two classes,  and for softmax",
  doc: "What is only ranked needs one number, and no exponentials (the predictor of DynamicViT, arXiv 2106.02034).",
  roots: ["keep_tokens"],
  apply(root, c) {
    const flat = c.soleProducer(root.inputs[1]!);
    if (flat?.op.name !== "squeeze" && flat?.op.name !== "reshape") return null;
    const one = c.soleProducer(flat.inputs[0]!, "slice");
    const soft = one && c.soleProducer(one.inputs[0]!);
    if (!one || !soft || !["log_softmax", "softmax"].includes(soft.op.name)) return null;
    const layer = layerOf(c, c.soleProducer(soft.inputs[0]!, "linear"));
    const { rank, axis } = rowOf(c, soft);
    const last = rank - 1;
    if (!layer || axis !== last || axisOf(one.attrs, "axis", rank) !== last) return null;
    const start = numberOf(one.attrs, "start");
    const [classes, kept] = [soft, one].map((n) => constantOf(c.type(n.results[0]!.id).shape[last]!));
    if (classes !== 2 || kept !== 1 || (start !== 0 && start !== 1)) return null;
    if (root.attrs["fuse"] === true) return c.refuse("the scores weigh the tokens that are left out, too");
    c.matched(flat, one, soft, layer.node);
    const row = (v: ValueId, i: number) => c.add("slice", [v], { axis: 0, start: dim(i), end: dim(i + 1) });
    const difference = (v: ValueId) => c.add("sub", [row(v, start), row(v, 1 - start)]);
    const scores = withInputs(c, layer, {
      weight: difference(layer.weight),
      bias: layer.bias && difference(layer.bias),
    });
    return [c.add("keep_tokens", [root.inputs[0], c.add(flat.op.name, [scores], flat.attrs)], root.attrs)];
  },
};

export const dropIrrelevant: Pass = {
  name: "drop-irrelevant",
  doc: "What cannot change the result is not computed: shifts that softmax does not see, factors that a norm divides out, exponentials of what is only ranked.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs, norms above eps, scores that are ranked apart",
  needs: [],
  gives: [],
  rules: [softmaxOfOne, softmaxOfShift, softmaxOfBias, scaleBeforeL2, l2OfSignedSqrt, rankingOfTwo],
};
