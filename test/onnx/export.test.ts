// The structure of exported files, read back from their bytes: names, shapes, weights, and how open sizes are computed. That the
// numbers are right is checked against onnxruntime in test/oracle.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { elaborateFile, InputError, lookupOp, seededTensor } from "../../src/index.ts";
import type { Graph } from "../../src/ir/graph.ts";
import type { OpDefinition } from "../../src/ir/op.ts";
import { constantOf } from "../../src/ir/dim.ts";
import { exportOnnx, type OnnxOptions } from "../../src/onnx/export.ts";
import { opTable, withoutOperator } from "../../src/onnx/op-table.ts";
import { decodeModel, type ModelProto, type TensorProto } from "../../src/onnx/proto.ts";
import { callable, randomCall } from "../ops/cases.ts";
import { callGraph, Random } from "../ops/support.ts";

const root = join(import.meta.dirname, "..", "..");
const read = (path: string) => ({ name: path, text: readFileSync(join(root, path), "utf8") });

function graphOf(source: { name: string; text: string }, config?: string): Graph {
  const { module, diagnostics } = elaborateFile(source, {
    resolve: (_, path) => read(path),
    ...(config !== undefined && { config }),
  });
  expect(diagnostics).toEqual([]);
  return module!.graphs[0]!;
}

const weightsOf = (graph: Graph) => {
  const types = new Map(graph.weights.map((w) => [w.key, w.type]));
  return (key: string) =>
    seededTensor(
      key,
      types.get(key)!.shape.map((d) => constantOf(d)!),
    );
};

const exported = (graph: Graph, options?: OnnxOptions): ModelProto =>
  decodeModel(exportOnnx(graph, weightsOf(graph), options));

const model = (body: string, signature = "(x: f32[B, T, 8]) -> (y: f32[B, T, 8])"): Graph =>
  graphOf({ name: "m.model", text: `model m() ${signature} {\n${body}\n}\n` });

/** Every value is made once, and before it is read; every output is made. */
function expectWellFormed({ graph }: ModelProto): void {
  const known = new Set([...graph.input, ...graph.initializer].map((x) => x.name));
  expect(known.size).toBe(graph.input.length + graph.initializer.length);
  for (const node of graph.node) {
    // An input without a name is one that is left out.
    for (const x of node.input.filter((name) => name !== ""))
      expect(known, `input of ${node.name}`).toContain(x);
    for (const x of node.output) {
      expect(known).not.toContain(x);
      known.add(x);
    }
  }
  for (const o of graph.output) expect(known).toContain(o.name);
  expect(new Set(graph.node.map((n) => n.name)).size).toBe(graph.node.length);
}

const shapeOf = (info: ModelProto["graph"]["input"][number]) =>
  info.type.tensorType.shape.dim.map((d) => d.dimParam ?? d.dimValue);

function diagnosticsOf(run: () => unknown) {
  try {
    run();
  } catch (e) {
    if (e instanceof InputError) return e.diagnostics;
    throw e;
  }
  throw new Error("it was exported");
}

describe("powers", () => {
  it.each([
    [1, "x ** reshape(p, dims = [1, 1, 1])", true],
    [8, "x ** p", false],
  ])("an exponent of %i that is broadcast", (size, body, reshaped) => {
    const { graph } = exported(model(`weight p: f32[${size}]\ny = ${body}\nreturn y`));
    const pow = graph.node.find((n) => n.opType === "Pow")!;
    const maker = graph.node.find((n) => n.output[0] === pow.input[1]);
    const to = graph.initializer.find((x) => x.name === maker?.input[1])?.dims.map(Number);
    expect(to).toEqual(reshaped ? [1] : undefined);
  });
});

describe("examples", () => {
  for (const [file, config, input, shape] of [
    ["examples/digits_poolformer.model", undefined, "images", ["B", 1, 8, 8]],
    ["examples/poolformer.model", "tiny", "image", ["B", 3, "H", "W"]],
  ] as const) {
    const graph = graphOf(read(file), config);
    const proto = exported(graph);

    it(`${file} is a well-formed graph with the model's names`, () => {
      expectWellFormed(proto);
      expect(proto.graph.input.map((x) => [x.name, shapeOf(x)])).toEqual([[input, shape]]);
      expect(proto.graph.output.map((x) => [x.name, shapeOf(x)])).toEqual([["logits", ["B", 10]]]);
      expect(proto.opsetImport).toEqual([{ version: 17 }]);
      expect(proto.graph.node.map((n) => n.name)).toContain("stages.0.blocks.0.mlp/Erf");
      expect(proto.graph.node.every((n) => /^\S+\.model:\d+:\d+$/.test(n.docString ?? ""))).toBe(true);
    });

    it(`${file} holds every weight`, () => {
      const weights = weightsOf(graph);
      for (const w of graph.weights) {
        const made = proto.graph.initializer.find((x) => x.name === w.key)!;
        const { shape, data } = weights(w.key);
        expect(made.dims).toEqual(shape);
        expect(floats(made)).toEqual(data);
      }
    });
  }
});

const floats = ({ rawData }: TensorProto) => new Float32Array(new Uint8Array(rawData).buffer);

