// The verifier finds what a wrong pass would leave behind.

import { describe, expect, test } from "vitest";
import type { Graph, Node } from "../../src/ir/graph.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { tensorType } from "../../src/ir/types.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { lookupOp } from "../../src/ops/index.ts";

const text = `source 0 "a.model"
graph @g(%x: f32[B, C=8], %k: i32[B]) {
  dims B
  weight $w: f32[8]
  state s: f32[B, C=8] = 0 (%s.in -> %2)
  scope block = Block
  prepare %0 = constant {value=1, dtype=bool} : bool[] loc(0:1:1-2)
  %1 = mul %x, $w : f32[B, C=8] in block loc(0:2:1-2)
  %2 = add %1, %s.in : f32[B, C=8] loc(0:3:1-2)
  %3 = mean %2 {axes=[1]} : f32[B] loc(0:4:1-2)
  %4 = group %2 {kind=element, name=relu} : f32[B, C=8] loc(0:5:1-2)
    body (%5: f32[B, C=8]) {
      %6 = relu %5 : f32[B, C=8] loc(0:5:1-2)
      yield %6
    }
  guard rule if %0
  return y = %3, z = %4
}`;
const good = parseGraphs(text, "a.ir", lookupOp).module!.graphs[0]!;

/** The graph with one node changed. */
const withNode = (id: string, change: (n: Node) => Partial<Node>): Graph => ({
  ...good,
  nodes: good.nodes.map((n) => (n.results[0]!.id === id ? { ...n, ...change(n) } : n)),
});
const withBody = (change: (body: NonNullable<Node["body"]>) => object): Graph =>
  withNode("%4", (n) => ({ body: { ...n.body!, ...change(n.body!) } }));
const other = tensorType("f32", ["B", 9]);

test("nothing is wrong with a good graph, with or without lines", () => {
  expect(verifyGraph(good)).toEqual([]);
  const bare = (n: Node): Node => ({
    ...n,
    spans: [],
    ...(n.body && { body: { ...n.body, nodes: n.body.nodes.map(bare) } }),
  });
  expect(verifyGraph({ ...good, nodes: good.nodes.map(bare) })).toEqual([]);
});

describe("finds", () => {
  test.each<[string, Graph]>([
    ["%1 is not made before it is read", { ...good, nodes: [...good.nodes].reverse() }],
    ["%9 is not made before it is read", withNode("%1", () => ({ inputs: ["%9", "$w"] }))],
    ["%1 is defined twice", withNode("%2", (n) => ({ results: [{ ...n.results[0]!, id: "%1" }] }))],
    ["%5 is defined twice", withNode("%3", (n) => ({ results: [{ ...n.results[0]!, id: "%5" }] }))],
    ["no value id", withNode("%3", (n) => ({ results: [{ ...n.results[0]!, id: "y" }] }))],
    ["a node has no result", withNode("%3", () => ({ results: [] }))],
    ["mul needs its input b", withNode("%1", () => ({ inputs: ["%x"] }))],
    ["mul takes 2 inputs and is given 3", withNode("%1", () => ({ inputs: ["%x", "$w", "$w"] }))],
    ["mean needs its attribute axes", withNode("%3", () => ({ attrs: { keepdims: false } }))],
    ["must be a list of numbers of axes", withNode("%3", () => ({ attrs: { axes: 1, keepdims: false } }))],
    ["mul has no attribute scale", withNode("%1", () => ({ attrs: { scale: 1 } }))],
    [
      "mul gives f32[B, C=8], which is not what is stored",
      withNode("%1", () => ({ results: [{ id: "%1", type: other }] })),
    ],
    ["mul.dtype does not hold", withNode("%1", () => ({ inputs: ["%x", "%k"] }))],
    ["scope elsewhere does not exist", withNode("%1", () => ({ scope: "elsewhere" }))],
    ["a node lost its model lines", withNode("%1", () => ({ spans: [] }))],
    ["dimension B in the type of %x is not declared", { ...good, symbols: [] }],
    ["two of dimension B", { ...good, symbols: [...good.symbols, ...good.symbols] }],
    ["output y is %9, which is not made", { ...good, outputs: [{ name: "y", value: "%9", spans: [] }] }],
    ["two of output y", { ...good, outputs: [...good.outputs, { name: "y", value: "%1", spans: [] }] }],
    ["state s ends as %9", { ...good, states: good.states.map((s) => ({ ...s, next: "%9" })) }],
    [
      "state s is f32[B, C=8] and ends as f32[B]",
      { ...good, states: good.states.map((s) => ({ ...s, next: "%3" })) },
    ],
    ["no bool scalar made from weights", { ...good, guards: [{ pass: "r", condition: "%3", spans: [] }] }],
    ["guard r is %9, which is not made", { ...good, guards: [{ pass: "r", condition: "%9", spans: [] }] }],
    ["the next id is %3, but %6 is in use", { ...good, nextId: 3 }],
    [
      "is no permutation of its 1 axes",
      { ...good, weights: good.weights.map((w) => ({ ...w, type: { ...w.type, order: [1] } })) },
    ],
    [
      "has 1 axes and 0 names",
      { ...good, weights: good.weights.map((w) => ({ ...w, type: { ...w.type, axes: [] } })) },
    ],
    [
      "an axis called H",
      { ...good, weights: good.weights.map((w) => ({ ...w, type: { ...w.type, axes: ["H"] } })) },
    ],
    [
      "%x is not made before it is read",
      withBody((b) => ({ nodes: b.nodes.map((n) => ({ ...n, inputs: ["%x"] })) })),
    ],
    ["a body has 0 parameters for 1 inputs", withBody(() => ({ params: [] }))],
    [
      "parameter %5 is f32[_=B, 9] and is given f32[B, C=8]",
      withBody(() => ({ params: [{ id: "%5", type: other }] })),
    ],
    ["the body yields %2, which is not made in it", withBody(() => ({ results: ["%2"] }))],
    ["a body yields 2 values for 1 results", withBody(() => ({ results: ["%6", "%6"] }))],
  ])("%s", (message, graph) => {
    const faults = verifyGraph(graph);
    expect(
      faults.filter((f) => f.includes(message)),
      faults.join("\n"),
    ).not.toEqual([]);
  });
});
