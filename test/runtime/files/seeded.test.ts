// Bit-equal to NumPy: the expected numbers were printed by an independent program that follows the same rule.

import { describe, expect, it } from "vitest";
import { seededInput, seededTensor, signed } from "../../../src/runtime/seeded.ts";

const bitsOf = (data: ArrayLike<number>): Uint32Array => new Uint32Array(Float32Array.from(data).buffer);

describe("seeded tensors", () => {
  it("makes the numbers of an input", () => {
    const s = signed("input", 301056);
    expect([...s.subarray(0, 5)]).toEqual([
      0.5980662722140551, 0.3703484949655831, 0.9605294466018677, -0.9915206991136074, 0.5786594618111849,
    ]);
    expect(s.at(-1)).toBe(0.9867048594169319);
    expect([...seededInput("input", [1, 3]).data]).toEqual([...s.subarray(0, 3)].map(Math.fround));
  });

  const cases: readonly (readonly [
    name: string,
    seed: number,
    shape: readonly number[],
    bits: readonly number[],
    sum: number,
  ])[] = [
    ["stem.conv.weight", 0, [64, 3, 7, 7], [1007585012, 3181273755, 3174002194], 2441447243],
    ["stem.conv.weight", 7, [64, 3, 7, 7], [1014403325, 3187850114, 3181638335], 2860377266],
    ["stages.0.blocks.0.norm1.weight", 0, [64], [1063899797, 1063779237, 1064791757], 3740230295],
    ["head.fc.bias", 0, [1000], [1033531815, 1026383387, 1029867554], 1058526926],
    ["stages.1.blocks.0.layer_scale1.scale", 0, [128], [1043359073, 1037739642, 1048676210], 662348749],
    ["größe.bias", 0, [3], [1024275227, 3182880194, 3181867617], 3094055742],
  ];
  it.each(cases)("%s with seed %i", (name, seed, shape, bits, sum) => {
    const all = bitsOf(seededTensor(name, shape, seed).data);
    expect([...all.subarray(0, 3)]).toEqual(bits);
    expect(all.reduce((a, b) => (a + b) % 2 ** 32, 0)).toBe(sum);
  });

  it("keeps to an op's own rule for its buffers", () => {
    const signs = seededTensor("rotate.signs", [4096], 0, "f32", { kind: "signs" });
    expect(new Set(signs.data)).toEqual(new Set([-1, 1]));
    const hashes = seededTensor("lsh.table", [4096], 0, "i32", { kind: "integers", below: 5 });
    expect(hashes.data).toBeInstanceOf(Int32Array);
    expect([...new Set(hashes.data)].sort()).toEqual([0, 1, 2, 3, 4]);
    expect(seededTensor("x", [8], 0, "bool").data.every((x) => x === 0 || x === 1)).toBe(true);
  });
});
