// Parts of tensors, and tensors made larger: slice, pad. Tensors put together are in concat.ts.

import { add, and, lt, mul, sub, u32 } from "../ir/expr.ts";
import { addDim, ceilDiv, constantOf, dim, subDim, type Dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import type { AxisRelation } from "../ir/op.ts";
import { stridesOfShape } from "../ir/tensor.ts";
import { axisOf, checkAxis, defineOp, dimOf, numberOf, numbersOf, same, sentences } from "./define.ts";
import { offsets } from "./loops.ts";

/** The largest i32 as an end means the end of the axis, as in ONNX. */
const toTheEnd = 0x7fffffff;

/** Start and end within the axis: negative constants count from its end. */
function sliceBounds(attrs: Attrs, size: Dim): { readonly start: Dim; readonly end: Dim } {
  const at = (d: Dim): Dim => {
    const value = constantOf(d);
    return value !== undefined && value < 0 ? addDim(size, d) : value === toTheEnd ? size : d;
  };
  return { start: at(dimOf(attrs, "start")), end: at(dimOf(attrs, "end")) };
}

export const slice = defineOp({
  name: "slice",
  doc: "Keeps every step-th position of a range along one axis.",
  equation: "y[..., i, ...] = x[..., start + step*i, ...],  start + step*i < end",
  traits: ["movement", "linear"],
  inputs: [{ name: "x", doc: "any shape" }],
  attrs: {
    axis: { kind: "axis", doc: "the axis (index or name)" },
    start: { kind: "dim", doc: "first position; a negative number counts from the end", default: 0 },
    end: {
      kind: "dim",
      doc: "one past the last position; by default the end of the axis",
      default: toTheEnd,
    },
    step: { kind: "int", doc: "distance between positions kept", default: 1 },
  },
  constraints: {
    axis: sentences.axis,
    step: "step is at least 1",
    range: "0 <= start < end <= size, where these are known",
  },
  infer(c) {
    const x = c.type("x");
    const axis = checkAxis(c);
    const step = numberOf(c.attrs, "step");
    c.check("step", Number.isInteger(step) && step >= 1, { got: String(step), expected: "1 or more" });
    const size = x.shape[axis]!;
    const { start, end } = sliceBounds(c.attrs, size);
    const atLeast = (d: Dim, least: number) => (constantOf(d) ?? least) >= least;
    const ok = atLeast(start, 0) && atLeast(subDim(end, start), 1) && atLeast(subDim(size, end), 0);
    c.check("range", ok, {
      input: "x",
      axis,
      got: `${start.key} to ${end.key}`,
      expected: `within 0 to ${size.key}`,
    });
    const length = ceilDiv(subDim(end, start), dim(step));
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => (i === axis ? length : d)), axes: x.axes }];
  },
  axes([x], attrs) {
    const shape = x?.shape ?? [];
    const axis = axisOf(attrs, "axis", shape.length);
    const step = numberOf(attrs, "step");
    return [
      shape.map((size, i): AxisRelation => {
        if (i !== axis) return same(i);
        return { kind: "part", axis, start: sliceBounds(attrs, size).start, step };
      }),
    ];
  },
  limits([x], attrs) {
    const size = x!.shape[axisOf(attrs, "axis", x!.shape.length)]!;
    const { start, end } = sliceBounds(attrs, size);
    return [
      { size: start, text: `a slice begins at ${start.key}` },
      { size: subDim(size, end), text: `a slice ends at ${end.key} of an axis of ${size.key}` },
    ];
  },
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    const axis = axisOf(c.attrs, "axis", x.shape.length);
    const step = numberOf(c.attrs, "step");
    const start = c.size(sliceBounds(c.attrs, dim(x.shape[axis]!)).start);
    const strides = stridesOfShape(x.shape);
    const at = offsets(
      y.shape,
      strides.map((s, i) => (i === axis ? s * step : s)),
    );
    for (let i = 0; i < y.data.length; i++) y.data[i] = x.data[at[i]! + start * strides[axis]!]!;
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const { shape } = c.type(0);
      const axis = axisOf(c.attrs, "axis", shape.length);
      const start = c.size(sliceBounds(c.attrs, shape[axis]!).start);
      const step = u32(numberOf(c.attrs, "step"));
      return c.read(
        0,
        index.map((x, i) => (i === axis ? add(mul(x, step), start) : x)),
      );
    },
  },
  examples: [
    {
      about: "two of four",
      inputs: { x: [1, 2, 3, 4] },
      attrs: { axis: 0, start: 1, end: 3 },
      outputs: [[2, 3]],
    },
    {
      about: "the last one",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
        ],
      },
      attrs: { axis: 0, start: -1 },
      outputs: [[[3, 4]]],
    },
    {
      about: "every second column",
      inputs: {
        x: [
          [1, 2, 3],
          [4, 5, 6],
        ],
      },
      attrs: { axis: 1, step: 2 },
      outputs: [
        [
          [1, 3],
          [4, 6],
        ],
      ],
    },
  ],
});

