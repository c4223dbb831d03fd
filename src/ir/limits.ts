// What sizes that are known only when a run starts must not exceed: the end of a slice of a table of positions, say. Where compiling
// cannot tell, the run does, before anything is computed.

import { constantOf, symbolsOf } from "./dim.ts";
import { typesOf, type Graph, type Node, type ValueId } from "./graph.ts";
import { isNonNegative } from "./positions.ts";
import type { SizeLimit } from "./symbols.ts";
import type { TensorType } from "./types.ts";

/** The limits of a graph's nodes, those in groups among them, each size once. Sizes that a kernel says are left out: it keeps to bounds. */
export function limitsOf(graph: Graph): readonly SizeLimit[] {
  const bounded = new Set(graph.symbols.flatMap((s) => (s.kind === "bounded" ? [s.name] : [])));
  const found = new Map<string, SizeLimit>();
  const visit = (nodes: readonly Node[], types: Map<ValueId, TensorType>): void => {
    for (const n of nodes) {
      for (const r of n.results) types.set(r.id, r.type);
      const given = n.inputs.map((x) => types.get(x));
      for (const { size, text } of n.op.limits?.(given, n.attrs) ?? []) {
        const decided = constantOf(size) !== undefined || isNonNegative(size);
        if (decided || [...symbolsOf(size)].some((s) => bounded.has(s))) continue;
        if (!found.has(size.key)) found.set(size.key, { size, text, at: n.spans.at(-1) });
      }
      if (n.body) visit(n.body.nodes, new Map(n.body.params.map((p) => [p.id, p.type])));
    }
  };
  visit(graph.nodes, new Map(typesOf(graph)));
  return [...found.values()];
}
