// `check`, `fmt`, `weights`, `ir`: what can be said of a file without running it.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { format, lookupOp, parse, printGraph, printKernel, type Step } from "../index.ts";
import { diffGraphs, printDiff } from "../ir/diff.ts";
import { constantOf, evaluateDim, showDim, type Dim } from "../ir/dim.ts";
import type { Graph } from "../ir/graph.ts";
import { parseGraphs } from "../ir/parse.ts";
import { graphStats } from "../ir/stats.ts";
import { showType } from "../ir/types.ts";
import { splitKey } from "../runtime/store.ts";
import { compileModule } from "../index.ts";
import { hasErrors, InputError } from "../support/diagnostic.ts";
import {
  colors,
  compileFile,
  diagnosticsJson,
  frontOf,
  print,
  readModel,
  settings,
  show,
  showJson,
  targetNamed,
  type ModelFlags,
} from "./common.ts";
import { modelOptions } from "./options.ts";

interface CheckFlags extends ModelFlags {
  readonly stats?: boolean;
  readonly dim?: readonly string[];
}

export function checkCommands(program: Command): void {
  modelOptions(program.command("check <file>").description("parse, check every shape, say what the model is"))
    .option("--stats", "parameters and multiply-adds")
    .option("--dim <name=value...>", "sizes to count with, for --stats")
    .action(check);
  program
    .command("fmt <files...>")
    .description("write model files in the one canonical form")
    .option("--check", "change nothing; exit 1 where a file is not in that form")
    .option("--stdout", "print instead of writing")
    .action(fmt);
  modelOptions(
    program.command("weights <file>").description("the tensors that a model expects in its checkpoint"),
  ).action(weights);
  modelOptions(
    program.command("ir <file>").description("dumps to read: the graph after any pass, kernels, plan, WGSL"),
  )
    .option("--after <pass>", "the graph after this pass (`none`: as the model says it)")
    .option("--after-all", "the graph after every pass")
    .option("--diff", "with --after-all: only what each pass changed")
    .option("--stage <stage>", "graph, kernel, plan or wgsl", "graph")
    .option("--target <name>", "baseline, lavapipe or swiftshader", "baseline")
    .option("--why-not", "what nearly happened, and why it did not")
    .option("--no-locations", "leave out the model lines")
    .option("--dir <folder>", "write one file for each pass or kernel")
    .action(ir);
}

function check(file: string, flags: CheckFlags): void {
  const front = frontOf(file, flags);
  if (flags.json) {
    showJson({ ...(diagnosticsJson(front.diagnostics) as object), models: front.models.map((m) => m.name) });
    process.exitCode = hasErrors(front.diagnostics) ? 1 : 0;
    return;
  }
  if (!front.module) throw new InputError(front.diagnostics);
  show(front.diagnostics);
  for (const g of front.module.graphs) {
    print(`${colors.bold(g.name)}: ${g.inputs.map((i) => `${i.name}: ${showType(i.type)}`).join(", ")}`);
    for (const o of g.outputs) print(`  -> ${o.name}: ${showType(typeOf(g, o.value))}`);
    if (flags.stats) stats(g, settings(flags.dim));
  }
}

function typeOf(g: Graph, id: string): Parameters<typeof showType>[0] {
  for (const x of [...g.inputs, ...g.weights, ...g.states]) if (x.id === id) return x.type;
  for (const n of g.nodes) for (const r of n.results) if (r.id === id) return r.type;
  throw new Error(`no value ${id}`);
}

function stats(g: Graph, dims: Readonly<Record<string, string>>): void {
  const s = graphStats(g);
  const env = Object.fromEntries(Object.entries(dims).map(([k, v]) => [k, Number(v)]));
  const number = (d: Dim): string => {
    try {
      return (constantOf(d) ?? evaluateDim(d, env)).toLocaleString("en-US");
    } catch {
      return showDim(d);
    }
  };
  print(`  ${number(s.parameters)} parameters in ${g.weights.length} tensors, ${g.nodes.length} nodes`);
  print(`  ${number(s.macs)} multiply-adds in convolutions and linear layers`);
}

function fmt(files: readonly string[], flags: { readonly check?: boolean; readonly stdout?: boolean }): void {
  for (const path of files) {
    const source = readModel(path);
    const parsed = parse(source.text, source.name);
    if (hasErrors(parsed.diagnostics)) throw new InputError(parsed.diagnostics);
    const text = format(parsed.ast, parsed.file);
    if (flags.stdout) process.stdout.write(text);
    else if (text !== source.text) {
      if (flags.check) {
        print(`${path} is not in canonical form: run tokenloom fmt ${path}`);
        process.exitCode = 1;
      } else {
        writeFileSync(path, text);
        print(`${path} formatted`);
      }
    }
  }
}

