// Unification: the names of declared types bound by those of the arguments; results checked the same way. What does not fit is
// reported as a short proof: both sizes, and where each comes from.

import { addDim, constantOf, divideExact, minDim, sameDim, subDim, type Dim } from "../ir/dim.ts";
import { showType, type DType } from "../ir/types.ts";
import type * as ast from "../parser/ast.ts";
import type { Note } from "../support/diagnostic.ts";
import type { Span } from "../support/source.ts";
import { arithmetic } from "./arithmetic.ts";
import { fail, type Context } from "./context.ts";
import { alignAxes, boundEllipsis, ELLIPSIS, isOpen, type DeclaredAxis } from "./ellipsis.ts";
import { evaluate } from "./evaluate.ts";
import { axisSource } from "./provenance.ts";
import { axisNameOf, declaredDType, freeNames, sizeOf, sourceText } from "./signature.ts";
import { asDim, describe, list, size, type TensorValue } from "./value.ts";

/** A declared type with the tensor that meets it. */
export interface Meeting {
  readonly declared: ast.TensorTypeExpr;
  readonly actual: TensorValue;
  /** `x of Mlp`, `the result of Mlp`. */
  readonly what: string;
  /** Where the tensor is given. */
  readonly span: Span;
}

interface Pending {
  readonly meeting: Meeting;
  readonly axis: number;
  readonly declared: ast.DimExpr;
  /** Which of the axes of `...` it is. */
  readonly run?: number;
  readonly actual: Dim;
}

/** Binds the names of declared types so that they equal the types met; false, once reported, where that cannot be. */
export function unify(ctx: Context, meetings: readonly Meeting[]): boolean {
  let sound = true;
  let pending: Pending[] = [];
  for (const meeting of meetings) {
    const dtype = declaredDType(ctx, meeting.declared);
    const aligned = dtype && meetKind(ctx, meeting, dtype);
    if (!aligned) sound = false;
    else
      for (const [axis, declared] of aligned.entries())
        pending.push({ meeting, axis, ...declared, actual: meeting.actual.type.shape[axis]! });
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

/** Element type and number of axes; gives what is declared for each axis, and binds `...` where it is met first. */
function meetKind(ctx: Context, m: Meeting, dtype: DType): readonly DeclaredAxis[] | undefined {
  const { type } = m.actual;
  // Made where something is wrong: every call of every block comes by here.
  const proof = (...more: readonly Note[]) => ({
    span: m.span,
    label: `this is ${showType(type)}`,
    notes: [{ message: `declared ${sourceText(m.declared.span)} here`, span: m.declared.span }, ...more],
  });
  if (type.dtype !== dtype) {
    fail(ctx, "dtype-mismatch", `${m.what} is declared ${dtype}, not ${type.dtype}`, {
      ...proof(),
      help: `convert it with cast(x, dtype = ${dtype})`,
    });
    return undefined;
  }
  const aligned = alignAxes(m.declared, type.shape.length);
  const run = aligned?.filter((a) => a.run !== undefined).length ?? 0;
  const open = isOpen(m.declared);
  const bound = open ? ctx.env.get(ELLIPSIS) : undefined;
  const known = open ? boundEllipsis(ctx) : undefined;
  if (!aligned || (known && known.length !== run)) {
    const axes = (n: number) => `${n} ${n === 1 ? "axis" : "axes"}`;
    const written = m.declared.dims.length - Number(open);
    const count = known || !open ? axes(written + (known?.length ?? 0)) : `at least ${axes(written)}`;
    const message = `${m.what} is declared with ${count}, and has ${type.shape.length}`;
    const from = bound?.span && { message: `... is ${describe(bound.value)}, from here`, span: bound.span };
    fail(ctx, "rank-mismatch", message, proof(...(from ? [from] : [])));
    return undefined;
  }
  if (open && !known) {
    const sizes = type.shape.filter((_, i) => aligned[i]!.run !== undefined).map(size);
    ctx.env.declare(ELLIPSIS, { value: list(sizes), origin: "dimension", span: m.span });
  }
  return aligned;
}

function meet(ctx: Context, p: Pending): "done" | "stuck" | "wrong" {
  const { size: e } = p.declared;
  if (p.run !== undefined) {
    const expected = asDim(boundEllipsis(ctx)![p.run]!)!;
    if (sameDim(expected, p.actual)) return "done";
    reportSize(ctx, p, expected);
    return "wrong";
  }
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
  const why =
    p.run !== undefined
      ? `${expected.key} by ...`
      : text === expected.key
        ? text
        : `${text} = ${expected.key}`;
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
    else if (x.kind === "ellipsis") into.add(ELLIPSIS);
    else if (x.kind === "binary") stack.push(x.left, x.right);
  }
}
