// An entry point at the sizes of one run: where every value lies, the uniform block of every dispatch, its bind group and its grid.
// Made once for each set of sizes, then run any number of times.

import { Bug } from "../support/bug.ts";
import { showLocation } from "../support/source.ts";
import type { DimEnv } from "../ir/dim.ts";
import {
  extentsId,
  type Plan,
  type PlanDispatch,
  type PlanEntry,
  type PlanKernel,
  type PlanTensor,
} from "../ir/plan.ts";
import { liveDispatches } from "../ir/plan-live.ts";
import { bindingBytes, tooLarge, usage, type Buffers, type Place } from "./buffers.ts";
import { atPeak, dimReader, planMemory, tensorBytes, type DimReader, type MemoryPlan } from "./memory.ts";
import type { Pipeline } from "./pipelines.ts";
import { showBytes } from "./sizes.ts";

export interface Step {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  /** Where a kernel writes the grid; `grid` is the largest that it can be. */
  readonly indirect?: { readonly buffer: GPUBuffer; readonly offset: number };
  /** Nothing to do at these sizes. */
  readonly empty: boolean;
}

export interface Bound {
  readonly entry: PlanEntry;
  readonly dims: DimEnv;
  readonly size: DimReader;
  readonly memory: MemoryPlan;
  readonly steps: readonly Step[];
  readonly uniforms: GPUBuffer;
  /** Buffer, offset and size of any value of the entry. */
  place(id: string): Place;
  /** Ran once under error scopes, so that later runs need none. */
  proven: boolean;
}

/** What the sizes of a run do not change. */
export interface Surroundings {
  readonly device: GPUDevice;
  readonly plan: Plan;
  readonly pipelines: readonly Pipeline[];
  readonly buffers: Buffers;
  readonly constants: ReadonlyMap<string, Place>;
  readonly extents: GPUBuffer | undefined;
  state(name: string): Place;
}

/** `regrown` is called when a buffer was replaced by a larger one: whatever was bound before is void. */
export async function bindEntry(
  s: Surroundings,
  entry: PlanEntry,
  dims: DimEnv,
  regrown: () => void,
): Promise<Bound> {
  const size = dimReader(entry, dims);
  const memory = planMemory(entry, size, alignmentOf(s.device));
  checkSizes(s, entry, size, memory);
  const grow = (name: string, bytes: number, flags: number): GPUBuffer => {
    const { buffer, changed } = s.buffers.grow(name, bytes, flags);
    if (changed) regrown();
    return buffer;
  };
  const storage = usage.STORAGE | usage.COPY_SRC | usage.COPY_DST;
  const arena = grow("the intermediate values", memory.bytes, storage);
  const places = new Map<string, Place>();
  for (const l of memory.lifetimes)
    places.set(l.id, { buffer: arena, offset: memory.offsets.get(l.id)!, size: bindingBytes(l.bytes) });
  for (const i of entry.inputs) {
    const bytes = tensorBytes(i, size);
    const buffer = grow(`input ${i.name} of ${entry.name}`, bytes, storage);
    places.set(i.id, { buffer, offset: 0, size: bindingBytes(bytes) });
  }
  for (const state of entry.states) places.set(state.id, s.state(state.name));
  if (s.extents) places.set(extentsId, { buffer: s.extents, offset: 0, size: s.extents.size });
  await s.buffers.settle(consumers(entry, memory));

  const place = (id: string): Place => {
    const found = places.get(id) ?? s.constants.get(id);
    if (!found) throw new Bug(`the plan has no value ${id}`, { entry: entry.name });
    return found;
  };
  s.device.pushErrorScope("validation");
  let problem: Promise<GPUError | null>;
  let uniforms: GPUBuffer;
  let steps: readonly Step[];
  try {
    const block = uniformBlock(s, entry, size);
    uniforms = s.buffers.create(
      "sizes of the dispatches",
      block.bytes.byteLength,
      usage.UNIFORM | usage.COPY_DST,
    );
    s.device.queue.writeBuffer(uniforms, 0, block.bytes);
    const live = liveDispatches(s.plan, entry, size);
    steps = entry.dispatches.map((d, i) => ({
      ...makeStep(s, entry, i, d, size, place, uniforms, block.offsets[i]!),
      empty: !live[i],
    }));
  } finally {
    problem = s.device.popErrorScope();
    problem.catch(() => undefined);
  }
  await s.buffers.settle();
  const refused = await problem;
  if (refused) throw new Bug(`the device refused the plan: ${refused.message}`, { entry: entry.name });
  return { entry, dims, size, memory, steps, uniforms, place, proven: false };
}

export function alignmentOf(device: GPUDevice): number {
  return Math.max(256, device.limits.minStorageBufferOffsetAlignment);
}

// ---- sizes ----------------------------------------------------------------------------------------------------------

function checkSizes(s: Surroundings, entry: PlanEntry, size: DimReader, memory: MemoryPlan): void {
  const { maxStorageBufferBindingSize: mostBound, maxBufferSize: mostHeld } = s.device.limits;
  const check = (what: string, t: PlanTensor): void => {
    const bytes = tensorBytes(t, size);
    if (bytes > mostBound)
      throw tooLarge(what, bytes, mostBound, "maxStorageBufferBindingSize", madeBy(entry, t.id));
  };
  for (const i of entry.inputs) check(`input ${i.name}`, i);
  for (const v of entry.values) check(`value ${v.id}`, v);
  if (memory.bytes > mostHeld)
    throw tooLarge(
      "the arena of intermediate values",
      memory.bytes,
      mostHeld,
      "maxBufferSize",
      consumers(entry, memory),
    );
}

