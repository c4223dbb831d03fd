// Low-rank adapters: what PEFT saves and what is wrong with it; folded and beside, against weights changed by hand, in f64 and on the
// adapter.

import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { applyLora, type AdapterMode } from "../../src/adapters/lora.ts";
import { readAdapter, readConfig, type LoraAdapter } from "../../src/adapters/peft.ts";
import {
  compileModule,
  elaborateFile,
  evaluate,
  lookupOp,
  packWeights,
  type Tensor,
} from "../../src/index.ts";
import { constantOf } from "../../src/ir/dim.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { printModule } from "../../src/ir/print.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { seededInput, seededTensor } from "../../src/runtime/seeded.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { createSession } from "../../src/runtime/session.ts";
import { openAdapter, resolveStd } from "../models/support.ts";

const text = `
model net (image: f32[B, 3, H, W], h: f32[B, 6]) -> (map: f32[B, 5, H2, W2], y: f32[B, 4]) {
  y = h |> linear(out = 8) @layers[0].q_proj |> relu() |> linear(out = 4, bias = false) @head
  return map = image |> conv2d(out = 5, kernel = 3, stride = 2, pad = 1) @stem, y = y
}
`;
const graph = elaborateFile({ name: "net.model", text }, { resolve: resolveStd }).module!.graphs[0]!;
const config = readConfig(JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 6 }), "adapter_config.json");
const shapes = {
  "base_model.model.model.layers.0.q_proj.lora_A.weight": [2, 6],
  "base_model.model.model.layers.0.q_proj.lora_B.weight": [8, 2],
  "base_model.model.stem.lora_A.weight": [2, 3, 3, 3],
  "base_model.model.stem.lora_B.weight": [5, 2, 1, 1],
} as const;
const stored = (list: Readonly<Record<string, readonly number[]>>) =>
  new Map(Object.entries(list).map(([key, shape]) => [key, { dtype: "f32", shape }]));
const adapter: LoraAdapter = readAdapter("lora", stored(shapes), config, "adapter_model.safetensors");

/** Numbers from names, in f64: what the evaluator reads as it is. */
function weights(graphs: readonly Graph[]): Map<string, Tensor> {
  const all = graphs.flatMap((g) => g.weights);
  return new Map(
    all.map((w) => [
      w.key,
      seededTensor(
        w.key,
        w.type.shape.map((d) => constantOf(d)!),
        0,
        w.type.dtype,
      ),
    ]),
  );
}

const inputs = {
  image: seededInput("image", [2, 3, 6, 4]),
  h: seededInput("h", [2, 6]),
};

/** W + 3 B A, by hand. */
function changedByHand(all: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const out = new Map(all);
  for (const [key, path] of [
    ["layers.0.q_proj.weight", "base_model.model.model.layers.0.q_proj"],
    ["stem.weight", "base_model.model.stem"],
  ] as const) {
    const [w, a, b] = [key, `lora:${path}.lora_A.weight`, `lora:${path}.lora_B.weight`].map((k) =>
      all.get(k)!,
    );
    const rows = w!.shape[0]!;
    const inner = w!.data.length / rows;
    const data = Float64Array.from(w!.data);
    for (let o = 0; o < rows; o++)
      for (let i = 0; i < inner; i++)
        for (let r = 0; r < 2; r++) data[o * inner + i]! += 3 * b!.data[o * 2 + r]! * a!.data[r * inner + i]!;
    out.set(key, tensor("f32", w!.shape, data, "f64"));
  }
  return out;
}

function largest(a: Readonly<Record<string, Tensor>>, b: Readonly<Record<string, Tensor>>): number {
  let most = 0;
  for (const [name, t] of Object.entries(a))
    t.data.forEach((x, i) => (most = Math.max(most, Math.abs(x - b[name]!.data[i]!))));
  return most;
}

