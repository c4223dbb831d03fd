// Every kernel of the battery through text, verifier, interpreter and GPU.

import { beforeAll, describe, expect, test } from "vitest";
import { parseKernel } from "../../src/ir/kernel-parse.ts";
import { printKernel } from "../../src/ir/kernel-print.ts";
import { verifyKernel } from "../../src/ir/kernel-verify.ts";
import type { Kernel } from "../../src/ir/kernel.ts";
import { type BatteryCase, battery, kernelText } from "./battery.ts";
import { expectSameOnDawn } from "./compare.ts";
import { type Gpu, gpu } from "./dawn.ts";

function kernelOf(c: BatteryCase, subgroupSize: number): Kernel {
  const { kernel, diagnostics } = parseKernel(kernelText(c, subgroupSize), `${c.name}.kernel`);
  expect(diagnostics.map((d) => `${d.code}: ${d.message}`)).toEqual([]);
  return kernel!;
}

describe.each(battery)("$name", (c) => {
  let adapter: Gpu;
  beforeAll(async () => {
    adapter = await gpu();
  });

  test("text and verifier", () => {
    const kernel = kernelOf(c, 8);
    expect(parseKernel(printKernel(kernel)).kernel).toStrictEqual(kernel);
    expect(verifyKernel(kernel)).toEqual([]);
  });

  test("interpreter and Dawn agree", async ({ skip }) => {
    if (c.needsHalf && !adapter.hasHalf) return skip("the adapter has no shader-f16");
    const kernel = kernelOf(c, adapter.subgroupSize);
    const input = {
      workgroups: c.workgroups ?? ([1, 1, 1] as const),
      params: c.params ?? {},
      buffers: c.buffers(),
    };
    await expectSameOnDawn(kernel, input, c.tolerance);
  });
});
