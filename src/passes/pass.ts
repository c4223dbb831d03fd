// What a pass is: one record. Switches (`--without NAME`, `--stop-after NAME`), documentation and tests are derived from it.

import type { DimEnv } from "../ir/dim.ts";
import type { Graph } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import type { Refusal, RewriteEvent, Rule, RuleDoc } from "../ir/rewrite-types.ts";
import type { Target } from "../ir/target.ts";
import type { ExpertWay } from "./expert-cost.ts";
import type { Quantization } from "./quantize-weights.ts";
import type { PropertyName } from "./properties.ts";

/**
 * exact: bit-equal in the f64 reference. reassociates: equal in real arithmetic on the stated domain, within 1e-10 relative in f64
 * there. approximates: changes the function; only where asked for.
 */
export type Numerics = "exact" | "reassociates" | "approximates";

/** 0 always, 1 by default, 2 slow to compile, 3 only where asked for. */
export type Level = 0 | 1 | 2 | 3;

export interface PassContext {
  readonly target: Target;
  readonly lookup: OpLookup;
  /** How routed experts are computed, in place of what the cost model would choose. */
  readonly experts?: ExpertWay;
  /** Sizes that runs are expected to have: choices are made for them, and right for any. */
  readonly sizes?: DimEnv;
  /** What `quantize-weights` makes of weights, where it runs. */
  readonly quantize?: Quantization;
  /** What a millisecond of shader compilation counts, of one of a run, where kernels are chosen by cost; see `defaultFirstRunWeight`. */
  readonly firstRunWeight?: number;
}

export interface PassResult {
  readonly graph: Graph;
  readonly events: readonly RewriteEvent[];
  readonly refusals: readonly Refusal[];
}

export interface Pass {
  /** Kebab-case; the switch's name too. */
  readonly name: string;
  /** One line. */
  readonly doc: string;
  readonly level: Level;
  readonly numerics: Numerics;
  /** Of one that approximates: is rounding all that it does? Evaluated without it, the graph is then as before within 1e-10. */
  readonly roundsOnly?: true;
  /** Where `reassociates` holds: `finite inputs`, `|mean| / deviation < 1e4`. */
  readonly domain?: string;
  /** Does the graph itself ask for it? Then it runs whatever its level is. */
  asked?(graph: Graph): boolean;
  readonly needs: readonly PropertyName[];
  readonly gives: readonly PropertyName[];
  /** Rules run to a fixed point in this order at each node, or a function of the whole graph where rules cannot say it. */
  readonly rules?: readonly Rule[];
  run?(graph: Graph, c: PassContext): PassResult;
  /** What `run` logs its changes under. */
  readonly changes?: readonly RuleDoc[];
}

/** Everything that the pass may say it has done, by name. */
export function namedChanges(pass: Pass): readonly RuleDoc[] {
  return [...(pass.rules ?? []), ...(pass.changes ?? [])];
}
