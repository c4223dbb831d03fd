// The evaluator: order and lifetimes, symbols, states, groups, rounding, the prepare program.

import { describe, expect, test } from "vitest";
import { bindGraph } from "../../src/ir/bind.ts";
import { dim, mulDim, productDim } from "../../src/ir/dim.ts";
import { evaluate, evaluatePrepared } from "../../src/ir/evaluate.ts";
import { GraphBuilder, type Graph, type SymbolDecl } from "../../src/ir/graph.ts";
import type { OpDefinition } from "../../src/ir/op.ts";
import { tensor, type Tensor } from "../../src/ir/tensor.ts";
import { tensorType, type DType } from "../../src/ir/types.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import { defineOp } from "../../src/ops/define.ts";
import { lookupOp } from "../../src/ops/index.ts";

interface Parts {
  readonly symbols?: readonly SymbolDecl[];
  readonly inputs?: Readonly<Record<string, ReturnType<typeof tensorType>>>;
  readonly weights?: Readonly<Record<string, ReturnType<typeof tensorType>>>;
  readonly states?: Graph["states"];
}

/** Ids are `%name` for inputs and `$name` for weights. */
function graphOf(parts: Parts, build: (b: GraphBuilder) => Record<string, string>): Graph {
  const b = new GraphBuilder("test", lookupOp);
  const inputs = Object.entries(parts.inputs ?? {}).map(([name, type]) => ({
    id: `%${name}`,
    name,
    type,
    spans: [],
  }));
  const weights = Object.entries(parts.weights ?? {}).map(([key, type]) => ({
    id: `$${key}`,
    key,
    type,
    spans: [],
  }));
  for (const x of [...inputs, ...weights, ...(parts.states ?? [])]) b.declare(x.id, x.type);
  const outputs = Object.entries(build(b)).map(([name, value]) => ({ name, value, spans: [] }));
  return {
    name: "test",
    symbols: parts.symbols ?? [],
    inputs,
    weights,
    states: parts.states ?? [],
    scopes: [],
    nodes: b.nodes,
    outputs,
    guards: [],
    nextId: b.nextId,
  };
}

const f32 = (shape: readonly number[], values: readonly number[]): Tensor =>
  tensor("f32", shape, values, "f64");
const bound = (...names: string[]): SymbolDecl[] => names.map((name) => ({ kind: "bound", name }));
const codesOf = (run: () => unknown): string[] => {
  try {
    run();
  } catch (e) {
    if (e instanceof InputError) return e.diagnostics.map((d) => d.code);
    throw e;
  }
  return [];
};

const pairwise = graphOf(
  { symbols: bound("B", "N"), inputs: { a: tensorType("f32", ["B", "N"]), b: tensorType("f32", ["N"]) } },
  (b) => ({ y: b.call("add", ["%a", "%b"]) }),
);

