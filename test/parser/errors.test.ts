// Syntax errors: code, place and wording; several in one file; what is left of the tree; limits.

import { expect, test } from "vitest";
import { position } from "../../src/support/source.ts";
import { limits, parse } from "../../src/parser/parse.ts";

/** `line:column text` for each error, text being what the span covers. */
function places(text: string): string[] {
  return parse(text).diagnostics.map(({ code, span }) => {
    const { line, column } = position(span!.file, span!.start);
    return `${line}:${column} ${code} ${text.slice(span!.start, span!.end)}`.trimEnd();
  });
}

const inBlock = (text: string) => `block A (x: f32[B]) -> f32[B] {\n${text}\n}`;
const first = (text: string) => parse(text).diagnostics[0]!;

test("several errors in one file, each at its place, and the rest of the tree", () => {
  const text = `import { a b } from "std/x"
modle foo (x: f32[B]) -> f32[B] { return x }
const n = 1 +
block A(dim: int (x: f32[B]) -> f32[B] {
  y = conv2d(x, out = dim ]
  z = foo(a b)
  w = foo(a,
  q = bar(1 < 2 < 3) |> f
  foo(x)
  retrun x
  s = "abc
  for in in xs { x = 1 }
  return q
}
config s of A (x = 3)
`;
  expect(places(text)).toEqual([
    "1:12 syntax b",
    "2:1 syntax modle",
    "4:1 syntax block",
    "4:18 syntax (",
    "5:27 syntax ]",
    "6:13 syntax b",
    "8:17 comparison-chain <",
    "8:25 pipe-needs-call f",
    "9:3 syntax foo",
    '11:7 unterminated-string "abc',
    "12:7 reserved-word in",
  ]);
  expect(parse(text).ast.items.at(-1)).toMatchObject({ kind: "config", args: [{ name: { text: "x" } }] });
});

test.each([
  ["y = f(a, (b)", "expected `)` to close the arguments of `f`, found `}`"],
  ["y = f(a b)", "expected `)` to close the arguments of `f`, found `b`"],
  ["y = [1, 2", "expected `]` to close the list, found `}`"],
  ["y = x[1", "expected `]` to close the index of `x`, found `}`"],
  ["y = ", "expected an expression, found `}`"],
  ["y = a +", "expected an expression, found `}`"],
  ["if a = b { y = 1 }", "expected `{`, found `=`"],
  ["f(x)", "a call alone is no statement"],
  ["in = 3", "expected a statement or `}`, found `in`"],
  ["a, in = f(x)", "`in` is a word of the language and cannot be a name"],
  ["y = x |> f", "`|>` needs a call on its right"],
  ["y = x |> f() + 1", "`|>` needs a call on its right"],
  ["y = x |> (f())", "`|>` needs a call on its right"],
  ["y = a == b == c", "comparisons cannot be chained"],
  ["y = a + not b", "`not` binds looser than `+`"],
  ["y = if a then if b then c else d else e", "expected an expression, found `if`"],
  ["y = a; z = b", "`;` is no part of the language"],
  ["y = a \u200b", "the character U+200B is no part of the language"],
])("%s", (text, message) => expect(first(inBlock(text)).message).toBe(message));

test.each([
  ["y = 1__0", "bad-number", "write `1_0`"],
  ["y = 0x1F", "bad-number", "write the number in base ten"],
  ["y = .5", "bad-number", "write `0.5`"],
  ["y = 1.", "bad-number", "write `1.0`"],
  ["y = 1e999", "bad-number", undefined],
  ["y = 9007199254740993", "bad-number", "write it as a float, with `.0` or an exponent"],
  ["y = f(x) @blocks.0", "bad-number", "an index is written in brackets: `[0]`"],
  ["y = 3px", "bad-number", "a name starts with a letter or `_`"],
  ['y = "a\\q"', "bad-escape", 'the escapes are `\\n`, `\\t`, `\\"`, `\\\\` and `\\u{...}`'],
  ['y = "\\u{110000}"', "bad-escape", "write it like `\\u{e9}`"],
  ["y = 'a'", "bad-character", 'a string is written "with double quotes"'],
  ["y = a && b", "bad-character", "write `and`"],
  ["y = !a", "bad-character", "write `not`"],
  ["# note", "bad-character", "a comment starts with `//`"],
  ["if a = b { y = 1 }", "syntax", "to compare two values, write `==`"],
  ["y = g (a, b) = f(x)", "syntax", "several names are assigned without parentheses: `a, b = f(x)`"],
  ["retrun x", "syntax", "did you mean `return`?"],
  ["wieght w: f32[1]", "syntax", "did you mean `weight`?"],
  ["y = f(a b)", "syntax", "is a `,` missing before it?"],
  ["y = x |> f", "pipe-needs-call", "write `|> f()`"],
  ["y = x |> f() + 1", "pipe-needs-call", "put the pipe in parentheses: `(x |> f()) + y`"],
  ["y = a < b <= c", "comparison-chain", "join two comparisons with `and`: `a < b and b <= c`"],
])("help for %s", (text, code, help) => {
  const { diagnostics } = parse(inBlock(text));
  expect(diagnostics).toHaveLength(1);
  expect(diagnostics[0]!.code).toBe(code);
  expect(diagnostics[0]!.help).toBe(help);
});

