// Results against results: how close they must be, and the sizes and inputs they come from.

import { expect } from "vitest";
import { seededInput, type Graph, type Tensor } from "../../src/index.ts";
import { evaluateDim } from "../../src/ir/dim.ts";
import { differenceOf } from "./support.ts";

export type Results = Readonly<Record<string, Tensor>>;
type Sizes = Readonly<Record<string, number>>;

/** f32 sums of a few thousand terms; a wrong element differs by much more. */
const tolerance = 2e-5;

/** Every output, relative to its largest number, or to 1 where all are smaller. */
export function expectClose(got: Results, wanted: Results, what: string, most = tolerance): void {
  expect(Object.keys(got).sort(), what).toEqual(Object.keys(wanted).sort());
  for (const [name, w] of Object.entries(wanted)) {
    const g = got[name]!;
    expect(g.shape, `${what}: ${name}`).toEqual(w.shape);
    let scale = 1;
    for (const v of w.data) if (Number.isFinite(v)) scale = Math.max(scale, Math.abs(v));
    expect(differenceOf(g.data, w.data) / scale, `${what}: ${name}`).toBeLessThan(most);
  }
}

/** The sizes that the graph has symbols for; bounded ones, whose sizes a kernel says, aside. */
export function sizesFor(graph: Graph, all: Sizes): Record<string, number> {
  return Object.fromEntries(
    graph.symbols.flatMap(({ kind, name }) => {
      if (kind === "bounded") return [];
      const size = all[name];
      if (size === undefined) throw new Error(`no size of ${name} is given (test/models/examples.ts)`);
      return [[name, size]];
    }),
  );
}

/** Every input made from its name. */
export function seededInputs(graph: Graph, dims: Sizes): Record<string, Tensor> {
  return Object.fromEntries(
    graph.inputs.map((x) => {
      const shape = x.type.shape.map((d) => evaluateDim(d, dims));
      return [x.name, seededInput(x.name, shape, x.type.dtype)];
    }),
  );
}
