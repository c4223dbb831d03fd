// One run: inputs up, one encoder, one compute pass, one submit, outputs down. Knows where everything lies from `Bound`; allocates
// nothing that an earlier run of the same sizes has not.

import { Bug } from "../support/bug.ts";
import { error, InputError } from "../support/diagnostic.ts";
import type { DimEnv } from "../ir/dim.ts";
import { decodeTensor } from "../ir/encode.ts";
import { extentsId, type PlanEntry } from "../ir/plan.ts";
import type { Bound, Step } from "./bound.ts";
import { mapRead, usage } from "./buffers.ts";
import type { OutputMemory, RunInputs } from "./inputs.ts";
import { dimReader, tensorBytes, type DimReader } from "./memory.ts";
import type { Resident } from "./resident.ts";
import { Timer } from "./timer.ts";
import { stagedInputs, type Staged } from "./staging.ts";
import { bytesOfTensor, cropTo, isGpuTensor, type GpuTensor } from "./transfer.ts";
import { elementCount, type Tensor, type TensorData } from "../ir/tensor.ts";
import { awaitDevice } from "./wait.ts";

type PlanOutput = PlanEntry["outputs"][number];

export interface Execution {
  readonly inputs: RunInputs;
  readonly outputs: readonly PlanOutput[];
  /** Memory for some of them. */
  readonly into: OutputMemory;
  /** Outputs stay on the device. */
  readonly keep: boolean;
  readonly profile: boolean | "wall-clock";
}

export interface Executed {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly kept: Readonly<Record<string, GpuTensor>>;
  /** Sizes of this run: bound symbols, and the live values of bounded ones. */
  readonly dims: DimEnv;
  readonly nanoseconds?: readonly number[];
  readonly dispatches: number;
  readonly maps: number;
  readonly milliseconds: {
    readonly inputs: number;
    readonly encode: number;
    /** From submit until the outputs can be read. */
    readonly wait: number;
    readonly outputs: number;
  };
}

export async function execute(r: Resident, bound: Bound, x: Execution): Promise<Executed> {
  const clock = [performance.now()];
  const staged = stagedInputs(bound.entry, x.inputs, r.device.limits.maxBufferSize);
  if (staged.bytes > 0) await r.staging.open(staged.bytes);
  const layout = readbackLayout(r, bound, x);
  const kept = x.keep ? keptOutputs(r, bound, x.outputs) : [];
  const readback =
    layout.bytes > 0 ? r.buffers.grow("readback", layout.bytes, usage.MAP_READ | usage.COPY_DST) : undefined;
  if (readback || kept.length > 0) await r.buffers.settle("ask for fewer outputs, or run a smaller batch");
  const timer =
    x.profile === true && r.device.features.has("timestamp-query")
      ? new Timer(r.device, bound.steps.length)
      : undefined;
  // The first run at some sizes is watched: what fails there would fail in silence later.
  const watch = bound.proven ? undefined : new Watch(r.device);
  try {
    let encoder = r.device.createCommandEncoder({ label: bound.entry.name });
    writeInputs(r, bound, x.inputs, staged, encoder);
    if (r.surroundings.extents) writeExtents(r, bound);
    clock.push(performance.now());
    let apart: readonly number[] | undefined;
    if (x.profile === "wall-clock") {
      r.device.queue.submit([encoder.finish()]);
      apart = await runApart(r.device, bound);
      encoder = r.device.createCommandEncoder({ label: bound.entry.name });
    }
    const dispatches = apart
      ? bound.steps.filter((s) => !s.empty).length
      : timer
        ? encodeTimed(encoder, bound, timer)
        : encodePass(encoder, bound);
    copyOutputs(bound, encoder, layout, readback?.buffer, kept);
    copyStates(r, bound, encoder);
    timer?.resolve(encoder);
    r.device.queue.submit([encoder.finish()]);
    r.staging.handBack();
    if (bound.entry.states.length > 0) r.states.dirty = true;
    clock.push(performance.now());
    await watch?.end(bound.entry.name);
    bound.proven = true;
    if (!readback) await awaitDevice(r.device.queue.onSubmittedWorkDone());
    const mapped = readback ? await mapBytes(readback.buffer, layout.bytes) : new ArrayBuffer(0);
    clock.push(performance.now());
    try {
      const live = liveValues(bound, layout, mapped);
      const dims = { ...bound.dims, ...live };
      const size = live ? dimReader({ symbols: [] }, dims) : bound.size;
      const tensors = Object.fromEntries(
        layout.outputs.map((o) => [o.output.name, readOutput(bound, o, mapped, size, x.into[o.output.name])]),
      );
      const nanoseconds = apart ?? (timer && (await timer.read()));
      clock.push(performance.now());
      const span = (i: number): number => clock[i + 1]! - clock[i]!;
      return {
        tensors,
        kept: Object.fromEntries(kept.map((k) => [k.output.name, gpuTensor(r, bound, k, size)])),
        dims,
        dispatches,
        maps: readback ? 1 : 0,
        milliseconds: { inputs: span(0), encode: span(1), wait: span(2), outputs: span(3) },
        ...(nanoseconds && { nanoseconds }),
      };
    } finally {
      readback?.buffer.unmap();
    }
  } catch (e) {
    for (const k of kept) r.buffers.destroy(k.buffer);
    throw e;
  } finally {
    r.staging.handBack();
    watch?.abandon();
    timer?.destroy();
  }
}

