// Completion. What is asked for follows from the tokens before the cursor, so it works in files that do not parse; what can be offered
// comes from the names in reach, the ops, and the weights of the model as it was last understood.

import { annotationNames } from "../elaborate/labels.ts";
import { builtins } from "../elaborate/builtins.ts";
import { ruleForms } from "../elaborate/checkpoint-map.ts";
import { givenAttributes } from "../ir/op.ts";
import { showType } from "../ir/types.ts";
import { allOps, lookupOp } from "../ops/index.ts";
import { wordsOf } from "../parser/words.ts";
import type * as ast from "../parser/ast.ts";
import type { Analysis } from "./analysis.ts";
import { blockText, opText } from "./describe.ts";
import { blockOfDeclaration, namesAt, type Declaration } from "./names.ts";

export interface Completion {
  readonly label: string;
  readonly kind:
    "block" | "op" | "function" | "variable" | "parameter" | "keyword" | "weight" | "file" | "word";
  readonly detail?: string;
  readonly doc?: string;
  /** Where it is not the label. */
  readonly insert?: string;
}

export interface CompletionHost {
  /** Paths that can be imported: `std/layers`, `./blocks`. */
  readonly importable: () => readonly string[];
  /** Names at the top of such a file. */
  readonly exportsOf: (path: string) => readonly Declaration[];
}

/** `known`: the file when it last parsed, for names that a broken text lacks. */
export function completeAt(
  a: Analysis,
  offset: number,
  host: CompletionHost,
  known: Analysis | undefined,
): readonly Completion[] {
  const before = a.file.source.text.slice(0, offset);
  const importing = /\bimport\s*\{[^}"]*$/.exec(before);
  if (importing) return importedNames(a, offset, host);
  const string = /"[^"\n]*$/.exec(lineOf(before)) && (lineOf(before).match(/"/g) ?? []).length % 2 === 1;
  if (string) return insideString(before, [a, ...(known ? [known] : [])], host);
  if (/\/\/[^\n]*$/.test(before)) return [];
  const names = new Map([...(known ? namesAt(known.names, offset) : []), ...namesAt(a.names, offset)]);
  const tokens = wordsOf(before);
  // The word that is being typed is not there yet.
  if (/[\w$]$/.test(before)) tokens.pop();
  const last = tokens.at(-1) ?? "";
  if (last === "@") return [];
  if (last === "of") return ofKind(names, "model");
  if (last === "extends") return ofKind(names, "config");
  if (last === "with") return Object.keys(annotationNames).map((label) => ({ label, kind: "keyword" }));
  const call = openCall(tokens);
  if (call && last === "=") {
    const words = choicesOf(call, names);
    if (words.length > 0) return words;
  }
  const parameters = call && (last === "(" || last === ",") ? parametersOf(call, names) : [];
  if (last === "|>") return callables(names);
  if (tokens.length === 0 || (last === "}" && !insideBlock(tokens)))
    return ["import", "const", "block", "model", "default", "config", "checkpoint"].map(keyword);
  const inCheckpoint = /\bcheckpoint\b[^{}]*\{[^}]*$/.test(before);
  if (inCheckpoint)
    return Object.entries(ruleForms).map(([label, r]) => ({ label, kind: "keyword", detail: r.form }));
  return [...parameters, ...values(names), ...(call ? [] : statementWords.map(keyword))];
}

const statementWords = [
  "return",
  "if",
  "else",
  "for",
  "repeat",
  "match",
  "weight",
  "state",
  "output",
  "assert",
  "with",
];
const keyword = (label: string): Completion => ({ label, kind: "keyword" });

function lineOf(before: string): string {
  return before.slice(before.lastIndexOf("\n") + 1);
}

function importedNames(a: Analysis, offset: number, host: CompletionHost): readonly Completion[] {
  const path = /^[^{]*?\}\s*from\s*"([^"\n]*)"/.exec(a.file.source.text.slice(offset))?.[1];
  const paths = path === undefined ? host.importable() : [path];
  return paths.flatMap((p) =>
    host
      .exportsOf(p)
      .map((d) => ({ ...ofDeclaration(d), ...(path === undefined && { doc: `from "${p}"` }) })),
  );
}

function insideString(
  before: string,
  from: readonly Analysis[],
  host: CompletionHost,
): readonly Completion[] {
  if (/\bfrom\s*"[^"]*$/.test(before)) return host.importable().map((label) => ({ label, kind: "file" }));
  const model = /\bcheckpoint\s+\w+\s+of\s+(\w+)[^{}]*\{[^]*$/.exec(
    before.slice(before.lastIndexOf("checkpoint")),
  )?.[1];
  if (model === undefined) return [];
  const graph = from.flatMap((x) => x.graphs).find((g) => g.name === model);
  return (graph?.weights ?? []).map((w) => ({ label: w.key, kind: "weight", detail: showType(w.type) }));
}

interface OpenCall {
  readonly callee: string;
  /** Words in front of `=` so far. */
  readonly given: readonly string[];
  /** The one that is being given, behind its `=`. */
  readonly current: string | undefined;
}

