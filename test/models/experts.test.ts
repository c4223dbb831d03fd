// Routers and layers of experts against numbers worked out by hand (in f64, six digits): on the reference, the kernel interpreter and the
// adapter. Each case is a model; outputs are compared by name.

import { afterAll, beforeAll, describe, it } from "vitest";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { openAdapter } from "./support.ts";
import { expectEverywhere, type Case } from "./worked-cases.ts";

const example5 = [
  [2, 1, 0],
  [1.5, 1, 0.5],
  [2, 0, 1],
  [3, 0.5, 1],
];
const example2 = [[1, 0.5, -0.2, 0.3, 2, -3, 0.1, 0]];
const biases = [-0.9, -0.9, -0.1, -0.1, -1.5, -0.1, -0.9, -0.9];

const cases: readonly Case[] = [
  {
    about:
      "gates: without and with division by the sum, top-k before softmax, ties, a bias that only chooses",
    model: `model m (z: f32[1, 4], same: f32[1, 3], bias: f32[4]) -> (
      a: f32[1, 2], b: f32[1, 2], c: f32[1, 2], tie: u32[1, 2], moved: u32[1, 2], kept: f32[1, 2], shifted: u32[1, 2]
    ) {
      i, a = route(z, k = 2)
      i, b = route(z, k = 2, renorm = true)
      i, c = route(z, k = 2, scores = logits, weights = softmax)
      tie, w = route(same, k = 2)
      moved, kept = route(z, k = 2, bias = bias)
      shifted, w = route(z, k = 2, bias = bias + 5)
      return a = a, b = b, c = c, tie = tie, moved = moved, kept = kept, shifted = shifted
    }`,
    inputs: { z: [[2, 1, 0, -1]], same: [[1, 1, 1]], bias: [0, -1, 0, 0.5] },
    outputs: {
      a: [[0.643914, 0.236883]],
      b: [[0.731059, 0.268941]],
      c: [[0.731059, 0.268941]],
      tie: [[0, 1]],
      moved: [[0, 3]],
      kept: [[0.643914, 0.032059]],
      shifted: [[0, 3]],
    },
  },
  {
    about: "DeepSeek-V3 and V2: groups",
    model: `model m (z: f32[1, 8], bias: f32[8]) -> (v3: u32[1, 3], w3: f32[1, 3], v2: u32[1, 2], w2: f32[1, 2]) {
      v3, w3 = route(
        z, k = 3, bias = bias, scores = sigmoid, renorm = true, eps = 1e-20, scale = 2.5,
        groups = 4, keep_groups = 2, group_score = top2,
      )
      v2, w2 = route(z, k = 2, scale = 16, groups = 4, keep_groups = 2)
      return v3 = v3, w3 = w3, v2 = v2, w2 = w2
    }`,
    inputs: { z: example2, bias: biases },
    outputs: {
      v3: [[3, 2, 0]],
      w3: [[0.817983, 0.641018, 1.040998]],
      v2: [[4, 0]],
      w2: [[7.352474, 2.704824]],
    },
  },
  {
    about: "a DeepSeekMoE layer",
    model: `import { Moe } from "std/experts"
    import { SwiGlu } from "std/transformer"
    import { SoftmaxRouter } from "std/routers"
    model m (x: f32[1, 2]) -> (y: f32[1, 2]) {
      expert = SwiGlu(hidden = 1)
      return y = x |> Moe(experts = 4, router = SoftmaxRouter(k = 2), expert = expert, shared = expert)
    }`,
    inputs: { x: [[1, -0.5]] },
    weights: {
      "gate.weight": [[2, 0], [0, -2], [0, 0], [-1, 0]], // prettier-ignore
      "experts.*.gate_proj.weight": [[[1, 0]], [[0, 1]], [[9, 9]], [[9, 9]]],
      "experts.*.up_proj.weight": [[[1, 1]], [[1, -1]], [[9, 9]], [[9, 9]]],
      "experts.*.down_proj.weight": [
        [[1], [0]],
        [[0], [1]],
        [[9], [9]],
        [[9], [9]],
      ],
      "shared_experts.gate_proj.weight": [[0.5, 0.5]],
      "shared_experts.up_proj.weight": [[1, 0]],
      "shared_experts.down_proj.weight": [[0.5], [0.5]],
    },
    outputs: { y: [[0.305642, 0.003197]] },
  },
  {
    about: "GShard: three seats an expert, first choices before second, divided by the sum after that",
    model: `import { Capacity } from "std/routers"
    model m (z: f32[4, 3]) -> (ids: u32[4, 2], weights: f32[4, 2]) {
      i, w = route(z, k = 2)
      ids, weights = Capacity(i, w, experts = 3, capacity = 3, renorm = true)
      return ids = ids, weights = weights
    }`,
    inputs: { z: example5 },
    outputs: {
      ids: [[0, 1], [0, 1], [0, 2], [3, 2]], // prettier-ignore
      weights: [[0.731059, 0.268941], [0.622459, 0.377541], [0.731059, 0.268941], [0, 1]], // prettier-ignore
    },
  },
  {
    about: "expert choice: the two tokens of each expert, the lower one of two alike",
    model: `model m (s: f32[3, 4]) -> (weights: f32[3, 2], tokens: u32[3, 2]) {
      weights, tokens = s |> top_k(k = 2)
      return weights = weights, tokens = tokens
    }`,
    // Softmax of example 5, by expert.
    inputs: {
      s: [
        [0.665241, 0.50648, 0.665241, 0.821409],
        [0.244728, 0.307196, 0.090031, 0.067425],
        [0.090031, 0.186324, 0.244728, 0.111166],
      ],
    },
    outputs: {
      weights: [[0.821409, 0.665241], [0.307196, 0.244728], [0.244728, 0.186324]], // prettier-ignore
      tokens: [[3, 0], [1, 0], [2, 1]], // prettier-ignore
    },
  },
  {
    about: "an expert-choice layer is the sum over its choices",
    model: `import { ExpertChoiceMoe } from "std/experts"
    block Times (x: f32[N, d]) -> f32[N, d] {
      weight factor: f32[1]
      return x * factor
    }
    model m (z: f32[4, 3]) -> (y: f32[4, 3]) {
      return y = z |> ExpertChoiceMoe(experts = 3, capacity = 2, expert = Times)
    }`,
    inputs: { z: [[2, 1, 0], [1.5, 1, 0.5], [2, 0, 0.9], [3, 0.5, 1]] }, // prettier-ignore
    weights: {
      "gate.weight": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], // prettier-ignore
      "experts.*.factor": [[1], [10], [100]],
    },
    outputs: {
      y: [
        [4.894569, 2.447285, 0],
        [32.556497, 21.704331, 10.852166],
        [46.706116, 0, 21.017752],
        [2.464227, 0.410705, 0.821409],
      ],
    },
  },
  {
    about: "Soft MoE",
    model: `import { SoftMoe } from "std/experts"
    block Times (x: f32[N, d]) -> f32[N, d] {
      weight factor: f32[1]
      return x * factor
    }
    model m (x: f32[1, 3, 2]) -> (y: f32[1, 3, 2]) {
      return y = x |> SoftMoe(experts = 2, expert = Times)
    }`,
    inputs: { x: [[[3, 4], [0, 2], [1, 0]]] }, // prettier-ignore
    weights: { mu: [[[1], [0]], [[0], [2]]], scale: [1], "experts.*.factor": [[1], [10]] }, // prettier-ignore
    outputs: { y: [[[7.766284, 14.01876], [9.839135, 18.086751], [4.553427, 7.713498]]] }, // prettier-ignore
  },
  {
    about: "BASE: the lower of two equal centroids, and the token itself for the rest",
    model: `import { BaseMoe } from "std/experts"
    import { BaseRouter } from "std/routers"
    block Zero (x: f32[N, d]) -> f32[N, d] {
      weight factor: f32[1]
      return x * factor
    }
    model m (x: f32[1, 2]) -> (y: f32[1, 2]) {
      return y = x |> BaseMoe(experts = 2, router = BaseRouter, expert = Zero)
    }`,
    inputs: { x: [[1, 2]] },
    weights: { expert_centroids: [[0.5, 0.25], [-1, 1]], "expert_network.*.factor": [[0], [100]] }, // prettier-ignore
    outputs: { y: [[0.268941, 0.537883]] },
  },
  {
    about: "MoE++: the factor is on what experts see; the zero expert leaves all to the other one",
    model: `import { ChosenFrom, ConstantExpert } from "std/experts"
    block Toy (x: f32[N, 2]) -> f32[N, 2] {
      a = slice(x, axis = 1, end = 1)
      b = slice(x, axis = 1, start = 1)
      return concat(a * b, a + b, axis = 1)
    }
    model m (x: f32[2, 2], z: f32[2, 6]) -> (y: f32[2, 2], late: f32[2, 2]) {
      ids, weights = route(z, k = 2, renorm = true, weightless = 5)
      double = x * 2
      constant = double |> ConstantExpert() @c
      y = Toy(double) * ChosenFrom(ids, weights, from = 0, count = 1) + constant * ChosenFrom(ids, weights, from = 2, count = 1)
      constant = x |> ConstantExpert() @c shared
      late = 2 * (Toy(x) * ChosenFrom(ids, weights, from = 0, count = 1) + constant * ChosenFrom(ids, weights, from = 2, count = 1))
      return y = y, late = late
    }`,
    inputs: {
      x: [[1, -1], [1, -1]], // prettier-ignore
      z: [[0.5, -1, 1, -2, 0.2, -0.3], [0.5, -1, -1, -2, 0.2, 1]], // prettier-ignore
    },
    weights: { "c.wg.weight": [[1, 0], [0, 1]], "c.constant": [0.3, 0.7] }, // prettier-ignore
    outputs: {
      y: [[-0.284277, -1.21469], [-4, 0]], // prettier-ignore
      // A factor on the outputs instead would be another function.
      late: [[0.385957, -0.992642], [-2, 0]], // prettier-ignore
    },
  },
  {
    about: "a token with NaN is alone with it: its slots have no expert",
    model: `model m (z: f32[2, 3]) -> (ids: u32[2, 2], weights: f32[2, 2]) {
      ids, weights = route(z, k = 2)
      return ids = ids, weights = weights
    }`,
    inputs: { z: [[NaN, 1, NaN], [2, 1, 0]] }, // prettier-ignore
    outputs: { ids: [[1, 3], [0, 1]], weights: [[1, 0], [0.665241, 0.244728]] }, // prettier-ignore
  },
  {
    about: "infinite logits, no number at all, and weights whose sum is 0 give no NaN",
    model: `model m (z: f32[3, 3]) -> (ids: u32[3, 2], weights: f32[3, 2], alone: f32[3, 1]) {
      ids, weights = route(z, k = 2, renorm = true)
      i, alone = route(z, k = 1, renorm = true, weightless = 0)
      return ids = ids, weights = weights, alone = alone
    }`,
    inputs: { z: [[Infinity, 1, 0], [NaN, NaN, NaN], [-Infinity, 0, 0]] }, // prettier-ignore
    outputs: { ids: [[0, 1], [3, 3], [1, 2]], weights: [[1, 0], [0, 0], [0.5, 0.5]], alone: [[0], [0], [0]] }, // prettier-ignore
  },
  {
    about: "padding has no expert, and takes nobody's seat",
    model: `import { Capacity } from "std/routers"
    model m (z: f32[3, 3], real: f32[3, 1]) -> (open: u32[3, 1], ids: u32[3, 1]) {
      i, w = route(z, k = 1)
      open, w1 = Capacity(i, w, experts = 3, capacity = 1)
      ids, w2 = Capacity(where(real > 0, i, 3), w, experts = 3, capacity = 1)
      return open = open, ids = ids
    }`,
    inputs: { z: [[2, 1, 0], [2, 1, 0], [2, 1, 0]], real: [[0], [1], [1]] }, // prettier-ignore
    outputs: { open: [[0], [3], [3]], ids: [[3], [0], [3]] }, // prettier-ignore
  },
];

describe("worked examples", { timeout: 300_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it.each(cases)("$about", (c) => expectEverywhere(c, opened));
});
