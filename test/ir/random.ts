// Seeded random dimensions, types and graphs for the tests of the IR: small, and covering every field that a graph can hold.

import {
  addDim,
  ceilDiv,
  constantOf,
  dim,
  floorDiv,
  maxDim,
  minDim,
  mulDim,
  subDim,
  type Dim,
} from "../../src/ir/dim.ts";

import { GraphBuilder, unionSpans } from "../../src/ir/graph.ts";
import type { AddOptions, Annotation, Attrs, AttrValue, Graph, Input } from "../../src/ir/graph.ts";
import type { Preprocess, Scope, State, ValueId, Weight } from "../../src/ir/graph.ts";
import { dtypes, modelTypes, type TensorType } from "../../src/ir/types.ts";
import { lookupOp } from "../../src/ops/index.ts";
import type { Location } from "../../src/support/source.ts";

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

// Graphs.

function pickSpans(r: Random): readonly Location[] {
  return unionSpans(
    Array.from({ length: r.below(4) }, () => {
      const line = 1 + r.below(90);
      const file = r.pick(["a.model", "std/norms.model", 'odd "name"\n.model']);
      return { file, line, column: 1 + r.below(40), endLine: line + r.below(2), endColumn: 1 + r.below(80) };
    }),
  );
}

const oddNames = [
  "plain",
  "with-dash",
  "a.b.0",
  "0",
  "has space",
  'has"quote',
  "",
  "größe",
  "-",
  "inf",
  "in",
  "x/y",
];

function randomValue(r: Random, depth: number): AttrValue {
  const kind = r.below(depth > 2 ? 4 : 5);
  if (kind === 0) return r.pick([0, -0, 1, -7, 0.1, 1e-6, 1e300, 1e21, Infinity, -Infinity, NaN]);
  if (kind === 1)
    return r.pick(["", "word", "true", "two words", 'a "quote" and \\', "line\nbreak", "\u2028"]);
  if (kind === 2) return r.chance(0.5);
  if (kind === 3) return randomDim(r, 2).dim;
  return Array.from({ length: r.below(4) }, () => randomValue(r, depth + 1));
}

function randomAnnotations(r: Random): readonly Annotation[] {
  return Array.from({ length: r.chance(0.2) ? 1 + r.below(2) : 0 }, () => ({
    name: r.pick(oddNames),
    call: r.pick(oddNames),
    args: Object.fromEntries(Array.from({ length: r.below(3) }, () => [r.pick(oddNames), randomValue(r, 0)])),
  }));
}

function randomType(r: Random): TensorType {
  // -1 means something to reshape.
  const size = (d: Dim) => ((constantOf(d) ?? 1) < 0 ? dim(3) : d);
  const shape = Array.from({ length: r.below(4) }, () => size(randomDim(r, r.below(3)).dim));
  const axes = shape.map(() => r.pick([null, "batch", "height", "heads"]));
  const type: TensorType = { dtype: r.pick(dtypes), shape, axes };
  const order = shape.map((_, i) => i).reverse();
  return r.chance(0.3) ? { ...type, order } : type;
}

