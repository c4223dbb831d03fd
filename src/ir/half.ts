// Rounding to f16 on the CPU, as numbers. Encoding to bits is the business of whoever writes files and buffers.

const view = new DataView(new ArrayBuffer(8));

/** The nearest f16 value, ties to even; beyond 65504 by half a step or more, infinity. */
export function roundToHalf(x: number): number {
  const size = Math.abs(x);
  if (!Number.isFinite(x) || size === 0) return x;
  if (size >= 65520) return x < 0 ? -Infinity : Infinity;
  view.setFloat64(0, size);
  const exponent = ((view.getUint16(0) >> 4) & 0x7ff) - 1023;
  // Ten bits below the leading one, and no finer than the smallest subnormal. Both divisions are by powers of two: exact.
  const step = 2 ** Math.max(exponent - 10, -24);
  const rounded = roundHalfToEven(size / step) * step;
  return x < 0 ? -rounded : rounded;
}

function roundHalfToEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
  return down % 2 === 0 ? down : down + 1;
}
