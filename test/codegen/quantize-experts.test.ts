// Experts in 8 and 4 bits, whichever way they are computed: against the layer as it is written, in f64, with weights that were rounded by a
// transcription of the definition. The router is as it was, so choices are the same.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, load, seededInput, type Compiled, type Tensor } from "../../src/index.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { lavapipe } from "../../src/ir/target.ts";
import { expertWays } from "../../src/passes/expert-cost.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { compileText, largestDifference, openAdapter, seededWeights } from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";
import { rounded } from "./rounded.ts";

const width = 40;
const text = `
import { Combine } from "std/experts"
import { SwiGlu } from "std/transformer"
model m (x: f32[T, ${width}], z: f32[T, 4]) -> (y: f32[T, ${width}], ids: u32[T, 2]) {
  ids, weights = route(z + linear(x, out = 4, bias = false) @gate, k = 2)
  y = x |> per_expert(ids, of = SwiGlu(hidden = 24), count = 4) @experts |> Combine(weights)
  return y = y, ids = ids
}`;

/** One divides the widths of experts, the other leaves shorter groups at their ends. */
const ways = [
  { quantize: "int8:group=8", group: 8, most: 127 },
  { quantize: "int4:group=7", group: 7, most: 7 },
];

describe("quantised experts", { timeout: 300_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(ways)("$quantize: every way of computing them, with experts that have no token", async (how) => {
    const { quantize, group, most } = how;
    const graph = compileText(text).module.graphs[0]!;
    const weights = seededWeights([graph]);
    const own = (key: string): Tensor => {
      const w = weights(key);
      return key === "gate.weight" ? w : rounded(w, w.shape.length - 1, group, most);
    };
    for (const T of [1, 30]) {
      const x = seededInput("x", [T, width]);
      // The last two experts are chosen by nobody.
      const bias = Array.from({ length: 4 * T }, (_, i) => (i % 4 < 2 ? 0 : -100));
      const inputs = { x, z: tensor("f32", [T, 4], bias) };
      const wanted = evaluate(graph, own, inputs).outputs;
      for (const experts of expertWays) {
        const hold = (got: Readonly<Record<string, Tensor>>, where: string): void => {
          expect(got["ids"]!.data, where).toEqual(wanted["ids"]!.data);
          expect(largestDifference(got["y"]!, wanted["y"]!), `${experts}, ${T}, ${where}`).toBeLessThan(2e-5);
        };
        const compiled = compileText(text, { experts, quantize, target: lavapipe });
        expect(packed(compiled), experts).toBe(3);
        hold(runPlan(compiled, weights, inputs, { T }).outputs, "the interpreter");
        const there = compileText(text, { experts, quantize, target: opened.target });
        const session = await load(there, weights, opened.device);
        hold(await session.run(inputs), opened.name);
        await session.dispose();
      }
    }
  });

  it("leaves what a router chooses by, and says so", () => {
    const compiled = compileText(text, { quantize: "int8" });
    const step = compiled.steps[0]!.find((s) => s.pass.name === "quantize-weights")!;
    expect(step.events).toHaveLength(3);
    expect(step.refusals.map((r) => r.reason)).toEqual([
      "its weights stay as they are: a choice is made by what linear computes",
    ]);
    expect(compiled.plan.constants.find((c) => c.keys.includes("gate.weight"))!.dtype).toBe("f32");
  });
});

const packed = ({ plan }: Compiled): number =>
  plan.constants.filter((c) => c.dtype === "i8" || c.dtype === "i4").length;
