// Test-time rerouting (Rewiring Experts on the Fly, 2025): to the logits of each router a vector is added, the same for all tokens and zero
// at first. It is moved so that the model's loss on what is at hand falls; all weights stay as they are. It is not the selection bias of
// loss-free balancing: that one comes behind the scores and only chooses, this one changes choices and weights. The paper follows
// gradients; here nothing but forward passes does it (src/tune).

import { withDefaults, type Graph, type Node, type Value, type Weight } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import { tensorType } from "../ir/types.ts";
import { Bug } from "../support/bug.ts";

const name = "logit_delta";

/** Is it the key of such a vector? */
export const isLogitDelta = (key: string): boolean => new RegExp(`(^|\\.)${name}(_\\d+)?$`).test(key);

/** The graph with a weight `ROUTER.logit_delta` on the logits of every router; unchanged where there is none. */
export function withLogitDeltas(graph: Graph, lookup: OpLookup): Graph {
  const add = lookup("add");
  if (!add) throw new Bug("there is no op called add");
  const types = new Map<string, Value["type"]>();
  for (const v of [...graph.inputs, ...graph.weights, ...graph.states]) types.set(v.id, v.type);
  const keys = new Set(graph.weights.map((w) => w.key));
  const deltas: Weight[] = [];
  const nodes: Node[] = [];
  let next = graph.nextId;
  for (const n of graph.nodes) {
    for (const r of n.results) types.set(r.id, r.type);
    if (n.op.name !== "route") {
      nodes.push(n);
      continue;
    }
    const logits = types.get(n.inputs[0]!)!;
    const key = freeKey(n.scope === "" ? name : `${n.scope}.${name}`, keys);
    keys.add(key);
    const delta: Weight = {
      id: `$${key}`,
      key,
      type: tensorType(logits.dtype, [logits.shape.at(-1)!]),
      spans: n.spans,
    };
    deltas.push(delta);
    const moved: Value = { id: `%${next++}`, type: logits };
    const inputs = [n.inputs[0]!, delta.id];
    nodes.push({ ...n, op: add, inputs, attrs: withDefaults(add, {}), results: [moved], annotations: [] });
    nodes.push({ ...n, inputs: [moved.id, ...n.inputs.slice(1)] });
  }
  return deltas.length === 0
    ? graph
    : { ...graph, weights: [...graph.weights, ...deltas], nodes, nextId: next };
}

function freeKey(wanted: string, keys: ReadonlySet<string>): string {
  for (let i = 1, key = wanted; ; key = `${wanted}_${++i}`) if (!keys.has(key)) return key;
}
