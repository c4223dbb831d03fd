import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { constantOf, elementsOf } from "./shapes.ts";
import { elaborateFile, graphOf } from "./support.ts";

describe("digits_poolformer", () => {
  const graph = graphOf(elaborateFile("examples/digits_poolformer.model"));

  it("has the checkpoint's keys and shapes", () => {
    const expected = readFileSync("test/elaborate/digits_poolformer.keys", "utf8").trim().split("\n");
    const got = graph.weights.map((w) => `${w.key} [${w.type.shape.map((d) => d.key).join(", ")}]`);
    expect([...got].sort()).toEqual([...expected].sort());
  });

  it("has images in and logits out", () => {
    expect(graph.inputs.map((x) => x.name)).toEqual(["images"]);
    expect(graph.outputs.map((x) => x.name)).toEqual(["logits"]);
    expect(graph.symbols).toEqual([{ kind: "bound", name: "B" }]);
  });

  it("has 103,626 parameters", () => {
    expect(graph.weights.reduce((n, w) => n + constantOf(elementsOf(w.type)), 0)).toBe(103_626);
  });

  it("points every node at its own call and at the call in the model", () => {
    const mlp = graph.nodes.find((n) => n.scope === "stages.1.blocks.0.mlp")!;
    expect(mlp.spans.map((s) => s.file)).toEqual(["std/layers.model", "examples/digits_poolformer.model"]);
  });
});
