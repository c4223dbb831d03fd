// What ways of computing experts are estimated to take, where it follows from counting.

import { describe, expect, it } from "vitest";
import { dim } from "../../src/ir/dim.ts";
import { builtinTargets } from "../../src/ir/target.ts";
import { estimateWays, expectedTiles } from "../../src/passes/expert-cost.ts";

const macs = 3 * 256 * 256;

describe.each(builtinTargets.map((t) => [t.name, t] as const))("on %s", (_, target) => {
  it.each([
    [2, 8],
    [4, 8],
    [8, 8],
    [6, 64],
  ])("sorting the rows of one token gains nothing: its %i experts of %i are different ones", (k, experts) => {
    const ways = estimateWays({ rows: dim(k), k, experts, bytes: 4 * macs, macs }, k, target);
    const of = (way: string): number => ways.find((w) => w.way === way)!.microseconds;
    expect(of("sort")).toBeGreaterThan(of("gather"));
  });
});

/** Tiles of one expert over every way that tokens can fall, each token with the probability k / experts. */
function enumerated(tokens: number, k: number, experts: number, tile: number): number {
  const p = k / experts;
  let sum = 0;
  for (let set = 0; set < 2 ** tokens; set++) {
    const load = [...set.toString(2)].filter((bit) => bit === "1").length;
    sum += p ** load * (1 - p) ** (tokens - load) * Math.ceil(load / tile);
  }
  return experts * sum;
}

describe("tiles that have rows", () => {
  it.each([
    [1, 2, 8, 4],
    [5, 1, 3, 2],
    [9, 3, 4, 4],
    [10, 4, 4, 4],
    [12, 1, 64, 8],
  ])("%i tokens, %i of %i experts, tiles of %i: as counted out", (tokens, k, experts, tile) => {
    const tiles = expectedTiles(tokens * k, { k, experts }, tile);
    expect(tiles).toBeCloseTo(enumerated(tokens, k, experts, tile), 6);
  });

  it("a million tokens: half a tile an expert beyond their rows", () => {
    const tiles = expectedTiles(4e6, { k: 4, experts: 64 }, 16);
    expect(tiles).toBeCloseTo(4e6 / 16 + (64 * 15) / 32, 0);
  });

  it("none without tokens", () => {
    expect(expectedTiles(0, { k: 2, experts: 8 }, 4)).toBe(0);
  });
});
