// Chooses how values lie in memory. Shapes stay logical: an order is put on types, and no op changes its meaning.
// Images run channels-last inside (tokens x channels, as every linear layer wants them), inputs and outputs stay as the model says.
// A matrix that a contraction reads by columns is stored reduction-major, so that neighbours in memory are neighbouring columns.

import { constantOf } from "../ir/dim.ts";
import {
  preparedValues,
  typesOf,
  unpacks,
  type Graph,
  type Node,
  type Value,
  type ValueId,
} from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import type { RewriteEvent } from "../ir/rewrite-types.ts";
import { orderOf, withOrder, type TensorType } from "../ir/types.ts";
import { rightAxes } from "./operand-axes.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

export const chooseLayout: Pass = {
  name: "choose-layout",
  doc: "Images lie channels-last inside and as the model says at the border; matrices reduction-major.",
  level: 1,
  numerics: "exact",
  needs: ["primitive"],
  gives: ["laid-out"],
  run,
};

function run(graph: Graph, c: PassContext): PassResult {
  const prepared = preparedValues(graph);
  const types = new Map(typesOf(graph));
  const atBorder = new Set(graph.outputs.map((o) => o.value));
  for (const s of graph.states) atBorder.add(s.next);
  const copy = c.lookup("copy")!;
  let nextId = graph.nextId;
  const events: RewriteEvent[] = [];

  // 1. Images inside: the channel axis goes last. A value that is an output too gets a copy in the border's order.
  const nodes: Node[] = [];
  const renamed = new Map<ValueId, ValueId>();
  const read = new Set(graph.nodes.flatMap((n) => n.inputs));
  for (const n of graph.nodes) {
    if (n.results.every((r) => prepared.has(r.id)) || unpacks(n)) {
      nodes.push(n);
      continue;
    }
    const copies: Node[] = [];
    const results = n.results.map((r): Value => {
      const order = insideOrder(r.type);
      if (!order) return r;
      if (!atBorder.has(r.id)) return { id: r.id, type: withOrder(r.type, order) };
      if (!read.has(r.id)) return r;
      const id = `%${nextId++}`;
      renamed.set(r.id, id);
      const made: Node = { ...n, op: copy, inputs: [id], attrs: {}, annotations: [], results: [r] };
      copies.push(made);
      events.push(copied("copy-to-border", made));
      return { id, type: withOrder(r.type, order) };
    });
    for (const r of results) types.set(r.id, r.type);
    const inputs = n.inputs.map((x) => renamed.get(x) ?? x);
    nodes.push(withParts(n, inputs, results), ...copies);
  }

  // 2. Matrices: every prepared right operand, in the order its contraction wants. Where two want different orders, one gets a copy.
  // What is unpacked where a contraction reads it is laid out, and what it is unpacked from.
  const wanted = new Map<ValueId, readonly number[]>();
  const readers = new Map<ValueId, number>();
  const onDevice = (n: Node) => !n.results.every((r) => prepared.has(r.id));
  const multiplies = (n: Node) => n.op.lowering.kind === "contraction" && onDevice(n);
  for (const n of nodes)
    if (multiplies(n) || unpacks(n))
      for (const x of new Set(n.inputs)) readers.set(x, (readers.get(x) ?? 0) + 1);
  const unpacked = new Set(nodes.filter(unpacks).map((n) => n.results[0]!.id));
  for (const n of nodes) {
    const order = multiplies(n) && unpacked.has(n.inputs[1]!) ? matrixOrder(n, types) : undefined;
    if (order) wanted.set(n.inputs[1]!, order);
  }
  const extra = new Map<string, Node>();
  /** The prepared value in this order: itself, or where others read it, a copy. */
  const inOrder = (id: ValueId, order: readonly number[] | undefined, by: Node): ValueId => {
    const type = types.get(id)!;
    if (!prepared.has(id) || !order || order.every((x, i) => x === orderOf(type)[i])) return id;
    if (!wanted.has(id) && readers.get(id) === 1) {
      wanted.set(id, order);
      return id;
    }
    const key = `${id}{${order.join()}}`;
    let made = extra.get(key);
    if (!made) {
      const result = { id: `%${nextId++}`, type: withOrder(type, order) };
      const { spans, scope } = by;
      made = { op: copy, inputs: [id], attrs: {}, results: [result], spans, scope, annotations: [] };
      extra.set(key, made);
      events.push(copied("copy-to-order", made));
    }
    return made.results[0]!.id;
  };
  const final = nodes.map((n): Node => {
    if (unpacks(n)) {
      const order = wanted.get(n.results[0]!.id);
      return withParts(n, n.inputs.map((x) => inOrder(x, order, n)), n.results); // prettier-ignore
    }
    if (!multiplies(n) || !prepared.has(n.inputs[1]!)) return n;
    const operand = inOrder(n.inputs[1]!, matrixOrder(n, types), n);
    return withParts(n, n.inputs.with(1, operand), n.results);
  });
  const reorder = <T extends Value>(v: T): T => {
    const order = wanted.get(v.id);
    return order ? { ...v, type: withOrder(v.type, order) } : v;
  };
  const placed: Node[] = [];
  const copiesOf = new Map<ValueId, Node[]>();
  for (const made of extra.values()) {
    const [of] = made.inputs as readonly [ValueId];
    copiesOf.set(of, [...(copiesOf.get(of) ?? []), made]);
  }
  for (const w of graph.weights) placed.push(...(copiesOf.get(w.id) ?? []));
  for (const n of final) {
    placed.push(withParts(n, n.inputs, n.results.map(reorder))); // prettier-ignore
    for (const r of n.results) placed.push(...(copiesOf.get(r.id) ?? []));
  }
  return {
    graph: { ...graph, weights: graph.weights.map(reorder), nodes: placed, nextId },
    events,
    refusals: [],
  };
}

