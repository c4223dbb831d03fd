// Graphs as text, to be read by people and by parse.ts: parsing what is printed gives an equal graph. docs/ir.md has the grammar.
// What a reader can infer is left out: attributes at their defaults, the locations table where no node has a line.
// Knows no particular op.

import type { Location } from "../support/source.ts";
import { printCompilation, type Compilation } from "./compilation.ts";
import type { Dim } from "./dim.ts";
import type { Annotation, Attrs, AttrValue, Graph, Input, Module, Node, Region, State } from "./graph.ts";
import type { ValueId, Weight } from "./graph.ts";
import { preparedValues, typesOf } from "./graph.ts";
import type { AttrKind } from "./op.ts";
import { showType } from "./types.ts";

export interface PrintOptions {
  /** Model lines of every node, as `loc(0:14:7-40)`, and the table of files; default true. */
  readonly locations?: boolean;
  /** A comment behind the line of a node; without line breaks. */
  readonly remark?: (node: Node) => string | undefined;
}

/** Lists longer than this are broken, one item a line. */
const lineWidth = 110;

/** Number of each source file in `loc(...)`; undefined where locations are not printed. */
type Sources = ReadonlyMap<string, number> | undefined;

export function printGraph(graph: Graph, options: PrintOptions = {}): string {
  const sources = options.locations === false ? undefined : sourcesOf([graph]);
  return [...sourceLines(sources), ...graphLines(graph, sources, options.remark), ""].join("\n");
}

/** All entry points; with a compilation, a text that it can be taken on from. */
export function printModule(module: Module, options: PrintOptions = {}, compilation?: Compilation): string {
  const sources = options.locations === false ? undefined : sourcesOf(module.graphs);
  const graphs = module.graphs.flatMap((g) => ["", ...graphLines(g, sources, options.remark)]);
  const how = compilation ? [printCompilation(compilation)] : [];
  return [`module ${nameText(module.name)}`, ...how, ...sourceLines(sources), ...graphs, ""].join("\n");
}

/** One line without location; of a body only the ops are named. What logs and messages show. */
export function printNode(node: Node): string {
  const body = node.body ? ` body {${node.body.nodes.map((n) => n.op.name).join(", ")}}` : "";
  return nodeHead(node, undefined) + body;
}

/** What a node is, with its body: equal texts mean equal nodes, but for where they came from. */
export function printNodeWhole(node: Node): string {
  return nodeLines(node, undefined, "").join("\n");
}

/** The lines that declare everything but nodes, each with the name that it is compared by. */
export function declarationLines(graph: Graph): readonly { readonly id: string; readonly text: string }[] {
  return [
    ...graph.inputs.map((x) => ({ id: `input ${x.id}`, text: `input ${inputText(x, undefined)}` })),
    ...graph.symbols.map((x) => ({ id: `dims ${x.name}`, text: `dims ${symbolText(x)}` })),
    ...graph.weights.map((x) => ({ id: `weight ${x.id}`, text: weightText(x, undefined) })),
    ...graph.states.map((x) => ({ id: `state ${x.name}`, text: stateText(x, undefined) })),
    ...graph.scopes.map((x) => ({ id: `scope ${x.path}`, text: scopeText(x, undefined) })),
    ...graph.guards.map((x, i) => ({ id: `guard ${i}`, text: guardText(x, undefined) })),
    ...graph.outputs.map((x) => ({ id: `return ${x.name}`, text: `return ${outputText(x, undefined)}` })),
  ];
}

// Names and values.

const plainName = /^\w+(?:[.-]\w+)*$/;
const plainValue = /^(?:%\w+(?:[.-]\w+)*|\$\w+(?:[.:/-]\w+)*)$/;

/** Bare where it reads back as one word, else quoted. */
export function nameText(name: string): string {
  return plainName.test(name) ? name : JSON.stringify(name);
}

export function valueText(id: ValueId): string {
  return id === "" ? "_" : plainValue.test(id) ? id : JSON.stringify(id);
}

export function isDimValue(value: AttrValue): value is Dim {
  return typeof value === "object" && !Array.isArray(value);
}

/**
 * An attribute's value. The kind says which reading needs no mark: sizes are dimensions in `dim` attributes and plain numbers are
 * marked `int(8)`; anywhere else numbers are plain and a dimension is marked `dim(B*T)`.
 */
export function attrText(value: AttrValue, kind?: AttrKind): string {
  const isSize = kind === "dim" || kind === "dims";
  if (typeof value === "number") return isSize ? `int(${numberText(value)})` : numberText(value);
  if (typeof value === "boolean") return String(value);
  if (typeof value === "string") {
    const isWord = (kind === "string" || kind === "dtype") && /^[A-Za-z_]\w*$/.test(value);
    return isWord && !numberWords.has(value) ? value : JSON.stringify(value);
  }
  if (isDimValue(value)) return isSize ? value.key : `dim(${value.key})`;
  return `[${value.map((v) => attrText(v, kind)).join(", ")}]`;
}

