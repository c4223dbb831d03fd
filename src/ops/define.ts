// What the families of ops share: making a record, reading attributes, broadcasting, relations of axes, and the index arithmetic of
// lowerings. Knows no particular op. What references share is in loops.ts, so that the two sides have no code in common.
//
// Values in lowerings: f32 and f16 elements are read as f32 expressions (the code generator casts at loads and stores), i32 and u32
// as themselves, bool as bool. Expressions may be any width; the functions of ir/expr.ts splat.

import type { Attrs, AttrValue } from "../ir/graph.ts";
import { constantOf, dim, sameDim, type Dim } from "../ir/dim.ts";
import { u32 } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AxisRelation, ElementContext, InferContext, OpDefinition } from "../ir/op.ts";
import { showType, type DType, type ModelType, type TensorType } from "../ir/types.ts";
import { Bug } from "../support/bug.ts";

type Defaulted = "traits" | "attrs" | "constraints" | "results";
export type OpInit = Omit<OpDefinition, Defaulted> & Partial<Pick<OpDefinition, Defaulted>>;

/** One op: what is left out is empty, and the single result is called `y`. */
export function defineOp(init: OpInit): OpDefinition {
  return Object.freeze({ traits: [], attrs: {}, constraints: {}, results: ["y"], ...init });
}

// Attributes. The elaborator has checked kinds; a wrong one here is our mistake.

export function numberOf(attrs: Attrs, name: string): number {
  return asNumber(attrs[name], name);
}

function asNumber(value: AttrValue | undefined, name: string): number {
  if (typeof value === "number") return value;
  const constant = isDim(value) ? constantOf(value) : undefined;
  if (constant === undefined) throw new Bug(`attribute ${name} is not a number`);
  return constant;
}

function isDim(value: AttrValue | undefined): value is Dim {
  return typeof value === "object" && !Array.isArray(value);
}

export function flagOf(attrs: Attrs, name: string): boolean {
  const value = attrs[name];
  if (typeof value !== "boolean") throw new Bug(`attribute ${name} is not a bool`);
  return value;
}

export function textOf(attrs: Attrs, name: string): string {
  const value = attrs[name];
  if (typeof value !== "string") throw new Bug(`attribute ${name} is not a string`);
  return value;
}

export function dtypeOf(attrs: Attrs, name: string): ModelType {
  return textOf(attrs, name) as ModelType;
}

function listOf(attrs: Attrs, name: string): readonly AttrValue[] {
  const value = attrs[name];
  if (!Array.isArray(value)) throw new Bug(`attribute ${name} is not a list`);
  return value;
}

export function numbersOf(attrs: Attrs, name: string): readonly number[] {
  return listOf(attrs, name).map((x) => asNumber(x, name));
}

/** `[vertical, horizontal]`; one number stands for both. */
export function pairOf(attrs: Attrs, name: string): readonly [number, number] {
  const value = attrs[name];
  if (!Array.isArray(value)) return [numberOf(attrs, name), numberOf(attrs, name)];
  const [a, b] = numbersOf(attrs, name);
  if (a === undefined || b === undefined) throw new Bug(`attribute ${name} is not a pair`);
  return [a, b];
}

export function dimOf(attrs: Attrs, name: string): Dim {
  return asDim(attrs[name], name);
}

function asDim(value: AttrValue | undefined, name: string): Dim {
  if (isDim(value)) return value;
  if (typeof value === "number") return dim(value);
  throw new Bug(`attribute ${name} is not a size`);
}

export function dimsOf(attrs: Attrs, name: string): readonly Dim[] {
  return listOf(attrs, name).map((x) => asDim(x, name));
}

/** A negative axis counts from the end; the result may be out of range, which inference checks. */
export function axisOf(attrs: Attrs, name: string, rank: number): number {
  const axis = numberOf(attrs, name);
  return axis < 0 ? axis + rank : axis;
}

export function axesOf(attrs: Attrs, name: string, rank: number): readonly number[] {
  return numbersOf(attrs, name).map((a) => (a < 0 ? a + rank : a));
}

// Checks that many ops make.

export const floats: readonly DType[] = ["f32", "f16"];
export const integers: readonly DType[] = ["i32", "u32"];
export const numeric: readonly DType[] = ["f32", "f16", "i32", "u32"];

/** Sentences for constraints that many ops state; each op lists those it checks. */
export const sentences = {
  float: "x is f32 or f16",
  integer: "x is i32 or u32",
  numeric: "x is a number type, not bool",
  dtype: "all inputs have the same element type",
  shapes: "sizes are equal, or one of them is 1",
  axis: "the axis is one of x",
  axes: "the axes are axes of x, each named once",
} as const;

export function checkFloat(c: InferContext, name = "x"): TensorType {
  const type = c.type(name);
  c.check("float", floats.includes(type.dtype), { input: name, got: type.dtype, expected: "f32 or f16" });
  return type;
}

export function checkInteger(c: InferContext, name = "x"): TensorType {
  const type = c.type(name);
  c.check("integer", integers.includes(type.dtype), { input: name, got: type.dtype, expected: "i32 or u32" });
  return type;
}

export function checkNumeric(c: InferContext, name = "x"): TensorType {
  const type = c.type(name);
  c.check("numeric", numeric.includes(type.dtype), {
    input: name,
    got: type.dtype,
    expected: "f32, f16, i32 or u32",
  });
  return type;
}

/** Inputs that are there have the element type of the first one. */
export function checkSameDType(c: InferContext, names: readonly string[]): void {
  const [first, ...rest] = names.filter((n) => c.has(n));
  if (first === undefined) return;
  const expected = c.type(first).dtype;
  for (const name of rest) {
    const got = c.type(name).dtype;
    c.check("dtype", got === expected, { input: name, got, expected, from: first });
  }
}

