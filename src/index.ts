// The public interface. Pure but for `load`, which is given a device: nothing here touches files or the terminal.
//
//   const { ast, diagnostics } = parse(text, "x.model");
//   const compiled = compile({ name: "x.model", text }, { target });
//   const session = await load(compiled, (key) => weights.get(key), device);
//   const { logits } = await session.run({ image });

import { lowerModule, type Lowered } from "./codegen/lower.ts";
import type { TunedSource } from "./codegen/tuned.ts";
import { packConstants, repackConstants } from "./codegen/pack.ts";
import { elaborate, type Elaborated } from "./elaborate/elaborate.ts";
import type { Resolve, SourceText } from "./elaborate/files.ts";
import type { ModelInfo } from "./elaborate/models.ts";
import { readCheckpointMap, type CheckpointMap } from "./elaborate/checkpoint-map.ts";
import type { EntrySettings } from "./ir/compilation.ts";
import { evaluatePrepared } from "./ir/evaluate.ts";
import { parseGraphs } from "./ir/parse.ts";
import { printModule } from "./ir/print.ts";
import type { Annotation, Graph, Module } from "./ir/graph.ts";
import type { Kernel } from "./ir/kernel.ts";
import type { Plan } from "./ir/plan.ts";
import type { Tensor } from "./ir/tensor.ts";
import { baseline, type Target } from "./ir/target.ts";
import { exportOnnx } from "./onnx/export.ts";
import { allOps, lookupOp } from "./ops/index.ts";
import { parse as parseFile } from "./parser/parse.ts";
import {
  passesLeft,
  runNamed,
  runPasses,
  checkSelection,
  type PassSelection,
  type Step,
} from "./passes/run.ts";
import { expertWays, type ExpertWay } from "./passes/expert-cost.ts";
import {
  parseQuantization,
  quantizationHelp,
  quantizeWeights,
  type Quantization,
} from "./passes/quantize-weights.ts";
import { askReduction, parseReduction } from "./passes/reduction-methods.ts";
import { createSession, type Session, type SessionOptions } from "./runtime/session.ts";
import { error, hasErrors, InputError, warning, type Diagnostic } from "./support/diagnostic.ts";
import type { Location } from "./support/source.ts";
import { version } from "./support/version.ts";

export { evaluate, evaluatePrepared } from "./ir/evaluate.ts";
export { printGraph, printModule } from "./ir/print.ts";
export { printKernel } from "./ir/kernel-print.ts";
export { parseKernel } from "./ir/kernel-parse.ts";
export { seededInput, seededTensor } from "./runtime/seeded.ts";
export { render, renderJson } from "./support/render.ts";
export { InputError } from "./support/diagnostic.ts";
export { Bug } from "./support/bug.ts";
export { lookupOp } from "./ops/index.ts";
export { baseline, builtinTargets, lavapipe, swiftshader } from "./ir/target.ts";
export { parseFile as parse, version };
export type { Diagnostic, Graph, Kernel, Module, Plan, Session, SourceText, Resolve, Step, Target, Tensor };
export type { TunedEntry, TunedSource, TunedTable } from "./codegen/tuned.ts";
export { format } from "./parser/format.ts";
export { toDot } from "./viewers/dot.ts";
export { toModelExplorer } from "./viewers/model-explorer.ts";

export interface CompileOptions extends PassSelection {
  /** Entry point; absent: the default model, or the only one. */
  readonly model?: string;
  /** Several entry points in one plan, sharing weights. */
  readonly models?: readonly string[];
  /** Named configuration of the file. */
  readonly config?: string;
  /** Parameters by name, as text. */
  readonly set?: Readonly<Record<string, string>>;
  /** What the adapter can do; default `baseline`, which runs anywhere. */
  readonly target?: Target;
  /** Schedules by kernel name, value or `*`, in place of those that would be chosen (docs/ir.md). */
  readonly schedules?: Readonly<Record<string, string>>;
  /** Sizes that runs are expected to have (`{ B: 8 }`): schedules are chosen for them, and run for any. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Schedules that `tokenloom tune-schedules` measured (docs/performance.md). */
  readonly tuned?: readonly TunedSource[];
  /** What a millisecond of shader compilation counts, of one of a run; 0.01 unless given. */
  readonly firstRunWeight?: number;
  /** How routed experts are computed, in place of what the cost model would choose (docs/experts.md). */
  readonly experts?: ExpertWay;
  /** Weights in 8 or 4 bits, as text: `int8`, `int4:group=64` (docs/quantization.md). */
  readonly quantize?: string;
  /** Token reduction on all attention of the model, as text: `tome:r=8` (docs/token-reduction.md). */
  readonly reduce?: readonly string[];
  /** Finds imported files; the standard library is the caller's to give (`std/...`). */
  readonly resolve?: Resolve;
}

