// The way up for large inputs. `queue.writeBuffer` takes new memory of the driver for what does not fit into its own small ring, and new
// memory is slow: the system clears every page of it first. So a session keeps one buffer that lies in the program's memory, writes into it,
// and lets the run begin with a copy from it. It is mapped again right after the submit: when the outputs of a run can be read its inputs
// have been, so the next run, which waits for that in any case, finds it ready.

import { encodedBytes, encodeInto } from "../ir/encode.ts";
import type { PlanEntry } from "../ir/plan.ts";
import { elementCount, type Tensor } from "../ir/tensor.ts";
import { mapWrite, usage, type Buffers } from "./buffers.ts";
import type { RunInputs } from "./inputs.ts";
import { isGpuTensor } from "./transfer.ts";
import { awaitDevice } from "./wait.ts";

/** Bytes of an input from which it pays (bench/pack/upload.ts): Dawn's own ring has room for what is smaller. */
export const stagedFrom = 2 ** 20;

/** What goes this way in a run, and where in the staging buffer. */
export interface Staged {
  readonly inputs: readonly {
    readonly input: PlanEntry["inputs"][number];
    readonly tensor: Tensor;
    readonly offset: number;
    readonly bytes: number;
  }[];
  readonly bytes: number;
}

/** In the order of the entry; inputs that no longer fit into one buffer of `most` bytes go by `writeBuffer`. */
export function stagedInputs(entry: PlanEntry, inputs: RunInputs, most: number): Staged {
  const staged: Staged["inputs"][number][] = [];
  let end = 0;
  for (const input of entry.inputs) {
    const tensor = inputs[input.name]!;
    if (isGpuTensor(tensor)) continue;
    const bytes = encodedBytes(input.dtype, elementCount(tensor.shape));
    if (bytes < stagedFrom || end + bytes > most) continue;
    staged.push({ input, tensor, offset: end, bytes });
    end += Math.ceil(bytes / 8) * 8;
  }
  return { inputs: staged, bytes: end };
}

/** One buffer, grown to the most that a run has needed. A run opens it, fills it, encodes its copies, submits, and hands it back. */
export class Staging {
  readonly #buffers: Buffers;
  #buffer: GPUBuffer | undefined;
  /** Settled when the buffer can be written; undefined while it cannot become so by itself. */
  #mapping: Promise<unknown> | undefined;
  #mapped = false;

  constructor(buffers: Buffers) {
    this.#buffers = buffers;
  }

  /** Waits until there are `bytes` to write. */
  async open(bytes: number): Promise<void> {
    const { buffer, changed } = this.#buffers.grow(
      "inputs on their way",
      bytes,
      usage.MAP_WRITE | usage.COPY_SRC,
    );
    if (changed) {
      this.#buffer = this.#mapping = undefined;
      await this.#buffers.settle("run a smaller batch");
    }
    this.#buffer = buffer;
    if (!this.#mapping) this.#map(buffer);
    if (!this.#mapped) await awaitDevice(this.#mapping!);
  }

  /** The buffer with these inputs in it, for the copies of this run. */
  fill({ inputs, bytes }: Staged): GPUBuffer {
    const buffer = this.#buffer!;
    const memory = buffer.getMappedRange(0, bytes);
    for (const { input, tensor, offset } of inputs)
      encodeInto(memory, offset, tensor, input.dtype, input.order);
    this.#mapping = undefined;
    buffer.unmap();
    return buffer;
  }

  /** After the submit, and after a run that never came to it: ready for the next. */
  handBack(): void {
    if (this.#buffer && !this.#mapping) this.#map(this.#buffer);
  }

  #map(buffer: GPUBuffer): void {
    this.#mapped = false;
    // A run that failed between has left it mapped.
    buffer.unmap();
    const mapping = buffer.mapAsync(mapWrite);
    this.#mapping = mapping;
    mapping.then(
      () => (this.#mapped = this.#mapping === mapping),
      // Whoever opens it next asks again, and is told.
      () => this.#mapping === mapping && (this.#mapping = undefined),
    );
  }
}
