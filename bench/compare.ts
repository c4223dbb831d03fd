// How far two results are apart. Pure.

import type { Tensor } from "../src/ir/tensor.ts";

export { median, quantile } from "../src/support/statistics.ts";

/**
 * Largest difference, relative to the largest number of the second tensor, or to `floor` where all are smaller. Equal infinities and two NaNs do not
 * differ; another shape or element type is infinitely far away.
 */
export function difference(a: Tensor, b: Tensor, floor = 1e-30): number {
  if (a.shape.join() !== b.shape.join() || a.dtype !== b.dtype) return Infinity;
  let worst = 0;
  let largest = floor;
  for (let i = 0; i < b.data.length; i++) {
    const [x, y] = [a.data[i]!, b.data[i]!];
    if (Object.is(x, y) || x === y) continue;
    if (!Number.isFinite(x) || !Number.isFinite(y)) return Infinity;
    worst = Math.max(worst, Math.abs(x - y));
  }
  for (const y of b.data) if (Number.isFinite(y)) largest = Math.max(largest, Math.abs(y));
  return worst / largest;
}
