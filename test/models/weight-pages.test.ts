// Weights larger than one storage binding: split into pages, with the same bits as in one piece, and a reason where even that cannot be.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { load, seededInput, type Compiled, type Tensor } from "../../src/index.ts";
import { lavapipe, type Target, type TargetLimits } from "../../src/ir/target.ts";
import { expertWays } from "../../src/passes/expert-cost.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { compileText, openAdapter, seededWeights } from "./support.ts";

const layer = `
import { Moe } from "std/experts"
import { SwiGlu } from "std/transformer"
import { SoftmaxRouter } from "std/routers"
model m (x: f32[T, 16]) -> (y: f32[T, 16]) {
  return y = x |> Moe(experts = 5, router = SoftmaxRouter(k = 2), expert = SwiGlu(hidden = 8)) @moe
}`;

/** A stack of five experts takes 2560 bytes, one of them 512. */
const within = (target: Target, limits: Partial<TargetLimits>): Target => ({
  ...target,
  limits: { ...target.limits, ...limits },
});
const small = { maxStorageBufferBindingSize: 1100 };

const reasonsOf = (c: Compiled): string =>
  c.steps[0]!.flatMap((s) => s.refusals)
    .filter((r) => r.rule === "into-pages")
    .map((r) => r.reason)
    .join("; ");
const constantsOf = (c: Compiled): number[] => c.plan.constants.map((x) => x.bytes);

describe("weights in pages", { timeout: 200_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  async function run(build: (target: Target) => Compiled, x: Tensor): Promise<Float32Array[]> {
    const compiled = build(lavapipe);
    const weights = seededWeights(compiled.module.graphs);
    const interpreted = runPlan(compiled, weights, { x }, { T: x.shape[0]! }).outputs["y"]!.data;
    const session = await load(build(opened.target), weights, opened.device);
    const { y } = await session.run({ x });
    await session.dispose();
    return [interpreted, y!.data].map((d) => Float32Array.from(d));
  }

  it.each(expertWays.filter((w) => w !== "capacity"))(
    "%s gives the bits of stacks in one piece",
    async (experts) => {
      const x = seededInput("x", [19, 16]);
      const build =
        (limits: Partial<TargetLimits>) =>
        (target: Target): Compiled =>
          compileText(layer, { target: within(target, limits), experts });
      const paged = build(small)(lavapipe);
      // Three stacks of five experts, two of them in a page; dense lays all experts' first weights on top of each other.
      expect(constantsOf(paged).filter((b) => b > small.maxStorageBufferBindingSize)).toEqual([]);
      expect(paged.plan.constants.length).toBe(1 + 3 * 3);
      expect(paged.plan.entries[0]!.dispatches).toHaveLength(
        build({})(lavapipe).plan.entries[0]!.dispatches.length,
      );
      expect(await run(build(small), x)).toEqual(await run(build({}), x));
    },
  );

  it("a table is read from the page that has the row", async () => {
    const text = `model m (x: f32[T, 3]) -> (y: f32[T, 4]) {
      weight table: f32[300, 4]
      ids = cast(floor(abs(x)) * 7 + 1, dtype = u32) |> slice(axis = 1, end = 1) |> reshape(dims = [T])
      return y = take_rows(table, ids)
    }`;
    const build = (limits: Partial<TargetLimits>) => (target: Target) =>
      compileText(text, { target: within(target, limits) });
    expect(constantsOf(build({ maxStorageBufferBindingSize: 1024 })(lavapipe))).toEqual([
      960, 960, 960, 960, 960,
    ]);
    const x = { ...seededInput("x", [40, 3]), data: Float32Array.from({ length: 120 }, (_, i) => i / 3) };
    const [interpreted, adapter] = await run(build({ maxStorageBufferBindingSize: 1024 }), x);
    const [whole] = await run(build({}), x);
    expect(interpreted).toEqual(whole);
    expect(adapter).toEqual(whole);
  });

  it("names the weight, its size and the limit where pages cannot help", () => {
    const build = (limits: Partial<TargetLimits>) =>
      compileText(layer, { target: within(lavapipe, limits), experts: "sort" });
    expect(reasonsOf(build({ maxStorageBufferBindingSize: 300 }))).toMatch(
      /moe\.experts\.\*\.gate_proj\.weight takes 2560 bytes, and one binding holds 300: a single row of it, of 5, is larger/,
    );
    expect(reasonsOf(build({ ...small, maxStorageBuffersPerShaderStage: 6 }))).toMatch(
      /takes 2560 bytes, and one binding holds 1100: with 3 pages grouped_linear would bind 7 buffers, and a kernel has 6/,
    );
  });

  it("a device refuses to bind it otherwise, with the same names", async () => {
    const compiled = compileText(layer, { target: opened.target, experts: "sort" });
    const limits = new Proxy(opened.device.limits, {
      get: (t, name) => (name === "maxStorageBufferBindingSize" ? 2000 : Reflect.get(t, name, t)),
    });
    const device = new Proxy(opened.device, {
      get(t, name) {
        if (name === "limits") return limits;
        const value: unknown = Reflect.get(t, name, t);
        return typeof value === "function" ? (value.bind(t) as unknown) : value;
      },
    });
    await expect(load(compiled, seededWeights(compiled.module.graphs), device)).rejects.toThrow(
      /constant \$moe\.experts\.\*\.gate_proj\.weight\{0, 2, 1\} takes 2\.5 KiB, the adapter allows 2\.0 KiB/,
    );
  });
});
