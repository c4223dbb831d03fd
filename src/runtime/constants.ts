// The constants of a plan on the device: one buffer, or several where they exceed its limit; each constant is a window. The bytes
// come whole or as a stream, and are never copied whole.

import { Bug } from "../support/bug.ts";
import { error, InputError } from "../support/diagnostic.ts";
import type { PlanConstant } from "../ir/plan.ts";
import { bindingBytes, tooLarge, usage, type Buffers, type Place } from "./buffers.ts";

/**
 * The packed constants of a plan. A stream is a function, since a lost device needs the bytes a second time; a piece of it is read
 * before the next is asked for, so all may lie in the same memory.
 */
export type ConstantSource = Uint8Array | (() => AsyncIterable<Uint8Array>);

/** Bytes that go up at a time: enough to be fast, few enough to overlap with compiling. Pieces of this size are not copied together. */
export const pieceBytes = 2 * 2 ** 20;

/** Constants that share a buffer: a range of the constants' bytes. */
interface Run {
  readonly start: number;
  end: number;
  readonly members: PlanConstant[];
}

export interface Constants {
  readonly places: ReadonlyMap<string, Place>;
  readonly bytes: number;
}

export async function uploadConstants(
  device: GPUDevice,
  constants: readonly PlanConstant[],
  source: ConstantSource,
  buffers: Buffers,
): Promise<Constants> {
  checkConstants(device, constants);
  const runs = runsOf(constants, device.limits.maxBufferSize);
  const places = new Map<string, Place>();
  const targets = runs.map((run, i) => {
    const label = runs.length === 1 ? "constants" : `constants ${i + 1} of ${runs.length}`;
    const buffer = buffers.create(
      label,
      run.end - run.start,
      usage.STORAGE | usage.COPY_SRC | usage.COPY_DST,
    );
    for (const c of run.members)
      places.set(c.id, { buffer, offset: c.offset - run.start, size: bindingBytes(c.bytes) });
    return { run, buffer };
  });
  await buffers.settle("the constants of this model need more memory than the device has");
  const need = constants.reduce((n, c) => Math.max(n, c.offset + c.bytes), 0);
  let at = 0;
  for await (const piece of piecesOf(source)) {
    for (const { run, buffer } of targets) {
      const from = Math.max(at, run.start);
      const to = Math.min(at + piece.byteLength, run.end);
      // Runs begin and pieces end at multiples of 256, so only the tail of the last constant may need rounding.
      if (from < to) write(device, buffer, from - run.start, piece.subarray(from - at, to - at));
    }
    at += piece.byteLength;
    if (at >= need) break;
  }
  if (at < need)
    throw new InputError([
      error("constants-cut-off", `the constants hold ${at} bytes, the plan needs ${need}`, {
        help: "they belong to another plan, or the file is cut off",
      }),
    ]);
  return { places, bytes: need };
}

/** Constants of these ids once more, from bytes of the same layout. */
export function rewriteConstants(
  device: GPUDevice,
  constants: readonly PlanConstant[],
  places: ReadonlyMap<string, Place>,
  bytes: Uint8Array,
  ids: readonly string[],
): void {
  for (const id of ids) {
    const c = constants.find((x) => x.id === id);
    const place = places.get(id);
    if (!c || !place)
      throw new InputError([
        error("unknown-constant", `the plan has no constant ${id}`, {
          help: "give ids that `repackWeights` returned for this plan",
        }),
      ]);
    write(device, place.buffer, place.offset, bytes.subarray(c.offset, c.offset + c.bytes));
  }
}

function checkConstants(device: GPUDevice, constants: readonly PlanConstant[]): void {
  const most = device.limits.maxStorageBufferBindingSize;
  for (const c of constants) {
    if (!Number.isSafeInteger(c.offset) || c.offset < 0 || c.offset % 256 !== 0)
      throw new Bug(`constant ${c.id} lies at ${c.offset}, which is no multiple of 256`);
    if (!Number.isSafeInteger(c.bytes) || c.bytes < 0)
      throw new Bug(`constant ${c.id} takes ${c.bytes} bytes`);
    if (c.bytes > most)
      throw tooLarge(
        `constant ${c.id}`,
        c.bytes,
        most,
        "maxStorageBufferBindingSize",
        c.keys.length > 0 ? `it is made from ${c.keys.join(", ")}` : undefined,
      );
  }
}

/** Consecutive constants as long as they fit one buffer. */
function runsOf(constants: readonly PlanConstant[], mostHeld: number): readonly Run[] {
  const runs: Run[] = [];
  for (const c of [...constants].sort((a, b) => a.offset - b.offset)) {
    const run = runs.at(-1);
    const end = c.offset + bindingBytes(c.bytes);
    if (run && end - run.start <= mostHeld) {
      run.members.push(c);
      run.end = Math.max(run.end, end);
    } else runs.push({ start: c.offset, end, members: [c] });
  }
  return runs;
}

/** Pieces of `pieceBytes`, the last one shorter. */
async function* piecesOf(source: ConstantSource): AsyncGenerator<Uint8Array> {
  if (source instanceof Uint8Array) {
    for (let at = 0; at < source.byteLength; at += pieceBytes) yield source.subarray(at, at + pieceBytes);
    return;
  }
  let held: Uint8Array | undefined;
  let filled = 0;
  for await (const piece of source())
    for (let at = 0; at < piece.byteLength;) {
      const part = piece.subarray(at, at + pieceBytes - filled);
      at += part.byteLength;
      if (part.byteLength === pieceBytes) {
        yield part;
        continue;
      }
      held ??= new Uint8Array(pieceBytes);
      held.set(part, filled);
      filled += part.byteLength;
      if (filled === pieceBytes) {
        yield held;
        filled = 0;
      }
    }
  if (held && filled > 0) yield held.subarray(0, filled);
}

/** WebGPU writes whole words, and Dawn no shared memory. */
function write(device: GPUDevice, buffer: GPUBuffer, offset: number, bytes: Uint8Array): void {
  const shared = typeof SharedArrayBuffer !== "undefined" && bytes.buffer instanceof SharedArrayBuffer;
  if (!shared && bytes.byteLength % 4 === 0) {
    device.queue.writeBuffer(buffer, offset, bytes as Uint8Array<ArrayBuffer>);
    return;
  }
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  device.queue.writeBuffer(buffer, offset, padded);
}
