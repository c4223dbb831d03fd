// The graph: a model as immutable, typed nodes in topological order. A node holds its op record, so ops are open and no code
// switches over all of them. Value ids are text and stay the same through rewrites (`%12`, `%image`, `$stem.conv.weight`), so two
// stages can be compared line by line. Every node keeps the set of model lines it came from; a rewrite passes them on.
//
// Invariant: `nodes` is a topological order, ids are unique in the graph (bodies included) and never used again for another value.
// Invariant: nothing below is mutated after `freeze`.

import { Bug } from "../support/bug.ts";
import type { Location } from "../support/source.ts";
import { constantOf, substituteDim, symbolsOf, type Dim } from "./dim.ts";
import { inferTypes, type OpDefinition, type OpLookup } from "./op.ts";
import type { TensorType } from "./types.ts";

/** `%12` (a node's result), `%image` (an input), `%load.in` (a state), `$stages.0.norm.weight` (a weight). */
export type ValueId = string;

export interface Value {
  readonly id: ValueId;
  readonly type: TensorType;
}

/** A Dim is an attribute value where a size is symbolic. */
export type AttrValue = number | string | boolean | Dim | readonly AttrValue[];
export type Attrs = Readonly<Record<string, AttrValue>>;

/** `reduce tome(r = 8)` in the file; kept by every pass until the one that acts on it takes it away. */
export interface Annotation {
  readonly name: string;
  readonly call: string;
  readonly args: Attrs;
}

export interface Node {
  readonly op: OpDefinition;
  /** One per input of the op; an optional input left out in the middle is the empty string. */
  readonly inputs: readonly ValueId[];
  readonly attrs: Attrs;
  readonly results: readonly Value[];
  /** Model lines it came from; a rewrite gives the union of what it replaced. */
  readonly spans: readonly Location[];
  /** Path of the enclosing labels, `stages.2.blocks.0.mlp`; empty at the top. */
  readonly scope: string;
  readonly annotations: readonly Annotation[];
  /** A fused group, or an expert: a graph of its own that sees nothing but its parameters. */
  readonly body?: Region;
}

export interface Region {
  readonly params: readonly Value[];
  readonly nodes: readonly Node[];
  readonly results: readonly ValueId[];
}

/** A dimension that is a name: bound by an input when a run starts, or bounded, with a live value that a kernel writes. */
export type SymbolDecl =
  | { readonly kind: "bound"; readonly name: string }
  | { readonly kind: "bounded"; readonly name: string; readonly bound: Dim };

/** A name for a new symbol: the hint with the first number that makes it one. */
export function freeSymbol(hint: string, taken: (name: string) => boolean): string {
  for (let i = 0; ; i++) if (!taken(`${hint}${i}`)) return `${hint}${i}`;
}

/** The size with bounded symbols at their bounds. */
export function atMost(d: Dim, symbols: Iterable<SymbolDecl>): Dim {
  const bounds: Record<string, Dim> = {};
  for (const s of symbols) if (s.kind === "bounded") bounds[s.name] = s.bound;
  return [...symbolsOf(d)].some((name) => Object.hasOwn(bounds, name)) ? substituteDim(d, bounds) : d;
}

/** Image preprocessing declared in the model; the command line applies it to a photograph (timm's names). */
export interface Preprocess {
  /** Side of the centre crop, pixels. */
  readonly size: number;
  /** The shorter side is resized to floor(size / cropPct). */
  readonly cropPct: number;
  readonly interpolation: "bicubic" | "bilinear" | "nearest";
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

export interface Input {
  readonly id: ValueId;
  readonly name: string;
  readonly type: TensorType;
  readonly preprocess?: Preprocess;
  readonly spans: readonly Location[];
}

export interface Weight {
  readonly id: ValueId;
  /** The canonical key in the checkpoint, with its namespace where there is one: `small:head.fc.weight`. */
  readonly key: string;
  readonly type: TensorType;
  /** How `--weights seed:N` fills it; absent means by the rule of its name. */
  readonly seed?: Seed;
  readonly spans: readonly Location[];
}

export type Seed = { readonly kind: "signs" } | { readonly kind: "integers"; readonly below: number };

/** A named pair of an input and an output, so that every pass stays a pure function. */
export interface State {
  readonly name: string;
  /** Value at the start of a run. */
  readonly id: ValueId;
  readonly type: TensorType;
  /** Value at its end. */
  readonly next: ValueId;
  readonly initial: number;
  readonly spans: readonly Location[];
}

export interface Output {
  readonly name: string;
  readonly value: ValueId;
  readonly spans: readonly Location[];
}

/** A call of a block, a loop iteration: what the viewer collapses. */
export interface Scope {
  readonly path: string;
  /** The block called, or `for` / `repeat`. */
  readonly block: string;
  readonly annotations: readonly Annotation[];
  readonly spans: readonly Location[];
}

/**
 * A rewrite that depends on values: `condition` (a bool scalar made from weights alone) is checked at load. Where it is false the
 * module is compiled again without the pass.
 */
export interface Guard {
  /** The pass that made it. */
  readonly pass: string;
  readonly condition: ValueId;
  readonly spans: readonly Location[];
}

export interface Graph {
  readonly name: string;
  readonly symbols: readonly SymbolDecl[];
  readonly inputs: readonly Input[];
  readonly weights: readonly Weight[];
  readonly states: readonly State[];
  readonly scopes: readonly Scope[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly Output[];
  readonly guards: readonly Guard[];
  /** Number of the next `%n`. */
  readonly nextId: number;
}

/** A compiled file: one graph per entry point; graphs of one module share weights by key. */
export interface Module {
  readonly name: string;
  readonly graphs: readonly Graph[];
}

export interface AddOptions {
  readonly spans?: readonly Location[];
  readonly scope?: string;
  readonly annotations?: readonly Annotation[];
  readonly body?: Region;
  /** Ids for the results, where a rewrite keeps those of what it replaced. */
  readonly ids?: readonly ValueId[];
  /** Types of the results where the op cannot infer them (fused groups). */
  readonly types?: readonly TensorType[];
}

/** Makes nodes with inferred types. Used by the elaborator, by decompositions and by the IR parser; rewriting has its own. */
export class GraphBuilder {
  readonly name: string;
  readonly #lookup: OpLookup;
  readonly #types = new Map<ValueId, TensorType>();
  readonly #nodes: Node[] = [];
  #nextId: number;

