// Selection biases from loads: the worked table of loss-free balancing, and a model whose biases begin at zero, on the adapter.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import {
  compileModule,
  elaborateFile,
  evaluate,
  lookupOp,
  packWeights,
  type Tensor,
} from "../../src/index.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { printModule } from "../../src/ir/print.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { routeRow } from "../../src/ops/route.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { createSession } from "../../src/runtime/session.ts";
import { takeRows } from "../../src/cli/rows.ts";
import { weightsFor } from "../../src/cli/weights.ts";
import {
  affinityLost,
  biasedRouters,
  biasSteps,
  calibrationGraph,
  centred,
} from "../../src/routing/calibrate.ts";
import { loadsOf, maxViolation } from "../../src/routing/loads.ts";
import { openAdapter, readTensors, resolveStd } from "../models/support.ts";

describe("loss-free balancing of six tokens over three experts", () => {
  const scores = [
    [0.92, 0.53, 0.11],
    [0.83, 0.61, 0.24],
    [0.71, 0.32, 0.66],
    [0.86, 0.47, 0.33],
    [0.64, 0.57, 0.52],
    [0.97, 0.28, 0.15],
  ];
  const attrs = {
    k: 1,
    scores: "logits",
    weights: "scores",
    renorm: false,
    eps: 0,
    scale: 1,
    groups: 1,
    keep_groups: 1,
    group_score: "max",
    weightless: -1,
  };
  const choose = (bias: readonly number[]) => scores.map((row) => routeRow(row, bias, attrs).experts[0]!);

  test.each([
    [0, [0, 0, 0, 0, 0, 0], [6, 0, 0], 2, 4.93],
    [1, [0, 0, 2, 0, 1, 0], [4, 1, 1], 1, 4.81],
    [2, [0, 0, 2, 0, 1, 0], [4, 1, 1], 1, 4.81],
    [3, [0, 1, 2, 0, 1, 0], [3, 2, 1], 0.5, 4.59],
  ])("behind %d steps of the sign rule", (steps, chosen, loads, violation, sum) => {
    let bias = [0, 0, 0];
    for (let n = 0; n < steps; n++) {
      const moves = biasSteps(loadsOf(choose(bias), 3), "sign", 0.05);
      bias = bias.map((b, i) => b + moves[i]!);
    }
    const ids = choose(bias);
    expect(ids).toEqual(chosen);
    expect(loadsOf(ids, 3)).toEqual(loads);
    expect(maxViolation(loads)).toBeCloseTo(violation, 12);
    const kept = ids.reduce((s, i, t) => s + scores[t]![i]!, 0);
    expect(kept).toBeCloseTo(sum, 12);
    const lost = affinityLost(scores.flat(), ids, { experts: 3, k: 1, scores: "logits" });
    expect(lost).toBeCloseTo((4.93 - sum) / 6, 12);
  });

  it("chooses the same with a constant added to every bias", () => {
    const bias = [-0.15, 0.15, 0.15];
    expect(choose(bias.map((b) => b + 5))).toEqual(choose(bias));
    expect(centred(bias).reduce((a, b) => a + b, 0)).toBeCloseTo(0, 12);
    expect(choose(centred(bias))).toEqual(choose(bias));
  });

  it("moves in proportion where that is asked for, and nowhere without tokens", () => {
    expect(biasSteps([6, 0, 0], "proportional", 0.05)).toEqual([-0.1, 0.05, 0.05]);
    expect(biasSteps([0, 0, 0], "sign", 0.05)).toEqual([0, 0, 0]);
    expect(biasSteps([0, 0, 0], "proportional", 0.05)).toEqual([0, 0, 0]);
    expect(maxViolation([0, 0, 0])).toBe(0);
  });
});

test("a slot without an expert counts for none", () => {
  expect(loadsOf([0, 3, 1, 3], 3)).toEqual([1, 1, 0]);
});

describe("the digits model with its biases at zero", () => {
  const file = "examples/digits_moe.model";
  const graph = elaborateFile({ name: file, text: readFileSync(file, "utf8") }, { resolve: resolveStd })
    .module!.graphs[0]!;
  const routers = biasedRouters(graph);
  const made = calibrationGraph(graph, routers);
  let adapter: OpenedDevice;
  let weights: (key: string) => Tensor;
  let images: Record<string, Tensor>;
  beforeAll(async () => {
    adapter = await openAdapter();
    weights = await weightsFor({ name: "m", graphs: [graph] }, [], ["examples/data/digits_moe.safetensors"]);
    const all = await readTensors("examples/data/digits_test.safetensors");
    images = takeRows({ images: all["images"]! }, 0, 24, 360);
  });
  afterAll(() => adapter.device.destroy());

  it("has a bias for each of its four routers, in a graph that holds together", () => {
    expect(routers.map((r) => [r.experts, r.k])).toEqual([
      [8, 2],
      [8, 2],
      [8, 2],
      [8, 2],
    ]);
    expect(made.states.map((s) => s.name)).toEqual(routers.map((r) => r.key));
    expect(verifyGraph(made)).toEqual([]);
    const text = printModule({ name: "m", graphs: [made] });
    const read = parseGraphs(text, "m.ir", lookupOp);
    expect(read.diagnostics).toEqual([]);
    expect(printModule(read.module!)).toBe(text);
  });

  it("has the loads of its meaning, and more even ones after some batches", async () => {
    const compiled = compileModule({ name: "m", graphs: [made] }, { target: adapter.target });
    const session = await createSession(adapter.device, compiled.plan, packWeights(compiled, weights));
    const loads = (outputs: Readonly<Record<string, Tensor>>) =>
      routers.map((r) => loadsOf(outputs[r.ids]!.data, r.experts));
    const first = loads(await session.run(images));
    const states = Object.fromEntries(
      routers.map((r) => [r.key, tensor("f32", [r.experts], new Float64Array(r.experts), "f64")]),
    );
    const meant = loads(evaluate(made, weights, images, { states }).outputs);
    // A token between two experts may go to the other one in f32.
    first.forEach((row, i) => row.forEach((n, e) => expect(Math.abs(n - meant[i]![e]!)).toBeLessThan(3)));
    let biases = routers.map((r) => new Array<number>(r.experts).fill(0));
    let last = first;
    for (let n = 1; n <= 12; n++) {
      biases = biases.map((b, i) => {
        const steps = biasSteps(last[i]!, "sign", 0.02 / Math.sqrt(n));
        return centred(b.map((x, e) => x + steps[e]!));
      });
      for (const [i, r] of routers.entries())
        await session.state.set(r.key, tensor("f32", [r.experts], biases[i]!));
      last = loads(await session.run(images));
    }
    const mean = (all: readonly (readonly number[])[]) =>
      all.map(maxViolation).reduce((a, b) => a + b, 0) / all.length;
    expect(mean(last)).toBeLessThan(0.8 * mean(first));
    await session.dispose();
  });
});
