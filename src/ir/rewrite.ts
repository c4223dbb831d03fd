// The one mechanism that rewrites graphs: runs rules to a fixed point and logs what they did and what they refused.
// Knows rules as functions (rewrite-types.ts), and no particular op. Graph-wide helpers for passes are in rewrite-helpers.ts.
//
// A sweep visits nodes in topological order. Where a rule fires, the sweep goes on at the first node it added, so that a node can
// travel through a long chain in one sweep. Reads and producers are counted as the graph changes, never again from scratch: the
// cost is that of the rules applied. A node that nothing reads any more leaves at once, so that counts are true for the next rule.
//
// Who keeps what, when a rule replaces a root:
//   - ids: the node added that gives result i takes the id of the root's result i; a value that was there before keeps its own id
//     and what read the root reads it instead.
//   - lines: every node added has the lines of the root and of the nodes the rule `matched`; so has the producer of a value that
//     was there before.
//   - annotations of the root and of matched nodes that leave go to the node that takes the root's place. Where an input or a
//     weight would take it there is nothing to carry them, and the rewrite is refused.
//   - scope, and names of axes where the op added gives none: those of the root.

import { Bug } from "../support/bug.ts";
import { showLocation, type Location } from "../support/source.ts";
import { unionSpans, withDefaults } from "./graph.ts";
import type { Annotation, Attrs, Graph, Node, Value, ValueId } from "./graph.ts";
import { inferTypes, type OpLookup } from "./op.ts";
import { printNode, printNodeWhole } from "./print.ts";
import { RewriteGraph, type Cell } from "./rewrite-graph.ts";
import { removeDead } from "./rewrite-helpers.ts";
import type {
  NewNodeOptions,
  Refusal,
  RewriteContext,
  RewriteEvent,
  RewriteResult,
} from "./rewrite-types.ts";
import type { Rule } from "./rewrite-types.ts";
import { sameShape, showType, type TensorType } from "./types.ts";

export { countUses, mergeDuplicates, removeDead, renameUses, replaceGraphNodes } from "./rewrite-helpers.ts";

export interface RewriteOptions {
  /** More sweeps than this are a loop; default 100. */
  readonly maxSweeps?: number;
  /** Stop after so many rewrites, as if the rules had ended there: to find the one that is wrong. */
  readonly limit?: number;
}

export function rewrite(
  graph: Graph,
  rules: readonly Rule[],
  lookup: OpLookup,
  options: RewriteOptions = {},
): RewriteResult {
  // Most passes have nothing to do in most graphs; counting its reads would be all of their time.
  const roots = new Set(rules.flatMap((r) => r.roots));
  if (!graph.nodes.some((n) => roots.has(n.op.name)))
    return { graph: removeDead(graph), events: [], refusals: [] };
  return new Rewriter(graph, rules, lookup, options).run();
}

class Rewriter {
  readonly #state: RewriteGraph;
  readonly #rulesOf = new Map<string, Rule[]>();
  readonly #lookup: OpLookup;
  readonly #maxSweeps: number;
  readonly #limit: number;
  readonly #events: RewriteEvent[] = [];
  #refusals = new Map<string, Refusal>();
  readonly #budget: Budget;

  constructor(graph: Graph, rules: readonly Rule[], lookup: OpLookup, options: RewriteOptions) {
    this.#state = RewriteGraph.of(graph);
    this.#lookup = lookup;
    this.#maxSweeps = options.maxSweeps ?? 100;
    this.#limit = options.limit ?? Infinity;
    this.#budget = new Budget(graph);
    for (const rule of rules)
      for (const op of rule.roots) this.#rulesOf.set(op, [...(this.#rulesOf.get(op) ?? []), rule]);
  }

