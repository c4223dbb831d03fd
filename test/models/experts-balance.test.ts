// What is counted and tuned by forward passes, against numbers worked out by hand, on the reference, the kernel interpreter and the
// adapter: loss-free balancing, balance losses and diagnostics, the two-point estimator, random words, and gradients of a byte. That the
// host's own versions give the same numbers is in test/routing and test/tune.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { philox } from "../../src/ops/random.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { openAdapter } from "./support.ts";
import { everywhere, expectEverywhere, type Case } from "./worked-cases.ts";

const cases: readonly Case[] = [
  {
    about: "B1: biases moved by the sign of what is too much, four times",
    model: `block Loads (s: f32[6, 3], bias: f32[3]) -> f32[3] {
      ids, w = route(s, k = 1, scores = logits, bias = bias)
      return sum(cast(ids == iota(dims = [3], dtype = u32), dtype = f32), axes = [0])
    }
    block Moved (bias: f32[3], load: f32[3]) -> f32[3] {
      return bias + where(load < 2, 0.05, where(load > 2, -0.05, 0))
    }
    model m (s: f32[6, 3]) -> (a: f32[3], b: f32[3], c: f32[3], d: f32[3], bias: f32[3], violation: f32[]) {
      b0 = constant(value = 0.0, dtype = f32) |> broadcast_to(dims = [3])
      a = Loads(s, b0)
      b1 = Moved(b0, a)
      b = Loads(s, b1)
      b2 = Moved(b1, b)
      c = Loads(s, b2)
      b3 = Moved(b2, c)
      d = Loads(s, b3)
      return a = a, b = b, c = c, d = d, bias = b3, violation = reduce_max(d, axes = [0]) / 2 - 1
    }`,
    inputs: {
      s: [
        [0.92, 0.53, 0.11],
        [0.83, 0.61, 0.24],
        [0.71, 0.32, 0.66],
        [0.86, 0.47, 0.33],
        [0.64, 0.57, 0.52],
        [0.97, 0.28, 0.15],
      ],
    },
    outputs: { a: [6, 0, 0], b: [4, 1, 1], c: [4, 1, 1], d: [3, 2, 1], bias: [-0.15, 0.15, 0.15], violation: 0.5 }, // prettier-ignore
  },
  {
    about: "L1: the balance loss within micro-batches of one token, and over both",
    model: `model m (z: f32[2, 1, 2]) -> (micro: f32[], whole: f32[]) {
      p = softmax(z)
      ids, w = route(z, k = 1)
      f = cast(ids == iota(dims = [2], dtype = u32), dtype = f32)
      within = 2 * sum(mean(f, axes = [1]) * mean(p, axes = [1]), axes = [1])
      whole = 2 * sum(mean(f, axes = [0, 1]) * mean(p, axes = [0, 1]), axes = [0])
      return micro = mean(within, axes = [0]), whole = whole
    }`,
    // Logarithms of the probabilities 0.9, 0.1 and 0.2, 0.8.
    inputs: { z: [[[Math.log(0.9), Math.log(0.1)]], [[Math.log(0.2), Math.log(0.8)]]] },
    outputs: { micro: 1.7, whole: 1 },
  },
  {
    about: "L2: the z-loss",
    model: `model m (z: f32[2, 4]) -> (loss: f32[]) {
      most = reduce_max(z, axes = [1], keepdims = true)
      total = most + log(sum(exp(z - most), axes = [1], keepdims = true))
      return loss = mean(square(total), axes = [0, 1])
    }`,
    inputs: { z: [[2, 1, 0, -1], [0, 0, 0, 0]] }, // prettier-ignore
    outputs: { loss: 3.938168 },
  },
  {
    about: "L3: violation, variation and entropy of the loads 10, 4, 2, 0",
    model: `model m (ids: u32[16, 1]) -> (loads: f32[4], violation: f32[], variation: f32[], entropy: f32[]) {
      loads = sum(cast(ids == iota(dims = [4], dtype = u32), dtype = f32), axes = [0])
      average = mean(loads, axes = [0])
      share = loads / 16
      bits = where(share > 0, share * log(maximum(share, 1e-30)), 0)
      return
        loads = loads,
        violation = reduce_max(loads, axes = [0]) / average - 1,
        variation = sqrt(mean(square(loads - average), axes = [0])) / average,
        entropy = -sum(bits, axes = [0]) / 1.3862943611198906
    }`,
    inputs: { ids: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2].map((e) => [e]) },
    outputs: { loads: [10, 4, 2, 0], violation: 1.5, variation: 0.935414, entropy: 0.649397 },
  },
  {
    about: "Z1: the estimator on a sum of squares, and a step by it",
    model: `block Loss (theta: f32[3]) -> f32[] { return sum(square(theta), axes = [0]) }
    model m (theta: f32[3], z: f32[3]) -> (g: f32[], moved: f32[3], loss: f32[]) {
      g = (Loss(theta + 0.001 * z) - Loss(theta - 0.001 * z)) / 0.002
      moved = theta - 0.01 * g * z
      return g = g, moved = moved, loss = Loss(moved)
    }`,
    inputs: { theta: [1, -2, 0.5], z: [1, -1, 1] },
    outputs: { g: 7, moved: [0.93, -1.93, 0.43], loss: 4.7747 },
    // Two losses of 5.25 in f32, 4.8e-7 apart at best, over 0.002.
    within: 1e-3,
  },
  {
    about: "Z3: gradients as bytes",
    model: `model m (g: f32[5]) -> (byte: f32[5]) {
      exponent = minimum(maximum(round(8 * log(maximum(abs(g), 1e-30))), -63), 63)
      return byte = where(g == 0, 0, exponent + 64 + where(g < 0, 128, 0))
    }`,
    inputs: { g: [7, -0.05, 1e-6, 1e6, 0] },
    outputs: { byte: [0x50, 0xa8, 0x01, 0x7f, 0x00] },
  },
  {
    about: "Z2: PCG of 4294967295, 0, 1 and 2",
    // The stream is the one at which the sum that is hashed last is 4294967295 at position 0 of the key 0, 0.
    model: `model m (key: u32[2]) -> (words: u32[4]) {
      return words = random_bits(key, dims = [4], stream = 1404286585)
    }`,
    inputs: { key: [0, 0] },
    outputs: { words: [0xe62a4902, 0x07bb2fe2, 0xa8beea3c, 0x7a7ecc88] },
  },
];

describe("balance and tuning", { timeout: 300_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(cases)("$about", (c) => expectEverywhere(c, opened));

  it.each([
    [[0, 0] as const, [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
    [[0xa4093822, 0x299f31d0] as const, philox([0, 0, 0, 0], [0xa4093822, 0x299f31d0])],
  ])("Z2: Philox4x32-10 of the counter 0 and the key %j", async (key, words) => {
    const model = `model m (key: u32[2]) -> (words: u32[4]) {
      return words = random_bits(key, dims = [4], generator = philox)
    }`;
    for (const [place, outputs] of await everywhere({ model, inputs: { key: [...key] } }, opened))
      expect([...outputs["words"]!.data], place).toEqual(words);
  });
});
