// `capsule`: everything that a run depended on in one zip, to be run again elsewhere. Weights and inputs only where asked for.

import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { strToU8, zipSync } from "fflate";
import {
  compileModule,
  elaborateFile,
  InputError,
  optimizeModule,
  packWeights,
  printGraph,
  printKernel,
  printStopped,
  settleGuards,
  version,
  type Compiled,
  type CompileOptions,
  type Resolve,
  type SourceText,
  type Tensor,
} from "../index.ts";
import { evaluate } from "../ir/evaluate.ts";
import { toggles } from "../runtime/dawn-node.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { writeSafetensors } from "../runtime/safetensors.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { Bug } from "../support/bug.ts";
import { error, hasErrors } from "../support/diagnostic.ts";
import {
  capsuleFormat,
  capsuleVersion,
  hashOf,
  recordName,
  type CapsuleRecord,
  type CapsuleResult,
} from "./capsule-format.ts";
import { mebibytes, need, print, settings, showJson } from "./common.ts";
import { readModel, resolverFor } from "./model-file.ts";
import { difference, scaleOf } from "./measure.ts";
import { entryOption, runOptions } from "./options.ts";
import { dimsFor, dimsOf, type RunFlags } from "./run.ts";
import { weightsFor } from "./weights.ts";

interface CapsuleFlags extends RunFlags {
  readonly output?: string;
  readonly tolerance: string;
  readonly withWeights?: boolean;
  readonly withInputs?: boolean;
}

export function capsuleCommand(program: Command): void {
  entryOption(
    runOptions(
      program
        .command("capsule <file>")
        .description(
          "pack a model, its settings, every stage and the results of a run into a zip, for replay elsewhere",
        ),
    ),
  )
    .option("-o, --output <zip>", "where to (default: the model's name with .zip)")
    .option(
      "--tolerance <t>",
      "largest absolute difference from the CPU reference that counts as equal",
      "1e-4",
    )
    .option("--with-weights", "pack the weights too")
    .option("--with-inputs", "pack the inputs too")
    .action(capsule);
}

async function capsule(file: string, flags: CapsuleFlags): Promise<void> {
  const tolerance = Number(flags.tolerance);
  if (!(tolerance > 0))
    throw new InputError([error("tolerance-spec", `--tolerance ${flags.tolerance} is no positive number`)]);
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const sources = new Recorder(file);
  const options = optionsOf(flags, sources.resolve, device);
  const front = elaborateFile(sources.root, options);
  if (hasErrors(front.diagnostics) || !front.module) throw new InputError(front.diagnostics);
  const unsettled = compileModule(front.module, options, front);
  const weights = await weightsFor(unsettled.module, unsettled.checkpoints, flags.weights ?? ["seed:0"]);
  const { compiled } = settleGuards(unsettled, weights);
  const entry = entryOf(compiled.plan, flags.entry);
  const dims = dimsFor(compiled.plan, entry, dimsOf(flags));
  const inputs = need(await loadInputs(flags.input ?? [], entry.inputs, dims, { seedMissing: true }));
  const run = await runOnce(compiled, entry.name, weights, inputs, dims, device);
  const files = new Map<string, Uint8Array>();
  for (const [name, text] of [...sources.files(), ...stageFiles(compiled)]) files.set(name, strToU8(text));
  if (flags.withWeights) files.set("weights.safetensors", writeSafetensors(tensorsOf(compiled, weights)));
  if (flags.withInputs) files.set("inputs.safetensors", writeSafetensors(inputs));
  const record: CapsuleRecord = {
    ...{ format: capsuleFormat, version: capsuleVersion, compiler: version },
    machine: { node: process.version, platform: `${process.platform} ${process.arch}` },
    root: sources.root.name,
    sources: sources.names(),
    imports: sources.imports,
    options: {
      ...(options.models && { models: options.models }),
      ...(options.config !== undefined && { config: options.config }),
      ...{ set: options.set ?? {}, without: compiled.options.without ?? [], also: options.also ?? [] },
      schedules: options.schedules ?? {},
    },
    ...{ entry: entry.name, dims },
    // Paths of this machine are nobody else's business.
    weights: (flags.weights ?? ["seed:0"]).map(withoutFolder),
    inputs: (flags.input ?? []).map(withoutFolder),
    packedWeights: flags.withWeights === true,
    packedInputs: flags.withInputs === true,
    ...{ tolerance, target: compiled.plan.target },
    adapter: {
      name: device.name,
      software: device.software,
      info: { ...device.info },
      toggles: toggles({ safe: true }),
    },
    ...run,
    files: Object.fromEntries([...files].map(([name, bytes]) => [name, hashOf(bytes)])),
  };
  files.set(recordName, strToU8(`${JSON.stringify(record, null, 2)}\n`));
  const output = flags.output ?? `${compiled.plan.model}.zip`;
  const zip = zipSync(Object.fromEntries(files), { level: 9 });
  writeFileSync(output, zip);
  if (flags.json) showJson({ output, bytes: zip.length, files: [...files.keys()], ...run });
  else {
    print(
      `${output}: ${files.size} files, ${mebibytes(zip.length)}; run it again with tokenloom replay ${output}`,
    );
    const left = [...(flags.withWeights ? [] : ["weights"]), ...(flags.withInputs ? [] : ["inputs"])];
    if (left.length > 0)
      print(`left out: the values of ${left.join(" and ")} (${left.map((l) => `--with-${l}`).join(", ")})`);
    if (run.failure !== undefined) print(`the run failed, and that is in it: ${run.failure}`);
  }
  device.device.destroy();
}

