// The models of the benchmark: a file, a configuration, settings, and the sizes of its inputs; weights and inputs
// are seeded by name, so nothing has to be downloaded.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  elaborateFile,
  InputError,
  seededInput,
  seededTensor,
  type Graph,
  type Tensor,
} from "../src/index.ts";
import { baseline } from "../src/ir/target.ts";
import { constantOf, evaluateDim } from "../src/ir/dim.ts";
import { elementCount, newData } from "../src/ir/tensor.ts";
import { lookupOp } from "../src/ops/index.ts";
import { exportOnnx } from "../src/onnx/export.ts";
import { denseExperts } from "../src/passes/dense-experts.ts";
import { halfStorage } from "../src/passes/half-storage.ts";
import { applyPass } from "../src/passes/run.ts";
import { allInHalf } from "./half-onnx.ts";
import { loopedOnnx } from "./looped.ts";
import { moeOnnx } from "./moe-operator.ts";

export interface Model {
  /** Relative to the root of the repository. */
  readonly file: string;
  /** Which model of the file; absent where there is one. */
  readonly model?: string;
  readonly config?: string;
  readonly set?: Readonly<Record<string, string>>;
  /** Every symbol of the model's inputs. */
  readonly dims: Readonly<Record<string, number>>;
  /** Weights and what kernels pass on in f16, as `--storage f16` asks; peers get the model in f16, too. */
  readonly storage?: "f16";
}

const root = join(import.meta.dirname, "..");

export const source = (file: string) => ({ name: file, text: readFileSync(join(root, file), "utf8") });
export const resolve = (_: string, path: string) => source(path);

export const options = ({ model, config, set, storage }: Model) => ({
  resolve,
  ...(storage === "f16" && { also: [halfStorage.name] }),
  ...(model !== undefined && { model }),
  ...(config !== undefined && { config }),
  ...(set && { set }),
});

export function graphOf(model: Model): Graph {
  const { module, diagnostics } = elaborateFile(source(model.file), options(model));
  if (!module) throw new InputError(diagnostics);
  return module.graphs[0]!;
}

export function weightsOf(graph: Graph): (key: string) => Tensor {
  const byKey = new Map(graph.weights.map((w) => [w.key, w]));
  return (key) => {
    const { type, seed } = byKey.get(key)!;
    const shape = type.shape.map((d) => constantOf(d)!);
    // The weight of all experts holds those that a checkpoint has for each.
    if (key.includes("*"))
      return stacked(key, shape, (name) => seededTensor(name, shape.slice(1), 0, type.dtype));
    return seededTensor(key, shape, 0, type.dtype, seed);
  };
}

function stacked(key: string, shape: readonly number[], one: (key: string) => Tensor): Tensor {
  const first = one(key.replace("*", "0"));
  const data = newData(first.dtype, elementCount(shape));
  for (let e = 0; e < shape[0]!; e++)
    data.set((e === 0 ? first : one(key.replace("*", String(e)))).data, e * first.data.length);
  return { dtype: first.dtype, shape, data };
}

export function inputsOf(graph: Graph, { dims }: Model): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(
    graph.inputs.map(({ name, type }) => [
      name,
      seededInput(
        name,
        type.shape.map((d) => evaluateDim(d, dims)),
        type.dtype,
      ),
    ]),
  );
}

/**
 * How routed experts are written: every expert on every token, each on the rows that chose it, found while running, or as onnxruntime's
 * own operator, with weights as they are or of four bits.
 */
export type OnnxForm = "dense" | "looped" | "moe" | "qmoe";

/** The model as ONNX, its sizes fixed: what a peer is given. */
export function onnxOf(model: Model, form: OnnxForm = "dense"): Uint8Array {
  const graph = graphOf(model);
  const weights = weightsOf(graph);
  const tokens = model.dims["T"]!;
  if (form === "looped") return loopedOnnx(graph, weights, tokens);
  if (form !== "dense") return moeOnnx(graph, weights, tokens, form === "moe" ? 32 : 4);
  const bytes = exportOnnx(withDenseExperts(graph), weights, { dims: model.dims, lookup: lookupOp });
  return model.storage === "f16" ? allInHalf(bytes) : bytes;
}

export const hasExperts = (graph: Graph): boolean => graph.nodes.some((n) => n.op.name === "grouped_linear");

/** Our export has every expert on every row, which is k times the work: peers get it on every token. */
function withDenseExperts(graph: Graph): Graph {
  if (!hasExperts(graph)) return graph;
  return applyPass(denseExperts, graph, { target: baseline, lookup: lookupOp, experts: "dense" }).graph;
}
