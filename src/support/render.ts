// Diagnostics as text for a terminal, with a code frame, and as plain objects for programs.
// Text of the user's files is untrusted: control characters are replaced before they reach a terminal.

import picocolors from "picocolors";
import type { Diagnostic } from "./diagnostic.ts";
import { lineText, locationOf, position, showLocation, type Location, type Span } from "./source.ts";

export interface RenderOptions {
  /** Off by default; the caller knows whether its output is a terminal. */
  readonly color?: boolean;
  /** Columns; longer source lines are cut around what is pointed at. */
  readonly width?: number;
}

type Paint = (text: string) => string;

interface Style {
  readonly width: number;
  readonly bold: Paint;
  readonly frame: Paint;
  readonly accent: Paint;
  readonly note: Paint;
  readonly help: Paint;
}

const TAB = 4;
const ELLIPSIS = "...";
const MIN_WIDTH = 40;

/** One block of text for each diagnostic, separated by empty lines; ends with a newline unless there is none. */
export function render(diagnostics: readonly Diagnostic[], options: RenderOptions = {}): string {
  const blocks = diagnostics.map((diagnostic) => renderOne(diagnostic, options));
  return blocks.length === 0 ? "" : `${blocks.join("\n\n")}\n`;
}

function renderOne(diagnostic: Diagnostic, options: RenderOptions): string {
  const colors = picocolors.createColors(options.color ?? false);
  const accent = diagnostic.severity === "error" ? colors.red : colors.yellow;
  const style: Style = {
    width: Math.max(MIN_WIDTH, options.width ?? 110),
    bold: colors.bold,
    frame: colors.blue,
    accent: (text) => colors.bold(accent(text)),
    note: colors.cyan,
    help: colors.green,
  };
  const spans = [diagnostic.span, ...diagnostic.notes.map((note) => note.span)].flatMap((span) => span ?? []);
  // One gutter for the frames of one diagnostic, so that their bars stand below each other.
  const gutter = Math.max(1, ...spans.map((span) => String(lastLineOf(span)).length));
  const head = style.accent(`${diagnostic.severity}[${diagnostic.code}]`);
  const lines = [`${head}${style.bold(`: ${clean(diagnostic.message)}`)}`];
  if (diagnostic.span)
    lines.push(...frame(diagnostic.span, diagnostic.label, "^", gutter, style, style.accent));
  const indent = " ".repeat(gutter + 1);
  for (const note of diagnostic.notes) {
    lines.push(`${indent}${style.note("note:")} ${clean(note.message)}`);
    if (note.span) lines.push(...frame(note.span, undefined, "-", gutter, style, style.note));
  }
  if (diagnostic.help !== undefined) lines.push(`${indent}${style.help("help:")} ${clean(diagnostic.help)}`);
  return lines.join("\n");
}

function lastLineOf(span: Span): number {
  return position(span.file, lastOffset(span)).line;
}

/** Of the last character that the span covers, or of the place it points at when it is empty. */
function lastOffset(span: Span): number {
  return Math.max(span.start, span.end - 1);
}

/** `--> file:7:18`, the line with carets; of a span over several lines the first and the last. */
function frame(
  span: Span,
  label: string | undefined,
  mark: string,
  gutter: number,
  style: Style,
  paint: Paint,
): string[] {
  const { file } = span;
  const from = position(file, span.start);
  const to = position(file, lastOffset(span));
  const bar = (number: string) => style.frame(` ${number.padStart(gutter)} |`);
  const room = style.width - gutter - 4;
  const lines = [
    `${" ".repeat(gutter + 1)}${style.frame("-->")} ${clean(showLocation(locationOf(span)))}`,
    bar(""),
  ];
  const show = (line: number, start: number, end: number, text: string | undefined): void => {
    const shown = window(lineText(file, line), start, end, room);
    lines.push(`${bar(String(line))} ${shown.text}`.trimEnd());
    const marks = mark.repeat(Math.max(1, shown.end - shown.start));
    const behind = text === undefined ? "" : ` ${clean(text)}`;
    lines.push(`${bar("")} ${" ".repeat(shown.start)}${paint(marks + behind)}`);
  };
  if (from.line === to.line) {
    show(from.line, from.column - 1, from.column - 1 + Math.max(0, span.end - span.start), label);
    lines.push(bar(""));
    return lines;
  }
  const first = lineText(file, from.line);
  const last = lineText(file, to.line);
  show(from.line, from.column - 1, Math.max(from.column, first.length), undefined);
  if (to.line > from.line + 1) lines.push(bar("."));
  const lead = last.length - last.trimStart().length;
  show(to.line, Math.min(lead, to.column - 1), to.column, label ?? "to here");
  lines.push(bar(""));
  return lines;
}

