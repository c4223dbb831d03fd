// The public interface. Pure but for `load`, which is given a device: nothing here touches files or the terminal.
//
//   const { ast, diagnostics } = parse(text, "x.model");
//   const compiled = compile({ name: "x.model", text }, { target });
//   const session = await load(compiled, (key) => weights.get(key), device);
//   const { logits } = await session.run({ image });

import { lowerModule, type Lowered } from "./codegen/lower.ts";
import { packConstants } from "./codegen/pack.ts";
import { elaborate, type Elaborated, type EntrySettings } from "./elaborate/elaborate.ts";
import type { Resolve, SourceText } from "./elaborate/files.ts";
import type { ModelInfo } from "./elaborate/models.ts";
import { evaluatePrepared } from "./ir/evaluate.ts";
import type { Graph, Module } from "./ir/graph.ts";
import type { Kernel } from "./ir/kernel.ts";
import type { Plan } from "./ir/plan.ts";
import type { Tensor } from "./ir/tensor.ts";
import { baseline, type Target } from "./ir/target.ts";
import { exportOnnx } from "./onnx/export.ts";
import { allOps, lookupOp } from "./ops/index.ts";
import { parse as parseFile } from "./parser/parse.ts";
import { checkSelection, runPasses, type PassSelection, type Step } from "./passes/run.ts";
import { createSession, type Session, type SessionOptions } from "./runtime/session.ts";
import { hasErrors, InputError, type Diagnostic } from "./support/diagnostic.ts";
import type { Location } from "./support/source.ts";

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
export { parseFile as parse };
export type { Diagnostic, Graph, Kernel, Module, Plan, Session, SourceText, Resolve, Step, Target, Tensor };
export { format } from "./parser/format.ts";

/** Version of this compiler; the plan carries it. */
export const version = "0.1.0";

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
  /** Finds imported files; the standard library is the caller's to give (`std/...`). */
  readonly resolve?: Resolve;
}

/** From a file to graphs, before any pass. */
export interface Front {
  /** Absent where there are errors. */
  readonly module?: Module;
  readonly models: readonly ModelInfo[];
  readonly settings: readonly EntrySettings[];
  readonly diagnostics: readonly Diagnostic[];
}

export interface Compiled {
  /** As the model says it. */
  readonly module: Module;
  /** After all passes. */
  readonly optimized: Module;
  /** One list for each graph of the module. */
  readonly steps: readonly (readonly Step[])[];
  readonly plan: Plan;
  /** Same order as `plan.kernels`. */
  readonly kernels: readonly Kernel[];
  readonly models: readonly ModelInfo[];
  readonly settings: readonly EntrySettings[];
  /** Warnings. */
  readonly diagnostics: readonly Diagnostic[];
  /** What the prepare program makes, for `packWeights`. */
  readonly lowered: Lowered;
  /** What it was compiled with, to compile again where a guard does not hold. */
  readonly options: CompileOptions;
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
  return elaborated;
}

/** The whole way to a plan. Throws InputError with every diagnostic where the file or a switch is wrong. */
export function compile(source: SourceText, options: CompileOptions = {}): Compiled {
  const front = elaborateFile(source, options);
  const wrong = [...front.diagnostics, ...checkSelection(options)];
  if (hasErrors(wrong) || !front.module) throw new InputError(wrong);
  return compileModule(front.module, options, front);
}

/** From graphs (elaborated, or read from IR text) to a plan. */
export function compileModule(
  module: Module,
  options: CompileOptions = {},
  front?: Pick<Front, "models" | "settings" | "diagnostics">,
): Compiled {
  const target = options.target ?? baseline;
  const runs = module.graphs.map((g) => runPasses(g, { ...options, target, lookup: lookupOp }));
  const optimized: Module = { name: module.name, graphs: runs.map((r) => r.graph) };
  const lowered = lowerModule(optimized, {
    target,
    compiler: version,
    settings: settingsOf(front, options),
    ...(options.schedules && { schedules: options.schedules }),
  });
  return {
    module,
    optimized,
    steps: runs.map((r) => r.steps),
    plan: lowered.plan,
    kernels: lowered.kernels,
    models: front?.models ?? [],
    settings: front?.settings ?? [],
    diagnostics: front?.diagnostics ?? [],
    lowered,
    options,
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
  const without = [...(compiled.options.without ?? []), ...broken];
  const again = compileModule(compiled.module, { ...compiled.options, without }, compiled);
  return { compiled: again, outcomes };
}

function settingsOf(
  front: Pick<Front, "settings"> | undefined,
  options: CompileOptions,
): Record<string, string> {
  const settings: Record<string, string> = {};
  if (options.config !== undefined) settings["config"] = options.config;
  for (const [name, text] of Object.entries(options.schedules ?? {})) settings[`schedule ${name}`] = text;
  const entries = front?.settings ?? [];
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
