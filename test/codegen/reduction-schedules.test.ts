// Schedules of reductions: text that reads back, reasons for what a kernel cannot have, and right answers by every schedule that is not refused:
// random ones for random small reductions on the kernel interpreter, and every candidate of the ranking on the adapter.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kernelKinds } from "../../src/codegen/choose-schedules.ts";
import { readSchedule } from "../../src/codegen/schedule-families.ts";
import type { Schedule } from "../../src/codegen/schedule-family.ts";
import { baseline, evaluate, InputError, lavapipe, load, swiftshader } from "../../src/index.ts";
import type { Compiled, Target } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { expectClose, seededInputs, sizesFor } from "../models/compare.ts";
import { compileText, openAdapter, seededWeights } from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";

/** What a large card is taken for. */
const card: Target = {
  ...baseline,
  name: "card",
  subgroupSize: 8,
  features: lavapipe.features,
  limits: { ...lavapipe.limits, maxComputeWorkgroupStorageSize: 49152 },
};

const rowModels = [
  "model m (x: f32[S, 24]) -> f32[S, 24] { return x |> layer_norm() @n }",
  "model m (x: f32[S, 3, 13], r: f32[S, 3, 13]) -> f32[S, 3, 13] { return softmax(gelu(x) + r) }",
  "model m (x: f32[S, 4, H, W]) -> f32[S, 4, H, W] { return x |> group_norm(groups = 1) @n }",
  "model m (x: f32[S, 4, 6, W]) -> (a: f32[S], b: f32[S]) { return a = reduce_max(x, axes = [1, 2, 3]), b = mean(exp(x), axes = [1, 2, 3]) }",
  "model m (x: f32[S, 4, 4, 8]) -> f32[S, 4] { return mean(square(x), axes = [2, 3]) }",
];
const columnModels = [
  "model m (x: f32[S, T, 12]) -> f32[S, 12] { return mean(x, axes = [1]) }",
  "model m (x: f32[S, 3, T, 5]) -> f32[S, 5] { return reduce_max(abs(x), axes = [1, 2]) }",
  "model m (x: f32[S, T, 8]) -> f32[S, T, 8] { return softmax(x, axis = 1) }",
];
const dims = { S: 5, T: 7, H: 5, W: 6 };

const rows = fc.record({
  kind: fc.constant("row"),
  threads: fc.constantFrom(1, 2, 4, 8, 16, 32, 64),
  rows: fc.constantFrom(1, 1, 2, 4),
  parts: fc.constantFrom(1, 1, 2, 3, 5),
  width: fc.constantFrom(1, 4),
  keep: fc.constantFrom(0, 0, 1, 2, 5),
});
const columns = fc.record({
  kind: fc.constant("column"),
  threads: fc.constantFrom(1, 3, 8, 16),
  rows: fc.constantFrom(1, 2, 5),
  parts: fc.constantFrom(1, 1, 2, 3, 9),
  width: fc.constantFrom(1, 4),
});

/** The schedule as text, whichever family it is of. */
const textOf = ({ kind, ...counts }: Schedule): string =>
  `${kind}:${Object.entries(counts)
    .map(([name, n]) => `${name}=${n}`)
    .join(",")}`;

/** The reductions of a compiled model. */
function reductionsOf(c: Compiled, sizes: Readonly<Record<string, number>> = {}) {
  const graph = c.optimized.graphs[0]!;
  return kernelKinds(graph.nodes, { target: c.plan.target, bounds: {}, sizes }).filter((k) =>
    k.space.family.name.endsWith("reduction"),
  );
}

