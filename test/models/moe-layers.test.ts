// One layer of each kind of routed experts, on the interpreter, the adapter and (exported) onnxruntime against the reference; how many dispatches they take.
// That the ways of computing one layer agree is in expert-strategies.test.ts.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { constantOf } from "../../src/ir/dim.ts";
import { elaborateFile, evaluate, load, seededInput } from "../../src/index.ts";
import { lavapipe } from "../../src/ir/target.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { oracleOutputs } from "../oracle/ort.ts";
import { compileExample, largestDifference, openAdapter, resolveStd, seededWeights } from "./support.ts";

const text = readFileSync("examples/moe_layers.model", "utf8");
const tiny = [...text.matchAll(/^config (tiny\w*)/gm)].map((m) => m[1]!);

const layer = (config: string) => compileExample("moe_layers", { config, target: lavapipe });

describe("a layer of each kind", { timeout: 120_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(tiny)("%s", async (config) => {
    const compiled = layer(config);
    const x = seededInput("x", [9, 16]);
    const none = { ...x, shape: [0, 16], data: new Float32Array(0) };
    const graph = compiled.module.graphs[0]!;
    const weights = seededWeights([graph]);
    const wanted = evaluate(graph, weights, { x }).outputs["y"]!;
    expect(largestDifference(runPlan(compiled, weights, { x }, { T: 9 }).outputs["y"]!, wanted)).toBeLessThan(
      2e-5,
    );
    const session = await load(
      compileExample("moe_layers", { config, target: opened.target }),
      weights,
      opened.device,
    );
    expect(largestDifference((await session.run({ x }))["y"]!, wanted)).toBeLessThan(2e-5);

    const exported = (await oracleOutputs(graph, weights, { x }))["y"]!;
    expect(largestDifference(exported, wanted)).toBeLessThan(2e-5);

    // Without tokens nothing comes out, and nothing is dispatched.
    expect(evaluate(graph, weights, { x: none }).outputs["y"]!.shape).toEqual([0, 16]);
    expect(runPlan(compiled, weights, { x: none }, { T: 0 }).outputs["y"]!.shape).toEqual([0, 16]);
    expect((await session.run({ x: none }))["y"]!.shape).toEqual([0, 16]);
    expect(session.stats.dispatches).toBe(0);
    await session.dispose();
  });
});

describe("the plan", () => {
  const kernels = (config: string, set: Readonly<Record<string, string>> = {}, without: string[] = []) => {
    const { plan } = compileExample("moe_layers", { config, set, without, target: lavapipe });
    return plan.entries[0]!.dispatches.map((d) => plan.kernels[d.kernel]!.name);
  };

  it("has seven dispatches, whatever the number of experts", () => {
    expect(kernels("small64", { shared: "0" })).toEqual([
      "linear",
      "route",
      "expert_plan_count",
      "expert_plan_place",
      "grouped_linear_silu",
      "grouped_linear",
      "sum",
    ]);
    expect(kernels("small16", { shared: "0" })).toEqual(kernels("small64", { shared: "0" }));
  });

  // Routers with work of their own take more: Qwen's shared gate; counting seats; the reduced token, its norm and the cosine; the norm of
  // BASE's experts; MoE++'s two-layer router and its constants. Expert choice and Soft MoE have no plan.
  it.each(
    Object.entries({
      ...{
        tiny: 7,
        tiny_deepseek_v2: 7,
        tiny_deepseek_v3: 7,
        tiny_loss_free: 7,
        tiny_mixtral: 7,
        tiny_switch: 7,
      },
      ...{ tiny_qwen: 8, tiny_gshard: 8, tiny_base: 8, tiny_x_moe: 9, tiny_plus_plus: 12 },
      ...{ tiny_expert_choice: 8, tiny_soft: 10 },
      // Stacks with the shared weights would be larger than a binding, so these stay beside; where a stack alone is, its pages leave no
      // bindings to gather rows in the product, or to gate in it.
      ...{ deepseek_moe: 10, deepseek_v2: 9, deepseek_v3: 9, mixtral: 7, qwen: 11, qwen3: 9, olmoe: 7 },
    }),
  )("of %s has %i dispatches at most", (config, most) => {
    expect(kernels(config).length).toBeLessThanOrEqual(most);
  });

  it("has seven in each layer of the language model", () => {
    const { plan, optimized } = compileExample("deepseek_moe", { config: "tiny", target: lavapipe });
    const scopes = new Map(optimized.graphs[0]!.nodes.flatMap((n) => n.results.map((r) => [r.id, n.scope])));
    const own = plan.entries[0]!.dispatches.filter((d) =>
      d.nodes.some((id) => /^model\.layers\.1\.mlp/.test(scopes.get(id) ?? "")),
    );
    expect(own.map((d) => plan.kernels[d.kernel]!.name).length).toBeLessThanOrEqual(7);
    expect(own.length).toBeGreaterThanOrEqual(5);
  });

  it("has none more for shared experts of the same form, and two where they stay beside", () => {
    expect(kernels("small16")).toHaveLength(7);
    expect(kernels("small64")).toEqual(kernels("small16"));
    expect(kernels("small16", {}, ["shared-experts"])).toHaveLength(9);
  });
});

describe("deepseek_moe", () => {
  it("has the parameters of the published model", () => {
    const path = "examples/deepseek_moe.model";
    const front = elaborateFile(
      { name: path, text: readFileSync(path, "utf8") },
      { config: "b16", resolve: resolveStd },
    );
    expect(front.diagnostics).toEqual([]);
    const sizes = front.module!.graphs[0]!.weights.map((w) =>
      w.type.shape.reduce((n, d) => n * constantOf(d)!, 1),
    );
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(16_375_728_128);
  });
});
