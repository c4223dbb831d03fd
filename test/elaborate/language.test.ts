// What the language does, feature by feature: the graph that comes out.

import { describe, expect, it } from "vitest";
import type { Graph } from "../../src/ir/graph.ts";
import { showType } from "../../src/ir/types.ts";
import { elaborateText, graphOf, modelOf, showDiagnostic, type TestOptions } from "./support.ts";

const build = (text: string, options: TestOptions = {}): Graph => graphOf(elaborateText(text, options));
const ops = (g: Graph) => g.nodes.map((n) => n.op.name);
const keys = (g: Graph) => g.weights.map((w) => w.key);
const problems = (text: string, options: TestOptions = {}) =>
  elaborateText(text, options).diagnostics.map((d) => d.code);
/** The type of a model's only result, for `value` computed from x: f32[B, 4, H, W]. */
const typeOf = (expression: string, result: string) => {
  const g = build(modelOf(`return ${expression}`, `(x: f32[B, C = 4, H, W]) -> ${result}`));
  return showType(g.nodes.at(-1)!.results[0]!.type);
};

describe("compile-time values", () => {
  /** The value of an expression, read off the attribute of an op. */
  const sizes = (expression: string) => {
    const g = build(
      `model m() (x: f32[B, T]) -> f32[n] { return sum(x, axes = [0, 1]) |> reshape(dims = [1]) |> broadcast_to(dims = [${expression}]) }`,
    );
    return g.nodes.at(-1)!.results[0]!.type.shape[0]!.key;
  };
  it.each([
    ["2 + 3 * 4", "14"],
    ["2 ** 3 ** 2", "512"],
    ["-7 % 4 + 0", "1"],
    ["floor(7 / 2) + ceil(7 / 2)", "7"],
    ["floor((B + 1) / 2)", "floor((B + 1)/2)"],
    ["6 * B / 3", "2*B"],
    ["B * T / T", "B"],
    ["min(B, B + 1)", "B"],
    ["len([d * 2 for d in [1, 2, 3] if d > 1])", "2"],
    ["sum([a * b for (a, b) in zip([1, 2], [3, 4])])", "11"],
    ["max([3, 9, 2])", "9"],
    ["[10, 20, 30][-1]", "30"],
    ["if any([false, true]) and not all([false, true]) then 1 else 2", "1"],
    ["int(2.9) + int(true)", "3"],
    ["match 3 { 1 => 5, 3 => 7, _ => 9 }", "7"],
    ["abs(-4)", "4"],
    ["len(range(2, 11, 3))", "3"],
    ["x.shape[1] * x.rank", "2*T"],
    ["sum([i * v for (i, v) in enumerate([5, 6])])", "6"],
  ])("%s is %s", (expression, expected) => {
    expect(sizes(expression)).toBe(expected);
  });
});

describe("tensors", () => {
  it("operators are ops, and numbers beside them scalars of the same type", () => {
    const g = build(modelOf("return -x * 2 + x / 3.5"));
    expect(ops(g)).toEqual(["neg", "constant", "mul", "constant", "div", "add"]);
    expect(g.nodes[1]!.attrs).toMatchObject({ value: 2, dtype: "f32" });
  });
  it("comparisons give bool, and where chooses", () => {
    expect(ops(build(modelOf("return where(x > 0, x, 0)")))).toEqual([
      "constant",
      "greater",
      "constant",
      "where",
    ]);
  });
  it("min, abs and floor of tensors are ops", () => {
    expect(ops(build(modelOf("return abs(floor(x))")))).toEqual(["floor", "abs"]);
  });
  it("axes are letters, names or indices", () => {
    for (const axes of ["[H, W]", "[2, 3]", "[-2, -1]", '["height", "width"]'])
      expect(typeOf(`mean(x, axes = ${axes})`, "f32[B, 4]"), axes).toBe("f32[B, C=4]");
    expect(typeOf("softmax(x, axis = C)", "f32[B, 4, H, W]")).toBe("f32[B, C=4, H, W]");
  });
  it("axes are named by the signature", () => {
    const g = build(
      `model m(dim: int = 8) (x: f32[B, T, C = dim]) -> f32[B, C = dim] { return mean(x, axes = [T]) }`,
    );
    expect(showType(g.inputs[0]!.type)).toBe("f32[B, T, C=8]");
    expect(showType(g.nodes[0]!.results[0]!.type)).toBe("f32[B, C=8]");
  });
  it("a block names the axes of what it is given", () => {
    const text = `block Mean() (x: f32[n, tokens = t, d]) -> f32[n, d] { return mean(x, axes = [tokens]) }
      model m() (x: f32[2, 3, 5]) -> f32[2, 5] { return Mean(x) }`;
    expect(build(text).nodes[0]!.attrs["axes"]).toEqual([1]);
  });
});

