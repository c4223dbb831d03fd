// Routed experts in ONNX, in the dense form: every expert computes every row, and each row keeps that of its own. ONNX's TopK prefers the
// lower index on ties, as ours does; what it makes of NaN is left open there.

import { dim } from "../ir/dim.ts";
import { castTo, fixedSize, flag, number, size, wide, type OpContext, type Translate } from "./context.ts";

import { tensorProto } from "./writer.ts";

const LOWEST = -3.4028234663852886e38;
/** The place of a row that is not kept. */
const NOWHERE = 0xffffffff;

/** Values and indices (i64) of the k largest along the last axis. */
function largest(c: OpContext, x: string, k: string): readonly [string, string] {
  const [values, indices] = c.writer.outputs("TopK", [x, k], 2, { axis: { int: -1 } });
  return [values!, indices!];
}

const sumLast = (c: OpContext, x: string, keepdims: 0 | 1): string =>
  c.writer.node("ReduceSum", [x, c.writer.integers([-1])], { keepdims: { int: keepdims } });

const unsqueeze = (c: OpContext, x: string, axis: number): string =>
  c.writer.node("Unsqueeze", [x, c.writer.integers([axis])]);

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

export const topK: Translate = (c) => {
  const [values, indices] = largest(c, c.input(0), c.writer.size(size(c, "k")));
  return [values, castTo(c, indices, "u32")];
};

function scored(c: OpContext, kind: unknown, z: string): string {
  if (kind === "softmax") return c.writer.node("Softmax", [z], { axis: { int: -1 } });
  return kind === "sigmoid" ? c.writer.node("Sigmoid", [z]) : z;
}

/** Experts of groups that do not stay get the lowest number. */
function withinGroups(c: OpContext, by: string): string {
  const { writer } = c;
  const groups = number(c, "groups");
  if (groups === 1) return by;
  const { shape } = c.type(0);
  const each = fixedSize(c, shape.at(-1)!) / groups;
  const apart = writer.node("Reshape", [
    by,
    writer.shape([...shape.slice(0, -1), dim(groups), dim(each)], "infer one"),
  ]);
  const compared = c.attrs["group_score"] === "top2" ? Math.min(2, each) : 1;
  const [best] = largest(c, apart, writer.integers([compared]));
  const [, kept] = largest(c, sumLast(c, best, 0), writer.integers([number(c, "keep_groups")]));
  const same = writer.node("Equal", [unsqueeze(c, kept, -1), writer.integers(range(groups))]);
  const stays = writer.node("ReduceMax", [castTo(c, same, "f32")], {
    axes: { ints: [-2] },
    keepdims: { int: 0 },
  });
  const mask = writer.node("Greater", [unsqueeze(c, stays, -1), writer.scalar(0, "f32")]);
  const masked = writer.node("Where", [mask, apart, writer.scalar(LOWEST, "f32")]);
  return writer.node("Reshape", [masked, writer.shape(shape, "infer one")]);
}

export const route: Translate = (c) => {
  const { writer } = c;
  const literal = (value: number): string => writer.scalar(value, "f32");
  const z = writer.node("Clip", [wide(c, 0), literal(-3e38), literal(3e38)]);
  const s = scored(c, c.attrs["scores"], z);
  const by = c.has(1) ? writer.node("Add", [s, wide(c, 1)]) : s;
  const [, ids] = largest(c, withinGroups(c, by), writer.integers([number(c, "k")]));
  const own = c.attrs["weights"] === "scores" ? s : z;
  let v = scored(c, c.attrs["weights"], writer.node("GatherElements", [own, ids], { axis: { int: -1 } }));
  const weightless = number(c, "weightless");
  if (weightless >= 0)
    v = writer.node("Where", [writer.node("Less", [ids, writer.integer(weightless)]), v, literal(0)]);
  if (flag(c, "renorm")) {
    const total = writer.node("Add", [sumLast(c, v, 1), literal(number(c, "eps"))]);
    const none = writer.node("Equal", [total, literal(0)]);
    v = writer.node("Where", [none, literal(0), writer.node("Div", [v, total])]);
  }
  const scale = number(c, "scale");
  return [castTo(c, ids, "u32"), scale === 1 ? v : writer.node("Mul", [v, literal(scale)])];
};

export const groupedLinear: Translate = (c) => {
  const { writer } = c;
  const count = fixedSize(c, c.type(1).shape[0]!);
  const columns = writer.node("Transpose", [c.input(1)], { perm: { ints: [0, 2, 1] } });
  const product = writer.node("MatMul", [unsqueeze(c, c.input(0), 0), columns]);
  const all = c.has(2) ? writer.node("Add", [product, unsqueeze(c, c.input(2), 1)]) : product;
  const tile = number(c, "tile");
  const ids = castTo(c, c.input(3), "i64");
  const wideIds = writer.node("Expand", [unsqueeze(c, ids, 1), writer.integers([1, tile])]);
  const rows = tile === 1 ? ids : writer.node("Reshape", [wideIds, writer.integers([-1])]);
  const own = writer.node("Equal", [unsqueeze(c, rows, 0), unsqueeze(c, writer.integers(range(count)), 1)]);
  const kept = writer.node("Where", [unsqueeze(c, own, -1), all, writer.scalar(0, c.result.dtype)]);
  return writer.node("ReduceSum", [kept, writer.integers([0])], { keepdims: { int: 0 } });
};

/** A row of zeros behind the last one is what an index beyond it takes: there may be no other row. */
export const takeRows: Translate = (c) => {
  const { writer } = c;
  const { dtype, shape } = c.type(0);
  const zero = { tensor: tensorProto({ dtype, shape: [1], data: new Float64Array([0]) }) };
  const row = writer.node("ConstantOfShape", [writer.shape([dim(1), ...shape.slice(1)])], { value: zero });
  const rows = writer.node("Concat", [c.input(0), row], { axis: { int: 0 } });
  const index = castTo(c, c.input(1), "i64");
  const behind = writer.size(shape[0]!);
  const at = writer.node("Where", [writer.node("Less", [index, behind]), index, behind]);
  return writer.node("Gather", [rows, at], { axis: { int: 0 } });
};

export const packRows: Translate = (c) => {
  const { writer } = c;
  const keep = c.input(0);
  const rows = writer.node("Squeeze", [writer.node("NonZero", [keep]), writer.integers([0])]);
  const upTo = writer.node("CumSum", [castTo(c, keep, "i64"), writer.integer(0)]);
  const place = writer.node("Sub", [upTo, writer.integer(1)]);
  const places = writer.node("Where", [keep, place, writer.integer(NOWHERE)]);
  return [castTo(c, rows, "u32"), castTo(c, places, "u32")];
};
