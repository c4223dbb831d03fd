// Layers of routed experts. A slot is a pair of a token and one of its choices; `grouped_linear` gives each row the weights of its own
// expert, and `expert_plan` sorts slots by expert so that rows of one expert lie together, in tiles that have one expert each.

import { addDim, constantOf, dim, floorDiv, mulDim, sameDim, type Dim } from "../ir/dim.ts";
import { lt } from "../ir/expr.ts";
import type { Attrs } from "../ir/graph.ts";
import type { AxisRelation } from "../ir/op.ts";
import { elementCount, tensor } from "../ir/tensor.ts";
import { elementsOf, showType } from "../ir/types.ts";
import {
  checkFloat,
  checkRank,
  checkSameDType,
  defineOp,
  dimOf,
  numberOf,
  other,
  reduced,
  same,
  sentences,
} from "./define.ts";
import { planProgram } from "./experts-kernel.ts";

/** A row of no slot, or a slot of no row: beyond any index. */
const NOWHERE = 0xffffffff;

const tileAttr = {
  kind: "int",
  doc: "rows that have one expert together",
  default: 1,
} as const;

export const groupedLinear = defineOp({
  name: "grouped_linear",
  doc:
    "A linear layer whose weights are chosen for each tile of rows: those of expert experts[floor(n / tile)]. A tile whose expert is none " +
    "(an id of E or more) gives zeros, and costs nothing where it is a tile of its own.",
  equation: "y[n, o] = sum over i of x[n, i] * weight[e, o, i] + bias[e, o],  e = experts[floor(n / tile)]",
  traits: ["contraction"],
  inputs: [
    { name: "x", doc: "[N, in], f32 or f16" },
    { name: "weight", doc: "[E, out, in]" },
    { name: "bias", doc: "[E, out]", optional: true },
    { name: "experts", doc: "[N / tile], u32" },
  ],
  attrs: { tile: tileAttr },
  constraints: {
    float: sentences.float,
    rank: "x has two axes, the weight three and experts one",
    channels: "the last axis of x is as long as the rows of the weight",
    bias: "the bias has one number per expert and row of its weight",
    experts: "experts are u32, one for each tile of rows",
    dtype: sentences.dtype,
  },
  infer(c) {
    const x = checkFloat(c);
    checkRank(c, "x", 2);
    const weight = checkRank(c, "weight", 3);
    const experts = checkRank(c, "experts", 1);
    const [count, out, into] = weight.shape as readonly [Dim, Dim, Dim];
    c.check("channels", sameDim(x.shape[1]!, into), {
      input: "x",
      axis: 1,
      got: x.shape[1]!.key,
      expected: into.key,
      from: "weight",
    });
    if (c.has("bias")) {
      const bias = c.type("bias");
      const fits = bias.shape.length === 2 && sameDim(bias.shape[0]!, count) && sameDim(bias.shape[1]!, out);
      c.check("bias", fits, {
        input: "bias",
        got: showType(bias),
        expected: `[${count.key}, ${out.key}]`,
        from: "weight",
      });
    }
    const tiles = floorDiv(x.shape[0]!, dim(numberOf(c.attrs, "tile")));
    c.check("experts", experts.dtype === "u32" && sameDim(experts.shape[0]!, tiles), {
      input: "experts",
      axis: 0,
      got: showType(experts),
      expected: `u32[${tiles.key}]`,
      from: "x",
    });
    checkSameDType(c, ["x", "weight", "bias"]);
    return [{ dtype: x.dtype, shape: [x.shape[0]!, out], axes: [x.axes[0] ?? null, weight.axes[1] ?? null] }];
  },
  axes(types, attrs) {
    const own = numberOf(attrs, "tile") === 1 ? same(0) : other;
    return [[same(0), reduced], [other, same(1), reduced], types[2] ? [other, same(1)] : [], [own]];
  },
  reference(c) {
    const x = c.input("x");
    const weight = c.input("weight");
    const experts = c.input("experts");
    const bias = c.has("bias") ? c.input("bias").data : undefined;
    const y = c.result();
    const [count, out, into] = weight.shape as readonly [number, number, number];
    const tile = numberOf(c.attrs, "tile");
    for (let n = 0; n < x.shape[0]!; n++) {
      const e = experts.data[Math.floor(n / tile)]!;
      if (e >= count) continue;
      for (let o = 0; o < out; o++) {
        let sum = bias ? bias[e * out + o]! : 0;
        for (let i = 0; i < into; i++) sum += x.data[n * into + i]! * weight.data[(e * out + o) * into + i]!;
        y.data[n * out + o] = sum;
      }
    }
    return [y];
  },
  lowering: {
    kind: "contraction",
    describe(types, attrs) {
      return {
        batch: [],
        left: [0],
        right: [1],
        reduce: [types[1]!.shape[2]!],
        leftIndex: (_, out, k) => ({ index: [out[0]!, k[0]!] }),
        rightIndex: (_, out, k, group) => ({ index: [group!, out[1]!, k[0]!] }),
        ...(types[2] && { biasAxis: 1 }),
        group: { input: 3, axis: 0, tile: numberOf(attrs, "tile"), count: types[1]!.shape[0]! },
      };
    },
  },
  examples: [
    {
      about: "two experts, and a row of none",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        weight: [[[1, 0]], [[0, 1]]],
        bias: [[10], [20]],
        experts: [1, 0, 2],
      },
      dtypes: { experts: "u32" },
      outputs: [[[22], [13], [0]]],
    },
    {
      about: "tiles of two rows",
      inputs: {
        x: [[1], [2], [3], [4]],
        weight: [[[1]], [[10]]],
        experts: [1, 0],
      },
      dtypes: { experts: "u32" },
      attrs: { tile: 2 },
      outputs: [[[10], [20], [3], [4]]],
    },
  ],
  macs: (types, _, result) => mulDim(elementsOf(result), types[1]!.shape[2]!),
});

