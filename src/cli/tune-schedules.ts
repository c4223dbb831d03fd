// `tune-schedules`: the schedules of a model's kernels measured on this adapter, the winners kept in the cache for every later
// compilation. (`tune` is taken: it fine-tunes weights.)

import type { Command } from "commander";
import { weightSpecs } from "./adapter.ts";
import { kernelKinds, settle, type KernelKind } from "../codegen/choose-schedules.ts";
import { lowerModule } from "../codegen/lower.ts";
import type { TunedEntry } from "../codegen/tuned.ts";
import { packWeights, settleGuards } from "../index.ts";
import type { Dim } from "../ir/dim.ts";
import { preparedValues } from "../ir/graph.ts";
import { defaultFirstRunWeight } from "../ir/target.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { median } from "../support/statistics.ts";
import { colors, milliseconds, need, print, showJson, weightOf } from "./common.ts";
import { compileFile } from "./model-file.ts";
import {
  candidatesOf,
  lowerCandidates,
  measureKind,
  recordValues,
  scheduleIn,
  type MeasuredKind,
  type Measuring,
} from "./measure-schedules.ts";
import { entryOption, runOptions } from "./options.ts";
import { dimsFor, dimsOf, type RunFlags } from "./run.ts";
import { addToCache } from "./tuned.ts";
import { weightsFor } from "./weights.ts";

interface TuneFlags extends RunFlags {
  readonly candidates: string;
  readonly rounds: string;
  readonly budget: string;
}

export function tuneSchedulesCommand(program: Command): void {
  entryOption(
    runOptions(
      program
        .command("tune-schedules <file>")
        .description("measure schedules of the model's kernels on this adapter, and keep the fastest"),
    ),
  )
    .option("--candidates <n>", "measured of each kernel, beside the one that it would have", "5")
    .option("--rounds <n>", "runs of each candidate, in turns", "9")
    .option("--budget <seconds>", "time for all of it, but for what is under way", "120")
    .action(tuneSchedules);
}

/** Below this ratio of untuned to tuned time the tuned model counts as slower; above, as chance may have it. */
const SLOWER = 0.97;

function numberOf(flag: string, text: string, least: number, most: number): number {
  const n = Number(text);
  if (text !== "" && n >= least && n <= most) return n;
  throw new InputError([
    error("tune-schedules", `--${flag} ${text} is not from ${least} to ${most}`, {
      help: "the defaults: --candidates 5 --rounds 9 --budget 120",
    }),
  ]);
}

async function tuneSchedules(file: string, flags: TuneFlags): Promise<void> {
  const count = numberOf("candidates", flags.candidates, 1, 60);
  const rounds = numberOf("rounds", flags.rounds, 3, 1000);
  const budget = 1000 * numberOf("budget", flags.budget, 1, 86400);
  const weight = flags.firstRunWeight === undefined ? defaultFirstRunWeight : weightOf(flags.firstRunWeight);
  // What compiles in the driver is measured: it must not come from the driver's cache.
  process.env["MESA_SHADER_CACHE_DISABLE"] = "true";
  const opened = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const m = await prepare(file, flags, opened);
  const kinds = await measureAll(m, { count, rounds, budget, quiet: flags.json === true });
  const winners = winnersOf(kinds, weight);
  const entries = kinds.map((k, i) => entryFor(k, winners[i]!, weight));
  const whole = await compareWhole(m, entries, rounds);
  // Alone they were faster; where together they are not, what was measured alone says little here.
  const kept = whole.ratio >= SLOWER;
  const path = kept ? addToCache(opened.target.adapter!, entries) : undefined;
  report(flags, { adapter: opened.name, path, kinds, winners, whole });
  opened.device.destroy();
}

