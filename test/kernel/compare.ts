// Comparing what two executions of a kernel left in its buffers, with a message that names the first difference.

import { expect } from "vitest";
import { type InterpretOptions, type KernelBuffer, interpret } from "../../src/codegen/interpret.ts";
import type { Kernel } from "../../src/ir/kernel.ts";
import { halfFromBits } from "../../src/support/half.ts";
import { type DawnInput, runOnDawn } from "./dawn.ts";

export function copied(buffers: Readonly<Record<string, KernelBuffer>>): Record<string, KernelBuffer> {
  return Object.fromEntries(Object.entries(buffers).map(([name, data]) => [name, data.slice()]));
}

/** Runs the interpreter on copies. */
export function interpreted(kernel: Kernel, input: InterpretOptions): Record<string, KernelBuffer> {
  const buffers = copied(input.buffers);
  interpret(kernel, { ...input, buffers });
  return buffers;
}

export async function expectSameOnDawn(kernel: Kernel, input: DawnInput, tolerance = 0): Promise<void> {
  const mine = interpreted(kernel, input);
  const dawns = await runOnDawn(kernel, input);
  for (const [name, expected] of Object.entries(mine)) {
    const wrong = firstDifference(expected, dawns[name]!, tolerance);
    expect(wrong, `${kernel.name}: ${name}, interpreter against Dawn`).toBeUndefined();
  }
}

function firstDifference(expected: KernelBuffer, got: KernelBuffer, tolerance: number): string | undefined {
  const isHalf = expected instanceof Uint16Array;
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [expected[i]!, got[i]!].map((v) => (isHalf ? halfFromBits(v) : v)) as [number, number];
    // Zeros of either sign are the same number; drivers choose freely.
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (!(Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a)))) return `[${i}]: ${a} against ${b}`;
  }
  return undefined;
}
