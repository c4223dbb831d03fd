// Random calls of every op, for the property tests. A new op without a case here fails a test that says so.

import type { Attrs } from "../../src/ir/graph.ts";
import { allOps } from "../../src/ops/index.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import type { Call, Inputs, Random } from "./support.ts";

type Made = { readonly inputs: Inputs; readonly attrs?: Attrs };
type Maker = (r: Random) => Made;

const present = (inputs: Record<string, Tensor | undefined>): Inputs =>
  Object.fromEntries(Object.entries(inputs).filter((x): x is [string, Tensor] => x[1] !== undefined));

const unary =
  (low: number, high: number): Maker =>
  (r) => ({ inputs: { x: r.tensor(r.shape(r.int(0, 4)), "f32", low, high) } });

/** Two shapes that broadcast, in either order. */
function broadcastPair(r: Random): [number[], number[]] {
  const full = r.shape(r.int(0, 4));
  const part = full.slice(r.int(0, full.length)).map((s) => (r.int(0, 2) === 0 ? 1 : s));
  return r.int(0, 1) ? [full, part] : [part, full];
}

const binary =
  (dtypes: readonly ("f32" | "i32" | "u32" | "bool")[], low = -3, high = 3): Maker =>
  (r) => {
    const [a, b] = broadcastPair(r);
    const dtype = r.pick(dtypes);
    return { inputs: { a: r.tensor(a, dtype, low, high), b: r.tensor(b, dtype, low, high) } };
  };

const numbers = ["f32", "i32", "u32"] as const;

const reduction: Maker = (r) => {
  const shape = r.shape(r.int(1, 4));
  const axes = shape.map((_, i) => i).filter(() => r.int(0, 1) === 1);
  return { inputs: { x: r.tensor(shape) }, attrs: { axes, keepdims: r.int(0, 1) === 1 } };
};

const oneAxis: Maker = (r) => {
  const shape = r.shape(r.int(1, 4));
  return { inputs: { x: r.tensor(shape) }, attrs: { axis: r.int(-shape.length, shape.length - 1) } };
};

const maybe = (r: Random, make: () => Tensor): Tensor | undefined => (r.int(0, 2) > 0 ? make() : undefined);

function axisNorm(withBias: boolean): Maker {
  return (r) => {
    const { inputs, attrs } = oneAxis(r);
    const shape = inputs["x"]!.shape;
    const axis = attrs!["axis"] as number;
    const size = [shape.at(axis)!];
    const weight = maybe(r, () => r.tensor(size));
    const bias = withBias ? maybe(r, () => r.tensor(size)) : undefined;
    return { inputs: present({ ...inputs, weight, bias }), attrs: { axis, eps: 0.01 } };
  };
}

/** Windows with a padding of at most half their size, over an image that they fit into. */
function window(r: Random) {
  const size = [r.int(1, 3), r.int(1, 3)];
  const pad = size.map((s) => r.int(0, Math.floor(s / 2)));
  const stride = [r.int(1, 3), r.int(1, 3)];
  const dilation = [r.int(1, 2), r.int(1, 2)];
  const image = size.map((s, i) => dilation[i]! * (s - 1) + 1 + r.int(0, 4));
  return { size, pad, stride, dilation, image };
}

/** A few windows along some axes. */
const adaptive: Maker = (r) => {
  const shape = r.shape(r.int(1, 4), 7);
  const axes = shape.map((_, i) => i).filter(() => r.int(0, 1) === 1);
  return { inputs: { x: r.tensor(shape) }, attrs: { axes, size: axes.map(() => r.int(1, 8)) } };
};

function tokensToMerge(r: Random, tokens: number): Inputs {
  const [batch, channels, width] = r.shape(3, 4) as [number, number, number];
  return {
    x: r.tensor([batch, tokens, channels]),
    // Of one number each, all cosines would be ties.
    metric: r.tensor([batch, tokens, width + 1]),
    size: r.tensor([batch, tokens], "f32", 1, 4),
  };
}

