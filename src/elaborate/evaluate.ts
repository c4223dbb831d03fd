// Expressions to values. Knows every kind of expression; calls, operators on tensors and names at the top of files have their own files.
// Long chains (`a + b + ...`, `x |> f |> ...`, `else if`) are loops here, so that they need no stack.

import type * as ast from "../parser/ast.ts";
import { modelTypes, type DType } from "../ir/types.ts";
import type { Span } from "../support/source.ts";
import { arithmetic, compare, lengthAllowed, negate } from "./arithmetic.ts";
import { builtins } from "./builtins.ts";
import { evaluateCall } from "./calls.ts";
import { Env, fail, nested, spend, type Context } from "./context.ts";
import { evaluateEntry } from "./constants.ts";
import { ellipsisSizes } from "./ellipsis.ts";
import { suggestion } from "./suggest.ts";
import { negateTensor, operateOnTensors } from "./tensor-operators.ts";
import { bool, describe, int, kindOf, none, poison, size, type Value } from "./value.ts";

/** What is expected of an expression: decides whether a word is one of an enumeration, and whether a call binds parameters. */
export interface Hint {
  readonly words?: readonly string[];
  readonly block?: boolean;
  readonly element?: Hint;
  readonly elements?: readonly Hint[];
}

export function hintOf(type: ast.ParamType): Hint {
  switch (type.kind) {
    case "enum":
      return { words: type.choices.map((c) => c.text) };
    case "list":
      return { element: hintOf(type.element) };
    case "tuple":
      return { elements: type.elements.map(hintOf) };
    case "optional":
      return hintOf(type.of);
    case "name":
      return type.name.text === "block" ? { block: true } : {};
    default:
      return type satisfies never;
  }
}

export function evaluate(ctx: Context, e: ast.Expr, hint: Hint = {}): Value {
  if (!spend(ctx, 1, e.span)) return poison;
  const go = (): Value => nested<Value>(ctx, e.span, poison, () => evaluateKind(ctx, e, hint));
  // Each call of a pipeline is seen by itself.
  return e.kind === "call" && e.piped ? go() : observed(ctx, e, go);
}

function observed(ctx: Context, e: ast.Expr, evaluateIt: () => Value): Value {
  const { observe } = ctx.session;
  if (!observe) return evaluateIt();
  const builder = ctx.graph?.builder;
  const from = builder?.nodes.length ?? 0;
  const value = evaluateIt();
  observe(e, { value, ...(builder && { builder }), from, to: builder?.nodes.length ?? 0 });
  return value;
}

function evaluateKind(ctx: Context, e: ast.Expr, hint: Hint): Value {
  switch (e.kind) {
    case "number":
      return literalNumber(ctx, e);
    case "string":
      return literalString(ctx, e);
    case "bool":
      return bool(e.value);
    case "none":
      return none;
    case "ellipsis":
      return fail(ctx, "ellipsis", "`...` stands for axes: in a type, and in a list of sizes", {
        span: e.span,
        help: "write [..., n] for those axes and one more",
      });
    case "name":
      return evaluateName(ctx, e.name, e.span, hint);
    case "list":
      return evaluateItems(ctx, e, hint);
    case "tuple":
      return evaluateItems(ctx, e, hint);
    case "comprehension":
      return evaluateComprehension(ctx, e, hint);
    case "unary":
      return evaluateUnary(ctx, e);
    case "binary":
      return evaluateBinary(ctx, e);
    case "if":
      return evaluateIf(ctx, e, hint);
    case "match":
      return evaluateMatch(ctx, e, hint);
    case "call":
      return evaluatePipeline(ctx, e, hint);
    case "index":
      return evaluateIndex(ctx, e);
    case "member":
      return evaluateMember(ctx, e);
    case "bad":
      return poison;
    default:
      return e satisfies never;
  }
}

function literalNumber(ctx: Context, e: ast.NumberLiteral): Value {
  const sound = e.isInt ? Number.isSafeInteger(e.value) : Number.isFinite(e.value);
  if (!sound)
    return fail(ctx, "number-too-large", `${e.text.slice(0, 30)} is larger than numbers here can be`, {
      span: e.span,
    });
  return e.isInt ? int(e.value) : { kind: "float", value: e.value };
}

function literalString(ctx: Context, e: ast.StringLiteral): Value {
  const limit = ctx.session.limits.stringLength;
  if (e.value.length > limit)
    return fail(ctx, "string-too-long", `this string is longer than ${limit} characters`, { span: e.span });
  return { kind: "string", value: e.value };
}

