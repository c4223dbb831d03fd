// Items and statements: from chevrotain's concrete tree to the AST of ast.ts. What recovery left without its
// essential parts (an assignment without a name) is dropped: an error has been reported for it.

import type { CstNode } from "chevrotain";
import type {
  Block,
  Body,
  Checkpoint,
  CheckpointRule,
  Comment,
  Config,
  Const,
  File,
  Import,
  Item,
} from "./ast.ts";
import type { Statement } from "./ast.ts";
import {
  buildAnnotations,
  buildArguments,
  buildExpression,
  buildLabel,
  buildPattern,
} from "./build-expression.ts";
import { takeTail } from "./build-expression.ts";
import { buildParam, buildParamType, buildResults, buildTensorParam, buildTensorType } from "./build-type.ts";
import { childName, childNode, childNodes, childToken, childTokens, has, MAX_DEPTH } from "./cst.ts";
import { nameOf, reportDepth, spanOf, stringOf, tokenSpan, type BuildContext } from "./cst.ts";
import { numberValue } from "./literals.ts";

export function buildFile(context: BuildContext, node: CstNode, comments: readonly Comment[]): File {
  const items = childNodes(node, "item").flatMap((item) => buildItem(context, item) ?? []);
  return {
    kind: "file",
    span: { file: context.file, start: 0, end: context.file.text.length },
    items,
    comments,
  };
}

function buildItem(context: BuildContext, item: CstNode): Item | undefined {
  const rule = Object.keys(item.children)[0];
  const node = rule === undefined ? undefined : childNode(item, rule);
  if (!node) return undefined;
  switch (rule) {
    case "importItem":
      return buildImport(context, node);
    case "constItem":
      return buildConst(context, node);
    case "blockItem":
      return buildBlock(context, node);
    case "configItem":
      return buildConfig(context, node);
    case "checkpointItem":
      return buildCheckpoint(context, node);
    default:
      return undefined;
  }
}

function buildImport(context: BuildContext, node: CstNode): Import | undefined {
  const from = childToken(node, "Str");
  if (!from) return undefined;
  const names = childNodes(node, "importName").flatMap((each) => {
    const [name, as] = childTokens(each, "Name").map((token) => nameOf(context, token));
    return name ? [{ name, ...(as && { as }) }] : [];
  });
  return { kind: "import", span: spanOf(context, node), names, from: stringOf(context, from) };
}

function buildConst(context: BuildContext, node: CstNode): Const | undefined {
  const name = childName(context, node);
  const typeNode = childNode(node, "type");
  const type = typeNode && buildParamType(context, childNode(typeNode, "parameterType"));
  if (!name) return undefined;
  const value = buildExpression(context, childNode(node, "expression"), node);
  return { kind: "const", span: spanOf(context, node), name, ...(type && { type }), value };
}

/** One list in parentheses holds the inputs; of two, the first holds the parameters. */
function buildBlock(context: BuildContext, node: CstNode): Block | undefined {
  const name = childName(context, node);
  if (!name) return undefined;
  const lists = childNodes(node, "parameters");
  const [first, second] = lists.length > 1 ? [lists[0], lists[1]] : [undefined, lists[0]];
  const params = first
    ? childNodes(first, "parameter").flatMap((each) => buildParam(context, each) ?? [])
    : [];
  const inputs = second
    ? childNodes(second, "parameter").flatMap((each) => buildTensorParam(context, each, name) ?? [])
    : [];
  const results = buildResults(context, childNode(node, "results"));
  const body = buildBody(context, childNode(node, "body"), node, 1);
  const flags = { model: has(node, "ModelWord"), isDefault: has(node, "Default") };
  return { kind: "block", span: spanOf(context, node), ...flags, name, params, inputs, results, body };
}

function buildConfig(context: BuildContext, node: CstNode): Config | undefined {
  const [name, model, base] = childTokens(node, "Name").map((token) => nameOf(context, token));
  if (!name || !model) return undefined;
  const list = childNode(node, "callArguments");
  const args = list ? buildArguments(context, list) : [];
  return { kind: "config", span: spanOf(context, node), name, model, ...(base && { extends: base }), args };
}

function buildCheckpoint(context: BuildContext, node: CstNode): Checkpoint | undefined {
  const [name, model] = childTokens(node, "Name").map((token) => nameOf(context, token));
  if (!name || !model) return undefined;
  const rules = childNodes(node, "checkpointRule").flatMap((rule) => buildRule(context, rule) ?? []);
  return { kind: "checkpoint", span: spanOf(context, node), name, model, rules };
}

function buildRule(context: BuildContext, node: CstNode): CheckpointRule | undefined {
  const verb = childName(context, node);
  if (!verb) return undefined;
  const [from = [], to = []] = childNodes(node, "patterns").map((list) =>
    childTokens(list, "Str").map((token) => stringOf(context, token)),
  );
  const axisToken = childToken(node, "Num");
  const sign = has(node, "Minus") ? -1 : 1;
  const axis = axisToken && sign * numberValue(axisToken.image).value;
  return { span: spanOf(context, node), verb, from, to, ...(axis !== undefined && { axis }) };
}

