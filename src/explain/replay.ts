// Graphs of an explain document: the first one, and each step's difference applied. Reads the document alone; the page uses it too.

import type { CostDoc, EntryDoc, NodeDoc, OutputDoc, StepDoc } from "./document.ts";

export interface GraphState {
  /** In order. */
  readonly nodes: readonly NodeDoc[];
  readonly outputs: readonly OutputDoc[];
  readonly cost: CostDoc;
}

/** Step 0 is the graph as the model says it, step n the graph after the n-th pass. */
export function graphAt(entry: EntryDoc, step: number): GraphState {
  let state: GraphState = { nodes: entry.nodes, outputs: entry.outputs, cost: entry.cost };
  for (const s of entry.steps.slice(0, step)) state = applyStep(state, s);
  return state;
}

export function applyStep(state: GraphState, step: StepDoc): GraphState {
  const { outputs = state.outputs, cost } = step;
  if (step.removed.length === 0 && step.set.length === 0 && !step.order) return { ...state, outputs, cost };
  return { nodes: applyNodes(state.nodes, step), outputs, cost };
}

export function applyNodes(before: readonly NodeDoc[], step: Pick<StepDoc, "removed" | "set" | "order">) {
  const gone = new Set(step.removed);
  const old = new Set(before.map((n) => n.id));
  const changed = new Map(step.set.map((s) => [s.node.id, s.node]));
  const following = new Map<string, NodeDoc[]>();
  for (const { node, after } of step.set)
    if (!old.has(node.id)) following.set(after, [...(following.get(after) ?? []), node]);
  const nodes: NodeDoc[] = [];
  const put = (node: NodeDoc): void => {
    // Added nodes may follow one another: a stack, not recursion, so that long chains are no danger.
    const waiting = [node];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      nodes.push(next);
      waiting.push(...(following.get(next.id) ?? []).toReversed());
    }
  };
  for (const first of following.get("") ?? []) put(first);
  for (const n of before) if (!gone.has(n.id)) put(changed.get(n.id) ?? n);
  if (!step.order) return nodes;
  const byId = new Map(nodes.map((n) => [n.id, n]));
  for (const { node } of step.set) byId.set(node.id, node);
  return step.order.map((id) => byId.get(id)!);
}

export type ChangeKind = "added" | "changed" | "removed";

/** What a step did to each node it touched; lines and scopes alone are no change. */
export function changesOf(before: GraphState, step: StepDoc): ReadonlyMap<string, ChangeKind> {
  const old = new Map(before.nodes.map((n) => [n.id, n]));
  const out = new Map<string, ChangeKind>(step.removed.map((id) => [id, "removed"]));
  for (const { node } of step.set) {
    const was = old.get(node.id);
    if (!was) out.set(node.id, "added");
    else if (!sameText(was, node)) out.set(node.id, "changed");
  }
  return out;
}

function sameText(a: NodeDoc, b: NodeDoc): boolean {
  const [x, y] = [a.body?.nodes ?? [], b.body?.nodes ?? []];
  return a.text === b.text && x.length === y.length && x.every((n, i) => n.text === y[i]!.text);
}
