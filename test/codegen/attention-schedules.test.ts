// Schedules of attention: an op with kernels of its own has a family of schedules too. Text, reasons, and right answers by every cut that is
// not refused: random ones on the kernel interpreter, candidates on the adapter.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kernelKinds } from "../../src/codegen/choose-schedules.ts";
import {
  baseline,
  compileModule,
  InputError,
  lavapipe,
  load,
  lookupOp,
  swiftshader,
} from "../../src/index.ts";
import type { Target } from "../../src/index.ts";
import { evaluate } from "../../src/ir/evaluate.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { differenceOf, openAdapter } from "../models/support.ts";
import { callGraph, Random, type Call } from "../ops/support.ts";
import { runPlan } from "./plan-runner.ts";

interface Shape {
  readonly queries: number;
  readonly keys: number;
  readonly size: number;
  readonly width: number;
  readonly causal?: boolean;
}
const shapes: readonly Shape[] = [
  { queries: 19, keys: 21, size: 16, width: 16, causal: true },
  { queries: 17, keys: 9, size: 20, width: 12 },
  { queries: 5, keys: 40, size: 7, width: 5 },
];

function callOf({ queries, keys, size, width, causal = false }: Shape): Call {
  const r = new Random(7);
  return {
    op: lookupOp("attention")!,
    inputs: {
      q: r.tensor([1, queries, 2, size], "f32", -1, 1),
      k: r.tensor([1, keys, 2, size], "f32", -1, 1),
      v: r.tensor([1, keys, 2, width], "f32", -1, 1),
    },
    attrs: { causal },
  };
}

const noWeights = (key: string): never => {
  throw new Error(`no weight ${key}`);
};
function compiled(shape: Shape, target: Target, schedule?: string) {
  const graph = callGraph(callOf(shape));
  const schedules = schedule === undefined ? {} : { schedules: { attention: schedule } };
  return compileModule({ name: "test", graphs: [graph] }, { target, ...schedules });
}
function spaceOf(shape: Shape, target: Target) {
  const { nodes } = compiled(shape, target).optimized.graphs[0]!;
  return kernelKinds(nodes, { target, bounds: {}, sizes: {} }).find((k) => k.name === "attention")!.space;
}
const wantedOf = (shape: Shape) => {
  const call = callOf(shape);
  return evaluate(callGraph(call), new Map(), call.inputs).outputs["0"]!;
};

const cuts = fc.record({
  kind: fc.constantFrom("subgroup", "workgroup", "keys", "direct").map((k) => `attention_${k}`),
  threads: fc.constantFrom(4, 8, 16, 32),
  rows: fc.constantFrom(1, 2, 3, 8, 16, 32),
  step: fc.constantFrom(1, 2, 3, 4),
  tile: fc.constantFrom(0, 0, 4, 6, 12),
  columns: fc.constantFrom(1, 2, 3, 4, 5),
});

interface Cut {
  readonly kind: string;
  readonly threads: number;
  readonly rows: number;
  readonly step: number;
  readonly tile: number;
  readonly columns: number;
}

/** What was drawn, with what a kind does not leave open. */
function fitted(cut: Cut, { width }: Shape, target: Target): Cut {
  const head = width % 4 === 0 ? width / 4 : width;
  switch (cut.kind) {
    case "attention_subgroup":
      return { ...cut, threads: target.subgroupSize || 8, tile: 0, columns: Math.min(cut.columns, head) };
    case "attention_keys":
      return { ...cut, rows: 1, step: 1, tile: 0, columns: head };
    case "attention_workgroup":
      return { ...cut, rows: cut.threads, tile: cut.step * 4, columns: head };
    default:
      return { ...cut, rows: cut.threads, tile: 0, columns: Math.min(cut.columns, head) };
  }
}

