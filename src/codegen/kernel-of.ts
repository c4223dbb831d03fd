// What every kernel builder returns, and what they share: workgroup grids folded under the per-dimension limit, and the second try
// with the load widths that the first one found, where it needs one.

import { ceilDiv, dim, minDim, type Dim } from "../ir/dim.ts";
import { add, builtin, mul, u32 } from "../ir/expr.ts";
import type { Region, Value, ValueId } from "../ir/graph.ts";
import type { Expr, Kernel } from "../ir/kernel.ts";
import { GroupCode } from "./group.ts";
import type { Bounds, LiveWrites } from "./sizes.ts";

export interface GroupKernel {
  /** Without name and locations, which the caller knows. */
  readonly kernel: Kernel;
  /** One per kernel parameter. */
  readonly params: readonly Dim[];
  readonly grid: readonly [Dim, Dim, Dim];
  /** The grid is that of the live sizes, read from a buffer, where one kernel sets them. */
  readonly liveGrid: boolean;
  /** How it runs, for the reader: `contraction, subgroup 16x8, K by 4`. */
  readonly schedule: string;
  /** Why so, for the reader. */
  readonly why: string;
}

/** One dispatch of a group: its kernel, and the values that its buffers are, inputs before results. */
export interface GroupStep {
  /** Where a group has several: added to its name. */
  readonly name?: string;
  readonly kernel: GroupKernel;
  readonly inputs: readonly ValueId[];
  readonly results: readonly ValueId[];
  /** Results of this step that the graph does not know: only a later step of the group reads them. */
  readonly scratch: readonly Value[];
  /** Its last buffer is the live extents, which it writes. */
  readonly setsLive?: boolean;
}

export interface KernelShape {
  readonly workgroupSize: readonly [number, number, number];
  readonly subgroupSize: number;
  readonly grid: readonly [Dim, Dim, Dim];
  readonly liveGrid?: boolean;
  readonly schedule: string;
  readonly why: string;
}

/**
 * `live`: in a kernel that writes live extents. Widths of loads are known only when the body has been written once, so it is written
 * again where one of them was not what the rest of the body had taken it for.
 */
export function buildKernel(
  region: Region,
  bounds: Bounds,
  write: (code: GroupCode) => KernelShape,
  names: ReadonlyMap<ValueId, string> = new Map(),
  live?: LiveWrites,
): GroupKernel {
  let code = new GroupCode(region, bounds, new Set(), names, live);
  let shape = write(code);
  if (code.isMistaken) {
    code = new GroupCode(region, bounds, code.wideSeen, names, live);
    shape = write(code);
  }
  const body = code.emitter.finish();
  return {
    kernel: {
      name: "",
      params: code.sizes.declarations,
      buffers: code.buffers(),
      shared: code.emitter.shared,
      workgroupSize: shape.workgroupSize,
      subgroupSize: shape.subgroupSize,
      body,
      notes: [shape.schedule],
      locations: [],
    },
    params: code.sizes.values,
    grid: shape.grid,
    liveGrid: shape.liveGrid ?? false,
    schedule: shape.schedule,
    why: shape.why,
  };
}

/** The step of a group, or of a part of one, that a kernel does. */
export function stepOf(region: Region, kernel: GroupKernel): GroupStep {
  return { kernel, inputs: region.params.map((p) => p.id), results: region.results, scratch: [] };
}

/** Workgroups in y before z is used; below the limit of 65,535 and a power of two. */
export const FOLD = 32768;

/** A count of workgroups over y and z. */
export function foldedGrid(count: Dim): readonly [Dim, Dim] {
  return [minDim(count, dim(FOLD)), ceilDiv(count, dim(FOLD))];
}

/** Which of them this is; may run past the count in the last z. */
export function foldedIndex(code: GroupCode): Expr {
  return code.emitter.bind("row", add(mul(builtin("workgroup_z"), u32(FOLD)), builtin("workgroup_y")));
}
