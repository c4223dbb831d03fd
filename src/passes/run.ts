// Runs the pipeline over a graph: which passes, in what order, and what each did. After every pass the verifier and the properties given
// so far are checked; a pass that breaks either, or throws, is a Bug that names the pass and carries the graph. Knows no pass by name.

import type { Graph } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import { printGraph } from "../ir/print.ts";
import { removeDead, rewrite } from "../ir/rewrite.ts";
import type { Refusal, RewriteEvent } from "../ir/rewrite-types.ts";
import type { Target } from "../ir/target.ts";
import type { DimEnv } from "../ir/dim.ts";
import type { ExpertWay } from "./expert-cost.ts";
import type { Quantization } from "./quantize-weights.ts";
import { verifyGraph } from "../ir/verify.ts";
import { Bug } from "../support/bug.ts";
import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { nearest } from "../support/suggest.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";
import { pipeline as standard } from "./pipeline.ts";
import { properties, type Property, type PropertyName } from "./properties.ts";

/** What one pass did. */
export interface Step {
  readonly pass: Pass;
  readonly before: Graph;
  readonly after: Graph;
  readonly changed: boolean;
  readonly events: readonly RewriteEvent[];
  readonly refusals: readonly Refusal[];
  readonly milliseconds: number;
}

export interface PassSelection {
  /** Names of passes that are left out. */
  readonly without?: readonly string[];
  /** Only these of the passes that may be left out run; those of level 0 always do. */
  readonly only?: readonly string[];
  /** Names of passes above level 1 that run too. */
  readonly also?: readonly string[];
  /** The last pass that runs; `none` where not even those of level 0 do. */
  readonly stopAfter?: string;
  /** Passes that have run on this graph already: those behind the last of them in the list run. */
  readonly done?: readonly string[];
}

export interface RunOptions extends PassSelection {
  readonly target: Target;
  readonly lookup: OpLookup;
  /** How routed experts are computed, in place of what the cost model would choose. */
  readonly experts?: ExpertWay;
  /** Sizes that runs are expected to have: choices are made for them, and right for any. */
  readonly sizes?: DimEnv;
  /** What `quantize-weights` makes of weights, where it runs. */
  readonly quantize?: Quantization;
  /** What a millisecond of shader compilation counts, of one of a run. */
  readonly firstRunWeight?: number;
  /** Check the graph after every pass; default true. */
  readonly verify?: boolean;
  readonly onStep?: (step: Step) => void;
  /** For the time each pass took; by default none is measured. */
  readonly clock?: () => number;
  /** Other than the standard list, for tests and for IR text that is given to named passes. */
  readonly pipeline?: readonly Pass[];
}

export interface RunResult {
  readonly graph: Graph;
  readonly steps: readonly Step[];
}

/** Runs the chosen passes; a choice that makes no sense is an InputError. */
export function runPasses(graph: Graph, options: RunOptions): RunResult {
  const passes = options.pipeline ?? standard;
  const wrong = [...checkSelection(options, passes)];
  if (wrong.length > 0) throw new InputError(wrong);
  const given = propertiesAfter(graph, options.done ?? [], passes);
  const asked = passes.filter((p) => p.asked?.(graph)).map((p) => p.name);
  const chosen = choosePasses({ ...options, also: [...(options.also ?? []), ...asked] }, passes);
  checkOrder(chosen, given);
  return runAll(chosen, graph, options, given);
}

/**
 * Runs passes by name in the order given, on a graph of whatever stage: what each needs is looked for in the graph. Where it is not
 * there, or a name is unknown, that is an InputError.
 */
export function runNamed(
  graph: Graph,
  names: readonly string[],
  options: Omit<RunOptions, "pipeline">,
): RunResult {
  const wrong = checkSelection({ only: names });
  if (wrong.length > 0) throw new InputError(wrong);
  const steps: Step[] = [];
  let now = graph;
  for (const name of names) {
    const pass = standard.find((p) => p.name === name)!;
    for (const need of pass.needs) {
      const place = propertyNamed(need).check(now);
      if (place !== null) throw new InputError([notReady(pass, need, place)]);
    }
    const result = runAll([pass], now, options, new Set(pass.needs));
    steps.push(...result.steps);
    now = result.graph;
  }
  return { graph: now, steps };
}

function notReady(pass: Pass, need: PropertyName, place: string): Diagnostic {
  const givers = standard.filter((p) => p.gives.includes(need)).map((p) => p.name);
  return error("pass-needs", `pass ${pass.name} needs a graph that is ${need}, and ${place}`, {
    help: `run ${givers.join(" or ")} before it`,
  });
}

/** What the passes that have run gave, and what a text must therefore have. */
function propertiesAfter(graph: Graph, done: readonly string[], passes: readonly Pass[]): Set<PropertyName> {
  const given = new Set(passes.filter((p) => done.includes(p.name)).flatMap((p) => p.gives));
  for (const name of given) {
    const place = propertyNamed(name).check(graph);
    if (place !== null)
      throw new InputError([
        error("pass-done", `${graph.name} is said to be ${name} already, and ${place}`, {
          help: "the text was changed: take the passes that must run again out of its list of passes",
        }),
      ]);
  }
  return given;
}

function propertyNamed(name: PropertyName): Property {
  return properties.find((p) => p.name === name)!;
}

function runAll(
  passes: readonly Pass[],
  graph: Graph,
  options: RunOptions,
  given: Set<PropertyName>,
): RunResult {
  const steps: Step[] = [];
  let now = graph;
  for (const pass of passes) {
    const step = runOne(pass, now, options, given);
    steps.push(step);
    options.onStep?.(step);
    now = step.after;
  }
  return { graph: now, steps };
}

