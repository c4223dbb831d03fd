// Reductions along axes.

import { div } from "../ir/expr.ts";
import { dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type {
  AttrSpec,
  AxisRelation,
  InferContext,
  OpDefinition,
  Reducer,
  ReferenceContext,
  Trait,
} from "../ir/op.ts";
import type { TensorType } from "../ir/types.ts";
import {
  axesOf,
  axisOf,
  checkAxes,
  checkAxis,
  checkFloat,
  checkNumeric,
  defineOp,
  flagOf,
  reduced,
  same,
  sentences,
} from "./define.ts";
import { indexAlong, moments, rowsWithout } from "./loops.ts";

const reductionAttrs: Readonly<Record<string, AttrSpec>> = {
  axes: { kind: "axes", doc: "the axes reduced (indices or names)" },
  keepdims: { kind: "bool", doc: "keep the reduced axes, with size 1", default: false },
};

/** Type of the result of a reduction over `axes`. */
function reducedType(c: InferContext, x: TensorType): TensorType {
  const axes = checkAxes(c);
  if (flagOf(c.attrs, "keepdims"))
    return { dtype: x.dtype, shape: x.shape.map((d, i) => (axes.includes(i) ? dim(1) : d)), axes: x.axes };
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  return { dtype: x.dtype, shape: kept.map((i) => x.shape[i]!), axes: kept.map((i) => x.axes[i] ?? null) };
}

function reductionRelations(x: TensorType | undefined, attrs: Attrs): AxisRelation[] {
  const rank = x?.shape.length ?? 0;
  const axes = axesOf(attrs, "axes", rank);
  let next = 0;
  return Array.from({ length: rank }, (_, i) => {
    if (axes.includes(i)) return reduced;
    return same(flagOf(attrs, "keepdims") ? i : next++);
  });
}

interface ReductionInit {
  readonly name: string;
  readonly doc: string;
  readonly equation: string;
  readonly domain: "float" | "numeric";
  readonly traits?: readonly Trait[];
  readonly reducer: Reducer;
  readonly start: number;
  /** The meaning: one step, and what is done with the total. */
  step(total: number, x: number): number;
  end?(total: number, count: number): number;
  readonly keepsConstants?: boolean;
  /** Kernel expression for the same end. */
  readonly finish?: (OpDefinition["lowering"] & { kind: "reduce" })["finish"];
  readonly examples: OpDefinition["examples"];
}

function reduction(init: ReductionInit): OpDefinition {
  const { finish } = init;
  return defineOp({
    name: init.name,
    doc: init.doc,
    equation: init.equation,
    traits: ["reduction", ...(init.traits ?? [])],
    inputs: [{ name: "x", doc: init.domain === "float" ? "f32 or f16" : "any number type" }],
    attrs: reductionAttrs,
    constraints: { [init.domain]: sentences[init.domain], axes: sentences.axes },
    ...(init.keepsConstants && { keepsConstants: () => true }),
    infer: (c) => [reducedType(c, init.domain === "float" ? checkFloat(c) : checkNumeric(c))],
    axes: ([x], attrs) => [reductionRelations(x, attrs)],
    reference(c) {
      const x = c.input("x");
      const { row, rows } = rowsWithout(x.shape, axesOf(c.attrs, "axes", x.shape.length));
      const totals = new Float64Array(rows).fill(init.start);
      for (let i = 0; i < x.data.length; i++) totals[row[i]!] = init.step(totals[row[i]!]!, x.data[i]!);
      const count = x.data.length / rows;
      const y = c.result();
      for (let r = 0; r < rows; r++) y.data[r] = init.end ? init.end(totals[r]!, count) : totals[r]!;
      return [y];
    },
    lowering: {
      kind: "reduce",
      reducer: init.reducer,
      axes: (type, attrs) => axesOf(attrs, "axes", type.shape.length),
      keepDims: (attrs) => flagOf(attrs, "keepdims"),
      ...(finish && { finish }),
    },
    examples: init.examples,
  });
}

export const sum = reduction({
  name: "sum",
  doc: "Sum along axes, accumulated in f32.",
  equation: "y = sum over axes of x",
  domain: "numeric",
  traits: ["linear"],
  reducer: "sum",
  start: 0,
  step: (total, x) => total + x,
  examples: [
    {
      about: "of each row",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
        ],
      },
      attrs: { axes: [1] },
      outputs: [[3, 7]],
    },
    {
      about: "of each column, axis kept",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
        ],
      },
      attrs: { axes: [0], keepdims: true },
      outputs: [[[4, 6]]],
    },
  ],
});

export const mean = reduction({
  name: "mean",
  doc: "Mean along axes: the sum in f32, divided once.",
  equation: "y = sum over axes of x / count",
  domain: "float",
  traits: ["linear"],
  keepsConstants: true,
  reducer: "sum",
  start: 0,
  step: (total, x) => total + x,
  end: (total, count) => total / count,
  finish: (total, count) => div(total, count),
  examples: [
    {
      about: "of everything",
      inputs: {
        x: [
          [1, 2],
          [3, 6],
        ],
      },
      attrs: { axes: [0, 1] },
      outputs: [3],
    },
    {
      about: "of each row",
      inputs: {
        x: [
          [1, 2],
          [3, 6],
        ],
      },
      attrs: { axes: [-1] },
      outputs: [[1.5, 4.5]],
    },
  ],
});

