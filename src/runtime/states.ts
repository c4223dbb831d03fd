// State that stays on the device between runs: a buffer for each name, shared by all entry points. Knows nothing of the runs that
// change it but that they do.

import { error, InputError } from "../support/diagnostic.ts";
import { showDim, symbolsOf } from "../ir/dim.ts";
import { decodeTensor } from "../ir/encode.ts";
import type { Plan, PlanEntry } from "../ir/plan.ts";
import { elementCount, newData, type Tensor } from "../ir/tensor.ts";
import { mapRead, usage, type Buffers, type Place } from "./buffers.ts";
import { dimOf, dimReader, tensorBytes } from "./memory.ts";
import { bytesOfTensor } from "./transfer.ts";
import { awaitDevice } from "./wait.ts";

type PlanState = PlanEntry["states"][number];

interface Held {
  readonly decl: PlanState;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly place: Place;
}

export class States {
  readonly #device: GPUDevice;
  readonly #buffers: Buffers;
  readonly #held: ReadonlyMap<string, Held>;
  /** Holds what initial values do not say: a run or a `set` came since. */
  dirty = false;

  constructor(device: GPUDevice, buffers: Buffers, plan: Plan) {
    this.#device = device;
    this.#buffers = buffers;
    const held = new Map<string, Held>();
    for (const decl of plan.entries.flatMap((e) => e.states)) {
      if (held.has(decl.name)) continue;
      const size = dimReader({ symbols: [] }, {});
      const shape = constantShape(decl).map(size);
      const bytes = tensorBytes(decl, size);
      const buffer = buffers.create(
        `state ${decl.name}`,
        bytes,
        usage.STORAGE | usage.COPY_DST | usage.COPY_SRC,
      );
      held.set(decl.name, { decl, shape, bytes, place: { buffer, offset: 0, size: buffer.size } });
    }
    this.#held = held;
    this.reset();
  }

  place(name: string): Place {
    return this.#find(name).place;
  }

  bytes(name: string): number {
    return this.#find(name).bytes;
  }

  /** All states, or one, back to their initial values. Buffers stay, as bind groups hold them. */
  reset(name?: string): void {
    for (const h of name === undefined ? this.#held.values() : [this.#find(name)]) {
      const data = newData(h.decl.dtype, elementCount(h.shape)).fill(h.decl.initial);
      this.#write(h, { dtype: h.decl.dtype, shape: h.shape, data });
    }
    if (name === undefined) this.dirty = false;
  }

  set(name: string, value: Tensor): void {
    const h = this.#find(name);
    const [want, got] = [h.shape.join(", "), value.shape.join(", ")];
    if (value.dtype !== h.decl.dtype || got !== want || value.data.length !== elementCount(h.shape))
      throw new InputError([
        error("state-type", `state ${name} is ${h.decl.dtype}[${want}], not ${value.dtype}[${got}]`),
      ]);
    this.#write(h, value);
    this.dirty = true;
  }

  async get(name: string): Promise<Tensor> {
    const h = this.#find(name);
    const staging = this.#buffers.create(`state ${name}`, h.bytes, usage.COPY_DST | usage.MAP_READ);
    try {
      await this.#buffers.settle();
      if (h.bytes > 0) {
        const encoder = this.#device.createCommandEncoder();
        encoder.copyBufferToBuffer(h.place.buffer, 0, staging, 0, h.bytes);
        this.#device.queue.submit([encoder.finish()]);
      }
      await awaitDevice(staging.mapAsync(mapRead));
      const { dtype, order } = h.decl;
      return decodeTensor(staging.getMappedRange(), dtype, h.shape, order);
    } finally {
      this.#buffers.destroy(staging);
    }
  }

  #write(h: Held, value: Tensor): void {
    this.#device.queue.writeBuffer(h.place.buffer, 0, bytesOfTensor(value, h.decl.dtype, h.decl.order));
  }

  #find(name: string): Held {
    const found = this.#held.get(name);
    if (found) return found;
    const names = [...this.#held.keys()];
    throw new InputError([
      error("unknown-state", `the model has no state ${name}`, {
        help: names.length > 0 ? `its states are ${names.join(", ")}` : "it has none",
      }),
    ]);
  }
}

/** Memory that outlives a run cannot depend on the sizes of one. */
function constantShape(decl: PlanState): readonly string[] {
  const free = decl.shape.find((d) => symbolsOf(dimOf(d)).size > 0);
  if (free === undefined) return decl.shape;
  throw new InputError([
    error(
      "state-shape",
      `state ${decl.name} has the size ${showDim(dimOf(free))}, which differs between runs`,
      {
        help: "a state needs a size that is known when the model is compiled",
      },
    ),
  ]);
}
