// Attributes of ops: arguments converted by the kind of attribute, axis names to indices. Knows op records, no particular op.

import type { Attrs, AttrValue } from "../ir/graph.ts";
import type { AttrSpec, OpDefinition } from "../ir/op.ts";
import { axisIndex, axisLetters, showType, type TensorType } from "../ir/types.ts";
import type * as ast from "../parser/ast.ts";
import type { Span } from "../support/source.ts";
import type { CallSite } from "./calls.ts";
import { fail, type Context } from "./context.ts";
import type { Hint } from "./evaluate.ts";
import { suggestion } from "./suggest.ts";
import { asDim, describe, kindOf, type Given, type Value } from "./value.ts";

/** Words of an attribute: its choices; of an axis, every name, so that `H` is the axis and not the size. */
export function attributeHint(ctx: Context, spec: AttrSpec, e: ast.Expr): Hint {
  if (spec.kind === "axis") return axisHint(ctx, [e]);
  if (spec.kind === "axes") {
    const hint = axisHint(ctx, e.kind === "list" || e.kind === "tuple" ? e.elements : [e]);
    return { ...hint, element: hint };
  }
  return spec.choices ? { words: spec.choices } : {};
}

/** A name in an axis argument is an axis, unless it is bound to a number by something other than a signature. */
function axisHint(ctx: Context, exprs: readonly ast.Expr[]): Hint {
  const words: string[] = [];
  for (const e of exprs) {
    if (e.kind !== "name") continue;
    const binding = ctx.env.get(e.name);
    const isValue =
      (binding && binding.origin !== "dimension") || ctx.file.entries.get(e.name)?.kind === "const";
    if (!isValue || Object.hasOwn(axisLetters, e.name)) words.push(e.name);
  }
  return { words };
}

export function convertAttributes(
  ctx: Context,
  op: OpDefinition,
  site: CallSite,
  types: readonly (TensorType | undefined)[],
  makesWeights: boolean,
): Attrs | undefined {
  const out: Record<string, AttrValue> = {};
  let failed = false;
  for (const [name, spec] of Object.entries(op.attrs)) {
    if (spec.declares) continue;
    const given = site.named.get(name);
    const isInput = given && (given.value.kind === "tensor" || given.value.kind === "none");
    if (!given || isInput) {
      if (spec.default !== undefined) out[name] = spec.default;
      else if (spec.role !== "weight-shape" || makesWeights) {
        fail(ctx, "missing-parameter", `${op.name} needs ${name}`, {
          span: site.span,
          help: `${name} is ${spec.doc}`,
        });
        failed = true;
      }
      continue;
    }
    const value =
      given.value.kind === "poison" ? undefined : convertAttribute(ctx, op, name, spec, given, types);
    if (value === undefined) failed = true;
    else out[name] = value;
  }
  return failed ? undefined : out;
}

const attributeKinds: Readonly<Record<AttrSpec["kind"], string>> = {
  int: "an int",
  ints: "a list of ints",
  pair: "an int, or two: [vertical, horizontal]",
  float: "a number",
  bool: "a bool",
  string: "a word",
  dtype: "an element type",
  dim: "a size",
  dims: "a list of sizes",
  axis: "an axis: an index or a name",
  axes: "a list of axes: indices or names",
};

function convertAttribute(
  ctx: Context,
  op: OpDefinition,
  name: string,
  spec: AttrSpec,
  given: Given,
  types: readonly (TensorType | undefined)[],
): AttrValue | undefined {
  const v = given.value;
  if (spec.kind === "axis" || spec.kind === "axes")
    return convertAxes(ctx, op, name, spec.kind, given, types);
  const converted = plainAttribute(spec, v);
  if (spec.kind === "float" && typeof converted === "number" && !Number.isFinite(Math.fround(converted))) {
    const message = `${name} of ${op.name} is larger than an f32 can be`;
    fail(ctx, "number-too-large", message, { span: given.span, label: `this is ${describe(v)}` });
    return undefined;
  }
  if (converted !== undefined) return converted;
  const choices = spec.choices ? `one of ${spec.choices.join(" | ")}` : attributeKinds[spec.kind];
  fail(ctx, "parameter-type", `${name} of ${op.name} is ${choices}, and does not take ${kindOf(v)}`, {
    span: given.span,
    label: `this is ${describe(v)}`,
    help:
      spec.choices && (v.kind === "string" || v.kind === "word")
        ? suggestion(v.value, spec.choices, "it is one of")
        : `${name} is ${spec.doc}`,
  });
  return undefined;
}

