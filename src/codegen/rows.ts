// Where each invocation computes its own results: how rows are cut into workgroups.

import { constantOf, type Dim } from "../ir/dim.ts";
import { add, builtin, div, mod, mul, u32 } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import { runsOnCores, type Target } from "../ir/target.ts";
import type { GroupCode } from "./group.ts";
import { foldedIndex } from "./kernel-of.ts";

export const WORKGROUP = 64;

/** The row and the item of this invocation. Where a row has the workgroup to itself, the row's index is uniform. */
export function placeOf(code: GroupCode, width: number, together: number): readonly [row: Expr, item: Expr] {
  const group = foldedIndex(code);
  const local = builtin("local");
  const [row, lane] =
    together === 1
      ? [group, local]
      : [
          code.emitter.bind("row", add(mul(group, u32(together)), div(local, u32(width)))),
          mod(local, u32(width)),
        ];
  return [row, code.emitter.bind("item", add(mul(builtin("workgroup_x"), u32(width)), lane))];
}

/**
 * How many invocations a row has, a power of two near the number of items where that is known, so that few idle; and how many rows
 * share a workgroup, so that it is not small. Where one core runs a workgroup 16 are enough, and the same number for all longer rows, so
 * that layers of any width share a kernel.
 */
export function cut(items: Dim, target: Target): { readonly width: number; readonly together: number } {
  const most = runsOnCores(target) ? 16 : WORKGROUP;
  const known = constantOf(items);
  if (known === undefined) return { width: most, together: 1 };
  let width = 1;
  while (width < most && width < known) width *= 2;
  return { width, together: most / width };
}
