// Numbers as files store them (f64 to bool, little-endian) against the element types of tensors. Conversion is exact or an error
// that names the value; only float to narrower float rounds. Knows no file format.
//
// Invariant: the host is little-endian, as every machine with a WebGPU adapter is, so bytes can be viewed as typed arrays.

import { newData, type TensorData } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { bitsOfNumbers, numbersOfBits, roundToHalf } from "../support/half.ts";

export type StoredType =
  "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U64" | "U32" | "U16" | "U8" | "BOOL";

export interface StoredInfo {
  readonly bytes: number;
  readonly kind: "float" | "integer" | "bool";
  /** The tensor type that holds it when nothing else is asked for. */
  readonly natural: DType;
}

const info = (bytes: number, kind: StoredInfo["kind"], natural: DType): StoredInfo => ({
  bytes,
  kind,
  natural,
});

export const storedTypes: Readonly<Record<StoredType, StoredInfo>> = {
  F64: info(8, "float", "f32"),
  F32: info(4, "float", "f32"),
  F16: info(2, "float", "f16"),
  // Its range is that of f32; f16 would overflow.
  BF16: info(2, "float", "f32"),
  I64: info(8, "integer", "i32"),
  I32: info(4, "integer", "i32"),
  I16: info(2, "integer", "i32"),
  I8: info(1, "integer", "i32"),
  U64: info(8, "integer", "u32"),
  U32: info(4, "integer", "u32"),
  U16: info(2, "integer", "u32"),
  U8: info(1, "integer", "u32"),
  BOOL: info(1, "bool", "bool"),
};

export function isStoredType(text: string): text is StoredType {
  return Object.hasOwn(storedTypes, text);
}

/** Whether a tensor of type `to` may be filled from `from`: floats from floats, integers and bools from integers and bools. */
export function convertible(from: StoredType, to: DType): boolean {
  const isFloat = to === "f32" || to === "f16";
  return isFloat === (storedTypes[from].kind === "float");
}

/** The first element that the tensor's type cannot hold. */
export interface RangeFailure {
  readonly index: number;
  readonly value: string;
}

/**
 * Decodes whole elements of `bytes` into `out` from `at` on. `to` must be convertible. Infinities and NaN pass through; a finite
 * number that would become infinite does not.
 */
export function decodeElements(
  bytes: Uint8Array,
  from: StoredType,
  to: DType,
  out: TensorData,
  at: number,
): RangeFailure | undefined {
  const count = bytes.length / storedTypes[from].bytes;
  const buffer = aligned(bytes);
  if (from === "I64") return decodeWide(new BigInt64Array(buffer, 0, count), to, out, at);
  if (from === "U64") return decodeWide(new BigUint64Array(buffer, 0, count), to, out, at);
  const values = viewOf(buffer, from, count);
  const [low, high] = rangeOf(to);
  const checks = !alwaysFits(from, to);
  // The common case is a plain copy, which typed arrays do at memory speed.
  if (!checks && to !== "f16") {
    out.set(values, at);
    return undefined;
  }
  for (let i = 0; i < count; i++) {
    const value = values[i]!;
    const kept = to === "f16" ? roundToHalf(value) : to === "f32" ? Math.fround(value) : value;
    const fits = to === "f16" || to === "f32" ? Number.isFinite(kept) || !Number.isFinite(value) : true;
    if (!fits || value < low || value > high) return { index: i, value: String(value) };
    out[at + i] = kept;
  }
  return undefined;
}

function decodeWide(
  values: BigInt64Array | BigUint64Array,
  to: DType,
  out: TensorData,
  at: number,
): RangeFailure | undefined {
  const [low, high] = rangeOf(to);
  for (let i = 0; i < values.length; i++) {
    // Rounding to a double cannot carry a number across a bound of 32 bits.
    const value = Number(values[i]!);
    if (value < low || value > high) return { index: i, value: String(values[i]!) };
    out[at + i] = value;
  }
  return undefined;
}

/** Bounds for integers; floats are bounded by becoming infinite. */
function rangeOf(to: DType): readonly [number, number] {
  if (to === "i32") return [-(2 ** 31), 2 ** 31 - 1];
  if (to === "u32") return [0, 2 ** 32 - 1];
  if (to === "bool") return [0, 1];
  return [-Infinity, Infinity];
}

function alwaysFits(from: StoredType, to: DType): boolean {
  if (to === "f32") return from !== "F64";
  if (to === "f16") return from === "F16";
  if (to === "bool") return false;
  if (to === "i32") return ["I32", "I16", "I8", "U16", "U8"].includes(from);
  return ["U32", "U16", "U8"].includes(from);
}

function viewOf(buffer: ArrayBuffer, from: StoredType, count: number): ArrayLike<number> {
  switch (from) {
    case "F64":
      return new Float64Array(buffer, 0, count);
    case "F32":
      return new Float32Array(buffer, 0, count);
    case "F16":
      return numbersOfBits(new Uint16Array(buffer, 0, count));
    case "BF16":
      return brainHalvesToFloats(new Uint16Array(buffer, 0, count));
    case "I32":
      return new Int32Array(buffer, 0, count);
    case "I16":
      return new Int16Array(buffer, 0, count);
    case "I8":
      return new Int8Array(buffer, 0, count);
    case "U32":
      return new Uint32Array(buffer, 0, count);
    case "U16":
      return new Uint16Array(buffer, 0, count);
    default:
      // U8 and BOOL; that a bool is 0 or 1 is checked as a range.
      return new Uint8Array(buffer, 0, count);
  }
}

/** Typed arrays want their offset to be a multiple of the element, which a file does not promise: a copy, where it does not begin. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset } = bytes;
  if (byteOffset === 0 && buffer instanceof ArrayBuffer) return buffer;
  // Not `slice`: that of Node's Buffer shares memory.
  return new Uint8Array(bytes).buffer;
}

/** Elements of a tensor in their stored form. bool is a byte; f16 is rounded (its values already are, unless computed in f64). */
export function encodeElements(dtype: DType, data: TensorData): { stored: StoredType; bytes: Uint8Array } {
  const asBytes = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
  switch (dtype) {
    case "f32":
      return { stored: "F32", bytes: asBytes(data instanceof Float32Array ? data : new Float32Array(data)) };
    case "f16":
      return { stored: "F16", bytes: asBytes(bitsOfNumbers(data)) };
    case "i32":
      return { stored: "I32", bytes: asBytes(data instanceof Int32Array ? data : new Int32Array(data)) };
    case "u32":
      return { stored: "U32", bytes: asBytes(data instanceof Uint32Array ? data : new Uint32Array(data)) };
    case "i8":
    case "i4":
      return { stored: "I8", bytes: asBytes(new Int8Array(data)) };
    case "bool":
      return { stored: "BOOL", bytes: Uint8Array.from(data, (x) => (x === 0 ? 0 : 1)) };
  }
}

/** `newData`, or undefined where this machine has no room for it. */
export function allocate(dtype: DType, count: number): TensorData | undefined {
  try {
    return newData(dtype, count);
  } catch (cause) {
    if (cause instanceof RangeError) return undefined;
    throw cause;
  }
}

/** bf16 is the upper half of an f32. */
function brainHalvesToFloats(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  return new Float32Array(words.buffer);
}
