// Instances of Dawn and the environment they start in. Which Vulkan drivers an instance sees is decided by environment variables at its
// first request, so each start sets its own, one start at a time, and puts the old ones back.

import { existsSync, readdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** What `dawn.node` exports. */
export interface DawnLibrary {
  create(flags: string[]): GPU;
}

/** Slower and checked, or fast and trusting: the mode in which the device runs kernels. */
export interface DawnMode {
  /** Leave Dawn's checks of bounds and commands on. */
  readonly safe: boolean;
}

/** Dawn's switches for a mode. */
export function toggles(mode: DawnMode): { readonly on: readonly string[]; readonly off: readonly string[] } {
  // Dawn hides f16 on NVIDIA under Linux unless told; quantized timestamps tell nothing of short kernels.
  const on = ["vulkan_enable_f16_on_nvidia"];
  const off = ["timestamp_quantization"];
  if (mode.safe) return { on, off };
  // Out-of-bounds accesses are then whatever the driver does, and wrong commands are not caught.
  return {
    on: [...on, "disable_robustness", "skip_validation"],
    off: [...off, "lazy_clear_resource_on_first_use"],
  };
}

export function dawnFlags(mode: DawnMode): string[] {
  const { on, off } = toggles(mode);
  return [`enable-dawn-features=${on.join(",")}`, `disable-dawn-features=${off.join(",")}`];
}

/**
 * Whatever `create` returned must stay referenced as long as any device lives, or the process dies at the next asynchronous step.
 */
const kept: GPU[] = [];

export function createGpu(dawn: DawnLibrary, flags: readonly string[]): GPU {
  const gpu = dawn.create([...flags]);
  kept.push(gpu);
  return gpu;
}

/** Names of the adapters that Dawn finds: asking for one that cannot be makes it list those that are. */
export async function adapterNames(dawn: DawnLibrary): Promise<readonly string[]> {
  try {
    await createGpu(dawn, ["adapter=\u0001"]).requestAdapter();
    return [];
  } catch (e) {
    return [...String((e as Error).message).matchAll(/backend: '([^']*)', name: '(.*)'$/gm)]
      .filter(([, backend]) => backend !== "null")
      .map(([, , name]) => name!);
  }
}

// ---- environment ----------------------------------------------------------------------------------------------------

let turn: Promise<unknown> = Promise.resolve();

/** Does the work with some variables set (undefined: unset), after all such work before it, and restores them. */
export function withEnvironment<T>(
  variables: Readonly<Record<string, string | undefined>>,
  work: () => Promise<T>,
): Promise<T> {
  // Some drivers write to stderr where it is unset.
  const all = { XDG_RUNTIME_DIR: process.env["XDG_RUNTIME_DIR"] ?? tmpdir(), ...variables };
  const result = turn.then(async () => {
    const before = Object.keys(all).map((name) => [name, process.env[name]] as const);
    setAll(Object.entries(all));
    try {
      return await work();
    } finally {
      setAll(before);
    }
  });
  turn = result.catch(() => undefined);
  return result;
}

function setAll(variables: readonly (readonly [string, string | undefined])[]): void {
  for (const [name, value] of variables)
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
}

/** For `withEnvironment`: exactly these Vulkan drivers and no layers. */
export function onlyDrivers(files: readonly string[]): Record<string, string | undefined> {
  const list = files.join(delimiter);
  // The older name is for loaders before 1.3.207.
  return { VK_DRIVER_FILES: list, VK_ICD_FILENAMES: list, VK_ADD_DRIVER_FILES: undefined };
}

// ---- Vulkan drivers on Linux ----------------------------------------------------------------------------------------

/** Where the Vulkan loader looks for drivers, by its documentation. */
function driverFolders(): readonly string[] {
  const home = homedir();
  const list = (name: string, otherwise: string): string[] =>
    (process.env[name] || otherwise).split(delimiter);
  return [
    ...list("XDG_CONFIG_HOME", join(home, ".config")),
    ...list("XDG_CONFIG_DIRS", "/etc/xdg"),
    "/usr/local/etc",
    "/etc",
    ...list("XDG_DATA_HOME", join(home, ".local/share")),
    ...list("XDG_DATA_DIRS", ["/usr/local/share", "/usr/share"].join(delimiter)),
  ].map((d) => join(d, "vulkan/icd.d"));
}

/** ICD files of the drivers of this system, whatever the environment chose among them. */
export function installedDrivers(): readonly string[] {
  const found = [...new Set(driverFolders())].flatMap(jsonFiles);
  return [...new Set(found)];
}

/** ICD files that the loader will use: the environment's, where it names some, else all that are installed. */
export function systemDrivers(): readonly string[] {
  const chosen = process.env["VK_DRIVER_FILES"] || process.env["VK_ICD_FILENAMES"];
  const expand = (paths: string): string[] =>
    paths.split(delimiter).flatMap((p) => (p.endsWith(".json") ? (existsSync(p) ? [p] : []) : jsonFiles(p)));
  if (chosen) return expand(chosen);
  return [...expand(process.env["VK_ADD_DRIVER_FILES"] ?? ""), ...installedDrivers()];
}

function jsonFiles(folder: string): readonly string[] {
  if (folder === "") return [];
  try {
    return readdirSync(folder)
      .filter((f) => f.endsWith(".json"))
      .sort()
      .map((f) => join(folder, f));
  } catch {
    return [];
  }
}
