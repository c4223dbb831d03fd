// Large inputs on the adapter there is; and, without one, which inputs go which way.

import { describe, expect, it } from "vitest";
import type { PlanEntry } from "../../src/ir/plan.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { stagedFrom, stagedInputs } from "../../src/runtime/staging.ts";
import { stagingSuite } from "./staging.suite.ts";
import { entryOf, value } from "./tiny.ts";

stagingSuite(process.env["TOKENLOOM_DEVICE"] ?? "auto");

describe("inputs that are staged", () => {
  const elements = stagedFrom / 4;
  const entry: PlanEntry = entryOf({
    symbols: ["N"],
    inputs: [value("a", ["N"]), value("small", ["1"]), value("h", ["N"], "f16"), value("b", ["N"])],
    values: [],
    outputs: [],
    dispatches: [],
  });
  const ofLength = (n: number): Tensor => ({ dtype: "f32", shape: [n], data: new Float32Array(0) });
  const places = (n: number, most: number): readonly unknown[] => {
    const inputs = { a: ofLength(n), small: ofLength(1), h: ofLength(n), b: ofLength(n) };
    return stagedInputs(entry, inputs, most).inputs.map((s) => [s.input.name, s.offset, s.bytes]);
  };

  it("are those from the bound on, of the bytes that they have on the device; each begins at a multiple of eight", () => {
    expect(places(elements - 1, 2 ** 30)).toEqual([]);
    expect(places(elements + 1, 2 ** 30)).toEqual([
      ["a", 0, stagedFrom + 4],
      ["b", stagedFrom + 8, stagedFrom + 4],
    ]);
    expect(places(2 * elements, 2 ** 30).map((p) => (p as unknown[])[0])).toEqual(["a", "h", "b"]);
  });

  it("are no more than one buffer holds", () => {
    expect(places(elements, 2 * stagedFrom - 1)).toEqual([["a", 0, stagedFrom]]);
    expect(places(elements, stagedFrom - 1)).toEqual([]);
  });
});
