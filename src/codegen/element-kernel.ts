// Kernels of groups without a reduction: each invocation computes one element, or four neighbours along the innermost axis.

import {
  addDim,
  ceilDiv,
  constantOf,
  dim,
  isMultipleOf,
  productDim,
  sameDim,
  symbolsOf,
  type Dim,
} from "../ir/dim.ts";
import { add, builtin, ge, lt, mul, sub, u32 } from "../ir/expr.ts";
import type { Region } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import { runsOnCores, type Target } from "../ir/target.ts";
import { orderOf, sameType, stridesOf, type TensorType } from "../ir/types.ts";
import type { GroupCode } from "./group.ts";
import {
  buildKernel,
  FOLD,
  foldedGrid,
  foldedIndex,
  type GroupKernel,
  type KernelShape,
} from "./kernel-of.ts";
import type { Bounds } from "./sizes.ts";
import { cut, placeOf, WORKGROUP } from "./rows.ts";
import { Walk, walkOf, type WalkFacts } from "./walk.ts";

/** `prepare` says how values that are no element work are had (`GroupCode.compute`). */
export function elementKernel(
  region: Region,
  target: Target,
  bounds: Bounds = {},
  prepare?: (code: GroupCode) => void,
): GroupKernel {
  const types = regionTypes(region);
  const result = types.get(region.results[0]!)!;
  const isWhole = isFlat(region, types, bounds);
  const walk = isWhole || !runsOnCores(target) ? undefined : walkOf(region, types, bounds);
  return buildKernel(region, bounds, (code) => {
    prepare?.(code);
    return isWhole ? flat(code, region, result) : byRows(code, region, result, target, walk);
  });
}

function regionTypes(region: Region): Map<string, TensorType> {
  const types = new Map(region.params.map((p) => [p.id, p.type]));
  for (const n of region.nodes) for (const r of n.results) types.set(r.id, r.type);
  return types;
}

/** Every value has the same shape and order, or one element, and none has gaps behind a live size: the axes do not matter. */
function isFlat(region: Region, types: ReadonlyMap<string, TensorType>, bounds: Bounds): boolean {
  const result = types.get(region.results[0]!)!;
  const live = (d: Dim) => [...symbolsOf(d)].some((s) => bounds[s]);
  if (orderOf(result).some((axis, i) => i > 0 && live(result.shape[axis]!))) return false;
  const scalar = (t: TensorType) => t.shape.every((d) => constantOf(d) === 1);
  return (
    result.shape.length > 0 &&
    region.nodes.every((n) => n.op.traits.includes("elementwise")) &&
    [...types.values()].every((t) => scalar(t) || sameType({ ...t, dtype: result.dtype }, result))
  );
}

function flat(code: GroupCode, region: Region, result: TensorType): KernelShape {
  const total = productDim(result.shape);
  const wide = isMultipleOf(total, 4);
  const items = wide ? ceilDiv(total, dim(4)) : total;
  const groups = ceilDiv(items, dim(WORKGROUP));
  const at = code.emitter.bind("item", add(mul(foldedIndex(code), u32(WORKGROUP)), builtin("local")));
  code.emitter.when(lt(at, code.sizes.of("items", items)), () => {
    // One counter over all axes, in memory order; the vector placeholder stands for the counter of the first of four.
    const counter = wide ? code.openVector(at) : at;
    const index = flatIndex(counter, result);
    region.results.forEach((id, i) => code.write(i, index, code.read(id, index)));
  });
  const [y, z] = foldedGrid(groups);
  return {
    workgroupSize: [WORKGROUP, 1, 1],
    subgroupSize: 0,
    grid: [dim(1), y, z],
    schedule: `elementwise, flat${wide ? ", by 4" : ""}, ${WORKGROUP} invocations`,
    why: `everything here has one shape and order, so that one counter goes over all axes${wide ? "; the count is a multiple of four" : "; four at once needs a count that is a multiple of four"}`,
  };
}

/**
 * In a flat kernel every tensor is read at the same offset: the counter stands at the innermost axis, zero elsewhere. An axis of size 1 is
 * none: ops that broadcast read it at 0.
 */
