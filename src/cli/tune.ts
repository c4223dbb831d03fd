// `tune` and `tune-merge`: fine-tuning by forward passes alone (src/tune), from the command line. What is written is a checkpoint, and a
// log that makes the same checkpoint again from the weights it began with.

import { weightSpecs } from "./adapter.ts";
import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { compileModule, lookupOp, packWeights, settleGuards } from "../index.ts";
import { parsePattern } from "../elaborate/pattern.ts";
import type { Graph, Module } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { openDevice } from "../runtime/device-node.ts";
import { inputPaths, loadInputs, writeOutputs } from "../runtime/files-node.ts";
import { createSession, entryOf, type Session } from "../runtime/session.ts";
import { isLogitDelta } from "../routing/reroute.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { entryNames, inputNames, lossName, refuseOutput, streamOf, tuningModule } from "../tune/graphs.ts";
import { completeSteps, mergeLogs, readLog, writeLog, type TuneLog, type TuneSettings } from "../tune/log.ts";
import { measureStep, replay, tune, type Share, type StepReport, type Tunable } from "../tune/spsa.ts";
import { colors, need, print, showJson, type ModelFlags } from "./common.ts";
import { sound } from "./model-file.ts";
import { readBytes } from "./files.ts";
import { runOptions } from "./options.ts";
import { withoutDeltas, withZeroDeltas } from "./reroute.ts";
import { dimsOf } from "./run.ts";
import { rowsOf, shareRight, takeRows } from "./rows.ts";
import { wantedWeights, weightsFor } from "./weights.ts";

interface TuneFlags extends ModelFlags {
  readonly weights?: readonly string[];
  readonly input?: readonly string[];
  readonly labels?: string;
  readonly dim?: readonly string[];
  readonly device?: string;
  readonly only?: readonly string[];
  readonly loss?: string;
  readonly steps: string;
  readonly samples?: string;
  readonly epsilon?: string;
  readonly rate?: string;
  readonly seed?: string;
  readonly rows?: string;
  readonly holdout: string;
  readonly from?: string;
  readonly log?: string;
  readonly worker?: string;
  readonly output?: string;
}

/** A log of this size holds 13 million directions. */
const MAX_LOG = 64 * 2 ** 20;
const defaults = { samples: 4, epsilon: 1e-3, rate: 1e-2, seed: 0 };

export function tuneCommands(program: Command): void {
  runOptions(
    program
      .command("tune <file>")
      .description(
        "fine-tune weights by forward passes alone (SPSA): no gradients, a log of five bytes a direction",
      ),
  )
    .option("--labels <file>", "a .safetensors file with the right class of each row, `labels`")
    .option(
      "--only <keys...>",
      'weights to tune, as patterns of their keys: "head.*" (default: all float ones)',
    )
    .option("--loss <output>", "the output whose cross-entropy is made small (default: the first)")
    .option("--steps <n>", "steps to take; 0 only takes those of --from", "100")
    .option("--samples <n>", `directions a step (default ${defaults.samples})`)
    .option("--epsilon <e>", `how far the weights are moved to both sides (default ${defaults.epsilon})`)
    .option("--rate <r>", `how far a step goes along a direction of slope 1 (default ${defaults.rate})`)
    .option("--seed <n>", `the directions (default ${defaults.seed})`)
    .option("--rows <n>", "rows of the input that a step looks at (default: all)")
    .option("--holdout <n>", "the last n rows are left out, and the accuracy is measured on them too", "0")
    .option("--from <log>", "go on where this log ends, with its settings")
    .option("--worker <i/n>", "measure only this worker's directions of the next step, and take none")
    .option("--log <file>", "where the log goes")
    .option("-o, --output <file>", "where the tuned weights go (.safetensors)")
    .action(tuneFile);
  program
    .command("tune-merge <logs...>")
    .description("join the logs of several workers; in whatever order, the result is the same")
    .requiredOption("--log <file>", "where the joined log goes")
    .option("--json", "print data instead of text")
    .action(merge);
}

