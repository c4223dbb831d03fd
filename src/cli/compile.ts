// `compile`: a model and its weights to a folder that runs without the compiler, or to graph text that is gone on from.

import { weightSpecs } from "./adapter.ts";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { packWeights, printStopped, settleGuards, type Target } from "../index.ts";
import { openDevice } from "../runtime/device-node.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { mebibytes, print, showJson, targetNamed, type ModelFlags } from "./common.ts";
import { compileFile, optimizeFile } from "./model-file.ts";
import { writeVariants } from "./folder.ts";
import { modelOptions } from "./options.ts";
import { tunedFile, writeTuned } from "./tuned.ts";
import { weightsFor } from "./weights.ts";

interface CompileFlags extends ModelFlags {
  readonly from?: string;
  readonly to?: string;
  readonly weights?: readonly string[];
  readonly output?: string;
  readonly target?: string;
  readonly device?: string;
  readonly force?: boolean;
}

export function compileCommand(program: Command): void {
  modelOptions(
    program
      .command("compile [file]")
      .description(
        "write a folder that runs without the compiler, or stop behind a pass and write graph text",
      ),
  )
    .option("--weights <spec...>", "FILE.safetensors, NAMESPACE=FILE, or seed:N")
    .option("--dim <name=value...>", "sizes to choose schedules for; the plan runs for any")
    .option(
      "--to <pass>",
      "stop behind this pass (`none`: before the first) and write graph text; needs no weights",
    )
    .option("--from <file.ir>", "take graph text on from where it stopped, in place of FILE")
    .option("-o, --output <path>", "where to (default: the model's name, with .ir for --to)")
    .option(
      "--target <names>",
      "baseline, lavapipe, swiftshader, or here; several, separated by commas, are packed as variants; default: that of the text, else the adapter of this machine",
    )
    .option("--device <name>", "the adapter to compile for")
    .option("--force", "write over what exists")
    .action(compileTo);
}

async function compileTo(named: string | undefined, flags: CompileFlags): Promise<void> {
  const file = flags.from ?? named;
  if (file === undefined || (named !== undefined && flags.from !== undefined))
    throw new InputError([
      error(
        "compile-from",
        file === undefined ? "there is nothing to compile" : "there are two files to compile",
        {
          help: "name a model file, or graph text: --from FILE.ir",
        },
      ),
    ]);
  const targets = await compileTargets(file, flags);
  if (flags.to !== undefined) return stopAt(flags.to, file, flags, onlyOne(targets));
  const first = compileFile(file, flags, targets[0]);
  const folder = flags.output ?? first.plan.model;
  spare(folder, flags);
  const specs = flags.weights ?? [];
  if (specs.length === 0)
    throw new InputError([
      error("weights-missing", "no weights are given", {
        help: "--weights FILE.safetensors, or --weights seed:0",
      }),
    ]);
  const weights = await weightsFor(first.module, first.checkpoints, weightSpecs(specs, flags));
  const variants = targets.map((target, i) => {
    const { compiled, outcomes } = settleGuards(i === 0 ? first : compileFile(file, flags, target), weights);
    const leftOut = outcomes.filter((o) => !o.holds).map((o) => o.pass);
    const { plan, lowered } = compiled;
    return { plan, constants: packWeights(compiled, weights), leftOut, tuned: lowered.tuned };
  });
  // Guards depend on the weights alone.
  const { leftOut } = variants[0]!;
  if (!flags.json) for (const pass of leftOut) print(`${pass} is left out: these weights do not allow it`);
  const files = [...writeVariants(folder, variants)];
  const [own] = variants;
  const { adapter } = own!.plan.target;
  rmSync(join(folder, tunedFile), { force: true });
  if (adapter !== undefined && own!.tuned.length > 0) files.push(writeTuned(folder, adapter, own!.tuned));
  const facts = variants.map(({ plan, constants }) => ({
    kernels: plan.kernels.length,
    dispatches: plan.entries.map((e) => e.dispatches.length),
    constantBytes: constants.byteLength,
    target: plan.target.name,
  }));
  if (flags.json)
    return showJson({
      ...{ output: folder, files, leftOut, ...facts[0] },
      ...(facts.length > 1 && { variants: facts }),
    });
  print(`${folder}: ${files.length} files`);
  for (const f of facts)
    print(
      `  for ${f.target}: ${f.kernels} kernels, ${f.dispatches.join(" and ")} dispatches, ${mebibytes(f.constantBytes)} of constants`,
    );
}

function stopAt(pass: string, file: string, flags: CompileFlags, target: Target | undefined): void {
  const stopped = optimizeFile(file, { ...flags, stopAfter: pass }, target);
  const output = flags.output ?? `${stopped.module.name}.ir`;
  spare(output, flags);
  const text = printStopped(stopped);
  writeFileSync(output, text);
  const nodes = stopped.optimized.graphs.map((g) => g.nodes.length);
  if (flags.json) showJson({ output, passes: stopped.steps[0]!.map((s) => s.pass.name), nodes });
  else
    print(
      `${output}: ${nodes.join(" and ")} nodes behind ${pass}; go on with tokenloom compile --from ${output}`,
    );
}

function spare(path: string, flags: CompileFlags): void {
  if (existsSync(path) && !flags.force)
    throw new InputError([
      error("output-exists", `${path} is there already`, {
        help: "--force writes over it, -o names another",
      }),
    ]);
}

/** One undefined where the text says it. */
async function compileTargets(file: string, flags: CompileFlags): Promise<readonly (Target | undefined)[]> {
  if (flags.target === undefined)
    return [/\.ir$/.test(file) && flags.device === undefined ? undefined : await targetHere(flags.device)];
  const targets: Target[] = [];
  for (const name of flags.target.split(","))
    targets.push(name === "here" ? await targetHere(flags.device) : targetNamed(name));
  const twice = targets.find((t, i) => targets.findIndex((x) => x.name === t.name) !== i);
  if (twice)
    throw new InputError([
      error("target-twice", `${twice.name} is asked for twice`, { help: "name each target once" }),
    ]);
  return targets;
}

function onlyOne(targets: readonly (Target | undefined)[]): Target | undefined {
  if (targets.length === 1) return targets[0];
  throw new InputError([
    error("target-twice", "graph text is for one target", { help: "give --to one --target" }),
  ]);
}

async function targetHere(device: string | undefined): Promise<Target> {
  const opened = await openDevice(device === undefined ? {} : { device });
  const { target } = opened;
  opened.device.destroy();
  return target;
}
