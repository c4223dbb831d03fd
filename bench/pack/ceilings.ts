// What the adapter can do at most, by kernels written for nothing else: `ceilings.js --out FILE`.

import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { usage } from "../../src/runtime/buffers.ts";
import { createGpu } from "../../src/runtime/dawn-node.ts";
import { openDevice, stockDawn } from "../../src/runtime/device-node.ts";
import { Timer } from "../../src/runtime/timer.ts";
import { median } from "../compare.ts";

export interface CeilingRow {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

const smoke = process.env["TOKENLOOM_BENCH_SMOKE"] === "1";
const RUNS = 10;

const { values } = parseArgs({ options: { out: { type: "string" } } });
if (values.out === undefined) throw new Error("ceilings --out FILE");
const put = (name: string, value: number, unit: string): void => {
  console.log(`  ${name}: ${value.toPrecision(4)} ${unit}`);
  appendFileSync(values.out!, `${JSON.stringify({ kind: "ceiling", name, value, unit })}\n`);
};

const { device } = await openDevice();

/** Milliseconds of one dispatch among several in a pass. */
async function time(code: string, buffers: readonly GPUBuffer[], groups: number, count = 1): Promise<number> {
  const module = device.createShaderModule({ code });
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module, entryPoint: "main" },
  });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const times: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const timer = new Timer(device, 1);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass({ timestampWrites: timer.writes(0) });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < count; i++) pass.dispatchWorkgroups(groups);
    pass.end();
    timer.resolve(encoder);
    device.queue.submit([encoder.finish()]);
    times.push((await timer.read())[0]! / 1e6 / count);
    timer.destroy();
  }
  return median(times.slice(2));
}

const storage = (size: number): GPUBuffer =>
  device.createBuffer({ size, usage: usage.STORAGE | usage.COPY_DST });

async function bandwidth(): Promise<void> {
  const bytes = smoke ? 2 ** 20 : Math.min(2 ** 29, device.limits.maxStorageBufferBindingSize);
  const [from, to] = [storage(bytes), storage(bytes)];
  const vectors = bytes / 16;
  const groups = Math.min(vectors / 256, 65535);
  const code = `
    @group(0) @binding(0) var<storage, read> a: array<vec4f>;
    @group(0) @binding(1) var<storage, read_write> b: array<vec4f>;
    @compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
      for (var i = id.x; i < ${vectors}u; i += ${groups * 256}u) { b[i] = a[i]; }
    }`;
  const ms = await time(code, [from, to], groups);
  put("copy kernel, read plus written", (2 * bytes) / ms / 1e6, "GB/s");
  from.destroy();
  to.destroy();
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
  const ms = await time(code, [storage(1024)], groups);
  put(`multiply-adds in ${type}`, (2 * 4 * chains * steps * groups * 256) / ms / 1e9, "TFLOP/s");
}

async function dispatches(): Promise<void> {
  const code = `
    @group(0) @binding(0) var<storage, read_write> out: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { out[id.x] += 1u; }`;
  const ms = await time(code, [storage(256)], 1, smoke ? 10 : 1000);
  put("one more dispatch in a pass, each after the other", ms * 1e3, "microseconds");
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
