// Reads the text of kernel-print.ts back: declarations and statements, by recursive descent. Expressions are
// kernel-parse-expression.ts. Whatever the text, it returns: size, nesting, depth and the number of messages are limited.
// Whole-kernel rules (barriers, access, uniformity) are kernel-verify.ts.

import { Bug } from "../support/bug.ts";
import { type Diagnostic, error } from "../support/diagnostic.ts";
import { type Location, sourceFile } from "../support/source.ts";
import type { BufferDecl, Expr, Kernel, KernelType, ParamDecl, SharedDecl, Statement } from "./kernel.ts";
import { ExpressionReader } from "./kernel-parse-expression.ts";
import { Skip } from "./kernel-reader.ts";

export const maxKernelText = 4 * 1024 * 1024;

export interface ParsedKernel {
  /** Absent when there was any error. */
  readonly kernel?: Kernel;
  readonly diagnostics: readonly Diagnostic[];
}

const boolType: KernelType = { scalar: "bool", width: 1 };
const u32Type: KernelType = { scalar: "u32", width: 1 };

export function parseKernel(text: string, file = "<kernel>"): ParsedKernel {
  const source = sourceFile(file, text.length > maxKernelText ? "" : text);
  if (text.length > maxKernelText) {
    const message = `a kernel text has at most ${maxKernelText} characters, this has ${text.length}`;
    return { diagnostics: [error("kernel-too-large", message)] };
  }
  const parser = new KernelReader(source);
  const kernel = parser.kernel();
  return parser.diagnostics.length > 0 || !kernel
    ? { diagnostics: parser.diagnostics }
    : { kernel, diagnostics: [] };
}
class KernelReader extends ExpressionReader {
  kernel(): Kernel | undefined {
    try {
      this.expect("kernel");
      this.expect("@");
      const name = this.name("the kernel's name");
      this.expect("workgroup");
      this.expect("(");
      const x = this.integer();
      this.expect(",");
      const y = this.integer();
      this.expect(",");
      const z = this.integer();
      this.expect(")");
      let subgroupSize = 0;
      if (this.accept("subgroup")) {
        this.expect("(");
        subgroupSize = this.integer();
        this.expect(")");
      }
      this.inHeader = true;
      this.expect("{");
      const { params, buffers, shared, locations } = this.declarations();
      this.inHeader = false;
      const body = this.statements();
      this.expect("}");
      if (!this.ended()) this.fail("kernel-syntax", "expected the end of the file");
      return {
        ...{ name, params, buffers, shared, workgroupSize: [x, y, z], subgroupSize, body },
        ...{ notes: this.notes, locations },
      };
    } catch (problem) {
      if (problem instanceof Skip) return undefined;
      throw problem;
    }
  }
  // Declarations

  protected declarations() {
    const params: ParamDecl[] = [];
    const buffers: BufferDecl[] = [];
    const shared: SharedDecl[] = [];
    const locations: Location[] = [];
    for (;;) {
      const token = this.token;
      if (token.kind !== "word") break;
      if (token.text === "note") {
        this.advance();
        // Before it is taken, because a comment behind it is the next note.
        if (this.token.kind === "string") this.notes.push(this.token.text);
        this.string();
      } else if (token.text === "loc") {
        this.advance();
        locations.push(this.location());
      } else if (token.text === "live" || token.text === "param") {
        const live = this.accept("live");
        this.expect("param");
        const name = this.name("a parameter");
        this.expect(":");
        const type = this.type();
        params.push({ name, type, live });
        this.declare(name, { kind: "param", type }, token);
      } else if (token.text === "buffer") {
        this.advance();
        const name = this.name("a buffer");
        this.expect(":");
        const access = this.take("word", "read, write or read_write");
        if (access !== "read" && access !== "write" && access !== "read_write")
          this.fail("kernel-syntax", "a buffer is read, write or read_write", { span: this.span(token) });
        const type = this.type();
        buffers.push({ name, type, access });
        this.declare(name, { kind: "memory", type }, token);
      } else if (token.text === "shared") {
        this.advance();
        const name = this.name("a workgroup array");
        this.expect(":");
        const type = this.type();
        this.expect("[");
        const length = this.integer();
        this.expect("]");
        shared.push({ name, type, length });
        this.declare(name, { kind: "memory", type }, token);
      } else break;
    }
    return { params, buffers, shared, locations };
  }

