// `fit-head`: the last linear layer of a classifier from the features in front of it, without training (src/tune/naive-bayes.ts).

import type { Command } from "commander";
import { compileModule, packWeights, settleGuards } from "../index.ts";
import type { Graph } from "../ir/graph.ts";
import { tensor, type Tensor } from "../ir/tensor.ts";
import { openDevice } from "../runtime/device-node.ts";
import { inputPaths, loadInputs, writeOutputs } from "../runtime/files-node.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import {
  featuresGraph,
  featuresName,
  layerBehind,
  layerIn,
  naiveBayes,
  shareOfRows,
  type FittedLayer,
  type LinearHead,
} from "../tune/naive-bayes.ts";
import { weightSpecs } from "./adapter.ts";
import { colors, need, print, showJson } from "./common.ts";
import { sound } from "./model-file.ts";
import { runOptions } from "./options.ts";
import { rowsOf, takeRows } from "./rows.ts";
import { dimsOf, inBatches, type RunFlags } from "./run.ts";
import { wantedWeights, weightsFor } from "./weights.ts";

interface FitFlags extends RunFlags {
  readonly head?: string;
  readonly features?: string;
  readonly epsilon: string;
  readonly holdout: string;
  readonly whole?: boolean;
}

export function fitHeadCommand(program: Command): void {
  runOptions(
    program
      .command("fit-head <file>")
      .description(
        "fit a linear head to features by Gaussian naive Bayes: one pass over labelled data, no training",
      ),
  )
    .option("--labels <file>", "a .safetensors file with the class of each row, `labels`")
    .option("--head <key>", "the linear layer that is fitted (default: the one that makes the first output)")
    .option("--features <output>", "fit a layer, called as --head says, that reads this output of the model")
    .option("--epsilon <e>", "added to each variance", "1e-9")
    .option("--holdout <n>", "the last n rows are left out, and the accuracy is measured on them too", "0")
    .option("--batch <n>", "run at most n rows at a time")
    .option("--whole", "write all weights with the new head, not the head alone")
    .option("-o, --output <file>", "where the head goes (.safetensors)")
    .action(fitHead);
}

async function fitHead(file: string, flags: FitFlags): Promise<void> {
  const { module, front } = sound(file, flags);
  const [graph, ...others] = module.graphs;
  if (!graph || others.length > 0)
    throw new InputError([
      error("fit-layer", `${file} gives ${module.graphs.length} entry points, and one is fitted`, {
        help: "--model NAME chooses it",
      }),
    ]);
  const layer = layerOf(graph, flags);
  const epsilon = Number(flags.epsilon);
  if (!(epsilon > 0 && Number.isFinite(epsilon)))
    throw new InputError([error("fit-data", `--epsilon ${flags.epsilon} is no positive number`)]);
  const made = { name: module.name, graphs: [featuresGraph(graph, layer)] };
  if (!flags.weights?.length)
    throw new InputError([
      error("weights-missing", "no weights are given", {
        help: "--weights FILE.safetensors is what makes the features",
      }),
    ]);
  const weights = await weightsFor(made, front.checkpoints, weightSpecs(flags.weights, flags));
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const unsettled = compileModule(made, { ...front.options, target: device.target }, front);
  const { compiled } = settleGuards(unsettled, weights);
  const { inputs, labels } = await dataOf(entryOf(compiled.plan, undefined).inputs, flags);
  const classes = classesOf(layer, labels, flags);
  const held = holdoutOf(flags, rowsOf(labels));
  const fitted = rowsOf(labels) - held;
  countClasses(labels, fitted, classes, flags);
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights));
  const all = await inBatches(session, inputs, flags).finally(() => {
    session.dispose();
    device.device.destroy();
  });
  const rows = { [featuresName]: all[featuresName]!, labels };
  const seen = takeRows(rows, 0, fitted, rowsOf(labels));
  const unseen = takeRows(rows, fitted, held, rowsOf(labels));
  const head = naiveBayes(seen[featuresName]!.data, seen["labels"]!.data, classes, epsilon);
  const share = (x: Record<string, Tensor>) => shareOfRows(head, x[featuresName]!.data, x["labels"]!.data);
  if (flags.output !== undefined) await write(flags, layer, head, graph, made.graphs[0]!, weights);
  const report: Report = {
    adapter: device.name,
    head: layer.weight.replace(/\.weight$/, ""),
    rows: fitted,
    heldOut: held,
    classes,
    features: head.features,
    constant: head.constant,
    degenerate: head.degenerate,
    accuracy: { fitted: share(seen), ...(held > 0 && { heldOut: share(unseen) }) },
  };
  if (flags.json) showJson(report);
  else show(report, flags);
}

