// Calls of the library's blocks with parameters and sizes that follow from a seed: odd sizes, one token, channels that are no multiple of
// four, masks with rows that keep nothing. One record per block; a block that has none is in `elsewhere`.

import { elementCount, tensor, type Tensor } from "../../src/ir/tensor.ts";
import type { DType } from "../../src/ir/types.ts";
import { random, type Random } from "../../tools/fuzz/random.ts";

/** An axis: a number that the model says, or a symbol that the run says. */
interface Axis {
  readonly text: string;
  readonly size: number;
}

interface Input {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly (Axis | number)[];
  /** The number at a position; without it they are made from the name. */
  readonly value?: (position: readonly number[]) => number;
}

interface Call {
  readonly inputs: readonly Input[];
  /** Attributes, as the model writes them. */
  readonly args?: Readonly<Record<string, string | number | boolean>>;
  /** Blocks that the arguments name: `Mlp` -> `std/layers`. */
  readonly imports?: Readonly<Record<string, string>>;
  /** Names of the results where there are several. */
  readonly results?: readonly (readonly [name: string, rank: number])[];
  /** Element type of each result; f32 where it is left out. */
  readonly dtypes?: readonly DType[];
  /** Why nothing but the reference and the kernels computes it. */
  readonly withoutOracle?: string;
}

export interface RandomBlock {
  readonly block: string;
  readonly from: string;
  make(r: Sizes): Call;
}

export interface MadeCall {
  readonly text: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly withoutOracle: string | undefined;
}

/** Sizes and choices of one call. */
class Sizes {
  readonly #r: Random;
  readonly dims: Record<string, number> = {};

  constructor(r: Random) {
    this.#r = r;
  }

  pick<T>(...from: readonly T[]): T {
    return this.#r.pick(from);
  }

  flag(): boolean {
    return this.#r.oneIn(2);
  }

  below(n: number): number {
    return this.#r.below(n);
  }

  /** A symbol of the run, or the number itself. */
  axis(name: string, size: number): Axis {
    if (this.flag()) return { text: String(size), size };
    this.dims[name] = size;
    return { text: name, size };
  }

  batch(): Axis {
    return this.axis("B", this.pick(1, 2, 3));
  }

  tokens(least = 1): Axis {
    return this.axis("T", least + this.pick(0, 0, 1, 2, 4, 6, 8, 12));
  }

  channels(multiple = 1): number {
    return multiple * this.pick(1, 2, 3, 5, 6, 7);
  }

  image(least = 1): readonly [Axis, Axis] {
    const side = () => least + this.pick(0, 1, 2, 4, 6, 10);
    return [this.axis("H", side()), this.axis("W", side())];
  }

  /** Which of the tokens are there: rows that keep all, some, or none, padded on either side or anywhere. */
  mask(batch: Axis, tokens: Axis): Input {
    const rows = Array.from({ length: batch.size }, () => {
      const kind = this.pick("all", "none", "front", "back", "any");
      const cut = this.below(tokens.size + 1);
      return Array.from({ length: tokens.size }, (_, t) =>
        Number(
          kind === "all" ||
            (kind === "front" && t < cut) ||
            (kind === "back" && t >= cut) ||
            (kind === "any" && this.flag()),
        ),
      );
    });
    return integers("mask", [batch, tokens], ([b, t]) => rows[b!]![t!]!);
  }

  /** Numbers that grow along the last axis by 0 or 1, from 0. */
  segments(name: string, batch: Axis, tokens: Axis): Input {
    const rows = Array.from({ length: batch.size }, () => {
      let at = 0;
      return Array.from({ length: tokens.size }, (_, t) => (t > 0 && this.flag() ? ++at : at));
    });
    return integers(name, [batch, tokens], ([b, t]) => rows[b!]![t!]!);
  }

  /** Any numbers below `n`. */
  indices(name: string, shape: readonly (Axis | number)[], n: number): Input {
    const values = new Map<string, number>();
    return integers(name, shape, (p) => {
      const key = p.join();
      if (!values.has(key)) values.set(key, this.below(n));
      return values.get(key)!;
    });
  }
}

