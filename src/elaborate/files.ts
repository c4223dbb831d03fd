// The files of a model: the one given, and what it imports. Knows names at the top of files; evaluates nothing and reads nothing
// itself (texts come through a callback, parsing through another, so this layer knows neither folders nor the grammar).

import type * as ast from "../parser/ast.ts";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import type { SourceFile, Span } from "../support/source.ts";
import type { Limits } from "./limits.ts";
import type { Reporter } from "./report.ts";
import { suggestion } from "./suggest.ts";
import type { Value } from "./value.ts";

export interface SourceText {
  /** The name shown to the reader; two imports with the same name are the same file. */
  readonly name: string;
  readonly text: string;
}

/** `path` ends in `.model`, and is `std/...` or relative to the folder of `from`; it never leaves the folder of the first file. */
export type Resolve = (from: string, path: string) => SourceText | { readonly problem: string };

/** `parse` of src/parser. */
export type Parse = (
  text: string,
  name: string,
) => { readonly file: SourceFile; readonly ast: ast.File; readonly diagnostics: readonly Diagnostic[] };

export type FileEntry =
  | { readonly kind: "const"; readonly item: ast.Const; readonly file: FileScope }
  | { readonly kind: "block"; readonly item: ast.Block; readonly file: FileScope }
  | { readonly kind: "config"; readonly item: ast.Config; readonly file: FileScope }
  /** An import that failed; its error has been reported. */
  | { readonly kind: "broken" };

/** What the names at the top of a file stand for. */
export interface FileScope {
  readonly source: SourceFile;
  readonly ast: ast.File;
  /** Its own and imported ones. */
  readonly entries: Map<string, FileEntry>;
  readonly checkpoints: readonly ast.Checkpoint[];
  /** Constants evaluated so far; `busy` while one is being evaluated. */
  readonly constants: Map<ast.Const, Value | "busy">;
}

interface Loading {
  readonly resolve: Resolve;
  readonly parse: Parse;
  readonly limits: Limits;
  readonly report: Reporter;
  readonly root: string;
  readonly loaded: Map<string, FileScope>;
  /** Names of the files being loaded, from the first one inwards. */
  readonly stack: string[];
}

export function loadFiles(
  root: SourceText,
  resolve: Resolve,
  parse: Parse,
  limits: Limits,
  report: Reporter,
): FileScope {
  const loaded = new Map<string, FileScope>();
  return load({ resolve, parse, limits, report, root: folderOf(root.name), loaded, stack: [] }, root);
}

function load(l: Loading, source: SourceText): FileScope {
  const { file, ast: tree, diagnostics } = l.parse(source.text, source.name);
  for (const d of diagnostics) l.report.add(d);
  const scope: FileScope = {
    source: file,
    ast: tree,
    entries: new Map(),
    checkpoints: tree.items.filter((x) => x.kind === "checkpoint"),
    constants: new Map(),
  };
  l.loaded.set(source.name, scope);
  l.stack.push(source.name);
  const places = new Map<string, Span>();
  for (const item of tree.items) {
    if (item.kind === "import") addImport(l, scope, item, places);
    else if (item.kind !== "checkpoint" && !isOtherModelsConfig(scope, item))
      declare(l, scope, item.name, { kind: item.kind, item, file: scope } as FileEntry, places);
  }
  reportTwiceNamed(l, scope);
  l.stack.pop();
  return scope;
}

function declare(
  l: Loading,
  scope: FileScope,
  name: ast.Name,
  entry: FileEntry,
  places: Map<string, Span>,
): void {
  const first = places.get(name.text);
  if (first) {
    l.report.error("duplicate-name", `${name.text} is declared twice in this file`, {
      span: name.span,
      notes: [{ message: "the first one is here", span: first }],
    });
    return;
  }
  places.set(name.text, name.span);
  scope.entries.set(name.text, entry);
}

/** Two models may each have a configuration `tiny`; the name alone then stands for the first. */
function isOtherModelsConfig(scope: FileScope, item: ast.Item): boolean {
  const old = item.kind === "config" ? scope.entries.get(item.name.text) : undefined;
  return item.kind === "config" && old?.kind === "config" && old.item.model.text !== item.model.text;
}

