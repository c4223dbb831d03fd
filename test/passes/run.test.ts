// Which passes run, what is said about names that make no sense, and what happens when a pass is wrong.

import { describe, expect, it } from "vitest";
import { printGraph } from "../../src/ir/print.ts";
import { baseline } from "../../src/ir/target.ts";
import { lookupOp } from "../../src/ops/index.ts";
import type { Pass } from "../../src/passes/pass.ts";
import { pipeline } from "../../src/passes/pipeline.ts";
import {
  checkOrder,
  checkSelection,
  choosePasses,
  runPasses,
  type RunOptions,
} from "../../src/passes/run.ts";
import { Bug } from "../../src/support/bug.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import { readGraph } from "./goldens.ts";

const graph = readGraph(
  `graph @g(%x: f32[B, 8]) -> (y: f32[B, 8]) {
  dims B
  %0 = neg %x : f32[B, 8]
  %1 = neg %0 : f32[B, 8]
  %2 = softmax %1 : f32[B, 8]
  return y = %2
}
`,
  "g.ir",
);
const run = (options: Partial<RunOptions> = {}) =>
  runPasses(graph, { target: baseline, lookup: lookupOp, ...options });
const names = (passes: readonly Pass[]) => passes.map((p) => p.name);
const pass = (init: Partial<Pass>): Pass => ({
  name: "test",
  doc: "",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  ...init,
});
const thrown = (f: () => unknown): unknown => {
  try {
    f();
  } catch (e) {
    return e;
  }
  return undefined;
};

describe("the pipeline", () => {
  it("has unique names and an order that gives what is needed", () => {
    expect(new Set(names(pipeline)).size).toBe(pipeline.length);
    checkOrder(pipeline);
  });
  it("says which domain every inexact pass holds on", () => {
    for (const p of pipeline) expect(p.domain !== undefined, p.name).toBe(p.numerics === "reassociates");
  });
});

describe("choosing passes", () => {
  it("without leaves one out, only keeps the required ones", () => {
    expect(names(choosePasses({ without: ["canonicalize"] }))).not.toContain("canonicalize");
    expect(names(choosePasses({ only: ["pool-mixer"] }))).toEqual([
      "drop-dead",
      "pool-mixer",
      "decompose",
      "page-constants",
      "form-groups",
    ]);
  });
  it("stops after a pass", () => {
    const { steps } = run({ stopAfter: "canonicalize" });
    const last = steps.at(-1)!;
    expect(last).toMatchObject({ pass: { name: "canonicalize" }, changed: true, before: graph });
    expect(last.events.map((e) => e.rule)).toEqual(["twice-is-nothing"]);
    const longer = run({ stopAfter: "fold-constants" }).steps;
    expect(longer).toHaveLength(steps.length + 1);
    expect(longer.at(-1)).toMatchObject({ pass: { name: "fold-constants" }, changed: false });
  });
  it("suggests the pass that was meant", () => {
    const [d] = checkSelection({ without: ["canonicalise"] });
    expect(d).toMatchObject({ code: "unknown-pass", help: "did you mean canonicalize?" });
    expect(thrown(() => run({ stopAfter: "canonicalise" }))).toBeInstanceOf(InputError);
  });
  it("does not switch off what everything after needs", () => {
    expect(checkSelection({ without: ["decompose"] })[0]).toMatchObject({ code: "pass-required" });
    expect(checkSelection({ only: ["decompose"] })).toEqual([]);
  });
});

describe("a pass that is wrong", () => {
  const facts = (p: Partial<Pass>) => {
    const e = thrown(() => run({ pipeline: [pass(p)] }));
    expect(e).toBeInstanceOf(Bug);
    return e as Bug;
  };
  it("is named when it crashes, with the graph", () => {
    const bug = facts({
      run() {
        throw new TypeError("oops");
      },
    });
    expect(bug.message).toBe("pass test: oops");
    expect(bug.facts).toMatchObject({ pass: "test", graph: printGraph(graph) });
    expect(bug.cause).toBeInstanceOf(TypeError);
  });
  it("is named when it breaks the graph", () => {
    const broken = { ...graph, nodes: graph.nodes.slice(1) };
    const run = () => ({ graph: broken, events: [], refusals: [] });
    expect(facts({ run }).message).toMatch(/^pass test: .*%0/);
  });
  it("is named when it breaks a property that was given", () => {
    const softmaxAgain = pass({ run: () => ({ graph, events: [], refusals: [] }) });
    const all = [pipeline.find((p) => p.name === "decompose")!, softmaxAgain];
    const e = thrown(() => run({ pipeline: all }));
    expect((e as Bug).message).toBe(
      "pass test: the graph is no longer primitive: %2 = softmax has not been decomposed",
    );
  });
  it("is found when it stands before what it needs", () => {
    expect(facts({ needs: ["grouped"] }).message).toBe(
      "pass test needs grouped, which no pass before it gives",
    );
  });
});
