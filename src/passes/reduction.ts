// Reductions that are linear maps along positions, with what stands between them and the layer that made the values: a mean, a sum, a
// pooling window, a product with weights; and on the way masks, weights per position and movements. All of them treat each channel
// alike, so they trade places with whatever treats each position alike. The rules are in hoist-reductions.ts.

import { dim, productDim, type Dim } from "../ir/dim.ts";
import type { Attrs, Node, ValueId } from "../ir/graph.ts";
import { axisRelations } from "../ir/op.ts";
import { typicalOf } from "../ir/positions.ts";
import type { RewriteContext } from "../ir/rewrite-types.ts";
import { allOps } from "../ops/index.ts";
import { sameShape } from "../ir/types.ts";
import { isOne } from "../ops/define.ts";
import { alignedShape, allF32, isConstantOver, operandWhere, reshapeTo, sameKind, scalar } from "./match.ts";

/** Ops that may be such a reduction. */
export const reducers: readonly string[] = allOps
  .filter((op) => op.traits.includes("linear") && !op.traits.includes("movement"))
  .filter((op) => op.name === "matmul" || op.inputs.length === 1)
  .map((op) => op.name);

/** One thing done to all channels alike, on the way from a layer to the reduction. */
interface Step {
  readonly node: Node;
  /** The value on the way: which input of the node it is. */
  readonly input: number;
  /** A factor or a mask per position; absent for movements. */
  readonly gate?: ValueId;
}

/** root(steps(x)), nearest step first; `x` is what the path begins with. */
export interface Reduction {
  readonly root: Node;
  readonly input: number;
  readonly steps: readonly Step[];
  readonly x: ValueId;
}

/** The reduction at a root, and everything between it and the first node that does something else. */
export function reductionAt(c: RewriteContext, root: Node): Reduction | undefined {
  const input = root.op.name === "matmul" ? 1 : 0;
  const data = root.inputs[input]!;
  const fewer =
    typicalOf(productDim(c.type(root.results[0]!.id).shape)) < typicalOf(productDim(c.type(data).shape));
  if (!fewer || !allF32(c, root.inputs) || c.isPrepared(data)) return undefined;
  const reduced = reducedAxes(c, root, input);
  const steps: Step[] = [];
  let x = data;
  let moved = false;
  for (;;) {
    // Behind a movement the axes are others, and a prepared factor is taken for a scale per channel.
    const step = stepAt(c, x, moved ? undefined : reduced);
    if (!step) return { root, input, steps, x };
    steps.push(step);
    moved ||= step.gate === undefined;
    x = step.node.inputs[step.input]!;
  }
}

function stepAt(c: RewriteContext, id: ValueId, reduced: readonly number[] | undefined): Step | undefined {
  const node = c.soleProducer(id);
  if (!node || c.isPrepared(id)) return undefined;
  if (node.op.traits.includes("movement") && node.inputs.length === 1 && node.attrs["value"] === undefined)
    return node.op.name === "slice" ? undefined : { node, input: 0 };
  if (node.op.name === "where" && c.constant(node.inputs[2]!) === 0 && sameKind(c, node.inputs[1]!, id))
    return { node, input: 1, gate: node.inputs[0]! };
  if (node.op.name !== "mul") return undefined;
  const rank = c.type(id).shape.length;
  // A factor of its own at each position, and the same along some other axis, where the layer's channels must be.
  const perPosition = (x: ValueId) =>
    !sameKind(c, x, id) && (reduced ? !isConstantOver(c, x, rank, reduced) : !c.isPrepared(x));
  const match = operandWhere(node, perPosition);
  if (!match || !sameKind(c, match.other, id)) return undefined;
  return { node, input: node.inputs[0] === match.other ? 0 : 1, gate: match.found };
}

/** Where the axis of the layer's channels is in the reduction's result; undefined where something on the way mixes channels. */
export function channelThrough(c: RewriteContext, r: Reduction, axis: number): number | undefined {
  let at: number | undefined = axis;
  for (const { node, input, gate } of [...r.steps].reverse()) {
    if (at === undefined) return undefined;
    const rank = c.type(node.results[0]!.id).shape.length;
    if (gate === undefined) at = keptAxis(c, node, input, at);
    else if (!isConstantOver(c, gate, rank, [at])) return undefined;
  }
  return at === undefined ? undefined : keptAxis(c, r.root, r.input, at);
}

function keptAxis(c: RewriteContext, node: Node, input: number, axis: number): number | undefined {
  const relation = axisRelations(node.op, typesOf(c, node), node.attrs)[input]![axis]!;
  return relation.kind === "same" ? relation.axis : undefined;
}

