// What rules of several passes look for: literals, values that vary along one axis only, and layers (linear, conv2d) with prepared
// weights. Knows these few ops by name; holds no rule.

import { constantOf, dim, sameDim, type Dim } from "../ir/dim.ts";
import { readersIn, type Attrs, type Node, type ValueId } from "../ir/graph.ts";
import type { RewriteContext } from "../ir/rewrite-types.ts";
import { sameShape } from "../ir/types.ts";
import { isOne, numberOf, pairOf } from "../ops/define.ts";

/** The two inputs of a binary op with the one that `is` second; undefined where neither is. */
export function operandWhere(
  node: Node,
  is: (id: ValueId) => boolean,
): { readonly other: ValueId; readonly found: ValueId } | undefined {
  const [a, b] = node.inputs as readonly [ValueId, ValueId];
  if (is(b)) return { other: a, found: b };
  return node.op.traits.includes("commutative") && is(a) ? { other: b, found: a } : undefined;
}

/** Same element type and shape: one may stand for the other. */
export function sameKind(c: RewriteContext, a: ValueId, b: ValueId): boolean {
  return c.type(a).dtype === c.type(b).dtype && sameShape(c.type(a).shape, c.type(b).shape);
}

export function allF32(c: RewriteContext, ids: readonly (ValueId | undefined)[]): boolean {
  return ids.every((id) => id === undefined || id === "" || c.type(id).dtype === "f32");
}

/** The sizes of a value, aligned at the last axis with a tensor of `rank` axes: 1 where it has none. Undefined where it has more. */
export function alignedShape(c: RewriteContext, id: ValueId, rank: number): readonly Dim[] | undefined {
  const { shape } = c.type(id);
  if (shape.length > rank) return undefined;
  return [...Array.from({ length: rank - shape.length }, () => dim(1)), ...shape];
}

/** Does the value, broadcast to `rank` axes, have size 1 along every one of `axes`? */
export function isConstantOver(
  c: RewriteContext,
  id: ValueId,
  rank: number,
  axes: readonly number[],
): boolean {
  const shape = alignedShape(c, id, rank);
  return shape !== undefined && axes.every((a) => isOne(shape[a]!));
}

/** A value of other shape and the same elements; looks through a reshape that made it. */
export function reshapeTo(c: RewriteContext, id: ValueId, dims: readonly Dim[]): ValueId {
  if (sameShape(c.type(id).shape, dims)) return id;
  const maker = c.producer(id);
  if (maker?.op.name === "reshape") return reshapeTo(c, maker.inputs[0]!, dims);
  return c.add("reshape", [id], { dims });
}

/**
 * The value as a vector, where among `rank` axes it varies along `axis` alone; as a scalar where it does not vary at all. This is
 * what a factor or a shift per channel looks like, however it was broadcast.
 */
export function channelVector(
  c: RewriteContext,
  id: ValueId,
  rank: number,
  axis: number,
): ValueId | undefined {
  const shape = alignedShape(c, id, rank);
  if (!shape || shape.some((d, i) => i !== axis && !isOne(d))) return undefined;
  return isOne(shape[axis]!) ? reshapeTo(c, id, []) : reshapeTo(c, id, [shape[axis]!]);
}

/** A vector (or scalar) shaped so that it broadcasts along `axis` of `rank` axes. */
export function along(c: RewriteContext, vector: ValueId, axis: number, rank: number): ValueId {
  const { shape } = c.type(vector);
  const behind = rank - 1 - axis;
  if (shape.length === 0 || behind === 0) return vector;
  return reshapeTo(c, vector, [shape[0]!, ...Array.from({ length: behind }, () => dim(1))]);
}

/** A linear layer or a convolution whose weight and bias are known at load. */
export interface Layer {
  readonly node: Node;
  readonly x: ValueId;
  readonly weight: ValueId;
  readonly bias: ValueId | undefined;
  /** Rank of the input and the result, and the axis of the channels in both. */
  readonly rank: number;
  readonly axis: number;
  /** Every result position reads one input position. */
  readonly pointwise: boolean;
  /** Some results read zeros that stand around the input. */
  readonly padded: boolean;
  readonly strided: boolean;
  /** Axis of the weight that the input's channels run along; undefined where groups of several channels each have their own. */
  readonly inputAxis: 0 | 1 | undefined;
}

