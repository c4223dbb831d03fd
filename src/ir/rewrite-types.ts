// What a rewriting rule is and what a run of rules leaves behind. The engine is rewrite.ts; passes hold the rules.
// There is one mechanism, and it logs itself: which rule, which nodes before and after, which lines, and what was refused and why.

import type { Location } from "../support/source.ts";
import type { Attrs, Graph, Node, Region, ValueId } from "./graph.ts";
import type { TensorType } from "./types.ts";

/** What a rule sees while it looks at one node. */
export interface RewriteContext {
  readonly graph: Graph;
  type(id: ValueId): TensorType;
  /** The node that makes the value; undefined for inputs, weights and states. */
  producer(id: ValueId): Node | undefined;
  /** The producer if it is of the op named and nothing else reads this value: safe to absorb. */
  soleProducer(id: ValueId, op?: string): Node | undefined;
  /** How often the value is read, outputs and state updates included. */
  uses(id: ValueId): number;
  /** Made from weights and constants alone: computed once at load, by the prepare program. */
  isPrepared(id: ValueId): boolean;
  /** The number, where the value is a literal scalar or a splat of one. */
  constant(id: ValueId): number | undefined;
  /** Adds a node in front of the one being rewritten; its types are inferred, its lines are those of the nodes matched. */
  add(op: string, inputs: readonly (ValueId | undefined)[], attrs?: Attrs, options?: NewNodeOptions): ValueId;
  /** Why this was done and not something else, where there was a choice: kept with what the rule did. */
  because(why: string): void;
  /** Says that another node takes part in the match, so that its lines are passed on. */
  matched(...nodes: readonly Node[]): void;
  /** The rule nearly fired: why not, in the reader's words. Returns null so that a rule can end with it. */
  refuse(reason: string, at?: Node): null;
}

export interface NewNodeOptions {
  readonly body?: Region;
  readonly types?: readonly TensorType[];
}

/** What a change of the graph is called, and why it is right. */
export interface RuleDoc {
  /** Kebab-case, unique among all passes. */
  readonly name: string;
  /** The equation: `pool(W x + b) = W pool(x) + b`, and its condition. */
  readonly equation: string;
  readonly doc: string;
}

export interface Rule extends RuleDoc {
  /** Names of the ops it starts at. */
  readonly roots: readonly string[];
  /**
   * Replacement values, one per result of the root, or null to leave it. The last node added that makes a replacement takes over
   * the root's id, so that what reads it need not change.
   */
  apply(root: Node, c: RewriteContext): readonly ValueId[] | null;
}

export interface RewriteEvent {
  readonly rule: string;
  /** Nodes as they were (root last) and as they became, as IR text without locations. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly removed: readonly ValueId[];
  readonly added: readonly ValueId[];
  /** Why this and nothing else, where there was a choice. */
  readonly why?: string;
  readonly spans: readonly Location[];
}

export interface Refusal {
  readonly rule: string;
  readonly reason: string;
  readonly node: ValueId;
  readonly spans: readonly Location[];
}

export interface RewriteResult {
  readonly graph: Graph;
  readonly events: readonly RewriteEvent[];
  readonly refusals: readonly Refusal[];
}
