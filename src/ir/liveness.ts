// Which positions of each value can matter, from the outputs backwards: a class token, the last token, the channels of one of three
// projections. Ops say how their axes relate (op.ts); nothing here knows an op by name.
//
// A value is wanted in boxes, one set of positions per axis. Mostly there is one; a fused projection whose queries are wanted of one
// token and whose keys of all is wanted in two. What an op cannot make of parts alone it makes whole, and that is on record.

import { addDim, constantOf, dim, mulDim, sameDim, subDim, type Dim } from "./dim.ts";
import { preparedValues, typesOf, type Graph, type Node, type ValueId } from "./graph.ts";
import { axisRelations, type AttrSpec, type AxisRelation } from "./op.ts";
import {
  asRange,
  countOf,
  endOf,
  isNonNegative,
  isPicked,
  isWhole,
  mergeBoxes,
  rangeOf,
  wholeBox,
  type Box,
  type Positions,
  type Range,
} from "./positions.ts";
import { externalReads } from "./rewrite-graph.ts";
import type { TensorType } from "./types.ts";

/** Some positions of a node's result would have been enough, and yet it makes more. */
export interface Stop {
  readonly node: Node;
  readonly reason: string;
}

export interface Liveness {
  /** What of each value is computed; a value that is not here is dead. */
  readonly boxes: ReadonlyMap<ValueId, readonly Box[]>;
  readonly stops: readonly Stop[];
}

/** Relations of a node's inputs, with what they are relations of. */
export interface Tie {
  readonly input: number;
  /** Axis of the input, and its size. */
  readonly axis: number;
  readonly size: Dim;
  readonly relation: AxisRelation;
}

/** By the relations, which nodes of equal types and attributes share. */
const known = new WeakMap<readonly (readonly AxisRelation[])[], readonly Tie[]>();

export function tiesOf(node: Node, types: ReadonlyMap<ValueId, TensorType>): readonly Tie[] {
  const inputs = node.inputs.map((x) => (x === "" ? undefined : types.get(x)));
  const all = axisRelations(node.op, inputs, node.attrs);
  let ties = known.get(all);
  if (!ties) {
    ties = all.flatMap((relations, input) =>
      relations.map((relation, axis) => ({ input, axis, size: inputs[input]!.shape[axis]!, relation })),
    );
    known.set(all, ties);
  }
  return ties;
}

/** Is less than the whole of an input enough for the whole of the result? Where no node of a graph is so, all of all its values matter. */
export const narrows = (ties: readonly Tie[]): boolean =>
  ties.some(
    ({ relation: r }) => r.kind === "part" || r.kind === "picked" || (r.kind === "window" && r.size === 1),
  );

interface Demand {
  readonly box: Box;
  /** What reads it so; undefined for an output. */
  readonly by: Node | undefined;
}

export function liveBoxes(graph: Graph): Liveness {
  const types = typesOf(graph);
  const prepared = preparedValues(graph);
  const demands = new Map<ValueId, Demand[]>();
  const boxes = new Map<ValueId, readonly Box[]>();
  const stops: Stop[] = [];
  const rankOf = (id: ValueId) => types.get(id)!.shape.length;
  const want = (id: ValueId, demand: Demand) => {
    const known = demands.get(id);
    if (known) known.push(demand);
    else demands.set(id, [demand]);
  };
  for (const id of externalReads(graph)) want(id, { box: wholeBox(rankOf(id)), by: undefined });

  for (const node of [...graph.nodes].reverse()) {
    const wanted = node.results.filter((r) => demands.has(r.id));
    if (wanted.length === 0) continue;
    const whole = node.results.length > 1 || node.body !== undefined || prepared.has(node.results[0]!.id);
    if (whole) {
      for (const r of node.results) boxes.set(r.id, [wholeBox(r.type.shape.length)]);
      for (const x of node.inputs) if (x !== "") want(x, { box: wholeBox(rankOf(x)), by: node });
      continue;
    }
    const [result] = wanted;
    const ties = tiesOf(node, types);
    const asked = demands.get(result!.id)!;
    const made = boxesToMake(node, ties, asked);
    boxes.set(result!.id, made.boxes);
    if (made.reason !== undefined) stops.push({ node, reason: made.reason });
    for (const box of made.boxes)
      for (const [i, x] of node.inputs.entries()) {
        const needed = x === "" ? undefined : neededOf(ties, i, box, result!.type.shape, node.inputs);
        if (needed) want(x, { box: needed, by: node });
      }
  }
  // Inputs, weights and states are there anyway.
  for (const id of demands.keys()) if (!boxes.has(id)) boxes.set(id, [wholeBox(rankOf(id))]);
  return { boxes, stops };
}

