// Every example in its configuration `tiny`, with seeded weights, against onnxruntime's CPU provider: once with its sizes left open, once
// with them fixed, because the two files are not the same.

import { describe, expect, it } from "vitest";
import { evaluate } from "../../src/index.ts";
import { expectClose, seededInputs, sizesFor } from "../models/compare.ts";
import { elaborateCase, exampleCases } from "../models/examples.ts";
import { seededWeights } from "../models/support.ts";
import { oracleOutputs } from "./ort.ts";

describe("examples mean what onnxruntime makes of their export", () => {
  it.each(exampleCases.map((c) => [c.name, c] as const))("%s", async (name, c) => {
    const front = elaborateCase(c);
    expect(front.diagnostics).toEqual([]);
    const graph = front.module!.graphs[0]!;
    const weights = seededWeights([graph]);
    for (const all of c.sizes) {
      const dims = sizesFor(graph, all);
      const inputs = seededInputs(graph, dims);
      const { outputs } = evaluate(graph, weights, inputs, { dims });
      for (const fixed of [{}, dims])
        expectClose(await oracleOutputs(graph, weights, inputs, fixed), outputs, `${name} ${fixed}`);
    }
  });
});
