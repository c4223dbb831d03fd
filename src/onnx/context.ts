// What the translation of one op is given: its inputs and types under their ONNX names, and its attributes read back as numbers.

import { Bug } from "../support/bug.ts";
import { constantOf, dim, type Dim } from "../ir/dim.ts";
import type { Attrs, AttrValue, Node } from "../ir/graph.ts";
import { axisIndex, type DType, type TensorType } from "../ir/types.ts";
import { elementType } from "./proto.ts";
import type { OnnxWriter } from "./writer.ts";

/** ONNX has no operator for the op with these attributes; the text ends the sentence "`op` cannot be exported: ...". */
export class NoOperator extends Error {
  /** The size that would have to be a number. */
  readonly open: Dim | undefined;
  constructor(reason: string, open?: Dim) {
    super(reason);
    this.open = open;
  }
}

export interface OpContext {
  readonly writer: OnnxWriter;
  readonly attrs: Attrs;
  readonly count: number;
  /** ONNX name of input `i`, which must be there. */
  input(i: number): string;
  has(i: number): boolean;
  type(i: number): TensorType;
  readonly result: TensorType;
  /** Could an element of input `i` be infinite? Yes where nothing says no. */
  mayBeInfinite(i: number): boolean;
}

/** Adds the nodes of one op and gives the name of its result, or of each where there are several. */
export type Translate = (c: OpContext) => string | readonly string[];

export function contextOf(
  writer: OnnxWriter,
  node: Node,
  names: ReadonlyMap<string, string>,
  types: ReadonlyMap<string, TensorType>,
  infinite: (id: string) => boolean,
): OpContext {
  const at = <T>(map: ReadonlyMap<string, T>, i: number): T => {
    const id = node.inputs[i];
    const found = id ? map.get(id) : undefined;
    if (found === undefined) throw new Bug(`input ${i} of ${node.op.name} is missing`);
    return found;
  };
  return {
    writer,
    attrs: node.attrs,
    count: node.inputs.length,
    input: (i) => at(names, i),
    has: (i) => Boolean(node.inputs[i]),
    type: (i) => at(types, i),
    result: node.results[0]!.type,
    mayBeInfinite: (i) => infinite(node.inputs[i]!),
  };
}

export function number(c: OpContext, name: string): number {
  return asNumber(c.attrs[name], name);
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

export function numbers(c: OpContext, name: string): number[] {
  return list(c, name).map((x) => asNumber(x, name));
}

function list(c: OpContext, name: string): readonly AttrValue[] {
  const value = c.attrs[name];
  return Array.isArray(value) ? value : [value as AttrValue];
}

export function pair(c: OpContext, name: string): [number, number] {
  const [a, b] = numbers(c, name);
  return [a!, b ?? a!];
}

export function flag(c: OpContext, name: string): boolean {
  return c.attrs[name] === true;
}

export function size(c: OpContext, name: string): Dim {
  const value = c.attrs[name];
  return isDim(value) ? value : dim(asNumber(value, name));
}

export function axis(c: OpContext, name = "axis", value: AttrValue | undefined = c.attrs[name]): number {
  const index = axisIndex(c.type(0), typeof value === "string" ? value : asNumber(value, name));
  if (index === undefined) throw new Bug(`attribute ${name} names no axis`);
  return index;
}

export function axes(c: OpContext, name = "axes"): number[] {
  return list(c, name).map((x) => axis(c, name, x));
}

export const rank = (c: OpContext): number => c.type(0).shape.length;

/** A size that must be a number where the file is written. */
export function fixedSize(c: OpContext, d: Dim): number {
  const fixed = c.writer.fix(d);
  const value = constantOf(fixed);
  if (value === undefined)
    throw new NoOperator(`it needs to know ${fixed.key} when the file is written`, fixed);
  return value;
}

export function castTo(c: OpContext, x: string, dtype: DType | "i64"): string {
  return c.writer.node("Cast", [x], { to: { int: elementType[dtype] } });
}

/** An input in f32 where it is f16: sums are never held in f16. */
export function wide(c: OpContext, i: number): string {
  return c.type(i).dtype === "f16" ? castTo(c, c.input(i), "f32") : c.input(i);
}

/** The other way, for the result. */
export function narrow(c: OpContext, y: string): string {
  return c.result.dtype === "f16" ? castTo(c, y, "f16") : y;
}

/** A vector shaped so that it broadcasts along `at` of a tensor of `of` axes. */
export function alongAxis(c: OpContext, vector: string, at: number, of: number): string {
  const behind = of - 1 - at;
  if (behind === 0) return vector;
  const axes = Array.from({ length: behind }, (_, i) => i + 1);
  return c.writer.node("Unsqueeze", [vector, c.writer.integers(axes)]);
}