function boxesToMake(
  node: Node,
  ties: readonly Tie[],
  asked: readonly Demand[],
): { readonly boxes: readonly Box[]; readonly reason?: string | undefined } {
  const { shape } = node.results[0]!.type;
  if (asked.every((d) => isWhole(d.box))) return { boxes: [wholeBox(shape.length)] };
  const merged = mergeBoxes(
    asked.map((d) => d.box),
    shape,
  );
  const able = merged.map((box) => computable(node, ties, box));
  const boxes = mergeBoxes(
    able.map((a) => a.box),
    shape,
  );
  const refused = able.find((a) => a.reason !== undefined);
  if (refused) return { boxes, reason: refused.reason };
  const narrow = asked.some((d) => !isWhole(d.box));
  const greedy = asked.find((d) => isWhole(d.box));
  const reason =
    narrow && greedy ? `${readerOf(greedy)} needs the whole result of ${node.op.name}` : undefined;
  return { boxes, reason };
}

/** `linear %12`. */
const readerOf = ({ by }: Demand): string => (by ? `${by.op.name} ${by.results[0]!.id}` : "an output");

/** The box, or a larger one where the op does not make just this one of parts of its inputs; and why not. */
function computable(
  node: Node,
  ties: readonly Tie[],
  box: Box,
): { readonly box: Box; readonly reason?: string } {
  let reason: string | undefined;
  const able = box.map((p, axis): Positions => {
    if (p === "all") return p;
    const fault = faultAlong(node, ties, axis, box);
    reason ??= fault;
    return fault === undefined ? p : "all";
  });
  if (reason === undefined) return { box };
  // An axis given up may have been what another one rested on.
  return { box: computable(node, ties, able).box, reason };
}

/** Relations through which parts of an axis come from parts of an input. */
const partial: ReadonlySet<AxisRelation["kind"]> = new Set([
  "same",
  "tail",
  "broadcast",
  "window",
  "part",
  "joined",
]);

/** Why a node does not make some positions of a result axis from parts of its inputs; undefined where it does. */
function faultAlong(node: Node, ties: readonly Tie[], axis: number, box: Box): string | undefined {
  const { name } = node.op;
  const tied = ties.filter(({ relation: r }) =>
    r.kind === "joined" ? r.axes.includes(axis) : "axis" in r && r.axis === axis,
  );
  if (tied.some((t) => !partial.has(t.relation.kind))) return `${name} mixes positions of the axis`;
  const picked = box[axis]!;
  if (isPicked(picked)) return faultOfPicking(name, ties, tied, axis, box);
  const p = asRange(picked, node.results[0]!.type.shape[axis]!);
  const toTheEnd = p.step === 1 && sameDim(endOf(p), node.results[0]!.type.shape[axis]!);
  if (tied.some((t) => t.relation.kind === "tail") && !toTheEnd)
    return `${name} counts positions from the end of the axis, and these are not the last ones`;
  const carriers = tied.filter((t) => t.relation.kind !== "broadcast");
  const moves = node.op.traits.includes("movement");
  if (!moves && namesSizeOf(node, axis)) return `${name} is told the size of the axis`;
  if (carriers.length === 0 && shapeAttr(node) === undefined) return `${name} makes the axis itself`;
  if (!moves && ties.some((t) => t.relation.kind === "other")) return `${name} moves values across the axis`;
  for (const { relation: r, size } of carriers) {
    if (r.kind === "joined") {
      const inner = r.axes.slice(1).every((a) => box[a] === "all");
      if (r.axes[0] !== axis || p.step !== 1 || !inner) return `${name} moves values across the axis`;
    }
    if (r.kind === "window" && windowed(r, p, size) === undefined)
      return `the windows of ${name} reach over the border, or are not in a row`;
  }
  const parted = carriers.some((t) => t.relation.kind === "part");
  return parted && !isAssembled(node, ties, box)
    ? `${name} takes these positions from several places`
    : undefined;
}