// ---- in -------------------------------------------------------------------------------------------------------------

function writeInputs(
  r: Resident,
  bound: Bound,
  inputs: RunInputs,
  staged: Staged,
  encoder: GPUCommandEncoder,
): void {
  const from = staged.bytes > 0 ? r.staging.fill(staged) : undefined;
  for (const { input, offset, bytes } of staged.inputs)
    encoder.copyBufferToBuffer(from!, offset, bound.place(input.id).buffer, 0, bytes);
  for (const i of bound.entry.inputs) {
    if (staged.inputs.some((s) => s.input === i)) continue;
    const t = inputs[i.name]!;
    const { buffer } = bound.place(i.id);
    if (isGpuTensor(t)) {
      if (t.bytes > 0) encoder.copyBufferToBuffer(t.buffer, t.offset, buffer, 0, t.bytes);
    } else r.device.queue.writeBuffer(buffer, 0, bytesOfTensor(t, i.dtype, i.order));
  }
}

/** Until a kernel says otherwise, a bounded symbol is as large as it may be, and so are the grids that follow from it. */
function writeExtents(r: Resident, bound: Bound): void {
  const { buffer } = bound.place(extentsId);
  const values = new Uint32Array(buffer.size / 4);
  for (const s of bound.entry.symbols)
    if (s.kind === "bounded") values[s.slot] = s.live ?? bound.size(s.bound);
  bound.steps.forEach(({ grid }, i) => {
    const at = bound.entry.dispatches[i]!.indirect;
    if (at !== undefined) values.set(grid, at);
  });
  r.device.queue.writeBuffer(buffer, 0, values);
}

// ---- dispatches -----------------------------------------------------------------------------------------------------

function encodePass(encoder: GPUCommandEncoder, bound: Pick<Bound, "steps">): number {
  const pass = encoder.beginComputePass();
  let current: GPUComputePipeline | undefined;
  let count = 0;
  for (const step of bound.steps) {
    if (step.empty) continue;
    if (step.pipeline !== current) pass.setPipeline((current = step.pipeline));
    dispatch(pass, step);
    count++;
  }
  pass.end();
  return count;
}

function dispatch(pass: GPUComputePassEncoder, { group, grid, indirect }: Step): void {
  pass.setBindGroup(0, group);
  if (indirect) pass.dispatchWorkgroupsIndirect(indirect.buffer, indirect.offset);
  else pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
}

function encodeTimed(encoder: GPUCommandEncoder, bound: Bound, timer: Timer): number {
  bound.steps.forEach((step, i) => {
    const pass = encoder.beginComputePass({ timestampWrites: timer.writes(i) });
    if (!step.empty) {
      pass.setPipeline(step.pipeline);
      dispatch(pass, step);
    }
    pass.end();
  });
  return bound.steps.filter((s) => !s.empty).length;
}

