// What this machine has: every adapter with its driver, features and limits, the cache folder, and what to install for more speed.
// Data first; the text is made from it. Opens adapters but no devices.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { arch, platform, release } from "node:os";
import { join } from "node:path";
import type { AdapterConstants, Target } from "../ir/target.ts";
import { InputError } from "../support/diagnostic.ts";
import { installedDrivers, systemDrivers, toggles } from "./dawn-node.ts";
import { findAdapter, gpuFiles, listAdapters, type AdapterSource } from "./device-node.ts";
import { adapterFacts, targetOf, type AdapterFacts } from "./device.ts";
import { adapterKey, measuredHere, readConstants, type FoundConstants } from "./adapter-files-node.ts";
import { cacheFolder, embeddedDriver, packageOf } from "./embedded-node.ts";
import { showBytes } from "./sizes.ts";

export interface DoctorReport {
  readonly system: {
    readonly os: string;
    readonly node: string;
    /** Versions of the packages that carry native code; undefined where one is not installed. */
    readonly packages: Readonly<Record<string, string | undefined>>;
    /** Variables that choose drivers, where they are set. */
    readonly environment: Readonly<Record<string, string>>;
    /** Vulkan driver files, on Linux. */
    readonly drivers: readonly string[];
    /** Device files of GPUs, on Linux. */
    readonly gpus: readonly string[];
  };
  readonly adapters: readonly DoctorAdapter[];
  /** Number of the adapter that `auto` takes; absent where there is none. */
  readonly auto?: number;
  readonly toggles: { readonly safe: Toggles; readonly fast: Toggles };
  readonly cache: { readonly folder: string; readonly bytes: number; readonly files: number };
  /** What would make it faster, or work at all. */
  readonly advice: readonly string[];
}

type Toggles = ReturnType<typeof toggles>;

export interface DoctorAdapter {
  readonly number: number;
  readonly name: string;
  readonly source: AdapterSource;
  readonly facts?: AdapterFacts;
  readonly target?: Target;
  /** Where its constants are from: a file that `tune-device` wrote, or what is assumed. */
  readonly constants?: string;
  /** Why it cannot be used. */
  readonly problem?: string;
}

const driverVariables = [
  "TOKENLOOM_DEVICE",
  "TOKENLOOM_CACHE",
  "VK_DRIVER_FILES",
  "VK_ICD_FILENAMES",
  "VK_ADD_DRIVER_FILES",
  "LD_LIBRARY_PATH",
];

export async function doctor(): Promise<DoctorReport> {
  const listed = await listAdapters();
  const adapters: DoctorAdapter[] = [];
  for (const [number, { name, source }] of listed.entries())
    adapters.push({ number, name, source, ...(await look(number)) });
  const auto = await autoNumber(adapters);
  const report: Omit<DoctorReport, "advice"> = {
    system: {
      os: `${platform()} ${release()} ${arch()}${distribution() ? `, ${distribution()}` : ""}`,
      node: process.version,
      packages: Object.fromEntries(["webgpu", "@sparticuz/chromium"].map((n) => [n, packageOf(n)?.version])),
      environment: Object.fromEntries(
        driverVariables.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
      ),
      drivers: platform() === "linux" ? [...new Set([...systemDrivers(), ...installedDrivers()])] : [],
      gpus: platform() === "linux" ? gpuFiles() : [],
    },
    adapters,
    ...(auto !== undefined && { auto }),
    toggles: { safe: toggles({ safe: true }), fast: toggles({ safe: false }) },
    cache: folderSize(cacheFolder()),
  };
  return { ...report, advice: advise(report) };
}

async function look(number: number): Promise<Omit<DoctorAdapter, "number" | "name" | "source">> {
  try {
    const { adapter } = await findAdapter(String(number), true);
    const facts = adapterFacts(adapter);
    const found = readConstants(adapterKey(facts));
    return { facts, target: measuredHere(targetOf(adapter), facts).target, constants: originOf(found) };
  } catch (e) {
    return { problem: problemOf(e) };
  }
}

function originOf(found: FoundConstants | undefined): string {
  if (!found) return "built in; `tokenloom tune-device` measures this adapter";
  return "problem" in found
    ? `built in, as ${found.path} ${found.problem}`
    : `measured by tune-device, ${found.path}`;
}

