// Tuning on the adapter: the losses and steps of the compiled graphs against their meaning in f64, the same bits from a log, and a
// damaged head that recovers.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  compileModule,
  evaluate,
  elaborateFile,
  lookupOp,
  packWeights,
  type Tensor,
} from "../../src/index.ts";
import { takeRows } from "../../src/cli/rows.ts";
import { printModule } from "../../src/ir/print.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { openDevice, type OpenedDevice } from "../../src/runtime/device-node.ts";
import { createSession, type Session } from "../../src/runtime/session.ts";
import { entryNames, inputNames, lossName, refuseOutput, tuningModule } from "../../src/tune/graphs.ts";
import type { TuneLog } from "../../src/tune/log.ts";
import { replay, tune, type Key, type Tunable } from "../../src/tune/spsa.ts";
import { readTensors, resolveStd } from "../models/support.ts";

const file = "examples/digits_poolformer.model";
const graph = elaborateFile({ name: file, text: readFileSync(file, "utf8") }, { resolve: resolveStd }).module!
  .graphs[0]!;
const tuned = new Set(["head.fc.weight", "head.fc.bias"]);
const module = tuningModule(graph, { tuned, output: "logits", lookup: lookupOp });
const start: TuneLog = {
  settings: { model: graph.name, tuned: "", seed: 0, epsilon: 1e-3, rate: 0.05, samples: 2 },
  entries: [],
};
const rows = 48;

const keyTensor = (key: Key): Tensor => tensor("u32", [2], key);
const scalar = (x: number): Tensor => tensor("f32", [], [x]);

describe("tuning on the adapter", () => {
  let adapter: OpenedDevice;
  let weights: Record<string, Tensor>;
  let inputs: Record<string, Tensor>;
  let labels: Tensor;
  const sessions: Session[] = [];

  beforeAll(async () => {
    adapter = await openDevice();
    weights = await readTensors("examples/data/digits_poolformer.safetensors");
    const data = await readTensors("examples/data/digits_test.safetensors");
    inputs = takeRows({ images: data["images"]! }, 0, rows, 360);
    labels = takeRows({ labels: data["labels"]! }, 0, rows, 360)["labels"]!;
  });
  afterAll(async () => {
    for (const s of sessions) await s.dispose();
    adapter.device.destroy();
  });

  /** The model with a head of zeros. */
  async function damaged(): Promise<{ session: Session; target: Tunable }> {
    const compiled = compileModule(module, { target: adapter.target });
    const session = await createSession(
      adapter.device,
      compiled.plan,
      packWeights(compiled, (key) => weights[key]!),
    );
    sessions.push(session);
    const target: Tunable = {
      loss: async (key, epsilon) => {
        const run = { ...inputs, [inputNames.labels]: labels, [inputNames.key]: keyTensor(key) };
        const all = { ...run, [inputNames.epsilon]: scalar(epsilon) };
        return (await session.run(all, { entry: entryNames.loss }))[lossName]!.data[0]!;
      },
      move: async (key, amount) => {
        const run = { [inputNames.key]: keyTensor(key), [inputNames.step]: scalar(amount) };
        await session.run(run, { entry: entryNames.update });
      },
    };
    return { session, target };
  }

  it("is made of graphs that hold together, as text too", () => {
    for (const g of module.graphs) expect(verifyGraph(g)).toEqual([]);
    const text = printModule(module);
    const read = parseGraphs(text, "tune.ir", lookupOp);
    expect(read.diagnostics).toEqual([]);
    expect(printModule(read.module!)).toBe(text);
    expect(refuseOutput(graph, "nothing")).toMatch(/no output nothing; it has logits/);
  });

  it("has the loss that its graph means, on both sides of a direction", async () => {
    const { target } = await damaged();
    const states = Object.fromEntries(
      [...tuned].map((key) => {
        const t = weights[key]!;
        return [key, tensor("f32", t.shape, new Float64Array(t.data.length), "f64")];
      }),
    );
    const lossGraph = module.graphs.find((g) => g.name === entryNames.loss)!;
    const bound = new Map(Object.entries(weights));
    for (const epsilon of [0.01, -0.01]) {
      const run = { ...inputs, [inputNames.labels]: labels, [inputNames.key]: keyTensor([0, 3]) };
      const all = { ...run, [inputNames.epsilon]: scalar(epsilon) };
      const { outputs } = evaluate(lossGraph, bound, all, { states });
      const expected = outputs[lossName]!.data[0]!;
      expect(Math.abs((await target.loss([0, 3], epsilon, 0)) - expected)).toBeLessThan(2e-6);
      expect(Math.abs(expected - Math.log(10)), "the direction is no nothing").toBeGreaterThan(1e-4);
    }
  });

  it("recovers from a head of zeros, and its log gives the same bits on another device", async () => {
    const first = await damaged();
    const losses: number[] = [];
    const log = await tune(first.target, start, 8, (r) => losses.push(r.loss));
    expect(losses[0]).toBeCloseTo(Math.log(10), 2);
    expect(losses.at(-1)!).toBeLessThan(1.7);
    const second = await damaged();
    expect(await replay(second.target, log)).toBe(8);
    for (const key of tuned) {
      const [a, b] = [await first.session.state.get(key), await second.session.state.get(key)];
      expect(new Uint32Array((a.data as Float32Array).buffer)).toEqual(
        new Uint32Array((b.data as Float32Array).buffer),
      );
      expect(a.data.some((x) => x !== 0)).toBe(true);
    }
  });
});