  run(): RewriteResult {
    const state = this.#state;
    state.removeDead();
    for (let sweep = 0; this.#sweep(); sweep++)
      if (sweep >= this.#maxSweeps)
        throw new Bug(`rule ${this.#budget.busiest()} still fires after ${this.#maxSweeps} sweeps`, {
          graph: state.graph.name,
        });
    const refusals = [...this.#refusals.values()].filter((r) => state.producer(r.node));
    return { graph: state.finish(), events: this.#events, refusals };
  }

  /** Visits every node once; true where a rule fired. */
  #sweep(): boolean {
    this.#refusals = new Map();
    const before = this.#events.length;
    let cell = this.#state.first();
    while (cell && this.#events.length < this.#limit) cell = this.#visit(cell);
    this.#state.removeDead();
    this.#state.startSweep();
    return this.#events.length > before;
  }

  /** Tries the rules at one node; returns where to go on. */
  #visit(cell: Cell): Cell | undefined {
    for (const rule of this.#rulesOf.get(cell.node.op.name) ?? []) {
      const attempt = new Attempt(rule, cell, this.#state, this.#lookup, this.#refusals);
      const replacement = rule.apply(cell.node, attempt);
      if (!replacement) {
        attempt.undo();
        continue;
      }
      const fired = attempt.commit(replacement);
      if (!fired) continue;
      this.#events.push(fired.event);
      this.#budget.spend(rule.name, fired.cells, cell);
      return fired.next;
    }
    return cell.next;
  }
}

/** Stops rules that would go on for ever: by the number of firings, and by how many firings made one node. */
class Budget {
  readonly #graph: Graph;
  readonly #maxFirings: number;
  /** A node moves past every other node at most once, so no node is the product of many more firings than there are nodes. */
  readonly #maxGeneration: number;
  readonly #firings = new Map<string, number>();
  #total = 0;

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#maxFirings = 200 * graph.nodes.length + 20_000;
    this.#maxGeneration = graph.nodes.length + 500;
  }

  spend(rule: string, added: readonly Cell[], root: Cell): void {
    this.#firings.set(rule, (this.#firings.get(rule) ?? 0) + 1);
    for (const cell of added) cell.generation = root.generation + 1;
    if (++this.#total > this.#maxFirings || root.generation >= this.#maxGeneration) {
      const spans = root.node.spans.map(showLocation).join(", ");
      throw new Bug(`rule ${this.busiest()} rewrites what it made, without end`, {
        graph: this.#graph.name,
        node: printNode(root.node),
        ...(spans && { spans }),
      });
    }
  }

  /** The rule that fired most. */
  busiest(): string {
    return [...this.#firings].reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0])[0];
  }
}

interface Fired {
  readonly event: RewriteEvent;
  readonly cells: readonly Cell[];
  /** The node that the sweep goes on with. */
  readonly next: Cell | undefined;
}

/** A node that a rule has added; it enters the graph when the rule fires. */
interface Pending {
  readonly op: Node["op"];
  inputs: readonly ValueId[];
  readonly attrs: Attrs;
  results: readonly Value[];
  readonly body: Node["body"];
}

/** One rule at one node: what the rule sees, and the change it makes. */
class Attempt implements RewriteContext {
  readonly #rule: Rule;
  readonly #cell: Cell;
  readonly #root: Node;
  readonly #state: RewriteGraph;
  readonly #lookup: OpLookup;
  readonly #refusals: Map<string, Refusal>;
  readonly #pending: Pending[] = [];
  readonly #madeBy = new Map<ValueId, Pending>();
  readonly #matched = new Set<Node>();
  #why: string | undefined;
  readonly #firstId: number;

  constructor(rule: Rule, cell: Cell, state: RewriteGraph, lookup: OpLookup, refusals: Map<string, Refusal>) {
    this.#rule = rule;
    this.#cell = cell;
    this.#root = cell.node;
    this.#state = state;
    this.#lookup = lookup;
    this.#refusals = refusals;
    this.#firstId = state.nextId;
  }

  get graph(): Graph {
    return this.#state.graph;
  }

  type(id: ValueId): TensorType {
    const made = this.#madeBy.get(id)?.results.find((r) => r.id === id);
    return made?.type ?? this.#state.type(id);
  }

  producer(id: ValueId): Node | undefined {
    const pending = this.#madeBy.get(id);
    return pending ? this.#nodeOf(pending, this.#root.spans) : this.#state.producer(id)?.node;
  }

  soleProducer(id: ValueId, op?: string): Node | undefined {
    const node = this.#state.producer(id)?.node;
    if (!node || (op !== undefined && node.op.name !== op)) return undefined;
    return node.results.reduce((sum, r) => sum + this.#state.uses(r.id), 0) === 1 ? node : undefined;
  }

  uses(id: ValueId): number {
    return this.#state.uses(id);
  }

  isPrepared(id: ValueId): boolean {
    const pending = this.#madeBy.get(id);
    return pending ? pending.inputs.every((x) => x === "" || this.isPrepared(x)) : this.#state.isPrepared(id);
  }

  constant(id: ValueId): number | undefined {
    // A literal is an op without inputs and with a `value`; moving a splat about leaves a splat, unless a value is filled in (pad).
    for (let at = id; ;) {
      const node = this.producer(at);
      if (!node) return undefined;
      const value = node.attrs.value;
      if (node.op.inputs.length === 0) return typeof value === "number" ? value : undefined;
      if (!node.op.traits.includes("movement") || node.op.inputs.length !== 1 || value !== undefined)
        return undefined;
      at = node.inputs[0]!;
    }
  }

  add(
    name: string,
    inputs: readonly (ValueId | undefined)[],
    attrs: Attrs = {},
    options: NewNodeOptions = {},
  ): ValueId {
    const op = this.#lookup(name);
    if (!op) throw this.#bug(`no op called ${name}`);
    const full = withDefaults(op, attrs);
    const ids = inputs.map((x) => x ?? "");
    for (const id of ids)
      if (this.#root.results.some((r) => r.id === id))
        throw this.#bug(`${name} reads ${id}, which it is to replace`);
    const types = options.types ?? this.#infer(op, ids, full);
    const results = types.map((type) => ({ id: this.#state.freshId(), type }));
    const pending: Pending = { op, inputs: ids, attrs: full, results, body: options.body };
    this.#pending.push(pending);
    for (const r of results) this.#madeBy.set(r.id, pending);
    return results[0]!.id;
  }

  #infer(op: Node["op"], inputs: readonly ValueId[], attrs: Attrs): readonly TensorType[] {
    const types = inputs.map((x) => (x === "" ? undefined : this.type(x)));
    const inferred = inferTypes(op, types, attrs);
    if ("types" in inferred) return inferred.types;
    const { label } = inferred.failure;
    throw this.#bug(
      `${op.name}.${label} (${op.constraints[label] ?? "an input is missing"}) does not hold for ` +
        types.map((t) => (t ? showType(t) : "_")).join(", "),
    );
  }

  matched(...nodes: readonly Node[]): void {
    for (const n of nodes) if (n !== this.#root) this.#matched.add(n);
  }

  because(why: string): void {
    this.#why = why;
  }

  refuse(reason: string, at: Node = this.#root): null {
    const node = at.results[0]!.id;
    const key = `${this.#rule.name} ${node}`;
    if (!this.#refusals.has(key))
      this.#refusals.set(key, { rule: this.#rule.name, reason, node, spans: at.spans });
    return null;
  }

  /** Forgets the nodes added; their ids were seen by nobody. */
  undo(): void {
    if (this.#pending.length > 0) this.#state.takeBackIds(this.#firstId);
  }

  /** Puts the replacement in place of the root; undefined where that was refused after all. */
  commit(replacement: readonly ValueId[]): Fired | undefined {
    const root = this.#root;
    this.#checkReplacement(replacement);
    const annotations = this.#annotationsToKeep(replacement);
    if (!annotations) {
      this.undo();
      return undefined;
    }
    const matched = this.#state.inOrder([...this.#matched]);
    const spans = unionSpans(root.spans, ...matched.map((n) => n.spans));
    const renamed = this.#takeIds(replacement);

    const cells = this.#pending.map((p) => this.#state.makeCell(this.#nodeOf(p, spans)));
    const following = this.#state.replace(this.#cell, cells, renamed);
    const maybeUnread = [...cells.map((c) => c.node), ...matched].map((n) => n.results[0]!.id);
    const removed = this.#state.removeUnread(
      [...root.inputs, ...maybeUnread].flatMap((x) => this.#state.producer(x) ?? []),
    );
    const removedIds = new Set(removed.flatMap((n) => n.results.map((r) => r.id)));

    const first = root.results[0]!.id;
    const heir = this.#state.producer(renamed.get(first) ?? first);
    if (heir) {
      const absorbed = matched.filter((n) => removedIds.has(n.results[0]!.id)).flatMap((n) => n.annotations);
      this.#state.update(heir, {
        ...heir.node,
        spans: cells.includes(heir) ? spans : unionSpans(heir.node.spans, spans),
        annotations: unionAnnotations(heir.node.annotations, annotations, absorbed),
      });
    }

    const stayed = cells.filter((c) => this.#state.isIn(c));
    const replacedIds = [...renamed].map(([from, to]) => `${from} is now ${to}`);
    const rootIds = new Set(root.results.map((r) => r.id));
    const madeIds = new Set(cells.flatMap((c) => c.node.results.map((r) => r.id)));
    const event: RewriteEvent = {
      rule: this.#rule.name,
      before: [...matched, root].map(printNode),
      after: [...stayed.map((c) => printNode(c.node)), ...replacedIds],
      removed: [...[...removedIds].filter((id) => !madeIds.has(id)), ...renamed.keys()],
      added: stayed.flatMap((c) => c.node.results.map((r) => r.id)).filter((id) => !rootIds.has(id)),
      ...(this.#why !== undefined && { why: this.#why }),
      spans,
    };
    return { event, cells: stayed, next: stayed[0] ?? following };
  }

  #checkReplacement(replacement: readonly ValueId[]): void {
    const { results } = this.#root;
    if (replacement.length !== results.length)
      throw this.#bug(`gives ${replacement.length} values for ${results.length} results`);
    for (const [i, id] of replacement.entries()) {
      const was = results[i]!;
      if (results.some((r) => r.id === id)) throw this.#bug(`replaces ${was.id} by itself`);
      if (!this.#madeBy.has(id) && !this.#state.has(id)) throw this.#bug(`gives ${id}, which is no value`);
      const type = this.type(id);
      if (type.dtype !== was.type.dtype || !sameShape(type.shape, was.type.shape))
        throw this.#bug(`replaces ${showType(was.type)} by ${showType(type)}`);
    }
  }

  /** Undefined where there is no node to carry them, which is refused. */
  #annotationsToKeep(replacement: readonly ValueId[]): readonly Annotation[] | undefined {
    const kept = this.#root.annotations;
    if (kept.length === 0 || this.#madeBy.has(replacement[0]!) || this.#state.producer(replacement[0]!))
      return kept;
    this.refuse(`the annotation \`${kept[0]!.name} ${kept[0]!.call}\` would be lost`);
    return undefined;
  }

  /** Gives the root's ids to the nodes added; what is left is renamed in the graph: root's result -> value. */
  #takeIds(replacement: readonly ValueId[]): Map<ValueId, ValueId> {
    const taken = new Map<ValueId, ValueId>();
    const renamed = new Map<ValueId, ValueId>();
    for (const [i, id] of replacement.entries()) {
      const was = this.#root.results[i]!;
      if (this.#madeBy.has(id) && !taken.has(id)) taken.set(id, was.id);
      else renamed.set(was.id, taken.get(id) ?? id);
    }
    const types = new Map(this.#root.results.map((r) => [r.id, r.type]));
    for (const p of this.#pending) {
      p.inputs = p.inputs.map((x) => taken.get(x) ?? x);
      p.results = p.results.map((r) => {
        const id = taken.get(r.id);
        return id === undefined ? r : { id, type: withAxisNames(r.type, types.get(id)!) };
      });
    }
    this.#state.takeBackIds(this.#firstId);
    this.#numberAnew();
    return renamed;
  }

  /** Numbers the nodes added without the gaps left by the ids of the root. */
  #numberAnew(): void {
    const fresh = new Map<ValueId, ValueId>();
    const rootIds = new Set(this.#root.results.map((r) => r.id));
    for (const p of this.#pending) {
      p.inputs = p.inputs.map((x) => fresh.get(x) ?? x);
      p.results = p.results.map((r) => {
        if (rootIds.has(r.id)) return r;
        const id = this.#state.freshId();
        fresh.set(r.id, id);
        return { id, type: r.type };
      });
    }
  }

  #nodeOf(p: Pending, spans: readonly Location[]): Node {
    const { op, inputs, attrs, results, body } = p;
    return {
      op,
      inputs,
      attrs,
      results,
      spans,
      scope: this.#root.scope,
      annotations: [],
      ...(body && { body }),
    };
  }

  #bug(message: string): Bug {
    return new Bug(`rule ${this.#rule.name}: ${message}`, { node: printNodeWhole(this.#root) });
  }
}

function withAxisNames(type: TensorType, names: TensorType): TensorType {
  return { ...type, axes: type.axes.map((a, i) => a ?? names.axes[i] ?? null) };
}

function unionAnnotations(...sets: readonly (readonly Annotation[])[]): readonly Annotation[] {
  const byText = new Map(sets.flat().map((a) => [JSON.stringify(a), a]));
  return [...byText.values()];
}
