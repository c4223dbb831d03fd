// `preprocess image (size = 224, crop_pct = 0.9, ...)`: timm's fields, as data of the input.

import type * as ast from "../parser/ast.ts";
import type { Preprocess } from "../ir/graph.ts";
import { fail, type Context } from "./context.ts";
import { evaluate, type Hint } from "./evaluate.ts";
import { suggestion } from "./suggest.ts";
import { describe, kindOf, type Value } from "./value.ts";

const interpolations = ["bicubic", "bilinear", "nearest"] as const;

interface Field {
  readonly doc: string;
  readonly hint?: Hint;
  fits(v: Value): boolean;
}

const isNumber = (v: Value): v is Value & { kind: "int" | "float" } => v.kind === "int" || v.kind === "float";
const threeNumbers = (v: Value): boolean =>
  v.kind === "list" && (v.items.length === 1 || v.items.length === 3) && v.items.every(isNumber);

const fields: Readonly<Record<string, Field>> = {
  size: {
    doc: "the side of the crop in pixels, an int from 1 to 8192",
    fits: (v) => v.kind === "int" && v.value >= 1 && v.value <= 8192,
  },
  crop_pct: {
    doc: "the crop's share of the resized picture, above 0 and at most 1",
    fits: (v) => isNumber(v) && v.value > 0.01 && v.value <= 1,
  },
  interpolation: {
    doc: `${interpolations.join(", ")}`,
    hint: { words: interpolations },
    fits: (v) => v.kind === "word",
  },
  mean: { doc: "one number per channel", fits: threeNumbers },
  std: {
    doc: "one number per channel, none of them 0",
    fits: (v) => threeNumbers(v) && v.kind === "list" && v.items.every((x) => isNumber(x) && x.value !== 0),
  },
};

/** Finds the statement wherever choices made while compiling have led to it, so it is run like the others. */
export function evaluatePreprocess(ctx: Context, s: ast.Preprocess): Preprocess | undefined {
  const values = new Map<string, Value>();
  let failed = false;
  const reject = (code: string, message: string, span: ast.Name["span"], help?: string) => {
    fail(ctx, code, message, { span, help });
    failed = true;
  };
  for (const arg of s.args) {
    if (!arg.name) {
      reject("positional-parameter", "preprocessing is given by name: name = value", arg.span);
      continue;
    }
    const name = arg.name.text;
    const field = Object.hasOwn(fields, name) ? fields[name]! : undefined;
    if (!field) {
      reject(
        "unknown-parameter",
        `preprocessing has no ${name}`,
        arg.name.span,
        suggestion(name, Object.keys(fields), "it has"),
      );
      continue;
    }
    const value = evaluate(ctx, arg.value, field.hint);
    if (value.kind === "poison") failed = true;
    else if (!field.fits(value))
      reject(
        "parameter-type",
        `${name} is ${field.doc}, and does not take ${describe(value)} (${kindOf(value)})`,
        arg.value.span,
      );
    else if (values.has(name)) reject("duplicate-argument", `${name} is given twice`, arg.name.span);
    else values.set(name, value);
  }
  if (!failed && !values.has("size"))
    reject("missing-parameter", "preprocessing needs size", s.input.span, fields["size"]!.doc);
  if (failed) return undefined;
  const interpolation = values.get("interpolation");
  return {
    size: numberIn(values, "size", 224),
    cropPct: numberIn(values, "crop_pct", 0.875),
    interpolation:
      interpolations.find((x) => interpolation?.kind === "word" && x === interpolation.value) ?? "bicubic",
    mean: numbersIn(values, "mean", [0]),
    std: numbersIn(values, "std", [1]),
  };
}

function numberIn(values: ReadonlyMap<string, Value>, name: string, otherwise: number): number {
  const v = values.get(name);
  return v && isNumber(v) ? v.value : otherwise;
}

function numbersIn(
  values: ReadonlyMap<string, Value>,
  name: string,
  otherwise: readonly number[],
): readonly number[] {
  const v = values.get(name);
  return v?.kind === "list" ? v.items.map((x) => (isNumber(x) ? x.value : 0)) : otherwise;
}
