// What is known of a compilation beside its graphs: enough to stop it, and to go on from text, elsewhere if need be. In graph text it is
// the statement `compilation { ... }`, whose body is JSON. Knows no pass by name.

import { jsonText } from "../support/json-text.ts";
import { checkTarget, type Target } from "./target.ts";

/** A parameter as it was used, and who gave it. */
export interface Setting {
  readonly name: string;
  readonly value: string;
  readonly from: "default" | "config" | "set";
}

export interface EntrySettings {
  readonly model: string;
  readonly config?: string;
  readonly settings: readonly Setting[];
}

/** Names of another checkpoint, as src/elaborate/checkpoint-map.ts understands them. */
export interface CheckpointRecord {
  readonly name: string;
  readonly model: string;
  readonly rules: readonly {
    readonly verb: string;
    readonly from: readonly string[];
    readonly to: readonly string[];
    readonly axis: number;
  }[];
}

export interface Compilation {
  /** Version of the compiler that wrote it. */
  readonly compiler: string;
  /** Passes that have run, in order. */
  readonly passes: readonly string[];
  /** Named configuration, where one was chosen. */
  readonly config?: string;
  /** One for each entry point. */
  readonly entries: readonly EntrySettings[];
  readonly without: readonly string[];
  readonly also: readonly string[];
  readonly schedules: Readonly<Record<string, string>>;
  /** How routed experts are computed, where that was asked for. */
  readonly experts?: string;
  /** What weights become, where that was asked for: `int4:group=64`. */
  readonly quantize?: string;
  /** Sizes that runs are expected to have. */
  readonly sizes?: Readonly<Record<string, number>>;
  readonly checkpoints: readonly CheckpointRecord[];
  readonly target: Target;
}

export function printCompilation(c: Compilation): string {
  const { checkpoints, target, ...others } = c;
  return `compilation ${jsonText({
    ...others,
    checkpoints: checkpoints.map(({ name, model, rules }) => ({
      ...{ name, model },
      rules: rules.map(({ verb, from, to, axis }) => ({ verb, from, to, axis })),
    })),
    target,
  })}`;
}

/** The record, or what is wrong with it. */
export function readCompilation(data: unknown): Compilation | { readonly problem: string } {
  const problem = problemOf(data);
  return problem === undefined ? (data as Compilation) : { problem };
}

type Fields = Readonly<Record<string, unknown>>;
/** What should stand in a field. */
type Check = (x: unknown) => boolean;

const maxItems = 10_000;
const maxText = 100_000;

const isText: Check = (x) => typeof x === "string" && x.length <= maxText;
const isObject = (x: unknown): x is Fields => typeof x === "object" && x !== null && !Array.isArray(x);
const listOf =
  (check: Check): Check =>
  (x) =>
    Array.isArray(x) && x.length <= maxItems && x.every(check);
const recordOf =
  (check: Check): Check =>
  (x) =>
    isObject(x) && Object.values(x).length <= maxItems && Object.values(x).every(check);
const isSize: Check = (x) => typeof x === "number" && Number.isSafeInteger(x) && x >= 0;
const optional =
  (check: Check): Check =>
  (x) =>
    x === undefined || check(x);
const oneOf =
  (...words: readonly string[]): Check =>
  (x) =>
    words.some((w) => w === x);
/** These fields and no others. */
const fields =
  (checks: Readonly<Record<string, Check>>): Check =>
  (x) =>
    isObject(x) &&
    Object.keys(x).every((name) => Object.hasOwn(checks, name)) &&
    Object.entries(checks).every(([name, check]) => check(x[name]));

const isSetting = fields({ name: isText, value: isText, from: oneOf("default", "config", "set") });
const isRule = fields({
  verb: isText,
  from: listOf(isText),
  to: listOf(isText),
  axis: (x) => typeof x === "number" && Number.isSafeInteger(x),
});

const parts: Readonly<Record<keyof Omit<Compilation, "target">, readonly [check: Check, what: string]>> = {
  compiler: [isText, "a version"],
  passes: [listOf(isText), "a list of names of passes"],
  config: [optional(isText), "the name of a configuration"],
  entries: [
    listOf(fields({ model: isText, config: optional(isText), settings: listOf(isSetting) })),
    "a list of { model, settings: [{ name, value, from }] }",
  ],
  without: [listOf(isText), "a list of names of passes"],
  also: [listOf(isText), "a list of names of passes"],
  schedules: [recordOf(isText), "schedules by name"],
  experts: [optional(isText), "a way of computing routed experts"],
  quantize: [optional(isText), "a width for weights"],
  sizes: [optional(recordOf(isSize)), "sizes by name"],
  checkpoints: [
    listOf(fields({ name: isText, model: isText, rules: listOf(isRule) })),
    "a list of { name, model, rules: [{ verb, from, to, axis }] }",
  ],
};

function problemOf(data: unknown): string | undefined {
  if (!isObject(data)) return "it is no object";
  for (const name of Object.keys(data))
    if (name !== "target" && !Object.hasOwn(parts, name))
      return `it has an unknown field ${name.slice(0, 100)}`;
  for (const [name, [check, what]] of Object.entries(parts))
    if (!check(data[name])) return `its ${name} should be ${what}`;
  const [fault] = checkTarget(data["target"]);
  return fault === undefined ? undefined : `its target ${fault}`;
}
