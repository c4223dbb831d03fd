// Between CPU tensors and the bytes a GPU buffer holds: element encodings and physical order.

import { Bug } from "../support/bug.ts";
import { elementCount, newData, stridesOfShape, type Tensor, type TensorData } from "./tensor.ts";
import type { DType } from "./types.ts";
import { halfFromBits, halfToBits } from "../support/half.ts";

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

/** The elements in physical order, in an array of the same kind. */
function inPhysicalOrder(t: Tensor, order: readonly number[]): TensorData {
  const { data } = t;
  const out = data.slice();
  eachPhysicalRow(t.shape, order, (base, step, count, at) => {
    for (let k = 0; k < count; k++) out[at + k] = data[base + k * step]!;
  });
  return out;
}

/** Bytes as the device stores the tensor, padded to a multiple of four. */
export function encodeTensor(t: Tensor, dtype: DType, order?: readonly number[]): Uint8Array<ArrayBuffer> {
  const count = elementCount(t.shape);
  const values = order ? inPhysicalOrder(t, order) : t.data;
  switch (dtype) {
    case "f32":
      return bytesOfArray(new Float32Array(values));
    case "i32":
      return bytesOfArray(new Int32Array(values));
    case "u32":
      return bytesOfArray(new Uint32Array(values));
    case "bool":
      return bytesOfArray(Uint32Array.from(values, (x) => (x === 0 ? 0 : 1)));
    case "f16": {
      const halves = new Uint16Array(Math.ceil(count / 2) * 2);
      for (let i = 0; i < count; i++) halves[i] = halfToBits(values[i]!);
      return bytesOfArray(halves);
    }
    case "i8": {
      const out = new Int8Array(Math.ceil(count / 4) * 4);
      out.set(values);
      return bytesOfArray(out);
    }
    case "i4":
      return pairsOfNibbles(values, Math.ceil(count / 8) * 4);
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

function bytesOfArray(
  a: Float32Array | Int32Array | Uint32Array | Uint16Array | Int8Array,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength);
}

export function decodeTensor(
  bytes: ArrayBuffer,
  dtype: DType,
  shape: readonly number[],
  order?: readonly number[],
): Tensor {
  const count = elementCount(shape);
  const data = newData(dtype, count);
  const stored = storedView(bytes, dtype, count);
  if (!order) data.set(stored);
  else {
    eachPhysicalRow(shape, order, (base, step, n, at) => {
      for (let k = 0; k < n; k++) data[base + k * step] = stored[at + k]!;
    });
  }
  return { dtype, shape, data };
}

function storedView(bytes: ArrayBuffer, dtype: DType, count: number): ArrayLike<number> {
  switch (dtype) {
    case "f32":
      return new Float32Array(bytes, 0, count);
    case "i32":
      return new Int32Array(bytes, 0, count);
    case "u32":
    case "bool":
      return new Uint32Array(bytes, 0, count);
    case "f16":
      return Float32Array.from(new Uint16Array(bytes, 0, count), halfFromBits);
    case "i8":
      return new Int8Array(bytes, 0, count);
    case "i4": {
      const pairs = new Int8Array(bytes);
      return Int32Array.from({ length: count }, (_, i) => (pairs[i >> 1]! << (i & 1 ? 24 : 28)) >> 28);
    }
    default:
      throw new Bug(`no encoding for ${String(dtype satisfies never)}`);
  }
}