async function autoNumber(adapters: readonly DoctorAdapter[]): Promise<number | undefined> {
  try {
    const { adapter, source } = await findAdapter("auto", true);
    const { name } = adapterFacts(adapter);
    return adapters.find((a) => a.source === source && a.facts?.name === name)?.number;
  } catch {
    return undefined;
  }
}

function problemOf(e: unknown): string {
  if (e instanceof InputError) return e.diagnostics.map((d) => d.message).join("; ");
  return e instanceof Error ? e.message : String(e);
}

// ---- the machine ----------------------------------------------------------------------------------------------------

/** `Debian GNU/Linux 12 (bookworm)`, on systems that say so. */
function distribution(): string | undefined {
  return osRelease()["PRETTY_NAME"];
}

function osRelease(): Readonly<Record<string, string>> {
  try {
    const lines = readFileSync("/etc/os-release", "utf8").matchAll(/^(\w+)=(?:"(.*)"|(.*))$/gm);
    return Object.fromEntries([...lines].map(([, name, quoted, plain]) => [name!, quoted ?? plain!]));
  } catch {
    return {};
  }
}

function folderSize(folder: string): DoctorReport["cache"] {
  let bytes = 0;
  let files = 0;
  const walk = (at: string): void => {
    for (const e of readdirSync(at, { withFileTypes: true })) {
      if (e.isDirectory()) walk(join(at, e.name));
      else if (e.isFile()) {
        bytes += statSync(join(at, e.name)).size;
        files++;
      }
    }
  };
  try {
    walk(folder);
  } catch {
    // Not there yet, or in use by another process that is clearing it.
  }
  return { folder, bytes, files };
}

// ---- advice ---------------------------------------------------------------------------------------------------------

type Facts = Omit<DoctorReport, "advice">;

function advise(r: Facts): readonly string[] {
  const hardware = r.adapters.some((a) => a.facts && !a.facts.software);
  if (hardware) return [];
  const advice = [...(r.adapters.some((a) => a.facts) ? [] : cannotStart(r))];
  if (platform() !== "linux") return [...advice, ...elsewhere()];
  if (r.system.gpus.length > 0) advice.push(...gpuDriver(r.system.gpus[0]!));
  const lavapipe = r.adapters.some((a) => a.facts?.vendor === "mesa");
  const hidden = installedDrivers().filter((d) => !systemDrivers().includes(d));
  if (hidden.length > 0)
    advice.push(`VK_DRIVER_FILES or VK_ICD_FILENAMES hides drivers that are installed: ${hidden.join(", ")}`);
  else if (!lavapipe) advice.push(...installLavapipe(r.system.drivers.some((d) => /lvp/.test(d))));
  return advice;
}

function cannotStart(r: Facts): readonly string[] {
  if (r.system.packages["webgpu"] === undefined)
    return ["the package webgpu (Dawn) is not installed: run npm install again, without --omit"];
  const problem = embeddedDriver();
  return [
    "Dawn starts on no adapter here, so nothing can run on this machine yet",
    ...("problem" in problem ? [problem.problem] : []),
  ];
}

function gpuDriver(file: string): readonly string[] {
  if (file.includes("nvidia"))
    return [
      "there is an NVIDIA GPU but no Vulkan driver: install NVIDIA's driver with its Vulkan library (in a container, NVIDIA_DRIVER_CAPABILITIES must contain graphics)",
    ];
  if (file.includes("dxg"))
    return ["under WSL, Mesa's dzn driver (package mesa-vulkan-drivers) makes the GPU of Windows usable"];
  return [
    "there is a GPU but no Vulkan driver: install mesa-vulkan-drivers (Debian, Ubuntu, Fedora) or vulkan-radeon or vulkan-intel (Arch), and let this user read /dev/dri",
  ];
}

function installLavapipe(tooOld: boolean): readonly string[] {
  const { ID: id = "", ID_LIKE: like = "", VERSION_ID: version = "" } = osRelease();
  const gain = "Mesa's lavapipe is 4 to 12 times faster than the embedded driver";
  if (id === "debian" && version === "12")
    return [
      `${gain}; Debian 12's own (22.3) is too old: enable bookworm-backports, then apt-get install -t bookworm-backports mesa-vulkan-drivers (tools/install-lavapipe.sh does both)`,
    ];
  const old = tooOld ? "; Dawn does not accept the one installed, a newer Mesa is needed" : "";
  const family = `${id} ${like}`;
  if (/debian|ubuntu/.test(family)) return [`${gain}: apt-get install mesa-vulkan-drivers${old}`];
  if (/fedora|rhel|centos/.test(family)) return [`${gain}: dnf install mesa-vulkan-drivers${old}`];
  if (/arch/.test(family)) return [`${gain}: pacman -S vulkan-swrast${old}`];
  if (/alpine/.test(family))
    return ["Alpine's C library cannot load Dawn: use an image with glibc, such as node:20-slim"];
  if (/suse/.test(family)) return [`${gain}: zypper install libvulkan_lvp${old}`];
  return [`${gain}: install Mesa's Vulkan drivers${old}`];
}