describe("blocks", () => {
  it("bind dimensions from their arguments, in sums and products too", () => {
    const text = `block Half() (x: f32[B, 2 * half]) -> f32[B, half] { return x |> slice(axis = 1, end = half) }
      model m() (x: f32[B, 10]) -> f32[B, 5] { return Half(x) }`;
    expect(showType(build(text).nodes[0]!.results[0]!.type)).toBe("f32[B, 5]");
  });
  it("give sizes of results names of their own", () => {
    const text = `block Down() (x: f32[B, C, H, W]) -> f32[B, C, H2, W2] { return avg_pool2d(x, size = 2) }
      model m() (x: f32[B, 3, 8, 8]) -> f32[B, 3, 4, 4] { return Down(x) }`;
    expect(problems(text)).toEqual([]);
  });
  it("are parameters, with some of their own parameters bound", () => {
    const text = `block Twice(f: block) (x: f32[B, C, H, W]) -> f32[B, C, H, W] { return x |> f() |> f() }
      block Wide(k: int, act: block = gelu) (x: f32[B, C, H, W]) -> f32[B, C, H, W] { return avg_pool2d(act(x), size = k, stride = 1, pad = (k - 1) / 2) }
      ${modelOf("return x |> Twice(f = Wide(k = 3, act = relu)) |> Twice(f = gelu(approximate = tanh))")}`;
    const g = build(text);
    expect(ops(g)).toEqual(["relu", "avg_pool2d", "relu", "avg_pool2d", "gelu", "gelu"]);
    expect(g.nodes[4]!.attrs).toEqual({ approximate: "tanh" });
  });
  it("have several results, by place and by name", () => {
    const text = `block Pair() (x: f32[B, C, H, W]) -> (small: f32[B, C, H, W], large: f32[B, C, H, W]) {
        return large = exp(x), small = relu(x)
      }
      ${modelOf("a, b = Pair(x)\np = Pair(x)\nreturn a + p.large")}`;
    const g = build(text);
    const [exp1, relu1, exp2] = g.nodes;
    expect([exp1!.op.name, relu1!.op.name]).toEqual(["exp", "relu"]);
    expect(g.nodes.at(-1)!.inputs).toEqual([relu1!.results[0]!.id, exp2!.results[0]!.id]);
  });
  it("have optional inputs", () => {
    const text = `block Masked() (x: f32[B, C, H, W], mask?: f32[B, C, H, W]) -> f32[B, C, H, W] {
        if mask != none { x = x * mask }
        return relu(x)
      }
      ${modelOf("return x |> Masked() |> Masked(x)")}`;
    expect(ops(build(text))).toEqual(["relu", "mul", "relu"]);
  });
  it("take defaults that speak of parameters before them", () => {
    const text = `block B(a: int = 2, b: int = a * 3) (x: f32[n]) -> f32[n * b] { return broadcast_to(reshape(x, dims = [1, n]), dims = [b, n]) |> reshape(dims = [n * b]) }
      model m() (x: f32[4]) -> f32[24] { return B(x) }`;
    expect(problems(text)).toEqual([]);
  });
  it("take element types", () => {
    const text = `block Id(t: dtype = f32) (x: t[n]) -> t[n] { return x }
      model m() (x: i32[4]) -> i32[4] { return Id(x, t = i32) }`;
    expect(problems(text)).toEqual([]);
  });
});

