// The ground that the kernel parser stands on: taking tokens, and reporting mistakes with spans within limits.
// Knows no grammar beyond names, numbers and types.

import { type Diagnostic, type DiagnosticInit, error } from "../support/diagnostic.ts";
import type { SourceFile, Span } from "../support/source.ts";
import type { KernelType, Scalar, Width } from "./kernel.ts";
import { type Lexer, type Token, lexer } from "./kernel-lex.ts";
import { reservedWords } from "./kernel-print.ts";
import { maxNesting } from "./kernel-types.ts";

const maxMessages = 50;

export const scalars: ReadonlySet<string> = new Set<Scalar>(["f32", "f16", "i32", "u32", "bool"]);

/** Thrown by a reader and caught by one: leaves the statement at hand after its message was recorded. */
export class Skip extends Error {}

export class TokenReader {
  readonly diagnostics: Diagnostic[] = [];
  protected readonly file: SourceFile;
  protected token: Token;
  /** End of the last token taken, for the spans of expressions. */
  protected lastEnd = 0;
  protected nesting = 0;
  protected readonly notes: string[] = [];
  /** Comments before the first statement are the kernel's notes. */
  protected inHeader = false;
  readonly #lexer: Lexer;

  constructor(file: SourceFile) {
    this.file = file;
    this.#lexer = lexer(file, (text) => {
      if (this.inHeader) this.notes.push(text);
    });
    this.token = this.#lexer.next();
  }

  /** So many mistakes that reading on is of no use. */
  protected get hasEnough(): boolean {
    return this.diagnostics.length >= maxMessages;
  }

  // Tokens

  protected at(text: string): boolean {
    return this.token.text === text && (this.token.kind === "symbol" || this.token.kind === "word");
  }

  protected ended(): boolean {
    return this.token.kind === "end";
  }

  protected advance(): void {
    this.lastEnd = this.token.end;
    this.token = this.#lexer.next();
  }

  protected accept(text: string): boolean {
    const found = this.at(text);
    if (found) this.advance();
    return found;
  }

  protected expect(text: string): void {
    if (!this.at(text)) this.fail("kernel-syntax", `expected ${text}`);
    this.advance();
  }

  protected take(kind: Token["kind"], what: string): string {
    if (this.token.kind !== kind) this.fail("kernel-syntax", `expected ${what}`);
    const { text } = this.token;
    this.advance();
    return text;
  }

  protected string(): string {
    return this.take("string", "a string");
  }

  protected name(what: string): string {
    const token = this.token;
    if (token.kind === "word" && reservedWords.has(token.text))
      this.fail("kernel-syntax", `expected ${what}`, {
        help: `a name that is a word of the language is written in back-quotes`,
      });
    if (token.kind !== "word" && token.kind !== "quoted") this.fail("kernel-syntax", `expected ${what}`);
    this.advance();
    return token.text;
  }

  protected integer(): number {
    const token = this.token;
    if (token.kind !== "number" || !/^[0-9]{1,10}$/.test(token.text))
      this.fail("kernel-syntax", "expected a whole number");
    this.advance();
    return Number(token.text);
  }

  protected enter(): void {
    if (++this.nesting > maxNesting)
      this.fail("kernel-too-deep", `blocks and brackets nest at most ${maxNesting} deep`);
  }

  protected type(): KernelType {
    const text = this.take("word", "a type");
    let width: Width = 1;
    let scalar = text;
    if (text === "vec2" || text === "vec4") {
      width = text === "vec2" ? 2 : 4;
      this.expect("<");
      scalar = this.take("word", "a scalar type");
      this.expect(">");
    }
    if (!scalars.has(scalar))
      this.fail("kernel-syntax", `${scalar} is not a type`, {
        help: "types are f32, f16, i32, u32, bool, and vec2<...> and vec4<...> of them",
      });
    return { scalar: scalar as Scalar, width };
  }

  // Messages

  protected span(token: Token): Span {
    return { file: this.file, start: token.start, end: token.end };
  }

  protected add(code: string, message: string, init: DiagnosticInit): void {
    if (this.diagnostics.length < maxMessages) this.diagnostics.push(error(code, message, init));
    else throw new Skip();
  }

  protected report(code: string, message: string, at: Token): undefined {
    this.add(code, message, { span: this.span(at) });
  }

  protected fail(code: string, message: string, init: DiagnosticInit = {}): never {
    const found = this.token.kind === "end" ? "the file ends here" : undefined;
    this.add(code, message, { span: this.span(this.token), label: found, ...init });
    throw new Skip();
  }
}
