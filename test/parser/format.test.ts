// The canonical form: layout, parentheses, empty lines, comments. (That it keeps the meaning and is its own canonical
// form is checked for random files in fuzz.test.ts.)

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { format, WIDTH } from "../../src/parser/format.ts";
import { parse } from "../../src/parser/parse.ts";

function formatted(text: string): string {
  const { ast, file, diagnostics } = parse(text);
  expect(diagnostics).toEqual([]);
  const result = format(ast, file);
  const again = parse(result);
  expect(format(again.ast, again.file)).toBe(result);
  return result;
}

const head = "block A (x: f32[B]) -> f32[B] {\n";
/** Formats statements, and gives them back without the block around them. */
function statements(text: string): string {
  const result = formatted(`${head}${text}\n}`);
  expect(result.startsWith(head) && result.endsWith("\n}\n")).toBe(true);
  return result.slice(head.length, -3).replace(/^ {2}/gm, "");
}

test("the sample file", () => {
  const text = readFileSync(new URL("poolformer.model", import.meta.url), "utf8");
  const golden = readFileSync(new URL("poolformer.formatted.model", import.meta.url), "utf8");
  expect(formatted(text)).toBe(golden);
  expect(Math.max(...golden.split("\n").map((line) => line.length))).toBeLessThanOrEqual(WIDTH);
});

test.each([
  ["y=a+b*c", "y = a + b * c"],
  ["y = (((a)))", "y = a"],
  ["y = (a + b) * c - (d - e) - (f * g)", "y = (a + b) * c - (d - e) - f * g"],
  ["y = a - (b - c) + (d)", "y = a - (b - c) + d"],
  ["y = (a ** b) ** c ** (d ** e)", "y = (a ** b) ** c ** d ** e"],
  ["y = (-a) ** b + -(a ** b) + 2 ** (-a)", "y = (-a) ** b + -a ** b + 2 ** -a"],
  ["y = not (a == b) and (not c)", "y = not a == b and not c"],
  ["y = (a < b) == c", "y = (a < b) == c"],
  ["y = (x |> f()) + 1", "y = (x |> f()) + 1"],
  ["y = ((x |> f()) |> g())", "y = x |> f() |> g()"],
  ["y = (f(x) @a).w + (f(x))[0]", "y = (f(x) @a).w + f(x)[0]"],
  ["y = (if a then b else c) + 1", "y = (if a then b else c) + 1"],
  ["y = if a then b else (if c then d else e)", "y = if a then b else if c then d else e"],
  ["y=f( a,k=3, )@l [ i ] . m shared with  r t( )", "y = f(a, k = 3) @l[i].m shared with r t()"],
  ['y = "\\u{e9}\\n\\u{0}\\""', 'y = "\u00e9\\n\\u{0}\\""'],
  ["y = 1_000 + 1e-5", "y = 1_000 + 1e-5"],
  ["for (x) in ((f() @a)) { y = x }", "for x in (f() @a) { y = x }"],
  ["for i, j in f() @a { y = x }", "for (i, j) in f() @a { y = x }"],
  ["if a {\n y = b\n }", "if a { y = b }"],
  ["if a { y = b } else { y = c }", "if a {\n  y = b\n} else {\n  y = c\n}"],
  [
    "if a { y = b } else if c { } else { if d { y = e } }",
    "if a {\n  y = b\n} else if c {} else {\n  if d { y = e }\n}",
  ],
  [
    "repeat 3 as j @l with r t() { repeat 2 { y = x } }",
    "repeat 3 as j @l with r t() {\n  repeat 2 { y = x }\n}",
  ],
  ["return (a), (b)", "return a, b"],
  ["y = match a { timm=>b, -1 => c _ => d }", "y = match a {\n  timm => b,\n  -1 => c\n  _ => d\n}"],
  ["a=1 b=2\n\n\n\nc=3", "a = 1\nb = 2\n\nc = 3"],
])("%s", (text, wanted) => expect(statements(text)).toBe(wanted));

test("what is too long breaks", () => {
  const long = "a_rather_long_name_for_a_value";
  expect(statements(`y = x |> f(${long}) @first |> g(${long}) @second |> h(${long}) @third`)).toBe(
    `y = x\n  |> f(${long}) @first\n  |> g(${long}) @second\n  |> h(${long}) @third`,
  );
  expect(statements(`y = f(${long}, ${long}, ${long}, ${long}) @l with r t()`)).toBe(
    `y = f(\n${`  ${long},\n`.repeat(4)}) @l with r t()`,
  );
  expect(statements(`y = ${long} + ${long} * ${long} - ${long}`)).toBe(
    `y = ${long}\n  + ${long} * ${long}\n  - ${long}`,
  );
  expect(statements(`if ${long} { y = f(${long}, ${long}) + b }`)).toBe(
    `if ${long} {\n  y = f(${long}, ${long}) + b\n}`,
  );
  expect(statements(`y = [${long} for x in ${long} if ${long} == ${long}]`)).toBe(
    `y = [\n  ${long}\n  for x in ${long}\n  if ${long} == ${long}\n]`,
  );
});

test("items: an empty line around blocks, as written between others", () => {
  expect(
    formatted(`import{a,b as c}from"std/x"
const n:int=1


const m=2
block A(dim:int)(x:f32[B,C=dim])->(y:f32[B]){} config c of A config d of A extends c (dim=3)
checkpoint o of A{concat "a"=["b","c"]axis -1 ignore["d"]}`),
  ).toBe(`import { a, b as c } from "std/x"
const n: int = 1

const m = 2

block A(dim: int) (x: f32[B, C = dim]) -> (y: f32[B]) {}

config c of A
config d of A extends c (dim = 3)

checkpoint o of A {
  concat "a" = ["b", "c"] axis -1
  ignore "d"
}
`);
});

test("comments stay where they belong", () => {
  const text = `// head

// of the block
block A( // params
  dim: int, // the width
  // own line
  ratio: int = 4,
  // last
) (x: f32[B]) -> f32[B] { // behind the brace
  // before

  y = x // behind x
    // between
    |> f() // behind f
    |> g(
      a, // behind a
      // before b
      b,
    ) // behind all

  // before if
  if a { // behind if
    y = 1
  } // behind if's end
  z = match h {
    a => 1 // one
    // two
    b => 2
  }
  return y
  // at the end
} // behind A
// end of file
`;
  const wanted = text
    .replace("A( // params\n", "A(\n  // params\n")
    .replace("x // behind x\n    // between\n    |>", "x // behind x\n    // between\n    |>");
  expect(formatted(text)).toBe(wanted);
});

test("a comment from the middle of an expression moves before its statement", () => {
  expect(statements("y = a + // why\n  b\nz = c")).toBe("// why\ny = a + b\nz = c");
  expect(statements("y = f(a, b * // why\n c)")).toBe("y = f(\n  a,\n  // why\n  b * c,\n)");
});

test("line ends and the end of the file", () => {
  expect(formatted("const a = 1 // x\r\n\r\nconst b = 2")).toBe("const a = 1 // x\n\nconst b = 2\n");
  expect(formatted("")).toBe("");
  expect(formatted("\n\n// only\n\n\n")).toBe("// only\n");
});

test("a list as long as a file", () => {
  const text = formatted(`const a = [${"1, // c\n".repeat(20_000)}]`);
  expect(text.split("\n")).toHaveLength(20_003);
});