function weights(file: string, flags: ModelFlags): void {
  const front = frontOf(file, flags);
  if (!front.module) throw new InputError(front.diagnostics);
  const { graphs } = front.module;
  const all = [...new Map(graphs.flatMap((g) => g.weights).map((w) => [w.key, w])).values()];
  if (flags.json)
    return showJson(
      all.map((w) => ({
        key: w.key,
        namespace: splitKey(w.key).namespace,
        dtype: w.type.dtype,
        shape: w.type.shape.map(showDim),
        models: graphs.filter((g) => g.weights.some((x) => x.key === w.key)).map((g) => g.name),
      })),
    );
  const width = Math.max(0, ...all.map((w) => w.key.length));
  for (const w of all)
    print(`${w.key.padEnd(width)}  ${w.type.dtype}[${w.type.shape.map(showDim).join(", ")}]`);
  const namespaces = [...new Set(all.map((w) => splitKey(w.key).namespace))].filter((n) => n !== "");
  const of = namespaces.map((n) => `${n}=FILE.safetensors`).join(" ");
  print(`${all.length} tensors${of && `; those with a name before the colon are given by --weights ${of}`}`);
}

interface IrFlags extends ModelFlags {
  readonly after?: string;
  readonly afterAll?: boolean;
  readonly diff?: boolean;
  readonly stage: string;
  readonly target: string;
  readonly whyNot?: boolean;
  readonly locations: boolean;
  readonly dir?: string;
}

function ir(file: string, flags: IrFlags): void {
  const stop = flags.after !== undefined && flags.after !== "none" ? { stopAfter: flags.after } : {};
  const target = targetNamed(flags.target);
  const locations = { locations: flags.locations };
  if (/\.ir$/.test(file)) {
    const read = parseGraphs(readModel(file, 32 * 2 ** 20).text, file, lookupOp);
    if (!read.module) throw new InputError(read.diagnostics);
    const compiled = compileModule(read.module, { target });
    compiled.optimized.graphs.forEach((g) => print(printGraph(g, locations)));
    return;
  }
  if (flags.after === "none" || (flags.stage === "graph" && stop.stopAfter !== undefined)) {
    const front = frontOf(file, flags);
    if (!front.module) throw new InputError(front.diagnostics);
    const graphs = flags.after === "none" ? front.module.graphs : graphsAfter(file, flags, stop.stopAfter!);
    graphs.forEach((g) => print(printGraph(g, locations)));
    return;
  }
  const compiled = compileFile(file, flags, target);
  const outputs: { name: string; text: string }[] = [];
  if (flags.stage === "plan")
    outputs.push({ name: "plan.json", text: JSON.stringify(compiled.plan, null, 2) });
  else if (flags.stage === "kernel")
    compiled.kernels.forEach((k) => outputs.push({ name: `${k.name}.kernel`, text: printKernel(k) }));
  else if (flags.stage === "wgsl")
    compiled.plan.kernels.forEach((k) => outputs.push({ name: `${k.name}.wgsl`, text: k.wgsl }));
  else if (flags.stage !== "graph")
    throw new InputError([
      {
        severity: "error",
        code: "unknown-stage",
        message: `there is no stage ${flags.stage}`,
        notes: [],
        help: "the stages are graph, kernel, plan and wgsl",
      },
    ]);
  else if (flags.afterAll || flags.diff)
    for (const steps of compiled.steps) steps.forEach((s, i) => outputs.push(stepText(s, i, flags)));
  else
    compiled.optimized.graphs.forEach((g) =>
      outputs.push({ name: `${g.name}.ir`, text: printGraph(g, locations) }),
    );
  if (flags.dir !== undefined) {
    mkdirSync(flags.dir, { recursive: true });
    for (const o of outputs)
      writeFileSync(join(flags.dir, o.name), o.text.endsWith("\n") ? o.text : `${o.text}\n`);
    print(`${outputs.length} files in ${flags.dir}`);
  } else for (const o of outputs) print(o.text);
  if (flags.whyNot)
    for (const s of compiled.steps.flat())
      for (const r of s.refusals) {
        const at = r.spans[0];
        print(`${s.pass.name} / ${r.rule} at ${r.node}${at ? ` (${at.file}:${at.line})` : ""}: ${r.reason}`);
      }
}

function graphsAfter(file: string, flags: IrFlags, pass: string): readonly Graph[] {
  const compiled = compileFile(file, flags, targetNamed(flags.target));
  return compiled.steps.map((steps, i) => {
    const at = steps.find((s) => s.pass.name === pass);
    if (at) return at.after;
    const known = steps.map((s) => s.pass.name).join(", ");
    throw new InputError([
      {
        severity: "error",
        code: "unknown-pass",
        message: `no pass ${pass} ran on ${compiled.module.graphs[i]!.name}`,
        notes: [],
        help: `these did: ${known}`,
      },
    ]);
  });
}

function stepText(s: Step, i: number, flags: IrFlags): { name: string; text: string } {
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
    : printGraph(s.after, { locations: flags.locations });
  return { name: `${number}-${s.pass.name}.ir`, text: `${title}\n${body}\n` };
}
