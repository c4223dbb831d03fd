// Every schedule that is not refused gives right answers: random schedules for random small contractions, on the kernel interpreter,
// which throws on stray accesses and races, and some of them on the adapter. Schedules are text that reads back.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contractionSteps, refuseContraction } from "../../src/codegen/contraction-kernel.ts";
import {
  chooseSchedule,
  parseSchedule,
  refuseSchedule,
  sharedBytes,
  showSchedule,
  type ContractionFacts,
  type ContractionSchedule,
} from "../../src/codegen/schedule.ts";
import { baseline, evaluate, InputError, lavapipe, load, swiftshader } from "../../src/index.ts";
import type { Compiled, Target } from "../../src/index.ts";
import { dim, mulDim } from "../../src/ir/dim.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { expectClose, seededInputs } from "../models/compare.ts";
import { compileText, openAdapter, seededWeights } from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";

const size = fc.integer({ min: 1, max: 13 });
const four = fc.integer({ min: 1, max: 5 }).map((n) => 4 * n);
const extent = fc.oneof(size, four);

/** One contraction with work before and after it; `S` is an open size, so that nothing is a constant that need not be. */
const models = fc.oneof(
  fc.tuple(extent, extent).map(
    ([k, n]) => `model m (x: f32[S, ${k}], r: f32[S, ${n}]) -> f32[S, ${n}] {
  return gelu(x |> linear(out = ${n}) @fc) + r
}`,
  ),
  fc.tuple(size, extent, extent, size).map(
    ([
      m,
      k,
      n,
      b,
    ]) => `model m (x: f32[${b}, ${m}, ${k}], y: f32[${b}, ${k}, ${n}], s: f32[S]) -> f32[${b}, ${m}, ${n}] {
  return matmul(exp(x), y) * 0.5 + mean(s, axes = [0])
}`,
  ),
  fc.tuple(size, extent, size).map(
    ([m, k, n]) => `model m (x: f32[S, ${m}, ${k}], y: f32[S, ${n}, ${k}]) -> f32[S, ${m}, ${n}] {
  return matmul(x, transpose(y, perm = [0, 2, 1]))
}`,
  ),
  fc
    .record({
      c: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom(8, 12)),
      o: extent,
      kernel: fc.integer({ min: 1, max: 3 }),
      stride: fc.integer({ min: 1, max: 2 }),
      pad: fc.integer({ min: 0, max: 1 }),
    })
    .map(
      ({ c, o, kernel, stride, pad }) => `model m (x: f32[S, ${c}, 7, 5]) -> f32[S, ${o}, h, w] {
  return x |> conv2d(out = ${o}, kernel = ${kernel}, stride = ${stride}, pad = ${pad}) @conv |> relu()
}`,
    ),
);

const schedules: fc.Arbitrary<ContractionSchedule> = fc.record({
  kind: fc.constantFrom("subgroup", "register", "workgroup"),
  threads: fc.constantFrom([8, 1], [4, 1], [1, 1], [4, 2], [2, 8], [16, 3], [8, 8]) as fc.Arbitrary<
    readonly [number, number]
  >,
  rows: fc.integer({ min: 1, max: 9 }),
  vectors: fc.integer({ min: 1, max: 3 }),
  width: fc.constantFrom(1, 4),
  step: fc.constantFrom(1, 2, 3, 4, 8, 12, 16),
  split: fc.constantFrom(1, 1, 2, 3, 5),
  grid: fc.constantFrom("bound", "bound", "bound", "live"),
  stagedEpilogue: fc.boolean(),
  swizzle: fc.constantFrom(1, 1, 2, 3, 4),
  slabs: fc.constantFrom("f32", "f16"),
});

interface Drawn {
  readonly text: string;
  readonly schedule: ContractionSchedule;
  readonly target: Target;
  readonly dims: Readonly<Record<string, number>>;
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  text: models,
  // The models have no f16 in them: slabs of it are in half-slabs.test.ts.
  schedule: schedules.map((s) => ({ ...s, slabs: "f32" as const })),
  target: fc.constantFrom(baseline, lavapipe, swiftshader),
  dims: size.map((S) => ({ S })),
});

