// Runs a plan on a GPUDevice: the public face of the runtime. Needs no Node module and nothing of the compiler. One execution path: the
// plan is the run. Concurrent calls queue; a lost device is replaced once a call, and the call repeated.

import { Bug } from "../support/bug.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { nearest } from "../support/suggest.ts";
import type { DimEnv } from "../ir/dim.ts";
import type { Plan, PlanEntry } from "../ir/plan.ts";
import type { Tensor } from "../ir/tensor.ts";
import { alignmentOf } from "./bound.ts";
import type { ConstantSource } from "./constants.ts";
import { execute, type Executed } from "./execute.ts";
import { checkInputs, checkMemory, wantedOutputs, type OutputMemory, type RunInputs } from "./inputs.ts";
import { dimReader, planMemory, type MemoryPlan } from "./memory.ts";
import { distinctKernels } from "./pipelines.ts";
import { Resident } from "./resident.ts";
import type { GpuTensor } from "./transfer.ts";

export interface SessionOptions {
  /** Makes another device after a loss; without it a loss is an error. */
  readonly recreate?: (() => Promise<GPUDevice>) | undefined;
}

export interface RunOptions {
  /** Entry point; default the first. */
  readonly entry?: string | undefined;
  /** Outputs wanted; default all. */
  readonly outputs?: readonly string[] | undefined;
  /**
   * Memory for outputs, by name: an array of the kind that the output comes as, with at least as many elements (at most, where a size is bounded). The result's data is a part
   * of it, so the next run with the same memory writes over it. New memory is slow to write first; a program that runs again and again spares that.
   */
  readonly into?: OutputMemory | undefined;
  /** Symbols that no input fixes. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** Measure each dispatch: by timestamps, one pass each; or by the clock of the host, one submit each. */
  readonly profile?: boolean | "wall-clock" | undefined;
}

export interface RunResult {
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** What the symbols stood for, live values of bounded ones among them. */
  readonly dims: DimEnv;
  /** Nanoseconds per dispatch, where `profile` was asked for and, unless by wall clock, the adapter has timestamps. */
  readonly nanoseconds?: readonly number[];
}

/** Counted since the session began, unless it says "last run". */
export interface SessionStats {
  readonly runs: number;
  readonly submits: number;
  /** Buffers read back. */
  readonly maps: number;
  /** Buffers made. */
  readonly allocations: number;
  /** Times that an entry point was bound to sizes. */
  readonly binds: number;
  readonly rebuilds: number;
  readonly kernels: number;
  /** Kernels of different text: what the driver compiles. */
  readonly distinctKernels: number;
  readonly constantBytes: number;
  /** Until the last pipeline was there; the upload runs at the same time. */
  readonly pipelineMilliseconds: number;
  readonly uploadMilliseconds: number;
  /** Of the last run. */
  readonly dispatches: number;
  readonly arenaBytes: number;
  readonly peakLiveBytes: number;
  readonly inputMilliseconds: number;
  readonly encodeMilliseconds: number;
  readonly waitMilliseconds: number;
  readonly outputMilliseconds: number;
  /** What the program does itself: from the call (its turn in the queue) to the submit, and from when outputs can be read until they are. */
  readonly hostMilliseconds: number;
  /** All buffers on the device now. */
  readonly deviceBytes: number;
}

export interface StateAccess {
  get(name: string): Promise<Tensor>;
  set(name: string, value: Tensor): Promise<void>;
  /** One state, or all, back to the initial value. */
  reset(name?: string): Promise<void>;
}

/**
 * Checks that the device can run the plan, compiles the pipelines and uploads the constants. Throws InputError where the device or the
 * constants do not fit, Bug where the device refuses a kernel.
 */
export async function createSession(
  device: GPUDevice,
  plan: Plan,
  constants: ConstantSource,
  options: SessionOptions = {},
): Promise<Session> {
  const stats = emptyStats(plan);
  return new Session(plan, constants, options, stats, await Resident.create(device, plan, constants, stats));
}

type MutableStats = { -readonly [K in keyof SessionStats]: SessionStats[K] };

