// Every constraint of every op can be broken: one call per label, and the detail that its message is made of.

import { describe, expect, test } from "vitest";
import type { Attrs } from "../../src/ir/graph.ts";
import { withDefaults } from "../../src/ir/graph.ts";
import { inferTypes, type ConstraintFailure } from "../../src/ir/op.ts";
import { tensorType, type DType, type TensorType } from "../../src/ir/types.ts";
import { allOps, lookupOp } from "../../src/ops/index.ts";

type Size = number | string;
type Typed = readonly [DType, readonly Size[]];
interface Wrong {
  readonly inputs: Readonly<Record<string, Typed | readonly Size[]>>;
  readonly attrs?: Attrs;
  /** Part of what the failure must say. */
  readonly detail?: Partial<ConstraintFailure>;
}

function fails(name: string, { inputs, attrs = {} }: Wrong): ConstraintFailure | undefined {
  const op = lookupOp(name)!;
  const names = op.variadic ? Object.keys(inputs) : op.inputs.map((x) => x.name);
  const types = names.map((name): TensorType | undefined => {
    const t = inputs[name];
    if (!t) return undefined;
    const [dtype, shape] = Array.isArray(t[1]) ? (t as Typed) : (["f32", t as readonly Size[]] as const);
    return tensorType(dtype, shape);
  });
  const inferred = inferTypes(op, types, withDefaults(op, attrs));
  return "failure" in inferred ? inferred.failure : undefined;
}

const ofUnary = (dtype: DType): Wrong => ({
  inputs: { x: [dtype, [2]] },
  detail: { input: "x", got: dtype },
});
const floatUnary = { float: ofUnary("i32") };
const numericUnary = { numeric: ofUnary("bool") };

const binary = (domain: "float" | "integer" | "numeric"): Record<string, Wrong> => ({
  [domain]: { inputs: { a: ["bool", [2]], b: ["bool", [2]] }, detail: { input: "a" } },
  dtype: {
    inputs: { a: ["f32", [2]], b: ["f16", [2]] },
    detail: { input: "b", got: "f16", expected: "f32", from: "a" },
  },
  shapes: {
    inputs: { a: ["B", 4], b: [3] },
    detail: { input: "b", axis: 0, got: "3", expected: "4, or 1", from: "a" },
  },
});

const logical: Record<string, Wrong> = {
  bool: { inputs: { a: ["bool", [2]], b: [2] }, detail: { input: "b" } },
  shapes: { inputs: { a: ["bool", [2]], b: ["bool", [3]] } },
};

const reduction = (domain: "float" | "numeric"): Record<string, Wrong> => ({
  [domain]: { inputs: { x: ["bool", [2]] }, attrs: { axes: [0] } },
  axes: { inputs: { x: [2, 3] }, attrs: { axes: [0, -2] } },
});

const oneAxis: Record<string, Wrong> = {
  float: { inputs: { x: ["u32", [2]] } },
  axis: { inputs: { x: [2, 3] }, attrs: { axis: 2 } },
};

const axisNorm: Record<string, Wrong> = {
  ...oneAxis,
  channels: {
    inputs: { x: ["B", 4], weight: [3] },
    detail: { input: "weight", got: "[3]", expected: "[4]", from: "x" },
  },
  dtype: { inputs: { x: [2, 4], weight: ["f16", [4]] } },
};

const image = ["B", 3, "H", "W"];
const pooling: Record<string, Wrong> = {
  float: { inputs: { x: ["i32", image] }, attrs: { size: [2, 2] } },
  rank: { inputs: { x: [3, 4] }, attrs: { size: [2, 2] } },
  window: { inputs: { x: image }, attrs: { size: [0, 2] } },
  pad: { inputs: { x: image }, attrs: { size: [3, 3], pad: [2, 1] } },
  fits: {
    inputs: { x: [1, 1, 4, 2] },
    attrs: { size: [3, 3] },
    detail: { input: "x", axis: 3, expected: "3 or more" },
  },
};

const adaptive: Record<string, Wrong> = {
  float: { inputs: { x: ["i32", image] }, attrs: { axes: [2], size: [2] } },
  axes: { inputs: { x: image }, attrs: { axes: [4], size: [2] } },
  size: { inputs: { x: image }, attrs: { axes: [2, 3], size: [2] }, detail: { input: "x" } },
};

const conv = { weight: [8, 3, 3, 3] };