async function prepare(file: string, flags: TuneFlags, opened: OpenedDevice): Promise<Measuring> {
  const unsettled = compileFile(file, { ...flags, tuned: "none" }, opened.target);
  const specs = weightSpecs(flags.weights ?? ["seed:0"], flags);
  const weights = await weightsFor(unsettled.module, unsettled.checkpoints, specs);
  const { compiled } = settleGuards(unsettled, weights);
  const entry = entryOf(compiled.plan, flags.entry);
  const given = dimsFor(compiled.plan, entry, dimsOf(flags));
  const inputs = need(await loadInputs(flags.input ?? [], entry.inputs, given, { seedMissing: true }));
  const constants = packWeights(compiled, weights);
  // What symbols stand for, live values of bounded ones among them.
  const device = await opened.reopen();
  const session = await createSession(device, compiled.plan, constants);
  const { dims } = await session.runWith(inputs, { dims: given, entry: entry.name });
  await session.dispose();
  device.destroy();
  const { plan, optimized } = compiled;
  const lowered = lowerModule(optimized, { target: plan.target, compiler: plan.compiler, sizes: dims });
  const at = plan.entries.findIndex((e) => e.name === entry.name);
  return {
    ...{ compiled, lowered, entry: at, dims, constants, inputs, shaders: new Map<string, number>() },
    device: opened.device,
    reopen: () => opened.reopen(),
  };
}

interface Limits {
  readonly count: number;
  readonly rounds: number;
  readonly budget: number;
  readonly quiet: boolean;
}

async function measureAll(m: Measuring, l: Limits): Promise<readonly MeasuredKind[]> {
  const graph = m.compiled.optimized.graphs[m.entry]!;
  const prepared = preparedValues(graph);
  const bounds: Record<string, Dim> = {};
  for (const s of graph.symbols) if (s.kind === "bounded") bounds[s.name] = s.bound;
  const kinds = kernelKinds(
    graph.nodes.filter((n) => !n.results.every((r) => prepared.has(r.id))),
    { target: m.compiled.plan.target, bounds, sizes: m.dims },
  );
  const all = kinds
    .map((kind) => {
      const untuned = scheduleIn(m, kind.nodes[0]!);
      return { kind, untuned, candidates: candidatesOf(kind, untuned, l.count) };
    })
    .filter((k) => k.candidates.length > 0);
  const values = await recordValues(
    m,
    all.map(({ kind }) => kind.nodes[0]!),
  );
  const most = Math.max(0, ...all.map((k) => k.candidates.length));
  const lowered = Array.from({ length: most }, (_, place) => lowerCandidates(m, all, place));
  const begun = performance.now();
  const measured: MeasuredKind[] = [];
  for (const [i, { kind, untuned, candidates }] of all.entries()) {
    const left = l.budget - (performance.now() - begun);
    const limits = { rounds: l.rounds, milliseconds: Math.max(0, left / (all.length - i)) };
    const found = await measureKind(m, kind, candidates, lowered, values, limits);
    measured.push({ ...found, untuned });
    if (!l.quiet) process.stderr.write(`${i + 1} of ${all.length}  ${labelOf(kind)}\n`);
  }
  return measured;
}

function labelOf({ name, space, nodes }: KernelKind): string {
  const times = nodes.length > 1 ? `, ${nodes.length} times` : "";
  return `${name} ${space.family.showSizes(space.sizes!)}${times}`;
}

/** Index of the winner of each: kernels of one name share their shaders, so they are weighed together. */
function winnersOf(kinds: readonly MeasuredKind[], weight: number): readonly number[] {
  const options = kinds.map(({ kind, candidates }) => ({
    ...{ kind, texts: candidates.map((c) => c.text), taken: 0 },
    ranked: candidates.map((c) => ({
      schedule: c.schedule,
      microseconds: c.milliseconds * 1000,
      shaderMilliseconds: c.shaderMilliseconds,
    })),
  }));
  for (const name of new Set(kinds.map((k) => k.kind.name)))
    settle(
      options.filter((o) => o.kind.name === name),
      weight,
    );
  return options.map((o) => o.taken);
}

function entryFor({ kind, candidates }: MeasuredKind, winner: number, weight: number): TunedEntry {
  return {
    ...{ structure: kind.structure, kernel: kind.name, sizes: kind.space.sizes!, firstRunWeight: weight },
    schedule: candidates[winner]!.text,
    tried: candidates.map((c) => ({
      schedule: c.text,
      predictedMilliseconds: round(c.predictedMilliseconds),
      milliseconds: round(c.milliseconds),
      shaderMilliseconds: round(c.shaderMilliseconds),
    })),
  };
}

