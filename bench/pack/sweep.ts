// The schedule space of contractions on the adapter at hand: `sweep.js --out FILE`. Every schedule of a list that the adapter can run, on
// a few shapes, by GPU timestamps: what tuning starts from.

import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { compile, load } from "../../src/index.ts";
import { evaluateDim } from "../../src/ir/dim.ts";
import { graphStats } from "../../src/ir/stats.ts";
import { openDevice } from "../../src/runtime/device-node.ts";
import { median } from "../compare.ts";
import { graphOf, inputsOf, options, source, weightsOf, type Model } from "../models.ts";

export interface SweepRow {
  readonly case: string;
  readonly macs: number;
  /** The fastest first. */
  readonly tried: readonly { readonly schedule: string; readonly milliseconds: number }[];
}

const smoke = process.env["TOKENLOOM_BENCH_SMOKE"] === "1";
const RUNS = 5;

const sized = (model: string, sizes: Readonly<Record<string, number>>): Model => ({
  file: "bench/kernels.model",
  model,
  set: Object.fromEntries(
    Object.entries(sizes).map(([name, n]) => [name, String(smoke ? Math.min(n, 32) : n)]),
  ),
  dims: {},
});
const product = (m: number, k: number, n: number): Model => sized("product", { m, k, n });
const dense = (m: number, inner: number, out: number): Model => sized("dense", { m, inner, out });

const shapes: Readonly<Record<string, Model>> = {
  "product 4096": product(4096, 4096, 4096),
  "product 1024": product(1024, 1024, 1024),
  "product 512": product(512, 512, 512),
  "dense 401408 x 64 x 256": dense(401408, 64, 256),
  "dense 25088 x 1280 x 320": dense(25088, 1280, 320),
  "dense 196 x 320 x 1280": dense(196, 320, 1280),
};

/** Tiles of one invocation, threads of a workgroup, depth of a slab. */
function schedules(): readonly string[] {
  const found: string[] = [];
  for (const [across, down] of [
    [16, 16],
    [8, 8],
    [8, 16],
    [16, 8],
    [32, 8],
  ] as const)
    for (const [rows, vectors] of [
      [4, 1],
      [8, 1],
      [8, 2],
      [4, 2],
      [16, 1],
    ] as const)
      for (const step of [8, 16, 32])
        found.push(
          `workgroup:threads=${across}x${down},tile=${rows}x${vectors},width=4,step=${step},split=1,epilogue=direct`,
        );
  found.push(
    "subgroup:threads=32x1,tile=8x1,width=4,step=4,split=1,epilogue=direct",
    "subgroup:threads=32x1,tile=16x1,width=4,step=4,split=1,epilogue=direct",
    "subgroup:threads=32x1,tile=24x1,width=4,step=4,split=1,epilogue=staged",
    "register:threads=8x8,tile=4x1,width=4,step=4,split=1,epilogue=direct",
    "register:threads=16x16,tile=8x1,width=4,step=4,split=1,epilogue=direct",
  );
  return found;
}

const { values } = parseArgs({
  options: { out: { type: "string" }, budget: { type: "string", default: "12000" } },
});
if (values.out === undefined) throw new Error("sweep --out FILE");
const opened = await openDevice();
for (const [name, model] of Object.entries(shapes)) {
  const end = performance.now() + Number(values.budget);
  const graph = graphOf(model);
  const inputs = inputsOf(graph, model);
  const tried: { schedule: string; milliseconds: number }[] = [];
  // The one that would be chosen is tried first.
  for (const schedule of [undefined, ...schedules()]) {
    if (performance.now() > end) break;
    try {
      const chosen = { ...options(model), target: opened.target };
      const compiled = compile(source(model.file), {
        ...chosen,
        ...(schedule !== undefined && { schedules: { "*": schedule } }),
      });
      const session = await load(compiled, weightsOf(graph), opened.device);
      const used = session.plan.entries[0]!.dispatches.map((d) => d.schedule).join(" + ");
      // One that cannot run here leaves the kernel with its own.
      if (schedule === undefined || used.includes(schedule)) {
        const times: number[] = [];
        for (let i = 0; i < RUNS; i++) {
          const { nanoseconds } = await session.runWith(inputs, { profile: true });
          times.push((nanoseconds ?? [NaN]).reduce((a, b) => a + b, 0) / 1e6);
        }
        tried.push({ schedule: schedule ?? `chosen: ${used}`, milliseconds: median(times) });
      }
      await session.dispose();
    } catch (e) {
      console.log(`  ${schedule}: ${e instanceof Error ? e.message.slice(0, 200) : String(e)}`);
    }
  }
  tried.sort((a, b) => a.milliseconds - b.milliseconds);
  const macs = evaluateDim(graphStats(graph).macs, model.dims);
  appendFileSync(values.out, `${JSON.stringify({ kind: "sweep", case: name, macs, tried })}\n`);
}
process.exit(0);
