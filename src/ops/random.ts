// Random numbers that are a pure function of a key, a stream and a position: counter-based, so that any tiling, any number of
// invocations and any device give the same bits. Nothing is kept between draws.

import { add, binary, constant as constantExpr, mul, select, U32, u32 } from "../ir/expr.ts";
import { constantOf } from "../ir/dim.ts";
import type { Expr } from "../ir/kernel.ts";
import type { ElementContext } from "../ir/op.ts";
import { tensorType } from "../ir/types.ts";
import { defineOp, dimsOf, numberOf, reduced, textOf } from "./define.ts";

export const randomBits = defineOp({
  name: "random_bits",
  doc:
    "32 random bits for each position: a function of the key, the stream and the row-major position alone, the same on every device. " +
    "`pcg` is a hash of a few operations; `philox` is Philox4x32-10, whose block of four words serves four neighbouring positions.",
  equation: "y[i] = bits(key, stream, i)",
  inputs: [{ name: "key", doc: "two words, u32[2]" }],
  attrs: {
    dims: { kind: "dims", doc: "shape of the result" },
    stream: { kind: "int", doc: "which of 2^32 independent sequences", default: 0 },
    generator: { kind: "string", doc: "the function", choices: ["pcg", "philox"], default: "pcg" },
  },
  constraints: {
    key: "the key is u32[2]",
    stream: "the stream is a whole number of 32 bits",
  },
  infer(c) {
    const key = c.type("key");
    c.check("key", key.dtype === "u32" && key.shape.length === 1 && constantOf(key.shape[0]!) === 2, {
      input: "key",
      got: `${key.dtype}[${key.shape.map((d) => d.key).join(", ")}]`,
      expected: "u32[2]",
    });
    const stream = numberOf(c.attrs, "stream");
    c.check("stream", Number.isInteger(stream) && stream >= 0 && stream <= 0xffffffff, {
      got: String(stream),
      expected: "0 to 4294967295",
    });
    return [tensorType("u32", dimsOf(c.attrs, "dims"))];
  },
  axes: () => [[reduced]],
  reference(c) {
    const key = c.input("key").data;
    const y = c.result();
    const stream = numberOf(c.attrs, "stream");
    const words = textOf(c.attrs, "generator") === "pcg" ? pcgWords : philoxWords;
    words(y.data.length, stream, [key[0]!, key[1]!], (i, word) => {
      y.data[i] = word;
    });
    return [y];
  },
  lowering: {
    kind: "element",
    element(c, index) {
      const stream = u32(numberOf(c.attrs, "stream"));
      const key = [c.read(0, [u32(0)]), c.read(0, [u32(1)])] as const;
      const at = position(c, index);
      return textOf(c.attrs, "generator") === "pcg"
        ? pcgOf(c, at, stream, key)
        : philoxOf(c, at, stream, key);
    },
  },
  examples: [
    {
      about: "the hash of 0, nested: h(0 + h(0 + h(0 + h(0))))",
      inputs: { key: [0, 0] },
      dtypes: { key: "u32" },
      attrs: { dims: [1] },
      outputs: [[0x8d324821]],
    },
    {
      about: "Philox4x32-10, counters 0 and 1 of key (42, 0)",
      inputs: { key: [42, 0] },
      dtypes: { key: "u32" },
      attrs: { dims: [8], generator: "philox" },
      outputs: [
        [0x9ceaf053, 0x77f5493b, 0x12bf50ad, 0x5742b3d7, 0xfcdb2127, 0x53ba6cfd, 0x838f5a6e, 0x744e06fb],
      ],
    },
  ],
});

// ---- the meaning ------------------------------------------------------------------------------------------------------

type Put = (i: number, word: number) => void;

/** PCG's output function over a linear congruential step ("RXS M XS", 32 bits). */
export function pcg(x: number): number {
  const s = (Math.imul(x, 747796405) + 2891336453) >>> 0;
  const w = Math.imul((s >>> ((s >>> 28) + 4)) ^ s, 277803737) >>> 0;
  return ((w >>> 22) ^ w) >>> 0;
}

