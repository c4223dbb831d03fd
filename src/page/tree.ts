// The graph of one step as boxes within boxes: scopes as the model wrote them, fused groups, and long rows of nodes cut into runs.
// What is closed is one leaf. Pure; knows the explain document, no layout and no drawing.
//
// Edges belong to the innermost box that holds both ends. Where an end lies deeper, the value passes the walls between by ports: each
// open box has the values that enter at its top and those that leave at its bottom, so that every box can be laid out by itself.

import type { EntryDoc, NodeDoc, OutputDoc } from "../explain/document.ts";

export type ItemKind = "root" | "scope" | "run" | "group" | "node" | "input" | "output" | "weight";

export interface Item {
  readonly id: string;
  readonly kind: ItemKind;
  parent: Box | undefined;
  depth: number;
  /** First line; the second line says more, where there is more. */
  readonly label: string;
  readonly detail: string;
  readonly node?: NodeDoc;
  /** Values that it reads without a line: too many read them. */
  far?: Far[];
}

/** A value that has a line to its first reader alone; the others name it. */
export interface Far {
  readonly name: string;
  /** What it comes from; undefined where it comes through the wall of the box. */
  readonly from: Item | undefined;
}

export interface Edge {
  readonly from: Item;
  readonly to: Item;
  /** Values, each with whether this reading of it is gone. */
  readonly values: Map<string, boolean>;
}

export interface Box extends Item {
  readonly children: (Item | Box)[];
  /** Operations in it, at any depth. */
  size: number;
  open: boolean;
  /** Empty where the box is closed. */
  readonly edges: Map<string, Edge>;
  readonly ins: Map<string, Set<Item>>;
  readonly outs: Map<string, Item>;
}

export function isBox(item: Item): item is Box {
  return "children" in item;
}

export interface TreeInput {
  readonly entry: EntryDoc;
  /** Nodes to show, in order; those that this step removed among them. */
  readonly nodes: readonly NodeDoc[];
  readonly outputs: readonly OutputDoc[];
  /** What nodes read before the step, where that was removed by it: drawn as edges that are gone. */
  readonly gone: readonly { readonly id: string; readonly inputs: readonly string[] }[];
  /** Weights, and what is computed from them once. */
  readonly prepared: boolean;
  readonly isOpen: (box: Box) => boolean;
}

/** More items than this in one box are cut into runs: people cannot read them, and layout is not linear. */
const MOST_IN_BOX = 120;

/** A value that more items of one box read than this has no line to each: nobody can follow that many. */
const MOST_LINES = 6;

export interface Tree {
  readonly root: Box;
  /** Everything that is seen, by id; boxes that are open among them. */
  readonly items: ReadonlyMap<string, Item>;
  /** Of a node that is inside something closed, the closed box; else itself. */
  anchor(id: string): Item | undefined;
}

export function treeOf(input: TreeInput): Tree {
  return new Builder(input).build();
}

class Builder {
  readonly #input: TreeInput;
  readonly #root: Box = box("root", "root", undefined, "", "");
  readonly #scopes = new Map<string, Box>();
  readonly #leaves = new Map<string, Item>();
  readonly #makers = new Map<string, Item>();

  constructor(input: TreeInput) {
    this.#input = input;
  }

  build(): Tree {
    const { entry, nodes, outputs, prepared } = this.#input;
    for (const x of entry.inputs)
      this.#put(leaf(x.id, "input", this.#root, x.name, ""), [x.id]); // prettier-ignore
    const shown = prepared ? nodes : nodes.filter((n) => !n.prepared);
    const read = new Set(prepared ? shown.flatMap((n) => n.inputs) : []);
    for (const w of entry.weights)
      if (read.has(w.id)) this.#put(leaf(w.id, "weight", this.#scopeOf(scopeOfKey(w.key, entry)), w.key, ""), [w.id]); // prettier-ignore
    for (const n of shown) this.#node(n);
    for (const o of outputs) this.#put(leaf(`out:${o.name}`, "output", this.#root, o.name, ""), []);
    cut(this.#root);
    count(this.#root);
    this.#open(this.#root);
    this.#connect(shown);
    return this.#tree();
  }

  #put(item: Item, values: readonly string[]): void {
    item.parent!.children.push(item);
    this.#leaves.set(item.id, item);
    for (const v of values) this.#makers.set(v, item);
  }

  #node(n: NodeDoc): void {
    const parent = this.#scopeOf(n.scope);
    const values = n.results.map((r) => r.id);
    if (!n.body) return this.#put(leaf(n.id, "node", parent, n.op, detailOf(n), n), values);
    const name = /\bname=(\w+)/.exec(n.text)?.[1] ?? n.op;
    const group = box(n.id, "group", parent, name, n.body.nodes.map((x) => x.op).join(" · "), n);
    for (const x of n.body.nodes) group.children.push(leaf(x.id, "node", group, x.op, detailOf(x), x));
    this.#put(group, values);
  }

