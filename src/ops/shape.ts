// Ops that give the same values another shape: nothing is computed, nothing dropped.

import { add, div, mod, mul, u32 } from "../ir/expr.ts";
import { constantOf, dim, divideExact, productDim, sameDim, type Dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AxisRelation, ElementContext, InferContext } from "../ir/op.ts";
import { reshaped } from "../ir/tensor.ts";
import { showType, type TensorType } from "../ir/types.ts";
import {
  alignedRelations,
  axesOf,
  broadcastShapes,
  checkAxes,
  defineOp,
  dimsOf,
  isOne,
  numbersOf,
  other,
  readBroadcast,
  same,
  sentences,
} from "./define.ts";
import { broadcastOffsets, permuted } from "./loops.ts";

const showDims = (dims: readonly Dim[]): string => `[${dims.map((d) => d.key).join(", ")}]`;

/** Axes of the two shapes, in runs of equal products: between runs no index arithmetic is needed. */
interface Run {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

export function reshapeRuns(from: readonly Dim[], to: readonly Dim[]): readonly Run[] {
  const runs: Run[] = [];
  let i = 0;
  let j = 0;
  while (i < from.length || j < to.length) {
    const [m, n] = shortestRun(from, to, i, j);
    runs.push({ from: range(i, m), to: range(j, n) });
    i = m;
    j = n;
  }
  return runs;
}

/** Ends of the shortest run of equal products that starts at (i, j). Axes of size 1 against nothing are a run of their own. */
function shortestRun(from: readonly Dim[], to: readonly Dim[], i: number, j: number): [number, number] {
  for (let length = 1; length <= from.length - i + to.length - j; length++)
    for (let m = Math.max(i, i + length - (to.length - j)); m <= Math.min(from.length, i + length); m++) {
      const n = j + length - (m - i);
      if (sameDim(productDim(from.slice(i, m)), productDim(to.slice(j, n)))) return [m, n];
    }
  return [from.length, to.length];
}

const range = (start: number, end: number): number[] =>
  Array.from({ length: end - start }, (_, k) => start + k);

/** The wanted shape with its -1, if it has one, replaced by what is left over. */
function resolveDims(c: InferContext, x: TensorType): readonly Dim[] {
  const wanted = dimsOf(c.attrs, "dims");
  const open = wanted.map((d, i) => (constantOf(d) === -1 ? i : -1)).filter((i) => i >= 0);
  if (open.length === 0) return wanted;
  const rest = productDim(wanted.filter((_, i) => !open.includes(i)));
  const left = constantOf(rest) === 0 ? undefined : divideExact(productDim(x.shape), rest);
  c.check("infer", open.length === 1 && left !== undefined, {
    input: "x",
    got: `${showType(x)} as ${showDims(wanted)}`,
    expected: "one -1, and sizes that divide exactly",
  });
  return wanted.map((d, i) => (i === open[0] ? left! : d));
}

/** Names survive where an axis does; height and width become tokens when they are joined, and the other way round. */
function reshapedAxes(x: TensorType, to: readonly Dim[]): (string | null)[] {
  const names: (string | null)[] = to.map(() => null);
  for (const run of reshapeRuns(x.shape, to)) {
    const old = run.from.filter((i) => !isOne(x.shape[i]!)).map((i) => x.axes[i] ?? null);
    const now = run.to.filter((i) => !isOne(to[i]!));
    if (run.from.length === 1 && run.to.length === 1) names[run.to[0]!] = x.axes[run.from[0]!] ?? null;
    else if (old.length === 1 && now.length === 1) names[now[0]!] = old[0]!;
    else if (old.join() === "height,width" && now.length === 1) names[now[0]!] = "tokens";
    else if (old.join() === "tokens" && now.length === 2) {
      names[now[0]!] = "height";
      names[now[1]!] = "width";
    }
  }
  return names;
}

export const reshape = defineOp({
  name: "reshape",
  doc: "Same elements in row-major order, other shape. One size may be -1: whatever is left over.",
  equation: "y[j] = x[i], where i and j have the same place in row-major order",
  traits: ["movement", "linear"],
  inputs: [{ name: "x", doc: "any shape" }],
  attrs: { dims: { kind: "dims", doc: "the new shape" } },
  constraints: {
    count: "both shapes have the same number of elements, for every value of the symbols",
    infer: "there is at most one -1, and what is left over for it is exact",
  },
  infer(c) {
    const x = c.type("x");
    const shape = resolveDims(c, x);
    c.check("count", sameDim(productDim(shape), productDim(x.shape)), {
      input: "x",
      got: `${showType(x)}: ${productDim(x.shape).key} elements`,
      expected: `${showDims(shape)}: ${productDim(shape).key} elements`,
    });
    return [{ dtype: x.dtype, shape, axes: reshapedAxes(x, shape) }];
  },
  axes: ([x], attrs) => [x ? reshapeRelations(x.shape, attrs) : []],
  reference: (c) => [{ ...reshaped(c.input("x"), c.shapes[0]!), dtype: c.input("x").dtype }],
  lowering: {
    kind: "element",
    element(c, index) {
      const from = c.type(0).shape;
      const at: Expr[] = from.map(() => u32(0));
      for (const run of reshapeRuns(from, c.result.shape)) reindexRun(c, run, index, at);
      return c.read(0, at);
    },
  },
  examples: [
    {
      about: "two rows of three",
      inputs: { x: [1, 2, 3, 4, 5, 6] },
      attrs: { dims: [2, 3] },
      outputs: [
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
      ],
    },
    {
      about: "flattened",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
        ],
      },
      attrs: { dims: [-1] },
      outputs: [[1, 2, 3, 4]],
    },
  ],
});