/** The innermost call whose bracket is still open. */
function openCall(tokens: readonly string[]): OpenCall | undefined {
  const open: { callee: string | undefined; given: string[] }[] = [];
  tokens.forEach((t, i) => {
    const previous = tokens[i - 1] ?? "";
    if (t === "(" || t === "[" || t === "{")
      open.push({ callee: t === "(" && /^[A-Za-z_]\w*$/.test(previous) ? previous : undefined, given: [] });
    else if (t === ")" || t === "]" || t === "}") open.pop();
    else if (t === "=") open.at(-1)?.given.push(previous);
  });
  const inner = open.at(-1);
  if (inner?.callee === undefined) return undefined;
  return {
    callee: inner.callee,
    given: inner.given,
    current: tokens.at(-1) === "=" ? inner.given.at(-1) : undefined,
  };
}

function insideBlock(tokens: readonly string[]): boolean {
  let depth = 0;
  for (const t of tokens)
    if (t === "{") depth++;
    else if (t === "}") depth--;
  return depth > 0;
}

function blockNamed(name: string, names: ReadonlyMap<string, Declaration>): ast.Block | undefined {
  const d = names.get(name);
  return d && blockOfDeclaration(d);
}

function parametersOf(call: OpenCall, names: ReadonlyMap<string, Declaration>): readonly Completion[] {
  const free = (name: string): boolean => !call.given.includes(name);
  const block = blockNamed(call.callee, names);
  if (block)
    return [
      ...block.params.map((p) => ({ name: p.name.text, detail: textOf(p) })),
      ...block.inputs.filter((x) => x.optional).map((x) => ({ name: x.name.text, detail: textOf(x) })),
    ]
      .filter((p) => free(p.name))
      .map((p) => ({ label: p.name, kind: "parameter", detail: p.detail, insert: `${p.name} = ` }));
  const op = names.has(call.callee) ? undefined : lookupOp(call.callee);
  if (!op || op.inLanguage === false) return [];
  return [
    ...givenAttributes(op).map(([name, a]) => ({
      name,
      detail: a.choices?.join(" | ") ?? a.kind,
      doc: a.doc,
    })),
    ...op.inputs
      .filter((i) => i.weight)
      .map((i) => ({ name: i.name, detail: "a weight, or none", doc: i.doc })),
  ]
    .filter((p) => free(p.name))
    .map((p) => ({ label: p.name, kind: "parameter", detail: p.detail, doc: p.doc, insert: `${p.name} = ` }));
}

/** Words of an enumeration, or of an op's choice. */
function choicesOf(call: OpenCall, names: ReadonlyMap<string, Declaration>): readonly Completion[] {
  if (call.current === undefined) return [];
  const param = blockNamed(call.callee, names)?.params.find((p) => p.name.text === call.current);
  const op = param || names.has(call.callee) ? undefined : lookupOp(call.callee);
  const words =
    param?.type.kind === "enum" ? param.type.choices.map((c) => c.text) : op?.attrs[call.current]?.choices;
  return (words ?? []).map((label) => ({ label, kind: "word" }));
}

function textOf(x: { readonly span: ast.Name["span"] }): string {
  return x.span.file.text.slice(x.span.start, x.span.end);
}

function ofKind(names: ReadonlyMap<string, Declaration>, kind: Declaration["kind"]): readonly Completion[] {
  return [...names.values()].filter((d) => d.kind === kind).map(ofDeclaration);
}

function ofDeclaration(d: Declaration): Completion {
  const block = blockOfDeclaration(d);
  if (block) return { label: d.name, kind: "block", detail: blockText(block) };
  const kind = d.kind === "weight" || d.kind === "parameter" ? d.kind : "variable";
  return { label: d.name, kind, detail: d.node && "type" in d.node ? textOf(d.node) : d.kind };
}

function isCallable(d: Declaration): boolean {
  if (blockOfDeclaration(d)) return true;
  const type = d.node && "type" in d.node && "kind" in d.node.type! ? d.node.type : undefined;
  const inner = type?.kind === "optional" ? type.of : type;
  return inner?.kind === "name" && inner.name.text === "block";
}

function callables(names: ReadonlyMap<string, Declaration>): readonly Completion[] {
  return [...[...names.values()].filter(isCallable).map(ofDeclaration), ...ops()];
}

function ops(): readonly Completion[] {
  return allOps
    .filter((op) => op.inLanguage !== false)
    .map((op) => ({ label: op.name, kind: "op", detail: opText(op), doc: op.doc }));
}

function values(names: ReadonlyMap<string, Declaration>): readonly Completion[] {
  const functions = [...builtins].map(([label, b]): Completion => ({
    label,
    kind: "function",
    detail: b.usage,
    doc: b.doc,
  }));
  const own = new Set([...names.values()].map((d) => d.name));
  return [
    ...[...names.values()].filter((d) => d.kind !== "checkpoint").map(ofDeclaration),
    ...ops(),
    ...functions.filter((f) => !own.has(f.label) && !lookupOp(f.label)),
  ];
}
