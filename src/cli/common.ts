// What every command shares: reading model files and their imports, showing diagnostics, exit codes.

import { realpathSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve as resolvePath, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { createColors } from "picocolors";
import {
  compileModule,
  elaborateFile,
  optimizeModule,
  readGraphs,
  type CompileOptions,
  type Compiled,
  type Front,
  type Module,
  type Optimized,
  type SourceText,
} from "../index.ts";
import { halfStorage } from "../passes/half-storage.ts";
import type { ExpertWay } from "../passes/expert-cost.ts";
import { checkSelection } from "../passes/run.ts";
import { builtinTargets, type Target } from "../ir/target.ts";
import { error, hasErrors, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { render, renderJson } from "../support/render.ts";
import { refuseAdapters, withAdapters } from "./adapter.ts";
import { readBytes } from "./files.ts";
import { withReroute } from "./reroute.ts";
import { tunedSources } from "./tuned.ts";

export const colors = createColors(process.stdout.isTTY && !process.env["NO_COLOR"]);

/** Where `std/` and the package file are: one level above `src` or `dist`. */
export const packageRoot = resolvePath(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** A model file larger than this is none. */
const MAX_BYTES = 4 * 2 ** 20;

export function readModel(path: string, most = MAX_BYTES): SourceText {
  return { name: path, text: readBytes(path, most).toString("utf8") };
}

/** Imports: `std/...` from the package, all else from the folder of the importing file and below the model's own folder. */
export function resolverFor(
  root: string,
): (from: string, path: string) => SourceText | { readonly problem: string } {
  const top = dirname(resolvePath(root));
  return (from, path) => {
    const isStd = path.startsWith("std/");
    const base = isStd ? packageRoot : from.startsWith("std/") ? packageRoot : dirname(resolvePath(from));
    const fence = isStd || from.startsWith("std/") ? join(packageRoot, "std") : top;
    const file = isStd ? join(packageRoot, path) : isAbsolute(path) ? path : resolvePath(base, path);
    const name = /\.model$/.test(file) ? file : `${file}.model`;
    try {
      const real = realpathSync(name);
      if (!real.startsWith(realpathSync(fence) + sep))
        return { problem: `${path} leaves the folder of the model` };
      const shown = relative(process.cwd(), real);
      return isStd ? { ...readModel(shown), name: path } : readModel(shown);
    } catch (e) {
      if (e instanceof InputError && e.diagnostics[0]?.code !== "file-missing")
        return { problem: e.diagnostics[0]!.message };
      return { problem: `there is no file ${isStd ? path : relative(process.cwd(), name)}` };
    }
  };
}

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

function optionsOf(path: string, flags: ModelFlags, target?: Target): CompileOptions {
  return {
    resolve: resolverFor(path),
    set: settings(flags.set),
    ...(flags.model !== undefined && { models: flags.model }),
    ...(flags.config !== undefined && { config: flags.config }),
    ...(flags.without !== undefined && { without: flags.without.split(",") }),
    also: [
      ...(flags.also?.split(",") ?? []),
      ...(flags.storage === "f16" && !flags.also?.split(",").includes(halfStorage.name)
        ? [halfStorage.name]
        : []),
    ],
    ...(flags.reduce && { reduce: flags.reduce }),
    ...(flags.quantize !== undefined && { quantize: flags.quantize }),
    ...(flags.experts && { experts: flags.experts }),
    ...(flags.schedule && { schedules: settings(flags.schedule, "schedule") }),
    ...(flags.dim && { sizes: sizesOf(flags.dim) }),
    tuned: tunedSources(target, flags.tuned),
    ...(flags.firstRunWeight !== undefined && { firstRunWeight: weightOf(flags.firstRunWeight) }),
    ...(flags.stopAfter !== undefined && { stopAfter: flags.stopAfter }),
    ...(target && { target }),
  };
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
      help: "0 counts steady runs alone; 0.02, the default, a shader as 50 runs; 1 the first run as much as the others",
    }),
  ]);
}

/** Text of graphs is longer than the model it came from. */
const MAX_GRAPH_BYTES = 32 * 2 ** 20;

type Opened = Front & { readonly options: CompileOptions };

/** A model file, or the text of graphs (`.ir`), up to its graphs, and the options to go on with. */
function open(path: string, flags: ModelFlags, target?: Target): Opened {
  const options = optionsOf(path, flags, target);
  if (/\.ir$/.test(path)) {
    refuseAdapters(path, flags);
    return readGraphs(readModel(path, MAX_GRAPH_BYTES), options);
  }
  const front = elaborateFile(readModel(path), options);
  if (!front.module) return { ...front, options };
  const adapted = withAdapters(front.module, flags);
  return { ...front, module: flags.reroute === true ? withReroute(adapted, path) : adapted, options };
}

export function frontOf(path: string, flags: ModelFlags): Opened {
  return open(path, flags);
}

/** Compiles; warnings go to stderr, errors are thrown. */
export function compileFile(
  path: string,
  flags: ModelFlags,
  target?: Target,
  change: (module: Module) => Module = (m) => m,
): Compiled {
  const { module, front } = sound(path, flags, target);
  return compileModule(change(module), front.options, front);
}

/** The passes alone, up to `flags.stopAfter`; or those named, in that order. */
export function optimizeFile(
  path: string,
  flags: ModelFlags,
  target?: Target,
  names?: readonly string[],
): Optimized {
  const { module, front } = sound(path, flags, target);
  return optimizeModule(module, front.options, front, names);
}

export function sound(
  path: string,
  flags: ModelFlags,
  target?: Target,
): { readonly module: Module; readonly front: Opened } {
  const front = open(path, flags, target);
  const wrong = [...front.diagnostics, ...checkSelection(front.options)];
  if (hasErrors(wrong) || !front.module) throw new InputError(wrong);
  show(front.diagnostics);
  return { module: front.module, front };
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
