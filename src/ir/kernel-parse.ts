// Reads the text of kernel-print.ts back. Recursive descent over statements, precedence climbing over expressions; every
// expression is typed as it is built, so the first wrong place is the one that is pointed at.
// Whatever the text, it returns: size, nesting, depth and the number of messages are limited. Whole-kernel rules
// (barriers, access, uniformity) are kernel-verify.ts.

import { type Diagnostic, type DiagnosticInit, error } from "../support/diagnostic.ts";
import { type Location, type SourceFile, type Span, sourceFile } from "../support/source.ts";
import type {
  BinaryOp,
  BufferDecl,
  Builtin,
  Expr,
  Kernel,
  KernelType,
  ParamDecl,
  Scalar,
  SharedDecl,
  Statement,
  SubgroupOp,
  UnaryOp,
  Width,
} from "./kernel.ts";
import { operands } from "./expr.ts";
import { type Lexer, type Token, lexer } from "./kernel-lex.ts";
import { comparisonLevel, infix, reservedWords } from "./kernel-print.ts";
import {
  components,
  isComparison,
  maxExpressionDepth,
  maxNesting,
  takesLane,
  typeError,
  typeText,
} from "./kernel-types.ts";

export const maxKernelText = 4 * 1024 * 1024;
const maxMessages = 50;

export interface ParsedKernel {
  /** Absent when there was any error. */
  readonly kernel?: Kernel;
  readonly diagnostics: readonly Diagnostic[];
}

const builtins: ReadonlySet<string> = new Set<Builtin>([
  "workgroup_x",
  "workgroup_y",
  "workgroup_z",
  "local",
  "lane",
  "subgroup",
]);
const scalars: ReadonlySet<string> = new Set<Scalar>(["f32", "f16", "i32", "u32", "bool"]);
const unaryCalls: ReadonlySet<string> = new Set<UnaryOp>([
  ...(["abs", "sign", "floor", "ceil", "round", "trunc", "exp", "exp2", "log", "log2"] as const),
  ...(["sqrt", "rsqrt", "sin", "cos", "tanh"] as const),
]);
const binaryCalls: ReadonlySet<string> = new Set<BinaryOp>(["min", "max", "pow"]);
const subgroupCalls: Readonly<Record<string, SubgroupOp>> = {
  broadcast: "broadcast",
  shuffle: "shuffle",
  shuffle_xor: "shuffle_xor",
  subgroup_add: "add",
  subgroup_max: "max",
  subgroup_min: "min",
};
const infixByText: ReadonlyMap<string, { readonly op: BinaryOp; readonly level: number }> = new Map(
  Object.entries(infix).map(([op, { text, level }]) => [text, { op: op as BinaryOp, level }]),
);

const boolType: KernelType = { scalar: "bool", width: 1 };
const u32Type: KernelType = { scalar: "u32", width: 1 };

/** What a name stands for. A `let` whose value was wrong is declared without a type, so that it is reported once. */
type Meaning =
  | { readonly kind: "param" | "name"; readonly type?: KernelType }
  | { readonly kind: "memory"; readonly type: KernelType };

/** Thrown and caught in this file only: leaves the statement at hand after its message was recorded. */
class Skip extends Error {}

export function parseKernel(text: string, file = "<kernel>"): ParsedKernel {
  const source = sourceFile(file, text.length > maxKernelText ? "" : text);
  if (text.length > maxKernelText) {
    const message = `a kernel text has at most ${maxKernelText} characters, this has ${text.length}`;
    return { diagnostics: [error("kernel-too-large", message)] };
  }
  const parser = new Parser(source);
  const kernel = parser.kernel();
  return parser.diagnostics.length > 0 || !kernel
    ? { diagnostics: parser.diagnostics }
    : { kernel, diagnostics: [] };
}

class Parser {
  readonly diagnostics: Diagnostic[] = [];
  readonly #file: SourceFile;
  readonly #lexer: Lexer;
  #token: Token;
  /** End of the last token taken, for the spans of expressions. */
  #lastEnd = 0;
  #nesting = 0;
  readonly #depths = new WeakMap<Expr, number>();
  readonly #scopes: Map<string, Meaning>[] = [new Map()];
  readonly #notes: string[] = [];
  /** Comments before the first statement are the kernel's notes. */
  #inHeader = false;

