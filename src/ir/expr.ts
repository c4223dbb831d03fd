// Building kernel expressions: small functions that compute types, fold constants and splat scalars against vectors.
// Knows Kernel IR only.

import { Bug } from "../support/bug.ts";
import type { BinaryOp, Builtin, Expr, KernelType, Scalar, SubgroupOp, UnaryOp, Width } from "./kernel.ts";

export function kernelType(scalar: Scalar, width: Width = 1): KernelType {
  return { scalar, width };
}

export const U32 = kernelType("u32");
export const I32 = kernelType("i32");
export const F32 = kernelType("f32");
export const BOOL = kernelType("bool");

export function constant(value: number | boolean, type: KernelType = F32): Expr {
  return { kind: "const", type, value };
}
export const u32 = (value: number): Expr => constant(value, U32);
export const f32 = (value: number): Expr => constant(value, F32);
export const param = (name: string, type: KernelType = U32): Expr => ({ kind: "param", name, type });
export const builtin = (name: Builtin): Expr => ({ kind: "builtin", name, type: U32 });
export const name = (text: string, type: KernelType): Expr => ({ kind: "name", name: text, type });
export const load = (from: string, index: Expr, type: KernelType): Expr => ({
  kind: "load",
  from,
  index,
  type,
});

export function constantValue(e: Expr): number | boolean | undefined {
  if (e.kind === "const") return e.value;
  if (e.kind === "vector" && e.parts.length === 1) return constantValue(e.parts[0]!);
  return undefined;
}

export function splat(e: Expr, width: Width): Expr {
  if (e.type.width === width) return e;
  if (e.type.width !== 1) throw new Bug(`cannot splat a vec${e.type.width} to width ${width}`);
  return { kind: "vector", parts: [e], type: kernelType(e.type.scalar, width) };
}

export function vector(parts: readonly Expr[]): Expr {
  const first = parts[0];
  if (!first || (parts.length !== 2 && parts.length !== 4))
    throw new Bug(`a vector has 2 or 4 parts, not ${parts.length}`);
  return { kind: "vector", parts, type: kernelType(first.type.scalar, parts.length) };
}

export function component(a: Expr, index: number | Expr): Expr {
  if (a.type.width === 1) return a;
  const at = typeof index === "number" ? u32(index) : index;
  if (a.kind === "vector" && a.parts.length === 1) return a.parts[0]!;
  if (a.kind === "vector" && at.kind === "const") return a.parts[Number(at.value)]!;
  // One of what is chosen, instead of four of which one is used.
  if (a.kind === "select" && at.kind === "const")
    return select(component(a.condition, at), component(a.yes, at), component(a.no, at));
  return { kind: "component", a, index: at, type: kernelType(a.type.scalar) };
}

export function cast(a: Expr, scalar: Scalar): Expr {
  if (a.type.scalar === scalar) return a;
  const type = kernelType(scalar, a.type.width);
  if (a.kind === "const" && scalar !== "bool" && typeof a.value === "number" && scalar !== "f16") {
    const integral = scalar === "u32" || scalar === "i32";
    if (!integral || (Number.isInteger(a.value) && a.value >= 0)) return constant(a.value, type);
  }
  return { kind: "cast", a, bits: false, type };
}

export function bitcast(a: Expr, scalar: Scalar): Expr {
  return a.type.scalar === scalar
    ? a
    : { kind: "cast", a, bits: true, type: kernelType(scalar, a.type.width) };
}

export function unary(op: UnaryOp, a: Expr): Expr {
  return { kind: "unary", op, a, type: a.type };
}

const comparisons: ReadonlySet<BinaryOp> = new Set(["lt", "le", "gt", "ge", "eq", "ne"]);

export function binary(op: BinaryOp, a: Expr, b: Expr): Expr {
  const width = Math.max(a.type.width, b.type.width) as Width;
  if (a.type.scalar !== b.type.scalar)
    throw new Bug(`${op} of ${a.type.scalar} and ${b.type.scalar}: cast one of them first`);
  const folded = fold(op, a, b);
  if (folded) return splat(folded, width);
  const scalar = comparisons.has(op) ? "bool" : a.type.scalar;
  return { kind: "binary", op, a: splat(a, width), b: splat(b, width), type: kernelType(scalar, width) };
}

