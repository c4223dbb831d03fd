// Graphs as the document holds them: nodes with their numbers, and what each pass changed.

import { evaluateDim, type Dim, type DimEnv } from "../ir/dim.ts";
import {
  preparedValues,
  typesOf,
  type Graph,
  type Node,
  type Region,
  type Value,
  type ValueId,
} from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import { flopsOf, typesOfBody } from "../ir/stats.ts";
import { byteSizeOf, elementsOf, showType, type TensorType } from "../ir/types.ts";
import type { CostDoc, NodeDoc, OutputDoc, StepDoc, ValueDoc } from "./document.ts";
import type { Places } from "./places.ts";
import { applyNodes } from "./replay.ts";

export interface GraphDoc {
  readonly nodes: readonly NodeDoc[];
  readonly outputs: readonly OutputDoc[];
  readonly cost: CostDoc;
}

/** Makes the documents of the graphs of one entry point. Nodes that passes left alone are made once. */
export class GraphDocs {
  readonly #env: DimEnv;
  readonly #places: Places;
  readonly #made = new WeakMap<Node, NodeDoc>();
  readonly #types = new Map<TensorType, Omit<ValueDoc, "id">>();

  constructor(env: DimEnv, places: Places) {
    this.#env = env;
    this.#places = places;
  }

