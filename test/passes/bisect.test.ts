// The wrong rewrite among many right ones.

import { describe, expect, it } from "vitest";
import { evaluate } from "../../src/ir/evaluate.ts";
import type { Graph } from "../../src/ir/graph.ts";
import type { Rule } from "../../src/ir/rewrite-types.ts";
import { rewrite } from "../../src/ir/rewrite.ts";
import { baseline } from "../../src/ir/target.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { findWrongRewrite } from "../../src/passes/bisect.ts";
import type { Pass } from "../../src/passes/pass.ts";
import { readGraph } from "./goldens.ts";

const lines = Array.from(
  { length: 20 },
  (_, i) => `  %${i + 1} = add %${i}, %x : f32[4] loc(0:${i + 1}:1-5)`,
);
const graph = readGraph(
  `source 0 "m.model"
graph @g(%x: f32[4]) -> (y: f32[4]) {
  %0 = relu %x : f32[4]
${lines.join("\n")}
  return y = %20
}
`,
  "g.ir",
);

const rule = (wrongAt: string): Rule => ({
  name: "add-as-sub",
  equation: "a + b = a - -b",
  doc: "",
  roots: ["add"],
  apply(root, c) {
    const [a, b] = root.inputs as [string, string];
    return [c.add("sub", [a, root.results[0]!.id === wrongAt ? b : c.add("neg", [b])])];
  },
});
const pass = (init: Partial<Pass>): Pass => ({
  name: "planted",
  doc: "",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  ...init,
});

const x = tensor("f32", [4], [1, 2, 3, 4]);
const valueOf = (g: Graph): readonly number[] => [...evaluate(g, () => x, { x }).outputs["y"]!.data];
const right = valueOf(graph);
let asked = 0;
const isWrong = (g: Graph): boolean => {
  asked++;
  return valueOf(g).some((v, i) => v !== right[i]);
};
const find = (p: Pass) => findWrongRewrite(p, graph, { target: baseline, lookup: lookupOp }, isWrong);

describe("findWrongRewrite", () => {
  it.each(["%1", "%2", "%13", "%20"])("finds the rewrite of %s", (id) => {
    asked = 0;
    const found = find(pass({ rules: [rule(id)] }))!;
    expect(found).toMatchObject({ number: Number(id.slice(1)), of: 20 });
    expect(found.event.rule).toBe("add-as-sub");
    expect(found.event.before.at(-1)).toContain(`${id} = add`);
    expect(found.event.spans.map((s) => s.line)).toEqual([Number(id.slice(1))]);
    expect(asked).toBeLessThanOrEqual(7);
  });

  it("finds none where the rules are right, or there are none", () => {
    expect(find(pass({ rules: [rule("none")] }))).toBeUndefined();
    expect(find(pass({ run: (g) => ({ graph: g, events: [], refusals: [] }) }))).toBeUndefined();
  });
});

describe("a limit on rewrites", () => {
  it("stops the rules there", () => {
    for (const limit of [0, 1, 7, 20, 30]) {
      const { graph: after, events } = rewrite(graph, [rule("none")], lookupOp, { limit });
      expect(events).toHaveLength(Math.min(limit, 20));
      expect(after.nodes.filter((n) => n.op.name === "add")).toHaveLength(20 - Math.min(limit, 20));
      expect(valueOf(after)).toEqual(right);
    }
  });
});
