// Changes of a whole graph that many passes need: dropping dead nodes, renaming, merging nodes that compute the same.
// Knows graphs and no particular op; rules are run by rewrite.ts.

import { Bug } from "../support/bug.ts";
import type { Annotation, Graph, Node, ValueId } from "./graph.ts";
import { unionSpans } from "./graph.ts";
import { attrText, nextIdAfter, printNode } from "./print.ts";
import { checkOrder, externalReads } from "./rewrite-graph.ts";
import type { RewriteEvent, RewriteResult } from "./rewrite-types.ts";
import { showType } from "./types.ts";

/** How often each value is read, outputs, state updates and guards included. */
export function countUses(graph: Graph): ReadonlyMap<ValueId, number> {
  const uses = new Map<ValueId, number>();
  const read = (id: ValueId) => uses.set(id, (uses.get(id) ?? 0) + 1);
  for (const n of graph.nodes) for (const x of n.inputs) if (x !== "") read(x);
  externalReads(graph).forEach(read);
  return uses;
}

/** Graphs in which every node is read. */
const live = new WeakSet<Graph>();

/** Without the nodes that nothing reads. Weights stay: they are the model's contract with its checkpoint. */
export function removeDead(graph: Graph): Graph {
  if (live.has(graph)) return graph;
  const read = new Set<ValueId>(externalReads(graph));
  const kept: Node[] = [];
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const n = graph.nodes[i]!;
    if (!n.results.some((r) => read.has(r.id))) continue;
    for (const x of n.inputs) read.add(x);
    kept.push(n);
  }
  const left = kept.length === graph.nodes.length ? graph : { ...graph, nodes: kept.reverse() };
  live.add(left);
  return left;
}

/** Everything that reads a key of the map reads its value instead; chains in the map are followed. */
export function renameUses(graph: Graph, to: ReadonlyMap<ValueId, ValueId>): Graph {
  const now = (id: ValueId): ValueId => {
    let at = id;
    for (let steps = 0; to.has(at); steps++) {
      if (steps > to.size) throw new Bug(`renaming ${id} goes in a circle`);
      at = to.get(at)!;
    }
    return at;
  };
  const changes = (n: Node) => n.inputs.some((x) => to.has(x));
  return {
    ...graph,
    nodes: graph.nodes.map((n) => (changes(n) ? { ...n, inputs: n.inputs.map(now) } : n)),
    states: graph.states.map((s) => ({ ...s, next: now(s.next) })),
    outputs: graph.outputs.map((o) => ({ ...o, value: now(o.value) })),
    guards: graph.guards.map((g) => ({ ...g, condition: now(g.condition) })),
  };
}

/** The graph with other nodes, which must be in topological order; `nextId` moves past every id in them. */
export function replaceGraphNodes(graph: Graph, nodes: readonly Node[]): Graph {
  checkOrder(graph, nodes);
  const changed = { ...graph, nodes };
  return { ...changed, nextId: Math.max(graph.nextId, nextIdAfter(changed)) };
}

/** Common subexpressions: of nodes that compute the same from the same values the first one stays, with the lines of all. */
export function mergeDuplicates(graph: Graph): RewriteResult {
  const firstByKey = new Map<string, number>();
  const renamed = new Map<ValueId, ValueId>();
  const nodes: Node[] = [];
  const duplicates: { readonly at: number; readonly node: Node }[] = [];
  for (const original of graph.nodes) {
    const changes = original.inputs.some((x) => renamed.has(x));
    const node = changes
      ? { ...original, inputs: original.inputs.map((x) => renamed.get(x) ?? x) }
      : original;
    const key = structuralKey(node);
    const at = key === undefined ? undefined : firstByKey.get(key);
    if (at === undefined) {
      if (key !== undefined) firstByKey.set(key, nodes.length);
      nodes.push(node);
      continue;
    }
    const first = nodes[at]!;
    for (const [i, r] of node.results.entries()) renamed.set(r.id, first.results[i]!.id);
    nodes[at] = { ...first, spans: unionSpans(first.spans, node.spans) };
    duplicates.push({ at, node });
  }
  if (duplicates.length === 0) return { graph, events: [], refusals: [] };
  const events = duplicates.map(({ at, node }): RewriteEvent => {
    const first = nodes[at]!;
    return {
      rule: "merge-duplicates",
      before: [printNode(first), printNode(node)],
      after: [printNode(first)],
      removed: node.results.map((r) => r.id),
      added: [],
      spans: first.spans,
    };
  });
  return { graph: renameUses({ ...graph, nodes }, renamed), events, refusals: [] };
}

/** Equal for nodes that compute the same; undefined for nodes with a body, which are not compared. */
function structuralKey(node: Node): string | undefined {
  if (node.body) return undefined;
  const [a, b, ...rest] = node.inputs;
  const swap = node.op.traits.includes("commutative") && a !== undefined && b !== undefined && b < a;
  const inputs = swap ? [b, a, ...rest] : node.inputs;
  const attrs = Object.keys(node.attrs)
    .sort()
    .map((name) => [name, attrText(node.attrs[name]!)]);
  const types = node.results.map((r) => showType(r.type));
  return JSON.stringify([node.op.name, inputs, attrs, types, node.annotations.map(annotationKey)]);
}

function annotationKey(a: Annotation): readonly unknown[] {
  return [a.name, a.call, Object.entries(a.args).map(([name, value]) => [name, attrText(value)])];
}
