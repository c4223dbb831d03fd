// One entry point of the document with what the page asks of it again and again: graphs by step, costs by line, times, and what
// belongs to what. Everything is made when first asked for. No DOM.

import { annotate, onLine, type LineCost, type LineRef } from "../explain/answers.ts";
import type { EntryDoc, ExplainDocument, NodeDoc, StepDoc } from "../explain/document.ts";
import { Lineage } from "../explain/lineage.ts";
import { applyStep, changesOf, type ChangeKind, type GraphState } from "../explain/replay.ts";
import { Shapes } from "../explain/shapes.ts";
import { timesOf } from "../explain/speed.ts";

/** What a selection lights up, everywhere. Lines are `source:line`. */
export interface Lit {
  readonly nodes: ReadonlySet<string>;
  readonly lines: ReadonlySet<string>;
  readonly kernels: ReadonlySet<number>;
  readonly dispatches: ReadonlySet<number>;
  readonly weights: ReadonlySet<string>;
}

export class Model {
  readonly doc: ExplainDocument;
  readonly entry: EntryDoc;
  readonly shapes: Shapes;
  readonly lineage: Lineage;
  /** Nanoseconds of each dispatch, and whether they were measured. */
  readonly times: readonly number[];
  readonly totalTime: number;
  readonly measured: boolean;
  readonly #states: GraphState[];
  readonly #byId = new Map<number, ReadonlyMap<string, NodeDoc>>();
  readonly #changes = new Map<number, ReadonlyMap<string, ChangeKind>>();
  readonly #costs = new Map<number, ReadonlyMap<number, LineCost>>();
  readonly #owners = new Map<string, number>();
  readonly #were = new Map<string, string>();
  readonly #dispatchesOf = new Map<string, readonly number[]>();

