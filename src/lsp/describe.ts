// What an expression came to, in words: shapes, parameters, FLOPs; and what a name stands for.

import type { Observation } from "../elaborate/context.ts";
import { describe, type Value } from "../elaborate/value.ts";
import { addDim, constantOf, dim, showDim, type Dim } from "../ir/dim.ts";
import type { ValueId } from "../ir/graph.ts";
import { givenAttributes, type OpDefinition } from "../ir/op.ts";
import { flopsOf } from "../ir/stats.ts";
import { elementsOf, type TensorType } from "../ir/types.ts";
import type * as ast from "../parser/ast.ts";

/** Different values that are shown of one expression. */
const mostShown = 3;

/** `f32[B, C=64, H, W]`, or the first few where a block is called with several. */
export function valuesText(seen: readonly Observation[]): string | undefined {
  const texts = [...new Set(seen.map((o) => valueText(o.value)).filter((t) => t !== undefined))];
  if (texts.length === 0) return undefined;
  const more = texts.length > mostShown ? ` | ... ${texts.length - mostShown} more` : "";
  return texts.slice(0, mostShown).join(" | ") + more;
}

function valueText(v: Value): string | undefined {
  if (v.kind === "poison") return undefined;
  if (v.kind === "tuple" && v.items.every((x) => x.kind === "tensor"))
    return `(${v.items.map((x, i) => `${v.names?.[i] ? `${v.names[i]}: ` : ""}${describe(x)}`).join(", ")})`;
  return describe(v, 200);
}

/** `1,024 parameters, 2,048*B FLOP, 12 times`: of all evaluations together. */
export function costText(seen: readonly Observation[]): string | undefined {
  let flops = dim(0);
  const weights = new Map<string, TensorType>();
  for (const { builder, from, to } of seen) {
    if (!builder || from === to) continue;
    for (const n of builder.nodes.slice(from, to)) {
      const ids = n.inputs.filter((id) => id !== "");
      const types = new Map<ValueId, TensorType>(ids.map((id) => [id, builder.type(id)]));
      flops = addDim(flops, flopsOf(n, types));
      for (const id of n.inputs)
        if (id.startsWith("$")) weights.set(`${builder.name} ${id}`, builder.type(id));
    }
  }
  const parameters = [...weights.values()].map(elementsOf).reduce(addDim, dim(0));
  const parts: string[] = [];
  if (weights.size > 0) parts.push(`${amount(parameters)} parameters in ${weights.size} tensors`);
  if (constantOf(flops) !== 0) parts.push(`${amount(flops)} FLOP`);
  if (parts.length > 0 && seen.length > 1) parts.push(`in ${seen.length} calls`);
  return parts.length > 0 ? parts.join(", ") : undefined;
}

export function amount(d: Dim): string {
  return constantOf(d)?.toLocaleString("en-US") ?? showDim(d);
}

export function opText(op: OpDefinition): string {
  const attrs = givenAttributes(op).map(([name, a]) => `${name}: ${a.choices?.join(" | ") ?? a.kind}`);
  const inputs = op.inputs.filter((i) => !i.weight).map((i) => (i.optional ? `${i.name}?` : i.name));
  const weights = op.inputs.filter((i) => i.weight).map((i) => i.name);
  const owns = weights.length > 0 ? `\nweights ${weights.join(", ")}` : "";
  return `${op.name}(${[...inputs, ...attrs].join(", ")})${owns}`;
}

/** The signature as written, on one line where it fits. */
export function blockText(b: ast.Block): string {
  const { text } = b.span.file;
  const end = b.body.span.start;
  return text.slice(b.span.start, end).replace(/\s*\{?\s*$/, "");
}
