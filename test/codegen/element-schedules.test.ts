// Schedules of elementwise kernels, stencils and what moves elements: text, reasons for what a kernel cannot have, and right answers by every
// schedule that is not refused: random ones on the kernel interpreter, every candidate of the ranking on the adapter.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kernelKinds } from "../../src/codegen/choose-schedules.ts";
import { readSchedule } from "../../src/codegen/schedule-families.ts";
import { baseline, evaluate, lavapipe, load, swiftshader } from "../../src/index.ts";
import type { Compiled, Target } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { expectClose, seededInputs, sizesFor } from "../models/compare.ts";
import { compileText, openAdapter, seededWeights } from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";

const flat = "model m (x: f32[S, 4, W], y: f32[S, 4, W]) -> f32[S, 4, W] { return gelu(x) * y }";
const odd = "model m (x: f32[S, W], y: f32[S, W]) -> f32[S, W] { return x * y }";
/** By channel, with an innermost axis of any size: rows of a channel, or runs of an image. */
const channels = "model m (x: f32[S, 4, H, W], b: f32[4, 1, 1]) -> f32[S, 4, H, W] { return relu(x + b) }";
const pool =
  "model m (x: f32[S, 8, H, W]) -> f32[S, 8, h, w] { return avg_pool2d(x, size = 3, stride = 1, pad = 1) - x }";
const wide = "model m (x: f32[S, H, 8], y: f32[8]) -> f32[S, H, 8] { return x * y }";
const moved = "model m (x: f32[S, H, 6]) -> f32[S, 6, H] { return transpose(x, perm = [0, 2, 1]) }";
const models = [flat, odd, channels, pool, wide, moved];
const dims = { S: 3, H: 5, W: 7 };

const schedules = fc.record({
  kind: fc.constantFrom("flat", "rows", "run", "walk"),
  threads: fc.constantFrom(1, 3, 8, 16, 64),
  rows: fc.constantFrom(1, 1, 2, 5),
  width: fc.constantFrom(1, 4),
});
const textOf = (s: { kind: string; threads: number; rows: number; width: number }): string =>
  `${s.kind}:threads=${s.threads},rows=${s.rows},width=${s.width}`;

function kindOf(c: Compiled, sizes: Readonly<Record<string, number>> = {}) {
  const { nodes } = c.optimized.graphs[0]!;
  return kernelKinds(nodes, { target: c.plan.target, bounds: {}, sizes })[0]!;
}

describe("schedules of element kernels", () => {
  it("are text that reads back", () => {
    fc.assert(
      fc.property(schedules, (s) => {
        const read = readSchedule(textOf(s));
        expect(read.schedule).toEqual(s);
        expect(read.family!.show(read.schedule!)).toBe(textOf(s));
      }),
      { numRuns: 50, seed: 1 },
    );
  });

  const refusal = (model: string, text: string): string | undefined =>
    kindOf(compileText(model, { target: lavapipe })).space.refuse(readSchedule(text).schedule!);

  it.each([
    [flat, "rows:threads=8", "one shape and order, so that there are no rows"],
    [flat, "flat:threads=8,rows=2", "rows=1"],
    [flat, "flat:threads=2048", undefined],
    [odd, "flat:threads=64,width=4", "width=1"],
    [channels, "flat:threads=8", "one counter cannot go over all axes"],
    [channels, "rows:threads=8,width=4", "width=1"],
    [channels, "run:threads=8,width=1", "by four"],
    [channels, "run:threads=8,rows=2,width=4", "rows=1"],
    [channels, "walk:threads=8", "no window slides"],
    [pool, "run:threads=8,width=4", "axes are needed apart"],
    [moved, "run:threads=8,width=4", "axes are needed apart"],
    [wide, "rows:threads=512,rows=4,width=4", "2048 invocations"],
    [wide, "row:threads=8", "it is a kernel of elements, whose schedules begin with flat:"],
  ])("%s refuses %s", (model, text, reason) => {
    const read = readSchedule(text);
    if (reason === undefined)
      expect(read).toMatchObject({ problem: expect.stringContaining("threads") as string });
    else expect(refusal(model, text)).toContain(reason);
  });

  it("are right on the interpreter, whatever is drawn", { timeout: 300_000 }, () => {
    let ran = 0;
    const target = fc.constantFrom(baseline, lavapipe, swiftshader);
    fc.assert(
      fc.property(fc.constantFrom(...models), schedules, target, (text, schedule, target) => {
        const kind = kindOf(compileText(text, { target }));
        if (kind.space.refuse(schedule) !== undefined) return;
        ran++;
        const made = compileText(text, { target, schedules: { [kind.name]: textOf(schedule) } });
        expect(made.plan.entries[0]!.dispatches[0]!.schedule).toContain(textOf(schedule));
        const graph = made.module.graphs[0]!;
        const inputs = seededInputs(graph, dims);
        expectClose(
          runPlan(made, seededWeights([graph]), inputs, sizesFor(graph, dims)).outputs,
          evaluate(graph, seededWeights([graph]), inputs, { dims: sizesFor(graph, dims) }).outputs,
          textOf(schedule),
          1e-5,
        );
      }),
      {
        numRuns: Number(process.env["SCHEDULE_RUNS"] ?? 200),
        seed: Number(process.env["SCHEDULE_SEED"] ?? 3),
      },
    );
    expect(ran).toBeGreaterThan(20);
  });
});

describe("choosing", () => {
  const schedule = (text: string, target: Target, sizes = {}): string =>
    compileText(text, { target, sizes }).plan.entries[0]!.dispatches[0]!.schedule;

  it("a GPU takes an image by four where its rows have no multiple of four", () => {
    expect(schedule(channels, baseline)).toBe("element, run:threads=64,rows=1,width=4");
    expect(schedule(channels, lavapipe)).toBe("element, rows:threads=16,rows=1,width=1");
  });
  it("cores walk along windows, a GPU does not", () => {
    expect(schedule(pool, lavapipe)).toContain("walk:threads=16");
    expect(schedule(pool, baseline)).toContain("rows:");
    expect(schedule(pool, baseline, { S: 128, H: 56, W: 56 })).toContain("rows:");
  });
  it("a run is not cut by the limit of a grid's axis", () => {
    const { plan } = compileText(channels, { target: baseline });
    const grid = plan.entries[0]!.dispatches[0]!.grid;
    expect(grid[0]).toBe("1");
  });
});

describe("on the adapter of this machine", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(models)("candidates are right: %s", { timeout: 300_000 }, async (text) => {
    const plain = compileText(text, { target: opened.target });
    const graph = plain.module.graphs[0]!;
    const inputs = seededInputs(graph, dims);
    const wanted = evaluate(graph, seededWeights([graph]), inputs, { dims: sizesFor(graph, dims) }).outputs;
    const kind = kindOf(plain, dims);
    const others = ["run:threads=8,rows=1,width=4", "walk:threads=8,rows=1,width=1"].map(
      (t) => readSchedule(t).schedule!,
    );
    const all = [...kind.space.ranked().map((r) => r.schedule), ...others];
    const free = all.filter((s) => kind.space.refuse(s) === undefined).map((s) => kind.space.family.show(s));
    const some = [...new Set(free)].slice(-6);
    expect(some.length).toBeGreaterThan(1);
    for (const schedule of some) {
      const made = compileText(text, { target: opened.target, schedules: { [kind.name]: schedule } });
      const session = await load(made, seededWeights([graph]), opened.device);
      expectClose(await session.run(inputs, { dims: sizesFor(graph, dims) }), wanted, schedule, 1e-5);
      await session.dispose();
    }
  });
});
