// The text of graphs: what it looks like, that it reads back, and where errors point.

import { describe, expect, test } from "vitest";
import { printGraph, printModule, printNode } from "../../src/ir/print.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { dim } from "../../src/ir/dim.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { allOps, lookupOp } from "../../src/ops/index.ts";
import { position } from "../../src/support/source.ts";
import { random, randomGraph } from "./random.ts";

const parse = (text: string) =>
  parseGraphs(text, "test.ir", lookupOp, { opNames: allOps.map((op) => op.name) });
const show = (text: string) =>
  parse(text).diagnostics.map((d) => {
    const { line, column } = position(d.span!.file, d.span!.start);
    return `${line}:${column} ${d.code}`;
  });
function graphOf(text: string) {
  const { module, diagnostics } = parse(text);
  expect(diagnostics).toEqual([]);
  return module!.graphs[0]!;
}

const sample = `source 0 "examples/tiny.model"
graph @tiny(
  %image: f32[B, C=3, H, W] preprocess {size=224, crop_pct=0.9, interpolation=bicubic, mean=[0.5], std=[0.25]} loc(0:3:12-40)
) -> (logits: f32[B, C=8], count: f32[]) {
  dims B, H, W, n <= B*H
  weight $stem.weight: f32[8, 3, 7, 7] loc(0:4:3-5:10)
  weight $mark: f32[] as "small:mark" seed integers(16)
  state load: f32[] = -inf (%load.in -> %4)
  scope stages.0 = for with reduce tome(r=8, keep=[true, dim(B*H)])

  prepare %0 = relu $mark : f32[]
  %1 = conv2d %image, $stem.weight {stride=[4, 4], pad=[2, 2]} : f32[B, C=8, H=floor((H + 1)/4), W=floor((W + 1)/4)]{0, 2, 3, 1} in stages.0 with reduce tome(r=8) loc(0:4:3-20, 0:9:1-10:2)
  %2, %3 = group %1 {kind=reduction, name=pair} : f32[B, C=8], f32[B, C=8]
    body (%10: f32[B, C=8, H=floor((H + 1)/4), W=floor((W + 1)/4)]) {
      %11 = mean %10 {axes=[2, 3]} : f32[B, C=8]
      yield %11, %11
    }
  %4 = add %load.in, %0 : f32[]
  next %20
  return logits = %2 loc(0:20:3-9),
         count = %4
}
`;

test("the sample prints as it was written, and is a good graph", () => {
  const g = graphOf(sample);
  expect(printGraph(g)).toBe(sample);
  const [fault, ...others] = verifyGraph(g);
  expect(fault).toContain("lost its model lines");
  expect(others.every((f) => f.includes("lost its model lines"))).toBe(true);
  expect(g.nodes[1]!.annotations).toEqual([{ name: "reduce", call: "tome", args: { r: 8 } }]);
  expect(g.scopes[0]!.annotations[0]!.args.keep).toEqual([true, expect.objectContaining({ key: "B*H" })]);
  expect(g.states[0]).toMatchObject({ id: "%load.in", next: "%4", initial: -Infinity });
  expect(g.nextId).toBe(20);
});

