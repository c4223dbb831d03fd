// The typing rules of Kernel IR, one expression node at a time: shared by the verifier (which has no text) and by the parser
// (which has spans). Knows nothing of scopes; names, buffers and control flow are the verifier's.

import type { BinaryOp, Expr, KernelType, Scalar, SubgroupOp, UnaryOp } from "./kernel.ts";

/** Deeper expressions are refused by parser and verifier, so that everything after them may recurse. */
export const maxExpressionDepth = 400;
/** Nested loops, conditions and brackets. */
export const maxNesting = 200;

export const components = ["x", "y", "z", "w"] as const;

export function typeText(type: KernelType): string {
  return type.width === 1 ? type.scalar : `vec${type.width}<${type.scalar}>`;
}

export function sameType(a: KernelType, b: KernelType): boolean {
  return a.scalar === b.scalar && a.width === b.width;
}

export const isFloat = (scalar: Scalar): boolean => scalar === "f32" || scalar === "f16";
export const isInteger = (scalar: Scalar): boolean => scalar === "u32" || scalar === "i32";

type ScalarClass = "any" | "number" | "float" | "signed" | "integer" | "bool";

const unaryClass: Readonly<Record<UnaryOp, ScalarClass>> = {
  neg: "signed",
  not: "bool",
  abs: "number",
  sign: "signed",
  floor: "float",
  ceil: "float",
  round: "float",
  trunc: "float",
  exp: "float",
  exp2: "float",
  log: "float",
  log2: "float",
  sqrt: "float",
  rsqrt: "float",
  sin: "float",
  cos: "float",
  tanh: "float",
};

const binaryClass: Readonly<Record<BinaryOp, ScalarClass>> = {
  add: "number",
  sub: "number",
  mul: "number",
  div: "number",
  mod: "number",
  min: "number",
  max: "number",
  pow: "float",
  lt: "number",
  le: "number",
  gt: "number",
  ge: "number",
  eq: "any",
  ne: "any",
  and: "bool",
  or: "bool",
  bit_and: "integer",
  bit_or: "integer",
  bit_xor: "integer",
  shift_left: "integer",
  shift_right: "integer",
};

const comparisons: ReadonlySet<BinaryOp> = new Set(["lt", "le", "gt", "ge", "eq", "ne"]);
const needsLane: ReadonlySet<SubgroupOp> = new Set(["broadcast", "shuffle", "shuffle_xor"]);

export const isComparison = (op: BinaryOp): boolean => comparisons.has(op);
export const takesLane = (op: SubgroupOp): boolean => needsLane.has(op);

function inClass(scalar: Scalar, wanted: ScalarClass): boolean {
  switch (wanted) {
    case "any":
      return true;
    case "number":
      return scalar !== "bool";
    case "float":
      return isFloat(scalar);
    case "signed":
      return isFloat(scalar) || scalar === "i32";
    case "integer":
      return isInteger(scalar);
    case "bool":
      return scalar === "bool";
    default:
      return wanted satisfies never;
  }
}

/** What is wrong with the types of this node, its operands being right; undefined when nothing is. */
export function typeError(e: Expr): string | undefined {
  const got = typeText(e.type);
  switch (e.kind) {
    case "const":
      return constantError(e.value, e.type);
    case "param":
    case "name":
      return undefined;
    case "builtin":
      return got === "u32" ? undefined : `builtin ${e.name} is u32, not ${got}`;
    case "load":
      return indexError(`index of ${e.from}`, e.index);
    case "unary":
      if (!inClass(e.a.type.scalar, unaryClass[e.op])) return `${e.op} of ${typeText(e.a.type)}`;
      return wanted(e.op, e.type, e.a.type);
    case "binary":
      return binaryError(e);
    case "fma":
      if (!isFloat(e.a.type.scalar)) return `fma of ${typeText(e.a.type)}`;
      if (!sameType(e.a.type, e.b.type) || !sameType(e.a.type, e.c.type))
        return `fma of ${[e.a, e.b, e.c].map((x) => typeText(x.type)).join(", ")}`;
      return wanted("fma", e.type, e.a.type);
    case "select":
      if (e.condition.type.scalar !== "bool") return `condition of select is ${typeText(e.condition.type)}`;
      if (e.condition.type.width !== 1 && e.condition.type.width !== e.yes.type.width)
        return `select of ${typeText(e.yes.type)} by ${typeText(e.condition.type)}`;
      if (!sameType(e.yes.type, e.no.type))
        return `select between ${typeText(e.yes.type)} and ${typeText(e.no.type)}`;
      return wanted("select", e.type, e.yes.type);
    case "cast":
      return castError(e.a.type, e.type, e.bits);
    case "vector":
      return vectorError(e.parts, e.type);
    case "component":
      return componentError(e.a.type, e.index, e.type);
    case "subgroup":
      return subgroupError(e);
    default:
      return e satisfies never;
  }
}

