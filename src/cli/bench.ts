// `bench`: where the time of one model goes on this adapter. Comparisons with other systems are in bench/.

import type { Command } from "commander";
import { weightSpecs } from "./adapter.ts";
import { packWeights, settleGuards } from "../index.ts";
import { evaluateDim } from "../ir/dim.ts";
import { parseDim } from "../ir/dim-parse.ts";
import type { Plan, PlanEntry } from "../ir/plan.ts";
import type { Tensor } from "../ir/tensor.ts";
import type { ConstantSource } from "../runtime/constants.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { quantile } from "../support/statistics.ts";
import { colors, mebibytes, milliseconds, need, print, showJson } from "./common.ts";
import { compileFile } from "./model-file.ts";
import { inputSpecs, isFolder, openFolder, refuseCompileFlags } from "./folder.ts";
import { entryOption, runOptions } from "./options.ts";
import { dimsFor, dimsOf, type RunFlags } from "./run.ts";
import { weightsFor } from "./weights.ts";

interface BenchFlags extends RunFlags {
  readonly runs: string;
  readonly kernels?: boolean;
}

export function benchCommand(program: Command): void {
  entryOption(
    runOptions(
      program
        .command("bench <file>")
        .description("median time, first run split, dispatches, memory; of a model, or of a compiled folder"),
    ),
  )
    .option("--runs <n>", "measured runs", "20")
    .option("--kernels", "time of each kernel, by GPU timestamps")
    .action(bench);
}

/** What is measured, from a file or from a folder, and how long each step took. */
interface Ready {
  readonly plan: Plan;
  readonly constants: ConstantSource;
  readonly entry: PlanEntry;
  readonly dims: Readonly<Record<string, number>>;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly compile: number;
  readonly read: number;
  readonly pack: number;
}

async function prepare(
  file: string,
  flags: BenchFlags,
  opened: OpenedDevice,
  clock: () => number,
): Promise<Ready> {
  const seeded = async (plan: Plan, input: readonly string[]) => {
    const entry = entryOf(plan, flags.entry);
    const dims = dimsFor(plan, entry, dimsOf(flags));
    const inputs = need(await loadInputs(input, entry.inputs, dims, { seedMissing: true }));
    return { plan, entry, dims, inputs };
  };
  if (isFolder(file)) {
    refuseCompileFlags(file, { ...flags });
    const { plan, constants } = openFolder(file, opened);
    const ready = await seeded(plan, inputSpecs(file, flags.input));
    return { ...ready, constants, compile: 0, read: clock(), pack: 0 };
  }
  const unsettled = compileFile(file, flags, opened.target);
  const compile = clock();
  const weights = await weightsFor(
    unsettled.module,
    unsettled.checkpoints,
    weightSpecs(flags.weights ?? ["seed:0"], flags),
  );
  const { compiled } = settleGuards(unsettled, weights);
  const ready = await seeded(compiled.plan, flags.input ?? []);
  const read = clock();
  const constants = packWeights(compiled, weights);
  return { ...ready, constants, compile, read, pack: clock() };
}

async function bench(file: string, flags: BenchFlags): Promise<void> {
  const runs = Number(flags.runs);
  if (!(Number.isSafeInteger(runs) && runs > 0))
    throw new InputError([error("runs-spec", `--runs ${flags.runs} is no number of runs`)]);
  const clock = stopwatch();
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const openTime = clock();
  const ready = await prepare(file, flags, device, clock);
  const { plan, entry, dims, inputs } = ready;
  const options = { dims, entry: entry.name };
  clock();
  const session = await createSession(device.device, plan, ready.constants);
  const sessionTime = clock();
  // What the symbols stood for; bounded ones at their live values, so that FLOPs are those that were done.
  const { dims: env } = await session.runWith(inputs, options);
  const firstTime = clock();
  const before = session.stats.allocations;
  const times: number[] = [];
  const hosts: number[] = [];
  for (let i = 0; i < runs; i++) {
    clock();
    await session.run(inputs, options);
    times.push(clock());
    hosts.push(session.stats.hostMilliseconds);
  }
  const [median, p90, host] = [quantile(times, 0.5), quantile(times, 0.9), quantile(hosts, 0.5)];
  const flops = entry.dispatches.reduce((sum, d) => sum + evaluateDim(parseDim(d.flops)!, env), 0);
  const { stats } = session;
  const report = {
    adapter: device.name,
    software: device.software,
    entry: entry.name,
    median,
    p90,
    runs,
    first: {
      open: openTime,
      compile: ready.compile,
      read: ready.read,
      pack: ready.pack,
      pipelines: sessionTime,
      run: firstTime,
    },
    dispatches: stats.dispatches,
    kernels: stats.kernels,
    submitsPerRun: stats.submits / stats.runs,
    allocationsAfterFirstRun: stats.allocations - before,
    arenaBytes: stats.arenaBytes,
    peakLiveBytes: stats.peakLiveBytes,
    constantBytes: stats.constantBytes,
    gflops: flops / median / 1e6,
    hostMilliseconds: host,
  };
  if (flags.json) showJson(report);
  else {
    print(
      `${colors.bold(milliseconds(median))} a run, p90 ${milliseconds(p90)}, ${report.gflops.toFixed(1)} GFLOP/s  (median of ${runs})`,
    );
    print(
      `first result: open ${milliseconds(openTime)}, compile ${milliseconds(ready.compile)}, read ${milliseconds(ready.read)}, fold and pack weights ${milliseconds(ready.pack)}, pipelines and upload ${milliseconds(sessionTime)}, run ${milliseconds(firstTime)}`,
    );
    print(
      `${stats.dispatches} dispatches of ${stats.kernels} kernels, ${report.submitsPerRun} submit a run, ${report.allocationsAfterFirstRun} allocations after the first run, host ${milliseconds(host)}`,
    );
    print(
      `arena ${mebibytes(stats.arenaBytes)} (${mebibytes(stats.peakLiveBytes)} live at the peak), constants ${mebibytes(stats.constantBytes)}`,
    );
    print(
      `${colors.dim("adapter")}  ${device.name}${device.software ? colors.yellow("  (software: no GPU)") : ""}`,
    );
  }
  if (flags.kernels && !flags.json) {
    const { nanoseconds } = await session.runWith(inputs, { ...options, profile: true });
    if (!nanoseconds) print("this adapter has no timestamps");
    else {
      const byKernel = new Map<string, { ms: number; count: number; schedule: string }>();
      entry.dispatches.forEach((d, i) => {
        const name = plan.kernels[d.kernel]!.name;
        const row = byKernel.get(name) ?? { ms: 0, count: 0, schedule: d.schedule };
        row.ms += nanoseconds[i]! / 1e6;
        row.count++;
        byKernel.set(name, row);
      });
      const total = [...byKernel.values()].reduce((n, r) => n + r.ms, 0);
      for (const [name, r] of [...byKernel].sort((a, b) => b[1].ms - a[1].ms))
        print(
          `${((100 * r.ms) / total).toFixed(1).padStart(5)} %  ${r.ms.toFixed(2).padStart(8)} ms  ${String(r.count).padStart(3)}x  ${name}  ${colors.dim(r.schedule)}`,
        );
    }
  }
  session.dispose();
  device.device.destroy();
}

/** Milliseconds since the last call. */
function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const took = now - last;
    last = now;
    return took;
  };
}
