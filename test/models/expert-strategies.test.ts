// The ways of computing one layer of routed experts: what they must agree in, on the kernel interpreter and on the adapter.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, load, seededInput, type Compiled, type Tensor } from "../../src/index.ts";
import { expertWays, type ExpertWay } from "../../src/passes/expert-cost.ts";
import { lavapipe, type Target } from "../../src/ir/target.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { compileText, differenceOf, largestDifference, openAdapter, seededWeights } from "./support.ts";

const width = 16;
const layerOf = (tokens: string): string => `
import { Combine } from "std/experts"
import { SwiGlu } from "std/transformer"
model m (x: f32[${tokens}, ${width}], z: f32[${tokens}, 4]) -> (y: f32[${tokens}, ${width}], ids: u32[${tokens}, 2]) {
  ids, weights = route(z + linear(x, out = 4, bias = false) @gate, k = 2)
  y = x |> per_expert(ids, of = SwiGlu(hidden = 8), count = 4) @experts |> Combine(weights)
  return y = y, ids = ids
}`;

type Outputs = Readonly<Record<string, Tensor>>;
type Inputs = Readonly<Record<string, Tensor>>;
type Weights = (key: string) => Tensor;

/** Rows in another order, or the order undone. */
function reversed(t: Tensor): Tensor {
  const rows = t.shape[0]!;
  const size = t.data.length / rows;
  const data = t.data.slice();
  for (let r = 0; r < rows; r++) data.set(t.data.slice(r * size, (r + 1) * size), (rows - 1 - r) * size);
  return { ...t, data };
}

