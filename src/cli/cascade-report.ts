// `cascade-report`: accuracy against cost for a cascade, over the rate of rows that go to the large model; and what the same costs with
// the scores read back and the rows chosen on the CPU. The model has an input `threshold` and outputs `score` and `source` (std/cascade).

import { writeFileSync } from "node:fs";
import { InvalidArgumentError, type Command } from "commander";
import { packWeights, settleGuards, type Compiled } from "../index.ts";
import { evaluateDim } from "../ir/dim.ts";
import { typesOf } from "../ir/graph.ts";
import { flopsOf } from "../ir/stats.ts";
import { elementCount, tensor, type Tensor } from "../ir/tensor.ts";
import { openDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { createSession, entryOf, type Session } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { median } from "../support/statistics.ts";
import { weightSpecs } from "./adapter.ts";
import { share } from "./agreement.ts";
import { need, print, showJson } from "./common.ts";
import { compileFile } from "./model-file.ts";
import { runOptions } from "./options.ts";
import { dimsOf, type RunFlags } from "./run.ts";
import { sweepPlot } from "./sweep-plot.ts";
import { weightsFor } from "./weights.ts";

interface ReportFlags extends RunFlags {
  readonly rates: readonly number[];
  readonly skip: number;
  readonly runs: number;
  readonly readBack?: readonly [string, string];
  readonly svg?: string;
}

type Inputs = Readonly<Record<string, Tensor>>;

export function cascadeReportCommand(program: Command): void {
  runOptions(
    program
      .command("cascade-report <file>")
      .description("a cascade's accuracy, FLOPs and time against the share of rows that it defers"),
  )
    .option(
      "--rates <list>",
      "shares of rows that are deferred",
      rates,
      rates("0,0.05,0.1,0.2,0.3,0.5,0.75,1"),
    )
    .option("--labels <file>", "a .safetensors file with the right class of each row, `labels`")
    .option(
      "--skip <n>",
      "leave out so many rows at the start (those that a model has learnt from)",
      whole,
      0,
    )
    .option(
      "--read-back <small,large>",
      "also measure the models of these names one by one: the scores read back, rows chosen on the CPU",
      pair,
    )
    .option("--runs <n>", "measured runs of each rate", whole, 5)
    .option("--svg <file>", "write a plot")
    .action(report);
}

function rates(text: string): readonly number[] {
  const all = text.split(",").map(Number);
  if (!all.every((r) => r >= 0 && r <= 1))
    throw new InvalidArgumentError("give shares between 0 and 1, such as 0,0.1,0.5,1");
  return all;
}

function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("give a whole number");
  return Number(text);
}

function pair(text: string): readonly [string, string] {
  const [small, large, ...more] = text.split(",");
  if (!small || !large || more.length > 0)
    throw new InvalidArgumentError("give the names of two models of the file: small,large");
  return [small, large];
}

interface Row {
  /** The share asked for, and what came of it. */
  readonly rate: number;
  readonly deferred: number;
  readonly threshold: number;
  readonly accuracy?: number;
  /** For the rows given. */
  readonly flops: number;
  /** Median milliseconds of a run, and of the same with scores read back. */
  readonly time: number;
  readonly readBack?: number;
}

async function report(file: string, flags: ReportFlags): Promise<void> {
  if (!flags.weights?.length)
    throw new InputError([
      error("weights-missing", "no weights are given", {
        help: "--weights small=FILE.safetensors large=FILE.safetensors",
      }),
    ]);
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  try {
    // The cascade's own entry point comes first.
    const own = compileFile(file, flags, device.target);
    checkCascade(file, own);
    const names = [own.plan.entries[0]!.name, ...(flags.readBack ?? [])];
    const unsettled = flags.readBack ? compileFile(file, { ...flags, model: names }, device.target) : own;
    const weights = await weightsFor(
      unsettled.module,
      unsettled.checkpoints,
      weightSpecs(flags.weights, flags),
    );
    const { compiled } = settleGuards(unsettled, weights);
    const inputs = await inputsFor(compiled, flags);
    const labels = await labelsFor(flags);
    const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights), {
      recreate: () => device.reopen(),
    });
    const { score } = await session.run({ ...inputs, threshold: scalar(0) });
    const ascending = Float64Array.from(score!.data, Number).sort();
    const rows: Row[] = [];
    for (const rate of flags.rates) {
      rows.push(
        await measure({ compiled, session, inputs, flags }, labels, rate, thresholdFor(ascending, rate)),
      );
      if (!flags.json) process.stderr.write(`${percent(rate)} deferred\n`);
    }
    await session.dispose();
    if (flags.svg !== undefined) writeFileSync(flags.svg, plotOf(file, rows));
    if (flags.json) showJson({ adapter: device.name, rows });
    else print(tableOf(rows, ascending.length, device.name).join("\n"));
  } finally {
    device.device.destroy();
  }
}

