// `verify` where the function was changed on request: outputs may be off, and everything else is held. Mistakes are planted that the
// outputs do not show, for they are smaller than what rounding does to them.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate } from "../../src/index.ts";
import type { Fault } from "../../src/cli/fault.ts";
import type { PassMeasure } from "../../src/cli/measure.ts";
import { worstNumber, type KernelMeasure } from "../../src/cli/measure-kernels.ts";
import { tensor } from "../../src/ir/tensor.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { compileText, openAdapter, seededWeights } from "../models/support.ts";
import { Installed } from "./support.ts";

const installed = new Installed();
let opened: OpenedDevice;

beforeAll(async () => {
  await installed.build();
  opened = await openAdapter();
});
afterAll(() => {
  installed.remove();
  opened?.device.destroy();
});

interface Verified {
  readonly ok: boolean;
  readonly outputs: readonly {
    readonly against: string;
    readonly held: boolean;
    readonly difference: number;
  }[];
  readonly passes: readonly PassMeasure[];
  readonly kernels: readonly KernelMeasure[];
  readonly fault?: Fault;
}

const model = ["verify", "examples/digits_poolformer.model", "--config", "tiny", "--dim", "B=2", "--json"];

async function verified(args: readonly string[], PLANTED = ""): Promise<Verified> {
  const { code, out, err } = await installed.run([...model, ...args], { PLANTED });
  const read = JSON.parse(out) as Verified;
  expect(code, err).toBe(read.ok ? 0 : 1);
  return read;
}

describe.each([
  ["--storage", "f16"],
  ["--quantize", "int8"],
  ["--storage", "f16", "--quantize", "int4"],
])("verify %s %s %s %s", (...args) => {
  const settings = args.filter((a) => typeof a === "string");
  const runs = (): boolean => !settings.includes("f16") || opened.target.features.includes("shader-f16");

  it("reports what it costs, and holds passes and kernels", async (test) => {
    if (!runs()) test.skip();
    const { ok, outputs, passes, kernels, fault } = await verified(settings);
    expect(fault).toBeUndefined();
    expect(ok).toBe(true);
    expect(outputs.map((o) => o.held)).toEqual([false, true]);
    expect(outputs[0]!.difference).toBeGreaterThan(1e-4);
    expect(outputs[1]!.difference).toBeLessThan(1e-4);
    const rounding = passes.filter((p) => p.contract === "approximates");
    expect(rounding).toHaveLength(settings.length / 2);
    for (const p of rounding) {
      expect(p.difference).toBeGreaterThan(1e-6);
      expect(p.unrounded).toBeLessThan(1e-10);
    }
    expect(passes.length).toBeGreaterThan(rounding.length);
    expect(kernels.length).toBeGreaterThan(10);
    for (const k of kernels) expect(k.difference, k.kernel).toBeLessThan(k.allowed);
  });

  it("names a kernel that is wrong by less than outputs show", async (test) => {
    if (!runs()) test.skip();
    const { ok, fault, kernels } = await verified(settings, "gelu");
    expect(ok).toBe(false);
    expect(fault?.kernel).toContain("gelu");
    expect(fault!.difference).toBeLessThan(1e-2);
    for (const k of kernels) expect(k.ok, k.kernel).toBe(!k.kernel.includes("gelu"));
  });
});

describe("verify --storage f16", () => {
  it("names the pass where it does more than round", async (test) => {
    if (!opened.target.features.includes("shader-f16")) test.skip();
    const { ok, fault, passes } = await verified(["--storage", "f16"], "rounding");
    expect(ok).toBe(false);
    expect(fault?.pass).toBe("half-storage");
    expect(passes.filter((p) => !p.ok).map((p) => p.pass)).toEqual(["half-storage"]);
  });
});

describe("a number of a kernel", () => {
  const half = (...values: number[]) => tensor("f16", [values.length], values);
  it.each([
    ["the other neighbour", half(1024, 3), half(1025, 3), true],
    ["two units off", half(1024), half(1027), false],
    ["small beside the largest", half(2048, 0.01), half(2048, 0.02), true],
    ["infinite", half(Infinity), half(3), false],
    ["infinite on both sides", half(Infinity, 1), half(Infinity, 1), true],
    ["no number", half(NaN, 2), half(1, 2), false],
    ["missing", half(1), half(1, 2), false],
  ] as const)("%s", (_, got, want, ok) => {
    expect(worstNumber(got, want, 1e-5).ok).toBe(ok);
  });

  it("in f32 has no unit of f16", () => {
    const [got, want] = [tensor("f32", [1], [1024]), tensor("f32", [1], [1025])];
    expect(worstNumber(got, want, 1e-5).ok).toBe(false);
  });
});

describe("evaluation without rounding", () => {
  it.each([{ also: ["half-storage"] }, { quantize: "int4" }, { quantize: "int8", also: ["half-storage"] }])(
    "is that of the model as written: %o",
    (options) => {
      const text = `model m (x: f32[B, 64]) -> (y: f32[B, 64]) {
  return layer_norm(x) @norm |> linear(out = 128) @a |> gelu() |> linear(out = 64) @b |> mul(0.3)
}
`;
      const compiled = compileText(text, options);
      const graph = compiled.module.graphs[0]!;
      const weights = seededWeights([graph]);
      const inputs = {
        x: tensor(
          "f32",
          [2, 64],
          Array.from({ length: 128 }, (_, i) => Math.sin(i * i)),
        ),
      };
      const as = (g: typeof graph, rounding: "each" | "none") =>
        evaluate(g, weights, inputs, { rounding }).outputs["y"]!;
      const apart = (rounding: "each" | "none"): number => {
        const [was, is] = [as(graph, "none"), as(compiled.optimized.graphs[0]!, rounding)];
        return Math.max(...was.data.map((v, i) => Math.abs(v - is.data[i]!)));
      };
      expect(apart("each")).toBeGreaterThan(1e-5);
      expect(apart("none")).toBeLessThan(1e-10);
    },
  );
});
