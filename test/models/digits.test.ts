// The trained digits model, from its file to answers on the adapter of this machine.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, load, type Compiled, type Session, type Tensor } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { compileExample, largestDifference, openAdapter, readTensors, rowsOf } from "./support.ts";

const folder = "test/fixtures/digits";

describe("digits_poolformer", () => {
  let opened: OpenedDevice;
  let compiled: Compiled;
  let session: Session;
  let weights: Record<string, Tensor>;
  let images: Tensor;
  let labels: Tensor;
  let expected: Tensor;

  beforeAll(async () => {
    opened = await openAdapter();
    compiled = compileExample("digits_poolformer", { target: opened.target });
    weights = await readTensors(`${folder}/digits_poolformer.safetensors`);
    ({ images, labels } = (await readTensors(`${folder}/digits_test.safetensors`)) as {
      images: Tensor;
      labels: Tensor;
    });
    expected = (await readTensors(`${folder}/digits_poolformer_expected.safetensors`))["logits"]!;
    session = await load(compiled, (key) => weights[key]!, opened.device);
  });

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
    expect(guesses.filter((g, i) => g === labels.data[i])).toHaveLength(355);
  });

  it("means the same in the reference, in f64", () => {
    const graph = compiled.module.graphs[0]!;
    const { logits } = evaluate(graph, (key) => weights[key], { images }).outputs;
    expect(largestDifference(logits!, expected)).toBeLessThan(1e-6);
  });

  it("gives the same bits again, with one submit and nothing allocated", async () => {
    const first = await session.run({ images });
    const before = session.stats;
    const second = await session.run({ images });
    const after = session.stats;
    expect(second["logits"]!.data).toEqual(first["logits"]!.data);
    expect(after.submits - before.submits).toBe(1);
    expect(after.allocations - before.allocations).toBe(0);
    expect(after.binds - before.binds).toBe(0);
  });

  it("runs other batch sizes with the pipelines it has", async () => {
    const { device } = opened;
    const made: string[] = [];
    const { createComputePipelineAsync, createComputePipeline, createShaderModule } = device;
    Object.assign(device, {
      createComputePipelineAsync: (d: GPUComputePipelineDescriptor) => {
        made.push("pipeline");
        return createComputePipelineAsync.call(device, d);
      },
      createComputePipeline: (d: GPUComputePipelineDescriptor) => {
        made.push("pipeline");
        return createComputePipeline.call(device, d);
      },
      createShaderModule: (d: GPUShaderModuleDescriptor) => {
        made.push("shader");
        return createShaderModule.call(device, d);
      },
    });
    for (const n of [1, 7, 64]) {
      const { logits } = await session.run({ images: rowsOf(images, 0, n) });
      expect(logits!.shape).toEqual([n, 10]);
      expect(largestDifference(logits!, rowsOf(expected, 0, n))).toBeLessThan(1e-4);
    }
    expect(made).toEqual([]);
    // The counter counts: another session does make some.
    const other = await load(compiled, (key) => weights[key]!, device);
    expect(made).toContain("shader");
    await other.dispose();
  });
});
