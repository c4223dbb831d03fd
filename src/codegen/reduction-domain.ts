// What the reductions of a group run over, and how they wait for each other: what the two forms of reduction kernels (row-kernel.ts,
// column-kernel.ts) and their schedules share. All reductions of a group have one domain: the fusion pass sees to it.

import { Bug } from "../support/bug.ts";
import {
  ceilDiv,
  constantOf,
  dim,
  isMultipleOf,
  productDim,
  sameDim,
  symbolsOf,
  type Dim,
} from "../ir/dim.ts";
import { binary, cast, constant, u32 } from "../ir/expr.ts";
import type { Node, Region, ValueId } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { Reducer } from "../ir/op.ts";
import { orderOf, sameShape, sameType, stridesOf, type TensorType } from "../ir/types.ts";
import { computedIn, type GroupCode } from "./group.ts";
import type { Bounds } from "./sizes.ts";

export interface Domain {
  /** The shape reduced over, with its memory order. */
  readonly type: TensorType;
  /** Axes, outermost in memory first. */
  readonly reduced: readonly number[];
  readonly kept: readonly number[];
  /** The innermost in memory is reduced: what is summed lies together. */
  readonly isRows: boolean;
}

export function domainOf(region: Region): Domain {
  const [first] = reductions(region);
  if (!first || first.op.lowering.kind !== "reduce") throw new Bug("a reduction group without a reduction");
  const type = typesIn(region).get(first.inputs[0]!)!;
  const axes = first.op.lowering.axes(type, first.attrs);
  const order = orderOf(type);
  const reduced = order.filter((a) => axes.includes(a));
  const kept = order.filter((a) => !axes.includes(a));
  return { type, reduced, kept, isRows: reduced.includes(order.at(-1)!) };
}

export function typesIn(region: Region): ReadonlyMap<ValueId, TensorType> {
  const types = new Map(region.params.map((p) => [p.id, p.type]));
  for (const n of region.nodes) for (const r of n.results) types.set(r.id, r.type);
  return types;
}

const isReduction = (n: Node): boolean => n.op.lowering.kind === "reduce";

export function reductions(region: Region): readonly Node[] {
  return region.nodes.filter(isReduction);
}

/** Reductions that wait for no other of their list, after those that they wait for: one sweep for each list. */
export function levelsOf(region: Region): readonly (readonly Node[])[] {
  const level = new Map<ValueId, number>();
  const found: Node[][] = [];
  for (const n of region.nodes) {
    const before = Math.max(0, ...n.inputs.map((x) => level.get(x) ?? 0));
    const own = isReduction(n) ? before + 1 : before;
    for (const r of n.results) level.set(r.id, own);
    if (isReduction(n)) (found[before] ??= []).push(n);
  }
  return found.map((l) => l ?? []);
}

export const rowCount = (d: Domain): Dim => productDim(d.kept.map((a) => d.type.shape[a]!));
export const rowLength = (d: Domain): Dim => productDim(d.reduced.map((a) => d.type.shape[a]!));

/** Is this value of the whole domain, or one per row? */
export function isWhole(type: TensorType, domain: Domain): boolean {
  return sameShape(type.shape, domain.type.shape);
}

/** Index of a per-row value: reduced axes are gone, or of size one. */
export function rowIndex(type: TensorType, domain: Domain, index: readonly Expr[]): readonly Expr[] {
  const { reduced } = domain;
  if (type.shape.length === domain.type.shape.length)
    return index.map((e, i) => (reduced.includes(i) ? u32(0) : e));
  return index.filter((_, i) => !reduced.includes(i));
}

// ---- reducing ---------------------------------------------------------------------------------------------------------

const identity: Readonly<Record<Reducer, number>> = {
  sum: 0,
  max: -3.4028234663852886e38,
  min: 3.4028234663852886e38,
};

export function combine(reducer: Reducer, a: Expr, b: Expr): Expr {
  return binary(reducer === "sum" ? "add" : reducer, a, b);
}

export function initial(reducer: Reducer, type: TensorType): Expr {
  const t = computedIn(type.dtype);
  if (t.scalar === "f32") return constant(identity[reducer], t);
  const low = t.scalar === "u32" ? 0 : -0x80000000;
  const high = t.scalar === "u32" ? 0xffffffff : 0x7fffffff;
  return constant(reducer === "sum" ? 0 : reducer === "max" ? low : high, t);
}