const round = (ms: number): number => Math.round(ms * 1e4) / 1e4;

interface Whole {
  readonly untuned: number;
  readonly tuned: number;
  /** Median of untuned by tuned, run by run. */
  readonly ratio: number;
  readonly untunedFirst: number;
  readonly tunedFirst: number;
}

/** The whole model both ways, in turns. */
async function compareWhole(m: Measuring, entries: readonly TunedEntry[], rounds: number): Promise<Whole> {
  const { optimized, plan } = m.compiled;
  const how = { target: plan.target, compiler: plan.compiler, sizes: m.dims };
  const plans = [m.lowered.plan, lowerModule(optimized, { ...how, tuned: [{ from: "", entries }] }).plan];
  const own = plan.entries[m.entry]!;
  const bound = own.symbols.filter((s) => s.kind === "bound").map((s) => [s.name, m.dims[s.name]!] as const);
  const options = { dims: Object.fromEntries(bound), entry: own.name };
  const firsts: number[] = [];
  const sessions = [];
  const devices = [await m.reopen(), await m.reopen()];
  for (const [i, p] of plans.entries()) {
    const start = performance.now();
    const session = await createSession(devices[i]!, p, m.constants);
    await session.run(m.inputs, options);
    firsts.push(performance.now() - start);
    sessions.push(session);
  }
  const times: number[][] = [[], []];
  for (let i = 0; i < rounds; i++)
    for (const k of i % 2 === 0 ? [0, 1] : [1, 0]) {
      const start = performance.now();
      await sessions[k]!.run(m.inputs, options);
      times[k]!.push(performance.now() - start);
    }
  for (const s of sessions) await s.dispose();
  for (const d of devices) d.destroy();
  const [untuned, tuned] = times;
  return {
    ...{ untuned: median(untuned!), tuned: median(tuned!) },
    ratio: median(untuned!.map((t, i) => t / tuned![i]!)),
    ...{ untunedFirst: firsts[0]!, tunedFirst: firsts[1]! },
  };
}

// ---- report ---------------------------------------------------------------------------------------------------------

interface Found {
  readonly adapter: string;
  /** Absent where they were not kept. */
  readonly path: string | undefined;
  readonly kinds: readonly MeasuredKind[];
  readonly winners: readonly number[];
  readonly whole: Whole;
}

function report(flags: TuneFlags, found: Found): void {
  const { adapter, path, kinds, winners, whole } = found;
  if (flags.json)
    return showJson({
      ...{ adapter, kept: path ?? null, whole },
      kernels: kinds.map(({ kind, untuned, candidates, refused }, i) => ({
        ...{
          kernel: kind.name,
          structure: kind.structure,
          sizes: kind.space.sizes,
          dispatches: kind.nodes.length,
        },
        ...{ untuned, tuned: candidates[winners[i]!]!.text, refused },
        candidates: candidates.map(({ schedule: _, ...c }) => c),
      })),
    });
  for (const [i, { kind, untuned, candidates, refused }] of kinds.entries()) {
    print(colors.bold(labelOf(kind)));
    for (const [k, c] of candidates.entries()) {
      const notes = [k === winners[i] ? "tuned" : "", c.text === untuned ? "untuned" : ""].filter((n) => n);
      print(
        `  ${milliseconds(c.milliseconds).padStart(8)}  predicted ${milliseconds(c.predictedMilliseconds).padStart(8)}  shader ${milliseconds(c.shaderMilliseconds).padStart(8)}  ${c.text}  ${colors.dim(notes.join(", "))}`,
      );
    }
    for (const r of refused) print(`  left out: ${r}`);
  }
  print(
    `whole model: untuned ${milliseconds(whole.untuned)}, tuned ${milliseconds(whole.tuned)} a run, ${whole.ratio.toFixed(3)} times as long untuned (medians of runs in turns); shaders and first run ${milliseconds(whole.untunedFirst)} and ${milliseconds(whole.tunedFirst)}`,
  );
  print(path === undefined ? "not kept: the model is slower by them" : `kept in ${path}`);
  print(`${colors.dim("adapter")}  ${adapter}`);
}