/** From a file to graphs, before any pass; or from the text of graphs that some have run on. */
export interface Front {
  /** Absent where there are errors. */
  readonly module?: Module;
  /** The models of the file; a text of graphs has none. */
  readonly models: readonly ModelInfo[];
  /** How other checkpoints name the weights. */
  readonly checkpoints: readonly CheckpointMap[];
  readonly settings: readonly EntrySettings[];
  readonly diagnostics: readonly Diagnostic[];
}

/** The graphs behind the passes, without kernels. */
export interface Optimized {
  /** As the model says it, or as the text has it. */
  readonly module: Module;
  /** After all passes. */
  readonly optimized: Module;
  /** One list for each graph of the module. */
  readonly steps: readonly (readonly Step[])[];
  readonly models: readonly ModelInfo[];
  readonly checkpoints: readonly CheckpointMap[];
  readonly settings: readonly EntrySettings[];
  /** Warnings. */
  readonly diagnostics: readonly Diagnostic[];
  /** What it was compiled with, to compile again where a guard does not hold. */
  readonly options: CompileOptions;
}

export interface Compiled extends Optimized {
  readonly plan: Plan;
  /** Same order as `plan.kernels`. */
  readonly kernels: readonly Kernel[];
  /** What the prepare program makes, for `packWeights`. */
  readonly lowered: Lowered;
}

const noImports: Resolve = (_, path) => ({ problem: `${path} cannot be read: no resolver was given` });

/** Parses and elaborates; never throws on what a user wrote. */
export function elaborateFile(source: SourceText, options: CompileOptions = {}): Front {
  const elaborated: Elaborated = elaborate(
    { root: source, resolve: options.resolve ?? noImports, parse: parseFile },
    {
      lookup: lookupOp,
      opNames: allOps.filter((op) => op.inLanguage !== false).map((op) => op.name),
      ...(options.model !== undefined && { model: options.model }),
      ...(options.models && { models: options.models }),
      ...(options.config !== undefined && { config: options.config }),
      ...(options.set && { set: options.set }),
    },
  );
  return { ...elaborated, checkpoints: elaborated.models.flatMap((m) => m.checkpoints) };
}

/** The whole way to a plan. Throws InputError with every diagnostic where the file or a switch is wrong. */
export function compile(source: SourceText, options: CompileOptions = {}): Compiled {
  const front = elaborateFile(source, options);
  const wrong = [...front.diagnostics, ...checkSelection(options)];
  if (hasErrors(wrong) || !front.module) throw new InputError(wrong);
  return compileModule(front.module, options, front);
}

/** From graphs (elaborated, or read from text) to a plan. */
export function compileModule(module: Module, options: CompileOptions = {}, front?: KnownOfFront): Compiled {
  const behind = optimizeModule(module, options, front);
  const lowered = lowerAs(behind, behind.optimized);
  return { ...behind, plan: lowered.plan, kernels: lowered.kernels, lowered };
}

/** Grouped graphs to a plan, with the options of a compilation. */
export function lowerAs({ options, settings }: Optimized, grouped: Module): Lowered {
  return lowerModule(grouped, {
    target: options.target ?? baseline,
    compiler: version,
    settings: settingsOf(settings, options),
    ...(options.schedules && { schedules: options.schedules }),
    ...(options.sizes && { sizes: options.sizes }),
    ...(options.tuned && { tuned: options.tuned }),
    ...(options.firstRunWeight !== undefined && { firstRunWeight: options.firstRunWeight }),
  });
}

type KnownOfFront = Omit<Front, "module">;