describe("symbols", () => {
  const shapes = (a: number[], b: number[]) => bindGraph(pairwise, { a, b });

  test("are found from the inputs", () => {
    expect(shapes([2, 3], [3])).toMatchObject({ env: { B: 2, N: 3 }, diagnostics: [] });
  });

  test.each([
    ["sizes that disagree", { a: [2, 3], b: [4] }, {}, "dimension-conflict"],
    ["a wrong rank", { a: [2, 3], b: [3, 1] }, {}, "input-rank"],
    ["an input that is not given", { a: [2, 3] }, {}, "missing-input"],
    ["a size below zero", { a: [-1, 3], b: [3] }, {}, "input-shape"],
    ["a name that is no dimension", { a: [2, 3], b: [3] }, { Q: 1 }, "unknown-dimension"],
    ["a size that is none", { a: [2, 3], b: [3] }, { B: -2 }, "bad-dimension"],
    ["a size that the input contradicts", { a: [2, 3], b: [3] }, { B: 5 }, "dimension-conflict"],
  ] as const)("%s are told", (_, given, dims, code) => {
    const { diagnostics } = bindGraph(pairwise, given, dims);
    expect(diagnostics.map((d) => d.code)).toContain(code);
  });

  test("one that nothing fixes is told, and can be given", () => {
    const graph = graphOf({ symbols: bound("B") }, (b) => ({
      y: b.call("constant", [], { value: 1, shape: [dim("B")] }),
    }));
    expect(codesOf(() => evaluate(graph, new Map(), {}))).toEqual(["unbound-dimension"]);
    expect(evaluate(graph, new Map(), {}, { dims: { B: 3 } }).outputs["y"]!.shape).toEqual([3]);
  });

  test("results that would be empty or enormous are told before anything runs", () => {
    const pool = graphOf({ symbols: bound("H"), inputs: { x: tensorType("f32", [1, 1, "H", 4]) } }, (b) => ({
      y: b.call("avg_pool2d", ["%x"], { size: [3, 3], stride: [1, 1] }),
    }));
    expect(bindGraph(pool, { x: [1, 1, 2, 4] }).diagnostics.map((d) => d.code)).toEqual(["empty-tensor"]);
    const outer = graphOf({ symbols: bound("N"), inputs: { x: tensorType("f32", ["N", 1]) } }, (b) => ({
      y: b.call("matmul", ["%x", "%x"], { transpose_b: true }),
    }));
    expect(bindGraph(outer, { x: [100000, 1] }).diagnostics.map((d) => d.code)).toEqual(["too-large"]);
  });

  test("nothing comes of nothing: an empty input where all results are empty", () => {
    const empty = { dtype: "f32", shape: [0, 3], data: new Float32Array(0) } as const;
    const b = { dtype: "f32", shape: [3], data: new Float32Array(3) } as const;
    expect(evaluate(pairwise, new Map(), { a: empty, b }).outputs["y"]!.shape).toEqual([0, 3]);
    const total = graphOf({ symbols: bound("B"), inputs: { a: tensorType("f32", ["B", 3]) } }, (c) => ({
      y: c.call("sum", ["%a"], { axes: [0] }),
    }));
    expect(codesOf(() => evaluate(total, new Map(), { a: empty }))).toEqual(["empty-input"]);
  });

  test("an input may be called like a property of every object", () => {
    const graph = graphOf({ inputs: { constructor: tensorType("f32", [2]) } }, (b) => ({
      y: b.call("neg", ["%constructor"]),
    }));
    expect(bindGraph(graph, {}).diagnostics.map((d) => d.code)).toEqual(["missing-input"]);
    expect([...evaluate(graph, new Map(), { constructor: f32([2], [1, 2]) }).outputs["y"]!.data]).toEqual([
      -1, -2,
    ]);
  });
});

