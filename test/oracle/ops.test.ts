// Every op against onnxruntime's CPU provider: its examples and random calls, exported, and what an independent runtime makes of them
// against our evaluator in f64.

import { describe, expect, it } from "vitest";
import { evaluate, type Tensor } from "../../src/index.ts";
import { expectClose } from "../models/compare.ts";
import { withoutOperator } from "../../src/onnx/op-table.ts";
import { callable, randomCall } from "../ops/cases.ts";
import { callGraph, Random, toTensor, type Call } from "../ops/support.ts";
import { oracleOutputs } from "./ort.ts";

const randomCalls = 12;

function callsOf(op: Call["op"]): readonly Call[] {
  const examples = op.examples.map((e) => ({
    op,
    attrs: e.attrs ?? {},
    inputs: Object.fromEntries(
      Object.entries(e.inputs).map(([name, values]) => [name, toTensor(values, e.dtypes?.[name])]),
    ),
  }));
  const random = Array.from({ length: randomCalls }, (_, seed) => randomCall(op.name, new Random(seed)));
  return [...examples, ...random];
}

const noWeights = (key: string): Tensor => {
  throw new Error(`a single op has no weight ${key}`);
};

describe("ops mean what onnxruntime makes of their export", () => {
  // Ops that passes make come behind the export; the copy they make is the exception.
  const said = callable.filter(
    (op) => !Object.hasOwn(withoutOperator, op.name) && (op.inLanguage !== false || op.name === "copy"),
  );
  it.each(said.map((op) => [op.name, op] as const))("%s", async (name, op) => {
    const calls = callsOf(op);
    expect(calls.length).toBeGreaterThan(randomCalls);
    for (const [i, call] of calls.entries()) {
      const graph = callGraph(call);
      const { outputs } = evaluate(graph, noWeights, call.inputs);
      expectClose(await oracleOutputs(graph, noWeights, call.inputs), outputs, `call ${i} of ${name}`, 1e-4);
    }
  });
});
