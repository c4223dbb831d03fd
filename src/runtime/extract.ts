// One dispatch of a plan as a plan of its own: what it reads becomes inputs, what it writes outputs, sizes become the numbers of one
// recorded run. Pure; knows plans.

import { Bug } from "../support/bug.ts";
import { dim, showDim, substituteDim, type DimEnv } from "../ir/dim.ts";
import {
  extentsId,
  type Plan,
  type PlanConstant,
  type PlanDispatch,
  type PlanEntry,
  type PlanKernel,
  type PlanTensor,
} from "../ir/plan.ts";
import { dimOf, dimReader, type DimReader } from "./memory.ts";

export interface DispatchPlace {
  readonly entry: PlanEntry;
  readonly dispatch: PlanDispatch;
  readonly index: number;
  readonly kernel: PlanKernel;
}

/** The first dispatch of a kernel in an entry point; undefined where the entry point does not use it. */
export function firstDispatch(plan: Plan, entry: PlanEntry, kernel: number): DispatchPlace | undefined {
  const index = entry.dispatches.findIndex((d) => d.kernel === kernel);
  const dispatch = entry.dispatches[index];
  return dispatch && { entry, dispatch, index, kernel: plan.kernels[kernel]! };
}

/**
 * The entry point up to a dispatch, with all that this reads and writes as outputs, named by their value ids. What it reads is taken whole,
 * up to the bounds of bounded symbols: that is how the values lie in memory.
 */
export function recordingPlan(plan: Plan, at: DispatchPlace): Plan {
  const { entry, dispatch, index } = at;
  const bounds = new Map(
    entry.symbols.flatMap((s) => (s.kind === "bounded" ? [[s.name, s.bound] as const] : [])),
  );
  const whole = (text: string): string =>
    [...bounds].reduce((t, [name, bound]) => t.replace(new RegExp(`\\b${name}\\b`, "g"), `(${bound})`), text);
  const known = new Map([...entry.values, ...entry.states].map((t) => [t.id, t]));
  const reads = new Set(dispatch.buffers.filter((_, i) => at.kernel.buffers[i]!.access !== "write"));
  const outputs = [...new Set(dispatch.buffers)].flatMap((id) => {
    const t = known.get(id);
    return t
      ? [{ name: id, value: id, tensor: reads.has(id) ? { ...t, shape: t.shape.map(whole) } : t }]
      : [];
  });
  const states = entry.states.map((s) => ({ ...s, next: s.id }));
  const recorded = { ...entry, outputs, states, dispatches: entry.dispatches.slice(0, index + 1) };
  return { ...plan, entries: [recorded] };
}

export interface Extracted {
  readonly plan: Plan;
  /** Value id of each input and output, by its name. */
  readonly values: Readonly<Record<string, string>>;
  /** Where the constants of the new plan were in the old one, in its order. */
  readonly constants: readonly PlanConstant[];
}

const ALIGNMENT = 256;

/** The dispatch as a plan for the sizes of the recorded run, live values of bounded symbols among them. */
export function extractedPlan(plan: Plan, at: DispatchPlace, dims: DimEnv): Extracted {
  const { entry, dispatch, kernel } = at;
  const size = dimReader(entry, dims);
  const fixed = (text: string): string => String(size(text));
  const known = Object.fromEntries(
    entry.symbols.flatMap((s) => (s.kind === "bound" ? [[s.name, dim(size(s.name))]] : [])),
  );
  /** Bounded symbols stay, so that outputs are cut to what is live. */
  const cut = (text: string): string => showDim(substituteDim(dimOf(text), known));
  const constants = plan.constants.filter((c) => dispatch.buffers.includes(c.id));
  const tensors = new Map([...entry.inputs, ...entry.states, ...entry.values].map((t) => [t.id, t]));
  const values: Record<string, string> = {};
  const inputs: PlanEntry["inputs"][number][] = [];
  const outputs: PlanEntry["outputs"][number][] = [];
  const written: PlanTensor[] = [];
  kernel.buffers.forEach((b, i) => {
    const id = dispatch.buffers[i]!;
    if (id === extentsId || constants.some((c) => c.id === id)) return;
    const found = tensors.get(id);
    if (!found) throw new Bug(`dispatch ${at.index} binds ${id}, which the plan does not describe`);
    const { dtype, axes, order } = found;
    const of = (sizes: (text: string) => string): PlanTensor => ({
      ...{ id, dtype, shape: found.shape.map(sizes), axes },
      ...(order && { order }),
    });
    values[b.name] = id;
    if (b.access === "read" || b.access === "read_write") {
      if (!inputs.some((x) => x.id === id)) inputs.push({ ...of(fixed), name: b.name });
    } else written.push(of(fixed));
    if (b.access !== "read") outputs.push({ name: b.name, value: id, tensor: of(cut) });
  });
  const symbols = entry.symbols.flatMap((s) =>
    s.kind === "bounded" ? [{ ...s, bound: fixed(s.bound), live: dims[s.name] ?? size(s.bound) }] : [],
  );
  return {
    plan: {
      ...plan,
      model: `${kernel.name} of ${plan.model}`,
      constants: packed(constants),
      kernels: [kernel],
      entries: [
        {
          ...{ name: kernel.name, symbols, inputs, outputs, states: [], values: written },
          ...(entry.extents !== undefined && { extents: entry.extents }),
          dispatches: [fixedDispatch(dispatch, kernel, size)],
        },
      ],
    },
    values,
    constants,
  };
}

function fixedDispatch(d: PlanDispatch, kernel: PlanKernel, size: DimReader): PlanDispatch {
  const number = (text: string): string => String(size(text));
  const [x, y, z] = d.grid;
  return {
    ...d,
    kernel: 0,
    params: d.params.map((text, i) => (kernel.params[i]?.live ? text : number(text))),
    grid: [number(x), number(y), number(z)],
    flops: number(d.flops),
    bytes: number(d.bytes),
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

/** The bytes of the constants of an extracted plan, out of those of the whole. */
export function extractedBytes(extracted: Extracted, all: Uint8Array): Uint8Array<ArrayBuffer> {
  const { constants } = extracted.plan;
  const last = constants.at(-1);
  const out = new Uint8Array(last ? last.offset + last.bytes : 0);
  constants.forEach((c, i) => {
    const { offset, bytes } = extracted.constants[i]!;
    out.set(all.subarray(offset, offset + bytes), c.offset);
  });
  return out;
}
