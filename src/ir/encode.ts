// Between CPU tensors and the bytes a GPU buffer holds: element encodings and physical order.

import { Bug } from "../support/bug.ts";
import { elementCount, newData, stridesOfShape, type Tensor, type TensorData } from "./tensor.ts";
import type { DType } from "./types.ts";
import { halfToBits, numbersOfBits } from "../support/half.ts";

/** Calls `row` for every run of the innermost physical axis: where it starts in row-major order, how far its elements are apart there,
 * how many they are, and where it starts in physical order. Runs, because a call for each element costs more than its copy. */
function eachPhysicalRow(
  shape: readonly number[],
  order: readonly number[],
  row: (base: number, step: number, count: number, at: number) => void,
): void {
  const count = elementCount(shape);
  if (count === 0) return;
  const logical = stridesOfShape(shape);
  const sizes = order.map((a) => shape[a]!);
  const steps = order.map((a) => logical[a]!);
  const last = sizes.length - 1;
  const length = sizes[last] ?? 1;
  const at = sizes.map(() => 0);
  let base = 0;
  for (let done = 0; done < count; done += length) {
    row(base, steps[last] ?? 0, length, done);
    for (let a = last - 1; a >= 0; a--) {
      at[a]!++;
      base += steps[a]!;
      if (at[a]! < sizes[a]!) break;
      base -= steps[a]! * sizes[a]!;
      at[a] = 0;
    }
  }
}

type Words = Float32Array | Int32Array | Uint32Array | Int8Array;

/** The elements in physical order. */
function putInOrder(to: Words | TensorData, t: Tensor, order: readonly number[]): void {
  const { data } = t;
  eachPhysicalRow(t.shape, order, (base, step, count, at) => {
    for (let k = 0; k < count; k++) to[at + k] = data[base + k * step]!;
  });
}

function inPhysicalOrder(t: Tensor, order: readonly number[] | undefined): TensorData {
  if (!order) return t.data;
  const out = t.data.slice();
  putInOrder(out, t, order);
  return out;
}

/** Bytes of so many elements as the device stores them, padded to a multiple of four. */
export function encodedBytes(dtype: DType, count: number): number {
  switch (dtype) {
    case "f32":
    case "i32":
    case "u32":
    case "bool":
      return count * 4;
    case "f16":
      return Math.ceil(count / 2) * 4;
    case "i8":
      return Math.ceil(count / 4) * 4;
    case "i4":
      return Math.ceil(count / 8) * 4;
    default:
      return dtype satisfies never;
  }
}

/** Bytes as the device stores the tensor, padded to a multiple of four. */
export function encodeTensor(t: Tensor, dtype: DType, order?: readonly number[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(encodedBytes(dtype, elementCount(t.shape)));
  encodeInto(out.buffer, 0, t, dtype, order);
  return out;
}

/** The same into memory that is there, `encodedBytes` from `offset`, a multiple of four. It is only written, never read. */
export function encodeInto(
  to: ArrayBuffer,
  offset: number,
  t: Tensor,
  dtype: DType,
  order?: readonly number[],
): void {
  const count = elementCount(t.shape);
  const bytes = encodedBytes(dtype, count);
  const put = (words: Words): void => {
    if (order) putInOrder(words, t, order);
    else words.set(t.data);
    words.fill(0, count);
  };
  switch (dtype) {
    case "f32":
      return put(new Float32Array(to, offset, count));
    case "i32":
      return put(new Int32Array(to, offset, count));
    case "u32":
      return put(new Uint32Array(to, offset, count));
    case "bool": {
      const values = inPhysicalOrder(t, order);
      const words = new Uint32Array(to, offset, count);
      for (let i = 0; i < count; i++) words[i] = values[i] === 0 ? 0 : 1;
      return;
    }
    case "f16": {
      const values = inPhysicalOrder(t, order);
      const halves = new Uint16Array(to, offset, bytes / 2);
      for (let i = 0; i < count; i++) halves[i] = halfToBits(values[i]!);
      halves.fill(0, count);
      return;
    }
    case "i8":
      return put(new Int8Array(to, offset, bytes));
    case "i4":
      return new Uint8Array(to, offset, bytes).set(pairsOfNibbles(inPhysicalOrder(t, order), bytes));
    default:
      return dtype satisfies never;
  }
}

/** Integers of four bits, two to a byte, the first in the low half; the rest of `bytes` is 0. */
export function pairsOfNibbles(values: ArrayLike<number>, bytes: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes);
  for (let i = 0; i < values.length; i++) out[i >> 1]! |= (values[i]! & 15) << (4 * (i & 1));
  return out;
}

/** The tensor in `bytes` from `offset`, a multiple of eight; it is copied, into `data` where that is given. */
export function decodeTensor(
  bytes: ArrayBuffer,
  dtype: DType,
  shape: readonly number[],
  order?: readonly number[],
  offset = 0,
  data = newData(dtype, elementCount(shape)),
): Tensor {
  const count = elementCount(shape);
  const stored = storedView(bytes, offset, dtype, count);
  if (!order) data.set(stored);
  else {
    eachPhysicalRow(shape, order, (base, step, n, at) => {
      for (let k = 0; k < n; k++) data[base + k * step] = stored[at + k]!;
    });
  }
  return { dtype, shape, data };
}

function storedView(bytes: ArrayBuffer, offset: number, dtype: DType, count: number): ArrayLike<number> {
  switch (dtype) {
    case "f32":
      return new Float32Array(bytes, offset, count);
    case "i32":
      return new Int32Array(bytes, offset, count);
    case "u32":
    case "bool":
      return new Uint32Array(bytes, offset, count);
    case "f16":
      return numbersOfBits(new Uint16Array(bytes, offset, count));
    case "i8":
      return new Int8Array(bytes, offset, count);
    case "i4": {
      const pairs = new Int8Array(bytes, offset);
      return Int32Array.from({ length: count }, (_, i) => (pairs[i >> 1]! << (i & 1 ? 24 : 28)) >> 28);
    }
    default:
      throw new Bug(`no encoding for ${String(dtype satisfies never)}`);
  }
}
