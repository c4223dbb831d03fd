// Says what is wrong with a graph, in words for the author of a pass. Run after every pass; an empty list means the invariants
// of graph.ts hold and every stored type is what its op infers. Knows no particular op.

import type { Dim } from "./dim.ts";
import { constantOf, minDim, sameDim, symbolsOf } from "./dim.ts";
import { atMost, preparedValues } from "./graph.ts";
import type { AttrValue, Graph, Node, ValueId } from "./graph.ts";
import { inferTypes, type AttrSpec, type OpDefinition } from "./op.ts";
import { isDimValue, nextIdAfter, printNode } from "./print.ts";
import { axisLetters, dtypes, isPacked, modelTypes, sameShape, showType, type TensorType } from "./types.ts";

export function verifyGraph(graph: Graph): string[] {
  if (soundGraphs.has(graph)) return [];
  const faults = new Verifier(graph).run();
  if (faults.length === 0) soundGraphs.add(graph);
  return faults;
}

/** Graphs never change: one that a pass leaves as it is needs no second look. */
const soundGraphs = new WeakSet<Graph>();

type InputTypes = readonly (TensorType | undefined)[];
type Symbols = Graph["symbols"];

/**
 * Nodes that were found sound, with what that depends on: the types of their inputs and the sizes declared. Most of a graph is the same
 * after the next pass.
 */
const sound = new WeakMap<Node, { readonly types: InputTypes; readonly symbols: Symbols }>();

function isSound(n: Node, types: InputTypes, symbols: Symbols): boolean {
  const then = sound.get(n);
  return then?.symbols === symbols && then.types.every((t, i) => t === types[i]);
}

/** Types that were found sound, by the sizes declared. */
const soundTypes = new WeakMap<Symbols, WeakSet<TensorType>>();

/** Attributes that are sizes which the op sets. */
const declaring = new WeakMap<OpDefinition, readonly (readonly [string, AttrSpec])[]>();

function declaredBy(op: OpDefinition): readonly (readonly [string, AttrSpec])[] {
  let known = declaring.get(op);
  if (!known) declaring.set(op, (known = Object.entries(op.attrs).filter(([, spec]) => spec.declares)));
  return known;
}

class Verifier {
  readonly #graph: Graph;
  readonly #faults: string[] = [];
  /** Every id of the graph, bodies included. */
  readonly #ids = new Set<ValueId>();
  readonly #symbols: ReadonlySet<string>;
  readonly #scopes: ReadonlySet<string>;
  readonly #needsSpans: boolean;
  readonly #soundTypes: WeakSet<TensorType>;
  /** Bounded symbols that an op sets. */
  readonly #set = new Set<string>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#symbols = new Set(graph.symbols.map((s) => s.name));
    this.#scopes = new Set(graph.scopes.map((s) => s.path));
    this.#needsSpans = graph.nodes.some((n) => n.spans.length > 0);
    this.#soundTypes = soundTypes.get(graph.symbols) ?? new WeakSet();
    soundTypes.set(graph.symbols, this.#soundTypes);
  }

  run(): string[] {
    const g = this.#graph;
    this.#declarations();
    const known = new Map<ValueId, TensorType>();
    for (const x of [...g.inputs, ...g.weights, ...g.states]) this.#declare(x.id, x.type, known);
    this.#nodes(g.nodes, known);
    this.#reads(known);
    this.#packed(known);
    const next = nextIdAfter(g);
    if (g.nextId < next) this.#fault(`the next id is %${g.nextId}, but %${next - 1} is in use`);
    return this.#faults;
  }

