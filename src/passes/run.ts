// Runs the pipeline: verifies after every pass, keeps each step, and names the pass where something breaks.

import { printGraph } from "../ir/print.ts";
import type { Graph } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import { rewrite } from "../ir/rewrite.ts";
import type { Refusal, RewriteEvent } from "../ir/rewrite-types.ts";
import type { Target } from "../ir/target.ts";
import { verifyGraph } from "../ir/verify.ts";
import { Bug } from "../support/bug.ts";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import { nearest } from "../support/suggest.ts";
import type { Pass, PassResult } from "./pass.ts";
import { pipeline } from "./pipeline.ts";
import { properties, type PropertyName } from "./properties.ts";

export interface PassSelection {
  /** Passes left out; those of level 0 cannot be. */
  readonly without?: readonly string[];
  /** The last pass that runs. */
  readonly stopAfter?: string;
  /** Passes of level 2 and 3 that run too. */
  readonly also?: readonly string[];
}

export interface RunOptions extends PassSelection {
  readonly target: Target;
  readonly lookup: OpLookup;
  /** Check the graph after every pass; default true. */
  readonly verify?: boolean;
}

export interface Step {
  readonly pass: Pass;
  readonly before: Graph;
  readonly after: Graph;
  readonly changed: boolean;
  readonly events: readonly RewriteEvent[];
  readonly refusals: readonly Refusal[];
}

export interface PassRun {
  readonly graph: Graph;
  readonly steps: readonly Step[];
}

/** Says what is wrong with the switches; empty where all is well. */
export function checkSelection(
  selection: PassSelection,
  passes: readonly Pass[] = pipeline,
): readonly Diagnostic[] {
  const names = passes.map((p) => p.name);
  const diagnostics: Diagnostic[] = [];
  for (const name of [
    ...(selection.without ?? []),
    ...(selection.also ?? []),
    selection.stopAfter ?? names[0]!,
  ])
    if (!names.includes(name)) {
      const near = nearest(name, names);
      diagnostics.push(
        error("unknown-pass", `there is no pass ${name}`, {
          help: near ? `did you mean ${near}?` : `the passes are ${names.join(", ")}`,
        }),
      );
    }
  for (const name of selection.without ?? [])
    if (passes.find((p) => p.name === name)?.level === 0)
      diagnostics.push(error("needed-pass", `${name} cannot be left out: nothing runs without it`));
  return diagnostics;
}

/** Every `needs` is given by an earlier pass of the pipeline: checked when this module is loaded by a test. */
export function checkOrder(passes: readonly Pass[] = pipeline): readonly string[] {
  const given = new Set<PropertyName>();
  const problems: string[] = [];
  for (const p of passes) {
    for (const need of p.needs)
      if (!given.has(need)) problems.push(`${p.name} needs ${need}, which no earlier pass gives`);
    for (const g of p.gives) given.add(g);
  }
  return problems;
}

/** The passes that run for a selection, in order. */
export function selectPasses(selection: PassSelection, passes: readonly Pass[] = pipeline): readonly Pass[] {
  const end =
    selection.stopAfter === undefined
      ? passes.length
      : passes.findIndex((p) => p.name === selection.stopAfter) + 1;
  return passes
    .slice(0, end)
    .filter((p) => !selection.without?.includes(p.name))
    .filter((p) => p.level <= 1 || (selection.also?.includes(p.name) ?? false));
}

export function runPasses(graph: Graph, options: RunOptions, passes: readonly Pass[] = pipeline): PassRun {
  const steps: Step[] = [];
  const given = new Set<PropertyName>();
  let current = graph;
  for (const pass of selectPasses(options, passes)) {
    const result = runPass(pass, current, options);
    const changed = result.events.length > 0 || result.graph !== current;
    for (const g of pass.gives) given.add(g);
    if (options.verify ?? true) check(pass, result.graph, given);
    steps.push({
      pass,
      before: current,
      after: result.graph,
      changed,
      events: result.events,
      refusals: result.refusals,
    });
    current = result.graph;
  }
  return { graph: current, steps };
}

/** One pass alone; a crash is re-thrown with the pass and the graph it was given. */
export function runPass(
  pass: Pass,
  graph: Graph,
  options: Pick<RunOptions, "target" | "lookup">,
): PassResult {
  try {
    if (pass.run) return pass.run(graph, options);
    return rewrite(graph, pass.rules ?? [], options.lookup);
  } catch (e) {
    throw new Bug(
      `pass ${pass.name} failed: ${(e as Error).message}`,
      { pass: pass.name, graph: printGraph(graph) },
      { cause: e },
    );
  }
}

function check(pass: Pass, graph: Graph, given: ReadonlySet<PropertyName>): void {
  const problems = [...verifyGraph(graph)];
  for (const p of properties) {
    const broken = given.has(p.name) ? p.check(graph) : null;
    if (broken !== null) problems.push(`property ${p.name} is broken: ${broken}`);
  }
  if (problems.length > 0)
    throw new Bug(`after pass ${pass.name}: ${problems[0]}`, {
      pass: pass.name,
      graph: printGraph(graph),
      problems: problems.join("\n"),
    });
}
