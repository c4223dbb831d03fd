// Functions of compile-time values: len, range, enumerate, zip, min, max, sum, abs, floor, ceil, int, float, str, any, all.
// One record each; where an op has the same name (abs, floor), a tensor argument means the op.

import { maxDim, minDim } from "../ir/dim.ts";
import type { Span } from "../support/source.ts";
import { arithmetic, checkedSize, compare, lengthAllowed, rounded } from "./arithmetic.ts";
import { fail, type Context } from "./context.ts";
import { elementsOf } from "./evaluate.ts";
import { asDim, bool, describe, float, int, kindOf, list, poison, type Value } from "./value.ts";

export interface Builtin {
  readonly doc: string;
  readonly usage: string;
  /** Fewest and most arguments. */
  readonly count: readonly [number, number];
  apply(ctx: Context, args: readonly Value[], span: Span): Value;
}

const wrongType = (ctx: Context, usage: string, v: Value, span: Span): Value =>
  fail(ctx, "argument-type", `${usage} does not take ${kindOf(v)}`, {
    span,
    label: `this is ${describe(v)}`,
  });

const table: Readonly<Record<string, Builtin>> = {
  len: {
    doc: "the number of elements of a list, tuple or string",
    usage: "len(list)",
    count: [1, 1],
    apply(ctx, [v], span) {
      if (v!.kind === "string") return int(v!.value.length);
      const items = elementsOf(ctx, v!, span);
      return items ? int(items.length) : poison;
    },
  },
  range: {
    doc: "the ints from start (0) up to end, without end",
    usage: "range(end) or range(start, end) or range(start, end, step)",
    count: [1, 3],
    apply: range,
  },
  enumerate: {
    doc: "pairs of an index and an element; of tuples, the index is put in front: (i, a, b)",
    usage: "enumerate(list)",
    count: [1, 1],
    apply(ctx, [v], span) {
      const items = elementsOf(ctx, v!, span);
      if (!items || !lengthAllowed(ctx, items.length, span)) return poison;
      return list(
        items.map((x, i) => ({ kind: "tuple", items: [int(i), ...(x.kind === "tuple" ? x.items : [x])] })),
      );
    },
  },
  zip: {
    doc: "tuples of the elements at the same place of lists of one length",
    usage: "zip(list, list, ...)",
    count: [2, 16],
    apply: zip,
  },
  min: {
    doc: "the smallest of numbers or of a list",
    usage: "min(a, b, ...)",
    count: [1, 64],
    apply: extreme("min"),
  },
  max: {
    doc: "the largest of numbers or of a list",
    usage: "max(a, b, ...)",
    count: [1, 64],
    apply: extreme("max"),
  },
  sum: {
    doc: "the sum of a list of numbers",
    usage: "sum(list)",
    count: [1, 1],
    apply(ctx, [v], span) {
      const items = elementsOf(ctx, v!, span);
      return items ? items.reduce((a, b) => arithmetic(ctx, "+", a, b, span), int(0)) : poison;
    },
  },
  abs: {
    doc: "the absolute value",
    usage: "abs(number)",
    count: [1, 1],
    apply(ctx, [v], span) {
      if (v!.kind === "int") return int(Math.abs(v!.value));
      return v!.kind === "float" ? float(Math.abs(v!.value)) : wrongType(ctx, "abs(number)", v!, span);
    },
  },
  floor: {
    doc: "rounds down; floor(a / b) divides sizes",
    usage: "floor(number)",
    count: [1, 1],
    apply: round("floor"),
  },
  ceil: {
    doc: "rounds up; ceil(a / b) divides sizes",
    usage: "ceil(number)",
    count: [1, 1],
    apply: round("ceil"),
  },
  int: {
    doc: "a float without its fraction, a bool as 0 or 1",
    usage: "int(number)",
    count: [1, 1],
    apply(ctx, [v], span) {
      if (v!.kind === "bool") return int(v!.value ? 1 : 0);
      if (v!.kind === "float") return rounded(ctx, v!.value < 0 ? "ceil" : "floor", v!.value, span);
      return v!.kind === "int" || v!.kind === "dim" ? v! : wrongType(ctx, "int(number)", v!, span);
    },
  },
  float: {
    doc: "an int as a float",
    usage: "float(number)",
    count: [1, 1],
    apply: (ctx, [v], span) =>
      v!.kind === "int" || v!.kind === "float" ? float(v!.value) : wrongType(ctx, "float(number)", v!, span),
  },
  str: {
    doc: "a number, bool or word as text, for messages",
    usage: "str(value)",
    count: [1, 1],
    apply: (_ctx, [v]) => (v!.kind === "string" ? v! : { kind: "string", value: describe(v!) }),
  },
  any: { doc: "is one of a list true?", usage: "any(list)", count: [1, 1], apply: quantifier(true) },
  all: { doc: "are all of a list true?", usage: "all(list)", count: [1, 1], apply: quantifier(false) },
};

