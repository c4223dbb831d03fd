// Which schedule each kernel of a graph runs by: the one that was asked for, else the one that was measured, else the first of the
// ranking. Kernels of one name share shaders where they share a schedule, and a shader costs its compilation, so they are chosen together.

import type { DimEnv } from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import type { Target } from "../ir/target.ts";
import { hashText } from "../support/hash.ts";
import { canonical } from "./generated.ts";
import type { ScheduleOverrides } from "./schedule-overrides.ts";
import { spaceOf } from "./schedule-families.ts";
import type { Family, Ranked, Schedule, ScheduleSpace } from "./schedule-family.ts";
import type { Bounds } from "./sizes.ts";
import { findTuned, type TunedEntry, type TunedSource } from "./tuned.ts";

export interface ChoiceOptions {
  readonly target: Target;
  readonly bounds: Bounds;
  /** Values of symbols that runs are expected to have. */
  readonly sizes: DimEnv;
  readonly tuned: readonly TunedSource[];
  readonly firstRunWeight: number;
}

/** Groups of one structure, and what they can run by. */
export interface KernelKind {
  readonly structure: string;
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly space: ScheduleSpace;
  /** Why a tuned schedule is not used. */
  readonly refused?: string;
}

export interface Chosen {
  readonly family: Family;
  readonly schedule: Schedule;
  readonly why: string;
  /** The entry that it was taken from. */
  readonly entry?: TunedEntry;
}

/** Groups that can be cut in several ways, equal ones together. */
export function kernelKinds(
  nodes: readonly Node[],
  { target, bounds, sizes }: Pick<ChoiceOptions, "target" | "bounds" | "sizes">,
): readonly KernelKind[] {
  const found = new Map<string, (KernelKind & { readonly nodes: Node[] }) | undefined>();
  for (const node of nodes) {
    if (!node.body) continue;
    const { text } = canonical(node.body);
    const key = `${String(node.attrs["kind"])} ${text}`;
    const known = found.get(key);
    if (known) known.nodes.push(node);
    if (found.has(key)) continue;
    const space = spaceOf(node, { target, bounds, sizes });
    const name = String(node.attrs["name"]);
    found.set(key, space && { structure: hashText(text), name, nodes: [node], space });
  }
  return [...found.values()].filter((k) => k !== undefined);
}

/** By node. What was asked for is checked, and told, by `overrides`. */
export function chooseSchedules(
  nodes: readonly Node[],
  overrides: ScheduleOverrides,
  options: ChoiceOptions,
): ReadonlyMap<Node, Chosen> {
  const chosen = new Map<Node, Chosen>();
  const open: KernelKind[] = [];
  for (const kind of kernelKinds(nodes, options)) {
    const { space } = kind;
    const free: Node[] = [];
    for (const node of kind.nodes) {
      const forced = overrides.of(node, (schedule) => space.refuse(schedule));
      const why = "it was asked for with --schedule";
      if (forced) chosen.set(node, { family: space.family, schedule: forced, why });
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
  { space, structure }: KernelKind,
  sources: readonly TunedSource[],
): Chosen | { readonly refused: string } | undefined {
  const found = findTuned(sources, structure, space.sizes);
  if (!found) return undefined;
  const { entry, from } = found;
  const { family } = space;
  // The table may be anyone's.
  const { schedule, ...read } = family.parse(entry.schedule);
  const reason = schedule ? space.refuse(schedule) : "problem" in read ? read.problem : "";
  if (!schedule || reason !== undefined)
    return { refused: `a tuned schedule from ${from} is not used: ${entry.schedule}: ${reason}` };
  const times = entry.tried.map(
    (t) =>
      `${t.schedule === entry.schedule ? "this" : t.schedule} ${show(t.milliseconds)} (predicted ${show(t.predictedMilliseconds)}, shader ${show(t.shaderMilliseconds)})`,
  );
  const open = space.sizes ? "" : "; sizes are open here";
  const at = `at ${family.showSizes(entry.sizes)}${open}`;
  return { family, schedule, entry, why: `tuned, from ${from}, measured ${at}: ${times.join("; ")}` };
}

const show = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;

// ---- by the ranking ---------------------------------------------------------------------------------------------------

/** Where a family chooses by other rules than its ranking, the ranking has no say. */
function rankedTogether(kinds: readonly KernelKind[], weight: number): ReadonlyMap<KernelKind, Chosen> {
  const chosen = new Map<KernelKind, Chosen>();
  const byName = new Map<string, Option[]>();
  for (const kind of kinds) {
    const { family, first } = kind.space;
    const ranked = kind.space.ranked();
    if (ranked.length === 0 || family.show(ranked[0]!.schedule) !== family.show(first)) {
      chosen.set(kind, { family, schedule: first, why: kind.space.why(first) });
      continue;
    }
    const key = `${family.name} ${kind.name}`;
    const options = byName.get(key) ?? [];
    options.push({ kind, ranked, texts: ranked.map((r) => family.show(r.schedule)), taken: 0 });
    byName.set(key, options);
  }
  for (const options of byName.values()) {
    settle(options, weight);
    for (const o of options) {
      const { family } = o.kind.space;
      const { schedule } = o.ranked[o.taken]!;
      chosen.set(o.kind, { family, schedule, why: whyRanked(o, options) });
    }
  }
  return chosen;
}

/** What a kind of kernel can run by, and which of them it takes. */
export interface Option {
  readonly kind: KernelKind;
  readonly ranked: readonly Ranked[];
  readonly texts: readonly string[];
  taken: number;
}

/** Begins with one schedule for all that can have it, the best there is with its shader, and goes where another gains more than its shader costs. */
export function settle(options: readonly Option[], weight: number): void {
  const time = (o: Option, i: number): number => o.kind.nodes.length * o.ranked[i]!.microseconds;
  const shader = (o: Option, i: number): number => weight * 1000 * o.ranked[i]!.shaderMilliseconds;
  const alone = (o: Option): number => {
    const cost = (i: number): number => time(o, i) + shader(o, i);
    return o.ranked.reduce((best, _, i) => (cost(i) < cost(best) ? i : best), 0);
  };
  // An option that cannot have the schedule (its sum has other steps, say) has one of its own, and a shader.
  const total = (text: string): number => {
    const at = options.map((o) => o.texts.indexOf(text));
    const first = at.findIndex((i) => i >= 0);
    return options.reduce(
      (sum, o, k) => sum + (at[k]! >= 0 ? time(o, at[k]!) : time(o, alone(o)) + shader(o, alone(o))),
      shader(options[first]!, at[first]!),
    );
  };
  const texts = [...new Set(options.flatMap((o) => o.texts))];
  const best = texts.reduce((a, b) => (total(b) < total(a) ? b : a));
  for (const o of options) o.taken = o.texts.includes(best) ? o.texts.indexOf(best) : alone(o);
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
  return `${kind.space.why(schedule)}; ${of}${shader}${other}`;
}
