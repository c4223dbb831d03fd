// Schedules that somebody asked for, in place of those that would be chosen: for experiments and for a tuner. One that cannot be read,
// cannot run, or fits no kernel is the user's mistake, and every such mistake is reported.

import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { nearest } from "../support/suggest.ts";
import type { Node } from "../ir/graph.ts";
import { readSchedule } from "./schedule-families.ts";
import type { Family, Schedule } from "./schedule-family.ts";

/** Stands for every kernel that can run by the schedule; others keep their own. */
const ALL = "*";

export class ScheduleOverrides {
  readonly #schedules = new Map<string, Schedule>();
  readonly #unused: Set<string>;
  readonly #kernels = new Set<string>();
  readonly #problems: Diagnostic[] = [];

  /** By kernel name, value id, or `*`; `families`: of the kernels that there are. */
  constructor(texts: Readonly<Record<string, string>>, families: readonly Family[]) {
    this.#unused = new Set(Object.keys(texts).filter((name) => name !== ALL));
    for (const [name, text] of Object.entries(texts)) {
      const { schedule, family, ...read } = readSchedule(text, families);
      if (schedule) this.#schedules.set(name, schedule);
      else if ("problem" in read)
        this.#problems.push(
          error("schedule-text", `the schedule of ${name} cannot be read: ${read.problem}`, {
            help: `for example ${(family ?? families[0]!).example}`,
          }),
        );
    }
  }

  /** The schedule asked for for a group, if there is one; `refused` says why it cannot have one. */
  of(node: Node, refused: (schedule: Schedule) => string | undefined): Schedule | undefined {
    const name = String(node.attrs["name"]);
    this.#kernels.add(name);
    const asked = [...node.results.map((r) => r.id), name].find(
      (key) => this.#unused.has(key) || this.#schedules.has(key),
    );
    if (asked === undefined) {
      const forAll = this.#schedules.get(ALL);
      return forAll && refused(forAll) === undefined ? forAll : undefined;
    }
    this.#unused.delete(asked);
    const schedule = this.#schedules.get(asked);
    const reason = schedule && refused(schedule);
    if (reason === undefined) return schedule;
    const [span] = node.spans;
    this.#problems.push(
      error("schedule-refused", `${name} cannot run by the schedule given for ${asked}: ${reason}`, {
        help: span && `it comes from ${span.file}:${span.line}`,
      }),
    );
    return undefined;
  }

  /** Throws what was wrong. */
  finish(): void {
    const known = [...this.#kernels];
    for (const name of this.#unused) {
      const meant = nearest(name, known);
      this.#problems.push(
        error(
          "schedule-unused",
          `a schedule is given for ${name}, and no kernel that can be cut in several ways is called so`,
          {
            help: meant ? `did you mean ${meant}?` : `there are ${known.join(", ") || "none"}`,
          },
        ),
      );
    }
    if (this.#problems.length > 0) throw new InputError(this.#problems);
  }
}
