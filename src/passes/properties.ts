// Facts about a graph that passes need and give. Once given, the verifier re-checks a property after every later pass.

import type { Graph } from "../ir/graph.ts";

export interface Property {
  readonly name: PropertyName;
  readonly doc: string;
  /** The first place where it does not hold, or null. */
  check(graph: Graph): string | null;
}

export type PropertyName = "canonical" | "primitive" | "grouped" | "laid-out";

export const properties: readonly Property[] = [
  {
    name: "canonical",
    doc: "No dead nodes: every node is read, by a node, an output, a state or a guard.",
    check(graph) {
      const read = new Set<string>();
      for (const n of graph.nodes) for (const x of n.inputs) read.add(x);
      for (const o of graph.outputs) read.add(o.value);
      for (const s of graph.states) read.add(s.next);
      for (const g of graph.guards) read.add(g.condition);
      const dead = graph.nodes.find((n) => !n.results.some((r) => read.has(r.id)));
      return dead ? `${dead.results[0]!.id} = ${dead.op.name} is never read` : null;
    },
  },
  {
    name: "primitive",
    doc: "No node is of an op that is written with other ops.",
    check(graph) {
      const left = graph.nodes.find((n) => n.op.lowering.kind === "decompose");
      return left ? `${left.results[0]!.id} = ${left.op.name} has not been decomposed` : null;
    },
  },
  {
    name: "grouped",
    doc: "Every node that runs on the device is a group: one group, one kernel.",
    check() {
      return null; // filled in with the fusion pass
    },
  },
  {
    name: "laid-out",
    doc: "Every group's values have a physical order that its schedules can use.",
    check() {
      return null;
    },
  },
];