describe("schedules of attention", () => {
  it("are text that reads back", () => {
    const { family } = spaceOf(shapes[0]!, lavapipe);
    fc.assert(
      fc.property(cuts, (cut) => {
        expect(family.parse(family.show(cut))).toEqual({ schedule: cut });
      }),
      { numRuns: 50, seed: 1 },
    );
  });

  it.each(
    (
      [
        [
          baseline,
          "attention_subgroup:threads=8,rows=4,step=2,tile=0,columns=4",
          "no subgroups of a fixed size",
        ],
        [lavapipe, "attention_subgroup:threads=16,rows=4,step=2,tile=0,columns=4", "threads=8"],
        [lavapipe, "attention_subgroup:threads=8,rows=4,step=2,tile=0,columns=9", "a head has 4 vectors"],
        [lavapipe, "attention_subgroup:threads=8,rows=64,step=4,tile=0,columns=4", "256 products"],
        [baseline, "attention_workgroup:threads=64,rows=32,step=2,tile=16,columns=4", "threads as rows"],
        [baseline, "attention_workgroup:threads=64,rows=64,step=3,tile=16,columns=4", "a multiple of step"],
        [
          baseline,
          "attention_workgroup:threads=64,rows=64,step=4,tile=256,columns=4",
          "bytes of workgroup memory",
        ],
        [baseline, "attention_keys:threads=64,rows=2,step=1,tile=0,columns=4", "rows=1,step=1,tile=0"],
        [baseline, "attention_direct:threads=512,rows=512,step=1,tile=0,columns=4", "512 invocations"],
      ] as const
    ).map(([target, text, reason]) => [target.name, text, reason, target] as const),
  )("%s refuses %s", (_, text, reason, target) => {
    const space = spaceOf(shapes[0]!, target);
    expect(space.refuse(space.family.parse(text).schedule!)).toContain(reason);
  });

  it("of other kernels are refused, by name", () => {
    expect(() => compiled(shapes[0]!, lavapipe, "row:threads=8")).toThrow(InputError);
    expect(() => compiled(shapes[0]!, lavapipe, "attention_subgroup:threads=8")).toThrow(/cannot be read/);
  });

  it("stand in the plan, with the reason", () => {
    const [dispatch] = compiled(shapes[0]!, lavapipe).plan.entries[0]!.dispatches;
    expect(dispatch!.schedule).toMatch(/^attention, attention_subgroup:threads=8,rows=16,step=2/);
    expect(dispatch!.why).toContain("a subgroup hands round");
  });

  it("are right on the interpreter, whatever is drawn", { timeout: 300_000 }, () => {
    let ran = 0;
    const target = fc.constantFrom(baseline, lavapipe, swiftshader);
    fc.assert(
      fc.property(fc.constantFrom(...shapes), cuts, target, (shape, drawn, target) => {
        const cut = fitted(drawn, shape, target);
        const space = spaceOf(shape, target);
        if (space.refuse(cut) !== undefined) return;
        ran++;
        const made = compiled(shape, target, space.family.show(cut));
        const got = runPlan(made, noWeights, callOf(shape).inputs, {}).outputs["0"]!;
        expect(differenceOf(got.data, wantedOf(shape).data)).toBeLessThan(2e-6);
      }),
      {
        numRuns: Number(process.env["SCHEDULE_RUNS"] ?? 80),
        seed: Number(process.env["SCHEDULE_SEED"] ?? 2),
      },
    );
    expect(ran).toBeGreaterThan(30);
  });
});

describe("on the adapter of this machine", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(shapes)("candidates are right: %o", { timeout: 300_000 }, async (shape) => {
    const space = spaceOf(shape, opened.target);
    const other = "attention_direct:threads=8,rows=8,step=2,tile=0,columns=1";
    const all = [...space.ranked().map((r) => space.family.show(r.schedule)), other];
    for (const text of all.filter((_, i) => i % Math.ceil(all.length / 5) === 0 || i === all.length - 1)) {
      const made = compiled(shape, opened.target, text);
      const session = await load(made, noWeights, opened.device);
      const got = (await session.run(callOf(shape).inputs))["0"]!;
      expect(differenceOf(got.data, wantedOf(shape).data)).toBeLessThan(1e-5);
      await session.dispose();
    }
  });
});