describe("schedules of reductions", () => {
  it("are text that reads back", () => {
    fc.assert(
      fc.property(fc.oneof<fc.Arbitrary<Schedule>[]>(rows, columns), (s) => {
        const read = readSchedule(textOf(s));
        expect(read.schedule).toEqual(s);
        expect(read.family!.show(read.schedule!)).toBe(textOf(s));
      }),
      { numRuns: 100, seed: 1 },
    );
  });

  it("have defaults for what is not said", () => {
    expect(readSchedule("row:threads=64").schedule).toEqual({
      ...{ kind: "row", threads: 64, rows: 1, parts: 1, width: 1, keep: 0 },
    });
  });

  it.each([
    ["tiles:threads=8", "begins with subgroup:, register:, workgroup:, row:, column:, flat:"],
    ["row:rows=2", "says threads"],
    ["row:threads=8,depth=3", "no depth in a schedule of kind row, only threads, rows, parts, width, keep"],
    ["row:threads=0", "threads is a count from 1 to 1024"],
    ["row:threads=8,keep=99", "keep is a count from 0 to 16"],
    ["row:", "no empty field"],
    ["column:threads=x", "threads is a count"],
  ])("%s cannot be read", (text, problem) => {
    expect(readSchedule(text)).toMatchObject({ problem: expect.stringContaining(problem) as string });
  });

  const refusal = (model: string, text: string, target: Target = lavapipe): string | undefined =>
    reductionsOf(compileText(model, { target }))[0]!.space.refuse(readSchedule(text).schedule!);

  it.each([
    [rowModels[0]!, "row:threads=512,rows=4", "2048 invocations, and 1024 are the most"],
    [rowModels[0]!, "row:threads=12", "powers of two"],
    [rowModels[1]!, "row:threads=8,width=4", "width=1"],
    [rowModels[0]!, "row:threads=8,width=2", "width is 1 or 4"],
    [rowModels[4]!, "row:threads=8,keep=2", "one sweep"],
    [rowModels[1]!, "row:threads=8,keep=9", "18 registers for what is kept, and 16 are the most"],
    [rowModels[0]!, "row:threads=8,rows=2,parts=2", "rows=1"],
    [rowModels[0]!, "row:threads=8,parts=2,keep=1", "keep=0"],
    [rowModels[0]!, "column:threads=8", "it is a row reduction, whose schedules begin with row:"],
    [rowModels[0]!, "register:threads=8x8,tile=4x1", "it is a row reduction"],
    [columnModels[1]!, "column:threads=8,width=4", "width=1"],
    [columnModels[0]!, "column:threads=1024,rows=2", "2048 invocations"],
    [columnModels[0]!, "row:threads=8", "it is a column reduction, whose schedules begin with column:"],
  ])("%s refuses %s", (model, text, reason) => expect(refusal(model, text)).toContain(reason));

  it("are refused by name on the way in", () => {
    const asked = (schedules: Record<string, string>): readonly string[] => {
      try {
        compileText(rowModels[0]!, { schedules });
        return [];
      } catch (e) {
        if (!(e instanceof InputError)) throw e;
        return e.diagnostics.map((d) => `${d.code} ${d.message}`);
      }
    };
    const [refused] = asked({ mean_rsqrt: "column:threads=8" });
    expect(refused).toMatch(/^schedule-refused mean_rsqrt cannot run by the schedule given.*row reduction/);
    expect(asked({ mean_rsqrt: "row:threads=8,keep=77" })[0]).toMatch(/^schedule-text .*keep is a count/);
    expect(asked({ mean_rsqr: "row:threads=8" })[0]).toMatch(/^schedule-unused/);
    const all = compileText(rowModels[0]!, { schedules: { "*": "column:threads=8" } });
    expect(all.plan.kernels).toEqual(compileText(rowModels[0]!).plan.kernels);
  });

  it("are right on the interpreter, whatever is drawn", { timeout: 300_000 }, () => {
    let ran = 0;
    const drawn = fc.oneof(
      fc.record({ text: fc.constantFrom(...rowModels), schedule: rows as fc.Arbitrary<Schedule> }),
      fc.record({ text: fc.constantFrom(...columnModels), schedule: columns as fc.Arbitrary<Schedule> }),
    );
    const target = fc.constantFrom(baseline, lavapipe, swiftshader);
    fc.assert(
      fc.property(drawn, target, ({ text, schedule }, target) => {
        const kinds = reductionsOf(compileText(text, { target }));
        const free = kinds.find((k) => k.space.refuse(schedule) === undefined);
        if (!free) return;
        ran++;
        const made = compileText(text, { target, schedules: { [free.name]: textOf(schedule) } });
        expect(made.plan.entries[0]!.dispatches.some((d) => d.schedule.includes(textOf(schedule)))).toBe(
          true,
        );
        const graph = made.module.graphs[0]!;
        const [weights, inputs] = [seededWeights([graph]), seededInputs(graph, dims)];
        expectClose(
          runPlan(made, weights, inputs, sizesFor(graph, dims)).outputs,
          evaluate(graph, weights, inputs, { dims: sizesFor(graph, dims) }).outputs,
          textOf(schedule),
        );
      }),
      {
        numRuns: Number(process.env["SCHEDULE_RUNS"] ?? 120),
        seed: Number(process.env["SCHEDULE_SEED"] ?? 5),
      },
    );
    expect(ran).toBeGreaterThan(40);
  });
});