async function tuneFile(file: string, flags: TuneFlags): Promise<void> {
  const { module, front } = sound(file, flags);
  const graph = oneGraph(file, module.graphs);
  const output = flags.loss ?? graph.outputs[0]!.name;
  const refused = refuseOutput(graph, output);
  if (refused !== undefined) throw new InputError([error("tune-output", refused)]);
  const tuned = flags.reroute === true ? deltaKeys(graph) : tunedKeys(graph, flags.only);
  const log = startLog(graph, tuned, flags);
  const steps = count("steps", flags.steps, 0);
  if (!flags.weights?.length)
    throw new InputError([
      error("weights-missing", "no weights are given", {
        help: "--weights FILE.safetensors is what tuning begins with",
      }),
    ]);
  const weights = await startWeights(module, front.checkpoints, flags);
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const made = tuningModule(graph, { tuned, output, lookup: lookupOp });
  const unsettled = compileModule(made, { ...front.options, target: device.target }, front);
  const { compiled } = settleGuards(unsettled, weights);
  const data = steps > 0 ? await loadData(compiled.plan, flags) : undefined;
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights));
  try {
    for (const key of tuned) await session.state.set(key, weights(key));
    const target = new Tuned(session, data, flags);
    const share = flags.worker === undefined ? undefined : shareOf(flags.worker);
    const before = share ? undefined : await target.accuracy();
    const done = share
      ? await measureOnly(target, log, share)
      : await tune(target, log, steps, progress(flags));
    const after = share ? undefined : await target.accuracy();
    if (flags.log !== undefined) writeFileSync(flags.log, writeLog(done));
    if (flags.output !== undefined)
      await writeTuned(flags.output, module.graphs, tuned, weights, session, flags);
    const report = {
      adapter: device.name,
      weights: tuned.size,
      steps: completeSteps(done),
      directions: done.entries.length,
      logBytes: writeLog(done).length,
      ...(before && after && { before, after }),
    };
    if (flags.json) showJson(report);
    else show(report, flags);
  } finally {
    await session.dispose();
    device.device.destroy();
  }
}

/** What tuning begins with; vectors on logits begin at zero. */
async function startWeights(
  module: Module,
  maps: Parameters<typeof weightsFor>[1],
  flags: TuneFlags,
): Promise<(key: string) => Tensor> {
  const specs = weightSpecs(flags.weights ?? [], flags);
  if (flags.reroute !== true) return weightsFor(module, maps, specs);
  return withZeroDeltas(module, await weightsFor(withoutDeltas(module), maps, specs));
}

function deltaKeys(graph: Graph): ReadonlySet<string> {
  return new Set(graph.weights.map((w) => w.key).filter(isLogitDelta));
}

async function measureOnly(target: Tunable, log: TuneLog, share: Share): Promise<TuneLog> {
  const step = await replay(target, log);
  const { entries } = await measureStep(target, log, step, share);
  return mergeLogs([
    { name: "what there was", log },
    { name: "what was measured", log: { settings: log.settings, entries } },
  ]);
}

// ---- the device -------------------------------------------------------------------------------------------------------

interface Data {
  /** Rows that steps look at. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly labels: Tensor;
  /** Rows left out, for the accuracy. */
  readonly heldInputs: Readonly<Record<string, Tensor>>;
  readonly heldLabels: Tensor;
}

interface Accuracy {
  readonly loss: number;
  /** Share of rows whose largest output is the right one. */
  readonly tuned: number;
  readonly held?: number;
}

class Tuned implements Tunable {
  readonly #session: Session;
  readonly #data: Data | undefined;
  readonly #flags: TuneFlags;
  readonly #dims: Readonly<Record<string, number>>;

  constructor(session: Session, data: Data | undefined, flags: TuneFlags) {
    this.#session = session;
    this.#data = data;
    this.#flags = flags;
    this.#dims = dimsOf(flags);
  }

  async loss(key: readonly [number, number], epsilon: number, step: number): Promise<number> {
    const data = this.#data!;
    const all = rowsOf(data.labels);
    const rows = Math.min(all, this.#flags.rows === undefined ? all : count("rows", this.#flags.rows, 1));
    const from = (step * rows) % all;
    const run = {
      ...takeRows(data.inputs, from, rows, all),
      ...takeRows({ [inputNames.labels]: data.labels }, from, rows, all),
      [inputNames.key]: { dtype: "u32" as const, shape: [2], data: Uint32Array.from(key) },
      [inputNames.epsilon]: scalar(epsilon),
    };
    const outputs = await this.#session.run(run, { entry: entryNames.loss, dims: this.#dims });
    return outputs[lossName]!.data[0]!;
  }

  async move(key: readonly [number, number], amount: number): Promise<void> {
    await this.#session.run(
      {
        [inputNames.key]: { dtype: "u32", shape: [2], data: Uint32Array.from(key) },
        [inputNames.step]: scalar(amount),
      },
      { entry: entryNames.update },
    );
  }

