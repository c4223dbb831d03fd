// Definition, references and rename: edits in every file that knows the name, and why a name cannot be changed.

import { lookupOp } from "../ops/index.ts";
import { builtins } from "../elaborate/builtins.ts";
import { isIdentifier } from "../parser/words.ts";
import type { Span } from "../support/source.ts";
import { keyOf, namesAt, type Declaration, type NameIndex, type Occurrence } from "./names.ts";

export interface Edit {
  readonly span: Span;
  readonly text: string;
}

/** Everywhere a declaration stands, in these files. */
export function occurrencesOf(
  of: Declaration,
  indexes: ReadonlyMap<string, NameIndex>,
): readonly Occurrence[] {
  const key = keyOf(of);
  return [...indexes.values()].flatMap((index) => index.occurrences.filter((o) => keyOf(o.of) === key));
}

/** Why the name cannot be changed to that; undefined where it can. */
export function renameProblem(
  of: Declaration,
  to: string,
  indexes: ReadonlyMap<string, NameIndex>,
): string | undefined {
  if (!isIdentifier(to)) return `${to.slice(0, 60)} is no name: a letter, then letters, digits and _`;
  if (to === of.name) return undefined;
  for (const o of occurrencesOf(of, indexes)) {
    const taken = namesAt(indexes.get(o.span.file.name)!, o.span.start).get(to);
    if (taken && !isFieldOf(of, taken))
      return `there is a ${taken.kind} ${to} already, in reach of line ${lineOf(o.span)}`;
  }
  if ((of.kind === "block" || of.kind === "model") && (lookupOp(to) || builtins.has(to)))
    return `${to} is an op, or a function of the language`;
  return undefined;
}

/** Parameters of other blocks are no neighbours of a name. */
function isFieldOf(of: Declaration, taken: Declaration): boolean {
  return of.kind === "parameter" && taken.kind !== "parameter" && taken.span.file.name !== of.span.file.name;
}

function lineOf(span: Span): number {
  return span.file.text.slice(0, span.start).split("\n").length;
}

export function renameEdits(
  of: Declaration,
  to: string,
  indexes: ReadonlyMap<string, NameIndex>,
): readonly Edit[] {
  const edits: Edit[] = occurrencesOf(of, indexes).map((o) => ({ span: o.span, text: to }));
  // The key in the checkpoint stays what it was.
  if (of.labelAt !== undefined)
    edits.push({ span: { file: of.span.file, start: of.labelAt, end: of.labelAt }, text: ` @${of.name}` });
  const seen = new Set<string>();
  return edits.filter((e) => {
    const key = `${e.span.file.name}:${e.span.start}`;
    const isNew = !seen.has(key);
    seen.add(key);
    return isNew;
  });
}
