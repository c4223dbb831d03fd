// Adaptive pooling: a given number of windows for any size of input, overlapping where it does not divide; PyTorch's windows, along
// any axes at once. The ops are whole until they are decomposed, so that rules can move linear layers past them.

import { constantOf, dim, sameDim, type Dim } from "../ir/dim.ts";
import type { Attrs, GraphBuilder, ValueId } from "../ir/graph.ts";
import type { AttrSpec, AxisRelation, InferContext, OpDefinition, ReferenceContext } from "../ir/op.ts";
import { stridesOfShape } from "../ir/tensor.ts";
import type { TensorType } from "../ir/types.ts";
import {
  axesOf,
  checkAxes,
  checkFloat,
  defineOp,
  dimsOf,
  isOne,
  other,
  reduced,
  same,
  sentences,
} from "./define.ts";
import { widened } from "./norm.ts";
import { lowest } from "./softmax.ts";
import { longestWindow } from "./unfold.ts";

const attrs: Readonly<Record<string, AttrSpec>> = {
  axes: { kind: "axes", doc: "the axes divided into windows" },
  size: { kind: "dims", doc: "number of windows along each of them" },
};

const constraints = {
  float: sentences.float,
  axes: sentences.axes,
  size: "there is a size of 1 or more for each axis",
} as const;

function infer(c: InferContext): readonly TensorType[] {
  const x = checkFloat(c);
  const axes = checkAxes(c);
  const sizes = dimsOf(c.attrs, "size");
  c.check("size", sizes.length === axes.length && sizes.every((d) => (constantOf(d) ?? 1) >= 1), {
    input: "x",
    got: `size = [${sizes.map((d) => d.key).join(", ")}]`,
    expected: `${axes.length} of 1 or more`,
  });
  return [{ dtype: x.dtype, shape: x.shape.map((d, i) => sizes[axes.indexOf(i)] ?? d), axes: x.axes }];
}

function relations(x: TensorType | undefined, attrs: Attrs): readonly AxisRelation[] {
  const rank = x?.shape.length ?? 0;
  const axes = axesOf(attrs, "axes", rank);
  const sizes = dimsOf(attrs, "size");
  return Array.from({ length: rank }, (_, i): AxisRelation => {
    const size = sizes[axes.indexOf(i)];
    if (!size || sameDim(size, x!.shape[i]!)) return same(i);
    return isOne(size) ? reduced : other;
  });
}

/** Calls `see` with the elements of each window. */
function pool(c: ReferenceContext, see: (window: readonly number[]) => number) {
  const x = c.input("x");
  const y = c.result();
  const axes = axesOf(c.attrs, "axes", x.shape.length);
  const [from, to] = [stridesOfShape(x.shape), stridesOfShape(y.shape)];
  for (let i = 0; i < y.data.length; i++) {
    const place = y.shape.map((size, a) => Math.floor(i / to[a]!) % size);
    let elements = [place.reduce((sum, p, a) => sum + (axes.includes(a) ? 0 : p * from[a]!), 0)];
    for (const a of axes) {
      const [into, windows] = [x.shape[a]!, y.shape[a]!];
      const start = Math.floor((place[a]! * into) / windows);
      const end = Math.ceil(((place[a]! + 1) * into) / windows);
      const along = Array.from({ length: end - start }, (_, t) => (start + t) * from[a]!);
      elements = elements.flatMap((base) => along.map((offset) => base + offset));
    }
    y.data[i] = see(elements.map((at) => x.data[at]!));
  }
  return [y];
}

interface Step {
  readonly axis: number;
  readonly windows: Dim;
}

/** The axes that pooling changes. */
function stepsOf(x: TensorType, attrs: Attrs): readonly Step[] {
  const sizes = dimsOf(attrs, "size");
  return axesOf(attrs, "axes", x.shape.length)
    .map((axis, i) => ({ axis, windows: sizes[i]! }))
    .filter(({ axis, windows }) => !sameDim(windows, x.shape[axis]!));
}

/** Windows in front, one axis for each step, reduced together. */
function reduceWindows(
  b: GraphBuilder,
  x: ValueId,
  steps: readonly Step[],
  op: string,
  fill: number,
): ValueId {
  const { shape } = b.type(x);
  const windows = steps.reduce(
    // Each unfolding puts an axis in front of those that were there.
    (y, { axis, windows }, i) => {
      const taps = longestWindow({ into: shape[axis]!, windows });
      return b.call("adaptive_unfold", [y], { axis: axis + i, windows, taps, fill });
    },
    x,
  );
  return b.call(op, [windows], { axes: steps.map((_, i) => i) });
}

