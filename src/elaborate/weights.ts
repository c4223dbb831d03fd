// Weights by their checkpoint key: made once, used again only where that is said.

import type { Seed } from "../ir/graph.ts";
import { sameType, showType, type TensorType } from "../ir/types.ts";
import type { Span } from "../support/source.ts";
import { fail, type Context } from "./context.ts";
import { addWeight } from "./graph-state.ts";
import { spansOf } from "./op-calls.ts";
import type { TensorValue } from "./value.ts";

export interface WeightRequest {
  readonly key: string;
  readonly type: TensorType;
  readonly seed: Seed | undefined;
  readonly span: Span;
  /** Said at the call itself; `shared` around it counts as well. */
  readonly shared: boolean;
}

export function useWeight(ctx: Context, w: WeightRequest): TensorValue | undefined {
  const g = ctx.graph!;
  const old = g.weights.get(w.key);
  if (!old) {
    const id = addWeight(g, w.key, w.type, w.seed, w.span, spansOf(ctx, w.span));
    return { kind: "tensor", id, type: w.type, span: w.span };
  }
  if (!w.shared && !ctx.place.shared) {
    fail(ctx, "duplicate-weight", `there is a weight ${w.key} already`, {
      span: w.span,
      notes: [{ message: "the first one is made here", span: old.span }],
      help: "give this call a label of its own, or write `shared` behind the label to use the same weights",
    });
    return undefined;
  }
  if (!sameType(old.weight.type, w.type)) {
    fail(ctx, "shared-weight-type", `the shared weight ${w.key} would be of two types`, {
      span: w.span,
      label: `here it is ${showType(w.type)}`,
      notes: [{ message: `here it is ${showType(old.weight.type)}`, span: old.span }],
    });
    return undefined;
  }
  return { kind: "tensor", id: old.weight.id, type: w.type, span: old.span };
}