function reshapeRelations(from: readonly Dim[], attrs: Attrs): AxisRelation[] {
  const wanted = dimsOf(attrs, "dims");
  const open = wanted.findIndex((d) => constantOf(d) === -1);
  const rest = productDim(wanted.filter((_, i) => i !== open));
  const to = wanted.map((d, i) => (i === open ? (divideExact(productDim(from), rest) ?? d) : d));
  const relations: AxisRelation[] = from.map(() => other);
  for (const run of reshapeRuns(from, to)) {
    const wideFrom = run.from.filter((i) => !isOne(from[i]!));
    const wideTo = run.to.filter((i) => !isOne(to[i]!));
    if (run.from.length === 1 && run.to.length === 1) relations[run.from[0]!] = same(run.to[0]!);
    else if (wideFrom.length === 1 && wideTo.length === 1) relations[wideFrom[0]!] = same(wideTo[0]!);
    else if (wideFrom.length === 1) relations[wideFrom[0]!] = { kind: "joined", axes: wideTo };
  }
  return relations;
}

/** Input indices of one run: through the flat index, unless both sides have one axis that counts. */
function reindexRun(c: ElementContext, run: Run, index: readonly Expr[], at: Expr[]): void {
  const from = c.type(0).shape;
  const to = c.result.shape;
  const inner = run.from.filter((i) => !isOne(from[i]!));
  const outer = run.to.filter((i) => !isOne(to[i]!));
  const flat = outer.reduce<Expr>((sum, i) => add(mul(sum, c.size(to[i]!)), index[i]!), u32(0));
  if (inner.length === 1) at[inner[0]!] = flat;
  if (inner.length < 2) return;
  let left = c.bind("flat", flat);
  for (const [k, i] of [...inner].reverse().entries()) {
    const last = k === inner.length - 1;
    at[i] = last ? left : mod(left, c.size(from[i]!));
    if (!last) left = c.bind("rest", div(left, c.size(from[i]!)));
  }
}

export const transpose = defineOp({
  name: "transpose",
  doc: "Reorders the axes.",
  equation: "y[i[perm[0]], i[perm[1]], ...] = x[i[0], i[1], ...]",
  traits: ["movement", "linear"],
  inputs: [{ name: "x", doc: "any shape" }],
  attrs: { perm: { kind: "axes", doc: "for each axis of the result, the axis of x (index or name)" } },
  constraints: { perm: "perm names every axis of x once" },
  infer(c) {
    const x = c.type("x");
    const perm = axesOf(c.attrs, "perm", x.shape.length);
    const sorted = [...perm].sort((a, b) => a - b);
    c.check("perm", sorted.length === x.shape.length && sorted.every((p, i) => p === i), {
      input: "x",
      got: `[${perm.join(", ")}]`,
      expected: `every axis of ${showType(x)} once`,
    });
    return [
      { dtype: x.dtype, shape: perm.map((p) => x.shape[p]!), axes: perm.map((p) => x.axes[p] ?? null) },
    ];
  },
  axes([x], attrs) {
    const perm = axesOf(attrs, "perm", x?.shape.length ?? 0);
    return [perm.map((_, i) => same(perm.indexOf(i)))];
  },
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    y.data.set(permuted(x, axesOf(c.attrs, "perm", x.shape.length)));
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const perm = axesOf(c.attrs, "perm", index.length);
      return c.read(
        0,
        perm.map((_, i) => index[perm.indexOf(i)]!),
      );
    },
  },
  examples: [
    {
      about: "rows become columns",
      inputs: {
        x: [
          [1, 2, 3],
          [4, 5, 6],
        ],
      },
      attrs: { perm: [1, 0] },
      outputs: [
        [
          [1, 4],
          [2, 5],
          [3, 6],
        ],
      ],
    },
  ],
});