/** Words that stand for a number or a truth value wherever they are written. */
export const numberWords: ReadonlySet<string> = new Set(["true", "false", "inf", "nan"]);

function numberText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  return Object.is(value, -0) ? "-0" : String(value);
}

export function sameAttr(a: AttrValue | undefined, b: AttrValue | undefined): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object") return false;
  const [x, y] = [a as AttrValue, b as AttrValue];
  if (isDimValue(x) || isDimValue(y)) return isDimValue(x) && isDimValue(y) && x.key === y.key;
  if (!Array.isArray(x) || !Array.isArray(y) || x.length !== y.length) return false;
  return x.every((v, i) => sameAttr(v, y[i]));
}

// Locations.

function sourcesOf(graphs: readonly Graph[]): ReadonlyMap<string, number> {
  const sources = new Map<string, number>();
  const add = (x: { readonly spans: readonly Location[] }) => {
    for (const s of x.spans) if (!sources.has(s.file)) sources.set(s.file, sources.size);
  };
  const addNodes = (nodes: readonly Node[]) => {
    for (const n of nodes) {
      add(n);
      if (n.body) addNodes(n.body.nodes);
    }
  };
  for (const g of graphs) {
    for (const x of [...g.inputs, ...g.weights, ...g.states, ...g.scopes, ...g.outputs, ...g.guards]) add(x);
    addNodes(g.nodes);
  }
  return sources;
}

function sourceLines(sources: Sources): string[] {
  return [...(sources ?? [])].map(([file, i]) => `source ${i} ${JSON.stringify(file)}`);
}

/** ` loc(0:14:7-40, 0:20:3-22:9)`: file, line, column, and the end (its line only where it is another one). */
function locText(spans: readonly Location[], sources: Sources): string {
  if (!sources || spans.length === 0) return "";
  const one = (s: Location) => {
    const end = s.endLine === s.line ? s.endColumn : `${s.endLine}:${s.endColumn}`;
    return `${sources.get(s.file)!}:${s.line}:${s.column}-${end}`;
  };
  return ` loc(${spans.map(one).join(", ")})`;
}

// Declarations.

function graphLines(graph: Graph, sources: Sources, remark?: PrintOptions["remark"]): string[] {
  const lines = signatureLines(graph, sources);
  if (graph.symbols.length > 0) lines.push(`  dims ${graph.symbols.map(symbolText).join(", ")}`);
  for (const w of graph.weights) lines.push(`  ${weightText(w, sources)}`);
  for (const s of graph.states) lines.push(`  ${stateText(s, sources)}`);
  for (const s of graph.scopes) lines.push(`  ${scopeText(s, sources)}`);
  // A blank line between what is declared and what is computed.
  if (lines.length > 2 && graph.nodes.length > 0) lines.push("");
  const prepared = preparedValues(graph);
  for (const n of graph.nodes) {
    const [head, ...rest] = nodeLines(n, sources, "  ");
    const said = remark?.(n);
    const first = n.results.some((r) => prepared.has(r.id)) ? `  prepare ${head!.trimStart()}` : head!;
    lines.push(said === undefined ? first : `${first} // ${said}`, ...rest);
  }
  for (const g of graph.guards) lines.push(`  ${guardText(g, sources)}`);
  if (graph.nextId !== nextIdAfter(graph)) lines.push(`  next %${graph.nextId}`);
  const outputs = graph.outputs.map((o) => outputText(o, sources));
  if (outputs.length > 0) lines.push(`  return ${outputs.join(",\n         ")}`);
  lines.push("}");
  return lines;
}

function signatureLines(graph: Graph, sources: Sources): string[] {
  const types = typesOf(graph);
  const outputs = graph.outputs.map((o) => {
    const type = types.get(o.value);
    return `${nameText(o.name)}${type ? `: ${showType(type)}` : ""}`;
  });
  const inputs = graph.inputs.map((x) => inputText(x, sources));
  const head = `graph @${nameText(graph.name)}`;
  const tail = outputs.length > 0 ? ` -> (${outputs.join(", ")}) {` : " {";
  const line = `${head}(${inputs.join(", ")})${tail}`;
  if (line.length <= lineWidth) return [line];
  return [`${head}(`, `  ${inputs.join(",\n  ")}`, `)${tail}`];
}

function inputText(x: Input, sources: Sources): string {
  const name = x.id === `%${x.name}` ? "" : ` as ${nameText(x.name)}`;
  let image = "";
  if (x.preprocess) {
    const { size, cropPct, interpolation, mean, std } = x.preprocess;
    const list = (values: readonly number[]) => `[${values.map(numberText).join(", ")}]`;
    image =
      ` preprocess {size=${numberText(size)}, crop_pct=${numberText(cropPct)}, ` +
      `interpolation=${interpolation}, mean=${list(mean)}, std=${list(std)}}`;
  }
  return `${valueText(x.id)}: ${showType(x.type)}${name}${image}${locText(x.spans, sources)}`;
}

