// Calls of ops: inputs placed, weights made under the label, inference, and the message when a constraint
// of the op does not hold. Knows op records, no particular op.

import { dim } from "../ir/dim.ts";
import { atMost, freeSymbol, type Attrs, type ValueId } from "../ir/graph.ts";
import {
  inferTypes,
  inputIndex,
  inputName,
  weightShape,
  type ConstraintFailure,
  type OpDefinition,
} from "../ir/op.ts";
import { sharedType, showType, type DType, type TensorType } from "../ir/types.ts";
import { locationOf, type Location, type Span } from "../support/source.ts";
import type { Note } from "../support/diagnostic.ts";
import type { CallSite } from "./calls.ts";
import { convertAttributes } from "./attributes.ts";
import { fail, joinPath, stop, type Context } from "./context.ts";
import { callWithStacks, stackedType } from "./experts.ts";
import { declareSymbol, type GraphState } from "./graph-state.ts";
import { annotationsOf, labelPath, type LabelPath } from "./labels.ts";
import { axisSource } from "./provenance.ts";
import { numberAsTensor } from "./tensor-operators.ts";
import { useWeight } from "./weights.ts";
import { describe, kindOf, poison, type Given, type TensorValue, type Value } from "./value.ts";

/** Inputs of an op being called: a tensor, left out, or a weight still to be made. */
type Slot = TensorValue | "absent" | "weight";

export function callOp(ctx: Context, op: OpDefinition, site: CallSite): Value {
  const g = ctx.graph;
  if (!g)
    return fail(ctx, "no-tensors-here", `${op.name} computes with tensors, and there are none here`, {
      span: site.span,
    });
  const slots = placeInputs(ctx, op, site);
  if (!slots) return poison;
  const types = slots.map((s) => (typeof s === "object" ? s.type : undefined));
  const given = convertAttributes(ctx, op, site, types, slots.includes("weight"));
  if (!given) return poison;
  const attrs = declareSizes(g, op, types, given);
  const label = site.call.label ? labelPath(ctx, site.call.label) : undefined;
  if (site.call.label && !label) return poison;
  const inputs = makeWeights(ctx, op, site, slots, attrs, label);
  if (!inputs) return poison;
  if (ctx.place.experts && slots.includes("weight")) return callWithStacks(ctx, op, inputs, attrs, site.span);
  return addNode(ctx, op, inputs, attrs, site.span, [
    ...ctx.place.annotations,
    ...annotationsOf(ctx, site.call.annotations),
  ]);
}

/** The sizes that the op sets, as new bounded symbols. */
function declareSizes(
  g: GraphState,
  op: OpDefinition,
  types: readonly (TensorType | undefined)[],
  attrs: Attrs,
): Attrs {
  const own = Object.entries(op.attrs).filter(([, spec]) => spec.declares);
  if (own.length === 0) return attrs;
  const sized: Attrs = { ...attrs, ...Object.fromEntries(own.map(([name]) => [name, dim(0)])) };
  // A call that breaks a constraint is reported with the rest of it.
  if ("failure" in inferTypes(op, types, sized)) return sized;
  return {
    ...attrs,
    ...Object.fromEntries(
      own.map(([name, spec]) => {
        const symbol = freeSymbol(name, (x) => g.symbols.has(x));
        declareSymbol(g, symbol, atMost(spec.declares!(types, attrs), g.symbols.values()));
        return [name, dim(symbol)];
      }),
    ),
  };
}

function placeInputs(ctx: Context, op: OpDefinition, site: CallSite): Slot[] | undefined {
  if (op.variadic) return placeAll(ctx, op, site);
  const byPlace = op.inputs.filter((x) => !x.weight);
  if (site.positional.length > byPlace.length) {
    reportExtraInput(
      ctx,
      op.name,
      byPlace.map((x) => x.name),
      site.positional[byPlace.length]!,
    );
    return undefined;
  }
  const given = new Map<string, Given>();
  for (const [i, value] of site.positional.entries()) given.set(byPlace[i]!.name, value);
  for (const [name, value] of site.named) {
    const input = op.inputs.find((x) => x.name === name);
    // `bias = false` is the attribute, `bias = b` the input of the same name.
    if (!input || (op.attrs[name] && value.value.kind !== "tensor" && value.value.kind !== "none")) continue;
    if (given.has(name)) {
      fail(ctx, "duplicate-argument", `input ${name} of ${op.name} is given twice`, { span: value.span });
      return undefined;
    }
    given.set(name, value);
  }
  const dtypes = [...given.values()].flatMap((x) => (x.value.kind === "tensor" ? [x.value.type.dtype] : []));
  const slots: (Slot | undefined)[] = op.inputs.map((input) => {
    const x = given.get(input.name);
    if (!x) {
      if (input.weight) return "weight";
      if (input.optional) return "absent";
      fail(ctx, "missing-input", `${op.name} needs input ${input.name}`, {
        span: site.span,
        help: `${input.name} is ${input.doc}`,
      });
      return undefined;
    }
    if (x.value.kind === "none" && input.optional) return "absent";
    return asTensor(ctx, x, `input ${input.name} of ${op.name}`, numberType(x.value, dtypes));
  });
  return slots.every((s) => s !== undefined) ? slots : undefined;
}

