// Runs a plan on a GPUDevice. Needs no Node module and nothing of the compiler. One execution path: the plan is the run.
// One encoder, one pass, one submit a run; the second run with the same sizes allocates nothing.

import { Bug } from "../support/bug.ts";
import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { parseDim } from "../ir/dim-parse.ts";
import type { DimEnv } from "../ir/dim.ts";
import { decodeTensor, encodeTensor } from "../ir/encode.ts";
import type { Plan, PlanEntry, PlanTensor } from "../ir/plan.ts";
import { bindSymbols } from "../ir/symbols.ts";
import { elementCount, type Tensor } from "../ir/tensor.ts";
import { Constants } from "./constants.ts";
import { dimReader, planMemory, tensorBytes, type DimReader, type MemoryPlan } from "./memory.ts";
import { Pipelines } from "./pipelines.ts";

/** WebGPU's usage flags, by number: the constants are globals only in browsers. */
export const usage = {
  MAP_READ: 1,
  COPY_SRC: 4,
  COPY_DST: 8,
  UNIFORM: 64,
  STORAGE: 128,
  INDIRECT: 256,
  QUERY_RESOLVE: 512,
} as const;

export interface SessionOptions {
  /** Makes another device after a loss; without it a loss is an error. */
  readonly recreate?: () => Promise<GPUDevice>;
}

export interface RunOptions {
  /** Entry point; default the first. */
  readonly entry?: string;
  /** Outputs wanted; default all. */
  readonly outputs?: readonly string[];
  /** Symbols that no input fixes. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Measure each dispatch by timestamps, one pass each. */
  readonly profile?: boolean;
}

export interface RunResult {
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Nanoseconds per dispatch, where `profile` was asked for and the adapter has timestamps. */
  readonly nanoseconds?: readonly number[];
}

export interface SessionStats {
  dispatches: number;
  submits: number;
  maps: number;
  runs: number;
  /** Buffers made since the session began. */
  allocations: number;
  readonly kernels: number;
  arenaBytes: number;
  peakLiveBytes: number;
  readonly constantBytes: number;
  pipelineMilliseconds: number;
  uploadMilliseconds: number;
  /** Of the last run: from call to submit. */
  hostMilliseconds: number;
}

/** Everything that depends on the sizes of a run. */
interface Bound {
  readonly entry: PlanEntry;
  readonly dims: DimEnv;
  readonly size: DimReader;
  readonly memory: MemoryPlan;
  readonly arena: GPUBuffer;
  readonly uniforms: GPUBuffer;
  readonly inputs: ReadonlyMap<string, GPUBuffer>;
  readonly readback: GPUBuffer;
  /** Where each output lies in the readback buffer. */
  readonly outputs: readonly {
    readonly name: string;
    readonly tensor: PlanTensor;
    readonly offset: number;
    readonly bytes: number;
  }[];
  readonly extentsAt: number;
  readonly steps: readonly {
    readonly pipeline: GPUComputePipeline;
    readonly group: GPUBindGroup;
    readonly grid: readonly [number, number, number];
  }[];
}

/** As many sets of sizes are kept ready as a server usually alternates between. */
const KEPT = 4;

export async function createSession(
  device: GPUDevice,
  plan: Plan,
  constants: Uint8Array<ArrayBuffer>,
  options: SessionOptions = {},
): Promise<Session> {
  const session = new Session(device, plan, constants, options);
  await session.prepare();
  return session;
}

export class Session {
  readonly plan: Plan;
  readonly stats: SessionStats;
  readonly state: StateAccess;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #recreate: SessionOptions["recreate"];
  #device: GPUDevice;
  #pipelines!: Pipelines;
  #constants!: Constants;
  #extents: GPUBuffer | undefined;
  #states = new Map<string, { buffer: GPUBuffer; tensor: PlanTensor; bytes: number }>();
  #bound = new Map<string, Bound>();
  #queue: Promise<unknown> = Promise.resolve();
  #lost: string | undefined;
  #disposed = false;

