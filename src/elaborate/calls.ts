// A call: what its name stands for, its arguments, and whether it is carried out or only binds parameters.
// Ops are called in op-calls.ts, blocks in block-calls.ts.

import { givenAttributes } from "../ir/op.ts";
import type * as ast from "../parser/ast.ts";
import type { Span } from "../support/source.ts";
import { attributeHint } from "./attributes.ts";
import { quotient } from "./arithmetic.ts";
import { callBlock } from "./block-calls.ts";
import { builtins, type Builtin } from "./builtins.ts";
import { evaluateEntry } from "./constants.ts";
import { fail, type Context, type ExpertRows } from "./context.ts";
import { evaluate, headOf, hintOf, unknownName, type Hint } from "./evaluate.ts";
import { callPerExpert, perExpert } from "./experts.ts";
import { labelOnValue } from "./labels.ts";
import { callOp } from "./op-calls.ts";
import { checkParameter } from "./parameters.ts";
import { suggestion } from "./suggest.ts";
import { describe, kindOf, nameOfBlock, poison, type BlockValue, type Given, type Value } from "./value.ts";

export interface CallSite {
  readonly call: ast.Call;
  /** The call without what is piped into it. */
  readonly span: Span;
  readonly name: string;
  /** Tensors by place; the piped one is first. */
  readonly positional: readonly Given[];
  /** By name: those of the call, and those bound before. */
  readonly named: ReadonlyMap<string, Given>;
  /** The call is carried out once for all experts. */
  readonly experts?: ExpertRows;
}

export function evaluateCall(ctx: Context, call: ast.Call, piped: Given | undefined, hint: Hint): Value {
  const { text } = call.callee;
  if (text === perExpert && !ctx.env.get(text) && !ctx.file.entries.get(text))
    return callPerExpert(ctx, call, piped);
  const callee = calleeOf(ctx, call, piped);
  if ("done" in callee) return callee.done;
  const { block, positional } = callee;
  const named = namedArguments(ctx, block, call);
  if (!named || positional.some((p) => p.value.kind === "poison")) return poison;
  const site: CallSite = { call, span: headOf(call), name: call.callee.text, positional, named };
  const bindsOnly = positional.length === 0 && (hint.block === true || lacksTensors(block, named));
  if (bindsOnly) {
    if (call.label) labelOnValue(ctx, call.label, call.callee.text);
    return { ...block, bound: named };
  }
  return block.target.kind === "op"
    ? callOp(ctx, block.target.op, site)
    : callBlock(ctx, block.target.block, block.target.file, site);
}

type Callee =
  { readonly done: Value } | { readonly block: BlockValue; readonly positional: readonly Given[] };

function calleeOf(ctx: Context, call: ast.Call, piped: Given | undefined): Callee {
  const name = call.callee.text;
  const binding = ctx.env.get(name);
  const entry = binding ? undefined : ctx.file.entries.get(name);
  const builtin = binding || entry ? undefined : builtins.get(name);
  if (builtin && isQuotient(name, call, piped)) return { done: callQuotient(ctx, name, call) };
  const positional = positionalArguments(ctx, call, piped);
  const named = binding?.value ?? (entry && evaluateEntry(ctx, entry, call.callee.span));
  if (named) return asCallee(ctx, call, named, positional);
  const op = ctx.session.lookup(name);
  const isOp = op !== undefined && op.inLanguage !== false;
  const takesTensors = positional.some((p) => p.value.kind === "tensor") || call.args.some((a) => a.name);
  if (builtin && !(isOp && takesTensors)) {
    if (call.label) labelOnValue(ctx, call.label, name);
    return { done: callBuiltin(ctx, name, builtin, call, positional) };
  }
  if (isOp) return { block: { kind: "block", target: { kind: "op", op }, bound: new Map() }, positional };
  return { done: unknownName(ctx, name, call.callee.span) };
}

function asCallee(ctx: Context, call: ast.Call, value: Value, positional: readonly Given[]): Callee {
  if (value.kind === "block") return { block: value, positional };
  if (value.kind === "poison") return { done: poison };
  return {
    done: fail(ctx, "not-callable", `${call.callee.text} is ${kindOf(value)}, and cannot be called`, {
      span: call.callee.span,
      label: `this is ${describe(value)}`,
      help: value.kind === "none" ? "ask first: if ... != none" : undefined,
    }),
  };
}

function positionalArguments(ctx: Context, call: ast.Call, piped: Given | undefined): readonly Given[] {
  const own = call.args
    .filter((a) => !a.name)
    .map((a) => ({ value: evaluate(ctx, a.value), span: headOf(a.value) }));
  return piped ? [piped, ...own] : own;
}

/** `floor(a / b)`: the division is part of the rounding, so it need not be exact. */
function isQuotient(name: string, call: ast.Call, piped: Given | undefined): name is "floor" | "ceil" {
  const only = call.args.length === 1 ? call.args[0]! : undefined;
  return (
    (name === "floor" || name === "ceil") &&
    piped === undefined &&
    only?.name === undefined &&
    only?.value.kind === "binary" &&
    only.value.op === "/"
  );
}

