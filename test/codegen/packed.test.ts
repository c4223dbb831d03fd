// Rows packed on the GPU, from the model text on: what is computed of them is computed for as many as there are, whatever the run says
// that number is.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { builtinTargets, compileModule, evaluate, packWeights } from "../../src/index.ts";
import { tensor, type Tensor } from "../../src/ir/tensor.ts";
import { createSession } from "../../src/runtime/session.ts";
import { elaborateText, graphOf } from "../elaborate/support.ts";
import { expectClose } from "../models/compare.ts";
import { openAdapter } from "../models/support.ts";
import { Random } from "../ops/support.ts";
import { runPlan } from "./plan-runner.ts";

const source = `model packed (x: f32[B, 6], keep: bool[B], again: bool[B], w: f32[8, 6])
    -> (y: f32[B, 8], kept: f32[n <= B, 8], twice: f32[m <= B, 8], total: f32[8]) {
  rows, places = pack_rows(keep)
  z = x |> take_rows(rows) |> linear(weight = w, bias = none) |> gelu()
  few, _ = pack_rows(take_rows(cast(again, dtype = u32), rows) > 0)
  return y = take_rows(z, places), kept = z, twice = take_rows(z, few), total = sum(z, axes = [0])
}
`;

const noWeights = (key: string): never => {
  throw new Error(`no weight ${key}`);
};

const count = 700;
const every = (f: (n: number) => boolean): Tensor =>
  tensor(
    "bool",
    [count],
    Array.from({ length: count }, (_, n) => Number(f(n))),
  );
const random = new Random(5);
const x = random.tensor([count, 6]);
const w = random.tensor([8, 6]);

const cases: readonly (readonly [string, (n: number) => boolean, number])[] = [
  ["none", () => false, 0],
  ["the last", (n) => n === count - 1, 1],
  ["every third", (n) => n % 3 === 0, 234],
  ["one block of them", (n) => n >= 256 && n < 512, 256],
  ["all", () => true, count],
];

describe("packed rows", () => {
  const graph = graphOf(elaborateText(source));
  let adapter: Awaited<ReturnType<typeof openAdapter>>;
  beforeAll(async () => {
    adapter = await openAdapter();
  });
  afterAll(() => adapter.device.destroy());

  it("are bounded by the rows there were", () => {
    expect(graph.symbols).toEqual([
      { kind: "bound", name: "B" },
      expect.objectContaining({ kind: "bounded", name: "kept0" }),
      expect.objectContaining({ kind: "bounded", name: "kept1" }),
    ]);
    const bounds = graph.symbols.flatMap((s) => (s.kind === "bounded" ? [s.bound.key] : []));
    expect(bounds).toEqual(["B", "B"]);
  });

  it.each(cases)("%s", async (_, keep, kept) => {
    const inputs = { x, w, keep: every(keep), again: every((n) => n % 2 === 1) };
    const expected = evaluate(graph, noWeights, inputs);
    expect(expected.dims["kept0"]).toBe(kept);
    expect(expected.outputs["kept"]!.shape).toEqual([kept, 8]);
    // By hand: each row by itself, where it is kept.
    const products = evaluate(graph, noWeights, { ...inputs, keep: every(() => true) }).outputs["y"]!;
    const masked = products.data.map((v, i) => (keep(Math.floor(i / 8)) ? v : 0)) as Tensor["data"];
    expectClose(
      expected.outputs,
      { ...expected.outputs, y: { ...products, data: masked } },
      "by hand",
      1e-12,
    );

    for (const target of builtinTargets) {
      const compiled = compileModule({ name: "packed", graphs: [graph] }, { target });
      const { outputs } = runPlan(compiled, noWeights, inputs, { B: count });
      expectClose(outputs, expected.outputs, target.name, 1e-5);
    }

    const compiled = compileModule({ name: "packed", graphs: [graph] }, { target: adapter.target });
    const session = await createSession(adapter.device, compiled.plan, packWeights(compiled, noWeights));
    const { outputs, dims } = await session.runWith(inputs);
    expect(dims).toEqual(expected.dims);
    expectClose(outputs, expected.outputs, "the adapter", 1e-5);
    await session.dispose();
  });

  it("the product asks how many rows there are", () => {
    const { plan } = compileModule({ name: "packed", graphs: [graph] }, { target: adapter.target });
    const product = plan.kernels.find((k) => k.name.startsWith("linear"))!;
    expect(product.params.some((p) => p.live)).toBe(true);
  });
});
