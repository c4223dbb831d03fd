// `per_expert(x, ids, of = Block, count = E) @label`: the block once for all experts. Inside, rows are pairs of a token and one of its
// experts (or, without ids, the slots of each expert in turn), and every layer that owns weights has them once an expert: a weight
// under `label.*` is E tensors of the checkpoint, stacked. Any block is an expert so, as long as it treats rows one by one.

import type * as ast from "../parser/ast.ts";
import { constantOf, dim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import { withDefaults, type Attrs } from "../ir/graph.ts";
import type { OpDefinition } from "../ir/op.ts";
import { showType, type TensorType } from "../ir/types.ts";
import type { Span } from "../support/source.ts";
import { Bug } from "../support/bug.ts";
import { callBlock } from "./block-calls.ts";
import type { CallSite } from "./calls.ts";
import { fail, joinPath, type Context, type ExpertRows } from "./context.ts";
import { evaluate, headOf } from "./evaluate.ts";
import { addScope } from "./graph-state.ts";
import { labelPath } from "./labels.ts";
import { addNode, asTensor, callOp } from "./op-calls.ts";
import { numberAsTensor } from "./tensor-operators.ts";
import {
  describe,
  kindOf,
  poison,
  type BlockValue,
  type Given,
  type TensorValue,
  type Value,
} from "./value.ts";

export const perExpert = "per_expert";
const usage = "per_expert(x, ids, of = Block(...), count = 8) @experts";

interface ExpertCall {
  readonly x: TensorValue;
  readonly ids: TensorValue | undefined;
  readonly block: BlockValue;
  readonly count: number;
}

export function callPerExpert(ctx: Context, call: ast.Call, piped: Given | undefined): Value {
  const span = headOf(call);
  if (ctx.place.experts)
    return fail(ctx, "expert-call", "experts are called within an expert here", { span });
  if (!call.label)
    return fail(ctx, "needs-label", "experts have weights, and need a label to name them by", {
      span,
      help: `write a label behind it: ${usage}`,
    });
  const given = argumentsOf(ctx, call, piped, span);
  if (!given) return poison;
  const made = rowsOf(ctx, given, span);
  if (!made) return poison;
  const y = callOnRows(ctx, call, given, made.rows, made.experts, span);
  if (y.kind !== "tensor") return y.kind === "poison" ? poison : notOneTensor(ctx, y, span);
  if (y.type.shape.length !== 2 || !sameDim(y.type.shape[0]!, made.rows.type.shape[0]!))
    return fail(ctx, "expert-call", "an expert gives one row for each of its rows", {
      span,
      label: `from ${showType(made.rows.type)} it makes ${showType(y.type)}`,
    });
  const own = ofExperts(ctx, y, made.experts, span);
  if (own.kind !== "tensor") return poison;
  // Rows are no tokens, whatever the expert calls them.
  const unnamed = { ...own, type: { ...own.type, axes: [null, own.type.axes[1] ?? null] } };
  return reshape(ctx, unnamed, [...made.leading, y.type.shape[1]!], span);
}

/** Rows of no expert are zeros: where a product is the last thing an expert does, they are so already. */
function ofExperts(ctx: Context, y: TensorValue, { count, ids }: ExpertRows, span: Span): Value {
  if (!ids || ctx.graph!.producers.get(y.id)?.op.name === "grouped_linear") return y;
  const end = numberAsTensor(ctx, { kind: "int", value: count }, "u32", span);
  const column = reshape(ctx, ids, [ids.type.shape[0]!, dim(1)], span);
  const exists = end && column.kind === "tensor" ? node(ctx, "less", [column, end], {}, span) : poison;
  const zero = numberAsTensor(ctx, { kind: "int", value: 0 }, y.type.dtype, span);
  return zero && exists.kind === "tensor" ? node(ctx, "where", [exists, y, zero], {}, span) : poison;
}

function notOneTensor(ctx: Context, y: Value, span: Span): Value {
  return fail(ctx, "expert-call", `an expert gives one tensor, not ${kindOf(y)}`, {
    span,
    label: `this is ${describe(y)}`,
  });
}

// ---- arguments ------------------------------------------------------------------------------------------------------

function argumentsOf(
  ctx: Context,
  call: ast.Call,
  piped: Given | undefined,
  span: Span,
): ExpertCall | undefined {
  const tensors: Given[] = piped ? [piped] : [];
  let block: BlockValue | undefined;
  let count: number | undefined;
  const wrong = (message: string, at: Span): undefined => {
    fail(ctx, "expert-call", message, { span: at, help: `it is called as ${usage}` });
    return undefined;
  };
  for (const arg of call.args) {
    const at = arg.value.span;
    const value = evaluate(ctx, arg.value, arg.name?.text === "of" ? { block: true } : {});
    if (value.kind === "poison") return undefined;
    if (!arg.name) tensors.push({ value, span: at });
    else if (arg.name.text === "of" && value.kind === "block") block = value;
    else if (arg.name.text === "count" && value.kind === "int" && value.value >= 1) count = value.value;
    else return wrong(`${arg.name.text} = ${describe(value)} is not what ${perExpert} takes`, arg.name.span);
  }
  if (!block) return wrong("of is missing: the block that an expert is", span);
  const [first, second, extra] = tensors;
  if (!first || extra)
    return wrong("it takes the tokens and the ids of their experts by place", (extra ?? { span }).span);
  const x = asTensor(ctx, first, "the tokens");
  const ids = second && asTensor(ctx, second, "the ids of experts");
  if (!x || (second && !ids)) return undefined;
  if (!ids) {
    const size = x.type.shape.length === 3 ? constantOf(x.type.shape[0]!) : undefined;
    if (size === undefined || (count ?? size) !== size)
      return wrong(
        `without ids the tokens are [experts, slots, channels], and this is ${showType(x.type)}`,
        first.span,
      );
    return { x, ids, block, count: size };
  }
  if (count === undefined) return wrong("count is missing: the number of experts", span);
  const leading = x.type.shape.slice(0, -1);
  const fits =
    ids.type.dtype === "u32" &&
    ids.type.shape.length === leading.length + 1 &&
    leading.length > 0 &&
    leading.every((d, i) => sameDim(d, ids.type.shape[i]!));
  if (!fits)
    return wrong(
      `the ids of experts are u32, k for each token: ${showType(ids.type)} does not fit ${showType(x.type)}`,
      second!.span,
    );
  return { x, ids, block, count };
}

// ---- rows -----------------------------------------------------------------------------------------------------------

interface Rows {
  /** [N, channels] */
  readonly rows: TensorValue;
  readonly experts: ExpertRows;
  /** What N is made of. */
  readonly leading: readonly Dim[];
}

function rowsOf(ctx: Context, { x, ids, count }: ExpertCall, span: Span): Rows | undefined {
  const channels = x.type.shape.at(-1)!;
  if (!ids) {
    const leading = x.type.shape.slice(0, 2);
    const rows = reshape(ctx, x, [productDim(leading), channels], span);
    return rows.kind === "tensor" ? { rows, experts: { count, slots: leading[1]! }, leading } : undefined;
  }
  const leading = ids.type.shape;
  const slots = productDim(leading);
  const wide = [...leading, channels];
  const apart = reshape(ctx, x, [...leading.slice(0, -1), dim(1), channels], span);
  const spread = apart.kind === "tensor" ? node(ctx, "broadcast_to", [apart], { dims: wide }, span) : poison;
  const rows = spread.kind === "tensor" ? reshape(ctx, spread, [slots, channels], span) : poison;
  const flat = reshape(ctx, ids, [slots], span);
  if (rows.kind !== "tensor" || flat.kind !== "tensor") return undefined;
  return { rows, experts: { count, ids: flat }, leading };
}

function callOnRows(
  ctx: Context,
  call: ast.Call,
  { block }: ExpertCall,
  rows: TensorValue,
  experts: ExpertRows,
  span: Span,
): Value {
  const positional = [{ value: rows, span }];
  const site = (c: ast.Call): CallSite => ({
    call: c,
    span,
    name: call.callee.text,
    positional,
    named: block.bound,
    experts,
  });
  if (block.target.kind === "block") return callBlock(ctx, block.target.block, block.target.file, site(call));
  const label = labelPath(ctx, call.label!);
  if (!label) return poison;
  const path = joinPath(joinPath(ctx.place.path, label.path), "*");
  addScope(ctx.graph!, path, block.target.op.name, [], span);
  const place = { ...ctx.place, path, blockPath: path, experts, labels: {}, shared: label.shared };
  const { label: _, ...bare } = call;
  return callOp({ ...ctx, place }, block.target.op, site(bare));
}

// ---- layers inside an expert ------------------------------------------------------------------------------------------

/** The type of all experts' weights, from that of one. */
export function stackedType(experts: ExpertRows, type: TensorType): TensorType {
  return { ...type, shape: [dim(experts.count), ...type.shape], axes: [null, ...type.axes] };
}

/** Of a stack, each row's own: [E, ...] to [N, ...]. */
export function weightOfRows(ctx: Context, stack: TensorValue, span: Span): Value {
  const experts = ctx.place.experts!;
  if (experts.ids) return node(ctx, "take_rows", [stack, experts.ids], {}, span);
  const [count, ...own] = stack.type.shape as [Dim, ...Dim[]];
  const apart = reshape(ctx, stack, [count, dim(1), ...own], span);
  if (apart.kind !== "tensor") return poison;
  const spread = node(ctx, "broadcast_to", [apart], { dims: [count, experts.slots, ...own] }, span);
  if (spread.kind !== "tensor") return poison;
  return reshape(ctx, spread, [productDim([count, experts.slots]), ...own], span);
}

/** A layer whose weights, stacked, are among `inputs`. */
export function callWithStacks(
  ctx: Context,
  op: OpDefinition,
  inputs: readonly (TensorValue | undefined)[],
  attrs: Attrs,
  span: Span,
): Value {
  const x = inputs[0];
  const rank = x?.type.shape.length ?? 0;
  if (x && op.name === "linear" && rank === 2) return linearOfRows(ctx, x, inputs[1]!, inputs[2], span);
  const axis = attrs["axis"];
  const isNorm = op.inputs
    .slice(1)
    .every((i) => i.weight && i.optional && ["weight", "bias"].includes(i.name));
  if (!x || !isNorm || rank !== 2 || (axis !== 1 && axis !== -1))
    return fail(ctx, "expert-weights", `${op.name} cannot have weights of its own in each expert`, {
      span,
      help: "in an expert, linear layers over rows and norms over their channels have weights, and `weight` declares others",
    });
  // The norm itself, then each row's own scale and shift.
  let y = addNode(ctx, op, [x], attrs, span);
  for (const [i, name] of [
    [1, "mul"],
    [2, "add"],
  ] as const) {
    const stack = inputs[i];
    if (!stack || y.kind !== "tensor") continue;
    const own = weightOfRows(ctx, stack, span);
    y = own.kind === "tensor" ? node(ctx, name, [y, own], {}, span) : poison;
  }
  return y;
}

function linearOfRows(
  ctx: Context,
  x: TensorValue,
  weight: TensorValue,
  bias: TensorValue | undefined,
  span: Span,
): Value {
  const experts = ctx.place.experts!;
  if (experts.ids) return node(ctx, "grouped_linear", [x, weight, bias, experts.ids], {}, span);
  const [count, out] = weight.type.shape as readonly [Dim, Dim, Dim];
  const wide = reshape(ctx, x, [count, experts.slots, x.type.shape[1]!], span);
  let y = wide.kind === "tensor" ? node(ctx, "matmul", [wide, weight], { transpose_b: true }, span) : poison;
  const shift = bias && reshape(ctx, bias, [count, dim(1), out], span);
  if (shift)
    y = y.kind === "tensor" && shift.kind === "tensor" ? node(ctx, "add", [y, shift], {}, span) : poison;
  return y.kind === "tensor" ? reshape(ctx, y, [x.type.shape[0]!, out], span) : poison;
}

// ---- nodes ----------------------------------------------------------------------------------------------------------

function node(
  ctx: Context,
  name: string,
  inputs: readonly (TensorValue | undefined)[],
  attrs: Attrs,
  span: Span,
): Value {
  const op = ctx.session.lookup(name);
  if (!op) throw new Bug(`the language needs an op called ${name}`);
  return addNode(ctx, op, inputs, withDefaults(op, attrs), span);
}

function reshape(ctx: Context, x: TensorValue, dims: readonly Dim[], span: Span): Value {
  const same = x.type.shape.length === dims.length && dims.every((d, i) => sameDim(d, x.type.shape[i]!));
  return same ? x : node(ctx, "reshape", [x], { dims: [...dims] }, span);
}
