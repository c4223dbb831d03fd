// .npy: files that NumPy wrote, files that we wrote, and headers that lie.

import { describe, expect, it } from "vitest";
import { tensor, type Tensor } from "../../../src/ir/tensor.ts";
import { memorySource } from "../../../src/runtime/bytes.ts";
import { parseNpyHeader, readNpy, writeNpy } from "../../../src/runtime/npy.ts";
import { codes, damage, must } from "./support.ts";

/** Headers as NumPy 2 writes them; the data are ours. */
function file(dictionary: string, data: ArrayBufferView, version = 1): Uint8Array {
  const lengthBytes = version === 1 ? 2 : 4;
  const header = new TextEncoder().encode(`${dictionary.padEnd(128 - 8 - lengthBytes - 1)}\n`);
  const out = new Uint8Array(8 + lengthBytes + header.length + data.byteLength);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  const view = new DataView(out.buffer);
  if (version === 1) view.setUint16(8, header.length, true);
  else view.setUint32(8, header.length, true);
  out.set(header, 8 + lengthBytes);
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 8 + lengthBytes + header.length);
  return out;
}

const dictionary = (descr: string, shape: string, fortran = "False"): string =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;

const read = (bytes: Uint8Array, dtype?: Tensor["dtype"]) => readNpy(memorySource("x.npy", bytes), dtype);

describe("reading", () => {
  it("reads what NumPy wrote", async () => {
    // numpy.asfortranarray(numpy.arange(6, dtype='<i2').reshape(2, 3)) and numpy.array(True), saved.
    const fortran =
      "k05VTVBZAQB2AHsnZGVzY3InOiAnPGkyJywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAMAAQAEAAIABQA=";
    const scalar =
      "k05VTVBZAQB2AHsnZGVzY3InOiAnfGIxJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoB";
    expect(must(await read(Buffer.from(fortran, "base64")))).toEqual(
      tensor("i32", [2, 3], [0, 1, 2, 3, 4, 5]),
    );
    expect(must(await read(Buffer.from(scalar, "base64")))).toEqual(tensor("bool", [], [1]));
  });

  it("turns Fortran order of three axes", async () => {
    // Element [i, j, k] is 100i + 10j + k, first axis fastest.
    const data = new Float64Array(24);
    let at = 0;
    for (let k = 0; k < 4; k++)
      for (let j = 0; j < 3; j++) for (let i = 0; i < 2; i++) data[at++] = 100 * i + 10 * j + k;
    const t = must(await read(file(dictionary("<f8", "(2, 3, 4)", "True"), data)));
    expect(t.shape).toEqual([2, 3, 4]);
    expect([...t.data.subarray(0, 6)]).toEqual([0, 1, 2, 3, 10, 11]);
    expect(t.data[1 * 12 + 2 * 4 + 3]).toBe(123);
  });

  it("reads all versions and types", async () => {
    for (const version of [1, 2, 3]) {
      const t = must(await read(file(dictionary("<f4", "(2,)"), Float32Array.of(1, 0.5), version)));
      expect(t).toEqual(tensor("f32", [2], [1, 0.5]));
    }
    const of = async (descr: string, data: ArrayBufferView): Promise<unknown> => {
      const t = must(await read(file(dictionary(descr, "(1,)"), data)));
      return [t.dtype, t.data[0]];
    };
    expect(await of("<f2", Uint16Array.of(0x3555))).toEqual(["f16", 0.333251953125]);
    expect(await of("<i8", BigInt64Array.of(-9n))).toEqual(["i32", -9]);
    expect(await of("|i1", Int8Array.of(-9))).toEqual(["i32", -9]);
    expect(await of("|u1", Uint8Array.of(200))).toEqual(["u32", 200]);
    expect(await of("<u2", Uint16Array.of(65535))).toEqual(["u32", 65535]);
    expect(await of("=i4", Int32Array.of(7))).toEqual(["i32", 7]);
  });

  it("converts to what the model wants, or says why not", async () => {
    expect(must(await read(file(dictionary("<i8", "(1,)"), BigInt64Array.of(3n)), "u32")).dtype).toBe("u32");
    expect(codes(await read(file(dictionary("<i8", "(1,)"), BigInt64Array.of(3n)), "f32"))).toEqual([
      "tensor-dtype",
    ]);
    // Column-major: the value lies third in the file and at [0, 1] in the array.
    const far = file(dictionary("<i8", "(2, 2)", "True"), BigInt64Array.of(1n, 2n, 2n ** 40n, 4n));
    expect((await read(far)).diagnostics[0]!.message).toBe(
      "x.npy holds 1099511627776 at [0, 1], outside of i32",
    );
  });
});

