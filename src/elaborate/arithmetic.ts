// Arithmetic and comparison of compile-time values. Ints and sizes are exact: a division that may leave a rest is an error.
// Knows no syntax but operators; reports through the context.

import {
  addDim,
  ceilDiv,
  constantOf,
  divideExact,
  floorDiv,
  isMultipleOf,
  mulDim,
  negDim,
  subDim,
  type Dim,
} from "../ir/dim.ts";
import type { Span } from "../support/source.ts";
import { fail, spend, type Context } from "./context.ts";
import { asDim, bool, describe, float, int, kindOf, poison, size, type Value } from "./value.ts";

export type ArithmeticOp = "+" | "-" | "*" | "/" | "%" | "**";
export type CompareOp = "==" | "!=" | "<" | "<=" | ">" | ">=";

const isNumber = (v: Value): v is Value & { kind: "int" | "float" } => v.kind === "int" || v.kind === "float";

export function arithmetic(ctx: Context, op: ArithmeticOp, a: Value, b: Value, span: Span): Value {
  if (a.kind === "poison" || b.kind === "poison") return poison;
  if (a.kind === "dim" || b.kind === "dim") return ofSizes(ctx, op, a, b, span);
  if (isNumber(a) && isNumber(b)) return ofNumbers(ctx, op, a, b, span);
  if (op === "+" && a.kind === "string" && b.kind === "string") return joined(ctx, a.value + b.value, span);
  if (op === "+" && a.kind === "list" && b.kind === "list") {
    if (!lengthAllowed(ctx, a.items.length + b.items.length, span)) return poison;
    return { kind: "list", items: [...a.items, ...b.items] };
  }
  return wrongOperands(ctx, op, a, b, span);
}

function joined(ctx: Context, text: string, span: Span): Value {
  const limit = ctx.session.limits.stringLength;
  if (text.length > limit)
    return fail(ctx, "string-too-long", `this string is longer than ${limit} characters`, { span });
  return { kind: "string", value: text };
}

/** Checks the length of a list before it is made, and counts its elements as work. */
export function lengthAllowed(ctx: Context, length: number, span: Span): boolean {
  const limit = ctx.session.limits.listLength;
  if (length <= limit) return spend(ctx, length, span);
  fail(ctx, "list-too-long", `this list has more than ${limit} elements`, { span });
  return false;
}

function wrongOperands(ctx: Context, op: string, a: Value, b: Value, span: Span): Value {
  return fail(ctx, "operand-type", `${op} does not take ${kindOf(a)} and ${kindOf(b)}`, {
    span,
    label: `${describe(a)} ${op} ${describe(b)}`,
  });
}

function ofNumbers(
  ctx: Context,
  op: ArithmeticOp,
  a: Value & { kind: "int" | "float" },
  b: Value & { kind: "int" | "float" },
  span: Span,
): Value {
  const whole = a.kind === "int" && b.kind === "int";
  const [x, y] = [a.value, b.value];
  if ((op === "/" || op === "%") && y === 0)
    return fail(ctx, "division-by-zero", `${describe(a)} ${op} 0 has no value`, { span });
  switch (op) {
    case "+":
      return number(ctx, x + y, whole, span);
    case "-":
      return number(ctx, x - y, whole, span);
    case "*":
      return number(ctx, x * y, whole, span);
    case "%":
      return number(ctx, x - Math.floor(x / y) * y, whole, span);
    case "**":
      return number(ctx, x ** y, whole && y >= 0, span);
    case "/":
      if (!whole) return number(ctx, x / y, false, span);
      return x % y === 0 ? int(x / y) : inexact(ctx, a, b, span);
    default:
      return op satisfies never;
  }
}

function inexact(ctx: Context, a: Value, b: Value, span: Span): Value {
  const text = `${describe(a)} / ${describe(b)}`;
  const constant = a.kind === "int" && b.kind === "int";
  return fail(
    ctx,
    "inexact-division",
    constant ? `${text} leaves a rest` : `${text} is not a whole number for every size`,
    { span, help: `write floor(${text}) or ceil(${text})` },
  );
}

