// Attention at sizes that fill its tiles, for every built-in target, on the interpreter: heads of many widths, tails of tiles, groups,
// wide heads that no register file holds, and f16 storage.

import { describe, expect, it } from "vitest";
import { builtinTargets, compileModule, lookupOp } from "../../src/index.ts";
import { evaluate } from "../../src/ir/evaluate.ts";
import type { DType } from "../../src/ir/types.ts";
import { callGraph, Random, type Call } from "../ops/support.ts";
import { differenceOf } from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";

interface Shape {
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly size: number;
  readonly width: number;
  readonly causal?: boolean;
  readonly masked?: boolean;
  readonly dtype?: DType;
}

const shapes: readonly (readonly [string, Shape])[] = [
  ["a ViT's head", { queries: 33, keys: 33, heads: 2, keyHeads: 2, size: 16, width: 16 }],
  [
    "heads of 64, causal",
    { queries: 19, keys: 35, heads: 2, keyHeads: 1, size: 64, width: 64, causal: true },
  ],
  ["a width that fills no subgroup", { queries: 18, keys: 9, heads: 1, keyHeads: 1, size: 12, width: 72 }],
  [
    "three columns of vectors",
    { queries: 17, keys: 9, heads: 1, keyHeads: 1, size: 20, width: 12, masked: true },
  ],
  ["odd widths", { queries: 17, keys: 40, heads: 3, keyHeads: 3, size: 7, width: 5, masked: true }],
  ["one query", { queries: 1, keys: 70, heads: 2, keyHeads: 2, size: 32, width: 32, masked: true }],
  ["one key", { queries: 20, keys: 1, heads: 1, keyHeads: 1, size: 8, width: 8 }],
  [
    "more queries than keys, causal",
    { queries: 20, keys: 3, heads: 1, keyHeads: 1, size: 4, width: 4, causal: true },
  ],
  ["wide heads", { queries: 5, keys: 6, heads: 1, keyHeads: 1, size: 260, width: 300 }],
  ["f16", { queries: 9, keys: 17, heads: 4, keyHeads: 2, size: 16, width: 16, causal: true, dtype: "f16" }],
];

function callOf(s: Shape): Call {
  const r = new Random(7);
  const dtype = s.dtype ?? "f32";
  // Multiples of 1/64 are the same numbers in f16.
  const some = (shape: readonly number[]) => {
    const t = r.tensor(shape, "f32", -2, 2);
    return { ...t, dtype, data: t.data.map((x) => Math.round(x * 64) / 64) as typeof t.data };
  };
  const mask = r.tensor([2, s.keys], "bool");
  // The second sample sees no key at all.
  mask.data.fill(0, s.keys);
  return {
    op: lookupOp("attention")!,
    inputs: {
      q: some([2, s.queries, s.heads, s.size]),
      k: some([2, s.keys, s.keyHeads, s.size]),
      v: some([2, s.keys, s.keyHeads, s.width]),
      ...(s.masked && { mask }),
    },
    attrs: { causal: s.causal ?? false },
  };
}

describe.each(builtinTargets.map((t) => [t.name, t] as const))("attention on %s", (_, target) => {
  it.each(shapes)("%s", (_, shape) => {
    if (shape.dtype === "f16" && !target.features.includes("shader-f16")) return;
    const call = callOf(shape);
    const graph = callGraph(call);
    const compiled = compileModule({ name: "test", graphs: [graph] }, { target });
    const noWeights = (key: string): never => {
      throw new Error(`no weight ${key}`);
    };
    const got = runPlan(compiled, noWeights, call.inputs, {}).outputs["0"]!;
    const expected = evaluate(graph, new Map(), call.inputs).outputs["0"]!;
    // f16: the result alone is rounded, to 11 bits of values below 2.
    const bound = shape.dtype === "f16" ? 2 ** -10 : 2e-6;
    expect(differenceOf(got.data, expected.data)).toBeLessThan(bound);
  });

  it("never holds the scores", () => {
    const call = callOf({ queries: 64, keys: 64, heads: 1, keyHeads: 1, size: 4, width: 4 });
    const { plan } = compileModule({ name: "test", graphs: [callGraph(call)] }, { target });
    expect(plan.entries[0]!.dispatches).toHaveLength(1);
    expect(plan.entries[0]!.values.map((v) => v.shape.join())).toEqual(["2,64,1,4"]);
  });
});
