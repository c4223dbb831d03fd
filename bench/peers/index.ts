// All peers: one line each. The first is what the others are compared with.

import { onnxruntime } from "./onnxruntime.ts";
import type { Peer } from "./peer.ts";
import { tokenloom } from "./tokenloom.ts";

export const peers: readonly Peer[] = [
  tokenloom,
  onnxruntime("onnxruntime-webgpu", "webgpu", "onnxruntime-node, WebGPU provider, all graph optimizations"),
  onnxruntime("onnxruntime-cpu", "cpu", "onnxruntime-node, CPU provider, all graph optimizations"),
];