function number(ctx: Context, value: number, whole: boolean, span: Span): Value {
  if (whole ? Number.isSafeInteger(value) : Number.isFinite(value))
    return whole ? int(value === 0 ? 0 : value) : float(value);
  return fail(ctx, "number-too-large", "the result is larger than numbers here can be", { span });
}

function ofSizes(ctx: Context, op: ArithmeticOp, a: Value, b: Value, span: Span): Value {
  const [x, y] = [asDim(a), asDim(b)];
  if (!x || !y) {
    const other = x ? b : a;
    if (other.kind === "float")
      return fail(
        ctx,
        "operand-type",
        `${op} of a symbolic size and a float cannot be computed while compiling`,
        {
          span,
          label: `${describe(a)} ${op} ${describe(b)}`,
        },
      );
    return wrongOperands(ctx, op, a, b, span);
  }
  switch (op) {
    case "+":
      return checkedSize(ctx, () => addDim(x, y), x.terms.length + y.terms.length, span);
    case "-":
      return checkedSize(ctx, () => subDim(x, y), x.terms.length + y.terms.length, span);
    case "*":
      return checkedSize(ctx, () => mulDim(x, y), x.terms.length * y.terms.length, span);
    case "/": {
      if (constantOf(y) === 0)
        return fail(ctx, "division-by-zero", `${describe(a)} / 0 has no value`, { span });
      const exact = divideExact(x, y);
      return exact ? size(exact) : inexact(ctx, a, b, span);
    }
    case "%":
      return remainder(ctx, x, y, span);
    case "**":
      return power(ctx, x, y, span);
    default:
      return op satisfies never;
  }
}

function remainder(ctx: Context, x: Dim, y: Dim, span: Span): Value {
  const n = constantOf(y);
  if (n === undefined || n <= 0)
    return fail(ctx, "operand-type", "% of a symbolic size needs a positive number on its right", { span });
  if (isMultipleOf(x, n)) return int(0);
  return checkedSize(ctx, () => subDim(x, mulDim(y, floorDiv(x, y))), x.terms.length + 1, span);
}

function power(ctx: Context, x: Dim, y: Dim, span: Span): Value {
  const n = constantOf(y);
  if (n === undefined || n < 0 || n > 8)
    return fail(ctx, "operand-type", "** of a symbolic size needs a number from 0 to 8 on its right", {
      span,
    });
  let out: Value = int(1);
  for (let i = 0; i < n && out.kind !== "poison"; i++) out = arithmetic(ctx, "*", out, size(x), span);
  return out;
}

/** Sizes stay small enough to compare, and their coefficients exact. */
export function checkedSize(ctx: Context, make: () => Dim, terms: number, span: Span): Value {
  const limit = ctx.session.limits.dimensionTerms;
  const tooLarge = () =>
    fail(
      ctx,
      "dimension-too-large",
      `this size has more than ${limit} terms, or numbers that are too large`,
      { span },
    );
  // An upper bound of the terms that multiplying makes before they are gathered.
  if (terms > limit * 4 || !spend(ctx, terms, span)) return tooLarge();
  const d = make();
  const small =
    d.terms.length <= limit &&
    d.key.length <= limit * 32 &&
    d.terms.every((t) => Number.isSafeInteger(t.coefficient) && t.atoms.length <= limit);
  return small ? size(d) : tooLarge();
}

/** `floor(a / b)` and `ceil(a / b)`, exact on ints and sizes. */
export function quotient(ctx: Context, round: "floor" | "ceil", a: Value, b: Value, span: Span): Value {
  if (a.kind === "poison" || b.kind === "poison") return poison;
  const [x, y] = [asDim(a), asDim(b)];
  if (!x || !y) {
    const q = arithmetic(ctx, "/", a, b, span);
    return q.kind === "float" ? rounded(ctx, round, q.value, span) : q;
  }
  const n = constantOf(y);
  if (n === 0) return fail(ctx, "division-by-zero", `${describe(a)} / 0 has no value`, { span });
  if (n !== undefined && n < 0)
    return fail(ctx, "operand-type", `${round} of a division needs a positive number below the line`, {
      span,
    });
  return checkedSize(ctx, () => (round === "floor" ? floorDiv(x, y) : ceilDiv(x, y)), x.terms.length, span);
}

