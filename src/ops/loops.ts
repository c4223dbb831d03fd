// Loops that references share: offsets of strided walks, sums of products, and the error function in f64. The meaning of ops rests on
// this file, so it is plain; it shares nothing with the lowerings.

import { elementCount, stridesOfShape, type Tensor, type TensorData } from "../ir/tensor.ts";

/** For every element of `shape` in row-major order, the sum of index times stride. */
export function offsets(shape: readonly number[], strides: readonly number[]): Uint32Array {
  const out = new Uint32Array(elementCount(shape));
  if (out.length === 0) return out;
  let filled = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis]!;
    const stride = strides[axis]!;
    for (let k = 1; k < size; k++)
      for (let j = 0; j < filled; j++) out[k * filled + j] = out[j]! + k * stride;
    filled *= size;
  }
  return out;
}

/** Strides of an input of `shape` along the axes of `result`, which it broadcasts to. */
function broadcastStrides(shape: readonly number[], result: readonly number[]): readonly number[] {
  const own = stridesOfShape(shape);
  const skip = result.length - shape.length;
  return result.map((_, i) => (i < skip || shape[i - skip] === 1 ? 0 : own[i - skip]!));
}

/** Offset into an input of `shape` for every element of `result`, which it broadcasts to. */
export function broadcastOffsets(shape: readonly number[], result: readonly number[]): Uint32Array {
  return offsets(result, broadcastStrides(shape, result));
}

/** The same by rows along the last axis: where each row of the result starts in the input, and how far its elements are apart there. */
export function broadcastRows(
  shape: readonly number[],
  result: readonly number[],
): { readonly starts: Uint32Array; readonly step: number } {
  const strides = broadcastStrides(shape, result);
  return { starts: offsets(result.slice(0, -1), strides.slice(0, -1)), step: strides.at(-1) ?? 0 };
}

/** The index along one axis, for every element. */
export function indexAlong(shape: readonly number[], axis: number): Uint32Array {
  return offsets(
    shape,
    shape.map((_, i) => (i === axis ? 1 : 0)),
  );
}

/** Numbers the elements so that those that differ only along `axes` have the same number: the row each is reduced into. */
export function rowsWithout(
  shape: readonly number[],
  axes: readonly number[],
): { readonly row: Uint32Array; readonly rows: number } {
  const kept = shape.map((s, i) => (axes.includes(i) ? 1 : s));
  const strides = stridesOfShape(kept).map((s, i) => (axes.includes(i) ? 0 : s));
  return { row: offsets(shape, strides), rows: elementCount(kept) };
}

/** Two-pass mean and biased variance of each row. */
export function moments(
  x: TensorData,
  row: Uint32Array,
  rows: number,
): { readonly mean: Float64Array; readonly variance: Float64Array } {
  const count = x.length / rows;
  const mean = new Float64Array(rows);
  const variance = new Float64Array(rows);
  for (let i = 0; i < x.length; i++) mean[row[i]!]! += x[i]!;
  for (let r = 0; r < rows; r++) mean[r]! /= count;
  for (let i = 0; i < x.length; i++) {
    const d = x[i]! - mean[row[i]!]!;
    variance[row[i]!]! += d * d;
  }
  for (let r = 0; r < rows; r++) variance[r]! /= count;
  return { mean, variance };
}

export function asDoubles(data: TensorData): Float64Array {
  return data instanceof Float64Array ? data : new Float64Array(data);
}

/** The elements of `t`, seen through a permutation of its axes, in row-major order. */
export function permuted(t: Tensor, perm: readonly number[]): Float64Array {
  const strides = stridesOfShape(t.shape);
  const from = offsets(
    perm.map((p) => t.shape[p]!),
    perm.map((p) => strides[p]!),
  );
  const out = new Float64Array(from.length);
  for (let i = 0; i < out.length; i++) out[i] = t.data[from[i]!]!;
  return out;
}

/**
 * out[i, j] = sum over k of a[i, k] * b[j, k]: both operands have the summed axis innermost. Four by two at a time, which is what
 * makes a whole network in f64 take seconds.
 */
export function multiplyRows(
  a: Float64Array,
  rows: number,
  b: Float64Array,
  columns: number,
  length: number,
  out: Float64Array,
): void {
  for (let j = 0; j < columns; j += 2) {
    const b0 = j * length;
    const b1 = Math.min(j + 1, columns - 1) * length;
    for (let i = 0; i < rows; i += 4) {
      // At the end some rows and columns are computed twice, and stored once.
      const a0 = i * length;
      const a1 = Math.min(i + 1, rows - 1) * length;
      const a2 = Math.min(i + 2, rows - 1) * length;
      const a3 = Math.min(i + 3, rows - 1) * length;
      let s00 = 0;
      let s01 = 0;
      let s10 = 0;
      let s11 = 0;
      let s20 = 0;
      let s21 = 0;
      let s30 = 0;
      let s31 = 0;
      for (let k = 0; k < length; k++) {
        const y0 = b[b0 + k]!;
        const y1 = b[b1 + k]!;
        const x0 = a[a0 + k]!;
        const x1 = a[a1 + k]!;
        const x2 = a[a2 + k]!;
        const x3 = a[a3 + k]!;
        s00 += x0 * y0;
        s01 += x0 * y1;
        s10 += x1 * y0;
        s11 += x1 * y1;
        s20 += x2 * y0;
        s21 += x2 * y1;
        s30 += x3 * y0;
        s31 += x3 * y1;
      }
      const at = i * columns + j;
      const second = j + 1 < columns;
      out[at] = s00;
      if (second) out[at + 1] = s01;
      if (i + 1 < rows) out[at + columns] = s10;
      if (i + 1 < rows && second) out[at + columns + 1] = s11;
      if (i + 2 < rows) out[at + 2 * columns] = s20;
      if (i + 2 < rows && second) out[at + 2 * columns + 1] = s21;
      if (i + 3 < rows) out[at + 3 * columns] = s30;
      if (i + 3 < rows && second) out[at + 3 * columns + 1] = s31;
    }
  }
}

/** The error function, to a few units in the last place of f64: a series of positive terms, and a continued fraction further out. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (Number.isNaN(z)) return NaN;
  if (z > 6) return Math.sign(x);
  if (z > 3) return Math.sign(x) * (1 - erfcFar(z));
  // exp(-z^2) * 2/sqrt(pi) * sum of 2^n z^(2n+1) / (1 * 3 * ... * (2n+1))
  let term = z;
  let sum = z;
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (2 * z * z) / (2 * n + 1);
    sum += term;
  }
  return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum;
}

/** 1 - erf for z > 3, by z + (1/2)/(z + (2/2)/(z + (3/2)/(z + ...))) from the inside out. */
function erfcFar(z: number): number {
  let tail = z;
  for (let n = 60; n >= 1; n--) tail = z + n / 2 / tail;
  return Math.exp(-z * z) / (Math.sqrt(Math.PI) * tail);
}
