// How near the outputs of two models are, row by row: the first class, angles, differences. Rows lie along the first axis.

import type { Tensor } from "../ir/tensor.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { need } from "./common.ts";

/** The right class of each row, from a file that has `labels`. */
export async function readLabels(path: string): Promise<Tensor> {
  const found = need(await loadInputs([path], [{ name: "labels", dtype: "i32", shape: ["N"] }], {}));
  return found["labels"]!;
}

export const rowOf = (t: Tensor, i: number): ArrayLike<number> => {
  const width = t.data.length / t.shape[0]!;
  return t.data.subarray(i * width, (i + 1) * width);
};

export function largestOf(row: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}

/** Share of the rows whose first class is right. */
export function share(t: Tensor, right: (row: number, best: number) => boolean): number {
  const rows = t.shape[0]!;
  let count = 0;
  for (let i = 0; i < rows; i++) if (right(i, largestOf(rowOf(t, i)))) count++;
  return count / rows;
}

export function meanCosine(a: Tensor, b: Tensor): number {
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
    return sum;
  };
  let sum = 0;
  for (let i = 0; i < a.shape[0]!; i++) {
    const [x, y] = [rowOf(a, i), rowOf(b, i)];
    sum += dot(x, y) / Math.max(Math.sqrt(dot(x, x) * dot(y, y)), 1e-30);
  }
  return sum / a.shape[0]!;
}

/** |a - b| / |b| over everything, in the 2-norm. */
export function relativeDifference(a: Tensor, b: Tensor): number {
  let [over, under] = [0, 0];
  for (let i = 0; i < b.data.length; i++) {
    over += (a.data[i]! - b.data[i]!) ** 2;
    under += b.data[i]! ** 2;
  }
  return Math.sqrt(over / Math.max(under, 1e-30));
}

export function largestDifference(a: Tensor, b: Tensor): number {
  let most = 0;
  for (let i = 0; i < b.data.length; i++) most = Math.max(most, Math.abs(a.data[i]! - b.data[i]!));
  return most;
}

export const percent = (x: number): string => `${(x * 100).toFixed(2)} %`;
