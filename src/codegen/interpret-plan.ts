// Runs a whole plan on the kernel interpreter, which throws on every stray access and every race. Memory that nothing has written holds
// numbers that cannot be mistaken for results.

import { interpret, type KernelBuffer } from "./interpret.ts";
import { evaluateDim, type DimEnv } from "../ir/dim.ts";
import { parseDim } from "../ir/dim-parse.ts";
import { decodeTensor, encodeTensor } from "../ir/encode.ts";
import type { Kernel } from "../ir/kernel.ts";
import { extentsId, type Plan, type PlanDispatch, type PlanTensor } from "../ir/plan.ts";
import { liveDispatches } from "../ir/plan-live.ts";
import { elementCount, type Tensor } from "../ir/tensor.ts";
import { bytesOf, isPacked, type DType } from "../ir/types.ts";
import { Bug } from "../support/bug.ts";

const arrays = {
  f32: Float32Array,
  f16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint32Array,
  i8: Uint32Array,
  i4: Uint32Array,
} as const satisfies Record<DType, unknown>;

/** What unwritten memory holds: NaN, or a number far from all others. */
const poison: Readonly<Record<DType, number>> = {
  f32: NaN,
  f16: 0x7e00,
  i32: -987_654_321,
  u32: 987_654_321,
  bool: 987_654_321,
  i8: 987_654_321,
  i4: 987_654_321,
};

export interface PlanResults {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly states: Readonly<Record<string, Tensor>>;
}

export interface PlanRunOptions {
  /** Entry point; default the first. */
  readonly entry?: string | undefined;
  readonly states?: Readonly<Record<string, Tensor>>;
  /** Sees the values each dispatch has written. */
  observe?(kernel: string, id: string, value: Tensor): void;
  /** Sees the workgroups of each dispatch. */
  dispatched?(kernel: string, workgroups: readonly [number, number, number]): void;
}

/** A plan with its kernels before they were WGSL, in the same order. */
export interface Interpretable {
  readonly plan: Plan;
  readonly kernels: readonly Kernel[];
}

/** Of a dispatch that takes its grid from the extents, what a kernel has written there. */
function gridOf(d: PlanDispatch, most: readonly number[], extents: Uint32Array): [number, number, number] {
  const grid = d.indirect === undefined ? most : [...extents.subarray(d.indirect, d.indirect + 3)];
  if (grid.some((n, i) => n > most[i]!))
    throw new Bug(
      `a kernel says that a grid is ${grid.join(" x ")}, more than its bound ${most.join(" x ")}`,
    );
  return grid as [number, number, number];
}

/** `dims` has every size that inputs and `--dim` give. */
export function interpretPlan(
  { plan, kernels }: Interpretable,
  constants: Uint8Array<ArrayBuffer>,
  inputs: Readonly<Record<string, Tensor>>,
  dims: DimEnv,
  options: PlanRunOptions = {},
): PlanResults {
  const entry = plan.entries.find((e) => e.name === options.entry) ?? plan.entries[0]!;
  // Memory is laid out for bounds; what kernels have set is the size of what is read afterwards.
  const env: Record<string, number> = { ...dims };
  const size = (text: string): number => evaluateDim(parseDim(text)!, env);
  const bounded = entry.symbols.filter((s) => s.kind === "bounded");
  for (const s of bounded) env[s.name] = size(s.bound);
  const extents = new Uint32Array(entry.extents ?? bounded.length);
  for (const s of bounded) extents[s.slot] = s.live ?? env[s.name]!;
  for (const d of entry.dispatches) if (d.indirect !== undefined) extents.set(d.grid.map(size), d.indirect);
  const memory = new Map<string, KernelBuffer>([[extentsId, extents]]);
  const described = new Map<string, PlanTensor>();
  const put = (t: PlanTensor, buffer: KernelBuffer): void => {
    memory.set(t.id, buffer);
    described.set(t.id, t);
  };
  const shapeOf = (t: PlanTensor): number[] => t.shape.map(size);
  const slotsOf = (t: PlanTensor): number => {
    const count = elementCount(shapeOf(t));
    return isPacked(t.dtype) ? Math.ceil((count * bytesOf[t.dtype]) / 4) : count;
  };
  const view = (bytes: Uint8Array<ArrayBuffer>, t: PlanTensor): KernelBuffer =>
    new arrays[t.dtype](bytes.buffer, bytes.byteOffset, slotsOf(t));

  for (const c of plan.constants) put(c, view(constants.slice(c.offset, c.offset + c.bytes), c));
  for (const input of entry.inputs)
    put(input, view(encodeTensor(inputs[input.name]!, input.dtype, input.order), input));
  for (const state of entry.states) {
    const initial = new arrays[state.dtype](elementCount(shapeOf(state))).fill(state.initial);
    const given = options.states?.[state.name];
    put(state, given ? view(encodeTensor(given, state.dtype, state.order), state) : initial);
  }
  for (const v of entry.values) put(v, new arrays[v.dtype](elementCount(shapeOf(v))).fill(poison[v.dtype]));

  const read = (id: string): Tensor => {
    const t = described.get(id)!;
    const data = memory.get(id)!;
    const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer;
    return decodeTensor(bytes, t.dtype, shapeOf(t), t.order);
  };

  const live = liveDispatches(plan, entry, size);
  for (const [at, d] of entry.dispatches.entries()) {
    if (!live[at]) continue;
    const kernel = kernels[d.kernel]!;
    const valueOf = (text: string, isLive: boolean): number =>
      isLive ? extents[bounded.find((s) => s.name === text)!.slot]! : size(text);
    const workgroups = gridOf(d, d.grid.map(size), extents);
    options.dispatched?.(kernel.name, workgroups);
    interpret(kernel, {
      workgroups,
      params: Object.fromEntries(kernel.params.map((p, i) => [p.name, valueOf(d.params[i]!, p.live)])),
      buffers: Object.fromEntries(kernel.buffers.map((b, i) => [b.name, memory.get(d.buffers[i]!)!])),
    });
    kernel.buffers.forEach((b, i) => {
      if (b.access !== "read" && described.has(d.buffers[i]!))
        options.observe?.(kernel.name, d.buffers[i]!, read(d.buffers[i]!));
    });
  }
  for (const s of bounded) env[s.name] = extents[s.slot]!;
  return {
    outputs: Object.fromEntries(entry.outputs.map((o) => [o.name, read(o.value)])),
    states: Object.fromEntries(entry.states.map((s) => [s.name, read(s.next)])),
  };
}
