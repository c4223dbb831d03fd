// Tensors put together along an axis, any number of them.

import { add, lt, select, sub, u32 } from "../ir/expr.ts";
import { addDim, dim, sameDim, subDim } from "../ir/dim.ts";
import type { GraphBuilder, ValueId } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import { inputName, type AxisRelation } from "../ir/op.ts";
import { stridesOfShape } from "../ir/tensor.ts";
import { showType } from "../ir/types.ts";
import { axisOf, checkAxis, checkSameDType, defineOp, same, sentences } from "./define.ts";
import { offsets } from "./loops.ts";

/** What one kernel reads at most, so that a small adapter's limit on bindings leaves room for what is fused with it. */
const mostInputs = 6;

const nameOf = (i: number): string => inputName(concat, i);

export const concat = defineOp({
  name: "concat",
  doc: "Puts tensors one after the other along an axis. They are given one by one, or as a list.",
  equation: "y = x, x2, x3, ... end to end along the axis",
  traits: ["movement"],
  inputs: [{ name: "x", doc: "any number of tensors; same element type, and same sizes but for the axis" }],
  variadic: true,
  attrs: { axis: { kind: "axis", doc: "the axis they are joined along (index or name, of the first)" } },
  constraints: {
    axis: sentences.axis,
    dtype: sentences.dtype,
    shapes: "all sizes but that of the axis are equal",
  },
  infer(c) {
    const first = c.type("x");
    const axis = checkAxis(c);
    const names = Array.from({ length: c.count }, (_, i) => nameOf(i));
    checkSameDType(c, names);
    let length = first.shape[axis]!;
    for (const input of names.slice(1)) {
      const { shape } = c.type(input);
      c.check("shapes", shape.length === first.shape.length, {
        input,
        got: showType(c.type(input)),
        expected: `${first.shape.length} axes`,
        from: "x",
      });
      for (const [i, d] of first.shape.entries())
        if (i !== axis)
          c.check("shapes", sameDim(d, shape[i]!), {
            input,
            axis: i,
            got: shape[i]!.key,
            expected: d.key,
            from: "x",
          });
      length = addDim(length, shape[axis]!);
    }
    const axes = first.axes.map(
      (_, i) => names.map((n) => c.type(n).axes[i] ?? null).find((name) => name !== null) ?? null,
    );
    return [{ dtype: first.dtype, shape: first.shape.map((d, i) => (i === axis ? length : d)), axes }];
  },
  axes(types, attrs) {
    const axis = axisOf(attrs, "axis", types[0]?.shape.length ?? 0);
    let start = dim(0);
    return types.map((t) => {
      const shape = t?.shape ?? [];
      const from = start;
      start = subDim(start, shape[axis] ?? dim(0));
      return shape.map((_, i): AxisRelation => {
        return i === axis ? { kind: "part", axis, start: from, step: 1 } : same(i);
      });
    });
  },
  reference(c) {
    const y = c.result();
    const strides = stridesOfShape(y.shape);
    const axis = axisOf(c.attrs, "axis", y.shape.length);
    let shift = 0;
    for (let i = 0; i < c.count; i++) {
      const t = c.input(nameOf(i));
      const to = offsets(t.shape, strides);
      for (let k = 0; k < t.data.length; k++) y.data[to[k]! + shift] = t.data[k]!;
      shift += t.shape[axis]! * strides[axis]!;
    }
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const axis = axisOf(c.attrs, "axis", index.length);
      const parts: { readonly here: Expr; readonly value: Expr }[] = [];
      let start: Expr = u32(0);
      for (let i = 0; i < c.count; i++) {
        const size = c.size(c.type(i).shape[axis]!);
        // In front of its part the subtraction wraps around, so one comparison sees both ends.
        const at = i === 0 ? index[axis]! : sub(index[axis]!, start);
        const here = c.bind(i === 0 ? "first" : "here", lt(at, size));
        const shifted = index.map((x, a) => (a === axis ? at : x));
        parts.push({ here, value: c.readInside(i, shifted, here, 0) });
        start = i === 0 ? size : c.bind("start", add(start, size));
      }
      return parts.reduceRight<Expr | undefined>(
        (rest, { here, value }) => (rest ? select(here, value, rest) : value),
        undefined,
      )!;
    },
  },
  /** More than a kernel may bind are joined in turn. */
  expand(b: GraphBuilder, inputs: readonly (ValueId | undefined)[], attrs) {
    if (inputs.length <= mostInputs) return undefined;
    let parts = [...inputs];
    while (parts.length > 1) {
      const joined: (ValueId | undefined)[] = [];
      for (let i = 0; i < parts.length; i += mostInputs) {
        const few = parts.slice(i, i + mostInputs);
        joined.push(few.length === 1 ? few[0] : b.call("concat", few, attrs));
      }
      parts = joined;
    }
    return [parts[0]!];
  },
  examples: [
    {
      about: "side by side",
      inputs: {
        x: [[1], [2]],
        x2: [
          [3, 4],
          [5, 6],
        ],
      },
      attrs: { axis: 1 },
      outputs: [
        [
          [1, 3, 4],
          [2, 5, 6],
        ],
      ],
    },
    {
      about: "three of them",
      inputs: { x: [1], x2: [2, 3], x3: [4] },
      attrs: { axis: 0 },
      outputs: [[1, 2, 3, 4]],
    },
  ],
});
