// Types of parameters: does a value fit, and how a type is shown. An int fits where a float is asked for.

import type * as ast from "../parser/ast.ts";
import type { Span } from "../support/source.ts";
import { fail, type Context } from "./context.ts";
import { suggestion } from "./suggest.ts";
import { describe, float, kindOf, poison, type Given, type Value } from "./value.ts";

export const parameterTypes = ["int", "float", "bool", "string", "dtype", "block"] as const;

export function showParamType(t: ast.ParamType): string {
  switch (t.kind) {
    case "name":
      return t.name.text;
    case "enum":
      return t.choices.map((c) => c.text).join(" | ");
    case "list":
      return `[${showParamType(t.element)}]`;
    case "tuple":
      return `(${t.elements.map(showParamType).join(", ")})`;
    case "optional":
      return `${showParamType(t.of)}?`;
    default:
      return t satisfies never;
  }
}

/** The value as the type has it; poison, once reported, where it does not fit. `what` is for the message: `dims of PoolFormer`. */
export function checkParameter(
  ctx: Context,
  type: ast.ParamType,
  given: Given,
  what: string,
  declared: Span,
): Value {
  if (given.value.kind === "poison") return poison;
  const unknown = unknownTypeName(type);
  if (unknown)
    return fail(ctx, "unknown-type", `there is no parameter type ${unknown.text}`, {
      span: unknown.span,
      help: suggestion(unknown.text, parameterTypes, "there is"),
    });
  const fitted = fit(type, given.value);
  if (fitted) return fitted;
  return fail(
    ctx,
    "parameter-type",
    `${what} is ${showParamType(type)}, and does not take ${kindOf(given.value)}`,
    {
      span: given.span,
      label: `this is ${describe(given.value)}`,
      notes: [{ message: "declared here", span: declared }],
      help: helpFor(type, given.value),
    },
  );
}

function helpFor(type: ast.ParamType, v: Value): string | undefined {
  if (type.kind === "enum" && (v.kind === "string" || v.kind === "word")) {
    const words = type.choices.map((c) => c.text);
    const help = suggestion(v.value, words, "it is one of");
    return words.includes(v.value) ? `write ${v.value} without quotes` : help;
  }
  if (v.kind === "tensor") return "a parameter is known while compiling; tensors are passed as inputs";
  if (type.kind === "list" && fit(type.element, v)) return `write [${describe(v)}]`;
  return undefined;
}

function unknownTypeName(type: ast.ParamType): ast.Name | undefined {
  switch (type.kind) {
    case "name":
      return (parameterTypes as readonly string[]).includes(type.name.text) ? undefined : type.name;
    case "enum":
      return undefined;
    case "list":
      return unknownTypeName(type.element);
    case "tuple":
      return type.elements.map(unknownTypeName).find((x) => x !== undefined);
    case "optional":
      return unknownTypeName(type.of);
    default:
      return type satisfies never;
  }
}

function fit(type: ast.ParamType, v: Value): Value | undefined {
  switch (type.kind) {
    case "name":
      return fitNamed(type.name.text, v);
    case "enum": {
      const choices = type.choices.map((c) => c.text);
      return v.kind === "word" && choices.includes(v.value) ? { ...v, choices } : undefined;
    }
    case "list":
      return v.kind === "list" ? fitAll(v, () => type.element) : undefined;
    case "tuple": {
      if ((v.kind !== "tuple" && v.kind !== "list") || v.items.length !== type.elements.length)
        return undefined;
      const fitted = fitAll({ kind: "list", items: v.items }, (i) => type.elements[i]!);
      return fitted?.kind === "list" ? { kind: "tuple", items: fitted.items } : undefined;
    }
    case "optional":
      return v.kind === "none" ? v : fit(type.of, v);
    default:
      return type satisfies never;
  }
}

function fitAll(v: Value & { kind: "list" }, typeOf: (i: number) => ast.ParamType): Value | undefined {
  const items: Value[] = [];
  for (const [i, item] of v.items.entries()) {
    const fitted = fit(typeOf(i), item);
    if (!fitted) return undefined;
    items.push(fitted);
  }
  return { kind: "list", items };
}

function fitNamed(type: string, v: Value): Value | undefined {
  switch (type) {
    case "int":
      return v.kind === "int" || v.kind === "dim" ? v : undefined;
    case "float":
      return v.kind === "int" ? float(v.value) : v.kind === "float" ? v : undefined;
    default:
      return v.kind === type ? v : undefined;
  }
}