/** The passes alone, to where `stopAfter` says; or those named, in that order and whatever the pipeline is. */
export function optimizeModule(
  module: Module,
  options: CompileOptions = {},
  front?: KnownOfFront,
  names?: readonly string[],
): Optimized {
  const { quantize, ...others } = options;
  const how = {
    ...others,
    target: options.target ?? baseline,
    lookup: lookupOp,
    ...(quantize !== undefined && {
      quantize: readQuantization(quantize),
      also: [...(options.also ?? []), quantizeWeights.name],
    }),
  };
  const requests = (options.reduce ?? []).map(readReduction);
  const asked = module.graphs.map((g) => requests.reduce(askReduction, g));
  const runs = asked.map((g) => (names ? runNamed(g, names, how) : runPasses(g, how)));
  return {
    module,
    optimized: { name: module.name, graphs: runs.map((r) => r.graph) },
    steps: runs.map((r) => r.steps),
    models: front?.models ?? [],
    checkpoints: front?.checkpoints ?? [],
    settings: front?.settings ?? [],
    diagnostics: front?.diagnostics ?? [],
    options,
  };
}

function readQuantization(text: string): Quantization {
  const found = parseQuantization(text);
  if (found) return found;
  throw new InputError([
    error("quantize", `${text} is no width that weights can have`, { help: quantizationHelp }),
  ]);
}

function readReduction(text: string): Annotation {
  const request = parseReduction(text);
  if (request) return request;
  const help = "write METHOD:NAME=VALUE,NAME=VALUE, as in tome:r=8";
  throw new InputError([error("reduce", `${text} asks for no token reduction`, { help })]);
}

/** What has been done so far as text, which `readGraphs` takes on: nothing that the rest of the way needs is lost. */
export function printStopped(stopped: Optimized): string {
  const { options, settings, checkpoints } = stopped;
  return printModule(
    stopped.optimized,
    {},
    {
      compiler: version,
      passes: [...(options.done ?? []), ...(stopped.steps[0] ?? []).map((s) => s.pass.name)],
      ...(options.config !== undefined && { config: options.config }),
      entries: settings,
      without: options.without ?? [],
      also: options.also ?? [],
      schedules: options.schedules ?? {},
      ...(options.experts && { experts: options.experts }),
      ...(options.quantize !== undefined && { quantize: options.quantize }),
      ...(options.sizes && { sizes: options.sizes }),
      checkpoints,
      target: options.target ?? baseline,
    },
  );
}

/** Reads graphs as text: what is compiled of them, and with what. `options` are added to those of the text, and win. */
export function readGraphs(
  source: SourceText,
  options: CompileOptions = {},
): Front & { readonly options: CompileOptions } {
  const read = parseGraphs(source.text, source.name, lookupOp, { opNames: allOps.map((op) => op.name) });
  const text = read.compilation;
  const maps = (text?.checkpoints ?? []).map(readCheckpointMap);
  const left = passesLeft(text?.passes ?? []);
  const experts = expertWays.find((way) => way === text?.experts);
  const names = read.module?.graphs.map((g) => g.name) ?? [];
  const wanted = options.models ?? (options.model === undefined ? names : [options.model]);
  const diagnostics = [
    ...read.diagnostics,
    ...maps.flatMap((m) => ("problem" in m ? error("ir-compilation", m.problem) : [])),
    ...(text?.experts === experts
      ? []
      : [
          error("ir-compilation", `${source.name} asks for experts by ${text?.experts}`, {
            help: `there is ${expertWays.join(", ")}`,
          }),
        ]),
    ...(options.config === undefined && Object.keys(options.set ?? {}).length === 0
      ? []
      : [
          error("ir-settings", `${source.name} is past the point where parameters are chosen`, {
            help: "--config and --set are for model files",
          }),
        ]),
    ...(options.without ?? []).flatMap((name) =>
      text?.passes.includes(name) && !left.includes(name)
        ? error("pass-done", `pass ${name} has run already on ${source.name}`)
        : [],
    ),
    ...wanted.flatMap((name) =>
      read.module && !names.includes(name)
        ? error("unknown-model", `there is no graph ${name} in ${source.name}`, {
            help: `there is ${names.join(", ")}`,
          })
        : [],
    ),
    ...(text && text.compiler !== version
      ? [
          warning(
            "ir-compiler",
            `${source.name} was written by version ${text.compiler}, this is ${version}`,
            {
              help: "its passes may do other things by now",
            },
          ),
        ]
      : []),
  ];
  const module = read.module && {
    ...read.module,
    graphs: read.module.graphs.filter((g) => wanted.includes(g.name)),
  };
  return {
    ...(module && !hasErrors(diagnostics) && { module }),
    models: [],
    checkpoints: maps.flatMap((m) => ("problem" in m ? [] : m)),
    settings: (text?.entries ?? []).filter((e) => wanted.includes(e.model)),
    diagnostics,
    options: {
      ...options,
      ...(text?.config !== undefined && { config: text.config }),
      without: [...(text?.without ?? []), ...(options.without ?? [])],
      also: [...(text?.also ?? []), ...(options.also ?? [])],
      schedules: { ...text?.schedules, ...options.schedules },
      ...(experts !== undefined && options.experts === undefined && { experts }),
      ...(text?.quantize !== undefined && options.quantize === undefined && { quantize: text.quantize }),
      ...(text?.sizes && { sizes: { ...text.sizes, ...options.sizes } }),
      target: options.target ?? text?.target ?? baseline,
      done: text?.passes ?? [],
    },
  };
}

