// Values that need no input: one number, repeated to a shape, and positions.

import { add, cast, constant as constantExpr, f32, kernelType } from "../ir/expr.ts";
import { tensorType } from "../ir/types.ts";
import { axisOf, defineOp, dimOf, dimsOf, dtypeOf, floats, numberOf } from "./define.ts";
import { indexAlong } from "./loops.ts";

export const constant = defineOp({
  name: "constant",
  doc: "One number, repeated to a shape; a scalar where no shape is given.",
  equation: "y[...] = value",
  inputs: [],
  attrs: {
    value: { kind: "float", doc: "the number; for bool, 0 is false and anything else true" },
    dtype: { kind: "dtype", doc: "element type of the result", default: "f32" },
    shape: { kind: "dims", doc: "shape of the result", default: [] },
  },
  constraints: {
    integer: "the value is an integer that the element type holds, where that is i32 or u32",
  },
  infer(c) {
    const dtype = dtypeOf(c.attrs, "dtype");
    const value = numberOf(c.attrs, "value");
    const [low, high] = dtype === "u32" ? [0, 0xffffffff] : [-0x80000000, 0x7fffffff];
    if (dtype === "i32" || dtype === "u32")
      c.check("integer", Number.isInteger(value) && value >= low && value <= high, {
        got: String(value),
        expected: dtype,
      });
    return [tensorType(dtype, dimsOf(c.attrs, "shape"))];
  },
  axes: () => [],
  reference(c) {
    const value = numberOf(c.attrs, "value");
    const y = c.result();
    y.data.fill(y.dtype === "bool" ? Number(value !== 0) : value);
    return [y];
  },
  lowering: {
    kind: "element",
    element(c) {
      const value = numberOf(c.attrs, "value");
      const dtype = dtypeOf(c.attrs, "dtype");
      if (floats.includes(dtype)) return f32(value);
      return constantExpr(dtype === "bool" ? value !== 0 : value, kernelType(dtype));
    },
  },
  examples: [
    { about: "a scalar", inputs: {}, attrs: { value: 2.5 }, outputs: [2.5] },
    {
      about: "a row of ones",
      inputs: {},
      attrs: { value: 1, dtype: "i32", shape: [1, 3] },
      outputs: [[[1, 1, 1]]],
    },
  ],
});

export const iota = defineOp({
  name: "iota",
  doc: "Positions along one axis, counted from `start`; the same at all positions of the other axes.",
  equation: "y[..., i, ...] = start + i",
  inputs: [],
  attrs: {
    dims: { kind: "dims", doc: "shape of the result" },
    axis: { kind: "int", doc: "the axis counted along", default: -1 },
    start: { kind: "dim", doc: "the first number", default: 0 },
    dtype: { kind: "dtype", doc: "element type of the result, a type of numbers", default: "i32" },
  },
  constraints: {
    axis: "the axis is one of the result",
    numeric: "the element type is a number type, not bool",
  },
  infer(c) {
    const dims = dimsOf(c.attrs, "dims");
    const axis = axisOf(c.attrs, "axis", dims.length);
    c.check("axis", axis >= 0 && axis < dims.length, {
      got: `axis ${numberOf(c.attrs, "axis")} of ${dims.length} axes`,
      expected: `an axis below ${dims.length}`,
    });
    const dtype = dtypeOf(c.attrs, "dtype");
    c.check("numeric", dtype !== "bool", { got: dtype, expected: "f32, f16, i32 or u32" });
    return [tensorType(dtype, dims)];
  },
  axes: () => [],
  reference(c) {
    const y = c.result();
    const start = c.size(dimOf(c.attrs, "start"));
    const index = indexAlong(y.shape, axisOf(c.attrs, "axis", y.shape.length));
    for (let i = 0; i < y.data.length; i++) y.data[i] = start + index[i]!;
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const at = add(index[axisOf(c.attrs, "axis", index.length)]!, c.size(dimOf(c.attrs, "start")));
      const to = dtypeOf(c.attrs, "dtype");
      return cast(at, floats.includes(to) ? "f32" : to);
    },
  },
  examples: [
    { about: "three positions", inputs: {}, attrs: { dims: [3] }, outputs: [[0, 1, 2]] },
    {
      about: "rows of a table, as floats, from 5",
      inputs: {},
      attrs: { dims: [2, 2], axis: 0, start: 5, dtype: "f32" },
      outputs: [
        [
          [5, 5],
          [6, 6],
        ],
      ],
    },
  ],
});

export const size = defineOp({
  name: "size",
  doc: "A size as a number: what a symbolic size becomes where it meets tensors (`x / T`).",
  equation: "y = of",
  inputs: [],
  attrs: {
    of: { kind: "dim", doc: "the size" },
    dtype: { kind: "dtype", doc: "element type of the result, a type of numbers", default: "f32" },
  },
  constraints: { numeric: "the element type is a number type, not bool" },
  infer(c) {
    const dtype = dtypeOf(c.attrs, "dtype");
    c.check("numeric", dtype !== "bool", { got: dtype, expected: "f32, f16, i32 or u32" });
    return [tensorType(dtype, [])];
  },
  axes: () => [],
  // Kernels are given sizes as whole numbers of 0 or more.
  limits(_, attrs) {
    const of = dimOf(attrs, "of");
    return [{ size: of, text: `the size ${of.key} is less than 0` }];
  },
  reference(c) {
    const y = c.result();
    y.data[0] = c.size(dimOf(c.attrs, "of"));
    return [y];
  },
  lowering: {
    kind: "element",
    element(c) {
      const to = dtypeOf(c.attrs, "dtype");
      return cast(c.size(dimOf(c.attrs, "of")), floats.includes(to) ? "f32" : to);
    },
  },
  examples: [{ about: "of an axis of 12", inputs: {}, attrs: { of: 12 }, outputs: [12] }],
  inLanguage: false,
});
