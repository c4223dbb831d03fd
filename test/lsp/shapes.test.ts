// `fmt --shapes`: the file as it is, and behind each line what it computes.

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { analyze } from "../../src/lsp/analysis.ts";
import { withShapes } from "../../src/lsp/shapes.ts";
import { format } from "../../src/parser/format.ts";
import { parse } from "../../src/parser/parse.ts";
import { resolveStd } from "../models/support.ts";

const formatted = (text: string): string => {
  const { ast, file, diagnostics } = parse(text, "test.model");
  expect(diagnostics).toEqual([]);
  return format(ast, file);
};
const shapesOf = (text: string, name = "test.model"): string => withShapes(analyze(name, text, resolveStd));

describe("shapes", () => {
  it("stand behind every line that ends with a tensor, and before comments", () => {
    const text = `block Twice (x: f32[B, n]) -> f32[B, n] {
  return x + x // both
}

model m(depth: int = 2) (x: f32[B, 8], y: f32[3, 4]) -> (a: f32[B, 2], b: f32[3, 4], c: u32[B, 1]) {
  // A line of its own.
  repeat depth @layers {
    x = x |> linear(out = 8) @fc |> gelu()
  }
  ids, _ = route(x, k = 1)
  pair = [x, x]
  x = x
    |> Twice()
    |> linear(
      out = 2,
    ) @head
  return a = x,
    b = Twice(y),
    c = ids
}
`;
    expect(shapesOf(text)).toBe(`block Twice (x: f32[B, n]) -> f32[B, n] {
  return x + x // f32[B, 8] | f32[B=3, 4] // both
}

model m(depth: int = 2) (x: f32[B, 8], y: f32[3, 4]) -> (a: f32[B, 2], b: f32[3, 4], c: u32[B, 1]) {
  // A line of its own.
  repeat depth @layers {
    x = x |> linear(out = 8) @fc |> gelu() // f32[B, 8]
  }
  ids, _ = route(x, k = 1) // (experts: u32[B, 1], weights: f32[B, 1])
  pair = [x, x] // f32[B, 8]
  x = x // f32[B, 8]
    |> Twice() // f32[B, 8]
    |> linear(
      out = 2,
    ) @head // f32[B, 2]
  return a = x, // f32[B, 2]
    b = Twice(y), // f32[B=3, 4]
    c = ids // u32[B, 1]
}
`);
  });

  it.each(readdirSync("examples").filter((f) => f.endsWith(".model")))("%s reads back as it was", (f) => {
    const text = readFileSync(`examples/${f}`, "utf8");
    const shaped = shapesOf(text, `examples/${f}`);
    expect(shaped).not.toBe(text);
    const added = / \/\/ (?:\(\w+: )?[fiu](?:16|32)\[.*$/gm;
    expect(shaped.replace(added, "")).toBe(text.replace(added, ""));
    const once = formatted(shaped);
    expect(formatted(once)).toBe(once);
  });
});
