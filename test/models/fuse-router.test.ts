// Logits and choice in one kernel: the same bits as a product and a choice of their own, on the kernel interpreter and on the adapter.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { load, seededInput, type Compiled, type Tensor } from "../../src/index.ts";
import { lavapipe, type Target } from "../../src/ir/target.ts";
import { chooseRouter } from "../../src/passes/fuse-router.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { compileText, openAdapter, seededWeights } from "./support.ts";

const routers: readonly (readonly [name: string, experts: number, text: string])[] = [
  ["SoftmaxRouter", 12, "SoftmaxRouter(experts = 12, k = 3)"],
  ["BiasedRouter", 16, "BiasedRouter(experts = 16, k = 4, groups = 4, keep_groups = 2, scale = 2.5)"],
  ["BaseRouter", 6, "BaseRouter(experts = 6)"],
];

const textOf = (tokens: string, channels: number, router: string): string => `
import { ${router.slice(0, router.indexOf("("))} } from "std/routers"
model m (x: f32[${tokens}, ${channels}]) -> (ids: u32[${tokens}, K], weights: f32[${tokens}, K]) {
  ids, weights = x |> ${router} @router
  return ids = ids, weights = weights
}`;

const kernelsOf = ({ plan }: Compiled): string[] =>
  plan.entries[0]!.dispatches.map((d) => plan.kernels[d.kernel]!.name);

describe("a router of few tokens", { timeout: 300_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  const choices = (text: string): string => /k = (\d+)/.exec(text)?.[1] ?? "1";

  it.each(routers)("%s of %i experts: one kernel, the same bits", async (_, __, router) => {
    for (const [tokens, channels] of [
      [1, 32],
      [9, 20],
      [9, 7],
    ] as const) {
      const text = textOf(`${tokens}`, channels, router).replaceAll("K]", `${choices(router)}]`);
      const x = seededInput("x", [tokens, channels]);
      const build = (target: Target, without: readonly string[]): Compiled =>
        compileText(text, { target, without });
      const both = async (without: readonly string[]): Promise<readonly Tensor[]> => {
        const compiled = build(lavapipe, without);
        expect(kernelsOf(compiled)).toHaveLength(without.length === 0 ? 1 : 2);
        const weights = seededWeights(compiled.module.graphs);
        const interpreted = runPlan(compiled, weights, { x }, {}).outputs;
        const session = await load(build(opened.target, without), weights, opened.device);
        const onAdapter = await session.run({ x });
        await session.dispose();
        return [interpreted, onAdapter].flatMap((o) => [o["ids"]!, o["weights"]!]);
      };
      const [fused, apart] = [await both([]), await both(["fuse-router"])];
      for (const [i, t] of fused.entries()) expect(t.data, `${tokens} x ${channels}`).toEqual(apart[i]!.data);
    }
  });

  it("keeps a product whose logits are an output too", () => {
    const text = `
model m (x: f32[4, 8]) -> (ids: u32[4, 1], weights: f32[4, 1], logits: f32[4, 4]) {
  logits = x |> linear(out = 4, bias = false) @router
  ids, weights = route(logits, k = 1)
  return ids = ids, weights = weights, logits = logits
}`;
    expect(kernelsOf(compileText(text, { target: lavapipe }))).toEqual(["linear", "route"]);
  });

  it("has no more tokens in a workgroup than there are, nor than fit its memory", () => {
    const sizes = { experts: 64, bytes: 4 * 64 * 512, chosenBytes: 52 };
    expect(chooseRouter(sizes, 1, lavapipe).tokens).toBe(1);
    expect(chooseRouter(sizes, 3, lavapipe).tokens).toBe(4);
    expect(chooseRouter({ ...sizes, experts: 4096 }, 8, lavapipe)).toEqual({
      tokens: undefined,
      why: "the logits of 8 tokens take 131488 bytes of workgroup memory, the target allows 32768",
    });
  });
});
