// Every worked example of every op, and what a record must state.

import { describe, expect, test } from "vitest";
import { allOps, lookupOp } from "../../src/ops/index.ts";
import { callable } from "./cases.ts";
import { flatten, inferCall, runCall, shapeOf, toTensor, type Call } from "./support.ts";

describe.each(callable.map((op) => [op.name, op] as const))("%s", (_, op) => {
  test.each(op.examples.map((e) => [e.about, e] as const))("%s", (_, example) => {
    const inputs = Object.fromEntries(
      Object.entries(example.inputs).map(([name, x]) => [name, toTensor(x, example.dtypes?.[name])]),
    );
    const call: Call = { op, inputs, attrs: example.attrs ?? {} };
    expect(inferCall(call)).toHaveLength(op.results.length);
    for (const precision of ["f64", "f32"] as const)
      for (const [i, y] of runCall(call, precision).entries()) {
        const expected = example.outputs[i]!;
        expect(y.shape).toEqual(shapeOf(expected));
        for (const [k, value] of flatten(expected).entries())
          expect(Math.abs(y.data[k]! - value)).toBeLessThanOrEqual(example.tolerance ?? 1e-6);
      }
  });
});

test("names are unique and are found", () => {
  expect(new Set(allOps.map((op) => op.name)).size).toBe(allOps.length);
  for (const op of allOps) expect(lookupOp(op.name)).toBe(op);
  expect(lookupOp("constructor")).toBeUndefined();
});

test.each(allOps.map((op) => [op.name, op] as const))("%s is documented", (name, op) => {
  expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
  expect(op.doc).toMatch(/\S.*[.?]$/s);
  expect(op.equation).not.toBe("");
  for (const input of op.inputs) expect(input.doc).not.toBe("");
  for (const attr of Object.values(op.attrs)) expect(attr.doc).not.toBe("");
  for (const label of Object.keys(op.constraints)) expect(label).toMatch(/^[a-z][a-z-]*$/);
  if (op.lowering.kind !== "group") expect(op.examples.length).toBeGreaterThan(0);
  expect(op.results.length).toBeGreaterThan(0);
});
