// The VS Code extension: its files exist, its grammar knows the words of the language, its script runs as it is.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";
import { expect, it } from "vitest";
import { tokenTypes } from "../../src/parser/tokens.ts";

const folder = "editors/vscode";
const json = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"));

interface Pattern {
  readonly match?: string;
  readonly begin?: string;
  readonly end?: string;
  readonly include?: string;
  readonly patterns?: readonly Pattern[];
}

interface Grammar extends Pattern {
  readonly scopeName: string;
  readonly repository: Readonly<Record<string, Pattern>>;
}

interface Manifest {
  readonly main: string;
  readonly contributes: {
    readonly languages: readonly {
      readonly id: string;
      readonly configuration: string;
      readonly extensions: readonly string[];
    }[];
    readonly grammars: readonly { readonly path: string; readonly scopeName: string }[];
  };
}

const grammar = json("syntaxes/tokenloom.tmLanguage.json") as Grammar;

function patternsIn(p: Pattern): readonly string[] {
  const own = [p.match, p.begin, p.end].filter((x) => x !== undefined);
  return [...own, ...(p.patterns ?? []).flatMap(patternsIn)];
}

it("names files that are there", () => {
  const { main, contributes } = json("package.json") as Manifest;
  const [language] = contributes.languages;
  const [colours] = contributes.grammars;
  for (const file of [main, language!.configuration, colours!.path])
    expect(existsSync(join(folder, file))).toBe(true);
  expect(language!.extensions).toEqual([".model"]);
  expect(colours!.scopeName).toBe(grammar.scopeName);
  expect(json(language!.configuration)).toHaveProperty("comments.lineComment", "//");
  expect(() => new Script(readFileSync(join(folder, main), "utf8"))).not.toThrow();
});

it("has a grammar whose parts exist and whose patterns can be read", () => {
  for (const p of grammar.patterns!) expect(Object.keys(grammar.repository)).toContain(p.include!.slice(1));
  const all = Object.values(grammar.repository).flatMap(patternsIn);
  expect(all.length).toBeGreaterThan(12);
  for (const text of all) expect(() => new RegExp(text)).not.toThrow();
});

it("colours every word of the language", () => {
  const all = Object.entries(grammar.repository)
    .filter(([name]) => name !== "comment" && name !== "string")
    .flatMap(([, p]) => patternsIn(p))
    .map((text) => new RegExp(text));
  const words = tokenTypes.map((t) => /^`([a-z]+)`$/.exec(t.LABEL ?? "")?.[1]).filter((w) => w !== undefined);
  expect(words.length).toBeGreaterThan(25);
  const declarations = ["default model a", "config a of b extends c", "checkpoint a of b"];
  // Words that begin a declaration are coloured together with the name behind them.
  const said = (w: string): string => declarations.find((d) => d.split(" ").includes(w)) ?? `${w} a`;
  const plain = words.filter((w) => !all.some((r) => r.exec(said(w))?.[0].includes(w)));
  expect(plain).toEqual([]);
});

interface Started {
  readonly command: string;
  readonly args: readonly string[];
  readonly options: { readonly cwd?: string };
}

it("starts the command of the settings for its language, in the folder that is open, and stops it", async () => {
  const { contributes } = json("package.json") as Manifest & {
    readonly contributes: {
      readonly configuration: {
        readonly properties: Readonly<Record<string, { readonly default: readonly string[] }>>;
      };
    };
  };
  const said: unknown[] = [];
  class LanguageClient {
    constructor(id: string, _name: string, server: { readonly run: Started }, options: object) {
      said.push(id, server.run, options);
    }
    start = (): unknown => Promise.resolve(said.push("start"));
    stop = (): unknown => Promise.resolve(said.push("stop"));
  }
  const settings = contributes.configuration.properties;
  const workspace = {
    getConfiguration: (section: string) => ({ get: (key: string) => settings[`${section}.${key}`]?.default }),
    workspaceFolders: [{ uri: { fsPath: "/models" } }],
  };
  const modules: Readonly<Record<string, unknown>> = {
    vscode: { workspace },
    "vscode-languageclient/node": { LanguageClient },
  };
  const exports: { activate?: () => Promise<void>; deactivate?: () => unknown } = {};
  const run = new Script(`(function (require, exports) { ${readFileSync(join(folder, "extension.js"), "utf8")} })`)
    .runInThisContext() as (require: (name: string) => unknown, exports: object) => void; // prettier-ignore
  run((name) => modules[name], exports);
  await exports.activate!();
  expect(said).toEqual([
    "tokenloom",
    { command: "tokenloom", args: ["lsp", "--stdio"], options: { cwd: "/models" } },
    { documentSelector: [{ language: contributes.languages[0]!.id }] },
    "start",
  ]);
  await exports.deactivate!();
  expect(said.at(-1)).toBe("stop");
});