export function checkRank(c: InferContext, name: string, rank: number, label = "rank"): TensorType {
  const type = c.type(name);
  c.check(label, type.shape.length === rank, {
    input: name,
    got: showType(type),
    expected: `${rank} axes`,
  });
  return type;
}

export function checkAxis(c: InferContext, attr = "axis", input = "x"): number {
  const type = c.type(input);
  const axis = axisOf(c.attrs, attr, type.shape.length);
  c.check("axis", axis >= 0 && axis < type.shape.length, {
    input,
    got: `axis ${numberOf(c.attrs, attr)} of ${showType(type)}`,
    expected: `an axis below ${type.shape.length}`,
  });
  return axis;
}

export function checkAxes(c: InferContext, attr = "axes", input = "x"): readonly number[] {
  const type = c.type(input);
  const axes = axesOf(c.attrs, attr, type.shape.length);
  const inRange = axes.every((a) => Number.isInteger(a) && a >= 0 && a < type.shape.length);
  c.check("axes", inRange && new Set(axes).size === axes.length, {
    input,
    got: `axes [${numbersOf(c.attrs, attr).join(", ")}] of ${showType(type)}`,
    expected: `different axes below ${type.shape.length}`,
  });
  return axes;
}

/** A parameter vector (scale, bias) has one element per position of `axis` of x. */
export function checkVector(c: InferContext, name: string, size: Dim, label = "channels"): void {
  if (!c.has(name)) return;
  const { shape } = c.type(name);
  c.check(label, shape.length === 1 && sameDim(shape[0]!, size), {
    input: name,
    axis: 0,
    got: `[${shape.map((d) => d.key).join(", ")}]`,
    expected: `[${size.key}]`,
    from: "x",
  });
}

// Broadcasting: shapes are aligned at the last axis; a size of one, or a missing leading axis, is repeated.

export function isOne(d: Dim): boolean {
  return constantOf(d) === 1;
}

export interface BroadcastFailure {
  /** Which shape, and which of its axes. */
  readonly at: number;
  readonly axis: number;
  readonly expected: Dim;
  /** The shape that the expectation comes from. */
  readonly from: number;
}

export function broadcastShapes(
  shapes: readonly (readonly Dim[])[],
): { readonly shape: readonly Dim[] } | BroadcastFailure {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const shape: Dim[] = Array.from({ length: rank }, () => dim(1));
  const from = shape.map(() => 0);
  for (const [at, s] of shapes.entries())
    for (const [axis, d] of s.entries()) {
      const i = axis + rank - s.length;
      if (isOne(d)) continue;
      if (isOne(shape[i]!)) {
        shape[i] = d;
        from[i] = at;
      } else if (!sameDim(shape[i]!, d)) return { at, axis, expected: shape[i]!, from: from[i]! };
    }
  return { shape };
}

/** The name of each axis of the broadcast shape: that of the first input that has one there, wide axes before repeated ones. */
function broadcastAxes(types: readonly TensorType[], rank: number): (string | null)[] {
  const names: (string | null)[] = Array.from({ length: rank }, () => null);
  for (const wide of [true, false])
    for (const t of types)
      for (const [axis, name] of t.axes.entries()) {
        const i = axis + rank - t.shape.length;
        if (isOne(t.shape[axis]!) !== wide) names[i] ??= name;
      }
  return names;
}

/** Checks `shapes`, and gives the shape and axis names that the inputs named broadcast to. */
export function broadcastInputs(
  c: InferContext,
  inputs: readonly string[],
): { readonly shape: readonly Dim[]; readonly axes: readonly (string | null)[] } {
  const types = inputs.map((n) => c.type(n));
  const result = broadcastShapes(types.map((t) => t.shape));
  if ("shape" in result) return { shape: result.shape, axes: broadcastAxes(types, result.shape.length) };
  c.check("shapes", false, {
    input: inputs[result.at]!,
    axis: result.axis,
    got: types[result.at]!.shape[result.axis]!.key,
    expected: `${result.expected.key}, or 1`,
    from: inputs[result.from]!,
  });
  throw new Bug("a failed check ends inference");
}

// Relations of axes.

export const same = (axis: number): AxisRelation => ({ kind: "same", axis });
export const reduced: AxisRelation = { kind: "reduced" };
export const other: AxisRelation = { kind: "other" };
export const tail = (axis: number): AxisRelation => ({ kind: "tail", axis });
export const whole = (axis: number): AxisRelation => ({ kind: "whole", axis });

/** Relations of inputs that broadcast together. */
export function broadcastRelations(types: readonly (TensorType | undefined)[]): readonly AxisRelation[][] {
  const result = broadcastShapes(types.map((t) => t?.shape ?? []));
  if (!("shape" in result)) throw new Bug("shapes that do not broadcast");
  return types.map((t) => alignedRelations(t?.shape ?? [], result.shape));
}

/** Relations of an input that is repeated to `result`. */
export function alignedRelations(shape: readonly Dim[], result: readonly Dim[]): AxisRelation[] {
  return shape.map((d, i): AxisRelation => {
    const axis = i + result.length - shape.length;
    return isOne(d) && !isOne(result[axis]!) ? { kind: "broadcast", axis } : same(axis);
  });
}

// Index arithmetic of lowerings.

/** Where an input that broadcasts is read for a result index. */
export function broadcastIndex(type: TensorType, index: readonly Expr[]): readonly Expr[] {
  const skip = index.length - type.shape.length;
  return type.shape.map((d, i) => (isOne(d) ? u32(0) : index[i + skip]!));
}

export function readBroadcast(c: ElementContext, input: number, index: readonly Expr[]): Expr {
  return c.read(input, broadcastIndex(c.type(input), index));
}
