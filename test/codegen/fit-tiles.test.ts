// Constants come back from times that were made with them, and what is read from a file is checked.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fitShaders, fitTiles, type TilePoint } from "../../src/codegen/fit-tiles.ts";
import { parseSchedule } from "../../src/codegen/schedule.ts";
import { tileConstants, tileCost } from "../../src/codegen/tile-cost.ts";
import { lavapipe } from "../../src/index.ts";
import { checkConstants, type Target } from "../../src/ir/target.ts";
import {
  adapterFile,
  adapterKey,
  measuredHere,
  readConstants,
  writeConstants,
} from "../../src/runtime/adapter-files-node.ts";
import type { AdapterFacts } from "../../src/runtime/device.ts";

const tiles = { ...tileConstants(lavapipe), cyclesPerMicrosecond: 700, far: 31, workgroup: 9000 };
const truth: Target = { ...lavapipe, measured: { ...lavapipe.measured, tiles } };
const points = [1, 4, 8, 16, 24].flatMap((rows) =>
  [
    [196, 1280, 320],
    [784, 128, 512],
  ].map(([m, reduction, columns]): TilePoint => {
    const schedule = parseSchedule(`subgroup:threads=8x1,tile=${rows}x1`).schedule!;
    const sizes = { rows: m!, reduction: reduction!, columns: columns!, batch: 1, products: 1 };
    const milliseconds = tileCost(schedule, sizes, truth) / 1000;
    return { schedule, sizes, milliseconds, shaderMilliseconds: 100 + 40 * (rows / 8) };
  }),
);

describe("fitting", () => {
  it("finds the constants that times were made with", () => {
    const fit = fitTiles(points, lavapipe, tileConstants(lavapipe), [
      "cyclesPerMicrosecond",
      "far",
      "workgroup",
    ]);
    expect(fit.before).toBeGreaterThan(1.5);
    expect(fit.after).toBeLessThan(1.01);
    expect(fit.tiles.far / tiles.far).toBeCloseTo(1, 0);
    expect(fit.tiles.cores).toBe(tiles.cores);
  });
  it("finds the line of shaders", () => {
    const { shaderMilliseconds, shaderMillisecondsPerKibibyte } = fitShaders(points);
    expect(shaderMilliseconds).toBeCloseTo(100, 6);
    expect(shaderMillisecondsPerKibibyte).toBeCloseTo(40, 6);
  });
});

describe("constants as a file", () => {
  const before = process.env["TOKENLOOM_CACHE"];
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tokenloom-"));
    process.env["TOKENLOOM_CACHE"] = folder;
  });
  afterEach(() => {
    if (before === undefined) delete process.env["TOKENLOOM_CACHE"];
    else process.env["TOKENLOOM_CACHE"] = before;
    rmSync(folder, { recursive: true, force: true });
  });
  const info: AdapterFacts = {
    ...{
      name: "card",
      vendor: "maker",
      architecture: "new",
      device: "1",
      driver: "driver 2",
      software: false,
    },
    ...{ subgroups: undefined, features: [], limits: {} },
  };
  const key = adapterKey(info);

  it("are those of the target from then on", () => {
    expect(readConstants(key)).toBeUndefined();
    writeConstants(key, truth.measured);
    const { target, warnings } = measuredHere(lavapipe, info);
    expect(target.measured).toEqual(truth.measured);
    expect(target.adapter).toBe(key);
    expect(warnings).toEqual([]);
  });
  it("belong to the driver: another version has none", () => {
    writeConstants(key, truth.measured);
    expect(measuredHere(lavapipe, { ...info, driver: "driver 3" }).target.measured).toBe(lavapipe.measured);
  });
  it.each([
    ["no JSON", "{"],
    ["another format", "{}"],
    [
      "no number",
      JSON.stringify({ format: "tokenloom-device", version: 1, adapter: key, constants: { gflops: "9" } }),
    ],
    [
      "another adapter",
      JSON.stringify({ format: "tokenloom-device", version: 1, adapter: "x", constants: {} }),
    ],
  ])("%s is told and not used", (_, text) => {
    writeConstants(key, truth.measured);
    expect(dirname(adapterFile(key, "device.json")).startsWith(folder)).toBe(true);
    writeFileSync(adapterFile(key, "device.json"), text);
    const { target, warnings } = measuredHere(lavapipe, info);
    expect(target.measured).toBe(lavapipe.measured);
    expect(warnings[0]).toContain("it is not used");
  });
  it("no cores, or a half of the tiles, are refused", () => {
    expect(checkConstants({ ...truth.measured, tiles: { ...tiles, cores: 0 } })).not.toEqual([]);
    expect(checkConstants({ ...truth.measured, tiles: { cores: 2 } })).not.toEqual([]);
    expect(checkConstants(truth.measured)).toEqual([]);
  });
});