  constructor(doc: ExplainDocument, entry: EntryDoc) {
    this.doc = doc;
    this.entry = entry;
    this.shapes = new Shapes(entry);
    this.lineage = new Lineage(entry);
    this.times = timesOf(doc.target, entry);
    this.totalTime = this.times.reduce((a, b) => a + b, 0);
    this.measured = entry.profile !== undefined;
    this.#states = [{ nodes: entry.nodes, outputs: entry.outputs, cost: entry.cost }];
    entry.dispatches.forEach((d, i) => {
      for (const id of d.nodes) this.#owners.set(id, i);
    });
    for (const { node } of entry.steps.flatMap((s) => s.set))
      node.body?.nodes.forEach((x, i) => this.#were.set(x.id, node.body!.were[i] || node.id));
  }

  get last(): number {
    return this.entry.steps.length;
  }

  state(step: number): GraphState {
    for (let i = this.#states.length; i <= step; i++)
      this.#states.push(applyStep(this.#states[i - 1]!, this.entry.steps[i - 1]!));
    return this.#states[step]!;
  }

  /** Nodes of a graph by id, those inside groups too. */
  nodes(step: number): ReadonlyMap<string, NodeDoc> {
    const known = this.#byId.get(step);
    if (known) return known;
    const made = new Map<string, NodeDoc>();
    for (const n of this.state(step).nodes) {
      made.set(n.id, n);
      for (const x of n.body?.nodes ?? []) made.set(x.id, x);
    }
    this.#byId.set(step, made);
    return made;
  }

  /** The pass that made the graph of a step; none made the first. */
  pass(step: number): StepDoc | undefined {
    return this.entry.steps[step - 1];
  }

  changes(step: number): ReadonlyMap<string, ChangeKind> {
    const known = this.#changes.get(step);
    if (known) return known;
    const pass = this.pass(step);
    const made = pass ? changesOf(this.state(step - 1), pass) : new Map<string, ChangeKind>();
    this.#changes.set(step, made);
    return made;
  }

  /** Nodes of the step before that are no more, by the node that stood in front of them and still does; "" at the beginning. */
  goneBehind(step: number): ReadonlyMap<string, readonly NodeDoc[]> {
    const behind = new Map<string, NodeDoc[]>();
    const now = this.nodes(step);
    let last = "";
    for (const n of step === 0 ? [] : this.state(step - 1).nodes) {
      if (now.has(n.id)) last = n.id;
      else if (behind.has(last)) behind.get(last)!.push(n);
      else behind.set(last, [n]);
    }
    return behind;
  }

  /** Nodes that a step removed and that did not go into a group. */
  removed(step: number): readonly NodeDoc[] {
    const pass = this.pass(step);
    if (!pass) return [];
    const moved = new Set(pass.set.flatMap((s) => s.node.body?.were ?? []));
    const before = this.nodes(step - 1);
    return pass.removed.flatMap((id) => (moved.has(id) ? [] : [before.get(id)!]));
  }

  costs(source: number): ReadonlyMap<number, LineCost> {
    const known = this.#costs.get(source);
    if (known) return known;
    const made = new Map(annotate(this.doc, this.entry, source).map((c) => [c.line, c]));
    this.#costs.set(source, made);
    return made;
  }

  placeName(place: number): string {
    const p = this.doc.places[place]!;
    return `${this.doc.sources[p.source]!.name}:${p.line}`;
  }

  /** The id under which a node inside a group is known: what it was before. */
  known(id: string): string {
    return this.#were.get(id) ?? id;
  }

  /** A step whose graph has the node: the nearest one to `step`. */
  stepWith(id: string, step: number): number | undefined {
    for (let far = 0; far <= this.last; far++)
      for (const at of [step - far, step + far])
        if (at >= 0 && at <= this.last && this.nodes(at).has(id)) return at;
    return undefined;
  }

  // ---- what belongs to what ----

  /** Dispatches that compute what a node of a graph became. */
  dispatchesOf(step: number, id: string): readonly number[] {
    const key = `${step} ${id}`;
    const known = this.#dispatchesOf.get(key);
    if (known) return known;
    const made = [...new Set(this.lineage.descendants(step, this.known(id)))]
      .flatMap((x) => this.#owners.get(x) ?? [])
      .sort((a, b) => a - b);
    this.#dispatchesOf.set(key, made);
    return made;
  }

  /** Positions that are still computed in the end, of those that the node computes; 1 where nothing is dead. */
  liveShare(step: number, node: NodeDoc): number {
    const { tokens } = node.results[0]!;
    if (node.prepared || tokens === 0) return 1;
    const last = this.nodes(this.last);
    const ends = this.lineage.descendants(step, node.id).flatMap((id) => {
      const n = last.get(id);
      return n ? [...(n.body?.nodes ?? []), n] : [];
    });
    if (ends.length === 0) return step === this.last ? 1 : 0;
    const same = ends.filter((n) => n.op === node.op);
    const live = Math.max(...(same.length > 0 ? same : ends).map((n) => n.results[0]!.tokens));
    return Math.min(1, live / tokens);
  }

  litByLine(at: LineRef, step: number): Lit {
    const here = (x: { readonly places: readonly number[] }): boolean => onLine(this.doc, x.places, at);
    const dispatches = new Set(this.entry.dispatches.flatMap((d, i) => (here(d) ? [i] : [])));
    return {
      nodes: new Set([...this.nodes(step).values()].filter(here).map((n) => n.id)),
      lines: new Set([`${at.source}:${at.line}`]),
      kernels: this.#kernels(dispatches),
      dispatches,
      weights: new Set(this.entry.weights.filter(here).map((w) => w.key)),
    };
  }

  litByNodes(nodes: readonly NodeDoc[], step: number): Lit {
    const dispatches = new Set(nodes.flatMap((n) => this.dispatchesOf(step, n.id)));
    return {
      nodes: new Set(nodes.map((n) => n.id)),
      lines: new Set(nodes.flatMap((n) => this.#lines(n.places))),
      kernels: this.#kernels(dispatches),
      dispatches,
      weights: new Set(
        nodes.flatMap((n) => n.inputs.flatMap((x) => (x.startsWith("$") ? [x.slice(1)] : []))),
      ),
    };
  }

  litByDispatches(list: readonly number[], step: number): Lit {
    const dispatches = new Set(list);
    const docs = list.map((i) => this.entry.dispatches[i]!);
    const own = this.state(step).nodes.filter(
      (n) => !n.prepared && this.dispatchesOf(step, n.id).some((i) => dispatches.has(i)),
    );
    const buffers = new Set(docs.flatMap((d) => d.buffers));
    return {
      nodes: new Set(own.flatMap((n) => [n.id, ...(n.body?.nodes.map((x) => x.id) ?? [])])),
      lines: new Set(docs.flatMap((d) => this.#lines(d.places))),
      kernels: this.#kernels(dispatches),
      dispatches,
      weights: new Set(this.doc.constants.filter((c) => buffers.has(c.id)).flatMap((c) => c.keys)),
    };
  }

  #kernels(dispatches: ReadonlySet<number>): ReadonlySet<number> {
    return new Set([...dispatches].map((i) => this.entry.dispatches[i]!.kernel));
  }

  #lines(places: readonly number[]): readonly string[] {
    return places.map((i) => {
      const p = this.doc.places[i]!;
      return `${p.source}:${p.line}`;
    });
  }
}
