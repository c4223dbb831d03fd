// What quantised weights stand for, by a transcription of the definition (docs/quantization.md) that shares nothing with the ops.

import type { Tensor } from "../../src/index.ts";

/** round(w / s) * s for each group along the axis, s = f32(max |w| / most). */
export function rounded(w: Tensor, axis: number, group: number, most: number): Tensor {
  const stride = w.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const length = w.shape[axis]!;
  const groupOf = (i: number): string => {
    const k = Math.floor(i / stride) % length;
    return `${Math.floor(i / (stride * length))} ${Math.floor(k / group)} ${i % stride}`;
  };
  const largest = new Map<string, number>();
  w.data.forEach((x: number, i: number) =>
    largest.set(groupOf(i), Math.max(largest.get(groupOf(i)) ?? 0, Math.abs(x))),
  );
  const even = (x: number): number => {
    const below = Math.floor(x);
    if (x - below !== 0.5) return Math.round(x);
    return below % 2 === 0 ? below : below + 1;
  };
  const data = Float64Array.from(w.data, (x, i) => {
    const s = Math.fround(largest.get(groupOf(i))! / most);
    return s === 0 ? 0 : Math.max(-most, Math.min(most, even(x / s))) * s;
  });
  return { ...w, data };
}
