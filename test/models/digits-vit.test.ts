// The trained attention encoder, from its file to answers on the adapter of this machine.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, load, type Compiled, type Session, type Tensor } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { compileExample, largestDifference, openAdapter, readTensors, rowsOf } from "./support.ts";

describe("digits_vit", { timeout: 300_000 }, () => {
  let opened: OpenedDevice;
  let compiled: Compiled;
  let session: Session;
  let weights: Record<string, Tensor>;
  let images: Tensor;
  let labels: Tensor;
  let expected: Tensor;

  beforeAll(async () => {
    opened = await openAdapter();
    compiled = compileExample("digits_vit", { target: opened.target });
    weights = await readTensors("examples/data/digits_vit.safetensors");
    ({ images, labels } = (await readTensors("test/fixtures/digits/digits_test.safetensors")) as {
      images: Tensor;
      labels: Tensor;
    });
    expected = (await readTensors("test/fixtures/digits/digits_vit_expected.safetensors"))["logits"]!;
    session = await load(compiled, (key) => weights[key]!, opened.device);
  }, 300_000);

  afterAll(async () => {
    await session?.dispose();
    opened?.device.destroy();
  });

  it("gives the fixture's logits for all 360 images, and its accuracy", async () => {
    const { logits } = await session.run({ images });
    expect(largestDifference(logits!, expected)).toBeLessThan(1e-4);
    const guesses = Array.from({ length: 360 }, (_, i) => {
      const row = logits!.data.slice(i * 10, i * 10 + 10);
      return row.indexOf(Math.max(...row));
    });
    expect(guesses.filter((g, i) => g === labels.data[i])).toHaveLength(353);
  });

  it("means the same in the reference, in f64", () => {
    const graph = compiled.module.graphs[0]!;
    const some = { images: rowsOf(images, 0, 12) };
    const { logits } = evaluate(graph, (key) => weights[key], some).outputs;
    expect(largestDifference(logits!, rowsOf(expected, 0, 12))).toBeLessThan(1e-6);
  });

  it("runs one image with the pipelines it has", async () => {
    const { logits } = await session.run({ images: rowsOf(images, 7, 8) });
    expect(largestDifference(logits!, rowsOf(expected, 7, 8))).toBeLessThan(1e-4);
  });

  // docs/token-reduction.md; another adapter may round a choice between two tokens that are alike differently.
  it("merges tokens: 35, 18 and 10 are left of 65, and two points of accuracy at most are lost", async () => {
    const reduced = compileExample("digits_vit", { target: opened.target, reduce: ["tome:r=15,inflect=-1"] });
    const step = reduced.steps[0]!.find((x) => x.pass.name === "reduce-tokens")!;
    expect(step.events.map((e) => / become (\d+)/.exec(e.after[0]!)![1])).toEqual(["35", "18", "10"]);
    const merging = await load(reduced, (key) => weights[key]!, opened.device);
    const { logits } = await merging.run({ images });
    const right = Array.from({ length: 360 }, (_, i) => {
      const row = logits!.data.slice(i * 10, i * 10 + 10);
      return row.indexOf(Math.max(...row)) === labels.data[i];
    });
    expect(right.filter(Boolean).length).toBeGreaterThanOrEqual(345);
    const some = { images: rowsOf(images, 0, 4) };
    const meaning = evaluate(step.after, (key) => weights[key], some).outputs["logits"]!;
    expect(largestDifference(rowsOf(logits!, 0, 4), meaning)).toBeLessThan(1e-4);
    await merging.dispose();
  });
});
