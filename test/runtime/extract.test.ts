// A dispatch taken out of its plan does alone what it did in it: for every dispatch of a small model, and for one that reads a live size.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileModule, lookupOp, packWeights, type Plan, type Tensor } from "../../src/index.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { checkPlan } from "../../src/ir/plan-check.ts";
import { tensor } from "../../src/ir/tensor.ts";
import {
  extractedBytes,
  extractedPlan,
  recordingPlan,
  type DispatchPlace,
} from "../../src/runtime/extract.ts";
import { seededInput } from "../../src/runtime/seeded.ts";
import { createSession } from "../../src/runtime/session.ts";
import { compileExample, openAdapter, seededWeights } from "../models/support.ts";
import { countingPlan } from "./kernels.ts";

let adapter: Awaited<ReturnType<typeof openAdapter>>;
beforeAll(async () => {
  adapter = await openAdapter();
});
afterAll(() => adapter.device.destroy());

function placeOf(plan: Plan, index: number): DispatchPlace {
  const entry = plan.entries[0]!;
  const dispatch = entry.dispatches[index]!;
  return { entry, dispatch, index, kernel: plan.kernels[dispatch.kernel]! };
}

/** Outputs of a dispatch in its plan, and alone, by the names of the kernel's buffers. */
async function both(
  plan: Plan,
  constants: Uint8Array,
  inputs: Readonly<Record<string, Tensor>>,
  index: number,
): Promise<readonly [Record<string, Tensor>, Readonly<Record<string, Tensor>>]> {
  const at = placeOf(plan, index);
  const whole = await createSession(adapter.device, recordingPlan(plan, at), constants);
  const recorded = await whole.runWith(inputs);
  await whole.dispose();
  const extracted = extractedPlan(plan, at, recorded.dims);
  expect(checkPlan(JSON.parse(JSON.stringify(extracted.plan)))).toEqual([]);
  const entry = extracted.plan.entries[0]!;
  const given = new Map(Object.entries(recorded.outputs));
  for (const i of plan.entries[0]!.inputs) given.set(i.id, inputs[i.name]!);
  const of = (names: readonly { readonly name: string }[]): Record<string, Tensor> =>
    Object.fromEntries(names.map((x) => [x.name, given.get(extracted.values[x.name]!)!]));
  const alone = await createSession(adapter.device, extracted.plan, extractedBytes(extracted, constants));
  const got = await alone.run(of(entry.inputs));
  await alone.dispose();
  return [of(entry.outputs), got];
}

it("every dispatch of the digits", async () => {
  const compiled = compileExample("digits_poolformer", { config: "tiny", target: adapter.target });
  const constants = packWeights(compiled, seededWeights(compiled.module.graphs));
  const inputs = { images: seededInput("images", [2, 1, 8, 8]) };
  const { dispatches } = compiled.plan.entries[0]!;
  for (let i = 0; i < dispatches.length; i++) {
    const [recorded, got] = await both(compiled.plan, constants, inputs, i);
    expect(Object.keys(got).length).toBeGreaterThan(0);
    expect(got).toEqual(recorded);
  }
});

describe("sizes that a kernel writes", () => {
  const text = `graph @g(%all: f32[R], %kept: f32[n, 4]) -> (y: f32[n, 4]) {
  dims R, n <= R
  %0 = relu %kept : f32[n, 4]
  return y = %0
}
`;

  it("are live in the kernel alone as they were in the run", async () => {
    const { module } = parseGraphs(text, "bounded.ir", lookupOp);
    const plan = countingPlan(compileModule(module!, { target: adapter.target }).plan);
    const all = tensor("f32", [5], [1, -1, 1, 1, -1]);
    const kept = tensor(
      "f32",
      [5, 4],
      Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? i + 1 : -i)),
    );
    const [recorded, got] = await both(plan, new Uint8Array(), { all, kept }, 1);
    const [y] = Object.values(got);
    expect(y!.shape).toEqual([3, 4]);
    expect([...y!.data]).toEqual([1, 0, 3, 0, 5, 0, 7, 0, 9, 0, 11, 0]);
    expect(got).toEqual(recorded);
  });
});
