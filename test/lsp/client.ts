// A client of the language server: the shipped command as a child process, spoken to over its protocol. Changes are sent as an editor
// sends them, in parts.

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Diagnostic, PublishDiagnosticsParams, TextEdit } from "vscode-languageserver";
import {
  createProtocolConnection,
  StreamMessageReader,
  StreamMessageWriter,
  type ProtocolConnection,
} from "vscode-languageserver/node";

export class Client {
  readonly folder: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #connection: ProtocolConnection;
  readonly #versions = new Map<string, number>();
  readonly #texts = new Map<string, string>();
  readonly #published = new Map<string, PublishDiagnosticsParams>();
  readonly #waiting: (() => void)[] = [];
  /** What the server logged as its own fault. */
  readonly faults: string[] = [];
  capabilities: Readonly<Record<string, unknown>> = {};

  constructor(cli: string, folder: string) {
    this.folder = folder;
    this.#child = spawn(process.execPath, [cli, "lsp", "--stdio"], { cwd: folder });
    this.#connection = createProtocolConnection(
      new StreamMessageReader(this.#child.stdout),
      new StreamMessageWriter(this.#child.stdin),
    );
    this.#connection.onNotification("textDocument/publishDiagnostics", (p: PublishDiagnosticsParams) => {
      this.#published.set(p.uri, p);
      this.#waiting.splice(0).forEach((go) => go());
    });
    this.#connection.onNotification("window/logMessage", (p: { message: string }) => {
      this.faults.push(p.message);
    });
    this.#connection.listen();
  }

  async start(): Promise<void> {
    const result = await this.#connection.sendRequest<{ capabilities: Record<string, unknown> }>(
      "initialize",
      {
        processId: process.pid,
        rootUri: pathToFileURL(this.folder).href,
        capabilities: {},
      },
    );
    this.capabilities = result.capabilities;
    await this.#connection.sendNotification("initialized", {});
  }

  async stop(): Promise<number | null> {
    await this.#connection.sendRequest("shutdown");
    const exit = new Promise<number | null>((done) => this.#child.once("exit", done));
    await this.#connection.sendNotification("exit");
    return exit;
  }

  get alive(): boolean {
    return this.#child.exitCode === null;
  }

  uri(name: string): string {
    return pathToFileURL(join(this.folder, name)).href;
  }

  text(name: string): string {
    return this.#texts.get(name)!;
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  async open(name: string, text: string): Promise<void> {
    this.#texts.set(name, text);
    this.#versions.set(name, 1);
    await this.#connection.sendNotification("textDocument/didOpen", {
      textDocument: { uri: this.uri(name), languageId: "tokenloom", version: 1, text },
    });
  }

  async close(name: string): Promise<void> {
    await this.#connection.sendNotification("textDocument/didClose", {
      textDocument: { uri: this.uri(name) },
    });
  }

  /** The first place of `old` becomes `text`: one incremental change. */
  async edit(name: string, old: string, text: string): Promise<void> {
    const before = this.text(name);
    const start = before.indexOf(old);
    if (start < 0) throw new Error(`${name} has no ${old}`);
    const range = { start: placeOf(before, start), end: placeOf(before, start + old.length) };
    await this.change(
      name,
      [{ range, text }],
      before.slice(0, start) + text + before.slice(start + old.length),
    );
  }

  async change(name: string, changes: readonly object[], after: string): Promise<void> {
    const version = this.#versions.get(name)! + 1;
    this.#versions.set(name, version);
    this.#texts.set(name, after);
    await this.#connection.sendNotification("textDocument/didChange", {
      textDocument: { uri: this.uri(name), version },
      contentChanges: changes,
    });
  }

  /** Diagnostics of the version that was sent last. */
  async diagnostics(name: string): Promise<readonly Diagnostic[]> {
    const uri = this.uri(name);
    for (;;) {
      const p = this.#published.get(uri);
      if (p && p.version === this.#versions.get(name)) return p.diagnostics;
      await new Promise<void>((go) => this.#waiting.push(go));
    }
  }

  /** A request at the place marked by `^`, or else the first `|`, in a piece of text that the file has. */
  async at<T>(method: string, name: string, marked: string, more: object = {}): Promise<T> {
    const mark = marked.includes("^") ? "^" : "|";
    const offset = this.text(name).indexOf(marked.replace(mark, ""));
    if (offset < 0) throw new Error(`${name} has no ${marked}`);
    const position = placeOf(this.text(name), offset + marked.indexOf(mark));
    return this.#connection.sendRequest<T>(`textDocument/${method}`, {
      textDocument: { uri: this.uri(name) },
      position,
      ...more,
    });
  }

  request<T>(method: string, name: string, more: object = {}): Promise<T> {
    return this.#connection.sendRequest<T>(`textDocument/${method}`, {
      textDocument: { uri: this.uri(name) },
      ...more,
    });
  }
}

export function placeOf(text: string, offset: number): { line: number; character: number } {
  const before = text.slice(0, offset);
  const line = before.split("\n").length - 1;
  return { line, character: offset - (before.lastIndexOf("\n") + 1) };
}

/** The text with edits carried out, last place first. */
export function applied(text: string, edits: readonly TextEdit[]): string {
  const starts = [0];
  for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) starts.push(i + 1);
  const offset = (p: { line: number; character: number }): number =>
    (starts[p.line] ?? text.length) + p.character;
  const sorted = [...edits].sort((a, b) => offset(b.range.start) - offset(a.range.start));
  return sorted.reduce(
    (t, e) => t.slice(0, offset(e.range.start)) + e.newText + t.slice(offset(e.range.end)),
    text,
  );
}
