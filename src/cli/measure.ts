// Every pass against its numerics contract: the graph before and after it, evaluated in f64 on the same weights and inputs, outputs and
// states compared for the verdict, and every value that both have, for the place.

import type { Compiled } from "../index.ts";
import { evaluate, type Evaluated, type Rounding } from "../ir/evaluate.ts";
import type { Graph, Node, ValueId } from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import type { Tensor } from "../ir/tensor.ts";
import type { Numerics, Pass } from "../passes/pass.ts";
import type { Step } from "../passes/run.ts";
import type { Location } from "../support/source.ts";

/** One entry point with what it is run on. */
export interface Checked {
  readonly compiled: Compiled;
  /** Index of the entry point, in the module and in the plan. */
  readonly entry: number;
  readonly weights: (key: string) => Tensor;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly dims: Readonly<Record<string, number>>;
}

export interface PassMeasure {
  readonly entry: string;
  readonly pass: string;
  readonly contract: Numerics;
  /** What the contract allows, relative to the largest value; null where it allows anything. */
  readonly allowed: number | null;
  /** Whether the pass did anything. */
  readonly changed: boolean;
  /** Of a pass that only rounds: the difference where nothing is rounded, before and after it. `allowed` is of this one. */
  readonly unrounded?: number;
  /** Of outputs and states, relative to the largest value of each. */
  readonly difference: number;
  readonly ok: boolean;
  /** Of the values that the graph has before and after the pass, those that were held against each other. */
  readonly compared: number;
  /** The one that differs most, where any does. */
  readonly worst?: WorstNode;
}

export interface WorstNode {
  readonly value: ValueId;
  /** The node that makes it after the pass, as IR text. */
  readonly node: string;
  readonly difference: number;
  readonly locations: readonly Location[];
}

/** Largest absolute difference; infinite where a number is missing, or not finite on one side only. */
export function difference(a: Tensor, b: Tensor): number {
  if (a.data.length !== b.data.length) return Infinity;
  let most = 0;
  for (let i = 0; i < a.data.length; i++) {
    const x = a.data[i]!;
    const y = b.data[i]!;
    if (Object.is(x, y)) continue;
    const d = Math.abs(x - y);
    if (!(d <= most)) most = Number.isNaN(d) ? Infinity : d;
  }
  return most;
}

export function scaleOf(t: Tensor): number {
  let most = 0;
  for (const v of t.data) most = Math.max(most, Math.abs(v));
  return most;
}

/** Relative to the largest value of the first. */
export function relativeDifference(a: Tensor, b: Tensor): number {
  return difference(a, b) / Math.max(scaleOf(a), 1e-30);
}

/** Of outputs and states. */
export function relative(a: Evaluated, b: Evaluated): number {
  const pairs = [...pairsOf(a.outputs, b.outputs), ...pairsOf(a.states, b.states)];
  return Math.max(0, ...pairs.map(([x, y]) => (y ? relativeDifference(x, y) : Infinity)));
}

type Tensors = Readonly<Record<string, Tensor>>;

function pairsOf(a: Tensors, b: Tensors): readonly (readonly [Tensor, Tensor | undefined])[] {
  return Object.entries(a).map(([name, t]) => [t, b[name]] as const);
}

/** What a contract allows, relative to the largest value; of a pass that only rounds, where nothing is rounded. */
export const allowed = ({ numerics, roundsOnly }: Pass): number =>
  numerics === "exact" ? 0 : numerics === "reassociates" || roundsOnly ? 1e-10 : Infinity;

/** How a pass is held to what it promises. */
export const roundingOf = (pass: Pass): Rounding => (pass.roundsOnly ? "none" : "each");

/** An evaluation with the values of its nodes, up to what memory has room for. */
export interface Observed {
  readonly evaluated: Evaluated;
  readonly values: ReadonlyMap<ValueId, { readonly node: Node; readonly value: Tensor }>;
}

/** Elements of f64 that are kept of one evaluation. */
const mostElements = 2 ** 26;

