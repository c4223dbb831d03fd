// Kernel expressions from text, by precedence climbing. Each is typed as it is built (kernel-types.ts), and its names are looked
// up in the scopes around it, so that the first wrong place is the one that is pointed at.

import type { BinaryOp, Builtin, Expr, KernelType, Scalar, SubgroupOp, UnaryOp, Width } from "./kernel.ts";
import { operands } from "./expr.ts";
import type { Token } from "./kernel-lex.ts";
import { comparisonLevel, infix } from "./kernel-print.ts";
import { TokenReader, scalars } from "./kernel-reader.ts";
import {
  components,
  isComparison,
  maxExpressionDepth,
  takesLane,
  typeError,
  typeText,
} from "./kernel-types.ts";

const builtins: ReadonlySet<string> = new Set<Builtin>([
  "workgroup_x",
  "workgroup_y",
  "workgroup_z",
  "local",
  "lane",
  "subgroup",
]);
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
const u32Type: KernelType = { scalar: "u32", width: 1 };

/** What a name stands for. A `let` whose value was wrong is declared without a type, so that it is reported once. */
export type Meaning =
  | { readonly kind: "param" | "name"; readonly type?: KernelType }
  | { readonly kind: "memory"; readonly type: KernelType };
export class ExpressionReader extends TokenReader {
  readonly #depths = new WeakMap<Expr, number>();
  protected readonly scopes: Map<string, Meaning>[] = [new Map()];

  // Expressions: undefined stands for one whose mistake was already reported.

  protected expression(): Expr | undefined {
    return this.binary(1);
  }

  protected binary(level: number): Expr | undefined {
    const start = this.token.start;
    let left = this.unary();
    for (;;) {
      const operator = this.token.kind === "symbol" ? infixByText.get(this.token.text) : undefined;
      if (!operator || operator.level < level) return left;
      this.advance();
      const right = this.binary(operator.level + 1);
      left = left && right && this.make(start, this.infixExpr(operator.op, left, right));
      const again = this.token.kind === "symbol" ? infixByText.get(this.token.text) : undefined;
      if (operator.level === comparisonLevel && again?.level === comparisonLevel)
        this.fail("kernel-syntax", "comparisons cannot be chained", { help: "write parentheses" });
    }
  }

  protected infixExpr(op: BinaryOp, a: Expr, b: Expr): Expr {
    const type: KernelType = isComparison(op) ? { scalar: "bool", width: a.type.width } : a.type;
    return { kind: "binary", op, a, b, type };
  }

  protected unary(): Expr | undefined {
    const start = this.token.start;
    if (this.accept("-")) {
      const token = this.token;
      const special = token.kind === "word" && /^infh?$/.test(token.text);
      if (token.kind === "number" || special) return this.literal(start, true);
      return this.prefixed("neg", start);
    }
    if (this.accept("!")) return this.prefixed("not", start);
    return this.postfix();
  }

  protected prefixed(op: "neg" | "not", start: number): Expr | undefined {
    this.enter();
    const a = this.unary();
    this.nesting--;
    return a && this.make(start, { kind: "unary", op, a, type: a.type });
  }

  protected postfix(): Expr | undefined {
    const start = this.token.start;
    let e = this.primary();
    for (;;) {
      if (this.accept(".")) {
        const at = this.token;
        const letter = (components as readonly string[]).indexOf(this.take("word", "a component"));
        if (letter < 0) this.fail("kernel-syntax", "components are x, y, z and w", { span: this.span(at) });
        e = e && this.component(start, e, { kind: "const", type: u32Type, value: letter });
      } else if (this.at("[") && !this.token.startsLine) {
        this.advance();
        this.enter();
        const index = this.expression();
        this.nesting--;
        this.expect("]");
        e = e && index && this.component(start, e, index);
      } else return e;
    }
  }

  protected component(start: number, a: Expr, index: Expr): Expr | undefined {
    return this.make(start, { kind: "component", a, index, type: { scalar: a.type.scalar, width: 1 } });
  }

  protected primary(): Expr | undefined {
    const token = this.token;
    const start = token.start;
    if (token.kind === "number") return this.literal(start, false);
    if (this.accept("(")) {
      this.enter();
      const e = this.expression();
      this.nesting--;
      this.expect(")");
      return e;
    }
    if (token.kind === "word") {
      if (builtins.has(token.text)) {
        this.advance();
        return this.make(start, { kind: "builtin", name: token.text as Builtin, type: u32Type });
      }
      if (/^(?:true|false|infh?|nanh?)$/.test(token.text)) return this.literal(start, false);
      if (token.text === "vec2" || token.text === "vec4" || token.text === "bitcast")
        return this.typedCall(start);
    }
    const name = this.name("an expression");
    if (token.kind === "word" && this.at("(")) return this.call(start, name);
    const meaning = this.meaning(name, token);
    if (meaning?.kind !== "memory")
      return meaning?.type && this.make(start, { kind: meaning.kind, name, type: meaning.type });
    this.expect("[");
    this.enter();
    const index = this.expression();
    this.nesting--;
    this.expect("]");
    return index && this.make(start, { kind: "load", from: name, index, type: meaning.type });
  }