export class Session {
  readonly plan: Plan;
  readonly state: StateAccess;
  #source: ConstantSource;
  readonly #recreate: SessionOptions["recreate"];
  readonly #stats: MutableStats;
  #resident: Resident;
  #queue: Promise<unknown> = Promise.resolve();
  #disposed = false;

  /** Use `createSession`. */
  constructor(
    plan: Plan,
    source: ConstantSource,
    options: SessionOptions,
    stats: MutableStats,
    resident: Resident,
  ) {
    this.plan = plan;
    this.#source = source;
    this.#recreate = options.recreate;
    this.#stats = stats;
    this.#resident = resident;
    this.state = {
      get: (name) => this.#enqueue((r) => r.states.get(name)),
      set: (name, value) => this.#enqueue(async (r) => r.states.set(name, value)),
      reset: (name) => this.#enqueue(async (r) => r.states.reset(name)),
    };
  }

  get device(): GPUDevice {
    return this.#resident.device;
  }

  get stats(): SessionStats {
    return { ...this.#stats, deviceBytes: this.#resident.buffers.bytes };
  }

  /** Runs one entry point. Concurrent calls queue. Throws InputError where an input is missing or does not fit. */
  async run(inputs: RunInputs, options: RunOptions = {}): Promise<Readonly<Record<string, Tensor>>> {
    return (await this.runWith(inputs, options)).outputs;
  }

  /** The same, with what was measured. */
  async runWith(inputs: RunInputs, options: RunOptions = {}): Promise<RunResult> {
    const { tensors, dims, nanoseconds } = await this.#execute(inputs, options, false);
    return { outputs: tensors, dims, ...(nanoseconds && { nanoseconds }) };
  }

  /** The same, with outputs that stay on the device: the caller's to `read()`, to give to another run, and to `destroy()`. */
  async runOnGpu(
    inputs: RunInputs,
    options: Omit<RunOptions, "into"> = {},
  ): Promise<Readonly<Record<string, GpuTensor>>> {
    return (await this.#execute(inputs, options, true)).kept;
  }

  /** The memory plan for some sizes, for the reader. */
  memory(dims: DimEnv = {}, entry?: string): MemoryPlan {
    const e = entryOf(this.plan, entry);
    return planMemory(e, dimReader(e, dims), alignmentOf(this.device));
  }

  /**
   * Constants that were made anew in place of those that the session has: `bytes` are all of them, `ids` those that changed
   * (`repackWeights`). Runs that were asked for before are not touched.
   */
  async setConstants(bytes: Uint8Array, ids: readonly string[]): Promise<void> {
    await this.#enqueue(async (r) => {
      // A device that is lost later is given the new ones.
      this.#source = bytes;
      r.setConstants(bytes, ids);
    });
  }

  /** Waits for the runs under way, then frees what the session holds; the device stays the caller's. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#queue;
    this.#resident.dispose();
  }

  #execute(inputs: RunInputs, options: RunOptions, keep: boolean): Promise<Executed> {
    return this.#enqueue(async (r) => {
      const start = performance.now();
      const entry = entryOf(this.plan, options.entry);
      const outputs = wantedOutputs(entry, options.outputs);
      const into = options.into ?? {};
      const dims = checkInputs(entry, inputs, options.dims ?? {}, r.device);
      const bound = await r.bind(entry, dims);
      checkMemory(outputs, into, bound.size);
      const preparing = performance.now() - start;
      const done = await execute(r, bound, {
        inputs,
        outputs,
        into,
        keep,
        profile: options.profile ?? false,
      });
      const { milliseconds } = done;
      Object.assign(this.#stats, {
        runs: this.#stats.runs + 1,
        submits: this.#stats.submits + 1,
        maps: this.#stats.maps + done.maps,
        dispatches: done.dispatches,
        arenaBytes: bound.memory.bytes,
        peakLiveBytes: bound.memory.peakLive,
        inputMilliseconds: milliseconds.inputs,
        encodeMilliseconds: milliseconds.encode,
        waitMilliseconds: milliseconds.wait,
        outputMilliseconds: milliseconds.outputs,
        hostMilliseconds: preparing + milliseconds.inputs + milliseconds.encode + milliseconds.outputs,
      } satisfies Partial<SessionStats>);
      return done;
    });
  }

  // ---- queue and loss ---------------------------------------------------------------------------------------------

  #enqueue<T>(work: (r: Resident) => Promise<T>): Promise<T> {
    if (this.#disposed)
      return Promise.reject(
        new InputError([
          error("session-disposed", "the session has been disposed of", { help: "make another" }),
        ]),
      );
    const result = this.#queue.then(() => this.#recovering(work));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Does the work; where the device is lost, once more on a new one. */
  async #recovering<T>(work: (r: Resident) => Promise<T>): Promise<T> {
    const before = this.#resident;
    const first = await attempt(before, work);
    if ("value" in first) return first.value;
    if (first.lost === undefined) throw first.failure;
    await this.#rebuild(first.lost, first.failure);
    const second = await attempt(this.#resident, work);
    if ("value" in second) return second.value;
    if (second.lost === undefined) throw second.failure;
    throw deviceLost(second.lost, "it was lost again after it had been rebuilt", second.failure);
  }