describe("choosing", () => {
  const schedule = (text: string, target: Target, sizes: Readonly<Record<string, number>>): string =>
    compileText(text, { target, sizes }).plan.entries[0]!.dispatches[0]!.schedule;
  const image = rowModels[2]!;

  it("a GPU shares few long rows, and says why", () => {
    const { plan } = compileText(image, { target: card, sizes: { S: 1, H: 224, W: 224 } });
    const [first] = plan.entries[0]!.dispatches;
    expect(first!.schedule).toMatch(/^reduction, row:.*parts=(8|16|32|64),/);
    expect(first!.why).toMatch(/workgroups share a row.*number 1 of \d+ by the cost model/);
  });
  it("not where rows are many", () => {
    expect(schedule(image, card, { S: 4096, H: 8, W: 8 })).toContain("parts=1");
  });
  it("a GPU shares out a long sum over tokens", () => {
    expect(schedule(columnModels[0]!, card, { S: 1, T: 4096 })).toMatch(/parts=(8|16|32|64)/);
  });
  it("cores do neither", () => {
    expect(schedule(image, lavapipe, { S: 1, H: 224, W: 224 })).toContain(
      "row:threads=8,rows=1,parts=1,width=4,keep=0",
    );
    expect(schedule(columnModels[0]!, lavapipe, { S: 1, T: 4096 })).toContain("parts=1");
  });
  it("open sizes have the plain form", () => {
    expect(schedule(image, card, {})).toContain("parts=1,width=4,keep=0");
  });
});

describe("on the adapter of this machine", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each([rowModels[0]!, rowModels[2]!, rowModels[3]!, columnModels[0]!, columnModels[2]!])(
    "candidates are right: %s",
    { timeout: 300_000 },
    async (text) => {
      const plain = compileText(text, { target: opened.target });
      const graph = plain.module.graphs[0]!;
      const [weights, inputs] = [seededWeights([graph]), seededInputs(graph, dims)];
      const wanted = evaluate(graph, weights, inputs, { dims: sizesFor(graph, dims) }).outputs;
      const [kind] = reductionsOf(plain, dims);
      // Those of a card as well, where the adapter can run them.
      const [onCard] = reductionsOf(
        compileText(text, { target: { ...card, subgroupSize: opened.target.subgroupSize } }),
        dims,
      );
      const all = [...kind!.space.ranked(), ...onCard!.space.ranked()].map((r) => r.schedule);
      const free = all.filter((s) => kind!.space.refuse(s) === undefined).map(textOf);
      const some = [...new Set(free)].filter((_, i, list) => i % Math.ceil(list.length / 8) === 0);
      expect(some.length).toBeGreaterThan(1);
      for (const schedule of some) {
        const made = compileText(text, { target: opened.target, schedules: { [kind!.name]: schedule } });
        const session = await load(made, weights, opened.device);
        expectClose(await session.run(inputs, { dims: sizesFor(graph, dims) }), wanted, schedule);
        await session.dispose();
      }
    },
  );
});
