// What ways of computing experts are estimated to take, where it follows from counting.

import { describe, expect, it } from "vitest";
import { dim } from "../../src/ir/dim.ts";
import { builtinTargets } from "../../src/ir/target.ts";
import { estimateWays } from "../../src/passes/expert-cost.ts";

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
