// A size that a kernel writes: what code generation makes of it, on the adapter. No op counts yet, so a hand-made kernel does.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileModule, lookupOp, type Plan } from "../../src/index.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { createSession } from "../../src/runtime/session.ts";
import { openAdapter } from "../models/support.ts";
import { kernelOf } from "../runtime/kernels.ts";

const text = `graph @g(%all: f32[R], %kept: f32[n, 4]) -> (y: f32[n, 4], total: f32[4]) {
  dims R, n <= R
  %0 = relu %kept : f32[n, 4]
  %1 = sum %kept {axes=[0]} : f32[4]
  return y = %0, total = %1
}
`;

/** Writes how many of `all` are positive to the first live extent. */
const count = kernelOf({
  name: "count",
  params: ["rows"],
  buffers: [
    ["all", "read", false],
    ["live", "write", false],
  ],
  elements: { live: "u32" },
  body: "if (i == 0u) { var n = 0u; for (var r = 0u; r < params.rows; r++) { if (all[r] > 0.0) { n++; } } live[0] = n; }",
});

function counting(plan: Plan): Plan {
  const entry = plan.entries[0]!;
  const first = {
    kernel: plan.kernels.length,
    buffers: ["%all", "@extents"],
    params: ["R"],
    grid: ["1", "1", "1"] as const,
    locations: [],
    nodes: [],
    schedule: "by hand",
    flops: "0",
    bytes: "0",
  };
  return {
    ...plan,
    kernels: [...plan.kernels, count],
    entries: [{ ...entry, dispatches: [first, ...entry.dispatches] }],
  };
}

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
    const session = await createSession(adapter.device, counting(compiled.plan), new Uint8Array());
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
});
