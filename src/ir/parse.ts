// Graph text to graphs: recursive descent over the statements of docs/ir.md. Any text gives a result, never an exception: faults
// are collected as diagnostics, and reading goes on at the next line. Knows no particular op; they arrive as a look-up.

import type { Diagnostic } from "../support/diagnostic.ts";
import { sourceFile } from "../support/source.ts";
import { readCompilation, type Compilation } from "./compilation.ts";
import type { Graph, Input, Module, Preprocess, Weight } from "./graph.ts";
import type { OpLookup } from "./op.ts";
import { GraphReader } from "./parse-graph.ts";
import { GiveUp, Reader, SyntaxStop } from "./parse-reader.ts";
import {
  readAnnotations,
  readAttrValue,
  readList,
  readLocations,
  readType,
  type TypeText,
} from "./parse-types.ts";
import { nextIdAfter } from "./print.ts";
import { sameShape, showType } from "./types.ts";

/** Characters of a text. */
const maxText = 32 * 1024 * 1024;

export interface ParseGraphsOptions {
  /** Names of all ops, to suggest one where a name is unknown. */
  readonly opNames?: Iterable<string>;
}

export interface ParsedGraphs {
  /** Absent where there is an error. */
  readonly module?: Module;
  /** Where the text says how it came about, and how far. */
  readonly compilation?: Compilation;
  readonly diagnostics: readonly Diagnostic[];
}

export function parseGraphs(
  text: string,
  file: string,
  lookup: OpLookup,
  options: ParseGraphsOptions = {},
): ParsedGraphs {
  const whole = text.length <= maxText;
  const reader = new Reader(sourceFile(file, whole ? text : ""));
  const parser = new ModuleReader(reader, lookup, [...(options.opNames ?? [])]);
  try {
    if (!whole) reader.report("ir-too-large", `a text has more than ${maxText} characters`, 0, 0);
    else parser.read();
  } catch (e) {
    if (!(e instanceof GiveUp)) throw e;
  }
  const { diagnostics } = reader;
  if (diagnostics.length > 0) return { diagnostics };
  const { compilation } = parser;
  return { module: parser.module(), ...(compilation && { compilation }), diagnostics };
}

class ModuleReader {
  readonly #r: Reader;
  readonly #lookup: OpLookup;
  readonly #opNames: readonly string[];
  readonly #sources = new Map<number, string>();
  readonly #graphs: Graph[] = [];
  compilation: Compilation | undefined;
  #name: string | undefined;

  constructor(reader: Reader, lookup: OpLookup, opNames: readonly string[]) {
    this.#r = reader;
    this.#lookup = lookup;
    this.#opNames = opNames;
  }

  module(): Module {
    return { name: this.#name ?? this.#graphs[0]?.name ?? "", graphs: this.#graphs };
  }

  read(): void {
    const r = this.#r;
    while (!r.atEnd()) {
      const start = r.peek();
      try {
        this.#item();
      } catch (e) {
        if (!(e instanceof SyntaxStop)) throw e;
        this.#toNextItem(start);
      }
    }
    if (this.#graphs.length === 0 && r.diagnostics.length === 0)
      r.report("ir-syntax", "there is no graph in this text", 0, 0, {
        help: "a graph begins with `graph @name(`",
      });
  }

  /** Goes on at the next line that begins with a word of the top level. */
  #toNextItem(start: number): void {
    const r = this.#r;
    do r.recover(start);
    while (
      r.at < r.text.length &&
      !/^(?:graph|module|source|compilation)\b/.test(r.text.slice(r.at, r.at + 12))
    );
  }

  #item(): void {
    const r = this.#r;
    if (r.tryKeyword("module")) this.#name = r.name("the name of the module");
    else if (r.tryKeyword("source")) {
      const source = r.count("the number of the source");
      this.#sources.set(source, r.string());
    } else if (r.tryKeyword("compilation")) this.compilation = this.#compilation();
    else if (r.tryKeyword("graph")) {
      const start = r.lastEnd;
      const graph = this.#graph();
      if (this.#graphs.some((g) => g.name === graph.name))
        r.report("ir-duplicate", `two graphs are called ${graph.name}`, start, start + 1);
      this.#graphs.push(graph);
    } else r.fail("expected `graph @name(`, `module`, `source` or `compilation`");
  }

  #compilation(): Compilation {
    const r = this.#r;
    const start = r.lastEnd;
    if (this.compilation) r.stop("ir-duplicate", "a text has one compilation", start, start + 1);
    const read = readCompilation(r.object("the compilation"));
    if ("problem" in read) return r.stop("ir-compilation", read.problem, start, start + 1);
    return read;
  }

