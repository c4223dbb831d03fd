// The graph while it is being rewritten: nodes in a linked list, with producers, readers, types and what is prepared kept true as
// nodes come and go. Knows nothing of rules. Changing one node costs what its inputs and readers cost, never the whole graph.

import { Bug } from "../support/bug.ts";
import { preparedValues, typesOf } from "./graph.ts";
import type { Graph, Node, ValueId } from "./graph.ts";
import type { TensorType } from "./types.ts";

export interface Cell {
  node: Node;
  previous: Cell | undefined;
  next: Cell | undefined;
  /** Grows along the list. */
  position: number;
  /** How many rewrites in a row led to this node. */
  generation: number;
}

/** Of graphs that rules looked at and left alone: the next pass looks at the same graph. */
const leftAlone = new WeakMap<Graph, RewriteGraph>();

/** Room for new nodes between two old ones before positions are numbered anew. */
const spacing = 1024;

export class RewriteGraph {
  readonly #original: Graph;
  readonly #types: Map<ValueId, TensorType>;
  readonly #prepared: Set<ValueId>;
  readonly #producers = new Map<ValueId, Cell>();
  /** Nodes that read a value, and how often each does. */
  readonly #readers = new Map<ValueId, Map<Cell, number>>();
  readonly #uses = new Map<ValueId, number>();
  /** What stands for a value that was replaced by another. */
  readonly #renamed = new Map<ValueId, ValueId>();
  #first: Cell | undefined;
  #last: Cell | undefined;
  #changed = false;
  #snapshot: Graph | undefined;
  nextId: number;

  static of(graph: Graph): RewriteGraph {
    const known = leftAlone.get(graph);
    leftAlone.delete(graph);
    return known ?? new RewriteGraph(graph);
  }

  private constructor(graph: Graph) {
    this.#original = graph;
    this.#snapshot = graph;
    this.#types = new Map(typesOf(graph));
    this.#prepared = new Set(preparedValues(graph));
    this.nextId = graph.nextId;
    for (const n of graph.nodes) this.#link(this.makeCell(n), undefined);
    this.#number();
    for (const id of externalReads(graph)) this.#count(id, 1);
  }

  // Asking.

  /** The graph of this sweep; rewrites of the same sweep may be missing from it. */
  get graph(): Graph {
    return (this.#snapshot ??= this.finish());
  }

  first(): Cell | undefined {
    return this.#first;
  }

  has(id: ValueId): boolean {
    return this.#types.has(id);
  }

  type(id: ValueId): TensorType {
    const type = this.#types.get(id);
    if (!type) throw new Bug(`no value ${id} in graph ${this.#original.name}`);
    return type;
  }

  producer(id: ValueId): Cell | undefined {
    return this.#producers.get(id);
  }

  uses(id: ValueId): number {
    return this.#uses.get(id) ?? 0;
  }

  isPrepared(id: ValueId): boolean {
    return this.#prepared.has(id);
  }

  isIn(cell: Cell): boolean {
    return this.#producers.get(cell.node.results[0]!.id) === cell;
  }

  /** Those of the nodes that are in the graph, in its order. */
  inOrder(nodes: readonly Node[]): readonly Node[] {
    const cells = nodes.flatMap((n) => this.producer(n.results[0]!.id) ?? []);
    return [...new Set(cells)].sort((a, b) => a.position - b.position).map((c) => c.node);
  }

  // Changing.

  freshId(): ValueId {
    return `%${this.nextId++}`;
  }

  /** Ids from `first` on were given out and never used. */
  takeBackIds(first: number): void {
    this.nextId = first;
  }

  makeCell(node: Node): Cell {
    return { node, previous: undefined, next: undefined, position: 0, generation: 0 };
  }

  startSweep(): void {
    if (this.#changed) this.#snapshot = undefined;
  }

  /** Takes `root` out, puts `cells` there, and lets readers of a key of `renamed` read its value. Returns what follows the root. */
  replace(root: Cell, cells: readonly Cell[], renamed: ReadonlyMap<ValueId, ValueId>): Cell | undefined {
    const after = root.next;
    for (const r of root.node.results) this.#producers.delete(r.id);
    this.#spread(cells, root);
    for (const cell of cells) this.#link(cell, root);
    this.#unlink(root);
    for (const [from, to] of renamed) this.#rename(from, to);
    this.#refreshPrepared(cells);
    return after;
  }

  /** The same node with other spans or annotations. */
  update(cell: Cell, node: Node): void {
    cell.node = node;
    this.#changed = true;
  }

  /** Removes those of the cells that nothing reads, and what only they read. Returns the nodes removed, in order. */
  removeUnread(cells: readonly Cell[]): readonly Node[] {
    const removed: Cell[] = [];
    const queue = [...cells];
    for (let cell = queue.pop(); cell; cell = queue.pop()) {
      if (!this.isIn(cell) || cell.node.results.some((r) => this.uses(r.id) > 0)) continue;
      for (const x of cell.node.inputs) {
        const producer = this.producer(x);
        if (producer) queue.push(producer);
      }
      this.#drop(cell);
      removed.push(cell);
    }
    return removed.sort((a, b) => a.position - b.position).map((c) => c.node);
  }

  removeDead(): void {
    // From the end: readers go before what they read.
    for (let cell = this.#last; cell;) {
      const previous: Cell | undefined = cell.previous;
      if (cell.node.results.every((r) => this.uses(r.id) === 0)) this.#drop(cell);
      cell = previous;
    }
  }

  finish(): Graph {
    const graph = this.#original;
    if (!this.#changed) {
      leftAlone.set(graph, this);
      return graph;
    }
    const nodes: Node[] = [];
    for (let cell = this.#first; cell; cell = cell.next) nodes.push(cell.node);
    checkOrder(graph, nodes);
    const now = (id: ValueId) => this.#current(id);
    return {
      ...graph,
      nodes,
      states: graph.states.map((s) => (now(s.next) === s.next ? s : { ...s, next: now(s.next) })),
      outputs: graph.outputs.map((o) => (now(o.value) === o.value ? o : { ...o, value: now(o.value) })),
      guards: graph.guards.map((g) =>
        now(g.condition) === g.condition ? g : { ...g, condition: now(g.condition) },
      ),
      nextId: this.nextId,
    };
  }

  #current(id: ValueId): ValueId {
    let at = id;
    for (let to = this.#renamed.get(at); to !== undefined; to = this.#renamed.get(at)) at = to;
    return at;
  }

  // Book-keeping.

  /** Puts the cell in front of `before`, or at the end, and counts what it reads. */
  #link(cell: Cell, before: Cell | undefined): void {
    cell.next = before;
    cell.previous = before ? before.previous : this.#last;
    if (cell.previous) cell.previous.next = cell;
    else this.#first = cell;
    if (before) before.previous = cell;
    else this.#last = cell;
    for (const r of cell.node.results) {
      this.#producers.set(r.id, cell);
      this.#types.set(r.id, r.type);
    }
    for (const x of cell.node.inputs) this.#read(x, cell, 1);
  }

  #unlink(cell: Cell): void {
    if (cell.previous) cell.previous.next = cell.next;
    else this.#first = cell.next;
    if (cell.next) cell.next.previous = cell.previous;
    else this.#last = cell.previous;
    for (const x of cell.node.inputs) this.#read(x, cell, -1);
    this.#changed = true;
  }

  #drop(cell: Cell): void {
    this.#unlink(cell);
    for (const r of cell.node.results) {
      this.#producers.delete(r.id);
      this.#types.delete(r.id);
      this.#prepared.delete(r.id);
    }
  }

