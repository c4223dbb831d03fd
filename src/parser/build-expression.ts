// Expressions: from the flat operand lists of the concrete tree to the AST, with precedence.
// Works with stacks of its own, so a chain of a hundred thousand `+` costs memory and no call stack; the finished tree
// is at most MAX_DEPTH deep, so everything behind the parser may recurse.

import type { CstNode, IToken } from "chevrotain";
import { error } from "../support/diagnostic.ts";
import type { Span } from "../support/source.ts";
import type { Annotation, Argument, Call, Expr, Label, MatchExpr, Name } from "./ast.ts";
import {
  bad,
  childName,
  childNode,
  childNodes,
  childToken,
  childTokens,
  has,
  join,
  MAX_DEPTH,
} from "./cst.ts";
import { nameOf, reportDepth, spanOf, stringOf, tokenSpan, type BuildContext } from "./cst.ts";
import { numberValue } from "./literals.ts";
import { asBinaryOp, binaryLevel, COMPARISON, NEGATION, NOT, PIPE, POWER } from "./precedence.ts";
import * as t from "./tokens.ts";

export function buildExpression(context: BuildContext, node: CstNode | undefined, parent: CstNode): Expr {
  if (!node) return bad(context, parent);
  const conditional = childNode(node, "ifExpression");
  return conditional ? buildIf(context, conditional) : buildOperators(context, node);
}

/** Notes how deep `expr` is, and puts a BadExpr in its place when that is too deep. */
function measured<E extends Expr>(context: BuildContext, expr: E, children: readonly Expr[]): E | Expr {
  let deepest = 0;
  for (const child of children) deepest = Math.max(deepest, context.depths.get(child) ?? 1);
  if (deepest >= MAX_DEPTH) {
    reportDepth(context, expr.span, "give a part of this expression a name of its own");
    return { kind: "bad", span: expr.span };
  }
  context.depths.set(expr, deepest + 1);
  return expr;
}

/** `if a then b else if c then d else e`: a flat list of operations; the last is the final `else`. */
function buildIf(context: BuildContext, node: CstNode): Expr {
  const parts = childNodes(node, "operation").map((part) => buildOperators(context, part));
  if (parts.length < 3 || parts.length % 2 === 0) return bad(context, node);
  let result = parts.at(-1)!;
  for (let i = parts.length - 3; i >= 0; i -= 2) {
    const [condition, then] = [parts[i]!, parts[i + 1]!];
    const span = i === 0 ? spanOf(context, node) : join(condition.span, result.span);
    result = measured(context, { kind: "if", span, condition, then, else: result }, [
      condition,
      then,
      result,
    ]);
  }
  return result;
}

interface Pending {
  readonly token: IToken;
  readonly level: number;
  readonly prefix: boolean;
}

/** Operator precedence with two stacks (the shunting yard). */
function buildOperators(context: BuildContext, node: CstNode): Expr {
  const operands = childNodes(node, "operand");
  const operators = childTokens(node, "BinaryOperator");
  if (operands.length === 0) return bad(context, node);
  const values: Expr[] = [];
  const pending: Pending[] = [];
  const reduce = (): void => {
    const operator = pending.pop()!;
    const right = values.pop()!;
    const left = operator.prefix ? undefined : values.pop()!;
    values.push(applyOperator(context, operator.token, left, right));
  };
  operands.forEach((operand, i) => {
    for (const token of childTokens(operand, "PrefixOperator")) {
      const level = token.tokenType === t.Not ? NOT : NEGATION;
      checkNot(context, token, level, pending.at(-1));
      pending.push({ token, level, prefix: true });
    }
    values.push(buildOperand(context, operand));
    const token = operators[i];
    if (!token || i === operands.length - 1) return;
    const op = asBinaryOp(token.image);
    const level = op ? binaryLevel(op) : PIPE;
    while (
      pending.length > 0 &&
      (pending.at(-1)!.level > level || (pending.at(-1)!.level === level && level !== POWER))
    ) {
      if (level === COMPARISON && pending.at(-1)!.level === COMPARISON)
        reportChain(context, pending.at(-1)!.token, token);
      reduce();
    }
    pending.push({ token, level, prefix: false });
  });
  while (pending.length > 0) reduce();
  return values[0]!;
}

