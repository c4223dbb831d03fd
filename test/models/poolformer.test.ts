// PoolFormer-S12 with weights made from their names, both heads, against PyTorch's results in f64. Batch 1, because the embedded
// driver needs tens of seconds for an image.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, load, type Tensor } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { signed } from "../../src/runtime/seeded.ts";
import { compileExample, differenceOf, openAdapter, readTensors, rowsOf, seededWeights } from "./support.ts";

const patience = 600_000;
const pixels = 3 * 224 * 224;

/** A wrong epsilon or the tanh form of GELU differs by more. */
const tolerance = 5e-5;

const image: Tensor = {
  dtype: "f32",
  shape: [1, 3, 224, 224],
  data: Float32Array.from(signed("input", 2 * pixels).subarray(0, pixels)),
};

/** The fixture keeps every 97th element of both images' results. */
function every97(t: Tensor): readonly number[] {
  return Array.from({ length: Math.ceil(t.data.length / 97) }, (_, i) => t.data[i * 97]!);
}

describe("PoolFormer-S12, seeded", { timeout: patience }, () => {
  let opened: OpenedDevice;
  let expected: Record<string, Tensor>;

  beforeAll(async () => {
    opened = await openAdapter();
    expected = await readTensors("test/fixtures/poolformer/poolformer_s12_seeded_expected.safetensors");
  });

  afterAll(() => opened?.device.destroy());

  const expectFixture = (outputs: Readonly<Record<string, Tensor>>, logits: string, most: number): void => {
    const wanted = rowsOf(expected[logits]!, 0, 1);
    expect(differenceOf(outputs["logits"]!.data, wanted.data), logits).toBeLessThan(most);
    for (const i of [0, 1, 2, 3]) {
      const stage = outputs[`stages.${i}`];
      if (!stage) continue;
      const samples = every97(stage);
      const all = expected[`stages.${i}.every97`]!.data;
      expect(all.length, `stages.${i}`).toBeGreaterThanOrEqual(samples.length);
      expect(differenceOf(samples, all.slice(0, samples.length)), `stages.${i}`).toBeLessThan(most);
    }
  };

  it("gives the fixture's logits with timm's head, in at most 70 dispatches and one submit", async () => {
    const compiled = compileExample("poolformer", { config: "s12", target: opened.target });
    const session = await load(compiled, seededWeights(compiled.module.graphs), opened.device);
    const outputs = await session.run({ image });
    expectFixture(outputs, "logits_timm", tolerance);
    const { stats } = session;
    expect(stats.dispatches).toBeLessThanOrEqual(70);
    expect(stats.submits).toBe(1);
    expect(stats.arenaBytes / stats.peakLiveBytes).toBeLessThanOrEqual(1.3);
    await session.dispose();
  });

  it("gives the fixture's logits with the authors' head, and every stage's result", async () => {
    const set = { head: "original", taps: "true" };
    const compiled = compileExample("poolformer", { config: "s12", set, target: opened.target });
    const session = await load(compiled, seededWeights(compiled.module.graphs), opened.device);
    const outputs = await session.run({ image });
    expect(Object.keys(outputs)).toEqual(["logits", "stages.0", "stages.1", "stages.2", "stages.3"]);
    expectFixture(outputs, "logits", tolerance);
    await session.dispose();
  });

  it.each([
    ["timm", "logits_timm"],
    ["original", "logits"],
  ])("means the fixture in the reference, in f64, with head %s", (head, logits) => {
    const { module } = compileExample("poolformer", { config: "s12", set: { head, taps: "true" } });
    const graph = module.graphs[0]!;
    const { outputs } = evaluate(graph, seededWeights([graph]), { image });
    expectFixture(outputs, logits, 1e-6);
  });

  it("means the fixture in the reference, in f32", () => {
    const { module } = compileExample("poolformer", { config: "s12", set: { taps: "true" } });
    const graph = module.graphs[0]!;
    const { outputs } = evaluate(graph, seededWeights([graph]), { image }, { precision: "f32" });
    expectFixture(outputs, "logits_timm", tolerance);
  });
});
