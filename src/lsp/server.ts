// The language server: the protocol on one side, a Workspace on the other. Every request is answered, whatever a file holds: a fault of
// ours is logged and answered with nothing.

import {
  CompletionItemKind,
  DiagnosticSeverity,
  InlayHintKind,
  MarkupKind,
  ResponseError,
  SymbolKind,
  TextDocuments,
  TextDocumentSyncKind,
  type CompletionItem,
  type Connection,
  type Diagnostic as LspDiagnostic,
  type DocumentSymbol,
  type InitializeResult,
  type Location as LspLocation,
  type Range,
  type TextEdit,
} from "vscode-languageserver";
import { TextDocument } from "vscode-languageserver-textdocument";
import { format } from "../parser/format.ts";
import type { Diagnostic } from "../support/diagnostic.ts";
import { position, type SourceFile, type Span } from "../support/source.ts";
import type { Analysis } from "./analysis.ts";
import { completeAt, type Completion } from "./complete.ts";
import { hintsOf, outlineOf, type Outline } from "./hints.ts";
import { hoverAt } from "./hover.ts";
import { occurrenceAt, type Occurrence } from "./names.ts";
import { occurrencesOf, renameEdits, renameProblem } from "./rename.ts";
import { Workspace, type LspHost } from "./workspace.ts";

/** Diagnostics wait until nothing has been typed for so long, milliseconds. */
const quiet = 120;

const capabilities: InitializeResult["capabilities"] = {
  textDocumentSync: TextDocumentSyncKind.Incremental,
  hoverProvider: true,
  definitionProvider: true,
  referencesProvider: true,
  renameProvider: { prepareProvider: true },
  documentFormattingProvider: true,
  documentSymbolProvider: true,
  inlayHintProvider: true,
  completionProvider: { triggerCharacters: ["@", ">", "(", ",", '"', "=", "/"] },
};

/** Serves until the connection ends. */
export function serve(connection: Connection, host: LspHost, version: string): void {
  new Server(connection, host, version).listen();
}

