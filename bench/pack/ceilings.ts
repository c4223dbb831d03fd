// What the adapter can do at most, by kernels written for nothing else: `ceilings.js --out FILE`.

import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createGpu } from "../../src/runtime/dawn-node.ts";
import { openDevice, stockDawn } from "../../src/runtime/device-node.ts";
import { copyBandwidth, dispatchCost, storageBuffer, timeKernel } from "../../src/runtime/microbench.ts";

export interface CeilingRow {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

const smoke = process.env["TOKENLOOM_BENCH_SMOKE"] === "1";
const RUNS = 8;

const { values } = parseArgs({ options: { out: { type: "string" } } });
if (values.out === undefined) throw new Error("ceilings --out FILE");
const put = (name: string, value: number, unit: string): void => {
  console.log(`  ${name}: ${value.toPrecision(4)} ${unit}`);
  appendFileSync(values.out!, `${JSON.stringify({ kind: "ceiling", name, value, unit })}\n`);
};

const { device } = await openDevice();

const time = (code: string, buffers: readonly GPUBuffer[], groups: number): Promise<number> =>
  timeKernel(device, { code, buffers, groups, runs: RUNS });

async function bandwidth(): Promise<void> {
  const bytes = smoke ? 2 ** 20 : Math.min(2 ** 29, device.limits.maxStorageBufferBindingSize);
  put("copy kernel, read plus written", await copyBandwidth(device, bytes, RUNS), "GB/s");
}

/** Chains of multiply-adds that depend on nothing but themselves. */
async function arithmetic(type: "f32" | "f16"): Promise<void> {
  const steps = smoke ? 16 : 2048;
  const groups = smoke ? 8 : 132 * 32;
  const chains = 8;
  const each = (text: (i: number) => string): string =>
    Array.from({ length: chains }, (_, i) => text(i)).join(" ");
  const code = `${type === "f16" ? "enable f16;" : ""}
    @group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
    @compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
      let m = vec4<${type}>(${type}(0.5));
      let c = vec4<${type}>(${type}(id.x % 7u));
      ${each((i) => `var x${i} = c + ${type}(${i});`)}
      for (var k = 0u; k < ${steps}u; k++) { ${each((i) => `x${i} = fma(x${i}, m, c);`)} }
      out[id.x % 64u] = vec4<f32>(${Array.from({ length: chains }, (_, i) => `x${i}`).join(" + ")});
    }`;
  const ms = await time(code, [storageBuffer(device, 1024)], groups);
  put(`multiply-adds in ${type}`, (2 * 4 * chains * steps * groups * 256) / ms / 1e9, "TFLOP/s");
}

async function dispatches(): Promise<void> {
  const microseconds = await dispatchCost(device, smoke ? 10 : 1000, RUNS);
  put("one more dispatch in a pass, each after the other", microseconds, "microseconds");
}

/** An experimental feature of Dawn: products of small matrices by a whole subgroup. */
async function subgroupMatrices(): Promise<void> {
  const dawn = await stockDawn();
  const adapter =
    dawn && (await createGpu(dawn, ["enable-dawn-features=allow_unsafe_apis"]).requestAdapter());
  if (!adapter) return;
  const info = adapter.info as GPUAdapterInfo & { readonly subgroupMatrixConfigs?: Iterable<object> };
  const record = {
    features: [...adapter.features].sort(),
    subgroupMatrixConfigs: [...(info.subgroupMatrixConfigs ?? [])].map((c) => {
      const said: Record<string, unknown> = {};
      for (const key of ["componentType", "resultComponentType", "M", "N", "K"])
        said[key] = (c as Record<string, unknown>)[key];
      return said;
    }),
  };
  console.log(`  with experimental features: ${JSON.stringify(record)}`);
}

for (const measure of [
  bandwidth,
  () => arithmetic("f32"),
  () => arithmetic("f16"),
  dispatches,
  subgroupMatrices,
])
  await measure().catch((e: unknown) => console.log(`  ${e instanceof Error ? e.message : String(e)}`));
process.exit(0);
