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
  "%": "mod",
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
  const sides = [operand(ctx, b, left, like, b.left.span), operand(ctx, b, right, like, b.right.span)];
  const [x, y] = promoted(ctx, sides, spanOf(b));
  return x && y ? addNode(ctx, opCalled(ctx, name), [x, y], {}, spanOf(b)) : poison;
}

/** Masks and integers beside floats, and masks beside integers, become of their type: `x * mask`, `x / counts`. */
function promoted(
  ctx: Context,
  sides: readonly (TensorValue | undefined)[],
  span: Span,
): readonly (TensorValue | undefined)[] {
  const dtypes = sides.map((x) => x?.type.dtype);
  const to = dtypes.find((d) => d === "f32" || d === "f16") ?? dtypes.find((d) => d === "i32" || d === "u32");
  if (!to) return sides;
  const gives = (from: DType | undefined): boolean =>
    from === "bool" || ((from === "i32" || from === "u32") && (to === "f32" || to === "f16"));
  return sides.map((x) => (x && gives(x.type.dtype) ? castTo(ctx, x, to, span) : x));
}

function castTo(ctx: Context, x: TensorValue, dtype: DType, span: Span): TensorValue | undefined {
  const made = addNode(ctx, opCalled(ctx, "cast"), [x], { dtype }, span);
  return made.kind === "tensor" ? { ...made, type: { ...made.type, axes: x.type.axes } } : undefined;
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
    const made = addNode(ctx, opCalled(ctx, "size"), [], { of: v.value, dtype }, span);
    return made.kind === "tensor" ? made : undefined;
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
