// Reads the parts of graph text that stand inside statements: types, attributes, annotations, locations. The inverse of print.ts
// and of showType. Knows no graph.

import { nearest } from "../support/suggest.ts";
import type { Location } from "../support/source.ts";
import type { Dim } from "./dim.ts";
import type { Annotation, Attrs, AttrValue } from "./graph.ts";
import type { AttrKind, OpDefinition } from "./op.ts";
import type { Reader } from "./parse-reader.ts";
import { nameText } from "./print.ts";
import { axisLetters, dtypes, type DType, type TensorType } from "./types.ts";

const maxRank = 16;
const maxListDepth = 8;
const maxItems = 100_000;

/** Where each symbol was first read, so that an undeclared one can be pointed at. */
export type SymbolUses = Map<string, { readonly start: number; readonly end: number }>;

export interface TypeText {
  readonly type: TensorType;
  readonly start: number;
  readonly end: number;
}

/** `f32[B, C=64, _=n, 3]{0, 2, 1}` */
export function readType(r: Reader, onDim: (d: Dim, start: number) => void): TypeText {
  const start = r.peek();
  const word = r.peekWord();
  if (!(dtypes as readonly string[]).includes(word)) {
    const near = nearest(word, dtypes);
    r.fail(`expected a type such as f32[B, 64]`, { help: near && `did you mean ${near}?` });
  }
  const dtype = r.name("a type") as DType;
  const shape: Dim[] = [];
  const axes: (string | null)[] = [];
  r.mark("[", "after the element type");
  while (r.next() !== "]") {
    if (shape.length > 0) r.mark(",", "between axes");
    if (shape.length === maxRank) r.stop("ir-too-large", `a type has more than ${maxRank} axes`, start, r.at);
    const { axis, size } = readAxis(r, onDim);
    shape.push(size);
    axes.push(axis);
  }
  r.mark("]");
  if (r.text[r.at] !== "{") return { type: { dtype, shape, axes }, start, end: r.lastEnd };
  const orderAt = r.at;
  const order = readList(r, "{", "}", () => r.count("the number of an axis"));
  if (order.length !== shape.length || shape.some((_, axis) => !order.includes(axis)))
    r.report("ir-wrong-order", "an order names each axis once", orderAt, r.lastEnd, {
      help: `there are ${shape.length} axes, counted from 0`,
    });
  return { type: { dtype, shape, axes, order }, start, end: r.lastEnd };
}

function readAxis(r: Reader, onDim: (d: Dim, start: number) => void): { axis: string | null; size: Dim } {
  const start = r.peek();
  const word = r.peekWord();
  const named =
    /^[A-Za-z_]\w*$/.test(word) && /^\s*=/.test(r.text.slice(start + word.length, start + word.length + 20));
  if (named) {
    r.name("the name of an axis");
    r.mark("=");
  }
  const sizeAt = r.peek();
  const size = r.dim();
  onDim(size, sizeAt);
  // A lone symbol names its axis too: `H` is `H=H`.
  const label = named ? word : /^[A-Za-z_]\w*$/.test(size.key) ? size.key : "_";
  const axis = label === "_" ? null : Object.hasOwn(axisLetters, label) ? axisLetters[label]! : label;
  return { axis, size };
}

export function readList<T>(r: Reader, open: string, close: string, item: () => T): T[] {
  const items: T[] = [];
  const start = r.peek();
  r.mark(open);
  while (!r.tryMark(close)) {
    if (items.length > 0) r.mark(",");
    if (items.length === maxItems)
      r.stop("ir-too-large", `a list has more than ${maxItems} items`, start, start + 1);
    items.push(item());
  }
  return items;
}

/** A value of an attribute; the kind says what needs no mark (see attrText in print.ts). */
export function readAttrValue(
  r: Reader,
  kind: AttrKind | undefined,
  onDim: (d: Dim, at: number) => void,
): AttrValue {
  return readNested(r, kind, onDim, 0);
}