export const reduceMax = reduction({
  name: "reduce_max",
  doc: "Largest value along axes; `maximum` is the larger of two tensors.",
  equation: "y = max over axes of x",
  domain: "numeric",
  reducer: "max",
  start: -Infinity,
  step: (total, x) => Math.max(total, x),
  examples: [
    {
      about: "of each row",
      inputs: {
        x: [
          [1, 5],
          [-3, -4],
        ],
      },
      attrs: { axes: [1] },
      outputs: [[5, -3]],
    },
  ],
});

export const reduceMin = reduction({
  name: "reduce_min",
  doc: "Smallest value along axes; `minimum` is the smaller of two tensors.",
  equation: "y = min over axes of x",
  domain: "numeric",
  reducer: "min",
  start: Infinity,
  step: (total, x) => Math.min(total, x),
  examples: [
    {
      about: "of each row",
      inputs: {
        x: [
          [1, 5],
          [-3, -4],
        ],
      },
      attrs: { axes: [1] },
      outputs: [[1, -4]],
    },
  ],
});

export const argmax = defineOp({
  name: "argmax",
  doc: "Where the largest value along an axis is; of several, the first.",
  equation: "y = the least i with x[..., i, ...] = max over the axis of x",
  traits: [],
  inputs: [{ name: "x", doc: "any number type, no NaN" }],
  attrs: {
    axis: { kind: "axis", doc: "the axis searched (index or name)", default: -1 },
    keepdims: reductionAttrs["keepdims"]!,
  },
  constraints: { numeric: sentences.numeric, axis: sentences.axis },
  infer(c) {
    const x = checkNumeric(c);
    const axis = checkAxis(c);
    const kept = x.shape.map((_, i) => i).filter((i) => i !== axis);
    if (flagOf(c.attrs, "keepdims"))
      return [{ dtype: "i32", shape: x.shape.map((d, i) => (i === axis ? dim(1) : d)), axes: x.axes }];
    return [{ dtype: "i32", shape: kept.map((i) => x.shape[i]!), axes: kept.map((i) => x.axes[i] ?? null) }];
  },
  axes: ([x], attrs) => {
    const axis = axisOf(attrs, "axis", x?.shape.length ?? 0);
    return [reductionRelations(x, { axes: [axis], keepdims: attrs["keepdims"]! })];
  },
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const { row } = rowsWithout(x.shape, [axis]);
    const position = indexAlong(x.shape, axis);
    const largest = new Map<number, number>();
    // Positions along the axis come in ascending order, so the first of equals stays.
    for (let i = 0; i < x.data.length; i++) {
      if (x.data[i]! <= (largest.get(row[i]!) ?? -Infinity) && largest.has(row[i]!)) continue;
      largest.set(row[i]!, x.data[i]!);
      y.data[row[i]!] = position[i]!;
    }
    return [y];
  },
  lowering: {
    kind: "decompose",
    decompose(b, [x], attrs) {
      const type = b.type(x!);
      const axis = axisOf(attrs, "axis", type.shape.length);
      const along = type.shape.map((d, i) => (i === axis ? d : dim(1)));
      const largest = b.call("reduce_max", [x], { axes: [axis], keepdims: true });
      const position = b.call("iota", [], { dims: along, axis });
      const none = b.call("size", [], { of: type.shape[axis]!, dtype: "i32" });
      const candidates = b.call("where", [b.call("equal", [x, largest]), position, none]);
      return [b.call("reduce_min", [candidates], { axes: [axis], keepdims: attrs["keepdims"]! })];
    },
  },
  examples: [
    {
      about: "of each row; the first of two",
      inputs: {
        x: [
          [1, 5, 2],
          [4, 3, 4],
        ],
      },
      outputs: [[1, 0]],
    },
  ],
});

export const variance = defineOp({
  name: "variance",
  doc: "Biased variance along axes (divided by the count), in two passes.",
  equation: "y = mean of (x - mean x)^2",
  traits: ["reduction"],
  inputs: [{ name: "x", doc: "f32 or f16" }],
  attrs: reductionAttrs,
  constraints: { float: sentences.float, axes: sentences.axes },
  infer: (c) => [reducedType(c, checkFloat(c))],
  axes: ([x], attrs) => [reductionRelations(x, attrs)],
  reference: varianceReference,
  lowering: {
    kind: "decompose",
    decompose(b, [x], attrs) {
      const wide = b.type(x!).dtype === "f16" ? b.call("cast", [x], { dtype: "f32" }) : x!;
      const center = b.call("mean", [wide], { axes: attrs["axes"]!, keepdims: true });
      const squares = b.call("square", [b.call("sub", [wide, center])]);
      const y = b.call("mean", [squares], attrs);
      return [b.type(x!).dtype === "f16" ? b.call("cast", [y], { dtype: "f16" }) : y];
    },
  },
  examples: [
    {
      about: "of everything",
      inputs: {
        x: [
          [1, 2],
          [3, 6],
        ],
      },
      attrs: { axes: [0, 1] },
      outputs: [3.5],
    },
  ],
});

function varianceReference(c: ReferenceContext) {
  const x = c.input("x");
  const { row, rows } = rowsWithout(x.shape, axesOf(c.attrs, "axes", x.shape.length));
  const y = c.result();
  y.data.set(moments(x.data, row, rows).variance);
  return [y];
}
