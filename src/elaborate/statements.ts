// Statements. Choices and loops happen here, while compiling; what remains is a graph.
// `execute` gives true once the block has returned.

import type * as ast from "../parser/ast.ts";
import { sameDim } from "../ir/dim.ts";
import { showType } from "../ir/types.ts";
import {
  fail,
  joinPath,
  nested,
  spend,
  stop,
  withoutNamespace,
  type Binding,
  type Context,
  type Place,
} from "./context.ts";
import { bindPattern, condition, elementsOf, evaluate, headOf, unpack } from "./evaluate.ts";
import { stackedType, weightOfRows } from "./experts.ts";
import { addScope } from "./graph-state.ts";
import { annotationsOf, describeLoop, labelPath } from "./labels.ts";
import { spansOf } from "./op-calls.ts";
import { evaluatePreprocess } from "./preprocess.ts";
import { evaluateType, withAxes } from "./signature.ts";
import { suggestion } from "./suggest.ts";
import { describe, int, kindOf, poison, type TensorValue, type Value } from "./value.ts";
import { useWeight } from "./weights.ts";

export function execute(ctx: Context, body: ast.Body): boolean {
  for (const [i, s] of body.statements.entries()) {
    if (ctx.session.used.stopped) return true;
    const returned = nested(ctx, s.span, true, () => executeOne(ctx, s));
    if (!returned) continue;
    const after = body.statements[i + 1];
    if (after && s.kind === "return")
      fail(ctx, "unreachable", "nothing after `return` is reached", { span: after.span });
    return true;
  }
  return false;
}

function executeOne(ctx: Context, s: ast.Statement): boolean {
  switch (s.kind) {
    case "assign":
      assign(ctx, s);
      return false;
    case "return":
      executeReturn(ctx, s);
      return true;
    case "if":
      return executeIf(ctx, s);
    case "for":
      return executeFor(ctx, s);
    case "repeat":
      return executeRepeat(ctx, s);
    case "state":
      declareState(ctx, s);
      return false;
    case "output":
      tap(ctx, s);
      return false;
    case "weight":
      declareWeight(ctx, s);
      return false;
    case "preprocess":
      declarePreprocess(ctx, s);
      return false;
    case "assert":
      executeAssert(ctx, s);
      return false;
    case "with": {
      const annotations = [...ctx.place.annotations, ...annotationsOf(ctx, s.annotations)];
      return execute({ ...ctx, place: { ...ctx.place, annotations } }, s.body);
    }
    default:
      return s satisfies never;
  }
}

function assign(ctx: Context, s: ast.Assign): void {
  const value = evaluate(ctx, s.value);
  const span = headOf(s.value);
  if (s.targets.length === 1) return setName(ctx, s.targets[0]!, value, span);
  const values = unpack(ctx, value, s.targets.length, span);
  for (const [i, target] of s.targets.entries()) setName(ctx, target, values?.[i] ?? poison, span);
}

function setName(ctx: Context, name: ast.Name, value: Value, span: ast.Name["span"]): void {
  const old = ctx.env.get(name.text);
  const binding: Binding = { value, origin: "assigned", span };
  if (!old?.state) return ctx.env.assign(name.text, binding);
  ctx.env.assign(name.text, { ...binding, origin: "state", state: old.state });
  if (value.kind === "poison") return;
  const { type } = old.state;
  const fits =
    value.kind === "tensor" &&
    value.type.dtype === type.dtype &&
    value.type.shape.length === type.shape.length &&
    value.type.shape.every((d, i) => sameDim(d, type.shape[i]!));
  if (fits) old.state.next = value.id;
  else
    fail(
      ctx,
      "state-type",
      `state ${name.text} is ${showType(type)}, and is assigned ${value.kind === "tensor" ? showType(value.type) : kindOf(value)}`,
      {
        span,
        notes: [{ message: "declared here", span: old.state.span }],
      },
    );
}

function executeReturn(ctx: Context, s: ast.Return): void {
  const values = s.values.map((v) => ({ value: evaluate(ctx, v.value), span: headOf(v.value) }));
  const only = values.length === 1 ? values[0]! : undefined;
  // `return f(x)` where f has several results.
  const spread =
    only?.value.kind === "tuple" ? only.value.items.map((value) => ({ value, span: only.span })) : values;
  ctx.frame!.returned = { statement: s, values: spread };
}

function executeIf(ctx: Context, s: ast.If): boolean {
  for (let at = s; ;) {
    const chosen = condition(ctx, at.condition);
    if (chosen === undefined) return skip(ctx, [at.then, ...(at.else ? [at.else] : [])]);
    if (chosen) return execute(ctx, at.then);
    if (!at.else) return false;
    const only = at.else.statements.length === 1 ? at.else.statements[0]! : undefined;
    if (only?.kind !== "if") return execute(ctx, at.else);
    at = only;
  }
}

