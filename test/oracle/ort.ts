// onnxruntime-node as the oracle and the benchmark use it: an exported graph run by a runtime that shares nothing with ours. It comes as
// CommonJS with the types of its web version, so the part of its interface that is used is written down here.

import { createRequire } from "node:module";
import { exportOnnx } from "../../src/onnx/export.ts";
import { lookupOp } from "../../src/ops/index.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { elementCount, newData, type Tensor } from "../../src/ir/tensor.ts";
import type { DType } from "../../src/ir/types.ts";
import { bitsOfNumbers, numbersOfBits } from "../../src/support/half.ts";

export interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}

export interface OrtSession {
  readonly inputNames: readonly string[];
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  endProfiling(): void;
  release(): Promise<void>;
}

export interface Ort {
  readonly env: { logLevel: string; readonly versions: Readonly<Record<string, string>> };
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    /** Of the bytes of a model or the path of its file. */
    create(model: Uint8Array | string, options: Readonly<Record<string, unknown>>): Promise<OrtSession>;
  };
}

let loaded: Ort | undefined;

export function loadOrt(): Ort {
  if (loaded) return loaded;
  loaded = createRequire(import.meta.url)("onnxruntime-node") as Ort;
  loaded.env.logLevel = "error";
  return loaded;
}

const toOrt: Readonly<Record<DType, string>> = {
  f32: "float32",
  f16: "float16",
  i32: "int32",
  u32: "uint32",
  bool: "bool",
  i8: "int8",
  i4: "int4",
};

export function toOrtTensor(ort: Ort, t: Tensor): OrtTensor {
  const data =
    t.dtype === "bool"
      ? Uint8Array.from(t.data)
      : t.dtype === "i32"
        ? Int32Array.from(t.data)
        : t.dtype === "u32"
          ? Uint32Array.from(t.data)
          : t.dtype === "f16"
            ? bitsOfNumbers(t.data)
            : Float32Array.from(t.data);
  return new ort.Tensor(toOrt[t.dtype], data, t.shape);
}

export function fromOrtTensor(t: OrtTensor): Tensor {
  const dtype = (Object.keys(toOrt) as DType[]).find((d) => toOrt[d] === t.type);
  if (!dtype) throw new Error(`onnxruntime gave a tensor of ${t.type}`);
  const data = newData(dtype, elementCount(t.dims));
  data.set(dtype === "f16" ? numbersOfBits(t.data as Uint16Array) : t.data);
  return { dtype, shape: [...t.dims], data };
}

/** What onnxruntime's CPU provider makes of the graph: exported, read back by it, its shapes inferred by it. */
export async function oracleOutputs(
  graph: Graph,
  weights: (key: string) => Tensor,
  inputs: Readonly<Record<string, Tensor>>,
  dims: Readonly<Record<string, number>> = {},
): Promise<Readonly<Record<string, Tensor>>> {
  const ort = loadOrt();
  const session = await ort.InferenceSession.create(exportOnnx(graph, weights, { dims, lookup: lookupOp }), {
    executionProviders: ["cpu"],
  });
  try {
    const feeds = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, toOrtTensor(ort, t)]));
    const made = await session.run(feeds);
    return Object.fromEntries(Object.entries(made).map(([name, t]) => [name, fromOrtTensor(t)]));
  } finally {
    await session.release();
  }
}