/** Why positions that differ from sample to sample are not made alone: each input must have samples and positions of its own. */
function faultOfPicking(name: string, ties: readonly Tie[], tied: readonly Tie[], axis: number, box: Box) {
  const carriers = tied.filter((t) => t.relation.kind !== "broadcast");
  if (carriers.some((t) => t.relation.kind !== "same"))
    return `${name} does not treat positions one by one, and which are wanted differs from sample to sample`;
  const sampled = (input: number) =>
    ties.some(
      (t) => t.input === input && t.axis === 0 && t.relation.kind === "same" && t.relation.axis === 0,
    );
  if (carriers.length === 0 || axis === 0 || box[0] !== "all" || !carriers.every((t) => sampled(t.input)))
    return `an input of ${name} is the same for all samples, and which positions are wanted is not`;
  return undefined;
}

/** Is what the box holds of a node just parts of its inputs, one behind the other? A slice, some of a concat, the inside of a pad. */
export function isAssembled(node: Node, ties: readonly Tie[], box: Box): boolean {
  if (ties.some((t) => t.relation.kind === "picked" && box[t.relation.axis] === "all")) return true;
  const byAxis = new Map<number, Tie[]>();
  for (const t of ties) {
    if (t.relation.kind !== "part") continue;
    const { axis } = t.relation;
    byAxis.set(axis, [...(byAxis.get(axis) ?? []), t]);
  }
  if (byAxis.size === 0) return false;
  // Several inputs that are wanted whole stay as they are.
  if (node.inputs.length > 1 && [...byAxis.keys()].every((axis) => box[axis] === "all")) return false;
  const { shape } = node.results[0]!.type;
  return [...byAxis].every(([axis, parts]) => {
    const p = box[axis]!;
    return !isPicked(p) && coversParts(parts, asRange(p, shape[axis]!));
  });
}

/** The attribute of a movement that is the shape of its result (reshape, broadcast_to). */
export function shapeAttr(node: Node): string | undefined {
  if (!node.op.traits.includes("movement")) return undefined;
  const rank = node.results[0]!.type.shape.length;
  const isShape = ([name, spec]: readonly [string, AttrSpec]) => {
    const value = node.attrs[name];
    return spec.kind === "dims" && Array.isArray(value) && value.length === rank;
  };
  return Object.entries(node.op.attrs).find(isShape)?.[0];
}

/** Is a size of the axis among the attributes? Of an op that names axes, only theirs are. */
function namesSizeOf(node: Node, axis: number): boolean {
  const sized = Object.entries(node.op.attrs).some(
    ([name, spec]) => name in node.attrs && (spec.kind === "dims" || spec.kind === "dim"),
  );
  const { axes } = node.attrs;
  const rank = node.results[0]!.type.shape.length;
  return sized && (!Array.isArray(axes) || axes.some((a) => a === axis || a === axis - rank));
}

