// What became of a node, and where it came from: values keep their ids through rewrites, and where one leaves, the rule that took it
// away says what it left instead. Reads the document alone.

import { numbered, type LineAnswer } from "./answers.ts";
import type { EntryDoc, ExplainDocument, FiredDoc, NodeDoc, RuleDoc, StepDoc } from "./document.ts";

/** Ids of nodes that stand in IR text on the left of `=`. */
export function idsOfText(lines: readonly string[]): readonly string[] {
  return lines.flatMap((l) => /^(%[^\s,=]+)/.exec(l)?.[1] ?? []);
}

/**
 * The id of a node of a firing's text. A node that took over another's id after the log was written is found by the rest of its text;
 * values that the step did not touch are themselves.
 */
function standing(step: StepDoc): (text: string) => readonly string[] {
  const known = new Set([...step.removed, ...step.set.map((x) => x.node.id)]);
  const byRest = new Map(step.set.map((x) => [rest(x.node.text), x.node.id]));
  return (text) => {
    const ids = idsOfText([text]);
    return ids.map((id) => (known.has(id) ? id : (byRest.get(rest(text)) ?? id)));
  };
}

function rest(text: string): string {
  return text.slice(text.indexOf(" = "));
}

/** What became of the nodes that passes removed. Nothing, where they were dead. */
export class Lineage {
  /** For each step, what stands for a node that it removed. */
  readonly #after: readonly ReadonlyMap<string, readonly string[]>[];
  readonly #removedBy = new Map<string, number>();

  constructor(entry: EntryDoc) {
    this.#after = entry.steps.map((s, step) => {
      const after = new Map<string, string[]>(s.removed.map((id) => [id, []]));
      const there = standing(s);
      for (const f of s.fired) {
        const made = f.after.flatMap(there);
        for (const id of f.removed) after.get(id)?.push(...made.filter((x) => x !== id));
      }
      // Grouping copies nodes: what was one of them is the group now.
      for (const { node } of s.set)
        for (const id of node.body?.were ?? []) if (after.has(id)) after.set(id, [node.id]);
      for (const id of s.removed) this.#removedBy.set(id, step);
      return after;
    });
  }

  /** Nodes of the last graph that a node of graph `step` became. */
  descendants(step: number, id: string): readonly string[] {
    const removed = this.#removedBy.get(id);
    if (removed === undefined || removed < step) return [id];
    const [seen, out] = [new Set<string>(), new Set<string>()];
    const waiting = [id];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      const by = this.#removedBy.get(next);
      // Rules of one pass build on one another: what a node became may itself be gone at the end of the pass.
      if (by === undefined || by < step) out.add(next);
      else waiting.push(...this.#after[by]!.get(next)!);
    }
    return [...out];
  }
}

// ---- history --------------------------------------------------------------------------------------------------------

export interface HistoryStep {
  /** Index of the pass in `entry.steps`. */
  readonly step: number;
  readonly pass: string;
  readonly kind: "added" | "changed" | "removed";
  readonly before?: string;
  readonly after?: string;
  /** Rules that did it; none where the pass is a function of the whole graph. */
  readonly fired: readonly (FiredDoc & { readonly equation?: string })[];
}

export interface NodeAnswer {
  readonly id: string;
  /** As the model says it, or as the pass that made it does. */
  readonly text: string;
  readonly firstStep: number;
  /** The last graph that has it. */
  readonly lastStep: number;
  readonly history: readonly HistoryStep[];
  /** Where it is no more: nodes of the last graph that stand for it. */
  readonly became: readonly string[];
  /** What computes it, or what it became. */
  readonly dispatches: LineAnswer["dispatches"];
  readonly refused: readonly { readonly pass: string; readonly rule: string; readonly reason: string }[];
}

/** Undefined where no graph has such a node. */
export function explainNode(doc: ExplainDocument, entry: EntryDoc, id: string): NodeAnswer | undefined {
  const rules = new Map<string, RuleDoc>(doc.rules.map((r) => [r.name, r]));
  let now: NodeDoc | undefined = entry.nodes.find((n) => n.id === id);
  let [firstStep, lastStep] = [now ? 0 : -1, 0];
  let text = now?.text;
  const history: HistoryStep[] = [];
  entry.steps.forEach((s, step) => {
    const set = s.set.find((x) => x.node.id === id)?.node;
    const gone = s.removed.includes(id);
    const before = now;
    if (set) now = set;
    if (gone) now = undefined;
    if (now) {
      if (firstStep < 0) [firstStep, text] = [step + 1, now.text];
      lastStep = step + 1;
    }
    if (before?.text === now?.text) return;
    history.push({
      step,
      pass: doc.passes[s.pass]!.name,
      kind: !before ? "added" : now ? "changed" : "removed",
      ...(before && { before: before.text }),
      ...(now && { after: now.text }),
      fired: s.fired
        .filter((f) => f.removed.includes(id) || idsOfText([...f.before, ...f.after]).includes(id))
        .map((f) => {
          const equation = rules.get(f.rule)?.equation;
          return { ...f, ...(equation !== undefined && { equation }) };
        }),
    });
  });
  if (text === undefined) return undefined;
  const became = now ? [] : new Lineage(entry).descendants(lastStep, id);
  const ends = new Set(now ? [id] : became);
  const dispatches = numbered(doc, entry).filter((d) => d.nodes.some((n) => ends.has(n)));
  const refused = entry.steps.flatMap((s) =>
    s.refused
      .filter((r) => r.node === id)
      .map((r) => ({ pass: doc.passes[s.pass]!.name, rule: r.rule, reason: r.reason })),
  );
  return { id, text, firstStep, lastStep, history, became, dispatches, refused };
}
