// Signatures: names of dimensions bound by unification of declared types with those of the arguments; results checked the same way.
// Knows types and names; nothing of bodies.

import { addDim, constantOf, dim, divideExact, minDim, sameDim, subDim, type Dim } from "../ir/dim.ts";
import { axisLetters, dtypes, showType, type DType, type TensorType } from "../ir/types.ts";
import type * as ast from "../parser/ast.ts";
import type { Note } from "../support/diagnostic.ts";
import type { Span } from "../support/source.ts";
import { arithmetic } from "./arithmetic.ts";
import { fail, type Context } from "./context.ts";
import { evaluate } from "./evaluate.ts";
import { declareSymbol } from "./graph-state.ts";
import { axisSource } from "./provenance.ts";
import { suggestion } from "./suggest.ts";
import { asDim, describe, size, type TensorValue, type Value } from "./value.ts";

/** A declared type with the tensor that meets it. */
export interface Meeting {
  readonly declared: ast.TensorTypeExpr;
  readonly actual: TensorValue;
  /** `x of Mlp`, `the result of Mlp`. */
  readonly what: string;
  /** Where the tensor is given. */
  readonly span: Span;
}

export const letterAxis = (name: string): string => axisLetters[name] ?? name;

/** The name of an axis: said with `C = dim`, or the letter of a dimension that is one. */
function axisNameOf(d: ast.DimExpr): string | null {
  if (d.axis) return letterAxis(d.axis.text);
  return d.size.kind === "name" && Object.hasOwn(axisLetters, d.size.name) ? letterAxis(d.size.name) : null;
}

/** The tensor with the axis names that a signature gives it. */
export function withAxes(x: TensorValue, declared: ast.TensorTypeExpr): TensorValue {
  const axes = declared.dims.map((d, i) => axisNameOf(d) ?? x.type.axes[i] ?? null);
  return { ...x, type: { ...x.type, axes } };
}

export function declaredDType(ctx: Context, t: ast.TensorTypeExpr): DType | undefined {
  const name = t.dtype.text;
  const bound = ctx.env.get(name)?.value;
  if (bound?.kind === "dtype") return bound.value;
  if (bound?.kind === "poison") return undefined;
  if (dtypes.includes(name as DType)) return name as DType;
  fail(ctx, "unknown-type", `there is no element type ${name}`, {
    span: t.dtype.span,
    help: suggestion(name, dtypes, "there is"),
  });
  return undefined;
}

/** The type of a state or a weight: every name in it is bound. */
export function evaluateType(ctx: Context, t: ast.TensorTypeExpr): TensorType | undefined {
  const dtype = declaredDType(ctx, t);
  const shape = t.dims.map((d) => evaluateDim(ctx, d));
  if (!dtype || !shape.every((d) => d !== undefined)) return undefined;
  return { dtype, shape, axes: t.dims.map(axisNameOf) };
}

function evaluateDim(ctx: Context, d: ast.DimExpr): Dim | undefined {
  if (d.bound && ctx.graph && d.size.kind === "name" && !isBound(ctx, d.size.name))
    declareBounded(ctx, d, d.size.name);
  return sizeOf(ctx, evaluate(ctx, d.size), d.size.span);
}

