// The software driver that arrives with `npm ci` on Linux x64: SwiftShader and a Vulkan loader out of the archive in
// @sparticuz/chromium. Unpacked once into the cache folder, beside a copy of Dawn's library, which looks for the loader in its own
// folder first; so no system package is needed. Also says where the cache folder is.

import { brotliDecompressSync } from "node:zlib";
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { plainFiles } from "./tar.ts";

export interface EmbeddedDriver {
  readonly folder: string;
  /** Dawn's library, loadable by `require`. */
  readonly dawn: string;
  /** The driver's ICD file. */
  readonly icd: string;
}

export interface NoDriver {
  readonly problem: string;
}

/** The one place where tokenloom keeps files: $TOKENLOOM_CACHE, else $XDG_CACHE_HOME/tokenloom, else ~/.cache/tokenloom. */
export function cacheFolder(): string {
  const own = process.env["TOKENLOOM_CACHE"];
  if (own) return own;
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "tokenloom");
}

/** Where the cache goes if its folder cannot be written: a folder of this user alone, as anything in it is loaded as code. */
export function temporaryCacheFolder(): string {
  return join(tmpdir(), `tokenloom-${process.getuid?.() ?? "user"}`);
}

const icdName = "vk_swiftshader_icd.json";
/** What is taken from the archive; the rest of it is for OpenGL. */
const members = ["libvulkan.so.1", "libvk_swiftshader.so", icdName];
/** The archive holds 15 MB. */
const MOST_UNPACKED = 64 * 2 ** 20;

export function embeddedDriver(): EmbeddedDriver | NoDriver {
  if (process.platform !== "linux" || process.arch !== "x64")
    return { problem: `the embedded driver is for Linux x64, this is ${process.platform} ${process.arch}` };
  const dawn = packageOf("webgpu");
  const chromium = packageOf("@sparticuz/chromium");
  if (!dawn) return { problem: "the package webgpu is not installed" };
  if (!chromium)
    return { problem: "the package @sparticuz/chromium, which carries the driver, is not installed" };
  const name = `swiftshader-${chromium.version}-dawn-${dawn.version}`;
  const source: Source = {
    archive: join(chromium.folder, "bin", "swiftshader.tar.br"),
    dawn: join(dawn.folder, "dist", "linux-x64", "dawn.node"),
  };
  const problems: string[] = [];
  for (const parent of [cacheFolder(), temporaryCacheFolder()]) {
    try {
      if (parent === temporaryCacheFolder()) ownFolder(parent);
      const folder = join(parent, name);
      if (!complete(folder)) unpack(source, parent, folder);
      return { folder, dawn: join(folder, "dawn.node"), icd: join(folder, icdName) };
    } catch (e) {
      problems.push((e as Error).message);
    }
  }
  return { problem: `the embedded driver cannot be unpacked: ${problems.join("; ")}` };
}

interface Source {
  readonly archive: string;
  readonly dawn: string;
}

/** Folder and version of an installed package. */
export function packageOf(name: string): { readonly folder: string; readonly version: string } | undefined {
  let at: string;
  try {
    at = dirname(createRequire(import.meta.url).resolve(name));
  } catch {
    return undefined;
  }
  // Its package.json may be hidden by `exports`: look upwards from the main file.
  for (; dirname(at) !== at; at = dirname(at)) {
    const file = join(at, "package.json");
    if (!existsSync(file)) continue;
    const manifest = JSON.parse(readFileSync(file, "utf8")) as { name?: string; version?: string };
    if (manifest.name === name) return { folder: at, version: manifest.version ?? "0" };
  }
  return undefined;
}

/** Made, or found to be ours: others can write to the folder above it. */
function ownFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const s = lstatSync(folder);
  if (!s.isDirectory() || s.uid !== process.getuid?.() || (s.mode & 0o022) !== 0)
    throw new Error(`${folder} belongs to someone else`);
}

function complete(folder: string): boolean {
  return [...members, "dawn.node"].every((f) => existsSync(join(folder, f)));
}

/** Into a folder of its own, then renamed: another process sees all of it or nothing. */
function unpack(source: Source, parent: string, folder: string): void {
  mkdirSync(parent, { recursive: true });
  const temporary = mkdtempSync(join(parent, "unpack-"));
  try {
    chmodSync(temporary, 0o755);
    const tar = brotliDecompressSync(readFileSync(source.archive), { maxOutputLength: MOST_UNPACKED });
    for (const { name, data } of plainFiles(tar))
      if (members.includes(name)) writeFileSync(join(temporary, name), data);
    // A copy and not a link: a linked library counts as the one that may be loaded already, whose folder has no loader.
    copyFileSync(source.dawn, join(temporary, "dawn.node"), constants.COPYFILE_FICLONE);
    if (!complete(temporary)) throw new Error(`${source.archive} does not hold the driver`);
    if (existsSync(folder) && !complete(folder)) renameSync(folder, join(temporary, "incomplete"));
    renameSync(temporary, folder);
  } catch (e) {
    // Another process may have been first.
    if (!complete(folder)) throw e;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
    rmSync(join(folder, "incomplete"), { recursive: true, force: true });
  }
}