describe("labels and weights", () => {
  it("labels join with dots, and loops add their number", () => {
    const g = build(
      modelOf(
        `for d in [4, 4] @stages { repeat 2 @blocks { x = conv2d(x, out = d, kernel = 1, bias = false) @mlp.fc } }\nreturn x`,
      ),
    );
    expect(keys(g)).toEqual(
      [0, 1].flatMap((i) => [0, 1].map((j) => `stages.${i}.blocks.${j}.mlp.fc.weight`)),
    );
  });
  it("labels have computed indices", () => {
    const g = build(
      modelOf("repeat 2 as i { x = conv2d(x, out = 4, kernel = 1, bias = false) @conv[i + 1] }\nreturn x"),
    );
    expect(keys(g)).toEqual(["conv.1.weight", "conv.2.weight"]);
  });
  it("a block with one layer gives it its own label", () => {
    const text = `block Norm() (x: f32[B, C, H, W]) -> f32[B, C, H, W] { return group_norm(x, groups = 1) }
      ${modelOf("return x |> Norm() @norm1")}`;
    expect(keys(build(text))).toEqual(["norm1.weight", "norm1.bias"]);
  });
  it("weights of branches not taken are not made, nor optional ones that are off", () => {
    const g = build(
      modelOf(
        "if false { x = conv2d(x, out = 4, kernel = 1) @a }\nreturn conv2d(x, out = 4, kernel = 1, bias = false) @b",
      ),
    );
    expect(keys(g)).toEqual(["b.weight"]);
  });
  it("shared loops and calls use the same weights", () => {
    const layer = "x = conv2d(x, out = 4, kernel = 1) @fc";
    const g = build(
      modelOf(`repeat 3 @layer shared { ${layer} }\nreturn conv2d(x, out = 4, kernel = 1) @layer.fc shared`),
    );
    expect(keys(g)).toEqual(["layer.fc.weight", "layer.fc.bias"]);
    expect(g.nodes.filter((n) => n.op.name === "conv2d")).toHaveLength(4);
  });
  it("a weight may be passed on by name, or left out", () => {
    const text = `model m() (x: f32[B, 4]) -> f32[B, 4] {
      weight table: f32[4, 4] @embed.weight
      return linear(x, weight = table, bias = none)
    }`;
    const g = build(text);
    expect(keys(g)).toEqual(["embed.weight"]);
    expect(g.nodes[0]!.inputs).toEqual(["%x", "$embed.weight", ""]);
  });
  it("scopes are labelled calls and turns of labelled loops", () => {
    const text = `block Act() (x: f32[B, C, H, W]) -> f32[B, C, H, W] { return relu(x) }
      ${modelOf("repeat 2 @s { x = x |> Act() @act |> Act() }\nreturn x")}`;
    const g = build(text);
    expect(g.scopes.map((s) => [s.path, s.block])).toEqual([
      ["s.0", "repeat"],
      ["s.0.act", "Act"],
      ["s.1", "repeat"],
      ["s.1.act", "Act"],
    ]);
    expect(g.nodes.map((n) => n.scope)).toEqual(["s.0.act", "s.0", "s.1.act", "s.1"]);
  });
});