/** A name: a word that is expected here, then names of the block, of the file, ops and element types. */
export function evaluateName(ctx: Context, name: string, span: Span, hint: Hint = {}): Value {
  if (hint.words?.includes(name)) return { kind: "word", value: name, choices: hint.words };
  const binding = ctx.env.get(name);
  if (binding) return binding.value;
  const entry = ctx.file.entries.get(name);
  if (entry) return evaluateEntry(ctx, entry, span);
  const op = ctx.session.lookup(name);
  if (op && op.inLanguage !== false) return { kind: "block", target: { kind: "op", op }, bound: new Map() };
  if ((modelTypes as readonly string[]).includes(name)) return { kind: "dtype", value: name as DType };
  if (builtins.has(name))
    return fail(ctx, "not-a-value", `${name} is a function, and can only be called`, { span });
  return unknownName(ctx, name, span, hint);
}

export function unknownName(ctx: Context, name: string, span: Span, hint: Hint = {}): Value {
  if (hint.words)
    return fail(ctx, "unknown-word", `${name} is none of ${hint.words.join(" | ")}`, {
      span,
      help: suggestion(name, hint.words, "the words are"),
    });
  const known = [...ctx.env.names(), ...ctx.file.entries.keys(), ...builtins.keys(), ...ctx.session.opNames];
  return fail(ctx, "unknown-name", `there is no ${name} here`, {
    span,
    help: suggestion(name, known, "there is"),
  });
}

function evaluateItems(ctx: Context, e: ast.ListExpr | ast.TupleExpr, hint: Hint): Value {
  if (!lengthAllowed(ctx, e.elements.length, e.span)) return poison;
  const items = e.elements.flatMap((x, i) =>
    x.kind === "ellipsis" && e.kind === "list"
      ? sizesOfEllipsis(ctx, x.span, hint)
      : [evaluate(ctx, x, hint.elements?.[i] ?? hint.element ?? {})],
  );
  return items.some((x) => x.kind === "poison") ? poison : { kind: e.kind, items };
}

function sizesOfEllipsis(ctx: Context, span: Span, hint: Hint): readonly Value[] {
  if (!hint.element?.words) return ellipsisSizes(ctx, span) ?? [poison];
  const message = "`...` stands for sizes here, and axes are asked for";
  return [fail(ctx, "ellipsis", message, { span, help: "name each axis by its letter or its index" })];
}

/** Elements to go over, and their number checked; undefined, once reported, where `v` is no list. */
export function elementsOf(ctx: Context, v: Value, span: Span): readonly Value[] | undefined {
  if (v.kind === "list" || v.kind === "tuple") return v.items;
  if (v.kind === "poison") return undefined;
  const help = v.kind === "int" ? `write range(${describe(v)})` : undefined;
  fail(ctx, "not-a-list", `a list is needed here, not ${kindOf(v)}`, {
    span,
    label: `this is ${describe(v)}`,
    help,
  });
  return undefined;
}

/** Names of a pattern, bound to one element, in a scope of their own. */
export function bindPattern(
  ctx: Context,
  pattern: readonly ast.Name[],
  element: Value,
  span: Span,
): Context | undefined {
  const env = new Env(ctx.env);
  const values = pattern.length === 1 ? [element] : unpack(ctx, element, pattern.length, span);
  if (!values) return undefined;
  for (const [i, name] of pattern.entries())
    env.declare(name.text, { value: values[i]!, origin: "loop", span: name.span });
  return { ...ctx, env };
}

/** The parts of a tuple, a list, or the results of a call; exactly `count` of them. */
export function unpack(ctx: Context, v: Value, count: number, span: Span): readonly Value[] | undefined {
  if (v.kind === "poison") return undefined;
  if ((v.kind === "tuple" || v.kind === "list") && v.items.length === count) return v.items;
  const have = v.kind === "tuple" || v.kind === "list" ? `${v.items.length} values` : kindOf(v);
  fail(ctx, "wrong-count", `${count} names are given ${have}`, { span, label: `this is ${describe(v)}` });
  return undefined;
}

