// Seeded random dimensions, types and graphs for the tests of the IR: small, and covering every field that a graph can hold.

import {
  addDim,
  ceilDiv,
  dim,
  floorDiv,
  maxDim,
  minDim,
  mulDim,
  subDim,
  type Dim,
} from "../../src/ir/dim.ts";

export interface Random {
  /** An integer in [0, below). */
  below(n: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

/** mulberry32. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    below: (n) => Math.floor(next() * n),
    chance: (p) => next() < p,
    pick: (items) => items[Math.floor(next() * items.length)]!,
  };
}

export const symbolNames = ["B", "H", "W", "T", "n", "constructor"] as const;

/** A dimension built with the library's functions, and the same arithmetic done on numbers. */
export interface RandomDim {
  readonly dim: Dim;
  value(env: Readonly<Record<string, number>>): number;
}

export function randomDim(r: Random, depth: number): RandomDim {
  if (depth === 0 || r.chance(0.2)) {
    if (r.chance(0.4)) {
      const value = r.below(20) - 4;
      return { dim: dim(value), value: () => value };
    }
    const name = r.pick(symbolNames);
    return { dim: dim(name), value: (env) => env[name]! };
  }
  const a = randomDim(r, depth - 1);
  const kind = r.pick(["add", "sub", "mul", "floor", "ceil", "floor", "min", "max", "quotient"] as const);
  if (kind === "floor" || kind === "ceil") {
    const by = 1 + r.below(8);
    const divide = kind === "floor" ? floorDiv : ceilDiv;
    const round = kind === "floor" ? Math.floor : Math.ceil;
    return { dim: divide(a.dim, dim(by)), value: (env) => round(a.value(env) / by) };
  }
  if (kind === "quotient") {
    // A symbolic divisor, positive because symbols are.
    const name = r.pick(symbolNames);
    const by = addDim(mulDim(dim(name), dim(1 + r.below(3))), dim(r.below(2)));
    const byValue = (env: Readonly<Record<string, number>>) => evaluateLinear(by, name, env);
    return { dim: floorDiv(a.dim, by), value: (env) => Math.floor(a.value(env) / byValue(env)) };
  }
  const b = randomDim(r, depth - 1);
  switch (kind) {
    case "add":
      return { dim: addDim(a.dim, b.dim), value: (env) => a.value(env) + b.value(env) };
    case "sub":
      return { dim: subDim(a.dim, b.dim), value: (env) => a.value(env) - b.value(env) };
    case "mul":
      return { dim: mulDim(a.dim, b.dim), value: (env) => a.value(env) * b.value(env) };
    case "min":
      return { dim: minDim(a.dim, b.dim), value: (env) => Math.min(a.value(env), b.value(env)) };
    case "max":
      return { dim: maxDim(a.dim, b.dim), value: (env) => Math.max(a.value(env), b.value(env)) };
  }
}

function evaluateLinear(d: Dim, name: string, env: Readonly<Record<string, number>>): number {
  return d.terms.reduce((sum, t) => sum + t.coefficient * (t.atoms.length > 0 ? env[name]! : 1), 0);
}

export function randomEnv(r: Random): Record<string, number> {
  return Object.fromEntries(symbolNames.map((n) => [n, 1 + r.below(40)]));
}
