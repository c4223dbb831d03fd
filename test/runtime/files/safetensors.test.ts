// safetensors: every stored type, the real fixtures, and headers that lie.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tensor, type Tensor } from "../../../src/ir/tensor.ts";
import type { DType } from "../../../src/ir/types.ts";
import { memorySource, type Outcome } from "../../../src/runtime/bytes.ts";
import { fileSource } from "../../../src/runtime/open-node.ts";
import {
  openSafetensors,
  parseSafetensorsHeader,
  writeSafetensors,
} from "../../../src/runtime/safetensors.ts";
import { codes, damage, fixtures, must } from "./support.ts";

/** A file with this header text and so many bytes of data. */
function file(header: string, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + text.length + data.length);
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(text, 8);
  out.set(data, 8 + text.length);
  return out;
}

async function readOne(bytes: Uint8Array, key: string, dtype?: DType): Promise<Outcome<Tensor>> {
  return must(await openSafetensors(memorySource("x", bytes))).read(key, dtype);
}

async function stored(type: string, data: ArrayBufferView, dtype?: DType): Promise<Outcome<Tensor>> {
  const bytes = new Uint8Array(data.buffer);
  const count = (data as Uint8Array).length;
  const header = { a: { dtype: type, shape: [count], data_offsets: [0, bytes.length] } };
  return readOne(file(JSON.stringify(header), bytes), "a", dtype);
}