const sizeOf = (a: Axis | number): number => (typeof a === "number" ? a : a.size);
const floats = (name: string, ...shape: readonly (Axis | number)[]): Input => ({ name, dtype: "f32", shape });
const positive = (name: string, ...shape: readonly (Axis | number)[]): Input => ({
  ...floats(name, ...shape),
  value: (p) => ((3 + p.reduce((sum, i) => 7 * sum + i, 0)) % 11) / 8,
});
const integers = (
  name: string,
  shape: readonly (Axis | number)[],
  value: (position: readonly number[]) => number,
): Input => ({ name, dtype: "i32", shape, value });

function tensorOf({ dtype, shape, value }: Input): Tensor | undefined {
  if (!value) return undefined;
  const sizes = shape.map(sizeOf);
  const numbers = Array.from({ length: elementCount(sizes) }, (_, i) => {
    const position: number[] = [];
    for (let a = sizes.length - 1, rest = i; a >= 0; a--) {
      position.unshift(rest % sizes[a]!);
      rest = Math.floor(rest / sizes[a]!);
    }
    return value(position);
  });
  return tensor(dtype, sizes, numbers, "f64");
}

/** The call of a block for a seed: the same on every machine. */
export function callOf(b: RandomBlock, seed: number): MadeCall {
  const sizes = new Sizes(random("std", b.block, seed));
  const call = b.make(sizes);
  const shapeText = (x: Input) => x.shape.map((a) => (typeof a === "number" ? String(a) : a.text)).join(", ");
  const inputs = call.inputs.map((x) => `${x.name}: ${x.dtype}[${shapeText(x)}]`).join(", ");
  const args = [
    ...call.inputs.map((x) => x.name),
    ...Object.entries(call.args ?? {}).map(([name, value]) => `${name} = ${value}`),
  ].join(", ");
  const results = call.results?.map(([name]) => name) ?? ["y"];
  // Axes of several results must not be held against each other.
  const axes = call.results?.map(([name, rank]) =>
    Array.from({ length: rank }, (_, i) => `${name}${i}`).join(", "),
  );
  const outputs = results
    .map((name, i) => `${name}: ${call.dtypes?.[i] ?? "f32"}[${axes?.[i] ?? "..."}]`)
    .join(", ");
  const imports = Object.entries({ [b.block]: b.from, ...call.imports }).map(
    ([name, from]) => `import { ${name} } from "${from}"`,
  );
  const returned = results.map((name) => `${name} = ${name}`).join(", ");
  const text = `${imports.join("\n")}\n\nmodel random (${inputs}) -> (${outputs}) {\n  ${results.join(", ")} = ${b.block}(${args}) @b\n  return ${returned}\n}\n`;
  const given = call.inputs.flatMap((x) => {
    const t = tensorOf(x);
    return t ? [[x.name, t] as const] : [];
  });
  return {
    text,
    dims: sizes.dims,
    inputs: Object.fromEntries(given),
    withoutOracle: call.withoutOracle,
  };
}

// ---- the table ------------------------------------------------------------------------------------------------------------

/** Blocks that map any shape: of one to three axes. */
const anyShape =
  (args?: (r: Sizes) => NonNullable<Call["args"]>): RandomBlock["make"] =>
  (r) => ({
    inputs: [floats("x", r.batch(), ...(r.flag() ? [r.tokens()] : []), r.channels())],
    ...(args && { args: args(r) }),
  });

const image =
  (
    args: (r: Sizes) => Call["args"] = () => ({}),
    least = 1,
    imports?: Call["imports"],
  ): RandomBlock["make"] =>
  (r) => ({
    inputs: [floats("x", r.batch(), r.channels(), ...r.image(least))],
    args: args(r)!,
    ...(imports && { imports }),
  });

/** A head over tokens with a mask that may be left out. */
const tokenHead: RandomBlock["make"] = (r) => {
  const [b, t] = [r.batch(), r.tokens()];
  const x = floats("x", b, t, r.channels());
  return { inputs: r.flag() ? [x, r.mask(b, t)] : [x] };
};

const tokensOf =
  (
    args: (r: Sizes, channels: number) => Call["args"],
    multiple = 1,
    imports?: Call["imports"],
  ): RandomBlock["make"] =>
  (r) => {
    const c = r.channels(multiple);
    return {
      inputs: [floats("x", r.batch(), r.tokens(), c)],
      args: args(r, c)!,
      ...(imports && { imports }),
    };
  };

const fusion =
  (args: (r: Sizes) => Call["args"], imports?: Call["imports"]): RandomBlock["make"] =>
  (r) => {
    const b = r.batch();
    return {
      inputs: [floats("x0", b, r.channels()), floats("x1", b, r.channels())],
      args: args(r)!,
      ...(imports && { imports }),
    };
  };

