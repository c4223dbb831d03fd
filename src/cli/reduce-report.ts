// `reduce-report`: what token reduction saves and what it costs, on data: a row and a point for every setting of a sweep.

import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { packWeights, settleGuards, type Compiled } from "../index.ts";
import { evaluateDim } from "../ir/dim.ts";
import { typesOf, type Graph } from "../ir/graph.ts";
import { flopsOf } from "../ir/stats.ts";
import type { Tensor } from "../ir/tensor.ts";
import { findBlocks } from "../passes/encoder-blocks.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { median } from "../support/statistics.ts";
import { weightSpecs } from "./adapter.ts";
import { largestOf, meanCosine, percent, readLabels, rowOf, share } from "./agreement.ts";
import { milliseconds, need, print, showJson } from "./common.ts";
import { compileFile } from "./model-file.ts";
import { runOptions } from "./options.ts";
import { dimsOf, type RunFlags } from "./run.ts";
import { expandSweep } from "./sweep.ts";
import { sweepPlot } from "./sweep-plot.ts";
import { weightsFor } from "./weights.ts";

interface ReportFlags extends RunFlags {
  readonly sweep: readonly string[];
  readonly runs: string;
  readonly svg?: string;
}

export function reduceReportCommand(program: Command): void {
  runOptions(
    program
      .command("reduce-report <file>")
      .description("what token reduction saves and what it costs: accuracy, agreement, FLOPs and time"),
  )
    .requiredOption(
      "--sweep <method...>",
      "settings: tome:r=0..24, pitome:ratio=0.5..1/0.1, evit:keep_rate=0.7; methods together with +",
    )
    .option("--labels <file>", "a .safetensors file with the right class of each row, `labels`")
    .option("--runs <n>", "measured runs of each setting", "5")
    .option("--svg <file>", "write a plot")
    .action(report);
}

/** One setting, and without any. */
interface Row {
  readonly reduce: string;
  /** Tokens behind each block that reduces. */
  readonly tokens: readonly string[];
  /** FLOPs of the blocks, and those of all dispatches, for the rows given. */
  readonly blockFlops: number;
  readonly flops: number;
  /** Median milliseconds of a run. */
  readonly time: number;
  readonly dispatches: number;
  readonly accuracy?: number;
  /** Against the model without reduction: the same first class, and the cosine of the outputs, over the rows. */
  readonly agreement: number;
  readonly cosine: number;
}

async function report(file: string, flags: ReportFlags): Promise<void> {
  if (!flags.weights?.length)
    throw new InputError([
      error("weights-missing", "no weights are given", { help: "--weights FILE.safetensors" }),
    ]);
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const labels = flags.labels === undefined ? undefined : await readLabels(flags.labels);
  const settings = flags.sweep.flatMap(expandSweep);
  const base = await measure(file, flags, device, undefined, labels);
  const rows = [base.row];
  for (const reduce of settings) {
    rows.push(
      (await measure(file, { ...flags, reduce: reduce.split("+") }, device, base.output, labels)).row,
    );
    if (!flags.json) process.stderr.write(`${reduce}\n`);
  }
  device.device.destroy();
  if (flags.svg !== undefined) writeFileSync(flags.svg, plotOf(file, rows));
  if (flags.json) showJson({ adapter: device.name, unoptimizedBlockFlops: base.unoptimized, rows });
  else print(tableOf(rows, base.unoptimized, device.name).join("\n"));
}

async function measure(
  file: string,
  flags: ReportFlags,
  device: OpenedDevice,
  base: Tensor | undefined,
  labels: Tensor | undefined,
): Promise<{ readonly row: Row; readonly output: Tensor; readonly unoptimized: number }> {
  const unsettled = compileFile(file, flags, device.target);
  const entry = entryOf(unsettled.plan, flags.entry);
  const inputs = need(await loadInputs(flags.input ?? [], entry.inputs, dimsOf(flags)));
  const weights = await weightsFor(
    unsettled.module,
    unsettled.checkpoints,
    weightSpecs(flags.weights ?? [], flags),
  );
  const { compiled } = settleGuards(unsettled, weights);
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights), {
    recreate: () => device.reopen(),
  });
  const times: number[] = [];
  let outputs = await session.run(inputs);
  for (let i = 0; i < Math.max(1, Number(flags.runs)); i++) {
    const start = performance.now();
    outputs = await session.run(inputs);
    times.push(performance.now() - start);
  }
  await session.dispose();
  const output = Object.values(outputs)[0]!;
  const dims = sizesOf(compiled, inputs);
  const graph = compiled.optimized.graphs[0]!;
  const { blockFlops, flops } = flopsIn(graph, blockNames(compiled.module.graphs[0]!), dims);
  const row: Row = {
    reduce: flags.reduce?.join("+") ?? "none",
    tokens: tokensIn(compiled),
    blockFlops,
    flops,
    time: median(times),
    dispatches: compiled.plan.entries[0]!.dispatches.length,
    ...(labels && { accuracy: share(output, (i, best) => best === labels.data[i]) }),
    agreement: base ? share(output, (i, best) => best === largestOf(rowOf(base, i))) : 1,
    cosine: base ? meanCosine(output, base) : 1,
  };
  const unoptimized = flopsIn(
    compiled.module.graphs[0]!,
    blockNames(compiled.module.graphs[0]!),
    dims,
  ).blockFlops;
  return { row, output, unoptimized };
}

