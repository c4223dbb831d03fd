// How each item of the graph looks at a step: what changed in it, its share of the FLOPs, how much of it nobody needs in the end.

import type { NodeDoc } from "../explain/document.ts";
import type { ChangeKind } from "../explain/replay.ts";
import type { App } from "./app.ts";
import type { Look } from "./graph-paint.ts";
import { isBox, type Item, type Tree } from "./tree.ts";

/** What does not change with the pointer. */
export type StillLook = Omit<Look, "lit" | "hovered" | "chosen">;

export function looksOf(app: App, tree: Tree): ReadonlyMap<string, StillLook> {
  const changes = app.model.changes(app.view.step);
  const sums = new Map<string, Sum>();
  for (const item of tree.items.values()) sums.set(item.id, sumOf(app, item, changes));
  const leaves = [...tree.items.values()].filter((x) => !(isBox(x) && x.open));
  const most = Math.max(1, ...leaves.map((x) => sums.get(x.id)!.flops));
  return new Map(
    [...sums].map(([id, s]) => [
      id,
      {
        change: s.change,
        cost: s.flops / most,
        dead: s.tokens > 0 ? s.dead / s.tokens : 0,
        badge: badge(s),
      },
    ]),
  );
}

/** Types of all values in sight, as text. */
export function typesOf({ model }: App, nodes: readonly NodeDoc[]): ReadonlyMap<string, string> {
  const types = new Map<string, string>();
  const typed = (n: NodeDoc): void => n.results.forEach((r) => types.set(r.id, r.type));
  for (const n of nodes) [n, ...(n.body?.nodes ?? [])].forEach(typed);
  for (const x of [...model.entry.inputs, ...model.entry.weights]) types.set(x.id, x.type);
  return types;
}

interface Sum {
  readonly change: ChangeKind | undefined;
  readonly flops: number;
  readonly tokens: number;
  readonly dead: number;
  readonly added: number;
  readonly removed: number;
  readonly changed: number;
}

const empty: Sum = { change: undefined, flops: 0, tokens: 0, dead: 0, added: 0, removed: 0, changed: 0 };

function sumOf(app: App, item: Item, changes: ReadonlyMap<string, ChangeKind>): Sum {
  const { model, view } = app;
  const n = item.node;
  if (n) {
    const change = changes.get(n.id);
    const tokens = n.prepared ? 0 : n.results[0]!.tokens;
    const dead = change === "removed" ? 0 : tokens * (1 - model.liveShare(view.step, n));
    const flops = change === "removed" ? 0 : n.flops;
    return { ...empty, change, flops, tokens, dead, [change ?? "same"]: 1 };
  }
  if (!isBox(item)) return empty;
  return item.children
    .map((c) => sumOf(app, c, changes))
    .reduce(
      (a, b) => ({
        change: undefined,
        flops: a.flops + b.flops,
        tokens: a.tokens + b.tokens,
        dead: a.dead + b.dead,
        added: a.added + b.added,
        removed: a.removed + b.removed,
        changed: a.changed + b.changed,
      }),
      empty,
    );
}

function badge(s: Sum): string {
  const parts = [s.added && `+${s.added}`, s.removed && `−${s.removed}`, s.changed && `~${s.changed}`];
  return s.change ? "" : parts.filter(Boolean).join(" ");
}
