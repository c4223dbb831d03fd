// Builds the node list of an ONNX graph: unique readable names, shared constants, and sizes as data (a dimension that is known only
// when the graph runs is computed from the shapes of the inputs). Knows ONNX's operators by name only; no op of ours.

import { constantOf, dim, substituteDim, type Dim } from "../ir/dim.ts";
import { pairsOfNibbles } from "../ir/encode.ts";
import type { Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { bitsOfNumbers } from "../support/half.ts";
import {
  attributeType,
  elementType,
  type AttributeProto,
  type NodeProto,
  type TensorProto,
} from "./proto.ts";

export type OnnxAttribute =
  | { readonly float: number }
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly string: string }
  | { readonly tensor: TensorProto };
export type OnnxAttributes = Readonly<Record<string, OnnxAttribute>>;

/** Where a symbol can be read: an axis of an input. */
export interface SymbolSource {
  readonly input: string;
  readonly axis: number;
}

/** A size that the graph can neither know nor compute. */
export class UnknownSize extends Error {
  readonly symbol: string;
  constructor(symbol: string) {
    super(symbol);
    this.symbol = symbol;
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class OnnxWriter {
  readonly nodes: Mutable<NodeProto>[] = [];
  readonly initializers: TensorProto[] = [];
  readonly #used = new Set<string>();
  readonly #shared = new Map<string, string>();
  readonly #sizes = new Map<string, string>();
  readonly #fixed: Readonly<Record<string, Dim>>;
  readonly #sources: ReadonlyMap<string, SymbolSource>;
  /** Prefix of names, and the line of the model, of the nodes to come. */
  #scope = "";
  #line = "";

  constructor(fixed: Readonly<Record<string, number>>, sources: ReadonlyMap<string, SymbolSource>) {
    this.#fixed = Object.fromEntries(Object.entries(fixed).map(([name, n]) => [name, dim(n)]));
    this.#sources = sources;
  }

  at(scope: string, line: string): void {
    this.#scope = scope;
    this.#line = line;
  }

  /** Takes a name; a second one of the same text gets a number. */
  unique(name: string): string {
    let candidate = name;
    for (let i = 1; this.#used.has(candidate); i++) candidate = `${name}_${i}`;
    this.#used.add(candidate);
    return candidate;
  }

  /** Adds a node; its result has the node's name. */
  node(opType: string, inputs: readonly string[], attributes: OnnxAttributes = {}): string {
    return this.outputs(opType, inputs, 1, attributes)[0]!;
  }

  /** A node with several results, of which the first has its name. */
  outputs(
    opType: string,
    inputs: readonly string[],
    count: number,
    attributes: OnnxAttributes = {},
  ): readonly string[] {
    const name = this.unique(`${this.#scope}/${opType}`);
    const output = Array.from({ length: count }, (_, i) => (i === 0 ? name : this.unique(`${name}.${i}`)));
    this.nodes.push({
      name,
      opType,
      input: [...inputs],
      output,
      attribute: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
      ...(this.#line !== "" && { docString: this.#line }),
    });
    return output;
  }

  /** The same value under another name. */
  alias(from: string, to: string): void {
    this.nodes.push({
      name: this.unique(`${to}/Identity`),
      opType: "Identity",
      input: [from],
      output: [to],
      attribute: [],
    });
  }

  initializer(name: string, value: TensorProto): string {
    this.initializers.push({ ...value, name });
    return name;
  }

  /** A scalar, once for each value. */
  scalar(value: number, dtype: DType): string {
    return this.#constant(`${Object.is(value, -0) ? "-0" : value}:${dtype}`, {
      dims: [],
      dataType: elementType[dtype],
      rawData: rawData(dtype, [value]),
    });
  }

  /** The same number `count` times. */
  filled(value: number, count: number, dtype: DType): string {
    return this.#constant(`${value}x${count}:${dtype}`, {
      dims: [count],
      dataType: elementType[dtype],
      rawData: rawData(dtype, new Array<number>(count).fill(value)),
    });
  }

  /** A list of 64-bit integers: axes, sizes, pads. */
  integers(values: readonly number[]): string {
    return this.#constant(`[${values.join(",")}]`, int64Tensor(values));
  }

  /** One 64-bit integer without axes. */
  integer(value: number): string {
    return this.#constant(`${value}:i64`, { ...int64Tensor([value]), dims: [] });
  }

