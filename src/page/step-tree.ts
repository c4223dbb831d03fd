// The tree of the graph at a step, with what the step removed where the reader wants to see it.

import type { NodeDoc } from "../explain/document.ts";
import type { Model } from "./model.ts";
import { treeOf, type Box, type Tree } from "./tree.ts";

export interface Shown {
  readonly prepared: boolean;
  readonly removed: boolean;
}

/** Nodes of the step, and where asked for those that it removed, each where it stood. */
export function stepNodes(model: Model, step: number, show: Shown): readonly NodeDoc[] {
  const now = model.state(step).nodes;
  const removed = removedIds(model, step, show);
  if (removed.size === 0) return now;
  const behind = model.goneBehind(step);
  const gone = (id: string): readonly NodeDoc[] => behind.get(id)?.filter((n) => removed.has(n.id)) ?? [];
  return [...gone(""), ...now.flatMap((n) => [n, ...gone(n.id)])];
}

export function stepTree(model: Model, step: number, show: Shown, isOpen: (b: Box) => boolean): Tree {
  const nodes = stepNodes(model, step, show);
  const removed = removedIds(model, step, show);
  const before = removed.size > 0 ? model.nodes(step - 1) : undefined;
  const gone = before
    ? nodes.flatMap((n) => {
        const was = removed.has(n.id) ? undefined : before.get(n.id);
        const inputs = was?.inputs.filter((v) => removed.has(v)) ?? [];
        return inputs.length > 0 ? [{ id: n.id, inputs }] : [];
      })
    : [];
  const { outputs } = model.state(step);
  return treeOf({ entry: model.entry, nodes, outputs, gone, prepared: show.prepared, isOpen });
}

function removedIds(model: Model, step: number, show: Shown): ReadonlySet<string> {
  return new Set(show.removed ? model.removed(step).map((n) => n.id) : []);
}
