// Reductions over segments of an axis: which positions belong together is data, an index. Deterministic: each result walks its own
// positions, in order. Where the index never decreases, they are neighbours and are found by halving.

import { add, binary, cast, div, eq, f32, ge, lt, mod, mul, select, sub, u32 } from "../ir/expr.ts";
import { ceilDiv, dim, productDim, sameDim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AxisRelation } from "../ir/op.ts";
import type { KernelWriter, ProgramFacts, ProgramStep } from "../ir/program.ts";
import { stridesOfShape } from "../ir/tensor.ts";
import type { TensorType } from "../ir/types.ts";
import {
  axisOf,
  checkAxis,
  checkFloat,
  defineOp,
  dimOf,
  flagOf,
  other,
  same,
  sentences,
  textOf,
} from "./define.ts";
import { lowest } from "./softmax.ts";

const THREADS = 64;

/** Is there an index for each place in front of the axis, or one for all? */
const isShared = (index: TensorType): boolean => index.shape.length === 1;

function axisIn(x: TensorType | undefined, attrs: Attrs): number {
  return axisOf(attrs, "axis", x?.shape.length ?? 0);
}

export const segmentReduce = defineOp({
  name: "segment_reduce",
  doc: "Sum, mean or maximum of the positions of an axis that an index puts into the same segment: scatter in PyTorch, segment_sum in JAX. A segment without positions is 0; positions whose index is no segment are left out.",
  equation: "y[..., s, ...] = sum, mean or max over the i with index[..., i] = s of x[..., i, ...]",
  inputs: [
    { name: "x", doc: "f32 or f16" },
    {
      name: "index",
      doc: "i32 or u32: one number for each position of the axis, for everything ([n]) or for each place in front of the axis ([..., n])",
    },
  ],
  attrs: {
    axis: { kind: "axis", doc: "the axis that is cut into segments" },
    segments: { kind: "dim", doc: "number of segments" },
    mode: {
      kind: "string",
      doc: "what is made of a segment",
      choices: ["sum", "mean", "max"],
      default: "sum",
    },
    sorted: { kind: "bool", doc: "the index never decreases along the axis", default: false },
  },
  constraints: {
    float: sentences.float,
    axis: sentences.axis,
    integer: "the index is i32 or u32",
    index: "the index is as long as the axis, and has its axis alone or all axes in front of it too",
  },
  infer(c) {
    const x = checkFloat(c);
    const axis = checkAxis(c);
    const index = c.type("index");
    c.check("integer", index.dtype === "i32" || index.dtype === "u32", {
      input: "index",
      got: index.dtype,
      expected: "i32 or u32",
    });
    const wanted = isShared(index) ? [x.shape[axis]!] : x.shape.slice(0, axis + 1);
    const fits = index.shape.length === wanted.length && wanted.every((d, i) => sameDim(d, index.shape[i]!));
    c.check("index", fits, {
      input: "index",
      got: `[${index.shape.map((d) => d.key).join(", ")}]`,
      expected: `[${wanted.map((d) => d.key).join(", ")}]`,
      from: "x",
    });
    const segments = dimOf(c.attrs, "segments");
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => (i === axis ? segments : d)), axes: x.axes }];
  },
  axes([x, index], attrs) {
    const axis = axisIn(x, attrs);
    const relation = (i: number): AxisRelation => (i === axis ? other : same(i));
    return [
      (x?.shape ?? []).map((_, i) => relation(i)),
      index && isShared(index) ? [other] : (index?.shape ?? []).map((_, i) => relation(i)),
    ];
  },
  reference(c) {
    const [x, index, y] = [c.input("x"), c.input("index"), c.result()];
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const mode = textOf(c.attrs, "mode");
    const [from, to] = [stridesOfShape(x.shape), stridesOfShape(y.shape)];
    const ofIndex = stridesOfShape(index.shape);
    const counts = new Uint32Array(y.data.length);
    for (let i = 0; i < x.data.length; i++) {
      const place = x.shape.map((size, a) => Math.floor(i / from[a]!) % size);
      const at =
        index.shape.length === 1 ? place[axis]! : ofIndex.reduce((sum, s, a) => sum + s * place[a]!, 0);
      const segment = index.data[at]!;
      if (segment < 0 || segment >= y.shape[axis]!) continue;
      const into = to.reduce((sum, s, a) => sum + s * (a === axis ? segment : place[a]!), 0);
      const first = counts[into]! === 0;
      counts[into]!++;
      if (mode !== "max") y.data[into]! += x.data[i]!;
      else y.data[into] = first ? x.data[i]! : Math.max(y.data[into]!, x.data[i]!);
    }
    if (mode === "mean") for (let i = 0; i < y.data.length; i++) y.data[i]! /= Math.max(1, counts[i]!);
    return [y];
  },
  lowering: {
    kind: "program",
    epilogue: true,
    program: (f) => ({ steps: [reduceSegments(f)] }),
  },
  examples: [
    {
      about: "two segments of a row of four, by turns",
      inputs: { x: [1, 2, 3, 5], index: [0, 1, 0, 1] },
      dtypes: { index: "i32" },
      attrs: { axis: 0, segments: 2 },
      outputs: [[4, 7]],
    },
    {
      about: "maxima of neighbours; the last segment has none, and a negative index belongs to none",
      inputs: { x: [[[-1], [-2], [3], [9]]], index: [[0, 0, 1, -1]] },
      dtypes: { index: "i32" },
      attrs: { axis: 1, segments: 3, mode: "max" },
      outputs: [[[[-1], [3], [0]]]],
    },
    {
      about: "means of runs, an index for each row",
      inputs: {
        x: [
          [1, 3, 5],
          [2, 4, 9],
        ],
        index: [
          [0, 0, 1],
          [0, 1, 1],
        ],
      },
      dtypes: { index: "u32" },
      attrs: { axis: 1, segments: 2, mode: "mean", sorted: true },
      outputs: [
        [
          [2, 5],
          [2, 6.5],
        ],
      ],
    },
  ],
});

