// The methods that `reduce` names: where each goes in a block, with what numbers, and the nodes that do it. Numbers and defaults are
// those of the papers' code.

import { constantOf, dim } from "../ir/dim.ts";
import {
  GraphBuilder,
  unionSpans,
  type AddOptions,
  type Annotation,
  type Attrs,
  type AttrValue,
  type Graph,
  type ValueId,
  type Weight,
} from "../ir/graph.ts";
import { tensorType, type TensorType } from "../ir/types.ts";
import { attentionScale } from "../ops/attention.ts";
import { lookupOp } from "../ops/index.ts";
import type { Block } from "./encoder-blocks.ts";

/** What a method puts into the graph behind one value. */
export interface Change {
  readonly method: string;
  /** Later nodes read the result instead of this. */
  readonly at: ValueId;
  readonly block: Block;
  /** Do later layers of attention weigh keys by the sizes of their tokens? */
  readonly proportional: boolean;
  write(w: Writing): { readonly tokens: ValueId; readonly size: ValueId | undefined };
}

export interface Writing {
  readonly b: GraphBuilder;
  /** What a value of the graph is called now. */
  now(id: ValueId): ValueId;
  /** Sizes of the tokens so far; undefined: 1 each. */
  readonly size: ValueId | undefined;
  /** A weight that the model did not have. */
  weight(key: string, shape: readonly number[]): ValueId;
}

export interface Method {
  readonly name: string;
  readonly doc: string;
  /** What becomes of the tokens. */
  readonly equation: string;
  /** Parameters with their defaults; undefined must be given. */
  readonly params: Readonly<Record<string, { readonly doc: string; readonly default?: AttrValue }>>;
  plan(blocks: readonly Block[], args: Attrs): readonly Change[];
}

/** The numbers of a request make no sense; the text says why. */
export class BadRequest extends Error {}

// ---- arguments --------------------------------------------------------------------------------------------------------

function numberIn(args: Attrs, name: string): number {
  const value = args[name];
  if (typeof value !== "number") throw new BadRequest(`${name} is a number`);
  return value;
}

function integerIn(args: Attrs, name: string, least: number): number {
  const value = numberIn(args, name);
  if (!Number.isInteger(value) || value < least)
    throw new BadRequest(`${name} is an integer of ${least} or more`);
  return value;
}

function shareIn(args: Attrs, name: string, least: number): number {
  const value = numberIn(args, name);
  if (!(value >= least && value <= 1)) throw new BadRequest(`${name} is from ${least} to 1`);
  return value;
}

function integersIn(value: AttrValue | undefined, name: string): readonly number[] {
  const all = Array.isArray(value) ? value : [value];
  if (!all.every((x): x is number => typeof x === "number" && Number.isInteger(x) && x >= 0))
    throw new BadRequest(`${name} is an integer or a list of them, 0 or more`);
  return all;
}

/** Blocks at the places that `layers` names; by default a quarter, a half and three quarters of the way. */
function chosen(blocks: readonly Block[], args: Attrs): readonly Block[] {
  const n = blocks.length;
  const layers =
    args["layers"] === undefined
      ? [n / 4, n / 2, (3 * n) / 4].map(Math.floor)
      : integersIn(args["layers"], "layers");
  const beyond = layers.find((l) => l >= n);
  if (beyond !== undefined)
    throw new BadRequest(`there is no layer ${beyond}: there are ${n}, counted from 0`);
  return [...new Set(layers)].sort((a, b) => a - b).map((l) => blocks[l]!);
}

/** Pairs merged in each layer (`parse_r` of ToMe): the same in all, as listed, or rising or falling by `inflect` about their mean. */
export function tomeSchedule(layers: number, r: AttrValue | undefined, inflect: number): readonly number[] {
  const list = integersIn(r, "r");
  if (Array.isArray(r)) return Array.from({ length: layers }, (_, i) => list[i] ?? 0);
  const mean = list[0]!;
  const least = Math.trunc(mean * (1 - inflect));
  const step = layers > 1 ? (2 * mean - least - least) / (layers - 1) : 0;
  return Array.from({ length: layers }, (_, i) => Math.trunc(least + step * i));
}

// ---- nodes ------------------------------------------------------------------------------------------------------------