function evaluateComprehension(ctx: Context, e: ast.Comprehension, hint: Hint): Value {
  const elements = elementsOf(ctx, evaluate(ctx, e.list), e.list.span);
  if (!elements || !lengthAllowed(ctx, elements.length, e.span)) return poison;
  const out: Value[] = [];
  let failed = false;
  for (const element of elements) {
    if (ctx.session.used.stopped) return poison;
    const inner = bindPattern(ctx, e.pattern, element, e.list.span);
    if (!inner) return poison;
    const keep = e.condition ? condition(inner, e.condition) : true;
    if (keep === undefined) return poison;
    if (!keep) continue;
    const value = evaluate(inner, e.element, hint.element ?? {});
    failed ||= value.kind === "poison";
    out.push(value);
  }
  return failed ? poison : { kind: "list", items: out };
}

/** A choice made while compiling; undefined, once reported, where there is none to make. */
export function condition(ctx: Context, e: ast.Expr): boolean | undefined {
  const v = evaluate(ctx, e);
  return truth(ctx, v, e.span);
}

function truth(ctx: Context, v: Value, span: Span): boolean | undefined {
  if (v.kind === "bool") return v.value;
  if (v.kind === "poison") return undefined;
  if (v.kind === "tensor")
    fail(
      ctx,
      "tensor-condition",
      "a condition is decided while compiling, and the values of a tensor are not known then",
      {
        span,
        label: `this is ${describe(v)}`,
        help: "choose per element with where(condition, a, b)",
      },
    );
  else {
    const help =
      v.kind === "list"
        ? "compare its length: len(...) > 0"
        : v.kind === "int"
          ? "compare it: ... != 0"
          : undefined;
    fail(ctx, "condition-type", `a condition is a bool, not ${kindOf(v)}`, {
      span,
      label: `this is ${describe(v)}`,
      help,
    });
  }
  return undefined;
}

function evaluateUnary(ctx: Context, e: ast.Unary): Value {
  const signs = [e];
  let operand = e.operand;
  for (; operand.kind === "unary"; operand = operand.operand) signs.push(operand);
  let v = evaluate(ctx, operand);
  for (const sign of signs.reverse()) {
    if (v.kind === "poison") return v;
    if (sign.op === "not") {
      const b = v.kind === "tensor" ? undefined : truth(ctx, v, sign.operand.span);
      if (v.kind === "tensor")
        return fail(ctx, "tensor-condition", "`not` is for conditions that are decided while compiling", {
          span: sign.span,
          help: "of a bool tensor, take logical_not(...)",
        });
      v = b === undefined ? poison : bool(!b);
    } else v = v.kind === "tensor" ? negateTensor(ctx, v, sign.span) : negate(ctx, v, sign.span);
  }
  return v;
}

function evaluateBinary(ctx: Context, e: ast.Binary): Value {
  const spine = [e];
  let first = e.left;
  for (; first.kind === "binary"; first = first.left) spine.push(first);
  let value = evaluate(ctx, first);
  for (const b of spine.reverse()) value = applyBinary(ctx, b, value);
  return value;
}

function applyBinary(ctx: Context, b: ast.Binary, left: Value): Value {
  if (b.op === "and" || b.op === "or") {
    if (left.kind === "tensor")
      return fail(ctx, "tensor-condition", `\`${b.op}\` is for conditions that are decided while compiling`, {
        span: b.span,
        help: `of bool tensors, take logical_${b.op}(a, b)`,
      });
    const l = truth(ctx, left, b.left.span);
    if (l === undefined) return poison;
    if (l === (b.op === "or")) return bool(l);
    const r = condition(ctx, b.right);
    return r === undefined ? poison : bool(r);
  }
  // `head == timm`: the word is one of those that head may be.
  const words = left.kind === "word" ? { words: left.choices } : {};
  const right = evaluate(ctx, b.right, words);
  // Whether an optional input was given is known while compiling.
  const asksNone = (b.op === "==" || b.op === "!=") && (left.kind === "none" || right.kind === "none");
  if (!asksNone && (left.kind === "tensor" || right.kind === "tensor"))
    return operateOnTensors(ctx, b, left, right);
  switch (b.op) {
    case "+":
    case "-":
    case "*":
    case "/":
    case "%":
    case "**":
      return arithmetic(ctx, b.op, left, right, b.span);
    default:
      return compare(ctx, b.op, left, right, b.span);
  }
}

function evaluateIf(ctx: Context, e: ast.IfExpr, hint: Hint): Value {
  for (let at = e; ;) {
    const chosen = condition(ctx, at.condition);
    if (chosen === undefined) return poison;
    if (chosen) return evaluate(ctx, at.then, hint);
    if (at.else.kind !== "if") return evaluate(ctx, at.else, hint);
    at = at.else;
  }
}