function flatIndex(counter: Expr, t: TensorType): readonly Expr[] {
  const order = orderOf(t);
  const inner = order.findLast((a) => constantOf(t.shape[a]!) !== 1) ?? order.at(-1)!;
  return t.shape.map((_, i) => (i === inner ? counter : u32(0)));
}

/**
 * Invocations along the innermost axis; rows over all others, whose index is the same for a workgroup. Where windows slide along an
 * axis, every invocation walks along it. Only on cores: there a few invocations keep all of them busy, and a read is dear. What it
 * gains on a GPU, which needs many invocations, is not measured.
 */
function byRows(
  code: GroupCode,
  region: Region,
  result: TensorType,
  target: Target,
  walk: WalkFacts | undefined,
): KernelShape {
  const order = orderOf(result);
  const inner = order.at(-1);
  const outer = order.slice(0, -1).filter((a) => a !== walk?.axis);
  const innerSize: Dim = inner === undefined ? dim(1) : result.shape[inner]!;
  const wide =
    inner !== undefined && isMultipleOf(innerSize, 4) && constantOf(stridesOf(result)[inner]!) === 1;
  const items = wide ? ceilDiv(innerSize, dim(4)) : innerSize;
  const { width, together } = walk ? { width: 16, together: 1 } : cut(items, target);
  const extents = outer.map((a) => result.shape[a]!);
  const rows = productDim(extents);
  const groups = ceilDiv(rows, dim(together));
  const [row, item] = placeOf(code, width, together);
  const known = constantOf(groups);
  // One row needs no guard, unless invocations for more of them stand in its workgroup.
  const isWhole = isMultipleOf(rows, together) && (sameDim(groups, dim(1)) || (known ?? Infinity) <= FOLD);
  const needRowGuard = !isWhole;
  const inside = lt(item, code.sizes.of("items", items));
  code.emitter.when(
    needRowGuard ? lt(row, code.sizes.of("rows", rows)) : { kind: "const", type: inside.type, value: true },
    () =>
      code.emitter.when(inside, () => {
        const parts = code.space.merge("row", row, extents);
        const counter = wide ? code.openVector(item) : item;
        const at = (along: Expr): readonly Expr[] =>
          result.shape.map((_, a) =>
            a === inner ? counter : a === walk?.axis ? along : parts[outer.indexOf(a)]!,
          );
        const store = (index: readonly Expr[]): void =>
          region.results.forEach((id, i) => code.write(i, index, code.read(id, index)));
        if (walk) walkAlong(code, walk, result.shape[walk.axis]!, at, store);
        else store(at(u32(0)));
      }),
  );
  const [y, z] = foldedGrid(groups);
  const several = together > 1 ? `, ${together} rows a workgroup` : "";
  const walked = walk ? `, windows slide along axis ${walk.axis}` : "";
  return {
    workgroupSize: [width * together, 1, 1],
    subgroupSize: 0,
    grid: [ceilDiv(items, dim(width)), y, z],
    schedule: `elementwise, by rows${wide ? ", by 4" : ""}, ${width} invocations along the row${several}${walked}`,
    why: `shapes or orders differ, so that rows are told apart; of the powers of two, ${width} invocations cover the row with fewest idle${together > 1 ? ", and short rows share a workgroup" : ""}${walk ? "; neighbouring windows share what they read, which stays in registers" : ""}`,
  };
}

/** All of the axis in one invocation. The number of turns is a parameter, or the driver would unroll the loop. */
function walkAlong(
  code: GroupCode,
  walk: WalkFacts,
  size: Dim,
  at: (along: Expr) => readonly Expr[],
  store: (index: readonly Expr[]) => void,
): void {
  const e = code.emitter;
  const lead = u32(walk.lead);
  e.loop("turn", u32(0), code.sizes.of("turns", addDim(size, dim(walk.lead))), u32(1), (turn) => {
    const index = at(e.bind("along", sub(turn, lead)));
    code.walk(new Walk(e, walk, index), () => e.whenTurn(ge(turn, lead), () => store(index)));
  });
}