/** `level` counts the bodies around, `else if` included: each nests the tree by one. */
function buildBody(context: BuildContext, node: CstNode | undefined, parent: CstNode, level: number): Body {
  if (!node) {
    const { file, end } = spanOf(context, parent);
    return { span: { file, start: end, end }, statements: [] };
  }
  const span = spanOf(context, node);
  if (level > MAX_DEPTH) {
    reportDepth(context, span, "move the inner part into a block of its own");
    return { span, statements: [] };
  }
  const statements = childNodes(node, "statement").flatMap(
    (each) => buildStatement(context, each, level) ?? [],
  );
  return { span, statements };
}

function buildStatement(context: BuildContext, statement: CstNode, level: number): Statement | undefined {
  const rule = Object.keys(statement.children)[0];
  const node = rule === undefined ? undefined : childNode(statement, rule);
  if (!node) return undefined;
  const span = spanOf(context, node);
  const expression = (index = 0) => buildExpression(context, childNode(node, "expression", index), node);
  switch (rule) {
    case "assignStatement": {
      const first = childToken(node, "Target");
      if (!first) return undefined;
      const targets = [first, ...childTokens(node, "Name")].map((token) => nameOf(context, token));
      return { kind: "assign", span, targets, value: expression() };
    }
    case "returnStatement": {
      const values = childNodes(node, "returnValue").map((each) => {
        const name = childName(context, each);
        return {
          ...(name && { name }),
          value: buildExpression(context, childNode(each, "expression"), each),
        };
      });
      return { kind: "return", span, values };
    }
    case "ifStatement":
      return buildIfStatement(context, node, level);
    case "forStatement": {
      const pattern = buildPattern(context, childNode(node, "pattern"));
      if (pattern.length === 0) return undefined;
      const { expr, ...tail } = buildHeader(context, node);
      return { kind: "for", span, pattern, list: expr, ...tail, body: bodyOf(context, node, level) };
    }
    case "repeatStatement": {
      const index = childName(context, node);
      const { expr, ...tail } = buildHeader(context, node);
      return {
        kind: "repeat",
        span,
        count: expr,
        ...(index && { index }),
        ...tail,
        body: bodyOf(context, node, level),
      };
    }
    case "stateStatement": {
      const name = childName(context, node);
      const type = buildTensorType(context, childNode(node, "tensorType"));
      return name && type && { kind: "state", span, name, type, initial: expression() };
    }
    case "outputStatement": {
      const name = childName(context, node);
      if (!name) return undefined;
      if (!has(node, "LeftSquare")) return { kind: "output", span, name, value: expression() };
      return { kind: "output", span, name, index: expression(), value: expression(1) };
    }
    case "weightStatement": {
      const name = childName(context, node);
      const type = buildTensorType(context, childNode(node, "tensorType"));
      const label = buildLabel(context, childNode(node, "label"));
      return name && type && { kind: "weight", span, name, type, ...(label && { label }) };
    }
    case "preprocessStatement": {
      const input = childName(context, node);
      const list = childNode(node, "callArguments");
      return input && { kind: "preprocess", span, input, args: list ? buildArguments(context, list) : [] };
    }
    case "assertStatement": {
      const condition = expression();
      return { kind: "assert", span, condition, ...(has(node, "Comma") && { message: expression(1) }) };
    }
    case "withStatement": {
      const annotations = buildAnnotations(context, node);
      return { kind: "with", span, annotations, body: bodyOf(context, node, level) };
    }
    default:
      return undefined;
  }
}

function bodyOf(context: BuildContext, node: CstNode, level: number): Body {
  return buildBody(context, childNode(node, "body"), node, level + 1);
}

/** The list or count of a loop, its label and its annotations, whichever of them the grammar gave to a last call. */
function buildHeader(context: BuildContext, node: CstNode) {
  const written = buildExpression(context, childNode(node, "expression"), node);
  const ownLabel = buildLabel(context, childNode(node, "label"));
  const own = buildAnnotations(context, node);
  const tail = takeTail(context, written);
  // With a label on both, or something between (`as i`), the call keeps what is its own.
  if ((tail.label && ownLabel) || has(node, "As")) {
    return { expr: written, ...(ownLabel && { label: ownLabel }), annotations: own };
  }
  const label = tail.label ?? ownLabel;
  return { expr: tail.expr, ...(label && { label }), annotations: [...tail.annotations, ...own] };
}

/** The chain is flat in the concrete tree; built from its end, each `else if` becomes a body of one statement. */
function buildIfStatement(context: BuildContext, node: CstNode, level: number): Statement {
  const conditions = childNodes(node, "expression");
  const bodies = childNodes(node, "body");
  const file = context.file;
  const end = spanOf(context, node).end;
  const starts = childTokens(node, "If").map((token) => tokenSpan(context, token).start);
  if (conditions.length + level > MAX_DEPTH) {
    reportDepth(context, spanOf(context, node), "a chain of conditions may be a `match`");
  }
  const count = Math.max(1, Math.min(conditions.length, MAX_DEPTH - level));
  let rest: Body | undefined;
  if (bodies.length > conditions.length) rest = buildBody(context, bodies.at(-1), node, level + count);
  let result: Statement | undefined;
  for (let i = count - 1; i >= 0; i--) {
    const condition = buildExpression(context, conditions[i], node);
    const then = buildBody(context, bodies[i], node, level + i + 1);
    const last = rest ?? then;
    const span = { file, start: starts[i] ?? condition.span.start, end: i === 0 ? end : last.span.end };
    result = { kind: "if", span, condition, then, ...(rest && { else: rest }) };
    rest = { span, statements: [result] };
  }
  return result!;
}
