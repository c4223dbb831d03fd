// Files for tests: models in memory, std and examples from the repository.

import { existsSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { elaborate, type Elaborated, type ElaborateOptions } from "../../src/elaborate/elaborate.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { allOps, lookupOp } from "../../src/ops/index.ts";
import { parse } from "../../src/parser/parse.ts";
import type { Diagnostic } from "../../src/support/diagnostic.ts";
import { position } from "../../src/support/source.ts";

export type TestOptions = Omit<ElaborateOptions, "lookup" | "opNames"> & {
  /** Other files by name. */
  readonly files?: Readonly<Record<string, string>>;
  readonly name?: string;
};

export function elaborateText(text: string, options: TestOptions = {}): Elaborated {
  const { files = {}, name = "test.model", ...rest } = options;
  const resolve = (from: string, path: string) => {
    const at = path.startsWith("std/") ? path : posix.join(posix.dirname(from), path);
    const memory = files[at];
    if (memory !== undefined) return { name: at, text: memory };
    if (!existsSync(at)) return { problem: "there is no such file" };
    return { name: at, text: readFileSync(at, "utf8") };
  };
  const opNames = allOps.filter((op) => op.inLanguage !== false).map((op) => op.name);
  return elaborate({ root: { name, text }, resolve, parse }, { lookup: lookupOp, opNames, ...rest });
}

export function elaborateFile(path: string, options: TestOptions = {}): Elaborated {
  return elaborateText(readFileSync(path, "utf8"), { name: path, ...options });
}

/** The only graph, which must be there. */
export function graphOf(e: Elaborated): Graph {
  if (!e.module) throw new Error(e.diagnostics.map(showDiagnostic).join("\n") || "no module");
  return e.module.graphs[0]!;
}

export function showDiagnostic(d: Diagnostic): string {
  const at = d.span ? position(d.span.file, d.span.start) : undefined;
  const where = d.span && at ? `${d.span.file.name}:${at.line}:${at.column}` : "-";
  const notes = d.notes.map((n) => `\n    note: ${n.message}`).join("");
  return `${where} ${d.code}: ${d.message} [${d.label ?? ""}]${notes}${d.help ? `\n    help: ${d.help}` : ""}`;
}

/** A model around statements that use `x: f32[B, 4, 8, 8]` and return. */
export function modelOf(body: string, signature = "(x: f32[B, 4, H, W]) -> f32[B, 4, H, W]"): string {
  return `model test() ${signature} {\n${body}\n}\n`;
}
