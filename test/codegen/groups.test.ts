// Every kernel of every model, in place in its plan, on the kernel interpreter and on the adapter, against the reference in f64. The
// interpreter refuses stray accesses, so this is where a kernel that reads past the end is caught.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, it } from "vitest";
import { baseline, builtinTargets, evaluate, load } from "../../src/index.ts";
import type { CompileOptions, Compiled, Graph } from "../../src/index.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { expectClose, seededInputs, sizesFor } from "../models/compare.ts";
import { compileCase, exampleCases } from "../models/examples.ts";
import { compileText, openAdapter, seededWeights } from "../models/support.ts";
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

const cases: readonly Case[] = [
  ...small,
  ...exampleCases.map((c) => ({
    name: c.name,
    compile: (options: CompileOptions) => compileCase(c, options),
    sizes: c.sizes,
  })),
];

/** The different ones: a model without symbols is run once. */
function sizesOf(graph: Graph, c: Case): readonly Record<string, number>[] {
  const all = c.sizes.map((s) => sizesFor(graph, s));
  return all.filter((s, i) => all.findIndex((t) => JSON.stringify(t) === JSON.stringify(s)) === i);
}

describe.each(cases)("$name", (c) => {
  const graph = c.compile({}).module.graphs[0]!;
  const weights = seededWeights([graph]);

  it.each(builtinTargets)("is right on the interpreter, for $name", (target) => {
    const compiled = c.compile({ target });
    for (const dims of sizesOf(graph, c)) {
      const inputs = seededInputs(graph, dims);
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
        const inputs = seededInputs(graph, dims);
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
