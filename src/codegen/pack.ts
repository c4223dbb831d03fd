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
  pack(prepared, weights, precision, bytes);
  return bytes;
}

/** Makes those constants anew that depend on weights that changed, in place; gives their ids. */
export function repackConstants(
  prepared: readonly PreparedConstant[],
  weights: WeightSource,
  bytes: Uint8Array,
  changed: ReadonlySet<string>,
  precision: Precision = "f64",
): readonly string[] {
  const stale = new Map<Graph, ReadonlySet<ValueId>>();
  const isStale = ({ graph, value }: PreparedConstant): boolean => {
    if (!stale.has(graph)) stale.set(graph, dependants(graph, changed));
    return stale.get(graph)!.has(value);
  };
  const own = prepared.filter(isStale);
  pack(own, weights, precision, bytes);
  return own.map((p) => p.constant.id);
}

/** Values that come from these weights, directly or not. */
function dependants(graph: Graph, keys: ReadonlySet<string>): ReadonlySet<ValueId> {
  const out = new Set<ValueId>();
  for (const w of graph.weights) if (keys.has(w.key)) out.add(w.id);
  for (const n of graph.nodes) if (n.inputs.some((x) => out.has(x))) for (const r of n.results) out.add(r.id);
  return out;
}

function pack(
  prepared: readonly PreparedConstant[],
  weights: WeightSource,
  precision: Precision,
  bytes: Uint8Array,
): void {
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
}