  protected location(): Location {
    const file = this.string();
    this.expect(":");
    const line = this.integer();
    this.expect(":");
    const column = this.integer();
    this.expect("-");
    const endLine = this.integer();
    this.expect(":");
    const endColumn = this.integer();
    return { file, line, column, endLine, endColumn };
  }
  // Statements

  protected statements(): Statement[] {
    const body: Statement[] = [];
    while (!this.ended() && !this.at("}")) {
      const before = this.token;
      const nesting = this.nesting;
      const scopes = this.scopes.length;
      try {
        const statement = this.statement();
        if (statement) body.push(statement);
        else if (this.diagnostics.length === 0) throw new Bug("a statement is dropped without a message");
      } catch (problem) {
        if (!(problem instanceof Skip) || this.hasEnough) throw problem;
        this.nesting = nesting;
        this.scopes.length = scopes;
        if (this.token === before) this.advance();
        // The next line is a better guess than the next token: statements are one line each as printed.
        while (!this.ended() && !this.token.startsLine && !this.at("}")) this.advance();
      }
    }
    return body;
  }

  protected block(declare?: () => void): Statement[] {
    this.expect("{");
    this.enter();
    this.scopes.push(new Map());
    declare?.();
    const body = this.statements();
    this.scopes.pop();
    this.nesting--;
    this.expect("}");
    return body;
  }

  protected statement(): Statement | undefined {
    const token = this.token;
    switch (token.kind === "word" ? token.text : "") {
      case "let": {
        this.advance();
        const name = this.name("a name");
        this.expect("=");
        const value = this.expression();
        this.declare(name, { kind: "name", ...(value && { type: value.type }) }, token);
        return value && { kind: "let", name, value };
      }
      case "var": {
        this.advance();
        const name = this.name("a name");
        this.expect(":");
        const type = this.type();
        this.expect("=");
        const value = this.expression();
        this.declare(name, { kind: "name", type }, token);
        return value && this.sameType(value, type, token) ? { kind: "var", name, type, value } : undefined;
      }
      case "for":
        return this.forStatement();
      case "if":
        return this.ifStatement();
      case "barrier":
      case "return":
        this.advance();
        return { kind: token.text as "barrier" | "return" };
      default:
        return this.assignment();
    }
  }

  protected forStatement(): Statement | undefined {
    const token = this.token;
    this.expect("for");
    const name = this.name("a loop counter");
    this.expect("in");
    const start = this.expression();
    this.expect("..");
    const end = this.expression();
    const type = start?.type ?? u32Type;
    const one: Expr = { kind: "const", type, value: 1 };
    const step = this.accept("step") ? this.expression() : one;
    const body = this.block(() => this.declare(name, { kind: "name", type }, token));
    if (!start || !end || !step) return undefined;
    if (!this.sameType(end, type, token) || !this.sameType(step, type, token)) return undefined;
    return { kind: "for", name, start, end, step, body };
  }

  protected ifStatement(): Statement | undefined {
    const token = this.token;
    this.expect("if");
    const condition = this.expression();
    const then = this.block();
    let otherwise: Statement[] = [];
    if (this.accept("else")) {
      if (this.at("if")) {
        this.enter();
        const nested = this.ifStatement();
        this.nesting--;
        otherwise = nested ? [nested] : [];
      } else otherwise = this.block();
    }
    if (!condition || !this.sameType(condition, boolType, token)) return undefined;
    return { kind: "if", condition, then, else: otherwise };
  }

  protected assignment(): Statement | undefined {
    const token = this.token;
    const name = this.name("a statement");
    const meaning = this.meaning(name, token);
    if (this.accept("[")) {
      const index = this.expression();
      this.expect("]");
      this.expect("=");
      const value = this.expression();
      if (!meaning) return undefined;
      if (meaning.kind !== "memory")
        return this.report("kernel-type", `${name} is not a buffer or workgroup array`, token);
      if (!index || !value || !this.sameType(value, meaning.type, token)) return undefined;
      return { kind: "store", to: name, index, value };
    }
    this.expect("=");
    const value = this.expression();
    if (!meaning || !value) return undefined;
    if (meaning.kind !== "name") return this.report("kernel-type", `${name} cannot be assigned`, token);
    if (meaning.type && !this.sameType(value, meaning.type, token)) return undefined;
    return { kind: "set", name, value };
  }
}
