// Half precision against its definition: all 65,536 patterns, and the neighbourhoods of every rounding boundary.

import { expect, test } from "vitest";
import {
  bitsOfNumbers,
  halfFromBits,
  halfToBits,
  numbersOfBits,
  roundToHalf,
} from "../../src/support/half.ts";

test("every pattern goes there and back", () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    const value = halfFromBits(bits);
    const isNaN = (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
    if (Number.isNaN(value) !== isNaN || (!isNaN && halfToBits(value) !== bits))
      expect.fail(`pattern ${bits}: ${value}`);
    if (!isNaN && !Object.is(roundToHalf(value), value)) expect.fail(`${value} is not kept`);
  }
});

test("between neighbours, the nearer one, and the even one at the middle", () => {
  for (let bits = 0; bits < 0x7bff; bits++) {
    const low = halfFromBits(bits);
    const high = halfFromBits(bits + 1);
    const middle = (low + high) / 2;
    const even = bits % 2 === 0 ? low : high;
    const nudge = (high - low) / 1024;
    if (roundToHalf(middle) !== even || roundToHalf(-middle) !== -even) expect.fail(`middle ${middle}`);
    if (roundToHalf(middle - nudge) !== low || roundToHalf(middle + nudge) !== high)
      expect.fail(`around ${middle}`);
  }
  expect(roundToHalf(65519.99)).toBe(65504);
  expect(roundToHalf(65520)).toBe(Infinity);
  expect(roundToHalf(-1e30)).toBe(-Infinity);
  expect(roundToHalf(NaN)).toBeNaN();
  expect(roundToHalf(-1e-30)).toBe(-0);
});

test("many at once are as one by one", () => {
  const patterns = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits);
  const values = numbersOfBits(patterns);
  for (const bits of patterns)
    if (!Object.is(values[bits], halfFromBits(bits))) expect.fail(`pattern ${bits}: ${values[bits]}`);
  const between = Float64Array.from(values, (x, i) => x * (1 + (i % 7) * 1e-4));
  const rounded = bitsOfNumbers(between);
  between.forEach((x, i) => {
    if (rounded[i] !== halfToBits(x)) expect.fail(`${x}: ${rounded[i]}`);
  });
});