  #graph(): Graph {
    const r = this.#r;
    r.mark("@", "in front of the name of the graph");
    const draft = new GraphReader(
      r,
      r.name("the name of the graph"),
      this.#lookup,
      this.#opNames,
      this.#sources,
    );
    draft.inputs = readList(r, "(", ")", () => this.#input(draft));
    const promised = r.tryMark("->") ? this.#results(draft) : [];
    r.mark("{", "in front of the statements");
    while (r.next() !== "}") {
      if (r.atEnd()) r.fail("the graph has no `}`");
      const start = r.peek();
      try {
        this.#statement(draft, promised);
      } catch (e) {
        if (!(e instanceof SyntaxStop)) throw e;
        draft.broken = true;
        r.recover(start);
      }
    }
    r.mark("}");
    return this.#finish(draft, promised);
  }

  #input(g: GraphReader): Input {
    const r = this.#r;
    const at = r.peek();
    const id = r.value("an input such as `%image: f32[B, 3, H, W]`");
    r.mark(":");
    const { type } = readType(r, g.onDim);
    const name = r.tryKeyword("as") ? r.name("the name of the input") : id.replace(/^%/, "");
    const preprocess = r.tryKeyword("preprocess") ? this.#preprocess() : undefined;
    const spans = readLocations(r, this.#sources);
    g.declare(id, type, at, false);
    return { id, name, type, ...(preprocess && { preprocess }), spans };
  }

  #preprocess(): Preprocess {
    const r = this.#r;
    const start = r.peek();
    const noDims = () => {};
    const entries = readList(r, "{", "}", (): [string, unknown] => {
      const name = r.name("the name of a setting");
      r.mark("=");
      return [name, readAttrValue(r, "string", noDims)];
    });
    const { size, crop_pct: cropPct, interpolation, mean, std, ...rest } = Object.fromEntries(entries);
    const numbers = (x: unknown): x is number[] => Array.isArray(x) && x.every((v) => typeof v === "number");
    if (
      typeof size === "number" &&
      typeof cropPct === "number" &&
      (interpolation === "bicubic" || interpolation === "bilinear" || interpolation === "nearest") &&
      numbers(mean) &&
      numbers(std) &&
      Object.keys(rest).length === 0
    )
      return { size, cropPct, interpolation, mean, std };
    return r.stop("ir-preprocess", "this is no preprocessing", start, r.lastEnd, {
      help: "it has size, crop_pct, interpolation (bicubic, bilinear or nearest), mean and std",
    });
  }

  /** `(logits: f32[B, 1000])`, or the type alone where the one result needs no name. */
  #results(g: GraphReader): Promised[] {
    const r = this.#r;
    if (r.next() !== "(") return [{ name: undefined, type: readType(r, g.onDim) }];
    return readList(r, "(", ")", () => {
      const name = r.name("the name of an output");
      return { name, type: r.tryMark(":") ? readType(r, g.onDim) : undefined };
    });
  }

  #statement(g: GraphReader, promised: readonly Promised[]): void {
    const r = this.#r;
    if (r.startsValue()) return addNode(g, false);
    const word = r.peekWord();
    if (!Object.hasOwn(statements, word)) return void r.fail("expected a statement", { help: statementHelp });
    r.tryKeyword(word);
    statements[word]!(r, g, this.#sources, promised);
  }

  #finish(g: GraphReader, promised: readonly Promised[]): Graph {
    const r = this.#r;
    // What a broken statement should have declared would be reported a second time wherever it is read.
    if (!g.broken) {
      g.checkReads();
      for (const [i, p] of promised.entries()) {
        const output = g.outputs[i];
        const type = output && g.typeOf(output.value);
        if (!p.type || !type) continue;
        const same = type.dtype === p.type.type.dtype && sameShape(type.shape, p.type.type.shape);
        if (!same)
          r.report("ir-type-mismatch", "the output has another type", p.type.start, p.type.end, {
            label: `${output.value} is ${showType(type)}`,
          });
      }
    }
    const symbols = g.declaredSymbols();
    const { name, inputs, weights, states, scopes, nodes, outputs, guards } = g;
    const graph = { name, symbols, inputs, weights, states, scopes, nodes, outputs, guards };
    const nextId = nextIdAfter(graph);
    if (g.next && g.next.id < nextId)
      r.report("ir-next-id", `%${nextId - 1} is in use`, g.next.start, g.next.end, {
        help: `write next %${nextId}`,
      });
    return { ...graph, nextId: g.next?.id ?? nextId };
  }
}

