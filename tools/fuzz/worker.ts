// Runs a range of inputs of one reader in a process of its own, which can be ended from outside when an input hangs, and which memory ends
// by itself. The number of the input at hand stands in a file, so that the outside knows which it was.

import { openSync, writeSync } from "node:fs";
import { inputOf, readerNamed, readers as standard, type Input, type Reader } from "./readers.ts";

export interface WorkerTask {
  /** A module that exports `readers`, for tests of the fuzzer itself. */
  readonly module: string | undefined;
  readonly reader: string;
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  /** Holds two numbers of 32 bits: the input at hand, and how many were accepted so far. */
  readonly progress: string;
}

export interface Failure {
  readonly index: number;
  readonly message: string;
  /** Equal for failures that are most likely the same mistake. */
  readonly signature: string;
  readonly input: Input;
}

async function work(task: WorkerTask): Promise<void> {
  const progress = new Int32Array(2);
  const file = openSync(task.progress, "r+");
  const among = task.module === undefined ? standard : await readersOf(task.module);
  const reader = readerNamed(task.reader, among)!;
  const seen = new Set<string>();
  for (let index = task.from; index < task.to; index++) {
    const input = await inputOf(reader, task.seed, index);
    progress[0] = index;
    writeSync(file, progress, 0, 8, 0);
    const failure = await failureOf(reader, input);
    if (!failure) continue;
    if (failure === "accepted") progress[1]!++;
    else {
      const small = seen.has(failure.signature) ? input : await smaller(reader, input, failure.signature);
      seen.add(failure.signature);
      await send({ index, ...failure, input: small });
    }
  }
  progress[0] = task.to;
  writeSync(file, progress, 0, 8, 0);
  process.disconnect();
}

async function readersOf(module: string): Promise<readonly Reader[]> {
  return ((await import(module)) as { readonly readers: readonly Reader[] }).readers;
}

/** Gone out before the next input is tried, which may end the process. */
function send(failure: Failure): Promise<void> {
  return new Promise((resolve) => process.send!(failure, undefined, {}, () => resolve()));
}

async function failureOf(
  reader: Reader,
  input: Input,
): Promise<Pick<Failure, "message" | "signature"> | "accepted" | undefined> {
  try {
    return (await reader.check(input)) ? "accepted" : undefined;
  } catch (e) {
    const error = e instanceof Error ? e : new Error(String(e));
    const frame = /\bat .*?((?:src|tools|test)\/[\w./-]+:\d+)/.exec(error.stack ?? "")?.[1] ?? "";
    const kind = error.message.split(/[:\n]/)[0]!.replace(/%?\d+/g, "N");
    return {
      message: (error.stack ?? error.message).slice(0, 4000),
      signature: `${error.name}: ${kind} at ${frame}`,
    };
  }
}

/** Takes pieces away while the same failure stays; a bounded number of tries. */
async function smaller(reader: Reader, input: Input, signature: string): Promise<Input> {
  let best = input;
  let tries = 400;
  for (let piece = best.length >> 1; piece >= 1 && tries > 0; piece >>= 1)
    for (let at = 0; at < best.length && tries-- > 0;) {
      const found = cut(best, at, piece);
      const failure = await failureOf(reader, found);
      if (typeof failure === "object" && failure.signature === signature) best = found;
      else at += piece;
    }
  return best;
}

function cut(input: Input, at: number, length: number): Input {
  if (typeof input === "string") return input.slice(0, at) + input.slice(at + length);
  const out = new Uint8Array(Math.max(at, input.length - length));
  out.set(input.subarray(0, at));
  out.set(input.subarray(Math.min(input.length, at + length)), at);
  return out.slice(0, Math.max(0, input.length - length));
}

await work(JSON.parse(process.argv[2]!) as WorkerTask);