export function observe(c: Checked, graph: Graph, rounding: Rounding = "each"): Observed {
  const values = new Map<ValueId, { readonly node: Node; readonly value: Tensor }>();
  let kept = 0;
  const evaluated = evaluate(graph, c.weights, c.inputs, {
    dims: c.dims,
    rounding,
    observe: (node, results) =>
      node.results.forEach((r, i) => {
        const value = results[i]!;
        kept += value.data.length;
        if (kept <= mostElements) values.set(r.id, { node, value });
      }),
  });
  return { evaluated, values };
}

export interface Measured {
  readonly step: Step;
  readonly before: Evaluated;
  readonly measure: PassMeasure;
}

/** Every pass, before against after, in f64; lazily, so that a reader may end behind the first wrong one. */
export function* measured(c: Checked, steps: readonly Step[] = stepsOf(c)): Iterable<Measured> {
  const graph = c.compiled.module.graphs[c.entry]!;
  let before = observe(c, graph);
  for (const step of steps) {
    const after = step.changed ? observe(c, step.after) : before;
    yield {
      step,
      before: before.evaluated,
      measure: measureOf(graph.name, step, before, after, unrounded(c, step)),
    };
    before = after;
  }
}

const stepsOf = (c: Checked): readonly Step[] => c.compiled.steps[c.entry]!;

/**
 * Is what runs another function than the model as written? A pass changed it that was asked to, or numbers are stored in f16. Then the
 * tolerance of f32 is one for kernels and for lossless passes, and not for outputs.
 */
export function isApproximate(c: Checked): boolean {
  const stored = c.compiled.optimized.graphs[c.entry]!.nodes.flatMap((n) => n.results);
  return stepsOf(c).some(approximates) || stored.some((r) => r.type.dtype === "f16");
}

const approximates = (s: Step): boolean => s.changed && s.pass.numerics === "approximates";

/** The steps that did something, lossless ones that follow each other taken as one. */
export function stretches(c: Checked): readonly Step[] {
  const out: Step[] = [];
  for (const step of stepsOf(c).filter((s) => s.changed)) {
    const last = out.at(-1);
    if (last === undefined || approximates(last) || approximates(step)) out.push(step);
    else out[out.length - 1] = joined(last, step);
  }
  return out;
}

function joined(a: Step, b: Step): Step {
  const numerics = a.pass.numerics === "exact" ? b.pass.numerics : a.pass.numerics;
  const name = `${a.pass.name}, ${b.pass.name}`;
  return { ...b, before: a.before, pass: { ...b.pass, name, numerics } };
}

/** What a pass that only rounds changes beside that. */
function unrounded(c: Checked, { pass, changed, before, after }: Step): number | undefined {
  if (!changed || !pass.roundsOnly) return undefined;
  const [was, is] = [before, after].map((g) =>
    evaluate(g, c.weights, c.inputs, { dims: c.dims, rounding: "none" }),
  );
  return relative(was!, is!);
}

function measureOf(
  entry: string,
  step: Step,
  before: Observed,
  after: Observed,
  bare: number | undefined,
): PassMeasure {
  const { name, numerics } = step.pass;
  const off = step.changed ? relative(before.evaluated, after.evaluated) : 0;
  const most = allowed(step.pass);
  const { compared, worst } = step.changed ? worstOf(before, after) : { compared: 0 };
  return {
    ...{
      entry,
      pass: name,
      contract: numerics,
      changed: step.changed,
      difference: off,
      ok: (bare ?? off) <= most,
    },
    ...(bare !== undefined && { unrounded: bare }),
    allowed: Number.isFinite(most) ? most : null,
    compared,
    ...(worst && { worst }),
  };
}

/** Ids survive rewriting, so equal ids mean equal values; one of another shape is another value (dead tokens are cut off, say). */
function worstOf(
  before: Observed,
  after: Observed,
): { readonly compared: number; readonly worst?: WorstNode } {
  let compared = 0;
  let worst: WorstNode | undefined;
  for (const [id, { node, value }] of after.values) {
    const was = before.values.get(id)?.value;
    if (!was || was.shape.join() !== value.shape.join()) continue;
    compared++;
    const off = relativeDifference(was, value);
    if (off > (worst?.difference ?? 0))
      worst = { value: id, node: printNode(node), difference: off, locations: node.spans };
  }
  return { compared, ...(worst && { worst }) };
}
