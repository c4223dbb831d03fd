// `--quantize`: what it says where it cannot, what it keeps once, and how much smaller constants are.

import { describe, expect, it } from "vitest";
import { packWeights, seededTensor, type Tensor } from "../../src/index.ts";
import { parseQuantization } from "../../src/passes/quantize-weights.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import { compileText, seededWeights } from "../models/support.ts";

const layer = `model m (x: f32[B, T, 64]) -> (y: f32[B, T, 96]) {
  return linear(x, out = 96) @fc
}
`;

function codesOf(action: () => unknown): readonly string[] {
  try {
    action();
  } catch (e) {
    if (e instanceof InputError) return e.diagnostics.map((d) => `${d.code}: ${d.message}`);
    throw e;
  }
  return [];
}

describe("quantize-weights", () => {
  it("reads widths and groups, and says what else is no width", () => {
    expect(parseQuantization("int8")).toEqual({ type: "i8", group: 128 });
    expect(parseQuantization("int4")).toEqual({ type: "i4", group: 32 });
    expect(parseQuantization("int4:group=64")).toEqual({ type: "i4", group: 64 });
    for (const text of ["int3", "int4:group=0", "int4:group=-1", "int4:group=", "int8:64", "", "constructor"])
      expect(
        codesOf(() => compileText(layer, { quantize: text })),
        text,
      ).toEqual([`quantize: ${text} is no width that weights can have`]);
  });

  it("keeps a quarter and an eighth of the bytes, and the scales", () => {
    const bytes = (quantize?: string) => {
      const compiled = compileText(layer, quantize === undefined ? {} : { quantize });
      return compiled.plan.constants
        .filter((c) => c.id !== "$fc.bias")
        .map((c) => c.bytes)
        .sort((a, b) => b - a);
    };
    expect(bytes()).toEqual([64 * 96 * 4]);
    expect(bytes("int8")).toEqual([64 * 96, 96 * 4]);
    expect(bytes("int4")).toEqual([(64 * 96) / 2, 96 * 2 * 4]);
    expect(bytes("int4:group=16")).toEqual([(64 * 96) / 2, 96 * 4 * 4]);
  });

  it("refuses NaN and infinities, by the name of the weight", () => {
    const compiled = compileText(layer, { quantize: "int8" });
    const weights = seededWeights(compiled.module.graphs);
    for (const wrong of [NaN, -Infinity]) {
      const broken = (key: string): Tensor => {
        const t = weights(key);
        return key === "fc.weight" ? { ...t, data: t.data.map((x, i) => (i === 7 ? wrong : x)) } : t;
      };
      expect(codesOf(() => packWeights(compiled, broken))).toEqual([
        `quantize-finite: weight fc.weight has the number ${wrong}, which no integer stands for`,
      ]);
    }
  });

  it("keeps weights of several layers once", () => {
    const text = `model m (x: f32[B, 64]) -> (y: f32[B, 64]) {
  weight w: f32[64, 64]
  h = linear(x, weight = w, bias = none) |> relu()
  return linear(h, weight = w, bias = none) |> relu()
}
`;
    const compiled = compileText(text, { quantize: "int8" });
    expect(compiled.plan.constants.map((c) => c.dtype).sort()).toEqual(["f32", "i8"]);
    expect(compiled.plan.entries[0]!.dispatches).toHaveLength(2);
  });

  it("rounds weights of f16 storage from what they were in f32", () => {
    const compiled = compileText(layer, { quantize: "int8", also: ["half-storage"] });
    const dtypes = compiled.plan.constants.map((c) => c.dtype).sort();
    expect(dtypes).toEqual(["f16", "f32", "i8"]);
    const plain = compileText(layer, { quantize: "int8" });
    const weights = (key: string) => seededTensor(key, key === "fc.bias" ? [96] : [96, 64], 0, "f32");
    const integers = (c: typeof compiled) => {
      const at = c.plan.constants.find((k) => k.dtype === "i8")!;
      return Array.from(packWeights(c, weights).subarray(at.offset, at.offset + at.bytes));
    };
    expect(integers(compiled)).toEqual(integers(plain));
  });
});