  /** `before`: the graph that was grouped, to say which of its nodes each group holds. */
  graph(graph: Graph, before?: Graph): GraphDoc {
    const types = typesOf(graph);
    const prepared = preparedValues(graph);
    const grouped = graph.nodes.some((n) => n.body && !this.#made.has(n));
    const makers = before && grouped ? makersOf(before) : undefined;
    const nodes = graph.nodes.map((n) => {
      const once = n.results.every((r) => prepared.has(r.id));
      const old = this.#made.get(n);
      if (old && (old.prepared ?? false) === once) return old;
      const doc = this.#node(n, types, once, makers);
      this.#made.set(n, doc);
      return doc;
    });
    const outputs = graph.outputs.map((o) => ({ name: o.name, value: o.value }));
    return { nodes, outputs, cost: this.#cost(nodes, types) };
  }

  #node(
    n: Node,
    types: ReadonlyMap<ValueId, TensorType>,
    prepared: boolean,
    makers?: ReadonlyMap<ValueId, Node>,
  ): NodeDoc {
    return {
      id: n.results[0]!.id,
      op: n.op.name,
      text: printNode(n),
      inputs: n.inputs,
      results: n.results.map((r) => this.value(r)),
      scope: n.scope,
      places: this.#places.of(n.spans),
      ...(prepared && { prepared: true as const }),
      flops: prepared ? 0 : this.number(flopsOf(n, types)),
      ...(n.body && { body: this.#body(n, n.body, makers) }),
    };
  }

  #body(n: Node, body: Region, makers?: ReadonlyMap<ValueId, Node>): NonNullable<NodeDoc["body"]> {
    const types = typesOfBody(body);
    const were = makers ? idsBefore(n, body, makers) : new Map<ValueId, ValueId>();
    return {
      params: body.params.map((p) => p.id),
      nodes: body.nodes.map((x) => this.#node(x, types, false)),
      results: body.results,
      were: body.nodes.map((x) => were.get(x.results[0]!.id) ?? ""),
    };
  }

  value(v: Value): ValueDoc {
    return { id: v.id, ...this.#ofType(v.type) };
  }

  #ofType(type: TensorType): Omit<ValueDoc, "id"> {
    let known = this.#types.get(type);
    if (!known) {
      known = { type: showType(type), bytes: this.number(byteSizeOf(type)), tokens: this.#tokens(type) };
      this.#types.set(type, known);
    }
    return known;
  }

  #tokens(type: TensorType): number {
    const channel = channelAxis(type);
    const all = this.number(elementsOf(type));
    const channels = channel === undefined ? 1 : this.number(type.shape[channel]!);
    return channels === 0 ? 0 : all / channels;
  }

  #cost(nodes: readonly NodeDoc[], types: ReadonlyMap<ValueId, TensorType>): CostDoc {
    const run = nodes.filter((n) => !n.prepared);
    const bytes = (id: string): number => {
      const type = types.get(id);
      return type ? this.#ofType(type).bytes : 0;
    };
    return {
      nodes: run.length,
      prepared: nodes.length - run.length,
      flops: run.reduce((sum, n) => sum + n.flops, 0),
      bytes: run.reduce((sum, n) => {
        for (const id of n.inputs) sum += bytes(id);
        for (const r of n.results) sum += r.bytes;
        return sum;
      }, 0),
    };
  }

  number(d: Dim): number {
    return evaluateDim(d, this.#env);
  }
}

function makersOf({ nodes }: Graph): ReadonlyMap<ValueId, Node> {
  const makers = new Map<ValueId, Node>();
  for (const n of nodes) for (const r of n.results) makers.set(r.id, n);
  return makers;
}

/** The named channel axis; else axis 1 of images, and the last of anything else with more than one axis. */
function channelAxis(type: TensorType): number | undefined {
  const named = ["channels", "depth"].map((name) => type.axes.indexOf(name)).find((i) => i >= 0);
  const rank = type.shape.length;
  return named ?? (rank < 2 ? undefined : rank === 4 ? 1 : rank - 1);
}

/**
 * What the nodes of a body were called. Grouping copies nodes with fresh ids but leaves what reads what, so both graphs are walked
 * backwards from the results together.
 */
function idsBefore(
  group: Node,
  body: Region,
  makers: ReadonlyMap<ValueId, Node>,
): ReadonlyMap<ValueId, ValueId> {
  const inside = new Map(body.nodes.flatMap((n) => n.results.map((r) => [r.id, n] as const)));
  const found = new Map<ValueId, ValueId>();
  const waiting = body.results.map((id, i) => [id, group.results[i]!.id] as const);
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [id, was] = next;
    const [node, old] = [inside.get(id), makers.get(was)];
    if (found.has(id) || !node || old?.op !== node.op) continue;
    node.results.forEach((r, i) => found.set(r.id, old.results[i]!.id));
    node.inputs.forEach((x, i) => waiting.push([x, old.inputs[i]!]));
  }
  return found;
}

/** Of one id. What the text says (op, inputs, types, scope) is equal where the texts are. */
function sameNode(a: NodeDoc, b: NodeDoc): boolean {
  return (
    a.text === b.text &&
    a.prepared === b.prepared &&
    a.flops === b.flops &&
    a.places.length === b.places.length &&
    a.places.every((p, i) => p === b.places[i]) &&
    JSON.stringify(a.body) === JSON.stringify(b.body)
  );
}

/** The difference that `applyNodes` takes back. */
export function difference(
  before: GraphDoc,
  after: GraphDoc,
): Pick<StepDoc, "removed" | "set" | "order" | "outputs"> {
  const old = new Map(before.nodes.map((n) => [n.id, n]));
  const now = new Set(after.nodes.map((n) => n.id));
  const set: StepDoc["set"][number][] = [];
  after.nodes.forEach((node, i) => {
    const was = old.get(node.id);
    if (was === node || (was && sameNode(was, node))) return;
    set.push({ node, after: after.nodes[i - 1]?.id ?? "" });
  });
  const removed = before.nodes.filter((n) => !now.has(n.id)).map((n) => n.id);
  const replayed = applyNodes(before.nodes, { removed, set });
  const inOrder =
    replayed.length === after.nodes.length && replayed.every((n, i) => n.id === after.nodes[i]!.id);
  return {
    removed,
    set,
    ...(!inOrder && { order: after.nodes.map((n) => n.id) }),
    ...(JSON.stringify(before.outputs) !== JSON.stringify(after.outputs) && { outputs: after.outputs }),
  };
}
