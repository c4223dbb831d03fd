// How a kernel's parameters and buffers are numbered in its bind group: the uniform block, the live extents, then the buffers in
// order. Every parameter has one word of the block: a live one holds there where in `extents` its value is, so that kernels
// which share code need not share symbols.

import type { Kernel } from "../../ir/kernel.ts";

export interface BindingLayout {
  /** Binding of the uniform block; absent without parameters. */
  readonly params?: number;
  /** Binding of the live extents, an array of u32; absent without live parameters. */
  readonly extents?: number;
  readonly buffers: Readonly<Record<string, number>>;
  /** A multiple of 16; 0 without parameters. */
  readonly uniformBytes: number;
  /** Byte offset of each parameter: of its value, or of a live one's index in `extents` (as u32). */
  readonly uniformOffsets: Readonly<Record<string, number>>;
}

export function bindingLayout(kernel: Kernel): BindingLayout {
  let next = 0;
  const params = kernel.params.length > 0 ? next++ : undefined;
  const extents = kernel.params.some((p) => p.live) ? next++ : undefined;
  return {
    ...(params !== undefined && { params }),
    ...(extents !== undefined && { extents }),
    buffers: Object.fromEntries(kernel.buffers.map((b) => [b.name, next++])),
    uniformBytes: Math.ceil((kernel.params.length * 4) / 16) * 16,
    uniformOffsets: Object.fromEntries(kernel.params.map((p, i) => [p.name, i * 4])),
  };
}
