// The worked examples of the library, each computed four times: by the reference in f64 (which must give the written numbers), by
// onnxruntime from the export, by the kernels on the interpreter, and by the kernels on the adapter of this machine.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { baseline, compile, evaluate, load, type Graph, type Tensor } from "../../src/index.ts";
import { constantOf } from "../../src/ir/dim.ts";
import { elementCount, tensor } from "../../src/ir/tensor.ts";
import type { DType } from "../../src/ir/types.ts";
import type { NestedNumbers } from "../../src/ir/op.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { format } from "../../src/parser/format.ts";
import { parse } from "../../src/parser/parse.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { expectClose, seededInputs } from "../models/compare.ts";
import { openAdapter, resolveStd, seededWeights } from "../models/support.ts";
import { oracleOutputs } from "../oracle/ort.ts";
import { workedFiles, type Run, type WorkedExample } from "./worked.ts";

const flatten = (values: NestedNumbers): number[] =>
  typeof values === "number" ? [values] : values.flatMap(flatten);

function nested(values: NestedNumbers, dtype: DType): Tensor {
  const shape: number[] = [];
  for (let at = values; typeof at !== "number"; at = at[0]!) shape.push(at.length);
  const flat = flatten(values);
  if (flat.length !== elementCount(shape)) throw new Error(`a ragged tensor of ${flat.length} numbers`);
  return tensor(dtype, shape, Float64Array.from(flat), "f64");
}

/** Sizes as written, or as the written inputs have them. */
function dimsOf(graph: Graph, run: Run): Record<string, number> {
  const dims: Record<string, number> = { ...run.sizes };
  for (const input of graph.inputs) {
    const given = run.inputs?.[input.name];
    if (given === undefined) continue;
    const { shape } = nested(given, input.type.dtype);
    input.type.shape.forEach((d, i) => {
      if (constantOf(d) === undefined && /^\w+$/.test(d.key)) dims[d.key] ??= shape[i]!;
    });
  }
  return dims;
}

function numbersOf(graph: Graph, run: Run) {
  const dims = dimsOf(graph, run);
  const given = Object.fromEntries(
    graph.inputs.flatMap((x) => {
      const values = run.inputs?.[x.name];
      return values === undefined ? [] : [[x.name, nested(values, x.type.dtype)]];
    }),
  );
  const names = Object.keys({ ...run.inputs, ...run.weights }).sort();
  const known = [...graph.inputs.map((x) => x.name), ...graph.weights.map((w) => w.key)];
  expect(names.filter((n) => !known.includes(n))).toEqual([]);
  const made = seededWeights([graph]);
  const weights = (key: string): Tensor => {
    const values = run.weights?.[key];
    return values === undefined ? made(key) : nested(values, made(key).dtype);
  };
  return { dims, weights, inputs: { ...seededInputs(graph, dims), ...given } };
}

const compileRun = (e: WorkedExample, { set }: Run, target = baseline) =>
  compile({ name: e.place, text: e.code }, { resolve: resolveStd, target, ...(set && { set }) });

describe.each(workedFiles)("$name", ({ examples }) => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(examples.map((e) => [e.title, e] as const))("%s", async (_, e) => {
    const { ast, file } = parse(e.code, e.place);
    expect(format(ast, file)).toBe(e.code);
    for (const run of e.runs) {
      const graph = compileRun(e, run).module.graphs[0]!;
      const { dims, weights, inputs } = numbersOf(graph, run);
      const { outputs } = evaluate(graph, weights, inputs, { dims });
      if (run.outputs) {
        const types = new Map(Object.entries(outputs).map(([name, t]) => [name, t.dtype]));
        for (const [name, values] of Object.entries(run.outputs)) {
          const wanted = nested(values, types.get(name) ?? "f32");
          expect(outputs[name]!.shape, name).toEqual(wanted.shape);
          const far = Array.from(wanted.data, (w, i) => Math.abs(w - outputs[name]!.data[i]!));
          const within = `${name}: ${outputs[name]!.data.join(", ")}`;
          expect(Math.max(...far), within).toBeLessThanOrEqual(run.tolerance ?? 1e-6);
        }
      }
      expectClose(await oracleOutputs(graph, weights, inputs, dims), outputs, "onnxruntime");
      const compiled = compileRun(e, run);
      expectClose(runPlan(compiled, weights, inputs, dims).outputs, outputs, "the interpreter");
      const session = await load(compileRun(e, run, opened.target), weights, opened.device);
      expectClose(await session.run(inputs, { dims }), outputs, opened.name);
      await session.dispose();
    }
  });
});
