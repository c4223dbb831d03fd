// Constants as bytes: the prepare program is run and each result is written in its physical order, at its offset.
// Knows plans and CPU tensors; the file that holds them and the buffer they go to are the caller's.

import { Bug } from "../support/bug.ts";
import { evaluatePrepared } from "../ir/evaluate.ts";
import type { Graph, ValueId } from "../ir/graph.ts";
import { encodeTensor } from "../ir/encode.ts";
import type { Precision, Tensor } from "../ir/tensor.ts";
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
      bytes.set(encodeTensor(value, p.constant.dtype, p.constant.order), p.constant.offset);
    }
  }
  return bytes;
}