/**
 * A line of source made safe and fit to print, with the columns `start` to `end` (offsets in it) found again in what
 * is printed. A long line is cut on both sides of the span.
 */
function window(
  line: string,
  start: number,
  end: number,
  room: number,
): { text: string; start: number; end: number } {
  // Only what can be shown is converted: a line may be as long as the file.
  const from = Math.max(0, start - room);
  const upTo = Math.min(line.length, Math.max(start, Math.min(end, start + room)) + room);
  const columnOf = new Map<number, number>();
  let text = "";
  for (let i = from; i < upTo;) {
    const character = String.fromCodePoint(line.codePointAt(i)!);
    columnOf.set(i, text.length);
    if (character === "\t") text += " ".repeat(TAB - (text.length % TAB));
    else text += character.length === 1 || i + character.length <= upTo ? clean(character) : "\ufffd";
    i += character.length;
  }
  const column = (offset: number): number => {
    for (let i = Math.max(from, offset); i > from && i >= offset - 1; i--) {
      const found = columnOf.get(i);
      if (found !== undefined) return found + (i < offset ? 1 : 0);
    }
    return offset <= from ? 0 : text.length;
  };
  let first = start >= line.length ? text.length + Math.min(1, start - line.length) : column(start);
  let last = end >= upTo ? Math.max(first, text.length) : column(end);
  let cutLeft = from > 0;
  if (first > room - 20 && text.length > room) {
    // A third of the room stays for what stands before the span.
    const drop = Math.min(first - Math.floor(room / 3), text.length);
    text = text.slice(Math.max(0, drop));
    first -= drop;
    last -= drop;
    cutLeft = true;
  }
  if (cutLeft) {
    text = ELLIPSIS + text.slice(Math.min(ELLIPSIS.length, first));
    const moved = ELLIPSIS.length - Math.min(ELLIPSIS.length, first);
    first += moved;
    last += moved;
  }
  if (text.length > room || upTo < line.length) {
    text = text.slice(0, room - ELLIPSIS.length) + ELLIPSIS;
    last = Math.min(last, room);
  }
  return { text, start: first, end: Math.max(first, last) };
}

/** Without what could move a cursor, change colours, or reorder what is read: each such character becomes a mark. */
export function clean(text: string): string {
  return text.replace(UNSAFE, "\ufffd");
}

const UNSAFE = new RegExp(
  "[\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]|[\\ud800-\\udfff]",
  "gu",
);

/** A diagnostic for programs: positions are 1-based, the end is the position behind the last character. */
export interface JsonDiagnostic extends Partial<Location> {
  readonly severity: "error" | "warning";
  readonly code: string;
  readonly message: string;
  readonly label?: string;
  readonly help?: string;
  readonly notes: readonly ({ readonly message: string } & Partial<Location>)[];
}

export function renderJson(diagnostics: readonly Diagnostic[]): JsonDiagnostic[] {
  return diagnostics.map(({ severity, code, message, span, label, help, notes }) => ({
    ...{ severity, code, message },
    ...(span && locationOf(span)),
    ...(label !== undefined && { label }),
    ...(help !== undefined && { help }),
    notes: notes.map((note) => ({ message: note.message, ...(note.span && locationOf(note.span)) })),
  }));
}
