// onnxruntime-node as the benchmark uses it. Its package is not among the project's own dependencies, so it is loaded by path, and the
// part of its interface that is used is written down here.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { elementCount, newData, type Tensor } from "../src/ir/tensor.ts";
import type { DType } from "../src/ir/types.ts";

export interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}

export interface OrtSession {
  readonly inputNames: readonly string[];
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

export interface Ort {
  readonly env: { logLevel: string; readonly versions: Readonly<Record<string, string>> };
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OrtSession>;
  };
}

const folder = import.meta.dirname;

/** Installs the peers where they are missing, and says so: they are large and no one but the benchmark needs them. */
export function installPeers(): void {
  if (existsSync(join(folder, "node_modules", "onnxruntime-node"))) return;
  console.error("installing the peers of the benchmark into bench/node_modules (about 300 MB) ...");
  // The install script only fetches CUDA binaries; those for the CPU and WebGPU are in the package.
  execFileSync("npm", ["--prefix", folder, "install", "--ignore-scripts", "--no-audit", "--no-fund"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

export function loadOrt(): Ort {
  installPeers();
  const ort = createRequire(join(folder, "package.json"))("onnxruntime-node") as Ort;
  ort.env.logLevel = "error";
  return ort;
}

const toOrt: Readonly<Record<DType, string>> = {
  f32: "float32",
  f16: "float16",
  i32: "int32",
  u32: "uint32",
  bool: "bool",
};

export function toOrtTensor(ort: Ort, t: Tensor): OrtTensor {
  const data =
    t.dtype === "bool"
      ? Uint8Array.from(t.data)
      : t.dtype === "i32"
        ? Int32Array.from(t.data)
        : t.dtype === "u32"
          ? Uint32Array.from(t.data)
          : Float32Array.from(t.data);
  return new ort.Tensor(toOrt[t.dtype], data, t.shape);
}

export function fromOrtTensor(t: OrtTensor): Tensor {
  const dtype = (Object.keys(toOrt) as DType[]).find((d) => toOrt[d] === t.type);
  if (!dtype) throw new Error(`onnxruntime gave a tensor of ${t.type}`);
  const data = newData(dtype, elementCount(t.dims));
  data.set(t.data);
  return { dtype, shape: [...t.dims], data };
}