/** Only what is exact in every arithmetic: integer constants, and neutral elements of integers. Floats are left to the passes. */
function fold(op: BinaryOp, a: Expr, b: Expr): Expr | undefined {
  if (a.type.scalar !== "u32" && a.type.scalar !== "i32") return undefined;
  const x = constantValue(a);
  const y = constantValue(b);
  if (typeof x === "number" && typeof y === "number" && a.type.width === 1 && b.type.width === 1) {
    const value = {
      add: x + y,
      sub: x - y,
      mul: x * y,
      div: y === 0 ? NaN : Math.trunc(x / y),
      mod: y === 0 ? NaN : x % y,
    }[op as "add" | "sub" | "mul" | "div" | "mod"];
    const low = a.type.scalar === "u32" ? 0 : -0x80000000;
    const high = a.type.scalar === "u32" ? 0xffffffff : 0x7fffffff;
    if (value !== undefined && Number.isInteger(value) && value >= low && value <= high)
      return constant(value, a.type);
  }
  if (op === "add" && x === 0) return b;
  if ((op === "add" || op === "sub") && y === 0) return a;
  if (op === "mul" && (x === 0 || y === 0)) return constant(0, kernelType(a.type.scalar));
  if (op === "mul" && x === 1) return b;
  if ((op === "mul" || op === "div") && y === 1) return a;
  if (op === "mod" && y === 1) return constant(0, kernelType(a.type.scalar));
  return undefined;
}

export const add = (a: Expr, b: Expr): Expr => binary("add", a, b);
export const sub = (a: Expr, b: Expr): Expr => binary("sub", a, b);
export const mul = (a: Expr, b: Expr): Expr => binary("mul", a, b);
export const div = (a: Expr, b: Expr): Expr => binary("div", a, b);
export const mod = (a: Expr, b: Expr): Expr => binary("mod", a, b);
export const min = (a: Expr, b: Expr): Expr => binary("min", a, b);
export const max = (a: Expr, b: Expr): Expr => binary("max", a, b);
export const lt = (a: Expr, b: Expr): Expr => binary("lt", a, b);
export const le = (a: Expr, b: Expr): Expr => binary("le", a, b);
export const gt = (a: Expr, b: Expr): Expr => binary("gt", a, b);
export const ge = (a: Expr, b: Expr): Expr => binary("ge", a, b);
export const eq = (a: Expr, b: Expr): Expr => binary("eq", a, b);
export const ne = (a: Expr, b: Expr): Expr => binary("ne", a, b);

export function and(a: Expr, b: Expr): Expr {
  if (constantValue(a) === true) return b;
  if (constantValue(b) === true) return a;
  return binary("and", a, b);
}
export const or = (a: Expr, b: Expr): Expr => binary("or", a, b);
export const not = (a: Expr): Expr => unary("not", a);

export function fma(a: Expr, b: Expr, c: Expr): Expr {
  const width = Math.max(a.type.width, b.type.width, c.type.width) as Width;
  return {
    kind: "fma",
    a: splat(a, width),
    b: splat(b, width),
    c: splat(c, width),
    type: kernelType(c.type.scalar, width),
  };
}

export function select(condition: Expr, yes: Expr, no: Expr): Expr {
  const known = constantValue(condition);
  if (known === true) return yes;
  if (known === false) return no;
  const width = Math.max(yes.type.width, no.type.width, condition.type.width) as Width;
  return {
    kind: "select",
    condition: splat(condition, width),
    yes: splat(yes, width),
    no: splat(no, width),
    type: kernelType(yes.type.scalar, width),
  };
}

export function subgroup(op: SubgroupOp, a: Expr, lane?: Expr): Expr {
  return { kind: "subgroup", op, a, type: a.type, ...(lane && { lane }) };
}

/** The direct operands of an expression, for walks. */
export function operands(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case "const":
    case "param":
    case "builtin":
    case "name":
      return [];
    case "load":
      return [e.index];
    case "unary":
    case "cast":
      return [e.a];
    case "binary":
      return [e.a, e.b];
    case "fma":
      return [e.a, e.b, e.c];
    case "select":
      return [e.condition, e.yes, e.no];
    case "vector":
      return e.parts;
    case "component":
      return [e.a, e.index];
    case "subgroup":
      return e.lane ? [e.a, e.lane] : [e.a];
    default:
      return e satisfies never;
  }
}