describe("reading", () => {
  it("reads the digits, tensor by tensor, from disk", async () => {
    const source = must(await fileSource(join(fixtures, "digits/digits_test.safetensors")));
    const store = must(await openSafetensors(source));
    expect([...store.tensors.values()].map((t) => [t.key, t.dtype, t.shape])).toEqual([
      ["images", "f32", [360, 1, 8, 8]],
      ["labels", "i32", [360]],
    ]);
    const labels = must(await store.read("labels"));
    expect(labels.data).toBeInstanceOf(Int32Array);
    expect(new Set(labels.data)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    const images = must(await store.read("images"));
    expect(Math.max(...images.data)).toBe(1);
    expect(codes(await store.read("image"))).toEqual(["tensor-missing"]);
    await store.close();
  });

  it("counts the parameters of the checkpoint", async () => {
    const bytes = readFileSync(join(fixtures, "digits/digits_poolformer.safetensors"));
    const store = must(await openSafetensors(memorySource("x", bytes)));
    const sizes = [...store.tensors.values()].map((t) => t.shape.reduce((a, b) => a * b, 1));
    expect(sizes.reduce((a, b) => a + b)).toBe(103626);
    expect(store.metadata.get("test_accuracy")).toBe("0.9861");
  });

  it("reads every stored type exactly", async () => {
    const list = async (...args: Parameters<typeof stored>): Promise<[DType, number[]]> => {
      const t = must(await stored(...args));
      return [t.dtype, [...t.data]];
    };
    expect(await list("F64", Float64Array.of(0.1, -2))).toEqual(["f32", [Math.fround(0.1), -2]]);
    expect(await list("F32", Float32Array.of(0.1, -Infinity))).toEqual([
      "f32",
      [Math.fround(0.1), -Infinity],
    ]);
    // 1, smallest subnormal, largest, -0, infinity.
    const halves = Uint16Array.of(0x3c00, 1, 0x7bff, 0x8000, 0x7c00);
    expect(await list("F16", halves)).toEqual(["f16", [1, 2 ** -24, 65504, -0, Infinity]]);
    expect(await list("BF16", Uint16Array.of(0x3f80, 0xff7f, 1))).toEqual([
      "f32",
      [1, -3.3895313892515355e38, 9.183549615799121e-41],
    ]);
    expect(await list("I64", BigInt64Array.of(-(2n ** 31n), 5n))).toEqual(["i32", [-(2 ** 31), 5]]);
    expect(await list("U64", BigUint64Array.of(2n ** 32n - 1n))).toEqual(["u32", [2 ** 32 - 1]]);
    expect(await list("I32", Int32Array.of(-7))).toEqual(["i32", [-7]]);
    expect(await list("I16", Int16Array.of(-7))).toEqual(["i32", [-7]]);
    expect(await list("I8", Int8Array.of(-7))).toEqual(["i32", [-7]]);
    expect(await list("U32", Uint32Array.of(2 ** 32 - 1))).toEqual(["u32", [2 ** 32 - 1]]);
    expect(await list("U16", Uint16Array.of(65535))).toEqual(["u32", [65535]]);
    expect(await list("U8", Uint8Array.of(255), "i32")).toEqual(["i32", [255]]);
    expect(await list("BOOL", Uint8Array.of(0, 1))).toEqual(["bool", [0, 1]]);
    // To the nearest half, ties to even.
    expect(await list("F32", Float32Array.of(2049, 2051, 2 ** -25, 65519), "f16")).toEqual([
      "f16",
      [2048, 2052, 0, 65504],
    ]);
  });

  it("names the value that does not fit", async () => {
    const tooWide = await stored("I64", BigInt64Array.of(1n, 2n ** 31n));
    expect(tooWide.diagnostics[0]).toMatchObject({
      code: "tensor-range",
      message: "x: tensor a holds 2147483648 at [1], outside of i32",
    });
    expect(codes(await stored("F64", Float64Array.of(1e39)))).toEqual(["tensor-range"]);
    expect(codes(await stored("F32", Float32Array.of(65520), "f16"))).toEqual(["tensor-range"]);
    expect(codes(await stored("I32", Int32Array.of(-1), "u32"))).toEqual(["tensor-range"]);
    expect(codes(await stored("BOOL", Uint8Array.of(2)))).toEqual(["tensor-range"]);
    expect(codes(await stored("I32", Int32Array.of(1), "f32"))).toEqual(["tensor-dtype"]);
  });
});

describe("writing", () => {
  it("reads back what it wrote, of every type", async () => {
    const tensors: Record<string, Tensor> = {
      b: tensor("bool", [3], [1, 0, 1]),
      h: tensor("f16", [5], [1, -0, 65504, 2 ** -24, -0.333251953125]),
      f: tensor("f32", [2, 2], [1, 2, 3, 0.1]),
      i: tensor("i32", [], [-5]),
      u: tensor("u32", [0, 4], []),
      ["__proto__"]: tensor("f32", [1], [9]),
    };
    const bytes = writeSafetensors(tensors, { made: "here" });
    const store = must(await openSafetensors(memorySource("x", bytes)));
    expect(store.metadata).toEqual(new Map([["made", "here"]]));
    for (const [key, t] of Object.entries(tensors)) expect(must(await store.read(key))).toEqual(t);
  });
});

describe("headers that lie", () => {
  const a = (fields: object): string =>
    JSON.stringify({ a: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...fields } });
  const cases: readonly (readonly [string, string, string])[] = [
    ["safetensors-json", "no JSON", "{nope"],
    ["safetensors-json", "more after it", '{} {"a":1}'],
    ["safetensors-json", "a list", "[]"],
    ["safetensors-duplicate-key", "a key twice", `{"a":1,"a":2}`],
    ["safetensors-limit", "nesting", `{"a":${"[".repeat(100000)}`],
    ["safetensors-entry", "no object", '{"a":5}'],
    ["safetensors-entry", "an unknown field", a({ more: 1 })],
    ["safetensors-entry", "metadata of numbers", '{"__metadata__":{"a":1}}'],
    ["safetensors-entry", "no shape", a({ shape: "2" })],
    ["safetensors-entry", "a negative size", a({ shape: [-2] })],
    ["safetensors-entry", "a broken size", a({ shape: [0.5] })],
    ["safetensors-entry", "one offset", a({ data_offsets: [0] })],
    ["safetensors-dtype", "a type of elsewhere", a({ dtype: "toString" })],
    ["safetensors-limit", "a product past 2^53", a({ shape: [2 ** 40, 2 ** 40] })],
    ["safetensors-limit", "many axes", a({ shape: Array.from({ length: 33 }, () => 1) })],
    ["safetensors-offsets", "data beyond the end", a({ shape: [4], data_offsets: [0, 16] })],
    ["safetensors-offsets", "offsets turned round", a({ data_offsets: [8, 0] })],
    ["safetensors-shape", "a shape of other size", a({ shape: [3] })],
    ["safetensors-hole", "bytes of nobody at the start", a({ shape: [1], data_offsets: [4, 8] })],
    ["safetensors-hole", "bytes of nobody at the end", a({ shape: [1], data_offsets: [0, 4] })],
    [
      "safetensors-overlap",
      "bytes of two",
      `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`,
    ],
  ];
  it.each(cases)("%s: %s", (code, _, header) => {
    expect(codes(parseSafetensorsHeader(new TextEncoder().encode(header), 8, "x"))).toEqual([code]);
  });

  it("refuses lengths that the file does not have", async () => {
    const open = async (bytes: Uint8Array): Promise<string[]> =>
      codes(await openSafetensors(memorySource("x", bytes)));
    expect(await open(new Uint8Array(3))).toEqual(["safetensors-short"]);
    expect(await open(new Uint8Array(16).fill(255))).toEqual(["safetensors-short"]);
    const huge = { name: "x", size: 2 ** 40, close: async () => {} };
    const read = async (): Promise<Uint8Array> => Uint8Array.of(0, 0, 0, 0, 1, 0, 0, 0);
    expect(codes(await openSafetensors({ ...huge, read }))).toEqual(["safetensors-limit"]);
  });

  it("reports a medium that fails or shrinks", async () => {
    const bytes = writeSafetensors({ a: tensor("f32", [4], [1, 2, 3, 4]) });
    const source = memorySource("x", bytes);
    let broken: "" | "short" | "fails" = "";
    const store = must(
      await openSafetensors({
        ...source,
        read: async (offset, length) => {
          if (broken === "fails") throw new Error("cable");
          return source.read(offset, broken === "short" ? length - 1 : length);
        },
      }),
    );
    for (broken of ["short", "fails"] as const) expect(codes(await store.read("a"))).toEqual(["file-read"]);
  });

  it("shows names of terminals' taste without their effect", () => {
    const bad = parseSafetensorsHeader(new TextEncoder().encode('{"\\u001b[2J\\u202eevil":1}'), 0, "x");
    expect(bad.diagnostics[0]!.message).toBe(
      'x: tensor "\\u001b[2J\\u202eevil" is not described by an object',
    );
  });
});

it("survives 2,000 damaged files", async () => {
  const valid = writeSafetensors(
    {
      a: tensor("f32", [2, 3], [1, 2, 3, 4, 5, 6]),
      b: tensor("i32", [2], [1, 2]),
      c: tensor("bool", [3], [1, 1, 0]),
    },
    { from: "fuzz" },
  );
  let refused = 0;
  for (let seed = 1; seed <= 2000; seed++) {
    const opened = await openSafetensors(memorySource(`seed ${seed}`, damage(valid, seed)));
    if (!opened.value) {
      refused++;
      expect(opened.diagnostics.length, `seed ${seed}`).toBeGreaterThan(0);
      continue;
    }
    for (const key of opened.value.tensors.keys()) {
      const read = await opened.value.read(key);
      expect(read.value !== undefined || read.diagnostics.length > 0, `seed ${seed}`).toBe(true);
    }
  }
  // Damage to names and numbers goes unseen; most other damage must not.
  expect(refused).toBeGreaterThan(1000);
});
