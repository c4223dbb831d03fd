// Constants as bytes: the prepare program is run and each result is written in its physical order, at its offset.
// Knows plans and CPU tensors; the file that holds them and the buffer they go to are the caller's.

import { Bug } from "../support/bug.ts";
import { evaluatePrepared } from "../ir/evaluate.ts";
import type { Graph, ValueId } from "../ir/graph.ts";
import { elementCount, stridesOfShape, type Precision, type Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { halfToBits } from "./half.ts";
import type { PreparedConstant } from "./lower.ts";

export type WeightSource = (key: string) => Tensor;

/** All constants of a plan, one after the other at their offsets. */
export function packConstants(
  prepared: readonly PreparedConstant[],
  weights: WeightSource,
  precision: Precision = "f64",
): Uint8Array<ArrayBuffer> {
  const last = prepared.at(-1)?.constant;
  const bytes = new Uint8Array(last ? Math.ceil((last.offset + last.bytes) / 256) * 256 : 0);
  const byGraph = new Map<Graph, PreparedConstant[]>();
  for (const p of prepared) byGraph.set(p.graph, [...(byGraph.get(p.graph) ?? []), p]);
  for (const [graph, list] of byGraph) {
    const wanted: ValueId[] = list.map((p) => p.value);
    const values = evaluatePrepared(graph, weights, wanted, precision);
    for (const p of list) {
      const value = values.get(p.value);
      if (!value) throw new Bug(`the prepare program did not make ${p.value}`);
      writeTensor(bytes, p.constant.offset, value, p.constant.order, p.constant.dtype);
    }
  }
  return bytes;
}

/** Elements in physical order, encoded as the device stores them. */
export function writeTensor(
  bytes: Uint8Array<ArrayBuffer>,
  offset: number,
  t: Tensor,
  order: readonly number[] | undefined,
  dtype: DType,
): void {
  const count = elementCount(t.shape);
  const put = writer(bytes, offset, count, dtype);
  if (!order) {
    for (let i = 0; i < count; i++) put(i, t.data[i]!);
    return;
  }
  // Walk in physical order: `steps` are the logical strides of the axes from outermost to innermost in memory.
  const logical = stridesOfShape(t.shape);
  const sizes = order.map((a) => t.shape[a]!);
  const steps = order.map((a) => logical[a]!);
  const inner = sizes.length - 1;
  const at = sizes.map(() => 0);
  let base = 0;
  for (let i = 0; i < count;) {
    for (let j = 0; j < sizes[inner]!; j++) put(i++, t.data[base + j * steps[inner]!]!);
    for (let a = inner - 1; a >= 0; a--) {
      at[a]!++;
      base += steps[a]!;
      if (at[a]! < sizes[a]!) break;
      base -= steps[a]! * sizes[a]!;
      at[a] = 0;
    }
  }
}

function writer(
  bytes: Uint8Array<ArrayBuffer>,
  offset: number,
  count: number,
  dtype: DType,
): (i: number, value: number) => void {
  const at = bytes.byteOffset + offset;
  const into =
    <T extends { [i: number]: number }>(array: T) =>
    (i: number, value: number) => {
      array[i] = value;
    };
  switch (dtype) {
    case "f32":
      return into(new Float32Array(bytes.buffer, at, count));
    case "i32":
      return into(new Int32Array(bytes.buffer, at, count));
    case "u32":
    case "bool":
      return into(new Uint32Array(bytes.buffer, at, count));
    case "f16": {
      const halves = new Uint16Array(bytes.buffer, at, count);
      return (i, value) => {
        halves[i] = halfToBits(value);
      };
    }
    default:
      return dtype satisfies never;
  }
}