describe("models", () => {
  it("have free sizes as symbols, and bounded ones", () => {
    const g = build(
      "model m() (x: f32[B, T, 4], packed: f32[n <= B * T, 4]) -> f32[n, 4] { return relu(packed) }",
    );
    expect(g.symbols.map((s) => (s.kind === "bounded" ? `${s.name} <= ${s.bound.key}` : s.name))).toEqual([
      "B",
      "T",
      "n <= B*T",
    ]);
  });
  it("are chosen by name, by default, or because there is no other", () => {
    const two = (word: string) =>
      `model a() (x: f32[2]) -> f32[2] { return relu(x) }\n${word} b() (x: f32[2]) -> f32[2] { return exp(x) }`;
    expect(build(two("default model")).name).toBe("b");
    expect(build(two("model"), { model: "a" }).name).toBe("a");
    expect(build(two("block")).name).toBe("a");
  });
  it("share weights by key where there are several entry points", () => {
    const text = ["a", "b"]
      .map((n) => `model ${n}() (x: f32[B, 4]) -> f32[B, 4] { return linear(x, out = 4) @fc }`)
      .join("\n");
    const e = elaborateText(text, { models: ["a", "b"] });
    expect(e.module!.graphs.map(keys)).toEqual([
      ["fc.weight", "fc.bias"],
      ["fc.weight", "fc.bias"],
    ]);
    const wrong = text
      .replace("out = 4) @fc }\nmodel b", "out = 4) @fc }\nmodel b")
      .replace(
        "f32[B, 4]) -> f32[B, 4] { return linear(x, out = 4) @fc }",
        "f32[B, 5]) -> f32[B, 4] { return linear(x, out = 4) @fc }",
      );
    expect(problems(wrong, { models: ["a", "b"] })).toEqual(["shared-weight-type"]);
  });
  it("are blocks, and configurations are models with parameters given", () => {
    const inner = `model inner(depth: int = 1) (x: f32[B, 4]) -> f32[B, 4] { repeat depth { x = relu(x) } return x }
      config deep of inner (depth = 3)`;
    const text = `import { inner, deep } from "./inner"\nmodel m() (x: f32[B, 4]) -> f32[B, 4] { return x |> inner() @a |> deep() @b }`;
    expect(ops(build(text, { files: { "inner.model": inner } }))).toHaveLength(4);
  });
  it("take parameters as text", () => {
    const text = `const wide = 9
      model m(n: int = 1, f: float = 1, b: bool = false, s: string = "", d: dtype = f32, l: [int] = [], w: up | down = up, act: block = relu, o: block? = none)
        (x: f32[B]) -> f32[B] { return x }`;
    const set = {
      n: "wide * 2",
      f: "2",
      b: "true",
      s: "a b",
      d: "f16",
      l: "[1, 2]",
      w: "down",
      act: "gelu(approximate = tanh)",
      o: "none",
    };
    const e = elaborateText(text, { set });
    expect(e.diagnostics.map(showDiagnostic)).toEqual([]);
    expect(Object.fromEntries(e.settings[0]!.settings.map((s) => [s.name, s.value]))).toEqual({
      n: "18",
      f: "2.0",
      b: "true",
      s: '"a b"',
      d: "f16",
      l: "[1, 2]",
      w: "down",
      act: "gelu(approximate = tanh)",
      o: "none",
    });
  });
  it.each([
    ["n=four", "unknown-name"],
    ["n=1.5", "parameter-type"],
    ["n=1 2", "syntax"],
    ["n=", "syntax"],
    ["n=1\nconst x = 2", "parameter-type"],
    ["w=left", "unknown-word"],
  ])("refuse --set %j", (setting, code) => {
    const text = "model m(n: int = 1, w: up | down = up) (x: f32[B]) -> f32[B] { return x }";
    const at = setting.indexOf("=");
    const found = problems(text, { set: { [setting.slice(0, at)]: setting.slice(at + 1) } });
    expect(found).toEqual([code]);
  });
  it("tell what they offer", () => {
    const text = `// A model.\n// Of two lines.\ndefault model m(n: int = 1, head: timm | original = timm) (x: f32[B, 3]) -> (y: f32[B, 3]) { return x }\nconfig big of m (n = 2)\nconfig huge of m extends big (n = 3)`;
    expect(elaborateText(text).models[0]).toMatchObject({
      name: "m",
      isDefault: true,
      doc: "A model.\nOf two lines.",
      parameters: [
        { name: "n", type: "int", default: "1" },
        { name: "head", type: "timm | original", default: "timm" },
      ],
      inputs: [{ name: "x", type: "f32[B, 3]" }],
      results: [{ name: "y", type: "f32[B, 3]" }],
      configs: [
        { name: "big", args: [{ name: "n", value: "2" }] },
        { name: "huge", extends: "big" },
      ],
    });
  });
});