/** The tensors of a variadic op: one by one, or as lists of them. */
function placeAll(ctx: Context, op: OpDefinition, site: CallSite): Slot[] | undefined {
  const given = site.positional.flatMap((g) =>
    g.value.kind === "list" ? g.value.items.map((value): Given => ({ value, span: g.span })) : [g],
  );
  const input = op.inputs[0]!;
  if (given.length === 0) {
    fail(ctx, "missing-input", `${op.name} needs input ${input.name}`, {
      span: site.span,
      help: `${input.name} is ${input.doc}`,
    });
    return undefined;
  }
  const slots = given.map((g, i) => asTensor(ctx, g, `input ${inputName(op, i)} of ${op.name}`));
  return slots.every((s) => s !== undefined) ? slots : undefined;
}

/** The element type of a number beside tensors: theirs, where that is a type of numbers. A symbolic size alone is an f32: `sqrt(T)`. */
function numberType(v: Value, dtypes: readonly DType[]): DType | undefined {
  if (v.kind === "bool") return dtypes.find((d) => d === "bool");
  return dtypes.find((d) => d !== "bool") ?? (dtypes.length > 0 || v.kind === "dim" ? "f32" : undefined);
}

export function reportExtraInput(ctx: Context, name: string, inputs: readonly string[], extra: Given): void {
  const takes = inputs.length === 0 ? "no tensors" : `only ${inputs.join(", ")}`;
  const isTensor = extra.value.kind === "tensor";
  fail(ctx, isTensor ? "too-many-inputs" : "positional-parameter", `${name} takes ${takes} by place`, {
    span: extra.span,
    label: `this is ${describe(extra.value)}`,
    help: isTensor ? undefined : "parameters are given by name: name = value",
  });
}

/** An argument as a tensor: a number beside a tensor becomes a constant of its element type. */
export function asTensor(ctx: Context, given: Given, what: string, like?: DType): TensorValue | undefined {
  const { value, span } = given;
  if (value.kind === "tensor") return value;
  if (value.kind === "poison") return undefined;
  const isNumber =
    value.kind === "int" || value.kind === "float" || value.kind === "bool" || value.kind === "dim";
  if (isNumber && like) return numberAsTensor(ctx, value, like, span);
  fail(ctx, "not-a-tensor", `${what} is a tensor, and does not take ${kindOf(value)}`, {
    span,
    label: `this is ${describe(value)}`,
    help:
      value.kind === "block"
        ? "call it with a tensor first"
        : value.kind === "tuple"
          ? "take one of its results by name or with names on the left: a, b = ..."
          : "parameters are given by name: name = value",
  });
  return undefined;
}

// Weights.

function makeWeights(
  ctx: Context,
  op: OpDefinition,
  site: CallSite,
  slots: readonly Slot[],
  attrs: Attrs,
  label: LabelPath | undefined,
): readonly (TensorValue | undefined)[] | undefined {
  if (op.variadic) return slots.filter((s) => typeof s === "object");
  const types = slots.map((s) => (typeof s === "object" ? s.type : undefined));
  const out: (TensorValue | undefined)[] = [];
  const wanted = op.inputs.map((input, i) => slots[i] === "weight" && (input.weight!.when?.(attrs) ?? true));
  if (wanted.includes(true) && !labelled(ctx, site, label)) return undefined;
  const floatType = types.find((t) => t?.dtype === "f16")?.dtype ?? "f32";
  for (const [i, input] of op.inputs.entries()) {
    const slot = slots[i]!;
    if (typeof slot === "object") out.push(slot);
    else if (!wanted[i]) out.push(undefined);
    else {
      const shape = weightShape(op, i, types, attrs);
      if (!Array.isArray(shape)) {
        reportConstraint(ctx, op, shape as ConstraintFailure, slots, site.span);
        return undefined;
      }
      const seed = input.weight!.seed;
      const type: TensorType = {
        dtype: seed?.kind === "integers" ? "i32" : floatType,
        shape,
        axes: input.weight!.axes ?? shape.map(() => null),
      };
      const key = joinPath(joinPath(ctx.place.path, label?.path ?? ""), input.name);
      const weight = useWeight(ctx, {
        key,
        type: sharedType(ownType(ctx, type)),
        seed,
        span: site.span,
        shared: label?.shared ?? false,
      });
      if (!weight) return undefined;
      out.push(weight);
    }
  }
  return out;
}