function pcgWords(count: number, stream: number, key: readonly [number, number], put: Put): void {
  const base = pcg(stream + pcg(key[0] + pcg(key[1])));
  for (let i = 0; i < count; i++) put(i, pcg(i + base));
}

/** One block of Philox4x32-10 (Salmon et al. 2011). */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [a, b, c, d] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const p = BigInt(0xd2511f53) * BigInt(a);
    const q = BigInt(0xcd9e8d57) * BigInt(c);
    const [high0, low0] = [Number(p >> 32n), Number(p & 0xffffffffn)];
    const [high1, low1] = [Number(q >> 32n), Number(q & 0xffffffffn)];
    [a, b, c, d] = [(high1 ^ b ^ k0) >>> 0, low1, (high0 ^ d ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

function philoxWords(count: number, stream: number, key: readonly [number, number], put: Put): void {
  for (let i = 0; i < count; i += 4) {
    const block = philox([i / 4, 0, stream, 0], key);
    for (let j = 0; j < 4 && i + j < count; j++) put(i + j, block[j]!);
  }
}

// ---- in a kernel ------------------------------------------------------------------------------------------------------

type Key = readonly [Expr, Expr];

/** Row-major position of an index, modulo 2^32. */
function position(c: ElementContext, index: readonly Expr[]): Expr {
  let at: Expr = u32(0);
  for (const [axis, e] of index.entries()) at = add(mul(at, c.size(c.result.shape[axis]!)), e);
  return at;
}

const xor = (a: Expr, b: Expr): Expr => binary("bit_xor", a, b);
const right = (a: Expr, by: Expr): Expr => binary("shift_right", a, by);
const low16 = (a: Expr): Expr => binary("bit_and", a, u32(0xffff));
const high16 = (a: Expr): Expr => right(a, u32(16));

function pcgOf(c: ElementContext, at: Expr, stream: Expr, key: Key): Expr {
  const hash = (x: Expr): Expr => {
    const s = c.bind("state", add(mul(x, u32(747796405)), u32(2891336453)));
    const w = c.bind("word", mul(xor(right(s, add(right(s, u32(28)), u32(4))), s), u32(277803737)));
    return c.bind("hash", xor(right(w, u32(22)), w));
  };
  return hash(add(at, hash(add(stream, hash(add(key[0], hash(key[1])))))));
}

/** The upper half of a 64-bit product, by four products of 16 bits. */
function high32(c: ElementContext, a: number, b: Expr): Expr {
  const [low, high] = [u32(a & 0xffff), u32(a >>> 16)];
  const [bLow, bHigh] = [c.bind("low", low16(b)), c.bind("high", high16(b))];
  const u = c.bind("middle", add(mul(bLow, high), high16(mul(bLow, low))));
  const v = c.bind("middle", add(mul(bHigh, low), low16(u)));
  return add(add(mul(bHigh, high), high16(u)), high16(v));
}

function philoxOf(c: ElementContext, at: Expr, stream: Expr, key: Key): Expr {
  let words: [Expr, Expr, Expr, Expr] = [right(at, u32(2)), u32(0), stream, u32(0)];
  for (let round = 0; round < 10; round++) {
    const step = (word: Expr, by: number): Expr =>
      round === 0 ? word : add(word, constantExpr(Math.imul(by, round) >>> 0, U32));
    const [w0, w1, w2, w3] = words;
    words = [
      c.bind("c", xor(xor(high32(c, 0xcd9e8d57, w2), w1), step(key[0], 0x9e3779b9))),
      c.bind("c", mul(w2, u32(0xcd9e8d57))),
      c.bind("c", xor(xor(high32(c, 0xd2511f53, w0), w3), step(key[1], 0xbb67ae85))),
      c.bind("c", mul(w0, u32(0xd2511f53))),
    ];
  }
  const which = binary("bit_and", at, u32(3));
  const [w0, w1, w2, w3] = words;
  const is = (n: number): Expr => binary("eq", which, u32(n));
  return select(is(0), w0, select(is(1), w1, select(is(2), w2, w3)));
}