function readNested(
  r: Reader,
  kind: AttrKind | undefined,
  onDim: (d: Dim, at: number) => void,
  depth: number,
): AttrValue {
  const next = r.next();
  if (next === '"') return r.string();
  if (next === "[") {
    if (depth >= maxListDepth)
      r.stop("ir-too-deep", `lists are nested more than ${maxListDepth} deep`, r.at, r.at + 1);
    return readList(r, "[", "]", () => readNested(r, kind, onDim, depth + 1));
  }
  const word = r.peekWord();
  if (word === "true" || word === "false") return r.name("a truth value") === "true";
  if (kind === "dim" || kind === "dims") return readSize(r, word, onDim);
  if (r.startsNumber()) return r.number();
  if (word === "dim") {
    r.name("dim");
    r.mark("(");
    const at = r.peek();
    const value = r.dim();
    onDim(value, at);
    r.mark(")");
    return value;
  }
  if ((kind === "string" || kind === "dtype") && /^[A-Za-z_]\w*$/.test(word)) return r.name("a word");
  return r.fail("expected a value: a number, true, false, a string, a list, or dim(...)");
}

function readSize(r: Reader, word: string, onDim: (d: Dim, at: number) => void): AttrValue {
  if (word === "int" && r.text[r.at + 3] === "(") {
    r.name("int");
    r.mark("(");
    const value = r.number();
    r.mark(")");
    return value;
  }
  const at = r.peek();
  const value = r.dim();
  onDim(value, at);
  return value;
}

export interface AttrText {
  readonly name: string;
  readonly value: AttrValue;
  readonly start: number;
  readonly end: number;
}

/** `{stride=[4, 4], mode=max}` */
export function readAttrs(
  r: Reader,
  op: OpDefinition | undefined,
  onDim: (d: Dim, at: number) => void,
): AttrText[] {
  return readList(r, "{", "}", () => {
    const start = r.peek();
    const name = r.name("the name of an attribute");
    r.mark("=", `after ${nameText(name)}`);
    const spec = op && Object.hasOwn(op.attrs, name) ? op.attrs[name] : undefined;
    const value = readAttrValue(r, op ? spec?.kind : "string", onDim);
    return { name, value, start, end: r.lastEnd };
  });
}

/** ` with reduce tome(r=8), trace mean()`; nothing where the word is not there. */
export function readAnnotations(r: Reader, onDim: (d: Dim, at: number) => void): Annotation[] {
  const annotations: Annotation[] = [];
  if (!r.tryKeyword("with")) return annotations;
  do {
    const name = r.name("the name of an annotation");
    const call = r.name("what the annotation calls");
    const args = readList(r, "(", ")", (): [string, AttrValue] => {
      const argument = r.name("the name of an argument");
      r.mark("=");
      return [argument, readAttrValue(r, undefined, onDim)];
    });
    annotations.push({ name, call, args: Object.fromEntries(args) as Attrs });
  } while (r.tryMark(","));
  return annotations;
}

/** ` loc(0:14:7-40, 0:20:3-22:9)`; nothing where the word is not there. */
export function readLocations(r: Reader, sources: ReadonlyMap<number, string>): Location[] {
  if (r.peekWord() !== "loc") return [];
  r.tryKeyword("loc");
  return readList(r, "(", ")", () => {
    const start = r.peek();
    const source = r.count("the number of a source");
    const file = sources.get(source);
    if (file === undefined)
      r.stop("ir-unknown-source", `there is no source ${source}`, start, r.lastEnd, {
        help: `declare it above the graph: source ${source} "file.model"`,
      });
    r.mark(":");
    const line = r.count("a line");
    r.mark(":");
    const column = r.count("a column");
    r.mark("-");
    const end = r.count("a column");
    if (!r.tryMark(":")) return { file, line, column, endLine: line, endColumn: end };
    return { file, line, column, endLine: end, endColumn: r.count("a column") };
  });
}
