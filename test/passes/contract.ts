// Evaluates a graph before and after a pass on seeded numbers, and holds the difference against the pass's numerics contract.

import { evaluate } from "../../src/ir/evaluate.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { evaluateDim } from "../../src/ir/dim.ts";
import { tensor, type Tensor } from "../../src/ir/tensor.ts";
import type { TensorType } from "../../src/ir/types.ts";
import type { Numerics } from "../../src/passes/pass.ts";

/** Small, and all different, so that axes cannot be mixed up unseen. */
const sizes: Readonly<Record<string, number>> = { B: 2, T: 5, H: 6, W: 7, N: 3 };

/** Numbers in (-1, 1) from a text and a position: the same in every run. */
function seeded(name: string, count: number): Float64Array {
  let state = 2166136261;
  for (const ch of name) state = Math.imul(state ^ ch.charCodeAt(0), 16777619) >>> 0;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function filled(name: string, type: TensorType, dims: Readonly<Record<string, number>>): Tensor {
  const shape = type.shape.map((d) => evaluateDim(d, dims));
  const values = seeded(
    name,
    shape.reduce((a, b) => a * b, 1),
  );
  return tensor(type.dtype, shape, meant(name, values), "f64");
}

/** A variance is positive, a mask 0 or 1, and a weight called zero is what a guard asks for. */
function meant(name: string, values: Float64Array): Float64Array {
  if (name === "mask") return values.map((x) => Number(x > -0.5));
  return name.endsWith("var") ? values.map(Math.abs) : name === "zero" ? values.fill(0) : values;
}

export interface Numbers {
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly inputs: Readonly<Record<string, Tensor>>;
}

export function numbersFor(graph: Graph, dims: Readonly<Record<string, number>> = sizes): Numbers {
  return {
    weights: new Map(graph.weights.map((w) => [w.key, filled(w.key, w.type, dims)])),
    inputs: Object.fromEntries(graph.inputs.map((x) => [x.name, filled(x.name, x.type, dims)])),
  };
}

export type Outputs = Readonly<Record<string, Tensor>>;

export function outputsOf(graph: Graph, { weights, inputs }: Numbers): Outputs {
  return evaluate(graph, weights, inputs, { precision: "f64" }).outputs;
}

/** Where the contract is broken, in words; empty where it holds. */
export function breaches(before: Outputs, after: Outputs, numerics: Numerics): readonly string[] {
  if (numerics === "approximates") return [];
  return Object.entries(before).flatMap(([name, a]) => {
    const b = after[name];
    if (!b || b.shape.join() !== a.shape.join()) return [`${name} is no longer [${a.shape}]`];
    if (numerics === "exact") {
      const at = a.data.findIndex((x, i) => !Object.is(x, b.data[i]));
      return at < 0 ? [] : [`${name}[${at}] was ${a.data[at]} and is ${b.data[at]}`];
    }
    const [was, is] = [Array.from(a.data), Array.from(b.data)];
    const size = was.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    const error = was.reduce((m, x, i) => Math.max(m, Math.abs(x - is[i]!)), 0);
    return error <= 1e-10 * size ? [] : [`${name} differs by ${error} of ${size}`];
  });
}
