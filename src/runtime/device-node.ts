// Opens a GPU device in Node through Dawn: a real GPU where there is one, else the system's software driver, else the embedded one.
// The only file that loads `webgpu`, and it does so when asked.

import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { error, InputError } from "../support/diagnostic.ts";
import type { Target } from "../ir/target.ts";
import {
  adapterNames,
  createGpu,
  dawnFlags,
  installedDrivers,
  onlyDrivers,
  systemDrivers,
  withEnvironment,
  type DawnLibrary,
} from "./dawn-node.ts";
import { adapterFacts, requestDevice, targetOf, type AdapterFacts } from "./device.ts";
import { measuredHere } from "./adapter-files-node.ts";
import { embeddedDriver } from "./embedded-node.ts";

export interface DeviceChoice {
  /**
   * `auto`, `lavapipe`, `embedded`, part of an adapter's name, or its number in the list of `doctor`.
   * Default: the variable TOKENLOOM_DEVICE, then auto.
   */
  readonly device?: string | undefined;
  /** Leave Dawn's checks on (default). Without them a wrong kernel may read or crash what it likes. */
  readonly safe?: boolean | undefined;
  /** Throw where the adapter lacks one of these. */
  readonly features?: readonly string[] | undefined;
}

export interface OpenedDevice {
  readonly device: GPUDevice;
  readonly name: string;
  /** No GPU: a driver that computes on the processor. */
  readonly software: boolean;
  readonly source: AdapterSource;
  readonly info: AdapterFacts;
  readonly target: Target;
  /** For the reader, before any result. */
  readonly warnings: readonly string[];
  /** Another device of the same adapter, after a loss. */
  reopen(): Promise<GPUDevice>;
}

/** Whose driver it is: one of this system, or the one that came with the package. */
export type AdapterSource = "system" | "embedded";

/** An adapter, and how to ask for it again. */
export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly gpu: GPU;
  readonly source: AdapterSource;
}

export const embeddedName = "SwiftShader Device (Subzero)";

export async function openDevice(choice: DeviceChoice = {}): Promise<OpenedDevice> {
  const wanted = choice.device ?? (process.env["TOKENLOOM_DEVICE"] || "auto");
  const found = await findAdapter(wanted, choice.safe ?? true);
  const info = adapterFacts(found.adapter);
  const missing = (choice.features ?? []).filter((f) => !found.adapter.features.has(f));
  if (missing.length > 0) throw noDevice(wanted, `${info.name} has no ${missing.join(", ")}`);
  const { target, warnings } = measuredHere(targetOf(found.adapter), info);
  return {
    device: await requestDevice(found.adapter),
    name: info.name,
    software: info.software,
    source: found.source,
    info,
    target,
    warnings: [...warnings, ...warningsFor(info, found.source)],
    async reopen() {
      const again = await found.gpu.requestAdapter(highPerformance);
      if (!again) throw noDevice(wanted, "the adapter is gone");
      return requestDevice(again);
    },
  };
}

const highPerformance: GPURequestAdapterOptions = { powerPreference: "high-performance" };

/** Instances by what was asked for: a second one of the same kind would cost start-up time and show nothing else. */
const instances = new Map<string, { readonly gpu: GPU; readonly source: AdapterSource }>();

export async function findAdapter(wanted: string, safe: boolean): Promise<FoundAdapter> {
  const key = `${wanted} ${safe}`;
  const known = instances.get(key);
  const again = known && (await known.gpu.requestAdapter(highPerformance));
  if (again) return { ...known, adapter: again };
  const flags = dawnFlags({ safe });
  const found = await choose(wanted, flags);
  instances.set(key, found);
  return found;
}

async function choose(wanted: string, flags: readonly string[]): Promise<FoundAdapter> {
  switch (wanted) {
    case "auto":
      return (await systemAdapter(flags)) ?? (await embeddedAdapter(wanted, flags));
    case "embedded":
      return embeddedAdapter(wanted, flags);
    case "lavapipe":
      return lavapipeAdapter(flags);
    default:
      return namedAdapter(wanted, flags);
  }
}

// ---- drivers of this system -----------------------------------------------------------------------------------------

/** Dawn as the package ships it, which uses the system's Vulkan, Metal or D3D12; undefined where it cannot be loaded. */
export async function stockDawn(): Promise<DawnLibrary | undefined> {
  // Without any driver file the Vulkan loader only writes complaints to stderr.
  if (process.platform === "linux" && systemDrivers().length === 0 && installedDrivers().length === 0)
    return undefined;
  try {
    return (await import("webgpu")) as unknown as DawnLibrary;
  } catch {
    // No build for this system, or a library it needs is missing.
    return undefined;
  }
}

async function systemAdapter(
  flags: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = {},
): Promise<FoundAdapter | undefined> {
  if (process.platform === "linux" && !("VK_DRIVER_FILES" in environment) && systemDrivers().length === 0)
    return undefined;
  const dawn = await stockDawn();
  if (!dawn) return undefined;
  return withEnvironment(environment, () => request(dawn, flags, "system"));
}

