// Weights as small integers with a scale for each group of them (weight-only quantisation, symmetric). `quantize` runs at load;
// `dequantize` is computed where a kernel reads a weight, so that memory holds the integers.

import { ceilDiv, dim, sameDim, type Dim } from "../ir/dim.ts";
import { cast, div, mul, u32 } from "../ir/expr.ts";
import type { Attrs } from "../ir/graph.ts";
import type { InferContext } from "../ir/op.ts";
import { stridesOfShape, type Tensor } from "../ir/tensor.ts";
import { isPacked, showType, type PackedType, type TensorType } from "../ir/types.ts";
import { error, InputError } from "../support/diagnostic.ts";
import {
  axisOf,
  checkAxis,
  checkFloat,
  defineOp,
  numberOf,
  other,
  same,
  sentences,
  textOf,
} from "./define.ts";

const groupAttrs = {
  axis: { kind: "axis", doc: "the axis that groups lie along" },
  group: { kind: "int", doc: "how many neighbours share a scale; the last group may be shorter" },
} as const;

const groupSentence = "a group has at least one element";

function checkGroup(c: InferContext): number {
  const group = numberOf(c.attrs, "group");
  c.check("group", group >= 1, { got: String(group), expected: "1 or more" });
  return group;
}

/** The shape of the scales: along the axis one for each group. */
export function scaleShape(shape: readonly Dim[], axis: number, group: number): readonly Dim[] {
  return shape.map((d, i) => (i === axis ? ceilDiv(d, dim(group)) : d));
}

/** The largest integer of a type; its opposite is the smallest that is used. */
export const largestOf = (dtype: PackedType): number => (dtype === "i8" ? 127 : 7);

export const quantize = defineOp({
  name: "quantize",
  doc:
    "Numbers as integers with a scale for each group of neighbours along an axis. The scale is an f32, that of the largest magnitude of the group; " +
    "integers are rounded to the nearest, ties to even, from -127 to 127 in 8 bits and from -7 to 7 in 4. A group of zeros has the scale 0. " +
    "Runs at load alone, on weights: NaN and infinities are refused there.",
  equation: "scale[.., g, ..] = f32(max |x| of group g / most);  q = round(x / scale),  most = 127 or 7",
  inputs: [{ name: "x", doc: "f32 or f16" }],
  attrs: {
    ...groupAttrs,
    type: { kind: "string", doc: "i8 or i4", choices: ["i8", "i4"] },
    of: { kind: "string", doc: "the weights that x is made of, for messages", default: "" },
  },
  results: ["q", "scale"],
  constraints: { float: sentences.float, axis: sentences.axis, group: groupSentence },
  infer(c) {
    const x = checkFloat(c);
    const axis = checkAxis(c);
    const shape = scaleShape(x.shape, axis, checkGroup(c));
    const dtype = textOf(c.attrs, "type") as PackedType;
    return [
      { dtype, shape: x.shape, axes: x.axes },
      { dtype: "f32", shape, axes: x.axes.map((a, i) => (i === axis ? null : a)) },
    ];
  },
  axes: ([x]) => [(x?.shape ?? []).map(() => other)],
  reference(c) {
    const x = c.input("x");
    const [whole, scale] = [c.result(0), c.result(1)];
    const q = c.unrounded ? { ...whole, data: new Float64Array(whole.data.length) } : whole;
    const most = largestOf(textOf(c.attrs, "type") as PackedType);
    const rounded = c.unrounded ? (y: number) => y : (y: number) => clamp(roundToEven(y), most);
    eachGroup(x, q, scale, c.attrs, (from, step, count, at) => {
      let largest = 0;
      for (let k = 0; k < count; k++) {
        const value = x.data[from + k * step]!;
        if (!Number.isFinite(value)) throw notFinite(value, textOf(c.attrs, "of"));
        largest = Math.max(largest, Math.abs(value));
      }
      const s = Math.fround(largest / most);
      scale.data[at] = s;
      for (let k = 0; k < count; k++)
        q.data[from + k * step] = s === 0 ? 0 : rounded(x.data[from + k * step]! / s);
    });
    return [q, scale];
  },
  lowering: { kind: "prepare" },
  examples: [
    {
      about: "groups of three of seven, in 4 bits; one of zeros",
      inputs: { x: [[1.5, -3.5, 0.75, 0, 0, 0, 2]] },
      attrs: { axis: 1, group: 3, type: "i4" },
      outputs: [[[3, -7, 2, 0, 0, 0, 7]], [[0.5, 0, 2 / 7]]],
    },
    {
      about: "groups along the first axis, in 8 bits; ties go to even",
      inputs: {
        x: [
          [127, 254],
          [2.5, -127],
          [-3.5, 3],
        ],
      },
      attrs: { axis: 0, group: 4, type: "i8" },
      outputs: [
        [
          [127, 127],
          [2, -64],
          [-4, 2],
        ],
        [[1, 2]],
      ],
    },
  ],
  inLanguage: false,
});