describe("state, taps and annotations", () => {
  it("a state is a pair of values, named under its label", () => {
    const text = `block Count() (x: f32[B, C, H, W]) -> f32[B, C, H, W] {
        state seen: f32[C] = 1
        seen = seen + sum(x, axes = [B, H, W])
        return x
      }
      ${modelOf("return x |> Count() @a |> Count() @b")}`;
    const g = build(text);
    expect(g.states.map((s) => [s.name, s.id, s.initial])).toEqual([
      ["a.seen", "%a.seen.in", 1],
      ["b.seen", "%b.seen.in", 1],
    ]);
    expect(g.states[0]!.next).toBe(g.nodes[1]!.results[0]!.id);
  });
  it("taps are outputs behind the results, named under their block", () => {
    const text = `block Tapped() (x: f32[B, C, H, W]) -> f32[B, C, H, W] { output inner = x  return relu(x) }
      ${modelOf("repeat 2 as i @s { output stages[i] = x  x = x |> Tapped() @t }\nreturn x")}`;
    expect(build(text).outputs.map((o) => o.name)).toEqual([
      "output",
      "stages.0",
      "s.0.t.inner",
      "stages.1",
      "s.1.t.inner",
    ]);
  });
  it("annotations go to the call they stand behind, the turns of a loop, or all calls inside", () => {
    const g = build(
      modelOf(`x = relu(x) with reduce tome(r = 8, mode = fast)
        repeat 2 @b with reduce tome(r = 4) { x = relu(x) }
        with reduce tome(r = 2) { x = exp(x) }
        return x`),
    );
    expect(g.nodes.map((n) => n.annotations.map((a) => a.args["r"]))).toEqual([[8], [], [], [2]]);
    expect(g.nodes[0]!.annotations).toEqual([{ name: "reduce", call: "tome", args: { r: 8, mode: "fast" } }]);
    expect(g.scopes.map((s) => s.annotations[0]!.args["r"])).toEqual([4, 4]);
  });
});

describe("errors", () => {
  it("carry the chain of calls, with the iteration", () => {
    const text = `block Grow(out: int) (x: f32[B, C, H, W]) -> f32[B, out, H, W] {
  y = conv2d(x, out = out, kernel = 1) @conv
  return x + y
}
${modelOf("for d in [4, 8] @blocks { x = x |> Grow(out = d) }\nreturn x")}`;
    const [d] = elaborateText(text).diagnostics;
    expect(d!.code).toBe("add.shapes");
    expect(d!.notes.map((n) => n.message)).toContain("in Grow called from 6:36, iteration 2 of @blocks");
  });
  it("say where the number of an axis came from", () => {
    const text = `model m() (x: f32[B, 4]) -> f32[B, 5] {
  h = linear(x, out = 6) @fc
  h = relu(h)
  return gelu(h)
}`;
    const [d] = elaborateText(text).diagnostics;
    const note = d!.notes.find((n) => n.message === "the 6 of axis 1 comes from here");
    expect(note && text.slice(note.span!.start, note.span!.end)).toBe("linear(x, out = 6) @fc");
  });
  it("are reported once for a block that is called often", () => {
    const text = `block Bad() (x: f32[B, C, H, W]) -> f32[B, C, H, W] { return x + nothing }\n${modelOf("repeat 9 { x = Bad(x) }\nreturn x")}`;
    expect(problems(text)).toEqual(["unknown-name"]);
  });
});
