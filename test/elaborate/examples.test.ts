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

describe("vit", () => {
  const of = (config: string) => graphOf(elaborateFile("examples/vit.model", { config }));

  it.each([
    ["vit_tiny_patch16", 5_717_416],
    ["vit_small_patch16", 22_050_664],
    ["vit_base_patch16", 86_567_656],
    ["vit_base_patch32", 88_224_232],
    ["vit_large_patch16", 304_326_632],
    ["vit_huge_patch14", 632_045_800],
    ["deit_tiny_patch16", 5_717_416],
    ["deit_small_patch16", 22_050_664],
    ["deit_base_patch16", 86_567_656],
    ["deit_tiny_distilled_patch16", 5_910_800],
    ["deit_small_distilled_patch16", 22_436_432],
    ["deit_base_distilled_patch16", 87_338_192],
  ])("%s has %i parameters", (config, count) => {
    expect(of(config).weights.reduce((n, w) => n + constantOf(elementsOf(w.type)), 0)).toBe(count);
  });

  it("has timm's keys", () => {
    const shapes = new Map(
      of("deit_tiny_distilled_patch16").weights.map((w) => [w.key, w.type.shape.map((d) => d.key)]),
    );
    expect(shapes.size).toBe(155);
    expect(
      [...shapes.keys()].filter((k) => !k.startsWith("blocks.") || k.startsWith("blocks.11.")).sort(),
    ).toEqual(
      [
        ...["cls_token", "dist_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"],
        ...["norm.weight", "norm.bias", "head.weight", "head.bias", "head_dist.weight", "head_dist.bias"],
        ...["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"].flatMap((layer) => [
          `blocks.11.${layer}.weight`,
          `blocks.11.${layer}.bias`,
        ]),
      ].sort(),
    );
    expect(shapes.get("pos_embed")).toEqual(["1", "198", "192"]);
    expect(shapes.get("blocks.0.attn.qkv.weight")).toEqual(["576", "192"]);
  });
});

describe("digits_vit", () => {
  const graph = graphOf(elaborateFile("examples/digits_vit.model"));

  it("has 117,322 parameters, images in and logits out", () => {
    expect(graph.weights.reduce((n, w) => n + constantOf(elementsOf(w.type)), 0)).toBe(117_322);
    expect(graph.inputs.map((x) => x.name)).toEqual(["images"]);
    expect(graph.outputs.map((x) => x.name)).toEqual(["logits"]);
  });
});

describe("embedding encoders", () => {
  const of = (file: string, config: string) => graphOf(elaborateFile(`examples/${file}.model`, { config }));

  it.each([
    ["bert", "bert_base", 109_482_240, 199],
    ["bert", "bert_large", 335_141_888, 391],
    ["bert", "minilm_l6", 22_713_216, 103],
    ["bert", "bge_small", 33_360_000, 199],
    ["mistral_embed", "e5_mistral_7b", 7_110_660_096, 290],
    ["mistral_embed", "bidirectional_7b", 7_110_660_096, 290],
  ])("%s %s has %i parameters in %i tensors", (file, config, count, tensors) => {
    const { weights } = of(file, config);
    expect(weights.reduce((n, w) => n + constantOf(elementsOf(w.type)), 0)).toBe(count);
    expect(weights).toHaveLength(tensors);
  });

  const shapes = (file: string, config: string) =>
    Object.fromEntries(of(file, config).weights.map((w) => [w.key, w.type.shape.map((d) => Number(d.key))]));

  it("have the keys and shapes of transformers' BertModel", () => {
    expect(shapes("bert", "bge_small")).toMatchObject({
      "embeddings.word_embeddings.weight": [30522, 384],
      "embeddings.position_embeddings.weight": [512, 384],
      "embeddings.token_type_embeddings.weight": [2, 384],
      "embeddings.LayerNorm.bias": [384],
      "encoder.layer.11.attention.self.query.weight": [384, 384],
      "encoder.layer.11.attention.self.key.bias": [384],
      "encoder.layer.11.attention.self.value.weight": [384, 384],
      "encoder.layer.11.attention.output.dense.weight": [384, 384],
      "encoder.layer.11.attention.output.LayerNorm.weight": [384],
      "encoder.layer.11.intermediate.dense.weight": [1536, 384],
      "encoder.layer.11.output.dense.weight": [384, 1536],
      "encoder.layer.11.output.LayerNorm.bias": [384],
      "pooler.dense.weight": [384, 384],
    });
  });

  it("have the keys and shapes of transformers' MistralModel", () => {
    expect(shapes("mistral_embed", "e5_mistral_7b")).toMatchObject({
      "embed_tokens.weight": [32000, 4096],
      "layers.31.input_layernorm.weight": [4096],
      "layers.31.self_attn.q_proj.weight": [4096, 4096],
      "layers.31.self_attn.k_proj.weight": [1024, 4096],
      "layers.31.self_attn.v_proj.weight": [1024, 4096],
      "layers.31.self_attn.o_proj.weight": [4096, 4096],
      "layers.31.post_attention_layernorm.weight": [4096],
      "layers.31.mlp.gate_proj.weight": [14336, 4096],
      "layers.31.mlp.up_proj.weight": [14336, 4096],
      "layers.31.mlp.down_proj.weight": [4096, 14336],
      "norm.weight": [4096],
    });
  });
});

