// What the compiler knows of the adapter: an explicit input of compilation, printed in the plan. Pure data (JSON).

export interface Target {
  /** `baseline`, `lavapipe`, `swiftshader`, or made from an adapter by `tokenloom doctor --json`. */
  readonly name: string;
  /** Which adapter exactly, with its driver: what was tuned on it is kept by this. Absent where the target is none. */
  readonly adapter?: string;
  readonly features: readonly ("shader-f16" | "subgroups" | "timestamp-query")[];
  /** Fixed subgroup width; 0 where there are none or the width varies. */
  readonly subgroupSize: number;
  readonly limits: TargetLimits;
  /** What cost models count with: of a built-in target, or measured here by `tokenloom tune-device`. */
  readonly measured: AdapterConstants;
}

/** How fast an adapter is, for every choice between ways to compute the same. */
export interface AdapterConstants {
  /** f32 matmul, GFLOP/s. */
  readonly gflops: number;
  /** Copy through a kernel, GB/s read plus written. */
  readonly gigabytesPerSecond: number;
  /** One more dispatch in a pass, microseconds. */
  readonly dispatchMicroseconds: number;
  /** What a dispatch takes longer whose grid is read from a buffer, microseconds; absent where that is not measured: then none is. */
  readonly indirectMicroseconds?: number;
  /** How many times faster workgroup memory is read than a buffer in cache; 1 where both are the same memory. */
  readonly workgroupMemoryGain: number;
  /** From the text of the smallest shader to its first result, and more for each KiB of WGSL, milliseconds. */
  readonly shaderMilliseconds?: number;
  readonly shaderMillisecondsPerKibibyte?: number;
  /** Of the tiles of contractions (codegen/tile-cost.ts), in place of its defaults. */
  readonly tiles?: TileConstants;
  /** Of the ways to compute routed experts (passes/expert-cost.ts), in place of its defaults. */
  readonly experts?: ExpertConstants;
}

/** Of a tile of rows that have one expert. */
export interface ExpertConstants {
  /** At which it reads the weights of its expert, GB/s. */
  readonly gigabytesPerSecond: number;
  /** At which its rows are multiplied, GFLOP/s. */
  readonly gflops: number;
  /** Rows whose sums stay where they are computed; each beyond them takes as long as two. */
  readonly rows: number;
  /** How many times as long a row takes where every expert computes every token. */
  readonly dense: number;
}

/** Times in cycles of one multiply-add of all lanes of a core. */
export interface TileConstants {
  /** Cores that run workgroups at the same time, and multiply-adds of one in a cycle. */
  readonly cores: number;
  readonly lanes: number;
  readonly cyclesPerMicrosecond: number;
  /** Beginning a workgroup. */
  readonly workgroup: number;
  /** From one slab to the next: the read from a buffer, and two barriers. */
  readonly slab: number;
  /** Of every step: what a subgroup waits for workgroup memory, shared by the subgroups that a core has to choose from. */
  readonly step: number;
  /** Reading one value from workgroup memory, of a multiply-add; and one from a buffer. */
  readonly near: number;
  readonly far: number;
}

export interface TargetLimits {
  readonly maxStorageBuffersPerShaderStage: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxBufferSize: number;
  readonly maxComputeWorkgroupStorageSize: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupSizeX: number;
  readonly maxComputeWorkgroupsPerDimension: number;
  readonly minStorageBufferOffsetAlignment: number;
  readonly minUniformBufferOffsetAlignment: number;
}

/** A software adapter: one core runs a workgroup, a subgroup at a time, and workgroup memory is memory like any other. */
export function runsOnCores(target: Target): boolean {
  return target.measured.workgroupMemoryGain <= 1;
}

/** WebGPU's default limits: what every adapter has. */
export const defaultLimits: TargetLimits = {
  maxStorageBuffersPerShaderStage: 8,
  maxStorageBufferBindingSize: 134217728,
  maxBufferSize: 268435456,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
  minStorageBufferOffsetAlignment: 256,
  minUniformBufferOffsetAlignment: 256,
};

/** Any adapter at all, taken for a GPU: its figures are assumed, not measured. Goldens are made for it. */
export const baseline: Target = {
  name: "baseline",
  features: [],
  subgroupSize: 0,
  limits: defaultLimits,
  measured: { gflops: 100, gigabytesPerSecond: 50, dispatchMicroseconds: 5, workgroupMemoryGain: 4 },
};

/** What a millisecond of compilation counts, of one of a run: a kernel is worth its shader where it gains that in 100 runs. */
export const defaultFirstRunWeight = 0.01;