export const builtins: ReadonlyMap<string, Builtin> = new Map(Object.entries(table));

function range(ctx: Context, args: readonly Value[], span: Span): Value {
  const numbers: number[] = [];
  for (const v of args) {
    if (v.kind === "dim")
      return fail(ctx, "undecided-size", `${describe(v)} is known only when the model runs`, {
        span,
        help: "a loop runs while compiling; take a parameter for its count",
      });
    if (v.kind !== "int") return wrongType(ctx, "range(int)", v, span);
    numbers.push(v.value);
  }
  const [start, end, step] =
    numbers.length === 1 ? [0, numbers[0]!, 1] : [numbers[0]!, numbers[1]!, numbers[2] ?? 1];
  if (step === 0) return fail(ctx, "argument-type", "the step of a range is not 0", { span });
  const length = Math.max(0, Math.ceil((end - start) / step));
  if (!lengthAllowed(ctx, length, span)) return poison;
  return list(Array.from({ length }, (_, i) => int(start + i * step)));
}

function zip(ctx: Context, args: readonly Value[], span: Span): Value {
  const lists: (readonly Value[])[] = [];
  for (const v of args) {
    const items = elementsOf(ctx, v, span);
    if (!items) return poison;
    lists.push(items);
  }
  const lengths = lists.map((x) => x.length);
  if (new Set(lengths).size > 1)
    return fail(ctx, "zip-length", `zip takes lists of one length, not of ${lengths.join(" and ")}`, {
      span,
    });
  if (!lengthAllowed(ctx, lengths[0]! * lists.length, span)) return poison;
  return list(lists[0]!.map((_, i) => ({ kind: "tuple", items: lists.map((l) => l[i]!) })));
}

function extreme(kind: "min" | "max"): Builtin["apply"] {
  return (ctx, args, span) => {
    const items = args.length === 1 ? elementsOf(ctx, args[0]!, span) : args;
    if (!items) return poison;
    if (items.length === 0)
      return fail(ctx, "argument-type", `${kind} of an empty list has no value`, { span });
    let best = items[0]!;
    for (const v of items.slice(1)) {
      const [x, y] = [asDim(best), asDim(v)];
      if (x && y) {
        best = checkedSize(ctx, () => (kind === "min" ? minDim(x, y) : maxDim(x, y)), 1, span);
        if (best.kind === "poison") return best;
      } else {
        const less = compare(ctx, "<", v, best, span);
        if (less.kind !== "bool") return poison;
        if (less.value === (kind === "min")) best = v;
      }
    }
    return best;
  };
}

function round(kind: "floor" | "ceil"): Builtin["apply"] {
  return (ctx, [v], span) => {
    if (v!.kind === "int" || v!.kind === "dim") return v!;
    return v!.kind === "float"
      ? rounded(ctx, kind, v!.value, span)
      : wrongType(ctx, `${kind}(number)`, v!, span);
  };
}

function quantifier(wanted: boolean): Builtin["apply"] {
  return (ctx, [v], span) => {
    const items = elementsOf(ctx, v!, span);
    if (!items) return poison;
    for (const item of items)
      if (item.kind !== "bool") return wrongType(ctx, "a list of bools", item, span);
      else if (item.value === wanted) return bool(wanted);
    return bool(!wanted);
  };
}