function sizeOf(ctx: Context, v: Value, span: Span): Dim | undefined {
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
function freeNames(ctx: Context, e: ast.Expr, into: Set<string> = new Set()): Set<string> {
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

// Unification.

interface Pending {
  readonly meeting: Meeting;
  readonly axis: number;
  readonly declared: ast.DimExpr;
  readonly actual: Dim;
}

/** Binds the names of declared types so that they equal the types met; false, once reported, where that cannot be. */
export function unify(ctx: Context, meetings: readonly Meeting[]): boolean {
  let sound = true;
  let pending: Pending[] = [];
  for (const meeting of meetings) {
    const dtype = declaredDType(ctx, meeting.declared);
    if (!dtype || !sameKind(ctx, meeting, dtype)) sound = false;
    else
      for (const [axis, declared] of meeting.declared.dims.entries())
        pending.push({ meeting, axis, declared, actual: meeting.actual.type.shape[axis]! });
  }
  while (pending.length > 0) {
    const stuck: Pending[] = [];
    for (const p of pending) {
      const outcome = meet(ctx, p);
      if (outcome === "stuck") stuck.push(p);
      else if (outcome === "wrong") sound = false;
    }
    if (stuck.length === pending.length) return solveOrReport(ctx, stuck) && sound;
    pending = stuck;
  }
  return sound;
}

function sameKind(ctx: Context, m: Meeting, dtype: DType): boolean {
  const { type } = m.actual;
  const notes = [{ message: `declared ${sourceText(m.declared.span)} here`, span: m.declared.span }];
  const label = `this is ${showType(type)}`;
  if (type.dtype !== dtype) {
    fail(ctx, "dtype-mismatch", `${m.what} is declared ${dtype}, not ${type.dtype}`, {
      span: m.span,
      label,
      notes,
      help: `convert it with cast(x, dtype = ${dtype})`,
    });
    return false;
  }
  if (type.shape.length !== m.declared.dims.length) {
    const axes = (n: number) => `${n} ${n === 1 ? "axis" : "axes"}`;
    const message = `${m.what} is declared with ${axes(m.declared.dims.length)}, and has ${type.shape.length}`;
    fail(ctx, "rank-mismatch", message, { span: m.span, label, notes });
    return false;
  }
  return true;
}

function meet(ctx: Context, p: Pending): "done" | "stuck" | "wrong" {
  const { size: e } = p.declared;
  const free = freeNames(ctx, e);
  if (e.kind === "name" && free.has(e.name)) {
    ctx.env.declare(e.name, { value: size(p.actual), origin: "dimension", span: p.meeting.span });
    return withinBound(ctx, p);
  }
  if (free.size > 0) return "stuck";
  const v = evaluate(ctx, e);
  const expected = sizeOf(ctx, v, e.span);
  if (!expected) return "wrong";
  if (!sameDim(expected, p.actual)) {
    reportSize(ctx, p, expected);
    return "wrong";
  }
  return withinBound(ctx, p);
}

/** `n <= B * T`: the size is declared so in the graph, or is at most that for every value of its symbols. */
function withinBound(ctx: Context, p: Pending): "done" | "stuck" | "wrong" {
  const { bound } = p.declared;
  if (!bound) return "done";
  if (freeNames(ctx, bound).size > 0) return "done";
  const limit = sizeOf(ctx, evaluate(ctx, bound), bound.span);
  if (!limit) return "wrong";
  const known = ctx.graph?.bounds.get(p.actual.key);
  const proven = sameDim(minDim(known ?? p.actual, limit), known ?? p.actual);
  if (proven) return "done";
  fail(ctx, "bound", `axis ${p.axis} of ${p.meeting.what} is not known to be at most ${limit.key}`, {
    span: p.meeting.span,
    label: `this is ${showType(p.meeting.actual.type)}`,
    notes: [{ message: "declared here", span: p.declared.span }],
  });
  return "wrong";
}

/** `f32[2 * half]` against 64: half is 32. */
function solveOrReport(ctx: Context, stuck: readonly Pending[]): boolean {
  const first = stuck[0]!;
  const free = [...freeNames(ctx, first.declared.size)];
  const solved = free.length === 1 ? solve(ctx, first.declared.size, free[0]!, first.actual) : undefined;
  if (solved) {
    ctx.env.declare(free[0]!, { value: size(solved), origin: "dimension", span: first.meeting.span });
    const rest = stuck.map((p) => meet(ctx, p));
    const still = stuck.filter((_, i) => rest[i] === "stuck");
    return !rest.includes("wrong") && (still.length === 0 || solveOrReport(ctx, still));
  }
  const text = sourceText(first.declared.size.span);
  const why =
    free.length === 1
      ? `no ${free[0]!} gives ${text} = ${first.actual.key}`
      : `${free.join(" and ")} are not known`;
  fail(
    ctx,
    "cannot-infer-dimension",
    `axis ${first.axis} of ${first.meeting.what} is declared ${text}, and ${why}`,
    {
      span: first.meeting.span,
      label: `this is ${showType(first.meeting.actual.type)}`,
      notes: [{ message: "declared here", span: first.declared.span }],
    },
  );
  return false;
}

/** The value of `name` for which the expression equals `target`, where sums, differences and products can be undone. */
function solve(ctx: Context, e: ast.Expr, name: string, target: Dim): Dim | undefined {
  let at = e;
  let goal = target;
  while (at.kind === "binary") {
    const inLeft = freeNames(ctx, at.left).has(name);
    if (inLeft && freeNames(ctx, at.right).has(name)) return undefined;
    const known = asDim(evaluate(ctx, inLeft ? at.right : at.left));
    if (!known) return undefined;
    let next: Dim | undefined;
    if (at.op === "*") next = divideExact(goal, known);
    else if (at.op === "+") next = subDim(goal, known);
    else if (at.op === "-") next = inLeft ? addDim(goal, known) : subDim(known, goal);
    else if (at.op === "/" && inLeft) next = asDim(arithmetic(ctx, "*", size(goal), size(known), at.span));
    if (!next) return undefined;
    goal = next;
    at = inLeft ? at.left : at.right;
  }
  const constant = constantOf(goal);
  return at.kind === "name" && (constant === undefined || constant >= 0) ? goal : undefined;
}

/** Both shapes, the axis, and where each of the two numbers comes from. */
function reportSize(ctx: Context, p: Pending, expected: Dim): void {
  const { meeting: m, axis } = p;
  const text = sourceText(p.declared.size.span);
  const why = text === expected.key ? text : `${text} = ${expected.key}`;
  const notes: Note[] = [{ message: `declared ${sourceText(m.declared.span)} here`, span: p.declared.span }];
  const seen = new Set<string>();
  collectNames(p.declared.size, seen);
  for (const name of seen) {
    const binding = ctx.env.get(name);
    if (binding?.span)
      notes.push({ message: `${name} is ${describe(binding.value)}, from here`, span: binding.span });
  }
  const source = ctx.graph && axisSource(ctx.graph, m.actual, axis);
  if (source) notes.push(source);
  const axisName = axisNameOf(p.declared) ?? m.actual.type.axes[axis];
  const where = axisName ? `axis ${axis} (${axisName})` : `axis ${axis}`;
  fail(ctx, "shape-mismatch", `${where} of ${m.what} is declared ${why}, and is ${p.actual.key}`, {
    span: m.span,
    label: `this is ${showType(m.actual.type)}`,
    notes,
  });
}

function collectNames(e: ast.Expr, into: Set<string>): void {
  const stack = [e];
  while (stack.length > 0 && into.size < 4) {
    const x = stack.pop()!;
    if (x.kind === "name") into.add(x.name);
    else if (x.kind === "binary") stack.push(x.left, x.right);
  }
}

export function sourceText(span: Span): string {
  const text = span.file.text.slice(span.start, span.end).replace(/\s+/g, " ");
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
