// Softmax and other normalisations along one axis that have no parameters. They decompose like the norms.

import type { Attrs, GraphBuilder, ValueId } from "../ir/graph.ts";
import type { OpDefinition, ReferenceContext } from "../ir/op.ts";
import { axisOf, defineOp, numberOf, sentences } from "./define.ts";
import { rowsWithout } from "./loops.ts";
import { axisNormRelations, inferAxisNorm, scalar, widened } from "./norm.ts";

/** What softmax, log_softmax and l2_normalize have in common: one axis, and a result like x. */
function alongOneAxis(
  init: Pick<OpDefinition, "name" | "doc" | "equation" | "reference" | "examples"> & {
    readonly attrs?: OpDefinition["attrs"];
    decompose(b: GraphBuilder, x: ValueId, axes: readonly number[], attrs: Attrs): ValueId;
  },
): OpDefinition {
  return defineOp({
    name: init.name,
    doc: init.doc,
    equation: init.equation,
    inputs: [{ name: "x", doc: "any shape, f32 or f16" }],
    attrs: { axis: { kind: "axis", doc: "the axis (index or name)", default: -1 }, ...init.attrs },
    constraints: { float: sentences.float, axis: sentences.axis },
    infer: inferAxisNorm,
    axes: axisNormRelations,
    reference: init.reference,
    lowering: {
      kind: "decompose",
      decompose: (b, [x], attrs) =>
        widened(b, x!, (wide) =>
          init.decompose(b, wide, [axisOf(attrs, "axis", b.type(wide).shape.length)], attrs),
        ),
    },
    examples: init.examples,
  });
}

/** Largest value of each row, and the sum of exponentials of what is below it. */
function exponentialSums(c: ReferenceContext) {
  const x = c.input("x");
  const { row, rows } = rowsWithout(x.shape, [axisOf(c.attrs, "axis", x.shape.length)]);
  const largest = new Float64Array(rows).fill(-Infinity);
  for (let i = 0; i < x.data.length; i++) largest[row[i]!] = Math.max(largest[row[i]!]!, x.data[i]!);
  const sums = new Float64Array(rows);
  for (let i = 0; i < x.data.length; i++) sums[row[i]!]! += Math.exp(x.data[i]! - largest[row[i]!]!);
  return { x: x.data, row, largest, sums };
}

/** The lowest finite f32, and a number far below any real sum of exponentials. */
export const lowest = -3.4028234663852886e38;
export const tiny = 1e-30;

export const softmax = alongOneAxis({
  name: "softmax",
  doc: "Exponentials that sum to 1 along an axis. A row of nothing but -infinity (all masked) gives 0, not NaN as in PyTorch.",
  equation: "y = e^(x - max x) / sum of e^(x - max x)",
  reference(c) {
    const { x, row, largest, sums } = exponentialSums(c);
    const y = c.result();
    for (let i = 0; i < x.length; i++) {
      const masked = largest[row[i]!] === -Infinity;
      y.data[i] = masked ? 0 : Math.exp(x[i]! - largest[row[i]!]!) / sums[row[i]!]!;
    }
    return [y];
  },
  decompose(b, x, axes) {
    // In a row that is all -infinity the bounds leave 0 / tiny; in any other row they change nothing.
    const largest = b.call("maximum", [
      b.call("reduce_max", [x], { axes, keepdims: true }),
      scalar(b, lowest),
    ]);
    const powers = b.call("exp", [b.call("sub", [x, largest])]);
    const total = b.call("maximum", [b.call("sum", [powers], { axes, keepdims: true }), scalar(b, tiny)]);
    return b.call("div", [powers, total]);
  },
  examples: [
    { about: "a difference of ln 3", inputs: { x: [0, 1.098612289] }, outputs: [[0.25, 0.75]] },
    { about: "a masked position", inputs: { x: [5, 5, -Infinity] }, outputs: [[0.5, 0.5, 0]] },
    { about: "all masked", inputs: { x: [-Infinity, -Infinity] }, outputs: [[0, 0]] },
  ],
});

export const logSoftmax = alongOneAxis({
  name: "log_softmax",
  doc: "Logarithm of softmax, without its loss of precision. A row of nothing but -infinity is not defined.",
  equation: "y = x - max x - ln(sum of e^(x - max x))",
  reference(c) {
    const { x, row, largest, sums } = exponentialSums(c);
    const y = c.result();
    for (let i = 0; i < x.length; i++) y.data[i] = x[i]! - largest[row[i]!]! - Math.log(sums[row[i]!]!);
    return [y];
  },
  decompose(b, x, axes) {
    const below = b.call("sub", [x, b.call("reduce_max", [x], { axes, keepdims: true })]);
    const total = b.call("sum", [b.call("exp", [below])], { axes, keepdims: true });
    return b.call("sub", [below, b.call("log", [total])]);
  },
  examples: [{ about: "even odds", inputs: { x: [3, 3] }, outputs: [[-0.693147181, -0.693147181]] }],
});

export const l2Normalize = alongOneAxis({
  name: "l2_normalize",
  doc: "Divides by the Euclidean norm along an axis; the norm (not its square) is at least eps, as in PyTorch's F.normalize.",
  equation: "y = x / max(sqrt(sum of x^2), eps)",
  attrs: { eps: { kind: "float", doc: "smallest norm divided by", default: 1e-12 } },
  reference(c) {
    const x = c.input("x");
    const { row, rows } = rowsWithout(x.shape, [axisOf(c.attrs, "axis", x.shape.length)]);
    const squares = new Float64Array(rows);
    for (let i = 0; i < x.data.length; i++) squares[row[i]!]! += x.data[i]! * x.data[i]!;
    const y = c.result();
    for (let i = 0; i < x.data.length; i++)
      y.data[i] = x.data[i]! / Math.max(Math.sqrt(squares[row[i]!]!), numberOf(c.attrs, "eps"));
    return [y];
  },
  decompose(b, x, axes, attrs) {
    const squares = b.call("sum", [b.call("square", [x])], { axes, keepdims: true });
    const norm = b.call("maximum", [b.call("sqrt", [squares]), scalar(b, numberOf(attrs, "eps"))]);
    return b.call("div", [x, norm]);
  },
  examples: [
    { about: "a 3-4-5 triangle", inputs: { x: [[3, 4]] }, outputs: [[[0.6, 0.8]]] },
    { about: "a zero vector stays zero", inputs: { x: [[0, 0]] }, outputs: [[[0, 0]]] },
  ],
});
