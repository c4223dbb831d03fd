// One graph while its text is read: what is declared so far, the nodes, and the checks of names and types that make the result a
// graph. Types are inferred as nodes are read, so that a text may leave them out, and compared where it does not.

import { Bug } from "../support/bug.ts";
import { nearest } from "../support/suggest.ts";
import type { Location } from "../support/source.ts";
import { symbolsOf, type Dim } from "./dim.ts";
import { withDefaults } from "./graph.ts";
import type { Attrs, Graph, Input, Node, Region, SymbolDecl, Value, ValueId } from "./graph.ts";
import { inferTypes, inputIndex, type OpDefinition, type OpLookup } from "./op.ts";
import { SyntaxStop, type Reader } from "./parse-reader.ts";
import { readAnnotations, readAttrs, readList, readLocations, readType } from "./parse-types.ts";
import type { AttrText, SymbolUses, TypeText } from "./parse-types.ts";
import { sameShape, showType, type TensorType } from "./types.ts";
import { arityFaults, attrKindFault } from "./verify.ts";

const maxNodes = 1_000_000;
const maxBodyDepth = 8;

type Mutable<T> = T extends readonly (infer E)[] ? E[] : T;
/** The lists of a graph, being filled. */
export type Draft = {
  -readonly [K in Exclude<keyof Graph, "name" | "nextId" | "symbols" | "inputs">]: Mutable<Graph[K]>;
};

/** A type, or null where it is not known because of an earlier error. */
type Known = TensorType | null;

interface Place {
  readonly start: number;
  readonly end: number;
}

export class GraphReader implements Draft {
  readonly name: string;
  inputs: Input[] = [];
  weights: Draft["weights"] = [];
  states: Draft["states"] = [];
  scopes: Draft["scopes"] = [];
  nodes: Draft["nodes"] = [];
  outputs: Draft["outputs"] = [];
  guards: Draft["guards"] = [];
  /** Undefined where the text has no `dims`: then every symbol in it is bound. */
  symbols: SymbolDecl[] | undefined;
  next: (Place & { readonly id: number }) | undefined;
  /** A statement was not read: names may be missing. */
  broken = false;

  readonly #r: Reader;
  readonly #lookup: OpLookup;
  readonly #opNames: readonly string[];
  readonly #sources: ReadonlyMap<number, string>;
  readonly #symbolUses: SymbolUses = new Map();
  /** Ids of the whole graph, bodies included. */
  readonly #ids = new Set<ValueId>();
  readonly #prepared = new Set<ValueId>();
  readonly #later: (Place & { readonly id: ValueId })[] = [];
  readonly #scopesRead: (Place & { readonly path: string })[] = [];
  /** What can be read here; in a body, its parameters and nodes alone. */
  #types = new Map<ValueId, Known>();
  #nodeCount = 0;

  constructor(
    reader: Reader,
    name: string,
    lookup: OpLookup,
    opNames: readonly string[],
    sources: ReadonlyMap<number, string>,
  ) {
    this.#r = reader;
    this.name = name;
    this.#lookup = lookup;
    this.#opNames = opNames;
    this.#sources = sources;
  }

  // Names.

  readonly onDim = (d: Dim, start: number): void => {
    for (const name of symbolsOf(d))
      if (!this.#symbolUses.has(name)) this.#symbolUses.set(name, { start, end: this.#r.lastEnd });
  };

  declare(id: ValueId, type: Known, at: number, prepared: boolean): void {
    if (this.#ids.has(id)) this.#r.report("ir-duplicate", `${id} is defined twice`, at, at + id.length);
    this.#ids.add(id);
    this.#types.set(id, type);
    if (prepared) this.#prepared.add(id);
  }

  typeOf(id: ValueId): TensorType | undefined {
    return this.#types.get(id) ?? undefined;
  }

  /** A value that may be made further down. */
  laterValue(): ValueId {
    const start = this.#r.peek();
    const id = this.#r.value();
    this.#later.push({ id, start, end: this.#r.lastEnd });
    return id;
  }

  checkReads(): void {
    for (const { id, start, end } of this.#later)
      if (!this.#types.has(id)) this.#unknownValue(id, start, end);
    const scopes = new Set(this.scopes.map((s) => s.path));
    for (const { path, start, end } of this.#scopesRead) {
      if (path === "" || scopes.has(path)) continue;
      const near = nearest(path, scopes);
      this.#r.report("ir-unknown-scope", `scope ${path} is not declared`, start, end, {
        help: near ? `did you mean ${near}?` : `add the line \`scope ${path} = ...\``,
      });
    }
  }

  #unknownValue(id: ValueId, start: number, end: number): void {
    const near = nearest(id, this.#types.keys());
    const elsewhere = this.#ids.has(id)
      ? "it is made outside of this body, which sees its parameters alone"
      : undefined;
    this.#r.report("ir-unknown-value", `there is no value ${id} here`, start, end, {
      help: elsewhere ?? (near && `did you mean ${near}?`),
    });
  }

