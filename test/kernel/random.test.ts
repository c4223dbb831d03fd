// Random kernels: their text round-trips, the verifier has no complaint, and the interpreter agrees with Dawn bit for bit.
// A failure names the seed.

import { describe, expect, test } from "vitest";
import { parseKernel } from "../../src/ir/kernel-parse.ts";
import { printKernel } from "../../src/ir/kernel-print.ts";
import { verifyKernel } from "../../src/ir/kernel-verify.ts";
import { expectSameOnDawn, interpreted } from "./compare.ts";
import { gpu } from "./dawn.ts";
import { randomInput, randomKernel } from "./random-kernel.ts";

const seeds = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

describe("random kernels", () => {
  test("text round-trips and verifies", () => {
    for (const seed of seeds(300)) {
      const kernel = randomKernel(seed, 8);
      const text = printKernel(kernel);
      expect(parseKernel(text), `seed ${seed}\n${text}`).toStrictEqual({ kernel, diagnostics: [] });
      expect(verifyKernel(kernel), `seed ${seed}\n${text}`).toEqual([]);
    }
  });

  test("the interpreter is deterministic, and checks for races do not change results", () => {
    for (const seed of seeds(40)) {
      const kernel = randomKernel(seed, 8);
      const input = randomInput(seed);
      expect(interpreted(kernel, input)).toEqual(
        interpreted(kernel, { ...input, checkRaces: false, outOfBounds: "zero" }),
      );
    }
  });

  test("interpreter and Dawn agree", { timeout: 120_000 }, async () => {
    const { subgroupSize } = await gpu();
    for (const seed of seeds(10)) {
      const kernel = randomKernel(seed, subgroupSize);
      await expectSameOnDawn({ ...kernel, name: `random_${seed}` }, randomInput(seed));
    }
  });
});