/** One invocation for each result. */
function reduceSegments(f: ProgramFacts): ProgramStep {
  const [x, index, y] = [f.type("x"), f.type("index"), f.results[0]!];
  const axis = axisIn(x, f.attrs);
  const mode = textOf(f.attrs, "mode");
  const total = productDim(y.shape);
  const write = (k: KernelWriter): void => {
    const flat = k.bind("flat", add(mul(k.workgroup[0]!, u32(THREADS)), k.local));
    k.when(lt(flat, k.size(total)), () => {
      const place: Expr[] = [];
      let rest = flat;
      for (let a = y.shape.length - 1; a > 0; a--) {
        place.unshift(k.bind("place", mod(rest, k.size(y.shape[a]!))));
        rest = k.bind("rest", div(rest, k.size(y.shape[a]!)));
      }
      place.unshift(rest);
      const segment = place[axis]!;
      const along = (t: Expr, rank: number) => place.slice(0, rank).map((p, a) => (a === axis ? t : p));
      const indexAt = (t: Expr) => cast(k.read("index", isShared(index) ? [t] : along(t, axis + 1)), "u32");
      const size = k.size(x.shape[axis]!);
      const result = k.variable("result", f32(mode === "max" ? lowest : 0));
      const count = k.variable("count", u32(0));
      const take = (t: Expr): void => {
        const value = k.read("x", along(t, x.shape.length));
        k.set(result, binary(mode === "max" ? "max" : "add", result, value));
        k.set(count, add(count, u32(1)));
      };
      if (flagOf(f.attrs, "sorted")) {
        const start = firstAtLeast(k, size, segment, indexAt);
        const end = firstAtLeast(k, size, add(segment, u32(1)), indexAt);
        k.loop("t", start, end, take);
      } else k.loop("t", u32(0), size, (t) => k.when(eq(indexAt(t), segment), () => take(t)));
      const some = ge(count, u32(1));
      const value =
        mode === "mean"
          ? div(result, cast(select(some, count, u32(1)), "f32"))
          : select(some, result, f32(0));
      k.write("y", place, value);
    });
  };
  return {
    reads: ["x", "index"],
    writes: ["y"],
    workgroups: [ceilDiv(total, dim(THREADS))],
    invocations: THREADS,
    schedule: `one invocation a result, ${THREADS} in a workgroup`,
    write,
  };
}

/** The first position whose index is `least` or more, by halving; the size where there is none. */
function firstAtLeast(k: KernelWriter, size: Expr, least: Expr, indexAt: (t: Expr) => Expr): Expr {
  const low = k.variable("low", u32(0));
  const span = k.variable("span", size);
  // 32 halvings of any u32; those after the last change nothing.
  k.loop("halving", u32(0), u32(32), () => {
    k.when(ge(span, u32(1)), () => {
      const half = k.bind("half", div(span, u32(2)));
      const middle = k.bind("middle", add(low, half));
      const below = k.bind("below", lt(indexAt(middle), least));
      k.set(span, select(below, sub(sub(span, half), u32(1)), half));
      k.set(low, select(below, add(middle, u32(1)), low));
    });
  });
  return k.bind("found", low);
}
