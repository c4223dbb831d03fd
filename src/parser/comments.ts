// Puts comments back while the formatter walks the tree in the order of the text. A comment goes before or behind the
// nearest thing that may stand on lines of its own (a statement, an argument, a stage of a pipe): own-line comments
// before it, others at its line's end. One from the middle of an expression moves before the thing it was in.
// None is ever lost: what nobody claimed comes out at the end of the list or file around it.

import type { SourceFile, Span } from "../support/source.ts";
import type { Comment } from "./ast.ts";
import { concatAll, hardline, lineEnd, type Doc } from "./document.ts";

export interface CommentCursor {
  readonly source: SourceFile;
  readonly comments: readonly Comment[];
  next: number;
  /** Comments that the thing being written hands to the nearest thing around it that has lines of its own. */
  handedUp: Comment[];
}

export function commentCursor(source: SourceFile, comments: readonly Comment[]): CommentCursor {
  return { source, comments, next: 0, handedUp: [] };
}

/** The comments that start before `offset` and have no place yet. */
export function takeBefore(cursor: CommentCursor, offset: number): readonly Comment[] {
  const from = cursor.next;
  while (cursor.next < cursor.comments.length && cursor.comments[cursor.next]!.span.start < offset)
    cursor.next++;
  return cursor.comments.slice(from, cursor.next);
}

/** A comment on the same line behind `offset`, with at most a comma between. */
export function takeTrailing(cursor: CommentCursor, offset: number): Comment | undefined {
  const comment = cursor.comments[cursor.next];
  if (!comment || comment.ownLine || comment.span.start < offset) return undefined;
  if (!/^[ \t,]*$/.test(cursor.source.text.slice(offset, comment.span.start))) return undefined;
  cursor.next++;
  return comment;
}

/** A comment right behind an opening brace: it stays there. */
export function takeBehindBrace(cursor: CommentCursor, body: Span): Doc {
  const comment = takeTrailing(cursor, body.start + 1);
  return comment ? lineEnd(` ${comment.text}`) : "";
}

export interface Placed {
  /** On lines of their own before the thing. */
  readonly before: readonly Comment[];
  /** Those of `before` that stood inside it. */
  readonly moved: number;
  readonly doc: Doc;
  readonly behind: Doc;
  /** Where it ends in the source, a comment behind it included. */
  readonly end: number;
}

/** Renders a thing and collects the comments around it. */
export function place(cursor: CommentCursor, span: Span, write: () => Doc, takesTrailing = true): Placed {
  const leading = takeBefore(cursor, span.start);
  const outer = cursor.handedUp;
  cursor.handedUp = [];
  const doc = write();
  const inner = [...cursor.handedUp, ...takeBefore(cursor, span.end)];
  cursor.handedUp = outer;
  const trailing = takesTrailing ? takeTrailing(cursor, span.end) : undefined;
  return {
    before: [...leading, ...inner],
    moved: inner.length,
    doc,
    behind: trailing ? lineEnd(` ${trailing.text}`) : "",
    end: trailing?.span.end ?? span.end,
  };
}

export function linesBefore(comments: readonly Comment[]): Doc {
  return concatAll(comments.flatMap((comment) => [comment.text, hardline]));
}

/** Whether an empty line stands in the source right behind `from`, or anywhere up to `to`. */
export function hasBlankLine(source: SourceFile, from: number, to: number): boolean {
  return from < to && /\n[ \t\r]*\n/.test(source.text.slice(from, to));
}

/** The offset of the closing bracket behind the last thing in a list, past commas and comments. */
export function closerBehind(source: SourceFile, offset: number): number {
  const { text } = source;
  let i = offset;
  while (i < text.length) {
    const c = text[i]!;
    if (c === "/" && text[i + 1] === "/") {
      while (i < text.length && text[i] !== "\n" && text[i] !== "\r") i++;
    } else if (" \t\r\n,".includes(c)) i++;
    else return ")]}".includes(c) ? i : offset;
  }
  return offset;
}

/** Leaves comments to the nearest thing around that has lines of its own. */
export function handUp(cursor: CommentCursor, comments: readonly Comment[]): void {
  for (const comment of comments) cursor.handedUp.push(comment);
}