  constructor(device: GPUDevice, plan: Plan, constants: Uint8Array<ArrayBuffer>, options: SessionOptions) {
    this.plan = plan;
    this.#device = device;
    this.#bytes = constants;
    this.#recreate = options.recreate;
    this.stats = {
      dispatches: 0,
      submits: 0,
      maps: 0,
      runs: 0,
      allocations: 0,
      kernels: plan.kernels.length,
      arenaBytes: 0,
      peakLiveBytes: 0,
      constantBytes: constants.byteLength,
      pipelineMilliseconds: 0,
      uploadMilliseconds: 0,
      hostMilliseconds: 0,
    };
    this.state = {
      get: (name) => this.#enqueue(() => this.#readState(name)),
      set: (name, t) => this.#enqueue(() => this.#writeState(name, t)),
      reset: () => this.#enqueue(async () => this.#states.clear()),
    };
  }

  /** Pipelines are asked for first; the constants go up while they compile. */
  async prepare(): Promise<void> {
    const device = this.#device;
    void device.lost?.then((info) => {
      if (device === this.#device && !this.#disposed) this.#lost = info.message || info.reason || "unknown";
    });
    const start = performance.now();
    const pipelines = Pipelines.create(device, this.plan.kernels);
    this.#constants = await Constants.upload(
      device,
      this.plan.constants,
      this.#bytes,
      () => this.stats.allocations++,
    );
    this.stats.uploadMilliseconds = performance.now() - start;
    this.#pipelines = await pipelines;
    this.stats.pipelineMilliseconds = performance.now() - start;
  }

  get device(): GPUDevice {
    return this.#device;
  }

  /** Runs one entry point. Concurrent calls queue. Throws InputError where an input is missing or does not fit. */
  async run(
    inputs: Readonly<Record<string, Tensor>>,
    options: RunOptions = {},
  ): Promise<Readonly<Record<string, Tensor>>> {
    return (await this.runWith(inputs, options)).outputs;
  }

