// Numbers and strings as they are written: their values, and what is wrong with them. Knows one token at a time.

import { nearest } from "../support/suggest.ts";

export interface LiteralProblem {
  readonly code: "bad-number" | "unterminated-string" | "bad-escape";
  readonly message: string;
  readonly help?: string;
  /** Offsets in the token's text. */
  readonly start: number;
  readonly end: number;
}

const MAX_NUMBER_LENGTH = 400;
/** Reported for one string. */
const MAX_PROBLEMS = 10;
const NUMBER = /^\d+(?:_\d+)*(?:\.\d+(?:_\d+)*)?(?:[eE][+-]?\d+(?:_\d+)*)?$/;

export function numberValue(text: string): { value: number; isInt: boolean } {
  if (numberProblem(text)) return { value: 0, isInt: true };
  return { value: Number(text.replaceAll("_", "")), isInt: !/[.eE]/.test(text) };
}

export function numberProblem(text: string): LiteralProblem | undefined {
  const problem = (message: string, help?: string): LiteralProblem => ({
    ...{ code: "bad-number", message, start: 0, end: text.length },
    ...(help !== undefined && { help }),
  });
  if (text.length > MAX_NUMBER_LENGTH) return problem(`a number has at most ${MAX_NUMBER_LENGTH} characters`);
  if (NUMBER.test(text)) {
    const value = Number(text.replaceAll("_", ""));
    if (!Number.isFinite(value)) return problem("this number is too large for a 64-bit float");
    if (!/[.eE]/.test(text) && !Number.isSafeInteger(value))
      return problem(
        "this integer is too large to be held exactly",
        "write it as a float, with `.0` or an exponent",
      );
    return undefined;
  }
  if (/^\.\d+$/.test(text)) return problem("a number starts with a digit", `write \`0${text}\``);
  if (/^\d+\.$/.test(text)) return problem("a digit must follow the decimal point", `write \`${text}0\``);
  if (/^0[xXbBoO]/.test(text)) return problem("numbers are decimal", "write the number in base ten");
  if (/__|_$|_\.|\._|_[eE]/.test(text) && /^[\d_.eE+-]+$/.test(text))
    return problem(
      "`_` must stand between two digits of a number",
      `write \`${text.replace(/_+/g, "_").replace(/_(?!\d)|(?<!\d)_/g, "")}\``,
    );
  return problem("this is neither a number nor a name", "a name starts with a letter or `_`");
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", '"': '"', "\\": "\\" };

export function stringValue(text: string): string {
  return decode(text).value;
}

export function stringProblems(text: string): readonly LiteralProblem[] {
  return decode(text).problems;
}

function decode(text: string): { value: string; problems: LiteralProblem[] } {
  const problems: LiteralProblem[] = [];
  const parts: string[] = [];
  let i = 1;
  let from = 1;
  let closed = false;
  while (i < text.length) {
    if (text[i] === '"') {
      closed = true;
      break;
    }
    if (text[i] !== "\\") {
      i++;
      continue;
    }
    parts.push(text.slice(from, i));
    const escape = decodeEscape(text, i);
    if (escape.value === undefined && problems.length < MAX_PROBLEMS)
      problems.push(badEscape(text, i, escape.end));
    parts.push(escape.value ?? "");
    i = from = escape.end;
  }
  parts.push(text.slice(from, i));
  if (!closed) {
    problems.push({
      ...{ code: "unterminated-string", message: "this string has no end", start: 0, end: text.length },
      help: 'close it with `"` on the same line; a line break in a string is written `\\n`',
    });
  }
  return { value: parts.join(""), problems };
}

function decodeEscape(text: string, start: number): { value?: string; end: number } {
  const letter = text[start + 1];
  if (letter === undefined) return { end: text.length };
  const value = Object.hasOwn(escapes, letter) ? escapes[letter] : undefined;
  if (value !== undefined) return { value, end: start + 2 };
  const match = letter === "u" ? /^\\u\{([0-9a-fA-F]{1,6})\}/.exec(text.slice(start, start + 12)) : null;
  if (!match) return { end: start + (text.codePointAt(start + 1)! > 0xffff ? 3 : 2) };
  const code = Number.parseInt(match[1]!, 16);
  const end = start + match[0].length;
  return code <= 0x10ffff ? { value: String.fromCodePoint(code), end } : { end };
}

function badEscape(text: string, start: number, end: number): LiteralProblem {
  const written = text.slice(start, end);
  const unicode = written.startsWith("\\u");
  return {
    ...{ code: "bad-escape", start, end },
    message: unicode ? "`\\u` needs a code point in braces, at most 10FFFF" : "this is no escape of a string",
    help: unicode ? "write it like `\\u{e9}`" : 'the escapes are `\\n`, `\\t`, `\\"`, `\\\\` and `\\u{...}`',
  };
}

/** A string in canonical form; `stringValue(quote(x))` is `x`. */
export function quote(value: string): string {
  const body = value.replace(
    /["\\\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff\u202a-\u202e\u2066-\u2069]|[\ud800-\udfff]/gu,
    (c) => {
      if (c === '"' || c === "\\") return `\\${c}`;
      if (c === "\n") return "\\n";
      if (c === "\t") return "\\t";
      return `\\u{${c.codePointAt(0)!.toString(16)}}`;
    },
  );
  return `"${body}"`;
}

/** What to write instead of characters that other languages use. */
export function strayHelp(text: string): string | undefined {
  const first = text[0]!;
  if (first === ";") return "a statement needs no terminator, remove it";
  if (first === "#") return "a comment starts with `//`";
  if (first === "'" || first === "\u2018" || first === "\u2019")
    return 'a string is written "with double quotes"';
  if (first === "\u201c" || first === "\u201d") return 'a string is written with the plain quote `"`';
  if (text.startsWith("&&")) return "write `and`";
  if (first === "!") return "write `not`";
  if (first === "\u00d7") return "write `*`";
  if (first === "\u2264") return "write `<=`";
  if (first === "\u2265") return "write `>=`";
  if (first === "\u2212" || first === "\u2013") return "write `-`";
  if (first === "\u00a0") return "this is a no-break space; write a plain one";
  return /^[\p{L}]/u.test(text) ? "names are written with the letters a to z, digits and `_`" : undefined;
}

export function didYouMean(word: string, known: Iterable<string>): string | undefined {
  const found = nearest(word, known);
  return found === undefined ? undefined : `did you mean \`${found}\`?`;
}
