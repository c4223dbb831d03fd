// All families of schedules, and what is found by the beginning of a schedule's text.

import type { Node } from "../ir/graph.ts";
import { contractions } from "./contraction-family.ts";
import { elements } from "./element-family.ts";
import { columnReductions, rowReductions } from "./reduction-families.ts";
import type { Family, Parsed, ScheduleSpace, SpaceOptions } from "./schedule-family.ts";

export const families: readonly Family[] = [contractions, rowReductions, columnReductions, elements];

/** What a group can run by; undefined where its kernels have one form. A group is of one family at most. */
export function spaceOf(group: Node, o: SpaceOptions): ScheduleSpace | undefined {
  for (const f of families) {
    const space = f.space(group, o);
    if (space) return space;
  }
  return undefined;
}

const kinds = families.flatMap((f) => f.kinds.map((k) => `${k}:`)).join(", ");

/** Reads what a family shows. */
export function readSchedule(text: string): Parsed & { readonly family?: Family } {
  const kind = text.slice(0, Math.max(0, text.indexOf(":")));
  const found = families.find((f) => f.kinds.includes(kind));
  return found ? { ...found.parse(text), family: found } : { problem: `a schedule begins with ${kinds}` };
}