export function rounded(ctx: Context, round: "floor" | "ceil", value: number, span: Span): Value {
  return number(ctx, round === "floor" ? Math.floor(value) : Math.ceil(value), true, span);
}

export function negate(ctx: Context, v: Value, span: Span): Value {
  if (v.kind === "int") return int(v.value === 0 ? 0 : -v.value);
  if (v.kind === "float") return float(-v.value);
  if (v.kind === "dim") return size(negDim(v.value));
  if (v.kind === "poison") return v;
  return fail(ctx, "operand-type", `- does not take ${kindOf(v)}`, { span, label: describe(v) });
}

export function compare(ctx: Context, op: CompareOp, a: Value, b: Value, span: Span): Value {
  if (a.kind === "poison" || b.kind === "poison") return poison;
  if (op === "==" || op === "!=") {
    const same = equal(ctx, a, b, span);
    return same === undefined ? poison : bool(same === (op === "=="));
  }
  if (isNumber(a) && isNumber(b)) return bool(holds(op, a.value - b.value));
  const [x, y] = [asDim(a), asDim(b)];
  if (x && y) {
    const difference = constantOf(subDim(x, y));
    if (difference !== undefined) return bool(holds(op, difference));
    // Sizes are at least one.
    const sign = signOf(subDim(x, y));
    if (sign > 0 && (op === ">" || op === ">=")) return bool(true);
    if (sign > 0 && (op === "<" || op === "<=")) return bool(false);
    return undecided(ctx, op, a, b, span);
  }
  return wrongOperands(ctx, op, a, b, span);
}

/** 1 where a size is greater than zero for every value of its symbols, by the signs of its terms alone. */
function signOf(d: Dim): number {
  return d.terms.length > 0 &&
    d.terms.every((t) => t.coefficient > 0 && t.atoms.every((x) => x.kind === "symbol"))
    ? 1
    : 0;
}

function holds(op: CompareOp, difference: number): boolean {
  switch (op) {
    case "<":
      return difference < 0;
    case "<=":
      return difference <= 0;
    case ">":
      return difference > 0;
    case ">=":
      return difference >= 0;
    default:
      return op === "==" ? difference === 0 : difference !== 0;
  }
}

function undecided(ctx: Context, op: string, a: Value, b: Value, span: Span): Value {
  return fail(
    ctx,
    "undecided-size",
    `${describe(a)} ${op} ${describe(b)} depends on sizes that are known only when the model runs`,
    {
      span,
      help: "choose by a parameter instead, or compute with tensors and where()",
    },
  );
}

/** Equality of any two values; undefined, once reported, where it cannot be told. */
export function equal(ctx: Context, a: Value, b: Value, span: Span): boolean | undefined {
  if (!spend(ctx, 1, span)) return undefined;
  if (a.kind === "poison" || b.kind === "poison") return undefined;
  if (isNumber(a) && isNumber(b)) return a.value === b.value;
  const [x, y] = [asDim(a), asDim(b)];
  if (x && y) {
    const difference = subDim(x, y);
    const constant = constantOf(difference);
    if (constant !== undefined) return constant === 0;
    if (signOf(difference) > 0 || signOf(negDim(difference)) > 0) return false;
    undecided(ctx, "==", a, b, span);
    return undefined;
  }
  if ((a.kind === "list" || a.kind === "tuple") && a.kind === b.kind) {
    if (a.items.length !== b.items.length) return false;
    for (const [i, item] of a.items.entries()) {
      const same = equal(ctx, item, b.items[i]!, span);
      if (same !== true) return same;
    }
    return true;
  }
  const text = (v: Value) =>
    v.kind === "word" || v.kind === "string" || v.kind === "dtype" ? v.value : undefined;
  if (text(a) !== undefined && text(b) !== undefined) return text(a) === text(b);
  if (a.kind === "bool" && b.kind === "bool") return a.value === b.value;
  if (a.kind === "none" || b.kind === "none") return a.kind === b.kind;
  if (a.kind === "block" && b.kind === "block")
    return a.target.kind === "op"
      ? b.target.kind === "op" && a.target.op === b.target.op
      : b.target.kind === "block" && a.target.block === b.target.block;
  wrongOperands(ctx, "==", a, b, span);
  return undefined;
}
