// Ops that write their own kernels, against their references: on the interpreter for every built-in target, and on the adapter. Alone,
// and with elementwise work before and behind, which is to be fused where the op says that it may be.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtinTargets, compileModule, lookupOp, packWeights } from "../../src/index.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { evaluate } from "../../src/ir/evaluate.ts";
import type { Target } from "../../src/ir/target.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { createSession } from "../../src/runtime/session.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { openAdapter } from "../models/support.ts";
import { callable, randomCall } from "./cases.ts";
import { attrsFor, callGraph, largestDifference, Random, type Call } from "./support.ts";

const programs = callable.filter((op) => op.lowering.kind === "program").map((op) => op.name);
const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
/** Sums of a few numbers below ten, in f32. */
const tolerance = 2e-5;

const noWeights = (key: string): never => {
  throw new Error(`no weight ${key}`);
};

function compileGraph(graph: Graph, target: Target) {
  return compileModule({ name: "test", graphs: [graph] }, { target });
}

/** The call, with its float inputs negated before, and each float result doubled behind. */
function surrounded(call: Call): Graph {
  return callGraph(call, (b, ids) => {
    const isFloat = (id: string) => b.type(id).dtype === "f32";
    const inputs = ids.map((id) => (id !== undefined && isFloat(id) ? b.call("neg", [id]) : id));
    const { results } = b.add(call.op, inputs, attrsFor(call));
    return results.map(({ id }) => (isFloat(id) ? b.call("add", [id, id]) : id));
  });
}

const forms: readonly (readonly [string, (call: Call) => Graph])[] = [
  ["alone", (call) => callGraph(call)],
  ["fused", surrounded],
];

function check(
  expected: Readonly<Record<string, Tensor>>,
  got: Readonly<Record<string, Tensor>>,
  about: string,
) {
  expect(Object.keys(got)).toEqual(Object.keys(expected));
  for (const [name, e] of Object.entries(expected))
    expect(largestDifference(e, got[name]!), `${about}, result ${name}`).toBeLessThan(tolerance);
}

describe.each(programs)("%s", (name) => {
  let adapter: OpenedDevice;
  beforeAll(async () => {
    adapter = await openAdapter();
  });
  afterAll(() => adapter.device.destroy());

  test.each(forms)("%s, on the interpreter", (_, form) => {
    for (const seed of seeds) {
      const call = randomCall(name, new Random(seed * 7919));
      const graph = form(call);
      const expected = evaluate(graph, new Map(), call.inputs).outputs;
      for (const target of builtinTargets) {
        const compiled = compileGraph(graph, target);
        check(
          expected,
          runPlan(compiled, noWeights, call.inputs, {}).outputs,
          `${target.name}, seed ${seed}`,
        );
      }
    }
  });

  test.each(forms)("%s, on the adapter, twice the same bits", async (_, form) => {
    for (const seed of seeds.slice(0, 3)) {
      const call = randomCall(name, new Random(seed * 7919));
      const graph = form(call);
      const compiled = compileGraph(graph, adapter.target);
      const session = await createSession(adapter.device, compiled.plan, packWeights(compiled, noWeights));
      const first = await session.run(call.inputs);
      check(evaluate(graph, new Map(), call.inputs).outputs, first, `seed ${seed}`);
      const second = await session.run(call.inputs);
      for (const [key, t] of Object.entries(first)) expect(second[key]!.data).toEqual(t.data);
      await session.dispose();
    }
  });
});

test("what is elementwise around a scan is computed in its kernel", () => {
  const call = randomCall("cumsum", new Random(1));
  const { plan } = compileGraph(surrounded(call), builtinTargets[0]!);
  expect(plan.kernels.map((k) => k.name)).toEqual(["cumsum_neg"]);
  expect(lookupOp("cumsum")!.lowering.kind).toBe("program");
});
