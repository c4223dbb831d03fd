// What is known of one open file: its names, its diagnostics, and what every expression came to, from the same front end that compiles
// it. Never throws on what a user wrote.

import { elaborate } from "../elaborate/elaborate.ts";
import type { Observation } from "../elaborate/context.ts";
import type { FileScope, Resolve } from "../elaborate/files.ts";
import type { Graph } from "../ir/graph.ts";
import { allOps, lookupOp } from "../ops/index.ts";
import type * as ast from "../parser/ast.ts";
import { parse, type ParseResult } from "../parser/parse.ts";
import type { Diagnostic } from "../support/diagnostic.ts";
import { indexNames, type NameIndex } from "./names.ts";

export interface Analysis {
  readonly name: string;
  readonly file: FileScope;
  readonly parsed: ParseResult;
  readonly names: NameIndex;
  /** Names of the files it imports, directly or not. */
  readonly imports: ReadonlySet<string>;
  /** Of this file and of those it imports; each once. */
  readonly diagnostics: readonly Diagnostic[];
  /** Every evaluation of an expression of this file, in order; the first few of each. */
  readonly seen: ReadonlyMap<ast.Expr, readonly Observation[]>;
  /** One for each model that could be elaborated. */
  readonly graphs: readonly Graph[];
}

/** Of one expression, in a block that is called many times. */
const mostSeen = 200;

/** An editor must answer while one types: elaboration stops where compiling would go on. */
const limits = { work: 2_000_000 };

const opNames = allOps.filter((op) => op.inLanguage !== false).map((op) => op.name);

/** Codes that are about a choice on the command line, and not about the file. */
const notHere: readonly string[] = ["no-model", "which-model"];

export function analyze(name: string, text: string, resolve: Resolve): Analysis {
  const seen = new Map<ast.Expr, Observation[]>();
  const observe = (e: ast.Expr, o: Observation): void => {
    if (e.span.file.name !== name) return;
    const list = seen.get(e);
    if (!list) seen.set(e, [o]);
    else if (list.length < mostSeen) list.push(o);
  };
  // One text, one tree: what was observed is found by the nodes of the tree that the names come from.
  const trees = new Map<string, ParseResult>();
  const parseOnce = (source: string, as: string): ParseResult => {
    const known = as.startsWith("--") ? undefined : trees.get(as);
    if (known) return known;
    const made = parse(source, as);
    trees.set(as, made);
    return made;
  };
  const files = { root: { name, text }, resolve, parse: parseOnce };
  const go = (choice: { readonly model?: string; readonly config?: string }) =>
    elaborate(files, { lookup: lookupOp, opNames, observe, limits, ...choice });
  const tree = parseOnce(text, name).ast;
  const models = tree.items.filter((x) => x.kind === "block").filter((b) => b.model);
  const choices = models.length > 0 ? models.map((b) => choiceFor(tree, b)) : [{}];
  const elaborated = choices.map(go);
  const all = elaborated.flatMap((e) => e.diagnostics);
  const { file } = elaborated[0]!;
  return {
    name,
    file,
    parsed: trees.get(name)!,
    imports: new Set([...trees.keys()].filter((n) => n !== name)),
    names: indexNames(file),
    diagnostics: unique(all.filter((d) => !notHere.includes(d.code))),
    seen,
    graphs: elaborated.flatMap((e) => e.module?.graphs ?? []),
  };
}

/** A model whose parameters have no defaults is looked at in its first configuration. */
function choiceFor(file: ast.File, model: ast.Block): { readonly model: string; readonly config?: string } {
  const config = file.items.find((x) => x.kind === "config" && x.model.text === model.name.text);
  const open = model.params.some((p) => !p.default);
  return {
    model: model.name.text,
    ...(open && config?.kind === "config" && { config: config.name.text }),
  };
}

function unique(list: readonly Diagnostic[]): readonly Diagnostic[] {
  const known = new Map<string, Diagnostic>();
  for (const d of list) {
    const at = d.span ? `${d.span.file.name}:${d.span.start}-${d.span.end}` : "";
    const key = `${d.code} ${at} ${d.message}`;
    if (!known.has(key)) known.set(key, d);
  }
  return [...known.values()];
}

/** The smallest expression of the tree around an offset; calls of a pipeline by their own part. */
export function expressionAt(a: Analysis, offset: number): ast.Expr | undefined {
  let best: ast.Expr | undefined;
  let width = Infinity;
  for (const e of a.seen.keys()) {
    const start = e.kind === "call" ? e.callee.span.start : e.span.start;
    if (start > offset || offset > e.span.end || e.span.end - start >= width) continue;
    best = e;
    width = e.span.end - start;
  }
  return best;
}