const logits: RandomBlock["make"] = (r) => ({ inputs: [floats("logits", r.batch(), r.pick(2, 3, 5, 10))] });

const logprobs =
  (args: (r: Sizes) => Call["args"] = () => ({})): RandomBlock["make"] =>
  (r) => {
    const [b, t] = [r.batch(), r.tokens()];
    const length = integers("length", [b], () => 1 + r.below(t.size));
    const x = floats("logprobs", b, t);
    return { inputs: r.flag() ? [x, length] : [x], args: args(r)! };
  };

const heads = (r: Sizes): number => r.pick(1, 2, 3);

/** Windows along some axes: sizes, strides and padding that the definition allows. */
const windows = (r: Sizes, axes: number) => {
  const each = (from: () => number) => Array.from({ length: axes }, from);
  const size = each(() => r.pick(1, 2, 3));
  return { size, stride: each(() => r.pick(1, 2, 3)), pad: size.map((s) => r.below(Math.floor(s / 2) + 1)) };
};
const tuple = (values: readonly number[]): string => `(${values.join(", ")})`;
const list = (values: readonly number[]): string => `[${values.join(", ")}]`;

const pooled =
  (axes: 1 | 2 | 3, args: (r: Sizes, w: ReturnType<typeof windows>) => Call["args"]): RandomBlock["make"] =>
  (r) => {
    const least = 4;
    const side = (name: string) => r.axis(name, least + r.pick(0, 1, 2, 5));
    const names = axes === 1 ? ["T"] : axes === 2 ? ["H", "W"] : ["D", "H", "W"];
    return {
      inputs: [floats("x", r.batch(), r.channels(), ...names.map(side))],
      args: args(r, windows(r, axes))!,
    };
  };

const of = (axes: 1 | 2 | 3, values: readonly number[]): string | number =>
  axes === 1 ? values[0]! : axes === 2 ? tuple(values) : list(values);
const averaged = (axes: 1 | 2 | 3) =>
  pooled(axes, (r, w) => ({
    size: of(axes, w.size),
    stride: of(axes, w.stride),
    pad: of(axes, w.pad),
    ceil_mode: r.flag(),
    count_include_pad: r.flag(),
  }));

const latents = { heads: 2, dim_head: 3 };

const table = (from: string, blocks: Readonly<Record<string, RandomBlock["make"]>>): readonly RandomBlock[] =>
  Object.entries(blocks).map(([block, make]) => ({ block, from, make }));