  constructor(name: string, lookup: OpLookup, nextId = 0) {
    this.name = name;
    this.#lookup = lookup;
    this.#nextId = nextId;
  }

  /** Makes a value known that is no node's result (input, weight, state, region parameter). */
  declare(id: ValueId, type: TensorType): ValueId {
    if (this.#types.has(id)) throw new Bug(`value ${id} is declared twice`);
    this.#types.set(id, type);
    return id;
  }

  has(id: ValueId): boolean {
    return this.#types.has(id);
  }

  type(id: ValueId): TensorType {
    const type = this.#types.get(id);
    if (!type) throw new Bug(`no value ${id} in graph ${this.name}`);
    return type;
  }

  /** Adds a node of the op called `name`; a broken constraint here is our mistake (the elaborator checks before). */
  call(
    name: string,
    inputs: readonly (ValueId | undefined)[],
    attrs: Attrs = {},
    options: AddOptions = {},
  ): ValueId {
    const op = this.#lookup(name);
    if (!op) throw new Bug(`no op called ${name}`);
    return this.add(op, inputs, attrs, options).results[0]!.id;
  }

  add(
    op: OpDefinition,
    inputs: readonly (ValueId | undefined)[],
    attrs: Attrs = {},
    options: AddOptions = {},
  ): Node {
    const full = withDefaults(op, attrs);
    const types = options.types ?? this.#infer(op, inputs, full);
    const results = types.map((type, i) => ({ id: options.ids?.[i] ?? this.freshId(), type }));
    for (const r of results) this.declare(r.id, r.type);
    const node: Node = {
      op,
      inputs: inputs.map((x) => x ?? ""),
      attrs: full,
      results,
      spans: options.spans ?? [],
      scope: options.scope ?? "",
      annotations: options.annotations ?? [],
      ...(options.body && { body: options.body }),
    };
    this.#nodes.push(node);
    return node;
  }

  #infer(op: OpDefinition, inputs: readonly (ValueId | undefined)[], attrs: Attrs): readonly TensorType[] {
    const types = inputs.map((x) => (x ? this.type(x) : undefined));
    const inferred = inferTypes(op, types, attrs);
    if ("failure" in inferred)
      throw new Bug(`${op.name}.${inferred.failure.label}: ${op.constraints[inferred.failure.label] ?? ""}`);
    return inferred.types;
  }