function symbolText(s: Graph["symbols"][number]): string {
  return s.kind === "bound" ? nameText(s.name) : `${nameText(s.name)} <= ${s.bound.key}`;
}

function weightText(w: Weight, sources: Sources): string {
  const key = w.id === `$${w.key}` ? "" : ` as ${nameText(w.key)}`;
  const seed = !w.seed ? "" : w.seed.kind === "signs" ? " seed signs" : ` seed integers(${w.seed.below})`;
  return `weight ${valueText(w.id)}: ${showType(w.type)}${key}${seed}${locText(w.spans, sources)}`;
}

function stateText(s: State, sources: Sources): string {
  const values = `(${valueText(s.id)} -> ${valueText(s.next)})`;
  return `state ${nameText(s.name)}: ${showType(s.type)} = ${numberText(s.initial)} ${values}${locText(s.spans, sources)}`;
}

function scopeText(s: Graph["scopes"][number], sources: Sources): string {
  const annotations = annotationsText(s.annotations);
  return `scope ${nameText(s.path)} = ${nameText(s.block)}${annotations}${locText(s.spans, sources)}`;
}

function guardText(g: Graph["guards"][number], sources: Sources): string {
  return `guard ${nameText(g.pass)} if ${valueText(g.condition)}${locText(g.spans, sources)}`;
}

function outputText(o: Graph["outputs"][number], sources: Sources): string {
  return `${nameText(o.name)} = ${valueText(o.value)}${locText(o.spans, sources)}`;
}

/** One more than the largest n of any `%n` in the graph: what `nextId` is unless printed. */
export function nextIdAfter(graph: Omit<Graph, "nextId">): number {
  let next = 0;
  const see = (values: readonly { readonly id: ValueId }[]) => {
    for (const v of values) if (/^%\d{1,15}$/.test(v.id)) next = Math.max(next, Number(v.id.slice(1)) + 1);
  };
  const seeNodes = (nodes: readonly Node[]) => {
    for (const n of nodes) {
      see(n.results);
      if (n.body) (see(n.body.params), seeNodes(n.body.nodes));
    }
  };
  see(graph.inputs);
  see(graph.states);
  seeNodes(graph.nodes);
  return next;
}

// Nodes.

function nodeLines(node: Node, sources: Sources, indent: string): string[] {
  const head = indent + nodeHead(node, sources);
  return node.body ? [head, ...bodyLines(node.body, sources, `${indent}  `)] : [head];
}

function bodyLines(body: Region, sources: Sources, indent: string): string[] {
  const inner = `${indent}  `;
  const params = body.params.map((p) => `${valueText(p.id)}: ${showType(p.type)}`);
  const line = `${indent}body (${params.join(", ")}) {`;
  const open =
    line.length <= lineWidth
      ? [line]
      : [`${indent}body (`, `${inner}${params.join(`,\n${inner}`)}`, `${indent}) {`];
  const results = body.results.map((id) => ` ${valueText(id)}`).join(",");
  return [
    ...open,
    ...body.nodes.flatMap((n) => nodeLines(n, sources, inner)),
    `${inner}yield${results}`,
    `${indent}}`,
  ];
}

function nodeHead(node: Node, sources: Sources): string {
  const results = node.results.map((r) => valueText(r.id)).join(", ");
  const inputs = node.inputs.map((x) => ` ${valueText(x)}`).join(",");
  const types = node.results.map((r) => showType(r.type)).join(", ");
  const scope = node.scope === "" ? "" : ` in ${nameText(node.scope)}`;
  return (
    `${results} = ${node.op.name}${inputs}${attrsText(node)} : ${types}${scope}` +
    annotationsText(node.annotations) +
    locText(node.spans, sources)
  );
}

function attrsText(node: Node): string {
  const shown: string[] = [];
  for (const [name, value] of Object.entries(node.attrs)) {
    const spec = Object.hasOwn(node.op.attrs, name) ? node.op.attrs[name] : undefined;
    if (!sameAttr(value, spec?.default)) shown.push(`${nameText(name)}=${attrText(value, spec?.kind)}`);
  }
  return shown.length > 0 ? ` {${shown.join(", ")}}` : "";
}

function annotationsText(annotations: readonly Annotation[]): string {
  if (annotations.length === 0) return "";
  return ` with ${annotations.map((a) => `${nameText(a.name)} ${nameText(a.call)}(${argsText(a.args)})`).join(", ")}`;
}

function argsText(args: Attrs): string {
  return Object.entries(args)
    .map(([name, value]) => `${nameText(name)}=${attrText(value)}`)
    .join(", ");
}
