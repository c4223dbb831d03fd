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
];
