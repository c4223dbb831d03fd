// Which schedule each contraction of a graph runs by: the one that was asked for, else the one that was measured, else the first of the
// ranking. Kernels of one name share shaders where they share a schedule, and a shader costs its compilation, so they are chosen together.

import type { DimEnv } from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import type { Target } from "../ir/target.ts";
import { hashText } from "../support/hash.ts";
import { factsOf, productsOf } from "./contraction-roles.ts";
import { canonical } from "./generated.ts";
import { rankSchedules, sizesOf, type RankedSchedule } from "./schedule-rank.ts";
import type { ScheduleOverrides } from "./schedule-overrides.ts";
import {
  chooseSchedule,
  refuseSchedule,
  showSchedule,
  whySchedule,
  type ContractionFacts,
  type ContractionSchedule,
} from "./schedule.ts";
import type { Bounds } from "./sizes.ts";
import type { TileSizes } from "./tile-cost.ts";
import { findTuned, type TunedEntry, type TunedSource } from "./tuned.ts";

/** What a millisecond of compilation counts, of one of a run: a kernel is worth its shader where it gains that in 50 runs. */
export const defaultFirstRunWeight = 0.02;

export interface ChoiceOptions {
  readonly target: Target;
  readonly bounds: Bounds;
  /** Values of symbols that runs are expected to have. */
  readonly sizes: DimEnv;
  readonly tuned: readonly TunedSource[];
  readonly firstRunWeight: number;
}

/** Contractions of one structure. */
export interface ContractionKind {
  readonly structure: string;
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly facts: ContractionFacts;
  /** Undefined where sizes are open. */
  readonly sizes: TileSizes | undefined;
  /** Why a tuned schedule is not used. */
  readonly refused?: string;
}

export interface Chosen {
  readonly schedule: ContractionSchedule;
  readonly why: string;
  /** The entry that it was taken from. */
  readonly entry?: TunedEntry;
}

/** The contractions of a graph that was grouped, equal ones together. */
export function contractionKinds(
  nodes: readonly Node[],
  { target, bounds, sizes }: Pick<ChoiceOptions, "target" | "bounds" | "sizes">,
): readonly ContractionKind[] {
  const found = new Map<string, ContractionKind & { readonly nodes: Node[] }>();
  for (const node of nodes) {
    if (node.attrs["kind"] !== "contraction" || !node.body) continue;
    const name = String(node.attrs["name"]);
    const { text } = canonical(node.body);
    const known = found.get(text);
    if (known) known.nodes.push(node);
    else {
      const facts = factsOf(node.body, productsOf(node.body), target, bounds, sizes);
      found.set(text, { structure: hashText(text), name, nodes: [node], facts, sizes: sizesOf(facts) });
    }
  }
  return [...found.values()];
}

/** By node. What was asked for is checked, and told, by `overrides`. */
export function chooseSchedules(
  nodes: readonly Node[],
  overrides: ScheduleOverrides,
  options: ChoiceOptions,
): ReadonlyMap<Node, Chosen> {
  const chosen = new Map<Node, Chosen>();
  const open: ContractionKind[] = [];
  for (const kind of contractionKinds(nodes, options)) {
    const free: Node[] = [];
    for (const node of kind.nodes) {
      const forced = overrides.of(node, (schedule) => refuseSchedule(schedule, kind.facts));
      if (forced) chosen.set(node, { schedule: forced, why: "it was asked for with --schedule" });
      else free.push(node);
    }
    if (free.length === 0) continue;
    const tuned = tunedFor(kind, options.tuned);
    if (tuned && "why" in tuned) for (const node of free) chosen.set(node, tuned);
    else open.push({ ...kind, nodes: free, ...tuned });
  }
  for (const [kind, choice] of rankedTogether(open, options.firstRunWeight)) {
    const why = kind.refused === undefined ? choice.why : `${choice.why}; ${kind.refused}`;
    for (const node of kind.nodes) chosen.set(node, { ...choice, why });
  }
  return chosen;
}