  #read(id: ValueId, reader: Cell, times: 1 | -1): void {
    if (id === "") return;
    const readers = this.#readers.get(id) ?? new Map<Cell, number>();
    const count = (readers.get(reader) ?? 0) + times;
    if (count > 0) readers.set(reader, count);
    else readers.delete(reader);
    this.#readers.set(id, readers);
    this.#count(id, times);
  }

  #count(id: ValueId, times: number): void {
    this.#uses.set(id, (this.#uses.get(id) ?? 0) + times);
  }

  #rename(from: ValueId, to: ValueId): void {
    const readers = this.#readers.get(from) ?? new Map<Cell, number>();
    const internal = [...readers.values()].reduce((a, b) => a + b, 0);
    const external = this.uses(from) - internal;
    for (const reader of [...readers.keys()]) {
      for (const x of reader.node.inputs) this.#read(x, reader, -1);
      reader.node = { ...reader.node, inputs: reader.node.inputs.map((x) => (x === from ? to : x)) };
      for (const x of reader.node.inputs) this.#read(x, reader, 1);
    }
    this.#count(to, external);
    this.#uses.delete(from);
    this.#readers.delete(from);
    this.#types.delete(from);
    this.#renamed.set(from, to);
    this.#refreshPrepared([...(this.#readers.get(to)?.keys() ?? [])]);
  }

  /** Whether a value is prepared can change with what it is made from; what reads it may change with it. */
  #refreshPrepared(cells: readonly Cell[]): void {
    const queue = [...cells].reverse();
    for (let cell = queue.pop(); cell; cell = queue.pop()) {
      const prepared = cell.node.inputs.every((x) => x === "" || this.#prepared.has(x));
      for (const r of cell.node.results) {
        if (prepared === this.#prepared.has(r.id)) continue;
        if (prepared) this.#prepared.add(r.id);
        else this.#prepared.delete(r.id);
        queue.push(...(this.#readers.get(r.id)?.keys() ?? []));
      }
    }
  }

  /** Positions for cells that are about to stand in front of `root`, the last of them in its place. */
  #spread(cells: readonly Cell[], root: Cell): void {
    const from = root.previous?.position ?? root.position - spacing;
    const step = (root.position - from) / Math.max(1, cells.length);
    if (step < 1e-6) {
      this.#number();
      return this.#spread(cells, root);
    }
    for (const [i, cell] of cells.entries()) cell.position = root.position - step * (cells.length - 1 - i);
  }

  #number(): void {
    let position = 0;
    for (let cell = this.#first; cell; cell = cell.next) cell.position = position += spacing;
  }
}

/** Values read from outside of the nodes: outputs, states at the end of a run, guards. */
export function externalReads(graph: Graph): readonly ValueId[] {
  return [
    ...graph.outputs.map((o) => o.value),
    ...graph.states.map((s) => s.next),
    ...graph.guards.map((g) => g.condition),
  ];
}

/** A rule that reads a value made later than its root would break the order; better found here than in a kernel. */
export function checkOrder(graph: Graph, nodes: readonly Node[]): void {
  const known = new Set<ValueId>([
    "",
    ...[...graph.inputs, ...graph.weights, ...graph.states].map((x) => x.id),
  ]);
  for (const n of nodes) {
    const early = n.inputs.find((x) => !known.has(x));
    if (early !== undefined)
      throw new Bug(
        `graph ${graph.name}: ${n.results[0]!.id} = ${n.op.name} reads ${early}, which is not made before it`,
      );
    for (const r of n.results) known.add(r.id);
  }
}
