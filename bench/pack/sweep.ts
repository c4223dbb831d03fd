// The schedule space of contractions on the adapter at hand: `sweep.js --out FILE`. Every schedule of a list that the adapter can run, on
// a few shapes, by GPU timestamps: what tuning starts from.

import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { compile, load, type Plan, type Session } from "../../src/index.ts";
import { evaluateDim } from "../../src/ir/dim.ts";
import { graphStats } from "../../src/ir/stats.ts";
import { openDevice } from "../../src/runtime/device-node.ts";
import type { GpuTensor } from "../../src/runtime/transfer.ts";
import { median } from "../compare.ts";
import { graphOf, inputsOf, options, source, weightsOf, type Model } from "../models.ts";
import { nanoseconds, uploaded } from "../peers/tokenloom.ts";

export interface SweepRow {
  readonly case: string;
  readonly macs: number;
  /** The fastest first. */
  readonly tried: readonly { readonly schedule: string; readonly milliseconds: number }[];
}

const smoke = process.env["TOKENLOOM_BENCH_SMOKE"] === "1";
const RUNS = 5;
const TOGETHER = 8;
/** Milliseconds of runs before each: a card that has waited raises its clock slowly. */
const WARMING = 50;

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
  "dense 196 x 1280 x 320": dense(196, 1280, 320),
  "product 4096 f16": { ...sized("product_f16", { m: 4096, k: 4096, n: 4096 }), storage: "f16" },
  "product 1024 f16": { ...sized("product_f16", { m: 1024, k: 1024, n: 1024 }), storage: "f16" },
  "dense 401408 x 64 x 256 f16": { ...dense(401408, 64, 256), storage: "f16" },
  "dense 25088 x 1280 x 320 f16": { ...dense(25088, 1280, 320), storage: "f16" },
};

/** Threads of a workgroup, tiles of one invocation, depth of a slab; what does well on most cards comes first. */
function schedules(): readonly string[] {
  const found: string[] = [];
  for (const step of [16, 32, 8])
    for (const tile of ["8x1", "4x1", "8x2", "4x2", "16x1"])
      for (const threads of ["16x16", "8x8", "16x8", "8x16", "32x8"])
        found.push(`workgroup:threads=${threads},tile=${tile},width=4,step=${step},split=1,epilogue=direct`);
  const others = [
    "subgroup:threads=32x1,tile=8x1,width=4,step=4,split=1,epilogue=direct",
    "subgroup:threads=32x1,tile=24x1,width=4,step=4,split=1,epilogue=staged",
    "register:threads=8x8,tile=4x1,width=4,step=4,split=1,epilogue=direct",
    "register:threads=16x16,tile=8x1,width=4,step=4,split=1,epilogue=direct",
  ];
  const parts: string[] = [];
  for (const split of [4, 8, 2, 16])
    for (const [threads, tile] of [
      ["16x16", "4x1"],
      ["16x16", "8x2"],
      ["16x8", "4x1"],
      ["8x16", "8x2"],
    ])
      parts.push(`workgroup:threads=${threads},tile=${tile},width=4,step=16,split=${split},epilogue=direct`);
  return [...found.slice(0, 10), ...parts, ...others, ...found.slice(10)];
}

/** Where operands are stored in f16, each with slabs of f32 and of f16. */
const withSlabs = (schedule: string): readonly string[] =>
  schedule.startsWith("workgroup:") ? [schedule, `${schedule},slabs=f16`] : [schedule];

const { values } = parseArgs({
  options: {
    out: { type: "string" },
    budget: { type: "string", default: "12000" },
    // By semicolons; all of them otherwise.
    shapes: { type: "string" },
  },
});
if (values.out === undefined) throw new Error("sweep --out FILE");
const opened = await openDevice();

/** A session by that schedule; undefined where no kernel of the model can have it. */
async function sessionOf(model: Model, schedule: string | undefined): Promise<Session | undefined> {
  const compiled = compile(source(model.file), {
    ...options(model),
    target: opened.target,
    ...(schedule !== undefined && { schedules: { "*": schedule } }),
  });
  // One that cannot run here leaves the kernel with its own.
  if (schedule !== undefined && !usedBy(compiled.plan).includes(schedule)) return undefined;
  return load(compiled, weightsOf(graphOf(model)), opened.device);
}

const usedBy = (plan: Plan): string => plan.entries[0]!.dispatches.map((d) => d.schedule).join(" + ");

for (const [name, model] of Object.entries(shapes)) {
  if (values.shapes !== undefined && !values.shapes.split(";").includes(name)) continue;
  const end = performance.now() + Number(values.budget);
  const graph = graphOf(model);
  const inputs = inputsOf(graph, model);
  const tried: { schedule: string; milliseconds: number }[] = [];
  // The one that would be chosen is tried first. Drivers compile several at once.
  const all = [undefined, ...(model.storage === "f16" ? schedules().flatMap(withSlabs) : schedules())];
  let there: Readonly<Record<string, GpuTensor>> | undefined;
  for (let at = 0; at < all.length && performance.now() < end; at += TOGETHER) {
    const some = all.slice(at, at + TOGETHER);
    const sessions = await Promise.allSettled(some.map((schedule) => sessionOf(model, schedule)));
    for (const [i, made] of sessions.entries()) {
      const schedule = some[i];
      try {
        if (made.status === "rejected") throw made.reason;
        const session = made.value;
        if (!session) continue;
        there ??= uploaded(session, inputs);
        const times: number[] = [];
        for (const warm = performance.now() + WARMING; performance.now() < warm;)
          await nanoseconds(session, there);
        for (let run = 0; run < RUNS; run++)
          times.push(((await nanoseconds(session, there)) ?? [NaN]).reduce((a, b) => a + b, 0) / 1e6);
        tried.push({ schedule: schedule ?? `chosen: ${usedBy(session.plan)}`, milliseconds: median(times) });
        await session.dispose();
      } catch (e) {
        console.log(`  ${schedule}: ${e instanceof Error ? e.message.slice(0, 200) : String(e)}`);
      }
    }
  }
  for (const t of Object.values(there ?? {})) t.destroy();
  tried.sort((a, b) => a.milliseconds - b.milliseconds);
  const macs = evaluateDim(graphStats(graph).macs, model.dims);
  appendFileSync(values.out, `${JSON.stringify({ kind: "sweep", case: name, macs, tried })}\n`);
}
process.exit(0);
