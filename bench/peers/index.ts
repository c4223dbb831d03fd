// All peers: one line each. The first is what the others are compared with.

import { onnxruntime } from "./onnxruntime.ts";
import type { Peer } from "./peer.ts";
import { tokenloom } from "./tokenloom.ts";
import { torch, type TorchMode } from "./torch.ts";
import { web } from "./web.ts";

const full: TorchMode = { dtype: "f32", tf32: false, compile: false };

export const peers: readonly Peer[] = [
  tokenloom,
  onnxruntime("onnxruntime-webgpu", "webgpu", "onnxruntime-node, WebGPU provider, all graph optimizations"),
  onnxruntime("onnxruntime-cpu", "cpu", "onnxruntime-node, CPU provider, all graph optimizations"),
  onnxruntime("onnxruntime-webgpu-looped", "webgpu", "the same, with a loop over the experts", "looped"),
  onnxruntime("onnxruntime-cpu-looped", "cpu", "the same, with a loop over the experts", "looped"),
  onnxruntime("onnxruntime-cpu-moe", "cpu", "the same, with its MoE operator", "moe"),
  onnxruntime(
    "onnxruntime-webgpu-qmoe",
    "webgpu",
    "the same, with its QMoE operator and weights of 4 bits",
    "qmoe",
    0.1,
  ),
  web("tensorflow.js", "tfjs.js", "poolformer", "TensorFlow.js, WebGPU backend, in Node on Dawn"),
  web("jax-js", "jax.js", "poolformer", "jax-js, WebGPU backend, in Node on Dawn"),
];

/** Only in the pack (npm run bench:pack): they need Python with PyTorch, and a card that it knows. */
export const packPeers: readonly Peer[] = [
  torch("torch", full, "PyTorch eager, f32 without tf32"),
  torch("torch-tf32", { ...full, tf32: true }, "PyTorch eager, products in tf32", 1e-2),
  torch("torch-f16", { ...full, dtype: "f16" }, "PyTorch eager, all in f16", 5e-2),
  torch("torch-compile", { ...full, compile: true }, "torch.compile, f32 without tf32"),
  torch("torch-compile-f16", { dtype: "f16", tf32: false, compile: true }, "torch.compile, all in f16", 5e-2),
];