/** A graph that uses every field there is. It need not verify: symbols and states are anything that can be written down. */
export function randomGraph(seed: number, size = 12): Graph {
  const r = random(seed);
  const b = new GraphBuilder(r.pick(oddNames), lookupOp, r.below(3));
  const known: ValueId[] = [];
  const declare = (id: ValueId, type: TensorType) => {
    known.push(id);
    return b.declare(id, type);
  };
  const inputs: Input[] = [];
  for (let i = 0; i < 1 + r.below(3); i++) {
    const name = `${r.pick(oddNames)}_${i}`;
    const type = randomType(r);
    const id = declare(r.chance(0.7) ? `%${name}` : `%in${i}`, type);
    const preprocess: Preprocess = {
      size: 224,
      cropPct: 0.95,
      interpolation: r.pick(["bicubic", "bilinear", "nearest"]),
      mean: [0.485, 0.456, 0.406],
      std: [1e-9, 1, 2],
    };
    inputs.push({ id, name, type, ...(r.chance(0.4) && { preprocess }), spans: pickSpans(r) });
  }
  const weights: Weight[] = [];
  for (let i = 0; i < r.below(4); i++) {
    const key = `${r.pick(oddNames)}_${i}`;
    const type = randomType(r);
    const seedOf = r.pick([{ kind: "signs" }, { kind: "integers", below: 9 }, undefined] as const);
    const id = declare(r.chance(0.7) ? `$${key}` : `$w${i}`, type);
    weights.push({ id, key, type, ...(seedOf && { seed: seedOf }), spans: pickSpans(r) });
  }
  const states: State[] = [];
  for (let i = 0; i < r.below(3); i++) {
    const name = `${r.pick(oddNames)}_${i}`;
    const type = randomType(r);
    const id = declare(`%${name}.in`, type);
    states.push({ name, id, type, next: id, initial: r.pick([0, -0, -Infinity, 0.5]), spans: pickSpans(r) });
  }
  const scopes: Scope[] = oddNames.slice(0, r.below(oddNames.length)).map((path) => ({
    path: `${path}!`.slice(0, r.chance(0.5) ? -1 : undefined) || "top",
    block: r.pick(oddNames),
    annotations: randomAnnotations(r),
    spans: pickSpans(r),
  }));
  const options = () => ({
    spans: pickSpans(r),
    scope: scopes.length > 0 && r.chance(0.7) ? r.pick(scopes).path : "",
    annotations: randomAnnotations(r),
  });
  for (let i = 0; i < size; i++) randomNode(r, b, known, options());
  return {
    name: b.name,
    symbols: symbolNames.map((name) =>
      r.chance(0.2) ? { kind: "bounded", name, bound: randomDim(r, 2).dim } : { kind: "bound", name },
    ),
    inputs,
    weights,
    states: states.map((s) => ({ ...s, next: r.pick(known) })),
    scopes,
    nodes: b.nodes,
    outputs: Array.from({ length: r.below(3) }, (_, i) => ({
      name: `${r.pick(oddNames)}_${i}`,
      value: r.pick(known),
      spans: pickSpans(r),
    })),
    guards: Array.from({ length: r.below(2) }, () => ({
      pass: r.pick(oddNames),
      condition: r.pick(known),
      spans: pickSpans(r),
    })),
    nextId: b.nextId + r.below(3),
  };
}

function randomNode(r: Random, b: GraphBuilder, known: ValueId[], options: AddOptions): void {
  const add = (op: string, inputs: readonly ValueId[], attrs: Attrs = {}, more: AddOptions = {}) =>
    known.push(...b.add(lookupOp(op)!, inputs, attrs, { ...options, ...more }).results.map((v) => v.id));
  const x = r.pick(known);
  const type = b.type(x);
  const rank = type.shape.length;
  switch (r.below(6)) {
    case 0:
      return void add("constant", [], {
        value: r.pick([0, -0, 1e-6, Infinity, 2]),
        shape: Array.from({ length: r.below(3) }, () => randomDim(r, 1).dim),
      });
    case 1: {
      const perm = type.shape.map((_, i) => i).reverse();
      return void add("transpose", [x], { perm });
    }
    case 2:
      return void add("cast", [x], { dtype: r.pick(modelTypes) });
    case 3:
      return void add("unsqueeze", [x], { axes: [r.below(rank + 1)] });
    case 4:
      return void add("reshape", [x], { dims: type.shape });
    default:
      return addGroup(r, b, x, add);
  }
}

/** A body with ids of its own, and two results. */
function addGroup(
  r: Random,
  b: GraphBuilder,
  x: ValueId,
  add: (op: string, inputs: readonly ValueId[], attrs: Attrs, more: AddOptions) => void,
): void {
  const inner = new GraphBuilder("body", lookupOp, b.nextId);
  const type = b.type(x);
  const param = { id: inner.declare(inner.freshId(), type), type };
  inner.call("cast", [param.id], { dtype: "f32" }, { spans: pickSpans(r) });
  inner.call("reshape", [param.id], { dims: type.shape });
  const [first, second] = inner.nodes.map((n) => n.results[0]!);
  const body = { params: [param], nodes: inner.nodes, results: [second!.id, first!.id] };
  while (b.nextId < inner.nextId) b.freshId();
  add("group", [x], { kind: "element", name: "test" }, { body, types: [second!.type, first!.type] });
}
