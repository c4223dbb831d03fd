// All families of schedules, and what is found by the beginning of a schedule's text.

import type { Node } from "../ir/graph.ts";
import { contractions } from "./contraction-family.ts";
import { elements } from "./element-family.ts";
import { programFamilyOf } from "./program-family.ts";
import { columnReductions, rowReductions } from "./reduction-families.ts";
import type { Family, Parsed, ScheduleSpace, SpaceOptions } from "./schedule-family.ts";

const generated: readonly Family[] = [contractions, rowReductions, columnReductions, elements];

/** Those of the generators, and of the ops among these groups that have kernels of their own. */
export function familiesOf(groups: readonly Node[]): readonly Family[] {
  return [...new Set([...generated, ...groups.map(programFamilyOf).filter((f) => f !== undefined)])];
}

/** What a group can run by; undefined where its kernels have one form. A group is of one family at most. */
export function spaceOf(group: Node, o: SpaceOptions): ScheduleSpace | undefined {
  for (const f of familiesOf([group])) {
    const space = f.space(group, o);
    if (space) return space;
  }
  return undefined;
}

/** Reads what one of the families shows. */
export function readSchedule(
  text: string,
  families: readonly Family[] = generated,
): Parsed & { readonly family?: Family } {
  const kind = text.slice(0, Math.max(0, text.indexOf(":")));
  const found = families.find((f) => f.kinds.includes(kind));
  if (found) return { ...found.parse(text), family: found };
  const kinds = families.flatMap((f) => f.kinds.map((k) => `${k}:`)).join(", ");
  return { problem: `a schedule begins with ${kinds}` };
}
