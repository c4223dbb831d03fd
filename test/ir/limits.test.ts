// A table of positions has an end: sizes beyond it are refused by the reference and by a run, with the line, before anything is computed.

import { expect, it } from "vitest";
import { evaluate, InputError } from "../../src/index.ts";
import { limitsOf } from "../../src/ir/limits.ts";
import { checkInputs } from "../../src/runtime/inputs.ts";
import { seededInputs } from "../models/compare.ts";
import { compileText, seededWeights } from "../models/support.ts";

const learned = `
model learned (x: f32[B, T, 4]) -> (y: f32[B, T, 4], last: f32[B, 4]) {
  weight position: f32[6, 4]
  y = x + slice(position, axis = 0, end = T)
  return y = y, last = y |> slice(axis = T, start = T - 1) |> squeeze(axes = [1])
}
`;

const rotary = `
import { Rotary } from "std/attention"
model turned (x: f32[B, T, 1, 4]) -> (y: f32[B, T, 1, 4]) {
  return Rotary(x, positions = 6)
}
`;

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (e) {
    if (!(e instanceof InputError)) throw e;
    return e.diagnostics.map((d) => `${d.code}: ${d.message} ${d.notes?.[0]?.message ?? ""}`).join("\\n");
  }
  return "none";
}

it.each([
  ["learned", learned, "test.model:4:11"],
  ["rotary", rotary, "test.model:4:10"],
])("%s positions", (_, text, place) => {
  const compiled = compileText(text);
  const graph = compiled.module.graphs[0]!;
  // The last token is always there.
  expect(limitsOf(graph).map((l) => [l.size.key, l.text])).toEqual([
    ["-T + 6", "a slice ends at T of an axis of 6"],
  ]);
  const [entry] = compiled.plan.entries;
  expect(entry!.limits).toHaveLength(1);
  const weights = seededWeights([graph]);
  const at = (T: number) => {
    const inputs = seededInputs(graph, { B: 2, T });
    return [
      refusal(() => evaluate(graph, weights, inputs)),
      refusal(() => checkInputs(entry!, inputs, {}, undefined as never)),
    ];
  };
  expect(at(6)).toEqual(["none", "none"]);
  const [byReference, byRun] = at(7);
  expect(byReference).toContain("size-limit: a slice ends at T of an axis of 6, and T is 7");
  expect(byReference).toContain(place);
  expect(byRun).toBe(byReference);
});

it("refuses sizes below 0 where they are numbers", () => {
  const compiled = compileText(`
model wider (x: f32[B, C = 2, H, W]) -> (y: f32[B, C = 2, H, W]) {
  return x * (W - H)
}
`);
  const graph = compiled.module.graphs[0]!;
  const at = (H: number) =>
    refusal(() =>
      checkInputs(compiled.plan.entries[0]!, seededInputs(graph, { B: 1, H, W: 4 }), {}, undefined as never),
    );
  expect(at(4)).toBe("none");
  expect(at(5)).toContain("size-limit: the size -H + W is less than 0, and H is 5, W is 4");
});

it("asks nothing of sizes that cannot break", () => {
  const fixed = compileText(`
model fixed (x: f32[B, T, 8]) -> (y: f32[B, T, 4]) {
  return x |> slice(axis = 2, start = 2, end = 6)
}
`);
  expect(fixed.plan.entries[0]!.limits).toBeUndefined();
});
