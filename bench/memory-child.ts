// A program that runs one model and nothing else, for its peak memory: `memory-child FOLDER WAY RUNS`, with what the runtime loads in
// FOLDER. It is bundled, so that no compiler and no loader of TypeScript is in memory with it. Says what it found to its parent.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readFolder } from "../src/cli/folder.ts";
import type { Tensor } from "../src/ir/tensor.ts";
import type { DType } from "../src/ir/types.ts";
import { openDevice } from "../src/runtime/device-node.ts";
import { seededInput } from "../src/runtime/seeded.ts";
import { createSession } from "../src/runtime/session.ts";
import { awaitDevice } from "../src/runtime/wait.ts";
import { fromOrtTensor, loadOrt, toOrtTensor } from "../test/oracle/ort.ts";
import { browser } from "./peers/browser.ts";
import type { Outputs } from "./peers/peer.ts";
import type { Program } from "./peers/web.ts";

/** What the parent leaves in `inputs.json` and `weights.json`. */
export interface Listed {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Bytes; outputs are those of the last run. */
export interface MemoryReply {
  readonly firstRun: number;
  readonly allRuns: number;
  readonly outputs: Outputs;
}

/** How a peer gets the model: a compiled folder, an ONNX file and a provider, or weights and a program with the network. */
export type Way =
  | { readonly from: "compiled" }
  | { readonly from: "onnx"; readonly provider: string }
  | { readonly from: "weights"; readonly program: string };

type Run = () => Promise<Outputs>;

function each<A, B>(record: Readonly<Record<string, A>>, f: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value)]));
}

const peakBytes = (): number =>
  1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]);

const listed = (folder: string, file: string): readonly Listed[] =>
  JSON.parse(readFileSync(join(folder, file), "utf8")) as readonly Listed[];

const inputsIn = (folder: string): Readonly<Record<string, Tensor>> =>
  Object.fromEntries(
    listed(folder, "inputs.json").map(({ name, dtype, shape }) => [name, seededInput(name, shape, dtype)]),
  );

async function compiled(folder: string): Promise<Run> {
  const { device } = await openDevice();
  const { plan, constants } = readFolder(join(folder, "compiled"));
  const session = await createSession(device, plan, constants);
  const inputs = inputsIn(folder);
  return () => session.run(inputs);
}

async function onnx(folder: string, provider: string): Promise<Run> {
  const ort = loadOrt();
  const how = { executionProviders: [provider], graphOptimizationLevel: "all" };
  const session = await ort.InferenceSession.create(join(folder, "model.onnx"), how);
  const feeds = each(inputsIn(folder), (t) => toOrtTensor(ort, t));
  return async () => each(await session.run(feeds), fromOrtTensor);
}

async function web(folder: string, program: string): Promise<Run> {
  await browser();
  const { prepare } = (await import(program)) as Program;
  const file = readFileSync(join(folder, "weights.bin"));
  let at = 0;
  const weights: Record<string, Tensor> = {};
  for (const { name, dtype, shape } of listed(folder, "weights.json")) {
    const count = shape.reduce((a, b) => a * b, 1);
    weights[name] = { dtype, shape, data: new Float32Array(file.buffer, file.byteOffset + at, count) };
    at += 4 * count;
  }
  const step = async <T>(_: string, work: () => T | Promise<T>): Promise<T> => work();
  const given = { weights, inputs: inputsIn(folder), onnx: new Uint8Array(), settle: awaitDevice, step };
  const { run } = await prepare(given);
  // They are on the device; the program's record of them must not keep their file.
  for (const name of Object.keys(weights)) delete weights[name];
  return run;
}

async function main([folder, way, runs]: readonly string[]): Promise<void> {
  const how = JSON.parse(way!) as Way;
  const run = await (how.from === "compiled"
    ? compiled(folder!)
    : how.from === "onnx"
      ? onnx(folder!, how.provider)
      : web(folder!, how.program));
  let outputs = await run();
  const firstRun = peakBytes();
  for (let i = 0; i < Number(runs); i++) outputs = await run();
  process.send!({ firstRun, allRuns: peakBytes(), outputs } satisfies MemoryReply);
}

await main(process.argv.slice(2));
