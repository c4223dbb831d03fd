// Kernel expressions that lowerings are written with, by the names that formulas use.

import { add, div, f32, fma, lt, max, min, mul, select, sub, unary } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { ElementContext } from "../ir/op.ts";

export const negate = (x: Expr): Expr => unary("neg", x);
export const abs = (x: Expr): Expr => unary("abs", x);
export const exp = (x: Expr): Expr => unary("exp", x);
export const log = (x: Expr): Expr => unary("log", x);
export const sqrt = (x: Expr): Expr => unary("sqrt", x);
export const rsqrt = (x: Expr): Expr => unary("rsqrt", x);
export const floor = (x: Expr): Expr => unary("floor", x);
export const ceil = (x: Expr): Expr => unary("ceil", x);

export const round = (x: Expr): Expr => unary("round", x);

/** 1 / (1 + e^-x). The exponent is bounded so that it never becomes infinite, which WGSL leaves open; the error is below 1e-34. */
export function sigmoid(x: Expr): Expr {
  return div(f32(1), add(f32(1), exp(min(negate(x), f32(80)))));
}

/** Equal to 1 in f32 beyond 9.02; some drivers compute it by exponentials that overflow further out. */
export function tanh(x: Expr): Expr {
  return unary("tanh", max(f32(-15), min(f32(15), x)));
}

/** Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: |error| <= 1.5e-7 for z >= 0. */
const slope = 0.3275911;
const coefficients = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592] as const;

/** 1 - erf(z) for z >= 0: a polynomial in 1/(1 + slope z), times exp(-z^2). `z` is used twice and must be bound. */
export function erfc(z: Expr, c: ElementContext): Expr {
  const t = c.bind("t", div(f32(1), fma(z, f32(slope), f32(1))));
  const [first, ...rest] = coefficients;
  const polynomial = rest.reduce<Expr>((sum, a) => fma(sum, t, f32(a)), f32(first));
  return mul(mul(polynomial, t), exp(negate(mul(z, z))));
}

export function erf(x: Expr, c: ElementContext): Expr {
  const v = c.bind("x", x);
  const size = c.bind("size", sub(f32(1), erfc(c.bind("z", abs(v)), c)));
  return select(lt(v, f32(0)), negate(size), size);
}