export const expertPlan = defineOp({
  name: "expert_plan",
  doc:
    "Sorts slots by their expert, stably. The rows of an expert begin at a multiple of `tile`; what is left of its last tile are rows of " +
    "no slot. Slots of no expert (an id of E or more) get no row.",
  equation: "slots[places[s]] = s;  experts of rows floor(r / tile)*tile .. are tiles[floor(r / tile)]",
  inputs: [{ name: "ids", doc: "[N], u32: the expert of each slot" }],
  attrs: {
    experts: { kind: "int", doc: "number of experts" },
    tile: tileAttr,
    rows: {
      kind: "dim",
      doc: "the bounded symbol that is the number of rows",
      declares: ([ids], attrs) => rowBound(ids!.shape[0]!, attrs),
    },
  },
  results: ["slots", "tiles", "places"],
  constraints: {
    rank: "ids have one axis",
    ids: "ids are u32",
    counts: "there is at least one expert, and a tile has at least one row",
  },
  infer(c) {
    const ids = checkRank(c, "ids", 1);
    c.check("ids", ids.dtype === "u32", { input: "ids", got: ids.dtype, expected: "u32" });
    const tile = numberOf(c.attrs, "tile");
    const experts = numberOf(c.attrs, "experts");
    c.check("counts", tile >= 1 && experts >= 1, { got: `${experts} experts, tiles of ${tile}` });
    const rows = dimOf(c.attrs, "rows");
    return [
      { dtype: "u32", shape: [rows], axes: [null] },
      { dtype: "u32", shape: [floorDiv(rows, dim(tile))], axes: [null] },
      { dtype: "u32", shape: ids.shape, axes: ids.axes },
    ];
  },
  axes: () => [[other]],
  reference(c) {
    const ids = c.input("ids").data;
    const tile = numberOf(c.attrs, "tile");
    const slots: number[] = [];
    const tiles: number[] = [];
    const places = new Uint32Array(ids.length).fill(NOWHERE);
    for (let e = 0; e < numberOf(c.attrs, "experts"); e++) {
      for (let s = 0; s < ids.length; s++)
        if (ids[s] === e) {
          places[s] = slots.length;
          slots.push(s);
        }
      while (slots.length % tile !== 0) slots.push(NOWHERE);
      while (tiles.length * tile < slots.length) tiles.push(e);
    }
    return [
      tensor("u32", [slots.length], slots),
      tensor("u32", [tiles.length], tiles),
      { dtype: "u32", shape: [ids.length], data: places },
    ];
  },
  lowering: { kind: "program", inPlace: ["ids"], program: planProgram },
  examples: [
    {
      about: "three experts, tiles of two, one slot of none",
      inputs: { ids: [2, 0, 2, 3, 2] },
      dtypes: { ids: "u32" },
      attrs: { experts: 3, tile: 2, rows: 6 },
      outputs: [
        [1, NOWHERE, 0, 2, 4, NOWHERE],
        [0, 2, 2],
        [2, 0, 3, NOWHERE, 4],
      ],
    },
  ],
  inLanguage: false,
});

/** The most rows a plan can have: every expert that is there at all may leave a tile all but empty. */
export function rowBound(slots: Dim, attrs: Attrs): Dim {
  const tile = numberOf(attrs, "tile");
  const experts = numberOf(attrs, "experts");
  const known = constantOf(slots);
  const partly = known === undefined ? experts : Math.min(experts, known);
  return mulDim(dim(tile), floorDiv(addDim(slots, dim(partly * (tile - 1))), dim(tile)));
}

export const takeRows = defineOp({
  name: "take_rows",
  doc: "Rows of x by their index, in any order and any number of times. An index beyond the last row gives zeros.",
  equation: "y[n, ...] = x[index[n], ...], or 0",
  traits: ["movement"],
  inputs: [
    { name: "x", doc: "at least one axis" },
    { name: "index", doc: "[N], u32" },
  ],
  constraints: {
    rank: "x has at least one axis, and the index one",
    index: "the index is u32",
  },
  infer(c) {
    const x = c.type("x");
    const index = checkRank(c, "index", 1);
    c.check("rank", x.shape.length >= 1, { input: "x", got: showType(x), expected: "at least one axis" });
    c.check("index", index.dtype === "u32", { input: "index", got: index.dtype, expected: "u32" });
    return [
      {
        dtype: x.dtype,
        shape: [index.shape[0]!, ...x.shape.slice(1)],
        axes: [index.axes[0] ?? null, ...x.axes.slice(1)],
      },
    ];
  },
  axes: ([x]) => [(x?.shape ?? []).map((_, i): AxisRelation => (i === 0 ? other : same(i))), [same(0)]],
  reference(c) {
    const x = c.input("x");
    const index = c.input("index").data;
    const y = c.result();
    const row = elementCount(x.shape.slice(1));
    for (const [n, at] of index.entries())
      if (at < x.shape[0]!) y.data.set(x.data.subarray(at * row, (at + 1) * row), n * row);
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const at = c.bind("row", c.read(1, [index[0]!]));
      return c.readInside(0, [at, ...index.slice(1)], lt(at, c.size(c.type(0).shape[0]!)), 0);
    },
  },
  examples: [
    {
      about: "one twice, and one that is not there",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
        ],
        index: [1, 9, 0, 1],
      },
      dtypes: { index: "u32" },
      outputs: [
        [
          [3, 4],
          [0, 0],
          [1, 2],
          [3, 4],
        ],
      ],
    },
  ],
});
