// `check`, `fmt`, `weights`: what can be said of a file without running it.

import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { format, parse } from "../index.ts";
import { constantOf, evaluateDim, showDim, subDim, type Dim } from "../ir/dim.ts";
import type { Graph } from "../ir/graph.ts";
import { graphStats } from "../ir/stats.ts";
import { showType } from "../ir/types.ts";
import { analyze } from "../lsp/analysis.ts";
import { withShapes } from "../lsp/shapes.ts";
import { splitKey } from "../runtime/store.ts";
import { hasErrors, InputError } from "../support/diagnostic.ts";
import { colors, diagnosticsJson, print, settings, show, showJson, type ModelFlags } from "./common.ts";
import { frontOf, readModel, resolverFor } from "./model-file.ts";
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
    .option("--json", "print what was found and done as data; with --stdout, the texts in it")
    .option("--shapes", "print, with the shape of what each line computes behind it; writes nothing")
    .action(fmt);
  modelOptions(
    program.command("weights <file>").description("the tensors that a model expects in its checkpoint"),
  ).action(weights);
}

function check(file: string, flags: CheckFlags): void {
  const front = frontOf(file, flags);
  if (flags.json) {
    showJson({ ...diagnosticsJson(front.diagnostics), models: front.models.map((m) => m.name) });
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
  print(`  ${number(s.layerMacs)} multiply-adds in convolutions and linear layers`);
  const products = subDim(s.macs, s.layerMacs);
  if (constantOf(products) !== 0) print(`  ${number(products)} in other products of matrices`);
}

interface FmtFlags {
  readonly check?: boolean;
  readonly stdout?: boolean;
  readonly shapes?: boolean;
  readonly json?: boolean;
}

function fmt(files: readonly string[], flags: FmtFlags): void {
  if (flags.json) return fmtJson(files, flags);
  for (const path of files) {
    const source = readModel(path);
    const text = formatted(source.text, source.name);
    if (flags.shapes) process.stdout.write(shaped(text, path));
    else if (flags.stdout) process.stdout.write(text);
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

/** The same as data. A file that does not parse is one of the list: the others are formatted all the same. */
function fmtJson(paths: readonly string[], flags: FmtFlags): void {
  const files = paths.map((path) => {
    const source = readModel(path);
    const parsed = parse(source.text, source.name);
    const { ok, diagnostics } = diagnosticsJson(parsed.diagnostics);
    if (!ok) return { file: path, ok, canonical: false, written: false, diagnostics };
    const plain = format(parsed.ast, parsed.file);
    const canonical = plain === source.text;
    const written = !canonical && !flags.check && !flags.stdout && !flags.shapes;
    if (written) writeFileSync(path, plain);
    const text = flags.shapes ? shaped(plain, path) : flags.stdout ? plain : undefined;
    return { file: path, ok, canonical, written, diagnostics, ...(text !== undefined && { text }) };
  });
  showJson({ format: "tokenloom-fmt", version: 1, files });
  if (files.some((f) => !f.ok || (flags.check && !f.canonical))) process.exitCode = 1;
}

function formatted(text: string, name: string): string {
  const parsed = parse(text, name);
  if (hasErrors(parsed.diagnostics)) throw new InputError(parsed.diagnostics);
  return format(parsed.ast, parsed.file);
}

/** Every model of the file with its defaults, in canonical form again. */
function shaped(text: string, path: string): string {
  const analysis = analyze(path, text, resolverFor(path));
  show(analysis.diagnostics);
  if (hasErrors(analysis.diagnostics)) process.exitCode = 1;
  return formatted(withShapes(analysis), path);
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
