// Where a wrong answer comes from: the first pass that changes the meaning in f64, and in it the rewrite; else the first kernel whose result
// is not that of its group.

import { lowerModule } from "../codegen/lower.ts";
import { packConstants } from "../codegen/pack.ts";
import { evaluate } from "../ir/evaluate.ts";
import { preparedValues, type Graph, type Node } from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import { lookupOp } from "../ops/index.ts";
import { findWrongRewrite } from "../passes/bisect.ts";
import type { Step } from "../passes/run.ts";
import type { OpenedDevice } from "../runtime/device-node.ts";
import { createSession } from "../runtime/session.ts";
import { showLocation, type Location } from "../support/source.ts";
import {
  allowed,
  difference,
  measured,
  observe,
  relative,
  relativeDifference,
  scaleOf,
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
  const isWrong = (graph: Graph): boolean =>
    !(relative(before, evaluate(graph, c.weights, c.inputs, { dims: c.dims })) <= allowed(pass.numerics));
  const target = c.compiled.plan.target;
  const wrong = findWrongRewrite(pass, step.before, { target, lookup: lookupOp }, isWrong);
  const node = firstChanged(c, step);
  const head = `the first wrong step is pass ${pass.name}, which declares ${pass.numerics} and changes the outputs by ${measure.difference.toExponential(2)}`;
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
  const { values } = observe(c, before);
  let found: Node | undefined;
  evaluate(after, c.weights, c.inputs, {
    dims: c.dims,
    observe: (n, results) => {
      found ??= n.results.some((r, i) => {
        const was = values.get(r.id)?.value;
        return was && !(relativeDifference(was, results[i]!) <= allowed(pass.numerics));
      })
        ? n
        : undefined;
    },
  });
  return found;
}

async function faultOfKernel(c: Checked, device: OpenedDevice, tolerance: number): Promise<Fault> {
  const graph = c.compiled.optimized.graphs[c.entry]!;
  const { values } = observe(c, graph);
  const lowered = lowerModule(
    { name: c.compiled.module.name, graphs: [tapAll(graph)] },
    {
      target: device.target,
      compiler: c.compiled.plan.compiler,
      schedules: c.compiled.options.schedules ?? {},
    },
  );
  const session = await createSession(
    device.device,
    lowered.plan,
    packConstants(lowered.prepared, c.weights),
  );
  const got = await session.run(c.inputs, { dims: c.dims });
  await session.dispose();
  for (const d of lowered.plan.entries[0]!.dispatches)
    for (const id of d.nodes) {
      const want = values.get(id)?.value;
      if (!want) continue;
      const off = difference(got[id]!, want);
      if (off <= tolerance * Math.max(1, scaleOf(want))) continue;
      const kernel = lowered.kernels[d.kernel]!.name;
      const lines = d.locations.map(showLocation).join(", ");
      return {
        text: `the first wrong kernel is ${kernel}, which makes ${id} and is off by ${off.toExponential(2)}; it comes from ${lines}`,
        entry: graph.name,
        kernel,
        value: id,
        difference: off,
        locations: d.locations,
      };
    }
  return {
    text: "every kernel is right by itself: the differences add up over the layers",
    entry: graph.name,
    locations: [],
  };
}

/** The same graph with the result of every group as an output. */
function tapAll(graph: Graph): Graph {
  const prepared = preparedValues(graph);
  const taps = graph.nodes
    .filter((n) => n.body !== undefined)
    .flatMap((n) =>
      n.results.filter((r) => !prepared.has(r.id)).map((r) => ({ name: r.id, value: r.id, spans: n.spans })),
    );
  return { ...graph, outputs: taps };
}
