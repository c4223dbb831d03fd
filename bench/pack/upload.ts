// How fast bytes go to the adapter and come back, by every way that WebGPU has: `upload.js [--out FILE] [--smoke]`. A line of JSON for each
// way and size goes to stdout, and to the end of FILE. How the runtime carries inputs (src/runtime/staging.ts) and outputs is chosen by it.

import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { mapRead, mapWrite, usage } from "../../src/runtime/buffers.ts";
import { openDevice } from "../../src/runtime/device-node.ts";
import { awaitDevice } from "../../src/runtime/wait.ts";
import { median, quantile } from "../compare.ts";

export interface TransferRow {
  readonly way: "upload" | "read-back" | "host";
  readonly how: string;
  readonly bytes: number;
  /** Medians. Until the program goes on with all of it done. */
  readonly milliseconds: number;
  readonly p10: number;
  readonly p90: number;
  readonly runs: number;
  /** Parts of it, medians: what the program does itself, and what it waits for. */
  readonly host?: number;
  readonly wait?: number;
  /** 1e9 bytes a second, of all of it. */
  readonly rate: number;
}

/** Milliseconds of one transfer. */
interface Span {
  readonly host: number;
  readonly wait: number;
}

interface Way {
  readonly way: TransferRow["way"];
  readonly how: string;
  /** Of `round` the bytes are that have to arrive: wrong ones are an error. */
  once(round: number): Promise<Span>;
  dispose(): void;
}

const MiB = 2 ** 20;
const { values } = parseArgs({
  options: {
    out: { type: "string" },
    smoke: { type: "boolean", default: process.env["TOKENLOOM_BENCH_SMOKE"] === "1" },
    device: { type: "string" },
    rounds: { type: "string" },
    /** Milliseconds for one size; the first rounds are taken in any case. */
    budget: { type: "string", default: "4000" },
    mib: { type: "string" },
  },
});
const megabytes = values.mib?.split(",").map(Number) ?? (values.smoke ? [0.25, 1] : [1, 8, 77, 256]);
const rounds = Number(values.rounds ?? (values.smoke ? 3 : 15));
const LEAST_ROUNDS = 3;

const opened = await openDevice({ device: values.device });
const { device } = opened;
device.onuncapturederror = ({ error }) => {
  throw new Error(error.message);
};

const digits = (x: number): number => Number(x.toPrecision(4));
const now = (): number => performance.now();
const put = (row: TransferRow): void => {
  const line = JSON.stringify({ kind: "transfer", adapter: opened.name, ...row });
  console.log(line);
  if (values.out !== undefined) appendFileSync(values.out, `${line}\n`);
};

// ---- what is carried ------------------------------------------------------------------------------------------------

/** Numbers that differ by place and round. */
const word = (index: number, round: number): number => (index * 2654435761 + round * 40503) >>> 0;

/** One word of every page is another in another round: all has to be carried, and making it costs little. */
function stamp(words: Uint32Array, round: number): void {
  for (let i = 0; i < words.length; i += 1024) words[i] = word(i, round);
  words[words.length - 1] = word(words.length - 1, round);
}

function check(how: string, got: number | undefined, index: number, round: number): void {
  if (got !== word(index, round)) throw new Error(`${how}: word ${index} is not the one that was sent`);
}

function checkAll(how: string, words: Uint32Array, round: number): void {
  for (let i = 0; i < words.length; i += 1024) check(how, words[i], i, round);
  check(how, words.at(-1), words.length - 1, round);
}

const create = (size: number, flags: number, mappedAtCreation = false): GPUBuffer =>
  device.createBuffer({ size, usage: flags, mappedAtCreation });

function submitCopy(from: GPUBuffer, at: number, to: GPUBuffer, toAt: number, bytes: number): void {
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(from, at, to, toAt, bytes);
  device.queue.submit([encoder.finish()]);
}

const done = (): Promise<undefined> => awaitDevice(device.queue.onSubmittedWorkDone());

/** Whole pages, but for the last part. */
function partsOf(bytes: number, count: number): readonly { readonly at: number; readonly bytes: number }[] {
  const each = Math.ceil(bytes / count / 4096) * 4096;
  const parts = [];
  for (let at = 0; at < bytes; at += each) parts.push({ at, bytes: Math.min(each, bytes - at) });
  return parts;
}

// ---- up -------------------------------------------------------------------------------------------------------------

