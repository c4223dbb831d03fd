// The software driver that arrives with `npm ci` on Linux x64: SwiftShader and a Vulkan loader out of @sparticuz/chromium's archive.
// Unpacked once into the cache folder, beside a link to Dawn's library, which looks for the loader in its own folder first.

import { brotliDecompressSync } from "node:zlib";
import {
  copyFileSync,
  existsSync,
  linkSync,
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

export interface EmbeddedDriver {
  /** Dawn's library, loadable by `require`. */
  readonly dawn: string;
  /** The driver's ICD file. */
  readonly icd: string;
}

/** The one place where tokenloom keeps files: $TOKENLOOM_CACHE, else $XDG_CACHE_HOME/tokenloom, else ~/.cache/tokenloom. */
export function cacheFolder(): string {
  const own = process.env["TOKENLOOM_CACHE"];
  if (own) return own;
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "tokenloom");
}

const wanted = ["libvulkan.so.1", "libvk_swiftshader.so", "vk_swiftshader_icd.json"];

export async function embeddedDriver(): Promise<EmbeddedDriver | { readonly problem: string }> {
  if (process.platform !== "linux" || process.arch !== "x64")
    return { problem: `the embedded driver is for Linux x64, this is ${process.platform} ${process.arch}` };
  const require = createRequire(import.meta.url);
  const dawn = join(packageFolder(require, "webgpu"), "dist", "linux-x64", "dawn.node");
  if (!existsSync(dawn)) return { problem: "the package webgpu has no library for Linux x64" };
  let archive: string;
  let version: string;
  try {
    const manifest = packageFolder(require, "@sparticuz/chromium");
    archive = join(manifest, "bin", "swiftshader.tar.br");
    version = (JSON.parse(readFileSync(join(manifest, "package.json"), "utf8")) as { version: string })
      .version;
  } catch {
    return { problem: "the optional package @sparticuz/chromium is not installed" };
  }
  const name = `swiftshader-${version}`;
  for (const parent of [cacheFolder(), join(tmpdir(), "tokenloom")]) {
    const folder = join(parent, name);
    try {
      if (!complete(folder)) unpack(archive, dawn, parent, folder);
      return { dawn: join(folder, "dawn.node"), icd: join(folder, "vk_swiftshader_icd.json") };
    } catch (e) {
      if (parent !== cacheFolder())
        return { problem: `the embedded driver cannot be unpacked: ${(e as Error).message}` };
    }
  }
  return { problem: "no folder to unpack the embedded driver into" };
}

function packageFolder(require: NodeJS.Require, name: string): string {
  let at = dirname(require.resolve(name));
  while (
    !existsSync(join(at, "package.json")) ||
    !readFileSync(join(at, "package.json"), "utf8").includes(`"name": "${name}"`)
  ) {
    const up = dirname(at);
    if (up === at) throw new Error(`no package folder for ${name}`);
    at = up;
  }
  return at;
}

function complete(folder: string): boolean {
  return [...wanted, "dawn.node"].every((f) => existsSync(join(folder, f)));
}

/** Into a folder of its own, then renamed: another process sees all of it or nothing. */
function unpack(archive: string, dawn: string, parent: string, folder: string): void {
  mkdirSync(parent, { recursive: true });
  const temporary = mkdtempSync(join(parent, "unpack-"));
  try {
    for (const [name, data] of tarEntries(brotliDecompressSync(readFileSync(archive)))) {
      const base = name.replace(/^.*\//, "");
      if (wanted.includes(base)) writeFileSync(join(temporary, base), data);
    }
    const icd = JSON.stringify({
      file_format_version: "1.0.0",
      ICD: { library_path: join(folder, "libvk_swiftshader.so"), api_version: "1.0.5" },
    });
    writeFileSync(join(temporary, "vk_swiftshader_icd.json"), icd);
    try {
      linkSync(dawn, join(temporary, "dawn.node"));
    } catch {
      copyFileSync(dawn, join(temporary, "dawn.node"));
    }
    if (!complete(temporary)) throw new Error("the archive does not hold the driver");
    if (existsSync(folder)) rmSync(folder, { recursive: true, force: true });
    renameSync(temporary, folder);
  } catch (e) {
    rmSync(temporary, { recursive: true, force: true });
    // Another process may have been first.
    if (!complete(folder)) throw e;
  }
}

/** Plain files of a tar archive: 512-byte headers, sizes in octal. */
function* tarEntries(tar: Buffer): Generator<readonly [string, Buffer]> {
  for (let at = 0; at + 512 <= tar.length;) {
    const name = tar.toString("latin1", at, at + 100).replace(/\0.*$/s, "");
    if (name === "") return;
    const size = parseInt(tar.toString("latin1", at + 124, at + 136).replace(/[\0 ]+$/, ""), 8) || 0;
    const kind = tar.toString("latin1", at + 156, at + 157);
    const start = at + 512;
    if (start + size > tar.length) throw new Error("the archive is cut off");
    if (kind === "0" || kind === "\0") yield [name, tar.subarray(start, start + size)];
    at = start + Math.ceil(size / 512) * 512;
  }
}