function tunedFor(
  kind: ContractionKind,
  sources: readonly TunedSource[],
): Chosen | { readonly refused: string } | undefined {
  const found = findTuned(sources, kind.structure, kind.sizes);
  if (!found) return undefined;
  const { entry, schedule, from } = found;
  // The table may be anyone's.
  const reason = refuseSchedule(schedule, kind.facts);
  if (reason !== undefined)
    return { refused: `a tuned schedule from ${from} is not used: ${showSchedule(schedule)}: ${reason}` };
  const { rows, columns, reduction } = entry.sizes;
  const at = `at ${rows} rows, ${columns} columns, sums of ${reduction}`;
  const times = entry.tried.map(
    (t) =>
      `${t.schedule === entry.schedule ? "this" : t.schedule} ${show(t.milliseconds)} (predicted ${show(t.predictedMilliseconds)}, shader ${show(t.shaderMilliseconds)})`,
  );
  const open = kind.sizes ? "" : "; sizes are open here";
  return { schedule, entry, why: `tuned, from ${from}, measured ${at}${open}: ${times.join("; ")}` };
}

const show = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;

// ---- by the ranking ---------------------------------------------------------------------------------------------------

/** On a GPU few rows, and groups, are no matter of tiles: `chooseSchedule` has them. */
function rankedTogether(
  kinds: readonly ContractionKind[],
  weight: number,
): ReadonlyMap<ContractionKind, Chosen> {
  const chosen = new Map<ContractionKind, Chosen>();
  const byName = new Map<string, Option[]>();
  for (const kind of kinds) {
    const first = chooseSchedule(kind.facts);
    const ranked = kind.sizes ? rankSchedules(kind.facts, kind.sizes) : [];
    // Where the ranking did not choose, its order says nothing.
    if (ranked.length === 0 || showSchedule(ranked[0]!.schedule) !== showSchedule(first)) {
      chosen.set(kind, { schedule: first, why: whySchedule(kind.facts, first) });
      continue;
    }
    const options = byName.get(kind.name) ?? [];
    options.push({ kind, ranked, texts: ranked.map((r) => showSchedule(r.schedule)), taken: 0 });
    byName.set(kind.name, options);
  }
  for (const options of byName.values()) {
    settle(options, weight);
    for (const o of options)
      chosen.set(o.kind, { schedule: o.ranked[o.taken]!.schedule, why: whyRanked(o, options) });
  }
  return chosen;
}

/** What a kind of contraction can run by, and which of them it takes. */
export interface Option {
  readonly kind: ContractionKind;
  readonly ranked: readonly RankedSchedule[];
  readonly texts: readonly string[];
  taken: number;
}

/** Begins with one schedule for all, the best there is with its shader, and goes where another gains more than its shader costs. */
export function settle(options: readonly Option[], weight: number): void {
  const time = (o: Option, i: number): number => o.kind.nodes.length * o.ranked[i]!.microseconds;
  const shader = (o: Option, i: number): number => weight * 1000 * o.ranked[i]!.shaderMilliseconds;
  const total = (text: string): number => {
    const at = options.map((o) => o.texts.indexOf(text));
    if (at.includes(-1)) return Infinity;
    return options.reduce((sum, o, k) => sum + time(o, at[k]!), shader(options[0]!, at[0]!));
  };
  const texts = [...new Set(options.flatMap((o) => o.texts))];
  const best = texts.reduce((a, b) => (total(b) < total(a) ? b : a));
  for (const o of options) o.taken = Math.max(0, o.texts.indexOf(best));
  for (let round = 0; round < 2; round++)
    for (const o of options) {
      const used = new Set(options.filter((x) => x !== o).map((x) => x.texts[x.taken]!));
      const cost = (i: number): number => time(o, i) + (used.has(o.texts[i]!) ? 0 : shader(o, i));
      for (let i = 0; i < o.ranked.length; i++) if (cost(i) < cost(o.taken)) o.taken = i;
    }
}

function whyRanked(option: Option, all: readonly Option[]): string {
  const { kind, ranked, texts, taken } = option;
  const { schedule, microseconds } = ranked[taken]!;
  const of = `${show(microseconds / 1000)} predicted, number ${taken + 1} of ${ranked.length} by the cost model`;
  const isShared = all.some((o) => o !== option && o.texts[o.taken] === texts[taken]);
  const shader =
    taken === 0 ? "" : isShared ? ", as it shares its shader" : ", as its shader compiles sooner";
  const next = ranked.findIndex((_, i) => i !== taken);
  const other = next < 0 ? "" : `; ${texts[next]} ${show(ranked[next]!.microseconds / 1000)}`;
  return `${whySchedule(kind.facts, schedule)}; ${of}${shader}${other}`;
}