function checkNot(context: BuildContext, token: IToken, level: number, before: Pending | undefined): void {
  if (level !== NOT || !before || before.level <= NOT) return;
  context.diagnostics.push(
    error("syntax", `\`not\` binds looser than \`${before.token.image}\``, {
      span: tokenSpan(context, token),
      help: "put `not` and what it negates in parentheses",
    }),
  );
}

function reportChain(context: BuildContext, first: IToken, second: IToken): void {
  context.diagnostics.push(
    error("comparison-chain", "comparisons cannot be chained", {
      span: tokenSpan(context, second),
      label: "the second comparison",
      notes: [{ message: "the first comparison", span: tokenSpan(context, first) }],
      help: `join two comparisons with \`and\`: \`a ${first.image} b and b ${second.image} c\``,
    }),
  );
}

function applyOperator(context: BuildContext, token: IToken, left: Expr | undefined, right: Expr): Expr {
  if (!left) {
    const op = token.tokenType === t.Not ? "not" : "-";
    const span = join(tokenSpan(context, token), right.span);
    return measured(context, { kind: "unary", span, op, operand: right }, [right]);
  }
  const op = asBinaryOp(token.image);
  if (!op) return applyPipe(context, token, left, right);
  return measured(context, { kind: "binary", span: join(left.span, right.span), op, left, right }, [
    left,
    right,
  ]);
}

function applyPipe(context: BuildContext, token: IToken, left: Expr, right: Expr): Expr {
  const span = join(left.span, right.span);
  if (right.kind === "call" && !context.grouped.has(right)) {
    const depth = context.depths.get(right) ?? 1;
    const call: Call = { ...right, span, piped: left };
    const result = measured(context, call, [left]);
    if (result === call) context.depths.set(call, Math.max(depth, context.depths.get(call)!));
    return result;
  }
  if (right.kind === "bad") return { kind: "bad", span };
  const isName = right.kind === "name";
  let help = "what stands on the right of `|>` is called with the value on its left";
  if (isName) help = `write \`|> ${right.name}()\``;
  else if (right.kind === "binary") help = `put the pipe in parentheses: \`(x |> f()) ${right.op} y\``;
  else if (right.kind === "member" || right.kind === "index")
    help = "put the pipe in parentheses before taking a part of its result";
  context.diagnostics.push(
    error("pipe-needs-call", "`|>` needs a call on its right", {
      span: right.span,
      label: isName ? "this is a name, not a call" : "this is not a call",
      notes: [{ message: "the pipe", span: tokenSpan(context, token) }],
      help,
    }),
  );
  return { kind: "bad", span };
}

function buildOperand(context: BuildContext, node: CstNode): Expr {
  let value = buildAtom(context, node);
  for (const suffix of childNodes(node, "suffix")) {
    const span = join(value.span, spanOf(context, suffix));
    const inner = childNode(suffix, "expression");
    const name = childName(context, suffix);
    if (inner) {
      const index = buildExpression(context, inner, suffix);
      value = measured(context, { kind: "index", span, object: value, index }, [value, index]);
    } else if (name) value = measured(context, { kind: "member", span, object: value, name }, [value]);
    else return { kind: "bad", span };
  }
  return value;
}

function buildAtom(context: BuildContext, node: CstNode): Expr {
  const literal = childNode(node, "literal");
  if (literal) return buildLiteral(context, literal);
  const reference = childNode(node, "reference");
  if (reference) return buildReference(context, reference);
  const parentheses = childNode(node, "parentheses");
  if (parentheses) return buildParentheses(context, parentheses);
  const list = childNode(node, "list");
  if (list) return buildList(context, list);
  const match = childNode(node, "matchExpression");
  if (match) return buildMatch(context, match);
  return bad(context, node);
}