class Server {
  readonly #connection: Connection;
  readonly #documents = new TextDocuments(TextDocument);
  readonly #workspace: Workspace;
  readonly #version: string;
  readonly #waiting = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(connection: Connection, host: LspHost, version: string) {
    this.#connection = connection;
    this.#workspace = new Workspace(host);
    this.#version = version;
  }

  listen(): void {
    const c = this.#connection;
    const documents = this.#documents;
    c.onInitialize(() => ({ capabilities, serverInfo: { name: "tokenloom", version: this.#version } }));
    documents.onDidChangeContent(({ document }) => this.#changed(document));
    documents.onDidClose(({ document }) => this.#closed(document));
    c.onHover(({ textDocument, position: at }) =>
      this.#at(textDocument.uri, at, null, (a, o) => this.#hover(a, o)),
    );
    c.onDefinition(({ textDocument, position: at }) =>
      this.#at(textDocument.uri, at, null, (a, o) => this.#definition(a, o)),
    );
    c.onReferences(({ textDocument, position: at, context }) =>
      this.#at(textDocument.uri, at, [], (a, o) => this.#references(a, o, context.includeDeclaration)),
    );
    c.onPrepareRename(({ textDocument, position: at }) =>
      this.#at(textDocument.uri, at, null, (a, o) => rangeOf(this.#renamable(a, o).span)),
    );
    c.onRenameRequest(({ textDocument, position: at, newName }) =>
      this.#at(textDocument.uri, at, null, (a, o) => this.#rename(a, o, newName)),
    );
    c.onCompletion(({ textDocument, position: at }) =>
      this.#at(textDocument.uri, at, [], (a, o) => this.#complete(a, o)),
    );
    c.onDocumentFormatting(({ textDocument }) => this.#of(textDocument.uri, [], formatted));
    c.onDocumentSymbol(({ textDocument }) =>
      this.#of(textDocument.uri, [], (a) => outlineOf(a).map(symbolOf)),
    );
    c.languages.inlayHint.on(({ textDocument, range }) =>
      this.#of(textDocument.uri, [], (a) =>
        hintsOf(a, offsetOf(a.file.source, range.start), offsetOf(a.file.source, range.end)).map((h) => ({
          position: at(a.file.source, h.offset),
          label: h.text,
          kind: InlayHintKind.Type,
        })),
      ),
    );
    documents.listen(c);
    c.listen();
  }

  // ---- documents ----

  #changed(document: TextDocument): void {
    const name = this.#workspace.host.nameOf(document.uri);
    this.#workspace.open(name, document.getText());
    this.#later(document.uri);
  }

  #closed(document: TextDocument): void {
    clearTimeout(this.#waiting.get(document.uri));
    this.#waiting.delete(document.uri);
    this.#workspace.close(this.#workspace.host.nameOf(document.uri));
    void this.#connection.sendDiagnostics({ uri: document.uri, diagnostics: [] });
  }

  #later(uri: string): void {
    clearTimeout(this.#waiting.get(uri));
    this.#waiting.set(
      uri,
      setTimeout(() => this.#report(uri), quiet),
    );
  }

  /** Of the file, and of open files that import it. */
  #report(uri: string): void {
    this.#waiting.delete(uri);
    const own = this.#workspace.host.nameOf(uri);
    this.#guarded(undefined, () => {
      for (const name of [own, ...this.#workspace.importers(own)]) {
        const a = this.#workspace.analysis(name);
        const document = a && this.#documentNamed(name);
        if (!document) continue;
        const diagnostics = a.diagnostics.map((d) => this.#diagnostic(a, d));
        void this.#connection.sendDiagnostics({ uri: document.uri, version: document.version, diagnostics });
      }
    });
  }

  #documentNamed(name: string): TextDocument | undefined {
    return this.#documents.all().find((d) => this.#workspace.host.nameOf(d.uri) === name);
  }

  // ---- requests ----

  #of<T>(uri: string, otherwise: T, answer: (a: Analysis) => T): T | ResponseError {
    return this.#guarded<T>(otherwise, () => {
      const a = this.#workspace.analysis(this.#workspace.host.nameOf(uri));
      return a ? answer(a) : otherwise;
    });
  }

  #at<T>(
    uri: string,
    where: LspPosition,
    otherwise: T,
    answer: (a: Analysis, offset: number) => T,
  ): T | ResponseError {
    return this.#of(uri, otherwise, (a) => answer(a, offsetOf(a.file.source, where)));
  }

  #guarded<T>(otherwise: T, answer: () => T): T | ResponseError {
    try {
      return answer();
    } catch (e) {
      if (e instanceof Refused) return new ResponseError(refusedCode, e.message);
      this.#connection.console.error(e instanceof Error ? (e.stack ?? e.message) : String(e));
      return otherwise;
    }
  }

  #hover(a: Analysis, offset: number) {
    const found = hoverAt(a, offset, (name) => (name === a.name ? a.file : this.#workspace.scope(name)));
    return (
      (found && {
        contents: { kind: MarkupKind.Markdown, value: found.markdown },
        range: rangeOf(found.span),
      }) ??
      null
    );
  }

  #definition(a: Analysis, offset: number): LspLocation | null {
    const path = importPathAt(a, offset);
    if (path !== undefined)
      return {
        uri: this.#uri(path),
        range: { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } },
      };
    const found = occurrenceAt(a.names, offset);
    if (!found) return null;
    // Of a name that was imported under another one, what it is.
    const to =
      found.of.kind === "import" && found.of.node && "name" in found.of.node
        ? found.of.node.name.span
        : found.of.span;
    return this.#location(to);
  }

  #references(a: Analysis, offset: number, withDeclaration: boolean): LspLocation[] {
    const found = occurrenceAt(a.names, offset);
    if (!found) return [];
    return occurrencesOf(found.of, this.#workspace.indexes(found.of))
      .filter((o) => withDeclaration || !o.isDeclaration)
      .map((o) => this.#location(o.span));
  }

  #renamable(a: Analysis, offset: number): Occurrence {
    const found = occurrenceAt(a.names, offset);
    if (!found) throw new Refused("there is no name here that can be changed");
    if (this.#workspace.host.isFixed(found.of.span.file.name))
      throw new Refused(`${found.of.name} is of the standard library`);
    return found;
  }

  #rename(a: Analysis, offset: number, to: string): { changes: Record<string, TextEdit[]> } {
    const { of } = this.#renamable(a, offset);
    const indexes = this.#workspace.indexes(of);
    const problem = renameProblem(of, to, indexes);
    if (problem !== undefined) throw new Refused(problem);
    const changes: Record<string, TextEdit[]> = {};
    for (const e of renameEdits(of, to, indexes))
      (changes[this.#uri(e.span.file.name)] ??= []).push({ range: rangeOf(e.span), newText: e.text });
    return { changes };
  }

  #complete(a: Analysis, offset: number): CompletionItem[] {
    const host = {
      importable: () => this.#workspace.host.importable(a.name),
      exportsOf: (path: string) => this.#workspace.exportsOf(a.name, path),
    };
    return completeAt(a, offset, host, this.#workspace.lastSound(a.name)).map(completionItem);
  }

  // ---- positions ----

  #uri(name: string): string {
    return this.#documentNamed(name)?.uri ?? this.#workspace.host.uriOf(name);
  }

  #location(span: Span): LspLocation {
    return { uri: this.#uri(span.file.name), range: rangeOf(span) };
  }

  /** What is wrong in an imported file is shown where it is imported. */
  #diagnostic(a: Analysis, d: Diagnostic): LspDiagnostic {
    const own = d.span?.file.name === a.name;
    const where = own ? d.span! : importOf(a, d.span?.file.name);
    const text = [
      d.message,
      ...(d.label === undefined ? [] : [d.label]),
      ...(d.help === undefined ? [] : [`help: ${d.help}`]),
    ];
    const elsewhere = d.span && !own ? [{ message: d.message, span: d.span }] : [];
    const related = [...elsewhere, ...d.notes].flatMap((n) =>
      n.span ? [{ location: this.#location(n.span), message: n.message }] : [],
    );
    return {
      range: rangeOf(where),
      severity: d.severity === "error" ? DiagnosticSeverity.Error : DiagnosticSeverity.Warning,
      code: d.code,
      source: "tokenloom",
      message: (own || !d.span ? text : [`in ${d.span.file.name}: ${text[0]!}`, ...text.slice(1)]).join("\n"),
      ...(related.length > 0 && { relatedInformation: related }),
    };
  }
}

/** Said to the user, in place of an answer. */
class Refused extends Error {}

/** RequestFailed of the protocol. */
const refusedCode = -32803;

interface LspPosition {
  readonly line: number;
  readonly character: number;
}

function at(file: SourceFile, offset: number): { line: number; character: number } {
  const { line, column } = position(file, offset);
  return { line: line - 1, character: column - 1 };
}

function rangeOf(span: Span): Range {
  return { start: at(span.file, span.start), end: at(span.file, span.end) };
}

/** A place beyond a line is at its end, one beyond the file at the end of that. */
function offsetOf(file: SourceFile, where: LspPosition): number {
  const start = file.lineStarts[where.line];
  if (start === undefined) return file.text.length;
  const end = file.lineStarts[where.line + 1] ?? file.text.length + 1;
  return Math.min(start + where.character, end - 1);
}

/** The import through which a file came, else the beginning of the file. */
function importOf(a: Analysis, name: string | undefined): Span {
  const imports = a.file.ast.items.filter((x) => x.kind === "import");
  const direct = imports.find((i) =>
    i.names.some((n) => {
      const entry = a.file.entries.get((n.as ?? n.name).text);
      return entry && entry.kind !== "broken" && entry.file.source.name === name;
    }),
  );
  const found = direct ?? (name === undefined ? undefined : imports[0]);
  return found?.from.span ?? { file: a.file.source, start: 0, end: 0 };
}

/** The file that an import names, where the offset is in its path. */
function importPathAt(a: Analysis, offset: number): string | undefined {
  for (const item of a.file.ast.items) {
    if (item.kind !== "import" || offset < item.from.span.start || offset > item.from.span.end) continue;
    for (const n of item.names) {
      const entry = a.file.entries.get((n.as ?? n.name).text);
      if (entry && entry.kind !== "broken") return entry.file.source.name;
    }
  }
  return undefined;
}

function formatted(a: Analysis): TextEdit[] {
  const { parsed } = a;
  if (parsed.diagnostics.some((d) => d.severity === "error")) return [];
  const text = format(parsed.ast, parsed.file);
  if (text === parsed.file.text) return [];
  return [{ range: rangeOf({ file: parsed.file, start: 0, end: parsed.file.text.length }), newText: text }];
}

const symbolKinds: Readonly<Record<Outline["kind"], SymbolKind>> = {
  model: SymbolKind.Class,
  block: SymbolKind.Function,
  constant: SymbolKind.Constant,
  config: SymbolKind.Object,
  checkpoint: SymbolKind.Module,
  input: SymbolKind.Variable,
  parameter: SymbolKind.Property,
  weight: SymbolKind.Field,
  state: SymbolKind.Field,
};

function symbolOf(o: Outline): DocumentSymbol {
  return {
    name: o.name,
    detail: o.detail,
    kind: symbolKinds[o.kind],
    range: rangeOf(o.span),
    selectionRange: rangeOf(o.nameSpan),
    children: o.children.map(symbolOf),
  };
}

const completionKinds: Readonly<Record<Completion["kind"], CompletionItemKind>> = {
  block: CompletionItemKind.Class,
  op: CompletionItemKind.Function,
  function: CompletionItemKind.Function,
  variable: CompletionItemKind.Variable,
  parameter: CompletionItemKind.Property,
  keyword: CompletionItemKind.Keyword,
  weight: CompletionItemKind.Field,
  file: CompletionItemKind.File,
  word: CompletionItemKind.EnumMember,
};

/** What is nearest comes first: parameters of the call, then names of the file, then ops, then words of the language. */
const order: readonly Completion["kind"][] = [
  "word",
  "parameter",
  "weight",
  "variable",
  "block",
  "file",
  "op",
  "function",
  "keyword",
];

function completionItem(c: Completion): CompletionItem {
  return {
    label: c.label,
    kind: completionKinds[c.kind],
    sortText: `${order.indexOf(c.kind)}${c.label}`,
    ...(c.detail !== undefined && { detail: c.detail }),
    ...(c.doc !== undefined && { documentation: c.doc }),
    ...(c.insert !== undefined && { insertText: c.insert }),
  };
}
