// Values that exist while a file is elaborated: numbers, words, lists, blocks, and tensors of the graph being made.
// Knows how values are told apart, compared and described; not how they come about.

import type * as ast from "../parser/ast.ts";
import { constantOf, dim, type Dim } from "../ir/dim.ts";
import type { ValueId } from "../ir/graph.ts";
import type { OpDefinition } from "../ir/op.ts";
import { showType, type DType, type TensorType } from "../ir/types.ts";
import type { Span } from "../support/source.ts";
import type { FileScope } from "./files.ts";

export interface TensorValue {
  readonly kind: "tensor";
  readonly id: ValueId;
  /** Axis names are those the reader gave it where it is used; the node's own type may have fewer. */
  readonly type: TensorType;
  /** What made it, for notes. */
  readonly span: Span;
}

/** A block or an op as a value, with the parameters that have been given so far. */
export interface BlockValue {
  readonly kind: "block";
  readonly target:
    | { readonly kind: "block"; readonly block: ast.Block; readonly file: FileScope }
    | { readonly kind: "op"; readonly op: OpDefinition };
  readonly bound: ReadonlyMap<string, Given>;
}

/** An argument with the place where it was written. */
export interface Given {
  readonly value: Value;
  readonly span: Span;
}

export type Value =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string }
  /** One of the words of an enumeration. */
  | { readonly kind: "word"; readonly value: string; readonly choices: readonly string[] }
  | { readonly kind: "dtype"; readonly value: DType }
  /** A size that is no number yet. Sizes that are numbers are ints. */
  | { readonly kind: "dim"; readonly value: Dim }
  | { readonly kind: "list"; readonly items: readonly Value[] }
  | {
      readonly kind: "tuple";
      readonly items: readonly Value[];
      readonly names?: readonly (string | undefined)[];
    }
  | { readonly kind: "none" }
  | BlockValue
  | TensorValue
  /** What an expression with an error gives: it is accepted everywhere, so that one mistake is reported once. */
  | { readonly kind: "poison" };

export const poison: Value = { kind: "poison" };
export const none: Value = { kind: "none" };
export const int = (value: number): Value => ({ kind: "int", value });
export const float = (value: number): Value => ({ kind: "float", value });
export const bool = (value: boolean): Value => ({ kind: "bool", value });
export const list = (items: readonly Value[]): Value => ({ kind: "list", items });

/** A size as a value: an int where it is a number. */
export function size(d: Dim): Value {
  const constant = constantOf(d);
  return constant === undefined ? { kind: "dim", value: d } : int(constant);
}

/** An int or a symbolic size as a dimension. */
export function asDim(v: Value): Dim | undefined {
  if (v.kind === "dim") return v.value;
  return v.kind === "int" ? dim(v.value) : undefined;
}

export function hasPoison(v: Value): boolean {
  return v.kind === "poison";
}

const kinds: Readonly<Record<Value["kind"], string>> = {
  int: "an int",
  float: "a float",
  bool: "a bool",
  string: "a string",
  word: "a word",
  dtype: "an element type",
  dim: "a symbolic size",
  list: "a list",
  tuple: "a tuple",
  none: "none",
  block: "a block",
  tensor: "a tensor",
  poison: "an error",
};

/** `a list`, `a tensor`: for "expects an int, got a list". */
export function kindOf(v: Value): string {
  return kinds[v.kind];
}

/** The value as it would be written, shortened: `[64, 128, 320, 512]`, `f32[B, 64]`, `PoolMixer(size = 3)`. */
export function describe(v: Value, budget = 60): string {
  switch (v.kind) {
    case "int":
    case "bool":
    case "dtype":
      return String(v.value);
    case "float":
      return Number.isInteger(v.value) && Math.abs(v.value) < 1e15 ? v.value.toFixed(1) : String(v.value);
    case "word":
      return v.value;
    case "string":
      return JSON.stringify(v.value.length > budget ? `${v.value.slice(0, budget)}...` : v.value);
    case "dim":
      return v.value.key;
    case "list":
    case "tuple":
      return describeItems(v, budget);
    case "none":
      return "none";
    case "block":
      return describeBlock(v, budget);
    case "tensor":
      return showType(v.type);
    case "poison":
      return "?";
    default:
      return v satisfies never;
  }
}

function describeItems(v: Value & { kind: "list" | "tuple" }, budget: number): string {
  const parts: string[] = [];
  let left = budget;
  for (const item of v.items) {
    if (left <= 0) {
      parts.push("...");
      break;
    }
    const text = describe(item, left);
    parts.push(text);
    left -= text.length + 2;
  }
  const inside = parts.join(", ");
  return v.kind === "list" ? `[${inside}]` : `(${inside})`;
}

function describeBlock(v: BlockValue, budget: number): string {
  if (v.bound.size === 0 || budget <= 0) return nameOfBlock(v);
  const args = [...v.bound].map(([name, given]) => `${name} = ${describe(given.value, budget / 2)}`);
  return `${nameOfBlock(v)}(${args.join(", ")})`;
}

export function nameOfBlock(v: BlockValue): string {
  return v.target.kind === "op" ? v.target.op.name : v.target.block.name.text;
}