  async accuracy(): Promise<Accuracy | undefined> {
    if (!this.#data) return undefined;
    const { inputs, labels, heldInputs, heldLabels } = this.#data;
    const held = rowsOf(heldLabels) > 0 ? await this.#right(heldInputs, heldLabels) : undefined;
    return {
      loss: await this.loss([0, 0], 0, 0),
      tuned: await this.#right(inputs, labels),
      ...(held !== undefined && { held }),
    };
  }

  async #right(inputs: Readonly<Record<string, Tensor>>, labels: Tensor): Promise<number> {
    const wanted = this.#flags.loss;
    const outputs = await this.#session.run(inputs, {
      entry: entryNames.model,
      dims: this.#dims,
      ...(wanted !== undefined && { outputs: [wanted] }),
    });
    const logits = wanted === undefined ? Object.values(outputs)[0]! : outputs[wanted]!;
    return shareRight(logits, labels);
  }
}

function scalar(value: number): Tensor {
  return { dtype: "f32", shape: [], data: Float32Array.of(value) };
}

async function loadData(plan: Session["plan"], flags: TuneFlags): Promise<Data> {
  if (!flags.input?.length || flags.labels === undefined)
    throw new InputError([
      error("tune-data", "tuning needs inputs and what they should give", {
        help: "--input FILE.safetensors --labels FILE.safetensors; --steps 0 only replays --from",
      }),
    ]);
  const inputs = need(await loadInputs(flags.input, entryOf(plan, entryNames.model).inputs, dimsOf(flags)));
  const found = need(await loadInputs([flags.labels], [{ name: "labels", dtype: "i32", shape: ["N"] }], {}));
  const labels = found["labels"]!;
  const rows = rowsOf(labels);
  const other = Object.entries(inputs).find(([, t]) => t.shape[0] !== rows);
  if (other)
    throw new InputError([
      error(
        "tune-data",
        `${flags.labels} has ${rows} labels, and input ${other[0]} has ${other[1].shape[0] ?? 1} rows`,
      ),
    ]);
  const holdout = count("holdout", flags.holdout, 0);
  if (holdout >= rows)
    throw new InputError([error("tune-data", `--holdout ${holdout} leaves none of ${rows} rows to tune on`)]);
  const kept = rows - holdout;
  return {
    inputs: takeRows(inputs, 0, kept, rows),
    labels: takeRows({ labels }, 0, kept, rows)["labels"]!,
    heldInputs: takeRows(inputs, kept, holdout, rows),
    heldLabels: takeRows({ labels }, kept, holdout, rows)["labels"]!,
  };
}

async function writeTuned(
  path: string,
  graphs: readonly Graph[],
  tuned: ReadonlySet<string>,
  weights: (key: string) => Tensor,
  session: Session,
  flags: TuneFlags,
): Promise<void> {
  const all: Record<string, Tensor> = {};
  for (const { key } of wantedWeights({ name: "", graphs }))
    all[key] = tuned.has(key) ? await session.state.get(key) : weights(key);
  need(await writeOutputs(path, all, [...inputPaths(flags.input ?? []), ...(flags.weights ?? [])]));
}

// ---- flags ------------------------------------------------------------------------------------------------------------

function oneGraph(file: string, graphs: readonly Graph[]): Graph {
  const [first, ...more] = graphs;
  if (first && more.length === 0) return first;
  throw new InputError([
    error("tune-output", `${file} gives ${graphs.length} entry points, and one is tuned at a time`, {
      help: "--model NAME chooses it",
    }),
  ]);
}

function tunedKeys(graph: Graph, only: readonly string[] | undefined): ReadonlySet<string> {
  const floats = graph.weights.filter((w) => w.type.dtype === "f32" || w.type.dtype === "f16");
  const patterns = only?.map((text) => {
    const pattern = parsePattern(text);
    if ("problem" in pattern)
      throw new InputError([error("tune-only", `--only ${text}: ${pattern.problem}`)]);
    const fits = floats.filter((w) => pattern.expression.test(w.key));
    if (fits.length === 0)
      throw new InputError([
        error("tune-only", `no float weight is called ${text}`, {
          help: "`tokenloom weights FILE` lists them",
        }),
      ]);
    return fits;
  });
  return new Set((patterns?.flat() ?? floats).map((w) => w.key));
}

