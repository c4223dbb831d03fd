// Products of sorted rows whose grid is the one of the live rows, read from a buffer: on the kernel interpreter and on the adapter.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { baseline, load, seededInput, type Compiled, type Tensor } from "../../src/index.ts";
import { checkPlan } from "../../src/ir/plan-check.ts";
import { lavapipe, swiftshader, type Target } from "../../src/ir/target.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { compileText, openAdapter, seededWeights } from "./support.ts";

/** Two layers: of both, the choices are the first input's. */
const model = `
import { Combine } from "std/experts"
import { SwiGlu } from "std/transformer"
model m (x: f32[T, 16], z: f32[T, 6], real: f32[T, 1]) -> (y: f32[T, 16]) {
  i, weights = route(z, k = 2)
  ids = where(real > 0, i, 6)
  a = x |> per_expert(ids, of = SwiGlu(hidden = 8), count = 6) @a |> Combine(weights)
  b = a |> per_expert(where(ids < 6, 5 - ids, 6), of = SwiGlu(hidden = 8), count = 6) @b |> Combine(weights)
  return y = b
}`;
const TOKENS = 20;

const build = (target: Target, grid: "bound" | "live"): Compiled => {
  const options = { target, experts: "sort", sizes: { T: TOKENS } } as const;
  const chosen = compileText(model, options).plan;
  const schedules = chosen.entries[0]!.dispatches.flatMap((d) => {
    const name = chosen.kernels[d.kernel]!.name.replace(/_\d+$/, "");
    if (!name.startsWith("grouped_linear")) return [];
    return [[name, `${d.schedule.replace("contraction, ", "").replace(",grid=live", "")},grid=${grid}`]];
  });
  return compileText(model, {
    ...options,
    schedules: Object.fromEntries(schedules) as Record<string, string>,
  });
};

const inputs = (real: (token: number) => number, tokens = TOKENS) => ({
  x: seededInput("x", [tokens, 16]),
  z: seededInput("z", [tokens, 6]),
  real: tensor(
    "f32",
    [tokens, 1],
    Array.from({ length: tokens }, (_, t) => real(t)),
  ),
});

/** All tokens, few, none, and no tokens at all. */
const runs: readonly Readonly<Record<string, Tensor>>[] = [
  inputs(() => 1),
  inputs((t) => (t < 3 ? 1 : 0)),
  inputs(() => 0),
  inputs(() => 1, 0),
];

