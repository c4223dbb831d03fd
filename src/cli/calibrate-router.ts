// `calibrate-router`: selection biases of routed experts from forward passes over data (src/routing/calibrate.ts). It changes what the
// model computes, so it is a command of its own, and says what it cost.

import type { Command } from "commander";
import { compileModule, packWeights, settleGuards } from "../index.ts";
import type { Tensor } from "../ir/tensor.ts";
import {
  affinityLost,
  biasedRouters,
  biasSteps,
  calibrationGraph,
  centred,
  type BiasedRouter,
  type Rule,
} from "../routing/calibrate.ts";
import { loadsOf, maxViolation } from "../routing/loads.ts";
import { openDevice } from "../runtime/device-node.ts";
import { inputPaths, loadInputs, writeOutputs } from "../runtime/files-node.ts";
import { createSession, entryOf, type Session } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { weightSpecs } from "./adapter.ts";
import { colors, need, print, showJson, type ModelFlags } from "./common.ts";
import { sound } from "./model-file.ts";
import { runOptions } from "./options.ts";
import { rowsOf, shareRight, takeRows } from "./rows.ts";
import { dimsOf } from "./run.ts";
import { wantedWeights, weightsFor } from "./weights.ts";

interface CalibrateFlags extends ModelFlags {
  readonly weights?: readonly string[];
  readonly input?: readonly string[];
  readonly labels?: string;
  readonly dim?: readonly string[];
  readonly device?: string;
  readonly rule: string;
  readonly rate: string;
  readonly batches: string;
  readonly rows?: string;
  readonly reset?: boolean;
  readonly whole?: boolean;
  readonly output?: string;
}

export function calibrateCommand(program: Command): void {
  runOptions(
    program
      .command("calibrate-router <file>")
      .description(
        "set the selection biases of routed experts so that their loads are even, by forward passes",
      ),
  )
    .option("--labels <file>", "a .safetensors file with `labels`: the accuracy before and behind is shown")
    .option(
      "--rule <rule>",
      "sign: every bias moves by the rate; proportional: by the rate times its share",
      "sign",
    )
    .option("--rate <u>", "how far biases move after the first batch; after the n-th by u / sqrt(n)", "0.01")
    .option("--batches <n>", "batches that are looked at, from the first row again behind the last", "50")
    .option("--rows <n>", "rows of a batch (default: all)")
    .option("--reset", "begin with biases of 0 instead of the checkpoint's")
    .option("--whole", "write all weights with the new biases, not the biases alone")
    .option("-o, --output <file>", "where the biases go (.safetensors)")
    .action(calibrate);
}

interface RouterReport {
  readonly key: string;
  readonly loads: readonly number[];
  readonly maxViolation: number;
  readonly affinityLost: number;
}

interface Measured {
  readonly routers: readonly RouterReport[];
  readonly accuracy?: number;
}

async function calibrate(file: string, flags: CalibrateFlags): Promise<void> {
  const { module, front } = sound(file, flags);
  const [graph, ...others] = module.graphs;
  const routers = graph && others.length === 0 ? biasedRouters(graph) : [];
  if (!graph || routers.length === 0)
    throw new InputError([
      error("no-router", `${file} has no router with a selection bias in its checkpoint`, {
        help: "`BiasedRouter` of std/routers has one; where a file has several models, --model NAME chooses",
      }),
    ]);
  const rule = ruleOf(flags.rule);
  const rate = positive("rate", flags.rate);
  const batches = positive("batches", flags.batches, true);
  if (!flags.weights?.length)
    throw new InputError([
      error("weights-missing", "no weights are given", { help: "--weights FILE.safetensors" }),
    ]);
  if (!flags.input?.length)
    throw new InputError([
      error("no-router", "loads are counted over data", { help: "--input FILE.safetensors" }),
    ]);
  const weights = await weightsFor(module, front.checkpoints, weightSpecs(flags.weights, flags));
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const made = { name: module.name, graphs: [calibrationGraph(graph, routers)] };
  const unsettled = compileModule(made, { ...front.options, target: device.target }, front);
  const { compiled } = settleGuards(unsettled, weights);
  const inputs = need(await loadInputs(flags.input, entryOf(compiled.plan, undefined).inputs, dimsOf(flags)));
  const labels = flags.labels === undefined ? undefined : await labelsOf(flags.labels);
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights));
  try {
    const run = new Calibration(session, routers, inputs, labels, flags);
    await run.set(new Map(routers.map(({ key, experts }) => [key, zeroOr(flags, weights(key), experts)])));
    const before = await run.measure();
    for (let n = 1; n <= batches; n++) await run.step(n, rule, rate);
    const after = await run.measure();
    if (flags.output !== undefined) await write(flags.output, module.graphs, run, weights, flags);
    const report = { adapter: device.name, rule, rate, batches, before, after };
    if (flags.json) showJson(report);
    else show(report, flags);
  } finally {
    await session.dispose();
    device.device.destroy();
  }
}

function zeroOr(flags: CalibrateFlags, bias: Tensor, experts: number): readonly number[] {
  return flags.reset ? new Array<number>(experts).fill(0) : Array.from(bias.data);
}