/** Nanoseconds of each dispatch by the clock of the host: one submit each, waited for. The wait is in the time too. */
async function runApart(device: GPUDevice, bound: Bound): Promise<readonly number[]> {
  await awaitDevice(device.queue.onSubmittedWorkDone());
  const nanoseconds: number[] = [];
  for (const step of bound.steps) {
    const start = performance.now();
    const encoder = device.createCommandEncoder();
    encodePass(encoder, { steps: [step] });
    device.queue.submit([encoder.finish()]);
    await awaitDevice(device.queue.onSubmittedWorkDone());
    nanoseconds.push(step.empty ? 0 : (performance.now() - start) * 1e6);
  }
  return nanoseconds;
}

/** Error scopes around a run. */
class Watch {
  readonly #device: GPUDevice;
  #open = true;

  constructor(device: GPUDevice) {
    this.#device = device;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
  }

  async end(entry: string): Promise<void> {
    this.#open = false;
    const [invalid, full] = await Promise.all([this.#device.popErrorScope(), this.#device.popErrorScope()]);
    if (full)
      throw new InputError([
        error("out-of-memory", `the device ran out of memory in ${entry}`, { help: full.message }),
      ]);
    if (invalid) throw new Bug(`the device refused the run: ${invalid.message}`, { entry });
  }

  abandon(): void {
    if (!this.#open) return;
    this.#open = false;
    for (let i = 0; i < 2; i++) this.#device.popErrorScope().catch(() => undefined);
  }
}

// ---- out ------------------------------------------------------------------------------------------------------------

interface ReadbackLayout {
  readonly outputs: readonly {
    readonly output: PlanOutput;
    readonly offset: number;
    readonly bytes: number;
  }[];
  readonly extentsAt: number;
  readonly bytes: number;
}

function readbackLayout(r: Resident, bound: Bound, x: Execution): ReadbackLayout {
  let offset = 0;
  const outputs = (x.keep ? [] : x.outputs).map((output) => {
    const bytes = tensorBytes(output.tensor, bound.size);
    const at = { output, offset, bytes };
    // Mapped memory is viewed as words of up to 8 bytes.
    offset += Math.ceil(bytes / 8) * 8;
    return at;
  });
  const bounded = bound.entry.symbols.some((s) => s.kind === "bounded");
  return { outputs, extentsAt: offset, bytes: offset + (bounded ? r.surroundings.extents!.size : 0) };
}

interface Kept {
  readonly output: PlanOutput;
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

/** Buffers of their own: the next run writes over the arena. */
function keptOutputs(r: Resident, bound: Bound, outputs: readonly PlanOutput[]): readonly Kept[] {
  const flags = usage.STORAGE | usage.COPY_SRC | usage.COPY_DST;
  return outputs.map((output) => {
    const bytes = tensorBytes(output.tensor, bound.size);
    return { output, bytes, buffer: r.buffers.create(`output ${output.name}`, bytes, flags) };
  });
}

function copyOutputs(
  bound: Bound,
  encoder: GPUCommandEncoder,
  layout: ReadbackLayout,
  readback: GPUBuffer | undefined,
  kept: readonly Kept[],
): void {
  const copy = (id: string, to: GPUBuffer, offset: number, bytes: number): void => {
    const from = bound.place(id);
    if (bytes > 0) encoder.copyBufferToBuffer(from.buffer, from.offset, to, offset, bytes);
  };
  for (const o of layout.outputs) copy(o.output.value, readback!, o.offset, o.bytes);
  for (const k of kept) copy(k.output.value, k.buffer, 0, k.bytes);
  if (layout.bytes > layout.extentsAt)
    copy(extentsId, readback!, layout.extentsAt, layout.bytes - layout.extentsAt);
}

/** After the pass: next values into the states. Those read from another state go by way of a copy, so that two can change places. */
function copyStates(r: Resident, bound: Bound, encoder: GPUCommandEncoder): void {
  const own = new Set(bound.entry.states.map((s) => s.id));
  const moves = bound.entry.states
    .filter((s) => s.next !== s.id)
    .map((s) => ({
      from: bound.place(s.next),
      to: bound.place(s.id),
      bytes: r.states.bytes(s.name),
      crossing: own.has(s.next),
    }))
    .filter((m) => m.bytes > 0);
  const crossing = moves.filter((m) => m.crossing);
  if (crossing.length > 0) {
    const total = crossing.reduce((n, m) => n + m.bytes, 0);
    const { buffer } = r.buffers.grow("states on their way", total, usage.COPY_SRC | usage.COPY_DST);
    let at = 0;
    for (const m of crossing) {
      encoder.copyBufferToBuffer(m.from.buffer, m.from.offset, buffer, at, m.bytes);
      at += m.bytes;
    }
    at = 0;
    for (const m of crossing) {
      encoder.copyBufferToBuffer(buffer, at, m.to.buffer, m.to.offset, m.bytes);
      at += m.bytes;
    }
  }
  for (const m of moves)
    if (!m.crossing)
      encoder.copyBufferToBuffer(m.from.buffer, m.from.offset, m.to.buffer, m.to.offset, m.bytes);
}

async function mapBytes(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
  const used = Math.ceil(bytes / 8) * 8;
  await awaitDevice(buffer.mapAsync(mapRead, 0, used));
  return buffer.getMappedRange(0, used);
}

/** Of bounded symbols, where there are any. */
function liveValues(bound: Bound, layout: ReadbackLayout, mapped: ArrayBuffer): DimEnv | undefined {
  if (layout.bytes === layout.extentsAt) return undefined;
  const live: Record<string, number> = {};
  for (const s of bound.entry.symbols) {
    if (s.kind !== "bounded") continue;
    const value = new Uint32Array(mapped, layout.extentsAt)[s.slot]!;
    const most = bound.size(s.bound);
    if (value > most)
      throw new Bug(`a kernel says that ${s.name} is ${value}, more than its bound ${s.bound} = ${most}`);
    live[s.name] = value;
  }
  return live;
}

function readOutput(
  bound: Bound,
  { output, offset }: ReadbackLayout["outputs"][number],
  mapped: ArrayBuffer,
  size: DimReader,
  memory: TensorData | undefined,
): Tensor {
  const { dtype, order, shape } = output.tensor;
  const planned = shape.map(bound.size);
  const actual = shape.map(size);
  const data = memory?.subarray(0, elementCount(actual));
  const whole = planned.every((n, i) => n === actual[i]);
  if (whole) return decodeTensor(mapped, dtype, planned, order, offset, data);
  return cropTo(decodeTensor(mapped, dtype, planned, order, offset), actual, data);
}

function gpuTensor(r: Resident, bound: Bound, k: Kept, size: DimReader): GpuTensor {
  const { dtype, order, shape } = k.output.tensor;
  const actual = shape.map(size);
  const memoryShape = shape.map(bound.size);
  r.buffers.giveAway(k.buffer);
  return {
    dtype,
    shape: actual,
    memoryShape,
    ...(order && { order }),
    device: r.device,
    buffer: k.buffer,
    offset: 0,
    bytes: k.bytes,
    destroy: () => k.buffer.destroy(),
    async read() {
      const staging = r.device.createBuffer({
        size: Math.max(k.bytes, 8),
        usage: usage.COPY_DST | usage.MAP_READ,
      });
      try {
        const encoder = r.device.createCommandEncoder();
        if (k.bytes > 0) encoder.copyBufferToBuffer(k.buffer, 0, staging, 0, k.bytes);
        r.device.queue.submit([encoder.finish()]);
        await awaitDevice(staging.mapAsync(mapRead));
        const whole = decodeTensor(staging.getMappedRange(), dtype, memoryShape, order);
        return cropTo(whole, actual);
      } finally {
        staging.destroy();
      }
    },
  };
}