  #constant(text: string, value: TensorProto): string {
    const known = this.#shared.get(text);
    if (known !== undefined) return known;
    const name = this.unique(`constant/${text}`);
    this.#shared.set(text, name);
    return this.initializer(name, value);
  }

  /** With the sizes that the caller fixed in place of their symbols. */
  fix(d: Dim): Dim {
    return substituteDim(d, this.#fixed);
  }

  /** A shape as a list of 64-bit integers; one size may be left for ONNX to infer. */
  shape(dims: readonly Dim[], infer: "infer one" | "all" = "all"): string {
    const sizes = dims.map((d) => this.fix(d));
    const open = sizes.filter((d) => constantOf(d) === undefined);
    if (open.length === 0 || (open.length === 1 && infer === "infer one"))
      return this.integers(sizes.map((d) => constantOf(d) ?? -1));
    const parts = sizes.map((d) => this.size(d));
    return this.node("Concat", parts, { axis: { int: 0 } });
  }

  /** One size as a list of one 64-bit integer. */
  size(d: Dim): string {
    const fixed = this.fix(d);
    const constant = constantOf(fixed);
    if (constant !== undefined) return this.integers([constant]);
    const known = this.#sizes.get(fixed.key);
    if (known !== undefined) return known;
    const computed = fixed.terms
      .map((t) => {
        const factors = t.atoms.map((a) => this.#atom(a));
        const all =
          t.coefficient === 1 && factors.length > 0 ? factors : [...factors, this.integers([t.coefficient])];
        return all.reduce((p, q) => this.node("Mul", [p, q]));
      })
      .reduce((p, q) => this.node("Add", [p, q]));
    this.#sizes.set(fixed.key, computed);
    return computed;
  }

  #atom(a: Dim["terms"][number]["atoms"][number]): string {
    switch (a.kind) {
      case "symbol": {
        const known = this.#sizes.get(a.name);
        if (known !== undefined) return known;
        const source = this.#sources.get(a.name);
        if (!source) throw new UnknownSize(a.name);
        const read = this.node("Shape", [source.input], {
          start: { int: source.axis },
          end: { int: source.axis + 1 },
        });
        this.#sizes.set(a.name, read);
        return read;
      }
      case "floor": {
        // Div of integers rounds towards zero; what Mod leaves is never negative.
        const [num, den] = [this.size(a.num), this.size(a.den)];
        return this.node("Div", [this.node("Sub", [num, this.node("Mod", [num, den])]), den]);
      }
      case "min":
        return this.node("Min", [this.size(a.a), this.size(a.b)]);
      case "max":
        return this.node("Max", [this.size(a.a), this.size(a.b)]);
      default:
        return a satisfies never;
    }
  }

  /** From opset 18 on all reductions have their axes as ReduceSum does. */
  axesAsInputs(): void {
    for (const n of this.nodes) {
      const axes = n.attribute.find((a) => a.name === "axes");
      if (!n.opType.startsWith("Reduce") || !axes) continue;
      n.attribute = n.attribute.filter((a) => a !== axes);
      n.input = [...n.input, this.integers(axes.ints!.map(Number))];
    }
  }

  /** Gives a value that a node from `first` on makes another name. */
  rename(first: number, from: string, to: string): boolean {
    const nodes = this.nodes.slice(first);
    if (!nodes.some((n) => n.output.includes(from))) return false;
    for (const n of nodes) {
      n.input = n.input.map((x) => (x === from ? to : x));
      n.output = n.output.map((x) => (x === from ? to : x));
    }
    for (const [key, name] of this.#sizes) if (name === from) this.#sizes.set(key, to);
    return true;
  }
}

function attribute(name: string, value: OnnxAttribute): AttributeProto {
  if ("float" in value) return { name, type: attributeType.float, f: value.float };
  if ("int" in value) return { name, type: attributeType.int, i: value.int };
  if ("string" in value)
    return { name, type: attributeType.string, s: new TextEncoder().encode(value.string) };
  if ("ints" in value) return { name, type: attributeType.ints, ints: value.ints };
  return { name, type: attributeType.tensor, t: value.tensor };
}

function int64Tensor(values: readonly number[]): TensorProto {
  const data = new BigInt64Array(values.map((n) => BigInt(n)));
  return { dims: [values.length], dataType: elementType.i64, rawData: new Uint8Array(data.buffer) };
}

export function tensorProto(t: Tensor): TensorProto {
  return { dims: t.shape, dataType: elementType[t.dtype], rawData: rawData(t.dtype, t.data) };
}

/** Elements as ONNX stores them: little-endian, f16 as bits, bool as bytes. */
function rawData(dtype: DType, values: ArrayLike<number>): Uint8Array {
  const typed = (() => {
    switch (dtype) {
      case "f32":
        return new Float32Array(values);
      case "f16":
        return bitsOfNumbers(values);
      case "i32":
        return new Int32Array(values);
      case "u32":
        return new Uint32Array(values);
      case "bool":
        return Uint8Array.from(values, (x) => (x === 0 ? 0 : 1));
      case "i8":
        return new Int8Array(values);
      case "i4":
        return pairsOfNibbles(values, Math.ceil(values.length / 2));
      default:
        return dtype satisfies never;
    }
  })();
  return new Uint8Array(typed.buffer);
}