const scalar = (x: number): Tensor => tensor("f32", [], [x]);

function checkCascade(file: string, compiled: Compiled): void {
  const entry = entryOf(compiled.plan, undefined);
  const threshold = entry.inputs.find((x) => x.name === "threshold");
  const missing = ["score", "source"].filter((name) => !entry.outputs.some((o) => o.name === name));
  if (threshold?.shape.length !== 0 || missing.length > 0)
    throw new InputError([
      error("cascade", `${entry.name} of ${file} is no cascade`, {
        help: "it has an input `threshold: f32[]`, and outputs `score` and `source`: `Cascade` of std/cascade gives them",
      }),
    ]);
}

async function inputsFor(compiled: Compiled, flags: ReportFlags): Promise<Inputs> {
  const wanted = entryOf(compiled.plan, undefined).inputs.filter((x) => x.name !== "threshold");
  const all = need(await loadInputs(flags.input ?? [], wanted, dimsOf(flags)));
  return Object.fromEntries(Object.entries(all).map(([name, t]) => [name, rowsOf(t, after(t, flags.skip))]));
}

async function labelsFor(flags: ReportFlags): Promise<Tensor | undefined> {
  if (flags.labels === undefined) return undefined;
  const found = need(await loadInputs([flags.labels], [{ name: "labels", dtype: "i32", shape: ["N"] }], {}));
  return rowsOf(found["labels"]!, after(found["labels"]!, flags.skip));
}

function after(t: Tensor, skip: number): readonly number[] {
  const count = t.shape[0]! - skip;
  if (count < 1)
    throw new InputError([
      error("cascade", `--skip ${skip} leaves no rows of ${t.shape[0]}`, { help: "skip fewer rows" }),
    ]);
  return Array.from({ length: count }, (_, i) => i + skip);
}

function rowsOf(t: Tensor, rows: readonly number[]): Tensor {
  const width = elementCount(t.shape.slice(1));
  const data = t.data.slice(0, rows.length * width);
  rows.forEach((from, to) => data.set(t.data.subarray(from * width, (from + 1) * width), to * width));
  return { dtype: t.dtype, shape: [rows.length, ...t.shape.slice(1)], data };
}

/** Rows score below it as often as asked: halfway between two scores, so that rounding does not move a row. */
function thresholdFor(ascending: Float64Array, rate: number): number {
  const count = Math.round(rate * ascending.length);
  if (count === 0) return ascending[0]! - 1;
  if (count === ascending.length) return ascending.at(-1)! + 1;
  return (ascending[count - 1]! + ascending[count]!) / 2;
}

interface Subject {
  readonly compiled: Compiled;
  readonly session: Session;
  readonly inputs: Inputs;
  readonly flags: ReportFlags;
}

async function measure(
  subject: Subject,
  labels: Tensor | undefined,
  rate: number,
  threshold: number,
): Promise<Row> {
  const { session, flags } = subject;
  const inputs = { ...subject.inputs, threshold: scalar(threshold) };
  // In turns, so that what else the machine does falls on both.
  const [times, readBack]: [number[], number[]] = [[], []];
  let result = await session.runWith(inputs);
  for (let i = 0; i < Math.max(1, flags.runs); i++) {
    const start = performance.now();
    result = await session.runWith(inputs);
    times.push(performance.now() - start);
    if (flags.readBack) {
      const again = performance.now();
      await runReadBack(subject, threshold, flags.readBack);
      readBack.push(performance.now() - again);
    }
  }
  const source = result.outputs["source"]!;
  const answers = Object.values(result.outputs)[0]!;
  return {
    rate,
    threshold,
    deferred: source.data.filter((x) => x !== 0).length / source.data.length,
    ...(labels && { accuracy: accuracyOf(answers, labels) }),
    flops: flopsOfRun(subject.compiled, result.dims),
    time: median(times),
    ...(flags.readBack && { readBack: median(readBack) }),
  };
}

