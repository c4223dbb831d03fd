// Labels and annotations as they are evaluated: `@stages[i]` to a path, `with reduce tome(r = 8)` to data.

import type * as ast from "../parser/ast.ts";
import type { Annotation, AttrValue } from "../ir/graph.ts";
import { locationOf, type Span } from "../support/source.ts";
import { fail, joinPath, type Context } from "./context.ts";
import { evaluate, evaluateName } from "./evaluate.ts";
import { suggestion } from "./suggest.ts";
import { describe, kindOf, type Value } from "./value.ts";

/** Annotations there are; each takes a call that says how. */
export const annotationNames: Readonly<Record<string, string>> = {
  reduce: "fewer tokens from here on: `with reduce tome(r = 8)`",
};

export interface LabelPath {
  /** To be joined to the labels around; with a namespace (`small:enc`) it stands alone. */
  readonly path: string;
  readonly shared: boolean;
}

/** undefined, once reported, where an index is no int. */
export function labelPath(ctx: Context, label: ast.Label): LabelPath | undefined {
  let path = label.from ? `${label.from.text}:` : "";
  for (const part of label.parts) {
    path = joinPath(path, part.name.text);
    if (!part.index) continue;
    const index = evaluate(ctx, part.index);
    if (index.kind === "poison") return undefined;
    if (index.kind !== "int" && index.kind !== "string" && index.kind !== "word") {
      fail(ctx, "label-index", `the index of a label is an int, not ${kindOf(index)}`, {
        span: part.index.span,
      });
      return undefined;
    }
    path = joinPath(path, String(index.value));
  }
  const limit = 1000;
  if (path.length > limit) {
    fail(ctx, "label-too-long", `this label is longer than ${limit} characters`, { span: label.span });
    return undefined;
  }
  return { path, shared: label.shared };
}

export function annotationsOf(ctx: Context, list: readonly ast.Annotation[]): readonly Annotation[] {
  return list.map((a) => annotationOf(ctx, a)).filter((a) => a !== undefined);
}

function annotationOf(ctx: Context, a: ast.Annotation): Annotation | undefined {
  if (!Object.hasOwn(annotationNames, a.name.text)) {
    fail(ctx, "unknown-annotation", `there is no annotation ${a.name.text}`, {
      span: a.name.span,
      help: suggestion(a.name.text, Object.keys(annotationNames), "there is"),
    });
    return undefined;
  }
  if (a.value?.kind !== "call") {
    fail(ctx, "annotation-value", `${a.name.text} needs a call that says how`, {
      span: a.span,
      help: annotationNames[a.name.text],
    });
    return undefined;
  }
  const args: Record<string, AttrValue> = {};
  for (const arg of a.value.args) {
    const value = arg.name ? attrValue(annotationArgument(ctx, arg.value)) : undefined;
    if (!arg.name || value === undefined) {
      fail(
        ctx,
        "annotation-value",
        "arguments of an annotation are numbers, bools, words or lists, given by name",
        {
          span: arg.span,
        },
      );
      return undefined;
    }
    args[arg.name.text] = value;
  }
  return { name: a.name.text, call: a.value.callee.text, args };
}

/** A name that is bound is its value; any other is a word for the pass that reads the annotation. */
function annotationArgument(ctx: Context, e: ast.Expr): Value {
  if (e.kind === "name" && !ctx.env.get(e.name) && ctx.file.entries.get(e.name)?.kind !== "const")
    return { kind: "string", value: e.name };
  return e.kind === "name" ? evaluateName(ctx, e.name, e.span) : evaluate(ctx, e);
}

/** A compile-time value as data of the graph; undefined for tensors, blocks and none. */
export function attrValue(v: Value): AttrValue | undefined {
  switch (v.kind) {
    case "int":
    case "float":
    case "bool":
    case "string":
    case "word":
    case "dtype":
    case "dim":
      return v.value;
    case "list":
    case "tuple": {
      const items = v.items.map(attrValue);
      return items.every((x) => x !== undefined) ? items : undefined;
    }
    default:
      return undefined;
  }
}

export function labelOnValue(ctx: Context, label: ast.Label, what: string): void {
  fail(ctx, "label-on-value", `${what} is not called with tensors here, so a label has nothing to name`, {
    span: label.span,
    help: "give the label where the block is called",
  });
}

export function describeLoop(
  iteration: number,
  label: string | undefined,
  element: Value | undefined,
  span: Span,
): string {
  const of = label === undefined ? `the loop in line ${locationOf(span).line}` : `@${label}`;
  const value =
    element && element.kind !== "tensor" && element.kind !== "int" ? `: ${describe(element, 40)}` : "";
  return `iteration ${iteration + 1} of ${of}${value}`;
}
