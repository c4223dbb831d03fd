// What a capsule holds: one JSON record, and the files that it names with their hashes. Reading checks every field and every hash.

import { createHash } from "node:crypto";
import { checkTarget, type Target } from "../ir/target.ts";
import { error, InputError } from "../support/diagnostic.ts";

export const capsuleFormat = "tokenloom-capsule";
export const capsuleVersion = 1;
export const recordName = "capsule.json";

export interface CapsuleRecord {
  readonly format: typeof capsuleFormat;
  readonly version: typeof capsuleVersion;
  readonly compiler: string;
  readonly machine: { readonly node: string; readonly platform: string };
  /** The model file as it was named, and every text it was made of. */
  readonly root: string;
  readonly sources: readonly { readonly name: string; readonly file: string }[];
  readonly imports: readonly { readonly from: string; readonly path: string; readonly name: string }[];
  readonly options: {
    readonly models?: readonly string[];
    readonly config?: string;
    readonly set: Readonly<Record<string, string>>;
    readonly without: readonly string[];
    readonly also: readonly string[];
    readonly schedules: Readonly<Record<string, string>>;
  };
  readonly entry: string;
  readonly dims: Readonly<Record<string, number>>;
  /** `seed:0`; or what was given, of which only the names are kept unless the tensors are packed. */
  readonly weights: readonly string[];
  readonly inputs: readonly string[];
  readonly packedWeights: boolean;
  readonly packedInputs: boolean;
  readonly tolerance: number;
  readonly target: Target;
  readonly adapter: {
    readonly name: string;
    readonly software: boolean;
    readonly info: Readonly<Record<string, unknown>>;
    readonly toggles: { readonly on: readonly string[]; readonly off: readonly string[] };
  };
  readonly results: readonly CapsuleResult[];
  /** What went wrong instead of results. */
  readonly failure?: string;
  /** SHA-256 of every other file. */
  readonly files: Readonly<Record<string, string>>;
}

export interface CapsuleResult {
  readonly name: string;
  readonly shape: readonly number[];
  /** From the CPU reference in f64, and the largest value of that. */
  readonly difference: number | null;
  readonly scale: number;
  /** Of the values as f32. */
  readonly hash: string;
}

export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

type Check = (x: unknown) => boolean;
const text: Check = (x) => typeof x === "string" && x.length < 10_000;
const number: Check = (x) => typeof x === "number" && Number.isFinite(x);
const flag: Check = (x) => typeof x === "boolean";
const isObject = (x: unknown): x is Readonly<Record<string, unknown>> =>
  typeof x === "object" && x !== null && !Array.isArray(x);
const list =
  (check: Check): Check =>
  (x) =>
    Array.isArray(x) && x.length < 10_000 && x.every(check);
const record =
  (check: Check): Check =>
  (x) =>
    isObject(x) && Object.values(x).every(check);
const optional =
  (check: Check): Check =>
  (x) =>
    x === undefined || check(x);
const fields =
  (checks: Readonly<Record<string, Check>>): Check =>
  (x) =>
    isObject(x) && Object.entries(checks).every(([name, check]) => check(x[name]));

const parts: Readonly<Record<string, Check>> = {
  compiler: text,
  machine: fields({ node: text, platform: text }),
  root: text,
  sources: list(fields({ name: text, file: text })),
  imports: list(fields({ from: text, path: text, name: text })),
  options: fields({
    models: optional(list(text)),
    config: optional(text),
    set: record(text),
    without: list(text),
    also: list(text),
    schedules: record(text),
  }),
  entry: text,
  dims: record(number),
  weights: list(text),
  inputs: list(text),
  packedWeights: flag,
  packedInputs: flag,
  tolerance: number,
  target: (x) => checkTarget(x).length === 0,
  adapter: fields({
    name: text,
    software: flag,
    info: isObject,
    toggles: fields({ on: list(text), off: list(text) }),
  }),
  results: list(
    fields({
      name: text,
      shape: list(number),
      difference: (x) => x === null || number(x),
      scale: number,
      hash: text,
    }),
  ),
  failure: optional(text),
  files: record(text),
};

/** The record of a capsule whose files are all there and are what they were. */
export function readRecord(files: ReadonlyMap<string, Uint8Array>, path: string): CapsuleRecord {
  const wrong = (what: string): InputError => new InputError([error("capsule-content", `${path}: ${what}`)]);
  const bytes = files.get(recordName);
  if (!bytes || bytes.length > 2 ** 24) throw wrong(`there is no ${recordName}`);
  let data: unknown;
  try {
    data = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw wrong(`${recordName} is not JSON`);
  }
  if (!isObject(data) || data["format"] !== capsuleFormat) throw wrong("this is no capsule");
  if (data["version"] !== capsuleVersion)
    throw wrong(
      `it is of version ${String(data["version"])}, and this program reads version ${capsuleVersion}`,
    );
  for (const [name, check] of Object.entries(parts))
    if (!check(data[name])) throw wrong(`its ${name} cannot be read`);
  const read = data as object as CapsuleRecord;
  for (const [name, hash] of Object.entries(read.files)) {
    const file = files.get(name);
    if (!file) throw wrong(`${name} is missing`);
    if (hashOf(file) !== hash) throw wrong(`${name} is not what was packed`);
  }
  for (const s of read.sources) if (!files.has(s.file)) throw wrong(`${s.file} is missing`);
  return read;
}
