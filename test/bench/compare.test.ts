// The arithmetic of the benchmark, and the tables it writes.

import { describe, expect, it } from "vitest";
import { tensor } from "../../src/ir/tensor.ts";
import { difference, median, quantile } from "../../bench/compare.ts";
import { caseTable, joined } from "../../bench/report.ts";

const vector = (...values: readonly number[]) => tensor("f32", [values.length], values, "f64");

describe("difference", () => {
  it("is relative to the largest expected number", () => {
    expect(difference(vector(1, 4.5), vector(1, 5))).toBeCloseTo(0.1);
    expect(difference(vector(1, 4.5), vector(1, 5), 50)).toBeCloseTo(0.01);
  });
  it("is infinite where shapes or finiteness differ", () => {
    expect(difference(vector(1), vector(1, 2))).toBe(Infinity);
    expect(difference(vector(NaN), vector(1))).toBe(Infinity);
    expect(difference(vector(Infinity), vector(-Infinity))).toBe(Infinity);
  });
  it("is nothing between equal infinities", () => {
    expect(difference(vector(NaN, -Infinity), vector(NaN, -Infinity))).toBe(0);
  });
});

it("quantiles lie between neighbours", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(quantile([0, 10], 0.9)).toBeCloseTo(9);
});

it("a table has a line for each peer", () => {
  const ratio = { median: 2, p10: 1.5, p90: 2.5 };
  const peer = { peer: "x", times: [1, 2], median: 1.5, p90: 1.9, ratio, difference: 1e-7, stats: {} };
  const text = caseTable({ case: "c", doc: "a case", macs: 3e9, peers: [peer], firstRun: [] });
  expect(text.split("\n").at(-2)).toMatch(
    /^\| x +\| 1\.50 +\| 1\.90 +\| 4000\.0 +\| 2\.00 \(1\.50-2\.50\) +\| 1\.0e-7 +\|$/,
  );
});

it("peak memory is a column where it was measured", () => {
  const ratio = { median: 1, p10: 1, p90: 1 };
  const peer = { peer: "x", times: [1], median: 1, p90: 1, ratio, difference: 0, stats: {} };
  const memory = [{ peer: "x", firstRun: 100 * 2 ** 20, allRuns: 120 * 2 ** 20 }];
  const text = caseTable({ case: "c", doc: "a case", macs: 1, peers: [peer], firstRun: [], memory });
  expect(text).toContain("peak memory MiB: first run, all");
  expect(text.split("\n").at(-2)).toMatch(/\| 0\.0e\+0 +\| 100, 120 +\|$/);
});

it("the share of the ceiling is a column where it was measured", () => {
  const ratio = { median: 1, p10: 1, p90: 1 };
  const peer = { peer: "x", times: [1], median: 1, p90: 1, ratio, difference: 0, stats: {} };
  const ceiling = { gflops: 20, schedule: "subgroup:threads=8x1,tile=24x1", tried: 14 };
  const text = caseTable({ case: "c", doc: "a case", macs: 5e6, peers: [peer], firstRun: [], ceiling });
  expect(text).toMatch(/\| 10\.0 +\| 50 % +\| 1\.00/);
  expect(text).toContain("Ceiling: 20.0 GFLOP/s, the fastest of 14 schedules");
});

it("results of a day keep cases that were not measured again, and where those ran", () => {
  const of = (machine: string, ...names: readonly string[]) => ({
    ...{ date: "2026-01-31", adapter: "a", machine, node: "20" },
    cases: names.map((name) => ({ case: name, doc: machine, macs: 1, peers: [], firstRun: [] })),
  });
  const both = joined(of("one", "a", "b"), of("two", "b", "c"));
  expect(both.cases.map((c) => [c.case, c.doc, "machine" in c && c.machine])).toEqual([
    ["a", "one", "one"],
    ["b", "two", false],
    ["c", "two", false],
  ]);
  expect(joined(undefined, of("one", "a"))).toEqual(of("one", "a"));
  const later = joined(of("one", "a", "b"), { ...of("one", "b"), date: "2026-02-01" });
  expect(later.cases.map((c) => [c.case, c.date])).toEqual([
    ["a", "2026-01-31"],
    ["b", undefined],
  ]);
});
