// Schedules chosen for expected sizes, and those that were measured: which entry is used, that the log says so, and that a table of
// anyone's changes nothing but the schedule.

import { describe, expect, it } from "vitest";
import { canonical } from "../../src/codegen/generated.ts";
import {
  checkTuned,
  findTuned,
  tunedFormat,
  tunedVersion,
  type TunedEntry,
} from "../../src/codegen/tuned.ts";
import { evaluate, lavapipe, load, seededInput, type Compiled } from "../../src/index.ts";
import { hashText } from "../../src/support/hash.ts";
import { compileText, largestDifference, openAdapter, seededWeights } from "../models/support.ts";

const model = `model m (x: f32[S, 64]) -> f32[S, 32] { return gelu(x |> linear(out = 32) @fc) }`;
const target = { ...lavapipe, adapter: "one adapter" };
const tile = (rows: number): string =>
  `subgroup:threads=8x1,tile=${rows}x1,width=4,step=4,split=1,epilogue=direct`;
const sizes = { rows: 49, columns: 32, reduction: 64, batch: 1, products: 1 };

function entry(over: Partial<TunedEntry> = {}): TunedEntry {
  const structure = hashText(
    canonical(
      compileText(model, { target }).optimized.graphs[0]!.nodes.find(
        (n) => n.attrs["kind"] === "contraction",
      )!.body!,
    ).text,
  );
  const tried = [{ schedule: tile(7), predictedMilliseconds: 1, milliseconds: 2, shaderMilliseconds: 300 }];
  return { structure, kernel: "linear_gelu", sizes, schedule: tile(7), firstRunWeight: 0, tried, ...over };
}
const table = (entries: readonly unknown[]) => ({
  ...{ format: tunedFormat, version: tunedVersion, adapter: "one adapter" },
  entries,
});
const from = (e: TunedEntry) => [{ from: "the cache", entries: [e] }];
const chosen = (c: Compiled) => c.plan.entries[0]!.dispatches[0]!;

describe("by expected sizes", () => {
  it("few rows by a batch that is known to be large are many", () => {
    const open = compileText(model, { target });
    const many = compileText(model, { target, sizes: { S: 3136 }, firstRunWeight: 0 });
    expect(chosen(open).schedule).toContain("tile=4x1");
    expect(chosen(many).schedule).toMatch(/tile=[2-6][0-9]x1/);
    expect(chosen(many).why).toMatch(/predicted, number 1 of \d+ by the cost model/);
  });
  it("a tile that wastes fewer rows is taken where compilation counts nothing", () => {
    const c = compileText(model, { target, sizes: { S: 49 }, firstRunWeight: 0 });
    expect(chosen(c).schedule).toMatch(/tile=(25|17|14)x1|tile=(13|26)x1/);
  });
});

describe("by what was measured", () => {
  it("is used for its sizes and structure, and said", () => {
    const c = compileText(model, { target, sizes: { S: 49 }, tuned: from(entry()) });
    expect(chosen(c).schedule).toContain(tile(7));
    expect(chosen(c).why).toMatch(/^tuned, from the cache, measured at 49 rows.*this 2.00 ms/);
    expect(c.lowered.tuned).toHaveLength(1);
  });
  it("is used where sizes are open, and not for others", () => {
    expect(chosen(compileText(model, { target, tuned: from(entry()) })).schedule).toContain(tile(7));
    const other = compileText(model, { target, sizes: { S: 50 }, tuned: from(entry()) });
    expect(chosen(other).schedule).not.toContain(tile(7));
    expect(other.lowered.tuned).toHaveLength(0);
  });
  it("one that cannot run is not used, and that is said", () => {
    const wrong = "subgroup:threads=32x1,tile=7x1,width=4,step=4,split=1,epilogue=direct";
    const c = compileText(model, { target, sizes: { S: 49 }, tuned: from(entry({ schedule: wrong })) });
    expect(chosen(c).schedule).not.toContain("32x1");
    expect(chosen(c).why).toContain("a tuned schedule from the cache is not used");
  });
  it("where sizes are open, takes the one that loses least elsewhere", () => {
    const tried = (a: number, b: number) =>
      [a, b].map((milliseconds, i) => ({
        ...{ schedule: tile([7, 16][i]!), milliseconds },
        ...{ predictedMilliseconds: 1, shaderMilliseconds: 1 },
      }));
    const one = entry({ tried: tried(1, 1.1) });
    const two = entry({ schedule: tile(16), sizes: { ...sizes, rows: 784 }, tried: tried(9, 4) });
    const found = findTuned([{ from: "", entries: [one, two] }], one.structure, undefined);
    expect(found?.entry.schedule).toBe(tile(16));
  });
  it("computes what the definition says", async () => {
    const opened = await openAdapter();
    const compiled = compileText(model, {
      ...{ target: opened.target, sizes: { S: 49 } },
      tuned: from(
        entry({ schedule: "register:threads=8x8,tile=3x1,width=4,step=4,split=1,epilogue=direct" }),
      ),
    });
    expect(chosen(compiled).schedule).toContain("tile=3x1");
    const graph = compiled.module.graphs[0]!;
    const inputs = { x: seededInput("x", [49, 64]) };
    const session = await load(compiled, seededWeights([graph]), opened.device);
    const [ours] = Object.values(await session.run(inputs));
    const [meant] = Object.values(evaluate(graph, seededWeights([graph]), inputs).outputs);
    expect(largestDifference(ours!, meant!)).toBeLessThan(1e-5);
    await session.dispose();
    opened.device.destroy();
  });
});

describe("tables of anyone's", () => {
  it("reads what is written", () => {
    expect(checkTuned(JSON.parse(JSON.stringify(table([entry()]))))).toEqual([]);
  });
  it.each([
    ["no table", null, /holds no tuned schedules/],
    ["another version", { ...table([]), version: 99 }, /version 99/],
    ["no adapter", { ...table([]), adapter: 1 }, /which adapter/],
    ["no list", { ...table([]), entries: {} }, /no entries/],
    ["an entry that is none", table([3]), /entry 0 is no record/],
    [
      "a schedule that cannot be read",
      table([{ ...entry(), schedule: "fast" }]),
      /no schedule that can be read/,
    ],
    ["negative sizes", table([{ ...entry(), sizes: { ...sizes, rows: -1 } }]), /no sizes/],
    [
      "times that are text",
      table([{ ...entry(), tried: [{ schedule: tile(1), milliseconds: "1" }] }]),
      /tried/,
    ],
    ["too many", { ...table([]), entries: Array(20001).fill(0) }, /20000 are the most/],
  ])("%s", (_, data, expected) => {
    expect(checkTuned(data)[0]).toMatch(expected);
  });
});

it("names texts as FNV-1a does", () => {
  expect(hashText("")).toBe("cbf29ce484222325");
  expect(hashText("a")).toBe("af63dc4c8601ec8c");
  expect(hashText("foobar")).toBe("85944171f73967e8");
});