export const pad = defineOp({
  name: "pad",
  doc: "Puts a constant around the values. Counts are given per axis in the order of the axes (PyTorch's F.pad has them last axis first).",
  equation: "y[i] = 0 <= i - before < size ? x[i - before] : value",
  inputs: [{ name: "x", doc: "f32 or f16, or another type with an integer value" }],
  attrs: {
    before: { kind: "ints", doc: "positions put in front, one per axis" },
    after: { kind: "ints", doc: "positions put behind, one per axis" },
    value: { kind: "float", doc: "what is put there", default: 0 },
  },
  constraints: {
    counts: "before and after have one count per axis, none of them negative",
    value: "the value is one that the element type holds",
  },
  infer(c) {
    const x = c.type("x");
    for (const name of ["before", "after"]) {
      const counts = numbersOf(c.attrs, name);
      const ok = counts.length === x.shape.length && counts.every((n) => Number.isInteger(n) && n >= 0);
      c.check("counts", ok, {
        input: "x",
        got: `${name} = [${counts.join(", ")}]`,
        expected: `${x.shape.length} counts of 0 or more`,
      });
    }
    const value = numberOf(c.attrs, "value");
    const whole =
      x.dtype === "bool"
        ? value === 0 || value === 1
        : Number.isInteger(value) && (x.dtype === "i32" || value >= 0);
    c.check("value", x.dtype === "f32" || x.dtype === "f16" || whole, {
      input: "x",
      got: String(value),
      expected: x.dtype,
    });
    const [before, after] = [numbersOf(c.attrs, "before"), numbersOf(c.attrs, "after")];
    return [
      { dtype: x.dtype, shape: x.shape.map((d, i) => addDim(d, dim(before[i]! + after[i]!))), axes: x.axes },
    ];
  },
  axes([x], attrs) {
    const [before, after] = [numbersOf(attrs, "before"), numbersOf(attrs, "after")];
    return [
      (x?.shape ?? []).map((_, axis): AxisRelation => {
        if (before[axis] === 0 && after[axis] === 0) return same(axis);
        return { kind: "part", axis, start: dim(-before[axis]!), step: 1 };
      }),
    ];
  },
  reference(c) {
    const x = c.input("x");
    const y = c.result();
    const before = numbersOf(c.attrs, "before");
    const strides = stridesOfShape(y.shape);
    const shift = strides.reduce((sum, s, i) => sum + s * before[i]!, 0);
    const to = offsets(x.shape, strides);
    y.data.fill(numberOf(c.attrs, "value"));
    for (let i = 0; i < x.data.length; i++) y.data[to[i]! + shift] = x.data[i]!;
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const { shape } = c.type(0);
      const [before, after] = [numbersOf(c.attrs, "before"), numbersOf(c.attrs, "after")];
      // In front of the axis the subtraction wraps around, so one comparison sees both ends.
      const at = index.map((x, i) => sub(x, u32(before[i]!)));
      const inside = at
        .map((x, i) => (before[i] || after[i] ? lt(x, c.size(shape[i]!)) : undefined))
        .reduce((a, b) => (a && b ? and(a, b) : (a ?? b)), undefined);
      return inside ? c.readInside(0, at, inside, numberOf(c.attrs, "value")) : c.read(0, at);
    },
  },
  examples: [
    {
      about: "one in front, two behind",
      inputs: { x: [1, 2] },
      attrs: { before: [1], after: [2] },
      outputs: [[0, 1, 2, 0, 0]],
    },
    {
      about: "a frame",
      inputs: { x: [[5]] },
      attrs: { before: [1, 1], after: [1, 1], value: 7 },
      outputs: [
        [
          [7, 7, 7],
          [7, 5, 7],
          [7, 7, 7],
        ],
      ],
    },
  ],
});
