// Kernel arithmetic as JavaScript text: what each operation does to scalars of each type, rounding and wrapping included.
// The interpreter pastes it into its loops; the WGSL printer evaluates constant expressions with it. Booleans are 0 and 1.
// Arguments are names or literals, so a text may mention one twice. `env` names below come from `runtimeHelpers`.

import { Bug, unreachable } from "../support/bug.ts";
import type { BinaryOp, Scalar, UnaryOp } from "../ir/kernel.ts";
import { halfToBits, halfFromBits, roundToHalf } from "../support/half.ts";

const single = new Float32Array(1);
const unsigned = new Uint32Array(single.buffer);
const signed = new Int32Array(single.buffer);

/** Functions that the texts call, by name. */
export const runtimeHelpers = {
  fround: Math.fround,
  imul: Math.imul,
  half: roundToHalf,
  halfToBits,
  halfFromBits,
  /** WGSL rounds ties to even. */
  roundEven(x: number): number {
    const down = Math.floor(x);
    const part = x - down;
    const result = part < 0.5 || (part === 0.5 && down % 2 === 0) ? down : down + 1;
    return result === 0 ? x * 0 : result;
  },
  /** Float to integer truncates and saturates; not-a-number gives 0. */
  toI32: (x: number): number =>
    x !== x ? 0 : Math.trunc(Math.min(Math.max(x, -0x80000000), 0x7fffffff)) | 0,
  toU32: (x: number): number => (x !== x ? 0 : Math.trunc(Math.min(Math.max(x, 0), 0xffffffff)) >>> 0),
  f32ToU32Bits: (x: number): number => ((single[0] = x), unsigned[0]!),
  f32ToI32Bits: (x: number): number => ((single[0] = x), signed[0]!),
  u32BitsToF32: (x: number): number => ((unsigned[0] = x), single[0]!),
  i32BitsToF32: (x: number): number => ((signed[0] = x), single[0]!),
} as const;

/** Rounds an exact (or double) result to the type. */
function rounded(text: string, scalar: Scalar): string {
  switch (scalar) {
    case "f32":
      return `fround(${text})`;
    case "f16":
      return `half(${text})`;
    case "i32":
      return `((${text}) | 0)`;
    case "u32":
      return `((${text}) >>> 0)`;
    case "bool":
      return text;
    default:
      return unreachable(scalar);
  }
}

const truth = (text: string): string => `(${text} ? 1 : 0)`;

export function unaryText(op: UnaryOp, scalar: Scalar, a: string): string {
  switch (op) {
    case "neg":
      return scalar === "i32" ? `(-${a} | 0)` : `(-${a})`;
    case "not":
      return `(1 - ${a})`;
    case "abs":
      return scalar === "i32" ? `(Math.abs(${a}) | 0)` : `Math.abs(${a})`;
    case "sign":
    case "floor":
    case "ceil":
    case "trunc":
      return `Math.${op}(${a})`;
    case "round":
      return `roundEven(${a})`;
    case "exp2":
      return rounded(`Math.pow(2, ${a})`, scalar);
    case "rsqrt":
      return rounded(`1 / Math.sqrt(${a})`, scalar);
    case "exp":
    case "log":
    case "log2":
    case "sqrt":
    case "sin":
    case "cos":
    case "tanh":
      return rounded(`Math.${op}(${a})`, scalar);
    default:
      return unreachable(op);
  }
}

