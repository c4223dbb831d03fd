// Matrix products: linear layers and matmul.

import { mulDim, sameDim, type Dim } from "../ir/dim.ts";
import { u32 } from "../ir/expr.ts";
import type { Attrs } from "../ir/graph.ts";
import type { AttrSpec, AxisRelation } from "../ir/op.ts";
import { elementCount } from "../ir/tensor.ts";
import { elementsOf, showType, type TensorType } from "../ir/types.ts";
import {
  broadcastShapes,
  checkFloat,
  checkRank,
  checkSameDType,
  checkVector,
  defineOp,
  dimOf,
  flagOf,
  isOne,
  reduced,
  same,
  sentences,
} from "./define.ts";
import { asDoubles, broadcastOffsets, multiplyRows, permuted } from "./loops.ts";

/** Attributes that size the weights of a layer with `out` results. */
export const layerAttrs: Readonly<Record<string, AttrSpec>> = {
  out: { kind: "dim", doc: "number of output channels", role: "weight-shape" },
  bias: { kind: "bool", doc: "does the layer own a bias?", default: true, role: "weight-shape" },
};

export const linear = defineOp({
  name: "linear",
  doc: "A linear layer over the last axis; any axes may come before it. The weight is stored [out, in], as in PyTorch.",
  equation: "y[..., o] = sum over i of x[..., i] * weight[o, i] + bias[o]",
  traits: ["contraction"],
  inputs: [
    { name: "x", doc: "[..., in], f32 or f16" },
    {
      name: "weight",
      doc: "[out, in]",
      weight: { shape: (c) => [dimOf(c.attrs, "out"), c.type("x").shape.at(-1)!] },
    },
    {
      name: "bias",
      doc: "[out]",
      optional: true,
      weight: { shape: (c) => [dimOf(c.attrs, "out")], when: (attrs) => attrs["bias"] !== false },
    },
  ],
  attrs: layerAttrs,
  constraints: {
    float: sentences.float,
    rank: "x has at least one axis, and the weight two",
    channels: "the last axis of x is as long as the rows of the weight",
    bias: "the bias has one number per row of the weight",
    dtype: sentences.dtype,
  },
  infer(c) {
    const x = checkFloat(c);
    c.check("rank", x.shape.length >= 1, { input: "x", got: showType(x), expected: "at least one axis" });
    const weight = checkRank(c, "weight", 2);
    const [out, into] = weight.shape as readonly [Dim, Dim];
    const axis = x.shape.length - 1;
    c.check("channels", sameDim(x.shape[axis]!, into), {
      input: "x",
      axis,
      got: x.shape[axis]!.key,
      expected: into.key,
      from: "weight",
    });
    checkVector(c, "bias", out, "bias");
    checkSameDType(c, ["x", "weight", "bias"]);
    const name = weight.axes[0] ?? x.axes[axis] ?? null;
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, -1), out], axes: [...x.axes.slice(0, -1), name] }];
  },
  axes(types) {
    const last = (types[0]?.shape.length ?? 1) - 1;
    const x = Array.from({ length: last + 1 }, (_, i) => (i === last ? reduced : same(i)));
    return [x, [same(last), reduced], types[2] ? [same(last)] : []];
  },
  reference(c) {
    const x = c.input("x");
    const [out, into] = c.input("weight").shape as readonly [number, number];
    const rows = elementCount(x.shape.slice(0, -1));
    const product = new Float64Array(rows * out);
    multiplyRows(asDoubles(x.data), rows, asDoubles(c.input("weight").data), out, into, product);
    const bias = c.has("bias") ? c.input("bias").data : undefined;
    const y = c.result();
    for (let i = 0; i < y.data.length; i++) y.data[i] = product[i]! + (bias ? bias[i % out]! : 0);
    return [y];
  },
  lowering: {
    kind: "contraction",
    describe(types, _, result) {
      const last = result.shape.length - 1;
      return {
        batch: [],
        left: Array.from({ length: last }, (_, i) => i),
        right: [last],
        reduce: [types[1]!.shape[1]!],
        leftIndex: (_, out, k) => ({ index: [...out.slice(0, last), k[0]!] }),
        rightIndex: (_, out, k) => ({ index: [out[last]!, k[0]!] }),
        ...(types[2] && { biasAxis: last }),
      };
    },
  },
  examples: [
    {
      about: "two inputs, three outputs",
      inputs: {
        x: [[1, 2]],
        weight: [
          [1, 0],
          [0, 1],
          [1, 1],
        ],
        bias: [0, 0, 10],
      },
      outputs: [[[1, 2, 13]]],
    },
    { about: "no bias, a single vector", inputs: { x: [1, 2], weight: [[3, 4]] }, outputs: [[11]] },
  ],
  macs: (types, _, result) => mulDim(elementsOf(result), types[1]!.shape[1]!),
});