  /** Integers of several to a word are made by the prepare program, by one of its nodes. */
  #packed(known: ReadonlyMap<ValueId, TensorType>): void {
    const g = this.#graph;
    const packed = [...known].filter(([, type]) => isPacked(type.dtype));
    if (packed.length === 0) return;
    const prepared = preparedValues(g);
    const declared = new Set([...g.inputs, ...g.weights, ...g.states].map((x) => x.id));
    const seen = new Set([...g.outputs.map((o) => o.value), ...g.states.map((s) => s.next)]);
    for (const [id, type] of packed) {
      const where =
        declared.has(id) || seen.has(id)
          ? "at the border of the graph"
          : prepared.has(id)
            ? undefined
            : "made by a kernel";
      if (where !== undefined)
        this.#fault(`${id} is ${type.dtype}, a type of prepared values alone, and ${where}`);
    }
  }

  #fault(message: string): void {
    this.#faults.push(message);
  }

  #declarations(): void {
    const g = this.#graph;
    this.#unique(
      "dimension",
      g.symbols.map((s) => s.name),
    );
    this.#unique(
      "input",
      g.inputs.map((x) => x.name),
    );
    this.#unique(
      "weight",
      g.weights.map((x) => x.key),
    );
    this.#unique(
      "state",
      g.states.map((x) => x.name),
    );
    this.#unique(
      "output",
      g.outputs.map((x) => x.name),
    );
    this.#unique(
      "scope",
      g.scopes.map((x) => x.path),
    );
    for (const s of g.symbols) {
      if (!/^[A-Za-z_]\w*$/.test(s.name)) this.#fault(`dimension ${s.name} is not a name`);
      if (s.kind === "bounded") this.#symbolsIn(s.bound, () => `the bound of ${s.name}`);
    }
  }

  #unique(what: string, names: readonly string[]): void {
    const seen = new Set<string>();
    for (const name of names) {
      if (seen.has(name)) this.#fault(`two of ${what} ${name}`);
      seen.add(name);
    }
  }

  #declare(id: ValueId, type: TensorType, known: Map<ValueId, TensorType>): void {
    if (id.length < 2 || (id[0] !== "%" && id[0] !== "$"))
      this.#fault(`${JSON.stringify(id)} is no value id: it begins with % or $`);
    if (this.#ids.has(id)) this.#fault(`${id} is defined twice`);
    this.#ids.add(id);
    known.set(id, type);
    if (this.#soundTypes.has(type)) return;
    const before = this.#faults.length;
    this.#type(id, type);
    if (this.#faults.length === before) this.#soundTypes.add(type);
  }

  #type(id: ValueId, type: TensorType): void {
    const rank = type.shape.length;
    if (!dtypes.includes(type.dtype)) this.#fault(`${id} has element type ${String(type.dtype)}`);
    if (type.axes.length !== rank)
      this.#fault(`${id} has ${rank} axes and ${type.axes.length} names for them`);
    for (const axis of type.axes)
      if (axis !== null && (!/^[A-Za-z_]\w*$/.test(axis) || axis === "_" || Object.hasOwn(axisLetters, axis)))
        this.#fault(`${id} has an axis called ${axis}, which is no full name`);
    for (const d of type.shape) this.#symbolsIn(d, () => `the type of ${id}`);
    const order = type.order;
    if (order && (order.length !== rank || type.shape.some((_, i) => !order.includes(i))))
      this.#fault(`the order {${order.join(", ")}} of ${id} is no permutation of its ${rank} axes`);
  }

  #symbolsIn(d: Dim, where: () => string): void {
    for (const name of symbolsOf(d))
      if (!this.#symbols.has(name)) this.#fault(`dimension ${name} in ${where()} is not declared`);
  }

  #nodes(nodes: readonly Node[], known: Map<ValueId, TensorType>): void {
    for (const n of nodes) {
      if (this.#isAsBefore(n, known)) {
        for (const r of n.results) this.#declare(r.id, r.type, known);
        continue;
      }
      // Its text only where something is wrong: most of the time of a check would go into it.
      const where = () => printNode(n);
      const fault = (message: string) => this.#fault(`${message}: ${where()}`);
      let readable = n.results.length > 0;
      if (!readable) fault("a node has no result");
      for (const x of n.inputs)
        if (x !== "" && !known.has(x)) {
          fault(`${x} is not made before it is read`);
          readable = false;
        }
      const types = n.inputs.map((x) => (x === "" ? undefined : known.get(x)));
      const before = this.#faults.length;
      const checked = readable && isSound(n, types, this.#graph.symbols);
      const faults = checked ? [] : [...arityFaults(n), ...attrFaults(n.op, n.attrs)];
      faults.forEach(fault);
      if (!checked) for (const value of Object.values(n.attrs)) this.#symbolsInAttr(value, where);
      if (readable && !checked && faults.length === 0) this.#resultTypes(n, types, fault);
      if (readable && faults.length === 0) this.#declaredSizes(n, types, fault);
      if (readable && !checked && this.#faults.length === before)
        sound.set(n, { types, symbols: this.#graph.symbols });
      if (n.scope !== "" && !this.#scopes.has(n.scope)) fault(`scope ${n.scope} does not exist`);
      if (this.#needsSpans && n.spans.length === 0) fault("a node lost its model lines");
      if (n.body) this.#region(n, known, fault);
      for (const r of n.results) this.#declare(r.id, r.type, known);
    }
  }

  /** Found sound before, reads the same types, and has nothing that the rest of the graph could break. */
  #isAsBefore(n: Node, known: ReadonlyMap<ValueId, TensorType>): boolean {
    const then = sound.get(n);
    if (then?.symbols !== this.#graph.symbols || n.body || declaredBy(n.op).length > 0) return false;
    for (let i = 0; i < n.inputs.length; i++) {
      const x = n.inputs[i]!;
      const type = known.get(x);
      if (type !== then.types[i] || (x !== "" && type === undefined)) return false;
    }
    return (n.scope === "" || this.#scopes.has(n.scope)) && (!this.#needsSpans || n.spans.length > 0);
  }

  #symbolsInAttr(value: AttrValue, where: () => string): void {
    if (Array.isArray(value)) for (const v of value) this.#symbolsInAttr(v, where);
    else if (isDimValue(value)) this.#symbolsIn(value, where);
  }

  /** A fused group keeps the types it was made with; those of its body are checked. */
  #resultTypes(n: Node, types: InputTypes, fault: (message: string) => void): void {
    if (n.op.lowering.kind === "group") return;
    const inferred = inferTypes(n.op, types, n.attrs);
    if ("failure" in inferred) {
      const { label } = inferred.failure;
      return fault(
        `${n.op.name}.${label} does not hold (${n.op.constraints[label] ?? "an input is missing"})`,
      );
    }
    const stored = n.results.map((r) => r.type);
    // The physical order is chosen by the layout pass; ops infer shapes.
    const same = (a: TensorType, b: TensorType) => a.dtype === b.dtype && sameShape(a.shape, b.shape);
    if (stored.length !== inferred.types.length || !stored.every((t, i) => same(t, inferred.types[i]!)))
      fault(`${n.op.name} gives ${inferred.types.map(showType).join(", ")}, which is not what is stored`);
  }

  /** A size that an op sets is a bounded symbol of its own, with room for what the op may make it. */
  #declaredSizes(n: Node, types: InputTypes, fault: (message: string) => void): void {
    for (const [name, spec] of declaredBy(n.op)) {
      const size = n.attrs[name];
      if (!isDimValue(size!) || constantOf(size) !== undefined) continue;
      const symbol = this.#graph.symbols.find((s) => s.name === size.key);
      if (symbol?.kind !== "bounded") {
        fault(`${name} = ${size.key} is no bounded dimension`);
        continue;
      }
      if (this.#set.has(symbol.name)) fault(`${symbol.name} is set by another op already`);
      this.#set.add(symbol.name);
      const most = atMost(spec.declares!(types, n.attrs), this.#graph.symbols);
      if (!sameDim(minDim(symbol.bound, most), most))
        fault(`${symbol.name} is at most ${most.key}, and declared as at most ${symbol.bound.key}`);
    }
  }

  /** A body sees its parameters alone. */
  #region(n: Node, outside: ReadonlyMap<ValueId, TensorType>, fault: (message: string) => void): void {
    const body = n.body!;
    const known = new Map<ValueId, TensorType>();
    for (const p of body.params) this.#declare(p.id, p.type, known);
    if (body.params.length !== n.inputs.length)
      fault(`a body has ${body.params.length} parameters for ${n.inputs.length} inputs`);
    for (const [i, p] of body.params.entries()) {
      const given = outside.get(n.inputs[i] ?? "");
      if (given && !sameShapeAndDType(given, p.type))
        fault(`parameter ${p.id} is ${showType(p.type)} and is given ${showType(given)}`);
    }
    this.#nodes(body.nodes, known);
    if (body.results.length !== n.results.length)
      fault(`a body yields ${body.results.length} values for ${n.results.length} results`);
    for (const [i, id] of body.results.entries()) {
      const type = known.get(id);
      const result = n.results[i];
      if (!type) fault(`the body yields ${id}, which is not made in it`);
      else if (result && !sameShapeAndDType(type, result.type))
        fault(`the body yields ${showType(type)} for ${result.id}, which is ${showType(result.type)}`);
    }
  }

  #reads(known: ReadonlyMap<ValueId, TensorType>): void {
    const g = this.#graph;
    for (const o of g.outputs)
      if (!known.has(o.value)) this.#fault(`output ${o.name} is ${o.value}, which is not made`);
    for (const s of g.states) {
      const next = known.get(s.next);
      if (!next) this.#fault(`state ${s.name} ends as ${s.next}, which is not made`);
      else if (!sameShapeAndDType(next, s.type))
        this.#fault(`state ${s.name} is ${showType(s.type)} and ends as ${showType(next)}`);
    }
    const prepared = g.guards.length > 0 ? preparedValues(g) : new Set();
    for (const guard of g.guards) {
      const type = known.get(guard.condition);
      if (!type) this.#fault(`guard ${guard.pass} is ${guard.condition}, which is not made`);
      else if (type.dtype !== "bool" || type.shape.length > 0 || !prepared.has(guard.condition))
        this.#fault(
          `guard ${guard.pass} is ${guard.condition}, which is no bool scalar made from weights alone`,
        );
    }
  }
}

function sameShapeAndDType(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && sameShape(a.shape, b.shape);
}

/** Inputs too many, or a required one left out. */
export function arityFaults(n: { readonly op: OpDefinition; readonly inputs: readonly ValueId[] }): string[] {
  const takes = n.op.inputs.length;
  if (n.inputs.length > takes && !n.op.variadic)
    return [`${n.op.name} takes ${takes} inputs and is given ${n.inputs.length}`];
  return n.op.inputs
    .filter((spec, i) => !spec.optional && (n.inputs[i] ?? "") === "")
    .map((spec) => `${n.op.name} needs its input ${spec.name}`);
}

/** Attributes missing, unknown or of the wrong kind. */
export function attrFaults(op: OpDefinition, attrs: Readonly<Record<string, AttrValue>>): string[] {
  const faults: string[] = [];
  for (const [name, spec] of Object.entries(op.attrs)) {
    const value = Object.hasOwn(attrs, name) ? attrs[name] : undefined;
    if (spec.role === "weight-shape") continue;
    if (value === undefined) {
      faults.push(`${op.name} needs its attribute ${name}`);
      continue;
    }
    const expected = attrKindFault(spec, value);
    if (expected) faults.push(`attribute ${name} of ${op.name} must be ${expected}`);
  }
  for (const name of Object.keys(attrs))
    if (!Object.hasOwn(op.attrs, name) || op.attrs[name]!.role === "weight-shape")
      faults.push(`${op.name} has no attribute ${name}`);
  return faults;
}

/** What the value should have been; undefined where it is of the right kind. */
export function attrKindFault(spec: AttrSpec, value: AttrValue): string | undefined {
  const list = (ok: (v: AttrValue) => boolean) => Array.isArray(value) && value.every(ok);
  const ok: Record<AttrSpec["kind"], () => boolean> = {
    int: () => isInteger(value),
    ints: () => list(isInteger),
    pair: () => isInteger(value) || (list(isInteger) && (value as readonly AttrValue[]).length === 2),
    float: () => typeof value === "number",
    bool: () => typeof value === "boolean",
    string: () => typeof value === "string" && (spec.choices?.includes(value) ?? true),
    dtype: () => (modelTypes as readonly AttrValue[]).includes(value),
    dim: () => isSize(value),
    dims: () => list(isSize),
    axis: () => isInteger(value),
    axes: () => list(isInteger),
  };
  if (ok[spec.kind]()) return undefined;
  return spec.choices && spec.kind === "string" ? `one of ${spec.choices.join(", ")}` : kindNames[spec.kind];
}

const isInteger = (v: AttrValue) => typeof v === "number" && Number.isSafeInteger(v);
const isSize = (v: AttrValue) => isDimValue(v) || isInteger(v);

const kindNames: Readonly<Record<AttrSpec["kind"], string>> = {
  int: "an integer",
  ints: "a list of integers",
  pair: "an integer or a list of two",
  float: "a number",
  bool: "true or false",
  string: "a string",
  dtype: `one of ${modelTypes.join(", ")}`,
  dim: "a size",
  dims: "a list of sizes",
  axis: "the number of an axis",
  axes: "a list of numbers of axes",
};
