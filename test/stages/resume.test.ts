// Stopping behind any pass, as text, and going on from it gives the plan that going on without stopping gives, constants included.

import { describe, expect, it } from "vitest";
import {
  InputError,
  compileModule,
  optimizeModule,
  packWeights,
  printStopped,
  readGraphs,
  settleGuards,
  type CompileOptions,
  type Compiled,
} from "../../src/index.ts";
import { lavapipe } from "../../src/ir/target.ts";
import { compileExample, compileText, seededWeights } from "../models/support.ts";

function stop(whole: Compiled, pass: string): string {
  const options = { ...whole.options, stopAfter: pass };
  return printStopped(optimizeModule(whole.module, options, whole));
}

function resume(text: string, options: CompileOptions = {}): Compiled {
  const read = readGraphs({ name: "stopped.ir", text }, options);
  if (!read.module) throw new InputError(read.diagnostics);
  return compileModule(read.module, read.options, read);
}

function expectSame(again: Compiled, whole: Compiled): void {
  expect(again.plan).toEqual(whole.plan);
  expect(again.kernels).toEqual(whole.kernels);
  expect(again.settings).toEqual(whole.settings);
  const weights = seededWeights(whole.module.graphs);
  expect(packWeights(again, weights)).toEqual(packWeights(whole, weights));
}

describe.each([
  ["digits_poolformer", {}, () => true],
  [
    "poolformer",
    { set: { head: "original" }, also: ["drop-zero-branches"], target: lavapipe },
    (pass: string) => ["drop-zero-branches", "choose-layout"].includes(pass),
  ],
] as const)("%s, tiny", (name, options, looksAt) => {
  const whole = compileExample(name, { config: "tiny", ...options });
  const passes = whole.steps[0]!.map((s) => s.pass.name);

  it.each(["none", ...passes.filter(looksAt)])("goes on behind %s", (pass) =>
    expectSame(resume(stop(whole, pass)), whole),
  );

  it("stops twice", () => {
    const first = readGraphs({ name: "a.ir", text: stop(whole, "drop-identities") });
    const options = { ...first.options, stopAfter: "decompose" };
    const second = printStopped(optimizeModule(first.module!, options, first));
    expect(second).toBe(stop(whole, "decompose"));
    expectSame(resume(second), whole);
  });
});

const gated = `model gated (image: f32[B, 3, 8, 8]) -> (y: f32[B, 4]) {
  preprocess image (
    size = 8, crop_pct = 0.5, interpolation = bilinear, mean = [0.1, 0.2, 0.3], std = [0.5, 0.25, 0.125]
  )
  weight gate: f32[4]
  x = image |> conv2d(out = 4, kernel = 1) @conv
  x = x + (x |> conv2d(out = 4, kernel = 1) @branch) * (gate |> reshape(dims = [4, 1, 1]))
  return x |> mean(axes = [H, W]) |> linear(out = 4) @head
}
model other (x: f32[B, 4]) -> f32[B, 4] { return x |> linear(out = 4) @head }
checkpoint theirs of gated {
  strip "module."
  rename "a.{rest*}" = "conv.{rest}"
}
`;

describe("what is not in the graphs", () => {
  const whole = compileText(gated, {
    models: ["gated", "other"],
    also: ["drop-zero-branches"],
    schedules: { "*": "register:threads=8x8,tile=4x1,width=4,step=4,split=1,epilogue=direct" },
  });

  it("goes along: entry points, preprocessing, checkpoint names, schedules, guards", () => {
    const again = resume(stop(whole, "decompose"));
    expectSame(again, whole);
    expect(again.plan.entries.map((e) => e.name)).toEqual(["gated", "other"]);
    expect(again.plan.entries[0]!.inputs[0]!.preprocess).toMatchObject({ size: 8, cropPct: 0.5 });
    expect(again.checkpoints).toMatchObject([
      { name: "theirs", rules: [{ verb: "strip" }, { verb: "rename" }] },
    ]);
    expect(again.optimized.graphs[0]!.guards).toMatchObject([{ pass: "drop-zero-branches" }]);
  });

  it("one of several entry points can be taken on", () => {
    const one = resume(stop(whole, "decompose"), { models: ["other"] });
    expect(one.plan.entries.map((e) => e.name)).toEqual(["other"]);
    expect(one.settings.map((s) => s.model)).toEqual(["other"]);
  });

  it("a guard that does not hold is settled if its pass is still to come, and refused if it has run", () => {
    const weights = seededWeights(whole.module.graphs);
    const early = settleGuards(resume(stop(whole, "drop-identities")), weights);
    expect(early.outcomes.map((o) => o.holds)).toEqual([false]);
    expect(early.compiled.plan.entries[0]!.dispatches.length).toBeGreaterThan(
      whole.plan.entries[0]!.dispatches.length,
    );
    expect(() => settleGuards(resume(stop(whole, "drop-zero-branches")), weights)).toThrow(/guard-in-text/);
  });
});

describe("a text that was changed", () => {
  const whole = compileExample("digits_poolformer", { config: "tiny" });
  const text = stop(whole, "decompose");
  const codes = (changed: string, options: CompileOptions = {}): readonly string[] =>
    readGraphs({ name: "x.ir", text: changed }, options).diagnostics.map((d) => d.code);

  it("is refused where its compilation makes no sense, with the field", () => {
    expect(codes(text.replace('"passes": [', '"passes": [7, '))).toEqual(["ir-compilation"]);
    expect(codes(text.replace('"subgroupSize": 0', '"subgroupSize": "many"'))).toEqual(["ir-compilation"]);
    expect(codes(text.replace('"also": []', '"also": [], "more": 1'))).toEqual(["ir-compilation"]);
    expect(codes(text.replace("compilation {", "compilation { {"))).toContain("ir-syntax");
    expect(codes(text.replace("compilation {", "compilation"))).toContain("ir-syntax");
    const rule =
      '{ "name": "a", "model": "b", "rules": [{ "verb": "burn", "from": [], "to": [], "axis": 0 }] }';
    expect(codes(text.replace('"checkpoints": []', `"checkpoints": [${rule}]`))).toEqual(["ir-compilation"]);
    expect(codes(`${/compilation \{[^]*?^\}/m.exec(text)![0]}\n${text}`)).toEqual(["ir-duplicate"]);
  });

  it("is refused where it asks for what is past", () => {
    expect(codes(text, { set: { classes: "3" } })).toEqual(["ir-settings"]);
    expect(codes(text, { without: ["pool-mixer"] })).toEqual(["pass-done"]);
    expect(codes(text, { models: ["digits"] })).toEqual(["unknown-model"]);
    expect(() => resume(text, { stopAfter: "canonicalize" })).toThrow(/pass-done/);
    expect(() => resume(text.replace('"canonicalize"', '"canonicalise"'))).toThrow(/unknown-pass/);
  });

  it("is refused where it is not what its passes gave", () => {
    const early = stop(whole, "none").replace('"passes": []', '"passes": ["decompose"]');
    expect(() => resume(early)).toThrow(/pass-done.*primitive/);
  });

  it("of another version is taken on with a warning", () => {
    expect(codes(text.replace(/"compiler": "[^"]*"/, '"compiler": "0.0.7"'))).toEqual(["ir-compiler"]);
  });
});
