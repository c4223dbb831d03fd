// Nanoseconds of each dispatch by timestamp queries, one pass each. Allocates for each run: profiling is not the fast path.

import { mapRead, usage } from "./buffers.ts";
import { awaitDevice } from "./wait.ts";

/** A query set holds at most 4096 queries; a dispatch takes two. */
const DISPATCHES_PER_SET = 2048;

export class Timer {
  readonly #sets: readonly { readonly set: GPUQuerySet; readonly queries: number }[];
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;
  readonly #dispatches: number;

  constructor(device: GPUDevice, dispatches: number) {
    this.#dispatches = dispatches;
    const sets: { set: GPUQuerySet; queries: number }[] = [];
    for (let at = 0; at < dispatches; at += DISPATCHES_PER_SET) {
      const queries = 2 * Math.min(DISPATCHES_PER_SET, dispatches - at);
      sets.push({ set: device.createQuerySet({ type: "timestamp", count: queries }), queries });
    }
    this.#sets = sets;
    const size = Math.max(dispatches, 1) * 16;
    this.#resolved = device.createBuffer({ size, usage: usage.QUERY_RESOLVE | usage.COPY_SRC });
    this.#staging = device.createBuffer({ size, usage: usage.COPY_DST | usage.MAP_READ });
  }

  /** For the pass of dispatch i. */
  writes(i: number): GPUComputePassTimestampWrites {
    const { set } = this.#sets[Math.floor(i / DISPATCHES_PER_SET)]!;
    const at = 2 * (i % DISPATCHES_PER_SET);
    return { querySet: set, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  }

  resolve(encoder: GPUCommandEncoder): void {
    this.#sets.forEach(({ set, queries }, i) =>
      encoder.resolveQuerySet(set, 0, queries, this.#resolved, i * DISPATCHES_PER_SET * 16),
    );
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, this.#resolved.size);
  }

  async read(): Promise<readonly number[]> {
    await awaitDevice(this.#staging.mapAsync(mapRead));
    const times = new BigUint64Array(this.#staging.getMappedRange());
    // A dispatch with an empty grid writes nothing; clocks of some drivers step back by a tick.
    return Array.from({ length: this.#dispatches }, (_, i) =>
      Math.max(0, Number(times[2 * i + 1]! - times[2 * i]!)),
    );
  }

  destroy(): void {
    for (const { set } of this.#sets) set.destroy();
    this.#resolved.destroy();
    this.#staging.destroy();
  }
}
