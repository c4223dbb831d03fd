// What programs made for browsers find in Node: `navigator.gpu` and the classes of WebGPU, of stock Dawn.

import { createGpu, dawnFlags, type DawnLibrary } from "../../src/runtime/dawn-node.ts";

interface Counted {
  dispatches: number;
  submits: number;
}

/** Makes `navigator.gpu` and the classes of WebGPU, and counts what is asked of them from then on. */
export async function browser(): Promise<Counted> {
  const { globals, ...dawn } = (await import("webgpu")) as unknown as DawnLibrary & {
    readonly globals: Readonly<Record<string, unknown>>;
  };
  Object.assign(globalThis, globals);
  const gpu = createGpu(dawn, dawnFlags({ safe: false }));
  const value = { gpu, userAgent: "node", hardwareConcurrency: 1 };
  Object.defineProperty(globalThis, "navigator", { value, configurable: true, writable: true });
  const counted = { dispatches: 0, submits: 0 };
  count("GPUComputePassEncoder", ["dispatchWorkgroups", "dispatchWorkgroupsIndirect"], () => {
    counted.dispatches++;
  });
  count("GPUQueue", ["submit"], () => {
    counted.submits++;
  });
  return counted;
}

function count(type: string, methods: readonly string[], note: () => void): void {
  const { prototype } = (globalThis as unknown as Record<string, { prototype: Methods }>)[type]!;
  for (const method of methods) {
    const original = prototype[method]!;
    prototype[method] = function (...given) {
      note();
      return original.apply(this, given);
    };
  }
}

type Methods = Record<string, (this: unknown, ...given: unknown[]) => unknown>;
