// `ir` and `opt`: dumps of every stage to read, and passes by name on the text of graphs.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { printGraph, printKernel, printStopped, type Graph, type Step, type Target } from "../index.ts";
import { diffGraphs, printDiff } from "../ir/diff.ts";
import { liveRemarks } from "../ir/live-text.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { colors, print, showJson, targetNamed, type ModelFlags } from "./common.ts";
import { compileFile, optimizeFile } from "./model-file.ts";
import { extract, type ExtractFlags } from "./extract.ts";
import { modelOptions } from "./options.ts";

interface IrFlags extends Omit<ExtractFlags, "extract"> {
  readonly extract?: string;
  readonly after?: string;
  readonly afterAll?: boolean;
  readonly passes?: string;
  readonly diff?: boolean;
  readonly stage: string;
  readonly target?: string;
  readonly whyNot?: boolean;
  readonly locations: boolean;
  readonly live?: boolean;
  readonly dir?: string;
}

export function irCommands(program: Command): void {
  modelOptions(
    program
      .command("ir <file>")
      .description(
        "dumps to read: the graph after any pass, kernels, plan, WGSL; FILE is a model or graph text",
      ),
  )
    .option("--after <pass>", "the graph after this pass (`none`: as the model says it)")
    .option("--after-all", "the graph after every pass")
    .option("--passes <names>", "run these passes only, in this order, separated by commas")
    .option("--diff", "only what each pass changed")
    .option("--stage <stage>", "graph, kernel, plan or wgsl", "graph")
    .option("--target <name>", "baseline, lavapipe or swiftshader (default: that of the text, else baseline)")
    .option("--why-not", "what nearly happened, and why it did not")
    .option("--no-locations", "leave out the model lines")
    .option(
      "--live",
      "behind each node the positions of it that can matter, as a comment: // live [:, 0:1, :]",
    )
    .option("--dir <folder>", "write one file for each pass or kernel")
    .option(
      "--extract <kernel>",
      "with --stage kernel: one kernel, by number or name, as a folder that runs and is measured alone",
    )
    .option("-o, --output <folder>", "where --extract writes to (default: the name of the kernel)")
    .option(
      "--weights <spec...>",
      "for --extract: what the kernel reads is recorded with them (default: seed:0)",
    )
    .option("--input <spec...>", "for --extract; inputs that are not given are made from their names")
    .option("--dim <name=value...>", "for --extract: sizes that no input fixes")
    .option("--device <name>", "for --extract: the adapter that records")
    .option("--entry <name>", "for --extract: which entry point; default the first")
    .action(ir);
  program
    .command("opt <file>")
    .description("run named passes on graph text (or a model) and write the text again")
    .requiredOption("--passes <names>", "in this order, separated by commas; docs/passes.md lists them")
    .option("-o, --output <file>", "where to (default: the terminal)")
    .option("--diff", "show what each pass changed instead")
    .option("--target <name>", "baseline, lavapipe or swiftshader (default: that of the text, else baseline)")
    .option("--model <name>", "which graph of the text, or model of the file")
    .option("--config <name>", "a named configuration of the model")
    .option("--set <name=value...>", "parameters of the model")
    .action(opt);
}

// ---- ir -------------------------------------------------------------------------------------------------------------

interface Dump {
  readonly name: string;
  readonly text: string;
}

async function ir(file: string, flags: IrFlags): Promise<void> {
  if (flags.extract !== undefined) {
    if (flags.stage !== "kernel")
      throw new InputError([
        error("extract-stage", "--extract is of a kernel", { help: "add --stage kernel" }),
      ]);
    return extract(file, { ...flags, extract: flags.extract });
  }
  const dumps = dumpsOf(file, flags);
  if (flags.json) return showJson({ format: "tokenloom-ir", version: 1, dumps });
  if (flags.dir === undefined) return dumps.forEach((d) => print(d.text));
  mkdirSync(flags.dir, { recursive: true });
  for (const d of dumps)
    writeFileSync(join(flags.dir, d.name), d.text.endsWith("\n") ? d.text : `${d.text}\n`);
  print(`${dumps.length} files in ${flags.dir}`);
}

