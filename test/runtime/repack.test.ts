// Weights that change under a session: the prepare program makes anew what depends on them, and nothing else.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packWeights, repackWeights, type Tensor } from "../../src/index.ts";
import { createSession } from "../../src/runtime/session.ts";
import { compileExample, openAdapter, seededWeights } from "../models/support.ts";
import { seededInputs } from "../models/compare.ts";

describe("weights that change", () => {
  let adapter: Awaited<ReturnType<typeof openAdapter>>;
  beforeAll(async () => {
    adapter = await openAdapter();
  });
  afterAll(() => adapter.device.destroy());

  it("make anew what is folded from them, in the bytes and on the device", async () => {
    const compiled = compileExample("poolformer", { config: "tiny", target: adapter.target });
    const graph = compiled.module.graphs[0]!;
    const weights = seededWeights([graph]);
    const bytes = packWeights(compiled, weights);
    const session = await createSession(adapter.device, compiled.plan, bytes);
    const inputs = seededInputs(graph, { B: 1, H: 32, W: 32 });
    const before = (await session.run(inputs))["logits"]!;

    // A LayerScale is folded into the layer before it, with that layer's bias.
    const key = graph.weights.map((w) => w.key).find((k) => k.endsWith("layer_scale2.scale"))!;
    const scaled = weights(key);
    const doubled: Tensor = { ...scaled, data: scaled.data.map((x) => 2 * x) as Tensor["data"] };
    const changed = (k: string): Tensor => (k === key ? doubled : weights(k));
    const ids = repackWeights(compiled, changed, bytes, [key]);
    expect(ids.length).toBeGreaterThan(0);
    expect(ids.length).toBeLessThan(4);
    expect(compiled.plan.constants.length).toBeGreaterThan(20);
    expect(bytes).toEqual(packWeights(compiled, changed));

    await session.setConstants(bytes, ids);
    const after = (await session.run(inputs))["logits"]!;
    expect(after.data).not.toEqual(before.data);
    const fresh = await createSession(adapter.device, compiled.plan, packWeights(compiled, changed));
    expect(after.data).toEqual((await fresh.run(inputs))["logits"]!.data);

    await expect(session.setConstants(bytes, ["nothing"])).rejects.toThrow("unknown-constant");
    await fresh.dispose();
    await session.dispose();
  });

  it("need not be read where nothing depends on them", () => {
    const compiled = compileExample("poolformer", { config: "tiny" });
    const unread = (key: string): never => {
      throw new Error(`reads ${key}`);
    };
    expect(repackWeights(compiled, unread, new Uint8Array(0), ["no.such.weight"])).toEqual([]);
  });
});