describe("structure", () => {
  const of = (file: string, config?: string, model?: string) =>
    graphOf(
      elaborateFile(`examples/${file}.model`, {
        ...(config !== undefined && { config }),
        ...(model !== undefined && { model }),
      }),
    );
  const parameters = (graph: ReturnType<typeof of>) =>
    graph.weights.reduce((n, w) => n + constantOf(elementsOf(w.type)), 0);

  // Counted by hand from the layers.
  it.each([
    ["learngene_pool", "tiny_to_base", 38_323_240],
    ["learngene_pool", "tiny_to_small", 11_297_320],
    ["learngene_pool", "small_to_base", 43_974_760],
    ["stagewise_sharing", "small_d6", 6_080_488],
    ["stagewise_sharing", "small_d12", 6_080_488],
    ["stagewise_sharing", "small_untied", 22_050_664],
    ["supernets", "best", 270_906],
    ["supernets", "worst", 270_906],
  ])("%s %s has %i parameters", (file, config, count) => {
    expect(parameters(of(file, config))).toBe(count);
  });

  it("pools where the number of the configuration says", () => {
    const places = (config: string) => {
      const { nodes } = of("supernets", config);
      return nodes.flatMap((n, i) =>
        n.op.name === "max_pool2d" ? [nodes.slice(i).find((m) => m.op.name === "conv2d")!.scope] : [],
      );
    };
    const block = (b: number) => expect.stringContaining(`sets.0.blocks.${b - 1}.`) as string;
    expect(places("worst")).toEqual([block(1), block(2)]);
    expect(places("resnet20")).toEqual([block(4), block(7)]);
    expect(places("best")).toEqual([block(7), block(8)]);
  });

  it("has all 36 configurations with the weights of one", () => {
    const [all, one] = [of("supernets", undefined, "supernet"), of("supernets", "resnet20")];
    expect(all.weights.map((w) => w.key)).toEqual(one.weights.map((w) => w.key));
    expect(all.nodes.filter((n) => n.op.name === "max_pool2d")).toHaveLength(72);
    const last = all.nodes.at(-1)!.results[0]!.type.shape;
    expect(last.map((d) => d.key)).toEqual(["36", "B", "10"]);
  });

  it("leaves out blocks, and no others", () => {
    const keys = (config: string) => of("layer_pruning", config).weights.map((w) => w.key);
    const gone = ["0.blocks.3", "0.blocks.6", "1.blocks.3", "1.blocks.6", "2.blocks.3", "2.blocks.6"];
    const isGone = (key: string) => gone.some((b) => key.startsWith(`stages.${b}.`));
    expect(keys("without_six")).toEqual(keys("resnet56").filter((k) => !isGone(k)));
    expect(parameters(of("layer_pruning", "resnet56"))).toBe(860_026);
  });
});
