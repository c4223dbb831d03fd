// Runs one kernel on the adapter there is, for comparison with the interpreter. Small on purpose: the product's runtime is
// src/runtime, and what it does (queues, arenas, caches) is not the subject here.

import { existsSync } from "node:fs";
import type { KernelBuffer } from "../../src/codegen/interpret.ts";
import { bindingLayout } from "../../src/codegen/wgsl/bindings.ts";
import { type WgslOptions, printWgsl } from "../../src/codegen/wgsl/print.ts";
import type { Kernel } from "../../src/ir/kernel.ts";
import { awaitDevice } from "../../src/runtime/wait.ts";

export interface DawnInput {
  readonly workgroups: readonly [number, number, number];
  readonly params: Readonly<Record<string, number>>;
  readonly buffers: Readonly<Record<string, KernelBuffer>>;
}

export interface Gpu {
  readonly device: GPUDevice;
  readonly hasHalf: boolean;
  readonly subgroupSize: number;
}

/** Dawn dies when this is collected before its devices are. */
let instance: GPU;
let opened: Promise<Gpu> | undefined;

/** Fails, rather than skips, where there is no adapter. */
export function gpu(): Promise<Gpu> {
  opened ??= open();
  return opened;
}

async function open(): Promise<Gpu> {
  const lavapipe = "/usr/share/vulkan/icd.d/lvp_icd.json";
  if (!process.env["VK_ICD_FILENAMES"] && existsSync(lavapipe)) process.env["VK_ICD_FILENAMES"] = lavapipe;
  process.env["XDG_RUNTIME_DIR"] ??= "/tmp";
  const webgpu = await import("webgpu");
  Object.assign(globalThis, webgpu.globals);
  instance = webgpu.create([]);
  const adapter = await instance.requestAdapter();
  if (!adapter) throw new Error("no WebGPU adapter: install a Vulkan driver, lavapipe for example");
  if (!adapter.features.has("subgroups"))
    throw new Error("the adapter has no subgroups, which these tests need");
  const hasHalf = adapter.features.has("shader-f16");
  const requiredFeatures: GPUFeatureName[] = ["subgroups", ...(hasHalf ? (["shader-f16"] as const) : [])];
  const device = await adapter.requestDevice({ requiredFeatures });
  const { subgroupMinSize, subgroupMaxSize } = adapter.info;
  if (!subgroupMinSize || subgroupMinSize !== subgroupMaxSize)
    throw new Error("the adapter's subgroups have no one size");
  return { device, hasHalf, subgroupSize: subgroupMinSize };
}

/** Messages of the shader compiler, empty when it accepts the text. */
export async function compileWgsl(code: string): Promise<{ module: GPUShaderModule; errors: string[] }> {
  const { device } = await gpu();
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  await device.popErrorScope();
  const errors = messages
    .filter((m) => m.type === "error")
    .map((m) => `${m.lineNum}:${m.linePos} ${m.message}`);
  return { module, errors };
}

/** The buffers after the kernel ran; those given are left alone. */
export async function runOnDawn(
  kernel: Kernel,
  input: DawnInput,
  options: WgslOptions = {},
): Promise<Record<string, KernelBuffer>> {
  const { device } = await gpu();
  const code = printWgsl(kernel, options);
  const { module, errors } = await compileWgsl(code);
  if (errors.length > 0) throw new Error(`${errors.join("\n")}\n${code}`);

  device.pushErrorScope("validation");
  const layout = bindingLayout(kernel);
  const made: GPUBuffer[] = [];
  const upload = (data: Uint8Array<ArrayBuffer>, usage: number): GPUBuffer => {
    const buffer = device.createBuffer({
      size: Math.max(16, Math.ceil(data.byteLength / 4) * 4),
      usage: usage | GPUBufferUsage.COPY_SRC,
      mappedAtCreation: true,
    });
    new Uint8Array(buffer.getMappedRange()).set(data);
    buffer.unmap();
    made.push(buffer);
    return buffer;
  };
  const layoutEntries: GPUBindGroupLayoutEntry[] = [];
  const entries: GPUBindGroupEntry[] = [];
  const bind = (binding: number, type: GPUBufferBindingType, buffer: GPUBuffer): void => {
    layoutEntries.push({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } });
    entries.push({ binding, resource: { buffer } });
  };

  // Live values lie in reverse order, so that a kernel must look where its word of the block says.
  const live = kernel.params.filter((p) => p.live).reverse();
  if (layout.params !== undefined) {
    const words = new DataView(new ArrayBuffer(layout.uniformBytes));
    for (const p of kernel.params) {
      const offset = layout.uniformOffsets[p.name]!;
      if (p.live) words.setUint32(offset, live.indexOf(p), true);
      else if (p.type.scalar === "f32") words.setFloat32(offset, input.params[p.name]!, true);
      else words.setInt32(offset, input.params[p.name]!, true);
    }
    bind(layout.params, "uniform", upload(new Uint8Array(words.buffer), GPUBufferUsage.UNIFORM));
  }
  if (layout.extents !== undefined) {
    const values = Uint32Array.from(live, (p) => input.params[p.name]!);
    bind(layout.extents, "read-only-storage", upload(new Uint8Array(values.buffer), GPUBufferUsage.STORAGE));
  }
  const storage = new Map<string, GPUBuffer>();
  for (const b of kernel.buffers) {
    const data = input.buffers[b.name]!;
    const bytes = new Uint8Array(data.byteLength);
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    const buffer = upload(bytes, GPUBufferUsage.STORAGE);
    const isRead = b.access === "read" && !options.buffersReadWrite?.includes(b.name);
    bind(layout.buffers[b.name]!, isRead ? "read-only-storage" : "storage", buffer);
    storage.set(b.name, buffer);
  }

  const bindGroupLayout = device.createBindGroupLayout({ entries: layoutEntries });
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [bindGroupLayout] }),
    compute: { module, entryPoint: "main" },
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: bindGroupLayout, entries }));
  pass.dispatchWorkgroups(...input.workgroups);
  pass.end();
  const readbacks = new Map<string, GPUBuffer>();
  for (const [name, buffer] of storage) {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const readback = device.createBuffer({ size: buffer.size, usage });
    encoder.copyBufferToBuffer(buffer, 0, readback, 0, buffer.size);
    readbacks.set(name, readback);
    made.push(readback);
  }
  device.queue.submit([encoder.finish()]);
  const problem = await device.popErrorScope();
  if (problem) throw new Error(`${problem.message}\n${code}`);

  const results: Record<string, KernelBuffer> = {};
  for (const [name, readback] of readbacks) {
    await awaitDevice(readback.mapAsync(GPUMapMode.READ));
    const bytes = readback.getMappedRange().slice(0, input.buffers[name]!.byteLength);
    const make = input.buffers[name]!.constructor as new (data: ArrayBuffer) => KernelBuffer;
    results[name] = new make(bytes);
  }
  for (const buffer of made) buffer.destroy();
  return results;
}
