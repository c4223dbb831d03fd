// The constants of a plan on the device: one buffer, or several where they exceed its limit; each constant is a window.

import { Bug } from "../support/bug.ts";
import { error, InputError } from "../support/diagnostic.ts";
import type { PlanConstant } from "../ir/plan.ts";

interface Window {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** Pieces in which the bytes go up: small enough to overlap with compiling. */
const CHUNK = 8 * 2 ** 20;
const STORAGE_COPY = 128 | 8 | 4;

export class Constants {
  readonly #windows: ReadonlyMap<string, Window>;
  readonly #buffers: readonly GPUBuffer[];

  private constructor(windows: ReadonlyMap<string, Window>, buffers: readonly GPUBuffer[]) {
    this.#windows = windows;
    this.#buffers = buffers;
  }

  static async upload(
    device: GPUDevice,
    constants: readonly PlanConstant[],
    bytes: Uint8Array<ArrayBuffer>,
    allocated: () => void,
  ): Promise<Constants> {
    const { maxStorageBufferBindingSize: mostBound, maxBufferSize: mostHeld } = device.limits;
    for (const c of constants) {
      if (c.bytes > mostBound)
        throw new InputError([
          error(
            "too-large",
            `constant ${c.id} takes ${c.bytes} bytes, the adapter binds at most ${mostBound}`,
            {
              help: `it is made from ${c.keys.join(", ")}`,
            },
          ),
        ]);
      if (c.offset + c.bytes > bytes.byteLength || c.offset < 0)
        throw new Bug(`constant ${c.id} lies outside of the constants file (${bytes.byteLength} bytes)`);
    }
    // Runs of constants that fit one buffer.
    const runs: { start: number; end: number; members: PlanConstant[] }[] = [];
    for (const c of [...constants].sort((a, b) => a.offset - b.offset)) {
      const run = runs.at(-1);
      if (run && c.offset + c.bytes - run.start <= mostHeld) {
        run.members.push(c);
        run.end = c.offset + c.bytes;
      } else runs.push({ start: c.offset, end: c.offset + c.bytes, members: [c] });
    }
    const windows = new Map<string, Window>();
    const buffers = runs.map((run) => {
      const size = Math.ceil((run.end - run.start) / 256) * 256;
      allocated();
      const buffer = device.createBuffer({ label: "constants", size, usage: STORAGE_COPY });
      for (let at = run.start; at < run.end; at += CHUNK) {
        const end = Math.min(run.end, at + CHUNK);
        device.queue.writeBuffer(buffer, at - run.start, bytes, at, Math.ceil((end - at) / 4) * 4);
      }
      for (const c of run.members)
        windows.set(c.id, { buffer, offset: c.offset - run.start, size: Math.max(4, c.bytes) });
      return buffer;
    });
    return new Constants(windows, buffers);
  }

  locate(id: string): Window {
    const found = this.#windows.get(id);
    if (!found) throw new Bug(`the plan has no value ${id}`);
    return found;
  }

  destroy(): void {
    for (const b of this.#buffers) b.destroy();
  }
}
