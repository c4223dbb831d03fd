// Every construct of the language, and how operators bind.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Block, Expr, Item, Statement } from "../../src/parser/ast.ts";
import { parse } from "../../src/parser/parse.ts";
import { strip } from "./meaning.ts";

function items(text: string): readonly Item[] {
  const { ast, diagnostics } = parse(text);
  expect(diagnostics).toEqual([]);
  return ast.items;
}

function statements(text: string): readonly Statement[] {
  return (items(`block A (x: f32[B]) -> f32[B] {\n${text}\n}`)[0] as Block).body.statements;
}

function expr(text: string): Expr {
  const item = items(`const a = ${text}`)[0]!;
  if (item.kind !== "const") throw new Error("no const");
  return item.value;
}

/** The tree as fully parenthesised text. */
function show(e: Expr): string {
  switch (e.kind) {
    case "number":
      return e.text;
    case "name":
      return e.name;
    case "unary":
      return `(${e.op} ${show(e.operand)})`;
    case "binary":
      return `(${show(e.left)} ${e.op} ${show(e.right)})`;
    case "if":
      return `(if ${show(e.condition)} ${show(e.then)} ${show(e.else)})`;
    case "call": {
      const all = [...(e.piped ? [show(e.piped)] : []), ...e.args.map((a) => show(a.value))];
      return `${e.callee.text}(${all.join(", ")})`;
    }
    case "index":
      return `${show(e.object)}[${show(e.index)}]`;
    case "member":
      return `${show(e.object)}.${e.name.text}`;
    default:
      return e.kind;
  }
}

test("the sample file", () => {
  const text = readFileSync(new URL("poolformer.model", import.meta.url), "utf8");
  expect(items(text).map((item) => item.kind)).toEqual(
    "import const block block config config checkpoint".split(" "),
  );
});

test.each([
  ["a + b * c", "(a + (b * c))"],
  ["a - b - c", "((a - b) - c)"],
  ["a * b % c / d", "(((a * b) % c) / d)"],
  ["2 ** 3 ** 4", "(2 ** (3 ** 4))"],
  ["-a ** b", "(- (a ** b))"],
  ["2 ** -a ** b * c", "((2 ** (- (a ** b))) * c)"],
  ["-a * b", "((- a) * b)"],
  ["- -a", "(- (- a))"],
  ["not a == b and c or d", "(((not (a == b)) and c) or d)"],
  ["a or not b and c", "(a or ((not b) and c))"],
  ["a + b < c * d", "((a + b) < (c * d))"],
  ["(a < b) < c", "((a < b) < c)"],
  ["a + b |> f(c) |> g()", "g(f((a + b), c))"],
  ["a or b |> f()", "f((a or b))"],
  ["a |> f(b |> g())", "f(a, g(b))"],
  ["a[1].b[c](d)".replace("(d)", ""), "a[1].b[c]"],
  ["f(a)[0].w", "f(a)[0].w"],
  ["if a then b else if c then d else e + 1", "(if a b (if c d (e + 1)))"],
  ["if a == b then c |> f() else d", "(if (a == b) f(c) d)"],
  ["(a)", "a"],
])("%s", (text, tree) => expect(show(expr(text))).toBe(tree));

test.each([
  ["1_000", 1000, true],
  ["1e-6", 1e-6, false],
  ["2.5E+2", 250, false],
  ["0.225", 0.225, false],
  ["007", 7, true],
])("number %s", (text, value, isInt) =>
  expect(expr(text)).toMatchObject({ kind: "number", value, isInt, text }),
);

test("strings", () => {
  expect(expr(String.raw`"a\n\t\"\\\u{e9}\u{1F600} // no comment"`)).toMatchObject({
    kind: "string",
    value: 'a\n\t"\\\u00e9\u{1f600} // no comment',
  });
});

test("literals, lists and tuples", () => {
  expect(strip(expr("[true, false, none, [], (a, b), (a,)]"))).toMatchObject({
    elements: [
      { kind: "bool", value: true },
      { kind: "bool", value: false },
      { kind: "none" },
      { kind: "list", elements: [] },
      { kind: "tuple", elements: [{ name: "a" }, { name: "b" }] },
      { kind: "tuple", elements: [{ name: "a" }] },
    ],
  });
  expect(expr("[d * 2 for (i, d) in dims if d > 64]")).toMatchObject({
    kind: "comprehension",
    pattern: [{ text: "i" }, { text: "d" }],
    list: { name: "dims" },
    condition: { op: ">" },
  });
});

