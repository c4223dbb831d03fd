// Between CPU tensors and the bytes a GPU buffer holds: element encodings and physical order.

import { Bug } from "../support/bug.ts";
import { elementCount, newData, stridesOfShape, type Tensor } from "./tensor.ts";
import type { DType } from "./types.ts";
import { halfFromBits, halfToBits } from "../support/half.ts";

/** Row-major position of each element, walked in physical order. */
export function* physicalOrder(shape: readonly number[], order: readonly number[]): Generator<number> {
  const logical = stridesOfShape(shape);
  const sizes = order.map((a) => shape[a]!);
  const steps = order.map((a) => logical[a]!);
  const at = sizes.map(() => 0);
  const count = elementCount(shape);
  let base = 0;
  for (let i = 0; i < count; i++) {
    yield base;
    for (let a = sizes.length - 1; a >= 0; a--) {
      at[a]!++;
      base += steps[a]!;
      if (at[a]! < sizes[a]!) break;
      base -= steps[a]! * sizes[a]!;
      at[a] = 0;
    }
  }
}

/** Bytes as the device stores the tensor, padded to a multiple of four. */
export function encodeTensor(t: Tensor, dtype: DType, order?: readonly number[]): Uint8Array<ArrayBuffer> {
  const count = elementCount(t.shape);
  const values = order ? Array.from(physicalOrder(t.shape, order), (at) => t.data[at]!) : t.data;
  switch (dtype) {
    case "f32":
      return bytesOfArray(Float32Array.from(values));
    case "i32":
      return bytesOfArray(Int32Array.from(values));
    case "u32":
      return bytesOfArray(Uint32Array.from(values));
    case "bool":
      return bytesOfArray(Uint32Array.from(values, (x) => (x === 0 ? 0 : 1)));
    case "f16": {
      const halves = new Uint16Array(Math.ceil(count / 2) * 2);
      for (let i = 0; i < count; i++) halves[i] = halfToBits(values[i]!);
      return bytesOfArray(halves);
    }
    default:
      return dtype satisfies never;
  }
}

function bytesOfArray(a: Float32Array | Int32Array | Uint32Array | Uint16Array): Uint8Array<ArrayBuffer> {
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
    let i = 0;
    for (const at of physicalOrder(shape, order)) data[at] = stored[i++]!;
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
      return Array.from(new Uint16Array(bytes, 0, count), halfFromBits);
    default:
      throw new Bug(`no encoding for ${String(dtype satisfies never)}`);
  }
}
