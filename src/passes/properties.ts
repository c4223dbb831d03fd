// Facts about a graph that passes need and give. Once given, the verifier re-checks a property after every later pass.

import {
  GraphBuilder,
  preparedValues,
  typesOf,
  unpacks,
  type Graph,
  type Node,
  type Value,
  type ValueId,
} from "../ir/graph.ts";
import { removeDead } from "../ir/rewrite.ts";
import { orderOf, showType } from "../ir/types.ts";
import { insideOrder } from "./choose-layout.ts";
import { expansion } from "./decompose.ts";

export interface Property {
  readonly name: PropertyName;
  readonly doc: string;
  /** The first place where it does not hold, or null. */
  check(graph: Graph): string | null;
}

export type PropertyName = "live" | "primitive" | "grouped" | "laid-out";

export const properties: readonly Property[] = [
  {
    name: "live",
    doc: "No dead nodes: an output, a state or a guard depends on every node.",
    check(graph) {
      const live = new Set(removeDead(graph).nodes);
      const dead = graph.nodes.find((n) => !live.has(n));
      return dead ? `${named(dead)} is never read` : null;
    },
  },
  {
    name: "primitive",
    doc: "No node is of an op that is written with other ops.",
    check(graph) {
      const types = typesOf(graph);
      const left = graph.nodes.find((n) => {
        const scratch = new GraphBuilder(graph.name, () => n.op);
        return n.op.lowering.kind === "decompose" || expansion(scratch, n, n.inputs, (id) => types.get(id)!);
      });
      return left ? `${named(left)} has not been decomposed` : null;
    },
  },
  {
    name: "grouped",
    doc: "Every node that runs on the device is a group (one group, one kernel); literals stand in the groups that use them.",
    check(graph) {
      const prepared = preparedValues(graph);
      const loose = graph.nodes.find(
        (n) => n.op.lowering.kind !== "group" && !n.results.every((r) => prepared.has(r.id)),
      );
      return loose ? `${named(loose)} is in no group` : null;
    },
  },
  {
    name: "laid-out",
    doc: "Inside, images lie channels-last; inputs and outputs as the model says.",
    check(graph) {
      const prepared = preparedValues(graph);
      const border = new Set<ValueId>([
        ...graph.outputs.map((o) => o.value),
        ...graph.states.map((s) => s.next),
      ]);
      const wrong = graph.nodes
        .filter((n) => !unpacks(n))
        .flatMap((n) => n.results)
        .find((r) => !prepared.has(r.id) && !border.has(r.id) && !channelsLast(r));
      return wrong ? `${wrong.id} is ${showType(wrong.type)}` : null;
    },
  },
];

function channelsLast({ type }: Value): boolean {
  const order = insideOrder(type);
  return order === undefined || order.every((a, i) => a === orderOf(type)[i]);
}

function named(n: Node): string {
  return `${n.results[0]!.id} = ${n.op.name}`;
}
