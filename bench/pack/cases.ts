// What the pack measures: the models that a real GPU is wanted for, and kernels alone. Sizes are those of the issue of the day for a
// large card; TOKENLOOM_BENCH_SMOKE makes each small, so that the whole pack can be tried on a software adapter.

import type { Case } from "../cases.ts";
import type { Model } from "../models.ts";

export interface PackCase extends Case {
  /** Beside tokenloom. */
  readonly peers: readonly string[];
  /** What the PyTorch peer builds, by its name in networks.py. */
  readonly network: string;
  /** Largest relative difference of outputs; absent: that of the peers. */
  readonly allowed?: number;
}

const gpu = ["onnxruntime-webgpu", "torch"];
const precisions = ["torch-tf32", "torch-f16"];
const smoke = process.env["TOKENLOOM_BENCH_SMOKE"] === "1";

interface Written extends Omit<PackCase, "model"> {
  readonly model: Model;
  readonly small: Partial<Model>;
}

const s12 = (batch: number, doc: string, peers: readonly string[], name = `s12-b${batch}`): Written => ({
  name,
  doc: `PoolFormer-S12 at 224, ${doc}`,
  network: "poolformer",
  peers,
  model: {
    file: "examples/poolformer.model",
    config: "s12",
    set: { head: "timm" },
    dims: { B: batch, H: 224, W: 224 },
  },
  small: { dims: { B: Math.min(batch, 2), H: 32, W: 32 } },
});

/**
 * Of the largest output. We store in f16 and sum in f32; peers may sum in f16 too, and their rows are held to the same. A peer in f32
 * beside them shows how far f16 is from it.
 */
const allowedInHalf = 2e-2;
const halfPeers = ["onnxruntime-webgpu", "torch-f16"];
/** The same network stored in f16: weights and what kernels pass on. */
const inHalf = (c: Written): Written => ({
  ...c,
  name: `${c.name}-f16`,
  doc: `${c.doc}, in f16`,
  allowed: allowedInHalf,
  model: { ...c.model, storage: "f16" },
});

const kernel = (
  name: string,
  doc: string,
  model: string,
  dims: Readonly<Record<string, number>>,
  small: Readonly<Record<string, number>>,
  more: Partial<Pick<Written, "peers" | "allowed" | "network">> & {
    readonly set?: Readonly<Record<string, string>>;
    readonly smallSet?: Readonly<Record<string, string>>;
    readonly storage?: "f16";
  } = {},
): Written => ({
  name,
  doc,
  network: more.network ?? model,
  peers: more.peers ?? gpu,
  ...(more.allowed !== undefined && { allowed: more.allowed }),
  model: {
    file: "bench/kernels.model",
    model,
    dims,
    ...(more.set && { set: more.set }),
    ...(more.storage && { storage: more.storage }),
  },
  small: { dims: small, ...(more.smallSet && { set: more.smallSet }) },
});

/** Sizes that are parameters of the model: the compiler knows them, as it knows those of weights. */
const given = (sizes: Readonly<Record<string, number>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(sizes).map(([name, n]) => [name, String(n)]));
const square = (n: number) => ({
  set: given({ m: n, k: n, n }),
  smallSet: given({ m: 32, k: 32, n: 32 }),
});
const attention = (batch: number, tokens: number) => ({ B: batch, T: tokens, heads: 12 });
const tinyAttention = { B: 1, T: 48, heads: 2 };
const tinyImage = { B: 1, H: 16, W: 16 };

const halfWidthExperts = (peers: readonly string[]): Written =>
  kernel(
    "moe-half",
    "DeepSeekMoE layer of half the width: 64 experts of 704, 2 shared, 6 chosen, dim 1024, 4,096 tokens",
    "experts",
    {},
    {},
    {
      set: given({ tokens: 4096, dim: 1024, hidden: 704 }),
      smallSet: given({ tokens: 24, dim: 32, hidden: 16, experts: 8 }),
      peers,
    },
  );

