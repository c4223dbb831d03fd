// The oracle: what an independent runtime makes of an exported model, against our evaluator in f64. Every op with its examples and
// random calls, then whole models. Exits with 1 where anything differs by more than 1e-4 relative.
//
//   node --import tsx bench/oracle.ts [--large]      large: PoolFormer-S12 at 224 as well

import { evaluate } from "../src/index.ts";
import type { Graph, Tensor } from "../src/index.ts";
import { exportOnnx, type OnnxOptions } from "../src/onnx/export.ts";
import { callable, randomCall } from "../test/ops/cases.ts";
import { callGraph, Random, toTensor, type Call } from "../test/ops/support.ts";
import { difference } from "./compare.ts";
import { graphOf, inputsOf, weightsOf, type Model } from "./models.ts";
import { fromOrtTensor, loadOrt, toOrtTensor } from "./ort.ts";

const allowed = 1e-4;
const ort = loadOrt();

const digits = "examples/digits_poolformer.model";
const poolformer = "examples/poolformer.model";
const tiny = { file: poolformer, config: "tiny" };
const s12 = { file: poolformer, config: "s12", dims: { B: 1, H: 224, W: 224 } };

const models: readonly Model[] = [
  { file: digits, dims: { B: 3 } },
  { file: digits, config: "tiny", dims: { B: 2 } },
  { ...tiny, set: { head: "timm", taps: "true" }, dims: { B: 2, H: 64, W: 64 } },
  // Odd sizes: windows that do not fit evenly.
  { ...tiny, set: { head: "original" }, dims: { B: 1, H: 75, W: 50 } },
];
const large: readonly Model[] = [
  { ...s12, set: { head: "timm" } },
  { ...s12, set: { head: "original" } },
];

/** Largest difference of any output, relative to the largest number of that output. */
async function compare(
  graph: Graph,
  weights: (key: string) => Tensor,
  inputs: Readonly<Record<string, Tensor>>,
  options: OnnxOptions,
  floor?: number,
): Promise<number> {
  const session = await ort.InferenceSession.create(exportOnnx(graph, weights, options), {
    executionProviders: ["cpu"],
  });
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, toOrtTensor(ort, t)]));
  const made = await session.run(feeds);
  const { outputs } = evaluate(graph, weights, inputs);
  const differences = Object.entries(outputs).map(([name, t]) =>
    difference(fromOrtTensor(made[name]!), t, floor),
  );
  await session.release();
  return Math.max(...differences);
}

let failed = 0;
function report(what: string, worst: number): void {
  const ok = worst <= allowed;
  if (!ok) failed++;
  console.log(`${ok ? "ok    " : "FAILED"}  ${worst.toExponential(1).padStart(8)}  ${what}`);
}

function callsOf(op: Call["op"]): readonly Call[] {
  const examples = op.examples.map((e) => ({
    op,
    attrs: e.attrs ?? {},
    inputs: Object.fromEntries(
      Object.entries(e.inputs).map(([name, values]) => [name, toTensor(values, e.dtypes?.[name])]),
    ),
  }));
  return [...examples, ...Array.from({ length: 25 }, (_, seed) => randomCall(op.name, new Random(seed)))];
}

const noWeights = (key: string): Tensor => {
  throw new Error(`a single op has no weight ${key}`);
};

for (const op of callable) {
  let worst = 0;
  // A single small number may be what two larger ones cancelled to.
  for (const call of callsOf(op))
    worst = Math.max(worst, await compare(callGraph(call), noWeights, call.inputs, {}, 1));
  report(op.name, worst);
}

for (const model of [...models, ...(process.argv.includes("--large") ? large : [])]) {
  const graph = graphOf(model);
  const settings = Object.entries({ ...model.set, ...model.dims }).map(([k, v]) => `${k}=${v}`);
  const name = [model.file, model.config ?? "", ...settings].join(" ");
  // Once with sizes left open, once with them fixed: the two files are not the same.
  for (const dims of [{}, model.dims])
    report(
      `${name}${Object.keys(dims).length > 0 ? " (fixed)" : ""}`,
      await compare(graph, weightsOf(graph), inputsOf(graph, model), { dims }),
    );
}
console.log(failed === 0 ? `all within ${allowed} relative` : `${failed} beyond ${allowed} relative`);
process.exit(failed === 0 ? 0 : 1);
