// How long compiling takes against the depth of a model: node --import tsx bench/depth.ts [--rounds N] [--one LAYERS]. A chain of layers (linear and relu),
// with each size in a process of its own, the sizes in turns; the medians of three parts. Of the code that npm run build makes.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

interface Times {
  readonly front: number;
  readonly passes: number;
  readonly kernels: number;
}

const layers = [50, 500, 1000, 2500, 5000, 10_000];

function model(depth: number): string {
  return `block Layer (x: f32[..., C]) -> f32[..., C] { return x |> linear(out = C) @fc |> relu() }
model deep(x: f32[B, C = 8]) -> f32[B, 8] { repeat ${depth} @layers { x = x |> Layer() } return x }
`;
}

async function timed(depth: number): Promise<Times> {
  const built = join(import.meta.dirname, "../dist");
  const at = (file: string) => pathToFileURL(join(built, file)).href;
  const index = (await import(at("index.js"))) as typeof import("../src/index.ts");
  const lower = (await import(at("codegen/lower.js"))) as typeof import("../src/codegen/lower.ts");
  const clock = [performance.now()];
  const front = index.elaborateFile({ name: "deep.model", text: model(depth) });
  if (!front.module) throw new Error(index.render(front.diagnostics));
  clock.push(performance.now());
  const { optimized } = index.optimizeModule(front.module, {}, front);
  clock.push(performance.now());
  const lowered = lower.lowerModule(optimized, { target: index.baseline, compiler: index.version });
  clock.push(performance.now());
  if (lowered.plan.entries[0]?.dispatches.length !== depth) throw new Error("not a dispatch for each layer");
  const [a, b, c, d] = clock as [number, number, number, number];
  return { front: b - a, passes: c - b, kernels: d - c };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

const { values: options } = parseArgs({
  options: {
    // Times of one size alone, as JSON.
    one: { type: "string" },
    rounds: { type: "string", default: "5" },
  },
});

/** A count from the command line. */
function count(name: "one" | "rounds"): number {
  const n = Number(options[name]);
  if (Number.isInteger(n) && n > 0) return n;
  console.error(`error: --${name} is a count from 1 up, not ${options[name]}`);
  process.exit(1);
}

if (!existsSync(join(import.meta.dirname, "../dist/index.js"))) {
  console.error("error: this times what npm run build makes, and nothing has been built");
  process.exit(1);
}
if (options.one !== undefined) process.stdout.write(JSON.stringify(await timed(count("one"))));
else {
  const rounds = count("rounds");
  const runs = new Map(layers.map((n) => [n, [] as Times[]]));
  for (let round = 0; round < rounds; round++)
    for (const n of layers) {
      const args = ["--import", "tsx", fileURLToPath(import.meta.url), "--one", String(n)];
      runs.get(n)!.push(JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as Times);
    }
  console.log("| layers | nodes | parse, elaborate | passes | kernels, plan | all, ms | per node, us |");
  console.log("| -----: | ----: | ---------------: | -----: | ------------: | ------: | -----------: |");
  for (const [n, times] of runs) {
    const parts = (["front", "passes", "kernels"] as const).map((k) => median(times.map((t) => t[k])));
    const all = median(times.map((t) => t.front + t.passes + t.kernels));
    const cells = [
      n,
      2 * n,
      ...[...parts, all].map((x) => x.toFixed(0)),
      ((1000 * all) / (2 * n)).toFixed(0),
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
  console.log(`load ${loadavg()[0]!.toFixed(1)}`);
}