interface Upload {
  readonly how: string;
  send(words: Uint32Array<ArrayBuffer>, target: GPUBuffer): void;
  /** After the work is done: ready for the next, not part of the time. */
  again?(): Promise<void>;
  dispose?(): void;
}

function upload(u: Upload, words: Uint32Array<ArrayBuffer>, target: GPUBuffer, small: GPUBuffer): Way {
  const bytes = words.byteLength;
  return {
    way: "upload",
    how: u.how,
    async once(round) {
      stamp(words, round);
      const start = now();
      u.send(words, target);
      // As a run has one: work that reads what came.
      submitCopy(target, 0, small, 0, 4);
      const host = now() - start;
      await done();
      const wait = now() - start - host;
      for (const at of [0, Math.floor(bytes / 8192) * 4096, bytes - 4]) {
        submitCopy(target, at, small, 0, 4);
        await awaitDevice(small.mapAsync(mapRead));
        check(u.how, new Uint32Array(small.getMappedRange())[0], at / 4, round);
        small.unmap();
      }
      await u.again?.();
      return { host, wait };
    },
    dispose: () => u.dispose?.(),
  };
}

function writeBuffer(pieceBytes?: number): Upload {
  return {
    how: pieceBytes === undefined ? "writeBuffer" : `writeBuffer, pieces of ${pieceBytes / MiB} MiB`,
    send(words, target) {
      const piece = pieceBytes ?? words.byteLength;
      for (let at = 0; at < words.byteLength; at += piece)
        device.queue.writeBuffer(target, at, words.subarray(at / 4, (at + piece) / 4));
    },
  };
}

/** A buffer for each part, kept and mapped before the clock begins; a submit for each, so that copies overlap. */
function staged(bytes: number, count: number): Upload {
  const parts = partsOf(bytes, count).map((p) => ({
    ...p,
    buffer: create(p.bytes, usage.MAP_WRITE | usage.COPY_SRC, true),
  }));
  return {
    how: `staging, ${count} part${count === 1 ? "" : "s"}`,
    send(words, target) {
      for (const p of parts) {
        new Uint32Array(p.buffer.getMappedRange()).set(words.subarray(p.at / 4, (p.at + p.bytes) / 4));
        p.buffer.unmap();
        submitCopy(p.buffer, 0, target, p.at, p.bytes);
      }
    },
    async again() {
      await Promise.all(parts.map((p) => awaitDevice(p.buffer.mapAsync(mapWrite))));
    },
    dispose: () => parts.forEach((p) => p.buffer.destroy()),
  };
}

const freshlyStaged: Upload = {
  how: "staging, made anew",
  send(words, target) {
    const buffer = create(words.byteLength, usage.MAP_WRITE | usage.COPY_SRC, true);
    new Uint32Array(buffer.getMappedRange()).set(words);
    buffer.unmap();
    submitCopy(buffer, 0, target, 0, words.byteLength);
    buffer.destroy();
  },
};

// ---- back -----------------------------------------------------------------------------------------------------------

/** `count` buffers, a submit for each, kept between rounds or made anew; into memory that is there already, or new. */
function readBack(words: Uint32Array<ArrayBuffer>, count: number, fresh: boolean, into: boolean): Way {
  const bytes = words.byteLength;
  const source = create(bytes, usage.COPY_DST | usage.COPY_SRC | usage.STORAGE);
  const make = () =>
    partsOf(bytes, count).map((p) => ({ ...p, buffer: create(p.bytes, usage.MAP_READ | usage.COPY_DST) }));
  const kept = fresh ? undefined : make();
  const memory = into ? new Uint32Array(words.length).fill(1) : undefined;
  const how = [
    fresh ? "buffer made anew" : "buffer kept",
    count === 1 ? "" : `${count} parts`,
    into ? "into memory that was there" : "into new memory",
  ];
  const name = how.filter((t) => t !== "").join(", ");
  return {
    way: "read-back",
    how: name,
    async once(round) {
      stamp(words, round);
      device.queue.writeBuffer(source, 0, words);
      await done();
      const start = now();
      const parts = kept ?? make();
      for (const p of parts) submitCopy(source, p.at, p.buffer, 0, p.bytes);
      const maps = parts.map((p) => p.buffer.mapAsync(mapRead));
      const got = memory ?? (count === 1 ? undefined : new Uint32Array(words.length));
      let host = now() - start;
      let result: Uint32Array | undefined = got;
      for (const [i, p] of parts.entries()) {
        await awaitDevice(maps[i]!);
        const from = now();
        const mapped = p.buffer.getMappedRange();
        if (got) got.set(new Uint32Array(mapped), p.at / 4);
        else result = new Uint32Array(mapped.slice(0));
        p.buffer.unmap();
        host += now() - from;
      }
      const wait = now() - start - host;
      if (!kept) for (const p of parts) p.buffer.destroy();
      checkAll(name, result!, round);
      return { host, wait };
    },
    dispose() {
      source.destroy();
      for (const p of kept ?? []) p.buffer.destroy();
    },
  };
}

