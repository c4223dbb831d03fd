// Tuning without a device: gradients as bytes, logs and their merging, the estimator, and the random numbers behind the directions.

import { describe, expect, it, test } from "vitest";
import { pcg, philox } from "../../src/ops/random.ts";
import {
  byteOf,
  completeSteps,
  gradientOf,
  mergeLogs,
  readLog,
  writeLog,
  type TuneLog,
} from "../../src/tune/log.ts";
import { measureStep, projectedGradient, replay, tune, type Key, type Tunable } from "../../src/tune/spsa.ts";

const settings = { model: "m", tuned: "abc", seed: 7, epsilon: 1e-3, rate: 0.01, samples: 2 };
const log = (...entries: (readonly [number, number])[]): TuneLog => ({
  settings,
  entries: entries.map(([id, byte]) => ({ id, byte })),
});

describe("a gradient in a byte", () => {
  test.each([
    [7, 0x50, 7.389056],
    [-0.05, 0xa8, -0.049787],
    [1e-6, 0x01, Math.exp(-63 / 8)],
    [1e6, 0x7f, Math.exp(63 / 8)],
    [0, 0x00, 0],
    [NaN, 0x00, 0],
    [-Infinity, 0x00, 0],
  ])("%d is sent as %d", (gradient, byte, restored) => {
    expect(byteOf(gradient)).toBe(byte);
    expect(gradientOf(byte)).toBeCloseTo(restored, 5);
  });

  it("comes back within 6.5 % over the whole range", () => {
    for (let k = -7.8; k < 7.8; k += 0.01)
      for (const sign of [1, -1]) {
        const g = sign * Math.exp(k);
        expect(Math.abs(gradientOf(byteOf(g)) / g - 1)).toBeLessThan(0.0653);
      }
  });
});

describe("random words", () => {
  it("PCG", () => {
    expect([0, 1, 2, 0xffffffff].map(pcg)).toEqual([0x07bb2fe2, 0xa8beea3c, 0x7a7ecc88, 0xe62a4902]);
  });
  it("Philox4x32-10", () => {
    const ones = 0xffffffff;
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ]);
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });
});

test("the estimator, on a sum of squares", () => {
  const z = [1, -1, 1];
  const square = (theta: readonly number[]) => theta.reduce((s, t) => s + t * t, 0);
  const theta = [1, -2, 0.5];
  const at = (e: number) => square(theta.map((t, i) => t + e * z[i]!));
  expect(at(1e-3)).toBeCloseTo(5.257003, 6);
  expect(at(-1e-3)).toBeCloseTo(5.243003, 6);
  const g = projectedGradient(at(1e-3), at(-1e-3), 1e-3);
  expect(g).toBeCloseTo(7, 5);
  expect(square(theta.map((t, i) => t - 0.01 * g * z[i]!))).toBeCloseTo(4.7747, 4);
});

