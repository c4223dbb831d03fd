// Tuned schedules as files: those of this adapter in the cache, and those that a compiled folder carries. What cannot be used is told.

import { join } from "node:path";
import { checkTuned, tunedFormat, tunedVersion } from "../codegen/tuned.ts";
import type { TunedEntry, TunedSource, TunedTable } from "../codegen/tuned.ts";
import type { Target } from "../ir/target.ts";
import { adapterFile, readJsonFile, writeJsonFile } from "../runtime/adapter-files-node.ts";
import { error, InputError, warning } from "../support/diagnostic.ts";
import { show } from "./common.ts";

/** What a compiled folder calls the entries that it was compiled with. */
export const tunedFile = "schedules.json";

export function tableOf(adapter: string, entries: readonly TunedEntry[]): TunedTable {
  return { format: tunedFormat, version: tunedVersion, adapter, entries };
}

/** Sources for a target: a folder or file that was named, then the cache. `none`: neither. */
export function tunedSources(target: Target | undefined, named: string | undefined): readonly TunedSource[] {
  if (named === "none") return [];
  const sources: TunedSource[] = [];
  const adapter = target?.adapter;
  if (named !== undefined) {
    const table = readTable(/\.json$/.test(named) ? named : join(named, tunedFile));
    if (!table) throw new InputError([error("tuned-missing", `${named} holds no tuned schedules`)]);
    if ("problem" in table) throw new InputError([error("tuned-content", table.problem)]);
    if (table.adapter === adapter) sources.push({ from: named, entries: table.entries });
    else show([otherAdapter(named, table.adapter, adapter)]);
  }
  if (adapter === undefined) return sources;
  const cached = readCached(adapter);
  return cached.length > 0 ? [...sources, { from: "the cache", entries: cached }] : sources;
}

function otherAdapter(from: string, of: string, here: string | undefined) {
  return warning(
    "tuned-adapter",
    `the schedules in ${from} were tuned on another adapter, and are not used`,
    {
      help: `they are of ${of}; this is ${here ?? "a target that is no adapter"}`,
    },
  );
}

function readTable(path: string): TunedTable | { readonly problem: string } | undefined {
  const read = readJsonFile(path);
  if (!read) return undefined;
  if ("problem" in read) return { problem: `${path} ${read.problem}` };
  const [problem] = checkTuned(read.data);
  return problem === undefined ? (read.data as TunedTable) : { problem: `${path} ${problem}` };
}

export function readCached(adapter: string): readonly TunedEntry[] {
  const table = readTable(adapterFile(adapter, "schedules.json"));
  if (!table) return [];
  if (!("problem" in table)) return table.adapter === adapter ? table.entries : [];
  const help = "`tokenloom tune-schedules` writes it anew";
  show([warning("tuned-content", `tuned schedules are not used: ${table.problem}`, { help })]);
  return [];
}

/** New entries take the places of those for the same structure and sizes. */
export function addToCache(adapter: string, entries: readonly TunedEntry[]): string {
  const path = adapterFile(adapter, "schedules.json");
  const key = (e: TunedEntry): string => `${e.structure} ${JSON.stringify(e.sizes)}`;
  const all = new Map([...readCached(adapter), ...entries].map((e) => [key(e), e]));
  writeJsonFile(path, tableOf(adapter, [...all.values()]));
  return path;
}

/** Beside a plan: the entries that it was compiled with. */
export function writeTuned(folder: string, adapter: string, entries: readonly TunedEntry[]): string {
  writeJsonFile(join(folder, tunedFile), tableOf(adapter, entries));
  return tunedFile;
}

/** A folder that is run on another adapter than its schedules were tuned on keeps them: they are in its kernels. */
export function noteTunedElsewhere(folder: string, here: Target): void {
  const table = readTable(join(folder, tunedFile));
  if (!table) return;
  if ("problem" in table) show([warning("tuned-content", table.problem)]);
  else if (table.adapter !== here.adapter)
    show([
      warning("tuned-adapter", `${folder} was compiled with schedules that were tuned on another adapter`, {
        help: `compile the model here for schedules of ${here.adapter ?? here.name}; they were tuned on ${table.adapter}`,
      }),
    ]);
}
