// Operators on tensors: each is an op; a number on one side becomes a scalar constant of the other side's element type.

import type * as ast from "../parser/ast.ts";
import { tensorType, type DType } from "../ir/types.ts";
import { Bug } from "../support/bug.ts";
import { position, type Span } from "../support/source.ts";
import { fail, type Context } from "./context.ts";
import { addNode, spansOf } from "./op-calls.ts";
import { describe, kindOf, poison, type TensorValue, type Value } from "./value.ts";

const opOf: Readonly<Partial<Record<ast.BinaryOp, string>>> = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "div",
  "**": "pow",
  "==": "equal",
  "!=": "not_equal",
  "<": "less",
  "<=": "less_equal",
  ">": "greater",
  ">=": "greater_equal",
};

export function operateOnTensors(ctx: Context, b: ast.Binary, left: Value, right: Value): Value {
  if (left.kind === "poison" || right.kind === "poison") return poison;
  const name = opOf[b.op];
  if (!name) return fail(ctx, "operand-type", `${b.op} is not defined for tensors`, { span: b.span });
  const like = left.kind === "tensor" ? left : (right as TensorValue);
  const x = operand(ctx, b, left, like, b.left.span);
  const y = operand(ctx, b, right, like, b.right.span);
  return x && y ? addNode(ctx, opCalled(ctx, name), [x, y], {}, spanOf(b)) : poison;
}

export function negateTensor(ctx: Context, x: TensorValue, span: Span): Value {
  return addNode(ctx, opCalled(ctx, "neg"), [x], {}, span);
}

function opCalled(ctx: Context, name: string) {
  const op = ctx.session.lookup(name);
  if (!op) throw new Bug(`the language needs an op called ${name}`);
  return op;
}

function operand(
  ctx: Context,
  b: ast.Binary,
  v: Value,
  like: TensorValue,
  span: Span,
): TensorValue | undefined {
  if (v.kind === "tensor") return v;
  if (v.kind === "int" || v.kind === "float" || v.kind === "dim")
    return numberAsTensor(ctx, v, like.type.dtype, span);
  fail(ctx, "operand-type", `${b.op} does not take a tensor and ${kindOf(v)}`, {
    span,
    label: `this is ${describe(v)}`,
    help: v.kind === "block" ? "call it with a tensor first" : undefined,
  });
  return undefined;
}

/** The operator and its right side: of a long expression, the line that it is about. */
function spanOf(b: ast.Binary): Span {
  const from = position(b.span.file, b.span.start).line;
  const to = position(b.span.file, b.span.end).line;
  if (from === to) return b.span;
  const { text } = b.span.file;
  let start = b.left.span.end;
  while (start < b.right.span.start && /[\s)]/.test(text[start]!)) start++;
  return { file: b.span.file, start, end: b.span.end };
}

export function numberAsTensor(ctx: Context, v: Value, dtype: DType, span: Span): TensorValue | undefined {
  if (v.kind === "dim") {
    fail(
      ctx,
      "symbolic-number",
      `${describe(v)} is known only when the model runs, and cannot be a number of a tensor`,
      {
        span,
        help: "sum or average over axes with sum(...) and mean(...)",
      },
    );
    return undefined;
  }
  const value =
    v.kind === "bool" ? Number(v.value) : v.kind === "int" || v.kind === "float" ? v.value : undefined;
  if (value === undefined) throw new Bug(`${v.kind} as a number`);
  const isFloat = dtype === "f32" || dtype === "f16";
  const [low, high] = dtype === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  if (
    !isFloat &&
    (v.kind === "float" || value < low || value > high || (dtype === "bool") !== (v.kind === "bool"))
  ) {
    fail(ctx, "operand-type", `${describe(v)} is not a value of ${dtype}`, { span });
    return undefined;
  }
  if (isFloat && v.kind === "bool") {
    fail(ctx, "operand-type", `${describe(v)} is not a value of ${dtype}`, { span });
    return undefined;
  }
  if (!Number.isFinite(Math.fround(value))) {
    fail(ctx, "number-too-large", `${describe(v)} is larger than an ${dtype} can be`, { span });
    return undefined;
  }
  return scalar(ctx, value, dtype, span);
}

function scalar(ctx: Context, value: number, dtype: DType, span: Span): TensorValue {
  const g = ctx.graph!;
  const id = g.builder.call(
    "constant",
    [],
    { value, dtype },
    { spans: spansOf(ctx, span), scope: ctx.place.path },
  );
  g.origins.set(id, span);
  return { kind: "tensor", id, type: tensorType(dtype, []), span };
}
