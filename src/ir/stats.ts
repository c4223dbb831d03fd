// Counts of a graph: nodes, parameters, multiply-adds of one run, nodes of each op. Symbolic where sizes are. Knows no particular
// op: each says how many multiply-adds it makes.

import { addDim, dim, mulDim, type Dim } from "./dim.ts";
import { preparedValues, typesOf } from "./graph.ts";
import type { Graph, Node, Region, ValueId } from "./graph.ts";
import { elementsOf, type TensorType } from "./types.ts";

export interface GraphStats {
  /** Nodes run every time, those inside of bodies included; and those run once, when weights are loaded. */
  readonly nodes: number;
  readonly preparedNodes: number;
  /** Elements of all weights. */
  readonly parameters: Dim;
  /** Multiply-adds of contractions in one run. */
  readonly macs: Dim;
  /** Those of layers: of ops that own weights, convolutions and linear layers. The rest are products of two values. */
  readonly layerMacs: Dim;
  /** Nodes of each op, most frequent first; prepared ones are left out. */
  readonly byOp: ReadonlyMap<string, number>;
}

export function graphStats(graph: Graph): GraphStats {
  const prepared = preparedValues(graph);
  const counts = new Map<string, number>();
  let nodes = 0;
  let preparedNodes = 0;
  let macs = dim(0);
  let layerMacs = dim(0);
  const visit = (list: readonly Node[], types: ReadonlyMap<ValueId, TensorType>) => {
    for (const n of list) {
      if (n.results.every((r) => prepared.has(r.id))) {
        preparedNodes++;
        continue;
      }
      nodes++;
      counts.set(n.op.name, (counts.get(n.op.name) ?? 0) + 1);
      const inputs = n.inputs.map((x) => types.get(x));
      const own = n.op.macs?.(inputs, n.attrs, n.results[0]!.type);
      if (own) macs = addDim(macs, own);
      if (own && n.op.inputs.some((x) => x.weight)) layerMacs = addDim(layerMacs, own);
      if (n.body) visit(n.body.nodes, typesOfBody(n.body));
    }
  };
  visit(graph.nodes, typesOf(graph));
  const parameters = graph.weights.map((w) => elementsOf(w.type)).reduce(addDim, dim(0));
  const byOp = new Map([...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)));
  return { nodes, preparedNodes, parameters, macs, layerMacs, byOp };
}

export function typesOfBody(body: Region): ReadonlyMap<ValueId, TensorType> {
  const types = new Map<ValueId, TensorType>();
  for (const p of body.params) types.set(p.id, p.type);
  for (const n of body.nodes) for (const r of n.results) types.set(r.id, r.type);
  return types;
}

/** Two for each multiply-add, one for each element of anything else; of a node with a body, those of its nodes. */
export function flopsOf(node: Node, types: ReadonlyMap<ValueId, TensorType>): Dim {
  if (node.body) return flopsOfBody(node.body);
  const result = node.results[0]!.type;
  const inputs = node.inputs.map((x) => (x === "" ? undefined : types.get(x)));
  const macs = node.op.macs?.(inputs, node.attrs, result);
  if (macs) return mulDim(macs, dim(2));
  if (node.op.traits.includes("movement") || node.op.traits.includes("view")) return dim(0);
  return elementsOf(node.op.lowering.kind === "reduce" ? inputs[0]! : result);
}

const bodyFlops = new WeakMap<Region, Dim>();

function flopsOfBody(body: Region): Dim {
  let known = bodyFlops.get(body);
  if (!known) {
    const inside = typesOfBody(body);
    known = body.nodes.map((n) => flopsOf(n, inside)).reduce(addDim, dim(0));
    bodyFlops.set(body, known);
  }
  return known;
}
