// What a family of schedules is: the ways in which kernels of one form can be cut, as data, as text, by cost, and as kernels. One family is
// one record; schedule-families.ts lists them. Whoever chooses, measures or reads a schedule goes by these records alone.

import { Bug } from "../support/bug.ts";
import { evaluateDim, symbolsOf, type Dim, type DimEnv } from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import type { Target } from "../ir/target.ts";
import type { GroupStep } from "./kernel-of.ts";
import type { Bounds, LiveWrites } from "./sizes.ts";

/** Sizes that a schedule is chosen for, by name; they are kept with what was measured at them. */
export type KernelSizes = Readonly<Record<string, number>>;

/** A schedule of any family; `kind` begins its text, and says which family it is of. */
export interface Schedule {
  readonly kind: string;
}

export interface ScheduleCost {
  /** Of one run, by the cost model. */
  readonly microseconds: number;
  /** Until the first result, by the cost model. */
  readonly shaderMilliseconds: number;
}

export type Ranked<S = Schedule> = ScheduleCost & { readonly schedule: S };

export type Parsed<S = Schedule> =
  { readonly schedule: S } | { readonly problem: string; readonly schedule?: undefined };

export interface SpaceOptions {
  readonly target: Target;
  readonly bounds: Bounds;
  /** Values of symbols that runs are expected to have: they choose a schedule, and enter no kernel. */
  readonly sizes: DimEnv;
}

/** What kernels are made with beside a schedule. `live`: in an op's own kernels, which may set live sizes. */
export type StepOptions = SpaceOptions & { readonly live?: LiveWrites };

/** `F`: what is known of a group before it has a schedule; `Z`: its sizes. */
export interface ScheduleFamily<S extends Schedule, F, Z extends KernelSizes> {
  /** What its kernels are called: `contraction`. */
  readonly name: string;
  readonly kinds: readonly S["kind"][];
  /** A text that reads. */
  readonly example: string;
  show(schedule: S): string;
  /** Of a text that begins with one of the kinds. */
  parse(text: string): Parsed<S>;
  /** Undefined where the kernels of the group are none of these. */
  facts(group: Node, o: SpaceOptions): F | undefined;
  /** Undefined where one is open. */
  sizes(facts: F): Z | undefined;
  /** `49 rows, 32 columns`. */
  showSizes(sizes: KernelSizes): string;
  /** Why there is no kernel for this schedule, or undefined where there is one. */
  refuse(schedule: S, facts: F): string | undefined;
  /** Without measuring. */
  choose(facts: F): S;
  /** Why `choose` chose this one, for the reader. */
  why(schedule: S, facts: F): string;
  cost(schedule: S, facts: F, sizes: Z): ScheduleCost;
  /** All that the target can run, the cheapest first. */
  rank(facts: F, sizes: Z): readonly Ranked<S>[];
  /** The dispatches; the schedule is none that is refused. */
  steps(group: Node, schedule: S, why: string, o: StepOptions): readonly GroupStep[];
}

/** The schedules of one group. */
export interface ScheduleSpace {
  readonly family: Family;
  readonly sizes: KernelSizes | undefined;
  /** What it runs by where nothing was asked for and nothing measured. */
  readonly first: Schedule;
  refuse(schedule: Schedule): string | undefined;
  why(schedule: Schedule): string;
  /** Empty where sizes are open. */
  ranked(): readonly Ranked[];
  /** Undefined where sizes are open. */
  cost(schedule: Schedule): ScheduleCost | undefined;
}

/** A family as those see it that know none in particular. */
export interface Family {
  readonly name: string;
  readonly kinds: readonly string[];
  readonly example: string;
  show(schedule: Schedule): string;
  parse(text: string): Parsed;
  showSizes(sizes: KernelSizes): string;
  space(group: Node, o: SpaceOptions): ScheduleSpace | undefined;
  steps(group: Node, schedule: Schedule, why: string, o: StepOptions): readonly GroupStep[];
}

export function family<S extends Schedule, F, Z extends KernelSizes>(
  record: ScheduleFamily<S, F, Z>,
): Family {
  const isOwn = (s: Schedule): s is S => record.kinds.some((k) => k === s.kind);
  const own = (s: Schedule): S => {
    if (!isOwn(s)) throw new Bug(`${s.kind} is no schedule of a ${record.name}`);
    return s;
  };
  const begins = record.kinds.map((k) => `${k}:`).join(", ");
  const made: Family = {
    ...{ name: record.name, kinds: record.kinds, example: record.example },
    show: (s) => record.show(own(s)),
    parse: (text) =>
      record.kinds.some((k) => text.startsWith(`${k}:`))
        ? record.parse(text)
        : { problem: `the schedule of a ${record.name} begins with ${begins}` },
    showSizes: (z) => record.showSizes(z),
    space(group, o) {
      const facts = record.facts(group, o);
      if (facts === undefined) return undefined;
      const sizes = record.sizes(facts);
      const first = record.choose(facts);
      return {
        ...{ family: made, sizes, first },
        refuse: (s) =>
          isOwn(s) ? record.refuse(s, facts) : `it is a ${record.name}, whose schedules begin with ${begins}`,
        why: (s) => record.why(own(s), facts),
        ranked: () => (sizes === undefined ? [] : record.rank(facts, sizes)),
        cost: (s) => (sizes === undefined ? undefined : record.cost(own(s), facts, sizes)),
      };
    },
    steps: (group, s, why, o) => record.steps(group, own(s), why, o),
  };
  return made;
}

/** A size of the graph, or of the runs that are expected; undefined where it is open. */
export function sizeIn(d: Dim, expected: DimEnv): number | undefined {
  return [...symbolsOf(d)].every((s) => Object.hasOwn(expected, s)) ? evaluateDim(d, expected) : undefined;
}

// ---- text of counts ---------------------------------------------------------------------------------------------------

/** A part of a schedule's text that is a count; without a default it has to be given. */
export interface CountField {
  readonly name: string;
  readonly least?: 0 | 1;
  readonly most: number;
  readonly default?: number;
}

/** Text of schedules that are a kind and counts: `row:threads=256,rows=1`. */
export function countText<S extends Schedule>(
  fields: readonly CountField[],
): { show(schedule: S): string; parse(text: string): Parsed<S> } {
  const names = fields.map((f) => f.name).join(", ");
  return {
    show: (s) => {
      const values = s as unknown as Readonly<Record<string, number>>;
      return `${s.kind}:${fields.map((f) => `${f.name}=${values[f.name]!}`).join(",")}`;
    },
    parse(text) {
      const colon = text.indexOf(":");
      const kind = text.slice(0, colon);
      const given = new Map<string, number>();
      for (const part of text.slice(colon + 1).split(",")) {
        const [name = "", value = ""] = part.split("=", 2);
        const field = fields.find((f) => f.name === name);
        if (!field)
          return {
            problem: `there is no ${name || "empty field"} in a schedule of kind ${kind}, only ${names}`,
          };
        const least = field.least ?? 1;
        if (!/^\d{1,6}$/.test(value) || Number(value) < least || Number(value) > field.most)
          return { problem: `${name} is a count from ${least} to ${field.most}` };
        given.set(name, Number(value));
      }
      const missing = fields.find((f) => f.default === undefined && !given.has(f.name));
      if (missing) return { problem: `a schedule of kind ${kind} says ${missing.name}` };
      const values = fields.map((f) => [f.name, given.get(f.name) ?? f.default!] as const);
      return { schedule: { kind, ...Object.fromEntries(values) } as unknown as S };
    },
  };
}