describe("ops", () => {
  // The rest is made by passes behind the export.
  const written = callable.filter((op) => op.inLanguage !== false || op.name === "copy");

  it("are all in the table, or written with others", () => {
    for (const op of written) {
      const known = Object.hasOwn(opTable, op.name) || "decompose" in op.lowering;
      expect(known, op.name).toBe(!Object.hasOwn(withoutOperator, op.name));
    }
  });

  for (const [name, why] of Object.entries(withoutOperator))
    it(`${name} is refused, and it says why`, () => {
      const graph = callGraph(randomCall(name, new Random(1)));
      let thrown: unknown;
      try {
        exported(graph);
      } catch (e) {
        thrown = e;
      }
      expect(thrown).toBeInstanceOf(InputError);
      const [problem] = (thrown as InputError).diagnostics;
      expect(problem!.code).toBe("onnx.operator");
      expect(problem!.message).toContain(why);
    });

  for (const op of written.filter((o) => !Object.hasOwn(withoutOperator, o.name)))
    it(op.name, () => {
      for (let seed = 0; seed < 5; seed++) {
        const proto = exported(callGraph(randomCall(op.name, new Random(seed))), { lookup: lookupOp });
        expectWellFormed(proto);
        expect(proto.graph.output.map((o) => o.name)).toEqual(op.results.map((_, i) => String(i)));
      }
    });

  it("that ONNX lacks are written as their decomposition", () => {
    const graph = model("return x |> gelu()");
    const gelu = lookupOp("gelu")!;
    const twice: OpDefinition = {
      ...gelu,
      name: "four_x",
      lowering: {
        kind: "decompose",
        decompose(b, [x]) {
          const double = b.call("add", [x, x]);
          return [b.call("add", [double, double])];
        },
      },
    };
    const other = { ...graph, nodes: graph.nodes.map((n) => (n.op === gelu ? { ...n, op: twice } : n)) };
    const proto = exported(other, { lookup: lookupOp });
    expectWellFormed(proto);
    expect(proto.graph.node.map((n) => n.opType)).toEqual(["Add", "Add"]);
    expect(diagnosticsOf(() => exported(other))).toMatchObject([
      { code: "onnx.operator", notes: [{ message: "four_x is at m.model:2:13" }] },
    ]);
  });
});

describe("names", () => {
  it("an output that is an input, or a value that is two outputs", () => {
    const graph = model("y = x\n  z = x + x\n  output again = z\n  output z = z\n  return y");
    const proto = exported(graph);
    expectWellFormed(proto);
    expect(proto.graph.output.map((o) => o.name).sort()).toEqual(["again", "y", "z"]);
    expect(proto.graph.node.map((n) => n.opType).sort()).toEqual(["Add", "Identity", "Identity"]);
  });

  it("a state is an input and an output", () => {
    const graph = model(
      "state total: f32[8] = 0\n  total = total + sum(x, axes = [0, 1])\n  return x * total",
    );
    const proto = exported(graph);
    expectWellFormed(proto);
    expect(proto.graph.input.map((x) => x.name)).toEqual(["x", "total"]);
    expect(proto.graph.output.map((x) => x.name)).toEqual(["y", "total.next"]);
  });
});

describe("sizes", () => {
  const joined = model(
    "return x |> reshape(dims = [B * T, 8]) |> reshape(dims = [B * T, 2, 4])",
    "(x: f32[B, T, 8]) -> (y: f32[B * T, 2, 4])",
  );

  it("one open size is left to ONNX", () => {
    const proto = exported(joined);
    expectWellFormed(proto);
    expect(proto.graph.node.map((n) => n.opType)).toEqual(["Reshape", "Reshape"]);
    expect(shapeOf(proto.graph.output[0]!)).toEqual(["B*T", 2, 4]);
  });

  it("more are computed from the shapes of the inputs", () => {
    const proto = exported(model("return x |> reshape(dims = [T, B, 8]) |> reshape(dims = [B, T, 8])"));
    expectWellFormed(proto);
    expect(proto.graph.node.filter((n) => n.opType === "Shape").map((n) => n.input)).toEqual([["x"], ["x"]]);
    expect(proto.graph.node.filter((n) => n.opType === "Concat")).toHaveLength(2);
  });

  it("dims makes them numbers", () => {
    const proto = exported(model("return x |> reshape(dims = [T, B, 8]) |> reshape(dims = [B, T, 8])"), {
      dims: { B: 2, T: 3 },
    });
    expect(proto.graph.node.map((n) => n.opType)).toEqual(["Reshape", "Reshape"]);
    expect(shapeOf(proto.graph.input[0]!)).toEqual([2, 3, 8]);
  });

  it("a size that must be a number and is none is an error with a place", () => {
    const graph = model(
      "return x |> avg_pool2d(size = 2, stride = 2, ceil_mode = true)",
      "(x: f32[B, 3, H, 8]) -> (y: f32[B, 3, ceil(H / 2), 4])",
    );
    expect(diagnosticsOf(() => exported(graph))).toMatchObject([
      {
        code: "onnx.dimension",
        notes: [{ message: "avg_pool2d is at m.model:2:13" }],
        help: "fix it with --dim H=NUMBER",
      },
    ]);
    expectWellFormed(exported(graph, { dims: { H: 7 } }));
  });

  it("weights beyond 2 GiB are refused before they are read", () => {
    const graph = model(
      "return x |> linear(out = 300000000, bias = false) @huge",
      "(x: f32[B, T, 8]) -> (y: f32[B, T, 300000000])",
    );
    const reads = () =>
      exportOnnx(graph, () => {
        throw new Error("read");
      });
    expect(diagnosticsOf(reads)).toMatchObject([{ code: "onnx.size" }]);
  });
});
