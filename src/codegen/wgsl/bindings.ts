// How a kernel's parameters and buffers are numbered in its bind group: sizes first, live extents second, then the buffers in order.

import type { Kernel } from "../../ir/kernel.ts";

export interface BindingLayout {
  /** Binding of the uniform block; absent where every parameter is live or there are none. */
  readonly params?: number;
  /** Binding of the live extents. */
  readonly extents?: number;
  readonly buffers: Readonly<Record<string, number>>;
  readonly uniformBytes: number;
  /** Byte offset of each parameter in the uniform block; live ones: their index among the live ones. */
  readonly uniformOffsets: Readonly<Record<string, number>>;
}

export function bindingLayout(kernel: Kernel): BindingLayout {
  const uniformOffsets: Record<string, number> = {};
  let bytes = 0;
  let live = 0;
  for (const p of kernel.params) {
    if (p.live) uniformOffsets[p.name] = live++;
    else {
      uniformOffsets[p.name] = bytes;
      bytes += 4;
    }
  }
  let next = 0;
  const params = bytes > 0 ? next++ : undefined;
  const extents = live > 0 ? next++ : undefined;
  const buffers: Record<string, number> = {};
  for (const b of kernel.buffers) buffers[b.name] = next++;
  return {
    ...(params !== undefined && { params }),
    ...(extents !== undefined && { extents }),
    buffers,
    // A uniform block is a multiple of 16 bytes.
    uniformBytes: Math.ceil(bytes / 16) * 16,
    uniformOffsets,
  };
}
