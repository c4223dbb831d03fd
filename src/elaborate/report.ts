// Where diagnostics are collected. One mistake in a block that is called twelve times is one diagnostic, with the chain of calls
// that found it first.

import { error, type Diagnostic, type DiagnosticInit, type Note } from "../support/diagnostic.ts";
import { locationOf, type Span } from "../support/source.ts";

/** The calls that lead to a place, innermost first. */
export interface CallChain {
  readonly block: string;
  /** Where it was called. */
  readonly span: Span;
  /** `iteration 2 of @blocks`, the loops around the call. */
  readonly loops: readonly string[];
  readonly caller?: CallChain;
}

const shownCalls = 6;

export class Reporter {
  readonly #limit: number;
  readonly #diagnostics: Diagnostic[] = [];
  readonly #seen = new Set<string>();
  #left = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  error(code: string, message: string, init: DiagnosticInit = {}): void {
    this.add(error(code, message, init));
  }

  add(d: Diagnostic): void {
    const at = d.span ? `${d.span.file.name}:${d.span.start}:${d.span.end}` : d.message;
    const key = `${d.code}@${at}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (this.#diagnostics.length < this.#limit) this.#diagnostics.push(d);
    else this.#left++;
  }

  get failed(): boolean {
    return this.#diagnostics.some((d) => d.severity === "error");
  }

  all(): readonly Diagnostic[] {
    if (this.#left === 0) return this.#diagnostics;
    return [...this.#diagnostics, error("too-many-errors", `${this.#left} more errors are not shown`)];
  }
}

/** The chain as notes: `in PoolFormerBlock called from 30:12, iteration 2 of @blocks`; `loops` are those of the innermost block. */
export function chainNotes(chain: CallChain | undefined, loops: readonly string[]): Note[] {
  const notes: Note[] = loops.length > 0 ? [{ message: `in ${loops.join(", ")}` }] : [];
  for (let c = chain; c; c = c.caller) {
    if (notes.length === shownCalls) {
      notes.push({ message: `and ${lengthOf(c)} more calls around` });
      return notes;
    }
    const at = locationOf(c.span);
    const where = [`${at.line}:${at.column}`, ...c.loops].join(", ");
    notes.push({ message: `in ${c.block} called from ${where}`, span: c.span });
  }
  return notes;
}

function lengthOf(chain: CallChain): number {
  let n = 0;
  for (let c: CallChain | undefined = chain; c; c = c.caller) n++;
  return n;
}