export const broadcastTo = defineOp({
  name: "broadcast_to",
  doc: "Repeats sizes of 1 and missing leading axes up to a shape.",
  equation: "y[..., i, j] = x[i or 0, j or 0]",
  traits: ["movement", "linear"],
  inputs: [{ name: "x", doc: "broadcasts to the shape asked for" }],
  attrs: { dims: { kind: "dims", doc: "the shape of the result" } },
  constraints: { shapes: "every size of x is 1 or that of the result" },
  infer(c) {
    const x = c.type("x");
    const shape = dimsOf(c.attrs, "dims");
    const both = broadcastShapes([shape, x.shape]);
    const ok =
      "shape" in both &&
      both.shape.length === shape.length &&
      both.shape.every((d, i) => sameDim(d, shape[i]!));
    c.check("shapes", ok, { input: "x", got: showType(x), expected: showDims(shape) });
    const missing = shape.length - x.shape.length;
    return [{ dtype: x.dtype, shape, axes: shape.map((_, i) => x.axes[i - missing] ?? null) }];
  },
  axes: ([x], attrs) => [alignedRelations(x?.shape ?? [], dimsOf(attrs, "dims"))],
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    const at = broadcastOffsets(x.shape, y.shape);
    for (let i = 0; i < y.data.length; i++) y.data[i] = x.data[at[i]!]!;
    return [y];
  },
  lowering: { kind: "element", element: (c, index) => readBroadcast(c, 0, index) },
  examples: [
    {
      about: "a column repeated",
      inputs: { x: [[1], [2]] },
      attrs: { dims: [2, 3] },
      outputs: [
        [
          [1, 1, 1],
          [2, 2, 2],
        ],
      ],
    },
  ],
});

export const squeeze = defineOp({
  name: "squeeze",
  doc: "Removes axes of size 1.",
  equation: "y = x without the axes",
  traits: ["movement", "linear"],
  inputs: [{ name: "x", doc: "has size 1 along the axes" }],
  attrs: { axes: { kind: "axes", doc: "the axes to remove (index or name)" } },
  constraints: { axes: sentences.axes, one: "the axes removed have size 1" },
  infer(c) {
    const x = c.type("x");
    const axes = checkAxes(c);
    for (const axis of axes)
      c.check("one", isOne(x.shape[axis]!), { input: "x", axis, got: x.shape[axis]!.key, expected: "1" });
    const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
    return [
      { dtype: x.dtype, shape: kept.map((i) => x.shape[i]!), axes: kept.map((i) => x.axes[i] ?? null) },
    ];
  },
  axes([x], attrs) {
    const axes = axesOf(attrs, "axes", x?.shape.length ?? 0);
    const kept = (x?.shape ?? []).map((_, i) => i).filter((i) => !axes.includes(i));
    return [(x?.shape ?? []).map((_, i) => (axes.includes(i) ? other : same(kept.indexOf(i))))];
  },
  reference: (c) => [reshaped(c.input("x"), c.shapes[0]!)],
  lowering: {
    kind: "element",
    element(c, index) {
      const rank = c.type(0).shape.length;
      const axes = axesOf(c.attrs, "axes", rank);
      const rest = [...index];
      return c.read(
        0,
        range(0, rank).map((i) => (axes.includes(i) ? u32(0) : rest.shift()!)),
      );
    },
  },
  examples: [
    { about: "a column as a vector", inputs: { x: [[1], [2]] }, attrs: { axes: [1] }, outputs: [[1, 2]] },
  ],
});

export const unsqueeze = defineOp({
  name: "unsqueeze",
  doc: "Puts in axes of size 1.",
  equation: "y = x with the axes",
  traits: ["movement", "linear"],
  inputs: [{ name: "x", doc: "any shape" }],
  attrs: { axes: { kind: "ints", doc: "where they are in the result; negative ones count from its end" } },
  constraints: { axes: "the axes are axes of the result, each named once" },
  infer(c) {
    const x = c.type("x");
    const rank = x.shape.length + numbersOf(c.attrs, "axes").length;
    const axes = axesOf(c.attrs, "axes", rank);
    c.check("axes", new Set(axes).size === axes.length && axes.every((a) => a >= 0 && a < rank), {
      input: "x",
      got: `[${numbersOf(c.attrs, "axes").join(", ")}]`,
      expected: `different axes below ${rank}`,
    });
    const old = x.shape.map((_, i) => i);
    const from = range(0, rank).map((i) => (axes.includes(i) ? -1 : old.shift()!));
    return [
      {
        dtype: x.dtype,
        shape: from.map((i) => x.shape[i] ?? dim(1)),
        axes: from.map((i) => x.axes[i] ?? null),
      },
    ];
  },
  axes([x], attrs) {
    const kept = keptAfterUnsqueeze(x?.shape.length ?? 0, attrs);
    return [kept.map((i) => same(i))];
  },
  reference: (c) => [reshaped(c.input("x"), c.shapes[0]!)],
  lowering: {
    kind: "element",
    element: (c, index) =>
      c.read(
        0,
        keptAfterUnsqueeze(c.type(0).shape.length, c.attrs).map((i) => index[i]!),
      ),
  },
  examples: [
    { about: "a vector as a column", inputs: { x: [1, 2] }, attrs: { axes: [1] }, outputs: [[[1], [2]]] },
  ],
});

/** For each axis of x, where it is in the result. */
function keptAfterUnsqueeze(inputRank: number, attrs: Attrs): number[] {
  const rank = inputRank + numbersOf(attrs, "axes").length;
  const axes = axesOf(attrs, "axes", rank);
  return range(0, rank).filter((i) => !axes.includes(i));
}