// ---- the processor's own copies, and what a wait costs --------------------------------------------------------------

function hostCopy(words: Uint32Array<ArrayBuffer>, into: boolean): Way {
  const memory = new Uint32Array(words.length).fill(1);
  const how = into ? "copy into memory that was there" : "copy into new memory";
  return {
    way: "host",
    how,
    once(round) {
      stamp(words, round);
      const start = now();
      const to = into ? memory : words.slice();
      if (into) memory.set(words);
      const host = now() - start;
      checkAll(how, to, round);
      return Promise.resolve({ host, wait: 0 });
    },
    dispose: () => undefined,
  };
}

/** Nothing to carry: what asking and waiting take. */
function waits(): readonly Way[] {
  const small = create(16, usage.MAP_READ | usage.COPY_DST);
  const source = create(16, usage.COPY_SRC);
  const way = (how: string, work: () => Promise<unknown>): Way => ({
    way: "host",
    how,
    async once() {
      const start = now();
      await work();
      return { host: 0, wait: now() - start };
    },
    dispose: () => undefined,
  });
  const mapped = async (slow: boolean): Promise<void> => {
    submitCopy(source, 0, small, 0, 16);
    const map = small.mapAsync(mapRead);
    await (slow ? awaitDevice(map) : map);
    small.unmap();
  };
  return [
    way("copy of 16 bytes, submit, map, unmap", () => mapped(true)),
    way("the same, with the event loop turning all the time", () => mapped(false)),
    way("map, unmap", async () => {
      await awaitDevice(small.mapAsync(mapRead));
      small.unmap();
    }),
    way("a turn of the event loop", () => new Promise((resolve) => setImmediate(resolve))),
  ];
}

// ---- turns ----------------------------------------------------------------------------------------------------------

/** All ways in turns; the first round warms up and does not count. */
async function measure(ways: readonly Way[], bytes: number, count: number): Promise<void> {
  const spans = new Map<Way, Span[]>(ways.map((w) => [w, []]));
  const end = now() + Number(values.budget);
  for (let round = 0; round <= count && (round <= LEAST_ROUNDS || now() < end); round++)
    for (const w of ways) {
      const span = await w.once(round + 1);
      if (round > 0) spans.get(w)!.push(span);
    }
  for (const [w, taken] of spans) {
    w.dispose();
    const all = taken.map((s) => s.host + s.wait);
    const of = (part: keyof Span): number => digits(median(taken.map((s) => s[part])));
    put({
      way: w.way,
      how: w.how,
      bytes,
      milliseconds: digits(median(all)),
      p10: digits(quantile(all, 0.1)),
      p90: digits(quantile(all, 0.9)),
      runs: taken.length,
      host: of("host"),
      wait: of("wait"),
      rate: digits(bytes / median(all) / 1e6),
    });
  }
}

await measure(waits(), 0, values.smoke ? 5 : 200);
for (const m of megabytes) {
  const bytes = Math.ceil(m * MiB);
  if (bytes > device.limits.maxBufferSize) continue;
  const words = new Uint32Array(bytes / 4).fill(1);
  const target = create(bytes, usage.COPY_DST | usage.COPY_SRC | usage.STORAGE);
  const small = create(16, usage.MAP_READ | usage.COPY_DST);
  const ups = [
    writeBuffer(),
    ...[1, 2, 4].map((n) => writeBuffer(n * MiB)),
    freshlyStaged,
    ...[1, 2, 4].map((n) => staged(bytes, n)),
  ];
  await measure(
    ups.map((u) => upload(u, words, target, small)),
    bytes,
    rounds,
  );
  await measure(
    [
      readBack(words, 1, true, false),
      readBack(words, 1, false, false),
      readBack(words, 1, false, true),
      readBack(words, 2, false, true),
      readBack(words, 4, false, true),
      hostCopy(words, false),
      hostCopy(words, true),
    ],
    bytes,
    rounds,
  );
  target.destroy();
  small.destroy();
}
process.exit(0);
