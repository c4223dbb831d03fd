// IEEE half precision on numbers: rounding to nearest even, and the 16-bit patterns. Node 20 has no Float16Array.

const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);
/** Adding and subtracting it rounds a number below 2^51 to an integer, ties to even. */
const roundingOffset = 1.5 * 2 ** 52;

/** Floor of the binary logarithm of a positive normal double. */
function exponentOf(x: number): number {
  double[0] = x;
  return ((words[1]! >>> 20) & 0x7ff) - 1023;
}

/** The nearest f16 value, ties to even; beyond 65504 by half a unit it is infinite. */
export function roundToHalf(x: number): number {
  const magnitude = Math.abs(x);
  if (!(magnitude < 65520)) return Number.isNaN(x) ? x : x > 0 ? Infinity : -Infinity;
  if (magnitude === 0) return x;
  const unit = 2 ** (Math.max(exponentOf(magnitude), -14) - 10);
  const rounded = (magnitude / unit + roundingOffset - roundingOffset) * unit;
  return x < 0 ? -rounded : rounded;
}

export function halfToBits(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  const value = roundToHalf(x);
  const magnitude = Math.abs(value);
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  if (magnitude === Infinity) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | (magnitude * 2 ** 24);
  const exponent = exponentOf(magnitude);
  return sign | ((exponent + 15) << 10) | ((magnitude / 2 ** exponent - 1) * 1024);
}

export function halfFromBits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}
