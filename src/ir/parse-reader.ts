// Reads the words, numbers, values and marks of graph text, and collects what is wrong with it. Knows characters; the grammar is
// parse.ts. Never throws but the two signals below, which parse.ts catches.

import { error, type Diagnostic, type DiagnosticInit } from "../support/diagnostic.ts";
import type { SourceFile } from "../support/source.ts";
import { parseDimAt } from "./dim-parse.ts";
import type { Dim } from "./dim.ts";
import type { ValueId } from "./graph.ts";

/** The statement cannot be read further; reading goes on at the next line. */
export class SyntaxStop extends Error {}
/** Nothing more is read: a limit of the whole text was passed. */
export class GiveUp extends Error {}

const maxErrors = 50;
/** Characters of a word, a value id or a string. */
const maxWord = 10_000;
/** Characters, and depth, of a JSON object. */
const maxObject = 4 * 1024 * 1024;
const maxObjectDepth = 16;

export class Reader {
  readonly file: SourceFile;
  readonly text: string;
  readonly diagnostics: Diagnostic[] = [];
  at = 0;
  /** Where the last thing read ended. */
  lastEnd = 0;

  constructor(file: SourceFile) {
    this.file = file;
    this.text = file.text;
  }

  // Errors.

  report(code: string, message: string, from: number, to: number, init: DiagnosticInit = {}): void {
    // What is missing at the end of the text has no character of its own.
    const start = Math.min(from, this.text.length);
    const span = { file: this.file, start, end: Math.max(start, Math.min(to, this.text.length)) };
    this.diagnostics.push(error(code, message, { span, ...init }));
    if (this.diagnostics.length < maxErrors) return;
    this.diagnostics.push(
      error("ir-too-many-errors", `more than ${maxErrors} errors; the rest is not read`, { span }),
    );
    throw new GiveUp();
  }

  /** A syntax error at what comes next. */
  fail(message: string, init: DiagnosticInit = {}): never {
    const from = this.peek();
    const word = this.#wordEnd(from);
    this.report("ir-syntax", message, from, Math.min(this.text.length, Math.max(word, from + 1)), init);
    throw new SyntaxStop();
  }

  stop(code: string, message: string, from: number, to: number, init: DiagnosticInit = {}): never {
    this.report(code, message, from, to, init);
    throw new SyntaxStop();
  }

  giveUp(code: string, message: string, from: number, to: number): never {
    this.report(code, message, from, to);
    throw new GiveUp();
  }

  /** Goes to the line after what was last read, and at least past `start`. */
  recover(start: number): void {
    const newline = this.text.indexOf("\n", Math.max(start, this.lastEnd));
    this.at = newline < 0 ? this.text.length : newline + 1;
    this.lastEnd = this.at;
  }

  // Moving.

  /** Where the next thing begins, past white space and comments. */
  peek(): number {
    const { text } = this;
    for (;;) {
      const c = text.charCodeAt(this.at);
      if (c === 32 || c === 10 || c === 9 || c === 13) this.at++;
      else if (c === 47 && text.charCodeAt(this.at + 1) === 47) {
        const newline = text.indexOf("\n", this.at);
        this.at = newline < 0 ? text.length : newline + 1;
      } else return this.at;
    }
  }

  atEnd(): boolean {
    return this.peek() >= this.text.length;
  }

  next(): string {
    return this.text.charAt(this.peek());
  }