  /** The same, with what was measured. */
  runWith(inputs: Readonly<Record<string, Tensor>>, options: RunOptions = {}): Promise<RunResult> {
    return this.#enqueue(async () => {
      try {
        return await this.#runOnce(inputs, options);
      } catch (e) {
        if (this.#lost === undefined || !this.#recreate) throw e;
        await this.#rebuild();
        return await this.#runOnce(inputs, options);
      }
    });
  }

  /** Frees what the session holds; the device stays the caller's. */
  dispose(): void {
    this.#disposed = true;
    for (const b of this.#bound.values()) this.#release(b);
    this.#bound.clear();
    for (const s of this.#states.values()) s.buffer.destroy();
    this.#constants.destroy();
    this.#extents?.destroy();
  }

  /** The memory plan for some sizes, for the reader. */
  memory(dims: DimEnv, entry?: string): MemoryPlan {
    const e = this.#entry(entry);
    return planMemory(e, dimReader(e, dims), this.#alignment);
  }

  get #alignment(): number {
    return this.#device.limits.minStorageBufferOffsetAlignment;
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposed) return Promise.reject(new Bug("the session has been disposed of"));
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #entry(name: string | undefined): PlanEntry {
    const entry = name === undefined ? this.plan.entries[0] : this.plan.entries.find((e) => e.name === name);
    if (entry) return entry;
    throw new InputError([
      error("unknown-entry", `the plan has no entry point ${name}`, {
        help: `it has ${this.plan.entries.map((e) => e.name).join(", ")}`,
      }),
    ]);
  }

  // ---- one run ----------------------------------------------------------------------------------------------------

  async #runOnce(inputs: Readonly<Record<string, Tensor>>, options: RunOptions): Promise<RunResult> {
    const start = performance.now();
    if (this.#lost !== undefined) throw new Error(`the GPU device was lost: ${this.#lost}`);
    const entry = this.#entry(options.entry);
    const dims = checkInputs(entry, inputs, options);
    const first = this.stats.runs === 0;
    const bound = await this.#bind(entry, dims);
    if (first) this.#device.pushErrorScope("validation");
    for (const i of entry.inputs)
      this.#device.queue.writeBuffer(
        bound.inputs.get(i.id)!,
        0,
        encodeTensor(inputs[i.name]!, i.dtype, i.order),
      );
    const encoder = this.#device.createCommandEncoder();
    const timer = options.profile ? this.#timer(bound) : undefined;
    if (timer) bound.steps.forEach((_, i) => this.#pass(encoder, bound, [i], timer.writes(i)));
    else this.#pass(encoder, bound, bound.steps.keys());
    this.#copyOut(encoder, bound);
    timer?.resolve(encoder);
    this.#device.queue.submit([encoder.finish()]);
    this.stats.submits++;
    this.stats.runs++;
    this.stats.dispatches = bound.steps.length;
    this.stats.hostMilliseconds = performance.now() - start;
    if (first) {
      const problem = await this.#device.popErrorScope();
      if (problem) throw new Bug(`the device refused the run: ${problem.message}`);
    }
    const outputs = await this.#readBack(bound, options.outputs);
    const nanoseconds = timer && (await timer.read());
    if (this.#lost !== undefined) throw new Error(`the GPU device was lost: ${this.#lost}`);
    return { outputs, ...(nanoseconds && { nanoseconds }) };
  }

  #pass(
    encoder: GPUCommandEncoder,
    bound: Bound,
    which: Iterable<number>,
    timestampWrites?: GPUComputePassTimestampWrites,
  ): void {
    const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
    let current: GPUComputePipeline | undefined;
    for (const i of which) {
      const step = bound.steps[i]!;
      if (step.grid.some((n) => n === 0)) continue;
      if (step.pipeline !== current) pass.setPipeline((current = step.pipeline));
      pass.setBindGroup(0, step.group);
      pass.dispatchWorkgroups(...step.grid);
    }
    pass.end();
  }

  #copyOut(encoder: GPUCommandEncoder, bound: Bound): void {
    for (const o of bound.outputs) {
      const from = this.#locate(bound, o.tensor.id);
      if (o.bytes > 0)
        encoder.copyBufferToBuffer(from.buffer, from.offset, bound.readback, o.offset, o.bytes);
    }
    if (this.#extents)
      encoder.copyBufferToBuffer(this.#extents, 0, bound.readback, bound.extentsAt, this.#extents.size);
    for (const s of bound.entry.states) {
      const from = this.#locate(bound, s.next);
      const to = this.#stateBuffer(bound, s);
      if (from.buffer !== to.buffer)
        encoder.copyBufferToBuffer(from.buffer, from.offset, to.buffer, 0, to.bytes);
    }
  }

  async #readBack(
    bound: Bound,
    wanted: readonly string[] | undefined,
  ): Promise<Readonly<Record<string, Tensor>>> {
    await bound.readback.mapAsync(1 /* READ */);
    this.stats.maps++;
    const bytes = bound.readback.getMappedRange();
    const live: Record<string, number> = {};
    if (this.#extents) {
      const counts = new Uint32Array(bytes, bound.extentsAt);
      for (const s of bound.entry.symbols) if (s.kind === "bounded") live[s.name] = counts[s.slot] ?? 0;
    }
    const size = dimReader({ ...bound.entry, symbols: [] }, { ...bound.dims, ...live });
    const outputs: Record<string, Tensor> = {};
    for (const o of bound.outputs) {
      if (wanted && !wanted.includes(o.name)) continue;
      const shape = o.tensor.shape.map(size);
      outputs[o.name] = decodeTensor(
        bytes.slice(o.offset, o.offset + o.bytes),
        o.tensor.dtype,
        shape,
        o.tensor.order,
      );
    }
    bound.readback.unmap();
    return outputs;
  }

  // ---- what depends on sizes --------------------------------------------------------------------------------------

  async #bind(entry: PlanEntry, dims: DimEnv): Promise<Bound> {
    const key = `${entry.name} ${JSON.stringify(dims)}`;
    const known = this.#bound.get(key);
    if (known) {
      this.#bound.delete(key);
      this.#bound.set(key, known);
      return known;
    }
    for (const [old, b] of this.#bound)
      if (this.#bound.size >= KEPT) {
        this.#release(b);
        this.#bound.delete(old);
      }
    const made = await this.#build(entry, dims);
    this.#bound.set(key, made);
    return made;
  }

  async #build(entry: PlanEntry, dims: DimEnv): Promise<Bound> {
    const size = dimReader(entry, dims);
    const memory = planMemory(entry, size, this.#alignment);
    this.stats.arenaBytes = memory.bytes;
    this.stats.peakLiveBytes = memory.peakLive;
    const limits = this.#device.limits;
    if (memory.bytes > limits.maxBufferSize)
      throw tooLarge("intermediate values", memory.bytes, limits.maxBufferSize, "run a smaller batch");
    for (const l of memory.lifetimes)
      if (l.bytes > limits.maxStorageBufferBindingSize)
        throw tooLarge(`value ${l.id}`, l.bytes, limits.maxStorageBufferBindingSize, "run a smaller batch");
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    const arena = this.#buffer("arena", memory.bytes, usage.STORAGE | usage.COPY_SRC | usage.COPY_DST);
    const inputs = new Map(
      entry.inputs.map((i) => [
        i.id,
        this.#buffer(i.name, tensorBytes(i, size), usage.STORAGE | usage.COPY_DST | usage.COPY_SRC),
      ]),
    );
    const bounded = entry.symbols.filter((s) => s.kind === "bounded").length;
    if (bounded > 0)
      this.#extents ??= this.#buffer("extents", bounded * 4, usage.STORAGE | usage.COPY_SRC | usage.COPY_DST);
    let offset = 0;
    const outputs = entry.outputs.map((o) => {
      const bytes = tensorBytes(o.tensor, size);
      const at = { name: o.name, tensor: o.tensor, offset, bytes };
      offset += Math.ceil(bytes / 8) * 8;
      return at;
    });
    const readback = this.#buffer("readback", offset + bounded * 4, usage.COPY_DST | usage.MAP_READ);
    const { uniforms, slots } = this.#uniforms(entry, size);
    const partial: Bound = {
      entry,
      dims,
      size,
      memory,
      arena,
      uniforms,
      inputs,
      readback,
      outputs,
      extentsAt: offset,
      steps: [],
    };
    const steps = entry.dispatches.map((d, i) => {
      const kernel = this.plan.kernels[d.kernel];
      if (!kernel) throw new Bug(`dispatch ${i} names kernel ${d.kernel}, which the plan does not have`);
      const entries: GPUBindGroupEntry[] = kernel.buffers.map((b, j) => ({
        binding: b.binding,
        resource: this.#locate(partial, d.buffers[j]!),
      }));
      if (kernel.uniform)
        entries.push({
          binding: kernel.uniform.binding,
          resource: { buffer: uniforms, offset: slots[i]!, size: kernel.uniform.bytes },
        });
      if (kernel.extents !== undefined)
        entries.push({ binding: kernel.extents, resource: { buffer: this.#extents! } });
      const pipeline = this.#pipelines.at(d.kernel);
      const group = this.#device.createBindGroup({
        label: `${kernel.name} ${i}`,
        layout: pipeline.getBindGroupLayout(0),
        entries,
      });
      const grid = d.grid.map(size) as [number, number, number];
      const most = limits.maxComputeWorkgroupsPerDimension;
      if (grid.some((n) => n > most))
        throw new Bug(`kernel ${kernel.name} wants a grid of ${grid.join("x")}, the limit is ${most}`);
      return { pipeline, group, grid };
    });
    const invalid = await this.#device.popErrorScope();
    const memoryError = await this.#device.popErrorScope();
    if (memoryError)
      throw new InputError([
        error(
          "out-of-memory",
          `the device has no room for ${megabytes(memory.bytes)} of intermediate values`,
          {
            help: `the peak is at dispatch ${memory.peakAt}, ${megabytes(memory.peakLive)} live; run a smaller batch`,
          },
        ),
      ]);
    if (invalid) throw new Bug(`the device refused the plan: ${invalid.message}`);
    return { ...partial, steps };
  }

  /** One buffer holds the sizes of every dispatch, a slot each. */
  #uniforms(entry: PlanEntry, size: DimReader): { uniforms: GPUBuffer; slots: readonly number[] } {
    const align = this.#device.limits.minUniformBufferOffsetAlignment;
    let offset = 0;
    const slots = entry.dispatches.map((d) => {
      const at = offset;
      offset += Math.ceil((this.plan.kernels[d.kernel]?.uniform?.bytes ?? 0) / align) * align;
      return at;
    });
    const bytes = new DataView(new ArrayBuffer(Math.max(offset, 16)));
    entry.dispatches.forEach((d, i) =>
      this.plan.kernels[d.kernel]!.params.forEach((p, j) => {
        if (p.live) return;
        const value = size(d.params[j]!);
        if (p.scalar === "f32") bytes.setFloat32(slots[i]! + p.offset, value, true);
        else bytes.setUint32(slots[i]! + p.offset, value, true);
      }),
    );
    const uniforms = this.#buffer("sizes", bytes.byteLength, usage.UNIFORM | usage.COPY_DST);
    this.#device.queue.writeBuffer(uniforms, 0, bytes.buffer);
    return { uniforms, slots };
  }

  #buffer(label: string, bytes: number, flags: number): GPUBuffer {
    this.stats.allocations++;
    return this.#device.createBuffer({ label, size: Math.ceil(Math.max(bytes, 16) / 4) * 4, usage: flags });
  }

  /** The buffer, offset and size of any value. */
  #locate(bound: Bound, id: string): { buffer: GPUBuffer; offset: number; size: number } {
    const offset = bound.memory.offsets.get(id);
    if (offset !== undefined) {
      const life = bound.memory.lifetimes.find((l) => l.id === id)!;
      return { buffer: bound.arena, offset, size: Math.max(4, life.bytes) };
    }
    const input = bound.inputs.get(id);
    if (input) return { buffer: input, offset: 0, size: input.size };
    const state = bound.entry.states.find((s) => s.id === id);
    if (state) {
      const { buffer } = this.#stateBuffer(bound, state);
      return { buffer, offset: 0, size: buffer.size };
    }
    return this.#constants.locate(id);
  }

  #release(b: Bound): void {
    for (const x of [b.arena, b.uniforms, b.readback, ...b.inputs.values()]) x.destroy();
  }

  // ---- states -----------------------------------------------------------------------------------------------------

  #stateBuffer(
    bound: Bound,
    s: PlanEntry["states"][number],
  ): { buffer: GPUBuffer; tensor: PlanTensor; bytes: number } {
    const known = this.#states.get(s.name);
    if (known) return known;
    const bytes = tensorBytes(s, bound.size);
    const made = {
      buffer: this.#buffer(s.name, bytes, usage.STORAGE | usage.COPY_DST | usage.COPY_SRC),
      tensor: s,
      bytes,
    };
    const shape = s.shape.map(bound.size);
    const data = new Float32Array(elementCount(shape)).fill(s.initial);
    this.#device.queue.writeBuffer(made.buffer, 0, encodeTensor({ dtype: s.dtype, shape, data }, s.dtype));
    this.#states.set(s.name, made);
    return made;
  }

  #stateDecl(name: string): PlanEntry["states"][number] {
    const found = this.plan.entries.flatMap((e) => e.states).find((s) => s.name === name);
    if (found) return found;
    throw new InputError([error("unknown-state", `the model has no state ${name}`)]);
  }

  async #readState(name: string): Promise<Tensor | undefined> {
    const decl = this.#stateDecl(name);
    const held = this.#states.get(name);
    if (!held) return undefined;
    const staging = this.#buffer("state", held.bytes, usage.COPY_DST | usage.MAP_READ);
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(held.buffer, 0, staging, 0, held.bytes);
    this.#device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1);
    const bytes = staging.getMappedRange().slice(0);
    staging.destroy();
    const shape = decl.shape.map((d) => dimReader(this.plan.entries[0]!, {})(d));
    return decodeTensor(bytes, decl.dtype, shape);
  }

  async #writeState(name: string, t: Tensor): Promise<void> {
    const decl = this.#stateDecl(name);
    const want = decl.shape.map((d) => parseDim(d)?.key).join(", ");
    if (t.dtype !== decl.dtype || t.shape.join(", ") !== want)
      throw new InputError([
        error("state-type", `state ${name} is ${decl.dtype}[${want}], not ${t.dtype}[${t.shape.join(", ")}]`),
      ]);
    const bytes = encodeTensor(t, decl.dtype);
    const held = this.#states.get(name) ?? {
      buffer: this.#buffer(name, bytes.byteLength, usage.STORAGE | usage.COPY_DST | usage.COPY_SRC),
      tensor: decl,
      bytes: bytes.byteLength,
    };
    this.#states.set(name, held);
    this.#device.queue.writeBuffer(held.buffer, 0, bytes);
  }

  // ---- loss -------------------------------------------------------------------------------------------------------

  async #rebuild(): Promise<void> {
    this.#device = await this.#recreate!();
    this.#lost = undefined;
    this.#bound.clear();
    this.#states.clear();
    this.#extents = undefined;
    await this.prepare();
  }

  #timer(bound: Bound): Timer | undefined {
    return this.#device.features.has("timestamp-query")
      ? new Timer(this.#device, bound.steps.length)
      : undefined;
  }
}

