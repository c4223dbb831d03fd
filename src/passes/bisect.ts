// Which rewrite of a pass is the wrong one: the rules are run again, stopped after so many rewrites, and the count is halved until one
// rewrite is left. Needs no more than that the rules fire in the same order every time, which they do.

import type { Graph } from "../ir/graph.ts";
import { rewrite } from "../ir/rewrite.ts";
import type { RewriteEvent } from "../ir/rewrite-types.ts";
import type { Pass, PassContext } from "./pass.ts";

export interface WrongRewrite {
  readonly event: RewriteEvent;
  /** Counted from one, among the rewrites of the pass. */
  readonly number: number;
  readonly of: number;
}

/**
 * The rewrite that makes a graph wrong which was right before it; undefined where all rules leave it right, so that what is wrong is
 * the pass's function of the whole graph. `isWrong` is asked some log2(rewrites) times.
 */
export function findWrongRewrite(
  pass: Pass,
  before: Graph,
  c: PassContext,
  isWrong: (graph: Graph) => boolean,
): WrongRewrite | undefined {
  const { rules } = pass;
  if (!rules) return undefined;
  const whole = rewrite(before, rules, c.lookup);
  if (!isWrong(whole.graph)) return undefined;
  let right = 0;
  let wrong = whole.events.length;
  while (wrong - right > 1) {
    const middle = Math.floor((right + wrong) / 2);
    if (isWrong(rewrite(before, rules, c.lookup, { limit: middle }).graph)) wrong = middle;
    else right = middle;
  }
  const event = whole.events[wrong - 1];
  return event && { event, number: wrong, of: whole.events.length };
}
