// Runs a lowering on numbers, one element at a time: reads become constants, so no kernel is formed. Arithmetic in f64, or rounded to
// f32 after every operation.

import { binary as binaryExpr, constant, kernelType } from "../../src/ir/expr.ts";
import { constantOf, type Dim } from "../../src/ir/dim.ts";
import type { Expr } from "../../src/ir/kernel.ts";
import type { ElementContext, RowGroups } from "../../src/ir/op.ts";
import { elementCount, newData, stridesOfShape, type Tensor } from "../../src/ir/tensor.ts";
import { isPacked, type DType } from "../../src/ir/types.ts";
import { attrsFor, inferCall, namesFor, typeOf, typesFor, type Call } from "./support.ts";

export type Rounding = (x: number) => number;
export const exact: Rounding = (x) => x;

export function value(e: Expr, round: Rounding): number | boolean {
  const n = (x: Expr): number => Number(value(x, round));
  const store = (x: number): number => {
    if (e.type.scalar === "u32") return x >>> 0;
    if (e.type.scalar === "i32") return x | 0;
    return round(x);
  };
  switch (e.kind) {
    case "const":
      return typeof e.value === "number" ? store(e.value) : e.value;
    case "unary":
      return e.op === "not" ? !value(e.a, round) : store(unaryValue(e.op, n(e.a)));
    case "binary":
      return binaryValue(e.op, value(e.a, round), value(e.b, round), store);
    case "fma":
      return store(n(e.a) * n(e.b) + n(e.c));
    case "select":
      return value(e.condition, round) ? value(e.yes, round) : value(e.no, round);
    case "cast":
      return e.type.scalar === "bool" ? n(e.a) !== 0 : store(castValue(n(e.a), e.a, e));
    default:
      throw new Error(`a lowering made a ${e.kind}`);
  }
}

function castValue(x: number, from: Expr, to: Expr): number {
  if (to.type.scalar === "f32" || from.type.scalar !== "f32") return x;
  const [low, high] = to.type.scalar === "u32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
  return Math.min(high, Math.max(low, Math.trunc(x)));
}

function unaryValue(op: string, x: number): number {
  if (op === "neg") return -x;
  if (op === "rsqrt") return 1 / Math.sqrt(x);
  // Halves go to the even neighbour.
  if (op === "round") return x % 2 === 0.5 || x % 2 === -1.5 ? Math.floor(x) : Math.round(x);
  const f = (Math as unknown as Record<string, ((x: number) => number) | undefined>)[op];
  if (!f) throw new Error(`no unary ${op}`);
  return f(x);
}

function binaryValue(
  op: string,
  a: number | boolean,
  b: number | boolean,
  store: (x: number) => number,
): number | boolean {
  const [x, y] = [Number(a), Number(b)];
  switch (op) {
    case "add":
      return store(x + y);
    case "sub":
      return store(x - y);
    case "mul":
      return store(
        Number.isInteger(x) && Number.isInteger(y) && Math.abs(x * y) > 2 ** 53 ? Math.imul(x, y) : x * y,
      );
    case "div":
      return store(Number.isInteger(store(0.5)) ? Math.trunc(x / y) : x / y);
    case "mod":
      return store(x % y);
    case "min":
      return store(Math.min(x, y));
    case "max":
      return store(Math.max(x, y));
    case "pow":
      return store(x < 0 ? NaN : Math.pow(x, y));
    case "lt":
      return x < y;
    case "le":
      return x <= y;
    case "gt":
      return x > y;
    case "ge":
      return x >= y;
    case "eq":
      return x === y;
    case "ne":
      return x !== y;
    case "and":
      return Boolean(a) && Boolean(b);
    case "or":
      return Boolean(a) || Boolean(b);
    case "bit_and":
      return store(x & y);
    case "bit_xor":
      return store(x ^ y);
    case "shift_right":
      return store(x >>> y);
    default:
      throw new Error(`no binary ${op}`);
  }
}

const scalarOf = (dtype: DType) => kernelType(dtype === "f16" ? "f32" : isPacked(dtype) ? "i32" : dtype);