  /** `vec4(...)` splats or gathers, `vec4<f32>(1.0)` is a constant, `bitcast<u32>(x)` reinterprets. */
  protected typedCall(start: number): Expr | undefined {
    const word = this.token.text;
    if (word === "bitcast") {
      this.advance();
      this.expect("<");
      const { scalar, width } = this.type();
      if (width !== 1) this.fail("kernel-syntax", "bitcast names a scalar type");
      this.expect(">");
      const [a] = this.arguments(1, word);
      return a && this.make(start, this.castExpr(a, scalar, true));
    }
    const width: Width = word === "vec2" ? 2 : 4;
    const at = this.token;
    this.advance();
    if (this.accept("<")) {
      const scalar = this.type().scalar;
      this.expect(">");
      this.expect("(");
      const literal = this.at("-") ? this.unary() : this.literal(this.token.start, false);
      this.expect(")");
      if (!literal) return undefined;
      if (literal.kind !== "const" || literal.type.scalar !== scalar)
        return this.report("kernel-type", `expected a constant of type ${scalar}`, at);
      return this.make(start, { kind: "const", type: { scalar, width }, value: literal.value });
    }
    const parts = this.arguments(undefined, word);
    if (parts.length === 0) return this.report("kernel-type", `${word} takes 1 or ${width} parts`, at);
    const whole = parts.filter((p) => p !== undefined);
    if (whole.length !== parts.length || !whole[0]) return undefined;
    return this.make(start, { kind: "vector", parts: whole, type: { scalar: whole[0].type.scalar, width } });
  }

  protected castExpr(a: Expr, scalar: Scalar, bits: boolean): Expr {
    return { kind: "cast", a, bits, type: { scalar, width: a.type.width } };
  }

  protected call(start: number, name: string): Expr | undefined {
    const make = (count: number, build: (...args: Expr[]) => Expr): Expr | undefined => {
      const args = this.arguments(count, name);
      const whole = args.filter((a) => a !== undefined);
      return whole.length === count ? this.make(start, build(...whole)) : undefined;
    };
    if (unaryCalls.has(name))
      return make(1, (a) => ({ kind: "unary", op: name as UnaryOp, a: a!, type: a!.type }));
    if (binaryCalls.has(name)) return make(2, (a, b) => this.infixExpr(name as BinaryOp, a!, b!));
    if (scalars.has(name)) return make(1, (a) => this.castExpr(a!, name as Scalar, false));
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
    return this.fail("kernel-unknown-name", `there is no function ${name}`);
  }

  protected arguments(count: number | undefined, name: string): (Expr | undefined)[] {
    const open = this.token;
    this.expect("(");
    this.enter();
    const args: (Expr | undefined)[] = [];
    while (!this.at(")")) {
      args.push(this.expression());
      if (!this.accept(",")) break;
    }
    this.nesting--;
    this.expect(")");
    if (count !== undefined && args.length !== count)
      this.fail("kernel-type", `${name} takes ${count} arguments, not ${args.length}`, {
        span: this.span(open),
      });
    return args;
  }

  protected literal(start: number, negative: boolean): Expr | undefined {
    const token = this.token;
    const text = token.text;
    this.advance();
    const constant = (scalar: Scalar, value: number | boolean): Expr | undefined => {
      const signed = negative && typeof value === "number" ? -value : value;
      return this.make(start, { kind: "const", type: { scalar, width: 1 }, value: signed });
    };
    if (token.kind === "word") {
      if (text === "true" || text === "false") return constant("bool", text === "true");
      const value = text.startsWith("inf") ? Infinity : text.startsWith("nan") ? NaN : undefined;
      if (value !== undefined) return constant(text.endsWith("h") ? "f16" : "f32", value);
    }
    if (token.kind !== "number")
      return this.fail("kernel-syntax", "expected a literal", { span: this.span(token) });
    const digits = text.replace(/[ih]$/, "");
    const isReal = /[.e]/.test(digits);
    if (!Number.isFinite(Number(digits)))
      return this.fail("kernel-syntax", "a literal is too large", { span: this.span(token) });
    if (text.endsWith("h")) return constant("f16", Number(digits));
    if (text.endsWith("i") && isReal)
      return this.fail("kernel-syntax", "an i32 literal has no fraction", { span: this.span(token) });
    return constant(text.endsWith("i") ? "i32" : isReal ? "f32" : "u32", Number(digits));
  }

  /** Checks a new node's types and depth. */
  protected make(start: number, e: Expr): Expr | undefined {
    const span = { file: this.file, start, end: Math.max(start, this.lastEnd) };
    let depth = 0;
    for (const part of operands(e)) depth = Math.max(depth, this.#depths.get(part) ?? 0);
    if (depth >= maxExpressionDepth)
      this.fail("kernel-too-deep", `an expression is at most ${maxExpressionDepth} operations deep`, {
        span,
        help: "name a part of it with let",
      });
    this.#depths.set(e, depth + 1);
    const problem = typeError(e);
    if (problem) this.add("kernel-type", problem, { span });
    return problem ? undefined : e;
  }

  // Names

  protected declare(name: string, meaning: Meaning, at: Token): void {
    if (this.scopes.some((s) => s.has(name)))
      this.add("kernel-redefined", `${name} is already defined`, { span: this.span(at) });
    this.scopes.at(-1)!.set(name, meaning);
  }

  protected meaning(name: string, at: Token): Meaning | undefined {
    for (let i = this.scopes.length - 1; i >= 0; i--) {
      const found = this.scopes[i]!.get(name);
      if (found) return found;
    }
    return this.report("kernel-unknown-name", `${name} is not defined`, at);
  }

  protected sameType(e: Expr, type: KernelType, at: Token): boolean {
    if (e.type.scalar === type.scalar && e.type.width === type.width) return true;
    this.report("kernel-type", `expected ${typeText(type)}, this is ${typeText(e.type)}`, at);
    return false;
  }
}
