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

describe("poolformer", () => {
  const of = (config: string, set: Record<string, string> = {}) =>
    graphOf(elaborateFile("examples/poolformer.model", { config, set }));
  const parameters = (config: string) =>
    of(config).weights.reduce((n, w) => n + constantOf(elementsOf(w.type)), 0);

  it.each([
    ["s12", 11_915_176],
    ["s24", 21_388_968],
    ["s36", 30_862_760],
    ["m36", 56_172_520],
    ["m48", 73_473_448],
  ])("%s has %i parameters", (config, count) => {
    expect(parameters(config)).toBe(count);
  });

  it("has timm's 132 tensors as s12", () => {
    const { weights } = of("s12");
    expect(weights).toHaveLength(132);
    const keys = weights.map((w) => w.key);
    expect(keys).toContain("stages.3.blocks.1.layer_scale2.scale");
    expect(keys).not.toContain("stages.0.downsample.conv.weight");
  });

  it("has the same weights with either head, and another order of ops", () => {
    const [timm, original] = [of("s12"), of("s12", { head: "original" })];
    expect(original.weights.map((w) => w.key)).toEqual(timm.weights.map((w) => w.key));
    const last = (g: typeof timm) => g.nodes.slice(-3).map((n) => n.op.name);
    expect(last(timm)).toEqual(["mean", "layer_norm", "linear"]);
    expect(last(original)).toEqual(["group_norm", "mean", "linear"]);
  });

  it("taps every stage when asked", () => {
    expect(of("tiny").outputs.map((o) => o.name)).toEqual(["logits"]);
    expect(of("tiny", { taps: "true" }).outputs.map((o) => o.name)).toEqual([
      "logits",
      "stages.0",
      "stages.1",
      "stages.2",
      "stages.3",
    ]);
  });

  it("declares its preprocessing, with the crop of its size", () => {
    expect(of("s12").inputs[0]!.preprocess).toEqual({
      size: 224,
      cropPct: 0.9,
      interpolation: "bicubic",
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
    });
    expect(of("m48").inputs[0]!.preprocess?.cropPct).toBe(0.95);
  });

  it("keeps image sizes as symbols", () => {
    const { nodes, symbols } = of("tiny");
    expect(symbols.map((s) => s.name)).toEqual(["B", "H", "W"]);
    expect(nodes[0]!.results[0]!.type.shape[2]!.key).toContain("H");
  });

  it("says where each setting came from", () => {
    const e = elaborateFile("examples/poolformer.model", { config: "m48", set: { classes: "10" } });
    const from = Object.fromEntries(e.settings[0]!.settings.map((s) => [s.name, [s.value, s.from]]));
    expect(from).toMatchObject({
      dims: ["[96, 192, 384, 768]", "config"],
      depths: ["[8, 8, 24, 8]", "config"],
      classes: ["10", "set"],
      head: ["timm", "default"],
    });
  });
});
