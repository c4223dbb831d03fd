// Small graphs for the tests of the IR, made with the real ops.

import { GraphBuilder, type Attrs, type Graph, type ValueId } from "../../src/ir/graph.ts";
import { tensorType, type TensorType } from "../../src/ir/types.ts";
import { lookupOp } from "../../src/ops/index.ts";
import type { Location } from "../../src/support/source.ts";

export function at(line: number, column = 1): Location {
  return { file: "test.model", line, column, endLine: line, endColumn: column + 4 };
}

export const vector = tensorType("f32", ["B", 8], ["batch", "channels"]);

export interface Sketch {
  input(name: string, type?: TensorType): ValueId;
  weight(key: string, type?: TensorType): ValueId;
  /** Adds a node; its line in the model is its place in the order of calls. */
  call(op: string, inputs: readonly ValueId[], attrs?: Attrs): ValueId;
  output(name: string, value: ValueId): void;
}

/** A graph with symbols B and every declaration that `draw` makes. */
export function sketch(draw: (s: Sketch) => void): Graph {
  const b = new GraphBuilder("g", lookupOp);
  const inputs: Graph["inputs"][number][] = [];
  const weights: Graph["weights"][number][] = [];
  const outputs: Graph["outputs"][number][] = [];
  let line = 0;
  draw({
    input(name, type = vector) {
      inputs.push({ id: b.declare(`%${name}`, type), name, type, spans: [at(++line)] });
      return `%${name}`;
    },
    weight(key, type = tensorType("f32", [8])) {
      weights.push({ id: b.declare(`$${key}`, type), key, type, spans: [at(++line)] });
      return `$${key}`;
    },
    call: (op, values, attrs = {}) => b.call(op, values, attrs, { spans: [at(++line)] }),
    output: (name, value) => outputs.push({ name, value, spans: [at(++line)] }),
  });
  return {
    name: "g",
    symbols: [{ kind: "bound", name: "B" }],
    inputs,
    weights,
    states: [],
    scopes: [],
    nodes: b.nodes,
    outputs,
    guards: [],
    nextId: b.nextId,
  };
}