test("signatures that mix parameters and inputs", () => {
  expect(first("block A (dim: int) -> f32[B] { return x }").message).toBe("input `dim` needs a tensor type");
  expect(first("block A(x: f32[B]) (y: f32[B]) -> f32[B] { return x }").message).toBe(
    "parameter `x` cannot be a tensor",
  );
  expect(first("block A (x: f32[B] = 1) -> f32[B] { return x }").message).toBe(
    "input `x` cannot have a default",
  );
});

test("an unclosed bracket is pointed out once", () => {
  const { diagnostics } = parse(inBlock("y = f(a,\nz = 1 +\nw = 2"));
  const notes = diagnostics.flatMap((diagnostic) => diagnostic.notes);
  expect(notes.map((note) => [note.message, note.span!.start])).toEqual([["this `(` is never closed", 37]]);
});

test("an unclosed block at the end of the file", () => {
  const { diagnostics } = parse("block A (x: f32[B]) -> f32[B] {\n  y = 1\n");
  expect(diagnostics).toHaveLength(1);
  expect(diagnostics[0]).toMatchObject({
    message: "expected a statement or `}`, found the end of the file",
    span: { start: 39, end: 39 },
  });
});

const nest = (open: string, inner: string, close: string, depth: number) =>
  open.repeat(depth) + inner + close.repeat(depth);

test.each([
  ["parentheses", (n: number) => `const a = ${nest("(", "1", ")", n)}`, 199],
  ["calls", (n: number) => `const a = ${nest("f(", "1", ")", n)}`, 199],
  ["labels", (n: number) => `const a = ${nest("f() @l[", "1", "]", n)}`, 199],
  ["matches", (n: number) => `const a = ${nest("match x { a => ", "1", "}", n)}`, 199],
  ["bodies", (n: number) => inBlock(nest("if a { repeat 2 {", "", "}}", n)), 99],
  ["types", (n: number) => `const a: ${nest("[", "int", "]", n)} = 1`, 200],
])("nested %s up to the limit parse, beyond it are an error", (_, make, depth) => {
  expect(places(make(depth))).toEqual([]);
  for (const far of [depth + 2, 5000, 50_000]) {
    const { diagnostics } = parse(make(far));
    expect(diagnostics.map((d) => d.code)).toEqual(["nesting-too-deep"]);
  }
});

test.each([
  ["sums", "1" + " + 1".repeat(50_000)],
  ["pipes", "x" + " |> f()".repeat(50_000)],
  ["powers", "2 ** ".repeat(50_000) + "2"],
  ["signs", "-".repeat(100_000) + "1"],
  ["nots", "not ".repeat(50_000) + "a"],
  ["indices", "x" + "[0]".repeat(50_000)],
  ["conditions", "if a then b else ".repeat(30_000) + "c"],
])("long chains of %s end in one error", (_, text) => {
  expect(parse(`const a = ${text}`).diagnostics.map((d) => d.code)).toEqual(["nesting-too-deep"]);
});

test("a long `else if` chain ends in one error", () => {
  const text = inBlock(`if a {}${" else if a {}".repeat(20_000)}`);
  expect(parse(text).diagnostics.map((d) => d.code)).toEqual(["nesting-too-deep"]);
});

test("errors in a deeply nested text need no more stack than the text itself", () => {
  const text = inBlock(`y = ${"f(".repeat(150)}${" + +".repeat(2000)}`);
  expect(places(text)).toHaveLength(1);
});

test("size limits", () => {
  expect(places(" ".repeat(limits.length + 1))).toEqual(["1:1 file-too-large"]);
  expect(places("a ".repeat(limits.tokens + 1))).toEqual(["1:1 file-too-large"]);
});

test("at most fifty errors", () => {
  expect(parse("const = 1\n".repeat(3000)).diagnostics).toHaveLength(limits.diagnostics);
  expect(parse("x\u00e9 ".repeat(3000)).diagnostics).toHaveLength(limits.diagnostics);
});