test("a call with everything", () => {
  const call = expr("x |> f(a, k = 3) @layers[i + 1].norm shared with reduce tome(r = 8) with fast");
  expect(strip(call)).toMatchObject({
    kind: "call",
    callee: { text: "f" },
    piped: { name: "x" },
    args: [{ value: { name: "a" } }, { name: { text: "k" }, value: { value: 3 } }],
    label: {
      parts: [{ name: { text: "layers" }, index: { op: "+" } }, { name: { text: "norm" } }],
      shared: true,
    },
    annotations: [
      { name: { text: "reduce" }, value: { kind: "call", callee: { text: "tome" } } },
      { name: { text: "fast" } },
    ],
  });
});

test("match", () => {
  const arms = 'timm => a |> f() @x  original => b, -1 => c  1 => d  "s" => e  true => g  _ => h';
  const node = expr(`match head { ${arms} }`);
  if (node.kind !== "match") throw new Error("no match");
  const patterns = node.arms.map((arm) => (arm.pattern === "_" ? "_" : arm.pattern.kind));
  expect(patterns).toEqual(["name", "name", "unary", "number", "string", "bool", "_"]);
});

test("signatures", () => {
  const block =
    items(`default model m(dims: [int] = [2], t: (int, float)?, head: timm | original = timm, act: block?)
    (x: f32[B, C = dim * 2, n <= B * T], mask?: i32[]) -> (y: f32[B], z: f32[]) { return x }`)[0];
  expect(strip(block)).toMatchObject({
    model: true,
    isDefault: true,
    params: [
      { type: { kind: "list", element: { name: { text: "int" } } }, default: { kind: "list" } },
      { type: { kind: "optional", of: { kind: "tuple", elements: [{}, {}] } } },
      { type: { kind: "enum", choices: [{ text: "timm" }, { text: "original" }] } },
      { type: { kind: "optional", of: { kind: "name" } } },
    ],
    inputs: [
      {
        optional: false,
        type: {
          dims: [
            { size: { name: "B" } },
            { axis: { text: "C" }, size: { op: "*" } },
            { size: { name: "n" }, bound: { op: "*" } },
          ],
        },
      },
      { optional: true, type: { dtype: { text: "i32" }, dims: [] } },
    ],
    results: [{ name: { text: "y" } }, { name: { text: "z" } }],
  });
});

test("one list in parentheses holds the inputs", () => {
  expect(items("block relu (x: f32[B]) -> f32[B] {}")[0]).toMatchObject({
    params: [],
    inputs: [{ name: { text: "x" } }],
  });
});

test("statements", () => {
  const kinds = statements(`
    preprocess image (size = 224, mean = [0.5])
    state load: f32[E] = 0
    weight cls: f32[1, dim] @head.cls_token
    assert dim % heads == 0, "heads must divide dim"
    q, k, v = split(x)
    if a { x = b } else if c { x = d } else { x = e }
    for (i, depth) in enumerate(depths) @stages with reduce a() { x = f(i) }
    repeat 3 as j @layer shared { x = f(j) }
    with reduce tome(r = 8) { x = f(x) }
    output stages[i] = x
    return logits = a, features = b
  `).map((statement) => statement.kind);
  expect(kinds).toEqual("preprocess state weight assert assign if for repeat with output return".split(" "));
});

test("newlines do not count, and statements need no terminator", () => {
  expect(statements("y = g a, b = f(x) z = a\n - b")).toMatchObject([
    { targets: [{ text: "y" }], value: { name: "g" } },
    { targets: [{ text: "a" }, { text: "b" }] },
    { targets: [{ text: "z" }], value: { kind: "binary", op: "-" } },
  ]);
});