describe("weights and states", () => {
  const scaled = graphOf(
    {
      symbols: bound("B"),
      inputs: { x: tensorType("f32", ["B", 2]) },
      weights: { "s.scale": tensorType("f32", [2]) },
    },
    (b) => ({ y: b.call("mul", ["%x", "$s.scale"]) }),
  );
  const x = f32([1, 2], [3, 4]);

  test("a weight comes from a map or a function, by key", () => {
    const scale = f32([2], [10, 100]);
    for (const source of [
      new Map([["s.scale", scale]]),
      (key: string) => (key === "s.scale" ? scale : undefined),
    ])
      expect([...evaluate(scaled, source, { x }).outputs["y"]!.data]).toEqual([30, 400]);
  });

  test("a weight that is missing or of another shape is told", () => {
    expect(codesOf(() => evaluate(scaled, new Map(), { x }))).toEqual(["weights-missing"]);
    expect(codesOf(() => evaluate(scaled, () => f32([3], [1, 2, 3]), { x }))).toEqual(["weights-shape"]);
  });

  test("an input of another element type is told", () => {
    const wrong = tensor("i32", [1, 2], [3, 4]);
    expect(codesOf(() => evaluate(scaled, () => f32([2], [1, 1]), { x: wrong }))).toEqual(["input-dtype"]);
  });

  const counter = (() => {
    const state = {
      name: "load",
      id: "%load",
      type: tensorType("f32", [2]),
      initial: 5,
      spans: [],
      next: "%0",
    };
    return graphOf({ inputs: { x: tensorType("f32", [2]) }, states: [state] }, (b) => ({
      y: b.call("add", ["%load", "%x"]),
    }));
  })();

  test("a state starts at its initial value and hands its end on", () => {
    const first = evaluate(counter, new Map(), { x: f32([2], [1, 2]) });
    expect([...first.states["load"]!.data]).toEqual([6, 7]);
    const second = evaluate(counter, new Map(), { x: f32([2], [1, 2]) }, { states: first.states });
    expect([...second.states["load"]!.data]).toEqual([7, 9]);
  });

  test("a state that does not fit is told", () => {
    const given = (states: Record<string, Tensor>) => () =>
      evaluate(counter, new Map(), { x: f32([2], [1, 2]) }, { states });
    expect(codesOf(given({ load: f32([3], [1, 2, 3]) }))).toEqual(["state-type"]);
    expect(codesOf(given({ other: f32([2], [1, 2]) }))).toEqual(["unknown-state"]);
  });
});

describe("nodes", () => {
  const chain = graphOf({ inputs: { x: tensorType("f32", [2]) } }, (b) => {
    const a = b.call("neg", ["%x"]);
    return { kept: a, y: b.call("square", [b.call("add", [a, a])]) };
  });

  test("are observed in order", () => {
    const seen: string[] = [];
    const { outputs } = evaluate(
      chain,
      new Map(),
      { x: f32([2], [1, 2]) },
      { observe: (n) => seen.push(n.op.name) },
    );
    expect(seen).toEqual(["neg", "add", "square"]);
    expect([...outputs["kept"]!.data, ...outputs["y"]!.data]).toEqual([-1, -2, 4, 16]);
  });

  test("f32 arithmetic is stored in f32, f64 in f64", () => {
    const third = graphOf({ inputs: { x: tensorType("f32", []) } }, (b) => ({
      y: b.call("div", ["%x", b.call("constant", [], { value: 3 })]),
    }));
    const at = (precision: "f32" | "f64") => evaluate(third, new Map(), { x: f32([], [1]) }, { precision });
    expect(at("f64").outputs["y"]!.data[0]).toBe(1 / 3);
    expect(at("f32").outputs["y"]!.data[0]).toBe(Math.fround(1 / 3));
  });

  test("f16 values are rounded wherever they are stored", () => {
    const half = graphOf({ inputs: { x: tensorType("f32", [3]) } }, (b) => ({
      y: b.call("cast", ["%x"], { dtype: "f16" }),
    }));
    const y = evaluate(half, new Map(), { x: f32([3], [2049, 1e-8, 70000]) }).outputs["y"]!;
    expect([...y.data]).toEqual([2048, 0, Infinity]);
  });

  test("f16 statistics are taken in f32: squares beyond 65504 do not overflow", () => {
    const op = lookupOp("variance")!;
    const lowering = op.lowering as Extract<OpDefinition["lowering"], { kind: "decompose" }>;
    const graph = graphOf({ inputs: { x: tensorType("f16", [2]) } }, (b) => ({
      y: b.call("sqrt", [lowering.decompose(b, ["%x"], { axes: [0], keepdims: false })[0]!]),
      z: b.call("rms_norm", ["%x"], { eps: 0 }),
    }));
    const x = tensor("f16", [2], [-200, 200]);
    const { outputs } = evaluate(graph, new Map(), { x });
    expect([...outputs["y"]!.data]).toEqual([200]);
    expect([...outputs["z"]!.data]).toEqual([-1, 1]);
  });

  test("a group is its body", () => {
    const group = lookupOp("group")!;
    const graph = graphOf({ inputs: { x: tensorType("f32", [2]) } }, (b) => {
      const type = b.type("%x");
      const inner = new GraphBuilder("body", lookupOp, 100);
      inner.declare("%p", type);
      const squared = inner.call("square", [inner.call("neg", ["%p"])]);
      const body = { params: [{ id: "%p", type }], nodes: inner.nodes, results: [squared] };
      const attrs = { kind: "element", name: "neg_square" };
      const once = b.add(group, ["%x"], attrs, { body, types: [type] }).results[0]!.id;
      return { y: b.call("neg", [once]) };
    });
    const seen: string[] = [];
    const { outputs } = evaluate(
      graph,
      new Map(),
      { x: f32([2], [2, 3]) },
      { observe: (n) => seen.push(n.op.name) },
    );
    expect([...outputs["y"]!.data]).toEqual([-4, -9]);
    expect(seen).toEqual(["neg", "square", "group", "neg"]);
  });
});