/** With these inputs and results; the same node where it has them, so that what was found of it stays known. */
function withParts(n: Node, inputs: readonly ValueId[], results: readonly Value[]): Node {
  const same = n.inputs.every((x, i) => x === inputs[i]) && n.results.every((r, i) => r === results[i]);
  return same ? n : { ...n, inputs, results };
}

function copied(rule: string, made: Node): RewriteEvent {
  const added = made.results.map((r) => r.id);
  return { rule, before: [], after: [printNode(made)], removed: [], added, spans: made.spans };
}

/** [B, C, H, W] lies as B, H, W, C; undefined where the type is not an image or is so already. */
export function insideOrder(type: TensorType): readonly number[] | undefined {
  const channels = type.axes.indexOf("channels");
  if (type.shape.length < 3 || channels < 0 || channels === type.shape.length - 1) return undefined;
  // One number per sample has no inside.
  if (type.shape.slice(1).every((d) => constantOf(d) === 1)) return undefined;
  return [...type.shape.keys()].filter((a) => a !== channels).concat(channels);
}

/** Order of the right operand's axes: group, batch, reduction in loop order, then the result's columns. */
function matrixOrder(n: Node, types: ReadonlyMap<ValueId, TensorType>): readonly number[] | undefined {
  if (n.op.lowering.kind !== "contraction") return undefined;
  const result = n.results[0]!.type;
  const operands = n.inputs.map((x) => (x === "" ? undefined : types.get(x)));
  const spec = n.op.lowering.describe(operands, n.attrs, result);
  const inner = orderOf(result).at(-1)!;
  if (!spec.right.includes(inner)) return undefined;
  const axisOf = rightAxes(spec, n, operands, result);
  if (!axisOf) return undefined;
  const outer = [...spec.batch, ...spec.right.filter((a) => a !== inner)].map((a) => axisOf.get(`o${a}`));
  const sums = spec.reduce.map((_, i) => axisOf.get(`k${i}`));
  const order = [...(spec.group ? [axisOf.get("group")] : []), ...outer, ...sums, axisOf.get(`o${inner}`)];
  return order.every((a): a is number => a !== undefined) && order.length === operands[1]!.shape.length
    ? order
    : undefined;
}