class Calibration {
  readonly #session: Session;
  readonly #routers: readonly BiasedRouter[];
  readonly #inputs: Readonly<Record<string, Tensor>>;
  readonly #labels: Tensor | undefined;
  readonly #dims: Readonly<Record<string, number>>;
  readonly #all: number;
  readonly #rows: number;
  biases: ReadonlyMap<string, readonly number[]> = new Map();

  constructor(
    session: Session,
    routers: readonly BiasedRouter[],
    inputs: Readonly<Record<string, Tensor>>,
    labels: Tensor | undefined,
    flags: CalibrateFlags,
  ) {
    this.#session = session;
    this.#routers = routers;
    this.#inputs = inputs;
    this.#labels = labels;
    this.#dims = dimsOf(flags);
    this.#all = Math.max(...Object.values(inputs).map(rowsOf));
    this.#rows =
      flags.rows === undefined ? this.#all : Math.min(this.#all, positive("rows", flags.rows, true));
  }

  async set(biases: ReadonlyMap<string, readonly number[]>): Promise<void> {
    this.biases = biases;
    for (const [key, values] of biases)
      await this.#session.state.set(key, {
        dtype: "f32",
        shape: [values.length],
        data: Float32Array.from(values),
      });
  }

  /** One batch at the biases that are set; then they move. */
  async step(n: number, rule: Rule, rate: number): Promise<void> {
    const from = ((n - 1) * this.#rows) % this.#all;
    const outputs = await this.#run(takeRows(this.#inputs, from, this.#rows, this.#all));
    const next = new Map<string, readonly number[]>();
    for (const r of this.#routers) {
      const steps = biasSteps(loadsOf(outputs[r.ids]!.data, r.experts), rule, rate / Math.sqrt(n));
      next.set(r.key, centred(this.biases.get(r.key)!.map((b, i) => b + steps[i]!)));
    }
    await this.set(next);
  }

  async measure(): Promise<Measured> {
    const outputs = await this.#run(this.#inputs);
    const routers = this.#routers.map((r) => {
      const { data } = outputs[r.ids]!;
      const loads = loadsOf(data, r.experts);
      const lost = affinityLost(outputs[r.logits]!.data, data, r);
      return { key: r.key, loads, maxViolation: maxViolation(loads), affinityLost: lost };
    });
    const first = Object.values(outputs)[0]!;
    return { routers, ...(this.#labels && { accuracy: shareRight(first, this.#labels) }) };
  }

  #run(inputs: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, Tensor>>> {
    return this.#session.run(inputs, { dims: this.#dims });
  }
}

async function labelsOf(path: string): Promise<Tensor> {
  const found = need(await loadInputs([path], [{ name: "labels", dtype: "i32", shape: ["N"] }], {}));
  return found["labels"]!;
}

async function write(
  path: string,
  graphs: Parameters<typeof wantedWeights>[0]["graphs"],
  run: Calibration,
  weights: (key: string) => Tensor,
  flags: CalibrateFlags,
): Promise<void> {
  const out: Record<string, Tensor> = {};
  if (flags.whole) for (const { key } of wantedWeights({ name: "", graphs })) out[key] = weights(key);
  for (const [key, values] of run.biases)
    out[key] = { dtype: "f32", shape: [values.length], data: Float32Array.from(values) };
  need(await writeOutputs(path, out, [...inputPaths(flags.input ?? []), ...(flags.weights ?? [])]));
}

function ruleOf(text: string): Rule {
  if (text === "sign" || text === "proportional") return text;
  throw new InputError([error("calibrate-number", `--rule ${text} is neither sign nor proportional`)]);
}

function positive(name: string, text: string, whole = false): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0 && (!whole || Number.isSafeInteger(value))) return value;
  throw new InputError([
    error(
      "calibrate-number",
      `--${name} ${text} is no ${whole ? "whole number from 1 on" : "positive number"}`,
    ),
  ]);
}

interface Report {
  readonly adapter: string;
  readonly rule: Rule;
  readonly batches: number;
  readonly before: Measured;
  readonly after: Measured;
}

function show({ adapter, rule, batches, before, after }: Report, flags: CalibrateFlags): void {
  const width = Math.max(...before.routers.map((r) => r.key.length));
  print(`${"".padEnd(width)}  MaxVio           affinity lost`);
  print(`${"router".padEnd(width)}  before   after   before   after   loads`);
  for (const [i, b] of before.routers.entries()) {
    const a = after.routers[i]!;
    const numbers = [b.maxViolation, a.maxViolation].map((x) => x.toFixed(3).padStart(6));
    const lost = [b.affinityLost, a.affinityLost].map((x) => x.toFixed(4).padStart(7));
    print(
      `${b.key.padEnd(width)}  ${numbers.join("  ")}  ${lost.join("  ")}   ${colors.dim(a.loads.join(" "))}`,
    );
  }
  print();
  if (before.accuracy !== undefined && after.accuracy !== undefined)
    print(
      `${colors.dim("accuracy")}  ${(100 * before.accuracy).toFixed(2)} % before, ${(100 * after.accuracy).toFixed(2)} % behind`,
    );
  print(`${colors.dim("adapter")}  ${adapter}`);
  print(`${colors.dim("rule")}  ${rule}, ${batches} batches`);
  if (flags.output !== undefined) print(`${colors.dim("written")}  ${flags.output}`);
}
