// Kernels written for nothing but to be timed: what an adapter does at most, or costs at least. Plain WebGPU.

import { median } from "../support/statistics.ts";
import { usage } from "./buffers.ts";
import { Timer } from "./timer.ts";
import { awaitDevice } from "./wait.ts";

export interface TimedKernel {
  readonly code: string;
  readonly buffers: readonly GPUBuffer[];
  readonly groups: number;
  /** Dispatches in the pass, one after the other. */
  readonly count?: number;
  /** Each reads from a buffer how many groups there are. */
  readonly indirect?: boolean;
  readonly runs: number;
}

/** Milliseconds of one dispatch: by timestamps where the device has them, else by the clock of the host. */
export async function timeKernel(device: GPUDevice, k: TimedKernel): Promise<number> {
  const { count = 1 } = k;
  const module = device.createShaderModule({ code: k.code });
  const compute = { module, entryPoint: "main" };
  const pipeline = await awaitDevice(device.createComputePipelineAsync({ layout: "auto", compute }));
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: k.buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const grid = k.indirect ? gridBuffer(device, k.groups) : undefined;
  const stamped = device.features.has("timestamp-query");
  const times: number[] = [];
  for (let run = 0; run < k.runs + 2; run++) {
    const timer = stamped ? new Timer(device, 1) : undefined;
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass(timer && { timestampWrites: timer.writes(0) });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < count; i++)
      if (grid) pass.dispatchWorkgroupsIndirect(grid, 0);
      else pass.dispatchWorkgroups(k.groups);
    pass.end();
    timer?.resolve(encoder);
    const start = performance.now();
    device.queue.submit([encoder.finish()]);
    if (timer) times.push((await timer.read())[0]! / 1e6 / count);
    else {
      await awaitDevice(device.queue.onSubmittedWorkDone());
      times.push((performance.now() - start) / count);
    }
    timer?.destroy();
  }
  grid?.destroy();
  // Two to warm up.
  return median(times.slice(2));
}

function gridBuffer(device: GPUDevice, groups: number): GPUBuffer {
  const buffer = device.createBuffer({ size: 12, usage: usage.INDIRECT | usage.COPY_DST });
  device.queue.writeBuffer(buffer, 0, Uint32Array.of(groups, 1, 1));
  return buffer;
}

export const storageBuffer = (device: GPUDevice, size: number): GPUBuffer =>
  device.createBuffer({ size, usage: usage.STORAGE | usage.COPY_DST });

/** GB/s read plus written, by a kernel that copies `bytes`. */
export async function copyBandwidth(device: GPUDevice, bytes: number, runs: number): Promise<number> {
  const [from, to] = [storageBuffer(device, bytes), storageBuffer(device, bytes)];
  const vectors = bytes / 16;
  const groups = Math.min(Math.ceil(vectors / 256), 65535);
  const code = `
    @group(0) @binding(0) var<storage, read> a: array<vec4f>;
    @group(0) @binding(1) var<storage, read_write> b: array<vec4f>;
    @compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
      for (var i = id.x; i < ${vectors}u; i += ${groups * 256}u) { b[i] = a[i]; }
    }`;
  const ms = await timeKernel(device, { code, buffers: [from, to], groups, runs });
  from.destroy();
  to.destroy();
  return (2 * bytes) / ms / 1e6;
}

/** Microseconds of one more dispatch in a pass, each after the other; `indirect`: of one that reads its grid from a buffer. */
export async function dispatchCost(
  device: GPUDevice,
  count: number,
  runs: number,
  indirect = false,
): Promise<number> {
  const buffer = storageBuffer(device, 256);
  const code = `
    @group(0) @binding(0) var<storage, read_write> out: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { out[id.x] += 1u; }`;
  const ms = await timeKernel(device, { code, buffers: [buffer], groups: 1, count, runs, indirect });
  buffer.destroy();
  return ms * 1e3;
}

/** How many times faster workgroup memory is read than a buffer of the same size. */
export async function workgroupGain(device: GPUDevice, groups: number, runs: number): Promise<number> {
  const buffers = [storageBuffer(device, 4096), storageBuffer(device, 4096)];
  const code = (near: boolean): string => `
    @group(0) @binding(0) var<storage, read> a: array<f32>;
    @group(0) @binding(1) var<storage, read_write> b: array<f32>;
    var<workgroup> s: array<f32, 1024>;
    @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) at: u32) {
      for (var i = at; i < 1024u; i += 64u) { s[i] = a[i]; }
      workgroupBarrier();
      var sum = 0f;
      var k = at;
      for (var i = 0u; i < 4096u; i++) { k = (k + 65u) & 1023u; sum += ${near ? "s" : "a"}[k]; }
      b[at] = sum + s[at];
    }`;
  const far = await timeKernel(device, { code: code(false), buffers, groups, runs });
  const near = await timeKernel(device, { code: code(true), buffers, groups, runs });
  for (const b of buffers) b.destroy();
  return far / near;
}
