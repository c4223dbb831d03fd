// What the adapter reaches at most in matrix products: the fastest schedule of a wide choice at 512 x 512 x 512, each alone, by whole runs as
// the cases are timed. A process of its own: `ceiling.ts` prints it as JSON.

import { execFile } from "node:child_process";
import { basename, extname } from "node:path";
import { promisify } from "node:util";
import { compile, load } from "../src/index.ts";
import { runsOnCores, type Target } from "../src/ir/target.ts";
import { openDevice } from "../src/runtime/device-node.ts";
import { graphOf, inputsOf, options, source, weightsOf, type Model } from "./models.ts";

export interface Ceiling {
  readonly gflops: number;
  readonly schedule: string;
  /** How many schedules were timed. */
  readonly tried: number;
}

const SIZE = 512;
const RUNS = 7;
const extension = extname(import.meta.filename);

export async function measureCeiling(env: NodeJS.ProcessEnv): Promise<Ceiling> {
  const execArgv = extension === ".ts" ? ["--import", "tsx"] : [];
  const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, import.meta.filename], {
    env,
  });
  return JSON.parse(stdout) as Ceiling;
}

function schedules(target: Target): readonly string[] {
  const lanes = target.subgroupSize;
  if (!runsOnCores(target))
    return ["16x16,tile=4x1", "16x16,tile=8x1", "16x16,tile=8x2", "8x16,tile=8x2", "16x8,tile=4x1"].flatMap(
      (t) => [8, 16, 32].map((step) => `workgroup:threads=${t},width=4,step=${step}`),
    );
  if (lanes === 0) return [2, 4, 8].map((r) => `register:threads=8x8,tile=${r}x1,swizzle=4`);
  const tiles = [
    ...[8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64].map((rows) => `${rows}x1`),
    ...[8, 16, 24, 32].map((rows) => `${rows}x2`),
  ];
  return tiles.map((tile) => `subgroup:threads=${lanes}x1,tile=${tile},epilogue=staged,swizzle=4`);
}

async function main(): Promise<void> {
  const opened = await openDevice();
  const size = String(SIZE);
  const model: Model = {
    file: "bench/kernels.model",
    model: "product",
    set: { m: size, k: size, n: size },
    dims: {},
  };
  const graph = graphOf(model);
  const inputs = inputsOf(graph, model);
  const { target } = opened;
  const found: Ceiling[] = [];
  for (const schedule of schedules(target)) {
    const compiled = compile(source(model.file), {
      ...{ ...options(model), target, schedules: { "*": schedule } },
    });
    const session = await load(compiled, weightsOf(graph), opened.device);
    const times: number[] = [];
    // The first run compiles.
    for (let run = 0; run <= RUNS; run++) {
      const start = performance.now();
      await session.run(inputs);
      if (run > 0) times.push(performance.now() - start);
    }
    await session.dispose();
    // What a ceiling is about is what can be reached.
    found.push({ gflops: (2 * SIZE ** 3) / Math.min(...times) / 1e6, schedule, tried: 0 });
  }
  const best = found.reduce((a, b) => (b.gflops > a.gflops ? b : a));
  process.stdout.write(JSON.stringify({ ...best, tried: found.length }));
  process.exit(0);
}

if (basename(process.argv[1] ?? "", extension) === "ceiling") await main();