/** Tokens behind each block that the pass says it has changed. */
function tokensIn(compiled: Compiled): readonly string[] {
  const step = compiled.steps[0]!.find((s) => s.pass.name === "reduce-tokens");
  return (step?.events ?? []).map((e) => /become (\S+)$/.exec(e.after[0]!)?.[1] ?? "");
}

const blockNames = (graph: Graph): readonly string[] => findBlocks(graph).blocks.map((b) => b.name);

function sizesOf(compiled: Compiled, inputs: Readonly<Record<string, Tensor>>): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const input of compiled.plan.entries[0]!.inputs)
    input.shape.forEach((d, i) => {
      if (/^[A-Za-z_]\w*$/.test(d)) sizes[d] = inputs[input.name]!.shape[i]!;
    });
  return sizes;
}

/** FLOPs of the nodes under the labels of the blocks, and of all. */
function flopsIn(graph: Graph, blocks: readonly string[], dims: Readonly<Record<string, number>>) {
  const types = new Map(typesOf(graph));
  let [blockFlops, flops] = [0, 0];
  for (const n of graph.nodes) {
    const own = evaluateDim(flopsOf(n, types), dims);
    flops += own;
    if (blocks.some((b) => `${n.scope}.`.startsWith(`${b}.`))) blockFlops += own;
  }
  return { blockFlops, flops };
}

// ---- what is shown ----------------------------------------------------------------------------------------------------

function tableOf(rows: readonly Row[], unoptimized: number, adapter: string): string[] {
  const [base] = rows as readonly [Row];
  const head = [
    "reduce",
    "tokens",
    "block MFLOP",
    "fewer",
    "accuracy",
    "same class",
    "cosine",
    "ms",
    "dispatches",
  ];
  const cells = rows.map((r) => [
    r.reduce,
    r.tokens.join(" ") || "-",
    (r.blockFlops / 1e6).toFixed(1),
    `${(base.blockFlops / r.blockFlops).toFixed(2)}x`,
    r.accuracy === undefined ? "-" : percent(r.accuracy),
    percent(r.agreement),
    r.cosine.toFixed(4),
    r.time.toFixed(2),
    String(r.dispatches),
  ]);
  const lines = [head, head.map(() => "---"), ...cells].map((row) => `| ${row.join(" | ")} |`);
  const faster = rows.slice(1).filter((r) => r.time < base.time);
  const first = faster.reduce<Row | undefined>(
    (a, r) => (!a || r.blockFlops > a.blockFlops ? r : a),
    undefined,
  );
  const even = first
    ? `break-even: ${first.reduce} is the mildest setting that is faster than none (${milliseconds(first.time)} against ${milliseconds(base.time)})`
    : `break-even: no setting is faster than none (${milliseconds(base.time)}) on this adapter`;
  return [
    ...lines,
    "",
    `without any pass the blocks take ${(unoptimized / 1e6).toFixed(1)} MFLOP; "fewer" is against the first row`,
    even,
    `adapter  ${adapter}`,
  ];
}

function plotOf(file: string, rows: readonly Row[]): string {
  const [base] = rows as readonly [Row];
  const points = rows.slice(1).map((r) => ({
    // Methods together are a line of their own.
    method: r.reduce
      .split("+")
      .map((one) => one.split(":")[0]!)
      .join("+"),
    label: r.reduce,
    x: r.blockFlops / base.blockFlops,
    y: r.accuracy ?? r.agreement,
  }));
  const none = { method: "none", label: "without reduction", x: 1, y: base.accuracy ?? 1 };
  return sweepPlot(
    [none, ...points],
    `Token reduction of ${file}`,
    base.accuracy === undefined ? "same class" : "accuracy",
  );
}
