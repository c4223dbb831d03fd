// What every command shares: its flags, showing diagnostics and results. Nothing of the compiler, which some commands do without.

import { dirname, resolve as resolvePath } from "node:path";
import { fileURLToPath } from "node:url";
import { createColors } from "picocolors";
import { builtinTargets, type Target } from "../ir/target.ts";
import type { ExpertWay } from "../passes/expert-cost.ts";
import { error, hasErrors, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { render, renderJson } from "../support/render.ts";

export const colors = createColors(process.stdout.isTTY && !process.env["NO_COLOR"]);

/** Where `std/` and the package file are: one level above `src` or `dist`. */
export const packageRoot = resolvePath(dirname(fileURLToPath(import.meta.url)), "..", "..");

export interface ModelFlags {
  /** One or several. */
  readonly model?: readonly string[];
  readonly config?: string;
  readonly set?: readonly string[];
  readonly without?: string;
  readonly also?: string;
  readonly reduce?: readonly string[];
  readonly experts?: ExpertWay;
  readonly storage?: "f32" | "f16";
  readonly quantize?: string;
  readonly reroute?: boolean;
  readonly stopAfter?: string;
  readonly schedule?: readonly string[];
  /** Values of symbols that schedules are chosen for. */
  readonly dim?: readonly string[];
  /** A folder or file with tuned schedules, or `none`. */
  readonly tuned?: string;
  readonly firstRunWeight?: string;
  /** Low-rank adapters, and how they are put in. */
  readonly adapter?: readonly string[];
  readonly adapterMode?: string;
  readonly json?: boolean;
}

/** `--set key=value`, or another such flag, any number of times. */
export function settings(list: readonly string[] = [], flag = "set"): Record<string, string> {
  const out: Record<string, string> = {};
  for (const item of list) {
    const at = item.indexOf("=");
    if (at <= 0)
      throw new InputError([
        error("set-spec", `--${flag} ${item} has no value`, { help: `write --${flag} name=value` }),
      ]);
    out[item.slice(0, at)] = item.slice(at + 1);
  }
  return out;
}

/** `--dim B=2 H=224`. */
export function sizesOf(list: readonly string[] | undefined): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [name, text] of Object.entries(settings(list))) {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 0)
      throw new InputError([
        error("dim-spec", `--dim ${name}=${text} is no size`, { help: "write --dim B=2" }),
      ]);
    out[name] = value;
  }
  return out;
}

export function weightOf(text: string): number {
  const weight = Number(text);
  if (text !== "" && Number.isFinite(weight) && weight >= 0) return weight;
  throw new InputError([
    error("first-run-weight", `--first-run-weight ${text} is no number from 0 up`, {
      help: "0 counts steady runs alone; 0.01, the default, a shader as 100 runs; 1 the first run as much as the others",
    }),
  ]);
}

export function targetNamed(name: string): Target {
  const found = builtinTargets.find((t) => t.name === name);
  if (found) return found;
  const all = builtinTargets.map((t) => t.name).join(", ");
  throw new InputError([
    error("unknown-target", `there is no target ${name}`, { help: `the targets are ${all}` }),
  ]);
}

export function show(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length === 0) return;
  const color = Boolean(process.stderr.isTTY) && !process.env["NO_COLOR"];
  process.stderr.write(`${render(diagnostics, { color, width: process.stderr.columns ?? 110 })}\n`);
}

export function showJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

export function diagnosticsJson(diagnostics: readonly Diagnostic[]): {
  readonly ok: boolean;
  readonly diagnostics: ReturnType<typeof renderJson>;
} {
  return { ok: !hasErrors(diagnostics), diagnostics: renderJson(diagnostics) };
}

/** The value, or the diagnostics thrown; warnings are shown. */
export function need<T>(outcome: {
  readonly value: T | undefined;
  readonly diagnostics: readonly Diagnostic[];
}): T {
  if (outcome.value === undefined) throw new InputError(outcome.diagnostics);
  show(outcome.diagnostics);
  return outcome.value;
}

export function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

export function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(2)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

export function mebibytes(bytes: number): string {
  return bytes < 2 ** 20 ? `${(bytes / 2 ** 10).toFixed(1)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