const tokens = { x: ["B", 9, 4], metric: ["B", 9, 2], size: ["B", 9] };
const merging = (attrs: Attrs): Record<string, Wrong> => ({
  float: { inputs: { ...tokens, x: ["i32", ["B", 9, 4]] }, attrs },
  rank: { inputs: { ...tokens, metric: ["B", 9] }, attrs, detail: { input: "metric" } },
  dtype: { inputs: { ...tokens, size: ["f16", ["B", 9]] }, attrs, detail: { input: "size" } },
  sizes: { inputs: { ...tokens, size: ["B", 8] }, attrs, detail: { input: "size", axis: 1, expected: "9" } },
  tokens: {
    inputs: { x: ["B", "T", 4], metric: ["B", "T", 2], size: ["B", "T"] },
    attrs,
    detail: { input: "x", axis: 1, got: "T" },
  },
  protect: { inputs: tokens, attrs: { ...attrs, protect: 3 } },
});

const q = ["B", "T", 6, 8];
const k = ["B", "S", 2, 8];

const wrong: Readonly<Record<string, Readonly<Record<string, Wrong>>>> = {
  constant: { integer: { inputs: {}, attrs: { value: 0.5, dtype: "i32" } } },
  iota: {
    axis: { inputs: {}, attrs: { dims: [2], axis: 1 } },
    numeric: { inputs: {}, attrs: { dims: [2], dtype: "bool" }, detail: { got: "bool" } },
  },
  add: binary("numeric"),
  sub: binary("numeric"),
  mul: binary("numeric"),
  div: binary("float"),
  pow: binary("float"),
  maximum: binary("numeric"),
  minimum: binary("numeric"),
  neg: numericUnary,
  abs: numericUnary,
  square: floatUnary,
  sqrt: floatUnary,
  rsqrt: floatUnary,
  exp: floatUnary,
  log: floatUnary,
  sin: floatUnary,
  cos: floatUnary,
  floor: floatUnary,
  ceil: floatUnary,
  relu: floatUnary,
  gelu: floatUnary,
  silu: floatUnary,
  sigmoid: floatUnary,
  tanh: floatUnary,
  erf: floatUnary,
  round: floatUnary,
  mod: {
    ...binary("integer"),
    dtype: { inputs: { a: ["i32", [2]], b: ["u32", [2]] }, detail: { input: "b", from: "a" } },
    shapes: { inputs: { a: ["i32", [4]], b: ["i32", [3]] }, detail: { input: "b", axis: 0 } },
  },
  size: { numeric: { inputs: {}, attrs: { of: 3, dtype: "bool" } } },
  gather: {
    axis: { inputs: { x: [2], index: ["i32", [2]] }, attrs: { axis: 1 } },
    integer: { inputs: { x: [2], index: [2] }, attrs: { axis: 0 }, detail: { input: "index" } },
  },
  take_along_axis: {
    axis: { inputs: { x: [2], index: ["i32", [2]] }, attrs: { axis: 1 } },
    integer: { inputs: { x: [2], index: [2] }, attrs: { axis: 0 }, detail: { input: "index" } },
    shapes: {
      inputs: { x: [2, 4], index: ["i32", [3, 4]] },
      attrs: { axis: 1 },
      detail: { input: "index", axis: 0, got: "3", expected: "2, or 1" },
    },
  },
  argmax: {
    numeric: { inputs: { x: ["bool", [2]] }, attrs: { axis: 0 } },
    axis: { inputs: { x: [2] }, attrs: { axis: 1 } },
  },
  less: binary("numeric"),
  less_equal: binary("numeric"),
  greater: binary("numeric"),
  greater_equal: binary("numeric"),
  equal: binary("numeric"),
  not_equal: binary("numeric"),
  logical_and: logical,
  logical_or: logical,
  logical_not: { bool: ofUnary("f32") },
  where: {
    bool: { inputs: { condition: [2], a: [2], b: [2] } },
    dtype: {
      inputs: { condition: ["bool", [2]], a: [2], b: ["i32", [2]] },
      detail: { input: "b", from: "a" },
    },
    shapes: { inputs: { condition: ["bool", [2]], a: [3], b: [2] } },
  },
  reshape: {
    count: { inputs: { x: ["B", 6] }, attrs: { dims: [6] } },
    infer: { inputs: { x: ["B", 6] }, attrs: { dims: [4, -1] } },
  },
  transpose: { perm: { inputs: { x: [2, 3] }, attrs: { perm: [0, 0] } } },
  broadcast_to: { shapes: { inputs: { x: [2, 3] }, attrs: { dims: [2, 4] } } },
  squeeze: {
    axes: { inputs: { x: [1, 1] }, attrs: { axes: [0, 0] } },
    one: { inputs: { x: ["B", 1] }, attrs: { axes: [0] }, detail: { axis: 0, got: "B", expected: "1" } },
  },
  unsqueeze: { axes: { inputs: { x: [2] }, attrs: { axes: [3] } } },
  slice: {
    axis: { inputs: { x: [2] }, attrs: { axis: 1 } },
    step: { inputs: { x: [2] }, attrs: { axis: 0, step: 0 } },
    range: { inputs: { x: [4] }, attrs: { axis: 0, start: 1, end: 5 }, detail: { axis: 0 } },
  },
  pages: {
    rank: { inputs: { x: [] } },
    dtype: { inputs: { x: [2], x2: ["i32", [2]] } },
    shapes: { inputs: { x: [2, 3], x2: [2, 4] }, detail: { input: "x2" } },
  },
  concat: {
    axis: { inputs: { x: [2], x2: [2] }, attrs: { axis: 2 } },
    dtype: { inputs: { x: [2], x2: [2], x3: ["i32", [2]] }, attrs: { axis: 0 }, detail: { input: "x3" } },
    shapes: {
      inputs: { x: [2, 3], x2: [2, 4] },
      attrs: { axis: 0 },
      detail: { input: "x2", axis: 1, from: "x" },
    },
  },
  pad: {
    counts: { inputs: { x: [2, 3] }, attrs: { before: [1], after: [1, 1] } },
    value: { inputs: { x: ["i32", [2]] }, attrs: { before: [1], after: [1], value: 0.5 } },
  },
  sum: reduction("numeric"),
  mean: reduction("float"),
  variance: reduction("float"),
  reduce_max: reduction("numeric"),
  reduce_min: reduction("numeric"),
  group_norm: {
    float: { inputs: { x: ["i32", image] }, attrs: { groups: 1 } },
    rank: { inputs: { x: ["B"] }, attrs: { groups: 1 } },
    groups: { inputs: { x: image }, attrs: { groups: 2 }, detail: { axis: 1, got: "3" } },
    channels: { inputs: { x: image, bias: [4] }, attrs: { groups: 1 }, detail: { input: "bias" } },
    dtype: { inputs: { x: image, weight: ["f16", [3]] }, attrs: { groups: 1 } },
  },
  layer_norm: axisNorm,
  rms_norm: axisNorm,
  batch_norm: {
    float: { inputs: { x: ["i32", image], running_mean: [3], running_var: [3] } },
    axis: { inputs: { x: ["B"], running_mean: [3], running_var: [3] } },
    channels: {
      inputs: { x: image, running_mean: [4], running_var: [3] },
      detail: { input: "running_mean" },
    },
    dtype: { inputs: { x: image, running_mean: [3], running_var: ["f16", [3]] } },
  },
  random_bits: {
    key: { inputs: { key: ["i32", [2]] }, attrs: { dims: [2] }, detail: { input: "key", got: "i32[2]" } },
    stream: { inputs: { key: ["u32", [2]] }, attrs: { dims: [2], stream: -1 } },
  },
  softmax: oneAxis,
  cumsum: { ...numericUnary, axis: oneAxis["axis"]! },
  log_softmax: oneAxis,
  l2_normalize: oneAxis,
  linear: {
    float: { inputs: { x: ["i32", [2, 3]], weight: [4, 3] } },
    rank: { inputs: { x: [2, 3], weight: [4, 3, 1] }, detail: { input: "weight" } },
    channels: {
      inputs: { x: ["B", 64], weight: [10, 32] },
      detail: { input: "x", axis: 1, got: "64", expected: "32", from: "weight" },
    },
    bias: { inputs: { x: [2, 3], weight: [4, 3], bias: [3] } },
    dtype: { inputs: { x: [2, 3], weight: ["f16", [4, 3]] } },
  },
  matmul: {
    float: { inputs: { a: ["i32", [2, 3]], b: ["i32", [3, 2]] } },
    rank: { inputs: { a: [2, 3], b: [3] }, detail: { input: "b" } },
    inner: { inputs: { a: [2, 3], b: [2, 3] }, detail: { input: "b", axis: 0, from: "a" } },
    shapes: { inputs: { a: [4, 2, 3], b: [5, 3, 2] }, detail: { input: "b", axis: 0 } },
    dtype: { inputs: { a: [2, 3], b: ["f16", [3, 2]] } },
  },
  attention: {
    float: { inputs: { q: ["i32", q], k, v: k } },
    rank: { inputs: { q, k, v: k, bias: ["T", "S"] }, detail: { input: "bias" } },
    dtype: { inputs: { q, k: ["f16", k], v: k }, detail: { input: "k", from: "q" } },
    mask: { inputs: { q, k, v: k, mask: ["B", "S"] }, detail: { input: "mask", got: "f32" } },
    head: {
      inputs: { q, k: ["B", "S", 2, 4], v: k },
      detail: { input: "k", axis: 3, got: "4", expected: "8" },
    },
    heads: {
      inputs: { q, k: ["B", "S", 4, 8], v: ["B", "S", 4, 8] },
      detail: { input: "k", axis: 2, got: "4", expected: "a divisor of 6" },
    },
    keys: { inputs: { q, k, v: ["B", "T", 2, 8] }, detail: { input: "v", axis: 1, got: "T", from: "k" } },
    batch: { inputs: { q, k: [4, "S", 2, 8], v: k }, detail: { input: "k", axis: 0, expected: "B" } },
    bias: {
      inputs: { q, k, v: k, bias: [1, 2, "T", "S"] },
      detail: { input: "bias", axis: 1, expected: "6" },
    },
  },
  tome: { ...merging({ r: 2 }), r: { inputs: tokens, attrs: { r: -1 } } },
  pitome: { ...merging({ ratio: 0.8 }), ratio: { inputs: tokens, attrs: { ratio: 0.4 } } },
  keep_tokens: {
    float: { inputs: { x: ["i32", ["B", 9, 4]], scores: ["B", 8] }, attrs: { k: 2 } },
    rank: { inputs: { x: ["B", 9, 4], scores: [8] }, attrs: { k: 2 }, detail: { input: "scores" } },
    dtype: { inputs: { x: ["B", 9, 4], scores: ["f16", ["B", 8]] }, attrs: { k: 2 } },
    sizes: {
      inputs: { x: ["B", 9, 4], scores: ["B", 9] },
      attrs: { k: 2 },
      detail: { axis: 1, expected: "8" },
    },
    tokens: { inputs: { x: ["B", "T", 4], scores: ["B", 8] }, attrs: { k: 2 } },
    k: { inputs: { x: ["B", 9, 4], scores: ["B", 8] }, attrs: { k: 9 } },
  },
  conv2d: {
    float: { inputs: { x: ["i32", image], ...conv } },
    rank: { inputs: { x: [3, 4], ...conv } },
    groups: { inputs: { x: image, ...conv }, attrs: { groups: 2 }, detail: { input: "x", axis: 1 } },
    channels: {
      inputs: { x: ["B", 4, "H", "W"], ...conv },
      detail: { input: "x", axis: 1, got: "4", from: "weight" },
    },
    kernel: { inputs: { x: image, weight: [8, 3, "K", 3] } },
    window: { inputs: { x: image, ...conv }, attrs: { stride: [0.5, 1] } },
    fits: { inputs: { x: [1, 3, 2, 8], ...conv }, detail: { axis: 2 } },
    bias: { inputs: { x: image, ...conv, bias: [3] } },
    dtype: { inputs: { x: image, weight: ["f16", [8, 3, 3, 3]] } },
  },
  depthwise_conv2d: {
    float: { inputs: { x: ["i32", image], taps: [9, 3] }, attrs: { kernel: [3, 3] } },
    rank: { inputs: { x: image, taps: [3] }, attrs: { kernel: [3, 3] }, detail: { input: "taps" } },
    window: { inputs: { x: image, taps: [9, 3] }, attrs: { kernel: [3, 3], stride: [0, 1] } },
    fits: { inputs: { x: [1, 3, 2, 8], taps: [9, 3] }, attrs: { kernel: [3, 3] }, detail: { axis: 2 } },
  },
  grouped_conv2d: {
    float: { inputs: { x: ["i32", [1, 2, 3, 8, 8]], weight: [2, 4, 3, 3, 3] } },
    rank: { inputs: { x: image, weight: [2, 4, 3, 3, 3] } },
    window: { inputs: { x: [1, 2, 3, 8, 8], weight: [2, 4, 3, 3, 3] }, attrs: { stride: [0, 1] } },
    fits: { inputs: { x: [1, 2, 3, 2, 8], weight: [2, 4, 3, 3, 3] } },
  },
  avg_pool2d: pooling,
  max_pool2d: pooling,
  top_k: {
    float: { inputs: { x: ["i32", [4]] }, attrs: { k: 1 } },
    rank: { inputs: { x: [] }, attrs: { k: 1 } },
    k: { inputs: { x: ["B", 4] }, attrs: { k: 5 }, detail: { input: "x", axis: 1, got: "k = 5" } },
  },
  route: {
    float: { inputs: { x: ["i32", [4]] }, attrs: { k: 1 } },
    rank: { inputs: { x: [] }, attrs: { k: 1 } },
    experts: { inputs: { x: ["T", "E"] }, attrs: { k: 1 }, detail: { axis: 1, got: "E" } },
    k: { inputs: { x: ["T", 4] }, attrs: { k: 5 }, detail: { expected: "1 to 4" } },
    groups: { inputs: { x: ["T", 4] }, attrs: { k: 1, groups: 3 }, detail: { got: "3 groups of 4 experts" } },
    keep: { inputs: { x: ["T", 8] }, attrs: { k: 3, groups: 4 }, detail: { got: "1 groups of 2 for k = 3" } },
    bias: { inputs: { x: ["T", 4], bias: [3] }, attrs: { k: 1 } },
  },
  route_tokens: {
    float: { inputs: { x: ["i32", [3]], weight: [3, 4] }, attrs: { k: 1 } },
    rank: { inputs: { x: ["T", 3], weight: [3] }, attrs: { k: 1 }, detail: { input: "weight" } },
    channels: { inputs: { x: ["T", 3], weight: [4, 3] }, attrs: { k: 1 }, detail: { axis: 1 } },
    tokens: { inputs: { x: ["T", 3], weight: [3, 4] }, attrs: { k: 1, tokens: 3 }, detail: { got: "3" } },
    offset: { inputs: { x: ["T", 3], weight: [3, 4], offset: [3] }, attrs: { k: 1 } },
    experts: { inputs: { x: ["T", 3], weight: [3, "E"] }, attrs: { k: 1 }, detail: { axis: 1, got: "E" } },
    k: { inputs: { x: ["T", 3], weight: [3, 4] }, attrs: { k: 5 }, detail: { expected: "1 to 4" } },
    groups: { inputs: { x: ["T", 3], weight: [3, 4] }, attrs: { k: 1, groups: 3 } },
    keep: { inputs: { x: ["T", 3], weight: [3, 8] }, attrs: { k: 3, groups: 4 } },
    bias: { inputs: { x: ["T", 3], weight: [3, 4], bias: [3] }, attrs: { k: 1 } },
    dtype: { inputs: { x: ["T", 3], weight: ["f16", [3, 4]] }, attrs: { k: 1 } },
  },
  grouped_linear: {
    float: { inputs: { x: ["i32", [6, 3]], weight: [2, 4, 3], experts: ["u32", [6]] } },
    rank: { inputs: { x: [6, 3], weight: [4, 3], experts: ["u32", [6]] }, detail: { input: "weight" } },
    channels: { inputs: { x: ["N", 3], weight: [2, 4, 5], experts: ["u32", ["N"]] }, detail: { axis: 1 } },
    bias: { inputs: { x: [6, 3], weight: [2, 4, 3], bias: [4], experts: ["u32", [6]] } },
    experts: {
      inputs: { x: [6, 3], weight: [2, 4, 3], experts: ["u32", [6]] },
      attrs: { tile: 2 },
      detail: { input: "experts", expected: "u32[3]" },
    },
    dtype: { inputs: { x: [6, 3], weight: ["f16", [2, 4, 3]], experts: ["u32", [6]] } },
  },
  expert_plan: {
    rank: { inputs: { ids: ["u32", [2, 3]] }, attrs: { experts: 2, rows: 4 } },
    ids: { inputs: { ids: ["i32", [2]] }, attrs: { experts: 2, rows: 4 } },
    counts: { inputs: { ids: ["u32", [2]] }, attrs: { experts: 0, rows: 4 } },
    seats: { inputs: { ids: ["u32", [2]] }, attrs: { experts: 2, capacity: 3, rows: 4 } },
  },
  expert_seats: {
    rank: { inputs: { ids: ["u32", [2]] }, attrs: { experts: 2 } },
    ids: { inputs: { ids: ["i32", [2, 2]] }, attrs: { experts: 2 } },
    counts: { inputs: { ids: ["u32", [2, 2]] }, attrs: { experts: 0 } },
  },
  pack_rows: {
    rank: { inputs: { keep: ["bool", [2, 3]] }, attrs: { kept: 2 } },
    bool: { inputs: { keep: ["i32", [2]] }, attrs: { kept: 2 } },
  },
  take_rows: {
    rank: { inputs: { x: [], index: ["u32", [2]] } },
    index: { inputs: { x: [2], index: ["i32", [2]] } },
  },
  quantize: {
    float: { inputs: { x: ["i32", [4]] }, attrs: { axis: 0, group: 2, type: "i8" }, detail: { got: "i32" } },
    axis: { inputs: { x: [4] }, attrs: { axis: 1, group: 2, type: "i8" } },
    group: { inputs: { x: [4] }, attrs: { axis: 0, group: 0, type: "i8" }, detail: { got: "0" } },
  },
  dequantize: {
    packed: { inputs: { q: ["i32", [4]], scale: [2] }, attrs: { axis: 0, group: 2 }, detail: { got: "i32" } },
    axis: { inputs: { q: ["i8", [4]], scale: [2] }, attrs: { axis: 1, group: 2 } },
    group: { inputs: { q: ["i4", [4]], scale: [2] }, attrs: { axis: 0, group: 0 } },
    scale: {
      inputs: { q: ["i4", [3, 5]], scale: [3, 2] },
      attrs: { axis: 1, group: 2 },
      detail: { got: "f32[3, 2]", expected: "f32[3, 3]", from: "q" },
    },
    dtype: { inputs: { q: ["i8", [4]], scale: [2] }, attrs: { axis: 0, group: 2, dtype: "i32" } },
  },
  segment_reduce: {
    float: { inputs: { x: ["i32", [4]], index: ["i32", [4]] }, attrs: { axis: 0, segments: 2 } },
    axis: { inputs: { x: [4], index: ["i32", [4]] }, attrs: { axis: 1, segments: 2 } },
    integer: { inputs: { x: [4], index: [4] }, attrs: { axis: 0, segments: 2 }, detail: { input: "index" } },
    index: {
      inputs: { x: ["B", 4, 3], index: ["i32", [4, 3]] },
      attrs: { axis: 1, segments: 2 },
      detail: { got: "[4, 3]", expected: "[B, 4]", from: "x" },
    },
  },
  adaptive_avg_pool: adaptive,
  adaptive_max_pool: adaptive,
  unfold: {
    float: { inputs: { x: ["i32", [4]] }, attrs: { axis: 0, size: 2 } },
    axis: { inputs: { x: [4] }, attrs: { axis: 1, size: 2 } },
    window: { inputs: { x: [4] }, attrs: { axis: 0, size: 2, stride: 0 } },
    fits: {
      inputs: { x: ["B", 4] },
      attrs: { axis: 1, size: 5 },
      detail: { axis: 1, expected: "5 or more" },
    },
  },
  resize: {
    ...adaptive,
    corners: { inputs: { x: image }, attrs: { axes: [2], size: [4], align_corners: true } },
  },
  adaptive_unfold: {
    float: { inputs: { x: ["i32", [4]] }, attrs: { axis: 0, windows: 2, taps: 3 } },
    axis: { inputs: { x: [4] }, attrs: { axis: 1, windows: 2, taps: 3 } },
  },
};