describe("the grid of live rows", { timeout: 300_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it("gives the bits of the grid for the bound, on the interpreter", () => {
    for (const target of [baseline, lavapipe]) {
      const [bound, live] = [build(target, "bound"), build(target, "live")];
      const weights = seededWeights(bound.module.graphs);
      for (const given of runs) {
        const run = (c: Compiled) => {
          const tiles: number[] = [];
          const dispatched = (kernel: string, grid: readonly number[]): void => {
            if (kernel.startsWith("grouped_linear")) tiles.push(grid[1]!);
          };
          const dims = { T: given["x"]!.shape[0]! };
          return { tiles, y: runPlan(c, weights, given, dims, { dispatched }).outputs["y"]! };
        };
        const [a, b] = [run(bound), run(live)];
        expect([...b.y.data]).toEqual([...a.y.data]);
        expect(b.tiles.length).toBe(a.tiles.length);
        b.tiles.forEach((n, i) => expect(n).toBeLessThanOrEqual(a.tiles[i]!));
      }
    }
  });

  it("has a workgroup for each tile that there is, and none where no token has an expert", () => {
    const compiled = build(lavapipe, "live");
    const entry = compiled.plan.entries[0]!;
    const [, few, none] = runs;
    const tilesOf = (given: Readonly<Record<string, Tensor>>): readonly number[] => {
      const tiles: number[] = [];
      const weights = seededWeights(compiled.module.graphs);
      const dispatched = (kernel: string, grid: readonly number[]): void => {
        if (kernel.startsWith("grouped_linear")) tiles.push(grid[1]!);
      };
      runPlan(compiled, weights, given, { T: TOKENS }, { dispatched });
      return tiles;
    };
    const indirect = entry.dispatches.filter((d) => d.indirect !== undefined);
    expect(indirect).toHaveLength(4);
    const nodes = compiled.optimized.graphs[0]!.nodes.flatMap((n) => n.body?.nodes ?? []);
    const tile = Number(nodes.find((n) => n.op.name === "grouped_linear")!.attrs["tile"]);
    // Three tokens have six choices: as many of the experts' tiles at most, and one at least, each in workgroups of the schedule's rows.
    tilesOf(few!).forEach((n, i) => {
      const each = tile / Number(/tile=(\d+)x/.exec(indirect[i]!.schedule)![1]);
      expect(n).toBeGreaterThanOrEqual(each);
      expect(n).toBeLessThanOrEqual(6 * each);
      expect(n % each).toBe(0);
    });
    expect(tilesOf(none!)).toEqual([0, 0, 0, 0]);
  });

  it("gives the same bits on the adapter, run after run, and reads nothing back but the result", async () => {
    const weights = seededWeights(build(opened.target, "bound").module.graphs);
    const [bound, live] = await Promise.all(
      (["bound", "live"] as const).map((grid) => load(build(opened.target, grid), weights, opened.device)),
    );
    for (const given of [...runs, ...runs]) {
      const [a, b] = [await bound!.run(given), await live!.run(given)];
      expect([...b["y"]!.data]).toEqual([...a["y"]!.data]);
    }
    expect(live!.stats.maps).toBe(live!.stats.runs);
    expect(live!.stats.submits).toBe(live!.stats.runs);
    await bound!.dispose();
    await live!.dispose();
  });

  it("is chosen by the cost model on cores whose indirect dispatches were measured, and nowhere else", () => {
    const layer = `
      import { SwiGlu } from "std/transformer"
      model m (x: f32[64, 256], ids: u32[64, 2]) -> (y: f32[64, 2, 256]) {
        return y = x |> per_expert(ids, of = SwiGlu(hidden = 256), count = 16) @experts
      }`;
    const grids = (target: Target): readonly boolean[] =>
      compileText(layer, { target, experts: "sort" }).plan.entries[0]!.dispatches.flatMap((d) =>
        d.schedule.startsWith("contraction") ? [d.indirect !== undefined] : [],
      );
    expect(grids(lavapipe)).toEqual([true, true]);
    expect(grids(swiftshader)).toEqual([false, false]);
    expect(grids(baseline)).toEqual([false, false]);
    const measured = { ...lavapipe.measured, indirectMicroseconds: 1e6 };
    expect(grids({ ...lavapipe, measured })).toEqual([false, false]);
  });

  it("is refused where no kernel sets how many rows there are", () => {
    const dense = `model m (x: f32[64, 16]) -> f32[64, 16] { return x |> linear(out = 16) @fc }`;
    const schedules = { linear: "register:threads=8x8,tile=4x1,grid=live" };
    expect(() => compileText(dense, { target: lavapipe, schedules })).toThrow(InputError);
  });

  it("is checked in a plan that is read: its place lies within the extents", () => {
    const { plan } = build(lavapipe, "live");
    expect(checkPlan(JSON.parse(JSON.stringify(plan)))).toEqual([]);
    const [entry] = plan.entries;
    const damaged = (change: object): readonly string[] =>
      checkPlan(JSON.parse(JSON.stringify({ ...plan, entries: [{ ...entry, ...change }] })));
    expect(damaged({ extents: 1 }).join()).toContain("takes its grid from a place that is not there");
    expect(damaged({ extents: 1e12 }).join()).toContain("has no valid number of extents");
    const dispatches = entry!.dispatches.map((d) => (d.indirect === undefined ? d : { ...d, indirect: -1 }));
    expect(damaged({ dispatches }).join()).toContain("takes its grid from a place that is not there");
  });
});
