// Layers of routed experts. A slot is a pair of a token and one of its choices; `grouped_linear` gives each row the weights of its own
// expert, and `expert_plan` sorts slots by expert so that rows of one expert lie together, in tiles that have one expert each.

import { addDim, constantOf, dim, floorDiv, mulDim, sameDim, type Dim } from "../ir/dim.ts";
import { lt } from "../ir/expr.ts";
import type { Attrs, GraphBuilder, ValueId } from "../ir/graph.ts";
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
import { planProgram, seatsProgram } from "./experts-kernel.ts";

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
    "no slot. Slots of no expert (an id of E or more) get no row. With a capacity every expert has that many rows, whole tiles of them, " +
    "whether they are taken or not; slots are seated in turn, all first choices before any second, and those without a seat get no row.",
  equation: "slots[places[s]] = s;  experts of rows floor(r / tile)*tile .. are tiles[floor(r / tile)]",
  inputs: [{ name: "ids", doc: "[N], u32: the expert of each slot" }],
  attrs: {
    experts: { kind: "int", doc: "number of experts" },
    tile: tileAttr,
    capacity: { kind: "int", doc: "seats of an expert; 0: as many as it has slots", default: 0 },
    k: { kind: "int", doc: "choices of a token, which are seated in turn", default: 1 },
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
    seats:
      "with a capacity the rows are those of all seats, in whole tiles, and without one there is no order of seats",
  },
  infer(c) {
    const ids = checkRank(c, "ids", 1);
    c.check("ids", ids.dtype === "u32", { input: "ids", got: ids.dtype, expected: "u32" });
    const tile = numberOf(c.attrs, "tile");
    const experts = numberOf(c.attrs, "experts");
    c.check("counts", tile >= 1 && experts >= 1, { got: `${experts} experts, tiles of ${tile}` });
    const rows = dimOf(c.attrs, "rows");
    const fixed = constantOf(rows) === constantOf(rowBound(ids.shape[0]!, c.attrs));
    const seated = numberOf(c.attrs, "capacity") > 0 ? fixed : numberOf(c.attrs, "k") === 1;
    c.check("seats", seated && numberOf(c.attrs, "k") >= 1, { got: `${rows.key} rows` });
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
    const experts = numberOf(c.attrs, "experts");
    const capacity = numberOf(c.attrs, "capacity");
    const order = seatingOrder(ids.length, numberOf(c.attrs, "k"));
    const slots: number[] = [];
    const tiles: number[] = [];
    const places = new Uint32Array(ids.length).fill(NOWHERE);
    for (let e = 0; e < experts; e++) {
      const own = order.filter((s) => ids[s] === e).slice(0, capacity > 0 ? capacity : ids.length);
      const rows = tile * Math.ceil((capacity > 0 ? capacity : own.length) / tile);
      own.forEach((s, i) => (places[s] = slots.length + i));
      for (let i = 0; i < rows; i++) slots.push(own[i] ?? NOWHERE);
      for (let i = 0; i < rows; i += tile) tiles.push(i < own.length ? e : experts);
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
    {
      about: "two experts with three seats each, in tiles of two; the first choices are slots 0, 2 and 4",
      inputs: { ids: [0, 0, 0, 1, 0, 0] },
      dtypes: { ids: "u32" },
      attrs: { experts: 2, tile: 2, capacity: 3, k: 2, rows: 8 },
      outputs: [
        [0, 2, 4, NOWHERE, 3, NOWHERE, NOWHERE, NOWHERE],
        [0, 0, 1, 2],
        [0, NOWHERE, 1, 4, 2, NOWHERE],
      ],
    },
  ],
  inLanguage: false,
});

/** Slots in the order that they are seated in: the first choice of every token, then the second. */
function seatingOrder(slots: number, k: number): readonly number[] {
  const tokens = slots / k;
  return Array.from({ length: slots }, (_, p) => (p % tokens) * k + Math.floor(p / tokens));
}

