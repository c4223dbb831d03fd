// `export`: the graph for other viewers and runtimes. What is written follows from the ending of the file.

import { weightSpecs } from "./adapter.ts";
import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { lookupOp, toDot, toModelExplorer, type Graph } from "../index.ts";
import { quantizeWeights } from "../passes/quantize-weights.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { mebibytes, print, showJson, targetNamed, type ModelFlags } from "./common.ts";
import { frontOf, optimizeFile } from "./model-file.ts";
import { modelOptions } from "./options.ts";
import { dimsOf } from "./run.ts";
import { weightsFor } from "./weights.ts";

interface ExportFlags extends ModelFlags {
  readonly weights?: readonly string[];
  readonly output?: string;
  readonly dim?: readonly string[];
  readonly after?: string;
  readonly afterAll?: boolean;
  readonly stage: string;
  readonly target?: string;
}

export function exportCommand(program: Command): void {
  modelOptions(
    program
      .command("export <file>")
      .description(
        "write the graph for other viewers and runtimes: .onnx, .dot (Graphviz), .json (Model Explorer)",
      ),
  )
    .option("-o, --output <file>", "where to; the ending says what (default: the model's name with .onnx)")
    .option(
      "--after <pass>",
      "for .dot and .json: the graph after this pass (`none`, the default: as the model says it)",
    )
    .option("--after-all", "for .json: one graph for each pass that changed something")
    .option(
      "--stage <stage>",
      "graph, or kernel: after all passes, one box a kernel; for .dot and .json",
      "graph",
    )
    .option("--target <name>", "baseline, lavapipe or swiftshader: what passes are run for")
    .option("--weights <spec...>", "for .onnx: FILE.safetensors, NAMESPACE=FILE, or seed:N (default: seed:0)")
    .option("--dim <name=value...>", "for .onnx: sizes to fix; others stay open")
    .action(exportTo);
}

async function exportTo(file: string, flags: ExportFlags): Promise<void> {
  const ending = /\.(\w+)$/.exec(flags.output ?? ".onnx")?.[1]?.toLowerCase();
  if (ending === "onnx") return exportOnnx(file, flags);
  if (ending !== "dot" && ending !== "gv" && ending !== "json")
    throw new InputError([
      error("export-format", `${flags.output} ends in none of .onnx, .dot and .json`, {
        help: "the ending says what is written: ONNX, Graphviz, or Model Explorer's JSON",
      }),
    ]);
  refuse(flags, ["weights", "dim"], `.${ending}`);
  if (ending !== "json") refuse(flags, ["afterAll"], `.${ending}`);
  const stages = stagesOf(file, flags);
  const output = flags.output!;
  const text =
    ending === "json"
      ? `${JSON.stringify(toModelExplorer(output.replace(/^.*[/\\]/, "").replace(/\.json$/i, ""), stages))}\n`
      : stages.map((s) => toDot(s.graph)).join("\n");
  writeFileSync(output, text);
  said(
    flags,
    output,
    Buffer.byteLength(text),
    stages.map((s) => s.graph),
  );
}

interface Stage {
  readonly name: string;
  readonly graph: Graph;
}

function stagesOf(file: string, flags: ExportFlags): readonly Stage[] {
  if (flags.stage !== "graph" && flags.stage !== "kernel")
    throw new InputError([
      error("unknown-stage", `there is no stage ${flags.stage} to export`, {
        help: "the stages are graph and kernel",
      }),
    ]);
  const last = flags.stage === "kernel" || flags.afterAll ? undefined : (flags.after ?? "none");
  const target = flags.target === undefined ? undefined : targetNamed(flags.target);
  const stopped = optimizeFile(file, last === undefined ? flags : { ...flags, stopAfter: last }, target);
  if (!flags.afterAll) return stopped.optimized.graphs.map((graph) => ({ name: graph.name, graph }));
  return stopped.module.graphs.flatMap((graph, i) => [
    { name: graph.name, graph },
    ...stopped.steps[i]!.filter((s) => s.changed).map((s) => ({
      name: `${graph.name} after ${s.pass.name}`,
      graph: s.after,
    })),
  ]);
}

async function exportOnnx(file: string, flags: ExportFlags): Promise<void> {
  refuse(flags, ["after", "afterAll", "target"], ".onnx");
  if (flags.stage !== "graph")
    throw new InputError([
      error("export-flag", "ONNX has operators, and no kernels", { help: "leave out --stage" }),
    ]);
  const front = frontOf(file, flags);
  if (!front.module) throw new InputError(front.diagnostics);
  const module =
    flags.quantize === undefined
      ? front.module
      : optimizeFile(file, flags, undefined, [quantizeWeights.name]).optimized;
  const [graph, ...others] = module.graphs as readonly [Graph, ...Graph[]];
  if (others.length > 0)
    throw new InputError([
      error("which-entry", "an ONNX file holds one model, and several are asked for", {
        help: "export them one by one: --model NAME",
      }),
    ]);
  const weights = await weightsFor(
    front.module,
    front.checkpoints,
    weightSpecs(flags.weights ?? ["seed:0"], flags),
  );
  // Asked for when needed: its package for protocol buffers takes a tenth of a second to load.
  const { exportOnnx: encode } = await import("../onnx/export.ts");
  const bytes = encode(graph, weights, { dims: dimsOf(flags), lookup: lookupOp });
  const output = flags.output ?? `${graph.name}.onnx`;
  writeFileSync(output, bytes);
  said(flags, output, bytes.byteLength, [graph]);
}

function said(flags: ExportFlags, output: string, bytes: number, graphs: readonly Graph[]): void {
  const nodes = graphs.map((g) => g.nodes.length);
  if (flags.json) showJson({ output, bytes, nodes });
  else print(`${output}: ${nodes.join(", ")} nodes, ${mebibytes(bytes)}`);
}

/** Flags that mean nothing for a format are refused, not ignored. */
function refuse(flags: ExportFlags, names: readonly (keyof ExportFlags)[], format: string): void {
  const given = names.find((name) => flags[name] !== undefined);
  if (given === undefined) return;
  const flag = given.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
  throw new InputError([
    error("export-flag", `--${flag} has no meaning for ${format}`, { help: "leave it out" }),
  ]);
}