test("`with` and `shared` belong to the line they are on", () => {
  expect(statements("x = f(a) with fast\nx = f(a)\nwith fast { x = g() }")).toMatchObject([
    { value: { annotations: [{ name: { text: "fast" } }] } },
    { value: { annotations: [] } },
    { kind: "with", annotations: [{ name: { text: "fast" } }] },
  ]);
  expect(statements("x = f(a) @n shared\nx = f(a) @n\nshared = 3")).toMatchObject([
    { value: { label: { shared: true } } },
    { value: { label: { shared: false } } },
    { targets: [{ text: "shared" }] },
  ]);
});

test("a label at the end of a loop's header is the loop's", () => {
  expect(
    statements("for x in f(a) @s with r t() { } repeat 1 + g() @b { } for x in (f() @a) { }"),
  ).toMatchObject([
    {
      label: { parts: [{ name: { text: "s" } }] },
      annotations: [{ name: { text: "r" } }],
      list: { annotations: [] },
    },
    { label: { parts: [{ name: { text: "b" } }] }, count: { right: { kind: "call" } } },
    { list: { kind: "call", label: { parts: [{ name: { text: "a" } }] } } },
  ]);
});

const contextual =
  "model block default config of extends checkpoint state output weight preprocess shared axis from".split(
    " ",
  );
test.each(contextual)("`%s` can be a name", (word) => {
  const text = `block ${word}(${word}: int = ${word}) (${word}: f32[${word}]) -> (${word}: f32[${word}]) {
    state ${word}: f32[1] = 0
    weight ${word}: f32[1] @${word}.${word}[${word}]
    ${word} = ${word}(${word}, ${word} = ${word})
    ${word}, b = ${word} |> ${word}() @${word}
    output ${word} = [${word} for ${word} in ${word}]
    return ${word} = ${word}.${word}, x = match ${word} { ${word} => ${word} }
  }
  config ${word} of ${word} extends ${word} (${word} = ${word})
  checkpoint ${word} of ${word} { rename "a" = "b" axis 0 }`;
  expect(items(text)).toMatchObject([
    {
      name: { text: word },
      params: [{}],
      inputs: [{}],
      results: [{ name: { text: word } }],
      body: { statements: { length: 6 } },
    },
    { kind: "config", name: { text: word }, model: { text: word }, extends: { text: word } },
    { kind: "checkpoint", name: { text: word } },
  ]);
});

test("a contextual word behind `@`, `.` or `with` is a name whatever follows", () => {
  expect(statements("x = f() @a.checkpoint shared\nof, b = f() with model tome(r = 8)")).toMatchObject([
    { value: { label: { parts: [{}, { name: { text: "checkpoint" } }], shared: true } } },
    { targets: [{ text: "of" }, {}], value: { annotations: [{ name: { text: "model" } }] } },
  ]);
});

test("checkpoint rules", () => {
  const [item] = items(`checkpoint o of m {
    strip "module."
    concat "qkv" = ["q", "k"] axis -1
    ignore ["a", "b"]
  }`);
  expect(strip(item)).toMatchObject({
    rules: [
      { verb: { text: "strip" }, from: [{ text: "module." }], to: [] },
      { to: [{ text: "q" }, { text: "k" }], axis: -1 },
      { from: [{ text: "a" }, { text: "b" }] },
    ],
  });
});

test("spans are exact", () => {
  const text = "// é\nblock A (x: f32[B]) -> f32[B] {\n  y = (a + b) * f(x) @l\n}";
  const { ast } = parse(text);
  const assign = (ast.items[0] as Block).body.statements[0]!;
  const at = (node: { span: { start: number; end: number } }) => text.slice(node.span.start, node.span.end);
  expect(at(assign)).toBe("y = (a + b) * f(x) @l");
  if (assign.kind !== "assign" || assign.value.kind !== "binary") throw new Error("no product");
  expect(at(assign.value.left)).toBe("(a + b)");
  expect(at(assign.value.right)).toBe("f(x) @l");
  expect(ast.comments.map((comment) => [comment.text, comment.ownLine])).toEqual([["// é", true]]);
});

test("an empty file, a file of comments, a byte order mark", () => {
  expect(items("")).toEqual([]);
  expect(items("// nothing")).toEqual([]);
  expect(items("\ufeffconst a = 1")).toHaveLength(1);
});
