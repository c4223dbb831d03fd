// The open files and those on disk behind them, analysed once for each version of a text. Knows no protocol.

import { loadFiles, type FileScope, type Resolve } from "../elaborate/files.ts";
import { defaultLimits } from "../elaborate/limits.ts";
import { Reporter } from "../elaborate/report.ts";
import { parse } from "../parser/parse.ts";
import { analyze, type Analysis } from "./analysis.ts";
import { declarationOf, indexNames, type Declaration, type NameIndex } from "./names.ts";

/** What the machine has; the command line provides it. Names are those that diagnostics show. */
export interface LspHost {
  readonly nameOf: (uri: string) => string;
  readonly uriOf: (name: string) => string;
  /** Undefined where there is no such file. */
  readonly read: (name: string) => string | undefined;
  /** Imports of a file and of those it imports. */
  readonly resolverFor: (root: string) => Resolve;
  /** Paths that the file may import. */
  readonly importable: (name: string) => readonly string[];
  /** Model files around it, for a rename that reaches them. */
  readonly neighbours: (name: string) => readonly string[];
  /** Part of the package: not to be changed. */
  readonly isFixed: (name: string) => boolean;
}

export class Workspace {
  readonly host: LspHost;
  readonly #open = new Map<string, string>();
  readonly #analyses = new Map<string, Analysis>();
  /** As it was when the text last parsed. */
  readonly #sound = new Map<string, Analysis>();

  constructor(host: LspHost) {
    this.host = host;
  }

  open(name: string, text: string): void {
    this.#open.set(name, text);
    // Another file may import this one.
    this.#analyses.clear();
  }

  close(name: string): void {
    this.#open.delete(name);
    this.#sound.delete(name);
    this.#analyses.clear();
  }

  isOpen(name: string): boolean {
    return this.#open.has(name);
  }

  /** Open files that import this one, directly or not. */
  importers(name: string): readonly string[] {
    return [...this.#open.keys()].filter((n) => n !== name && this.analysis(n)?.imports.has(name));
  }

  analysis(name: string): Analysis | undefined {
    const known = this.#analyses.get(name);
    if (known) return known;
    const text = this.#text(name);
    if (text === undefined) return undefined;
    const made = analyze(name, text, this.#resolver(name));
    this.#analyses.set(name, made);
    if (made.parsed.diagnostics.length === 0 && this.#open.has(name)) this.#sound.set(name, made);
    return made;
  }

  lastSound(name: string): Analysis | undefined {
    return this.#sound.get(name);
  }

  /** Names of a file without elaborating it. */
  scope(name: string): FileScope | undefined {
    const text = this.#text(name);
    if (text === undefined) return undefined;
    const reporter = new Reporter(1);
    return loadFiles({ name, text }, this.#resolver(name), parse, defaultLimits, reporter);
  }

  exportsOf(from: string, path: string): readonly Declaration[] {
    const full = path.endsWith(".model") ? path : `${path}.model`;
    const found = this.#resolver(from)(from, full);
    const scope = "problem" in found ? undefined : this.scope(found.name);
    if (!scope) return [];
    return [...scope.entries.values()].flatMap((e) => {
      const d = e.kind !== "broken" && e.file === scope ? declarationOf(e) : undefined;
      return d ? [d] : [];
    });
  }

  /** Names of every file that may know a declaration: where it is, the open ones, and their neighbours. */
  indexes(of: Declaration): ReadonlyMap<string, NameIndex> {
    const home = of.span.file.name;
    const names = new Set([home, ...this.#open.keys(), ...this.host.neighbours(home)]);
    const out = new Map<string, NameIndex>();
    for (const name of names) {
      const scope = this.#analyses.get(name)?.file ?? this.scope(name);
      if (scope) out.set(name, indexNames(scope));
    }
    return out;
  }

  #text(name: string): string | undefined {
    return this.#open.get(name) ?? this.host.read(name);
  }

  #resolver(root: string): Resolve {
    const onDisk = this.host.resolverFor(root);
    return (from, path) => {
      const found = onDisk(from, path);
      const edited = "problem" in found ? undefined : this.#open.get(found.name);
      return "problem" in found || edited === undefined ? found : { ...found, text: edited };
    };
  }
}
