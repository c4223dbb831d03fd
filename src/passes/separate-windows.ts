// A window of rows and columns as one after the other: a mean of means and a maximum of maxima over windows that are products. Each value
// is then read k + k times instead of k * k.

import { divideExact, type Dim } from "../ir/dim.ts";
import type { Attrs, Node } from "../ir/graph.ts";
import type { Rule } from "../ir/rewrite-types.ts";
import { sameShape } from "../ir/types.ts";
import { axesOf, dimsOf, isOne, pairOf } from "../ops/define.ts";
import type { Pass } from "./pass.ts";

/** Reads of a result must fall to less than half: the columns between are written and read once more. */
const GAIN = 2;

const pairNames = ["size", "stride", "pad", "dilation"] as const;

/** The attributes of the pool along one axis alone. */
function alongAxis(node: Node, axis: 0 | 1): Attrs {
  const none = { size: 1, stride: 1, pad: 0, dilation: 1 };
  const pairs = pairNames
    .filter((name) => name in node.op.attrs)
    .map((name): [string, readonly number[]] => {
      const given = pairOf(node.attrs, name)[axis]!;
      // A stride of 0 means the size.
      const own = name === "stride" && given === 0 ? pairOf(node.attrs, "size")[axis]! : given;
      return [name, axis === 0 ? [own, none[name]] : [none[name], own]];
    });
  return { ...node.attrs, ...Object.fromEntries(pairs) };
}

const rowsThenColumns: Rule = {
  name: "rows-then-columns",
  equation:
    "pool(x, size [k, l]) = pool(pool(x, size [1, l]), size [k, 1])   for means and maxima, if windows overlap enough",
  doc: "Windows at the border count the positions that they have along each axis, so their means are products too (25 reads become 10).",
  roots: ["avg_pool2d", "max_pool2d"],
  apply(root, c) {
    const [high, wide] = pairOf(root.attrs, "size") as readonly [number, number];
    if (high === 1 || wide === 1) return null;
    const [step] = pairOf(alongAxis(root, 0), "stride") as readonly [number, number];
    if (high * wide <= GAIN * (step * wide + high))
      return c.refuse("the windows are small, or hardly overlap: both passes would read as much");
    const rows = c.add(root.op.name, [root.inputs[0]], alongAxis(root, 1));
    const y = c.add(root.op.name, [rows], alongAxis(root, 0));
    return sameShape(c.type(y).shape, c.type(root.results[0]!.id).shape) ? [y] : null;
  },
};

const tilesAsAxes: Rule = {
  name: "tiles-as-axes",
  equation: "adaptive_avg_pool(x, I/k) = mean(reshape(x, [I/k, k])),  the same with max,  along any axes",
  doc: "Windows of equal size next to each other are an axis of their own (frames, rows and columns of a video).",
  roots: ["adaptive_avg_pool", "adaptive_max_pool"],
  apply(root, c) {
    const x = root.inputs[0]!;
    const { shape } = c.type(x);
    const sizes = dimsOf(root.attrs, "size");
    const pooled = axesOf(root.attrs, "axes", shape.length);
    const dims: Dim[] = [];
    const axes: number[] = [];
    for (const [axis, size] of shape.entries()) {
      const windows = pooled.includes(axis) ? sizes[pooled.indexOf(axis)]! : size;
      const length = divideExact(size, windows);
      if (!length) return c.refuse("the windows are not equal, or share positions");
      dims.push(windows);
      if (!isOne(length)) axes.push(dims.push(length) - 1);
    }
    const op = root.op.name === "adaptive_avg_pool" ? "mean" : "reduce_max";
    return [c.add(op, [c.add("reshape", [x], { dims })], { axes })];
  },
};

export const separateWindows: Pass = {
  name: "separate-windows",
  doc: "Pooling windows that tile are axes of their own; large ones are taken along one axis, then along the other.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs",
  needs: [],
  gives: [],
  rules: [tilesAsAxes, rowsThenColumns],
};
