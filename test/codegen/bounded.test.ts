// A size that a kernel writes: what code generation makes of it, on the adapter. No op counts yet, so a hand-made kernel does.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileModule, lookupOp } from "../../src/index.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { createSession } from "../../src/runtime/session.ts";
import { openAdapter } from "../models/support.ts";
import { countingPlan } from "../runtime/kernels.ts";

const text = `graph @g(%all: f32[R], %kept: f32[n, 4]) -> (y: f32[n, 4], total: f32[4]) {
  dims R, n <= R
  %0 = relu %kept : f32[n, 4]
  %1 = sum %kept {axes=[0]} : f32[4]
  return y = %0, total = %1
}
`;

describe("bounded sizes in generated kernels", () => {
  let adapter: Awaited<ReturnType<typeof openAdapter>>;
  beforeAll(async () => {
    adapter = await openAdapter();
  });
  afterAll(() => adapter.device.destroy());

  it("are read from what a kernel wrote: rows beyond it are neither written nor summed", async () => {
    const { module, diagnostics } = parseGraphs(text, "bounded.ir", lookupOp);
    expect(diagnostics).toEqual([]);
    const compiled = compileModule(module!, { target: adapter.target });
    const live = compiled.plan.kernels.flatMap((k) => k.params.filter((p) => p.live).map((p) => p.name));
    expect(live.length).toBeGreaterThan(0);
    const session = await createSession(adapter.device, countingPlan(compiled.plan), new Uint8Array());
    const all = tensor("f32", [5], [1, -1, 1, 1, -1]);
    const kept = tensor(
      "f32",
      [5, 4],
      Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? i + 1 : -i)),
    );
    const { outputs, dims } = await session.runWith({ all, kept });
    expect(dims["n"]).toBe(3);
    expect(outputs["y"]!.shape).toEqual([3, 4]);
    expect([...outputs["y"]!.data]).toEqual([1, 0, 3, 0, 5, 0, 7, 0, 9, 0, 11, 0]);
    expect([...outputs["total"]!.data]).toEqual([15, -15, 21, -21]);
    await session.dispose();
  });

  it("leave gaps in memory where they are not the outermost axis", async () => {
    const inner = `graph @g(%all: f32[R], %across: f32[3, n], %between: f32[2, n, 4]) -> (a: f32[3, n], b: f32[2, n, 4], sums: f32[2, n], all_sums: f32[2], least: f32[3]) {
  dims R, n <= R
  %0 = relu %across : f32[3, n]
  %1 = relu %between : f32[2, n, 4]
  %2 = sum %between {axes=[2]} : f32[2, n]
  %3 = sum %between {axes=[1, 2]} : f32[2]
  %4 = reduce_min %across {axes=[1]} : f32[3]
  return a = %0, b = %1, sums = %2, all_sums = %3, least = %4
}
`;
    const { module, diagnostics } = parseGraphs(inner, "bounded.ir", lookupOp);
    expect(diagnostics).toEqual([]);
    const compiled = compileModule(module!, { target: adapter.target });
    const session = await createSession(adapter.device, countingPlan(compiled.plan), new Uint8Array());
    const all = tensor("f32", [5], [1, -1, 1, 1, -1]);
    const count = (shape: readonly number[]) =>
      tensor(
        "f32",
        shape,
        Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) => i + 1),
      );
    const { outputs } = await session.runWith({ all, across: count([3, 5]), between: count([2, 5, 4]) });
    expect(outputs["a"]!.shape).toEqual([3, 3]);
    expect([...outputs["a"]!.data]).toEqual([1, 2, 3, 6, 7, 8, 11, 12, 13]);
    const rows = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    expect([...outputs["b"]!.data]).toEqual([...rows, ...rows.map((x) => x + 20)]);
    expect([...outputs["sums"]!.data]).toEqual([10, 26, 42, 90, 106, 122]);
    expect([...outputs["all_sums"]!.data]).toEqual([78, 318]);
    expect([...outputs["least"]!.data]).toEqual([1, 6, 11]);
    await session.dispose();
  });
});
