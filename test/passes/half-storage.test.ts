// Whole models in f16 storage: the types at their edges, what stays wide, and what the rounding costs, on the interpreter and an adapter.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, load } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { layers } from "../../src/passes/choices.ts";
import { summers } from "../../src/passes/half-storage.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { seededInputs } from "../models/compare.ts";
import { compileExample, compileText, differenceOf, openAdapter, seededWeights } from "../models/support.ts";

const also = ["half-storage"];

const chain = `model m (x: f32[B, T, 13]) -> (y: f32[B, T, 7]) {
  h = layer_norm(x) @norm |> linear(out = 26) @a |> gelu()
  return linear(h * 0.3 + 1.5, out = 7) @b |> softmax()
}
`;

describe("half-storage", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it("keeps edges as declared, stores layers and weights in f16, and logs each node", () => {
    const compiled = compileText(chain, { also });
    const graph = compiled.optimized.graphs[0]!;
    const step = compiled.steps[0]!.find((s) => s.pass.name === "half-storage")!;
    expect(step.events.length).toBeGreaterThanOrEqual(4);
    expect(graph.inputs[0]!.type.dtype).toBe("f32");
    const result = graph.nodes.flatMap((n) => n.results).find((r) => r.id === graph.outputs[0]!.value)!;
    expect(result.type.dtype).toBe("f32");
    const halves = step.after.nodes.filter((n) => n.op.name === "linear");
    expect(halves).toHaveLength(2);
    for (const n of halves) expect(n.results[0]!.type.dtype).toBe("f16");
    const plain = compileText(chain);
    expect(plain.steps[0]!.some((s) => s.pass.name === "half-storage")).toBe(false);
  });

  it("names ops that there are", () => {
    for (const name of [...layers, ...summers]) expect(lookupOp(name), name).toBeDefined();
  });

  it("keeps what a router chooses by in f32, its layer included", () => {
    const text = `model m (x: f32[B, T, 8]) -> (y: f32[B, T, 3]) {
  h = linear(x, out = 8) @first |> relu()
  values, indices = top_k(linear(h, out = 6) @gate |> softmax(), k = 3)
  return values
}
`;
    const step = compileText(text, { also }).steps[0]!.find((s) => s.pass.name === "half-storage")!;
    const layerTypes = step.after.nodes
      .filter((n) => n.op.name === "linear")
      .map((n) => n.results[0]!.type.dtype);
    expect(layerTypes).toEqual(["f16", "f32"]);
  });

  it("leaves sums and what f16 cannot hold in f32", () => {
    const text = `model m (x: f32[B, T, 8]) -> (y: f32[B, T, 8]) {
  return relu(x) * 100000.0 + unsqueeze(sum(x, axes = [1]), axes = [1])
}
`;
    const step = compileText(text, { also }).steps[0]!.find((s) => s.pass.name === "half-storage")!;
    const type = (op: string) => step.after.nodes.find((n) => n.op.name === op)!.results[0]!.type.dtype;
    expect(type("sum")).toBe("f32");
    expect(type("mul")).toBe("f32");
    expect(type("relu")).toBe("f16");
  });

  it("keeps statistics of rows in f32, and what they scale in f16", () => {
    const text = `model m (x: f32[B, T, 8]) -> (y: f32[B, T, 8]) {
  h = linear(x, out = 8) @first
  centred = h - mean(h, axes = [2], keepdims = true)
  scaled = centred * rsqrt(mean(square(centred), axes = [2], keepdims = true) + 0.00001)
  return relu(scaled) + h
}
`;
    const step = compileText(text, { also }).steps[0]!.find((s) => s.pass.name === "half-storage")!;
    const types = (op: string) =>
      step.after.nodes.filter((n) => n.op.name === op).map((n) => n.results[0]!.type.dtype);
    expect(types("mean")).toEqual(["f32", "f32"]);
    expect(types("rsqrt")).toEqual(["f32"]);
    expect(types("relu")).toEqual(["f16"]);
    expect(types("add").sort()).toEqual(["f16", "f32"]);
  });

  it.each(["digits_poolformer", "digits_vit", "poolformer"])(
    "%s passes on in f16 whatever has more than one number a row, in as many dispatches as in f32",
    (name) => {
      const [half, full] = [compileExample(name, { also }), compileExample(name)];
      const groups = half.optimized.graphs[0]!.nodes.filter((n) => n.body);
      const outputs = new Set(half.optimized.graphs[0]!.outputs.map((o) => o.value));
      const wide = groups
        .flatMap((n) => n.results)
        .filter(({ id, type }) => type.dtype === "f32" && type.shape.length > 2 && !outputs.has(id));
      for (const { type, id } of wide) expect(type.shape.map((d) => d.key).slice(-1), id).toEqual(["1"]);
      expect(groups.length).toBe(full.optimized.graphs[0]!.nodes.filter((n) => n.body).length);
    },
  );

  it("is near the model in f32, on the interpreter and an adapter", async () => {
    const compiled = compileText(chain, { also });
    const graph = compiled.module.graphs[0]!;
    const weights = seededWeights([graph]);
    for (const dims of [
      { B: 2, T: 7 },
      { B: 1, T: 1 },
    ]) {
      const inputs = seededInputs(graph, dims);
      const wanted = evaluate(graph, weights, inputs, { dims }).outputs["y"]!;
      const got = runPlan(compiled, weights, inputs, dims).outputs["y"]!;
      // Seven values are rounded on the way, each to 11 bits, and a softmax passes on what differs.
      const difference = differenceOf(got.data, wanted.data);
      expect(difference).toBeGreaterThan(0);
      expect(difference).toBeLessThan(8 * 2 ** -10);
      if (!opened.target.features.includes("shader-f16")) continue;
      const session = await load(compileText(chain, { also, target: opened.target }), weights, opened.device);
      const y = (await session.run(inputs, { dims }))["y"]!;
      expect(y.dtype).toBe("f32");
      expect(differenceOf(y.data, wanted.data)).toBeLessThan(8 * 2 ** -10);
      await session.dispose();
    }
  });

  it.each(["digits_poolformer"])("%s compiles, and its plan asks for shader-f16", (name) => {
    const compiled = compileExample(name, { also });
    expect(JSON.stringify(compiled)).toContain("shader-f16");
  });
});
