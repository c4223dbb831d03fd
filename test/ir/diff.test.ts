// What is shown of a change, and what is counted.

import { expect, test } from "vitest";
import { diffGraphs, printDiff } from "../../src/ir/diff.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { graphStats } from "../../src/ir/stats.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { randomGraph } from "./random.ts";

const graphOf = (body: string) =>
  parseGraphs(`graph @g(%x: f32[B, 8]) {\n  weight $w: f32[8]\n${body}\n}`, "a.ir", lookupOp).module!
    .graphs[0]!;

const before = graphOf(`
  %0 = relu %x
  %1 = neg %0
  %2 = neg %1
  %3 = mul %2, $w
  %4 = tanh %3
  %5 = add %4, %4
  return y = %5`);
const after = graphOf(`
  prepare %6 = square $w
  %0 = relu %x
  %3 = mul %0, %6
  %4 = tanh %3
  %5 = add %4, %4
  return y = %5`);

test("changes with their neighbours, and nothing else", () => {
  expect(printDiff(diffGraphs(before, after))).toBe(`graph @g
...
  weight $w: f32[8]
+ %6 = square $w : f32[8]
  %0 = relu %x : f32[B, 8]
- %1 = neg %0 : f32[B, 8]
- %2 = neg %1 : f32[B, 8]
- %3 = mul %2, $w : f32[B, 8]
+ %3 = mul %0, %6 : f32[B, 8]
  %4 = tanh %3 : f32[B, 8]
...
`);
  expect(printDiff(diffGraphs(before, before))).toBe("");
});

test("without neighbours and with colour", () => {
  const text = printDiff(diffGraphs(before, after), { context: 0, color: true });
  expect(text).toContain("\u001b[31m- %1 = neg %0 : f32[B, 8]\u001b[39m\n");
  expect(text).toContain("\u001b[32m+ %6 = square $w : f32[8]\u001b[39m\n");
  expect(text).not.toContain("tanh");
});

test("nodes by what became of them", () => {
  const diff = diffGraphs(before, after);
  const ids = (nodes: readonly { readonly results: readonly { readonly id: string }[] }[]) =>
    nodes.map((n) => n.results[0]!.id);
  expect(ids(diff.removed)).toEqual(["%1", "%2"]);
  expect(ids(diff.added)).toEqual(["%6"]);
  expect(ids(diff.changed.map((c) => c.after))).toEqual(["%3"]);
});

test("a node that moved is no change, and the diff of any two graphs accounts for every line", () => {
  const a = graphOf("%0 = relu %x\n%1 = neg %x\n%2 = add %0, %1\nreturn y = %2");
  const b = { ...a, nodes: [a.nodes[1]!, a.nodes[0]!, a.nodes[2]!] };
  expect(printDiff(diffGraphs(a, b))).toBe("");
  for (let seed = 0; seed < 60; seed++) {
    const [from, to] = [randomGraph(seed), randomGraph(seed + 1)];
    const { entries } = diffGraphs(from, to);
    const nodesOf = (side: "before" | "after") =>
      entries.filter((e) => e[side] !== undefined && /^%\d+$/.test(e.id)).length;
    expect(nodesOf("before"), `seed ${seed}`).toBe(from.nodes.length);
    expect(nodesOf("after"), `seed ${seed}`).toBe(to.nodes.length);
  }
});

test("counts", () => {
  const g = parseGraphs(
    `graph @g(%x: f32[B, C=3, H, W]) {
      weight $w: f32[16, 3, 3, 3]
      weight $v: f32[10, 16]
      prepare %0 = square $w
      %1 = conv2d %x, %0 {pad=[1, 1]}
      %2 = mean %1 {axes=[2, 3]}
      %3 = linear %2, $v
      return y = %3
    }`,
    "a.ir",
    lookupOp,
  ).module!.graphs[0]!;
  const stats = graphStats(g);
  expect(stats.nodes).toBe(3);
  expect(stats.preparedNodes).toBe(1);
  expect(stats.parameters.key).toBe(String(16 * 27 + 160));
  expect(stats.macs.key).toBe("432*B*H*W + 160*B");
  expect([...stats.byOp]).toEqual([
    ["conv2d", 1],
    ["linear", 1],
    ["mean", 1],
  ]);
});