function layerOf(graph: Graph, flags: FitFlags): FittedLayer {
  const layer =
    flags.features === undefined
      ? layerIn(graph, flags.head)
      : layerBehind(graph, flags.features, flags.head ?? "head");
  if (typeof layer !== "string") return layer;
  throw new InputError([
    error("fit-layer", layer, {
      help: "--head KEY names a linear layer with a bias that reads [rows, features]; --features OUTPUT is for a model without one",
    }),
  ]);
}

async function dataOf(
  wanted: Parameters<typeof loadInputs>[1],
  flags: FitFlags,
): Promise<{ readonly inputs: Readonly<Record<string, Tensor>>; readonly labels: Tensor }> {
  if (!flags.input?.length || flags.labels === undefined)
    throw new InputError([
      error("fit-data", "a head is fitted to inputs and their classes", {
        help: "--input FILE.safetensors --labels FILE.safetensors",
      }),
    ]);
  const inputs = need(await loadInputs(flags.input, wanted, dimsOf(flags)));
  const found = need(await loadInputs([flags.labels], [{ name: "labels", dtype: "i32", shape: ["N"] }], {}));
  const labels = found["labels"]!;
  const rows = Math.max(...Object.values(inputs).map(rowsOf));
  if (rows !== rowsOf(labels))
    throw new InputError([
      error("fit-data", `${flags.labels} has ${rowsOf(labels)} labels, and the inputs have ${rows} rows`),
    ]);
  return { inputs, labels };
}

function classesOf(layer: FittedLayer, labels: Tensor, flags: FitFlags): number {
  const all = Array.from(labels.data);
  const classes = layer.classes ?? all.reduce((a, b) => Math.max(a, b), -1) + 1;
  const wrong = all.find((k) => k < 0 || k >= classes);
  if (wrong === undefined) return classes;
  throw new InputError([
    error("fit-data", `${flags.labels} has a label ${wrong}, and the layer has classes 0 to ${classes - 1}`),
  ]);
}

function holdoutOf(flags: FitFlags, rows: number): number {
  const held = Number(flags.holdout);
  if (Number.isSafeInteger(held) && held >= 0 && held < rows) return held;
  throw new InputError([error("fit-data", `--holdout ${flags.holdout} leaves none of ${rows} rows`)]);
}

/** A class without rows has no mean. */
function countClasses(labels: Tensor, rows: number, classes: number, flags: FitFlags): void {
  const there = new Set(Array.from(labels.data.slice(0, rows)));
  const absent = Array.from({ length: classes }, (_, k) => k).filter((k) => !there.has(k));
  if (absent.length === 0) return;
  throw new InputError([
    error(
      "fit-data",
      `no row of the ${rows} that are fitted is of class ${absent.slice(0, 10).join(", ")} (${flags.labels})`,
      { help: "every class needs a row; fewer rows held out, or rows in another order" },
    ),
  ]);
}

async function write(
  flags: FitFlags,
  layer: FittedLayer,
  head: LinearHead,
  graph: Graph,
  made: Graph,
  weights: (key: string) => Tensor,
): Promise<void> {
  const dtype = graph.weights.find((w) => w.key === layer.weight)?.type.dtype ?? "f32";
  const out: Record<string, Tensor> = {};
  if (flags.whole) for (const { key } of wantedWeights({ name: "", graphs: [made] })) out[key] = weights(key);
  out[layer.weight] = tensor(dtype, [head.classes, head.features], head.weight);
  out[layer.bias] = tensor(dtype, [head.classes], head.bias);
  need(await writeOutputs(flags.output!, out, [...inputPaths(flags.input ?? []), ...(flags.weights ?? [])]));
}

interface Report {
  readonly adapter: string;
  readonly head: string;
  readonly rows: number;
  readonly heldOut: number;
  readonly classes: number;
  readonly features: number;
  readonly constant: number;
  readonly degenerate: number;
  readonly accuracy: { readonly fitted: number; readonly heldOut?: number };
}

function show(r: Report, flags: FitFlags): void {
  const share = (x: number): string => `${(100 * x).toFixed(2)} %`;
  print(`${colors.dim("head")}  ${r.head}, ${r.classes} classes of ${r.features} features`);
  print(`${colors.dim("fitted")}  ${r.rows} rows, ${share(r.accuracy.fitted)} of them right`);
  if (r.accuracy.heldOut !== undefined)
    print(`${colors.dim("held out")}  ${r.heldOut} rows, ${share(r.accuracy.heldOut)} of them right`);
  if (r.constant > 0)
    print(`${colors.dim("constant")}  ${r.constant} features are the same in every row; their weights are 0`);
  if (r.degenerate > 0)
    print(
      colors.yellow(
        `${r.degenerate} features never vary within a class: their weights are of the size of 1 / epsilon (${flags.epsilon})`,
      ),
    );
  print(`${colors.dim("adapter")}  ${r.adapter}`);
  if (flags.output !== undefined) print(`${colors.dim("written")}  ${flags.output}`);
}
