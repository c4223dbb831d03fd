// Source text, spans and positions. Knows text only; never tensors or syntax.
// A span is a half-open range of UTF-16 offsets in one file; line and column are derived, 1-based.

export interface SourceFile {
  /** The name shown to the reader, as it was given (`examples/x.model`). */
  readonly name: string;
  readonly text: string;
  /** Offset of the first character of each line. */
  readonly lineStarts: readonly number[];
}

export interface Span {
  readonly file: SourceFile;
  readonly start: number;
  readonly end: number;
}

/** A place as it is printed and kept through every rewrite: a file name and a 1-based range. */
export interface Location {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
}

export function sourceFile(name: string, text: string): SourceFile {
  const lineStarts = [0];
  for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) lineStarts.push(i + 1);
  return { name, text, lineStarts };
}

/** 1-based line and column of an offset (binary search). */
export function position(file: SourceFile, offset: number): { line: number; column: number } {
  let low = 0;
  let high = file.lineStarts.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (file.lineStarts[mid]! <= offset) low = mid;
    else high = mid - 1;
  }
  return { line: low + 1, column: offset - file.lineStarts[low]! + 1 };
}

export function locationOf(span: Span): Location {
  let known = locations.get(span);
  if (!known) locations.set(span, (known = findLocation(span)));
  return known;
}

/** A place in a file is the place of many nodes: each layer of a model is made by the same lines. */
const locations = new WeakMap<Span, Location>();

function findLocation(span: Span): Location {
  const from = position(span.file, span.start);
  const to = position(span.file, Math.max(span.start, span.end));
  return {
    file: span.file.name,
    line: from.line,
    column: from.column,
    endLine: to.line,
    endColumn: to.column,
  };
}

/** `file:line:column`, the form that terminals and editors open. */
export function showLocation(at: Location): string {
  return `${at.file}:${at.line}:${at.column}`;
}

export function lineText(file: SourceFile, line: number): string {
  const start = file.lineStarts[line - 1];
  if (start === undefined) return "";
  const end = file.lineStarts[line] ?? file.text.length;
  return file.text.slice(start, end).replace(/\r?\n$/, "");
}