  declaredSymbols(): readonly SymbolDecl[] {
    if (!this.symbols) return [...this.#symbolUses.keys()].map((name) => ({ kind: "bound", name }));
    const names = new Set(this.symbols.map((s) => s.name));
    for (const [name, { start, end }] of this.#symbolUses)
      if (!names.has(name)) {
        const near = nearest(name, names);
        this.#r.report("ir-unknown-dim", `dimension ${name} is not declared`, start, end, {
          help: near ? `did you mean ${near}?` : `add it to the line that begins with dims`,
        });
      }
    return this.symbols;
  }

  // Nodes.

  /**
   * `%2, %3 = top_k %1 {k=2} : f32[B, 2], i32[B, 2] in head with reduce tome(r=8) loc(0:1:2-3) body (...) {...}`
   * Undefined where something is wrong with it, which has been reported; its results are known all the same.
   */
  node(prepare: boolean, depth = 0): Node | undefined {
    const r = this.#r;
    const start = r.peek();
    if (++this.#nodeCount > maxNodes)
      r.giveUp("ir-too-large", `a graph has more than ${maxNodes} nodes`, start, start);
    const ids: (Place & { readonly id: ValueId })[] = [];
    do {
      const at = r.peek();
      ids.push({ id: r.value(), start: at, end: r.lastEnd });
    } while (r.tryMark(","));
    r.mark("=");
    const opAt = { start: r.peek(), end: 0 };
    const opName = r.name("the name of an op");
    opAt.end = r.lastEnd;
    const op = this.#lookup(opName);
    if (!op) this.#unknownOp(opName, opAt);
    const inputs = this.#inputs();
    const written = r.next() === "{" ? readAttrs(r, op, this.onDim) : [];
    const types = this.#writtenTypes();
    const scope = r.tryKeyword("in") ? this.#scope() : "";
    const annotations = readAnnotations(r, this.onDim);
    const spans: readonly Location[] = readLocations(r, this.#sources);
    const body = r.tryKeyword("body") ? this.#body(depth) : undefined;

    const inputIds = inputs.map((x) => x.id);
    const attrs = op && this.#checkNode(op, opAt, inputIds, written);
    const inferred = op && attrs ? this.#infer(op, opAt, inputs, attrs) : undefined;
    const results = this.#results(ids, types, inferred, op, opAt);
    const isPrepared = depth === 0 && inputIds.every((x) => x === "" || this.#prepared.has(x));
    if (prepare && !isPrepared) this.#notPrepared(inputs, start);
    for (const [i, { id, start: at }] of ids.entries()) this.declare(id, results[i] ?? null, at, isPrepared);
    const complete = ids.flatMap(({ id }, i): Value[] => (results[i] ? [{ id, type: results[i] }] : []));
    if (!op || !attrs || complete.length < ids.length) return undefined;
    return {
      op,
      inputs: inputIds,
      attrs,
      results: complete,
      spans,
      scope,
      annotations,
      ...(body && { body }),
    };
  }

  #unknownOp(name: string, at: Place): void {
    const near = nearest(name, this.#opNames);
    this.#r.report("ir-unknown-op", `there is no op called ${name}`, at.start, at.end, {
      help: near && `did you mean ${near}?`,
    });
  }

  #inputs(): (Place & { readonly id: ValueId; readonly type: Known })[] {
    const r = this.#r;
    const inputs: (Place & { readonly id: ValueId; readonly type: Known })[] = [];
    if (!r.startsValue() && r.peekWord() !== "_") return inputs;
    // An op that takes nothing, on a line of its own: what follows is the next node.
    if (this.#startsNode()) return inputs;
    do {
      const start = r.peek();
      if (r.tryKeyword("_")) {
        inputs.push({ id: "", type: null, start, end: r.lastEnd });
        continue;
      }
      const id = r.value();
      if (!this.#types.has(id) && !this.broken) this.#unknownValue(id, start, r.lastEnd);
      inputs.push({ id, type: this.#types.get(id) ?? null, start, end: r.lastEnd });
    } while (r.tryMark(","));
    return inputs;
  }

  #startsNode(): boolean {
    const { text } = this.#r;
    const at = this.#r.peek();
    const lineEnd = text.indexOf("\n", at);
    const before = text.slice(text.lastIndexOf("\n", at - 1) + 1, at);
    const line = text.slice(at, Math.min(lineEnd < 0 ? text.length : lineEnd, at + 400));
    return before.trim() === "" && /^[%$"][^:{]*=/.test(line);
  }

  #writtenTypes(): TypeText[] {
    const types: TypeText[] = [];
    if (!this.#r.tryMark(":")) return types;
    do types.push(readType(this.#r, this.onDim));
    while (this.#r.tryMark(","));
    return types;
  }

  /** The attributes with defaults; undefined where inputs or attributes are not those of the op. */
  #checkNode(
    op: OpDefinition,
    at: Place,
    inputs: readonly ValueId[],
    written: readonly AttrText[],
  ): Attrs | undefined {
    const r = this.#r;
    const before = r.diagnostics.length;
    for (const fault of arityFaults({ op, inputs })) r.report("ir-wrong-inputs", fault, at.start, at.end);
    const given = new Map<string, AttrText>();
    for (const a of written) {
      const spec = Object.hasOwn(op.attrs, a.name) ? op.attrs[a.name] : undefined;
      const expected = spec && attrKindFault(spec, a.value);
      if (given.has(a.name)) r.report("ir-duplicate", `attribute ${a.name} is given twice`, a.start, a.end);
      else if (!spec || spec.role === "weight-shape") {
        const near = nearest(a.name, Object.keys(op.attrs));
        r.report("ir-unknown-attribute", `${op.name} has no attribute ${a.name}`, a.start, a.end, {
          help: near && `did you mean ${near}?`,
        });
      } else if (expected) r.report("ir-wrong-attribute", `${a.name} must be ${expected}`, a.start, a.end);
      given.set(a.name, a);
    }
    const attrs = withDefaults(op, Object.fromEntries(written.map((a) => [a.name, a.value])));
    for (const [name, spec] of Object.entries(op.attrs))
      if (spec.role !== "weight-shape" && !Object.hasOwn(attrs, name))
        r.report("ir-missing-attribute", `${op.name} needs its attribute ${name}`, at.start, at.end, {
          help: spec.doc,
        });
    return r.diagnostics.length === before ? attrs : undefined;
  }

  #infer(
    op: OpDefinition,
    at: Place,
    inputs: readonly (Place & { readonly id: ValueId; readonly type: Known })[],
    attrs: Attrs,
  ): readonly TensorType[] | undefined {
    if (op.lowering.kind === "group") return undefined;
    if (inputs.some((x) => x.id !== "" && !x.type)) return undefined;
    const types = inputs.map((x) => x.type ?? undefined);
    try {
      const inferred = inferTypes(op, types, attrs);
      if ("types" in inferred) return inferred.types;
      const { label, input, got, expected } = inferred.failure;
      const which = inputs[input === undefined ? -1 : inputIndex(op, input)];
      const place = which ?? at;
      const sentence = op.constraints[label] ?? `its input ${input ?? ""} is there`;
      this.#r.report(`${op.name}.${label}`, `${op.name} requires that ${sentence}`, place.start, place.end, {
        label: got && `this is ${got}`,
        help: expected && `expected ${expected}`,
      });
    } catch (e) {
      // A size beyond 2^53, or a combination that the op did not foresee: the text is at fault all the same.
      if (!(e instanceof Bug) && !(e instanceof TypeError) && !(e instanceof RangeError)) throw e;
      this.#r.report(
        "ir-cannot-infer",
        `${op.name} gives no type for these inputs and attributes`,
        at.start,
        at.end,
        {
          label: e.message,
        },
      );
    }
    return undefined;
  }

  /** Types as written where they are, which also say the physical order and the names of axes; else as inferred. */
  #results(
    ids: readonly Place[],
    written: readonly TypeText[],
    inferred: readonly TensorType[] | undefined,
    op: OpDefinition | undefined,
    at: Place,
  ): readonly TensorType[] {
    const r = this.#r;
    const last = ids.at(-1)!;
    const gives = written.length > 0 ? written.length : (inferred?.length ?? ids.length);
    if (gives !== ids.length)
      r.report("ir-wrong-results", `${ids.length} names for ${gives} results`, ids[0]!.start, last.end);
    if (written.length === 0) {
      if (op?.lowering.kind === "group")
        r.report(
          "ir-missing-type",
          `the type of ${op.name} must be written, for it cannot be inferred`,
          at.start,
          at.end,
        );
      return inferred ?? [];
    }
    for (const [i, w] of written.entries()) {
      const type = inferred?.[i];
      if (!inferred) break;
      if (type && type.dtype === w.type.dtype && sameShape(type.shape, w.type.shape)) continue;
      r.report("ir-type-mismatch", `${op!.name} does not give this type`, w.start, w.end, {
        label: type ? `the op gives ${showType(type)}` : "the op has no such result",
      });
    }
    return written.map((w) => w.type);
  }

  #notPrepared(inputs: readonly (Place & { readonly id: ValueId })[], start: number): void {
    const live = inputs.find((x) => x.id !== "" && !this.#prepared.has(x.id));
    this.#r.report(
      "ir-not-prepared",
      "this node is not made from weights alone",
      live?.start ?? start,
      live?.end ?? start,
      {
        label: live && `${live.id} changes from run to run`,
      },
    );
  }