describe("a log", () => {
  const whole = log([0, 0x50], [1, 0xa8], [2, 0], [3, 1], [4, 9]);

  it("is read back, and takes five bytes a direction", () => {
    const bytes = writeLog(whole);
    expect(readLog(bytes, "x.log")).toEqual(whole);
    expect(bytes.length - writeLog(log()).length).toBe(25);
  });

  test.each<readonly [string, (bytes: Uint8Array) => Uint8Array, RegExp]>([
    ["cut off", (b) => b.subarray(0, -2), /cut off/],
    ["empty", () => new Uint8Array(), /no line of settings/],
    ["no JSON", (b) => Uint8Array.from(b, (x, i) => (i === 0 ? 0x78 : x)), /not JSON/],
    ["another format", () => new TextEncoder().encode("{}\n"), /does not say/],
    [
      "a later version",
      () => new TextEncoder().encode('{"format":"tokenloom-tune","version":2}\n'),
      /version 2/,
    ],
    [
      "a setting missing",
      () => new TextEncoder().encode('{"format":"tokenloom-tune","version":1}\n'),
      /missing/,
    ],
    [
      "directions out of order",
      (b) => Uint8Array.from([...b.subarray(0, -10), ...b.subarray(-5), ...b.subarray(-10, -5)]),
      /not in order/,
    ],
  ])("that is wrong is refused: %s", (_, spoil, message) => {
    expect(() => readLog(spoil(writeLog(whole)), "x.log")).toThrow(message);
  });

  it("counts only steps that are whole", () => {
    expect(completeSteps(whole)).toBe(2);
    expect(completeSteps(log([0, 1], [2, 1], [3, 1]))).toBe(0);
    expect(completeSteps(log())).toBe(0);
  });

  it("is joined with others to the same bytes in any order", () => {
    const parts = [log([0, 1], [2, 3]), log([1, 2]), log([3, 4], [0, 1])].map((l, i) => ({
      name: `${i}`,
      log: l,
    }));
    const orders = [
      [0, 1, 2],
      [2, 1, 0],
      [1, 2, 0],
    ];
    for (const order of orders)
      expect(mergeLogs(order.map((i) => parts[i]!))).toEqual(log([0, 1], [1, 2], [2, 3], [3, 4]));
  });

  it("is not joined with one of another tuning, or one that disagrees", () => {
    const other = { name: "b", log: { settings: { ...settings, rate: 1 }, entries: [] } };
    expect(() => mergeLogs([{ name: "a", log: whole }, other])).toThrow(/b has rate 1, and a has 0.01/);
    expect(() =>
      mergeLogs([
        { name: "a", log: log([0, 1]) },
        { name: "b", log: log([0, 2]) },
      ]),
    ).toThrow(/direction 0/);
  });
});

/** A quadratic on the processor, with signs of three elements. */
class Quadratic implements Tunable {
  theta = [1, -2, 0.5];
  readonly broken: ReadonlySet<number>;
  constructor(broken: readonly number[] = []) {
    this.broken = new Set(broken);
  }
  static signs([seed, id]: Key): number[] {
    return [0, 1, 2].map((i) => (pcg(i + pcg(id + pcg(seed))) < 0x80000000 ? 1 : -1));
  }
  async loss(key: Key, epsilon: number): Promise<number> {
    if (this.broken.has(key[1])) return NaN;
    const z = Quadratic.signs(key);
    return this.theta.reduce((s, t, i) => s + (t + epsilon * z[i]!) ** 2, 0);
  }
  async move(key: Key, amount: number): Promise<void> {
    const z = Quadratic.signs(key);
    this.theta = this.theta.map((t, i) => t - amount * z[i]!);
  }
}

describe("tuning", () => {
  it("goes down, and its log leads to the same place", async () => {
    const one = new Quadratic();
    const losses: number[] = [];
    const done = await tune(one, log(), 200, (r) => losses.push(r.loss));
    expect(losses[0]).toBeCloseTo(5.25, 3);
    expect(losses.at(-1)!).toBeLessThan(0.05);
    const other = new Quadratic();
    expect(await replay(other, readLog(writeLog(done), "x"))).toBe(200);
    expect(other.theta).toEqual(one.theta);
  });

  it("goes on from a log as if it had not stopped", async () => {
    const whole = new Quadratic();
    const all = await tune(whole, log(), 10);
    const first = await tune(new Quadratic(), log(), 4);
    const again = new Quadratic();
    expect(await tune(again, first, 6)).toEqual(all);
    expect(again.theta).toEqual(whole.theta);
  });

  it("is the same with two workers as with one", async () => {
    const alone = await tune(new Quadratic(), log(), 5);
    let shared = log();
    for (let step = 0; step < 5; step++) {
      const parts = [];
      for (const worker of [1, 0]) {
        const here = new Quadratic();
        await replay(here, shared);
        const { entries } = await measureStep(here, shared, step, { worker, of: 2 });
        parts.push({ name: String(worker), log: { settings, entries } });
      }
      shared = mergeLogs([{ name: "so far", log: shared }, ...parts]);
    }
    expect(shared).toEqual(alone);
  });

  it("skips and counts directions whose loss is no number", async () => {
    const target = new Quadratic([1]);
    let skipped = 0;
    const done = await tune(target, log(), 1, (r) => (skipped += r.skipped));
    expect(skipped).toBe(1);
    expect(done.entries[1]).toEqual({ id: 1, byte: 0 });
    expect(target.theta.every(Number.isFinite)).toBe(true);
  });
});
