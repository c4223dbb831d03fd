// Which numbers the symbols of a graph stand for in one run: found by holding the shapes of the inputs against their types.

import { constantOf, evaluateDim, symbolsOf, type Dim, type DimEnv } from "./dim.ts";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import { showLocation, type Location } from "../support/source.ts";

export interface ShapedInput {
  readonly name: string;
  readonly shape: readonly Dim[];
}

/**
 * Solves for the symbols: a bare symbol takes the size it meets; other dimensions are checked. Wrong ranks, sizes that disagree and
 * symbols that nothing fixes come back as diagnostics.
 */
export function bindSymbols(
  symbols: readonly string[],
  inputs: readonly ShapedInput[],
  shapes: Readonly<Record<string, readonly number[]>>,
  given: Readonly<Record<string, number>> = {},
): { readonly values: Readonly<Record<string, number>>; readonly diagnostics: readonly Diagnostic[] } {
  const values: Record<string, number> = {};
  const from: Record<string, string> = {};
  const diagnostics: Diagnostic[] = [];
  for (const [name, value] of Object.entries(given))
    if (symbols.includes(name)) {
      values[name] = value;
      from[name] = `--dim ${name}=${value}`;
    } else
      diagnostics.push(
        error("unknown-dimension", `there is no dimension ${name}`, {
          help: `the dimensions are ${symbols.join(", ")}`,
        }),
      );
  const known = inputs.filter((i) => shapes[i.name] !== undefined);
  for (const input of known) {
    const shape = shapes[input.name]!;
    if (shape.length !== input.shape.length) {
      const want = `[${input.shape.map((d) => d.key).join(", ")}]`;
      diagnostics.push(
        error(
          "input-rank",
          `input ${input.name} has ${shape.length} axes, the model wants ${input.shape.length}`,
          { help: `give it the shape ${want}` },
        ),
      );
      continue;
    }
    input.shape.forEach((d, axis) => {
      const symbol = d.terms.length === 1 && symbols.includes(d.key) ? d.key : undefined;
      if (symbol === undefined) return;
      const size = shape[axis]!;
      const old = values[symbol];
      if (old === undefined) {
        values[symbol] = size;
        from[symbol] = `axis ${axis} of ${input.name}`;
      } else if (old !== size)
        diagnostics.push(
          error(
            "dimension-conflict",
            `${symbol} is ${old} by ${from[symbol]} and ${size} by axis ${axis} of ${input.name}`,
          ),
        );
    });
  }
  for (const s of symbols)
    if (values[s] === undefined && known.length === inputs.length)
      diagnostics.push(
        error("unbound-dimension", `nothing says what ${s} is`, { help: `give it with --dim ${s}=NUMBER` }),
      );
  for (const input of known) {
    const shape = shapes[input.name]!;
    if (shape.length !== input.shape.length) continue;
    input.shape.forEach((d, axis) => {
      if (![...symbolsOf(d)].every((s) => values[s] !== undefined)) return;
      const want = constantOf(d) ?? evaluateDim(d, values);
      if (want !== shape[axis] && !symbols.includes(d.key))
        diagnostics.push(
          error(
            "input-shape",
            `axis ${axis} of input ${input.name} is ${shape[axis]}, the model wants ${d.key === String(want) ? want : `${d.key} = ${want}`}`,
          ),
        );
    });
  }
  return { values, diagnostics };
}

/** Something that sizes must keep to, found by limits.ts. */
export interface SizeLimit {
  /** Must be 0 or more. */
  readonly size: Dim;
  /** What it means where it is less: `slice to T of an axis of 512`. */
  readonly text: string;
  readonly at: Location | undefined;
}

/** Limits that these sizes break, each with the sizes that it is about. */
export function checkLimits(limits: readonly SizeLimit[], env: DimEnv): readonly Diagnostic[] {
  return limits
    .filter(({ size }) => evaluateDim(size, env) < 0)
    .map(({ size, text, at }) =>
      error(
        "size-limit",
        `${text}, and ${[...symbolsOf(size)].map((s) => `${s} is ${env[s]!}`).join(", ")}`,
        {
          ...(at && { notes: [{ message: `at ${showLocation(at)}` }] }),
          help: "give smaller inputs, or make the model for larger ones (a table of more positions)",
        },
      ),
    );
}
