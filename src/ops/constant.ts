// Literal values: one number, repeated to a shape.

import { constant as constantExpr, f32, kernelType } from "../ir/expr.ts";
import { tensorType } from "../ir/types.ts";
import { defineOp, dimsOf, dtypeOf, floats, numberOf } from "./define.ts";

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
      const dtype = c.result.dtype;
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
