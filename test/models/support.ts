// What the end-to-end tests share: models from files or text through the public interface, weights made from their names, fixtures,
// and the adapter of this machine.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { compile, seededTensor, type CompileOptions, type Compiled, type Tensor } from "../../src/index.ts";
import { constantOf } from "../../src/ir/dim.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { openDevice, type OpenedDevice } from "../../src/runtime/device-node.ts";
import { openCheckpoint } from "../../src/runtime/weights-node.ts";

/** `std/...` from the repository, other files from where the importing one is. */
export const resolveStd: NonNullable<CompileOptions["resolve"]> = (from, path) => {
  const place = path.startsWith("std/") ? path : join(dirname(from), path);
  const file = place.endsWith(".model") ? place : `${place}.model`;
  if (!existsSync(file)) return { problem: "there is no such file" };
  return { name: file, text: readFileSync(file, "utf8") };
};

export function compileText(text: string, options: CompileOptions = {}): Compiled {
  return compile({ name: "test.model", text }, { resolve: resolveStd, ...options });
}

export function compileExample(name: string, options: CompileOptions = {}): Compiled {
  const path = `examples/${name}.model`;
  return compile({ name: path, text: readFileSync(path, "utf8") }, { resolve: resolveStd, ...options });
}

/** Every weight made from its key, as `--weights seed:0` does. */
export function seededWeights(graphs: readonly Graph[]): (key: string) => Tensor {
  const all = new Map<string, Tensor>();
  for (const w of graphs.flatMap((g) => g.weights)) {
    const shape = w.type.shape.map((d) => constantOf(d)!);
    all.set(w.key, seededTensor(w.key, shape, 0, w.type.dtype, w.seed));
  }
  return (key) => {
    const found = all.get(key);
    if (!found) throw new Error(`there is no weight ${key}`);
    return found;
  };
}

/** All tensors of a safetensors file. */
export async function readTensors(path: string): Promise<Record<string, Tensor>> {
  const store = (await openCheckpoint(path)).value;
  if (!store) throw new Error(`${path} cannot be read`);
  const out: Record<string, Tensor> = {};
  for (const key of store.tensors.keys()) out[key] = (await store.read(key)).value!;
  await store.close();
  return out;
}

/** The adapter there is, or the one TOKENLOOM_DEVICE names; says which, once a file. */
export async function openAdapter(): Promise<OpenedDevice> {
  const opened = await openDevice();
  process.stdout.write(`adapter: ${opened.name}\n`);
  return opened;
}

/** Rows `from..to` of the first axis. */
export function rowsOf(t: Tensor, from: number, to: number): Tensor {
  const size = t.data.length / t.shape[0]!;
  return { ...t, shape: [to - from, ...t.shape.slice(1)], data: t.data.slice(from * size, to * size) };
}

export function largestDifference(a: Tensor, b: Tensor): number {
  if (a.shape.join() !== b.shape.join()) throw new Error(`[${a.shape}] against [${b.shape}]`);
  return differenceOf(a.data, b.data);
}

/** Infinite where a number is missing, or not finite on one side. */
export function differenceOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    if (Object.is(a[i], b[i])) continue;
    const d = Math.abs(a[i]! - b[i]!);
    most = Number.isNaN(d) ? Infinity : Math.max(most, d);
  }
  return most;
}