interface Promised {
  readonly name: string | undefined;
  readonly type: TypeText | undefined;
}

type Statement = (
  r: Reader,
  g: GraphReader,
  sources: ReadonlyMap<number, string>,
  promised: readonly Promised[],
) => void;

/** Statements that begin with a word; all others are nodes. */
const statements: Readonly<Record<string, Statement>> = {
  dims(r, g) {
    g.symbols ??= [];
    do {
      const at = r.peek();
      const name = r.name("the name of a dimension");
      if (g.symbols.some((s) => s.name === name))
        r.report("ir-duplicate", `${name} is declared twice`, at, r.lastEnd);
      if (!/^[A-Za-z_]\w*$/.test(name))
        r.stop("ir-syntax", "a dimension is a letter or a name", at, r.lastEnd);
      if (!r.tryMark("<=")) g.symbols.push({ kind: "bound", name });
      else {
        const boundAt = r.peek();
        const bound = r.dim();
        g.onDim(bound, boundAt);
        g.symbols.push({ kind: "bounded", name, bound });
      }
    } while (r.tryMark(","));
  },

  weight(r, g, sources) {
    const at = r.peek();
    const id = r.value("a weight such as `$stem.conv.weight`");
    r.mark(":");
    const { type } = readType(r, g.onDim);
    const key = r.tryKeyword("as") ? r.name("the key in the checkpoint") : id.replace(/^\$/, "");
    const seed = r.tryKeyword("seed") ? readSeed(r) : undefined;
    g.declare(id, type, at, true);
    g.weights.push({ id, key, type, ...(seed && { seed }), spans: readLocations(r, sources) });
  },

  state(r, g, sources) {
    const name = r.name("the name of the state");
    r.mark(":");
    const { type } = readType(r, g.onDim);
    r.mark("=", "in front of the first value of the state");
    const initial = r.number();
    r.mark("(", "in front of the two values of the state");
    const at = r.peek();
    const id = r.value();
    g.declare(id, type, at, false);
    r.mark("->");
    const next = g.laterValue();
    r.mark(")");
    g.states.push({ name, id, type, next, initial, spans: readLocations(r, sources) });
  },

  scope(r, g, sources) {
    const path = r.name("the path of the scope");
    r.mark("=", "in front of the block");
    const block = r.name("the name of a block");
    const annotations = readAnnotations(r, g.onDim);
    g.scopes.push({ path, block, annotations, spans: readLocations(r, sources) });
  },

  prepare(_r, g) {
    addNode(g, true);
  },

  guard(r, g, sources) {
    const pass = r.name("the name of a pass");
    if (!r.tryKeyword("if")) r.fail("expected `if`");
    g.guards.push({ pass, condition: g.laterValue(), spans: readLocations(r, sources) });
  },

  next(r, g) {
    const start = r.peek();
    r.mark("%");
    g.next = { id: r.count("the number of the next value"), start, end: r.lastEnd };
  },

  return(r, g, sources, promised) {
    do {
      const unnamed =
        r.startsValue() && !/^"(?:[^"\\]|\\.){0,200}"\s*=/.test(r.text.slice(r.peek(), r.at + 400));
      const i = g.outputs.length;
      const name = unnamed ? (promised[i]?.name ?? (i === 0 ? "output" : `output${i}`)) : r.name("an output");
      if (!unnamed) r.mark("=");
      g.outputs.push({ name, value: g.laterValue(), spans: readLocations(r, sources) });
    } while (r.tryMark(","));
  },
};

const statementHelp =
  "a statement is a node (`%0 = relu %x`), or begins with dims, weight, state, scope, prepare, guard, next or return";

function addNode(g: GraphReader, prepared: boolean): void {
  const node = g.node(prepared);
  if (node) g.nodes.push(node);
}

function readSeed(r: Reader): NonNullable<Weight["seed"]> {
  if (r.tryKeyword("signs")) return { kind: "signs" };
  if (!r.tryKeyword("integers")) r.fail("expected `signs` or `integers(n)`");
  r.mark("(");
  const below = r.count("the number that the integers stay below");
  r.mark(")");
  return { kind: "integers", below };
}
