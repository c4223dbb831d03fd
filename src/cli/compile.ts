// `compile` and `export`: a model and its weights to a folder that runs without the compiler, or to an ONNX file.

import { existsSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import { packWeights, printStopped, settleGuards, toOnnx, type Target } from "../index.ts";
import type { Graph } from "../ir/graph.ts";
import { openDevice } from "../runtime/device-node.ts";
import { error, InputError } from "../support/diagnostic.ts";
import {
  compileFile,
  frontOf,
  optimizeFile,
  mebibytes,
  print,
  targetNamed,
  type ModelFlags,
} from "./common.ts";
import { writeFolder } from "./folder.ts";
import { modelOptions } from "./options.ts";
import { dimsOf } from "./run.ts";
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

export function writeCommands(program: Command): void {
  exportCommand(program);
  modelOptions(
    program
      .command("compile [file]")
      .description(
        "write a folder that runs without the compiler, or stop behind a pass and write graph text",
      ),
  )
    .option("--weights <spec...>", "FILE.safetensors, NAMESPACE=FILE, or seed:N")
    .option(
      "--to <pass>",
      "stop behind this pass (`none`: before the first) and write graph text; needs no weights",
    )
    .option("--from <file.ir>", "take graph text on from where it stopped, in place of FILE")
    .option("-o, --output <path>", "where to (default: the model's name, with .ir for --to)")
    .option(
      "--target <name>",
      "baseline, lavapipe or swiftshader; default: that of the text, else the adapter of this machine",
    )
    .option("--device <name>", "the adapter to compile for")
    .option("--force", "write over what exists")
    .action(compileTo);
}

interface ExportFlags extends ModelFlags {
  readonly weights?: readonly string[];
  readonly output?: string;
  readonly dim?: readonly string[];
}

function exportCommand(program: Command): void {
  modelOptions(
    program
      .command("export <file>")
      .description("write an ONNX file: for other viewers, and to compare with other runtimes"),
  )
    .option("--weights <spec...>", "FILE.safetensors, NAMESPACE=FILE, or seed:N")
    .option("--dim <name=value...>", "sizes to fix; others stay open")
    .option("-o, --output <file>", "where to (default: the model's name with .onnx)")
    .action(exportTo);
}

async function exportTo(file: string, flags: ExportFlags): Promise<void> {
  const front = frontOf(file, flags);
  if (!front.module) throw new InputError(front.diagnostics);
  const [graph, ...others] = front.module.graphs as readonly [Graph, ...Graph[]];
  if (others.length > 0)
    throw new InputError([
      error("which-entry", "an ONNX file holds one model, and several are asked for", {
        help: "export them one by one: --model NAME",
      }),
    ]);
  const weights = await weightsFor(front.module, front.checkpoints, flags.weights ?? ["seed:0"]);
  const bytes = toOnnx(graph, weights, { dims: dimsOf(flags) });
  const output = flags.output ?? `${graph.name}.onnx`;
  writeFileSync(output, bytes);
  print(`${output}: ${graph.nodes.length} nodes, ${mebibytes(bytes.byteLength)}`);
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
  const target = await compileTarget(file, flags);
  if (flags.to !== undefined) return stopAt(flags.to, file, flags, target);
  const unsettled = compileFile(file, flags, target);
  const folder = flags.output ?? unsettled.plan.model;
  spare(folder, flags);
  const specs = flags.weights ?? [];
  if (specs.length === 0)
    throw new InputError([
      error("weights-missing", "no weights are given", {
        help: "--weights FILE.safetensors, or --weights seed:0",
      }),
    ]);
  const weights = await weightsFor(unsettled.module, unsettled.checkpoints, specs);
  const { compiled, outcomes } = settleGuards(unsettled, weights);
  for (const o of outcomes) if (!o.holds) print(`${o.pass} is left out: these weights do not allow it`);
  const constants = packWeights(compiled, weights);
  const files = writeFolder(folder, compiled.plan, constants);
  print(
    `${folder}: ${files.length} files, ${compiled.plan.kernels.length} kernels, ${compiled.plan.entries.map((e) => e.dispatches.length).join(" and ")} dispatches, ${mebibytes(constants.byteLength)} of constants, for ${compiled.plan.target.name}`,
  );
}

function stopAt(pass: string, file: string, flags: CompileFlags, target: Target | undefined): void {
  const stopped = optimizeFile(file, { ...flags, stopAfter: pass }, target);
  const output = flags.output ?? `${stopped.module.name}.ir`;
  spare(output, flags);
  const text = printStopped(stopped);
  writeFileSync(output, text);
  const nodes = stopped.optimized.graphs.map((g) => g.nodes.length).join(" and ");
  print(`${output}: ${nodes} nodes behind ${pass}; go on with tokenloom compile --from ${output}`);
}

function spare(path: string, flags: CompileFlags): void {
  if (existsSync(path) && !flags.force)
    throw new InputError([
      error("output-exists", `${path} is there already`, {
        help: "--force writes over it, -o names another",
      }),
    ]);
}

/** Undefined where the text says it. */
async function compileTarget(file: string, flags: CompileFlags): Promise<Target | undefined> {
  if (flags.target !== undefined) return targetNamed(flags.target);
  return /\.ir$/.test(file) && flags.device === undefined ? undefined : targetHere(flags.device);
}

async function targetHere(device: string | undefined): Promise<Target> {
  const opened = await openDevice(device === undefined ? {} : { device });
  const { target } = opened;
  opened.device.destroy();
  return target;
}