  freshId(): ValueId {
    return `%${this.#nextId++}`;
  }

  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  get nextId(): number {
    return this.#nextId;
  }
}

/** Attributes with the op's defaults filled in, in the op's order; nodes always hold them all. */
export function withDefaults(op: OpDefinition, attrs: Attrs): Attrs {
  const out: Record<string, AttrValue> = {};
  for (const [name, spec] of Object.entries(op.attrs)) {
    if (spec.role === "weight-shape") continue;
    const value = attrs[name] ?? spec.default;
    if (value !== undefined) out[name] = value;
  }
  return out;
}

/** The value's type, wherever it is declared; build one map per graph, not one per look-up. */
export function typesOf(graph: Graph): ReadonlyMap<ValueId, TensorType> {
  return remembered(graphTypes, graph, () => findTypes(graph));
}

const graphTypes = new WeakMap<Graph, ReadonlyMap<ValueId, TensorType>>();

/** What follows from a graph alone is found once: graphs never change, and every pass asks. */
function remembered<T>(known: WeakMap<Graph, T>, graph: Graph, find: () => T): T {
  let found = known.get(graph);
  if (found === undefined) known.set(graph, (found = find()));
  return found;
}

function findTypes(graph: Graph): ReadonlyMap<ValueId, TensorType> {
  const types = new Map<ValueId, TensorType>();
  for (const x of [...graph.inputs, ...graph.weights, ...graph.states]) types.set(x.id, x.type);
  for (const n of graph.nodes) for (const r of n.results) types.set(r.id, r.type);
  return types;
}

/** The nodes that read each value, in order. */
export function readersIn(graph: Graph): ReadonlyMap<ValueId, readonly Node[]> {
  return remembered(graphReaders, graph, () => findReaders(graph));
}

const graphReaders = new WeakMap<Graph, ReadonlyMap<ValueId, readonly Node[]>>();

function findReaders(graph: Graph): ReadonlyMap<ValueId, readonly Node[]> {
  const readers = new Map<ValueId, Node[]>();
  for (const n of graph.nodes)
    for (const x of new Set(n.inputs)) {
      const known = readers.get(x);
      if (known) known.push(n);
      else readers.set(x, [n]);
    }
  return readers;
}

/** Keys of the weights that a value is made of, sorted. */
export function weightKeysOf(graph: Graph, value: ValueId): readonly string[] {
  const { nodes, keys } = remembered(graphMakers, graph, () => findMakers(graph));
  const found = new Set<string>();
  const seen = new Set<ValueId>();
  const stack = [value];
  while (stack.length > 0) {
    const id = stack.pop()!;
    if (seen.has(id)) continue;
    seen.add(id);
    const key = keys.get(id);
    if (key !== undefined) found.add(key);
    stack.push(...(nodes.get(id)?.inputs ?? []));
  }
  return [...found].sort();
}

/** What makes each value, and the keys of weights. */
interface Makers {
  readonly nodes: ReadonlyMap<ValueId, Node>;
  readonly keys: ReadonlyMap<ValueId, string>;
}

const graphMakers = new WeakMap<Graph, Makers>();

function findMakers(graph: Graph): Makers {
  const nodes = new Map<ValueId, Node>();
  for (const n of graph.nodes) for (const r of n.results) nodes.set(r.id, n);
  return { nodes, keys: new Map(graph.weights.map((w) => [w.id, w.key])) };
}

/** Union of spans, without repeats, in order of file, line, column. */
export function unionSpans(...sets: readonly (readonly Location[])[]): readonly Location[] {
  const distinct = new Set<Location>();
  for (const set of sets) for (const s of set) distinct.add(s);
  if (distinct.size < 2) return [...distinct];
  const byKey = new Map<string, Location>();
  for (const s of distinct) byKey.set(`${s.file}:${s.line}:${s.column}-${s.endLine}:${s.endColumn}`, s);
  return [...byKey.values()].sort(
    (a, b) =>
      (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) ||
      a.line - b.line ||
      a.column - b.column ||
      a.endLine - b.endLine ||
      a.endColumn - b.endColumn,
  );
}

/** Names no size that is known only when a run starts. */
function isFixed(value: AttrValue): boolean {
  if (Array.isArray(value)) return value.every(isFixed);
  return typeof value !== "object" || constantOf(value as Dim) !== undefined;
}

/** Do no size and no attribute of the node, or of a node in its body, wait for a run? */
function hasOneSize(n: Node): boolean {
  return (
    Object.values(n.attrs).every(isFixed) &&
    n.results.every((r) => r.type.shape.every((d) => constantOf(d) !== undefined)) &&
    (n.body?.nodes.every(hasOneSize) ?? true)
  );
}

/** Is its result made where it is read, of weights that memory holds in another form: in fewer bits, or in pages? */
export const unpacks = (n: Node): boolean => n.op.traits.includes("unpacking");

/**
 * Ids of values that depend on weights and constants alone, and have one size: the prepare program. What is unpacked is not one: what it
 * is unpacked from is kept.
 */
export function preparedValues(graph: Graph): ReadonlySet<ValueId> {
  return remembered(graphPrepared, graph, () => findPrepared(graph));
}

const graphPrepared = new WeakMap<Graph, ReadonlySet<ValueId>>();

const unpacksWithin = (n: Node): boolean => unpacks(n) || (n.body?.nodes.some(unpacksWithin) ?? false);

function findPrepared(graph: Graph): ReadonlySet<ValueId> {
  const prepared = new Set<ValueId>(graph.weights.map((w) => w.id));
  for (const n of graph.nodes)
    if (!unpacksWithin(n) && n.inputs.every((x) => x === "" || prepared.has(x)) && hasOneSize(n))
      for (const r of n.results) prepared.add(r.id);
  return prepared;
}
