// Windows, adaptive windows, resizing and segments in ONNX: gathers and masks along an axis, computed from sizes and indices.

import { addDim, constantOf, dim, type Dim } from "../ir/dim.ts";
import {
  axes,
  axis,
  castTo,
  flag,
  number,
  rank,
  wide,
  narrow,
  type OpContext,
  type Translate,
} from "./context.ts";
import type { OnnxWriter } from "./writer.ts";

/** 0, 1, ... below a size, as 64-bit integers along an axis of [rows, columns]. */
function counting(w: OnnxWriter, size: Dim, along: "rows" | "columns"): string {
  const fixed = constantOf(w.fix(size));
  const list =
    fixed !== undefined
      ? w.integers(Array.from({ length: fixed }, (_, i) => i))
      : w.node("Range", [w.integer(0), w.node("Squeeze", [w.size(size)]), w.integer(1)]);
  return w.node("Unsqueeze", [list, w.integers([along === "rows" ? 1 : 0])]);
}

const product = (w: OnnxWriter, a: string, factor: number): string =>
  factor === 1 ? a : w.node("Mul", [a, w.integer(factor)]);

/** [taps, windows] of positions along `at`, as [taps, x's axes with windows]. */
function tapsFirst(c: OpContext, x: string, at: number, positions: string): string {
  const gathered = c.writer.node("Gather", [x, positions], { axis: { int: at } });
  return moveToFront(c, gathered, at);
}

function moveToFront(c: OpContext, x: string, at: number): string {
  if (at === 0) return x;
  const others = Array.from({ length: rank(c) + 1 }, (_, i) => i).filter((i) => i !== at);
  return c.writer.node("Transpose", [x], { perm: { ints: [at, ...others] } });
}

export const unfold: Translate = (c) => {
  const { writer } = c;
  const at = axis(c);
  const [size, stride, dilation] = [number(c, "size"), number(c, "stride"), number(c, "dilation")];
  const pad = number(c, "pad");
  let x = c.input(0);
  if (pad > 0) {
    const sides = c.type(0).shape.map((_, i) => (i === at ? pad : 0));
    const fill = writer.scalar(number(c, "fill"), c.result.dtype);
    x = writer.node("Pad", [x, writer.integers([...sides, ...sides]), fill]);
  }
  const starts = product(writer, counting(writer, c.result.shape[at + 1]!, "columns"), stride);
  const taps = product(writer, counting(writer, dim(size), "rows"), dilation);
  return tapsFirst(c, x, at, writer.node("Add", [starts, taps]));
};

/** Start and end of every adaptive window, [1, windows]. */
function bounds(writer: OnnxWriter, into: Dim, windows: Dim) {
  const [size, count] = [writer.size(into), writer.size(windows)];
  const i = counting(writer, windows, "columns");
  const below = writer.node("Mul", [i, size]);
  const start = writer.node("Div", [below, count]);
  const above = writer.node("Add", [
    below,
    writer.node("Add", [size, writer.size(addDim(windows, dim(-1)))]),
  ]);
  return { start, end: writer.node("Div", [above, count]) };
}

export const adaptiveUnfold: Translate = (c) => {
  const { writer } = c;
  const at = axis(c);
  const into = c.type(0).shape[at]!;
  const windows = c.result.shape[at + 1]!;
  const { start, end } = bounds(writer, into, windows);
  const position = writer.node("Add", [start, counting(writer, c.result.shape[0]!, "rows")]);
  const last = writer.size(addDim(into, dim(-1)));
  const gathered = writer.node("Gather", [c.input(0), writer.node("Min", [position, last])], {
    axis: { int: at },
  });
  const behind = rank(c) - 1 - at;
  const inside = writer.node("Less", [position, end]);
  const shaped =
    behind === 0
      ? inside
      : writer.node("Unsqueeze", [inside, writer.integers(Array.from({ length: behind }, (_, i) => i + 2))]);
  const fill = writer.scalar(number(c, "fill"), c.result.dtype);
  return moveToFront(c, writer.node("Where", [shaped, gathered, fill]), at);
};

export const adaptiveLengths: Translate = (c) => {
  const { writer } = c;
  const attr = (name: string): Dim => {
    const value = c.attrs[name];
    return typeof value === "number" ? dim(value) : (value as Dim);
  };
  const { start, end } = bounds(writer, attr("into"), attr("windows"));
  const lengths = writer.node("Squeeze", [writer.node("Sub", [end, start]), writer.integers([0])]);
  return castTo(c, lengths, "f32");
};

