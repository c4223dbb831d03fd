// Random kernels for comparing the interpreter with Dawn and for round trips. Arithmetic is chosen so that every device must
// agree: integers wrap, and floats stay small multiples of a quarter, on which everything used here is exact.

import {
  builtin,
  cast,
  constant,
  fma,
  kernelType,
  load,
  name,
  operands,
  select,
  u32,
} from "../../src/ir/expr.ts";
import type {
  BinaryOp,
  Expr,
  Kernel,
  KernelType,
  Scalar,
  Statement,
  UnaryOp,
  Width,
} from "../../src/ir/kernel.ts";

export type Random = () => number;

/** A small generator with a seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000;
  };
}

export const invocations = 16;

const inputs: Readonly<Record<"f32" | "i32" | "u32", string>> = { f32: "fa", i32: "ia", u32: "ua" };
const outputs: Readonly<Record<"f32" | "i32" | "u32", string>> = { f32: "fx", i32: "ix", u32: "ux" };
const numbers = ["f32", "i32", "u32"] as const;
const widths: readonly Width[] = [1, 1, 1, 2, 4];

interface Local {
  readonly name: string;
  readonly type: KernelType;
  readonly isVar: boolean;
}

class Generator {
  readonly #random: Random;
  #names = 0;
  #stores = 0;
  readonly #subgroupSize: number;

  constructor(random: Random, subgroupSize: number) {
    this.#random = random;
    this.#subgroupSize = subgroupSize;
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)]!;
  }

  kernel(): Kernel {
    const locals: Local[] = [];
    const body: Statement[] = [
      ...this.#block(locals, 2, true),
      { kind: "barrier" },
      { kind: "store", to: "tile", index: builtin("local"), value: this.#expr(kernelType("i32"), locals, 3) },
      { kind: "barrier" },
      ...this.#block(locals, 1, true),
    ];
    const neighbour = load("tile", { ...this.#neighbour() }, kernelType("i32"));
    body.push(...this.#block([...locals, ...this.#let(body, neighbour)], 2, false));
    const buffer = (text: string, scalar: Scalar, access: "read" | "read_write") =>
      ({ name: text, type: kernelType(scalar), access }) as const;
    return {
      name: "random",
      params: [
        { name: "p", type: kernelType("u32"), live: false },
        { name: "q", type: kernelType("u32"), live: true },
        { name: "r", type: kernelType("f32"), live: false },
      ],
      buffers: numbers.flatMap((s) => [buffer(inputs[s], s, "read"), buffer(outputs[s], s, "read_write")]),
      shared: [{ name: "tile", type: kernelType("i32"), length: invocations }],
      workgroupSize: [invocations, 1, 1],
      subgroupSize: this.#subgroupSize,
      body,
      notes: ["random", ""],
      locations: [{ file: "random.model", line: 1, column: 2, endLine: 3, endColumn: 4 }],
    };
  }

  #neighbour(): Expr {
    const next: Expr = {
      kind: "binary",
      op: "add",
      a: builtin("local"),
      b: u32(1 + this.#below(15)),
      type: kernelType("u32"),
    };
    return { kind: "binary", op: "mod", a: next, b: u32(invocations), type: kernelType("u32") };
  }

  #let(body: Statement[], value: Expr): Local[] {
    const local: Local = { name: `v${this.#names++}`, type: value.type, isVar: false };
    body.push({ kind: "let", name: local.name, value });
    return [local];
  }

  #block(locals: Local[], depth: number, isUniform: boolean): Statement[] {
    const body: Statement[] = [];
    const count = 1 + this.#below(5);
    for (let i = 0; i < count; i++) body.push(...this.#statement(locals, depth, isUniform));
    return body;
  }

  #statement(locals: Local[], depth: number, isUniform: boolean): Statement[] {
    const type = kernelType(this.#pick(numbers), this.#pick(widths));
    const kind = this.#below(10);
    if (kind < 3) return this.#declare(type, locals, kind === 0);
    if (kind === 3) {
      const variable = locals.filter((l) => l.isVar);
      if (variable.length === 0) return this.#declare(type, locals, true);
      const { name: target, type: wanted } = this.#pick(variable);
      return [{ kind: "set", name: target, value: this.#expr(wanted, locals, 3) }];
    }
    if (kind < 6 || depth === 0) return this.#store(locals);
    if (kind === 6 && isUniform) return this.#subgroupOperation(locals);
    if (kind < 9) {
      const condition = this.#expr(kernelType("bool"), locals, 2);
      const then = this.#block([...locals], depth - 1, false);
      // Only at the end of the kernel may some leave.
      const otherwise = this.#below(2) ? this.#block([...locals], depth - 1, false) : [];
      return [{ kind: "if", condition, then, else: otherwise }];
    }
    return this.#loop(locals, depth, isUniform);
  }

  #declare(type: KernelType, locals: Local[], isVar: boolean): Statement[] {
    const local: Local = { name: `${isVar ? "s" : "v"}${this.#names++}`, type, isVar };
    const value = this.#expr(type, locals, 4);
    locals.push(local);
    return [
      isVar ? { kind: "var", name: local.name, type, value } : { kind: "let", name: local.name, value },
    ];
  }

  /** Every store has its own place, so that invocations and workgroups do not meet. */
  #store(locals: Local[]): Statement[] {
    const scalar = this.#pick(numbers);
    const group: Expr = {
      kind: "binary",
      op: "mul",
      a: builtin("workgroup_x"),
      b: u32(invocations),
      type: kernelType("u32"),
    };
    const own: Expr = { kind: "binary", op: "add", a: group, b: builtin("local"), type: kernelType("u32") };
    const row = this.#stores++ % rows;
    const index: Expr = {
      kind: "binary",
      op: "add",
      a: own,
      b: u32(row * 2 * invocations),
      type: kernelType("u32"),
    };
    return [{ kind: "store", to: outputs[scalar], index, value: this.#expr(kernelType(scalar), locals, 4) }];
  }

  #subgroupOperation(locals: Local[]): Statement[] {
    const type = kernelType(this.#pick(["i32", "u32"] as const), this.#pick(widths));
    const op = this.#pick(["broadcast", "shuffle", "shuffle_xor", "add", "max", "min"] as const);
    const a = this.#expr(type, locals, 2);
    const known = this.#below(this.#subgroupSize);
    const within: Expr = {
      kind: "binary",
      op: "mod",
      a: this.#expr(kernelType("u32"), locals, 2),
      b: u32(this.#subgroupSize),
      type: kernelType("u32"),
    };
    const lane =
      op === "shuffle" ? within : op === "broadcast" || op === "shuffle_xor" ? u32(known) : undefined;
    const body: Statement[] = [];
    locals.push(...this.#let(body, { kind: "subgroup", op, a, type, ...(lane && { lane }) }));
    return body;
  }

  #loop(locals: Local[], depth: number, isUniform: boolean): Statement[] {
    const type = kernelType(this.#pick(["i32", "u32"] as const));
    const counter: Local = { name: `k${this.#names++}`, type, isVar: false };
    const most: Expr = {
      kind: "binary",
      op: "mod",
      a: isUniform ? constant(5, type) : this.#expr(type, locals, 2),
      b: constant(6, type),
      type,
    };
    const body = this.#block([...locals, counter], depth - 1, isUniform);
    const step = constant(1 + this.#below(2), type);
    return [{ kind: "for", name: counter.name, start: constant(0, type), end: most, step, body }];
  }

  // Expressions

  #expr(type: KernelType, locals: readonly Local[], depth: number): Expr {
    if (depth === 0 || this.#below(8) === 0) return this.#leaf(type, locals);
    const { scalar, width } = type;
    const again = (t: KernelType = type): Expr => this.#expr(t, locals, depth - 1);
    const choice = this.#below(10);
    if (choice === 0) return select(again(kernelType("bool", this.#below(2) ? 1 : width)), again(), again());
    if (choice === 1 && width > 1) {
      const parts = this.#below(2) ? [0] : Array.from({ length: width });
      return { kind: "vector", parts: parts.map(() => again(kernelType(scalar))), type };
    }
    if (choice === 2 && width === 1) return this.#component(scalar, locals, depth);
    if (scalar === "bool") return this.#truth(width, locals, depth);
    if (choice === 3) return this.#converted(type, locals, depth);
    if (scalar === "f32") return this.#float(type, again);
    if (choice === 4 && scalar === "i32")
      return { kind: "unary", op: this.#pick<UnaryOp>(["neg", "abs", "sign"]), a: again(), type };
    const op = this.#pick<BinaryOp>(integerOps);
    return { kind: "binary", op, a: again(), b: this.#rightOf(op, type, again), type };
  }

  /** What divides or shifts may not be a bad constant, which WGSL refuses. */
  #rightOf(op: BinaryOp, type: KernelType, again: () => Expr): Expr {
    const b = again();
    if (!["div", "mod", "shift_left", "shift_right"].includes(op)) return b;
    return hasName(b) ? b : constant(3, type);
  }

  #component(scalar: Scalar, locals: readonly Local[], depth: number): Expr {
    const width = this.#pick([2, 4] as const);
    const a = this.#expr(kernelType(scalar, width), locals, depth - 1);
    const any: Expr = {
      kind: "binary",
      op: "mod",
      a: this.#expr(kernelType("u32"), locals, depth - 1),
      b: u32(width),
      type: kernelType("u32"),
    };
    const index = this.#below(3) === 0 ? any : u32(this.#below(width));
    return { kind: "component", a, index, type: kernelType(scalar) };
  }

  #truth(width: Width, locals: readonly Local[], depth: number): Expr {
    const type = kernelType("bool", width);
    const choice = this.#below(4);
    const again = (t: KernelType): Expr => this.#expr(t, locals, depth - 1);
    if (choice === 0) return { kind: "unary", op: "not", a: again(type), type };
    if (choice === 1)
      return {
        kind: "binary",
        op: this.#pick<BinaryOp>(["and", "or"]),
        a: again(type),
        b: again(type),
        type,
      };
    const of = kernelType(this.#pick(numbers), width);
    const op = this.#pick<BinaryOp>(["lt", "le", "gt", "ge", "eq", "ne"]);
    return { kind: "binary", op, a: again(of), b: again(of), type };
  }

  #converted(type: KernelType, locals: readonly Local[], depth: number): Expr {
    const from = this.#pick((["f32", "i32", "u32", "bool"] as const).filter((s) => s !== type.scalar));
    const a = this.#expr(kernelType(from, type.width), locals, depth - 1);
    if (type.scalar !== "f32")
      return { kind: "cast", a, bits: from !== "bool" && from !== "f32" && this.#below(2) === 0, type };
    // Large integers are not exact as f32.
    if (from === "bool") return cast(a, "f32");
    const small: Expr = {
      kind: "binary",
      op: "mod",
      a,
      b: constant(9, kernelType(from, type.width)),
      type: a.type,
    };
    return cast(small, "f32");
  }

  #float(type: KernelType, again: () => Expr): Expr {
    const choice = this.#below(4);
    if (choice === 0) {
      const op = this.#pick<UnaryOp>(["neg", "abs", "sign", "floor", "ceil", "round", "trunc"]);
      return { kind: "unary", op, a: again(), type };
    }
    if (choice === 1) return this.#bounded(fma(again(), again(), again()), type);
    const op = this.#pick<BinaryOp>(["add", "sub", "mul", "min", "max"]);
    return this.#bounded({ kind: "binary", op, a: again(), b: again(), type }, type);
  }

  /** Back to small multiples of a quarter. */
  #bounded(e: Expr, type: KernelType): Expr {
    const binary = (op: BinaryOp, a: Expr, value: number): Expr => ({
      ...{ kind: "binary", op, a, b: constant(value, type), type },
    });
    const quarters: Expr = { kind: "unary", op: "round", a: binary("mul", e, 4), type };
    return binary("mul", binary("min", binary("max", quarters, -64), 64), 0.25);
  }

  #leaf(type: KernelType, locals: readonly Local[]): Expr {
    const fitting = locals.filter((l) => l.type.scalar === type.scalar && l.type.width === type.width);
    if (fitting.length > 0 && this.#below(3) > 0) {
      const local = this.#pick(fitting);
      return name(local.name, local.type);
    }
    const { scalar, width } = type;
    if (width > 1 && this.#below(3) > 0)
      return { kind: "vector", parts: [this.#leaf(kernelType(scalar), locals)], type };
    if (width === 1 && scalar === "u32" && this.#below(3) === 0)
      return this.#pick([
        builtin("local"),
        builtin("lane"),
        builtin("workgroup_x"),
        builtin("subgroup"),
        { kind: "param", name: "p", type },
        { kind: "param", name: "q", type },
      ] as const);
    if (width === 1 && scalar === "f32" && this.#below(6) === 0) return { kind: "param", name: "r", type };
    if (width === 1 && scalar !== "bool" && scalar !== "f16" && this.#below(2) === 0)
      return load(inputs[scalar], builtin("local"), type);
    return constant(this.#value(scalar), type);
  }

  #value(scalar: Scalar): number | boolean {
    if (scalar === "bool") return this.#below(2) === 0;
    if (scalar === "f32") return (this.#below(65) - 32) / 4;
    const large = [0x7fffffff, 1000003, 65535, 31, 7, 1, 0];
    const value = this.#pick(large);
    return scalar === "i32"
      ? this.#below(2)
        ? value
        : 0 - value
      : this.#below(2)
        ? value
        : 0xffffffff - value;
  }
}

const integerOps: readonly BinaryOp[] = [
  ...(["add", "sub", "mul", "div", "mod", "min", "max", "bit_and", "bit_or", "bit_xor"] as const),
  ...(["shift_left", "shift_right"] as const),
];

const rows = 24;

/** Whether anything in it is unknown while compiling. */
function hasName(e: Expr): boolean {
  return ["name", "param", "builtin", "load"].includes(e.kind) || operands(e).some(hasName);
}

export function randomKernel(seed: number, subgroupSize: number): Kernel {
  return new Generator(randomFrom(seed), subgroupSize).kernel();
}

export function randomInput(seed: number) {
  const random = randomFrom(seed ^ 0x5eed);
  const size = rows * 2 * invocations;
  return {
    workgroups: [2, 1, 1] as const,
    params: { p: 13, q: 5, r: -1.75 },
    buffers: {
      fa: Float32Array.from({ length: invocations }, () => Math.floor(random() * 65 - 32) / 4),
      ia: Int32Array.from({ length: invocations }, () => (random() * 2 ** 32) | 0),
      ua: Uint32Array.from({ length: invocations }, () => random() * 2 ** 32),
      fx: new Float32Array(size),
      ix: new Int32Array(size),
      ux: new Uint32Array(size),
    },
  };
}
