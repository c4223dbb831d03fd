// WGSL text of one expression, with as few parentheses as its grammar allows. WGSL is stricter than C: bit operators and shifts
// take only unary operands, `&&` and `||` do not mix, and `a < b` inside an argument list can be mistaken for a template.
// Constant expressions are folded first: WGSL evaluates them with other precision and makes overflow an error.

import { Bug, unreachable } from "../../support/bug.ts";
import { operands } from "../../ir/expr.ts";
import type { BinaryOp, Builtin, Expr, KernelType, Scalar, SubgroupOp } from "../../ir/kernel.ts";
import { binaryText, castText, constantNumber, evaluateText, fmaText, unaryText } from "../arithmetic.ts";

/** What an expression needs to know of the kernel around it. */
export interface ExpressionContext {
  name(of: string): string;
  param(name: string): string;
  builtin(name: Builtin): string;
  /** Storage buffers hold booleans as u32. */
  isBoolBuffer(name: string): boolean;
  /** The text of a value that WGSL has no literal for. */
  nonFinite(value: number, scalar: "f32" | "f16"): string;
}

/** Binding strength; an operand that binds less than its place asks for is put in parentheses. */
const LOOSE = 0;
const LOGIC = 1;
const RELATION = 2;
const EQUALITY = 3;
const ADD = 4;
const MUL = 5;
const UNARY = 6;
const POSTFIX = 7;

const symbols: Readonly<Partial<Record<BinaryOp, readonly [text: string, strength: number]>>> = {
  or: ["||", LOGIC],
  and: ["&&", LOGIC],
  lt: ["<", RELATION],
  le: ["<=", RELATION],
  gt: [">", RELATION],
  ge: [">=", RELATION],
  eq: ["==", EQUALITY],
  ne: ["!=", EQUALITY],
  bit_or: ["|", LOOSE],
  bit_xor: ["^", LOOSE],
  bit_and: ["&", LOOSE],
  shift_left: ["<<", LOOSE],
  shift_right: [">>", LOOSE],
  add: ["+", ADD],
  sub: ["-", ADD],
  mul: ["*", MUL],
  div: ["/", MUL],
  mod: ["%", MUL],
};

const subgroupFunctions: Readonly<Record<SubgroupOp, string>> = {
  broadcast: "subgroupBroadcast",
  shuffle: "subgroupShuffle",
  shuffle_xor: "subgroupShuffleXor",
  add: "subgroupAdd",
  max: "subgroupMax",
  min: "subgroupMin",
};

const letters: Readonly<Record<Exclude<Scalar, "bool">, string>> = { f32: "f", f16: "h", i32: "i", u32: "u" };

export function wgslType(type: KernelType): string {
  if (type.width === 1) return type.scalar;
  return type.scalar === "bool" ? `vec${type.width}<bool>` : `vec${type.width}${letters[type.scalar]}`;
}

interface Text {
  readonly text: string;
  readonly strength: number;
}

const postfix = (text: string): Text => ({ text, strength: POSTFIX });

export class ExpressionPrinter {
  readonly #context: ExpressionContext;
  readonly #folded = new WeakMap<Expr, readonly number[] | "varies">();

  constructor(context: ExpressionContext) {
    this.#context = context;
  }

  /** As a statement's or a condition's whole value. */
  print(e: Expr): string {
    return this.#text(e).text;
  }

  /** As an operand of `<`. */
  bound(e: Expr): string {
    return this.#operand(e, ADD);
  }

  /** As one argument of a list, or an index. */
  argument(e: Expr): string {
    const { text, strength } = this.#text(e);
    return strength === RELATION ? `(${text})` : text;
  }

