// Opens a GPU device in Node through Dawn: a real GPU where there is one, else the system's software driver, else the embedded one.
// The only file that loads `webgpu`, and it does so when asked.

import { createRequire } from "node:module";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { error, InputError } from "../support/diagnostic.ts";
import { baseline, lavapipe, swiftshader, type Target } from "../ir/target.ts";
import { embeddedDriver } from "./embedded-node.ts";

export interface DeviceChoice {
  /** `auto`, `embedded`, `lavapipe`, or part of an adapter's name. Default: the variable TOKENLOOM_DEVICE, then auto. */
  readonly device?: string;
}

export interface OpenedDevice {
  readonly device: GPUDevice;
  readonly name: string;
  /** No GPU: a driver that computes on the processor. */
  readonly software: boolean;
  readonly source: "system" | "embedded";
  readonly target: Target;
  readonly info: { readonly vendor: string; readonly architecture: string; readonly description: string };
  readonly warnings: readonly string[];
  /** Another device of the same adapter, after a loss. */
  reopen(): Promise<GPUDevice>;
}

interface Dawn {
  create(flags: string[]): GPU;
  readonly globals: object;
}

/**
 * Whatever `create` returned must stay referenced as long as any device lives, or the process dies at the next asynchronous step.
 */
const kept: GPU[] = [];

/** Toggles: Dawn hides f16 on NVIDIA under Linux unless told. */
export const toggles = ["enable-dawn-features=vulkan_enable_f16_on_nvidia"];

const icdFolders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/** ICD files of Vulkan drivers on this system. */
export function systemDrivers(): readonly string[] {
  const given = process.env["VK_DRIVER_FILES"] ?? process.env["VK_ICD_FILENAMES"];
  if (given) return given.split(":").filter((f) => existsSync(f));
  return icdFolders.flatMap((d) =>
    existsSync(d)
      ? readdirSync(d)
          .filter((f) => f.endsWith(".json"))
          .map((f) => join(d, f))
      : [],
  );
}

const chosen = new Map<string, Promise<{ gpu: GPU; source: OpenedDevice["source"] }>>();

export async function openDevice(choice: DeviceChoice = {}): Promise<OpenedDevice> {
  const wanted = choice.device ?? process.env["TOKENLOOM_DEVICE"] ?? "auto";
  // The loader writes to stderr where this is unset.
  process.env["XDG_RUNTIME_DIR"] ??= tmpdir();
  const { gpu, source } = await gpuFor(wanted);
  return open(gpu, source, wanted);
}

/** The environment chooses the driver before Dawn starts, so one process uses one set of drivers. */
async function gpuFor(wanted: string): Promise<{ gpu: GPU; source: OpenedDevice["source"] }> {
  const known = chosen.get(wanted);
  if (known) return known;
  const made = findGpu(wanted);
  chosen.set(wanted, made);
  return made;
}

async function findGpu(wanted: string): Promise<{ gpu: GPU; source: OpenedDevice["source"] }> {
  if (wanted !== "embedded") {
    const drivers = systemDrivers();
    const only = wanted === "lavapipe" ? drivers.filter((f) => /lvp/.test(f)) : drivers;
    if (only.length > 0 || process.platform !== "linux") {
      if (wanted === "lavapipe") process.env["VK_DRIVER_FILES"] = only.join(":");
      const gpu = start((await import("webgpu")) as unknown as Dawn);
      if (gpu && (await gpu.requestAdapter())) return { gpu, source: "system" };
    }
    if (wanted !== "auto")
      throw noDevice(
        wanted,
        drivers.length === 0 ? "this system has no Vulkan driver" : "Dawn accepts none of its drivers",
      );
  }
  const driver = await embeddedDriver();
  if ("problem" in driver) throw noDevice(wanted, driver.problem);
  process.env["VK_DRIVER_FILES"] = driver.icd;
  process.env["VK_ICD_FILENAMES"] = driver.icd;
  const gpu = start(createRequire(import.meta.url)(driver.dawn) as Dawn);
  if (!gpu || !(await gpu.requestAdapter())) throw noDevice(wanted, "the embedded driver did not start");
  return { gpu, source: "embedded" };
}

function start(dawn: Dawn): GPU | undefined {
  try {
    const gpu = dawn.create([...toggles]);
    kept.push(gpu);
    return gpu;
  } catch {
    return undefined;
  }
}

function noDevice(wanted: string, reason: string): InputError {
  return new InputError([
    error(
      "no-device",
      wanted === "auto" ? `no GPU adapter: ${reason}` : `no adapter for --device ${wanted}: ${reason}`,
      {
        help: "`tokenloom doctor` says what this machine has and what to install",
      },
    ),
  ]);
}

async function open(gpu: GPU, source: OpenedDevice["source"], wanted: string): Promise<OpenedDevice> {
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw noDevice(wanted, "the adapter is gone");
  const { vendor, architecture, description, device: model } = adapter.info;
  const name = description || model || `${vendor} ${architecture}`;
  const known = ["auto", "embedded", "lavapipe"].includes(wanted);
  if (!known && !`${name} ${vendor} ${architecture}`.toLowerCase().includes(wanted.toLowerCase()))
    throw noDevice(wanted, `the adapter here is ${name}`);
  const software = /software|swiftshader|llvmpipe|lavapipe/i.test(`${name} ${architecture} ${vendor}`);
  const request = async (from: GPUAdapter): Promise<GPUDevice> =>
    from.requestDevice({ requiredFeatures: featuresOf(from), requiredLimits: limitsOf(from) });
  const device = await request(adapter);
  return {
    device,
    name,
    software,
    source,
    info: { vendor, architecture, description },
    target: targetOf(adapter),
    warnings: software ? [`${name} computes on the processor: this is not a GPU`] : [],
    async reopen() {
      const again = await gpu.requestAdapter({ powerPreference: "high-performance" });
      if (!again) throw noDevice(wanted, "the adapter is gone");
      return request(again);
    },
  };
}

const useful = ["shader-f16", "subgroups", "timestamp-query"] as const;

function featuresOf(adapter: GPUAdapter): GPUFeatureName[] {
  return useful.filter((f) => adapter.features.has(f)) as GPUFeatureName[];
}

const limitNames = Object.keys(baseline.limits) as (keyof Target["limits"])[];

function limitsOf(adapter: GPUAdapter): Record<string, number> {
  return Object.fromEntries(limitNames.map((l) => [l, adapter.limits[l]]));
}

/** What compilation may rely on, from what the adapter says of itself. */
export function targetOf(adapter: GPUAdapter): Target {
  const { vendor, architecture } = adapter.info;
  const info = adapter.info as GPUAdapterInfo & { subgroupMinSize?: number; subgroupMaxSize?: number };
  const known =
    vendor === "mesa" && architecture === "software"
      ? lavapipe
      : vendor === "google"
        ? swiftshader
        : baseline;
  const fixed = info.subgroupMinSize !== undefined && info.subgroupMinSize === info.subgroupMaxSize;
  return {
    name: known === baseline ? `${vendor}-${architecture}` : known.name,
    features: featuresOf(adapter) as Target["features"],
    subgroupSize: fixed && adapter.features.has("subgroups") ? info.subgroupMinSize! : 0,
    limits: limitsOf(adapter) as unknown as Target["limits"],
    measured: known.measured,
  };
}
