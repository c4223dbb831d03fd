// IEEE half precision on numbers: rounding to nearest even, and the 16-bit patterns. Node 20 has no Float16Array.

const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);

/** The nearest f16 value, ties to even; beyond 65504 by half a unit it is infinite. */
export const roundToHalf = (x: number): number => halfFromBits(halfToBits(x));

/** The bits of the nearest f16 value, ties to even. Works on the bits of the double: tensors of millions of elements come through here. */
export function halfToBits(x: number): number {
  double[0] = x;
  const low = words[0]!;
  const high = words[1]!;
  const sign = (high >>> 16) & 0x8000;
  const exponent = ((high >>> 20) & 0x7ff) - 1023 + 15;
  const fraction = high & 0xfffff;
  if (exponent > 30) return x !== x ? 0x7e00 : sign | 0x7c00;
  if (exponent < -10) return sign;
  // Below the smallest normal value the leading one is a bit of the fraction, and what is left of that is shifted out.
  const subnormal = exponent < 1;
  const kept = subnormal ? fraction | 0x100000 : fraction;
  const shift = subnormal ? 11 - exponent : 10;
  const bits = (subnormal ? 0 : exponent << 10) | (kept >>> shift);
  const half = 1 << (shift - 1);
  const rest = kept & (2 * half - 1);
  const up = rest > half || (rest === half && (low !== 0 || (bits & 1) === 1));
  // A carry goes into the exponent, and from the largest value on to infinity, as it should.
  return sign | (bits + (up ? 1 : 0));
}

let values: Float32Array | undefined;

/** The value of each of the 65,536 patterns, made when first asked for. */
export const halfValues = (): Float32Array =>
  (values ??= Float32Array.from({ length: 2 ** 16 }, (_, i) => valueOfBits(i)));

export const halfFromBits = (bits: number): number => halfValues()[bits & 0xffff]!;

/** The patterns of many numbers. A loop: `Uint16Array.from` with a function takes 25 times as long. */
export function bitsOfNumbers(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halfToBits(values[i]!);
  return bits;
}

/** The values of many patterns. */
export function numbersOfBits(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const table = halfValues();
  const out = new Float32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = table[bits[i]!]!;
  return out;
}

function valueOfBits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}
