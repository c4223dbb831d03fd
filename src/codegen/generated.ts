// Groups that compute the same, of values of the same types, share what was generated for the first of them: the layers of a model are
// mostly equal, and generating a kernel is the dearest part of compiling. Only the names of their values differ.

import type { Node, Region, ValueId } from "../ir/graph.ts";
import { printNodeWhole } from "../ir/print.ts";
import { showType } from "../ir/types.ts";
import type { GroupStep } from "./kernel-of.ts";

interface Known {
  readonly ids: readonly ValueId[];
  readonly steps: readonly GroupStep[];
}

/** Of one graph: names of sizes mean the same everywhere in it. */
export class Generated {
  readonly #byText = new Map<string, Known>();

  /** `kind`: what else the kernels depend on, as text. */
  of(body: Region, kind: string, make: () => readonly GroupStep[]): readonly GroupStep[] {
    const { text, ids } = canonical(body);
    const key = `${kind}\n${text}`;
    const known = this.#byText.get(key);
    if (!known) {
      const steps = make();
      this.#byText.set(key, { ids, steps });
      return steps;
    }
    const renamed = new Map(known.ids.map((id, i) => [id, ids[i]!] as const));
    const now = (id: ValueId): ValueId => renamed.get(id) ?? id;
    return known.steps.map((s) => ({ ...s, inputs: s.inputs.map(now), results: s.results.map(now) }));
  }
}

interface Canonical {
  readonly text: string;
  readonly ids: readonly ValueId[];
}

const texts = new WeakMap<Region, Canonical>();

/** The text of a body with its values numbered in order, and their ids in that order. */
export function canonical(body: Region): Canonical {
  const known = texts.get(body);
  if (known) return known;
  const made = canonicalText(body);
  texts.set(body, made);
  return made;
}

function canonicalText(body: Region): Canonical {
  const ids: ValueId[] = [];
  const numbers = new Map<ValueId, ValueId>();
  const number = (id: ValueId): ValueId => {
    const made = `%${ids.length}`;
    ids.push(id);
    numbers.set(id, made);
    return made;
  };
  const of = (id: ValueId): ValueId => numbers.get(id) ?? id;
  const lines = body.params.map((p) => `${number(p.id)}: ${showType(p.type)}`);
  for (const n of body.nodes) {
    const inputs = n.inputs.map(of);
    const results = n.results.map((r) => ({ ...r, id: number(r.id) }));
    const plain: Node = { ...n, inputs, results, spans: [], scope: "", annotations: [] };
    lines.push(printNodeWhole(plain));
  }
  lines.push(`yield ${body.results.map(of).join(", ")}`);
  return { text: lines.join("\n"), ids };
}
