// Every golden: what comes out, what fired, what was refused, and that the numbers keep the pass's contract.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { printGraph } from "../../src/ir/print.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { namedChanges } from "../../src/passes/pass.ts";
import { allPasses } from "../../src/passes/pipeline.ts";
import { breaches, numbersFor, outputsOf } from "./contract.ts";
import { goldenPaths, readGolden, readGraph, updatePassGoldens } from "./goldens.ts";

if (process.env["UPDATE"]) updatePassGoldens();
const goldens = goldenPaths().map(readGolden);

describe("goldens", () => {
  it.each(goldens.map((g) => [g.path, g] as const))("%s", (path, golden) => {
    expect(verifyGraph(golden.before)).toEqual([]);
    expect(golden.actual).toBe(golden.expected);
    expect(verifyGraph(golden.after)).toEqual([]);
    const text = printGraph(golden.after);
    expect(printGraph(readGraph(text, path))).toBe(text);
    const name = path.split("/").at(-1)!;
    if (name.startsWith("not-") && golden.pass.level > 0) expect(golden.fired).toEqual([]);
  });

  it.each(goldens.filter((g) => !g.path.includes("not-infinite")).map((g) => [g.path, g] as const))(
    "%s keeps its numbers",
    (_, { before, after, pass }) => {
      // A pass may bring weights along (the predictor of dynamicvit).
      const added = after.weights.filter((w) => before.weights.every((x) => x.key !== w.key));
      const numbers = numbersFor({ ...before, weights: [...before.weights, ...added] });
      expect(breaches(outputsOf(before, numbers), outputsOf(after, numbers), pass.numerics)).toEqual([]);
    },
  );
});

describe("coverage", () => {
  it("every rule fires in a golden", () => {
    const fired = new Set(goldens.flatMap((g) => g.fired));
    const rules = allPasses.flatMap(namedChanges).map((r) => r.name);
    expect(rules.filter((name) => !fired.has(name))).toEqual([]);
  });
  it("every wrong rewrite of docs/token-reduction.md has a golden that refuses it", () => {
    const text = readFileSync("docs/token-reduction.md", "utf8");
    const named = [...text.matchAll(/`([a-z-]+\/not-[\w-]+)`/g)].map((m) => `test/passes/${m[1]!}.ir`);
    expect(named.length).toBeGreaterThan(8);
    expect(goldens.map((g) => g.path)).toEqual(expect.arrayContaining(named));
  });
  it("names of rules are unique", () => {
    const rules = allPasses.flatMap(namedChanges).map((r) => r.name);
    expect(rules.filter((name, i) => rules.indexOf(name) !== i)).toEqual([]);
  });
  it("every pass has a golden where it works and one where it does not", () => {
    for (const pass of allPasses) {
      const names = goldens.filter((g) => g.pass === pass).map((g) => g.path.split("/").at(-1)!);
      expect(
        names.some((n) => n.startsWith("not-")),
        pass.name,
      ).toBe(true);
      expect(
        names.some((n) => !n.startsWith("not-")),
        pass.name,
      ).toBe(true);
    }
  });
});
