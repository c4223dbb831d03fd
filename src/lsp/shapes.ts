// A file with the shape of what each line computes behind it, as a comment: what inlay hints are in an editor, for paper and terminals.

import type { Observation } from "../elaborate/context.ts";
import type { Analysis } from "./analysis.ts";
import type * as ast from "../parser/ast.ts";
import { locationOf } from "../support/source.ts";
import { valuesText } from "./describe.ts";

/**
 * The text with a comment behind every line that ends with a tensor: of those that end there, the largest. Where a block is called with
 * several shapes, as many as `valuesText` shows. Comments of the file keep their places, behind the shape.
 */
export function withShapes(a: Analysis): string {
  const { text } = a.file.ast.span.file;
  const lines = text.split("\n");
  const comments = new Map(a.file.ast.comments.map((c) => [locationOf(c.span).line, c] as const));
  for (const [line, e] of lastOnLines(a)) {
    const shapes = valuesText(a.seen.get(e)!.filter(isTensor))!;
    const own = comments.get(line);
    const start = text.lastIndexOf("\n", e.span.end - 1) + 1;
    const code = lines[line - 1]!;
    const end = own ? own.span.start - start : code.length;
    const said = own ? ` ${code.slice(end)}` : "";
    lines[line - 1] = `${code.slice(0, end).trimEnd()} // ${shapes}${said}`;
  }
  return lines.join("\n");
}

/** Line -> the largest expression that ends on it and came to a tensor. */
function lastOnLines(a: Analysis): ReadonlyMap<number, ast.Expr> {
  const out = new Map<number, ast.Expr>();
  for (const [e, seen] of a.seen) {
    if (!seen.some(isTensor)) continue;
    const { line } = locationOf({ ...e.span, start: Math.max(e.span.start, e.span.end - 1) });
    const known = out.get(line);
    if (!known || isLarger(e, known)) out.set(line, e);
  }
  return out;
}

/** Further to the end of the line first: `return a = f(x), b = g(y)` is about b. */
function isLarger(a: ast.Expr, b: ast.Expr): boolean {
  return a.span.end > b.span.end || (a.span.end === b.span.end && a.span.start < b.span.start);
}

const isTensor = ({ value }: Observation): boolean =>
  value.kind === "tensor" || (value.kind === "tuple" && value.items.every((x) => x.kind === "tensor"));