  constructor(file: SourceFile) {
    this.#file = file;
    this.#lexer = lexer(file, (text) => {
      if (this.#inHeader) this.#notes.push(text);
    });
    this.#token = this.#lexer.next();
  }

  kernel(): Kernel | undefined {
    try {
      this.#expect("kernel");
      this.#expect("@");
      const name = this.#name("the kernel's name");
      this.#expect("workgroup");
      this.#expect("(");
      const x = this.#integer();
      this.#expect(",");
      const y = this.#integer();
      this.#expect(",");
      const z = this.#integer();
      this.#expect(")");
      let subgroupSize = 0;
      if (this.#accept("subgroup")) {
        this.#expect("(");
        subgroupSize = this.#integer();
        this.#expect(")");
      }
      this.#inHeader = true;
      this.#expect("{");
      const { params, buffers, shared, locations } = this.#declarations();
      this.#inHeader = false;
      const body = this.#statements();
      this.#expect("}");
      if (!this.#ended()) this.#fail("kernel-syntax", "expected the end of the file");
      return {
        ...{ name, params, buffers, shared, workgroupSize: [x, y, z], subgroupSize, body },
        ...{ notes: this.#notes, locations },
      };
    } catch (problem) {
      if (problem instanceof Skip) return undefined;
      throw problem;
    }
  }

  // Declarations

  #declarations() {
    const params: ParamDecl[] = [];
    const buffers: BufferDecl[] = [];
    const shared: SharedDecl[] = [];
    const locations: Location[] = [];
    for (;;) {
      const token = this.#token;
      if (token.kind !== "word") break;
      if (token.text === "note") {
        this.#advance();
        this.#notes.push(this.#string());
      } else if (token.text === "loc") {
        this.#advance();
        locations.push(this.#location());
      } else if (token.text === "live" || token.text === "param") {
        const live = this.#accept("live");
        this.#expect("param");
        const name = this.#name("a parameter");
        this.#expect(":");
        const type = this.#type();
        params.push({ name, type, live });
        this.#declare(name, { kind: "param", type }, token);
      } else if (token.text === "buffer") {
        this.#advance();
        const name = this.#name("a buffer");
        this.#expect(":");
        const access = this.#take("word", "read, write or read_write");
        if (access !== "read" && access !== "write" && access !== "read_write")
          this.#fail("kernel-syntax", "a buffer is read, write or read_write", { span: this.#span(token) });
        const type = this.#type();
        buffers.push({ name, type, access });
        this.#declare(name, { kind: "memory", type }, token);
      } else if (token.text === "shared") {
        this.#advance();
        const name = this.#name("a workgroup array");
        this.#expect(":");
        const type = this.#type();
        this.#expect("[");
        const length = this.#integer();
        this.#expect("]");
        shared.push({ name, type, length });
        this.#declare(name, { kind: "memory", type }, token);
      } else break;
    }
    return { params, buffers, shared, locations };
  }

  #location(): Location {
    const file = this.#string();
    this.#expect(":");
    const line = this.#integer();
    this.#expect(":");
    const column = this.#integer();
    this.#expect("-");
    const endLine = this.#integer();
    this.#expect(":");
    const endColumn = this.#integer();
    return { file, line, column, endLine, endColumn };
  }

  #type(): KernelType {
    const text = this.#take("word", "a type");
    let width: Width = 1;
    let scalar = text;
    if (text === "vec2" || text === "vec4") {
      width = text === "vec2" ? 2 : 4;
      this.#expect("<");
      scalar = this.#take("word", "a scalar type");
      this.#expect(">");
    }
    if (!scalars.has(scalar))
      this.#fail("kernel-syntax", `${scalar} is not a type`, {
        help: "types are f32, f16, i32, u32, bool, and vec2<...> and vec4<...> of them",
      });
    return { scalar: scalar as Scalar, width };
  }

  // Statements

  #statements(): Statement[] {
    const body: Statement[] = [];
    while (!this.#ended() && !this.#at("}")) {
      const before = this.#token;
      const nesting = this.#nesting;
      const scopes = this.#scopes.length;
      try {
        const statement = this.#statement();
        if (statement) body.push(statement);
      } catch (problem) {
        if (!(problem instanceof Skip) || this.diagnostics.length >= maxMessages) throw problem;
        this.#nesting = nesting;
        this.#scopes.length = scopes;
        if (this.#token === before) this.#advance();
        // The next line is a better guess than the next token: statements are one line each as printed.
        while (!this.#ended() && !this.#token.startsLine && !this.#at("}")) this.#advance();
      }
    }
    return body;
  }

  #block(declare?: () => void): Statement[] {
    this.#expect("{");
    this.#enter();
    this.#scopes.push(new Map());
    declare?.();
    const body = this.#statements();
    this.#scopes.pop();
    this.#nesting--;
    this.#expect("}");
    return body;
  }

  #statement(): Statement | undefined {
    const token = this.#token;
    switch (token.kind === "word" ? token.text : "") {
      case "let": {
        this.#advance();
        const name = this.#name("a name");
        this.#expect("=");
        const value = this.#expression();
        this.#declare(name, { kind: "name", ...(value && { type: value.type }) }, token);
        return value && { kind: "let", name, value };
      }
      case "var": {
        this.#advance();
        const name = this.#name("a name");
        this.#expect(":");
        const type = this.#type();
        this.#expect("=");
        const value = this.#expression();
        this.#declare(name, { kind: "name", type }, token);
        return value && this.#sameType(value, type, token) ? { kind: "var", name, type, value } : undefined;
      }
      case "for":
        return this.#for();
      case "if":
        return this.#if();
      case "barrier":
      case "return":
        this.#advance();
        return { kind: token.text as "barrier" | "return" };
      default:
        return this.#assignment();
    }
  }

  #for(): Statement | undefined {
    const token = this.#token;
    this.#expect("for");
    const name = this.#name("a loop counter");
    this.#expect("in");
    const start = this.#expression();
    this.#expect("..");
    const end = this.#expression();
    const type = start?.type ?? u32Type;
    const one: Expr = { kind: "const", type, value: 1 };
    const step = this.#accept("step") ? this.#expression() : one;
    const body = this.#block(() => this.#declare(name, { kind: "name", type }, token));
    if (!start || !end || !step) return undefined;
    if (!this.#sameType(end, type, token) || !this.#sameType(step, type, token)) return undefined;
    return { kind: "for", name, start, end, step, body };
  }

  #if(): Statement | undefined {
    const token = this.#token;
    this.#expect("if");
    const condition = this.#expression();
    const then = this.#block();
    let otherwise: Statement[] = [];
    if (this.#accept("else")) {
      if (this.#at("if")) {
        this.#enter();
        const nested = this.#if();
        this.#nesting--;
        otherwise = nested ? [nested] : [];
      } else otherwise = this.#block();
    }
    if (!condition || !this.#sameType(condition, boolType, token)) return undefined;
    return { kind: "if", condition, then, else: otherwise };
  }

  #assignment(): Statement | undefined {
    const token = this.#token;
    const name = this.#name("a statement");
    const meaning = this.#meaning(name, token);
    if (this.#accept("[")) {
      const index = this.#expression();
      this.#expect("]");
      this.#expect("=");
      const value = this.#expression();
      if (!meaning) return undefined;
      if (meaning.kind !== "memory")
        return this.#report("kernel-type", `${name} is not a buffer or workgroup array`, token);
      if (!index || !value || !this.#sameType(value, meaning.type, token)) return undefined;
      return { kind: "store", to: name, index, value };
    }
    this.#expect("=");
    const value = this.#expression();
    if (!meaning || !value) return undefined;
    if (meaning.kind !== "name") return this.#report("kernel-type", `${name} cannot be assigned`, token);
    if (meaning.type && !this.#sameType(value, meaning.type, token)) return undefined;
    return { kind: "set", name, value };
  }

  // Expressions: undefined stands for one whose mistake was already reported.

  #expression(): Expr | undefined {
    return this.#binary(1);
  }

  #binary(level: number): Expr | undefined {
    const start = this.#token.start;
    let left = this.#unary();
    for (;;) {
      const operator = this.#token.kind === "symbol" ? infixByText.get(this.#token.text) : undefined;
      if (!operator || operator.level < level) return left;
      this.#advance();
      const right = this.#binary(operator.level + 1);
      left = left && right && this.#make(start, this.#infixExpr(operator.op, left, right));
      const again = this.#token.kind === "symbol" ? infixByText.get(this.#token.text) : undefined;
      if (operator.level === comparisonLevel && again?.level === comparisonLevel)
        this.#fail("kernel-syntax", "comparisons cannot be chained", { help: "write parentheses" });
    }
  }

  #infixExpr(op: BinaryOp, a: Expr, b: Expr): Expr {
    const type: KernelType = isComparison(op) ? { scalar: "bool", width: a.type.width } : a.type;
    return { kind: "binary", op, a, b, type };
  }

  #unary(): Expr | undefined {
    const start = this.#token.start;
    if (this.#accept("-")) {
      const token = this.#token;
      const special = token.kind === "word" && /^infh?$/.test(token.text);
      if (token.kind === "number" || special) return this.#literal(start, true);
      return this.#prefixed("neg", start);
    }
    if (this.#accept("!")) return this.#prefixed("not", start);
    return this.#postfix();
  }

  #prefixed(op: "neg" | "not", start: number): Expr | undefined {
    this.#enter();
    const a = this.#unary();
    this.#nesting--;
    return a && this.#make(start, { kind: "unary", op, a, type: a.type });
  }

  #postfix(): Expr | undefined {
    const start = this.#token.start;
    let e = this.#primary();
    for (;;) {
      if (this.#accept(".")) {
        const at = this.#token;
        const letter = (components as readonly string[]).indexOf(this.#take("word", "a component"));
        if (letter < 0) this.#fail("kernel-syntax", "components are x, y, z and w", { span: this.#span(at) });
        e = e && this.#component(start, e, { kind: "const", type: u32Type, value: letter });
      } else if (this.#at("[") && !this.#token.startsLine) {
        this.#advance();
        this.#enter();
        const index = this.#expression();
        this.#nesting--;
        this.#expect("]");
        e = e && index && this.#component(start, e, index);
      } else return e;
    }
  }

  #component(start: number, a: Expr, index: Expr): Expr | undefined {
    return this.#make(start, { kind: "component", a, index, type: { scalar: a.type.scalar, width: 1 } });
  }

  #primary(): Expr | undefined {
    const token = this.#token;
    const start = token.start;
    if (token.kind === "number") return this.#literal(start, false);
    if (this.#accept("(")) {
      this.#enter();
      const e = this.#expression();
      this.#nesting--;
      this.#expect(")");
      return e;
    }
    if (token.kind === "word") {
      if (builtins.has(token.text)) {
        this.#advance();
        return this.#make(start, { kind: "builtin", name: token.text as Builtin, type: u32Type });
      }
      if (/^(?:true|false|infh?|nanh?)$/.test(token.text)) return this.#literal(start, false);
      if (token.text === "vec2" || token.text === "vec4" || token.text === "bitcast")
        return this.#typedCall(start);
    }
    const name = this.#name("an expression");
    if (token.kind === "word" && this.#at("(")) return this.#call(start, name);
    const meaning = this.#meaning(name, token);
    if (meaning?.kind !== "memory")
      return meaning?.type && this.#make(start, { kind: meaning.kind, name, type: meaning.type });
    this.#expect("[");
    this.#enter();
    const index = this.#expression();
    this.#nesting--;
    this.#expect("]");
    return index && this.#make(start, { kind: "load", from: name, index, type: meaning.type });
  }

  /** `vec4(...)` splats or gathers, `vec4<f32>(1.0)` is a constant, `bitcast<u32>(x)` reinterprets. */
  #typedCall(start: number): Expr | undefined {
    const word = this.#token.text;
    if (word === "bitcast") {
      this.#advance();
      this.#expect("<");
      const { scalar, width } = this.#type();
      if (width !== 1) this.#fail("kernel-syntax", "bitcast names a scalar type");
      this.#expect(">");
      const [a] = this.#arguments(1, word);
      return a && this.#make(start, this.#castExpr(a, scalar, true));
    }
    const width: Width = word === "vec2" ? 2 : 4;
    const at = this.#token;
    this.#advance();
    if (this.#accept("<")) {
      const scalar = this.#type().scalar;
      this.#expect(">");
      this.#expect("(");
      const literal = this.#at("-") ? this.#unary() : this.#literal(this.#token.start, false);
      this.#expect(")");
      if (!literal) return undefined;
      if (literal.kind !== "const" || literal.type.scalar !== scalar)
        return this.#report("kernel-type", `expected a constant of type ${scalar}`, at);
      return this.#make(start, { kind: "const", type: { scalar, width }, value: literal.value });
    }
    const parts = this.#arguments(undefined, word);
    const whole = parts.filter((p) => p !== undefined);
    if (whole.length !== parts.length || !whole[0]) return undefined;
    return this.#make(start, { kind: "vector", parts: whole, type: { scalar: whole[0].type.scalar, width } });
  }

  #castExpr(a: Expr, scalar: Scalar, bits: boolean): Expr {
    return { kind: "cast", a, bits, type: { scalar, width: a.type.width } };
  }

  #call(start: number, name: string): Expr | undefined {
    const make = (count: number, build: (...args: Expr[]) => Expr): Expr | undefined => {
      const args = this.#arguments(count, name);
      const whole = args.filter((a) => a !== undefined);
      return whole.length === count ? this.#make(start, build(...whole)) : undefined;
    };
    if (unaryCalls.has(name))
      return make(1, (a) => ({ kind: "unary", op: name as UnaryOp, a: a!, type: a!.type }));
    if (binaryCalls.has(name)) return make(2, (a, b) => this.#infixExpr(name as BinaryOp, a!, b!));
    if (scalars.has(name)) return make(1, (a) => this.#castExpr(a!, name as Scalar, false));
    if (name === "fma") return make(3, (a, b, c) => ({ kind: "fma", a: a!, b: b!, c: c!, type: a!.type }));
    if (name === "select")
      return make(3, (c, yes, no) => ({
        kind: "select",
        condition: c!,
        yes: yes!,
        no: no!,
        type: yes!.type,
      }));
    const op = Object.hasOwn(subgroupCalls, name) ? subgroupCalls[name] : undefined;
    if (op)
      return make(takesLane(op) ? 2 : 1, (a, lane) => ({
        ...{ kind: "subgroup", op, a: a!, type: a!.type },
        ...(lane && { lane }),
      }));
    return this.#fail("kernel-unknown-name", `there is no function ${name}`);
  }

  #arguments(count: number | undefined, name: string): (Expr | undefined)[] {
    const open = this.#token;
    this.#expect("(");
    this.#enter();
    const args: (Expr | undefined)[] = [];
    while (!this.#at(")")) {
      args.push(this.#expression());
      if (!this.#accept(",")) break;
    }
    this.#nesting--;
    this.#expect(")");
    if (count !== undefined && args.length !== count)
      this.#fail("kernel-type", `${name} takes ${count} arguments, not ${args.length}`, {
        span: this.#span(open),
      });
    return args;
  }

  #literal(start: number, negative: boolean): Expr | undefined {
    const token = this.#token;
    const text = token.text;
    this.#advance();
    const constant = (scalar: Scalar, value: number | boolean): Expr | undefined => {
      const signed = negative && typeof value === "number" ? -value : value;
      return this.#make(start, { kind: "const", type: { scalar, width: 1 }, value: signed });
    };
    if (token.kind === "word") {
      if (text === "true" || text === "false") return constant("bool", text === "true");
      const value = text.startsWith("inf") ? Infinity : text.startsWith("nan") ? NaN : undefined;
      if (value !== undefined) return constant(text.endsWith("h") ? "f16" : "f32", value);
    }
    if (token.kind !== "number")
      return this.#fail("kernel-syntax", "expected a literal", { span: this.#span(token) });
    const digits = text.replace(/[ih]$/, "");
    const isReal = /[.e]/.test(digits);
    if (text.endsWith("h")) return constant("f16", Number(digits));
    if (text.endsWith("i") && isReal)
      return this.#fail("kernel-syntax", "an i32 literal has no fraction", { span: this.#span(token) });
    return constant(text.endsWith("i") ? "i32" : isReal ? "f32" : "u32", Number(digits));
  }

  /** Checks a new node's types and depth. */
  #make(start: number, e: Expr): Expr | undefined {
    const span = { file: this.#file, start, end: Math.max(start, this.#lastEnd) };
    let depth = 0;
    for (const part of operands(e)) depth = Math.max(depth, this.#depths.get(part) ?? 0);
    if (depth >= maxExpressionDepth)
      this.#fail("kernel-too-deep", `an expression is at most ${maxExpressionDepth} operations deep`, {
        span,
        help: "name a part of it with let",
      });
    this.#depths.set(e, depth + 1);
    const problem = typeError(e);
    if (problem) this.#add("kernel-type", problem, { span });
    return problem ? undefined : e;
  }

  // Names

  #declare(name: string, meaning: Meaning, at: Token): void {
    if (this.#scopes.some((s) => s.has(name)))
      this.#add("kernel-redefined", `${name} is already defined`, { span: this.#span(at) });
    this.#scopes.at(-1)!.set(name, meaning);
  }

  #meaning(name: string, at: Token): Meaning | undefined {
    for (let i = this.#scopes.length - 1; i >= 0; i--) {
      const found = this.#scopes[i]!.get(name);
      if (found) return found;
    }
    return this.#report("kernel-unknown-name", `${name} is not defined`, at);
  }

  #sameType(e: Expr, type: KernelType, at: Token): boolean {
    if (e.type.scalar === type.scalar && e.type.width === type.width) return true;
    this.#report("kernel-type", `expected ${typeText(type)}, this is ${typeText(e.type)}`, at);
    return false;
  }

  // Tokens

  #at(text: string): boolean {
    return this.#token.text === text && (this.#token.kind === "symbol" || this.#token.kind === "word");
  }

  #ended(): boolean {
    return this.#token.kind === "end";
  }

  #advance(): void {
    this.#lastEnd = this.#token.end;
    this.#token = this.#lexer.next();
  }

  #accept(text: string): boolean {
    const found = this.#at(text);
    if (found) this.#advance();
    return found;
  }

  #expect(text: string): void {
    if (!this.#at(text)) this.#fail("kernel-syntax", `expected ${text}`);
    this.#advance();
  }

  #take(kind: Token["kind"], what: string): string {
    if (this.#token.kind !== kind) this.#fail("kernel-syntax", `expected ${what}`);
    const { text } = this.#token;
    this.#advance();
    return text;
  }

  #string(): string {
    return this.#take("string", "a string");
  }

  #name(what: string): string {
    const token = this.#token;
    if (token.kind === "word" && reservedWords.has(token.text))
      this.#fail("kernel-syntax", `expected ${what}`, {
        help: `a name that is a word of the language is written in back-quotes`,
      });
    if (token.kind !== "word" && token.kind !== "quoted") this.#fail("kernel-syntax", `expected ${what}`);
    this.#advance();
    return token.text;
  }

  #integer(): number {
    const token = this.#token;
    if (token.kind !== "number" || !/^[0-9]{1,10}$/.test(token.text))
      this.#fail("kernel-syntax", "expected a whole number");
    this.#advance();
    return Number(token.text);
  }

  #enter(): void {
    if (++this.#nesting > maxNesting)
      this.#fail("kernel-too-deep", `blocks and brackets nest at most ${maxNesting} deep`);
  }

  // Messages

  #span(token: Token): Span {
    return { file: this.#file, start: token.start, end: token.end };
  }

  #add(code: string, message: string, init: DiagnosticInit): void {
    if (this.diagnostics.length < maxMessages) this.diagnostics.push(error(code, message, init));
    else throw new Skip();
  }

  #report(code: string, message: string, at: Token): undefined {
    this.#add(code, message, { span: this.#span(at) });
  }

  #fail(code: string, message: string, init: DiagnosticInit = {}): never {
    const found = this.#token.kind === "end" ? "the file ends here" : undefined;
    this.#add(code, message, { span: this.#span(this.#token), label: found, ...init });
    throw new Skip();
  }
}