/** Bodies that cannot be elaborated for an error reported before: what they would assign causes no further errors. */
function skip(ctx: Context, bodies: readonly ast.Body[]): boolean {
  const stack = [...bodies];
  let returns = false;
  for (let body = stack.pop(); body; body = stack.pop())
    for (const s of body.statements) {
      if (s.kind === "assign")
        for (const t of s.targets)
          ctx.env.assign(t.text, { value: poison, origin: "assigned", span: t.span });
      else if (s.kind === "return") returns = true;
      else if (s.kind === "if") stack.push(s.then, ...(s.else ? [s.else] : []));
      else if (s.kind === "for" || s.kind === "repeat" || s.kind === "with") stack.push(s.body);
    }
  if (returns) ctx.frame!.uncertain = true;
  return returns;
}

// Loops.

function executeFor(ctx: Context, s: ast.For): boolean {
  const elements = elementsOf(ctx, evaluate(ctx, s.list), s.list.span);
  if (!elements) return skip(ctx, [s.body]);
  return loop(ctx, s, elements.length, (i) => {
    const element = elements[i]!;
    const inner = bindPattern(ctx, s.pattern, element, s.list.span);
    return inner && { ctx: inner, element };
  });
}

function executeRepeat(ctx: Context, s: ast.Repeat): boolean {
  const count = evaluate(ctx, s.count);
  if (count.kind === "poison") return skip(ctx, [s.body]);
  if (count.kind !== "int" || count.value < 0) {
    const what =
      count.kind === "dim" ? `${describe(count)}, which is known only when the model runs` : describe(count);
    fail(ctx, "repeat-count", `a loop is repeated a number of times, not ${what}`, { span: s.count.span });
    return skip(ctx, [s.body]);
  }
  const pattern = s.index ? [s.index] : [];
  return loop(ctx, s, count.value, (i) => {
    const inner = bindPattern(
      ctx,
      pattern,
      pattern.length === 1 ? int(i) : { kind: "list", items: [] },
      s.count.span,
    );
    return inner && { ctx: inner, element: undefined };
  });
}

interface Turn {
  readonly ctx: Context;
  readonly element: Value | undefined;
}

function loop(
  ctx: Context,
  s: ast.For | ast.Repeat,
  count: number,
  turn: (i: number) => Turn | undefined,
): boolean {
  const limit = ctx.session.limits.iterations;
  if (count > limit) {
    stop(ctx, "too-many-iterations", `this loop has ${count} turns, and may have ${limit}`, s.span);
    return true;
  }
  const annotations = [...ctx.place.annotations, ...annotationsOf(ctx, s.annotations)];
  for (let i = 0; i < count; i++) {
    if (!spend(ctx, 8, s.span)) return true;
    const t = turn(i);
    if (!t) return skip(ctx, [s.body]);
    const place = turnPlace(t, s, i, annotations);
    if (!place) return skip(ctx, [s.body]);
    const before = ctx.graph?.weights.size ?? 0;
    const returned = execute({ ...t.ctx, place }, s.body);
    if (s.label && (ctx.graph?.weights.size ?? 0) > before) ctx.place.labels.labelled ??= s.label.span;
    if (returned) return true;
  }
  return false;
}

/** A labelled loop adds its label and the number of the turn to the path; a shared one has the same path in every turn. */
function turnPlace(
  { ctx, element }: Turn,
  s: ast.For | ast.Repeat,
  i: number,
  annotations: Place["annotations"],
): Place | undefined {
  const here = ctx.place;
  const label = s.label ? labelPath(ctx, s.label) : undefined;
  if (s.label && !label) return undefined;
  const loops = [...here.loops, describeLoop(i, label?.path, element, s.span)];
  if (!label) return { ...here, annotations, loops };
  const own = label.shared ? label.path : joinPath(label.path, String(i));
  const path = joinPath(here.path, own);
  if (ctx.graph) addScope(ctx.graph, path, s.kind, annotations, s.span);
  return {
    ...here,
    path,
    labels: {},
    blame: undefined,
    shared: here.shared || label.shared,
    annotations: [],
    loops,
  };
}

// Declarations.

function declareState(ctx: Context, s: ast.State): void {
  const type = evaluateType(ctx, s.type);
  const initial = evaluate(ctx, s.initial);
  const place = (value: Value, binding: Partial<Binding> = {}) =>
    ctx.env.assign(s.name.text, { value, origin: "state", span: s.name.span, ...binding });
  if (!type || initial.kind === "poison" || !ctx.graph) return place(poison);
  if (initial.kind !== "int" && initial.kind !== "float" && initial.kind !== "bool") {
    fail(ctx, "state-initial", `a state starts as one number, not ${kindOf(initial)}`, {
      span: s.initial.span,
    });
    return place(poison);
  }
  const name = joinPath(withoutNamespace(ctx.place.path), s.name.text);
  const old = ctx.graph.states.get(name);
  if (old) {
    fail(ctx, "duplicate-state", `there is a state ${name} already`, {
      span: s.name.span,
      notes: [{ message: "the first one is here", span: old.span }],
      help: "give the call of this block a label of its own",
    });
    return place(poison);
  }
  const id = `%${name}.in`;
  ctx.graph.builder.declare(id, type);
  ctx.graph.origins.set(id, s.span);
  const state = { name, id, type, initial: Number(initial.value), span: s.span, next: id };
  ctx.graph.states.set(name, state);
  place({ kind: "tensor", id, type, span: s.span }, { state });
}

