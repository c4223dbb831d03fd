// Elements and their bytes.

import { describe, expect, it } from "vitest";
import { decodeTensor, encodedBytes, encodeInto, encodeTensor } from "../../src/ir/encode.ts";
import { tensor } from "../../src/ir/tensor.ts";
import type { DType } from "../../src/ir/types.ts";

describe("bytes of a tensor", () => {
  it.each<readonly [DType, readonly number[], readonly number[] | undefined, readonly number[]]>([
    ["f32", [1, 2], undefined, [0, 0, 128, 63, 0, 0, 0, 64]],
    ["i32", [-1], undefined, [255, 255, 255, 255]],
    ["u32", [258], undefined, [2, 1, 0, 0]],
    ["bool", [7, 0], undefined, [1, 0, 0, 0, 0, 0, 0, 0]],
    // 1 and -2 are 0x3c00 and 0xc000.
    ["f16", [1, -2, 1], undefined, [0, 60, 0, 192, 0, 60, 0, 0]],
    ["i8", [1, -1, 2, 3, 4], undefined, [1, 255, 2, 3, 4, 0, 0, 0]],
    ["i4", [1, -1, 2], undefined, [0xf1, 2, 0, 0]],
    ["i8", [1, 2, 3, 4, 5, 6], [1, 0], [1, 4, 2, 5, 3, 6, 0, 0]],
    [
      "bool",
      [0, 1, 1, 1, 0, 0],
      [1, 0],
      [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    ],
  ])("%s %j in the order %j", (dtype, elements, order, bytes) => {
    const shape = order ? [2, elements.length / 2] : [elements.length];
    const t = tensor(dtype, shape, elements);
    expect([...encodeTensor(t, dtype, order)]).toEqual(bytes);
    expect(encodedBytes(dtype, elements.length)).toBe(bytes.length);
    // Into memory that held something else, between other things.
    const memory = new Uint8Array(bytes.length + 16).fill(99);
    encodeInto(memory.buffer, 8, t, dtype, order);
    expect([...memory]).toEqual([...Array<number>(8).fill(99), ...bytes, ...Array<number>(8).fill(99)]);
    const back = decodeTensor(memory.buffer, dtype, shape, order, 8);
    expect(back.shape).toEqual(shape);
    const given = back.data.slice().fill(0);
    expect(decodeTensor(memory.buffer, dtype, shape, order, 8, given).data).toBe(given);
    expect([...given]).toEqual([...back.data]);
    expect([...back.data]).toEqual(dtype === "bool" ? elements.map((x) => Number(x !== 0)) : elements);
  });
});