function callQuotient(ctx: Context, name: "floor" | "ceil", call: ast.Call): Value {
  const division = call.args[0]!.value as ast.Binary;
  const [a, b] = [evaluate(ctx, division.left), evaluate(ctx, division.right)];
  if (a.kind === "tensor" || b.kind === "tensor")
    return fail(ctx, "argument-type", `${name}(a / b) is for sizes`, {
      span: call.span,
      help: "give the quotient of tensors a name first",
    });
  return quotient(ctx, name, a, b, call.span);
}

function callBuiltin(
  ctx: Context,
  name: string,
  builtin: Builtin,
  call: ast.Call,
  positional: readonly Given[],
): Value {
  if (positional.some((p) => p.value.kind === "poison")) return poison;
  const span = headOf(call);
  const tensor = positional.find((p) => p.value.kind === "tensor");
  if (tensor)
    return fail(ctx, "argument-type", `${name} is computed while compiling, and does not take a tensor`, {
      span: tensor.span,
      label: `this is ${describe(tensor.value)}`,
      help: tensorAlternative[name],
    });
  const [fewest, most] = builtin.count;
  const wrongCount = positional.length < fewest || positional.length > most;
  if (wrongCount || call.args.some((a) => a.name))
    return fail(ctx, "wrong-arguments", `${name} is called as ${builtin.usage}`, { span });
  return builtin.apply(
    ctx,
    positional.map((p) => p.value),
    span,
  );
}

const tensorAlternative: Readonly<Record<string, string>> = {
  min: "take minimum(a, b), or reduce_min(x, axes = ...)",
  max: "take maximum(a, b), or reduce_max(x, axes = ...)",
  int: "take cast(x, dtype = i32)",
  float: "take cast(x, dtype = f32)",
  len: "the sizes of a tensor are in x.shape",
};

/** Does the call lack a tensor that it needs, so that it can only bind parameters? */
function lacksTensors(block: BlockValue, named: ReadonlyMap<string, Given>): boolean {
  if (block.target.kind === "op")
    return block.target.op.inputs.some((x) => !x.weight && !x.optional && !named.has(x.name));
  const inputs = block.target.block.inputs;
  return inputs.some((x) => !x.optional) && !inputs.some((x) => named.has(x.name.text));
}

/** Arguments by name, checked against the parameters of what is called, over those bound before. */
function namedArguments(
  ctx: Context,
  block: BlockValue,
  call: ast.Call,
): ReadonlyMap<string, Given> | undefined {
  const out = new Map(block.bound);
  const seen = new Set<string>();
  let failed = false;
  for (const arg of call.args) {
    if (!arg.name) continue;
    const name = arg.name.text;
    if (seen.has(name)) {
      fail(ctx, "duplicate-argument", `${name} is given twice`, { span: arg.name.span });
      failed = true;
      continue;
    }
    seen.add(name);
    const value = namedArgument(ctx, block, arg, arg.name);
    failed ||= value.kind === "poison";
    out.set(name, { value, span: arg.value.span });
  }
  return failed ? undefined : out;
}

function namedArgument(ctx: Context, block: BlockValue, arg: ast.Argument, name: ast.Name): Value {
  if (block.target.kind === "op") {
    const { op } = block.target;
    const attrs = givenAttributes(op);
    const attr = attrs.find(([known]) => known === name.text);
    if (attr) return evaluate(ctx, arg.value, attributeHint(ctx, attr[1], arg.value));
    if (op.inputs.some((x) => x.name === name.text)) return evaluate(ctx, arg.value);
    return unknownArgument(ctx, block, name, [
      ...attrs.map(([known]) => known),
      ...op.inputs.map((x) => x.name),
    ]);
  }
  const { params, inputs } = block.target.block;
  const param = params.find((p) => p.name.text === name.text);
  if (param) {
    const given = { value: evaluate(ctx, arg.value, hintOf(param.type)), span: arg.value.span };
    return checkParameter(ctx, param.type, given, `${name.text} of ${nameOfBlock(block)}`, param.span);
  }
  if (inputs.some((x) => x.name.text === name.text)) return evaluate(ctx, arg.value);
  return unknownArgument(
    ctx,
    block,
    name,
    [...params, ...inputs].map((x) => x.name.text),
  );
}

function unknownArgument(ctx: Context, block: BlockValue, name: ast.Name, known: readonly string[]): Value {
  return fail(ctx, "unknown-parameter", `${nameOfBlock(block)} has no parameter ${name.text}`, {
    span: name.span,
    help:
      known.length === 0
        ? "it takes no parameters"
        : (suggestion(name.text, known, "its parameters are") ??
          `its parameters are ${known.slice(0, 20).join(", ")}`),
  });
}
