// `quantize-report`: what weights in fewer bits cost and save, on data: a row for each setting, with and against the model as it is.

import type { Command } from "commander";
import { packWeights, settleGuards, type Compiled } from "../index.ts";
import type { Plan } from "../ir/plan.ts";
import type { Tensor } from "../ir/tensor.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { createSession, entryOf, type Session } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { median } from "../support/statistics.ts";
import { weightSpecs } from "./adapter.ts";
import {
  largestDifference,
  largestOf,
  meanCosine,
  percent,
  readLabels,
  relativeDifference,
  rowOf,
  share,
} from "./agreement.ts";
import { mebibytes, need, print, showJson } from "./common.ts";
import { compileFile } from "./model-file.ts";
import { runOptions } from "./options.ts";
import { dimsOf, type RunFlags } from "./run.ts";
import { weightsFor } from "./weights.ts";

interface ReportFlags extends RunFlags {
  readonly settings: readonly string[];
  readonly labels?: string;
  readonly runs: string;
}

/** int8 and int4 at their own groups, and finer ones of int4. */
const usual = ["int8", "int4", "int4:group=16"];

export function quantizeReportCommand(program: Command): void {
  runOptions(
    program
      .command("quantize-report <file>")
      .description("what weights in 8 and 4 bits cost and save: accuracy, agreement, bytes and time"),
  )
    .option("--settings <setting...>", "int8, int4:group=64, f16 (storage), f16+int4", usual)
    .option("--labels <file>", "a .safetensors file with the right class of each row, `labels`")
    .option("--runs <n>", "measured runs of each setting, in turn with the model as it is", "9")
    .action(report);
}

interface Row {
  readonly setting: string;
  /** Of the constants, as they are kept on disk and on the device. */
  readonly bytes: number;
  /** Weights that stay as they are, of those a layer reads. */
  readonly left: number;
  /** Median milliseconds of a run, and the median of its ratio to the run of the model as it is next to it. */
  readonly time: number;
  readonly ratio: number;
  readonly accuracy?: number;
  /** Share of rows with the same first class, and how far the outputs are apart. */
  readonly agreement: number;
  readonly cosine: number;
  readonly relative: number;
  readonly largest: number;
}

interface Opened {
  readonly session: Session;
  readonly plan: Plan;
  readonly compiled: Compiled;
  readonly inputs: Readonly<Record<string, Tensor>>;
}

async function report(file: string, flags: ReportFlags): Promise<void> {
  const runs = Number(flags.runs);
  if (!(Number.isSafeInteger(runs) && runs > 0))
    throw new InputError([error("runs-spec", `--runs ${flags.runs} is no number of runs`)]);
  const settings = flags.settings.map((s) => flagsOf(s, flags));
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const labels = flags.labels === undefined ? undefined : await readLabels(flags.labels);
  const base = await open(file, flags, device);
  const rows: Row[] = [await measure("none", base, base, runs, labels)];
  for (const [i, own] of settings.entries()) {
    const opened = await open(file, own, device);
    rows.push(await measure(flags.settings[i]!, opened, base, runs, labels));
    await opened.session.dispose();
  }
  await base.session.dispose();
  device.device.destroy();
  if (flags.json) showJson({ adapter: device.name, rows });
  else print([...tableOf(rows), "", `adapter  ${device.name}`].join("\n"));
}

/** `f16+int4` as the flags that ask for it. */
function flagsOf(setting: string, flags: ReportFlags): ReportFlags {
  const parts = setting.split("+");
  const widths = parts.filter((p) => p !== "f16");
  if (widths.length > 1)
    throw new InputError([
      error("quantize", `${setting} has two widths`, { help: "write one, and f16 with + for the rest" }),
    ]);
  return {
    ...flags,
    ...(parts.includes("f16") && { storage: "f16" as const }),
    ...(widths.length === 1 && { quantize: widths[0]! }),
  };
}

async function open(file: string, flags: ReportFlags, device: OpenedDevice): Promise<Opened> {
  const unsettled = compileFile(file, flags, device.target);
  const entry = entryOf(unsettled.plan, flags.entry);
  const inputs = need(await loadInputs(flags.input ?? [], entry.inputs, dimsOf(flags)));
  const specs = weightSpecs(flags.weights ?? [], flags);
  if (specs.length === 0)
    throw new InputError([
      error("weights-missing", "no weights are given", { help: "--weights FILE.safetensors" }),
    ]);
  const weights = await weightsFor(unsettled.module, unsettled.checkpoints, specs);
  const { compiled } = settleGuards(unsettled, weights);
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights));
  return { session, plan: compiled.plan, compiled, inputs };
}

async function measure(
  setting: string,
  own: Opened,
  base: Opened,
  runs: number,
  labels: Tensor | undefined,
): Promise<Row> {
  const timed = async ({ session, inputs }: Opened) => {
    const start = performance.now();
    const outputs = await session.run(inputs);
    return { output: Object.values(outputs)[0]!, time: performance.now() - start };
  };
  const wanted = (await timed(base)).output;
  const { output } = await timed(own);
  const times: number[] = [];
  const ratios: number[] = [];
  for (let i = 0; i < runs; i++) {
    const before = (await timed(base)).time;
    times.push((await timed(own)).time);
    ratios.push(times.at(-1)! / before);
  }
  return {
    setting,
    bytes: own.plan.constants.reduce((sum, c) => sum + c.bytes, 0),
    left: own.compiled.steps[0]!.filter((s) => s.pass.name === "quantize-weights").reduce(
      (n, s) => n + s.refusals.length,
      0,
    ),
    time: median(times),
    ratio: median(ratios),
    ...(labels && { accuracy: share(output, (i, best) => best === labels.data[i]) }),
    agreement: share(output, (i, best) => best === largestOf(rowOf(wanted, i))),
    cosine: meanCosine(output, wanted),
    relative: relativeDifference(output, wanted),
    largest: largestDifference(output, wanted),
  };
}

function tableOf(rows: readonly Row[]): string[] {
  const [base] = rows as readonly [Row];
  const head = [
    ...["setting", "constants", "smaller", "left", "accuracy", "same class"],
    ...["relative", "largest", "ms", "time"],
  ];
  const cells = rows.map((r) => [
    r.setting,
    mebibytes(r.bytes),
    `${(base.bytes / r.bytes).toFixed(2)}x`,
    String(r.left),
    r.accuracy === undefined ? "-" : percent(r.accuracy),
    percent(r.agreement),
    r.relative.toExponential(1),
    r.largest.toExponential(1),
    r.time.toFixed(2),
    `${r.ratio.toFixed(2)}x`,
  ]);
  return [
    ...[head, head.map(() => "---"), ...cells].map((row) => `| ${row.join(" | ")} |`),
    "",
    '"relative" and "largest": outputs against the first row, in the 2-norm and by the number that differs most; "time": of a run, against the first row, in turns;',
    '"left": layers whose weights stay as they are (ir --why-not names them)',
  ];
}