function wanted(what: string, type: KernelType, right: KernelType): string | undefined {
  return sameType(type, right) ? undefined : `${what} gives ${typeText(right)}, not ${typeText(type)}`;
}

function constantError(value: number | boolean, type: KernelType): string | undefined {
  if (typeof value === "boolean")
    return type.scalar === "bool" ? undefined : `${value} is not a ${typeText(type)}`;
  if (type.scalar === "bool") return `${value} is not a ${typeText(type)}`;
  const low = type.scalar === "u32" ? 0 : -0x80000000;
  const high = type.scalar === "u32" ? 0xffffffff : 0x7fffffff;
  if (isInteger(type.scalar) && !(Number.isInteger(value) && value >= low && value <= high))
    return `${value} is not a ${typeText(type)}`;
  const largest = type.scalar === "f16" ? 65504 : 3.4028234663852886e38;
  if (isFloat(type.scalar) && Number.isFinite(value) && Math.abs(value) > largest)
    return `${value} is beyond ${type.scalar}`;
  return undefined;
}

function indexError(what: string, index: Expr): string | undefined {
  const type = index.type;
  return type.width === 1 && isInteger(type.scalar) ? undefined : `${what} is ${typeText(type)}`;
}

function binaryError(e: Extract<Expr, { kind: "binary" }>): string | undefined {
  const { a, b, op } = e;
  if (!sameType(a.type, b.type)) return `${op} of ${typeText(a.type)} and ${typeText(b.type)}`;
  if (!inClass(a.type.scalar, binaryClass[op])) return `${op} of ${typeText(a.type)}`;
  const y = b.kind === "vector" && b.parts.length === 1 ? b.parts[0]! : b;
  if (y.kind === "const" && isInteger(a.type.scalar)) {
    if ((op === "div" || op === "mod") && y.value === 0) return `${op} by zero`;
    if ((op === "shift_left" || op === "shift_right") && !(Number(y.value) >= 0 && Number(y.value) < 32))
      return `shift by ${y.value}`;
  }
  return wanted(op, e.type, isComparison(op) ? { scalar: "bool", width: a.type.width } : a.type);
}

function castError(from: KernelType, to: KernelType, bits: boolean): string | undefined {
  if (from.width !== to.width) return `cast of ${typeText(from)} to ${typeText(to)}`;
  const is32 = (s: Scalar): boolean => s === "f32" || isInteger(s);
  if (bits && !(is32(from.scalar) && is32(to.scalar)))
    return `bits of ${typeText(from)} read as ${typeText(to)}`;
  return undefined;
}

function vectorError(parts: readonly Expr[], type: KernelType): string | undefined {
  if (type.width === 1) return "a vector of width 1";
  if (parts.length !== 1 && parts.length !== type.width)
    return `${parts.length} parts for a ${typeText(type)}`;
  const wrong = parts.find((p) => p.type.width !== 1 || p.type.scalar !== type.scalar);
  return wrong && `part of type ${typeText(wrong.type)} in a ${typeText(type)}`;
}

function componentError(from: KernelType, index: Expr, type: KernelType): string | undefined {
  if (from.width === 1) return `component of ${typeText(from)}`;
  const wrong = indexError("component index", index);
  if (wrong) return wrong;
  if (index.kind === "const" && !(Number(index.value) >= 0 && Number(index.value) < from.width))
    return `component ${index.value} of ${typeText(from)}`;
  return wanted("component", type, { scalar: from.scalar, width: 1 });
}

function subgroupError(e: Extract<Expr, { kind: "subgroup" }>): string | undefined {
  if (e.a.type.scalar === "bool") return `subgroup ${e.op} of ${typeText(e.a.type)}`;
  if (takesLane(e.op)) {
    if (!e.lane) return `subgroup ${e.op} without a lane`;
    if (!sameType(e.lane.type, { scalar: "u32", width: 1 }))
      return `lane of ${e.op} is ${typeText(e.lane.type)}`;
    if (e.op === "broadcast" && e.lane.kind !== "const") return "lane of broadcast is not a constant";
  } else if (e.lane) return `subgroup ${e.op} takes no lane`;
  return wanted(`subgroup ${e.op}`, e.type, e.a.type);
}