/** The small model on all rows, its scores on the CPU, the large one on those that are below. */
async function runReadBack(
  { session, inputs, compiled }: Subject,
  threshold: number,
  [small, large]: readonly [string, string],
): Promise<void> {
  const of = (name: string): Inputs =>
    Object.fromEntries(entryOf(compiled.plan, name).inputs.map((x) => [x.name, inputs[x.name]!]));
  const { score } = await session.run(of(small), { entry: small });
  const deferred = Array.from(score!.data, (s, row) => (Number(s) >= threshold ? -1 : row)).filter(
    (r) => r >= 0,
  );
  if (deferred.length === 0) return;
  const packed = Object.fromEntries(
    Object.entries(of(large)).map(([name, t]) => [name, rowsOf(t, deferred)]),
  );
  await session.run(packed, { entry: large });
}

function flopsOfRun(compiled: Compiled, dims: Readonly<Record<string, number>>): number {
  const graph = compiled.optimized.graphs[0]!;
  const types = new Map(typesOf(graph));
  return graph.nodes.reduce((sum, n) => sum + evaluateDim(flopsOf(n, types), dims), 0);
}

const accuracyOf = (logits: Tensor, labels: Tensor): number =>
  share(logits, (row, best) => best === labels.data[row]);

// ---- what is shown ----------------------------------------------------------------------------------------------------

const percent = (x: number): string => `${(x * 100).toFixed(1)} %`;

function tableOf(rows: readonly Row[], count: number, adapter: string): string[] {
  const shown = {
    deferred: (r: Row) => percent(r.deferred),
    threshold: (r: Row) => r.threshold.toPrecision(4),
    ...(rows[0]?.accuracy !== undefined && { accuracy: (r: Row) => `${(r.accuracy! * 100).toFixed(2)} %` }),
    MFLOP: (r: Row) => (r.flops / 1e6).toFixed(1),
    ms: (r: Row) => r.time.toFixed(2),
    ...(rows[0]?.readBack !== undefined && { "ms, read back": (r: Row) => r.readBack!.toFixed(2) }),
  };
  const cells = [
    Object.keys(shown),
    Object.keys(shown).map(() => "---"),
    ...rows.map((r) => Object.values(shown).map((f) => f(r))),
  ];
  return [
    ...cells.map((row) => `| ${row.join(" | ")} |`),
    "",
    `${count} rows; thresholds are quantiles of their scores`,
    ...(rows[0]?.accuracy === undefined
      ? []
      : [`area under accuracy against deferral  ${area(rows).toFixed(4)}`]),
    `adapter  ${adapter}`,
  ];
}

/** Trapezoids; over the rates that were measured. */
function area(rows: readonly Row[]): number {
  const points = [...rows].sort((a, b) => a.deferred - b.deferred);
  const width = points.at(-1)!.deferred - points[0]!.deferred;
  if (width === 0) return points[0]!.accuracy!;
  let sum = 0;
  for (let i = 1; i < points.length; i++)
    sum +=
      ((points[i]!.accuracy! + points[i - 1]!.accuracy!) / 2) *
      (points[i]!.deferred - points[i - 1]!.deferred);
  return sum / width;
}

function plotOf(file: string, rows: readonly Row[]): string {
  const most = Math.max(...rows.map((r) => r.flops));
  const points = rows.map((r) => ({
    method: "cascade",
    label: `${percent(r.deferred)} deferred`,
    x: r.flops / most,
    y: r.accuracy ?? 0,
  }));
  return sweepPlot(
    points,
    `A cascade: ${file}`,
    "accuracy",
    "FLOPs, of those where every row goes to the large model",
  );
}