function madeBy(entry: PlanEntry, id: string): string {
  const at = entry.dispatches.find((d) => d.buffers.includes(id))?.locations[0];
  return `${at ? `it comes from ${showLocation(at)}; ` : ""}run a smaller batch`;
}

/** The peak, and the largest values alive then with the model lines that make them. */
function consumers(entry: PlanEntry, memory: MemoryPlan): string {
  const top = atPeak(memory)
    .slice(0, 3)
    .map((l) => {
      const at = entry.dispatches[l.first]?.locations[0];
      return `${l.id} takes ${showBytes(l.bytes)}${at ? ` (${showLocation(at)})` : ""}`;
    });
  const peak = `${showBytes(memory.peakLive)} are alive at dispatch ${memory.peakAt}`;
  return `${[peak, ...top].join(", ")}; run a smaller batch`;
}

// ---- uniforms -------------------------------------------------------------------------------------------------------

/** One buffer for the sizes of all dispatches, a slot for each. */
function uniformBlock(
  s: Surroundings,
  entry: PlanEntry,
  size: DimReader,
): { readonly bytes: Uint8Array<ArrayBuffer>; readonly offsets: readonly number[] } {
  const align = Math.max(256, s.device.limits.minUniformBufferOffsetAlignment);
  let end = 0;
  const offsets = entry.dispatches.map((d) => {
    const at = end;
    end += Math.ceil((kernelOf(s.plan, d).uniform?.bytes ?? 0) / align) * align;
    return at;
  });
  const bytes = new Uint8Array(Math.max(end, 16));
  const view = new DataView(bytes.buffer);
  entry.dispatches.forEach((d, i) => {
    const kernel = kernelOf(s.plan, d);
    if (kernel.uniform) writeParams(view, offsets[i]!, kernel, d, entry, size);
  });
  return { bytes, offsets };
}

function writeParams(
  view: DataView,
  start: number,
  kernel: PlanKernel,
  d: PlanDispatch,
  entry: PlanEntry,
  size: DimReader,
): void {
  kernel.params.forEach((p, j) => {
    const text = d.params[j];
    if (text === undefined) throw new Bug(`kernel ${kernel.name} gets no value for its parameter ${p.name}`);
    if (p.offset + 4 > kernel.uniform!.bytes)
      throw new Bug(`parameter ${p.name} of kernel ${kernel.name} lies outside of its uniform block`);
    const value = p.live ? slotOf(entry, text, kernel) : size(text);
    if (value > 0xffffffff)
      throw tooLarge(`the size ${text} of kernel ${kernel.name}`, value, 0xffffffff, "the range of u32");
    if (p.scalar === "f32" && !p.live) view.setFloat32(start + p.offset, value, true);
    else view.setUint32(start + p.offset, value, true);
  });
}

/** Where in the extents the live value of a symbol is. */
function slotOf(entry: PlanEntry, name: string, kernel: PlanKernel): number {
  for (const s of entry.symbols) if (s.kind === "bounded" && s.name === name) return s.slot;
  throw new Bug(`kernel ${kernel.name} reads the live value of ${name}, which is no bounded symbol`);
}

// ---- dispatches -----------------------------------------------------------------------------------------------------

function kernelOf(plan: Plan, d: PlanDispatch): PlanKernel {
  const kernel = plan.kernels[d.kernel];
  if (!kernel) throw new Bug(`a dispatch names kernel ${d.kernel}, which the plan does not have`);
  return kernel;
}

function makeStep(
  s: Surroundings,
  entry: PlanEntry,
  index: number,
  d: PlanDispatch,
  size: DimReader,
  place: (id: string) => Place,
  uniforms: GPUBuffer,
  uniformsAt: number,
): Omit<Step, "empty"> {
  const kernel = kernelOf(s.plan, d);
  const { pipeline, layout } = s.pipelines[d.kernel]!;
  const facts = { kernel: kernel.name, entry: entry.name, dispatch: String(index) };
  if (d.buffers.length !== kernel.buffers.length)
    throw new Bug(
      `kernel ${kernel.name} binds ${kernel.buffers.length} buffers, got ${d.buffers.length}`,
      facts,
    );
  const entries: GPUBindGroupEntry[] = kernel.buffers.map((b, j) => {
    const at = place(d.buffers[j]!);
    return { binding: b.binding, resource: { buffer: at.buffer, offset: at.offset, size: at.size } };
  });
  if (kernel.uniform) {
    const resource = { buffer: uniforms, offset: uniformsAt, size: kernel.uniform.bytes };
    entries.push({ binding: kernel.uniform.binding, resource });
  }
  if (kernel.extents !== undefined)
    entries.push({ binding: kernel.extents, resource: { buffer: place(extentsId).buffer } });
  const group = s.device.createBindGroup({ label: `${kernel.name} (dispatch ${index})`, layout, entries });
  const grid = [size(d.grid[0]), size(d.grid[1]), size(d.grid[2])] as const;
  const most = s.device.limits.maxComputeWorkgroupsPerDimension;
  // The compiler folds large grids over several dimensions.
  if (grid.some((n) => n > most))
    throw new Bug(`kernel ${kernel.name} wants a grid of ${grid.join(" x ")}, the limit is ${most}`, facts);
  if (d.indirect === undefined) return { pipeline, group, grid };
  return { pipeline, group, grid, indirect: { buffer: place(extentsId).buffer, offset: d.indirect * 4 } };
}
