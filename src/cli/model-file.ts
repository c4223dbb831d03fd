// Reading model files and their imports, and compiling them.

import { realpathSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve as resolvePath, sep } from "node:path";
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
import type { Target } from "../ir/target.ts";
import { halfStorage } from "../passes/half-storage.ts";
import { checkSelection } from "../passes/run.ts";
import { hasErrors, InputError } from "../support/diagnostic.ts";
import { refuseAdapters, withAdapters } from "./adapter.ts";
import { packageRoot, settings, show, sizesOf, weightOf, type ModelFlags } from "./common.ts";
import { readBytes } from "./files.ts";
import { withReroute } from "./reroute.ts";
import { tunedSources } from "./tuned.ts";

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
