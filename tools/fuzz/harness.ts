// Fuzzes one reader: hands ranges of inputs to a process, watches how long each takes and what memory it holds, ends the process where
// that is too much, and goes on behind the input that was at fault. A process, not a thread: a thread that is out of memory may take all
// others with it.

import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inputOf, readerNamed, readers, type Input, type Reader } from "./readers.ts";
import type { Failure, WorkerTask } from "./worker.ts";

export interface FuzzOptions {
  readonly reader: string;
  readonly count: number;
  readonly seed: number;
  /** For one input. */
  readonly milliseconds?: number;
  /** Of the heap; with what its buffers hold the process may have about four times that. */
  readonly megabytes?: number;
  /** Readers other than the standard ones, by a module's address, for tests. */
  readonly module?: { readonly url: string; readonly readers: readonly Reader[] };
  readonly onProgress?: (done: number, accepted: number, failures: number) => void;
}

export interface FuzzResult {
  readonly reader: string;
  readonly count: number;
  readonly accepted: number;
  /** One for each kind of failure. */
  readonly failures: readonly Failure[];
  /** All, the repeated ones included. */
  readonly failed: number;
  readonly seconds: number;
}

/** A run ends early after this many kinds of failure: a reader that is broken needs no more. */
const mostKinds = 20;

export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const kinds = new Map<string, Failure>();
  const started = performance.now();
  let [failed, accepted, at] = [0, 0, 0];
  const add = (f: Failure): void => {
    failed++;
    if (!kinds.has(f.signature)) kinds.set(f.signature, f);
  };
  while (at < options.count && kinds.size < mostKinds) {
    const end = await runWorker(options, at, add, accepted, failed);
    accepted += end.accepted;
    at = end.at;
    if (end.reason === undefined) continue;
    const reader = readerNamed(options.reader, options.module?.readers ?? readers)!;
    const input = await inputOf(reader, options.seed, at);
    add({ index: at, message: end.reason, signature: `${end.reason} at input ${at}`, input });
    at++;
  }
  return {
    reader: options.reader,
    count: at,
    accepted,
    failures: [...kinds.values()],
    failed,
    seconds: (performance.now() - started) / 1000,
  };
}

interface WorkerEnd {
  /** The first input that was not checked. */
  readonly at: number;
  readonly accepted: number;
  /** Why the process ended before its time. */
  readonly reason?: string;
}

async function runWorker(
  options: FuzzOptions,
  from: number,
  add: (f: Failure) => void,
  acceptedBefore: number,
  failedBefore: number,
): Promise<WorkerEnd> {
  const folder = mkdtempSync(join(tmpdir(), "tokenloom-fuzz-"));
  const progress = join(folder, "progress");
  const view = new Int32Array([-1, 0]); // loading and making the corpus take longer than an input
  writeFileSync(progress, view);
  const file = openSync(progress, "r");
  try {
    const { reader, seed, count, module } = options;
    const task: WorkerTask = { module: module?.url, reader, seed, from, to: count, progress };
    const reason = await watched(options, task, add, () => {
      readSync(file, view, 0, 8, 0);
      options.onProgress?.(Math.max(view[0]!, from), acceptedBefore + view[1]!, failedBefore);
      return view[0]!;
    });
    readSync(file, view, 0, 8, 0);
    const [at, accepted] = [view[0]!, view[1]!];
    if (at < 0) throw new Error(`the fuzzer itself failed: ${reason ?? "no input was tried"}`);
    return { at, accepted, ...(at < count && { reason: reason ?? "the process ended" }) };
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs the process to its end, or ends it; says why it did not get to the end by itself. */
function watched(
  options: FuzzOptions,
  task: WorkerTask,
  add: (f: Failure) => void,
  at: () => number,
): Promise<string | undefined> {
  const { megabytes = 512 } = options;
  const among = options.module?.readers ?? readers;
  const milliseconds = options.milliseconds ?? readerNamed(options.reader, among)?.milliseconds ?? 10_000;
  const child = fork(fileURLToPath(new URL("./worker.ts", import.meta.url)), [JSON.stringify(task)], {
    execArgv: [`--max-old-space-size=${megabytes}`, "--import", "tsx"],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let words = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (words = (words + text).slice(-8000)));
  child.on("message", (f: Failure) => add(f));
  let [last, since] = [-1, performance.now()];
  let reason: string | undefined;
  const watch = setInterval(() => {
    const now = at();
    if (now !== last) [last, since] = [now, performance.now()];
    const allowed = now < 0 ? 120_000 : milliseconds;
    if (performance.now() - since > allowed) reason = `takes more than ${allowed} ms`;
    if (residentMegabytes(child.pid) > 4 * megabytes + 512) reason = "fills memory";
    if (reason !== undefined) child.kill("SIGKILL");
  }, 250);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearInterval(watch);
      if (reason === undefined && /heap out of memory/.test(words)) reason = "fills memory";
      if (reason === undefined && code !== 0) reason = `the process ended (${signal ?? code}): ${words}`;
      resolve(reason);
    });
  });
}

/** What the process holds beside its heap counts too; known on Linux alone. */
function residentMegabytes(pid: number | undefined): number {
  try {
    return (Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * 4096) / 2 ** 20;
  } catch {
    return 0;
  }
}

export const failuresFolder = "test/fuzz/failures";

/** Keeps an input that fails, to be replayed by the tests for good; says where. */
export function keep(reader: string, input: Input): string {
  const hash = createHash("sha256").update(input).digest("hex").slice(0, 12);
  const extension = readerNamed(reader)?.extension ?? "bin";
  const path = join(failuresFolder, `${reader}-${hash}.${extension}`);
  mkdirSync(failuresFolder, { recursive: true });
  if (!existsSync(path)) writeFileSync(path, input);
  return path;
}
