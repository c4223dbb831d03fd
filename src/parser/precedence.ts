// How tightly operators bind: one table for the reader (build-expression.ts) and the writer (format-expression.ts).

import type { BinaryOp } from "./ast.ts";

export const PIPE = 1;
export const NOT = 4;
export const COMPARISON = 5;
export const SUM = 6;
export const NEGATION = 8;
export const POWER = 9;
/** Names, literals, brackets, calls, and what follows them in brackets or behind a dot. */
export const OPERAND = 10;

const levels: Readonly<Record<BinaryOp, number>> = {
  or: 2,
  and: 3,
  "==": COMPARISON,
  "!=": COMPARISON,
  "<": COMPARISON,
  "<=": COMPARISON,
  ">": COMPARISON,
  ">=": COMPARISON,
  "+": SUM,
  "-": SUM,
  "*": 7,
  "/": 7,
  "%": 7,
  "**": POWER,
};

export function binaryLevel(op: BinaryOp): number {
  return levels[op];
}

export function asBinaryOp(text: string): BinaryOp | undefined {
  return Object.hasOwn(levels, text) ? (text as BinaryOp) : undefined;
}