/** A rewrite that depends on the values of weights, and whether they allow it. */
export interface GuardOutcome {
  readonly pass: string;
  readonly holds: boolean;
  /** Model lines of the rewrite. */
  readonly spans: readonly Location[];
}

/**
 * Checks every guard against the weights. Where one does not hold, the module compiled again without its pass; `outcomes` is the record.
 */
export function settleGuards(
  compiled: Compiled,
  weights: (key: string) => Tensor,
): { readonly compiled: Compiled; readonly outcomes: readonly GuardOutcome[] } {
  const outcomes = compiled.optimized.graphs.flatMap((g) => {
    const values = evaluatePrepared(
      g,
      weights,
      g.guards.map((x) => x.condition),
    );
    return g.guards.map((x) => ({
      pass: x.pass,
      holds: values.get(x.condition)!.data[0] !== 0,
      spans: x.spans,
    }));
  });
  const broken = new Set(outcomes.filter((o) => !o.holds).map((o) => o.pass));
  if (broken.size === 0) return { compiled, outcomes };
  for (const guard of compiled.module.graphs.flatMap((g) => g.guards))
    if (broken.has(guard.pass))
      throw new InputError([
        error("guard-in-text", `pass ${guard.pass} has run on this text, and these weights do not allow it`, {
          help: `stop before it (compile --to), or compile the model file with --without ${guard.pass}`,
        }),
      ]);
  const without = [...(compiled.options.without ?? []), ...broken];
  const again = compileModule(compiled.module, { ...compiled.options, without }, compiled);
  return { compiled: again, outcomes };
}

function settingsOf(entries: readonly EntrySettings[], options: CompileOptions): Record<string, string> {
  const settings: Record<string, string> = {};
  if (options.config !== undefined) settings["config"] = options.config;
  for (const [name, text] of Object.entries(options.schedules ?? {})) settings[`schedule ${name}`] = text;
  for (const entry of entries)
    for (const s of entry.settings)
      settings[entries.length > 1 ? `${entry.model}.${s.name}` : s.name] = s.value;
  return settings;
}

/** The graph as the model says it (before any pass), with its weights, as an ONNX file of opset 17. */
export function toOnnx(
  graph: Graph,
  weights: (key: string) => Tensor,
  options: { readonly dims?: Readonly<Record<string, number>> } = {},
): Uint8Array {
  return exportOnnx(graph, weights, { ...options, lookup: lookupOp });
}

/** Runs the prepare program: the constants of the plan as bytes, in the order the kernels read them. */
export function packWeights(compiled: Compiled, weights: (key: string) => Tensor): Uint8Array<ArrayBuffer> {
  return packConstants(compiled.lowered.prepared, weights);
}

/**
 * The same again after weights have changed: only what depends on those of these keys is made anew, in `bytes`, which `packWeights` gave.
 * Returns the ids of these constants, for `session.setConstants`. Guards that were settled on the old values are the caller's to check.
 */
export function repackWeights(
  compiled: Compiled,
  weights: (key: string) => Tensor,
  bytes: Uint8Array,
  changed: Iterable<string>,
): readonly string[] {
  return repackConstants(compiled.lowered.prepared, weights, bytes, new Set(changed));
}

/** Makes a session on a device; guards are checked and the weights folded and packed here, once. */
export async function load(
  compiled: Compiled,
  weights: (key: string) => Tensor,
  device: GPUDevice,
  options: SessionOptions = {},
): Promise<Session> {
  const settled = settleGuards(compiled, weights).compiled;
  return createSession(device, settled.plan, packWeights(settled, weights), options);
}