describe("strategies", { timeout: 300_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  /** The same runs on the interpreter and on the adapter. */
  async function everywhere(
    build: (target: Target) => Compiled,
    runs: readonly Inputs[],
    weights?: Weights,
  ): Promise<readonly (readonly Outputs[])[]> {
    const compiled = build(lavapipe);
    const given = weights ?? seededWeights(compiled.module.graphs);
    const interpreted = runs.map(
      (inputs) => runPlan(compiled, given, inputs, { T: inputs["x"]!.shape[0]! }).outputs,
    );
    const session = await load(build(opened.target), given, opened.device);
    const onAdapter: Outputs[] = [];
    for (const inputs of runs) onAdapter.push(await session.run(inputs));
    await session.dispose();
    return [interpreted, onAdapter];
  }

  const x = seededInput("x", [40, width]);
  const z = seededInput("z", [40, 4]);
  const symbolic = layerOf("T");
  const without =
    (...passes: string[]) =>
    (target: Target): Compiled =>
      compileText(symbolic, { target, without: passes });
  const way =
    (experts: ExpertWay, text = symbolic) =>
    (target: Target): Compiled =>
      compileText(text, { target, experts });
  const kernelsOf = ({ plan }: Compiled): string[] =>
    plan.entries[0]!.dispatches.map((d) => plan.kernels[d.kernel]!.name);
  const reasonsOf = (c: Compiled): string[] =>
    c.steps[0]!.flatMap((s) => s.refusals).flatMap((r) =>
      ["every-expert", "sort-by-expert"].includes(r.rule) ? [`${r.rule}: ${r.reason}`] : [],
    );

  it("sorted rows, rows by themselves and all experts on all tokens choose alike and agree", async () => {
    const graph = without()(lavapipe).module.graphs[0]!;
    const wanted = evaluate(graph, seededWeights([graph]), { x, z }).outputs;
    for (const experts of expertWays)
      for (const [got] of await everywhere(way(experts), [{ x, z }])) {
        expect(got!["ids"]!.data).toEqual(wanted["ids"]!.data);
        expect(largestDifference(got!["y"]!, wanted["y"]!)).toBeLessThan(1e-6);
      }
  });

  // Wide enough for tiles of every kind; 30 tokens leave rows of tiles and of workgroups empty.
  it("give the same bits where no product divides its sum: rows by themselves, sorted rows, and all experts on all tokens", async () => {
    const wide = `
      import { SwiGlu } from "std/transformer"
      import { SoftmaxRouter } from "std/routers"
      import { Combine } from "std/experts"
      model m (x: f32[30, 256]) -> (y: f32[30, 256], ids: u32[30, 2], weights: f32[30, 2]) {
        ids, weights = x |> SoftmaxRouter(experts = 4, k = 2) @gate
        y = x |> per_expert(ids, of = SwiGlu(hidden = 96), count = 4) @experts |> Combine(weights)
        return y = y, ids = ids, weights = weights
      }`;
    const input = { x: seededInput("x", [30, 256]) };
    const first: Outputs[] = [];
    for (const experts of expertWays)
      for (const [place, [got]] of (await everywhere(way(experts, wide), [input])).entries()) {
        const same = (first[place] ??= got!);
        for (const name of ["y", "ids", "weights"])
          expect(got![name]!.data, `${name}, ${experts}, ${place}`).toEqual(same[name]!.data);
      }
  });

  it("take as many dispatches as they should, and say why they were chosen", () => {
    expect(kernelsOf(way("gather")(lavapipe))).toHaveLength(5);
    expect(kernelsOf(way("sort")(lavapipe))).toHaveLength(7);
    expect(kernelsOf(way("dense")(lavapipe))).toHaveLength(5);
    const chosen = (text: string): string[] => reasonsOf(compileText(text, { target: lavapipe }));
    expect(chosen(symbolic).join("; ")).toMatch(
      /^every-expert: how many tokens there are is not known: sorted/,
    );
    const estimates = /rows of 4 experts: gather [\d.]+ us, sort in tiles of \d+ [\d.]+ us, dense [\d.]+ us/;
    expect(chosen(layerOf("1")).join("; ")).toMatch(
      /every-expert: gather is estimated the fastest for 2 rows/,
    );
    expect(chosen(layerOf("1")).join("; ")).toMatch(estimates);
    const expecting = compileText(symbolic, { target: lavapipe, sizes: { T: 1 } });
    expect(reasonsOf(expecting)).toEqual(chosen(layerOf("1")));
    expect(kernelsOf(expecting)).toHaveLength(5);
    // What was asked for and cannot be is not passed over.
    const seats = compileText(layerOf("40"), { target: lavapipe, experts: "capacity" });
    const said = seats.steps[0]!.flatMap((s) => [
      ...s.events.map((e) => e.why),
      ...s.refusals.map((r) => r.reason),
    ]);
    expect(said.join("; ")).toContain("capacity was asked for and is no way to compute these: ");
    expect(reasonsOf(way("sort", layerOf("8"))(lavapipe)).join("; ")).toMatch(
      /^every-expert: sort was asked/,
    );
    expect(reasonsOf(way("gather")(lavapipe)).join("; ")).toContain("sort-by-expert: gather was asked for");
    // Of as many experts as choices, all compute all.
    const both = compileText(symbolic.replaceAll("4", "2").replace("40", "2"), { target: lavapipe });
    expect(reasonsOf(both)).toEqual([]);
    expect(both.steps[0]!.flatMap((s) => s.events).find((e) => e.rule === "every-expert")?.why).toMatch(
      /^a token has every expert/,
    );
  });

  it("fixed rows for the seats of a capacity agree with the other ways, bit for bit", async () => {
    const seated = `
      import { Combine, PlainExpert } from "std/experts"
      import { Capacity } from "std/routers"
      model m (x: f32[T, ${width}], z: f32[T, 4]) -> (y: f32[T, ${width}], ids: u32[T, 2], weights: f32[T, 2]) {
        ids, weights = route(z, k = 2)
        ids, weights = Capacity(ids, weights, experts = 4, capacity = 11, renorm = true)
        y = x |> per_expert(ids, of = PlainExpert(hidden = 8), count = 4) @experts |> Combine(weights)
        return y = y, ids = ids, weights = weights
      }`;
    const graph = compileText(seated, { target: lavapipe }).module.graphs[0]!;
    const wanted = evaluate(graph, seededWeights([graph]), { x, z }).outputs;
    // 80 choices for 44 seats.
    expect([...wanted["ids"]!.data].filter((id) => id === 4).length).toBeGreaterThanOrEqual(36);
    const first: Outputs[] = [];
    for (const experts of expertWays.filter((w) => w !== "dense"))
      for (const [place, [got, again]] of (
        await everywhere(way(experts, seated), [
          { x, z },
          { x, z },
        ])
      ).entries()) {
        expect(got!["ids"]!.data).toEqual(wanted["ids"]!.data);
        expect(largestDifference(got!["y"]!, wanted["y"]!)).toBeLessThan(1e-6);
        const same = (first[place] ??= got!);
        for (const name of ["y", "ids", "weights"]) {
          expect(got![name]!.data, `${name}, ${experts}, ${place}`).toEqual(same[name]!.data);
          expect(again![name]!.data).toEqual(got![name]!.data);
        }
      }
    const chosen = compileText(seated, { target: lavapipe });
    expect(chosen.plan.entries[0]!.symbols.map((s) => s.kind)).toEqual(["bound"]);
    expect(kernelsOf(chosen)).toHaveLength(kernelsOf(way("sort", seated)(lavapipe)).length - 2);
  });

  it("shared experts as slots and beside the others agree", async () => {
    const text = `
      import { Moe } from "std/experts"
      import { SwiGlu } from "std/transformer"
      import { SoftmaxRouter } from "std/routers"
      model m (x: f32[T, ${width}]) -> (y: f32[T, ${width}]) {
        gate = x |> linear(out = 1) @own |> sigmoid()
        y = x |> Moe(experts = 4, router = SoftmaxRouter(k = 2), expert = SwiGlu(hidden = 8), shared = SwiGlu(hidden = 16)) @a
        z = y |> Moe(experts = 4, router = SoftmaxRouter(k = 2), expert = SwiGlu(hidden = 8)) @b
        return y = z + gate * (y |> SwiGlu(hidden = 8) @c)
      }`;
    const build =
      (...passes: string[]) =>
      (target: Target): Compiled =>
        compileText(text, { target, without: passes });
    const slots = (c: Compiled) => c.plan.entries[0]!.dispatches.length;
    expect(slots(build("shared-experts")(lavapipe)) - slots(build()(lavapipe))).toBe(4);
    const graph = build()(lavapipe).module.graphs[0]!;
    const wanted = evaluate(graph, seededWeights([graph]), { x }).outputs;
    for (const way of [build(), build("shared-experts"), build("plan-experts")])
      for (const got of (await everywhere(way, [{ x }])).flat())
        expect(largestDifference(got["y"]!, wanted["y"]!)).toBeLessThan(1e-6);
  });

  it("two runs give the same bits, and so does a token in any order of the tokens", async () => {
    const turned = { x: reversed(x), z: reversed(z) };
    for (const [first, second, other] of await everywhere(without(), [{ x, z }, { x, z }, turned])) {
      expect(second!["y"]!.data).toEqual(first!["y"]!.data);
      expect(reversed(other!["y"]!).data).toEqual(first!["y"]!.data);
      expect(reversed(other!["ids"]!).data).toEqual(first!["ids"]!.data);
    }
  });

  it("an expert without tokens costs nothing and changes nothing, whatever its weights are", async () => {
    const shut = { ...z, data: z.data.map((v, i) => (i % 4 === 2 ? -100 : v)) };
    const graph = without()(lavapipe).module.graphs[0]!;
    const sound = seededWeights([graph]);
    const broken = (key: string): Tensor => {
      const t = sound(key);
      const size = t.data.length / 4;
      const isStack = key.startsWith("experts.");
      return isStack ? { ...t, data: t.data.map((v, i) => (Math.floor(i / size) === 2 ? NaN : v)) } : t;
    };
    for (const build of expertWays.map((experts) => way(experts))) {
      const wanted = await everywhere(build, [{ x, z: shut }], sound);
      const got = await everywhere(build, [{ x, z: shut }], broken);
      got.forEach(([run], where) => {
        expect([...run!["ids"]!.data]).not.toContain(2);
        expect(differenceOf(run!["y"]!.data, wanted[where]![0]!["y"]!.data)).toBe(0);
      });
    }
  });
});