/** Calls `group` with where it starts, how far its elements are apart, how many they are, and where its scale is. */
function eachGroup(
  x: Tensor,
  q: Tensor,
  scale: Tensor,
  attrs: Attrs,
  group: (from: number, step: number, count: number, at: number) => void,
): void {
  const axis = axisOf(attrs, "axis", x.shape.length);
  const size = numberOf(attrs, "group");
  const step = stridesOfShape(x.shape)[axis]!;
  const length = x.shape[axis]!;
  const groups = scale.shape[axis]!;
  const outer = length === 0 ? 0 : q.data.length / (length * step);
  for (let o = 0; o < outer; o++)
    for (let g = 0; g < groups; g++)
      for (let i = 0; i < step; i++) {
        const from = (o * length + g * size) * step + i;
        group(from, step, Math.min(size, length - g * size), (o * groups + g) * step + i);
      }
}

const clamp = (x: number, most: number): number => Math.max(-most, Math.min(most, x));

function roundToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

function notFinite(value: number, of: string): InputError {
  return new InputError([
    error(
      "quantize-finite",
      `${of === "" ? "a weight" : `weight ${of}`} has the number ${value}, which no integer stands for`,
      {
        help: "mend the checkpoint, or compile without --quantize",
      },
    ),
  ]);
}

export const dequantize = defineOp({
  name: "dequantize",
  doc:
    "Numbers back from integers and the scale of their group. A layer that reads it computes it in place, weight by weight: " +
    "memory holds what `quantize` made.",
  equation: "y[.., k, ..] = q[.., k, ..] * scale[.., floor(k / group), ..]",
  traits: ["unpacking"],
  inputs: [
    { name: "q", doc: "i8 or i4" },
    { name: "scale", doc: "f32; along the axis one for each group" },
  ],
  attrs: {
    ...groupAttrs,
    dtype: { kind: "dtype", doc: "f32 or f16", default: "f32" },
  },
  constraints: {
    packed: "q is i8 or i4",
    scale: "the scale is f32, and has along the axis one number for each group and else the shape of q",
    axis: sentences.axis,
    group: groupSentence,
    dtype: "the result is f32 or f16",
  },
  infer(c) {
    const q = c.type("q");
    const scale = c.type("scale");
    c.check("packed", isPacked(q.dtype), { input: "q", got: q.dtype, expected: "i8 or i4" });
    const axis = checkAxis(c, "axis", "q");
    const shape = scaleShape(q.shape, axis, checkGroup(c));
    c.check("scale", isScale(scale, shape), {
      input: "scale",
      got: showType(scale),
      expected: `f32[${shape.map((d) => d.key).join(", ")}]`,
      from: "q",
    });
    const dtype = textOf(c.attrs, "dtype");
    c.check("dtype", dtype === "f32" || dtype === "f16", { got: dtype, expected: "f32 or f16" });
    return [{ dtype: dtype as "f32" | "f16", shape: q.shape, axes: q.axes }];
  },
  axes([q], attrs) {
    const rank = q?.shape.length ?? 0;
    const axis = axisOf(attrs, "axis", rank);
    return [
      Array.from({ length: rank }, (_, i) => same(i)),
      Array.from({ length: rank }, (_, i) =>
        i === axis ? { kind: "grouped", axis, size: numberOf(attrs, "group") } : same(i),
      ),
    ];
  },
  reference(c) {
    const [q, scale, y] = [c.input("q"), c.input("scale"), c.result()];
    eachGroup(q, q, scale, c.attrs, (from, step, count, at) => {
      for (let k = 0; k < count; k++) y.data[from + k * step] = q.data[from + k * step]! * scale.data[at]!;
    });
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const axis = axisOf(c.attrs, "axis", index.length);
      const group = u32(numberOf(c.attrs, "group"));
      const scale = c.read(
        1,
        index.map((e, i) => (i === axis ? c.bind("scale_at", div(e, group)) : e)),
      );
      return mul(cast(c.read(0, index), "f32"), scale);
    },
  },
  examples: [
    {
      about: "groups of two of three",
      inputs: {
        q: [
          [1, -7, 3],
          [2, 0, 5],
        ],
        scale: [
          [0.5, 2],
          [1, 0.25],
        ],
      },
      dtypes: { q: "i8" },
      attrs: { axis: 1, group: 2 },
      outputs: [
        [
          [0.5, -3.5, 6],
          [2, 0, 1.25],
        ],
      ],
    },
  ],
  inLanguage: false,
});

function isScale(scale: TensorType, shape: readonly Dim[]): boolean {
  return (
    scale.dtype === "f32" &&
    scale.shape.length === shape.length &&
    scale.shape.every((d, i) => sameDim(d, shape[i]!))
  );
}