export interface StateAccess {
  /** The value as it is now; undefined before the first run. */
  get(name: string): Promise<Tensor | undefined>;
  set(name: string, value: Tensor): Promise<void>;
  /** All states back to their initial values. */
  reset(): Promise<void>;
}

class Timer {
  readonly #set: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;
  readonly #count: number;

  constructor(device: GPUDevice, dispatches: number) {
    this.#count = dispatches * 2;
    this.#set = device.createQuerySet({ type: "timestamp", count: this.#count });
    this.#resolved = device.createBuffer({
      size: this.#count * 8,
      usage: usage.QUERY_RESOLVE | usage.COPY_SRC,
    });
    this.#staging = device.createBuffer({ size: this.#count * 8, usage: usage.COPY_DST | usage.MAP_READ });
  }

  writes(i: number): GPUComputePassTimestampWrites {
    return { querySet: this.#set, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
  }

  resolve(encoder: GPUCommandEncoder): void {
    encoder.resolveQuerySet(this.#set, 0, this.#count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, this.#count * 8);
  }

  async read(): Promise<readonly number[]> {
    await this.#staging.mapAsync(1);
    const times = new BigUint64Array(this.#staging.getMappedRange().slice(0));
    for (const x of [this.#set, this.#resolved, this.#staging]) x.destroy();
    return Array.from({ length: this.#count / 2 }, (_, i) => Number(times[2 * i + 1]! - times[2 * i]!));
  }
}

/** Every input is there, of the right type, and its sizes agree. */
function checkInputs(
  entry: PlanEntry,
  inputs: Readonly<Record<string, Tensor>>,
  options: RunOptions,
): DimEnv {
  const diagnostics: Diagnostic[] = [];
  for (const i of entry.inputs) {
    const t = inputs[i.name];
    if (!t)
      diagnostics.push(
        error("missing-input", `input ${i.name} is missing`, {
          help: `it is ${i.dtype}[${i.shape.join(", ")}]`,
        }),
      );
    else if (t.dtype !== i.dtype)
      diagnostics.push(error("input-dtype", `input ${i.name} is ${t.dtype}, the model wants ${i.dtype}`));
  }
  for (const name of Object.keys(inputs))
    if (!entry.inputs.some((i) => i.name === name))
      diagnostics.push(
        error("unknown-input", `the model has no input ${name}`, {
          help: `its inputs are ${entry.inputs.map((i) => i.name).join(", ")}`,
        }),
      );
  if (diagnostics.length > 0) throw new InputError(diagnostics);
  const { values, diagnostics: wrong } = bindSymbols(
    entry.symbols.filter((s) => s.kind === "bound").map((s) => s.name),
    entry.inputs.map((i) => ({ name: i.name, shape: i.shape.map((d) => parseDim(d)!) })),
    Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.shape])),
    options.dims,
  );
  if (wrong.length > 0) throw new InputError(wrong);
  return values;
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function tooLarge(what: string, bytes: number, limit: number, help: string): InputError {
  return new InputError([
    error("too-large", `${what} would take ${megabytes(bytes)}, the adapter allows ${megabytes(limit)}`, {
      help,
    }),
  ]);
}