function plainAttribute(spec: AttrSpec, v: Value): AttrValue | undefined {
  switch (spec.kind) {
    case "int":
      return v.kind === "int" ? v.value : undefined;
    case "float":
      return v.kind === "int" || v.kind === "float" ? v.value : undefined;
    case "bool":
      return v.kind === "bool" ? v.value : undefined;
    case "dtype":
      return v.kind === "dtype" ? v.value : undefined;
    case "string": {
      const text =
        v.kind === "string" || v.kind === "word" ? v.value : v.kind === "none" ? "none" : undefined;
      return text !== undefined && (!spec.choices || spec.choices.includes(text)) ? text : undefined;
    }
    case "dim":
      return asDim(v);
    case "pair":
      if (v.kind === "int") return [v.value, v.value];
      return isSequence(v) && v.items.length === 2 ? eachInt(v.items) : undefined;
    case "ints":
      return isSequence(v) ? eachInt(v.items) : undefined;
    case "dims": {
      if (!isSequence(v)) return undefined;
      const items = v.items.map(asDim);
      return items.every((x) => x !== undefined) ? items : undefined;
    }
    default:
      return undefined;
  }
}

const isSequence = (v: Value): v is Value & { kind: "list" | "tuple" } =>
  v.kind === "list" || v.kind === "tuple";

function eachInt(items: readonly Value[]): readonly number[] | undefined {
  const out = items.map((x) => (x.kind === "int" ? x.value : undefined));
  return out.every((x) => x !== undefined) ? out : undefined;
}

/** Names and negative indices become indices of the first tensor. */
function convertAxes(
  ctx: Context,
  op: OpDefinition,
  name: string,
  kind: "axis" | "axes",
  given: Given,
  types: readonly (TensorType | undefined)[],
): AttrValue | undefined {
  const items = kind === "axes" && isSequence(given.value) ? given.value.items : [given.value];
  const type = types[0];
  const out: number[] = [];
  for (const item of items) {
    const wanted =
      item.kind === "int" || item.kind === "string" || item.kind === "word" ? item.value : undefined;
    if (wanted === undefined) {
      fail(
        ctx,
        "parameter-type",
        `${name} of ${op.name} is ${attributeKinds[kind]}, and does not take ${kindOf(item)}`,
        {
          span: given.span,
          label: `this is ${describe(item)}`,
        },
      );
      return undefined;
    }
    const index = type ? axisIndex(type, wanted) : undefined;
    // Indices out of range are left to the op, which says so with its own code.
    if (index !== undefined) out.push(index);
    else if (typeof wanted === "number") out.push(wanted);
    else return unknownAxis(ctx, wanted, type, given.span);
  }
  return kind === "axis" ? out[0]! : out;
}

function unknownAxis(ctx: Context, wanted: string, type: TensorType | undefined, span: Span): undefined {
  const letters = Object.entries(axisLetters);
  const names = (type?.axes ?? [])
    .filter((a) => a !== null)
    .map((a) => letters.find(([, long]) => long === a)?.[0] ?? a);
  fail(ctx, "unknown-axis", `there is no axis ${wanted} in ${type ? showType(type) : "this"}`, {
    span,
    help:
      suggestion(wanted, names, "its named axes are") ??
      "give the index of the axis, or name it in the signature",
  });
  return undefined;
}
