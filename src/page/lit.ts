// A selection and all that belongs to it.

import { explainWeight } from "../explain/answers.ts";
import { idsOfText } from "../explain/lineage.ts";
import type { Lit, Model } from "./model.ts";
import type { Selection } from "./state.ts";

export const dark: Lit = {
  nodes: new Set(),
  lines: new Set(),
  kernels: new Set(),
  dispatches: new Set(),
  weights: new Set(),
};

export function litOf(m: Model, s: Selection, step: number): Lit {
  switch (s.kind) {
    case "nothing":
      return dark;
    case "line":
      return m.litByLine(s, step);
    case "node": {
      const node = m.nodes(step).get(s.id);
      if (node) return m.litByNodes([node], step);
      // Gone, or not there yet: what it was, where it was.
      const at = m.stepWith(s.id, step);
      const was = at === undefined ? undefined : m.nodes(at).get(s.id);
      if (at === undefined || !was) return dark;
      const lit = m.litByNodes([was], at);
      const ends = new Set(at < step ? m.lineage.descendants(at, s.id) : []);
      return { ...lit, nodes: new Set([s.id, ...[...ends].filter((id) => m.nodes(step).has(id))]) };
    }
    case "scope": {
      const inside = (scope: string): boolean => scope === s.path || scope.startsWith(`${s.path}.`);
      const lit = m.litByNodes(
        [...m.nodes(step).values()].filter((n) => !n.prepared && inside(n.scope)),
        step,
      );
      const places = m.entry.scopes.find((x) => x.path === s.path)?.places ?? [];
      return {
        ...lit,
        lines: new Set(places.map((i) => `${m.doc.places[i]!.source}:${m.doc.places[i]!.line}`)),
      };
    }
    case "dispatch":
      return m.litByDispatches([s.index], step);
    case "kernel": {
      const list = m.entry.dispatches.flatMap((d, i) => (d.kernel === s.index ? [i] : []));
      return { ...m.litByDispatches(list, step), kernels: new Set([s.index]) };
    }
    case "weight": {
      const answer = explainWeight(m.doc, m.entry, s.key);
      if (!answer) return dark;
      const lit = m.litByDispatches(answer.dispatches.map((d) => d.index), step); // prettier-ignore
      const readers = [...m.nodes(step).values()].filter((n) => n.inputs.includes(`$${s.key}`));
      const own = m.litByNodes(readers, step);
      return { ...lit, nodes: own.nodes, lines: own.lines, weights: new Set([s.key]) };
    }
    case "rule": {
      const pass = m.pass(step);
      const fired = pass?.fired.filter((f) => f.rule === s.name) ?? [];
      const refused = pass?.refused.filter((r) => r.rule === s.name) ?? [];
      const ids = new Set([...fired.flatMap((f) => idsOfText([...f.before, ...f.after])), ...refused.map((r) => r.node)]); // prettier-ignore
      return m.litByNodes(
        [...m.nodes(step).values()].filter((n) => ids.has(n.id)),
        step,
      );
    }
  }
}
