// Access to chevrotain's concrete syntax tree by rule and token name, and the context that the builders share.
// Everything may be absent: recovery leaves holes.

import type { CstNode, IToken } from "chevrotain";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import type { SourceFile, Span } from "../support/source.ts";
import type { BadExpr, Name } from "./ast.ts";
import { stringValue } from "./literals.ts";

export const MAX_DEPTH = 200;

export interface BuildContext {
  readonly file: SourceFile;
  readonly diagnostics: Diagnostic[];
  /** How deep each expression is; kept aside, since the reader of a tree has no use for it. */
  readonly depths: WeakMap<object, number>;
  /** Expressions that stand in parentheses. */
  readonly grouped: WeakSet<object>;
  depthReported: boolean;
}

export function buildContext(file: SourceFile, diagnostics: Diagnostic[]): BuildContext {
  return { file, diagnostics, depths: new WeakMap(), grouped: new WeakSet(), depthReported: false };
}

export function childNodes(node: CstNode, rule: string): readonly CstNode[] {
  return (node.children[rule] ?? []) as CstNode[];
}

export function childNode(node: CstNode, rule: string, index = 0): CstNode | undefined {
  return childNodes(node, rule)[index];
}

/** The tokens of a type, without those that recovery made up. */
export function childTokens(node: CstNode, type: string): readonly IToken[] {
  const all = (node.children[type] ?? []) as IToken[];
  return all.every((token) => !token.isInsertedInRecovery)
    ? all
    : all.filter((token) => !token.isInsertedInRecovery);
}

export function childToken(node: CstNode, type: string, index = 0): IToken | undefined {
  return childTokens(node, type)[index];
}

export function has(node: CstNode, child: string): boolean {
  return (node.children[child]?.length ?? 0) > 0;
}

export function spanOf(context: BuildContext, node: CstNode): Span {
  const start = node.location?.startOffset;
  const end = node.location?.endOffset;
  if (start === undefined || Number.isNaN(start)) return { file: context.file, start: 0, end: 0 };
  return { file: context.file, start, end: (end ?? start) + 1 };
}

export function tokenSpan(context: BuildContext, token: IToken): Span {
  return { file: context.file, start: token.startOffset, end: token.startOffset + token.image.length };
}

export function join(first: Span, last: Span): Span {
  return { file: first.file, start: first.start, end: Math.max(first.end, last.end) };
}

export function nameOf(context: BuildContext, token: IToken): Name {
  return { text: token.image, span: tokenSpan(context, token) };
}

export function childName(context: BuildContext, node: CstNode, index = 0): Name | undefined {
  const token = childToken(node, "Name", index);
  return token && nameOf(context, token);
}

export function stringOf(context: BuildContext, token: IToken): { text: string; span: Span } {
  return { text: stringValue(token.image), span: tokenSpan(context, token) };
}

export function bad(context: BuildContext, node: CstNode): BadExpr {
  return { kind: "bad", span: spanOf(context, node) };
}

export function reportDepth(context: BuildContext, span: Span, help: string): void {
  if (context.depthReported) return;
  context.depthReported = true;
  const at = { ...span, end: Math.min(span.end, span.start + 1) };
  context.diagnostics.push(
    error("nesting-too-deep", `brackets, blocks and operators nest at most ${MAX_DEPTH} deep`, {
      span: at,
      help,
    }),
  );
}
