// Helpers of the op tests: tensors from nested numbers, running one op or its decomposition, seeded random numbers.

import { evaluate } from "../../src/ir/evaluate.ts";
import { dim } from "../../src/ir/dim.ts";
import {
  GraphBuilder,
  withDefaults,
  type Attrs,
  type Graph,
  type SymbolDecl,
  type ValueId,
} from "../../src/ir/graph.ts";
import { inferTypes, inputName, type NestedNumbers, type OpDefinition } from "../../src/ir/op.ts";
import { elementCount, tensor, type Precision, type Tensor } from "../../src/ir/tensor.ts";
import { tensorType, type DType, type TensorType } from "../../src/ir/types.ts";
import { lookupOp } from "../../src/ops/index.ts";

export type Inputs = Readonly<Record<string, Tensor>>;

export interface Call {
  readonly op: OpDefinition;
  readonly inputs: Inputs;
  readonly attrs: Attrs;
}

export function shapeOf(x: NestedNumbers): number[] {
  if (typeof x === "number") return [];
  return [x.length, ...(x.length > 0 ? shapeOf(x[0]!) : [])];
}

export function flatten(x: NestedNumbers): number[] {
  return typeof x === "number" ? [x] : x.flatMap(flatten);
}

export function toTensor(x: NestedNumbers, dtype: DType = "f32"): Tensor {
  return tensor(dtype, shapeOf(x), flatten(x), "f64");
}

export function typeOf(t: Tensor): TensorType {
  return tensorType(t.dtype, t.shape);
}

/** Names of the op's inputs in order; of a variadic one, of those that are given. */
export function namesFor({ op, inputs }: Call): readonly string[] {
  const count = op.variadic ? Object.keys(inputs).length : op.inputs.length;
  return Array.from({ length: count }, (_, i) => inputName(op, i));
}

/** Types of the op's inputs in order; those that are not given are undefined. */
export function typesFor(call: Call): (TensorType | undefined)[] {
  return namesFor(call).map((name) => call.inputs[name] && typeOf(call.inputs[name]));
}

/** Sizes that the op sets, where the call gives no number for them: symbols called as the attribute. */
export function attrsFor({ op, attrs }: Call): Attrs {
  const set = declaredSizes(op, attrs).map(([name]) => [name, dim(name)] as const);
  return { ...Object.fromEntries(set), ...withDefaults(op, attrs) };
}

const declaredSizes = (op: OpDefinition, attrs: Attrs) =>
  Object.entries(op.attrs).filter(([name, spec]) => spec.declares && attrs[name] === undefined);

export function symbolsFor(call: Call): readonly SymbolDecl[] {
  return declaredSizes(call.op, call.attrs).map(([name, spec]) => ({
    kind: "bounded",
    name,
    bound: spec.declares!(typesFor(call), call.attrs),
  }));
}

/** A graph of one call, with the inputs that are given. */
export function callGraph(
  call: Call,
  build?: (b: GraphBuilder, ids: (ValueId | undefined)[]) => readonly ValueId[],
): Graph {
  const b = new GraphBuilder("test", lookupOp);
  const ids = namesFor(call).map((name) =>
    call.inputs[name] ? b.declare(`%${name}`, typeOf(call.inputs[name])) : undefined,
  );
  const results = build ? build(b, ids) : b.add(call.op, ids, attrsFor(call)).results.map((r) => r.id);
  return {
    name: "test",
    symbols: symbolsFor(call),
    inputs: Object.entries(call.inputs).map(([name, t]) => ({
      id: `%${name}`,
      name,
      type: typeOf(t),
      spans: [],
    })),
    weights: [],
    states: [],
    scopes: [],
    nodes: b.nodes,
    outputs: results.map((value, i) => ({ name: String(i), value, spans: [] })),
    guards: [],
    nextId: b.nextId,
  };
}

export function runCall(call: Call, precision: Precision = "f64"): Tensor[] {
  const { outputs } = evaluate(callGraph(call), new Map(), call.inputs, { precision });
  return Object.values(outputs);
}

/** By the op's definition in other ops; undefined for a call that is lowered as it stands. */
export function runDecomposed(call: Call): Tensor[] | undefined {
  const { lowering } = call.op;
  let expanded = true;
  const graph = callGraph(call, (b, ids) => {
    const attrs = attrsFor(call);
    const results =
      call.op.expand?.(b, ids, attrs) ??
      ("decompose" in lowering ? lowering.decompose?.(b, ids, attrs) : undefined);
    expanded = results !== undefined;
    return results ?? [];
  });
  return expanded ? Object.values(evaluate(graph, new Map(), call.inputs).outputs) : undefined;
}

export function inferCall(call: Call): readonly TensorType[] {
  const inferred = inferTypes(call.op, typesFor(call), attrsFor(call));
  if ("failure" in inferred) throw new Error(`${call.op.name}.${inferred.failure.label}`);
  return inferred.types;
}

/** Numbers in [0, 1), the same ones for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 8) ^ (state >>> 20)) / 2 ** 24;
  };
}

export class Random {
  readonly #next: () => number;
  constructor(seed: number) {
    this.#next = random(seed);
    for (let i = 0; i < 8; i++) this.#next();
  }
  float(low: number, high: number): number {
    return low + (high - low) * this.#next();
  }
  int(low: number, high: number): number {
    return low + Math.floor(this.#next() * (high - low + 1));
  }
  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)]!;
  }
  shape(rank: number, most = 4): number[] {
    return Array.from({ length: rank }, () => this.int(1, most));
  }
  tensor(shape: readonly number[], dtype: DType = "f32", low = -2, high = 2): Tensor {
    const whole = dtype !== "f32" && dtype !== "f16";
    const value = () => {
      if (dtype === "bool") return this.int(0, 1);
      return whole ? this.int(Math.ceil(dtype === "u32" ? 0 : low), Math.floor(high)) : this.float(low, high);
    };
    return tensor(dtype, shape, Array.from({ length: elementCount(shape) }, value), "f64");
  }
}

export function largestDifference(a: Tensor, b: Tensor): number {
  if (a.shape.join() !== b.shape.join()) return Infinity;
  let most = 0;
  for (let i = 0; i < a.data.length; i++) {
    const [x, y] = [a.data[i]!, b.data[i]!];
    if (x === y) continue;
    const d = Math.abs(x - y) / Math.max(1, Math.abs(x));
    if (!(d <= most)) most = Number.isNaN(d) ? Infinity : d;
  }
  return most;
}
