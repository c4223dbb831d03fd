// All that a plan holds on one device: pipelines, constants, states, buffers, and what is bound for the sizes met last. When the
// device is lost, this whole object is, and the session makes another.

import { InputError } from "../support/diagnostic.ts";
import type { DimEnv } from "../ir/dim.ts";
import type { Plan, PlanEntry } from "../ir/plan.ts";
import { bindEntry, type Bound, type Surroundings } from "./bound.ts";
import { Buffers, usage, type AllocationCount } from "./buffers.ts";
import { rewriteConstants, uploadConstants, type ConstantSource } from "./constants.ts";
import { checkDevice, createPipelines } from "./pipelines.ts";
import { Staging } from "./staging.ts";
import { States } from "./states.ts";

/** As many sets of sizes stay bound as a server usually alternates between; a set costs a uniform buffer and bind groups. */
const KEPT = 8;

/** Clocks and counters, kept by the session. */
export interface ResidentStats extends AllocationCount {
  pipelineMilliseconds: number;
  uploadMilliseconds: number;
  constantBytes: number;
  binds: number;
}

export class Resident {
  readonly device: GPUDevice;
  readonly buffers: Buffers;
  readonly staging: Staging;
  readonly states: States;
  readonly surroundings: Surroundings;
  /** Why the device is gone; undefined while it is there. */
  lost: string | undefined;
  readonly #stats: ResidentStats;
  /** In order of use, the latest last. */
  readonly #bound = new Map<string, Bound>();

  private constructor(surroundings: Surroundings, states: States, stats: ResidentStats) {
    this.device = surroundings.device;
    this.buffers = surroundings.buffers;
    this.staging = new Staging(surroundings.buffers);
    this.states = states;
    this.surroundings = surroundings;
    this.#stats = stats;
    void this.device.lost.then((info) => {
      this.lost = info.message || info.reason || "no reason given";
    });
  }

  /** Asks for all pipelines first; the constants go up while they compile. */
  static async create(
    device: GPUDevice,
    plan: Plan,
    source: ConstantSource,
    stats: ResidentStats,
  ): Promise<Resident> {
    const misfits = checkDevice(device, plan);
    if (misfits.length > 0) throw new InputError(misfits);
    const buffers = new Buffers(device, stats);
    try {
      const start = performance.now();
      const pipelines = createPipelines(device, plan.kernels).finally(() => {
        stats.pipelineMilliseconds = performance.now() - start;
      });
      // Seen below; an upload that fails first must not leave it unhandled.
      pipelines.catch(() => undefined);
      const constants = await uploadConstants(device, plan.constants, source, buffers);
      stats.uploadMilliseconds = performance.now() - start;
      stats.constantBytes = constants.bytes;
      const states = new States(device, buffers, plan);
      const words = Math.max(0, ...plan.entries.map(extentsOf));
      const flags = usage.STORAGE | usage.COPY_SRC | usage.COPY_DST | usage.INDIRECT;
      const extents = words > 0 ? buffers.create("extents", words * 4, flags) : undefined;
      await buffers.settle();
      const surroundings: Surroundings = {
        device,
        plan,
        pipelines: await pipelines,
        buffers,
        constants: constants.places,
        extents,
        state: (name) => states.place(name),
      };
      return new Resident(surroundings, states, stats);
    } catch (e) {
      buffers.destroyAll();
      throw e;
    }
  }

  /** The entry point at some sizes: the one kept from before, or a new one. */
  async bind(entry: PlanEntry, dims: DimEnv): Promise<Bound> {
    const names = Object.keys(dims).sort();
    const key = `${entry.name} ${names.map((n) => `${n}=${dims[n]!}`).join(" ")}`;
    let bound = this.#bound.get(key);
    this.#bound.delete(key);
    if (!bound) {
      const oldest = this.#bound.size >= KEPT ? this.#bound.keys().next().value : undefined;
      if (oldest !== undefined) this.#forget(oldest);
      this.#stats.binds++;
      bound = await bindEntry(this.surroundings, entry, dims, () => this.#forgetAll());
    }
    this.#bound.set(key, bound);
    return bound;
  }

  setConstants(bytes: Uint8Array, ids: readonly string[]): void {
    const { device, plan, constants } = this.surroundings;
    rewriteConstants(device, plan.constants, constants, bytes, ids);
  }

  #forgetAll(): void {
    for (const key of [...this.#bound.keys()]) this.#forget(key);
  }

  #forget(key: string): void {
    const bound = this.#bound.get(key);
    this.#bound.delete(key);
    if (bound) this.buffers.destroy(bound.uniforms);
  }

  dispose(): void {
    this.#bound.clear();
    this.buffers.destroyAll();
  }
}

/** Words of the extents that an entry point needs. */
function extentsOf({ symbols, extents = 0 }: PlanEntry): number {
  return Math.max(extents, ...symbols.map((s) => (s.kind === "bounded" ? s.slot + 1 : 0)));
}