  #operand(e: Expr, atLeast: number): string {
    const { text, strength } = this.#text(e);
    return strength < atLeast ? `(${text})` : text;
  }

  #call(name: string, args: readonly Expr[]): Text {
    return postfix(`${name}(${args.map((a) => this.argument(a)).join(", ")})`);
  }

  #text(e: Expr): Text {
    const value = this.#constant(e);
    if (value) return this.#literal(value, e.type);
    switch (e.kind) {
      case "const":
        throw new Bug("a constant is not constant");
      case "param":
        return postfix(this.#context.param(e.name));
      case "builtin":
        return postfix(this.#context.builtin(e.name));
      case "name":
        return postfix(this.#context.name(e.name));
      case "load": {
        const element = `${this.#context.name(e.from)}[${this.argument(e.index)}]`;
        if (!this.#context.isBoolBuffer(e.from)) return postfix(element);
        const zero = e.type.width === 1 ? "0u" : `vec${e.type.width}u()`;
        return { text: `${element} != ${zero}`, strength: EQUALITY };
      }
      case "unary": {
        if (e.op !== "neg" && e.op !== "not")
          return this.#call(e.op === "rsqrt" ? "inverseSqrt" : e.op, [e.a]);
        const a = this.#operand(e.a, UNARY);
        // `--x` would be a token of its own.
        if (e.op === "neg") return { text: a.startsWith("-") ? `-(${a})` : `-${a}`, strength: UNARY };
        return { text: `!${a}`, strength: UNARY };
      }
      case "binary":
        return this.#binary(e.op, e.a, e.b);
      case "fma":
        return this.#call("fma", [e.a, e.b, e.c]);
      case "select":
        return this.#call("select", [e.no, e.yes, e.condition]);
      case "cast":
        return this.#call(e.bits ? `bitcast<${wgslType(e.type)}>` : wgslType(e.type), [e.a]);
      case "vector":
        return this.#call(wgslType(e.type), e.parts);
      case "component": {
        const a = this.#operand(e.a, POSTFIX);
        return e.index.kind === "const"
          ? postfix(`${a}.${"xyzw"[Number(e.index.value)]}`)
          : postfix(`${a}[${this.argument(e.index)}]`);
      }
      case "subgroup":
        return this.#call(subgroupFunctions[e.op], e.lane ? [e.a, e.lane] : [e.a]);
      default:
        return unreachable(e);
    }
  }

  #binary(op: BinaryOp, a: Expr, b: Expr): Text {
    const symbol = symbols[op];
    if (!symbol) return this.#call(op, [a, b]);
    const isVectorLogic = (op === "and" || op === "or") && a.type.width > 1;
    const [text, strength] = isVectorLogic ? [symbol[0][0]!, LOOSE] : symbol;
    const infix = (left: string, right: string): Text => ({ text: `${left} ${text} ${right}`, strength });
    if (op === "shift_left" || op === "shift_right")
      return infix(this.#operand(a, UNARY), this.#shiftAmount(b));
    const sameOnLeft = a.kind === "binary" && a.op === op && !this.#constant(a);
    switch (strength) {
      case LOOSE:
        return infix(sameOnLeft ? this.print(a) : this.#operand(a, UNARY), this.#operand(b, UNARY));
      case LOGIC:
        return infix(sameOnLeft ? this.print(a) : this.#operand(a, RELATION), this.#operand(b, RELATION));
      case RELATION:
      case EQUALITY:
        return infix(this.#operand(a, ADD), this.#operand(b, ADD));
      default:
        return infix(this.#operand(a, strength), this.#operand(b, strength + 1));
    }
  }

  /** Unsigned, whatever is shifted. */
  #shiftAmount(b: Expr): string {
    if (b.type.scalar === "u32") return this.#operand(b, UNARY);
    const type: KernelType = { scalar: "u32", width: b.type.width };
    return this.#operand({ kind: "cast", a: b, bits: false, type }, UNARY);
  }

  // Constants

  /** The components of an expression without names, as the device would compute them at run time. */
  #constant(e: Expr): readonly number[] | undefined {
    let known = this.#folded.get(e);
    if (known === undefined) this.#folded.set(e, (known = this.#fold(e) ?? "varies"));
    return known === "varies" ? undefined : known;
  }

  #fold(e: Expr): readonly number[] | undefined {
    if (e.kind === "const")
      return Array.from({ length: e.type.width }, () => constantNumber(e.value, e.type.scalar));
    const values: (readonly number[])[] = [];
    for (const part of operands(e)) {
      const value = this.#constant(part);
      if (!value) return undefined;
      values.push(value);
    }
    const [a, b, c] = values;
    if (!a) return undefined;
    const each = (text: string): number[] =>
      Array.from({ length: e.type.width }, (_, i) => evaluateText(text, a[i] ?? 0, b?.[i] ?? 0, c?.[i] ?? 0));
    switch (e.kind) {
      case "unary":
        return each(unaryText(e.op, e.a.type.scalar, "a"));
      case "binary":
        return each(binaryText(e.op, e.a.type.scalar, "a", "b"));
      case "fma":
        return each(fmaText(e.type.scalar, "a", "b", "c"));
      case "cast":
        return each(castText(e.a.type.scalar, e.type.scalar, e.bits, "a"));
      case "select":
        return b!.map((yes, i) => ((a.length === 1 ? a[0] : a[i]) ? yes : c![i]!));
      case "vector":
        return Array.from({ length: e.type.width }, (_, i) => values[values.length === 1 ? 0 : i]![0]!);
      case "component":
        return [a[b![0]!]!];
      default:
        // Loads vary, and so do subgroup operations (a sum over lanes of a constant).
        return undefined;
    }
  }

  #literal(values: readonly number[], type: KernelType): Text {
    const texts = values.map((v) => this.#scalar(v, type.scalar));
    if (type.width === 1) return { text: texts[0]!, strength: texts[0]!.startsWith("-") ? UNARY : POSTFIX };
    const isSplat = texts.every((t) => t === texts[0]);
    return postfix(`${wgslType(type)}(${isSplat ? texts[0] : texts.join(", ")})`);
  }

  #scalar(value: number, scalar: Scalar): string {
    switch (scalar) {
      case "bool":
        return value ? "true" : "false";
      case "u32":
        return `${value}u`;
      case "i32":
        // The literal would be the negation of a number that is too large.
        return value === -0x80000000 ? "i32(-2147483648)" : `${value}i`;
      case "f32":
      case "f16": {
        if (!Number.isFinite(value)) return this.#context.nonFinite(value, scalar);
        const digits = scalar === "f32" ? shortestSingle(value) : String(value);
        const sign = Object.is(value, -0) ? "-" : "";
        return `${sign}${digits}${/[.e]/.test(digits) ? "" : ".0"}${scalar === "f16" ? "h" : ""}`;
      }
      default:
        return unreachable(scalar);
    }
  }
}

const largestSingle = 3.4028234663852886e38;

/** The fewest digits that read back as the same f32; WGSL refuses any that round down to the largest one. */
function shortestSingle(value: number): string {
  for (let digits = 1; digits <= 9; digits++) {
    const number = Number(value.toPrecision(digits));
    if (Math.fround(number) === value && Math.abs(number) <= largestSingle) return String(number);
  }
  return String(value);
}
