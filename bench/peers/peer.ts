// What a peer is: something that can run the benchmark's models. Each runs in a process of its own, so drivers, thread pools and
// shader caches are not shared. To add one: write a record like these and name it in index.ts.

import type { Tensor } from "../../src/ir/tensor.ts";
import type { Case } from "../cases.ts";

export type Outputs = Readonly<Record<string, Tensor>>;

/** A step of getting ready, in milliseconds. */
export interface Part {
  readonly name: string;
  readonly milliseconds: number;
}

/** What the device did in one run, by its own clock: medians of several runs. */
export interface DeviceTime {
  readonly milliseconds: number;
  /** How it was taken. */
  readonly by: string;
  readonly kernels: readonly KernelTime[];
}

export interface KernelTime {
  readonly name: string;
  readonly count: number;
  readonly milliseconds: number;
  readonly note?: string;
}

export interface Prepared {
  /** From inputs in the program's memory to outputs in the program's memory. */
  run(): Promise<Outputs>;
  /** Milliseconds of `run`, where only the peer itself can take them (it computes in another process). */
  time?(): Promise<number>;
  /** Milliseconds of one run whose inputs and outputs stay on the device. */
  resident?(): Promise<number>;
  device?(): Promise<DeviceTime | undefined>;
  /** From the model's file (or its export) and weights in memory to the first outputs; what a user waits for. */
  readonly firstRun: readonly Part[];
  /** Anything worth knowing beside times: adapter, versions, dispatches, bytes. */
  readonly stats: Readonly<Record<string, string | number>>;
  dispose(): Promise<void>;
}

export interface Peer {
  readonly name: string;
  readonly doc: string;
  /** Does it compute on the adapter that the benchmark is about? */
  readonly device: "gpu" | "cpu";
  /** Largest relative difference of its outputs, where it computes with fewer bits. */
  readonly allowed?: number;
  /** Is the case one for it? Default: every one is. */
  fits?(c: Case): boolean;
  prepare(c: Case): Promise<Prepared>;
}

/** Notes how long each step takes. */
export function stopwatch(): {
  readonly parts: Part[];
  step<T>(name: string, work: () => T | Promise<T>): Promise<T>;
} {
  const parts: Part[] = [];
  return {
    parts,
    async step(name, work) {
      const start = performance.now();
      const result = await work();
      parts.push({ name, milliseconds: performance.now() - start });
      return result;
    },
  };
}
