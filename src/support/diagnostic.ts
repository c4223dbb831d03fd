// A user error is a value: collected, never thrown, rendered in one place (support/render.ts).
// Wording: lower case, one sentence, no full stop; point instead of quoting; help says what to do.

import type { Span } from "./source.ts";

export type Severity = "error" | "warning";

export interface Note {
  readonly message: string;
  /** Where the second place is; a note without a span speaks of the whole. */
  readonly span?: Span;
}

export interface Diagnostic {
  readonly severity: Severity;
  /** A stable word: `syntax`, `unknown-name`, `conv2d.C2`. Each has a paragraph in docs/errors.md. */
  readonly code: string;
  readonly message: string;
  /** Where; absent only when no file is at fault (a wrong flag). */
  readonly span?: Span;
  /** What is written under the carets: `this is f32[B, 64]`. */
  readonly label?: string;
  readonly notes: readonly Note[];
  /** What to do about it. */
  readonly help?: string;
}

export interface DiagnosticInit {
  readonly span?: Span | undefined;
  readonly label?: string | undefined;
  readonly notes?: readonly Note[] | undefined;
  readonly help?: string | undefined;
}

export function error(code: string, message: string, init: DiagnosticInit = {}): Diagnostic {
  return make("error", code, message, init);
}

export function warning(code: string, message: string, init: DiagnosticInit = {}): Diagnostic {
  return make("warning", code, message, init);
}

function make(severity: Severity, code: string, message: string, init: DiagnosticInit): Diagnostic {
  return {
    severity,
    code,
    message: shortened(message),
    notes: (init.notes ?? []).map((n) => ({ ...n, message: shortened(n.message) })),
    ...(init.span !== undefined && { span: init.span }),
    ...(init.label !== undefined && { label: shortened(init.label) }),
    ...(init.help !== undefined && { help: shortened(init.help) }),
  };
}

/** More than this is read by nobody. */
const mostCharacters = 2000;

/** A name that a message quotes from a file may have any length. */
function shortened(text: string): string {
  if (text.length <= mostCharacters) return text;
  // No half of a surrogate pair is left at the end.
  return `${text.slice(0, mostCharacters - 3).replace(/[\ud800-\udbff]$/, "")}...`;
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((d) => d.severity === "error");
}

/**
 * Thrown only at the outermost edge of the library (`compile`, `load`) when the caller asked for a result that the
 * user's input cannot give; carries every diagnostic collected.
 */
export class InputError extends Error {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map((d) => `${d.severity}[${d.code}]: ${d.message}`).join("\n"));
    this.name = "InputError";
    this.diagnostics = diagnostics;
  }
}
