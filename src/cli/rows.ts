// Rows of batches: the first axis of tensors that are given row by row.

import type { Tensor } from "../ir/tensor.ts";

export function rowsOf(t: Tensor): number {
  return t.shape[0] ?? 1;
}

/** `count` rows from `from` on, from the first again behind the last; tensors without `of` rows are for all of them. */
export function takeRows(
  tensors: Readonly<Record<string, Tensor>>,
  from: number,
  count: number,
  of: number,
): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, taken(t, from, count, of)]));
}

function taken(t: Tensor, from: number, count: number, of: number): Tensor {
  if (t.shape[0] !== of) return t;
  const row = t.data.length / of;
  const shape = [count, ...t.shape.slice(1)];
  if (from + count <= of)
    return { dtype: t.dtype, shape, data: t.data.slice(from * row, (from + count) * row) };
  const data = t.data.slice(0, 0).constructor as new (n: number) => Tensor["data"];
  const out = new data(count * row);
  for (let r = 0; r < count; r++) {
    const at = ((from + r) % of) * row;
    out.set(t.data.subarray(at, at + row), r * row);
  }
  return { dtype: t.dtype, shape, data: out };
}

/** Share of rows of [rows, classes] whose largest number is at the label. */
export function shareRight(logits: Tensor, labels: Tensor): number {
  const classes = logits.shape[1]!;
  let right = 0;
  for (let r = 0; r < labels.data.length; r++) {
    const row = logits.data.subarray(r * classes, (r + 1) * classes);
    let best = 0;
    for (let i = 1; i < classes; i++) if (row[i]! > row[best]!) best = i;
    if (best === labels.data[r]) right++;
  }
  return right / labels.data.length;
}