/** Only the entry point has pictures to speak of; a model that another one calls has been given a tensor. */
function declarePreprocess(ctx: Context, s: ast.Preprocess): void {
  if (!ctx.frame?.block.model) {
    fail(ctx, "misplaced-preprocess", "only a model has preprocessing", { span: s.span });
    return;
  }
  const preprocess = evaluatePreprocess(ctx, s);
  if (!preprocess || !ctx.frame.isEntry || !ctx.graph) return;
  const { inputs } = ctx.graph;
  const at = inputs.findIndex((x) => x.name === s.input.text);
  if (at >= 0) inputs[at] = { ...inputs[at]!, preprocess };
  else
    fail(ctx, "unknown-name", `${ctx.frame.block.name.text} has no input ${s.input.text}`, {
      span: s.input.span,
      help: suggestion(
        s.input.text,
        inputs.map((x) => x.name),
        "its inputs are",
      ),
    });
}

function tap(ctx: Context, s: ast.Output): void {
  const value = evaluate(ctx, s.value);
  const index = s.index ? evaluate(ctx, s.index) : undefined;
  if (value.kind === "poison" || index?.kind === "poison" || !ctx.graph) return;
  if (value.kind !== "tensor") {
    fail(ctx, "not-a-tensor", `an output is a tensor, not ${kindOf(value)}`, { span: s.value.span });
    return;
  }
  if (index && index.kind !== "int") {
    fail(ctx, "index-type", `an index is an int, not ${kindOf(index)}`, { span: s.index!.span });
    return;
  }
  const own = index ? `${s.name.text}.${describe(index)}` : s.name.text;
  addOutput(ctx, joinPath(withoutNamespace(ctx.place.blockPath), own), value, s.span);
}

export function addOutput(ctx: Context, name: string, value: TensorValue, span: ast.Output["span"]): void {
  const g = ctx.graph!;
  const old = g.outputs.get(name);
  if (old)
    fail(ctx, "duplicate-output", `there is an output ${name} already`, {
      span,
      notes: [{ message: "the first one is here", span: old.span }],
    });
  else g.outputs.set(name, { name, value: value.id, span, spans: spansOf(ctx, span) });
}

function declareWeight(ctx: Context, s: ast.Weight): void {
  const type = evaluateType(ctx, s.type);
  const label = s.label ? labelPath(ctx, s.label) : { path: "", shared: false };
  const place = (value: Value) => ctx.env.assign(s.name.text, { value, origin: "assigned", span: s.span });
  if (!type || !label || !ctx.graph) return place(poison);
  ctx.place.labels.labelled ??= s.span;
  const named = s.label && s.label.parts.length > 0 ? label.path : joinPath(label.path, s.name.text);
  const key = joinPath(ctx.place.path, named);
  const { experts } = ctx.place;
  const own = experts ? stackedType(experts, type) : type;
  const weight = useWeight(ctx, { key, type: own, seed: undefined, span: s.span, shared: label.shared });
  if (!weight) return place(poison);
  place(experts ? weightOfRows(ctx, weight, s.span) : withAxes(weight, s.type));
}

function executeAssert(ctx: Context, s: ast.Assert): void {
  const held = condition(ctx, s.condition);
  if (held !== false) return;
  const message = s.message ? evaluate(ctx, s.message) : undefined;
  if (message?.kind === "poison") return;
  const text = (message?.kind === "string" && message.value.trim()) || "this does not hold";
  fail(ctx, "assertion", text, { span: s.condition.span, label: valuesIn(ctx, s.condition) });
}

/** `dim is 65, heads is 4`: the names of a condition with their values. */
function valuesIn(ctx: Context, e: ast.Expr): string | undefined {
  const parts: string[] = [];
  const stack = [e];
  while (stack.length > 0 && parts.length < 4) {
    const x = stack.pop()!;
    if (x.kind === "binary") stack.push(x.right, x.left);
    else if (x.kind === "unary") stack.push(x.operand);
    else if (x.kind === "name") {
      const binding = ctx.env.get(x.name);
      const text = binding && `${x.name} is ${describe(binding.value)}`;
      if (text && !parts.includes(text)) parts.push(text);
    }
  }
  return parts.length > 0 ? parts.join(", ") : undefined;
}
