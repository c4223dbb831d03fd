// No file may crash the elaborator or keep it busy: long chains are loops, and everything else has a limit with its own code.

import { describe, expect, it } from "vitest";
import { elaborateText, modelOf } from "./support.ts";

const codes = (text: string, options = {}) => [
  ...new Set(elaborateText(text, options).diagnostics.map((d) => d.code)),
];
const body = (expression: string) => modelOf(`return ${expression}`);
const value = (expression: string) => modelOf(`v = ${expression}\nreturn x`);

describe("long chains need no stack", () => {
  const n = 150;
  it.each([
    ["a sum of tensors", body(Array(n).fill("x").join(" + "))],
    ["a pipeline", body(`x ${"|> relu() ".repeat(n)}`)],
    ["a sum of numbers", value(Array(n).fill("1").join(" + "))],
    ["signs", value(`${"- ".repeat(n)}1`)],
    ["negations", value(`${"not ".repeat(n)}true`)],
    ["else if", value(`${"if false then 1 else ".repeat(n)}2`)],
    ["else if statements", modelOf(`if false { } ${"else if false { } ".repeat(n)}\nreturn x`)],
    ["statements", modelOf(`${"x = relu(x)\n".repeat(n)}return x`)],
    ["conjunctions", value(Array(n).fill("true").join(" and "))],
  ])("%s", (_, text) => {
    expect(codes(text)).toEqual([]);
  });
});

describe("deep nesting ends in an error", () => {
  it.each([
    ["indices", value(`[1]${"[0]".repeat(5_000)}`)],
    ["powers", value(Array(5_000).fill("1").join(" ** "))],
    ["brackets", value(`${"(".repeat(5_000)}1${")".repeat(5_000)}`)],
    ["lists", value(`${"[".repeat(5_000)}1${"]".repeat(5_000)}`)],
    ["calls", body(`${"relu(".repeat(5_000)}x${")".repeat(5_000)}`)],
    ["branches", modelOf(`${"if true { ".repeat(5_000)}x = relu(x)${" }".repeat(5_000)}\nreturn x`)],
  ])("%s", (_, text) => {
    const found = codes(text);
    expect(found).toHaveLength(1);
    expect(["too-deep", "nesting-too-deep"]).toContain(found[0]);
  });

  it("where blocks call one another forty deep, from inside loops and branches", () => {
    const levels = Array.from(
      { length: 40 },
      (_, i) =>
        `block B${i}() (x: f32[B, 4, H, W]) -> f32[B, 4, H, W] {\n` +
        `for a in [1] { for b in [1] { if true { with reduce tome(r = 1) { repeat 1 {\n` +
        `x = ${i === 39 ? "relu(x)" : `((if true then relu(B${i + 1}(x)) else x))`} } } } } }\n` +
        `return x\n}\n`,
    );
    expect(codes(levels.join("") + body("B0(x)"))).toEqual([]);
  });
});

describe("blocks and expressions together", () => {
  it.each([
    ["calls", (inner: string) => `${"relu(".repeat(120)}${inner}${")".repeat(120)}`],
    ["choices", (inner: string) => `${"match 1 { 1 => ".repeat(60)}${inner}${" }".repeat(60)}`],
  ])("%s", (_, wrap) => {
    const levels = Array.from(
      { length: 60 },
      (_, i) =>
        `block B${i}() (x: f32[B, 4, H, W]) -> f32[B, 4, H, W] {\n` +
        `return ${wrap(i === 59 ? "x" : `B${i + 1}(x)`)}\n}\n`,
    );
    expect(codes(levels.join("") + body("B0(x)"))).toEqual(["too-deep"]);
  });
});

describe("work is counted", () => {
  it.each([
    ["nested loops", modelOf("repeat 100000 { repeat 100000 { v = 1 } }\nreturn x"), "too-much-work"],
    ["lists of lists", value("[[j for j in range(100000)] for i in range(100000)]"), "too-much-work"],
    ["lists that double", modelOf("v = [1]\nrepeat 40 { v = v + v }\nreturn x"), "list-too-long"],
    [
      "equality of lists that share their parts",
      modelOf("v = [1]\nrepeat 60 { v = [v, v] }\nif v == v { x = relu(x) }\nreturn x"),
      "too-much-work",
    ],
    [
      "minima within minima",
      modelOf("d = min(B, H)\nrepeat 60 { d = min(d + W, d * H) }\nreturn x"),
      "dimension-too-large",
    ],
    [
      "quotients",
      modelOf("d = H\nrepeat 200 { d = floor((d * W + 1) / (d + 2)) }\nreturn x"),
      "dimension-too-large",
    ],
  ])("%s", (_, text, code) => {
    expect(codes(text)).toEqual([code]);
  });

  it("describes values that share their parts without writing them all out", () => {
    expect(codes(modelOf("v = [1]\nrepeat 60 { v = [v, v] }\nreturn relu(v)"))).toEqual(["not-a-tensor"]);
  });

  it("ends with a count where there are too many errors", () => {
    const text = modelOf(
      `${Array.from({ length: 300 }, (_, i) => `v${i} = nothing${i}`).join("\n")}\nreturn x`,
    );
    const { diagnostics } = elaborateText(text);
    expect(diagnostics).toHaveLength(101);
    expect(diagnostics.at(-1)!.message).toBe("200 more errors are not shown");
  });

  it("limits imports in number and depth", () => {
    const chain = Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [`f${i}.model`, `import { a } from "./f${i + 1}"\nconst b = 1\n`]),
    );
    const text = `import { b } from "./f0"\n${body("x")}`;
    expect(codes(text, { files: chain })).toContain("import-too-deep");
    const wide = Object.fromEntries(
      Array.from({ length: 300 }, (_, i) => [`f${i}.model`, `const c${i} = 1\n`]),
    );
    const imports = Object.keys(wide).map((f, i) => `import { c${i} } from "./${f}"`);
    expect(codes(imports.join("\n") + "\n" + body("x"), { files: wide })).toEqual(["too-many-files"]);
  });
});

describe("found by fuzzing", () => {
  it("a layer on a tensor without axes", () => {
    expect(codes("model m (x: f32[]) -> f32[4] { return linear(x, out = 4) @fc }")).toEqual(["linear.rank"]);
  });
});
