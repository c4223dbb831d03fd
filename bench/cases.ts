// What is measured. To add a case: one record.

import type { Model } from "./models.ts";

export interface Case {
  readonly name: string;
  readonly doc: string;
  readonly model: Model;
  /** Only run when it is asked for, by name or by group: it takes long. */
  readonly onRequest?: boolean;
  /** Asked for together: `--group NAME`. */
  readonly group?: "models" | "heads" | "kernels";
}

const poolformer = (config: string, batch: number): Model => ({
  file: "examples/poolformer.model",
  config,
  set: { head: "timm" },
  dims: { B: batch, H: 224, W: 224 },
});

/** A model of `kernels.model`: sizes that the compiler knows in `set`, those that a run brings in `dims`. */
const alone =
  (group: "heads" | "kernels") =>
  (
    name: string,
    doc: string,
    model: string,
    dims: Readonly<Record<string, number>>,
    set: Readonly<Record<string, number>> = {},
  ): Case => ({
    name,
    doc,
    group,
    onRequest: true,
    model: {
      file: "bench/kernels.model",
      model,
      dims,
      set: Object.fromEntries(Object.entries(set).map(([key, n]) => [key, String(n)])),
    },
  });
const head = alone("heads");
const kernel = alone("kernels");

/** The layers of PoolFormer-S12's MLPs: positions of the image by channels, to four times the channels. */
const layers = [
  [3136, 64],
  [784, 128],
  [196, 320],
  [49, 512],
].map(([m, inner]) =>
  kernel(
    `dense-${m}x${inner}`,
    `${m} x ${inner} by ${inner} x ${4 * inner!}, as in PoolFormer-S12`,
    "dense",
    {},
    { m: m!, inner: inner!, out: 4 * inner! },
  ),
);

/** A DeepSeekMoE layer: 256 tokens of 512 channels, four of `experts` and two shared ones, 352 hidden units each. */
const moe = (experts: number): Case => ({
  name: `moe-e${experts}`,
  doc: `a DeepSeekMoE layer of ${experts} experts, four for each of 256 tokens, and two shared ones`,
  model: {
    file: "examples/moe_layers.model",
    config: "small16",
    set: { experts: String(experts) },
    dims: { T: 256 },
  },
  onRequest: experts !== 16,
});

export const cases: readonly Case[] = [
  {
    name: "poolformer-s12-b1",
    doc: "PoolFormer-S12, one image at 224",
    model: poolformer("s12", 1),
  },
  {
    name: "digits-b360",
    doc: "the digits PoolFormer, 360 images at 8",
    model: { file: "examples/digits_poolformer.model", dims: { B: 360 } },
  },
  {
    name: "poolformer-s12-b8",
    doc: "PoolFormer-S12, eight images at 224",
    model: poolformer("s12", 8),
    group: "models",
    onRequest: true,
  },
  {
    name: "poolformer-m36-b1",
    doc: "PoolFormer-M36, one image at 224",
    model: poolformer("m36", 1),
    group: "models",
    onRequest: true,
  },
  {
    name: "caformer-s18-b1",
    doc: "CAFormer-S18, one image at 224",
    model: {
      file: "examples/metaformer.model",
      model: "caformer",
      config: "s18",
      dims: { B: 1, H: 224, W: 224 },
    },
    group: "models",
    onRequest: true,
  },
  {
    name: "encoder-t128",
    doc: "BERT's encoder of 6 layers, 384 channels, 12 heads, 128 tokens, mean pooling",
    model: { file: "examples/bert.model", config: "minilm_l6", dims: { B: 1, T: 128 } },
    group: "models",
    onRequest: true,
  },
  {
    name: "ponet-t4096",
    doc: "PoNet of 2 layers, 256 channels, 4 heads, 4,096 tokens",
    model: {
      file: "examples/ponet.model",
      set: { depth: "2", dim: "256", heads: "4", positions: "4096" },
      dims: { B: 1, T: 4096 },
    },
    group: "models",
    onRequest: true,
  },
  ...[8, 16, 32, 64].map(moe),
  head("gem", "GeM, 8 x 512 x 8 x 8", "gem", { B: 8, H: 8, W: 8 }),
  head("ggem", "GGeM of 32 groups, 8 x 64 tokens x 512", "ggem", { B: 8, T: 64 }),
  head("spp", "spatial pyramid of 1, 2 and 4, 8 x 512 x 8 x 8", "spp", { B: 8, H: 8, W: 8 }),
  head("attention-pool", "one latent asks 8 x 64 tokens x 512", "attention_pool", { B: 8, T: 64 }),
  kernel("matmul-512", "product of 512 x 512 matrices", "product", {}, { m: 512, k: 512, n: 512 }),
  ...layers,
  kernel("stem", "7x7 convolution of stride 4, an image at 224", "stem", { B: 1, H: 224, W: 224 }),
  kernel("downsample", "3x3 convolution of stride 2, 64 to 128 channels at 56", "downsample", {
    B: 1,
    H: 56,
    W: 56,
  }),
  kernel("mixer", "pooling mixer, 64 x 56 x 56", "mixer", { B: 1, H: 56, W: 56 }),
  kernel("groupnorm", "GroupNorm of one group, 64 x 56 x 56", "norm_of_sample", { B: 1, H: 56, W: 56 }),
  kernel("layernorm", "LayerNorm, 512 tokens of 1024", "norm_of_token", { T: 512 }),
  kernel("softmax", "softmax, 512 rows of 2048", "rows", { M: 512 }, { n: 2048 }),
  kernel("attention", "attention, 12 heads of 64, 512 tokens", "heads", { B: 1, T: 512, heads: 12 }),
];
