// Tensors on the CPU: numbers with a concrete shape, always row-major. Used by the reference evaluator, the prepare program,
// weights, inputs and outputs. Knows nothing of graphs or files.

import { Bug } from "../support/bug.ts";
import { isPacked, type DType } from "./types.ts";

/** f32 values live in Float32Array, or in Float64Array when evaluated in f64; f16 as numbers too (rounded on the way out). */
export type TensorData = Float32Array | Float64Array | Int32Array | Uint32Array;

export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Which arithmetic the reference uses for f32 and f16 values. */
export type Precision = "f64" | "f32";

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

export function zeros(dtype: DType, shape: readonly number[], precision: Precision = "f32"): Tensor {
  return { dtype, shape, data: newData(dtype, elementCount(shape), precision) };
}

export function newData(dtype: DType, count: number, precision: Precision = "f32"): TensorData {
  if (dtype === "i32" || isPacked(dtype)) return new Int32Array(count);
  if (dtype === "u32" || dtype === "bool") return new Uint32Array(count);
  return precision === "f64" ? new Float64Array(count) : new Float32Array(count);
}

export function tensor(
  dtype: DType,
  shape: readonly number[],
  values: ArrayLike<number>,
  precision: Precision = "f32",
): Tensor {
  const out = zeros(dtype, shape, precision);
  if (values.length !== out.data.length)
    throw new Bug(`${values.length} values for a tensor of ${out.data.length} elements`);
  out.data.set(values);
  return out;
}

export function stridesOfShape(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * shape[i + 1]!;
  return strides;
}

/** Same values, other shape of the same number of elements; shares the data. */
export function reshaped(t: Tensor, shape: readonly number[]): Tensor {
  if (elementCount(shape) !== t.data.length) throw new Bug(`cannot reshape [${t.shape}] to [${shape}]`);
  return { dtype: t.dtype, shape, data: t.data };
}

/** Copies into the other precision where the data are floats of the wrong one. */
export function toPrecision(t: Tensor, precision: Precision): Tensor {
  if (t.dtype !== "f32" && t.dtype !== "f16") return t;
  const wanted = precision === "f64" ? Float64Array : Float32Array;
  return t.data instanceof wanted ? t : { ...t, data: new wanted(t.data) };
}