/** In the order in which they are run: what matters most comes first. */
const written: readonly Written[] = [
  s12(1, "one image", [...gpu, "onnxruntime-cpu", ...precisions]),
  s12(128, "128 images", [...gpu, ...precisions]),
  inHalf(s12(1, "one image", [...halfPeers, "torch"])),
  inHalf(s12(128, "128 images", [...halfPeers, "torch"])),
  s12(8, "eight images", [...gpu, "onnxruntime-cpu"]),
  halfWidthExperts([...gpu, "torch-tf32"]),
  kernel(
    "attention-t2048",
    "attention, 12 heads of 64, 2,048 tokens",
    "heads",
    attention(1, 2048),
    tinyAttention,
    {
      peers: [...gpu, ...precisions],
    },
  ),
  kernel(
    "attention-t2048-f16",
    "attention, 12 heads of 64, 2,048 tokens, in f16",
    "heads_f16",
    attention(1, 2048),
    tinyAttention,
    { allowed: allowedInHalf, peers: halfPeers, network: "heads", storage: "f16" },
  ),
  kernel(
    "attention-t512",
    "attention, 12 heads of 64, 512 tokens",
    "heads",
    attention(1, 512),
    tinyAttention,
  ),
  kernel(
    "matmul-4096",
    "product of 4096 x 4096 matrices",
    "product",
    {},
    {},
    {
      ...square(4096),
      peers: [...gpu, ...precisions],
    },
  ),
  kernel(
    "matmul-1024",
    "product of 1024 x 1024 matrices",
    "product",
    {},
    {},
    {
      ...square(1024),
      peers: [...gpu, ...precisions],
    },
  ),
  kernel(
    "matmul-512",
    "product of 512 x 512 matrices",
    "product",
    {},
    {},
    {
      ...square(512),
      peers: [...gpu, ...precisions],
    },
  ),
  kernel(
    "matmul-4096-f16",
    "product of 4096 x 4096 matrices, in f16",
    "product_f16",
    {},
    {},
    { ...square(4096), allowed: allowedInHalf, peers: halfPeers, network: "product", storage: "f16" },
  ),
  kernel(
    "dense-3136",
    "a layer of PoolFormer: 3136 x 64 by 64 x 256",
    "dense",
    {},
    {},
    {
      set: given({ m: 3136, inner: 64, out: 256 }),
      smallSet: given({ m: 49, inner: 64, out: 256 }),
    },
  ),
  kernel(
    "stem-b8",
    "7x7 convolution of stride 4, eight images at 224",
    "stem",
    { B: 8, H: 224, W: 224 },
    tinyImage,
  ),
  kernel(
    "downsample-b8",
    "3x3 convolution of stride 2, 64 to 128 channels, 8 at 56",
    "downsample",
    { B: 8, H: 56, W: 56 },
    tinyImage,
  ),
  kernel("mixer-b128", "pooling mixer, 128 x 64 x 56 x 56", "mixer", { B: 128, H: 56, W: 56 }, tinyImage),
  kernel(
    "groupnorm-b128",
    "GroupNorm of one group, 128 x 64 x 56 x 56",
    "norm_of_sample",
    { B: 128, H: 56, W: 56 },
    tinyImage,
  ),
  kernel("layernorm-16k", "LayerNorm, 16,384 tokens of 1024", "norm_of_token", { T: 16384 }, { T: 16 }),
  kernel(
    "softmax-8k",
    "softmax, 8,192 rows of 2048",
    "rows",
    { M: 8192 },
    { M: 16 },
    {
      set: given({ n: 2048 }),
      smallSet: given({ n: 64 }),
    },
  ),
  { ...inHalf(halfWidthExperts(["torch-f16"])), allowed: 5e-2 },
  s12(1, "one image, compiled by PyTorch", ["torch-compile", "torch-compile-f16"], "s12-b1-compiled"),
  s12(128, "128 images, compiled by PyTorch", ["torch-compile", "torch-compile-f16"], "s12-b128-compiled"),
];

export const packCases: readonly PackCase[] = written.map(({ small, ...c }) => ({
  ...c,
  model: smoke ? { ...c.model, ...small } : c.model,
}));
