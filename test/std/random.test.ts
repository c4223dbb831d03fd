// The library's blocks at sizes that nobody chose. Each call is computed four times, as the worked examples are: by the reference in f64,
// by onnxruntime from the export, by the kernels on the interpreter, and by the kernels on the adapter of this machine. A failure names
// block and seed; `TOKENLOOM_RANDOM=BLOCK:SEED npx vitest run test/std/random.test.ts` runs that one and prints its model.

import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile, baseline, evaluate, load } from "../../src/index.ts";
import type { Target } from "../../src/ir/target.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { expectClose, seededInputs } from "../models/compare.ts";
import { openAdapter, resolveStd, seededWeights } from "../models/support.ts";
import { oracleOutputs } from "../oracle/ort.ts";
import { callOf, elsewhere, randomBlocks, type RandomBlock } from "./random-blocks.ts";

/** Calls of each block; on the adapter the first alone, since a pipeline takes far longer to compile than to run. */
const SEEDS = 4;

/** What f16 storage may cost, relative to the largest number of a result (docs/numerics.md): 20 roundings of 2^-11. */
const HALF = 1e-2;

const [onlyBlock, onlySeed] = (process.env["TOKENLOOM_RANDOM"] ?? "").split(":");
const chosen = randomBlocks.filter((b) => !onlyBlock || b.block === onlyBlock);
const seeds = onlySeed ? [Number(onlySeed)] : Array.from({ length: SEEDS }, (_, i) => i);

async function check(b: RandomBlock, seed: number, opened: OpenedDevice | undefined): Promise<void> {
  const call = callOf(b, seed);
  const what = `${b.block}:${seed}`;
  if (onlyBlock) process.stdout.write(`${what} ${JSON.stringify(call.dims)}\n${call.text}`);
  const build = (target: Target = baseline, also: readonly string[] = []) =>
    compile({ name: `${what}.model`, text: call.text }, { resolve: resolveStd, target, also });
  const compiled = build();
  const graph = compiled.module.graphs[0]!;
  const weights = seededWeights([graph]);
  const { dims } = call;
  const inputs = { ...seededInputs(graph, dims), ...call.inputs };
  const { outputs } = evaluate(graph, weights, inputs, { dims });
  if (call.withoutOracle === undefined)
    expectClose(await oracleOutputs(graph, weights, inputs, dims), outputs, `${what} by onnxruntime`);
  expectClose(runPlan(compiled, weights, inputs, dims).outputs, outputs, `${what} by the interpreter`);
  const half = build(baseline, ["half-storage"]);
  expectClose(
    runPlan(half, weights, inputs, dims).outputs,
    outputs,
    `${what} in f16 by the interpreter`,
    HALF,
  );
  if (!opened) return;
  const run = async (also: readonly string[], most?: number) => {
    const session = await load(build(opened.target, also), weights, opened.device);
    const where = `${what} ${also.length > 0 ? "in f16 " : ""}on ${opened.name}`;
    expectClose(await session.run(inputs, { dims }), outputs, where, most);
    await session.dispose();
  };
  await run([]);
  if (opened.device.features.has("shader-f16")) await run(["half-storage"], HALF);
}

describe("blocks at random sizes", { timeout: 120_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(chosen.map((b) => [b.block, b] as const))("%s", async (_, b) => {
    for (const seed of seeds) await check(b, seed, seed === seeds[0] ? opened : undefined);
  });
});

const capitals = (text: string): string[] => text.match(/\b[A-Z]\w+/g) ?? [];
/** The text of each block of the library. */
const library = new Map(
  readdirSync("std").flatMap((f) =>
    readFileSync(`std/${f}`, "utf8")
      .split(/^(?=\S)/m)
      .flatMap((text, i, parts) => {
        const name = /^block (\w+)/.exec(text)?.[1];
        // A declaration goes on behind its parameters: to the next one.
        const rest = parts.slice(i + 1);
        const end = rest.findIndex((t) => /^(block|model|config|import|\/\/)/.test(t));
        return name ? [[name, [text, ...rest.slice(0, end < 0 ? undefined : end)].join("")] as const] : [];
      }),
  ),
);

/** Blocks that a text names, and those that these use. */
function uses(text: string, found = new Set<string>()): ReadonlySet<string> {
  for (const name of capitals(text)) {
    const block = library.get(name);
    if (block === undefined || found.has(name)) continue;
    found.add(name);
    uses(block, found);
  }
  return found;
}

it("has a row for every block of the library, or says what else tests it", () => {
  const rows = randomBlocks.map((b) => b.block);
  expect([...rows, ...Object.keys(elsewhere)].sort()).toEqual([...library.keys()].sort());
  for (const [block, { by }] of Object.entries(elsewhere)) {
    const text = rows.includes(by) ? library.get(by)! : readFileSync(by, "utf8");
    expect([...uses(text)], `${by} uses ${block}`).toContain(block);
  }
});