export const randomBlocks: readonly RandomBlock[] = [
  ...table("std/activations", {
    SquaredRelu: anyShape(),
    StarRelu: anyShape(),
    Softplus: anyShape(),
    Clamp: anyShape(() => ({ low: -0.5, high: 0.25 })),
  }),
  ...table("std/adapters", {
    LoraLinear: anyShape((r) => ({ out: r.channels(), rank: r.pick(1, 2, 3), bias: r.flag() })),
  }),
  ...table("std/attention", {
    Attention: (r) => {
      const [b, t, h] = [r.batch(), r.tokens(), heads(r)];
      const x = floats("x", b, t, h * r.channels());
      return {
        inputs: r.flag() ? [x, r.mask(b, t)] : [x],
        args: { heads: h, causal: r.flag(), qkv_bias: r.flag(), proj_bias: r.flag() },
      };
    },
    GroupedQueryAttention: (r) => {
      const [b, t, kv] = [r.batch(), r.tokens(), r.pick(1, 2)];
      const x = floats("x", b, t, r.channels());
      const turned = r.flag();
      return {
        inputs: r.flag() ? [x, r.mask(b, t)] : [x],
        args: {
          heads: kv * r.pick(1, 2, 3),
          kv_heads: kv,
          head_dim: 2 * r.channels(),
          causal: r.flag(),
          bias: r.flag(),
          ...(turned && { rotary: "Rotary(positions = 32)" }),
        },
        ...(turned && { imports: { Rotary: "std/attention" } }),
      };
    },
    CrossAttention: (r) => {
      const [b, t, s, h] = [r.batch(), r.tokens(), r.axis("S", r.pick(1, 3, 5, 9)), heads(r)];
      const inputs = [floats("x", b, t, h * r.channels()), floats("context", b, s, r.channels())];
      return { inputs: r.flag() ? [...inputs, r.mask(b, s)] : inputs, args: { heads: h, bias: r.flag() } };
    },
    Rotary: (r) => ({
      inputs: [floats("x", r.batch(), r.tokens(), heads(r), 2 * r.channels())],
      args: { positions: 32 },
    }),
  }),
  ...table("std/bilinear", {
    LinearSum: fusion((r) => ({ mm_dim: r.channels(), output_dim: r.channels(), normalize: r.flag() })),
    ConcatMlp: fusion((r) => ({ dimensions: list([r.channels(), r.channels()]), output_dim: r.channels() })),
    Mlb: fusion((r) => ({ mm_dim: r.channels(), output_dim: r.channels(), normalize: r.flag() })),
    Mfb: fusion((r) => ({
      mm_dim: r.channels(),
      factor: r.pick(1, 2, 3),
      output_dim: r.channels(),
      normalize: r.flag(),
    })),
    Mfh: fusion((r) => ({
      mm_dim: r.channels(),
      factor: r.pick(1, 2, 3),
      output_dim: r.channels(),
      normalize: r.flag(),
    })),
    Mutan: fusion((r) => ({
      mm_dim: r.channels(),
      rank: r.pick(1, 2, 3),
      output_dim: r.channels(),
      normalize: r.flag(),
    })),
    Tucker: fusion((r) => ({ mm_dim: r.channels(), output_dim: r.channels(), normalize: r.flag() })),
    BlockFusion: fusion(
      (r) => ({
        mm_dim: 6,
        chunks: r.pick(1, 2, 3),
        chunk: r.pick("RankChunk(rank = 2)", "CoreChunk"),
        output_dim: r.channels(),
        pos_norm: r.pick("before_cat", "after_cat"),
      }),
      { RankChunk: "std/bilinear", CoreChunk: "std/bilinear" },
    ),
    Mcb: fusion((r) => ({ mm_dim: r.channels(), output_dim: r.channels() })),
    Bilinear: (r) => {
      const b = r.batch();
      return {
        inputs: [floats("u", b, r.channels()), floats("v", b, r.channels())],
        args: { out: r.channels() },
      };
    },
    CountSketch: (r) => ({ inputs: [floats("x", r.batch(), r.channels())], args: { out: r.channels() } }),
    CircularConvolution: (r) => {
      const [b, n] = [r.batch(), r.channels()];
      return { inputs: [floats("a", b, n), floats("b", b, n)] };
    },
  }),
  ...table("std/cascade", {
    MaxProbability: logits,
    ProbabilityMargin: logits,
    NegativeEntropy: logits,
    ChowSum: logprobs(),
    ChowAverage: logprobs(),
    ChowQuantile: logprobs((r) => ({ a: r.pick(0, 0.1, 0.5, 1).toFixed(2) })),
  }),
  ...table("std/gem", {
    GeM: image((r) => ({ ...(r.flag() ? { p: r.pick("1.0", "3.0", "4.6") } : { per_channel: r.flag() }) })),
    GGeM: (r) => {
      const groups = r.pick(1, 2, 3);
      return { inputs: [floats("x", r.batch(), r.tokens(), groups * r.channels())], args: { groups } };
    },
    ReflectPad2d: image((r) => ({ pad: r.pick(0, 1, 2) }), 3),
    // Powers that are no whole numbers: of maps behind a ReLU.
    RegionalGeM: (r) => ({
      inputs: [positive("x", r.batch(), r.channels(), ...r.image(3))],
      args: { size: r.pick(1, 3, 5) },
    }),
    ScaleGeM: (r) => ({
      inputs: [floats("x", r.axis("S", r.pick(1, 2, 3)), r.batch(), r.channels())],
      ...(r.flag() && { args: { p: "3.0" } }),
    }),
    ReluP: anyShape(),
    Rerank: (r) => ({
      inputs: [floats("database", r.pick(7, 12, 15), 5), floats("query", 5)],
      args: { m: r.pick(5, 6, 7), k: r.pick(1, 2, 4) },
      results: [
        ["order", 1],
        ["scores", 1],
      ],
      dtypes: ["u32", "f32"],
    }),
  }),
  ...table("std/graph", {
    SegmentSoftmax: (r) => {
      const [e, nodes] = [r.axis("E", r.pick(1, 5, 9)), r.pick(1, 3, 4)];
      return { inputs: [floats("x", e, r.channels()), r.indices("target", [e], nodes)], args: { nodes } };
    },
    LeakyRelu: anyShape(),
    GraphAttention: (r) => {
      const [n, e, h] = [r.pick(1, 3, 5), r.axis("E", r.pick(1, 5, 9)), heads(r)];
      return {
        inputs: [floats("x", n, r.channels()), r.indices("source", [e], n), r.indices("target", [e], n)],
        args: { out: h * r.channels(), heads: h, join: r.flag() },
      };
    },
    EdgeAttention: (r) => {
      const [n, e, h] = [r.pick(1, 3, 5), r.axis("E", r.pick(1, 5, 9)), heads(r)];
      return {
        inputs: [
          floats("x", n, r.channels()),
          floats("edges", e, r.channels()),
          r.indices("source", [e], n),
          r.indices("target", [e], n),
        ],
        args: { out: h * r.channels(), heads: h },
        results: [
          ["y", 2],
          ["shares", 2],
        ],
      };
    },
    ClusterPool: (r) => {
      const [n, clusters] = [r.axis("N", r.pick(1, 5, 9)), r.pick(1, 3, 4)];
      return {
        inputs: [floats("x", n, r.channels()), r.indices("cluster", [n], clusters)],
        args: { clusters, mode: r.pick("sum", "mean", "max") },
      };
    },
    ClusterUnpool: (r) => {
      const k = r.pick(1, 3, 4);
      return {
        inputs: [floats("x", k, r.channels()), r.indices("cluster", [r.axis("N", r.pick(1, 5, 9))], k)],
      };
    },
  }),
  ...table("std/heads", {
    ClsPool: tokenHead,
    MeanPool: tokenHead,
    MaxPool: tokenHead,
    MeanSqrtLenPool: tokenHead,
    WeightedMeanPool: tokenHead,
    LastTokenPool: tokenHead,
    BertPooler: tokenHead,
    WithoutPrompt: (r) => {
      const [b, t] = [r.batch(), r.tokens()];
      return {
        inputs: [r.mask(b, t), r.indices("prompt", [b], t.size + 1)],
        dtypes: ["i32"],
      };
    },
    SentencePooling: (r) => {
      const [b, t] = [r.batch(), r.tokens()];
      const modes = [
        "cls_token",
        "max_tokens",
        "mean_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
        "lasttoken",
      ];
      const always = r.pick(...modes);
      const args = Object.fromEntries(modes.map((m) => [`pooling_mode_${m}`, m === always || r.flag()]));
      const inputs = [floats("x", b, t, r.channels()), r.mask(b, t)];
      return { inputs: r.flag() ? [...inputs, r.indices("prompt", [b], t.size + 1)] : inputs, args };
    },
    AttSets: tokensOf((r) => ({ outputs: r.pick(1, 2, 3) })),
    AttSetsConv: (r) => {
      const c = r.channels();
      return {
        inputs: [floats("x", r.batch(), r.pick(1, 2, 5), c, ...r.image())],
        args: { score: `conv2d(out = ${c}, kernel = 3, pad = 1)` },
      };
    },
  }),
  ...table("std/latent", {
    AttentionPoolLatent: (r) => {
      const h = heads(r);
      return {
        inputs: [floats("x", r.batch(), r.tokens(), h * r.channels())],
        args: {
          heads: h,
          latent_len: r.pick(1, 2, 3),
          qkv_bias: r.flag(),
          pool: r.pick("token", "avg"),
          mlp: r.pick("none", "Mlp"),
        },
        imports: { Mlp: "std/layers" },
      };
    },
    SiglipPool: (r) => {
      const h = heads(r);
      return { inputs: [floats("x", r.batch(), r.tokens(), h * r.channels())], args: { heads: h } };
    },
    SiglipPatches: (r) => {
      const h = heads(r);
      return {
        inputs: [floats("x", r.batch(), r.tokens(), h * r.channels())],
        args: { heads: h },
        results: [
          ["values", 3],
          ["shares", 2],
        ],
      };
    },
    Geglu: anyShape((r) => ({ mult: r.pick(1, 2, 4) })),
    LatentAttend: (r) => {
      const b = r.batch();
      return {
        inputs: [
          floats("x", b, r.tokens(), r.channels()),
          floats("context", r.flag() ? b : 1, r.pick(1, 3, 5), r.channels()),
        ],
        args: latents,
      };
    },
    LatentAttentionPool: (r) => {
      const [b, t] = [r.batch(), r.tokens()];
      return {
        inputs: [floats("x", b, t, r.channels()), r.mask(b, t)],
        args: { num_latents: r.pick(1, 3, 5), mult: 2, ...latents },
      };
    },
    TrainablePool: tokensOf((r) => ({ num_latents: r.pick(1, 3, 5), mult: 2, ...latents })),
    Resampler: (r) => {
      const h = heads(r);
      return {
        inputs: [floats("x", r.batch(), r.tokens(), h * r.channels())],
        args: { latents: r.pick(1, 3, 5), depth: r.pick(1, 2), heads: h, mult: 2 },
      };
    },
  }),
  ...table("std/layers", {
    LayerScale: image(),
    ResScale: image(),
    PoolMixer: image((r) => ({ size: r.pick(1, 3, 5) })),
    Identity: anyShape(),
    Mlp: anyShape((r) => ({
      ratio: r.pick(1, 2, 3),
      activation: r.pick("gelu", "relu", "silu"),
      bias: r.flag(),
    })),
    ConvMlp: image((r) => ({ ratio: r.pick(1, 2, 3), bias: r.flag() })),
    Embedding: (r) => ({
      inputs: [r.indices("ids", [r.batch(), r.tokens()], 7)],
      args: { size: 7, dim: r.channels() },
    }),
    OneHot: (r) => ({ inputs: [r.indices("ids", [r.batch(), r.tokens()], 5)], args: { size: 5 } }),
    Conv3d: (r) => {
      const sides = ["D", "H", "W"].map((n) => r.axis(n, 3 + r.pick(0, 1, 4)));
      return {
        inputs: [floats("x", r.batch(), r.pick(1, 2, 3), ...sides)],
        args: {
          out: r.pick(1, 3, 5),
          kernel: tuple([r.pick(1, 3), r.pick(1, 2), r.pick(2, 3)]),
          pad: tuple([r.pick(0, 1), 0, 1]),
          bias: r.flag(),
        },
      };
    },
  }),
  ...table("std/metaformer", {
    MetaFormerBlock: (r) => ({
      inputs: [floats("x", r.batch(), r.channels(), ...r.image())],
      args: {
        mixer: r.pick("PoolMixer", "Identity", "SepConv(kernel = 3)"),
        layer_scale: r.pick("LayerScale", "none"),
      },
      imports: {
        PoolMixer: "std/layers",
        Identity: "std/layers",
        LayerScale: "std/layers",
        SepConv: "std/metaformer",
      },
    }),
    MetaFormerStage: (r) => {
      const [c, downsample] = [r.channels(), r.flag()];
      return {
        inputs: [floats("x", r.batch(), c, ...r.image(3))],
        args: { dim: downsample ? r.channels() : c, depth: r.pick(1, 2), downsample },
      };
    },
    RandomMixer: (r) => ({
      inputs: [floats("x", r.batch(), r.channels(), r.pick(1, 3, 4), r.pick(1, 2, 5))],
    }),
    SepConv: image((r) => ({ ratio: r.pick(1, 2), kernel: r.pick(1, 3, 7) })),
    TokenResScale: anyShape(),
    ImageToTokens: image(),
    TokensToImage: (r) => {
      const [height, width] = [r.pick(1, 3, 5), r.pick(1, 2, 7)];
      return { inputs: [floats("x", r.batch(), height * width, r.channels())], args: { height, width } };
    },
    MlpHead: (r) => ({
      inputs: [floats("x", r.batch(), r.channels())],
      args: { classes: r.pick(1, 3, 10), ratio: 2 },
    }),
    MetaFormerBaseline: (r) => ({
      inputs: [floats("image", r.batch(), 3, r.pick(32, 33, 47), r.pick(32, 41))],
      args: {
        dims: "[6, 7]",
        depths: "[1, 1]",
        mixers: r.pick("[pooling, identity]", "[sepconv, pooling]", "[identity, sepconv]"),
        norm: r.pick("group", "layer"),
        head: r.pick("linear", "mlp"),
        classes: 5,
      },
    }),
  }),
  ...table("std/norms", {
    LayerNorm2d: image((r) => ({ bias: r.flag() })),
    GroupNorm1: image((r) => ({ bias: r.flag() })),
    LocalResponseNorm: image((r) => ({ size: r.pick(1, 3, 5) })),
  }),
  ...table("std/ponet", {
    TextSegments: (r) => {
      const [b, t] = [r.batch(), r.tokens()];
      return { inputs: [{ ...r.indices("special", [b, t], 2) }], dtypes: ["i32"] };
    },
    EvenSegments: (r) => ({
      inputs: [floats("x", r.batch(), r.tokens(), r.channels())],
      args: { count: r.pick(1, 2, 3) },
      dtypes: ["i32"],
    }),
    PoNetMixer: (r) => {
      const [b, t, h] = [r.batch(), r.tokens(), heads(r)];
      const inputs = [floats("x", b, t, h * r.channels()), r.segments("segment", b, t)];
      const special = { ...r.indices("special", [b, t], 2) };
      const more = r.pick([], [r.mask(b, t)], [r.mask(b, t), special]);
      return { inputs: [...inputs, ...more], args: { heads: h, segments: r.pick(0, 13) } };
    },
    PoNetLayer: (r) => {
      const [b, t, h] = [r.batch(), r.tokens(), heads(r)];
      const inputs = [floats("x", b, t, h * r.channels()), r.segments("segment", b, t)];
      return {
        inputs: r.flag() ? [...inputs, r.mask(b, t)] : inputs,
        args: { heads: h, hidden: r.channels(), segments: r.pick(0, 13) },
      };
    },
  }),
  ...table("std/pooling", {
    AvgPool1d: averaged(1),
    AvgPool2d: averaged(2),
    AvgPool3d: averaged(3),
    MaxPool1d: pooled(1, (r, w) => ({
      size: w.size[0]!,
      stride: w.stride[0]!,
      pad: w.pad[0]!,
      ceil_mode: r.flag(),
    })),
    MaxPool3d: pooled(3, (r, w) => ({
      size: list(w.size),
      stride: list(w.stride),
      pad: list(w.pad),
      ceil_mode: r.flag(),
    })),
    LpPool1d: pooled(1, (r, w) => ({
      p: r.pick("1.0", "2.0", "4.0"),
      size: w.size[0]!,
      stride: w.stride[0]!,
      ceil_mode: r.flag(),
    })),
    LpPool2d: pooled(2, (r, w) => ({
      p: r.pick("1.0", "2.0", "4.0"),
      size: tuple(w.size),
      stride: tuple(w.stride),
      ceil_mode: r.flag(),
    })),
    LpPool3d: pooled(3, (r, w) => ({
      p: r.pick("1.0", "2.0", "4.0"),
      size: list(w.size),
      stride: list(w.stride),
      ceil_mode: r.flag(),
    })),
    SpatialPyramid: image(
      (r) => ({
        levels: r.pick("[1]", "[1, 2, 3]", "[1, 2, 3, 6]"),
        bins: r.pick("adaptive_max_pool", "adaptive_avg_pool"),
      }),
      6,
    ),
    PyramidPooling: image((r) => ({ out: r.channels(), levels: r.pick("[1]", "[1, 2, 3]") }), 3),
    Spp: image((r) => ({ sizes: r.pick("[3]", "[3, 5]", "[5, 9, 13]") })),
    Sppf: image((r) => ({ size: r.pick(3, 5), times: r.pick(1, 2, 3) })),
  }),
  ...table("std/experts", {
    SoftMoe: (r) => {
      const [b, t] = [r.batch(), r.tokens()];
      const x = floats("x", b, t, r.channels());
      return {
        inputs: r.flag() ? [x, r.mask(b, t)] : [x],
        args: {
          experts: r.pick(1, 2, 3),
          slots: r.pick(1, 2),
          expert: `PlainExpert(hidden = ${r.channels()})`,
        },
        imports: { PlainExpert: "std/experts" },
      };
    },
  }),
  ...table("std/transformer", {
    SwiGlu: anyShape((r) => ({ hidden: r.channels(), bias: r.flag() })),
    TokenNorm: anyShape(),
    TokenScale: anyShape(),
    TransformerBlock: (r) => {
      const [b, t, h] = [r.batch(), r.tokens(), heads(r)];
      const x = floats("x", b, t, h * r.channels());
      return {
        inputs: r.flag() ? [x, r.mask(b, t)] : [x],
        args: { attn: `Attention(heads = ${h})`, mlp: "Mlp(ratio = 2)" },
        imports: { Attention: "std/attention", Mlp: "std/layers" },
      };
    },
    PatchEmbed: (r) => ({
      inputs: [floats("image", r.batch(), r.pick(1, 3), ...r.image(5))],
      args: { dim: r.channels(), patch: r.pick(2, 3, 5), stride: r.pick(1, 2, 3), pad: r.pick(0, 1) },
    }),
    PrependToken: (r) => {
      const c = r.channels();
      return { inputs: [floats("x", r.batch(), r.tokens(), c), floats("token", 1, 1, c)] };
    },
  }),
  ...table("std/video", {
    Projector: anyShape((r) => ({ dim: r.channels() })),
    FlexProjector: anyShape((r) => ({ dim: r.channels() })),
    VideoPool: (r) => {
      const frame = [r.pick(2, 3, 4), r.pick(3, 5)];
      const frames = r.pick(1, 3, 4);
      return {
        inputs: [floats("x", r.batch(), frames, frame[0]! * frame[1]!, r.channels())],
        args: {
          frame_shape: list(frame),
          pooling_shape: list([r.pick(1, frames), r.pick(1, 2), r.pick(2, 3)]),
        },
      };
    },
    PromptPool: (r) => {
      const frame = [r.pick(2, 3, 4), r.pick(3, 5)];
      const [b, frames] = [r.batch(), r.pick(2, 3, 4)];
      const n = frame[0]! * frame[1]!;
      return {
        inputs: [floats("x", b, frames, n, r.channels()), floats("shares", b, frames, n)],
        args: { frame_shape: list(frame), pooling_kernel: list([r.pick(1, 2), r.pick(1, 2), r.pick(2, 3)]) },
      };
    },
    FlexPool: (r) => {
      const grid = r.pick(3, 4, 5);
      return {
        inputs: [
          floats("x", r.batch(), grid * grid, r.channels()),
          floats("like", r.axis("N", r.pick(1, 2, 3))),
        ],
        args: { grid },
      };
    },
  }),
];

