// Every kernel of every model, in place in its plan, on the kernel interpreter and on the adapter, against the reference in f64. The
// interpreter refuses stray accesses, so this is where a kernel that reads past the end is caught.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { baseline, builtinTargets, evaluate, load, seededInput } from "../../src/index.ts";
import type { CompileOptions, Compiled, Tensor } from "../../src/index.ts";
import { evaluateDim } from "../../src/ir/dim.ts";
import type { Graph } from "../../src/ir/graph.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import {
  compileExample,
  compileText,
  differenceOf,
  openAdapter,
  resolveStd,
  seededWeights,
} from "../models/support.ts";
import { runPlan } from "./plan-runner.ts";

interface Case {
  readonly name: string;
  compile(options: CompileOptions): Compiled;
  /** Sizes of the symbols; those that the model does not have are left out. */
  readonly sizes: readonly Readonly<Record<string, number>>[];
}

const text = readFileSync("test/codegen/small.model", "utf8");
const small = [...text.matchAll(/^model (\w+)/gm)].map((m): Case => ({
  name: m[1]!,
  compile: (options) => compileText(text, { model: m[1]!, ...options }),
  sizes: [
    { B: 1, H: 5, W: 7, T: 1 },
    { B: 3, H: 8, W: 6, T: 10 },
  ],
}));

const example = (name: string, set: Readonly<Record<string, string>>, sizes: Case["sizes"]): Case => ({
  name: [name, ...Object.values(set)].join(" "),
  compile: (options) => compileExample(name, { config: "tiny", set, resolve: resolveStd, ...options }),
  sizes,
});

const cases: readonly Case[] = [
  ...small,
  example("digits_poolformer", {}, [{ B: 1 }, { B: 3 }]),
  example("poolformer", { head: "timm", taps: "true" }, [{ B: 2, H: 32, W: 64 }]),
  example("poolformer", { head: "original" }, [{ B: 1, H: 64, W: 50 }]),
];

function sizesFor(graph: Graph, all: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(graph.symbols.map((s) => [s.name, all[s.name]!]));
}

/** The different ones: a model without symbols is run once. */
function sizesOf(graph: Graph, c: Case): readonly Record<string, number>[] {
  const all = c.sizes.map((s) => sizesFor(graph, s));
  return all.filter((s, i) => all.findIndex((t) => JSON.stringify(t) === JSON.stringify(s)) === i);
}

function inputsFor(graph: Graph, dims: Readonly<Record<string, number>>): Record<string, Tensor> {
  return Object.fromEntries(
    graph.inputs.map((x) => {
      const shape = x.type.shape.map((d) => evaluateDim(d, dims));
      return [x.name, seededInput(x.name, shape, x.type.dtype)];
    }),
  );
}

type Results = Readonly<Record<string, Tensor>>;

/** f32 sums of a few thousand terms; a wrong element differs by much more. */
function expectClose(got: Results, wanted: Results, what: string): void {
  expect(Object.keys(got), what).toEqual(Object.keys(wanted));
  for (const [name, w] of Object.entries(wanted)) {
    const g = got[name]!;
    expect(g.shape, `${what}: ${name}`).toEqual(w.shape);
    let scale = 1;
    for (const v of w.data) scale = Math.max(scale, Math.abs(v));
    expect(differenceOf(g.data, w.data) / scale, `${what}: ${name}`).toBeLessThan(2e-5);
  }
}

describe.each(cases)("$name", (c) => {
  const graph = c.compile({}).module.graphs[0]!;
  const weights = seededWeights([graph]);

  it.each(builtinTargets)("is right on the interpreter, for $name", (target) => {
    const compiled = c.compile({ target });
    for (const dims of sizesOf(graph, c)) {
      const inputs = inputsFor(graph, dims);
      const wanted = evaluate(graph, weights, inputs, { dims });
      const got = runPlan(compiled, weights, inputs, dims);
      const what = `${c.name} for ${target.name} at ${JSON.stringify(dims)}`;
      expectClose(got.outputs, wanted.outputs, what);
      expectClose(got.states, wanted.states, what);
    }
  });
});

describe("on the adapter of this machine", () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  // Software drivers take seconds to compile a kernel, so few are also run as any adapter would get them.
  const alsoForAny = new Set(["digits_poolformer", "attention", "average_pooled"]);

  it.each(cases)("$name is right", async (c) => {
    for (const target of alsoForAny.has(c.name) ? [opened.target, baseline] : [opened.target]) {
      const compiled = c.compile({ target });
      const graph = compiled.module.graphs[0]!;
      const weights = seededWeights([graph]);
      const session = await load(compiled, weights, opened.device);
      for (const dims of sizesOf(graph, c)) {
        const inputs = inputsFor(graph, dims);
        const { outputs } = evaluate(graph, weights, inputs, { dims });
        await session.state.reset();
        expectClose(
          await session.run(inputs, { dims }),
          outputs,
          `${c.name} for ${target.name} at ${JSON.stringify(dims)}`,
        );
      }
      await session.dispose();
    }
  });
});
