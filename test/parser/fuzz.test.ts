// Random input, from fixed seeds: the parser never throws, and the formatter keeps meaning and comments.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { format } from "../../src/parser/format.ts";
import { limits, parse } from "../../src/parser/parse.ts";
import { mutate, random, randomFile, spell, tokenSoup } from "./generate.ts";
import { meaning } from "./meaning.ts";

const sample = readFileSync(new URL("poolformer.model", import.meta.url), "utf8");

/** Checks everything that holds for any text; true when it had no error. */
function check(text: string): boolean {
  const { ast, file, diagnostics } = parse(text);
  expect(diagnostics.length).toBeLessThanOrEqual(limits.diagnostics);
  for (const { span } of diagnostics) {
    expect(span!.start).toBeGreaterThanOrEqual(0);
    expect(span!.end).toBeGreaterThanOrEqual(span!.start);
    expect(span!.end).toBeLessThanOrEqual(text.length);
  }
  if (diagnostics.length > 0) return false;
  const once = format(ast, file);
  const again = parse(once);
  expect(again.diagnostics, once).toEqual([]);
  expect(meaning(again.ast)).toEqual(meaning(ast));
  expect(again.ast.comments.map((c) => c.text).sort()).toEqual(ast.comments.map((c) => c.text).sort());
  expect(format(again.ast, again.file)).toBe(once);
  return true;
}

test("valid files with comments anywhere", () => {
  for (let seed = 0; seed < 1000; seed++) {
    const next = random(seed);
    const text = spell(next, randomFile(next), seed % 2 === 0);
    expect(check(text), text).toBe(true);
  }
}, 120_000);

test("mutated files", () => {
  let valid = 0;
  for (let seed = 0; seed < 1200; seed++) {
    const next = random(10_000 + seed);
    const base = seed % 4 === 0 ? sample : spell(next, randomFile(next), true);
    if (check(mutate(next, base))) valid++;
  }
  expect(valid).toBeGreaterThan(50);
}, 120_000);

test("token soup", () => {
  for (let seed = 0; seed < 800; seed++) check(tokenSoup(random(20_000 + seed)));
}, 120_000);