/** Every read happens while the expression is built; out of bounds is an error unless it is masked. */
function contextFor(call: Call, round: Rounding): ElementContext {
  const tensors = namesFor(call).map((name) => call.inputs[name]);
  const read = (input: number, index: readonly Expr[]): Expr => {
    const t = tensors[input]!;
    const at = index.map((x) => Number(value(x, round)));
    if (at.length !== t.shape.length || at.some((p, i) => p >= t.shape[i]!))
      throw new Error(`${call.op.name} reads [${at.join(", ")}] of [${t.shape.join(", ")}]`);
    const flat = stridesOfShape(t.shape).reduce((sum, s, i) => sum + s * at[i]!, 0);
    const x = t.data[flat]!;
    return constant(t.dtype === "bool" ? x !== 0 : x, scalarOf(t.dtype));
  };
  return {
    attrs: attrsFor(call),
    count: tensors.length,
    type: (input) => typeOf(tensors[input]!),
    has: (input) => tensors[input] !== undefined,
    result: inferCall(call)[0]!,
    size: (d: Dim) => constant(constantOf(d)!, kernelType("u32")),
    read,
    readInside: (input, index, inside, fill) =>
      value(inside, round) ? read(input, index) : constant(fill, scalarOf(tensors[input]!.dtype)),
    readOr: (input, index, inside, otherwise) =>
      value(inside, round) || !otherwise ? read(input, index) : otherwise(),
    bind: (_, e) => constant(value(e, round), e.type),
    sliding: ({ size }, _, tap) => Array.from({ length: size }, (_, t) => tap(t, false)),
  };
}

/** The result of the op by its lowering; undefined where it has none that can be run so. */
export function runLowering(call: Call, round: Rounding = exact): Tensor | undefined {
  const type = inferCall(call)[0]!;
  const shape = type.shape.map((d) => constantOf(d)!);
  const y = { dtype: type.dtype, shape, data: newData(type.dtype, elementCount(shape), "f64") };
  const c = contextFor(call, round);
  for (let i = 0; i < y.data.length; i++) {
    const index = stridesOfShape(shape).map((s, k) =>
      constant(Math.floor(i / s) % shape[k]!, kernelType("u32")),
    );
    const e = elementOf(call, c, index, shape, round);
    if (!e) return undefined;
    y.data[i] = Number(value(e, round));
  }
  return y;
}

const number = (x: number): Expr => constant(x, kernelType("u32"));

function elementOf(
  call: Call,
  c: ElementContext,
  index: readonly Expr[],
  shape: readonly number[],
  round: Rounding,
) {
  const { lowering } = call.op;
  if (lowering.kind === "element") return lowering.element(c, index);
  if (lowering.kind === "reduce") {
    const from = c.type(0).shape.map((d) => constantOf(d)!);
    const axes = lowering.axes(c.type(0), c.attrs);
    const kept = lowering.keepDims(c.attrs) ? index.filter((_, i) => !axes.includes(i)) : index;
    const all = positions(axes.map((a) => from[a]!));
    const op = { sum: "add", max: "max", min: "min" } as const;
    const values = all.map((inner) => {
      const rest = [...kept];
      const x = c.read(
        0,
        from.map((_, i) => (axes.includes(i) ? number(inner[axes.indexOf(i)]!) : rest.shift()!)),
      );
      return lowering.element ? lowering.element(x) : x;
    });
    const total = values.reduce((a, b) => c.bind("total", binaryExpr(op[lowering.reducer], a, b)));
    return lowering.finish ? lowering.finish(total, constant(all.length)) : total;
  }
  if (lowering.kind !== "contraction") return undefined;
  const types = typesFor(call);
  const spec = lowering.describe(types, c.attrs, c.result);
  const group =
    spec.group && Number(value(c.read(spec.group.input, [number(rowTile(spec.group, index))]), round));
  if (spec.group && group! >= constantOf(spec.group.count)!) return constant(0);
  const own = group === undefined ? [] : [number(group)];
  const parts = [...spec.batch, ...spec.left, ...spec.right].sort((a, b) => a - b);
  if (parts.join() !== shape.map((_, i) => i).join())
    throw new Error("axes of the result are not partitioned");
  let sum =
    spec.biasAxis === undefined ? 0 : Number(value(c.read(2, [...own, index[spec.biasAxis]!]), round));
  for (const k of positions(spec.reduce.map((d) => constantOf(d)!))) {
    const at = k.map(number);
    const left = spec.leftIndex(c, index, at);
    if (left.inside && !value(left.inside, round)) continue;
    const x = Number(value(c.read(0, left.index), round));
    sum = round(sum + x * Number(value(c.read(1, spec.rightIndex(c, index, at, own[0]).index), round)));
  }
  return constant(sum);
}

/** The tile of rows that an index of the result is in. */
function rowTile({ axis, tile }: RowGroups, index: readonly Expr[]): number {
  const row = index[axis]!;
  return Math.floor((row.kind === "const" ? Number(row.value) : NaN) / tile);
}

function positions(sizes: readonly number[]): number[][] {
  return sizes.reduce<number[][]>(
    (all, size) => all.flatMap((p) => Array.from({ length: size }, (_, i) => [...p, i])),
    [[]],
  );
}