  /** The box of the innermost scope that the model has of this path. */
  #scopeOf(path: string): Box {
    const known = this.#scopes.get(path);
    if (known) return known;
    if (path === "") return this.#root;
    const scope = this.#input.entry.scopes.find((s) => s.path === path);
    const parent = this.#scopeOf(path.slice(0, Math.max(0, path.lastIndexOf("."))));
    let made = parent;
    if (scope) {
      const above = parent.kind === "scope" ? parent.id.slice("scope:".length) + "." : "";
      made = box(`scope:${path}`, "scope", parent, path.slice(above.length), scope.block);
      parent.children.push(made);
    }
    this.#scopes.set(path, made);
    return made;
  }

  #open(b: Box): void {
    b.open = b.kind === "root" || this.#input.isOpen(b);
    if (b.open) for (const c of b.children) if (isBox(c)) this.#open(c);
  }

  // ---- edges ----

  #connect(shown: readonly NodeDoc[]): void {
    const { outputs, gone } = this.#input;
    for (const n of shown) {
      const item = this.#leaves.get(n.id)!;
      const inner = new Map<string, Item>();
      if (n.body && isBox(item) && item.open && anchorOf(item) === item) this.#body(n, item, inner);
      else for (const v of n.inputs) this.#edge(v, this.#makers.get(v), item, false);
    }
    for (const { id, inputs } of gone)
      for (const v of inputs) this.#edge(v, this.#makers.get(v), this.#leaves.get(id), true);
    for (const o of outputs) this.#edge(o.value, this.#makers.get(o.value), this.#leaves.get(`out:${o.name}`), false); // prettier-ignore
    this.#thin(this.#root);
  }

  #thin(b: Box): void {
    for (const [value, edges] of edgesByValue(b)) {
      if (edges.length <= MOST_LINES) continue;
      // A block of the model shows better where the value belongs than an operation that a pass put in front of all.
      const kept = edges.find((e) => isBox(e.to)) ?? edges[0];
      for (const e of edges) {
        if (e === kept) continue;
        (e.to.far ??= []).push({ name: this.#nameOf(value), from: e.from });
        e.values.delete(value);
        if (e.values.size === 0) b.edges.delete(`${e.from.id} ${e.to.id}`);
      }
    }
    for (const [value, readers] of b.ins) {
      if (readers.size <= MOST_LINES) continue;
      const [first, ...others] = [...readers];
      for (const item of others) (item.far ??= []).push({ name: this.#nameOf(value), from: undefined });
      b.ins.set(value, new Set([first!]));
    }
    for (const c of b.children) if (isBox(c) && c.open) this.#thin(c);
  }

  #nameOf(value: string): string {
    const maker = this.#makers.get(value);
    return maker?.kind === "input" || maker?.kind === "weight" ? maker.label : value;
  }

  /** An open group: its operations read what the group reads, and what leaves it leaves the one that makes it. */
  #body(n: NodeDoc, group: Box, inner: Map<string, Item>): void {
    const { params, nodes, results } = n.body!;
    const items = new Map(group.children.map((c) => [c.id, c]));
    for (const x of nodes) for (const r of x.results) inner.set(r.id, items.get(x.id)!);
    results.forEach((id, i) => {
      const maker = inner.get(id);
      if (maker) this.#makers.set(n.results[i]!.id, maker);
    });
    for (const x of nodes)
      for (const v of x.inputs) {
        const outside = params.indexOf(v);
        const value = outside < 0 ? v : n.inputs[outside]!;
        this.#edge(value, outside < 0 ? inner.get(v) : this.#makers.get(value), items.get(x.id), false);
      }
  }

  #edge(value: string, maker: Item | undefined, reader: Item | undefined, gone: boolean): void {
    if (!maker || !reader) return;
    let [a, b] = [anchorOf(maker), anchorOf(reader)];
    if (a === b) return;
    while (a.parent !== b.parent) {
      if (a.depth >= b.depth) {
        a.parent!.outs.set(value, a);
        a = a.parent!;
      } else {
        const port = b.parent!.ins.get(value) ?? new Set();
        b.parent!.ins.set(value, port.add(b));
        b = b.parent!;
      }
    }
    const { edges } = a.parent!;
    const key = `${a.id} ${b.id}`;
    const edge: Edge = edges.get(key) ?? { from: a, to: b, values: new Map<string, boolean>() };
    edge.values.set(value, gone && (edge.values.get(value) ?? true));
    edges.set(key, edge);
  }

  #tree(): Tree {
    const items = new Map<string, Item>();
    const see = (b: Box): void => {
      for (const c of b.children) {
        items.set(c.id, c);
        if (isBox(c) && c.open) see(c);
      }
    };
    see(this.#root);
    const bodies = new Map<string, Item>();
    for (const item of this.#leaves.values())
      if (isBox(item)) for (const c of item.children) bodies.set(c.id, c);
    return {
      root: this.#root,
      items,
      anchor: (id) => {
        const item = this.#leaves.get(id) ?? bodies.get(id) ?? this.#scopes.get(id.replace(/^scope:/, ""));
        return item && anchorOf(item);
      },
    };
  }
}

