// `compile` and `export`: a model and its weights to a folder that runs without the compiler, or to an ONNX file.

import { existsSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import { packWeights, settleGuards, toOnnx } from "../index.ts";
import type { Graph } from "../ir/graph.ts";
import { openDevice } from "../runtime/device-node.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { compileFile, frontOf, mebibytes, print, targetNamed, type ModelFlags } from "./common.ts";
import { writeFolder } from "./folder.ts";
import { modelOptions } from "./options.ts";
import { dimsOf } from "./run.ts";
import { weightsFor } from "./weights.ts";

interface CompileFlags extends ModelFlags {
  readonly weights?: readonly string[];
  readonly output?: string;
  readonly target?: string;
  readonly device?: string;
  readonly force?: boolean;
}

export function writeCommands(program: Command): void {
  exportCommand(program);
  modelOptions(program.command("compile <file>").description("write a folder that runs without the compiler"))
    .option("--weights <spec...>", "FILE.safetensors, NAMESPACE=FILE, or seed:N")
    .option("-o, --output <folder>", "where to (default: the model's name)")
    .option("--target <name>", "baseline, lavapipe or swiftshader; default: the adapter of this machine")
    .option("--device <name>", "the adapter to compile for")
    .option("--force", "write into a folder that exists")
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
  const weights = await weightsFor(front.module, front.models, flags.weights ?? ["seed:0"]);
  const bytes = toOnnx(graph, weights, { dims: dimsOf(flags) });
  const output = flags.output ?? `${graph.name}.onnx`;
  writeFileSync(output, bytes);
  print(`${output}: ${graph.nodes.length} nodes, ${mebibytes(bytes.byteLength)}`);
}

async function compileTo(file: string, flags: CompileFlags): Promise<void> {
  const target = flags.target !== undefined ? targetNamed(flags.target) : await targetHere(flags.device);
  const unsettled = compileFile(file, flags, target);
  const folder = flags.output ?? unsettled.plan.model;
  if (existsSync(folder) && !flags.force)
    throw new InputError([
      error("output-exists", `${folder} is there already`, {
        help: "--force writes into it, -o names another",
      }),
    ]);
  const specs = flags.weights ?? [];
  if (specs.length === 0)
    throw new InputError([
      error("weights-missing", "no weights are given", {
        help: "--weights FILE.safetensors, or --weights seed:0",
      }),
    ]);
  const weights = await weightsFor(unsettled.module, unsettled.models, specs);
  const { compiled, outcomes } = settleGuards(unsettled, weights);
  for (const o of outcomes) if (!o.holds) print(`${o.pass} is left out: these weights do not allow it`);
  const constants = packWeights(compiled, weights);
  const files = writeFolder(folder, compiled.plan, constants);
  print(
    `${folder}: ${files.length} files, ${compiled.plan.kernels.length} kernels, ${compiled.plan.entries.map((e) => e.dispatches.length).join(" and ")} dispatches, ${mebibytes(constants.byteLength)} of constants, for ${target.name}`,
  );
}

async function targetHere(device: string | undefined): Promise<ReturnType<typeof targetNamed>> {
  const opened = await openDevice(device === undefined ? {} : { device });
  const { target } = opened;
  opened.device.destroy();
  return target;
}
