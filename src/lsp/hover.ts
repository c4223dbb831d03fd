// Hover: what a name stands for, the shape that an expression has, the parameters and FLOPs that it costs. Markdown.

import { builtins } from "../elaborate/builtins.ts";
import { commentAbove } from "../elaborate/models.ts";
import { lookupOp } from "../ops/index.ts";
import type { Span } from "../support/source.ts";
import { expressionAt, type Analysis } from "./analysis.ts";
import { blockText, costText, opText, valuesText } from "./describe.ts";
import { blockOfDeclaration, occurrenceAt, type Declaration } from "./names.ts";

export interface Hover {
  readonly markdown: string;
  readonly span: Span;
}

export function hoverAt(
  a: Analysis,
  offset: number,
  fileOf: (name: string) => Analysis["file"] | undefined,
): Hover | undefined {
  const occurrence = occurrenceAt(a.names, offset);
  const e = expressionAt(a, offset);
  const parts: string[] = [];
  const callee = e?.kind === "call" && offset <= e.callee.span.end ? e.callee.text : undefined;
  const named = occurrence && declarationText(occurrence.of, fileOf);
  const op = callee === undefined || occurrence ? undefined : lookupOp(callee);
  const builtin = callee === undefined || occurrence || op ? undefined : builtins.get(callee);
  if (named) parts.push(...named);
  else if (op) parts.push(code(opText(op)), op.doc, ...(op.equation ? [`\`${op.equation}\``] : []));
  else if (builtin) parts.push(code(builtin.usage), builtin.doc);
  const seen =
    e && occurrenceFits(e.span, occurrence?.span) ? a.seen.get(e) : valueOfName(a, occurrence?.of, offset);
  const value = seen && valuesText(seen);
  if (value !== undefined) parts.push(`= \`${value}\``);
  const cost = seen && e?.kind !== "name" ? costText(seen) : undefined;
  if (cost !== undefined) parts.push(cost);
  const span = occurrence?.span ?? (callee !== undefined && e?.kind === "call" ? e.callee.span : e?.span);
  return parts.length > 0 && span ? { markdown: parts.join("\n\n"), span } : undefined;
}

/** The expression is what the name is in, and not something around it. */
function occurrenceFits(e: Span, name: Span | undefined): boolean {
  return name === undefined || (e.start <= name.start && name.end <= e.end);
}

/** A name that is being assigned is no expression: its value is that of the expression behind it. */
function valueOfName(
  a: Analysis,
  d: Declaration | undefined,
  offset: number,
): ReturnType<Analysis["seen"]["get"]> {
  if (!d) return undefined;
  const reads = a.names.occurrences.filter((o) => o.of === d && o.span.start > offset);
  const read = reads
    .map((o) => expressionAt(a, o.span.start))
    .find((e) => e?.kind === "name" && e.name === d.name);
  return read && a.seen.get(read);
}

function declarationText(d: Declaration, fileOf: (name: string) => Analysis["file"] | undefined): string[] {
  const block = blockOfDeclaration(d);
  const home = fileOf(d.span.file.name);
  if (block) {
    const doc = home ? commentAbove(home, block) : "";
    return [code(blockText(block)), ...(doc ? [doc.replaceAll("\n", " ")] : [])];
  }
  const written = d.node ? d.node.span.file.text.slice(d.node.span.start, d.node.span.end) : d.name;
  const short = written.length > 300 ? `${written.slice(0, 300)}...` : written;
  return [code(d.kind === "constant" || d.kind === "config" ? short : `(${d.kind}) ${short}`)];
}

function code(text: string): string {
  return `\`\`\`tokenloom\n${text}\n\`\`\``;
}