/** The attributes of a router, how many experts it has, and a selection bias or none. */
function routing(r: Random) {
  const groups = r.int(1, 3);
  const experts = groups * r.int(2, 4);
  const keep = r.int(1, groups);
  const attrs = {
    k: r.int(1, (keep * experts) / groups),
    scores: r.pick(["softmax", "sigmoid", "logits"]),
    weights: r.pick(["scores", "softmax", "sigmoid"]),
    renorm: r.int(0, 1) === 1,
    eps: 1e-3,
    scale: 2.5,
    groups,
    keep_groups: keep,
    group_score: r.pick(["max", "top2"]),
    weightless: r.int(-1, experts),
  };
  return { attrs, experts, bias: maybe(r, () => r.tensor([experts])) };
}

const cases: Readonly<Record<string, Maker>> = {
  constant: (r) => ({
    inputs: {},
    attrs: { value: r.int(0, 5), dtype: r.pick(numbers), shape: r.shape(r.int(0, 3)) },
  }),
  iota: (r) => {
    const dims = r.shape(r.int(1, 3));
    const attrs = {
      dims,
      axis: r.int(-dims.length, dims.length - 1),
      start: r.int(0, 4),
      dtype: r.pick(numbers),
    };
    return { inputs: {}, attrs };
  },
  add: binary(numbers),
  sub: binary(numbers),
  mul: binary(numbers),
  div: binary(["f32"], 0.5, 2),
  pow: (r) =>
    r.int(0, 1)
      ? binary(["f32"], 0.2, 3)(r)
      : { inputs: { a: r.tensor([6]), b: { ...r.tensor([6], "i32", -3, 3), dtype: "f32" } } },
  maximum: binary(numbers),
  minimum: binary(numbers),
  neg: unary(-2, 2),
  abs: unary(-2, 2),
  square: unary(-2, 2),
  sqrt: unary(0, 4),
  rsqrt: unary(0.1, 4),
  exp: unary(-3, 3),
  log: unary(0.1, 4),
  sin: unary(-40, 40),
  cos: unary(-40, 40),
  floor: unary(-3, 3),
  ceil: unary(-3, 3),
  cast: (r) => ({
    inputs: { x: r.tensor(r.shape(2), r.pick(["f32", "i32", "bool"])) },
    attrs: { dtype: r.pick(["f32", "i32", "bool"]) },
  }),
  relu: unary(-2, 2),
  gelu: (r) => ({ ...unary(-6, 6)(r), attrs: { approximate: r.pick(["none", "tanh"]) } }),
  silu: unary(-6, 6),
  sigmoid: unary(-6, 6),
  tanh: unary(-6, 6),
  erf: unary(-4, 4),
  round: unary(-3, 3),
  mod: binary(["i32", "u32"], -7, 7),
  size: (r) => ({ inputs: {}, attrs: { of: r.int(1, 9), dtype: r.pick(numbers) } }),
  gather: (r) => {
    const x = r.tensor(r.shape(r.int(1, 3)), r.pick(["f32", "i32"]));
    const index = r.tensor(r.shape(r.int(0, 2)), r.pick(["i32", "u32"]), -2, 6);
    return { inputs: { x, index }, attrs: { axis: r.int(0, x.shape.length - 1) } };
  },
  take_along_axis: (r) => {
    const x = r.tensor(r.shape(r.int(1, 3)));
    const axis = r.int(0, x.shape.length - 1);
    const shape = x.shape.map((s, i) => (i === axis ? r.int(1, 4) : r.pick([1, s])));
    return { inputs: { x, index: r.tensor(shape, r.pick(["i32", "u32"]), -2, 6) }, attrs: { axis } };
  },
  argmax: (r) => {
    const x = r.tensor(r.shape(r.int(1, 4)), r.pick(["f32", "i32"]), -2, 2);
    return { inputs: { x }, attrs: { axis: r.int(0, x.shape.length - 1), keepdims: r.int(0, 1) === 1 } };
  },
  less: binary(numbers),
  less_equal: binary(numbers),
  greater: binary(numbers),
  greater_equal: binary(numbers),
  equal: binary(numbers),
  not_equal: binary(numbers),
  logical_and: binary(["bool"]),
  logical_or: binary(["bool"]),
  logical_not: (r) => ({ inputs: { x: r.tensor(r.shape(2), "bool") } }),
  where: (r) => {
    const [a, b] = broadcastPair(r);
    const condition = r.int(0, 1) ? a : b;
    const dtype = r.pick(["f32", "u32"] as const);
    return {
      inputs: { condition: r.tensor(condition, "bool"), a: r.tensor(a, dtype), b: r.tensor(b, dtype) },
    };
  },
  reshape: (r) => {
    const shape = r.shape(4, 3);
    const [a, b, c, d] = shape as [number, number, number, number];
    const dims = r.pick([
      [a, b, c * d],
      [a * b, c * d],
      [d, c, b, a],
      [-1],
      [a, 1, b * c, d],
      [a * b, -1, 1],
      [b, a * c, d],
    ]);
    return { inputs: { x: r.tensor(shape) }, attrs: { dims } };
  },
  transpose: (r) => {
    const shape = r.shape(r.int(0, 4));
    const left = shape.map((_, i) => i);
    const perm = shape.map(() => left.splice(r.int(0, left.length - 1), 1)[0]!);
    return { inputs: { x: r.tensor(shape) }, attrs: { perm } };
  },
  broadcast_to: (r) => {
    const dims = r.shape(r.int(0, 4));
    const shape = dims.slice(r.int(0, dims.length)).map((s) => (r.int(0, 1) ? s : 1));
    return { inputs: { x: r.tensor(shape) }, attrs: { dims } };
  },
  squeeze: (r) => {
    const shape = r.shape(4).map((s) => (r.int(0, 1) ? 1 : s));
    const axes = shape.flatMap((s, i) => (s === 1 && r.int(0, 1) ? [i] : []));
    return { inputs: { x: r.tensor(shape) }, attrs: { axes } };
  },
  unsqueeze: (r) => ({
    inputs: { x: r.tensor(r.shape(2)) },
    attrs: { axes: r.pick([[0], [1, 3], [-1], [], [2, 0]]) },
  }),
  slice: (r) => {
    const shape = r.shape(3, 6);
    const axis = r.int(0, 2);
    const start = r.int(0, shape[axis]! - 1);
    const end = r.int(start + 1, shape[axis]!);
    const ends = r.int(0, 2) ? { end } : {};
    return { inputs: { x: r.tensor(shape) }, attrs: { axis, start, ...ends, step: r.int(1, 3) } };
  },
  concat: (r) => {
    const shape = r.shape(3);
    const axis = r.int(0, 2);
    const names = ["x", ...Array.from({ length: r.pick([0, 1, 2, 8]) }, (_, i) => `x${i + 2}`)];
    const part = () => r.tensor(shape.map((s, i) => (i === axis ? r.int(1, 4) : s)));
    return { inputs: Object.fromEntries(names.map((name) => [name, part()])), attrs: { axis } };
  },
  pages: (r) => {
    const [, ...rest] = r.shape(3);
    const names = ["x", ...Array.from({ length: r.int(0, 4) }, (_, i) => `x${i + 2}`)];
    return { inputs: Object.fromEntries(names.map((name) => [name, r.tensor([r.int(1, 9), ...rest])])) };
  },
  pad: (r) => {
    const counts = () => [r.int(0, 2), r.int(0, 2)];
    return {
      inputs: { x: r.tensor(r.shape(2)) },
      attrs: { before: counts(), after: counts(), value: r.int(-2, 2) },
    };
  },
  sum: reduction,
  mean: reduction,
  variance: reduction,
  reduce_max: reduction,
  reduce_min: reduction,
  group_norm: (r) => {
    const groups = r.int(1, 3);
    const channelAxis = r.int(1, 2);
    const shape = r.shape(4, 3);
    shape[channelAxis] = groups * r.int(1, 2);
    const size = [shape[channelAxis]];
    const weight = maybe(r, () => r.tensor(size));
    const bias = maybe(r, () => r.tensor(size));
    const attrs = { groups, channel_axis: channelAxis, eps: 0.01 };
    return { inputs: present({ x: r.tensor(shape), weight, bias }), attrs };
  },
  layer_norm: axisNorm(true),
  rms_norm: axisNorm(false),
  batch_norm: (r) => {
    const shape = r.shape(3);
    const axis = r.int(0, 2);
    const size = [shape[axis]!];
    const inputs = present({
      x: r.tensor(shape),
      weight: maybe(r, () => r.tensor(size)),
      bias: maybe(r, () => r.tensor(size)),
      running_mean: r.tensor(size),
      running_var: r.tensor(size, "f32", 0.2, 2),
    });
    return { inputs, attrs: { channel_axis: axis } };
  },
  softmax: oneAxis,
  log_softmax: oneAxis,
  l2_normalize: oneAxis,
  linear: (r) => {
    const shape = r.shape(r.int(1, 3), 5);
    const out = r.int(1, 5);
    const bias = maybe(r, () => r.tensor([out]));
    return { inputs: present({ x: r.tensor(shape), weight: r.tensor([out, shape.at(-1)!]), bias }) };
  },
  matmul: (r) => {
    const [batchA, batchB] = broadcastPair(r);
    const [rows, length, columns] = r.shape(3, 5) as [number, number, number];
    const [ta, tb] = [r.int(0, 1) === 1, r.int(0, 1) === 1];
    return {
      inputs: {
        a: r.tensor([...batchA, ...(ta ? [length, rows] : [rows, length])]),
        b: r.tensor([...batchB, ...(tb ? [columns, length] : [length, columns])]),
      },
      attrs: { transpose_a: ta, transpose_b: tb },
    };
  },
  attention: (r) => {
    const [queries, keys] = r.shape(2, r.pick([5, 20])) as [number, number];
    const [size, width] = [r.pick([1, 3, 4, 8]), r.pick([1, 3, 4, 8, 12])];
    const [batch, keyHeads, group] = r.shape(3, 3) as [number, number, number];
    const heads = keyHeads * group;
    const some = (n: number) => (r.int(0, 3) === 0 ? 1 : n);
    return {
      inputs: present({
        q: r.tensor([batch, queries, heads, size]),
        k: r.tensor([some(batch), keys, keyHeads, size]),
        v: r.tensor([some(batch), keys, keyHeads, width]),
        mask: maybe(r, () => r.tensor([some(batch), keys], r.pick(["bool", "i32"]), 0, 1)),
        bias: maybe(r, () => r.tensor([some(batch), some(heads), some(queries), some(keys)])),
      }),
      attrs: { causal: r.int(0, 1) === 1, scale: r.pick([0, 0.7]) },
    };
  },
  tome: (r) => {
    const protect = r.int(0, 2);
    const inputs = tokensToMerge(r, r.int(protect + 1, 9));
    return { inputs, attrs: { r: r.int(0, 4), protect } };
  },
  pitome: (r) => {
    const protect = r.int(0, 1);
    const inputs = tokensToMerge(r, r.int(protect + 1, 9));
    return { inputs, attrs: { ratio: r.float(0.5, 1), margin: r.float(0, 0.9), protect } };
  },
  keep_tokens: (r) => {
    const [batch, others, channels] = r.shape(3, 6) as [number, number, number];
    const inputs = {
      x: r.tensor([batch, others + 1, channels]),
      scores: r.tensor([batch, others], "f32", 0, 1),
    };
    return { inputs, attrs: { k: r.int(1, others), fuse: r.int(0, 1) === 1 } };
  },
  conv2d: (r) => {
    const { size, pad, stride, dilation, image } = window(r);
    const [batch, own, outs] = r.shape(3, 3) as [number, number, number];
    const groups = r.pick([1, 1, 2, 3]);
    const bias = maybe(r, () => r.tensor([outs * groups]));
    return {
      inputs: present({
        x: r.tensor([batch, own * groups, ...image]),
        weight: r.tensor([outs * groups, own, ...size]),
        bias,
      }),
      attrs: { stride, pad, dilation, groups },
    };
  },
  depthwise_conv2d: (r) => {
    const { size, pad, stride, dilation, image } = window(r);
    const channels = r.pick([1, 3, 4, 8]);
    const out = channels * r.pick([1, 1, 2]);
    const bias = maybe(r, () => r.tensor([out]));
    return {
      inputs: present({
        x: r.tensor([r.int(1, 2), channels, ...image]),
        taps: r.tensor([size[0]! * size[1]!, out]),
        bias,
      }),
      attrs: { kernel: size, stride, pad, dilation },
    };
  },
  grouped_conv2d: (r) => {
    const { size, pad, stride, dilation, image } = window(r);
    const [batch, groups, channels, out] = r.shape(4, 3) as [number, number, number, number];
    const x = r.tensor([batch, groups, channels, ...image]);
    const weight = r.tensor([groups, out, channels, ...size]);
    return { inputs: { x, weight }, attrs: { stride, pad, dilation } };
  },
  avg_pool2d: (r) => {
    const { size, pad, stride, image } = window(r);
    const attrs = { size, pad, stride, ceil_mode: r.int(0, 1) === 1, count_include_pad: r.int(0, 1) === 1 };
    return { inputs: { x: r.tensor([1, 2, ...image]) }, attrs };
  },
  max_pool2d: (r) => {
    const { size, pad, stride, dilation, image } = window(r);
    const attrs = { size, pad, stride, dilation, ceil_mode: r.int(0, 1) === 1 };
    return { inputs: { x: r.tensor([1, 2, ...image]) }, attrs };
  },
  cumsum: (r) => {
    const { inputs, attrs } = oneAxis(r);
    return { inputs, attrs: { ...attrs, exclusive: r.int(0, 1) === 1, reverse: r.int(0, 1) === 1 } };
  },
  top_k: (r) => {
    const shape = r.shape(r.int(1, 3), 6);
    return { inputs: { x: r.tensor(shape) }, attrs: { k: r.int(1, shape.at(-1)!) } };
  },
  route: (r) => {
    const { attrs, experts, bias } = routing(r);
    return { inputs: present({ x: r.tensor([...r.shape(r.int(0, 2)), experts]), bias }), attrs };
  },
  route_tokens: (r) => {
    const { attrs, experts, bias } = routing(r);
    const into = r.int(1, 9);
    const inputs = {
      ...{ x: r.tensor([...r.shape(r.int(0, 2)), into]), weight: r.tensor([into, experts]) },
      ...{ offset: maybe(r, () => r.tensor([experts])), bias },
    };
    return { inputs: present(inputs), attrs: { ...attrs, tokens: r.pick([1, 2, 8]) } };
  },
  grouped_linear: (r) => {
    const [count, out, into, tiles] = r.shape(4, 5) as [number, number, number, number];
    const tile = r.pick([1, 2, 4]);
    return {
      inputs: present({
        x: r.tensor([tiles * tile, into]),
        weight: r.tensor([count, out, into]),
        bias: maybe(r, () => r.tensor([count, out])),
        experts: r.tensor([tiles], "u32", 0, count),
      }),
      attrs: { tile },
    };
  },
  expert_seats: (r) => ({
    inputs: { ids: r.tensor([r.pick([1, 5, 130, 300]), r.int(1, 3)], "u32", 0, 6) },
    attrs: { experts: 6 },
  }),
  expert_plan: (r) => {
    const [count] = r.shape(1, 9) as [number];
    const ids = r.tensor([2 * count], "u32", 0, 3);
    if (r.int(0, 1) === 1) return { inputs: { ids }, attrs: { experts: 6, tile: 1, rows: 2 * count } };
    return { inputs: { ids }, attrs: { experts: 3, tile: 4, capacity: 6, k: 2, rows: 24 } };
  },
  pack_rows: (r) => ({ inputs: { keep: r.tensor([r.pick([1, 5, 9, 256, 700])], "bool") } }),
  take_rows: (r) => {
    const shape = r.shape(r.int(1, 3));
    const [count] = r.shape(1, 6) as [number];
    return { inputs: { x: r.tensor(shape), index: r.tensor([count], "u32", 0, shape[0]!) } };
  },
  random_bits: (r) => ({
    inputs: { key: r.tensor([2], "u32", 0, 4294967295) },
    attrs: { dims: r.shape(r.int(0, 3)), stream: r.int(0, 9), generator: r.pick(["pcg", "philox"]) },
  }),
  segment_reduce: (r) => {
    const shape = r.shape(3, 5);
    const axis = r.int(0, 2);
    const sorted = r.int(0, 1) === 1;
    const index = r.tensor(
      r.int(0, 1) ? [shape[axis]!] : shape.slice(0, axis + 1),
      "i32",
      sorted ? 0 : -1,
      4,
    );
    const n = shape[axis]!;
    // Sorted along the axis, row by row.
    if (sorted) for (let i = 0; i < index.data.length; i += n) index.data.subarray(i, i + n).sort();
    return {
      inputs: { x: r.tensor(shape), index },
      attrs: { axis, segments: r.int(1, 5), mode: r.pick(["sum", "mean", "max"]), sorted },
    };
  },
  adaptive_avg_pool: adaptive,
  adaptive_max_pool: adaptive,
  unfold: (r) => {
    const { size, pad, stride, dilation, image } = window(r);
    const shape = r.shape(3);
    const axis = r.int(0, 2);
    shape[axis] = image[0]!;
    const attrs = {
      axis,
      size: size[0]!,
      pad: pad[0]!,
      stride: stride[0]!,
      dilation: dilation[0]!,
      fill: r.int(-2, 2),
    };
    return { inputs: { x: r.tensor(shape) }, attrs };
  },
  adaptive_unfold: (r) => {
    const shape = r.shape(3, 7);
    return {
      inputs: { x: r.tensor(shape) },
      attrs: { axis: r.int(0, 2), windows: r.int(1, 6), taps: 8, fill: r.int(-2, 2) },
    };
  },
  adaptive_lengths: (r) => ({ inputs: {}, attrs: { into: r.int(1, 13), windows: r.int(1, 9) } }),
  resize: (r) => {
    const mode = r.pick(["nearest", "linear"]);
    const align_corners = mode === "linear" && r.int(0, 1) === 1;
    if (r.int(0, 1))
      return {
        inputs: { x: r.tensor([2, 2, r.int(1, 5), r.int(1, 5)]) },
        attrs: { axes: [2, 3], size: [r.int(1, 7), r.int(1, 7)], mode, align_corners },
      };
    const { inputs, attrs } = adaptive(r);
    return {
      inputs,
      attrs: {
        axes: (attrs!["axes"] as number[]).slice(0, 3),
        size: (attrs!["size"] as number[]).slice(0, 3),
        mode,
        align_corners,
      },
    };
  },
  copy: unary(-2, 2),
  quantize: (r) => {
    const { inputs, attrs } = oneAxis(r);
    return { inputs, attrs: { ...attrs, group: r.int(1, 5), type: r.pick(["i8", "i4"]) } };
  },
  dequantize: (r) => {
    const shape = r.shape(r.int(1, 4));
    const axis = r.int(0, shape.length - 1);
    const group = r.int(1, 5);
    const scales = shape.map((n, i) => (i === axis ? Math.ceil(n / group) : n));
    const type = r.pick(["i8", "i4"] as const);
    return { inputs: { q: r.tensor(shape, type, -8, 7), scale: r.tensor(scales) }, attrs: { axis, group } };
  },
};

/** Ops whose meaning is that of their body cannot be called on their own. */
export const callable = allOps.filter((op) => op.lowering.kind !== "group");

export function randomCall(name: string, r: Random): Call {
  const maker = cases[name];
  const op = allOps.find((x) => x.name === name);
  if (!maker || !op) throw new Error(`add a random case of ${name} to test/ops/cases.ts`);
  const { inputs, attrs } = maker(r);
  return { op, inputs, attrs: attrs ?? {} };
}
