// `checkpoint original of poolformer { ... }` as data: rules in order, patterns as text with their places.

import type * as ast from "../parser/ast.ts";
import type { Span } from "../support/source.ts";

export type RuleVerb =
  "strip" | "rename" | "ignore" | "transpose" | "reshape" | "concat" | "split" | "stack" | "unstack";

export interface CheckpointRuleData {
  readonly verb: RuleVerb;
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly axis: number;
  readonly span?: Span;
}

export interface CheckpointMap {
  readonly name: string;
  readonly model: string;
  readonly rules: readonly CheckpointRuleData[];
}

export function checkpointMap(c: ast.Checkpoint): CheckpointMap {
  return {
    name: c.name.text,
    model: c.model.text,
    rules: c.rules.map((r) => ({
      verb: r.verb.text as RuleVerb,
      from: r.from.map((x) => x.text),
      to: r.to.map((x) => x.text),
      axis: r.axis ?? 0,
      span: r.span,
    })),
  };
}
