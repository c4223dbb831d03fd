// `rank-layers`: the layers of an encoder by how little they do on given data (src/passes/layer-scores.ts), to know which to leave out.

import type { Command } from "commander";
import { compileModule, lookupOp, packWeights, settleGuards } from "../index.ts";
import type { Tensor } from "../ir/tensor.ts";
import { layerScores } from "../passes/layer-scores.ts";
import { openDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { weightSpecs } from "./adapter.ts";
import { colors, need, print, showJson } from "./common.ts";
import { sound } from "./model-file.ts";
import { runOptions } from "./options.ts";
import { rowsOf } from "./rows.ts";
import { dimsOf, inBatches, type RunFlags } from "./run.ts";
import { weightsFor } from "./weights.ts";

export function rankLayersCommand(program: Command): void {
  runOptions(
    program
      .command("rank-layers <file>")
      .description("the layers of an attention encoder by how little they change its tokens, on data"),
  )
    .option("--batch <n>", "run at most n rows at a time")
    .action(rank);
}

interface RankedLayer {
  readonly layer: number;
  readonly name: string;
  /** 1 - cos of what goes in and what comes out, the mean over rows and tokens. */
  readonly influence: number;
  /** Leaves out this layer and those before it in the ranking. */
  readonly reduce: string;
}

async function rank(file: string, flags: RunFlags): Promise<void> {
  const { module, front } = sound(file, flags);
  const [graph, ...others] = module.graphs;
  const scored =
    graph && others.length === 0
      ? layerScores(graph, lookupOp)
      : `the file gives ${module.graphs.length} entry points, and one is ranked: --model NAME chooses`;
  if (typeof scored === "string")
    throw new InputError([error("rank-layers", `layers of ${file} cannot be ranked: ${scored}`)]);
  if (!flags.weights?.length)
    throw new InputError([
      error("weights-missing", "no weights are given", { help: "--weights FILE.safetensors" }),
    ]);
  if (!flags.input?.length)
    throw new InputError([
      error("rank-layers", "layers are ranked by what they do to data", {
        help: "--input FILE.safetensors",
      }),
    ]);
  const weights = await weightsFor(module, front.checkpoints, weightSpecs(flags.weights, flags));
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const made = { name: module.name, graphs: [scored.graph] };
  const unsettled = compileModule(made, { ...front.options, target: device.target }, front);
  const { compiled } = settleGuards(unsettled, weights);
  const inputs = need(await loadInputs(flags.input, entryOf(compiled.plan, undefined).inputs, dimsOf(flags)));
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights));
  const outputs = await inBatches(session, inputs, flags).finally(() => {
    session.dispose();
    device.device.destroy();
  });
  const influences = scored.layers
    .map(({ block, output }) => ({
      layer: block.index,
      name: block.name,
      influence: 1 - meanOf(outputs[output]!),
    }))
    .sort((a, b) => a.influence - b.influence || a.layer - b.layer);
  const layers = influences.map((l, i): RankedLayer => {
    const gone = influences.slice(0, i + 1).map((x) => x.layer);
    return { ...l, reduce: `drop_layers:layers=[${gone.sort((a, b) => a - b).join(",")}]` };
  });
  const rows = Math.max(...Object.values(inputs).map(rowsOf));
  if (flags.json) showJson({ adapter: device.name, rows, layers });
  else show(layers, rows, device.name);
}

function meanOf(t: Tensor): number {
  let sum = 0;
  for (const v of t.data) sum += v;
  return sum / t.data.length;
}

function show(layers: readonly RankedLayer[], rows: number, adapter: string): void {
  const names = layers.map((l) => l.name || `layer ${l.layer}`);
  const width = Math.max("layer".length, ...names.map((n) => n.length));
  print(`${"layer".padEnd(width)}  influence  without it and those above`);
  layers.forEach((l, i) =>
    print(
      `${names[i]!.padEnd(width)}  ${l.influence.toFixed(4).padStart(9)}  ${colors.dim(`--reduce ${l.reduce}`)}`,
    ),
  );
  print();
  print(`${colors.dim("rows")}  ${rows}`);
  print(`${colors.dim("adapter")}  ${adapter}`);
}