function evaluateMatch(ctx: Context, e: ast.MatchExpr, hint: Hint): Value {
  const subject = evaluate(ctx, e.subject);
  if (subject.kind === "poison") return poison;
  if (subject.kind === "tensor") {
    truth(ctx, subject, e.subject.span);
    return poison;
  }
  const words = subject.kind === "word" ? { words: subject.choices } : {};
  for (const arm of e.arms) {
    if (arm.pattern === "_") return evaluate(ctx, arm.value, hint);
    const pattern = evaluate(ctx, arm.pattern, words);
    const hit = compare(ctx, "==", subject, pattern, arm.pattern.span);
    if (hit.kind === "poison") return poison;
    if (hit.kind === "bool" && hit.value) return evaluate(ctx, arm.value, hint);
  }
  return fail(ctx, "no-match", `no arm of this match is for ${describe(subject)}`, {
    span: e.subject.span,
    help: "add an arm for it, or `_ => ...` for all others",
  });
}

/** `x |> f(a) |> g(b)`, from the left. */
function evaluatePipeline(ctx: Context, e: ast.Call, hint: Hint): Value {
  const calls = [e];
  let first = e.piped;
  for (; first?.kind === "call" && first.piped !== undefined; first = first.piped) calls.push(first);
  if (first === undefined) return evaluateCall(ctx, e, undefined, hint);
  let from = first;
  let value = evaluate(ctx, first);
  for (const call of calls.reverse()) {
    const piped = { value, span: headOf(from) };
    value = observed(ctx, call, () => evaluateCall(ctx, call, piped, hint));
    from = call;
  }
  return value;
}

/** The part of an expression that names it: of a pipeline, its last call. */
export function headOf(e: ast.Expr): Span {
  return e.kind === "call" ? { file: e.span.file, start: e.callee.span.start, end: e.span.end } : e.span;
}

function evaluateIndex(ctx: Context, e: ast.Index): Value {
  const object = evaluate(ctx, e.object);
  const index = evaluate(ctx, e.index);
  if (object.kind === "poison" || index.kind === "poison") return poison;
  if (object.kind === "tensor")
    return fail(ctx, "tensor-index", "a tensor is not indexed with brackets", {
      span: e.span,
      label: `this is ${describe(object)}`,
      help: "take slice(x, axis = ..., start = ..., end = ...)",
    });
  const items = elementsOf(ctx, object, e.object.span);
  if (!items) return poison;
  if (index.kind !== "int")
    return fail(ctx, "index-type", `an index is an int, not ${kindOf(index)}`, { span: e.index.span });
  const item = items[index.value < 0 ? index.value + items.length : index.value];
  return (
    item ??
    fail(ctx, "index-out-of-range", `there is no element ${index.value} in ${items.length} elements`, {
      span: e.index.span,
      label: `of ${describe(object)}`,
    })
  );
}

function evaluateMember(ctx: Context, e: ast.Member): Value {
  const object = evaluate(ctx, e.object);
  const name = e.name.text;
  if (object.kind === "poison") return object;
  if (object.kind === "tuple" && object.names) {
    const item = object.items[object.names.indexOf(name)];
    if (item) return item;
    const names = object.names.filter((x) => x !== undefined);
    return fail(ctx, "unknown-result", `this call gives no ${name}`, {
      span: e.name.span,
      help: suggestion(name, names, "it gives"),
    });
  }
  if (object.kind === "word" || object.kind !== "tensor")
    return fail(ctx, "no-member", `${kindOf(object)} has nothing called ${name}`, {
      span: e.name.span,
      label: `of ${describe(object)}`,
    });
  return tensorMember(ctx, e, object);
}

function tensorMember(ctx: Context, e: ast.Member, x: Value & { kind: "tensor" }): Value {
  switch (e.name.text) {
    case "shape":
      return { kind: "list", items: x.type.shape.map(size) };
    case "rank":
      return int(x.type.shape.length);
    case "dtype":
      return { kind: "dtype", value: x.type.dtype };
    default:
      return fail(ctx, "no-member", `a tensor has nothing called ${e.name.text}`, {
        span: e.name.span,
        label: `of ${describe(x)}`,
        help: "it has shape, rank and dtype",
      });
  }
}
