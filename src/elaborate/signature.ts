// The types in signatures: what they say of a tensor's axes, and the sizes that an input of a model leaves open. What a call makes of
// the names in them is unify.ts. Knows types and names; nothing of bodies.

import { constantOf, dim, type Dim } from "../ir/dim.ts";
import { axisLetters, modelTypes, type DType, type TensorType } from "../ir/types.ts";
import type * as ast from "../parser/ast.ts";
import type { Span } from "../support/source.ts";
import { fail, type Context } from "./context.ts";
import { alignAxes, ellipsisSizes } from "./ellipsis.ts";
import { evaluate } from "./evaluate.ts";
import { declareSymbol } from "./graph-state.ts";
import { suggestion } from "./suggest.ts";
import { asDim, describe, size, type TensorValue, type Value } from "./value.ts";

export const letterAxis = (name: string): string => axisLetters[name] ?? name;

/** The name of an axis: said with `C = dim`, or the letter of a dimension that is one. */
export function axisNameOf(d: ast.DimExpr): string | null {
  if (d.axis) return letterAxis(d.axis.text);
  return d.size.kind === "name" && Object.hasOwn(axisLetters, d.size.name) ? letterAxis(d.size.name) : null;
}

/** The tensor with the axis names that a signature gives it. */
export function withAxes(x: TensorValue, declared: ast.TensorTypeExpr): TensorValue {
  const aligned = alignAxes(declared, x.type.shape.length) ?? [];
  const axes = aligned.map(({ declared: d }, i) => axisNameOf(d) ?? x.type.axes[i] ?? null);
  return { ...x, type: { ...x.type, axes } };
}

export function declaredDType(ctx: Context, t: ast.TensorTypeExpr): DType | undefined {
  const name = t.dtype.text;
  const bound = ctx.env.get(name)?.value;
  if (bound?.kind === "dtype") return bound.value;
  if (bound?.kind === "poison") return undefined;
  if ((modelTypes as readonly string[]).includes(name)) return name as DType;
  fail(ctx, "unknown-type", `there is no element type ${name}`, {
    span: t.dtype.span,
    help: suggestion(name, modelTypes, "there is"),
  });
  return undefined;
}

/** The type of a state or a weight: every name in it is bound. */
export function evaluateType(ctx: Context, t: ast.TensorTypeExpr): TensorType | undefined {
  const dtype = declaredDType(ctx, t);
  const shape = t.dims.flatMap((d) =>
    d.size.kind === "ellipsis"
      ? (ellipsisSizes(ctx, d.span)?.map(asDim) ?? [undefined])
      : [evaluateDim(ctx, d)],
  );
  if (!dtype || !shape.every((d) => d !== undefined)) return undefined;
  const axes = (alignAxes(t, shape.length) ?? []).map((a) => axisNameOf(a.declared));
  return { dtype, shape, axes };
}

function evaluateDim(ctx: Context, d: ast.DimExpr): Dim | undefined {
  if (d.bound && ctx.graph && d.size.kind === "name" && !isBound(ctx, d.size.name))
    declareBounded(ctx, d, d.size.name);
  return sizeOf(ctx, evaluate(ctx, d.size), d.size.span);
}

export function sizeOf(ctx: Context, v: Value, span: Span): Dim | undefined {
  if (v.kind === "poison") return undefined;
  const d = asDim(v);
  const constant = d && constantOf(d);
  if (d && (constant === undefined || constant >= 0)) return d;
  fail(ctx, "dimension-type", `a dimension is a size, not ${describe(v)}`, { span });
  return undefined;
}

/** Names that a signature may use without binding them: parameters, and constants of the file. */
function isBound(ctx: Context, name: string): boolean {
  return ctx.env.get(name) !== undefined || ctx.file.entries.get(name)?.kind === "const";
}

/** Names of an expression that are bound by nothing yet. */
export function freeNames(ctx: Context, e: ast.Expr, into: Set<string> = new Set()): Set<string> {
  // Dimensions are small expressions; a deep one is cut off here and reported when it is evaluated.
  const stack = [e];
  for (let steps = 0; stack.length > 0 && steps < 1000; steps++) {
    const x = stack.pop()!;
    if (x.kind === "name" && !isBound(ctx, x.name)) into.add(x.name);
    else if (x.kind === "binary") stack.push(x.left, x.right);
    else if (x.kind === "unary") stack.push(x.operand);
    else if (x.kind === "call") stack.push(...x.args.map((a) => a.value));
    else if (x.kind === "index") stack.push(x.object, x.index);
    else if (x.kind === "if") stack.push(x.condition, x.then, x.else);
  }
  return into;
}

// Inputs of a model.

/** The type of a model's input: names that nothing binds become sizes that are known when it runs. */
export function openType(ctx: Context, t: ast.TensorTypeExpr): TensorType | undefined {
  for (const d of t.dims) {
    if (d.size.kind === "ellipsis") {
      fail(ctx, "ellipsis", "the inputs of a model have a known number of axes", {
        span: d.span,
        help: "write each axis; a block takes tensors with any number of them",
      });
      return undefined;
    }
    if (d.bound && d.size.kind === "name" && !isBound(ctx, d.size.name)) declareBounded(ctx, d, d.size.name);
    for (const name of freeNames(ctx, d.size)) declareFree(ctx, name, d.size.span);
  }
  return evaluateType(ctx, t);
}

function declareFree(ctx: Context, name: string, span: Span): void {
  if (ctx.graph) declareSymbol(ctx.graph, name);
  ctx.env.declare(name, { value: size(dim(name)), origin: "dimension", span });
}

function declareBounded(ctx: Context, d: ast.DimExpr, name: string): void {
  for (const free of freeNames(ctx, d.bound!)) declareFree(ctx, free, d.bound!.span);
  const bound = sizeOf(ctx, evaluate(ctx, d.bound!), d.bound!.span);
  if (bound && ctx.graph) declareSymbol(ctx.graph, name, bound);
  ctx.env.declare(name, { value: size(dim(name)), origin: "dimension", span: d.size.span });
}

export function sourceText(span: Span): string {
  const text = span.file.text.slice(span.start, span.end).replace(/\s+/g, " ");
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
