// What is measured. To add a case: one record.

import type { Model } from "./models.ts";

export interface Case {
  readonly name: string;
  readonly doc: string;
  readonly model: Model;
  /** Only run when it is asked for by name: it takes long. */
  readonly onRequest?: boolean;
}

const poolformer = (config: string, batch: number): Model => ({
  file: "examples/poolformer.model",
  config,
  set: { head: "timm" },
  dims: { B: batch, H: 224, W: 224 },
});

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
    onRequest: true,
  },
  ...[8, 16, 32, 64].map(moe),
];