export function layerOf(c: RewriteContext, node: Node | undefined): Layer | undefined {
  if (node?.op.name !== "linear" && node?.op.name !== "conv2d") return undefined;
  const [x, weight, bias] = node.inputs as readonly [ValueId, ValueId, ValueId | undefined];
  if (!c.isPrepared(weight) || (bias && !c.isPrepared(bias)) || !allF32(c, node.inputs)) return undefined;
  const rank = c.type(x).shape.length;
  const common = { node, x, weight, bias: bias || undefined, rank };
  if (node.op.name === "linear")
    return { ...common, axis: rank - 1, pointwise: true, padded: false, strided: false, inputAxis: 1 };
  const { shape } = c.type(weight);
  const padded = pairOf(node.attrs, "pad").some((p) => p > 0);
  const depthwise = constantOf(shape[1]!) === 1 && sameDim(shape[0]!, c.type(x).shape[1]!);
  const dense = numberOf(node.attrs, "groups") === 1;
  return {
    ...common,
    axis: 1,
    pointwise: !padded && constantOf(shape[2]!) === 1 && constantOf(shape[3]!) === 1,
    padded,
    strided: pairOf(node.attrs, "stride").some((s) => s !== 1),
    inputAxis: dense ? 1 : depthwise ? 0 : undefined,
  };
}

/** The same layer with some of its inputs replaced. */
export function withInputs(
  c: RewriteContext,
  layer: Layer,
  change: { readonly x?: ValueId; readonly weight?: ValueId; readonly bias?: ValueId | undefined },
): ValueId {
  const bias = "bias" in change ? change.bias : layer.bias;
  const { x = layer.x, weight = layer.weight } = change;
  return c.add(layer.node.op.name, bias ? [x, weight, bias] : [x, weight], layer.node.attrs);
}

/** The weight with each row (output channel: axis 0) or column (input channel: axis 1) multiplied or divided by a number. */
export function scaledWeight(
  c: RewriteContext,
  weight: ValueId,
  vector: ValueId,
  axis: 0 | 1,
  op: "mul" | "div" = "mul",
): ValueId {
  return c.add(op, [weight, along(c, vector, axis, c.type(weight).shape.length)]);
}

/** W t: what a shift of the layer's input adds to each output channel. */
export function weightTimes(c: RewriteContext, weight: ValueId, vector: ValueId, axis: 0 | 1 = 1): ValueId {
  return rowSums(c, scaledWeight(c, weight, vector, axis));
}

/** W 1, per output channel. */
export function rowSums(c: RewriteContext, weight: ValueId): ValueId {
  const rank = c.type(weight).shape.length;
  return c.add("sum", [weight], { axes: Array.from({ length: rank - 1 }, (_, i) => i + 1) });
}

/** A scalar or a vector as a vector of one number per output channel of the layer. */
export function asBias(c: RewriteContext, layer: Layer, vector: ValueId): ValueId {
  if (c.type(vector).shape.length === 1) return vector;
  return c.add("broadcast_to", [vector], { dims: [c.type(layer.weight).shape[0]!] });
}

/** Every node of the graph that reads the value. */
export function readersOf(c: RewriteContext, id: ValueId): readonly Node[] {
  return readersIn(c.graph).get(id) ?? [];
}

export const scalar = (c: RewriteContext, value: number): ValueId => c.add("constant", [], { value });

/** Attributes that say sizes: an op with one of these cannot simply be given another size of input. */
export function namesSizes(node: Node): boolean {
  return Object.entries(node.op.attrs).some(
    ([name, a]) => name in node.attrs && (a.kind === "dims" || a.kind === "dim"),
  );
}

export function flag(attrs: Attrs, name: string): boolean {
  return attrs[name] === true;
}
