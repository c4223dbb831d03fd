// Dimensions: the normal form keeps values, and its text reads back.

import { describe, expect, test } from "vitest";
import * as d from "../../src/ir/dim.ts";
import { parseDim, parseDimAt } from "../../src/ir/dim-parse.ts";
import { random, randomDim, randomEnv, symbolNames } from "./random.ts";

const { dim } = d;
const [B, H, T] = [dim("B"), dim("H"), dim("T")];
const conv = (size: d.Dim, kernel: number, stride: number, pad: number) =>
  d.addDim(d.floorDiv(d.addDim(size, dim(2 * pad - kernel)), dim(stride)), dim(1));

describe("normal form", () => {
  test.each([
    [d.addDim(B, d.mulDim(B, T)), "B*T + B"],
    [d.subDim(H, H), "0"],
    [d.negDim(d.addDim(B, dim(1))), "-B - 1"],
    [d.floorDiv(d.addDim(d.mulDim(H, dim(4)), dim(3)), dim(4)), "H"],
    [d.floorDiv(d.mulDim(H, dim(2)), dim(4)), "floor(H/2)"],
    [d.floorDiv(d.addDim(d.mulDim(H, dim(2)), dim(3)), dim(4)), "floor((H + 1)/2)"],
    [d.floorDiv(dim(-7), dim(2)), "-4"],
    [d.floorDiv(dim(7), dim(-2)), "-4"],
    [d.floorDiv(d.floorDiv(H, dim(2)), dim(3)), "floor(H/6)"],
    [d.ceilDiv(H, dim(2)), "floor((H + 1)/2)"],
    [conv(conv(conv(H, 7, 4, 2), 3, 2, 1), 3, 2, 1), "floor((H + 13)/16)"],
    [d.minDim(d.addDim(T, dim(1)), T), "T"],
    [d.maxDim(d.addDim(T, dim(1)), T), "T + 1"],
    [d.minDim(T, B), "min(B, T)"],
    [d.minDim(B, T), "min(B, T)"],
  ])("%#: %s", (value, text) => expect(value.key).toBe(text));

  test("exact division knows products and sums", () => {
    const tokens = d.addDim(T, dim(1));
    expect(d.divideExact(d.mulDim(d.mulDim(B, tokens), dim(6)), tokens)?.key).toBe("6*B");
    expect(d.divideExact(d.mulDim(B, T), T)?.key).toBe("B");
    expect(d.divideExact(H, dim(4))).toBeUndefined();
    expect(d.divideExact(d.addDim(B, T), T)).toBeUndefined();
    expect(d.divideExact(dim(0), dim(0))).toBeUndefined();
    expect(d.divideExact(dim(0), T)?.key).toBe("0");
  });

  test("names that every object has are names like others", () => {
    expect(d.substituteDim(dim("constructor"), {}).key).toBe("constructor");
    expect(() => d.evaluateDim(dim("toString"), {})).toThrow("toString has no value");
  });
});

test("random dimensions keep their value, through text and substitution too", { timeout: 60_000 }, () => {
  for (let seed = 0; seed < 3000; seed++) {
    const r = random(seed);
    const made = randomDim(r, 1 + r.below(4));
    const text = d.showDim(made.dim);
    const read = parseDim(text);
    // Products of sums can pass the reader's limits; nothing else may be refused.
    if (!read && made.dim.terms.length > 30) continue;
    expect(read, `seed ${seed}: ${text}`).toEqual(made.dim);
    for (let i = 0; i < 3; i++) {
      const env = randomEnv(r);
      const expected = made.value(env);
      expect(d.evaluateDim(made.dim, env) + 0, `seed ${seed}: ${text} ${JSON.stringify(env)}`).toBe(
        expected + 0,
      );
      const numbers = Object.fromEntries(symbolNames.map((n) => [n, dim(env[n]!)]));
      expect(d.constantOf(d.substituteDim(made.dim, numbers)), `seed ${seed}: ${text}`).toBe(expected + 0);
      const n = 1 + r.below(6);
      if (d.isMultipleOf(made.dim, n)) expect(Math.abs(expected % n)).toBe(0);
    }
  }
});

test("exact division undoes multiplication", () => {
  for (let seed = 0; seed < 500; seed++) {
    const r = random(seed);
    const a = randomDim(r, 2).dim;
    const b = randomDim(r, 2).dim;
    if (b.terms.length === 0) continue;
    expect(d.divideExact(d.mulDim(a, b), b)?.key, `seed ${seed}: (${a.key})*(${b.key})`).toBe(a.key);
  }
});

describe("parseDim", () => {
  test.each([
    ["B*T", "B*T"],
    [" 4 * H / 2 ", "2*H"],
    ["ceil(H/2)", "floor((H + 1)/2)"],
    ["floor(H/2/2 + 1)", "floor(H/4) + 1"],
    ["-(B - 2)", "-B + 2"],
    ["min(T, 8) * 2", "2*min(8, T)"],
    ["floor(H/(2*W))", "floor(H/(2*W))"],
  ])("%s", (text, key) => expect(parseDim(text)?.key).toBe(key));

  test.each([
    ["H/4", "H is not a multiple of 4: write floor(...) or ceil(...)", 2],
    ["", "expected a dimension: a number, a name, or floor(a/b)", 0],
    ["B +", "expected a dimension: a number, a name, or floor(a/b)", 3],
    ["floor(H/0)", "the divisor must be positive", 8],
    ["floor(H/-2)", "the divisor must be positive", 8],
    ["(B", "expected `)`", 2],
    ["min(B)", "expected `,`", 5],
    ["99999999999999999999", "the number is too large", 0],
  ])("refuses %s", (text, message, at) => {
    expect(parseDimAt(text, 0)).toEqual({ ok: false, message, at });
    expect(parseDim(text)).toBeUndefined();
  });

  test("has limits on nesting, terms and numbers", () => {
    expect(parseDim("(".repeat(5000) + "B" + ")".repeat(5000))).toBeUndefined();
    expect(parseDim("-".repeat(5000) + "B")).toBeUndefined();
    expect(parseDim(Array.from({ length: 40 }, () => "(A + B + C + D)").join("*"))).toBeUndefined();
    expect(parseDim(Array.from({ length: 400 }, (_, i) => `x${i}`).join(" + "))).toBeUndefined();
    expect(parseDim(Array.from({ length: 30 }, () => "1000").join("*"))).toBeUndefined();
    expect(parseDim("B T")).toBeUndefined();
  });
});