export function binaryText(op: BinaryOp, scalar: Scalar, a: string, b: string): string {
  const isInteger = scalar === "i32" || scalar === "u32";
  switch (op) {
    case "add":
      return rounded(`${a} + ${b}`, scalar);
    case "sub":
      return rounded(`${a} - ${b}`, scalar);
    case "mul":
      return isInteger ? rounded(`imul(${a}, ${b})`, scalar) : rounded(`${a} * ${b}`, scalar);
    // As WGSL: x / 0 is x and x % 0 is 0; the most negative i32 divided by -1 is itself.
    case "div":
      return isInteger
        ? `(${b} === 0 ? ${a} : ${rounded(`${a} / ${b}`, scalar)})`
        : rounded(`${a} / ${b}`, scalar);
    case "mod":
      return isInteger
        ? `(${b} === 0 ? 0 : ${rounded(`${a} % ${b}`, scalar)})`
        : rounded(`${a} % ${b}`, scalar);
    case "min":
      return `(${b} < ${a} ? ${b} : ${a})`;
    case "max":
      return `(${a} < ${b} ? ${b} : ${a})`;
    case "pow":
      return rounded(`Math.pow(${a}, ${b})`, scalar);
    case "lt":
      return truth(`${a} < ${b}`);
    case "le":
      return truth(`${a} <= ${b}`);
    case "gt":
      return truth(`${a} > ${b}`);
    case "ge":
      return truth(`${a} >= ${b}`);
    case "eq":
      return truth(`${a} === ${b}`);
    case "ne":
      return truth(`${a} !== ${b}`);
    case "and":
    case "bit_and":
      return rounded(`(${a} & ${b})`, scalar);
    case "or":
    case "bit_or":
      return rounded(`(${a} | ${b})`, scalar);
    case "bit_xor":
      return rounded(`(${a} ^ ${b})`, scalar);
    // JavaScript takes shift amounts modulo 32, as WGSL does.
    case "shift_left":
      return rounded(`(${a} << ${b})`, scalar);
    case "shift_right":
      return scalar === "u32" ? `(${a} >>> ${b})` : `(${a} >> ${b})`;
    default:
      return unreachable(op);
  }
}

/** The product is exact in a double, so this rounds (all but) once. */
export function fmaText(scalar: Scalar, a: string, b: string, c: string): string {
  return rounded(`${a} * ${b} + ${c}`, scalar);
}

export function castText(from: Scalar, to: Scalar, bits: boolean, a: string): string {
  if (from === to) return a;
  if (bits) {
    if (from === "f32") return `${to === "u32" ? "f32ToU32Bits" : "f32ToI32Bits"}(${a})`;
    if (to === "f32") return `${from === "u32" ? "u32BitsToF32" : "i32BitsToF32"}(${a})`;
    return rounded(`(${a})`, to);
  }
  const fromFloat = from === "f32" || from === "f16";
  switch (to) {
    case "f32":
    case "f16":
      return rounded(a, to);
    case "i32":
      return fromFloat ? `toI32(${a})` : `(${a} | 0)`;
    case "u32":
      return fromFloat ? `toU32(${a})` : `(${a} >>> 0)`;
    case "bool":
      return truth(`${a} !== 0`);
    default:
      return unreachable(to);
  }
}

/** A constant as the device holds it: rounded to its type, false and true as 0 and 1. */
export function constantNumber(value: number | boolean, scalar: Scalar): number {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (scalar === "f32") return Math.fround(value);
  return scalar === "f16" ? roundToHalf(value) : value;
}

/** JavaScript text of a number, negative zero included, safe as an operand. */
export function numberText(value: number): string {
  if (Object.is(value, -0)) return "(-0)";
  return value < 0 ? `(${value})` : String(value);
}

const evaluators = new Map<string, (...values: number[]) => number>();

/** Evaluates one of the texts above, made with the argument names `a`, `b`, `c`. */
export function evaluateText(text: string, ...values: number[]): number {
  let run = evaluators.get(text);
  if (!run) {
    const names = Object.keys(runtimeHelpers);
    const make = new Function(...names, `"use strict"; return (a, b, c) => ${text};`);
    run = make(...Object.values(runtimeHelpers)) as (...values: number[]) => number;
    evaluators.set(text, run);
  }
  const result = run(...values);
  if (typeof result !== "number") throw new Bug(`${text} gave ${String(result)}`);
  return result;
}
