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
    readonly languages: readonly { readonly configuration: string; readonly extensions: readonly string[] }[];
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
