// Windows that slide along an axis read each element once along it, where the target runs workgroups on cores.

import { describe, expect, it } from "vitest";
import { baseline, lavapipe } from "../../src/index.ts";
import type { Target } from "../../src/index.ts";
import { compileText } from "../models/support.ts";

const pooled = (pool: string): string =>
  `model m (x: f32[B, 8, H, W]) -> f32[B, 8, h, w] {\n  return ${pool}\n}\n`;

/** Loads of `x` in the one kernel of a pool, and how it was written. */
function kernelOf(pool: string, target: Target): { readonly loads: number; readonly schedule: string } {
  const { plan } = compileText(pooled(pool), { target });
  const kernel = plan.kernels.find((k) => k.name.includes("pool"))!;
  const { schedule } = plan.entries[0]!.dispatches.find((d) => plan.kernels[d.kernel] === kernel)!;
  return { loads: [...kernel.wgsl.matchAll(/= x\[/g)].length, schedule };
}

describe("a walk along an axis", () => {
  it.each([
    ["avg_pool2d(x, size = 3, stride = 1, pad = 1)", 3],
    ["max_pool2d(x, size = 3, stride = 1, pad = 1)", 3],
    ["max_pool2d(x, size = 3, stride = 2, pad = 1)", 6],
    ["max_pool2d(x, size = 3, stride = 2, pad = 1, dilation = 2)", 3],
    ["avg_pool2d(x, size = [5, 2], stride = [1, 2])", 2],
  ])("reads what is new to a window: %s", (pool, loads) => {
    const got = kernelOf(pool, lavapipe);
    expect(got.schedule).toMatch(/^element, walk:/);
    expect(got.loads).toBe(loads);
  });

  it.each([
    "max_pool2d(x, size = 2, stride = 2)",
    "max_pool2d(x, size = 3, stride = 1, pad = 1, dilation = 2)",
  ])("is not made where windows share nothing: %s", (pool) =>
    expect(kernelOf(pool, lavapipe).schedule).not.toContain("walk"),
  );

  it("is not made on a GPU, which needs many invocations", () => {
    const got = kernelOf("avg_pool2d(x, size = 3, stride = 1, pad = 1)", baseline);
    expect(got.schedule).not.toContain("walk");
    expect(got.loads).toBe(9);
  });
});