  #body(depth: number): Region {
    const r = this.#r;
    const at = r.peek();
    if (depth >= maxBodyDepth)
      r.giveUp("ir-too-deep", `bodies are nested more than ${maxBodyDepth} deep`, at, at + 1);
    const outside = this.#types;
    this.#types = new Map();
    try {
      const params = readList(r, "(", ")", (): Value => {
        const start = r.peek();
        const id = r.value("a parameter such as `%a: f32[B, 8]`");
        r.mark(":");
        const { type } = readType(r, this.onDim);
        this.declare(id, type, start, false);
        return { id, type };
      });
      r.mark("{", "in front of the body");
      const nodes: Node[] = [];
      while (r.next() !== "}" && r.peekWord() !== "yield" && !r.atEnd()) this.#bodyNode(nodes, depth);
      if (!r.tryKeyword("yield")) r.fail("expected `yield` at the end of the body");
      const results: ValueId[] = [];
      if (r.startsValue())
        do {
          const start = r.peek();
          const id = r.value();
          if (!this.#types.has(id) && !this.broken) this.#unknownValue(id, start, r.lastEnd);
          results.push(id);
        } while (r.tryMark(","));
      r.mark("}", "after the body");
      return { params, nodes, results };
    } finally {
      this.#types = outside;
    }
  }

  #scope(): string {
    const start = this.#r.peek();
    const path = this.#r.name("the path of a scope");
    this.#scopesRead.push({ path, start, end: this.#r.lastEnd });
    return path;
  }

  #bodyNode(nodes: Node[], depth: number): void {
    const start = this.#r.peek();
    try {
      const node = this.node(false, depth + 1);
      if (node) nodes.push(node);
    } catch (e) {
      if (!(e instanceof SyntaxStop)) throw e;
      this.broken = true;
      this.#r.recover(start);
    }
  }
}
