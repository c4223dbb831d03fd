// Where a wrong answer comes from: the first pass that changes the meaning in f64, and in it the rewrite; else the first kernel that does not
// make what its group makes of the same numbers.

import { evaluate, type Evaluated } from "../ir/evaluate.ts";
import type { Graph, Node } from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import { lookupOp } from "../ops/index.ts";
import { findWrongRewrite } from "../passes/bisect.ts";
import type { Step } from "../passes/run.ts";
import type { OpenedDevice } from "../runtime/device-node.ts";
import { showLocation, type Location } from "../support/source.ts";
import { measureKernels } from "./measure-kernels.ts";
import {
  allowed,
  isApproximate,
  measured,
  observe,
  relative,
  relativeDifference,
  roundingOf,
  type Checked,
  type Measured,
} from "./measure.ts";

/** What is wrong, in words and as data. */
export interface Fault {
  readonly text: string;
  readonly entry: string;
  readonly pass?: string;
  /** The rule, and which of the pass's rewrites it was, counted from one. */
  readonly rule?: string;
  readonly rewrite?: { readonly number: number; readonly of: number };
  /** Nodes around the rewrite, as IR text. */
  readonly before?: readonly string[];
  readonly after?: readonly string[];
  readonly kernel?: string;
  /** The first value that is not what it was, or not what its kernel should have made. */
  readonly value?: string;
  readonly difference?: number;
  readonly locations: readonly Location[];
}

export async function findFault(c: Checked, device: OpenedDevice, tolerance: number): Promise<Fault> {
  for (const m of measured(c)) if (!m.measure.ok) return faultOfPass(c, m);
  return faultOfKernel(c, device, tolerance);
}

function faultOfPass(c: Checked, { step, before, measure }: Measured): Fault {
  const { pass } = step;
  const evaluated = (graph: Graph): Evaluated =>
    evaluate(graph, c.weights, c.inputs, { dims: c.dims, rounding: roundingOf(pass) });
  const was = pass.roundsOnly ? evaluated(step.before) : before;
  const isWrong = (graph: Graph): boolean => !(relative(was, evaluated(graph)) <= allowed(pass));
  const target = c.compiled.plan.target;
  const wrong = findWrongRewrite(pass, step.before, { target, lookup: lookupOp }, isWrong);
  const node = firstChanged(c, step);
  const head = `the first wrong step is pass ${pass.name}, which declares ${pass.numerics} and changes the outputs by ${(measure.unrounded ?? measure.difference).toExponential(2)}${pass.roundsOnly ? " without rounding" : ""}`;
  const spans = wrong?.event.spans ?? node?.spans ?? [];
  const where = spans.length > 0 ? `; it comes from ${spans.map(showLocation).join(", ")}` : "";
  const what = wrong
    ? `, in rewrite ${wrong.number} of ${wrong.of}, by the rule ${wrong.event.rule}`
    : node
      ? `, first in ${printNode(node)}`
      : "";
  return {
    text: `${head}${what}${where}`,
    entry: measure.entry,
    pass: pass.name,
    ...(wrong && {
      rule: wrong.event.rule,
      rewrite: { number: wrong.number, of: wrong.of },
      before: wrong.event.before,
      after: wrong.event.after,
    }),
    ...(node && { value: node.results[0]!.id }),
    difference: measure.difference,
    locations: spans,
  };
}

/** The first node after the pass whose value was another before it: ids survive rewriting, so equal ids mean equal values. */
function firstChanged(c: Checked, { pass, before, after }: Step): Node | undefined {
  const { values } = observe(c, before, roundingOf(pass));
  let found: Node | undefined;
  evaluate(after, c.weights, c.inputs, {
    dims: c.dims,
    rounding: roundingOf(pass),
    observe: (n, results) => {
      found ??= n.results.some((r, i) => {
        const was = values.get(r.id)?.value;
        return was && !(relativeDifference(was, results[i]!) <= allowed(pass));
      })
        ? n
        : undefined;
    },
  });
  return found;
}

async function faultOfKernel(c: Checked, device: OpenedDevice, tolerance: number): Promise<Fault> {
  const { measures } = await measureKernels(c, device, tolerance);
  const entry = c.compiled.plan.entries[c.entry]!.name;
  const wrong = measures.find((m) => !m.ok);
  if (!wrong)
    return {
      text: isApproximate(c)
        ? "every pass and every kernel is right by itself, and the plan gives other numbers: look at its memory and its order"
        : "every kernel is right by itself: the differences add up over the layers",
      entry,
      locations: [],
    };
  const { kernel, value, difference, locations } = wrong;
  const lines = locations.map(showLocation).join(", ");
  return {
    text: `the first wrong kernel is ${kernel}, which makes ${value} and is off by ${difference.toExponential(2)}; it comes from ${lines}`,
    ...{ entry, kernel, value, difference, locations },
  };
}