/** Positions of each window along the axis, to broadcast against the result. */
function lengths(b: GraphBuilder, x: TensorType, { axis, windows }: Step): ValueId {
  const length = b.call("adaptive_lengths", [], { into: x.shape[axis]!, windows });
  const behind = x.shape.length - 1 - axis;
  if (behind === 0) return length;
  return b.call("reshape", [length], { dims: [windows, ...Array.from({ length: behind }, () => dim(1))] });
}

const grid = [
  [
    [
      [1, 2, 3],
      [4, 5, 6],
      [7, 8, 9],
    ],
  ],
];

const adaptive = (
  init: Pick<OpDefinition, "name" | "doc" | "equation" | "reference" | "examples"> & {
    readonly traits: OpDefinition["traits"];
    readonly keepsConstants?: OpDefinition["keepsConstants"];
    decompose(b: GraphBuilder, x: ValueId, steps: readonly Step[]): ValueId;
  },
): OpDefinition =>
  defineOp({
    name: init.name,
    doc: init.doc,
    equation: init.equation,
    traits: init.traits,
    ...(init.keepsConstants && { keepsConstants: init.keepsConstants }),
    inputs: [{ name: "x", doc: "f32 or f16" }],
    attrs,
    constraints,
    infer,
    axes: ([x], a) => [relations(x, a)],
    reference: init.reference,
    lowering: {
      kind: "decompose",
      decompose: (b, [x], a) =>
        widened(b, x!, (wide) => {
          const steps = stepsOf(b.type(wide), a);
          return steps.length === 0 ? b.call("copy", [wide]) : init.decompose(b, wide, steps);
        }),
    },
    examples: init.examples,
  });

export const adaptiveAvgPool = adaptive({
  name: "adaptive_avg_pool",
  doc: "Mean over windows that divide each axis into a given number of parts, whatever its size; windows overlap where it does not come out even. PyTorch's adaptive_avg_pool, in any number of axes.",
  equation: "y[i] = mean of x[s:e] along each axis, s = floor(i*I/O), e = ceil((i + 1)*I/O)",
  traits: ["linear"],
  keepsConstants: () => true,
  reference: (c) => pool(c, (window) => window.reduce((a, b) => a + b) / window.length),
  decompose: (b, x, steps) =>
    steps.reduce(
      (y, step) => b.call("div", [y, lengths(b, b.type(x), step)]),
      reduceWindows(b, x, steps, "sum", 0),
    ),
  examples: [
    {
      about: "10 into 4: the windows [0,3) [2,5) [5,8) [7,10)",
      inputs: { x: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] },
      attrs: { axes: [0], size: [4] },
      outputs: [[1, 3, 6, 8]],
    },
    {
      about: "5 into 8: windows of one or two",
      inputs: { x: [0, 1, 2, 3, 4] },
      attrs: { axes: [0], size: [8] },
      outputs: [[0, 0.5, 1, 1.5, 2.5, 3, 3.5, 4]],
    },
    {
      about: "an image of 3x3 into 2x2",
      inputs: { x: grid },
      attrs: { axes: [2, 3], size: [2, 2] },
      outputs: [
        [
          [
            [
              [3, 4],
              [6, 7],
            ],
          ],
        ],
      ],
    },
  ],
});

export const adaptiveMaxPool = adaptive({
  name: "adaptive_max_pool",
  doc: "Largest value of each window, with the windows of adaptive_avg_pool: the bins of spatial pyramid pooling.",
  equation: "y[i] = max of x[s:e] along each axis, s = floor(i*I/O), e = ceil((i + 1)*I/O)",
  traits: [],
  reference: (c) => pool(c, (window) => Math.max(...window)),
  decompose: (b, x, steps) => reduceWindows(b, x, steps, "reduce_max", lowest),
  examples: [
    {
      about: "13 into 3: the windows [0,5) [4,9) [8,13)",
      inputs: { x: [9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, -1] },
      attrs: { axes: [0], size: [3] },
      outputs: [[9, 2, 2]],
    },
    {
      about: "an image of 3x3 into 2x2, and into one",
      inputs: { x: grid },
      attrs: { axes: [2, 3], size: [2, 2] },
      outputs: [
        [
          [
            [
              [5, 6],
              [8, 9],
            ],
          ],
        ],
      ],
    },
    {
      about: "two windows along one axis alone: the other stays",
      inputs: {
        x: [
          [1, -5],
          [2, -6],
          [3, -7],
        ],
      },
      attrs: { axes: [0], size: [2] },
      outputs: [
        [
          [2, -5],
          [3, -6],
        ],
      ],
    },
  ],
});