/** Inside experts a weight is those of all of them. */
function ownType(ctx: Context, type: TensorType): TensorType {
  return ctx.place.experts ? stackedType(ctx.place.experts, type) : type;
}

/** An op that makes weights has a label, or is the only one of its block that does, and takes the label of that. */
function labelled(ctx: Context, site: CallSite, label: LabelPath | undefined): boolean {
  const { labels, path, blame } = ctx.place;
  const span = blame ?? site.span;
  if (label) {
    labels.labelled ??= site.span;
    if (labels.unlabelled && labels.unlabelled !== site.span) needsLabel(ctx, labels.unlabelled);
    return true;
  }
  if (path === "" || labels.labelled || labels.unlabelled) {
    needsLabel(ctx, span);
    return false;
  }
  labels.unlabelled = span;
  return true;
}

function needsLabel(ctx: Context, span: Span): void {
  fail(ctx, "needs-label", "this call makes weights, and needs a label to name them by", {
    span,
    help: "write a label behind it: f(...) @name",
  });
}

// Nodes.

/** The call itself, and the call in the model that led to it. */
export function spansOf(ctx: Context, span: Span): readonly Location[] {
  let outermost: Span | undefined;
  for (let c = ctx.place.chain; c; c = c.caller) outermost = c.span;
  return outermost ? [locationOf(span), locationOf(outermost)] : [locationOf(span)];
}

export function addNode(
  ctx: Context,
  op: OpDefinition,
  inputs: readonly (TensorValue | undefined)[],
  attrs: Attrs,
  span: Span,
  annotations = ctx.place.annotations,
): Value {
  const g = ctx.graph!;
  const limit = ctx.session.limits.nodes;
  if (g.builder.nodes.length >= limit)
    return stop(ctx, "too-many-nodes", `this model has more than ${limit} operations`, span);
  const types = inputs.map((x) => x?.type);
  const inferred = inferTypes(op, types, attrs);
  if ("failure" in inferred) return reportConstraint(ctx, op, inferred.failure, inputs, span);
  const ids: (ValueId | undefined)[] = inputs.map((x) => x?.id);
  const node = g.builder.add(op, ids, attrs, {
    spans: spansOf(ctx, span),
    scope: ctx.place.path,
    annotations,
    types: inferred.types,
  });
  const values = node.results.map((r): TensorValue => {
    g.producers.set(r.id, node);
    g.origins.set(r.id, span);
    return { kind: "tensor", id: r.id, type: r.type, span };
  });
  return values.length === 1 ? values[0]! : { kind: "tuple", items: values, names: op.results };
}

/** A constraint that does not hold, as a short proof: both shapes, the failing axis, and where its number came from. */
function reportConstraint(
  ctx: Context,
  op: OpDefinition,
  failure: ConstraintFailure,
  inputs: readonly (Slot | undefined)[],
  span: Span,
): Value {
  const at = failure.input === undefined ? -1 : inputIndex(op, failure.input);
  const faulty = inputs[at];
  const sentence = op.constraints[failure.label] ?? "its inputs fit together";
  const notes: Note[] = [];
  for (const [i, x] of inputs.entries())
    if (typeof x === "object")
      notes.push({ message: `${inputName(op, i)} is ${showType(x.type)}`, span: x.span });
  const axis = failure.axis === undefined ? "" : `, on axis ${failure.axis}`;
  const got = failure.got === undefined ? undefined : `got ${failure.got}`;
  const expected = failure.expected === undefined ? undefined : `expected ${failure.expected}`;
  const from = failure.from === undefined ? "" : ` (from ${failure.from})`;
  const what = [got, expected && `${expected}${from}`].filter((x) => x !== undefined).join(", ");
  if (ctx.graph && failure.axis !== undefined && typeof faulty === "object") {
    const source = axisSource(ctx.graph, faulty, failure.axis);
    if (source) notes.push(source);
  }
  return fail(ctx, `${op.name}.${failure.label}`, `${op.name} requires that ${sentence}`, {
    span,
    label:
      what === "" ? undefined : `${failure.input === undefined ? "" : `${failure.input}${axis}: `}${what}`,
    notes,
  });
}
