// Which dispatches have work to do at the sizes of a run. Where nothing comes in (no tokens), kernels whose grids are planned for the
// bound of what an earlier one would have counted still have a grid: but nobody reads what they write.

import { parseDim } from "./dim-parse.ts";
import { symbolsOf } from "./dim.ts";
import { extentsId, type Plan, type PlanEntry } from "./plan.ts";

/** One for each dispatch: false where its grid is empty, or where no result comes from what it writes. */
export function liveDispatches(
  plan: Pick<Plan, "kernels">,
  entry: PlanEntry,
  size: (text: string) => number,
): readonly boolean[] {
  const isEmpty = (shape: readonly string[]): boolean => shape.some((d) => size(d) === 0);
  const bounded = new Set(entry.symbols.flatMap((s) => (s.kind === "bounded" ? [s.name] : [])));
  const isBounded = (d: string): boolean => [...symbolsOf(parseDim(d)!)].some((name) => bounded.has(name));
  const wanted = new Set<string>();
  for (const o of entry.outputs) {
    if (isEmpty(o.tensor.shape)) continue;
    wanted.add(o.value);
    // How large it is, is part of the result.
    if (o.tensor.shape.some(isBounded)) wanted.add(extentsId);
  }
  const states = new Set(entry.states.map((s) => s.id));
  for (const s of entry.states) if (!isEmpty(s.shape)) wanted.add(s.next);
  const live = entry.dispatches.map(() => false);
  for (let i = entry.dispatches.length - 1; i >= 0; i--) {
    const d = entry.dispatches[i]!;
    const kernel = plan.kernels[d.kernel]!;
    const writes = d.buffers.filter((_, j) => kernel.buffers[j]!.access !== "read");
    if (d.grid.some((n) => size(n) === 0) || !writes.some((id) => wanted.has(id) || states.has(id))) continue;
    live[i] = true;
    // What it writes stays wanted: it may be one of several that write it.
    d.buffers.forEach((id, j) => void (kernel.buffers[j]!.access !== "write" && wanted.add(id)));
    if (kernel.extents !== undefined) wanted.add(extentsId);
  }
  return live;
}
