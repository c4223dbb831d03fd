// What an adapter says of itself, as compilation and sessions need it. Plain WebGPU: the same in Node and in a browser.

import { baseline, builtinTargets, lavapipe, swiftshader, type Target } from "../ir/target.ts";

/** Features that some kernel or measurement uses. */
export const usefulFeatures = ["shader-f16", "subgroups", "timestamp-query"] as const;

/** Beyond those of a target: limits of the plan's workgroups and uniform blocks. */
const otherLimits = [
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxUniformBufferBindingSize",
] as const;
const limitNames = Object.keys(baseline.limits) as readonly (keyof Target["limits"])[];

export interface AdapterFacts {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** The driver's own text: its name and version. */
  readonly driver: string;
  /** It computes on the processor. */
  readonly software: boolean;
  readonly subgroups: { readonly least: number; readonly most: number } | undefined;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

export function adapterFacts(adapter: GPUAdapter): AdapterFacts {
  const { vendor, architecture, device, description } = adapter.info;
  const { subgroupMinSize: least = 0, subgroupMaxSize: most = 0 } = adapter.info;
  return {
    name: description || device || `${vendor} ${architecture}`.trim() || "unnamed adapter",
    vendor,
    architecture,
    device,
    driver: description,
    software: isSoftware(adapter.info),
    subgroups: least > 0 && most > 0 ? { least, most } : undefined,
    features: [...adapter.features].sort(),
    limits: readLimits(adapter, [...limitNames, ...otherLimits]),
  };
}

function isSoftware(info: GPUAdapterInfo): boolean {
  const text = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`;
  return (
    info.isFallbackAdapter ||
    /software|swiftshader|llvmpipe|lavapipe|softpipe|\bwarp\b|basic render/i.test(text)
  );
}

function readLimits(
  adapter: GPUAdapter,
  names: readonly (keyof GPUSupportedLimits)[],
): Record<string, number> {
  return Object.fromEntries(names.map((l) => [l, adapter.limits[l] as number]));
}

function featuresOf(adapter: GPUAdapter): readonly (typeof usefulFeatures)[number][] {
  return usefulFeatures.filter((f) => adapter.features.has(f));
}

/** A device with all of the adapter that we can use. An adapter makes one device. */
export function requestDevice(adapter: GPUAdapter, label = "tokenloom"): Promise<GPUDevice> {
  return adapter.requestDevice({
    label,
    requiredFeatures: [...featuresOf(adapter)],
    requiredLimits: readLimits(adapter, [...limitNames, ...otherLimits]),
  });
}

/** What compilation may rely on. Adapters that were measured bring their figures; of others only limits and features are known. */
export function targetOf(adapter: GPUAdapter): Target {
  const { vendor, architecture, subgroupMinSize = 0, subgroupMaxSize = 0 } = adapter.info;
  const known = measuredTarget(vendor, architecture);
  const features = featuresOf(adapter);
  const fixed = features.includes("subgroups") && subgroupMinSize === subgroupMaxSize;
  return {
    name: known?.name ?? (slug(`${vendor} ${architecture}`) || "unknown"),
    features,
    subgroupSize: fixed ? subgroupMinSize : 0,
    limits: readLimits(adapter, limitNames) as unknown as Target["limits"],
    measured: (known ?? baseline).measured,
  };
}

function measuredTarget(vendor: string, architecture: string): Target | undefined {
  if (vendor === "mesa" && architecture === "software") return lavapipe;
  if (vendor === "google" && architecture === "swiftshader") return swiftshader;
  const name = slug(`${vendor} ${architecture}`);
  return builtinTargets.find((t) => t.name === name);
}

/** `NVIDIA Hopper` -> `nvidia-hopper`: a name for files and command lines. */
function slug(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}