describe.each<AdapterMode>(["fold", "beside"])("an adapter, %s", (mode) => {
  const made = applyLora(graph, adapter, mode, lookupOp);
  const all = weights([made]);
  const expected = evaluate(graph, changedByHand(all), inputs).outputs;
  let device: OpenedDevice;
  beforeAll(async () => {
    device = await openAdapter();
  });
  afterAll(() => device.device.destroy());

  it("is a graph that holds together, as text too", () => {
    expect(verifyGraph(made)).toEqual([]);
    const printed = printModule({ name: "net", graphs: [made] });
    const read = parseGraphs(printed, "net.ir", lookupOp);
    expect(read.diagnostics).toEqual([]);
    expect(printModule(read.module!)).toBe(printed);
  });

  it("gives what changed weights give", () => {
    const { outputs } = evaluate(made, all, inputs);
    expect(largest(expected, outputs)).toBeLessThan(1e-12);
    expect(largest(evaluate(graph, all, inputs).outputs, outputs), "it changes something").toBeGreaterThan(
      1e-3,
    );
  });

  it("gives it on the adapter", async () => {
    const compiled = compileModule({ name: "net", graphs: [made] }, { target: device.target });
    const session = await createSession(
      device.device,
      compiled.plan,
      packWeights(compiled, (k) => all.get(k)!),
    );
    expect(largest(expected, await session.run(inputs))).toBeLessThan(1e-5);
    // Folded weights are made at load: the layers are those of the model.
    const plain = compileModule({ name: "net", graphs: [graph] }, { target: device.target });
    const more = compiled.plan.entries[0]!.dispatches.length - plain.plan.entries[0]!.dispatches.length;
    if (mode === "fold") expect(more).toBe(0);
    else expect(more).toBeGreaterThan(0);
    await session.dispose();
  });
});

describe("the configuration", () => {
  it("is rank-stabilised, and has other ranks for some", () => {
    const text = JSON.stringify({
      r: 4,
      lora_alpha: 8,
      use_rslora: true,
      rank_pattern: { "layers.0.q_proj": 2 },
      alpha_pattern: { stem: 1 },
    });
    const read = readAdapter(
      "a",
      stored({
        ...shapes,
        "base_model.model.stem.lora_A.weight": [4, 3, 3, 3],
        "base_model.model.stem.lora_B.weight": [5, 4, 1, 1],
      }),
      readConfig(text, "c"),
      "t",
    );
    expect(read.modules.map((m) => [m.path, m.factor])).toEqual([
      ["model.layers.0.q_proj", 8 / Math.sqrt(2)],
      ["stem", 1 / 2],
    ]);
  });

  test.each([
    ["nothing", /not JSON/],
    ["[]", /not an object/],
    ['{"peft_type": "IA3"}', /type IA3/],
    ['{"r": 2, "lora_alpha": 1, "use_dora": true}', /use_dora/],
    ['{"r": 0, "lora_alpha": 1}', /r is no rank/],
    ['{"r": 2}', /lora_alpha/],
    ['{"r": 2, "lora_alpha": 1, "rank_pattern": [1]}', /rank_pattern/],
  ])("%s is refused", (text, message) => {
    expect(() => readConfig(text, "adapter_config.json")).toThrow(message);
  });
});

describe("tensors that do not fit are refused", () => {
  const without = (key: string) =>
    stored(Object.fromEntries(Object.entries(shapes).filter(([k]) => k !== key)));
  test.each([
    ["a half alone", without("base_model.model.stem.lora_B.weight"), /lora_A alone/],
    ["none", new Map(), /holds no tensors/],
    [
      "one of no known kind",
      stored({ "base_model.model.stem.lora_magnitude_vector": [5] }),
      /no part of a LoRA/,
    ],
    ["another rank", stored({ "x.lora_A.weight": [3, 6], "x.lora_B.weight": [8, 3] }), /says 2/],
  ])("%s", (_, tensors, message) => {
    expect(() => readAdapter("a", tensors, config, "t")).toThrow(message);
  });

  test.each([
    [
      "a layer that is not there",
      { "layers.1.q_proj.lora_A.weight": [2, 6], "layers.1.q_proj.lora_B.weight": [8, 2] },
      /has not/,
    ],
    [
      "another shape",
      { "head.lora_A.weight": [2, 6], "head.lora_B.weight": [8, 2] },
      /no change of f32\[4, 8\]/,
    ],
  ])("%s", (_, list, message) => {
    const wrong = readAdapter("a", stored(list), config, "t");
    expect(() => applyLora(graph, wrong, "fold", lookupOp)).toThrow(message);
  });
});
