// The trained digits model with routed experts: logits, accuracy and expert loads as in the fixture, and what the plan promises.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { baseline, evaluate, load, type Compiled, type Session, type Tensor } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { compileExample, largestDifference, openAdapter, readTensors, rowsOf } from "./support.ts";

const folder = "test/fixtures/digits";

/** Images with a token whose second and third expert are 1e-7 apart: f32 may choose otherwise there. */
const nearTies = [200, 244];

/** Tokens that each expert gets in the four blocks, over the 360 images, in f64. */
const loads = [
  [5755, 5845, 5884, 5587, 5762, 5517, 5886, 5844],
  [4672, 5775, 5904, 5724, 6317, 6323, 5498, 5867],
  [1371, 1454, 1551, 1465, 1332, 1440, 1407, 1500],
  [1579, 1562, 1401, 1527, 1204, 1352, 1381, 1514],
];

describe("digits_moe", () => {
  let opened: OpenedDevice;
  let compiled: Compiled;
  let session: Session;
  let weights: (key: string) => Tensor;
  let images: Tensor;
  let labels: Tensor;
  let expected: Tensor;

  beforeAll(async () => {
    opened = await openAdapter();
    compiled = compileExample("digits_moe", { target: opened.target });
    weights = stacked(await readTensors("examples/data/digits_moe.safetensors"));
    ({ images, labels } = (await readTensors(`${folder}/digits_test.safetensors`)) as {
      images: Tensor;
      labels: Tensor;
    });
    expected = (await readTensors(`${folder}/digits_moe_expected.safetensors`))["logits"]!;
    session = await load(compiled, weights, opened.device);
  });

  afterAll(async () => {
    await session?.dispose();
    opened?.device.destroy();
  });

  it("gives the fixture's logits for all images without a near-tie, and its accuracy", async () => {
    const { logits } = await session.run({ images });
    for (let i = 0; i < 360; i++) {
      const difference = largestDifference(rowsOf(logits!, i, i + 1), rowsOf(expected, i, i + 1));
      expect(difference, `image ${i}`).toBeLessThan(nearTies.includes(i) ? 3e-2 : 1e-4);
    }
    const guesses = Array.from({ length: 360 }, (_, i) => {
      const row = logits!.data.slice(i * 10, i * 10 + 10);
      return row.indexOf(Math.max(...row));
    });
    expect(guesses.filter((g, i) => g === labels.data[i])).toHaveLength(355);
  });

  it("means the same in the reference, in f64, with the fixture's loads", () => {
    const counted: number[][] = [];
    const { logits } = evaluate(
      compiled.module.graphs[0]!,
      weights,
      { images },
      {
        observe(node, [ids]) {
          if (node.op.name !== "route") return;
          const load = Array.from({ length: 8 }, () => 0);
          for (const id of ids!.data) load[id]!++;
          counted.push(load);
        },
      },
    ).outputs;
    expect(largestDifference(logits!, expected)).toBeLessThan(1e-6);
    expect(counted).toEqual(loads);
  });

  it("is right on the interpreter, for any target", () => {
    const two = rowsOf(images, 0, 2);
    const { outputs } = runPlan(
      compileExample("digits_moe", { target: baseline }),
      weights,
      { images: two },
      { B: 2 },
    );
    expect(largestDifference(outputs["logits"]!, rowsOf(expected, 0, 2))).toBeLessThan(1e-4);
  });

  it("gives the same bits again, with one submit, and no buffer is mapped but the result's", async () => {
    const first = await session.run({ images });
    const before = session.stats;
    let maps = 0;
    const any = opened.device.createBuffer({ size: 4, usage: 8 });
    const prototype = Object.getPrototypeOf(any) as GPUBuffer;
    const { mapAsync } = prototype;
    prototype.mapAsync = function (...args) {
      maps++;
      return mapAsync.apply(this, args);
    };
    const second = await session.run({ images }).finally(() => {
      prototype.mapAsync = mapAsync;
      any.destroy();
    });
    const after = session.stats;
    expect(second["logits"]!.data).toEqual(first["logits"]!.data);
    expect(after.submits - before.submits).toBe(1);
    expect(after.allocations - before.allocations).toBe(0);
    expect(maps).toBe(1);
  });

  it("gives the bits of an image whatever else is in the batch, and in whatever order", async () => {
    const few = rowsOf(images, 0, 5);
    const alone = await session.run({ images: few });
    const size = few.data.length / 5;
    const data = new Float32Array(few.data.length);
    for (let i = 0; i < 5; i++) data.set(few.data.subarray(i * size, (i + 1) * size), (4 - i) * size);
    const turned = await session.run({ images: { ...few, data } });
    const more = await session.run({ images: rowsOf(images, 0, 9) });
    for (let i = 0; i < 5; i++) {
      const own = rowsOf(alone["logits"]!, i, i + 1).data;
      expect(rowsOf(turned["logits"]!, 4 - i, 5 - i).data).toEqual(own);
      expect(rowsOf(more["logits"]!, i, i + 1).data).toEqual(own);
    }
  });
});

/** Weights under a starred key, of the tensors that have numbers in its place. */
function stacked(tensors: Record<string, Tensor>): (key: string) => Tensor {
  return (key) => {
    const found = tensors[key];
    if (found) return found;
    const parts: Tensor[] = [];
    for (let i = 0; tensors[key.replace("*", String(i))]; i++)
      parts.push(tensors[key.replace("*", String(i))]!);
    const data = new Float32Array(parts.reduce((n, p) => n + p.data.length, 0));
    let at = 0;
    for (const p of parts) {
      data.set(p.data, at);
      at += p.data.length;
    }
    return { dtype: "f32", shape: [parts.length, ...parts[0]!.shape], data };
  };
}