/** The same reduction of another value with the same positions, whose channels may be others. */
export function again(c: RewriteContext, r: Reduction, x: ValueId, axis: number): ValueId {
  let at = x;
  let channel = axis;
  for (const { node, input, gate } of [...r.steps].reverse()) {
    const inputs = node.inputs.map((y, i) => (i === input ? at : y));
    if (node.op.name === "where") inputs[2] = scalar(c, 0);
    const size = c.type(at).shape[channel]!;
    if (gate === undefined) channel = keptAxis(c, node, input, channel)!;
    at = c.add(node.op.name, inputs, resized(node, channel, size));
  }
  return c.add(
    r.root.op.name,
    r.root.inputs.map((y, i) => (i === r.input ? at : y)),
    r.root.attrs,
  );
}

/** Attributes of a movement where the channels have another size. */
function resized(node: Node, axis: number, size: Dim): Attrs {
  const { dims } = node.attrs;
  if (!Array.isArray(dims)) return node.attrs;
  return { ...node.attrs, dims: node.results[0]!.type.shape.map((d, i) => (i === axis ? size : d)) };
}

/** What the reduction makes of a constant 1, with one channel: `one` where the weights of each result sum to 1. */
export function ofOnes(c: RewriteContext, r: Reduction, axis: number): ValueId | "one" {
  const { root, steps } = r;
  if (steps.every((s) => s.gate === undefined) && keepsConstants(c, root)) return "one";
  const transposed = root.attrs["transpose_a"] === true;
  if (root.op.name === "matmul" && steps.length === 0 && !transposed)
    return c.add("sum", [root.inputs[0]], {
      axes: [c.type(root.inputs[0]!).shape.length - 1],
      keepdims: true,
    });
  const { shape } = c.type(r.x);
  const relations = axisRelations(root.op, typesOf(c, root), root.attrs)[r.input]!;
  const alike = (i: number) =>
    steps.length === 0 && relations[i]!.kind === "same" && root.inputs.length === 1;
  const dims = shape.map((d, i) => (i === axis || alike(i) ? dim(1) : d));
  const first = steps.at(-1);
  const factor = first?.node.op.name === "mul" ? first.gate : undefined;
  const ones = factor === undefined ? scalar(c, 1) : factor;
  const filled = sameShape(c.type(ones).shape, dims) ? ones : c.add("broadcast_to", [ones], { dims });
  return again(c, factor === undefined ? r : { ...r, steps: steps.slice(0, -1) }, filled, axis);
}

const typesOf = (c: RewriteContext, node: Node) => node.inputs.map((y) => (y === "" ? undefined : c.type(y)));

/** Is every result a mean of values, weighted by numbers that sum to 1? */
function keepsConstants(c: RewriteContext, root: Node): boolean {
  if (root.op.name !== "matmul") return root.op.keepsConstants?.(root.attrs) === true;
  const weights = c.producer(root.inputs[0]!);
  const rows = root.attrs["transpose_a"] !== true && weights?.op.name === "softmax";
  const rank = c.type(root.inputs[0]!).shape.length;
  return rows && [-1, rank - 1].includes(Number(weights.attrs["axis"])) && isFinite(c, weights.inputs[0]!);
}

/** Is a value plainly free of the infinities that mask positions out? A row of nothing else has weights that sum to 0. */
function isFinite(c: RewriteContext, id: ValueId): boolean {
  for (let at = id, steps = 0; steps < 8; steps++) {
    const node = c.producer(at);
    if (!node) return false;
    if (["linear", "matmul", "conv2d"].includes(node.op.name)) return true;
    const scales = ["mul", "div"].includes(node.op.name) && c.isPrepared(node.inputs[1]!);
    if (!scales && !(node.op.traits.includes("movement") && node.inputs.length === 1)) return false;
    at = node.inputs[0]!;
  }
  return false;
}

/** The axes along which a reduction does not keep each position by itself. */
export function reducedAxes(c: RewriteContext, root: Node, input: number): readonly number[] {
  const relations = axisRelations(root.op, typesOf(c, root), root.attrs)[input]!;
  return relations.flatMap((relation, i) => (relation.kind === "same" ? [] : [i]));
}

/** A value of size 1 along the reduced axes, shaped to broadcast against the result. */
export function besideResult(c: RewriteContext, r: Reduction, id: ValueId): ValueId | undefined {
  const rank = c.type(r.root.inputs[r.input]!).shape.length;
  const relations = axisRelations(r.root.op, typesOf(c, r.root), r.root.attrs)[r.input]!;
  const shape = alignedShape(c, id, rank);
  const result = c.type(r.root.results[0]!.id).shape;
  if (!shape) return undefined;
  const dims = result.map(() => dim(1));
  for (const [i, relation] of relations.entries())
    if (relation.kind === "same") dims[relation.axis] = shape[i]!;
  const first = dims.findIndex((d) => !isOne(d));
  return reshapeTo(c, id, first < 0 ? [] : dims.slice(first));
}