  #take(end: number): string {
    const taken = this.text.slice(this.at, end);
    this.at = this.lastEnd = end;
    return taken;
  }

  // Marks and words.

  tryMark(mark: string): boolean {
    const at = this.peek();
    if (!this.text.startsWith(mark, at)) return false;
    this.#take(at + mark.length);
    return true;
  }

  mark(mark: string, where = ""): void {
    if (!this.tryMark(mark)) this.fail(`expected \`${mark}\`${where && ` ${where}`}`);
  }

  /** The word that comes next, left unread; empty where there is none. */
  peekWord(): string {
    const at = this.peek();
    return this.text.slice(at, this.#wordEnd(at));
  }

  tryKeyword(word: string): boolean {
    if (this.peekWord() !== word) return false;
    this.#take(this.at + word.length);
    return true;
  }

  /** A bare word (letters, digits, `_`, with `.` and `-` inside) or a quoted string. */
  name(what: string): string {
    if (this.next() === '"') return this.string();
    const word = this.peekWord();
    if (word === "") this.fail(`expected ${what}`);
    return this.#take(this.at + word.length);
  }

  string(): string {
    const from = this.peek();
    let end = from + 1;
    for (; end < this.text.length && this.text[end] !== '"' && this.text[end] !== "\n"; end++)
      if (this.text[end] === "\\") end++;
    if (this.text[from] !== '"' || this.text[end] !== '"') this.fail("expected a string in double quotes");
    if (end - from > maxWord)
      this.stop("ir-too-large", `a string is longer than ${maxWord} characters`, from, from + 1);
    const written = this.#take(end + 1);
    try {
      return JSON.parse(written) as string;
    } catch {
      return this.stop("ir-syntax", "this string has an escape that JSON does not know", from, end + 1);
    }
  }

  /** A JSON object, up to the brace that closes it. */
  object(what: string): unknown {
    if (this.next() !== "{") this.fail(`expected ${what}, as a JSON object`);
    const from = this.at;
    let depth = 0;
    let end = from;
    do {
      if (end - from > maxObject)
        this.stop("ir-too-large", `${what} has more than ${maxObject} characters`, from, from + 1);
      const c = this.text[end++];
      if (c === "{" || c === "[") depth++;
      else if (c === "}" || c === "]") depth--;
      else if (c === '"') end = this.#stringEnd(end);
      if (c === undefined || depth > maxObjectDepth) this.fail(`expected ${what}, as a JSON object`);
    } while (depth > 0);
    const written = this.#take(end);
    try {
      return JSON.parse(written);
    } catch {
      return this.stop("ir-syntax", `${what} is no JSON object`, from, from + 1);
    }
  }

  /** Behind the quote that closes a string. */
  #stringEnd(from: number): number {
    let end = from;
    while (end < this.text.length && this.text[end] !== '"') end += this.text[end] === "\\" ? 2 : 1;
    return end + 1;
  }

  #wordEnd(from: number): number {
    return this.#run(from, isWordChar, (c) => c === dot || c === dash);
  }

  /** End of the longest run of `inside` characters in which a `joint` stands only between two of them. */
  #run(from: number, inside: (c: number) => boolean, joint: (c: number) => boolean): number {
    let end = from;
    for (;;) {
      const c = this.text.charCodeAt(end);
      if (inside(c)) end++;
      else if (end > from && joint(c) && inside(this.text.charCodeAt(end + 1))) end += 2;
      else break;
    }
    if (end - from > maxWord)
      this.giveUp("ir-too-large", `a word is longer than ${maxWord} characters`, from, from + 1);
    return end;
  }

  // Values, numbers, dimensions.

  startsValue(): boolean {
    const c = this.next();
    return c === "%" || c === "$" || c === '"';
  }

  /** `%12`, `$stem.conv.weight`, or any id in quotes. */
  value(what = "a value such as `%0` or `$name`"): ValueId {
    const c = this.next();
    if (c === '"') {
      const from = this.at;
      const id = this.string();
      if (/^[%$]./s.test(id)) return id;
      return this.stop("ir-syntax", "a value begins with `%` or `$`", from, this.lastEnd);
    }
    const isJoint = c === "$" ? isWeightJoint : (x: number) => x === dot || x === dash;
    const end = c === "%" || c === "$" ? this.#run(this.at + 1, isWordChar, isJoint) : this.at;
    if (end <= this.at + 1) this.fail(`expected ${what}`);
    return this.#take(end);
  }

  startsNumber(): boolean {
    return (
      /^-?(?:\d|inf\b)/.test(this.text.slice(this.peek(), this.at + 5)) ||
      /^(?:inf|nan)$/.test(this.peekWord())
    );
  }

  number(): number {
    const at = this.peek();
    const words: Readonly<Record<string, number>> = { inf: Infinity, nan: NaN };
    const word = this.peekWord();
    if (Object.hasOwn(words, word)) {
      this.#take(at + 3);
      return words[word]!;
    }
    if (this.text.startsWith("-inf", at) && this.#wordEnd(at + 1) === at + 4) {
      this.#take(at + 4);
      return -Infinity;
    }
    const digits = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/.exec(this.text.slice(at, at + 400))?.[0];
    if (digits === undefined || digits.length === 400) this.fail("expected a number");
    this.#take(at + digits.length);
    return Number(digits);
  }

  /** A number without sign and fraction, at most 2^53. */
  count(what: string): number {
    const at = this.peek();
    const digits = /^\d+/.exec(this.text.slice(at, at + 20))?.[0];
    const value = Number(digits);
    if (digits === undefined || !Number.isSafeInteger(value)) this.fail(`expected ${what}`);
    this.#take(at + digits.length);
    return value;
  }

  dim(): Dim {
    const parsed = parseDimAt(this.text, this.peek());
    if (!parsed.ok) return this.stop("ir-syntax", parsed.message, parsed.at, parsed.at + 1);
    this.#take(parsed.end);
    return parsed.dim;
  }
}

const dot = 46;
const dash = 45;

function isWordChar(c: number): boolean {
  return (c >= 48 && c <= 57) || (c >= 65 && c <= 90) || c === 95 || (c >= 97 && c <= 122);
}

function isWeightJoint(c: number): boolean {
  return c === dot || c === dash || c === 47 || c === 58;
}