/** Lines of a box by the value they carry, without those of readings that are gone. */
function edgesByValue(b: Box): ReadonlyMap<string, readonly Edge[]> {
  const byValue = new Map<string, Edge[]>();
  for (const e of b.edges.values())
    for (const [value, gone] of e.values) if (!gone) byValue.set(value, [...(byValue.get(value) ?? []), e]);
  return byValue;
}

/** The outermost closed box around an item, or the item. */
function anchorOf(item: Item): Item {
  let found = item;
  for (let b = item.parent; b; b = b.parent) if (!b.open) found = b;
  return found;
}

function leaf(id: string, kind: ItemKind, parent: Box, label: string, detail: string, node?: NodeDoc): Item {
  return { id, kind, parent, depth: parent.depth + 1, label, detail, ...(node && { node }) };
}

function box(
  id: string,
  kind: ItemKind,
  parent: Box | undefined,
  label: string,
  detail: string,
  node?: NodeDoc,
): Box {
  return {
    id,
    kind,
    parent,
    depth: parent ? parent.depth + 1 : 0,
    label,
    detail,
    ...(node && { node }),
    children: [],
    size: 0,
    open: false,
    edges: new Map(),
    ins: new Map(),
    outs: new Map(),
  };
}

/** Weights belong to the scope that their key names. */
function scopeOfKey(key: string, entry: EntryDoc): string {
  const paths = new Set(entry.scopes.map((s) => s.path));
  let path = key;
  while (path !== "" && !paths.has(path)) path = path.slice(0, Math.max(0, path.lastIndexOf(".")));
  return path;
}

/** What a node's line says beside the op: whose weights it reads, and its attributes. */
function detailOf(n: NodeDoc): string {
  const own = n.inputs.flatMap((x) => (x.startsWith("$") ? [x.slice(1)] : []));
  const label = own.map((key) => key.replace(/\.\w+$/, "").slice(n.scope === "" ? 0 : n.scope.length + 1))[0];
  const attributes = /\{([^}]*)\} :/.exec(n.text)?.[1] ?? "";
  return [label ? `@${label}` : "", attributes].filter((x) => x !== "").join("  ");
}

// ---- long boxes -----------------------------------------------------------------------------------------------------

/** Cuts the children of a box into runs of neighbours; in order, so that no two runs read each other in a circle. */
function cut(b: Box): void {
  for (const c of b.children) if (isBox(c) && c.kind !== "group") cut(c);
  const inside = b.children.splice(0);
  const runs =
    inside.length <= MOST_IN_BOX ? 0 : Math.min(MOST_IN_BOX, Math.ceil(inside.length / MOST_IN_BOX));
  if (runs === 0) return void b.children.push(...inside);
  const each = Math.ceil(inside.length / runs);
  for (let i = 0; i * each < inside.length; i++) {
    const part = inside.slice(i * each, (i + 1) * each);
    const name = `${part[0]!.label} … ${part.at(-1)!.label}`;
    const run = box(`run:${b.id}:${i}`, "run", b, name, "");
    run.children.push(...part);
    b.children.push(run);
    settle(run);
    cut(run);
  }
}

/** Items keep their identity when a run takes them in; parent and depth follow. */
function settle(b: Box): void {
  for (const c of b.children) {
    c.parent = b;
    c.depth = b.depth + 1;
    if (isBox(c)) settle(c);
  }
}

function count(b: Box): number {
  b.size = b.children.reduce((n, c) => n + (isBox(c) ? count(c) : 1), 0);
  return b.size;
}

/** Is one of them in the box, at any depth? */
export function holds(b: Box, ids: ReadonlySet<string>): boolean {
  return b.children.some((c) => ids.has(c.id) || (isBox(c) && holds(c, ids)));
}

/** The innermost box that has the item as a child. */
export function deepest(b: Box, id: string): Box | undefined {
  for (const c of b.children) {
    if (c.id === id) return b;
    const found = isBox(c) ? deepest(c, id) : undefined;
    if (found) return found;
  }
  return undefined;
}