async function request(
  dawn: DawnLibrary,
  flags: readonly string[],
  source: AdapterSource,
): Promise<FoundAdapter | undefined> {
  try {
    const gpu = createGpu(dawn, flags);
    const adapter = await gpu.requestAdapter(highPerformance);
    return adapter ? { adapter, gpu, source } : undefined;
  } catch {
    return undefined;
  }
}

async function lavapipeAdapter(flags: readonly string[]): Promise<FoundAdapter> {
  // Where the environment chose another driver, this choice is the later one.
  const files = [...systemDrivers(), ...installedDrivers()]
    .filter((f) => /lvp[^/]*\.json$/.test(f))
    .slice(0, 1);
  if (files.length === 0) throw noDevice("lavapipe", "Mesa's lavapipe is not installed");
  const found = await systemAdapter(flags, onlyDrivers(files));
  if (found) return found;
  throw noDevice(
    "lavapipe",
    "Dawn does not accept it: libvulkan1 is missing, or Mesa is too old (22.3 is, 25.0 works)",
  );
}

// ---- the embedded driver --------------------------------------------------------------------------------------------

async function embeddedAdapter(wanted: string, flags: readonly string[]): Promise<FoundAdapter> {
  const driver = embeddedDriver();
  if ("problem" in driver) throw noDevice(wanted, driver.problem);
  let dawn: DawnLibrary;
  try {
    dawn = createRequire(import.meta.url)(driver.dawn) as DawnLibrary;
  } catch (e) {
    throw noDevice(wanted, `the embedded driver does not load: ${(e as Error).message}`);
  }
  const found = await withEnvironment(onlyDrivers([driver.icd]), () => request(dawn, flags, "embedded"));
  // In a worker thread process.env is a copy that libraries do not see.
  if (!found || found.adapter.info.vendor !== "google")
    throw noDevice(
      wanted,
      "the embedded driver did not start; in a worker thread, start the worker with SHARE_ENV",
    );
  return found;
}

// ---- by name or number ----------------------------------------------------------------------------------------------

export interface ListedAdapter {
  readonly name: string;
  readonly source: AdapterSource;
}

/** All adapters, in the order of their numbers: those of this system, then the embedded one. */
export async function listAdapters(): Promise<readonly ListedAdapter[]> {
  const dawn = systemDrivers().length > 0 || process.platform !== "linux" ? await stockDawn() : undefined;
  const names = dawn ? await withEnvironment({}, () => adapterNames(dawn)) : [];
  const embedded = process.platform === "linux" && process.arch === "x64";
  return [
    ...names.map((name) => ({ name, source: "system" as const })),
    ...(embedded ? [{ name: embeddedName, source: "embedded" as const }] : []),
  ];
}

async function namedAdapter(wanted: string, flags: readonly string[]): Promise<FoundAdapter> {
  const all = await listAdapters();
  const chosen = /^\d+$/.test(wanted)
    ? all[Number(wanted)]
    : all.find((a) => a.name.toLowerCase().includes(wanted.toLowerCase()));
  if (chosen?.source === "embedded") return embeddedAdapter(wanted, flags);
  const found = chosen && (await systemAdapter([...flags, `adapter=${chosen.name}`]));
  if (found) return found;
  const list = all.map((a, i) => `${i} ${a.name}`).join(", ");
  throw noDevice(
    wanted,
    chosen ? "Dawn does not accept it" : "none has that name",
    `there are: ${list || "none"}`,
  );
}

// ---- words ----------------------------------------------------------------------------------------------------------

function noDevice(wanted: string, reason: string, help?: string): InputError {
  const message =
    wanted === "auto" ? `no GPU adapter: ${reason}` : `no adapter for device ${wanted}: ${reason}`;
  return new InputError([
    error("no-device", message, {
      help: help ?? "`tokenloom doctor` says what this machine has and what to install",
    }),
  ]);
}

function warningsFor(info: AdapterFacts, source: AdapterSource): readonly string[] {
  if (!info.software) return [];
  const warnings = [`${info.name} computes on the processor: this is not a GPU`];
  if (gpuFiles().length > 0)
    warnings.push(
      `this machine has a GPU (${gpuFiles()[0]!}) but no Vulkan driver for it: see \`tokenloom doctor\``,
    );
  else if (source === "embedded")
    warnings.push(
      "Mesa's lavapipe would be 4 to 12 times faster than the embedded driver: see `tokenloom doctor`",
    );
  return warnings;
}

/** Device files of GPUs on Linux. */
export function gpuFiles(): readonly string[] {
  return ["/dev/nvidia0", "/dev/dri/renderD128", "/dev/dxg", "/dev/kfd"].filter((f) => existsSync(f));
}