export interface Elsewhere {
  readonly why: string;
  /** A block with a row here, a file of worked examples, or an example that is run whole; it uses the block, through others maybe. */
  readonly by: string;
}

const partOf = (by: string): Elsewhere => ({ why: "a part of other blocks", by });
const boxes: Elsewhere = { why: "boxes of an image", by: "test/std/pooling.md" };
/** Held by the conformance list of routed experts too (docs/experts.md). */
const routed = (by = "examples/moe_layers.model"): Elsewhere => ({
  why: "which experts run is decided by values",
  by,
});

/** Blocks without a row, why, and what tests them. */
export const elsewhere: Readonly<Record<string, Elsewhere>> = {
  MosChange: { why: "its pools are shared by many layers", by: "test/std/adapters.md" },
  SplitHeads: partOf("GroupedQueryAttention"),
  JoinHeads: partOf("Attention"),
  SignedSqrt: partOf("Mutan"),
  PowerNorm: partOf("Mutan"),
  Activated: partOf("Mlb"),
  Normalized: partOf("Mfb"),
  SumFactors: partOf("Mfb"),
  SumRanks: partOf("Mutan"),
  RankChunk: partOf("BlockFusion"),
  MirrorAlong: partOf("ReflectPad2d"),
  TokenWeights: partOf("MeanPool"),
  InBounds: partOf("AvgPool2d"),
  PoolThreeAxes: partOf("MaxPool3d"),
  VideoWindows: partOf("PromptPool"),
  CoreChunk: partOf("examples/vqa_fusion.model"),
  RegionCells: boxes,
  RegionBins: boxes,
  RegionPyramid: boxes,
  VitEncoder: { why: "its tokens follow from its image", by: "examples/digits_vit.model" },
  Cascade: { why: "which rows go on is decided by values", by: "test/std/cascade.md" },
  ImageMoe: routed("examples/digits_moe.model"),
  PlainExpert: routed(),
  Combine: routed(),
  Moe: routed(),
  ExpertChoiceMoe: routed("test/std/experts.md"),
  BaseMoe: routed(),
  BaseExpert: routed(),
  MoePlusPlus: routed(),
  ChosenFrom: routed(),
  PlusPlusGate: routed(),
  FusedSwiglu: routed(),
  ConstantExpert: routed(),
  SwitchRouter: routed(),
  SoftmaxRouter: routed(),
  DeepSeekV2Router: routed(),
  BiasedRouter: routed(),
  CosineRouter: routed(),
  BaseRouter: routed(),
  Capacity: routed(),
};
