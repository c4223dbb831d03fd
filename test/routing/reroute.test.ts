// Vectors on the logits of routers: nothing while they are zero, other choices and weights where they are not, and moved by forward passes.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  compileModule,
  elaborateFile,
  evaluate,
  lookupOp,
  seededInput,
  type Tensor,
} from "../../src/index.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { printModule } from "../../src/ir/print.ts";
import { baseline } from "../../src/ir/target.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { isLogitDelta, withLogitDeltas } from "../../src/routing/reroute.ts";
import { entryNames, inputNames, lossName, tuningModule } from "../../src/tune/graphs.ts";
import { tune, type Tunable } from "../../src/tune/spsa.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { compileText, largestDifference, resolveStd, seededWeights } from "../models/support.ts";

const path = "examples/moe_layers.model";
const plain = elaborateFile(
  { name: path, text: readFileSync(path, "utf8") },
  { config: "tiny", resolve: resolveStd },
).module!.graphs[0]!;
const moved = withLogitDeltas(plain, lookupOp);
const x = seededInput("x", [9, 16]);

const withDelta = (delta: readonly number[]) => {
  const weights = seededWeights([plain]);
  return (key: string): Tensor => (isLogitDelta(key) ? tensor("f32", [4], [...delta]) : weights(key));
};
const outputOf = (weights: (key: string) => Tensor): Tensor => evaluate(moved, weights, { x }).outputs["y"]!;

describe("vectors on logits", () => {
  it("are one for each router, in a graph that holds together, as text too", () => {
    expect(moved.weights.map((w) => w.key).filter(isLogitDelta)).toEqual(["gate.logit_delta"]);
    expect(verifyGraph(moved)).toEqual([]);
    const text = printModule({ name: "m", graphs: [moved] });
    expect(printModule(parseGraphs(text, "m.ir", lookupOp).module!)).toBe(text);
  });

  it("change nothing at zero, and where they are equal", () => {
    const before = evaluate(plain, seededWeights([plain]), { x }).outputs["y"]!;
    expect(largestDifference(outputOf(withDelta([0, 0, 0, 0])), before)).toBe(0);
    expect(largestDifference(outputOf(withDelta([2, 2, 2, 2])), before)).toBeLessThan(1e-12);
  });

  it("send tokens elsewhere, on the interpreter as by their meaning", () => {
    const weights = withDelta([0, 50, 0, 40]);
    const compiled = compileModule({ name: "m", graphs: [moved] }, { target: baseline });
    let ids: Tensor | undefined;
    const { outputs } = runPlan(
      compiled,
      weights,
      { x },
      { T: 9 },
      {
        observe: (kernel, _, value) => void (kernel === "route" && value.dtype === "u32" && (ids = value)),
      },
    );
    expect([...ids!.data]).toEqual(Array.from({ length: 9 }, () => [1, 3]).flat());
    expect(largestDifference(outputs["y"]!, outputOf(weights))).toBeLessThan(1e-5);
    expect(largestDifference(outputs["y"]!, outputOf(withDelta([0, 0, 0, 0])))).toBeGreaterThan(1e-3);
  });

  it("fall to where the loss is smaller, by forward passes alone", async () => {
    const model = compileText(`
      model m (x: f32[T, 2]) -> (logits: f32[T, 2]) {
        weight answers: f32[3, 2]
        i, w = route(x |> linear(out = 3, bias = false) @soft, k = 3)
        return logits = sum(reshape(take_rows(answers, reshape(i, dims = [T * 3])), dims = [T, 3, 2]) * unsqueeze(w, axes = [-1]), axes = [1])
      }`).module.graphs[0]!;
    const graph = withLogitDeltas(model, lookupOp);
    const tuned = new Set(graph.weights.map((w) => w.key).filter(isLogitDelta));
    expect(tuned.size).toBe(1);
    const compiled = compileModule(tuningModule(graph, { tuned, output: "logits", lookup: lookupOp }), {
      target: baseline,
    });
    const given: Record<string, Tensor> = {
      answers: tensor("f32", [3, 2], [4, 0, 0, 4, 1, 1]),
      "soft.weight": tensor("f32", [3, 2], [0, 0, 0, 0, 0, 0]),
    };
    let states: Readonly<Record<string, Tensor>> = Object.fromEntries(
      [...tuned].map((key) => [key, tensor("f32", [3], [0, 0, 0])]),
    );
    const weights = (key: string): Tensor => given[key]!;
    const tokens = {
      x: tensor("f32", [2, 2], [1, 0, 0, 1]),
      [inputNames.labels]: tensor("i32", [2], [1, 1]),
    };
    const target: Tunable = {
      loss: async (key, epsilon) => {
        const inputs = {
          ...tokens,
          [inputNames.key]: tensor("u32", [2], [...key]),
          [inputNames.epsilon]: tensor("f32", [], [epsilon]),
        };
        const run = runPlan(compiled, weights, inputs, { T: 2 }, { entry: entryNames.loss, states });
        return run.outputs[lossName]!.data[0]!;
      },
      move: async (key, amount) => {
        const inputs = {
          [inputNames.key]: tensor("u32", [2], [...key]),
          [inputNames.step]: tensor("f32", [], [amount]),
        };
        states = runPlan(compiled, weights, inputs, {}, { entry: entryNames.update, states }).states;
      },
    };
    const before = await target.loss([0, 0], 0, 0);
    const settings = { model: "m", tuned: "", seed: 1, epsilon: 0.1, rate: 0.5, samples: 4 };
    await tune(target, { settings, entries: [] }, 10, () => undefined);
    expect(await target.loss([0, 0], 0, 0)).toBeLessThan(before / 2);
  });
});
