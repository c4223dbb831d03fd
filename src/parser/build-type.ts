// Types in signatures: tensor types with their dimensions, and the types of compile-time parameters.

import type { CstNode } from "chevrotain";
import { error } from "../support/diagnostic.ts";
import type { DimExpr, Name, Param, ParamType, Result, TensorParam, TensorTypeExpr } from "./ast.ts";
import { buildExpression } from "./build-expression.ts";
import {
  childName,
  childNode,
  childNodes,
  childTokens,
  has,
  nameOf,
  spanOf,
  type BuildContext,
} from "./cst.ts";

export function buildTensorType(
  context: BuildContext,
  node: CstNode | undefined,
): TensorTypeExpr | undefined {
  const dtype = node && childName(context, node);
  if (!dtype) return undefined;
  const dims = childNodes(node, "dimension").map((dimension) => buildDimension(context, dimension));
  const second = dims.filter((d) => d.size.kind === "ellipsis")[1];
  if (second) {
    context.diagnostics.push(
      error("syntax", "a shape has one `...`, or it would not say which axes are which", {
        span: second.span,
      }),
    );
  }
  return { span: spanOf(context, node), dtype, dims };
}

function buildDimension(context: BuildContext, node: CstNode): DimExpr {
  const axis = childName(context, node);
  const written = buildExpression(context, childNode(node, "expression"), node);
  const bounded = written.kind === "binary" && written.op === "<=" && !context.grouped.has(written);
  const size = bounded ? written.left : written;
  if (size.kind === "ellipsis" && (axis || bounded)) {
    context.diagnostics.push(
      error("syntax", "`...` is any number of axes, and has no name and no bound of its own", {
        span: spanOf(context, node),
        help: "axes that it stands for keep the names that the tensor has",
      }),
    );
  }
  return {
    span: spanOf(context, node),
    ...(axis && { axis }),
    size,
    ...(bounded && { bound: written.right }),
  };
}

export function buildParamType(context: BuildContext, node: CstNode | undefined): ParamType | undefined {
  if (!node) return undefined;
  const span = spanOf(context, node);
  const core = buildCore(context, node);
  return core && has(node, "Question") ? { kind: "optional", of: core, span } : core;
}

function buildCore(context: BuildContext, node: CstNode): ParamType | undefined {
  const span = spanOf(context, node);
  const names = childTokens(node, "Name").map((token) => nameOf(context, token));
  if (names.length === 1) return { kind: "name", name: names[0]! };
  if (names.length > 1) {
    return {
      kind: "enum",
      choices: names,
      span: { ...span, start: names[0]!.span.start, end: names.at(-1)!.span.end },
    };
  }
  const inner = childNodes(node, "parameterType").flatMap((type) => buildParamType(context, type) ?? []);
  if (has(node, "LeftParen")) return { kind: "tuple", elements: inner, span };
  return inner[0] && { kind: "list", element: inner[0], span };
}

/** `dim: int = 4` */
export function buildParam(context: BuildContext, node: CstNode): Param | undefined {
  const name = childName(context, node);
  const typeNode = childNode(node, "type");
  if (!name || !typeNode) return undefined;
  const tensor = childNode(typeNode, "tensorType");
  if (tensor) {
    context.diagnostics.push(
      error("syntax", `parameter \`${name.text}\` cannot be a tensor`, {
        span: spanOf(context, tensor),
        help: "the first list holds what is known while compiling; tensors stand in the second",
      }),
    );
    return undefined;
  }
  const question = childTokens(node, "Question")[0];
  if (question) {
    context.diagnostics.push(
      error("syntax", "a parameter that may be left out takes its `?` behind the type", {
        span: nameOf(context, question).span,
        help: `write \`${name.text}: block? = none\``,
      }),
    );
  }
  const type = buildParamType(context, childNode(typeNode, "parameterType"));
  if (!type) return undefined;
  const value = childNode(node, "expression");
  return {
    span: spanOf(context, node),
    name,
    type,
    ...(value && { default: buildExpression(context, value, node) }),
  };
}

/** `x: f32[B, C, H, W]`, `mask?: i32[B, T]` */
export function buildTensorParam(context: BuildContext, node: CstNode, block: Name): TensorParam | undefined {
  const name = childName(context, node);
  const typeNode = childNode(node, "type");
  if (!name || !typeNode) return undefined;
  const type = buildTensorType(context, childNode(typeNode, "tensorType"));
  if (!type) {
    context.diagnostics.push(
      error("syntax", `input \`${name.text}\` needs a tensor type`, {
        span: spanOf(context, typeNode),
        help: `write a type such as \`f32[B, T]\`; parameters have a list of their own before the inputs: \`${block.text}(dim: int) (x: f32[B, T])\``,
      }),
    );
    return undefined;
  }
  const value = childNode(node, "expression");
  if (value) {
    context.diagnostics.push(
      error("syntax", `input \`${name.text}\` cannot have a default`, {
        span: spanOf(context, value),
        help: `an input that may be left out is written \`${name.text}?: ${type.dtype.text}[...]\``,
      }),
    );
  }
  return { span: spanOf(context, node), name, optional: has(node, "Question"), type };
}

export function buildResults(context: BuildContext, node: CstNode | undefined): readonly Result[] {
  if (!node) return [];
  const single = buildTensorType(context, childNode(node, "tensorType"));
  if (single) return [{ span: single.span, type: single }];
  return childNodes(node, "result").flatMap((result) => {
    const name = childName(context, result);
    const type = buildTensorType(context, childNode(result, "tensorType"));
    return type ? [{ span: spanOf(context, result), ...(name && { name }), type }] : [];
  });
}
