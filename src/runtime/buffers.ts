// The buffers of one device: counted, named, and grown rather than multiplied, so that a session holds the largest sizes it has met
// and no more. Every allocation stands in its own error scope, so that running out of memory is told with the name of what was asked.

import { Bug } from "../support/bug.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { showBytes } from "./sizes.ts";

/** WebGPU's usage flags and map modes, by number: the names are globals only in browsers. */
export const usage = {
  MAP_READ: 0x1,
  MAP_WRITE: 0x2,
  COPY_SRC: 0x4,
  COPY_DST: 0x8,
  UNIFORM: 0x40,
  STORAGE: 0x80,
  INDIRECT: 0x100,
  QUERY_RESOLVE: 0x200,
} as const;
export const mapRead = 1;
export const mapWrite = 2;

/** A window of a buffer, as it is bound. */
export interface Place {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** Bytes of a binding: whole vec4s, so that a kernel that reads four at a time has at least one to bind. */
export function bindingBytes(bytes: number): number {
  return Math.ceil(Math.max(bytes, 16) / 16) * 16;
}

interface Request {
  readonly label: string;
  readonly bytes: number;
  readonly memory: Promise<GPUError | null>;
  readonly validation: Promise<GPUError | null>;
}

/** Counters that outlive a device. */
export interface AllocationCount {
  allocations: number;
}

export class Buffers {
  readonly #device: GPUDevice;
  readonly #count: AllocationCount;
  readonly #grown = new Map<string, GPUBuffer>();
  readonly #owned = new Set<GPUBuffer>();
  #requests: Request[] = [];

  constructor(device: GPUDevice, count: AllocationCount) {
    this.#device = device;
    this.#count = count;
  }

  /** A buffer of its own; `settle` says whether there was room. */
  create(label: string, bytes: number, flags: number): GPUBuffer {
    const size = bindingBytes(bytes);
    if (size > this.#device.limits.maxBufferSize)
      throw tooLarge(label, size, this.#device.limits.maxBufferSize, "maxBufferSize");
    this.#count.allocations++;
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    const buffer = this.#device.createBuffer({ label, size, usage: flags });
    const validation = this.#device.popErrorScope();
    const memory = this.#device.popErrorScope();
    // Whoever settles sees a rejection; until then it is not an unhandled one.
    for (const p of [validation, memory]) p.catch(() => undefined);
    this.#requests.push({ label, bytes: size, memory, validation });
    this.#owned.add(buffer);
    return buffer;
  }

  /** The buffer of that name, made or made larger; true where it is another one than before. */
  grow(
    name: string,
    bytes: number,
    flags: number,
  ): { readonly buffer: GPUBuffer; readonly changed: boolean } {
    const old = this.#grown.get(name);
    if (old && old.size >= bindingBytes(bytes)) return { buffer: old, changed: false };
    // The old one first: both at once may be more than there is.
    if (old) this.destroy(old);
    this.#grown.delete(name);
    const buffer = this.create(name, bytes, flags);
    this.#grown.set(name, buffer);
    return { buffer, changed: true };
  }

  destroy(buffer: GPUBuffer): void {
    this.#owned.delete(buffer);
    buffer.destroy();
  }

  /** The caller's from now on. */
  giveAway(buffer: GPUBuffer): void {
    this.#owned.delete(buffer);
  }

  /** Waits for the allocations since the last call; throws by name for the first that failed, and forgets those that did. */
  async settle(help?: string): Promise<void> {
    const requests = this.#requests;
    this.#requests = [];
    let failure: InputError | Bug | undefined;
    for (const r of requests) {
      const [memory, validation] = await Promise.all([r.memory, r.validation]);
      if (!memory && !validation) continue;
      const lost = this.#grown.get(r.label);
      if (lost) {
        this.#grown.delete(r.label);
        this.destroy(lost);
      }
      failure ??= memory
        ? outOfMemory(r, help)
        : new Bug(`the device refused the buffer ${r.label} of ${r.bytes} bytes: ${validation!.message}`);
    }
    if (failure) throw failure;
  }

  /** Everything made here and not yet destroyed. */
  get bytes(): number {
    let sum = 0;
    for (const b of this.#owned) sum += b.size;
    return sum;
  }

  destroyAll(): void {
    for (const b of this.#owned) b.destroy();
    this.#owned.clear();
    this.#grown.clear();
  }
}

function outOfMemory(r: Request, help: string | undefined): InputError {
  return new InputError([
    error("out-of-memory", `the device has no room for ${showBytes(r.bytes)} of ${r.label}`, { help }),
  ]);
}

export function tooLarge(
  what: string,
  bytes: number,
  limit: number,
  name: string,
  help?: string,
): InputError {
  return new InputError([
    error("too-large", `${what} takes ${showBytes(bytes)}, the adapter allows ${showBytes(limit)}`, {
      notes: [{ message: `the limit is ${name}` }],
      help: help ?? "run a smaller batch, or on an adapter with higher limits",
    }),
  ]);
}
