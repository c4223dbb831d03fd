// Some dispatches of a plan as a plan of their own, for the sizes of one run: what they read and do not write becomes inputs, what they
// write, outputs. Pure; knows plans. (`extract.ts` takes one dispatch out for the reader, with names of its own; this is for measuring.)

import { Bug } from "../support/bug.ts";
import type { DimEnv } from "../ir/dim.ts";
import { extentsId, type Plan, type PlanConstant, type PlanEntry, type PlanTensor } from "../ir/plan.ts";
import { dimReader } from "./memory.ts";

const ALIGNMENT = 256;

export interface Isolated {
  readonly plan: Plan;
  /** Where its constants were, in its order. */
  readonly constants: readonly PlanConstant[];
  /** Value ids that it wants as inputs, and gives. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

export function isolatedPlan(
  plan: Plan,
  entry: PlanEntry,
  indices: readonly number[],
  dims: DimEnv,
): Isolated {
  const size = dimReader(entry, dims);
  const number = (text: string): string => String(size(text));
  const known = new Map([...entry.inputs, ...entry.states, ...entry.values].map((t) => [t.id, t]));
  const tensor = (id: string): PlanTensor => {
    const t = known.get(id);
    if (!t) throw new Bug(`a dispatch binds ${id}, which the plan does not describe`);
    const { dtype, shape, axes, order } = t;
    return { id, dtype, shape: shape.map(number), axes, ...(order && { order }) };
  };
  const dispatches = indices.map((i) => entry.dispatches[i]!);
  const numbers = [...new Set(dispatches.map((d) => d.kernel))];
  const ids = new Set(dispatches.flatMap((d) => d.buffers));
  ids.delete(extentsId);
  const written = new Set(
    dispatches.flatMap((d) =>
      d.buffers.filter((_, i) => plan.kernels[d.kernel]!.buffers[i]!.access !== "read"),
    ),
  );
  const from = plan.constants.filter((c) => ids.has(c.id));
  const constants = packed(from);
  const reads = [...ids].filter((id) => !written.has(id) && !from.some((c) => c.id === id));
  const writes = [...ids].filter((id) => written.has(id));
  const symbols = entry.symbols.flatMap((s) =>
    s.kind === "bounded" ? [{ ...s, bound: number(s.bound), live: dims[s.name] ?? size(s.bound) }] : [],
  );
  const own: PlanEntry = {
    ...{ name: "isolated", symbols, states: [], values: writes.map(tensor) },
    ...(entry.extents !== undefined && { extents: entry.extents }),
    inputs: reads.map((id) => ({ ...tensor(id), name: id })),
    outputs: writes.map((id) => ({ name: id, value: id, tensor: tensor(id) })),
    dispatches: dispatches.map((d) => ({
      ...d,
      kernel: numbers.indexOf(d.kernel),
      params: d.params.map((text, i) =>
        plan.kernels[d.kernel]!.params[i]?.live ? text : String(size(text)),
      ),
      grid: [number(d.grid[0]), number(d.grid[1]), number(d.grid[2])],
      flops: number(d.flops),
      bytes: number(d.bytes),
    })),
  };
  return {
    plan: { ...plan, constants, kernels: numbers.map((k) => plan.kernels[k]!), entries: [own] },
    ...{ constants: from, reads, writes },
  };
}

function packed(constants: readonly PlanConstant[]): readonly PlanConstant[] {
  let offset = 0;
  return constants.map((c) => {
    const moved = { ...c, offset };
    offset += Math.ceil(c.bytes / ALIGNMENT) * ALIGNMENT;
    return moved;
  });
}

/** The bytes of its constants, out of those of the whole plan. */
export function isolatedBytes({ plan, constants }: Isolated, all: Uint8Array): Uint8Array<ArrayBuffer> {
  const last = plan.constants.at(-1);
  const out = new Uint8Array(last ? last.offset + last.bytes : 0);
  plan.constants.forEach((c, i) => {
    const { offset, bytes } = constants[i]!;
    out.set(all.subarray(offset, offset + bytes), c.offset);
  });
  return out;
}