/** Calls of ops that say where they come from. */
class Nodes {
  readonly w: Writing;
  readonly #where: AddOptions;
  constructor(w: Writing, block: Block) {
    this.w = w;
    this.#where = { spans: unionSpans(block.attention.spans), scope: block.name };
  }
  all(name: string, inputs: readonly ValueId[], attrs: Attrs = {}): readonly ValueId[] {
    return this.w.b.add(lookupOp(name)!, inputs, attrs, this.#where).results.map((r) => r.id);
  }
  call(name: string, inputs: readonly ValueId[], attrs: Attrs = {}): ValueId {
    return this.all(name, inputs, attrs)[0]!;
  }
  type(id: ValueId): TensorType {
    return this.w.b.type(id);
  }
  slice(x: ValueId, start: number, end?: number, axis = 1): ValueId {
    return this.call("slice", [x], { axis, start: dim(start), ...(end !== undefined && { end: dim(end) }) });
  }
  ones(x: ValueId): ValueId {
    const { dtype, shape } = this.type(x);
    return this.call("constant", [], { value: 1, dtype, shape: shape.slice(0, 2) });
  }
}

/** Tokens of a value, [B, N, C]. */
const tokensOf = (n: Nodes, id: ValueId): number => constantOf(n.type(id).shape[1]!)!;

/** A merge behind attention, by the mean of its keys over the heads. */
function mergeBehind(method: "tome" | "pitome", block: Block, attrs: Attrs, proportional: boolean): Change {
  return {
    method,
    at: block.middle,
    block,
    proportional,
    write(w) {
      const n = new Nodes(w, block);
      const tokens = w.now(block.middle);
      const metric = n.call("mean", [w.now(block.attention.inputs[1]!)], { axes: [2] });
      const [merged, size] = n.all(method, [tokens, metric, w.size ?? n.ones(tokens)], attrs);
      return { tokens: merged!, size };
    },
  };
}

/** What the first token's query gives to every other key: the mean over the heads of its row of attention. */
function classAttention(n: Nodes, block: Block): ValueId {
  const [q, k] = block.attention.inputs.map((x) => n.w.now(x)) as [ValueId, ValueId];
  const heads = (x: ValueId) => n.call("transpose", [x], { perm: [0, 2, 1, 3] });
  const products = n.call("matmul", [heads(n.slice(q, 0, 1)), heads(k)], { transpose_b: true });
  const scale = n.call("constant", [], {
    value: attentionScale(n.type(q), block.attention.attrs),
    dtype: n.type(q).dtype,
  });
  const row = n.call("softmax", [n.call("mul", [products, scale])]);
  return n.slice(n.call("mean", [row], { axes: [1, 2] }), 1);
}

/** The predictor of DynamicViT: a score for every token but the first. */
function predictedScores(n: Nodes, x: ValueId, prefix: string): ValueId {
  const channels = constantOf(n.type(x).shape[2]!);
  if (channels === undefined || channels % 4 !== 0)
    throw new BadRequest("the predictor needs channels that are a multiple of 4");
  const weight = (key: string, ...shape: number[]) => n.w.weight(`${prefix}.${key}`, shape);
  const linear = (from: ValueId, key: string, into: number, out: number) =>
    n.call("linear", [from, weight(`${key}.weight`, out, into), weight(`${key}.bias`, out)]);
  const half = channels / 2;
  const norm = [weight("in_conv.0.weight", channels), weight("in_conv.0.bias", channels)];
  const normed = n.call("layer_norm", [n.slice(x, 1), ...norm], { eps: 1e-5 });
  const u = n.call("gelu", [linear(normed, "in_conv.1", channels, channels)]);
  const local = n.slice(u, 0, half, 2);
  const global = n.call("mean", [n.slice(u, half, channels, 2)], { axes: [1], keepdims: true });
  const wide = n.call("broadcast_to", [global], { dims: n.type(local).shape });
  const first = n.call("gelu", [
    linear(n.call("concat", [local, wide], { axis: 2 }), "out_conv.0", channels, half),
  ]);
  const second = n.call("gelu", [linear(first, "out_conv.2", half, half / 2)]);
  const z = linear(second, "out_conv.4", half / 2, 2);
  return n.call("squeeze", [n.slice(n.call("log_softmax", [z]), 0, 1, 2)], { axes: [2] });
}

/** Averages of windows of a square grid behind `kept` tokens; the last window of a side may be smaller. */
function pooledGrid(n: Nodes, x: ValueId, size: number, kept: number): ValueId {
  const [batch, , channels] = n.type(x).shape;
  const side = Math.sqrt(tokensOf(n, x) - kept);
  if (!Number.isInteger(side)) throw new BadRequest(`${tokensOf(n, x) - kept} tokens are no square grid`);
  const grid = n.call("reshape", [n.call("transpose", [n.slice(x, kept)], { perm: [0, 2, 1] })], {
    dims: [batch!, channels!, dim(side), dim(side)],
  });
  const pooled = n.call("avg_pool2d", [grid], {
    size: [size, size],
    stride: [size, size],
    ceil_mode: true,
    count_include_pad: false,
  });
  const flat = n.call("reshape", [pooled], { dims: [batch!, channels!, dim(Math.ceil(side / size) ** 2)] });
  const tokens = n.call("transpose", [flat], { perm: [0, 2, 1] });
  return kept === 0 ? tokens : n.call("concat", [n.slice(x, 0, kept), tokens], { axis: 1 });
}

// ---- the methods ------------------------------------------------------------------------------------------------------

const protect = { doc: "tokens in front that stay as they are", default: 1 } as const;
const layers = {
  doc: "the layers where tokens are reduced; by default at a quarter, a half and three quarters",
} as const;

export const reductionMethods: readonly Method[] = [
  {
    name: "tome",
    doc: "ToMe (arXiv 2210.09461) merges r pairs of tokens that are alike behind the attention of every layer.",
    equation: "N tokens become N - min(r, (N - protect) / 2); means weighted by size",
    params: {
      r: { doc: "pairs merged in a layer, or a list of them" },
      inflect: {
        doc: "-1: from 2r in the first layer down to 0; 1: the other way; 0: the same in all",
        default: 0,
      },
      prop_attn: { doc: "do later layers weigh keys by the sizes of their tokens?", default: true },
      protect,
    },
    plan(blocks, args) {
      const schedule = tomeSchedule(blocks.length, args["r"], numberIn(args, "inflect"));
      const kept = integerIn(args, "protect", 0);
      return blocks.flatMap((block, i) =>
        schedule[i]! > 0
          ? [mergeBehind("tome", block, { r: schedule[i]!, protect: kept }, args["prop_attn"] === true)]
          : [],
      );
    },
  },
  {
    name: "pitome",
    doc: "PiToMe (arXiv 2405.16148) merges tokens of high energy, that have many alike, behind the attention of every layer.",
    equation: "N tokens become N - floor(N - N*ratio); means weighted by size",
    params: {
      ratio: { doc: "share of the tokens that a layer leaves, 0.5 to 1" },
      margin: {
        doc: "cosine from which on tokens count as alike, in the first layer; it falls to 0",
        default: 0.9,
      },
      prop_attn: { doc: "do later layers weigh keys by the sizes of their tokens?", default: false },
      protect,
    },
    plan(blocks, args) {
      const [ratio, margin] = [shareIn(args, "ratio", 0.5), numberIn(args, "margin")];
      const kept = integerIn(args, "protect", 0);
      return blocks.map((block, i) => {
        const attrs = { ratio, margin: margin - (margin * i) / blocks.length, protect: kept };
        return mergeBehind("pitome", block, attrs, args["prop_attn"] === true);
      });
    },
  },
  {
    name: "evit",
    doc: "EViT (arXiv 2202.07800) keeps the tokens that the class token attends to most, and fuses the others into one.",
    equation: "1 + N tokens become 1 + ceil(keep_rate * N), and one more of the others",
    params: {
      keep_rate: { doc: "share of the tokens kept", default: 0.7 },
      fuse: { doc: "are the others fused into one token?", default: true },
      layers,
    },
    plan: (blocks, args) => {
      const rate = shareIn(args, "keep_rate", 0);
      return chosen(blocks, args).map((block) => ({
        method: "evit",
        at: block.middle,
        block,
        proportional: false,
        write(w) {
          const n = new Nodes(w, block);
          const x = w.now(block.middle);
          // The ceiling of the f64 product, as in the paper's code: 0.55 of 20 tokens are 12.
          const k = Math.max(1, Math.ceil(rate * (tokensOf(n, x) - 1)));
          const tokens = n.call("keep_tokens", [x, classAttention(n, block)], {
            k,
            fuse: args["fuse"] === true,
          });
          return { tokens, size: undefined };
        },
      }));
    },
  },
  {
    name: "dynamicvit",
    doc: "DynamicViT (arXiv 2106.02034) keeps the tokens that a learned predictor scores highest; its weights are score_predictor.{i}.*.",
    equation: "1 + N tokens become 1 + int(N0 * ratio^i) in front of stage i",
    params: {
      ratio: {
        doc: "share of the first number of tokens that each stage keeps: ratio, its square, its cube",
        default: 0.7,
      },
      layers,
    },
    plan(blocks, args) {
      const ratio = shareIn(args, "ratio", 0);
      return chosen(blocks, args).map((block, stage) => ({
        method: "dynamicvit",
        at: block.input,
        block,
        proportional: false,
        write(w) {
          const n = new Nodes(w, block);
          const x = w.now(block.input);
          const k = Math.max(1, Math.trunc((block.tokens - 1) * ratio ** (stage + 1)));
          const tokens = n.call("keep_tokens", [x, predictedScores(n, x, `score_predictor.${stage}`)], { k });
          return { tokens, size: undefined };
        },
      }));
    },
  },
  {
    name: "avg_pool",
    doc: "Averages windows of the grid of tokens in front of a layer.",
    equation: "protect + H*W tokens become protect + ceil(H / size) * ceil(W / size)",
    params: {
      size: { doc: "side of a window, and its step", default: 2 },
      layers: { doc: "the layers in front of which tokens are averaged" },
      protect,
    },
    plan: (blocks, args) => {
      const size = integerIn(args, "size", 1);
      const kept = integerIn(args, "protect", 0);
      if (args["layers"] === undefined) throw new BadRequest("layers says in front of which layers");
      return (size === 1 ? [] : chosen(blocks, args)).map((block) => ({
        method: "avg_pool",
        at: block.input,
        block,
        proportional: false,
        write(w) {
          return { tokens: pooledGrid(new Nodes(w, block), w.now(block.input), size, kept), size: undefined };
        },
      }));
    },
  },
  {
    name: "drop_layers",
    doc: "Leaves out whole layers.",
    equation: "block(x) = x",
    params: { layers: { doc: "the layers left out" } },
    plan(blocks, args) {
      if (args["layers"] === undefined) throw new BadRequest("layers says which");
      return chosen(blocks, args).map((block) => {
        if (block.output === undefined) throw new BadRequest(`no sum with an MLP ends ${block.name}`);
        return {
          method: "drop_layers",
          at: block.output,
          block,
          proportional: false,
          write: (w) => ({ tokens: w.now(block.input), size: w.size }),
        };
      });
    },
  },
];

/** A weight that a method brings along. */
export function methodWeight(key: string, shape: readonly number[]): Weight {
  return { id: `$${key}`, key, type: tensorType("f32", shape), spans: [] };
}

/**
 * `tome:r=8,prop_attn=false`, `evit:keep_rate=0.7,layers=[1,2]`, as `--reduce` takes it: the annotation that a file would write as
 * `with reduce tome(r = 8, prop_attn = false)`. Undefined where the text is none; what it asks is checked by the pass.
 */
export function parseReduction(text: string): Annotation | undefined {
  const [, call, rest = ""] = /^([a-z_]+)(?::(.*))?$/.exec(text) ?? [];
  if (call === undefined) return undefined;
  const args: Record<string, AttrValue> = {};
  for (const item of rest === "" ? [] : rest.split(/,(?![^[]*\])/)) {
    const [, name, value] = /^([a-z_]+)=(.+)$/.exec(item) ?? [];
    if (name === undefined || value === undefined) return undefined;
    const read = readValue(value);
    if (read === undefined) return undefined;
    args[name] = read;
  }
  return { name: "reduce", call, args };
}

function readValue(text: string): AttrValue | undefined {
  if (text === "true" || text === "false") return text === "true";
  const numbers = text
    .replace(/^\[(.*)\]$/, "$1")
    .split(",")
    .map(Number);
  if (numbers.some((x) => !Number.isFinite(x))) return undefined;
  return text.startsWith("[") ? numbers : numbers[0]!;
}

/** The graph with a request on all of its attention; on its first node where it has none, for the pass to say so. */
export function askReduction(graph: Graph, request: Annotation): Graph {
  const some = graph.nodes.some((n) => n.op.name === "attention");
  const nodes = graph.nodes.map((n, i) =>
    n.op.name === "attention" || (!some && i === 0) ? { ...n, annotations: [...n.annotations, request] } : n,
  );
  return { ...graph, nodes };
}