function dumpsOf(file: string, flags: IrFlags): readonly Dump[] {
  if (flags.stage === "graph") return graphDumps(file, flags);
  const compiled = compileFile(file, flags, targetOf(flags));
  switch (flags.stage) {
    case "plan":
      return [{ name: "plan.json", text: JSON.stringify(compiled.plan, null, 2) }];
    case "kernel":
      return compiled.kernels.map((k) => ({ name: `${k.name}.kernel`, text: printKernel(k) }));
    case "wgsl":
      return compiled.plan.kernels.map((k) => ({ name: `${k.name}.wgsl`, text: k.wgsl }));
    default:
      throw new InputError([
        error("unknown-stage", `there is no stage ${flags.stage}`, {
          help: "the stages are graph, kernel, plan and wgsl",
        }),
      ]);
  }
}

function graphDumps(file: string, flags: IrFlags): readonly Dump[] {
  const shown = (list: readonly Graph[]): Dump[] =>
    list.map((g) => ({ name: `${g.name}.ir`, text: graphText(g, flags) }));
  const stop = flags.after === undefined ? flags : { ...flags, stopAfter: flags.after };
  const { steps, optimized } = optimizeFile(file, stop, targetOf(flags), flags.passes?.split(","));
  const dumps =
    flags.afterAll || flags.diff
      ? steps.flatMap((list) => list.map((s, i) => stepDump(s, i, flags)))
      : shown(optimized.graphs);
  return flags.whyNot ? [...dumps, { name: "why-not.txt", text: refusalText(steps.flat()) }] : dumps;
}

function graphText(graph: Graph, { locations, live }: Pick<IrFlags, "live" | "locations">): string {
  return printGraph(graph, { locations, ...(live && { remark: liveRemarks(graph) }) });
}

function targetOf(flags: { readonly target?: string }): Target | undefined {
  return flags.target === undefined ? undefined : targetNamed(flags.target);
}

function refusalText(steps: readonly Step[]): string {
  return steps
    .flatMap((s) =>
      s.refusals.map((r) => {
        const at = r.spans[0];
        return `${s.pass.name} / ${r.rule} at ${r.node}${at ? ` (${at.file}:${at.line})` : ""}: ${r.reason}`;
      }),
    )
    .join("\n");
}

function stepDump(s: Step, i: number, flags: Pick<IrFlags, "diff" | "live" | "locations">): Dump {
  const number = String(i + 1).padStart(2, "0");
  const rules = new Map<string, number>();
  for (const e of s.events) rules.set(e.rule, (rules.get(e.rule) ?? 0) + 1);
  const fired = [...rules].map(([rule, n]) => `${rule} x${n}`).join(", ");
  const title =
    colors.bold(`// ${number} ${s.pass.name}`) + ` (${s.pass.numerics})${fired ? `: ${fired}` : ""}`;
  const body = flags.diff
    ? s.changed
      ? printDiff(diffGraphs(s.before, s.after), { color: colors.isColorSupported })
      : "  nothing changed"
    : graphText(s.after, flags);
  return { name: `${number}-${s.pass.name}.ir`, text: `${title}\n${body}\n` };
}

// ---- opt ------------------------------------------------------------------------------------------------------------

interface OptFlags extends ModelFlags {
  readonly passes: string;
  readonly output?: string;
  readonly diff?: boolean;
  readonly target?: string;
}

function opt(file: string, flags: OptFlags): void {
  const stopped = optimizeFile(file, flags, targetOf(flags), flags.passes.split(","));
  const text = flags.diff
    ? stopped.steps
        .flatMap((list) => list.map((s, i) => stepDump(s, i, { diff: true, locations: false }).text))
        .join("")
    : printStopped(stopped);
  if (flags.output === undefined) process.stdout.write(text);
  else writeFileSync(flags.output, text);
}