/** ONNX interpolates images; `nearest`, whose rounding it leaves to floats, and other ranks are gathers. */
export const resize: Translate = (c) => {
  const { writer } = c;
  const linear = c.attrs["mode"] === "linear";
  const corners = flag(c, "align_corners");
  const over = axes(c);
  const { shape } = c.type(0);
  const image = shape.length === 4 && over.every((a) => a >= 2);
  if (linear && image) {
    const resized = writer.node("Resize", [wide(c, 0), "", "", writer.shape(c.result.shape)], {
      mode: { string: "linear" },
      coordinate_transformation_mode: { string: corners ? "align_corners" : "half_pixel" },
    });
    return narrow(c, resized);
  }
  const y = over.reduce(
    (x, at) => {
      const [into, out] = [shape[at]!, c.result.shape[at]!];
      const i = writer.node("Squeeze", [counting(writer, out, "rows"), writer.integers([1])]);
      const gather = (positions: string) => writer.node("Gather", [x, positions], { axis: { int: at } });
      if (!linear)
        return gather(writer.node("Div", [writer.node("Mul", [i, writer.size(into)]), writer.size(out)]));
      const { numerator, denominator } = corners
        ? {
            numerator: writer.node("Mul", [i, writer.size(addDim(into, dim(-1)))]),
            denominator: writer.node("Max", [writer.size(addDim(out, dim(-1))), writer.integer(1)]),
          }
        : halfPixel(writer, i, into, out);
      const last = writer.size(addDim(into, dim(-1)));
      const low = writer.node("Min", [writer.node("Div", [numerator, denominator]), last]);
      const high = writer.node("Min", [writer.node("Add", [low, writer.integer(1)]), last]);
      const rest = writer.node("Mod", [numerator, denominator]);
      const part = writer.node("Div", [castTo(c, rest, "f32"), castTo(c, denominator, "f32")]);
      const behind = shape.length - 1 - at;
      const shaped =
        behind === 0
          ? part
          : writer.node("Unsqueeze", [
              part,
              writer.integers(Array.from({ length: behind }, (_, k) => k + 1)),
            ]);
      const first = gather(low);
      return writer.node("Add", [
        first,
        writer.node("Mul", [writer.node("Sub", [gather(high), first]), shaped]),
      ]);
    },
    linear ? wide(c, 0) : c.input(0),
  );
  if (over.length === 0) return writer.node("Identity", [y]);
  return linear ? narrow(c, y) : y;
};

/** ((2i + 1)*I - O) / 2O, not below 0. */
function halfPixel(writer: OnnxWriter, i: string, into: Dim, out: Dim) {
  const odd = writer.node("Add", [product(writer, i, 2), writer.integer(1)]);
  const shifted = writer.node("Sub", [writer.node("Mul", [odd, writer.size(into)]), writer.size(out)]);
  return {
    numerator: writer.node("Max", [shifted, writer.integer(0)]),
    denominator: product(writer, writer.size(out), 2),
  };
}

/** Every position against every segment: a mask, and an ordinary reduction. */
export const segmentReduce: Translate = (c) => {
  const { writer } = c;
  const at = axis(c);
  const index = castTo(c, c.input(1), "i64");
  const behind = rank(c) - 1 - at;
  const front = c.type(1).shape.length - 1;
  const numbers = counting(writer, c.result.shape[at]!, "columns");
  const member = writer.node("Equal", [
    writer.node("Unsqueeze", [index, writer.integers([front + 1])]),
    numbers,
  ]);
  const trailing = Array.from({ length: behind }, (_, i) => front + 2 + i);
  const mask = behind === 0 ? member : writer.node("Unsqueeze", [member, writer.integers(trailing)]);
  const x = writer.node("Unsqueeze", [wide(c, 0), writer.integers([at + 1])]);
  const masked = (fill: number) => writer.node("Where", [mask, x, writer.scalar(fill, "f32")]);
  const count = writer.node("ReduceSum", [castTo(c, mask, "f32"), writer.integers([front])], {
    keepdims: { int: 0 },
  });
  const mode = c.attrs["mode"];
  if (mode !== "max") {
    const sum = writer.node("ReduceSum", [masked(0), writer.integers([at])], { keepdims: { int: 0 } });
    if (mode === "sum") return narrow(c, sum);
    return narrow(c, writer.node("Div", [sum, writer.node("Max", [count, writer.scalar(1, "f32")])]));
  }
  const most = writer.node("ReduceMax", [masked(-Infinity)], { axes: { ints: [at] }, keepdims: { int: 0 } });
  const some = writer.node("Greater", [count, writer.scalar(0, "f32")]);
  return narrow(c, writer.node("Where", [some, most, writer.scalar(0, "f32")]));
};
