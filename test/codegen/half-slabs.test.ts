// Slabs in f16: operands that are stored in f16 stay so in workgroup memory. The sums have the same bits as with slabs in f32, on the
// interpreter and on an adapter that has f16, and the memory is half.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rankSchedules } from "../../src/codegen/schedule-rank.ts";
import {
  parseSchedule,
  refuseSchedule,
  sharedBytes,
  showSchedule,
  type ContractionFacts,
  type Halves,
} from "../../src/codegen/schedule.ts";
import { baseline, load, type Compiled, type Tensor } from "../../src/index.ts";
import { dim } from "../../src/ir/dim.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { seededInputs } from "../models/compare.ts";
import { compileText, openAdapter, seededWeights } from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";

interface Case {
  readonly name: string;
  readonly text: string;
  readonly halves: Halves;
  /** Columns read at once. */
  readonly width: 1 | 4;
}

const both = { row: true, column: true };
const cases: readonly Case[] = [
  {
    name: "a layer",
    text: "model m (x: f16[S, 20]) -> (y: f16[S, 12]) {\n  return x |> linear(out = 12) @fc |> gelu()\n}",
    halves: both,
    width: 4,
  },
  {
    name: "columns one by one, an uneven sum",
    text: "model m (x: f16[S, 13]) -> (y: f16[S, 7]) {\n  return x |> linear(out = 7) @fc\n}",
    halves: both,
    width: 1,
  },
  {
    name: "a padded convolution",
    text: "model m (x: f16[S, 8, 7, 5]) -> (y: f16[S, 12, h, w]) {\n  return x |> conv2d(out = 12, kernel = 3, pad = 1) @conv\n}",
    halves: both,
    width: 1,
  },
  {
    name: "rows that are converted on the way",
    text: "model m (x: f32[S, 6, 20], y: f16[S, 20, 12]) -> (z: f16[S, 6, 12]) {\n  return matmul(cast(x, dtype = f16), y)\n}",
    halves: { row: false, column: true },
    width: 4,
  },
  {
    name: "gate and up",
    text: "model m (x: f16[S, 20]) -> (y: f16[S, 12]) {\n  return silu(x |> linear(out = 12) @gate) * (x |> linear(out = 12) @up)\n}",
    halves: both,
    width: 4,
  },
];

const schedule = "workgroup:threads=4x4,tile=2x1,width=WIDTH,step=8";
const dims = { S: 9 };

const scheduled = (c: Case, slabs: string, target = baseline): Compiled => {
  const text = schedule.replace("WIDTH", String(c.width));
  return compileText(c.text, { target, schedules: { "*": `${text},slabs=${slabs}` } });
};

const contraction = (c: Compiled) => c.kernels.find((k) => k.shared.length > 0)!;
const bytesOf = (c: Compiled): number =>
  contraction(c).shared.reduce((n, s) => n + (s.type.scalar === "f16" ? 2 : 4) * s.type.width * s.length, 0);

const half = { ...baseline, features: [...baseline.features, "shader-f16"] as const };

describe("slabs in f16", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(cases.map((c) => [c.name, c] as const))("%s: the same bits, less memory", async (_, c) => {
    const [wide, narrow] = [scheduled(c, "f32", half), scheduled(c, "f16", half)];
    const used = narrow.plan.entries[0]!.dispatches.map((d) => d.schedule).join();
    expect(used).toContain("slabs=f16");
    const types = contraction(narrow).shared.map((s) => s.type.scalar);
    expect(types).toEqual(types.map((_, i) => (i > 0 || c.halves.row ? "f16" : "f32")));
    const chosen = parseSchedule(used.slice(used.indexOf("workgroup:"))).schedule!;
    const products = contraction(narrow).shared.length - 1;
    expect(bytesOf(narrow)).toBe(sharedBytes(chosen, products, c.halves));
    expect(bytesOf(narrow)).toBeLessThan(bytesOf(wide));

    const graph = wide.module.graphs[0]!;
    const weights = seededWeights([graph]);
    const inputs = seededInputs(graph, dims);
    const same = (a: Readonly<Record<string, Tensor>>, b: typeof a): void => {
      for (const [name, t] of Object.entries(a)) expect(b[name]!.data).toEqual(t.data);
    };
    same(runPlan(wide, weights, inputs, dims).outputs, runPlan(narrow, weights, inputs, dims).outputs);
    if (!opened.target.features.includes("shader-f16")) return;
    const results: Readonly<Record<string, Tensor>>[] = [];
    for (const slabs of ["f32", "f16"]) {
      const session = await load(scheduled(c, slabs, opened.target), weights, opened.device);
      results.push(await session.run(inputs, { dims }));
      await session.dispose();
    }
    same(results[0]!, results[1]!);
  });

  it("are among the schedules of a card, behind the same in f32 until they are measured, and where only they fit", () => {
    const sizes = { rows: 1024, columns: 1024, reduction: 1024, batch: 1, products: 1 };
    const facts: ContractionFacts = {
      ...{ target: baseline, rows: dim(1024), columns: dim(1024), batch: dim(1), reduction: dim(1024) },
      ...{ rowVectors: true, columnVectors: true, halves: both },
    };
    const ranked = rankSchedules(facts, sizes).map((r) => showSchedule(r.schedule));
    const halves = ranked.filter((s) => s.endsWith(",slabs=f16"));
    expect(halves.length).toBeGreaterThan(0);
    for (const s of halves)
      expect(ranked.indexOf(s)).toBeGreaterThan(ranked.indexOf(s.slice(0, -",slabs=f16".length)));
    const { halves: _, ...wide } = facts;
    expect(rankSchedules(wide, sizes).filter((r) => r.schedule.slabs === "f16")).toEqual([]);

    const deep = parseSchedule("workgroup:threads=16x16,tile=8x2,step=32").schedule!;
    expect(refuseSchedule(deep, facts)).toContain("bytes of workgroup memory");
    expect(refuseSchedule({ ...deep, slabs: "f16" }, facts)).toBeUndefined();
  });
});