describe("bounded dimensions", () => {
  /** Keeps the positive numbers, in front. */
  const compact = defineOp({
    name: "compact",
    doc: "Test.",
    equation: "y = positive x",
    inputs: [{ name: "x", doc: "x" }],
    infer: () => [tensorType("f32", ["n"])],
    axes: () => [[{ kind: "other" }]],
    reference(c) {
      const kept = [...c.input("x").data].filter((v) => v > 0);
      return [tensor("f32", [kept.length], kept, c.precision)];
    },
    lowering: { kind: "element", element: (c, index) => c.read(0, index) },
    examples: [],
  });
  const graph = graphOf(
    {
      symbols: [...bound("B", "T"), { kind: "bounded", name: "n", bound: mulDim(dim("B"), dim("T")) }],
      inputs: { x: tensorType("f32", ["B", "T"]) },
    },
    (b) => {
      const flat = b.call("reshape", ["%x"], { dims: [productDim([dim("B"), dim("T")])] });
      const rows = b.add(compact, [flat]).results[0]!.id;
      const wide = b.call("unsqueeze", [rows], { axes: [1] });
      return { y: b.call("broadcast_to", [wide], { dims: [dim("n"), 2] }) };
    },
  );

  test("the live value is what the op returned, and everything after has that size", () => {
    const { outputs, dims } = evaluate(graph, new Map(), { x: f32([2, 2], [1, -1, 3, -4]) });
    expect(outputs["y"]!.shape).toEqual([2, 2]);
    expect([...outputs["y"]!.data]).toEqual([1, 1, 3, 3]);
    expect(dims).toEqual({ B: 2, T: 2, n: 2 });
  });
});

describe("the prepare program", () => {
  const graph = graphOf(
    {
      inputs: { x: tensorType("f32", [2]) },
      weights: { a: tensorType("f32", [2]), b: tensorType("f32", [2]) },
    },
    (b) => {
      const folded = b.call("square", ["$a"]);
      const unused = b.call("exp", ["$b"]);
      return { y: b.call("mul", ["%x", folded]), z: b.call("mul", ["%x", unused]) };
    },
  );

  test("runs only what is wanted, and reads only the weights it needs", () => {
    const read: string[] = [];
    const source = (key: string) => {
      read.push(key);
      return f32([2], [3, 4]);
    };
    const values = evaluatePrepared(graph, source, ["%0", "$a"]);
    expect([...values.get("%0")!.data]).toEqual([9, 16]);
    expect([...values.get("$a")!.data]).toEqual([3, 4]);
    expect(new Set(read)).toEqual(new Set(["a"]));
  });
});

test.each(["f32", "f16", "i32", "u32", "bool"] as DType[])("a constant of %s", (dtype) => {
  const graph = graphOf({}, (b) => ({ y: b.call("constant", [], { value: 1, dtype }) }));
  expect(evaluate(graph, new Map(), {}).outputs["y"]).toMatchObject({ dtype, shape: [] });
});
