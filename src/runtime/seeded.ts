// Weights and inputs made from a name, so that no checkpoint has to travel: the same numbers in any language.
//
//   u(name, i) = fmix32(fnv1a32(utf8(name)) + i * 0x9E3779B9 mod 2^32) / 2^32, in [0, 1);   s = 2u - 1, in float64
//
// Seed 0 hashes the name itself, seed N the text `name#N`. The name is the model's own key, never that of a mapped checkpoint.

import type { Seed } from "../ir/graph.ts";
import { elementCount, newData, type Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { roundToHalf } from "../support/half.ts";

function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** u(name, i) for one name. */
function uniforms(name: string): (i: number) => number {
  const start = fnv1a32(name);
  return (i) => {
    let x = (start + Math.imul(i, 0x9e3779b9)) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** `count` numbers in [-1, 1): what an input tensor of that name holds. */
export function signed(name: string, count: number): Float64Array {
  const u = uniforms(name);
  return Float64Array.from({ length: count }, (_, i) => 2 * u(i) - 1);
}

/**
 * The weight of that name.
 *   two or more axes:               s * sqrt(3 / fan_in), fan_in = product of all axes but the first
 *   one axis, name ends in .bias:   0.1 * s
 *   one axis, name ends in .scale:  0.2 + 0.1 * s
 *   anything else:                  1 + 0.1 * s
 * Each value is computed in float64 and rounded last. `kind` is an op's own rule for its buffers; integers and bools without one
 * are 0 or 1.
 */
export function seededTensor(
  name: string,
  shape: readonly number[],
  seed = 0,
  dtype: DType = "f32",
  kind?: Seed,
): Tensor {
  const u = uniforms(seed === 0 ? name : `${name}#${seed}`);
  const value = valueOf(name, shape, dtype, kind);
  return fill(dtype, shape, (i) => value(u(i)));
}

function valueOf(
  name: string,
  shape: readonly number[],
  dtype: DType,
  kind: Seed | undefined,
): (u: number) => number {
  if (kind?.kind === "signs") return (u) => (u < 0.5 ? -1 : 1);
  if (kind?.kind === "integers") return (u) => Math.floor(u * kind.below);
  if (dtype !== "f32" && dtype !== "f16") return (u) => Math.floor(u * 2);
  if (shape.length > 1) {
    const gain = Math.sqrt(3 / elementCount(shape.slice(1)));
    return (u) => (2 * u - 1) * gain;
  }
  if (name.endsWith(".bias")) return (u) => 0.1 * (2 * u - 1);
  if (name.endsWith(".scale")) return (u) => 0.2 + 0.1 * (2 * u - 1);
  return (u) => 1 + 0.1 * (2 * u - 1);
}

/** An input: s itself under that name; integers and bools are 0 or 1. */
export function seededInput(name: string, shape: readonly number[], dtype: DType = "f32"): Tensor {
  const u = uniforms(name);
  const isFloat = dtype === "f32" || dtype === "f16";
  return fill(dtype, shape, (i) => (isFloat ? 2 * u(i) - 1 : Math.floor(u(i) * 2)));
}

function fill(dtype: DType, shape: readonly number[], value: (i: number) => number): Tensor {
  const data = newData(dtype, elementCount(shape));
  for (let i = 0; i < data.length; i++) data[i] = dtype === "f16" ? roundToHalf(value(i)) : value(i);
  return { dtype, shape, data };
}
