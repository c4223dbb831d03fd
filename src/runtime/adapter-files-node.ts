// What was measured of an adapter, as files in tokenloom's cache folder: adapters/NAME/device.json has its constants, schedules.json the
// schedules that won. They may be anyone's by the time they are read, so a reader checks what it takes.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { checkConstants, type AdapterConstants, type Target } from "../ir/target.ts";
import type { AdapterFacts } from "./device.ts";
import { cacheFolder } from "./embedded-node.ts";

/** What tells an adapter from others: itself, its driver's version, and the processor where that computes. */
export function adapterKey(info: AdapterFacts): string {
  const { vendor, architecture, device, name, driver } = info;
  const parts = [vendor, architecture, device, name === driver ? "" : name, driver];
  const cores = cpus();
  if (info.software) parts.push(`on ${cores.length} x ${cores[0]?.model.trim() ?? "unknown"}`);
  return parts
    .filter((p) => p !== "")
    .join(", ")
    .slice(0, 1000);
}

/** A file about an adapter; its folder is named by the key's hash, with a part that can be read. */
export function adapterFile(key: string, file: "device.json" | "schedules.json"): string {
  const hash = createHash("sha256").update(key).digest("hex").slice(0, 12);
  const slug = key
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 40);
  return join(cacheFolder(), "adapters", `${slug}-${hash}`, file);
}

const MOST_BYTES = 64 * 2 ** 20;

/** The data of a JSON file; undefined where there is none. */
export function readJsonFile(
  path: string,
): { readonly data: unknown } | { readonly problem: string } | undefined {
  let text: string;
  try {
    const info = statSync(path);
    if (!info.isFile()) return { problem: "is no regular file" };
    if (info.size > MOST_BYTES) return { problem: `has ${info.size} bytes, and ${MOST_BYTES} are the most` };
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  try {
    return { data: JSON.parse(text) };
  } catch {
    return { problem: "is not JSON" };
  }
}

/** In one step, so that no reader sees half a file. */
export function writeJsonFile(path: string, data: unknown): void {
  mkdirSync(dirname(path), { recursive: true });
  const own = `${path}.${process.pid}`;
  writeFileSync(own, `${JSON.stringify(data, null, 1)}\n`);
  renameSync(own, path);
}

// ---- constants ------------------------------------------------------------------------------------------------------

const format = "tokenloom-device";
const version = 1;

export interface DeviceFile {
  readonly format: typeof format;
  readonly version: typeof version;
  readonly adapter: string;
  readonly constants: AdapterConstants;
}

export function writeConstants(key: string, constants: AdapterConstants): string {
  const path = adapterFile(key, "device.json");
  writeJsonFile(path, { format, version, adapter: key, constants } satisfies DeviceFile);
  return path;
}

export type FoundConstants =
  | { readonly constants: AdapterConstants; readonly path: string }
  | { readonly problem: string; readonly path: string };

export function readConstants(key: string): FoundConstants | undefined {
  const path = adapterFile(key, "device.json");
  const read = readJsonFile(path);
  if (!read) return undefined;
  if ("problem" in read) return { path, problem: read.problem };
  const file = read.data as Partial<DeviceFile> | null;
  if (file?.format !== format || file.version !== version)
    return { path, problem: `holds no constants of version ${version}` };
  if (file.adapter !== key) return { path, problem: "is of another adapter" };
  const problems = checkConstants(file.constants);
  return problems.length > 0 ? { path, problem: problems[0]! } : { path, constants: file.constants! };
}

/** A target with what was measured of its adapter here. */
export function measuredHere(
  target: Target,
  info: AdapterFacts,
): { readonly target: Target; readonly warnings: readonly string[] } {
  const adapter = adapterKey(info);
  const found = readConstants(adapter);
  if (found && "problem" in found)
    return {
      target: { ...target, adapter },
      warnings: [`${found.path} ${found.problem}: it is not used, \`tokenloom tune-device\` makes it anew`],
    };
  return { target: { ...target, adapter, ...(found && { measured: found.constants }) }, warnings: [] };
}
