// What one stage changed: two graphs compared line by line. Works because values keep their ids through rewrites; lines of model
// text are left out of the comparison. Knows graphs, no pass.

import type { Graph, Node } from "./graph.ts";
import { declarationLines, printNodeWhole } from "./print.ts";

export type DiffKind = "removed" | "added" | "changed" | "same";

export interface DiffEntry {
  readonly kind: DiffKind;
  /** The first result of a node, or what a declaration is compared by: `weight $w`, `return logits`. */
  readonly id: string;
  /** IR text without locations; a node with a body has several lines. */
  readonly before?: string;
  readonly after?: string;
  readonly scope: string;
}

export interface GraphDiff {
  readonly name: string;
  /** In the order of the graph after; what was removed stands where it was. Unchanged lines are there too, for context. */
  readonly entries: readonly DiffEntry[];
  readonly removed: readonly Node[];
  readonly added: readonly Node[];
  readonly changed: readonly { readonly before: Node; readonly after: Node }[];
}

export interface PrintDiffOptions {
  readonly color?: boolean;
  /** Unchanged lines shown on either side of a change; default 1. */
  readonly context?: number;
}

interface Line {
  readonly id: string;
  readonly text: string;
  readonly scope: string;
  readonly node?: Node;
}

export function diffGraphs(before: Graph, after: Graph): GraphDiff {
  const old = linesOf(before);
  const now = linesOf(after);
  const oldById = new Map(old.map((l) => [l.id, l]));
  const nowIds = new Set(now.map((l) => l.id));
  const entries: DiffEntry[] = [];
  const removed: Node[] = [];
  const added: Node[] = [];
  const changed: { before: Node; after: Node }[] = [];

  // Removed lines are given out together with the line that followed them.
  let at = 0;
  const passed = new Set<string>();
  const passTo = (id: string | undefined) => {
    for (; at < old.length && old[at]!.id !== id; at++) {
      const line = old[at]!;
      passed.add(line.id);
      if (nowIds.has(line.id)) continue;
      entries.push({ kind: "removed", id: line.id, before: line.text, scope: line.scope });
      if (line.node) removed.push(line.node);
    }
    if (id !== undefined) at++;
  };
  for (const line of now) {
    const was = oldById.get(line.id);
    // A line that moved up or down is found only once.
    if (was && !passed.has(line.id)) passTo(line.id);
    const { id, scope } = line;
    if (!was) {
      entries.push({ kind: "added", id, after: line.text, scope });
      if (line.node) added.push(line.node);
    } else if (was.text === line.text)
      entries.push({ kind: "same", id, before: was.text, after: line.text, scope });
    else {
      entries.push({ kind: "changed", id, before: was.text, after: line.text, scope });
      if (was.node && line.node) changed.push({ before: was.node, after: line.node });
    }
  }
  passTo(undefined);
  return { name: after.name, entries, removed, added, changed };
}

/** Declarations first, then nodes, then what the graph returns, as in the text. */
function linesOf(graph: Graph): readonly Line[] {
  const declarations = declarationLines(graph).map((l) => ({ ...l, scope: "" }));
  const isLast = (l: Line) => /^(?:return|guard) /.test(l.id);
  const nodes = graph.nodes.map((n) => ({
    id: n.results[0]?.id ?? "",
    text: printNodeWhole(n),
    scope: n.scope,
    node: n,
  }));
  return [...declarations.filter((l) => !isLast(l)), ...nodes, ...declarations.filter(isLast)];
}

/** Changes alone, `-` and `+` in front, with a little of what stands around them; empty where nothing changed. */
export function printDiff(diff: GraphDiff, options: PrintDiffOptions = {}): string {
  const context = options.context ?? 1;
  const paint = (code: number, text: string) => (options.color ? `\u001b[${code}m${text}\u001b[39m` : text);
  const { entries } = diff;
  const near = new Set<number>();
  for (const [i, e] of entries.entries())
    if (e.kind !== "same") for (let k = i - context; k <= i + context; k++) near.add(k);
  if (near.size === 0) return "";

  const lines = [`graph @${diff.name}`];
  const put = (mark: string, text: string, code: number | undefined) => {
    for (const line of text.split("\n"))
      lines.push(code ? paint(code, `${mark} ${line}`) : `${mark} ${line}`);
  };
  const [red, green, cyan] = [31, 32, 36];
  let last = -1;
  for (const [i, e] of entries.entries()) {
    if (!near.has(i)) continue;
    if (i > last + 1) lines.push(paint(cyan, "..."));
    last = i;
    if (e.kind === "same") put(" ", e.after!, undefined);
    if (e.before !== undefined && e.kind !== "same") put("-", e.before, red);
    if (e.after !== undefined && e.kind !== "same") put("+", e.after, green);
  }
  if (last < entries.length - 1) lines.push(paint(cyan, "..."));
  return `${lines.join("\n")}\n`;
}
