// Chooses how values lie in memory. Shapes stay logical: an order is put on types, and no op changes its meaning.
// Images run channels-last inside (tokens x channels, as every linear layer wants them), inputs and outputs stay as the model says.
// A matrix that a contraction reads by columns is stored reduction-major, so that neighbours in memory are neighbouring columns.

import { constantOf } from "../ir/dim.ts";
import { constant, name as nameExpr, U32 } from "../ir/expr.ts";
import { preparedValues, typesOf, type Graph, type Node, type Value, type ValueId } from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import type { RewriteEvent } from "../ir/rewrite-types.ts";
import type { ContractionSpec, ElementContext } from "../ir/op.ts";
import { orderOf, withOrder, type TensorType } from "../ir/types.ts";
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
    if (n.results.every((r) => prepared.has(r.id))) {
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
    nodes.push({ ...n, inputs, results }, ...copies);
  }

  // 2. Matrices: every prepared right operand, in the order its contraction wants. Where two want different orders, one gets a copy.
  const wanted = new Map<ValueId, readonly number[]>();
  const readers = new Map<ValueId, number>();
  for (const n of nodes)
    if (n.op.lowering.kind === "contraction" && !n.results.every((r) => prepared.has(r.id)))
      for (const x of new Set(n.inputs)) readers.set(x, (readers.get(x) ?? 0) + 1);
  const extra = new Map<string, Node>();
  const final = nodes.map((n): Node => {
    if (n.op.lowering.kind !== "contraction" || n.results.every((r) => prepared.has(r.id))) return n;
    const operand = n.inputs[1]!;
    if (!prepared.has(operand)) return n;
    const type = types.get(operand)!;
    const order = matrixOrder(n, types);
    if (!order || order.every((x, i) => x === orderOf(type)[i])) return n;
    const already = wanted.get(operand);
    if (!already && readers.get(operand) === 1) {
      wanted.set(operand, order);
      return n;
    }
    const key = `${operand}{${order.join()}}`;
    let made = extra.get(key);
    if (!made) {
      const result = { id: `%${nextId++}`, type: withOrder(type, order) };
      made = {
        op: copy,
        inputs: [operand],
        attrs: {},
        results: [result],
        spans: n.spans,
        scope: n.scope,
        annotations: [],
      };
      extra.set(key, made);
      events.push(copied("copy-to-order", made));
    }
    return { ...n, inputs: n.inputs.map((x, i) => (i === 1 ? made!.results[0]!.id : x)) };
  });
  const reorder = <T extends Value>(v: T): T => {
    const order = wanted.get(v.id);
    return order ? { ...v, type: withOrder(v.type, order) } : v;
  };
  const placed: Node[] = [];
  const pending = [...extra.values()];
  for (const p of pending) if (graph.weights.some((w) => w.id === p.inputs[0])) placed.push(p);
  for (const n of final) {
    placed.push({ ...n, results: n.results.map(reorder) });
    for (const p of pending) if (n.results.some((r) => r.id === p.inputs[0])) placed.push(p);
  }
  return {
    graph: { ...graph, weights: graph.weights.map(reorder), nodes: placed, nextId },
    events,
    refusals: [],
  };
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

/** Which axis of the right operand each result or reduction index lands on, found by asking with names. */
function rightAxes(
  spec: ContractionSpec,
  n: Node,
  types: readonly (TensorType | undefined)[],
  result: TensorType,
): ReadonlyMap<string, number> | undefined {
  const context: ElementContext = {
    attrs: n.attrs,
    count: types.length,
    result,
    type: (i) => types[i]!,
    has: (i) => types[i] !== undefined,
    size: () => constant(1, U32),
    read: () => constant(0),
    readInside: () => constant(0),
    bind: (_, e) => e,
    sliding: () => [],
  };
  const out = result.shape.map((_, i) => nameExpr(`o${i}`, U32));
  const k = spec.reduce.map((_, i) => nameExpr(`k${i}`, U32));
  const { index } = spec.rightIndex(context, out, k, nameExpr("group", U32));
  const found = new Map<string, number>();
  for (const [axis, e] of index.entries()) {
    if (e.kind !== "name") return undefined;
    found.set(e.name, axis);
  }
  return found;
}