/** The passes that a choice leaves, in order. */
export function choosePasses(choice: PassSelection, passes: readonly Pass[] = standard): readonly Pass[] {
  const first = lastOf(choice.done ?? [], passes) + 1;
  if (choice.stopAfter === "none") return [];
  const last = passes.findIndex((p) => p.name === choice.stopAfter);
  const reached = last < 0 ? passes.slice(first) : passes.slice(first, last + 1);
  return reached.filter((p) => {
    if (p.level === 0) return true;
    if (choice.without?.includes(p.name)) return false;
    if (choice.only) return choice.only.includes(p.name);
    return p.level === 1 || choice.also?.includes(p.name) === true || choice.stopAfter === p.name;
  });
}

/** What is wrong with names that the user gave. */
export function checkSelection(
  choice: PassSelection,
  passes: readonly Pass[] = standard,
): readonly Diagnostic[] {
  const out: Diagnostic[] = [];
  const known = passes.map((p) => p.name);
  const named = [
    ...(choice.without ?? []),
    ...(choice.only ?? []),
    ...(choice.also ?? []),
    ...(choice.done ?? []),
    ...(choice.stopAfter === undefined ? [] : [choice.stopAfter]),
  ];
  for (const name of new Set(named)) {
    if (known.includes(name) || (name === "none" && choice.stopAfter === name)) continue;
    const meant = nearest(name, known);
    const help = meant ? `did you mean ${meant}?` : `the passes are ${known.join(", ")}`;
    out.push(error("unknown-pass", `there is no pass called ${name}`, { help }));
  }
  for (const name of choice.without ?? [])
    if (passes.some((p) => p.name === name && p.level === 0))
      out.push(
        error("pass-required", `pass ${name} cannot be switched off`, {
          help: "nothing after it could work; use stopAfter to end before it",
        }),
      );
  const { stopAfter, done } = choice;
  if (
    stopAfter !== undefined &&
    done &&
    known.includes(stopAfter) &&
    !passesLeft(done, passes).includes(stopAfter)
  )
    out.push(
      error("pass-done", `pass ${stopAfter} comes before what has run already, ${done.at(-1) ?? "nothing"}`, {
        help: "begin with a text that stopped earlier, or with the model file",
      }),
    );
  return out;
}

/** Names of the passes behind those that have run. */
export function passesLeft(done: readonly string[], passes: readonly Pass[] = standard): readonly string[] {
  return passes.slice(lastOf(done, passes) + 1).map((p) => p.name);
}

function lastOf(done: readonly string[], passes: readonly Pass[]): number {
  return passes.findLastIndex((p) => done.includes(p.name));
}

/** Is every need of a pass given, at the start or by one before it? An order that breaks this is our mistake. */
export function checkOrder(passes: readonly Pass[], before: ReadonlySet<PropertyName> = new Set()): void {
  const given = new Set(before);
  for (const p of passes) {
    for (const need of p.needs)
      if (!given.has(need)) throw new Bug(`pass ${p.name} needs ${need}, which no pass before it gives`);
    for (const gift of p.gives) given.add(gift);
  }
}

function runOne(pass: Pass, before: Graph, options: RunOptions, given: Set<PropertyName>): Step {
  const started = options.clock?.() ?? 0;
  let result: PassResult;
  try {
    result = applyPass(pass, before, options);
  } catch (e) {
    if (e instanceof InputError) throw e;
    throw failed(pass, before, e instanceof Error ? e.message : String(e), e);
  }
  for (const gift of pass.gives) given.add(gift);
  if (options.verify !== false) {
    const fault = faultOf(result.graph, given);
    if (fault !== undefined) throw failed(pass, result.graph, fault);
  }
  return {
    pass,
    before,
    after: result.graph,
    changed: result.graph !== before,
    events: result.events,
    refusals: result.refusals,
    milliseconds: (options.clock?.() ?? 0) - started,
  };
}

/** One pass alone, without checks. */
export function applyPass(pass: Pass, graph: Graph, c: PassContext): PassResult {
  const byRules = pass.rules ? rewrite(graph, pass.rules, c.lookup) : undefined;
  const result = pass.run?.(byRules?.graph ?? graph, c);
  return {
    graph: removeDead(result?.graph ?? byRules?.graph ?? graph),
    events: [...(byRules?.events ?? []), ...(result?.events ?? [])],
    refusals: [...(byRules?.refusals ?? []), ...(result?.refusals ?? [])],
  };
}

/** The first thing that is wrong with a graph after a pass. */
function faultOf(graph: Graph, given: ReadonlySet<PropertyName>): string | undefined {
  const [fault] = verifyGraph(graph);
  if (fault !== undefined) return fault;
  const known = holds.get(graph) ?? new Set();
  holds.set(graph, known);
  for (const p of properties) {
    if (!given.has(p.name) || known.has(p.name)) continue;
    const place = p.check(graph);
    if (place !== null) return `the graph is no longer ${p.name}: ${place}`;
    known.add(p.name);
  }
  return undefined;
}

/** Properties that were found to hold: most passes leave most graphs as they are. */
const holds = new WeakMap<Graph, Set<PropertyName>>();

function failed(pass: Pass, graph: Graph, message: string, cause?: unknown): Bug {
  const facts = cause instanceof Bug ? cause.facts : {};
  return new Bug(
    `pass ${pass.name}: ${message}`,
    { ...facts, pass: pass.name, graph: printGraph(graph) },
    { cause },
  );
}
