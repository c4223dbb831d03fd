// The tables and the plot of bench/scale.ts.

import { expect, it } from "vitest";
import { scalePlot, seriesTable, type ScaleSeries } from "../../bench/scale-report.ts";

const point = (size: number, processor: number, macs: number) => ({
  ...{ size, processor, macs },
  wall: processor / 2,
  units: size,
});
const series: ScaleSeries = {
  ...{ name: "batch", doc: "a model", size: "images", unit: "image", by: "processor", load: 1, rounds: 3 },
  points: [point(1, 40, 1e9), point(4, 100, 4e9)],
};

it("a row says what a unit of work costs, by the time that counts", () => {
  const rows = seriesTable(series).trimEnd().split("\n");
  expect(
    rows
      .at(-1)!
      .split("|")
      .map((cell) => cell.trim()),
  ).toEqual(["", "4", "50.0", "100", "8.00", "25.0", "12.5", ""]);
  expect(seriesTable({ ...series, by: "wall" })).toContain("| ms for each image");
});

it("the plot's dashed line has the best rate of the series", () => {
  const [ideal, times] = [...scalePlot([series]).matchAll(/<path d="(M[\d.]+ [\d.]+L[^"]+)"/g)].map(
    (m) => m[1]!,
  );
  const ends = (path: string) =>
    path
      .slice(1)
      .split("L")
      .map((p) => p.split(" ").map(Number));
  const [idealFirst, idealLast] = ends(ideal!);
  const [first, last] = ends(times!);
  expect(idealLast).toEqual(last);
  // 25 ms are less than the 40 that were measured: further down.
  expect(idealFirst![1]).toBeGreaterThan(first![1]!);
});