/** Mesa's software rasteriser on two cores with AVX-512. */
export const lavapipe: Target = {
  name: "lavapipe",
  features: ["shader-f16", "subgroups", "timestamp-query"],
  subgroupSize: 8,
  limits: {
    ...defaultLimits,
    maxStorageBuffersPerShaderStage: 16,
    maxBufferSize: 4294967295,
    maxComputeWorkgroupStorageSize: 32768,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupSizeX: 1024,
  },
  measured: {
    ...{ gflops: 27, gigabytesPerSecond: 4, dispatchMicroseconds: 17, workgroupMemoryGain: 1 },
    ...{ indirectMicroseconds: 20, shaderMilliseconds: 200, shaderMillisecondsPerKibibyte: 350 },
  },
};

/** The embedded software adapter of machines without Vulkan. */
export const swiftshader: Target = {
  name: "swiftshader",
  features: ["subgroups", "timestamp-query"],
  subgroupSize: 4,
  limits: {
    ...defaultLimits,
    maxStorageBuffersPerShaderStage: 12,
    maxStorageBufferBindingSize: 1073741824,
    maxBufferSize: 1073741820,
    maxComputeWorkgroupStorageSize: 32768,
  },
  measured: { gflops: 2.2, gigabytesPerSecond: 2, dispatchMicroseconds: 30, workgroupMemoryGain: 1 },
};

export const builtinTargets: readonly Target[] = [baseline, lavapipe, swiftshader];

/** What is wrong with a record that was read: `has no limit maxBufferSize`. */
export function checkTarget(data: unknown): readonly string[] {
  if (typeof data !== "object" || data === null) return ["is no object"];
  const t = data as Readonly<Record<string, unknown>>;
  const found: string[] = [];
  if (typeof t["name"] !== "string" || t["name"].length > 1000) found.push("has no name");
  const adapter = t["adapter"];
  if (adapter !== undefined && (typeof adapter !== "string" || adapter.length > 1000))
    found.push("has an adapter that is no text");
  const features = t["features"];
  const known: readonly unknown[] = ["shader-f16", "subgroups", "timestamp-query"];
  if (!Array.isArray(features) || !features.every((f) => known.includes(f)))
    found.push(`has features other than ${known.join(", ")}`);
  if (!isAmount(t["subgroupSize"])) found.push("has no subgroupSize");
  for (const group of ["limits", "measured"] as const) {
    const numbers = recordOf(t[group]);
    for (const name of Object.keys(baseline[group]))
      if (!isAmount(numbers[name])) found.push(`has no ${group}.${name}`);
  }
  return [...found, ...checkOptionalConstants(recordOf(t["measured"]))];
}

const tileNames = [
  "cores",
  "lanes",
  "cyclesPerMicrosecond",
  "workgroup",
  "slab",
  "step",
  "near",
  "far",
] as const satisfies readonly (keyof TileConstants)[];

function checkOptionalConstants(measured: Readonly<Record<string, unknown>>): readonly string[] {
  const found: string[] = [];
  for (const name of ["indirectMicroseconds", "shaderMilliseconds", "shaderMillisecondsPerKibibyte"])
    if (measured[name] !== undefined && !isAmount(measured[name]))
      found.push(`has measured.${name}, which is no amount`);
  const experts = recordOf(measured["experts"]);
  if (measured["experts"] !== undefined)
    for (const name of ["gigabytesPerSecond", "gflops", "rows", "dense"])
      if (!isAmount(experts[name]) || experts[name] === 0) found.push(`has no measured.experts.${name}`);
  if (measured["tiles"] === undefined) return found;
  const tiles = recordOf(measured["tiles"]);
  for (const name of tileNames) if (!isAmount(tiles[name])) found.push(`has no measured.tiles.${name}`);
  for (const name of ["cores", "lanes", "cyclesPerMicrosecond"])
    if (tiles[name] === 0) found.push(`has 0 for measured.tiles.${name}`);
  return found;
}

function recordOf(x: unknown): Readonly<Record<string, unknown>> {
  return typeof x === "object" && x !== null ? (x as Readonly<Record<string, unknown>>) : {};
}

/** What is wrong with constants that were read, as of `checkTarget`. */
export function checkConstants(data: unknown): readonly string[] {
  return checkTarget({ ...baseline, measured: data });
}

function isAmount(x: unknown): boolean {
  return typeof x === "number" && Number.isFinite(x) && x >= 0;
}