function startLog(graph: Graph, tuned: ReadonlySet<string>, flags: TuneFlags): TuneLog {
  const shapes = graph.weights
    .filter((w) => tuned.has(w.key))
    .map((w) => `${w.key} ${w.type.dtype}[${w.type.shape.map((d) => d.key).join(", ")}]`);
  const known = { model: graph.name, tuned: streamOf(shapes.sort().join("\n")).toString(16) };
  if (flags.from === undefined) return { settings: { ...known, ...numbers(flags) }, entries: [] };
  const log = readLog(readBytes(flags.from, MAX_LOG), flags.from);
  const given = (["samples", "epsilon", "rate", "seed"] as const).find((name) => flags[name] !== undefined);
  if (given !== undefined)
    throw new InputError([
      error("tune-log", `--${given} is settled by ${flags.from}`, {
        help: "leave it out, or begin a tuning of its own",
      }),
    ]);
  for (const key of ["model", "tuned"] as const)
    if (log.settings[key] !== known[key])
      throw new InputError([
        error("tune-log", `${flags.from} tunes other weights than these (${key} differs)`, {
          help: "give the model, its configuration and --only as they were when the log was begun",
        }),
      ]);
  return log;
}

function numbers(flags: TuneFlags): Omit<TuneSettings, "model" | "tuned"> {
  const positive = (name: "epsilon" | "rate"): number => {
    const value = Number(flags[name] ?? defaults[name]);
    if (Number.isFinite(value) && value > 0) return value;
    throw new InputError([error("tune-number", `--${name} ${flags[name]} is no positive number`)]);
  };
  const seed = count("seed", flags.seed ?? String(defaults.seed), 0);
  if (seed > 0xffffffff) throw new InputError([error("tune-number", `--seed ${seed} has more than 32 bits`)]);
  return {
    seed,
    epsilon: positive("epsilon"),
    rate: positive("rate"),
    samples: count("samples", flags.samples ?? String(defaults.samples), 1),
  };
}

function count(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new InputError([error("tune-number", `--${name} ${text} is no whole number from ${least} on`)]);
}

function shareOf(text: string): Share {
  const [, worker, of] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (worker !== undefined && of !== undefined && worker < of) return { worker, of };
  throw new InputError([
    error("tune-number", `--worker ${text} is no share`, {
      help: "the first of two workers is 0/2, the second 1/2",
    }),
  ]);
}

// ---- what is seen -----------------------------------------------------------------------------------------------------

function progress(flags: TuneFlags): (report: StepReport) => void {
  const steps = Number(flags.steps);
  const every = Math.max(1, Math.floor(steps / 10));
  return ({ step, loss, skipped }) => {
    if (flags.json || (step + 1) % every !== 0) return;
    const lost = skipped > 0 ? colors.yellow(`  ${skipped} directions without a number`) : "";
    print(`${colors.dim(`step ${String(step + 1).padStart(5)}`)}  loss ${loss.toFixed(4)}${lost}`);
  };
}

interface TuneReport {
  readonly adapter: string;
  readonly weights: number;
  readonly steps: number;
  readonly directions: number;
  readonly logBytes: number;
  readonly before?: Accuracy;
  readonly after?: Accuracy;
}

function show(report: TuneReport, flags: TuneFlags): void {
  const percent = (x: number | undefined) => (x === undefined ? "-" : `${(100 * x).toFixed(2)} %`);
  const { before, after } = report;
  if (before && after) {
    print();
    print(`${" ".repeat(10)}  ${"loss".padStart(8)}  ${"tuned on".padStart(9)}  ${"held out".padStart(9)}`);
    for (const [name, a] of [
      ["before", before],
      ["after", after],
    ] as const)
      print(
        `${name.padEnd(10)}  ${a.loss.toFixed(4).padStart(8)}  ${percent(a.tuned).padStart(9)}  ${percent(a.held).padStart(9)}`,
      );
    print();
  }
  print(`${colors.dim("adapter")}  ${report.adapter}`);
  print(
    `${colors.dim("tuned")}  ${report.weights} tensors, ${report.steps} steps, ${report.directions} directions`,
  );
  if (flags.log !== undefined) print(`${colors.dim("log")}  ${flags.log}, ${report.logBytes} bytes`);
  if (flags.output !== undefined) print(`${colors.dim("weights")}  ${flags.output}`);
}

function merge(paths: readonly string[], flags: { readonly log: string; readonly json?: boolean }): void {
  const logs = paths.map((name) => ({ name, log: readLog(readBytes(name, MAX_LOG), name) }));
  const merged = mergeLogs(logs);
  writeFileSync(flags.log, writeLog(merged));
  const report = { directions: merged.entries.length, steps: completeSteps(merged) };
  if (flags.json) showJson(report);
  else print(`${flags.log}: ${report.directions} directions, ${report.steps} complete steps`);
}
