// Types of tensors: element type, shape of symbolic dimensions, axis names, and the physical order of the axes.
// The shape is logical and never changes with layout; `order` says how the axes lie in memory (as in XLA's layouts),
// so a layout pass changes no operation's meaning.

import type { Dim } from "./dim.ts";
import { ceilDiv, dim, mulDim, productDim, sameDim } from "./dim.ts";

/** Element types that models are written with. */
export type ModelType = "f32" | "f16" | "i32" | "u32" | "bool";

/** Integers of several to a word, the first in the lowest bits. Only the prepare program makes them; kernels load them and store none. */
export type PackedType = "i8" | "i4";

export type DType = ModelType | PackedType;

export const modelTypes: readonly ModelType[] = ["f32", "f16", "i32", "u32", "bool"];

export const dtypes: readonly DType[] = [...modelTypes, "i8", "i4"];

export const isPacked = (dtype: DType): dtype is PackedType => dtype === "i8" || dtype === "i4";

/** Bytes of one element in a GPU buffer; bool is stored as u32. */
export const bytesOf: Readonly<Record<DType, number>> = {
  ...{ f32: 4, f16: 2, i32: 4, u32: 4, bool: 4 },
  ...{ i8: 1, i4: 0.5 },
};

/** Well-known axes and the letter that stands for each in shapes and in IR text; any other name is printed whole. */
export const axisLetters: Readonly<Record<string, string>> = {
  B: "batch",
  C: "channels",
  D: "depth",
  H: "height",
  W: "width",
  T: "tokens",
  E: "experts",
};

const letters: ReadonlyMap<string, string> = new Map(
  Object.entries(axisLetters).map(([l, axis]) => [axis, l]),
);

export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  /** Name of each axis, null where it has none. Same length as shape. */
  readonly axes: readonly (string | null)[];
  /** Axes from outermost to innermost in memory; absent means 0, 1, 2, ... (row-major). */
  readonly order?: readonly number[];
}

export function tensorType(
  dtype: DType,
  shape: readonly (Dim | number | string)[],
  axes?: readonly (string | null)[],
): TensorType {
  const dims = shape.map((d) => (typeof d === "object" ? d : dim(d)));
  return { dtype, shape: dims, axes: axes ?? dims.map(() => null) };
}

export function sameShape(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a === b || (a.length === b.length && a.every((d, i) => sameDim(d, b[i]!)));
}

/** Equal dtype, shape and order; axis names are for the reader and for analyses, and do not count. */
export function sameType(a: TensorType, b: TensorType): boolean {
  return (
    a.dtype === b.dtype && sameShape(a.shape, b.shape) && orderOf(a).every((x, i) => x === orderOf(b)[i])
  );
}

export function orderOf(t: TensorType): readonly number[] {
  return t.order ?? t.shape.map((_, i) => i);
}

/** Stride of each logical axis, in elements, given the physical order. */
export function stridesOf(t: TensorType): readonly Dim[] {
  const strides: Dim[] = t.shape.map(() => dim(1));
  let next = dim(1);
  for (const axis of [...orderOf(t)].reverse()) {
    strides[axis] = next;
    next = mulDim(next, t.shape[axis]!);
  }
  return strides;
}

/** What follows from a type alone, found once: a type stands at many values, and every pass and report asks. */
interface Facts {
  readonly elements: Dim;
  readonly bytes: Dim;
}

const facts = new WeakMap<TensorType, Facts>();

function factsOf(t: TensorType): Facts {
  let known = facts.get(t);
  if (!known) {
    const elements = productDim(t.shape);
    const bytes = isPacked(t.dtype)
      ? mulDim(ceilDiv(elements, dim(4 / bytesOf[t.dtype])), dim(4))
      : mulDim(elements, dim(bytesOf[t.dtype]));
    facts.set(t, (known = { elements, bytes }));
  }
  return known;
}

export function elementsOf(t: TensorType): Dim {
  return factsOf(t).elements;
}

/** Bytes in a buffer. */
export function byteSizeOf(t: TensorType): Dim {
  return factsOf(t).bytes;
}

export function withOrder(t: TensorType, order: readonly number[]): TensorType {
  const { order: _, ...rest } = t;
  return sharedType(order.every((x, i) => x === i) ? rest : { ...rest, order });
}

/** Types by their text, which says all of them. */
const shared = new Map<string, TensorType>();
const mostShared = 10_000;

/** The one object that stands for all equal types, so that what was found of one is known of all. */
export function sharedType(t: TensorType): TensorType {
  const text = showType(t);
  const known = shared.get(text);
  if (known) return known;
  if (shared.size >= mostShared) shared.clear();
  shared.set(text, t);
  return t;
}

/** Resolves `-1`, and an axis name or its letter, to an index; undefined where there is no such axis. */
export function axisIndex(t: TensorType, axis: number | string): number | undefined {
  if (typeof axis === "number") {
    const at = axis < 0 ? axis + t.shape.length : axis;
    return at >= 0 && at < t.shape.length ? at : undefined;
  }
  const named = t.axes.indexOf(axisLetters[axis] ?? axis);
  return named >= 0 ? named : undefined;
}

/** `f32[B, C=64, H=56, W=56]{0, 2, 3, 1}`: letter or name of the axis, then its size; the order only where it is not row-major. */
export function showType(t: TensorType): string {
  let text = texts.get(t);
  if (text === undefined) texts.set(t, (text = typeText(t)));
  return text;
}

const texts = new WeakMap<TensorType, string>();

function typeText(t: TensorType): string {
  const order = t.order ? `{${t.order.join(", ")}}` : "";
  return `${t.dtype}[${t.shape.map((d, i) => showAxis(t.axes[i] ?? null, d)).join(", ")}]${order}`;
}

function showAxis(axis: string | null, d: Dim): string {
  if (axis === null) return /^[A-Za-z_]\w*$/.test(d.key) ? `_=${d.key}` : d.key;
  const letter = letters.get(axis) ?? axis;
  return letter === d.key ? letter : `${letter}=${d.key}`;
}
