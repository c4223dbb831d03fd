// Tensors to and from the bytes of GPU buffers, and tensors that stay there. ir/encode.ts knows the encodings; this adds the paths
// that copy nothing, and the cut from the planned extents to the live ones.

import { Bug } from "../support/bug.ts";
import { encodeTensor } from "../ir/encode.ts";
import { elementCount, newData, stridesOfShape, type Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";

/** A tensor in the memory of a device: an output that was kept there, or an input that is there already. */
export interface GpuTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The shape its memory is laid out for: larger than `shape` where an axis is bounded. */
  readonly memoryShape: readonly number[];
  /** Axes from outermost to innermost in memory; absent means row-major. */
  readonly order?: readonly number[];
  readonly device: GPUDevice;
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
  /** Copies it to the processor. */
  read(): Promise<Tensor>;
  /** Frees its memory; the caller owns it. */
  destroy(): void;
}

export function isGpuTensor(t: Tensor | GpuTensor): t is GpuTensor {
  return "buffer" in t;
}

/** What `queue.writeBuffer` takes. Data that lie as the device wants them are not copied. */
export function bytesOfTensor(
  t: Tensor,
  dtype: DType,
  order?: readonly number[],
): Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  const { data } = t;
  if (order === undefined && data.buffer instanceof ArrayBuffer) {
    if (dtype === "f32" && data instanceof Float32Array) return data as Float32Array<ArrayBuffer>;
    if (dtype === "i32" && data instanceof Int32Array) return data as Int32Array<ArrayBuffer>;
    if (dtype === "u32" && data instanceof Uint32Array) return data as Uint32Array<ArrayBuffer>;
  }
  return encodeTensor(t, dtype, order);
}

/**
 * The leading part of each axis, in `data` where that is given: buffers are laid out for the bound of a bounded symbol, and hold its live
 * value.
 */
export function cropTo(
  t: Tensor,
  shape: readonly number[],
  data = newData(t.dtype, elementCount(shape)),
): Tensor {
  if (shape.every((n, i) => n === t.shape[i])) return t;
  if (shape.length !== t.shape.length || shape.some((n, i) => n > t.shape[i]!))
    throw new Bug(`cannot cut [${t.shape}] down to [${shape}]`);
  const strides = stridesOfShape(t.shape);
  const inner = shape.at(-1)!;
  const outer = shape.slice(0, -1);
  const at = outer.map(() => 0);
  for (let to = 0; to < data.length; to += inner) {
    const from = at.reduce((n, x, axis) => n + x * strides[axis]!, 0);
    data.set(t.data.subarray(from, from + inner), to);
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      if (++at[axis]! < outer[axis]!) break;
      at[axis] = 0;
    }
  }
  return { dtype: t.dtype, shape, data };
}