function elsewhere(): readonly string[] {
  if (platform() === "darwin")
    return ["macOS needs no driver; Metal works from macOS 11 on, outside of virtual machines without a GPU"];
  if (platform() === "win32")
    return ["install the GPU vendor's driver; D3D12 is part of Windows 10 and later"];
  return [`Dawn has no build for ${platform()} ${arch()}`];
}

// ---- text -----------------------------------------------------------------------------------------------------------

export function showDoctor(r: DoctorReport): string {
  const { system, cache } = r;
  const versions = Object.entries(system.packages).map(([n, v]) => `${n} ${v ?? "missing"}`);
  const environment = Object.entries(system.environment).map(([n, v]) => `${n}=${v}`);
  return [
    `system    ${system.os}`,
    `node      ${system.node}, ${versions.join(", ")}`,
    ...(environment.length > 0 ? [`set       ${environment.join(" ")}`] : []),
    ...(system.drivers.length > 0 ? [`vulkan    ${system.drivers.join("\n          ")}`] : []),
    ...(system.gpus.length > 0 ? [`gpu       ${system.gpus.join(", ")}`] : []),
    `cache     ${cache.folder}, ${cache.files === 0 ? "empty" : `${showBytes(cache.bytes)} in ${cache.files} files`}`,
    `toggles   on: ${r.toggles.safe.on.join(", ")}; off: ${r.toggles.safe.off.join(", ")}`,
    `  fast    on: ${r.toggles.fast.on.join(", ")}; off: ${r.toggles.fast.off.join(", ")}`,
    "",
    ...(r.adapters.length === 0 ? ["no adapters"] : r.adapters.flatMap((a) => showAdapter(a, r.auto))),
    ...(r.adapters.some((a) => a.facts?.vendor === "mesa")
      ? ["", 'Dawn writes two "artificially reduced" warnings to stderr for this driver: they are harmless']
      : []),
    ...(r.advice.length > 0 ? ["", ...r.advice.map((a) => `advice: ${a}`)] : []),
  ].join("\n");
}

function showAdapter(a: DoctorAdapter, auto: number | undefined): readonly string[] {
  const head = `${a.number === auto ? "*" : " "} ${a.number}  ${a.name} (${a.source})`;
  if (!a.facts || !a.target) return [head, `       cannot be used: ${a.problem ?? "unknown reason"}`];
  const { facts, target } = a;
  const width = facts.subgroups
    ? facts.subgroups.least === facts.subgroups.most
      ? `${facts.subgroups.least}`
      : `${facts.subgroups.least} to ${facts.subgroups.most}`
    : "none";
  const limits = Object.entries(facts.limits).map(([name, n]) => `         ${name} ${n}`);
  return [
    head,
    `       driver        ${facts.driver || "not told"}`,
    `       vendor        ${facts.vendor || "not told"}, architecture ${facts.architecture || "not told"}${facts.software ? ", computes on the processor" : ""}`,
    `       target        ${target.name}`,
    `       subgroups     ${width}`,
    `       used          ${target.features.join(", ") || "no optional features"}`,
    ...showMeasured(target.measured, a.constants ?? ""),
    `       features      ${facts.features.join(", ")}`,
    "       limits",
    ...limits,
  ];
}

function showMeasured(c: AdapterConstants, from: string): readonly string[] {
  const n = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toPrecision(3));
  const shader =
    c.shaderMilliseconds === undefined
      ? ""
      : `; a shader ${n(c.shaderMilliseconds)} ms and ${n(c.shaderMillisecondsPerKibibyte ?? 0)} a KiB`;
  return [
    `       constants     ${from}`,
    `                     matmul ${n(c.gflops)} GFLOP/s, copy ${n(c.gigabytesPerSecond)} GB/s, dispatch ${n(c.dispatchMicroseconds)} us, workgroup memory ${n(c.workgroupMemoryGain)} times as near${shader}`,
  ];
}