function reportTwiceNamed(l: Loading, scope: FileScope): void {
  const first = new Map<string, Span>();
  for (const c of scope.checkpoints) {
    const key = `${c.name.text} of ${c.model.text}`;
    const old = first.get(key);
    if (old)
      l.report.error("duplicate-name", `checkpoint ${key} is declared twice`, {
        span: c.name.span,
        notes: [{ message: "the first one is here", span: old }],
      });
    else first.set(key, c.name.span);
  }
}

function addImport(l: Loading, scope: FileScope, item: ast.Import, places: Map<string, Span>): void {
  const from = importedScope(l, scope, item);
  for (const { name, as } of item.names) {
    const entry = from?.entries.get(name.text);
    if (from && !entry)
      l.report.error("unknown-import", `${item.from.text} declares no ${name.text}`, {
        span: name.span,
        help: suggestion(name.text, from.entries.keys(), "it declares"),
      });
    declare(l, scope, as ?? name, entry ?? { kind: "broken" }, places);
  }
}

function importedScope(l: Loading, scope: FileScope, item: ast.Import): FileScope | undefined {
  const written = item.from.text;
  const fail = (code: string, message: string, help?: string): undefined => {
    l.report.error(code, message, { span: item.from.span, help });
    return undefined;
  };
  const problem = pathProblem(written, scope.source.name, l.root);
  if (problem)
    return fail("import-path", problem, 'write a path such as "./blocks.model" or "std/metaformer"');
  const path = written.endsWith(".model") ? written : `${written}.model`;
  if (l.stack.length >= l.limits.importDepth)
    return fail("import-too-deep", `imports are more than ${l.limits.importDepth} files deep`);
  const source = l.resolve(scope.source.name, path);
  if ("problem" in source) return fail("import-not-found", `cannot import ${written}: ${source.problem}`);
  if (l.stack.includes(source.name)) {
    const cycle = [...l.stack.slice(l.stack.indexOf(source.name)), source.name].join(" -> ");
    return fail("import-cycle", `${written} imports this file again`, `the files are ${cycle}`);
  }
  const old = l.loaded.get(source.name);
  if (old) return old;
  if (l.loaded.size >= l.limits.files)
    return fail("too-many-files", `more than ${l.limits.files} files are imported`);
  return load(l, source);
}

/** Why a path may not be imported, decided from its text alone. */
function pathProblem(path: string, from: string, root: string): string | undefined {
  if (path === "") return "the path of an import is empty";
  if (path.length > 500) return "the path of an import is too long";
  if (/[\\:*?"<>|\u0000-\u001f]/.test(path))
    return "the path of an import holds a character that no path here may hold";
  if (path.startsWith("/")) return "the path of an import must be relative";
  if (path.startsWith("std/") || from.startsWith("std/"))
    return path.split("/").includes("..") ? "an import from std may not hold `..`" : undefined;
  if (!isInside(joinPath(folderOf(from), path), root)) return `${path} leads out of the folder of the model`;
  return undefined;
}

function folderOf(name: string): string {
  const normal = name.replaceAll("\\", "/");
  return normal.includes("/") ? normal.slice(0, normal.lastIndexOf("/") + 1) : "";
}

/** `a/b/` and `../c` give `a/c`; leading `..` stay. */
function joinPath(folder: string, path: string): string {
  const out: string[] = [];
  for (const part of `${folder}${path}`.split("/")) {
    if (part === "." || (part === "" && out.length > 0)) continue;
    if (part === ".." && out.length > 0 && out.at(-1) !== "..") out.pop();
    else out.push(part);
  }
  return out.join("/");
}

function isInside(path: string, root: string): boolean {
  const folder = joinPath(root, "");
  if (folder === "" || folder === ".") return !path.startsWith("..") && !path.startsWith("/");
  return path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

/** For a message where no file is at fault. */
export function noModel(message: string, help?: string): Diagnostic {
  return error("no-model", message, { help });
}