it("reads back what it wrote", async () => {
  const tensors = [
    tensor("f32", [2, 3], [1, 2, 3, 4, 5, 0.1]),
    tensor("f16", [3], [1, -0, 65504]),
    tensor("i32", [], [-4]),
    tensor("u32", [1], [2 ** 32 - 1]),
    tensor("bool", [2, 0], []),
  ];
  for (const t of tensors) {
    const bytes = writeNpy(t);
    // Magic, version and length take 10 bytes; with the header they fill 128.
    expect(new DataView(bytes.buffer).getUint16(8, true)).toBe(118);
    expect(must(await read(bytes))).toEqual(t);
  }
});

describe("headers that lie", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["npy-header", ""],
    ["npy-header", "{"],
    ["npy-header", "{}"],
    ["npy-header", "{'descr': '<f4', 'fortran_order': False}"],
    ["npy-header", "{'descr': '<f4', 'descr': '<f4'}"],
    ["npy-header", "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}"],
    ["npy-header", "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}"],
    ["npy-header", "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}"],
    ["npy-header", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} import os"],
    ["npy-header", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 'x'}"],
    ["npy-dtype", dictionary("|O", "(2,)")],
    ["npy-dtype", dictionary("<c8", "(2,)")],
    ["npy-dtype", dictionary("<U5", "(2,)")],
    ["npy-dtype", dictionary(">f4", "(2,)")],
    ["npy-dtype", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}"],
    ["npy-limit", dictionary("<f4", "(9007199254740991, 9007199254740991)")],
    ["npy-limit", dictionary("<f4", `(${"1, ".repeat(40)})`)],
  ];
  it.each(cases)("%s: %s", (code, header) => {
    expect(codes(parseNpyHeader(header, "x"))).toEqual([code]);
  });

  it("checks the sizes of the file", async () => {
    const two = dictionary("<f4", "(2,)");
    expect(codes(await read(file(two, new Float32Array(1))))).toEqual(["npy-size"]);
    expect(codes(await read(file(two, new Float32Array(3))))).toEqual(["npy-size"]);
    expect(codes(await read(file(two, new Float32Array(2), 4)))).toEqual(["npy-version"]);
    expect(codes(await read(new Uint8Array(50)))).toEqual(["npy-magic"]);
    expect(codes(await read(new Uint8Array(0)))).toEqual(["npy-magic"]);
    const cut = file(two, new Float32Array(2)).subarray(0, 40);
    expect(codes(await read(cut))).toEqual(["npy-size"]);
    expect(codes(await read(file(two.padEnd(70000), new Float32Array(2), 2)))).toEqual(["npy-limit"]);
  });
});

it("survives 2,000 damaged files", async () => {
  const valid = writeNpy(tensor("f32", [2, 3], [1, 2, 3, 4, 5, 6]));
  let refused = 0;
  for (let seed = 1; seed <= 2000; seed++) {
    const result = await read(damage(valid, seed));
    if (result.value) expect(result.value.data.length).toBe(result.value.shape.reduce((a, b) => a * b, 1));
    else expect(result.diagnostics.length, `seed ${seed}`).toBeGreaterThan(0);
    if (!result.value) refused++;
  }
  expect(refused).toBeGreaterThan(1000);
});
