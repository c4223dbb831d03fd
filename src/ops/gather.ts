// Values picked by index: rows of a table, and one position per row. An index out of range is moved to the nearest one there is, so
// that every device gives the same bits and no read leaves its tensor.

import { cast, constant, I32, max, min, sub, u32 } from "../ir/expr.ts";
import type { Dim } from "../ir/dim.ts";
import type { Expr } from "../ir/kernel.ts";
import type { AxisRelation, ElementContext } from "../ir/op.ts";
import { stridesOfShape } from "../ir/tensor.ts";
import { sameDim } from "../ir/dim.ts";
import { showType } from "../ir/types.ts";
import { axisOf, broadcastIndex, checkAxis, checkInteger, defineOp, isOne, other, same } from "./define.ts";
import { broadcastOffsets, indexAlong } from "./loops.ts";

/** An index as a position of an axis of `size`. */
function within(c: ElementContext, index: Expr, size: Dim): Expr {
  const last = sub(c.size(size), u32(1));
  if (index.type.scalar === "u32") return min(index, last);
  return cast(min(max(index, constant(0, I32)), cast(last, "i32")), "u32");
}

const clamped = (index: number, size: number): number => Math.min(Math.max(index, 0), size - 1);

export const gather = defineOp({
  name: "gather",
  doc: "Picks positions of an axis: the rows of a table that token ids stand for. The axes of the index take the place of the axis. An index below 0 counts as 0, one beyond the end as the last.",
  equation: "y[..., j, ...] = x[..., index[j], ...]",
  traits: ["movement", "linear"],
  inputs: [
    { name: "x", doc: "any shape and type" },
    { name: "index", doc: "any shape, i32 or u32" },
  ],
  attrs: { axis: { kind: "axis", doc: "the axis picked from (index or name)", default: 0 } },
  constraints: { axis: "the axis is one of x", integer: "the index is i32 or u32" },
  infer(c) {
    const x = c.type("x");
    const index = checkInteger(c, "index");
    const axis = checkAxis(c);
    const instead = <T>(all: readonly T[], these: readonly T[]): readonly T[] => [
      ...all.slice(0, axis),
      ...these,
      ...all.slice(axis + 1),
    ];
    return [{ dtype: x.dtype, shape: instead(x.shape, index.shape), axes: instead(x.axes, index.axes) }];
  },
  axes([x, index], attrs) {
    const axis = axisOf(attrs, "axis", x?.shape.length ?? 0);
    const more = (index?.shape.length ?? 0) - 1;
    return [
      (x?.shape ?? []).map((_, i): AxisRelation => (i === axis ? other : same(i < axis ? i : i + more))),
      (index?.shape ?? []).map((_, i) => same(axis + i)),
    ];
  },
  reference(c) {
    const [x, index] = [c.input("x"), c.input("index")];
    const y = c.result();
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const size = x.shape[axis]!;
    const row = x.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const picks = index.data.length;
    for (let i = 0; i < y.data.length; i++) {
      const at = clamped(index.data[Math.floor(i / row) % picks]!, size);
      y.data[i] = x.data[(Math.floor(i / (row * picks)) * size + at) * row + (i % row)]!;
    }
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const { shape } = c.type(0);
      const axis = axisOf(c.attrs, "axis", shape.length);
      const rank = c.type(1).shape.length;
      const picked = c.read(1, index.slice(axis, axis + rank));
      const at = c.bind("picked", within(c, picked, shape[axis]!));
      return c.read(0, [...index.slice(0, axis), at, ...index.slice(axis + rank)]);
    },
  },
  examples: [
    {
      about: "an embedding table; -1 and 9 are not in it",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        index: [2, 0, -1, 9],
      },
      dtypes: { index: "i32" },
      outputs: [
        [
          [5, 6],
          [1, 2],
          [1, 2],
          [5, 6],
        ],
      ],
    },
    {
      about: "columns",
      inputs: { x: [[1, 2, 3]], index: [[2], [1]] },
      dtypes: { index: "i32" },
      attrs: { axis: 1 },
      outputs: [[[[3], [2]]]],
    },
  ],
});

export const takeAlongAxis = defineOp({
  name: "take_along_axis",
  doc: "Picks a position of the axis for each place of the index: what sorting and top-k leave behind, as torch.take_along_dim. An index below 0 counts as 0, one beyond the end as the last.",
  equation: "y[..., j, ...] = x[..., index[..., j, ...], ...]",
  traits: ["linear"],
  inputs: [
    { name: "x", doc: "any shape and type" },
    { name: "index", doc: "as many axes as x, i32 or u32; as long as x but for the axis, or 1" },
  ],
  attrs: { axis: { kind: "axis", doc: "the axis picked from (index or name)" } },
  constraints: {
    axis: "the axis is one of x",
    integer: "the index is i32 or u32",
    shapes: "the index has the axes of x, each as long or 1, but for the axis picked from",
  },
  infer(c) {
    const x = c.type("x");
    const index = checkInteger(c, "index");
    const axis = checkAxis(c);
    c.check("shapes", index.shape.length === x.shape.length, {
      input: "index",
      got: showType(index),
      expected: `${x.shape.length} axes`,
      from: "x",
    });
    for (const [i, d] of index.shape.entries())
      c.check("shapes", i === axis || isOne(d) || sameDim(d, x.shape[i]!), {
        input: "index",
        axis: i,
        got: d.key,
        expected: `${x.shape[i]!.key}, or 1`,
        from: "x",
      });
    const shape = x.shape.map((d, i) => (i === axis ? index.shape[i]! : d));
    return [{ dtype: x.dtype, shape, axes: x.axes }];
  },
  axes([x, index], attrs) {
    const axis = axisOf(attrs, "axis", x?.shape.length ?? 0);
    return [
      (x?.shape ?? []).map((_, i): AxisRelation => {
        if (i !== axis) return same(i);
        const onePerSample = axis > 0 && index?.shape.every((d, j) => j === 0 || j === axis || isOne(d));
        return onePerSample ? { kind: "picked", axis, by: 1 } : other;
      }),
      (index?.shape ?? []).map((d, i): AxisRelation =>
        i !== axis && isOne(d) && !isOne(x!.shape[i]!) ? { kind: "broadcast", axis: i } : same(i),
      ),
    ];
  },
  reference(c) {
    const [x, index] = [c.input("x"), c.input("index")];
    const y = c.result();
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const strides = stridesOfShape(x.shape);
    const from = broadcastOffsets(index.shape, y.shape);
    const along = y.shape.map((_, i) => (i === axis ? undefined : indexAlong(y.shape, i)));
    for (let i = 0; i < y.data.length; i++) {
      let at = clamped(index.data[from[i]!]!, x.shape[axis]!) * strides[axis]!;
      for (const [a, position] of along.entries()) if (position) at += position[i]! * strides[a]!;
      y.data[i] = x.data[at]!;
    }
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const { shape } = c.type(0);
      const axis = axisOf(c.attrs, "axis", shape.length);
      const own = broadcastIndex(c.type(1), index);
      const picked = c.read(
        1,
        own.map((x, i) => (i === axis ? index[i]! : x)),
      );
      const at = c.bind("picked", within(c, picked, shape[axis]!));
      return c.read(
        0,
        index.map((x, i) => (i === axis ? at : x)),
      );
    },
  },
  examples: [
    {
      about: "the largest of each row, by its index",
      inputs: {
        x: [
          [5, 1],
          [2, 7],
        ],
        index: [[0], [1]],
      },
      dtypes: { index: "i32" },
      attrs: { axis: 1 },
      outputs: [[[5], [7]]],
    },
  ],
});
