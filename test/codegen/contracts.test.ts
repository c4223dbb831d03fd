// What must hold after every pass: the text of the graph reads back as the very same graph, lines of the model included; the verifier
// has nothing to say; the numbers keep the pass's contract in f64. And behind the last one: a plan. All examples in all sizes; numbers on
// small models.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import type { CompileOptions } from "../../src/index.ts";
import { lowerModule } from "../../src/codegen/lower.ts";
import { elaborateFile } from "../../src/index.ts";
import { baseline, lavapipe } from "../../src/ir/target.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { checkPlan } from "../../src/ir/plan-check.ts";
import { printGraph } from "../../src/ir/print.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { runPasses } from "../../src/passes/run.ts";
import { elaborateCase, exampleCases } from "../models/examples.ts";
import { resolveStd } from "../models/support.ts";
import { breaches, numbersFor, outputsOf } from "../passes/contract.ts";

function graphOf(path: string, options: CompileOptions): Graph {
  const front = elaborateFile(
    { name: path, text: readFileSync(path, "utf8") },
    { resolve: resolveStd, ...options },
  );
  expect(front.diagnostics).toEqual([]);
  return front.module!.graphs[0]!;
}

/** Why the text of a graph does not read back as that graph; undefined where it does. */
function roundTripFault(graph: Graph): string | undefined {
  const { module, diagnostics } = parseGraphs(printGraph(graph), "round-trip.ir", lookupOp);
  const back = module?.graphs[0];
  if (!back) return diagnostics.map((d) => `${d.code}: ${d.message}`).join("; ");
  for (const part of Object.keys(graph) as (keyof Graph)[]) {
    if (isDeepStrictEqual(back[part], graph[part])) continue;
    const [was, is] = [graph[part], back[part]];
    if (!Array.isArray(was) || !Array.isArray(is)) return `${part} is not the same`;
    return `${part}[${was.findIndex((x, i) => !isDeepStrictEqual(x, is[i]))}] is not the same`;
  }
  return isDeepStrictEqual(Object.keys(back).sort(), Object.keys(graph).sort()) ? undefined : "other fields";
}

function expectSound(graph: Graph, at: string): void {
  expect(roundTripFault(graph), `text ${at}`).toBeUndefined();
  expect(verifyGraph(graph), `verifier ${at}`).toEqual([]);
  // The lines of the model are kept through every rewrite.
  for (const n of graph.nodes)
    expect(n.spans.length, `lines of ${n.results[0]!.id} ${at}`).toBeGreaterThan(0);
}

/** A plan as it is stored, which the reader of stored plans takes; every kernel is used, and every output has a place. */
function expectPlan(graph: Graph): void {
  const { plan, kernels } = lowerModule(
    { name: graph.name, graphs: [graph] },
    { target: lavapipe, compiler: "test" },
  );
  expect(checkPlan(JSON.parse(JSON.stringify(plan)))).toEqual([]);
  const [entry] = plan.entries;
  expect(entry!.outputs.map((o) => o.name)).toEqual(graph.outputs.map((o) => o.name));
  expect([...new Set(entry!.dispatches.map((d) => d.kernel))].sort((a, b) => a - b)).toEqual(
    kernels.map((_, i) => i),
  );
  for (const d of entry!.dispatches)
    expect(d.locations.length, `lines of ${plan.kernels[d.kernel]!.name}`).toBeGreaterThan(0);
}

describe("text and verifier after every pass", () => {
  // As the model stands, and in every size of it; once, where it is tested with several settings. Full sizes are compiled and not run.
  const first = new Map(exampleCases.map((c) => [`${c.path} ${c.model}`, c] as const).reverse());
  const sizes = exampleCases.flatMap((c) => {
    const all = first.get(`${c.path} ${c.model}`) === c ? c.configs : ["tiny"];
    return [undefined, ...all].map((config) => [c, config] as const);
  });

  it.each(sizes.map(([c, config]) => [c.name, config ?? "as it stands", c, config] as const))(
    "%s, %s",
    (_, __, c, config) => {
      const front = elaborateCase(c, config === undefined ? {} : { config });
      expect(front.diagnostics).toEqual([]);
      const graph = front.module!.graphs[0]!;
      expectSound(graph, "as elaborated");
      const { steps } = runPasses(graph, { target: lavapipe, lookup: lookupOp, verify: false });
      for (const s of steps) if (s.changed) expectSound(s.after, `after ${s.pass.name}`);
      expect(steps.filter((s) => s.changed).length).toBeGreaterThan(1);
      expectPlan(steps.at(-1)!.after);
    },
  );
});

describe("the contract of every pass", () => {
  const small = "test/codegen/small.model";
  const names = [...readFileSync(small, "utf8").matchAll(/^model (\w+)/gm)].map((m) => m[1]!);
  const cases = [
    ...names.map((name) => ({
      name,
      graph: () => graphOf(small, { model: name }),
      dims: { B: 2, H: 6, W: 7, T: 5 },
    })),
    ...exampleCases.map((c) => ({
      name: c.name,
      graph: () => elaborateCase(c).module!.graphs[0]!,
      dims: c.sizes[0]!,
    })),
  ];

  it.each(cases)("$name", ({ graph: make, dims }) => {
    const graph = make();
    const numbers = numbersFor(graph, dims);
    const { steps } = runPasses(graph, { target: baseline, lookup: lookupOp });
    let before = outputsOf(graph, numbers);
    for (const { pass, after, changed } of steps) {
      if (!changed) continue;
      expectSound(after, `after ${pass.name}`);
      const now = outputsOf(after, numbers);
      expect(breaches(before, now, pass.numerics), pass.name).toEqual([]);
      before = now;
    }
  });
});