export const expertSeats = defineOp({
  name: "expert_seats",
  doc:
    "The seat of each choice at its expert, counted from 0: all first choices are seated before any second, in the order of the tokens. " +
    "An id of E or more has the seat 4294967295.",
  equation: "seats[t, j] = |{(u, i): ids[u, i] = ids[t, j], (i, u) < (j, t)}|",
  inputs: [{ name: "ids", doc: "[T, k], u32: the experts of each token" }],
  attrs: { experts: { kind: "int", doc: "number of experts" } },
  results: ["seats"],
  constraints: {
    rank: "ids have two axes",
    ids: "ids are u32, and the number of choices is known while compiling",
    counts: "there is at least one expert",
  },
  infer(c) {
    const ids = checkRank(c, "ids", 2);
    c.check("ids", ids.dtype === "u32" && constantOf(ids.shape[1]!) !== undefined, {
      input: "ids",
      got: showType(ids),
      expected: "u32[T, k]",
    });
    c.check("counts", numberOf(c.attrs, "experts") >= 1, { got: `${numberOf(c.attrs, "experts")} experts` });
    return [{ dtype: "u32", shape: ids.shape, axes: ids.axes }];
  },
  axes: () => [[other, other]],
  reference(c) {
    const { data, shape } = c.input("ids");
    const seats = c.result();
    const taken = new Array<number>(numberOf(c.attrs, "experts")).fill(0);
    for (const slot of seatingOrder(data.length, shape[1]!)) {
      const id = data[slot]!;
      seats.data[slot] = id < taken.length ? taken[id]!++ : NOWHERE;
    }
    return [seats];
  },
  lowering: {
    kind: "program",
    inPlace: ["ids"],
    program: seatsProgram,
    decompose: (b, [ids], attrs) => [seatsWritten(b, ids!, numberOf(attrs, "experts"))],
  },
  examples: [
    {
      about: "three tokens want expert 1, one of them as its second choice",
      inputs: {
        ids: [
          [0, 1],
          [1, 0],
          [1, 2],
        ],
      },
      dtypes: { ids: "u32" },
      attrs: { experts: 2 },
      outputs: [
        [
          [0, 2],
          [0, 1],
          [1, NOWHERE],
        ],
      ],
    },
  ],
});

/** With a running sum over [k * T, experts]. */
function seatsWritten(b: GraphBuilder, ids: ValueId, experts: number): ValueId {
  const [tokens, k] = b.type(ids).shape as readonly [Dim, Dim];
  const each = b.call("iota", [], { dims: [dim(experts)], dtype: "u32" });
  const wants = b.call("equal", [b.call("unsqueeze", [ids], { axes: [-1] }), each]);
  const inTurn = b.call("transpose", [b.call("cast", [wants], { dtype: "i32" })], { perm: [1, 0, 2] });
  const ordered = b.call("reshape", [inTurn], { dims: [mulDim(k, tokens), dim(experts)] });
  const before = b.call("cumsum", [ordered], { axis: 0, exclusive: true });
  const own = b.call("sum", [b.call("mul", [before, ordered])], { axes: [1] });
  const seats = b.call("transpose", [b.call("reshape", [own], { dims: [k, tokens] })], { perm: [1, 0] });
  const number = (value: number): ValueId => b.call("constant", [], { value, dtype: "u32" });
  const exists = b.call("less", [ids, number(experts)]);
  return b.call("where", [exists, b.call("cast", [seats], { dtype: "u32" }), number(NOWHERE)]);
}

/** The most rows a plan can have: every expert that is there at all may leave a tile all but empty. */
export function rowBound(slots: Dim, attrs: Attrs): Dim {
  const tile = numberOf(attrs, "tile");
  const experts = numberOf(attrs, "experts");
  const capacity = numberOf(attrs, "capacity");
  if (capacity > 0) return dim(experts * tile * Math.ceil(capacity / tile));
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
