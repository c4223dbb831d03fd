// Which tile and which split are chosen where all sizes are known, on a card like the one that the constants are of.

import { describe, expect, it } from "vitest";
import { chooseSchedule, showSchedule, type ContractionFacts } from "../../src/codegen/schedule.ts";
import { baseline, evaluate, lavapipe, load, seededInput, type Target } from "../../src/index.ts";
import { dim } from "../../src/ir/dim.ts";
import { compileText, largestDifference, openAdapter, seededWeights } from "../models/support.ts";

const card: Target = {
  ...baseline,
  name: "card",
  subgroupSize: 32,
  limits: {
    ...baseline.limits,
    maxComputeWorkgroupStorageSize: 49152,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupSizeX: 1024,
  },
  measured: { ...baseline.measured, dispatchMicroseconds: 2 },
};

const facts = (rows: number | string, reduction: number, columns: number): ContractionFacts => ({
  target: card,
  rows: dim(rows),
  columns: dim(columns),
  reduction: dim(reduction),
  batch: dim(1),
  rowVectors: true,
  columnVectors: true,
});
const chosen = (...sizes: Parameters<typeof facts>): string => showSchedule(chooseSchedule(facts(...sizes)));

describe("of products whose sizes are known", () => {
  it.each([
    ["large ones take tiles of 8 x 8", 4096, 4096, 4096, /threads=16x16,tile=8x2.*split=1/],
    ["columns that leave half a tile empty take narrower ones", 25088, 1280, 320, /threads=8x16,tile=8x2/],
    ["small ones take small tiles, so that no core waits", 512, 64, 512, /tile=4x1.*split=1/],
    ["few tiles and long sums are split", 196, 1280, 320, /split=(8|16)/],
    ["short sums are not", 3136, 64, 256, /split=1/],
  ])("%s", (_, rows, reduction, columns, expected) => {
    expect(chosen(rows, reduction, columns)).toMatch(expected);
  });
});

describe("of few rows", () => {
  it("the sum is shared out where columns are too few for the adapter", () => {
    expect(chosen("B", 2048, 512)).toMatch(/^subgroup:threads=32x1,tile=1x1.*split=16/);
    expect(chosen("B", 64, 512)).toMatch(/split=1/);
  });
  it("nothing is shared out on cores", () => {
    const s = chooseSchedule({ ...facts("B", 2048, 512), target: lavapipe });
    expect(s.split).toBe(1);
  });
});

describe("kernels for such a card compute what the definition says", () => {
  const target = { ...card, subgroupSize: lavapipe.subgroupSize, features: lavapipe.features };
  it.each([
    [
      "an image's norm",
      "model m (x: f32[B, 4, H, W]) -> f32[B, 4, H, W] { return x |> group_norm(groups = 1) @n }",
      [2, 4, 36, 40],
      "row:threads=1024,rows=1,parts=1,width=4",
    ],
    [
      "few rows",
      "model m (x: f32[B, 512]) -> f32[B, 8] { return gelu(x |> linear(out = 8) @fc) }",
      [3, 512],
      "split=8",
    ],
  ])("%s", async (_, text, shape, schedule) => {
    const opened = await openAdapter();
    const compiled = compileText(text, { target });
    expect(JSON.stringify(compiled.plan)).toContain(schedule);
    const graph = compiled.module.graphs[0]!;
    const inputs = { x: seededInput("x", shape) };
    const session = await load(compiled, seededWeights([graph]), opened.device);
    const [ours] = Object.values(await session.run(inputs));
    const [meant] = Object.values(evaluate(graph, seededWeights([graph]), inputs).outputs);
    expect(largestDifference(ours!, meant!)).toBeLessThan(1e-5);
    await session.dispose();
    opened.device.destroy();
  });
});