describe.each(
  allOps.filter((op) => Object.keys(op.constraints).length > 0).map((op) => [op.name, op] as const),
)("%s", (name, op) => {
  test.each(Object.entries(op.constraints))("%s: %s", (label, sentence) => {
    expect(sentence).toMatch(/^[^A-Z].*[^.]$/);
    const call = wrong[name]?.[label];
    expect(call, "add a call that breaks it to this file").toBeDefined();
    expect(fails(name, call!)).toMatchObject({ label, ...call!.detail });
  });

  test("nothing else is checked", () => {
    expect(Object.keys(wrong[name] ?? {}).sort()).toEqual(Object.keys(op.constraints).sort());
  });
});

test("windows with very many taps are refused, not written out", () => {
  const attrs = { size: [60000, 60000], stride: [1, 1], pad: [0, 0] };
  expect(fails("avg_pool2d", { inputs: { x: image }, attrs })?.label).toBe("window");
});

test("a stride of 0 is the size in pooling only", () => {
  expect(fails("avg_pool2d", { inputs: { x: image }, attrs: { size: [2, 2] } })).toBeUndefined();
});

test("a convolution of stride 0 is refused", () => {
  expect(fails("conv2d", { inputs: { x: image, ...conv }, attrs: { stride: [0, 1] } })?.label).toBe("window");
});
