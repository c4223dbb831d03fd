// Tokens of the kernel text, one at a time and without regular-expression backtracking. Knows characters, not grammar.

import type { SourceFile } from "../support/source.ts";

export interface Token {
  /** `name` covers words and back-quoted names; `bad` is text that is no token. */
  readonly kind: "word" | "quoted" | "number" | "string" | "symbol" | "end" | "bad";
  /** The name, symbol or number as written; the contents of a string or quoted name. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
  readonly startsLine: boolean;
}

const space = /[ \t\r\n]*/y;
const comment = /\/\/([^\n]*)/y;
const word = /[A-Za-z_][A-Za-z0-9_]*/y;
const number = /[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?[ih]?/y;
const string = /"(?:[^"\\\n]|\\.)*"/y;
const quoted = /`(?:[^`\\\n]|\\.)*`/y;
const symbol = /\.\.|&&|\|\||<<|>>|<=|>=|==|!=|[-+*/%&|^!<>=()[\]{}:,.@]/y;

export interface Lexer {
  next(): Token;
}

/** `onComment` gets the text after `//`, without the one space that usually follows. */
export function lexer(file: SourceFile, onComment: (text: string) => void): Lexer {
  const { text } = file;
  let at = 0;

  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  }

  function next(): Token {
    let startsLine = at === 0;
    for (;;) {
      const blank = match(space)!;
      if (blank.includes("\n")) startsLine = true;
      at += blank.length;
      const remark = match(comment);
      if (remark === undefined) break;
      at += remark.length;
      onComment(remark.slice(remark.startsWith("// ") ? 3 : 2));
    }
    const token = (kind: Token["kind"], length: number, value: string): Token => {
      const start = at;
      at += length;
      return { kind, text: value, start, end: at, startsLine };
    };
    if (at >= text.length) return token("end", 0, "end of file");
    for (const [kind, pattern] of [
      ["word", word],
      ["number", number],
      ["symbol", symbol],
    ] as const) {
      const found = match(pattern);
      if (found !== undefined) return token(kind, found.length, found);
    }
    for (const [kind, pattern] of [
      ["string", string],
      ["quoted", quoted],
    ] as const) {
      const found = match(pattern);
      if (found === undefined) continue;
      const value = unescape(found.slice(1, -1));
      return value === undefined ? token("bad", found.length, found) : token(kind, found.length, value);
    }
    const character = String.fromCodePoint(text.codePointAt(at)!);
    return token("bad", character.length, character);
  }

  return { next };
}

function unescape(text: string): string | undefined {
  try {
    return JSON.parse(`"${text.replace(/(?<!\\)"/g, '\\"')}"`) as string;
  } catch {
    return undefined;
  }
}