/** Compiled by the schedule; undefined where it is refused. */
function compiled(d: Drawn): Compiled | undefined {
  const plain = compileText(d.text, { target: d.target });
  const node = plain.optimized.graphs[0]!.nodes.find((n) => n.attrs["kind"] === "contraction")!;
  if (refuseContraction(node.body!, d.target, d.schedule) !== undefined) {
    expect(() => contractionSteps(node.body!, d.target, {}, d.schedule)).toThrow();
    return undefined;
  }
  const text = showSchedule(d.schedule);
  const made = compileText(d.text, { target: d.target, schedules: { [String(node.attrs["name"])]: text } });
  expect(made.plan.entries[0]!.dispatches.some((x) => x.schedule.includes(text))).toBe(true);
  return made;
}

describe("schedules", () => {
  it("are text that reads back", () => {
    fc.assert(
      fc.property(schedules, (s) => {
        expect(parseSchedule(showSchedule(s))).toEqual({ schedule: s });
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it.each([
    ["tiles:threads=8x8,tile=4x1", "begins with"],
    ["register:threads=8x8", "two counts"],
    ["register:threads=8x0,tile=4x1", "two counts"],
    ["register:threads=8x8,tile=4x1,depth=3", "no depth"],
    ["register:threads=8x8,tile=4x1,width=3", "width is 1 or 4"],
    ["register:threads=8x8,tile=4x1,split=many", "step, split and swizzle are counts"],
    ["register:threads=8x8,tile=4x1,epilogue=none", "staged or direct"],
    ["workgroup:threads=8x8,tile=4x1,slabs=bf16", "f32 or f16"],
  ])("%s is refused", (text, problem) => {
    expect(parseSchedule(text)).toEqual({ problem: expect.stringContaining(problem) });
  });

  it("are right on the interpreter, whatever is drawn", { timeout: 300_000 }, () => {
    let ran = 0;
    fc.assert(
      fc.property(drawn, (d) => {
        const made = compiled(d);
        if (!made) return;
        ran++;
        const graph = made.module.graphs[0]!;
        const weights = seededWeights([graph]);
        const inputs = seededInputs(graph, d.dims);
        expectClose(
          runPlan(made, weights, inputs, d.dims).outputs,
          evaluate(graph, weights, inputs, { dims: d.dims }).outputs,
          showSchedule(d.schedule),
        );
      }),
      {
        numRuns: Number(process.env["SCHEDULE_RUNS"] ?? 150),
        seed: Number(process.env["SCHEDULE_SEED"] ?? 7),
      },
    );
    expect(ran).toBeGreaterThan(30);
  });
});

describe("the limits of a target", () => {
  const facts: ContractionFacts = {
    target: lavapipe,
    rows: mulDim(dim("T"), dim(49)),
    columns: dim(64),
    batch: dim(1),
    reduction: dim(36),
    rowVectors: true,
    columnVectors: true,
  };
  const refusal = (text: string, f: Partial<ContractionFacts> = {}): string | undefined =>
    refuseSchedule(parseSchedule(text).schedule!, { ...facts, ...f });

  it.each([
    ["register:threads=64x32,tile=1x1", "2048 invocations, and 1024 are the most"],
    ["register:threads=8x8,tile=65x1", "65 rows"],
    ["register:threads=8x8,tile=32x8", "registers"],
    ["register:threads=8x8,tile=4x1,step=8", "no multiple of 8"],
    ["subgroup:threads=16x1,tile=8x1", "threads=8x1"],
    ["workgroup:threads=16x16,tile=16x4,step=64", "bytes of workgroup memory"],
    ["workgroup:threads=8x8,tile=4x1,step=16,slabs=f16", "no operand is read as it is stored in f16"],
    ["register:threads=8x8,tile=4x1,slabs=f16", "only workgroup memory has slabs"],
  ])("refuse %s", (text, reason) => expect(refusal(text)).toContain(reason));

  it("refuse what the sizes do not allow", () => {
    const text = "workgroup:threads=8x8,tile=4x1,step=16";
    expect(refusal(text)).toBeUndefined();
    expect(refusal(text, { columnVectors: false })).toContain("width=1");
    expect(refusal("subgroup:threads=8x1,tile=8x1", { target: baseline })).toContain("no subgroups");
  });

  it("are kept by whatever is chosen, and by what kernels declare", () => {
    for (const target of [baseline, lavapipe, swiftshader])
      for (const reduction of [1, 3, 4, 64, 2048])
        for (const columns of [1, 7, 8, 64, 1000]) {
          const rowVectors = reduction % 4 === 0;
          const f = {
            ...facts,
            target,
            reduction: dim(reduction),
            columns: dim(columns),
            rowVectors,
            columnVectors: columns % 4 === 0,
          };
          const chosen = chooseSchedule(f);
          expect(refuseSchedule(chosen, f), showSchedule(chosen)).toBeUndefined();
        }
  });

  it("count the workgroup memory that kernels really have", () => {
    fc.assert(
      fc.property(drawn, (d) => {
        const made = compiled(d);
        if (!made) return;
        const first = made.kernels.find((k) => k.notes.some((n) => n.includes(showSchedule(d.schedule))))!;
        const bytes = first.shared.reduce((n, s) => n + 4 * s.type.width * s.length, 0);
        expect(bytes).toBe(sharedBytes(d.schedule));
      }),
      { numRuns: 40, seed: 3 },
    );
  });

  it("are memory tiles where workgroup memory gains something, and are not where it does not", () => {
    expect(chooseSchedule({ ...facts, target: baseline }).kind).toBe("workgroup");
    expect(chooseSchedule(facts).kind).toBe("subgroup");
  });
});

describe("schedules asked for", () => {
  const text =
    "model m (x: f32[S, 8]) -> f32[S, 8] { return x |> linear(out = 8) @a |> gelu() |> linear(out = 8) @b }";
  const problems = (schedules: Record<string, string>): readonly string[] => {
    try {
      compileText(text, { schedules });
      return [];
    } catch (e) {
      if (!(e instanceof InputError)) throw e;
      return e.diagnostics.map((d) => d.code);
    }
  };
  const good = "register:threads=8x8,tile=2x1,split=2";

  it("are on record in the plan", () => {
    const { plan } = compileText(text, { schedules: { linear_gelu: good } });
    expect(plan.settings["schedule linear_gelu"]).toBe(good);
    expect(plan.entries[0]!.dispatches).toHaveLength(3);
  });

  it("may be for all that can have them", () => {
    const { plan } = compileText(text, { schedules: { "*": good } });
    expect(plan.entries[0]!.dispatches).toHaveLength(4);
    const refused = compileText(text, { schedules: { "*": "register:threads=8x8,tile=1x1,step=3" } });
    expect(refused.plan.kernels).toEqual(compileText(text).plan.kernels);
  });

  it("are refused with a reason", () => {
    expect(problems({ linear_gelu: "register:threads=8x8" })).toEqual(["schedule-text"]);
    expect(problems({ linear_gelu: "register:threads=8x8,tile=1x1,step=3" })).toEqual(["schedule-refused"]);
    expect(problems({ linear_gulu: good })).toEqual(["schedule-unused"]);
  });
});

describe("on the adapter of this machine", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it("a sample is right", { timeout: 300_000 }, async () => {
    const sample = fc
      .sample(drawn, { numRuns: 60, seed: 11 })
      .filter((d) => d.schedule.kind !== "subgroup")
      .map((d) => ({ ...d, target: opened.target }));
    let ran = 0;
    for (const d of sample) {
      const made = ran < 8 ? compiled(d) : undefined;
      if (!made) continue;
      ran++;
      const graph = made.module.graphs[0]!;
      const weights = seededWeights([graph]);
      const inputs = seededInputs(graph, d.dims);
      const session = await load(made, weights, opened.device);
      expectClose(
        await session.run(inputs, { dims: d.dims }),
        evaluate(graph, weights, inputs, { dims: d.dims }).outputs,
        showSchedule(d.schedule),
      );
      await session.dispose();
    }
    expect(ran).toBe(8);
  });
});