function optionsOf(flags: CapsuleFlags, resolve: Resolve, device: OpenedDevice): CompileOptions {
  return {
    resolve,
    set: settings(flags.set),
    target: device.target,
    ...(flags.model !== undefined && { models: flags.model }),
    ...(flags.config !== undefined && { config: flags.config }),
    ...(flags.without !== undefined && { without: flags.without.split(",") }),
    ...(flags.also !== undefined && { also: flags.also.split(",") }),
    ...(flags.schedule && { schedules: settings(flags.schedule, "schedule") }),
  };
}

/** Every text that the model was made of, under names that a zip may hold. */
class Recorder {
  readonly root: SourceText;
  readonly resolve: Resolve;
  readonly imports: { readonly from: string; readonly path: string; readonly name: string }[] = [];
  readonly #texts = new Map<string, string>();

  constructor(path: string) {
    this.root = readModel(path);
    this.#texts.set(this.root.name, this.root.text);
    const onDisk = resolverFor(path);
    this.resolve = (from, wanted) => {
      const found = onDisk(from, wanted);
      if ("problem" in found) return found;
      this.#texts.set(found.name, found.text);
      this.imports.push({ from, path: wanted, name: found.name });
      return found;
    };
  }

  names(): readonly { readonly name: string; readonly file: string }[] {
    return [...this.#texts.keys()].map((name, i) => ({ name, file: this.#file(name, i) }));
  }

  files(): readonly (readonly [string, string])[] {
    return [...this.#texts].map(([name, text], i) => [this.#file(name, i), text]);
  }

  #file(name: string, i: number): string {
    return `model/${i}-${name.replace(/^.*[/\\]/, "").replace(/[^\w.-]/g, "_")}`;
  }
}

/** What each stage looked like: graphs behind passes, the text to go on from, kernels, WGSL, plan with schedules. */
export function stageFiles(compiled: Compiled): readonly (readonly [string, string])[] {
  const graphs = compiled.steps.flatMap((steps, i) => {
    const source = compiled.module.graphs[i]!;
    const folder = `ir/${i}-${source.name.replace(/[^\w.-]/g, "_")}`;
    return [
      [`${folder}/00-source.ir`, printGraph(source)] as const,
      ...steps.map((s, j) => {
        const number = String(j + 1).padStart(2, "0");
        const text = s.changed ? printGraph(s.after) : "// nothing changed\n";
        return [`${folder}/${number}-${s.pass.name}.ir`, text] as const;
      }),
    ];
  });
  const stopped = optimizeModule(compiled.module, { ...compiled.options, stopAfter: "none" }, compiled);
  const kernels = compiled.kernels.flatMap((k, i) => {
    const name = `kernels/${i}-${k.name.replace(/[^\w.-]/g, "_")}`;
    return [
      [`${name}.kernel`, printKernel(k)] as const,
      [`${name}.wgsl`, compiled.plan.kernels[i]!.wgsl] as const,
    ];
  });
  const plan = {
    ...compiled.plan,
    kernels: compiled.plan.kernels.map((k, i) => ({ ...k, wgsl: `${kernels[2 * i + 1]![0]}` })),
  };
  return [
    ...graphs,
    ["source.ir", printStopped(stopped)],
    ...kernels,
    ["plan.json", `${JSON.stringify(plan, null, 1)}\n`],
  ];
}

/** The run and how far it is from the reference; a failure is a result too. */
async function runOnce(
  compiled: Compiled,
  entry: string,
  weights: (key: string) => Tensor,
  inputs: Readonly<Record<string, Tensor>>,
  dims: Readonly<Record<string, number>>,
  device: OpenedDevice,
): Promise<Pick<CapsuleRecord, "results" | "failure">> {
  const index = compiled.plan.entries.findIndex((e) => e.name === entry);
  const meaning = evaluate(compiled.module.graphs[index]!, weights, inputs, { dims });
  try {
    const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights));
    const got = await session.run(inputs, { dims, entry });
    await session.dispose();
    return { results: resultsOf(got, meaning.outputs) };
  } catch (e) {
    if (!(e instanceof Bug) && !(e instanceof InputError)) throw e;
    return { results: [], failure: e.message.slice(0, 5000) };
  }
}

export function resultsOf(
  got: Readonly<Record<string, Tensor>>,
  meaning: Readonly<Record<string, Tensor>>,
): readonly CapsuleResult[] {
  return Object.entries(got).map(([name, t]) => {
    const off = difference(t, meaning[name]!);
    return {
      ...{ name, shape: t.shape, scale: scaleOf(meaning[name]!) },
      difference: Number.isFinite(off) ? off : null,
      hash: hashOf(new Uint8Array(Float32Array.from(t.data).buffer)),
    };
  });
}

function tensorsOf(compiled: Compiled, weights: (key: string) => Tensor): Record<string, Tensor> {
  const keys = new Set(compiled.module.graphs.flatMap((g) => g.weights.map((w) => w.key)));
  return Object.fromEntries([...keys].map((key) => [key, weights(key)]));
}

function withoutFolder(spec: string): string {
  return spec.replace(/(^|=)[^=]*[/\\]/, "$1");
}
