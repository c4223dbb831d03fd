// The lowering of every op against its reference, on numbers; and how exact the GELU is in the arithmetic of the GPU.

import { describe, expect, test } from "vitest";
import { erf } from "../../src/ops/loops.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { callable, randomCall } from "./cases.ts";
import { largestDifference, Random, runCall, runDecomposed, type Call } from "./support.ts";
import { exact, runLowering } from "./lowering.ts";

// Those that write their own kernels are in programs.test.ts.
const lowered = callable.filter((op) => !["decompose", "program", "prepare"].includes(op.lowering.kind));
const seeds = [11, 12, 13, 14, 15, 16];

/** Those whose lowering is an approximation. */
const tolerances: Readonly<Record<string, number>> = { gelu: 1e-6, erf: 2e-7, sin: 1e-7, cos: 1e-7 };

test.each(lowered.map((op) => op.name))("%s: the lowering is the reference", (name) => {
  for (const seed of seeds) {
    const call = randomCall(name, new Random(seed * 104729));
    if (runDecomposed(call)) continue;
    const y = runLowering(call);
    expect(largestDifference(runCall(call)[0]!, y!), `seed ${seed}`).toBeLessThan(tolerances[name] ?? 1e-10);
  }
});

test("division and the rest of f32 arithmetic keep erf and GELU within 1e-6", () => {
  const points = Array.from({ length: 4001 }, (_, i) => Math.fround(-10 + i / 200));
  const x = tensor("f32", [points.length], points, "f64");
  for (const [name, round] of [
    ["erf", exact],
    ["erf", Math.fround],
    ["gelu", exact],
    ["gelu", Math.fround],
  ] as const) {
    const call: Call = { op: lookupOp(name)!, inputs: { x }, attrs: {} };
    const [expected, got] = [runCall(call)[0]!, runLowering(call, round)!];
    let worst = 0;
    for (const [i, e] of expected.data.entries()) worst = Math.max(worst, Math.abs(e - got.data[i]!));
    expect(worst, name).toBeLessThan(1e-6);
    expect(worst, "an approximation is not exact: is it the lowering that was run?").toBeGreaterThan(0);
  }
});

test("sine and cosine of large angles keep their precision in f32", () => {
  const points = Array.from({ length: 4001 }, (_, i) => Math.fround((i - 2000) * 3.9173));
  const x = tensor("f32", [points.length], points, "f64");
  for (const name of ["sin", "cos"]) {
    const call: Call = { op: lookupOp(name)!, inputs: { x }, attrs: {} };
    const [expected, got] = [runCall(call)[0]!, runLowering(call, Math.fround)!];
    for (const [i, e] of expected.data.entries())
      expect(Math.abs(e - got.data[i]!), `${name}(${points[i]})`).toBeLessThan(2e-7);
  }
});

describe("the error function of the reference", () => {
  // Abramowitz and Stegun, table 7.1, and its extension.
  test.each([
    [0, 0],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
    [3.5, 0.9999992569016276],
    [7, 1],
  ])("erf(%d)", (x, y) => {
    expect(Math.abs(erf(x) - y)).toBeLessThan(3e-16 + 1e-15 * y);
    expect(erf(-x)).toBeCloseTo(-y, 15);
  });

  test("both forms meet at 3", () => {
    expect(Math.abs(erf(3 + 1e-12) - erf(3))).toBeLessThan(1e-15);
  });
});
