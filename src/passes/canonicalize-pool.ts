// Adaptive pooling whose windows are known is something simpler: a mean, a maximum, a strided window.

import { constantOf, divideExact, sameDim } from "../ir/dim.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import type { ValueId } from "../ir/graph.ts";
import { sameShape } from "../ir/types.ts";
import { axesOf, dimsOf, isOne } from "../ops/define.ts";
import { maxTaps } from "../ops/window.ts";

export const adaptiveRules: readonly Rule[] = [
  {
    name: "adaptive-to-fixed",
    equation:
      "adaptive_avg_pool(x, I) = x,  (x, 1) = mean(x),  (x, I/k) = avg_pool2d(x, size k, stride k);  the same with max",
    doc: "As many windows as positions, one window, or windows of equal size next to each other along the last two axes of four.",
    roots: ["adaptive_avg_pool", "adaptive_max_pool"],
    apply(root, c) {
      const x = root.inputs[0]!;
      const { shape } = c.type(x);
      const sizes = dimsOf(root.attrs, "size");
      const steps = axesOf(root.attrs, "axes", shape.length)
        .map((axis, i) => ({ axis, windows: sizes[i]! }))
        .filter(({ axis, windows }) => !sameDim(windows, shape[axis]!));
      if (steps.length === 0) return [x];
      const mean = root.op.name === "adaptive_avg_pool";
      const axes = steps.map((s) => s.axis);
      // Sums are taken in this order.
      if (axes.some((a, i) => i > 0 && a < axes[i - 1]!)) return null;
      if (steps.every((s) => isOne(s.windows)))
        return [c.add(mean ? "mean" : "reduce_max", [x], { axes, keepdims: true })];
      if (shape.length !== 4 || axes.some((a) => a < 2)) return null;
      const size = [2, 3].map((axis) => {
        const step = steps.find((s) => s.axis === axis);
        const length = step ? divideExact(shape[axis]!, step.windows) : undefined;
        return step ? length && constantOf(length) : 1;
      });
      if (size.includes(undefined)) return null;
      return windowed(c, root.results[0]!.id, x, mean ? "avg_pool2d" : "max_pool2d", size as number[]);
    },
  },
];

function windowed(
  c: RewriteContext,
  result: ValueId,
  x: ValueId,
  op: string,
  size: readonly number[],
): readonly ValueId[] | null {
  if (size[0]! * size[1]! > maxTaps) return null;
  const y = c.add(op, [x], { size, stride: size, pad: [0, 0] });
  return sameShape(c.type(y).shape, c.type(result).shape) ? [y] : null;
}