export function buildLiteral(context: BuildContext, node: CstNode): Expr {
  const number = childToken(node, "Num");
  if (number) return buildNumber(context, number);
  const string = childToken(node, "Str");
  if (string) {
    const { text, span } = stringOf(context, string);
    return { kind: "string", span, value: text };
  }
  const span = spanOf(context, node);
  if (has(node, "True")) return { kind: "bool", span, value: true };
  if (has(node, "False")) return { kind: "bool", span, value: false };
  if (has(node, "None")) return { kind: "none", span };
  if (has(node, "Ellipsis")) return { kind: "ellipsis", span };
  return { kind: "bad", span };
}

function buildNumber(context: BuildContext, token: IToken): Expr {
  return { kind: "number", span: tokenSpan(context, token), ...numberValue(token.image), text: token.image };
}

function buildReference(context: BuildContext, node: CstNode): Expr {
  const callee = childName(context, node);
  if (!callee) return bad(context, node);
  const list = childNode(node, "callArguments");
  if (!list) return { kind: "name", span: callee.span, name: callee.text };
  return buildCall(context, node, callee, list);
}

function buildCall(context: BuildContext, node: CstNode, callee: Name, list: CstNode): Expr {
  const args = buildArguments(context, list);
  const label = buildLabel(context, childNode(node, "label"));
  const annotations = buildAnnotations(context, node);
  const call: Call = {
    kind: "call",
    span: spanOf(context, node),
    callee,
    args,
    ...(label && { label }),
    annotations,
  };
  return measured(context, call, [
    ...args.map((argument) => argument.value),
    ...(label?.parts.flatMap((part) => part.index ?? []) ?? []),
    ...annotations.flatMap((annotation) => annotation.value ?? []),
  ]);
}

export function buildArguments(context: BuildContext, list: CstNode): readonly Argument[] {
  return childNodes(list, "argument").map((node) => {
    const name = childName(context, node);
    const value = buildExpression(context, childNode(node, "expression"), node);
    return { span: spanOf(context, node), ...(name && { name }), value };
  });
}

export function buildLabel(context: BuildContext, node: CstNode | undefined): Label | undefined {
  if (!node) return undefined;
  const parts = childNodes(node, "labelPart").flatMap((part) => {
    const name = childName(context, part);
    const inner = childNode(part, "expression");
    return name ? [{ name, ...(inner && { index: buildExpression(context, inner, part) }) }] : [];
  });
  const origin = childNode(node, "origin");
  const from = origin && childName(context, origin);
  if (parts.length === 0 && !from) return undefined;
  return { span: spanOf(context, node), parts, shared: has(node, "Shared"), ...(from && { from }) };
}

export function buildAnnotations(context: BuildContext, node: CstNode): readonly Annotation[] {
  return childNodes(node, "annotation").flatMap((annotation) => {
    const name = childName(context, annotation);
    if (!name) return [];
    const valueNode = childNode(annotation, "annotationValue");
    const value = valueNode && buildAnnotationValue(context, valueNode);
    return [{ span: spanOf(context, annotation), name, ...(value && { value }) }];
  });
}

function buildAnnotationValue(context: BuildContext, node: CstNode): Expr {
  const literal = childNode(node, "literal");
  if (literal) return buildLiteral(context, literal);
  const callee = childName(context, node);
  const list = childNode(node, "callArguments");
  return callee && list ? buildCall(context, node, callee, list) : bad(context, node);
}

/** The span of what stands in parentheses takes them in, so that a message points at all of it. */
function buildParentheses(context: BuildContext, node: CstNode): Expr {
  const elements = childNodes(node, "expression").map((element) => buildExpression(context, element, node));
  const span = spanOf(context, node);
  if (elements.length === 1 && !has(node, "Comma")) {
    const inner: Expr = { ...elements[0]!, span };
    context.grouped.add(inner);
    return measured(context, inner, [elements[0]!]);
  }
  return measured(context, { kind: "tuple", span, elements }, elements);
}