export function reducerOf(node: Node): { reducer: Reducer; element: (e: Expr) => Expr } {
  const { lowering } = node.op;
  if (lowering.kind !== "reduce") throw new Bug(`${node.op.name} is no reduction`);
  return { reducer: lowering.reducer, element: lowering.element ?? ((e) => e) };
}

export function finishReduction(code: GroupCode, node: Node, domain: Domain, total: Expr): Expr {
  const { lowering } = node.op;
  if (lowering.kind !== "reduce") throw new Bug(`${node.op.name} is no reduction`);
  if (!lowering.finish) return total;
  return lowering.finish(total, cast(code.sizes.of("count", rowLength(domain)), "f32"));
}

// ---- reading ----------------------------------------------------------------------------------------------------------

/** How the elements of a row are counted. */
export interface RowReads {
  /** Four at once are neighbours in memory. */
  readonly wide: boolean;
  /** The reduced axes lie one inside the other, and nothing needs them apart: one counter over all of them. */
  readonly isRun: boolean;
}

/** Four neighbours of the counter are neighbours in memory where the innermost axis is a multiple of four; of a run, where its length is. */
export function rowReads(region: Region, domain: Domain, bounds: Bounds): RowReads {
  const { type, reduced } = domain;
  const strides = stridesOf(type);
  const inner = reduced.at(-1)!;
  const isLive = (d: Dim): boolean => [...symbolsOf(d)].some((s) => bounds[s]);
  const chained = reduced.every((a, i) => {
    const next = reduced[i + 1];
    if (next === undefined) return true;
    return (
      !isLive(type.shape[next]!) && sameDim(strides[a]!, productDim([strides[next]!, type.shape[next]!]))
    );
  });
  const isRun = chained && onlyWholeReads(region, type);
  const wide =
    constantOf(strides[inner]!) === 1 && isMultipleOf(isRun ? rowLength(domain) : type.shape[inner]!, 4);
  return { wide, isRun };
}

/** Elements of a row, or fours of them. */
export function itemsOf(domain: Domain, width: number): Dim {
  const length = rowLength(domain);
  return width === 4 ? ceilDiv(length, dim(4)) : length;
}

const isScalar = (t: TensorType): boolean => t.shape.every((d) => constantOf(d) === 1);

/**
 * Is every value of the body of this very shape and order, or one per row at most? Then the axes of a sweep need not be told apart: one
 * counter over all of them is an address.
 */
function onlyWholeReads(region: Region, domain: TensorType): boolean {
  const perRow = (t: TensorType): boolean =>
    t.shape.length === domain.shape.length &&
    t.shape.every((d, i) => constantOf(d) === 1 || (i === 0 && sameDim(d, domain.shape[0]!)));
  const isNumber = (n: Node): boolean => n.inputs.length === 0 && isScalar(n.results[0]!.type);
  return (
    region.nodes.every((n) => n.op.traits.includes("elementwise") || isReduction(n) || isNumber(n)) &&
    region.params.every(
      ({ type: t }) => isScalar(t) || perRow(t) || sameType({ ...t, dtype: domain.dtype }, domain),
    )
  );
}

/** Parameters of the whole domain, and whether each is only ever read at the index of the sweep: then what was read of it can be kept. */
export function wholeParams(
  region: Region,
  domain: Domain,
): readonly { readonly id: ValueId; readonly type: TensorType; readonly isAligned: boolean }[] {
  // Backwards: a value is aligned where all that read it are elementwise on the domain, and aligned themselves, or reductions.
  const astray = new Set<ValueId>();
  for (const n of [...region.nodes].reverse()) {
    const result = n.results[0]!;
    const passes =
      isReduction(n) ||
      (n.op.traits.includes("elementwise") && isWhole(result.type, domain) && !astray.has(result.id));
    if (!passes) for (const x of n.inputs) astray.add(x);
  }
  return region.params
    .filter((p) => isWhole(p.type, domain))
    .map((p) => ({ ...p, isAligned: !astray.has(p.id) && p.type.dtype !== "bool" }));
}