/** Do the inputs that a result is put together of have all the positions of p, and is it known which has which? */
function coversParts(parts: readonly Tie[], p: Range): boolean {
  let covered = dim(0);
  for (const { relation, size } of parts) {
    const cut = relation.kind === "part" ? partOf(relation, p, size) : undefined;
    if (cut === undefined) return false;
    if (cut !== "none") covered = addDim(covered, countOf(cut, size));
  }
  return constantOf(subDim(covered, p.count)) === 0;
}

/** Positions of an input axis that a range of a result axis is cut out of; undefined where that depends on sizes. */
export function partOf(
  r: AxisRelation & { readonly kind: "part" },
  p: Range,
  size: Dim,
): Positions | "none" | undefined {
  const start = addDim(r.start, mulDim(dim(r.step), p.start));
  const step = r.step * p.step;
  const end = endOf({ start, step, count: p.count });
  if (isNonNegative(start) && isNonNegative(subDim(size, end))) return rangeOf(start, step, p.count, size);
  if (isNonNegative(subDim(start, size)) || isNonNegative(subDim(dim(0), end))) return "none";
  if (step !== 1) return undefined;
  const first = isNonNegative(start) ? start : isNonNegative(subDim(dim(0), start)) ? dim(0) : undefined;
  const last = isNonNegative(subDim(size, end)) ? end : isNonNegative(subDim(end, size)) ? size : undefined;
  return first && last ? rangeOf(first, 1, subDim(last, first), size) : undefined;
}

/** Positions that windows in a row read; undefined where some reach over the border, so that they are not all alike. */
export function windowed(
  r: AxisRelation & { readonly kind: "window" },
  p: Range,
  size: Dim,
): Positions | undefined {
  if (r.size === 1 && r.pad === 0)
    return rangeOf(mulDim(dim(r.stride), p.start), r.stride * p.step, p.count, size);
  const start = addDim(mulDim(dim(r.stride), p.start), dim(-r.pad));
  const reach = (r.size - 1) * r.dilation + 1;
  const last = addDim(start, mulDim(dim(r.stride * p.step), subDim(p.count, dim(1))));
  const inside = isNonNegative(start) && isNonNegative(subDim(size, addDim(last, dim(reach))));
  if (!inside || p.step !== 1) return undefined;
  return rangeOf(start, 1, addDim(subDim(last, start), dim(reach)), size);
}

/** What of an input is needed for a box of the result; undefined where nothing is. */
export function neededOf(
  ties: readonly Tie[],
  input: number,
  box: Box,
  shape: readonly Dim[],
  inputs: readonly ValueId[],
): Box | undefined {
  const needed = ties
    .filter((t) => t.input === input)
    .map(({ relation: r, size }) => neededAlong(r, size, box, shape, inputs));
  return needed.some((p) => p === "none") ? undefined : (needed as Box);
}

function neededAlong(
  r: AxisRelation,
  size: Dim,
  box: Box,
  shape: readonly Dim[],
  inputs: readonly ValueId[],
): Positions | "none" {
  if (r.kind === "same" || r.kind === "tail") return box[r.axis]!;
  if (r.kind === "picked")
    return box[r.axis] === "all" ? { by: inputs[r.by]!, batch: shape[0]!, count: shape[r.axis]! } : "all";
  const axis = r.kind === "joined" ? r.axes[0]! : "axis" in r ? r.axis : undefined;
  const p = axis === undefined ? "all" : box[axis]!;
  if (axis === undefined || isPicked(p)) return "all";
  const range = asRange(p, shape[axis]!);
  // All of a result that is put together needs all of its parts, and all of a slice just what is sliced.
  if (r.kind === "part") return partOf(r, range, size) ?? "all";
  if (r.kind === "window" && (p !== "all" || r.size === 1)) return windowed(r, range, size) ?? "all";
  if (r.kind === "joined" && p !== "all") {
    const inner = r.axes.slice(1).reduce((n, a) => mulDim(n, shape[a]!), dim(1));
    return rangeOf(mulDim(range.start, inner), 1, mulDim(range.count, inner), size);
  }
  return "all";
}