test("locations can be left out, and types, names of outputs and dims too", () => {
  expect(printGraph(graphOf(sample), { locations: false })).not.toMatch(/loc\(|source/);
  const short = `graph @g(%x: f32[B,T,8]) -> f32[B,T,8] {
    weight $n: f32[8]
    %0 = mul %x, $n // a comment
    %1 = constant {value=2}
    %2 = mul %0, %1
    return %2
  }`;
  const g = graphOf(short);
  expect(g.symbols.map((s) => s.name)).toEqual(["B", "T"]);
  expect(g.outputs).toEqual([{ name: "output", value: "%2", spans: [] }]);
  expect(verifyGraph(g)).toEqual([]);
  expect(printNode(g.nodes[2]!)).toBe("%2 = mul %0, %1 : f32[B, T, 8]");
});

test("an input left out is a line", () => {
  const g = graphOf(`graph @g(%x: f32[B, 8]) {
    weight $b: f32[8]
    %0 = layer_norm %x, _, $b : f32[B, 8]
    return %0
  }`);
  expect(g.nodes[0]!.inputs).toEqual(["%x", "", "$b"]);
  expect(printGraph(g)).toContain("%0 = layer_norm %x, _, $b :");
});

test("sizes are plain where the attribute is one, and marked elsewhere", () => {
  const g = graphOf(`graph @g(%x: f32[B, 8]) {
    %0 = reshape %x {dims=[4*B, 2]} : f32[4*B, 2]
    %1 = reshape %0 {dims=[B, int(-1)]}
    return %1
  }`);
  expect(g.nodes[0]!.attrs.dims).toEqual([expect.objectContaining({ key: "4*B" }), dim(2)]);
  expect(g.nodes[1]!.attrs.dims).toEqual([dim("B"), -1]);
  expect(graphOf(printGraph(g))).toEqual(g);
});

test("random graphs and modules read back as they were", { timeout: 60_000 }, () => {
  for (let seed = 0; seed < 150; seed++) {
    const g = randomGraph(seed);
    const text = printGraph(g);
    const { module, diagnostics } = parse(text);
    expect(
      diagnostics.map((d) => `${d.code} ${d.message}`),
      `seed ${seed}\n${text}`,
    ).toEqual([]);
    expect(module!.graphs, `seed ${seed}\n${text}`).toEqual([g]);
    const bare = parse(printGraph(g, { locations: false })).module!.graphs[0]!;
    expect(bare.nodes.every((n) => n.spans.length === 0)).toBe(true);
    expect(printGraph(bare)).toBe(printGraph(g, { locations: false }));
  }
  const named = (seed: number, name: string) => ({ ...randomGraph(seed), name });
  const module = { name: "odd name", graphs: [named(1, "a"), named(2, "b")] };
  expect(parse(printModule(module)).module).toEqual(module);
});

describe("errors point at what is wrong", () => {
  const around = (line: string) => `graph @g(%x: f32[B, 8], %k: i32[B]) {\n  weight $w: f32[8]\n${line}\n}`;
  test.each([
    ["%0 = mull %x, $w", ["3:6 ir-unknown-op"]],
    ["%0 = mul %x, $v", ["3:14 ir-unknown-value"]],
    ["%0 = mul %x, $w : f32[B, 9]", ["3:19 ir-type-mismatch"]],
    ["%0 = mul %x, $w : f16[B, 8]", ["3:19 ir-type-mismatch"]],
    ["%0 = mul %x, %k", ["3:14 mul.dtype"]],
    ["%0 = mul %x", ["3:6 ir-wrong-inputs"]],
    ["%0 = relu %x, %x", ["3:6 ir-wrong-inputs"]],
    ["%0, %1 = relu %x", ["3:1 ir-wrong-results"]],
    ["%0 = relu %x {slope=1}", ["3:15 ir-unknown-attribute"]],
    ["%0 = mean %x {axes=[0], keepdims=3}", ["3:25 ir-wrong-attribute"]],
    ["%0 = mean %x {axes=[0], axes=[1]}", ["3:25 ir-duplicate"]],
    ["%0 = mean %x", ["3:6 ir-missing-attribute"]],
    ["%0 = mean %x {axes=[7]}", ["3:11 mean.axes"]],
    ["%0 = relu %x\n%0 = relu %x", ["4:1 ir-duplicate"]],
    ["%x = relu %x", ["3:1 ir-duplicate"]],
    ["prepare %0 = mul %x, $w", ["3:18 ir-not-prepared"]],
    ["%0 = relu %x loc(3:1:2-3)", ["3:18 ir-unknown-source"]],
    ["%0 = relu %x : f32[B, 8", ["4:1 ir-syntax"]],
    ["%0 = relu %x : f32[H/4, 8]", ["3:22 ir-syntax"]],
    ["%0 = relu %x : f31[B, 8]", ["3:16 ir-syntax"]],
    ["%0 = relu ,", ["3:6 ir-wrong-inputs", "3:11 ir-syntax"]],
    ["frobnicate", ["3:1 ir-syntax"]],
    ["dims B\n%0 = constant {value=1, shape=[T]}", ["4:32 ir-unknown-dim"]],
    ["dims B, B", ["3:9 ir-duplicate"]],
    ["%5 = relu %x\nnext %5", ["4:6 ir-next-id"]],
    ["return y = %9", ["3:12 ir-unknown-value"]],
    ['return y = ""', ["3:12 ir-syntax"]],
    ["guard fold if %9", ["3:15 ir-unknown-value"]],
    ["state s: f32[] = 0 (%s -> %9)", ["3:27 ir-unknown-value"]],
    ["%0 = group %x {kind=element, name=g}", ["3:6 ir-missing-type"]],
    [
      "%0 = group %x {kind=element, name=g} : f32[B, 8] body (%a: f32[B, 8]) { %1 = relu %x yield %1 }",
      ["3:83 ir-unknown-value"],
    ],
    // Two faults, both found; what a broken line should have made is not reported again.
    ["%0 = mul %x, $v\n%1 = rellu %x", ["3:14 ir-unknown-value", "4:6 ir-unknown-op"]],
    ["%0 = ?\n%1 = relu %0\nreturn y = %1", ["3:6 ir-syntax"]],
  ])("%s", (line, expected) => expect(show(around(line))).toEqual(expected));

  test.each([
    ["", ["1:1 ir-syntax"]],
    ["grph @g() {}", ["1:1 ir-syntax"]],
    ["graph g() {}", ["1:7 ir-syntax"]],
    ["graph @g() {", ["1:13 ir-syntax"]],
    ["graph @g(%x: f32[B], %x: f32[B]) {}", ["1:22 ir-duplicate"]],
    ["graph @g(%x: f32[B]) -> (y: f32[C]) { return y = %x }", ["1:29 ir-type-mismatch"]],
    ["graph @g() {}\ngraph @g() {}", ["2:6 ir-duplicate"]],
    ["graph @g(%x: f32[B] preprocess {size=1}) {}", ["1:32 ir-preprocess"]],
    ["graph @g() {\n  oops\n}\ngraph @h() {\n  oops\n}", ["2:3 ir-syntax", "5:3 ir-syntax"]],
  ])("%j", (text, expected) => expect(show(text)).toEqual(expected));

  test("with the nearest name", () => {
    const help = (line: string) => parse(around(line)).diagnostics[0]!.help;
    expect(help("%0 = sigmiod %x")).toBe("did you mean sigmoid?");
    expect(help("%0 = mean %x {axis=[0]}")).toBe("did you mean axes?");
    expect(help("%abc = relu %x\n%0 = relu %abd")).toBe("did you mean %abc?");
    expect(help("%0 = relu %x : f23[B, 8]")).toBe("did you mean f32?");
  });
});

describe("limits", () => {
  const codes = (text: string) => parse(text).diagnostics.map((d) => d.code);
  const body = "body (%a: f32[]) {\n";
  test.each<[string, string, string]>([
    ["nested lists", `graph @g() { scope a = b with c d(x=${"[".repeat(100_000)}`, "ir-too-deep"],
    ["nested dims", `graph @g(%x: f32[${"(".repeat(100_000)}`, "ir-syntax"],
    ["rank", `graph @g(%x: f32[${"1, ".repeat(99)}1]) {}`, "ir-too-large"],
    ["words", `graph @${"g".repeat(1_000_000)}() {}`, "ir-too-large"],
    ["values", `graph @g() { return y = %${"g".repeat(1_000_000)} }`, "ir-too-large"],
    ["strings", `graph @"${"g".repeat(1_000_000)}"() {}`, "ir-too-large"],
    ["bodies", `graph @g() { ${`%1 = group : f32[] ${body}`.repeat(5000)}`, "ir-too-deep"],
    ["errors", `graph @g() {\n${"oops\n".repeat(100_000)}`, "ir-too-many-errors"],
    ["text", " ".repeat(33 * 1024 * 1024), "ir-too-large"],
  ])("on %s", (_, text, code) => expect(codes(text)).toContain(code));
});

test("changed text is never a crash", { timeout: 60_000 }, () => {
  const texts = [sample, ...[3, 4, 5, 6].map((seed) => printGraph(randomGraph(seed, 8)))];
  const pieces = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    "=",
    "%",
    "$",
    "_",
    '"',
    "\\",
    "loc(",
    "body (",
    "yield",
  ];
  const numbers = [
    "0",
    "-1",
    "99999999999999999999",
    "1e999",
    "nan",
    "dim(",
    "int(",
    "floor(",
    "H/4",
    "\u0000",
    "\n",
  ];
  for (let seed = 0; seed < 2000; seed++) {
    const r = random(seed);
    let text = r.pick(texts);
    for (let i = 0; i <= r.below(4); i++) {
      const [a, b] = [r.below(text.length), r.below(text.length)];
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      const kind = r.below(5);
      if (kind === 0) text = text.slice(0, from) + text.slice(Math.min(to, from + 20));
      else if (kind === 1) text = text.slice(0, from) + r.pick([...pieces, ...numbers]) + text.slice(from);
      else if (kind === 2) text = text.slice(0, from) + r.pick(numbers) + text.slice(from + 1);
      else if (kind === 3) text = text.slice(0, from) + text.slice(to, to + 40) + text.slice(from);
      else text = text.slice(0, to) + text.slice(from, Math.min(to, from + 200)) + text.slice(to);
    }
    let result;
    try {
      result = parse(text);
    } catch (e) {
      throw new Error(`seed ${seed} crashes\n${text}`, { cause: e });
    }
    expect(result.module !== undefined, `seed ${seed}`).toBe(result.diagnostics.length === 0);
    for (const d of result.diagnostics) expect(d.span!.end).toBeGreaterThanOrEqual(d.span!.start);
    // What is read prints to a text that reads the same.
    if (result.module) {
      const again = parse(printModule(result.module));
      expect(again.diagnostics, `seed ${seed}\n${text}`).toEqual([]);
      expect(again.module, `seed ${seed}\n${text}`).toEqual(result.module);
    }
  }
});
