// Help for a name that is not known: the nearest one, or the list of what there is.

import { nearest } from "../support/suggest.ts";

/** `did you mean X`, else a list of what there is, where that is short. */
export function suggestion(name: string, candidates: Iterable<string>, what: string): string | undefined {
  const all = [...new Set(candidates)];
  const near = nearest(name, all);
  if (near !== undefined) return `did you mean ${near}`;
  return all.length > 0 && all.length <= 12 ? `${what}: ${all.join(", ")}` : undefined;
}
