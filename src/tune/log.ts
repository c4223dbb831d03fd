// The record of a tuning: settings in one line of JSON, then five bytes for each direction, its number and its projected gradient in one
// byte. It is all that is needed to make the tuned weights again from the ones it began with, and all that workers exchange.

import { error, InputError } from "../support/diagnostic.ts";

export interface TuneSettings {
  /** Name of the model, and a hash of the keys and shapes that are tuned: a log fits no other. */
  readonly model: string;
  readonly tuned: string;
  /** First word of every direction's key. */
  readonly seed: number;
  readonly epsilon: number;
  readonly rate: number;
  /** Directions a step. */
  readonly samples: number;
}

/** Direction `step * samples + sample`, and its gradient as a byte. */
export interface LogEntry {
  readonly id: number;
  readonly byte: number;
}

export interface TuneLog {
  readonly settings: TuneSettings;
  /** In ascending order of `id`, each once. */
  readonly entries: readonly LogEntry[];
}

const format = "tokenloom-tune";
const version = 1;
const ENTRY = 5;
const MAX_HEADER = 65_536;

/**
 * Sign and a logarithm in seven bits: bits 0-6 are round(8 ln |g|) + 64, from 1 to 127, so that neighbours are 13 % apart. 0 stands for
 * zero, and for what is no number.
 */
export function byteOf(gradient: number): number {
  if (!Number.isFinite(gradient) || gradient === 0) return 0;
  const exponent = Math.min(63, Math.max(-63, Math.round(8 * Math.log(Math.abs(gradient)))));
  return (gradient < 0 ? 0x80 : 0) | (exponent + 64);
}

/** What every worker applies, the one that measured it too. */
export function gradientOf(byte: number): number {
  const exponent = (byte & 0x7f) - 64;
  if (exponent === -64) return 0;
  return (byte & 0x80 ? -1 : 1) * Math.exp(exponent / 8);
}

export function writeLog(log: TuneLog): Uint8Array {
  const header = new TextEncoder().encode(`${JSON.stringify({ format, version, ...log.settings })}\n`);
  const out = new Uint8Array(header.length + ENTRY * log.entries.length);
  out.set(header);
  const view = new DataView(out.buffer);
  log.entries.forEach(({ id, byte }, i) => {
    const at = header.length + ENTRY * i;
    view.setUint32(at, id, true);
    out[at + 4] = byte;
  });
  return out;
}

/** Reads what `writeLog` writes; throws InputError on anything else. */
export function readLog(bytes: Uint8Array, name: string): TuneLog {
  const bad = (what: string): never => {
    throw new InputError([
      error("tune-log", `${name} is no tuning log: ${what}`, { help: "a log is what `tune --log` writes" }),
    ]);
  };
  const end = bytes.subarray(0, MAX_HEADER).indexOf(0x0a);
  if (end < 0) bad("it has no line of settings");
  const settings = settingsOf(new TextDecoder().decode(bytes.subarray(0, end)), bad);
  const body = bytes.subarray(end + 1);
  if (body.length % ENTRY !== 0)
    bad(`${body.length} bytes of entries are no multiple of ${ENTRY}: it was cut off`);
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const entries: LogEntry[] = [];
  for (let at = 0; at < body.length; at += ENTRY) {
    const id = view.getUint32(at, true);
    if (entries.length > 0 && id <= entries.at(-1)!.id) bad(`direction ${id} is not in order`);
    entries.push({ id, byte: body[at + 4]! });
  }
  return { settings, entries };
}

function settingsOf(text: string, bad: (what: string) => never): TuneSettings {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return bad("its first line is not JSON");
  }
  if (typeof value !== "object" || value === null) return bad("its first line holds no settings");
  const v = value as Readonly<Record<string, unknown>>;
  if (v["format"] !== format) bad("its first line does not say that it is one");
  if (v["version"] !== version)
    bad(`it is of version ${String(v["version"])}, and this program reads ${version}`);
  const number = (key: string): number => {
    const x = v[key];
    return typeof x === "number" && Number.isFinite(x) ? x : bad(`${key} is missing`);
  };
  const string = (key: string): string => {
    const x = v[key];
    return typeof x === "string" ? x : bad(`${key} is missing`);
  };
  const [seed, epsilon, rate, samples] = ["seed", "epsilon", "rate", "samples"].map(number);
  if (!Number.isInteger(seed) || seed! < 0 || seed! > 0xffffffff) bad("seed is no number of 32 bits");
  if (!Number.isSafeInteger(samples) || samples! < 1) bad("samples is no count");
  return {
    model: string("model"),
    tuned: string("tuned"),
    seed: seed!,
    epsilon: epsilon!,
    rate: rate!,
    samples: samples!,
  };
}

/**
 * The union of several workers' logs: the same bytes in whatever order they arrive. Two logs of other settings, or that disagree on a
 * direction, are an InputError.
 */
export function mergeLogs(logs: readonly { readonly name: string; readonly log: TuneLog }[]): TuneLog {
  const first = logs[0];
  if (!first) throw new InputError([error("tune-log", "there is no log to merge")]);
  const bytes = new Map<number, { readonly byte: number; readonly from: string }>();
  for (const { name, log } of logs) {
    const differs = (Object.keys(first.log.settings) as (keyof TuneSettings)[]).find(
      (key) => log.settings[key] !== first.log.settings[key],
    );
    if (differs !== undefined)
      throw new InputError([
        error(
          "tune-log",
          `${name} has ${differs} ${log.settings[differs]}, and ${first.name} has ${first.log.settings[differs]}`,
          { help: "logs of one tuning have the same settings" },
        ),
      ]);
    for (const { id, byte } of log.entries) {
      const known = bytes.get(id);
      if (known && known.byte !== byte)
        throw new InputError([
          error("tune-log", `${name} and ${known.from} have different gradients for direction ${id}`, {
            help: "each worker measures directions of its own: --worker 0/2, --worker 1/2",
          }),
        ]);
      if (!known) bytes.set(id, { byte, from: name });
    }
  }
  const entries = [...bytes].map(([id, { byte }]) => ({ id, byte })).sort((a, b) => a.id - b.id);
  return { settings: first.log.settings, entries };
}

/** Steps whose directions are all there, from the first one on: a step can be taken only when everybody has sent. */
export function completeSteps({ settings, entries }: TuneLog): number {
  const last = entries.findIndex((e, i) => e.id !== i);
  return Math.floor((last < 0 ? entries.length : last) / settings.samples);
}
