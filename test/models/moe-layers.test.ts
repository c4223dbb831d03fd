// One layer of each kind of routed experts, on the interpreter against the reference; how many dispatches they take; and that the ways of
// computing one layer agree.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { constantOf } from "../../src/ir/dim.ts";
import { elaborateFile, evaluate, seededInput, type Compiled, type Tensor } from "../../src/index.ts";
import { lavapipe } from "../../src/ir/target.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { compileExample, largestDifference, resolveStd, seededWeights } from "./support.ts";

const text = readFileSync("examples/moe_layers.model", "utf8");
const tiny = [...text.matchAll(/^config (tiny\w*)/gm)].map((m) => m[1]!);

const layer = (config: string, set: Readonly<Record<string, string>> = {}, without: readonly string[] = []) =>
  compileExample("moe_layers", { config, set, without, target: lavapipe });

function run(compiled: Compiled, x: Tensor): { readonly y: Tensor; readonly ids: Tensor | undefined } {
  const weights = seededWeights(compiled.module.graphs);
  let ids: Tensor | undefined;
  const { outputs } = runPlan(
    compiled,
    weights,
    { x },
    { T: x.shape[0]! },
    { observe: (kernel, _, value) => void (kernel === "route" && value.dtype === "u32" && (ids = value)) },
  );
  return { y: outputs["y"]!, ids };
}

describe("a layer of each kind", { timeout: 120_000 }, () => {
  it.each(tiny)("%s", (config) => {
    const compiled = layer(config);
    const x = seededInput("x", [9, 16]);
    const graph = compiled.module.graphs[0]!;
    const wanted = evaluate(graph, seededWeights([graph]), { x }).outputs["y"]!;
    expect(largestDifference(run(compiled, x).y, wanted)).toBeLessThan(2e-5);
  });
});

describe("the plan", () => {
  const kernels = (config: string, set: Readonly<Record<string, string>> = {}) => {
    const { plan } = layer(config, set);
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

  it("has two more for shared experts", () => {
    expect(kernels("small16")).toHaveLength(9);
    expect(kernels("small64")).toEqual(kernels("small16"));
  });
});

describe("strategies", { timeout: 120_000 }, () => {
  const x = seededInput("x", [40, 16]);

  it("sorted rows and rows by themselves choose alike and agree", () => {
    const sorted = run(layer("tiny"), x);
    const alone = run(layer("tiny", {}, ["plan-experts"]), x);
    expect(sorted.ids!.data).toEqual(alone.ids!.data);
    expect(largestDifference(sorted.y, alone.y)).toBeLessThan(1e-6);
  });

  it("a token has the same bits in any order of the tokens", () => {
    const size = 16;
    const turned = { ...x, data: new Float32Array(x.data.length) };
    for (let t = 0; t < 40; t++) turned.data.set(x.data.subarray(t * size, (t + 1) * size), (39 - t) * size);
    const [a, b] = [run(layer("tiny"), x).y, run(layer("tiny"), turned).y];
    for (let t = 0; t < 40; t++)
      expect(b.data.slice((39 - t) * size, (40 - t) * size)).toEqual(a.data.slice(t * size, (t + 1) * size));
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