  async #rebuild(reason: string, cause: unknown): Promise<void> {
    if (!this.#recreate)
      throw deviceLost(reason, "the session was given no way to open another; make a new session", cause);
    const states = this.#resident.states.dirty;
    const device = await this.#recreate();
    this.#resident = await Resident.create(device, this.plan, this.#source, this.#stats);
    this.#stats.rebuilds++;
    if (states)
      throw new InputError([
        error("state-lost", `the GPU device was lost (${reason}), and with it the values of the states`, {
          help: "the session goes on from their initial values: set them, or start over",
        }),
      ]);
  }
}

type Attempt<T> = { readonly value: T } | { readonly failure: unknown; readonly lost: string | undefined };

async function attempt<T>(r: Resident, work: (r: Resident) => Promise<T>): Promise<Attempt<T>> {
  try {
    if (r.lost !== undefined) return { failure: undefined, lost: r.lost };
    const value = await work(r);
    // Work on a lost device may end as if nothing had happened, and return old memory.
    return r.lost === undefined ? { value } : { failure: undefined, lost: r.lost };
  } catch (failure) {
    return { failure, lost: await lossBehind(r, failure) };
  }
}

/** The loss that a failure comes from: what was under way fails a moment before the loss is told. */
async function lossBehind(r: Resident, failure: unknown): Promise<string | undefined> {
  if (failure instanceof InputError && r.lost === undefined) return undefined;
  if (r.lost === undefined)
    await Promise.race([r.device.lost, new Promise((resolve) => setTimeout(resolve, 50))]);
  return r.lost;
}

function deviceLost(reason: string, help: string, cause: unknown): InputError {
  const lost = new InputError([error("device-lost", `the GPU device was lost: ${reason}`, { help })]);
  if (cause !== undefined) lost.cause = cause;
  return lost;
}

/** The entry point of that name; without one the first. Throws InputError where there is none. */
export function entryOf(plan: Plan, name: string | undefined): PlanEntry {
  const first = plan.entries[0];
  if (!first) throw new Bug("the plan has no entry point");
  const entry = name === undefined ? first : plan.entries.find((e) => e.name === name);
  if (entry) return entry;
  const names = plan.entries.map((e) => e.name);
  const near = nearest(name!, names);
  throw new InputError([
    error("unknown-entry", `the plan has no entry point ${name}`, {
      help: near ? `is it ${near}?` : `it has ${names.join(", ")}`,
    }),
  ]);
}

function emptyStats(plan: Plan): MutableStats {
  return {
    runs: 0,
    submits: 0,
    maps: 0,
    allocations: 0,
    binds: 0,
    rebuilds: 0,
    kernels: plan.kernels.length,
    distinctKernels: distinctKernels(plan.kernels),
    constantBytes: 0,
    pipelineMilliseconds: 0,
    uploadMilliseconds: 0,
    dispatches: 0,
    arenaBytes: 0,
    peakLiveBytes: 0,
    inputMilliseconds: 0,
    encodeMilliseconds: 0,
    waitMilliseconds: 0,
    outputMilliseconds: 0,
    hostMilliseconds: 0,
    deviceBytes: 0,
  };
}