/** Rows, columns and summed axis of a matmul's operands. */
function matrixAxes(t: TensorType, transposed: boolean): { readonly outer: number; readonly inner: number } {
  const last = t.shape.length - 1;
  return transposed ? { outer: last, inner: last - 1 } : { outer: last - 1, inner: last };
}

const operandA = (t: TensorType, attrs: Attrs) => matrixAxes(t, flagOf(attrs, "transpose_a"));
const operandB = (t: TensorType, attrs: Attrs) => matrixAxes(t, !flagOf(attrs, "transpose_b"));

export const matmul = defineOp({
  name: "matmul",
  doc: "Product of matrices in the last two axes; axes before them are batches, which broadcast.",
  equation: "y[..., i, j] = sum over k of a[..., i, k] * b[..., k, j]",
  traits: ["contraction", "linear"],
  inputs: [
    { name: "a", doc: "[..., rows, k], f32 or f16" },
    { name: "b", doc: "[..., k, columns]; same element type" },
  ],
  attrs: {
    transpose_a: { kind: "bool", doc: "a is [..., k, rows]", default: false },
    transpose_b: { kind: "bool", doc: "b is [..., columns, k]", default: false },
  },
  constraints: {
    float: "a is f32 or f16",
    rank: "both have at least two axes",
    inner: "the summed axes are equally long",
    shapes: "sizes of the batch axes are equal, or one of them is 1",
    dtype: sentences.dtype,
  },
  infer(c) {
    const a = checkFloat(c, "a");
    const b = c.type("b");
    for (const input of ["a", "b"])
      c.check("rank", c.type(input).shape.length >= 2, {
        input,
        got: showType(c.type(input)),
        expected: "at least two axes",
      });
    const left = operandA(a, c.attrs);
    const right = operandB(b, c.attrs);
    c.check("inner", sameDim(a.shape[left.inner]!, b.shape[right.inner]!), {
      input: "b",
      axis: right.inner,
      got: b.shape[right.inner]!.key,
      expected: a.shape[left.inner]!.key,
      from: "a",
    });
    const batch = broadcastShapes([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
    if (!("shape" in batch)) {
      c.check("shapes", false, {
        input: batch.at === 0 ? "a" : "b",
        axis: batch.axis,
        got: (batch.at === 0 ? a : b).shape[batch.axis]!.key,
        expected: `${batch.expected.key}, or 1`,
        from: batch.from === 0 ? "a" : "b",
      });
      return [];
    }
    checkSameDType(c, ["a", "b"]);
    const rank = batch.shape.length + 2;
    const names = Array.from({ length: rank - 2 }, (_, i) => {
      return a.axes.slice(0, -2).at(i - rank + 2) ?? b.axes.slice(0, -2).at(i - rank + 2) ?? null;
    });
    return [
      {
        dtype: a.dtype,
        shape: [...batch.shape, a.shape[left.outer]!, b.shape[right.outer]!],
        axes: [...names, a.axes[left.outer] ?? null, b.axes[right.outer] ?? null],
      },
    ];
  },
  axes([a, b], attrs) {
    if (!a || !b) return [[], []];
    const rank = Math.max(a.shape.length, b.shape.length);
    return [
      matmulRelations(a, operandA(a, attrs), b, rank, rank - 2),
      matmulRelations(b, operandB(b, attrs), a, rank, rank - 1),
    ];
  },
  reference(c) {
    const [a, b] = [c.input("a"), c.input("b")];
    const y = c.result();
    const [rows, columns] = y.shape.slice(-2) as [number, number];
    const length = a.shape.at(flagOf(c.attrs, "transpose_a") ? -2 : -1)!;
    // Both with the summed axis innermost.
    const left = flagOf(c.attrs, "transpose_a")
      ? permuted(a, lastTwoSwapped(a.shape.length))
      : asDoubles(a.data);
    const right = flagOf(c.attrs, "transpose_b")
      ? asDoubles(b.data)
      : permuted(b, lastTwoSwapped(b.shape.length));
    const batch = y.shape.slice(0, -2);
    const atA = broadcastOffsets(a.shape.slice(0, -2), batch);
    const atB = broadcastOffsets(b.shape.slice(0, -2), batch);
    const product = new Float64Array(rows * columns);
    for (let i = 0; i < elementCount(batch); i++) {
      const x = left.subarray(atA[i]! * rows * length, (atA[i]! + 1) * rows * length);
      const w = right.subarray(atB[i]! * columns * length, (atB[i]! + 1) * columns * length);
      multiplyRows(x, rows, w, columns, length, product);
      y.data.set(product, i * rows * columns);
    }
    return [y];
  },
  lowering: {
    kind: "contraction",
    describe([a, b], attrs, result) {
      const rank = result.shape.length;
      const left = operandA(a!, attrs);
      const right = operandB(b!, attrs);
      const owns = (t: TensorType, axis: number) => {
        const own = axis - (rank - t.shape.length);
        return own >= 0 && (!isOne(t.shape[own]!) || isOne(result.shape[axis]!));
      };
      const leading = Array.from({ length: rank - 2 }, (_, i) => i);
      return {
        batch: leading.filter((i) => owns(a!, i) && owns(b!, i)),
        left: [...leading.filter((i) => owns(a!, i) && !owns(b!, i)), rank - 2],
        right: [...leading.filter((i) => !owns(a!, i) && owns(b!, i)), rank - 1],
        reduce: [a!.shape[left.inner]!],
        leftIndex: (_, out, k) => ({
          index: a!.shape.map((d, i) => {
            if (i === left.inner) return k[0]!;
            if (i === left.outer) return out[rank - 2]!;
            return isOne(d) ? u32(0) : out[i + rank - a!.shape.length]!;
          }),
        }),
        rightIndex: (_, out, k) => ({
          index: b!.shape.map((d, i) => {
            if (i === right.inner) return k[0]!;
            if (i === right.outer) return out[rank - 1]!;
            return isOne(d) ? u32(0) : out[i + rank - b!.shape.length]!;
          }),
        }),
      };
    },
  },
  examples: [
    {
      about: "two by two",
      inputs: {
        a: [
          [1, 2],
          [3, 4],
        ],
        b: [
          [0, 1],
          [1, 0],
        ],
      },
      outputs: [
        [
          [2, 1],
          [4, 3],
        ],
      ],
    },
    {
      about: "rows against rows",
      inputs: {
        a: [[1, 2]],
        b: [
          [3, 4],
          [5, 6],
        ],
      },
      attrs: { transpose_b: true },
      outputs: [[[11, 17]]],
    },
  ],
  macs: ([a], attrs, result) => mulDim(elementsOf(result), a!.shape[operandA(a!, attrs).inner]!),
});

function matmulRelations(
  t: TensorType,
  { inner, outer }: { readonly inner: number; readonly outer: number },
  against: TensorType,
  rank: number,
  outerAxis: number,
): AxisRelation[] {
  return t.shape.map((d, i): AxisRelation => {
    if (i === inner) return reduced;
    if (i === outer) return same(outerAxis);
    const axis = i + rank - t.shape.length;
    const facing = against.shape[axis - (rank - against.shape.length)];
    return isOne(d) && facing && !isOne(facing) ? { kind: "broadcast", axis } : same(axis);
  });
}

function lastTwoSwapped(rank: number): number[] {
  return Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
}