function buildList(context: BuildContext, node: CstNode): Expr {
  const span = spanOf(context, node);
  const expressions = childNodes(node, "expression").map((element) =>
    buildExpression(context, element, node),
  );
  if (!has(node, "For")) return measured(context, { kind: "list", span, elements: expressions }, expressions);
  const [element, list, condition] = expressions;
  if (!element || !list) return { kind: "bad", span };
  const pattern = buildPattern(context, childNode(node, "pattern"));
  return measured(
    context,
    { kind: "comprehension", span, element, pattern, list, ...(condition && { condition }) },
    expressions,
  );
}

export function buildPattern(context: BuildContext, node: CstNode | undefined): readonly Name[] {
  const names = node && childNode(node, "names");
  return names ? childTokens(names, "Name").map((token) => nameOf(context, token)) : [];
}

function buildMatch(context: BuildContext, node: CstNode): Expr {
  const subject = buildExpression(context, childNode(node, "expression"), node);
  const arms = childNodes(node, "arm").map((arm) => buildArm(context, arm));
  const match: MatchExpr = { kind: "match", span: spanOf(context, node), subject, arms };
  return measured(context, match, [subject, ...arms.map((arm) => arm.value)]);
}

function buildArm(context: BuildContext, node: CstNode): MatchExpr["arms"][number] {
  const value = buildExpression(context, childNode(node, "expression"), node);
  const whole = spanOf(context, node);
  const span: Span = {
    ...whole,
    end: Math.max(whole.start, Math.min(whole.end, value.span.end || whole.end)),
  };
  return { span, pattern: armPattern(context, node), value };
}

function armPattern(context: BuildContext, node: CstNode): Expr | "_" {
  const name = childName(context, node);
  if (name) return name.text === "_" ? "_" : { kind: "name", span: name.span, name: name.text };
  const minus = childToken(node, "Minus");
  const number = childToken(node, "Num");
  if (!minus || !number) return buildLiteral(context, node);
  const operand = buildNumber(context, number);
  return { kind: "unary", span: join(tokenSpan(context, minus), operand.span), op: "-", operand };
}

/**
 * `for x in f() @stages {`: the grammar gives the label to the call, but at the end of a loop's header it is the
 * loop's. Takes label and annotations off the last call of `expr`, unless it is in parentheses.
 */
export function takeTail(
  context: BuildContext,
  expr: Expr,
): { expr: Expr; label?: Label; annotations: readonly Annotation[] } {
  const nothing = { expr, annotations: [] };
  if (context.grouped.has(expr)) return nothing;
  const within = (child: Expr, rebuild: (changed: Expr) => Expr) => {
    const taken = takeTail(context, child);
    return taken.expr === child ? nothing : { ...taken, expr: rebuild(taken.expr) };
  };
  const shorten = (changed: Expr): Span => ({ ...expr.span, end: changed.span.end });
  switch (expr.kind) {
    case "binary":
      return within(expr.right, (right) => ({ ...expr, right, span: shorten(right) }));
    case "unary":
      return within(expr.operand, (operand) => ({ ...expr, operand, span: shorten(operand) }));
    case "if":
      return within(expr.else, (last) => ({ ...expr, else: last, span: shorten(last) }));
    case "call": {
      const { label, ...rest } = expr;
      if (!label && expr.annotations.length === 0) return nothing;
      const tailStart = Math.min(label?.span.start ?? Infinity, expr.annotations[0]?.span.start ?? Infinity);
      const written = expr.span.file.text.slice(expr.span.start, tailStart).trimEnd();
      const span = { ...expr.span, end: expr.span.start + written.length };
      return {
        expr: { ...rest, span, annotations: [] },
        ...(label && { label }),
        annotations: expr.annotations,
      };
    }
    default:
      return nothing;
  }
}
