// Selection biases from forward passes alone (auxiliary-loss-free balancing, arXiv 2408.15664): after each batch the bias of an expert
// with more tokens than the mean falls, that of one with fewer rises. Biases choose and never weigh, so what changes is which experts a
// token goes to. Only past batches set a bias. The graph has its biases as states, and the choices as outputs.

import { constantOf } from "../ir/dim.ts";
import type { Graph, Node, Output, State, ValueId, Weight } from "../ir/graph.ts";
import { scoresOf } from "../ops/route.ts";

/** A router whose bias is a weight of the checkpoint. */
export interface BiasedRouter {
  /** Key of the bias, and name of its state. */
  readonly key: string;
  readonly node: Node;
  readonly experts: number;
  readonly k: number;
  /** How logits become scores: the router's attribute. */
  readonly scores: string;
  /** Outputs of the calibration graph. */
  readonly ids: string;
  readonly logits: string;
}

export function biasedRouters(graph: Graph): readonly BiasedRouter[] {
  const weights = new Map(graph.weights.map((w) => [w.id, w]));
  return graph.nodes
    .filter((n) => n.op.name === "route" && weights.has(n.inputs[1] ?? ""))
    .map((node, i) => ({
      key: weights.get(node.inputs[1]!)!.key,
      node,
      experts: constantOf(weights.get(node.inputs[1]!)!.type.shape[0]!)!,
      k: Number(node.attrs["k"]),
      scores: String(node.attrs["scores"]),
      ids: `routing.${i}.ids`,
      logits: `routing.${i}.logits`,
    }));
}

/** The model with the biases of its routers as states, and choices and logits as outputs beside its own. */
export function calibrationGraph(graph: Graph, routers: readonly BiasedRouter[]): Graph {
  const keys = new Set(routers.map((r) => r.key));
  const biases = graph.weights.filter((w) => keys.has(w.key));
  const stateOf = new Map(biases.map((w, i): [ValueId, ValueId] => [w.id, `%bias_${i}.in`]));
  const state = (w: Weight): State => {
    const id = stateOf.get(w.id)!;
    return { name: w.key, id, type: w.type, next: id, initial: 0, spans: w.spans };
  };
  const output = (name: string, value: ValueId, node: Node): Output => ({ name, value, spans: node.spans });
  return {
    ...graph,
    weights: graph.weights.filter((w) => !keys.has(w.key)),
    states: [...graph.states, ...biases.map(state)],
    nodes: graph.nodes.map((n) =>
      n.inputs.some((x) => stateOf.has(x)) ? { ...n, inputs: n.inputs.map((x) => stateOf.get(x) ?? x) } : n,
    ),
    outputs: [
      ...graph.outputs.map((o) => ({ ...o, value: stateOf.get(o.value) ?? o.value })),
      ...routers.flatMap(({ ids, logits, node }) => [
        output(ids, node.results[0]!.id, node),
        output(logits, node.inputs[0]!, node),
      ]),
    ],
  };
}

export type Rule = "sign" | "proportional";

/** How the biases change behind a batch: `rate` by the sign of mean - load, or in proportion to it as a share of the mean. */
export function biasSteps(loads: readonly number[], rule: Rule, rate: number): number[] {
  const mean = loads.reduce((a, b) => a + b, 0) / loads.length;
  return loads.map((load) => {
    const e = mean - load;
    return rule === "sign" ? rate * Math.sign(e) : mean === 0 ? 0 : (rate * e) / mean;
  });
}

/** Biases moved so that their mean is 0, which changes no choice: only differences count. */
export function centred(biases: readonly number[]): number[] {
  const mean = biases.reduce((a, b) => a + b, 0) / biases.length;
  return biases.map((b) => b - mean);
}

/** What choosing by scores and biases costs: the mean over tokens of the best k scores' sum, less that of the chosen. */
export function affinityLost(
  logits: ArrayLike<number>,
  ids: ArrayLike<number>,
  router: Pick<BiasedRouter, "experts" | "k" | "scores">,
): number {
  const { experts, k } = router;
  const tokens = ids.length / k;
  let lost = 0;
  for (let t = 0; t < tokens; t++) {
    const row = Array.from({ length: experts }, (_, i) => logits[t * experts + i]!);
    const scores = scoresOf(row, router.scores);
    const best = [...scores].sort((a, b) => b - a).slice(0, k);
    for (let j = 0; j < k; j++) lost += best[j]! - (scores[ids[t * k + j]!] ?? 0);
  }
  return tokens === 0 ? 0 : lost / tokens;
}
