// Edge cases of routed experts: one policy for all routers. What is refused while compiling, and what is computed in each of the three places.

import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { withDefaults } from "../../src/ir/graph.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { routeRow } from "../../src/ops/route.ts";
import { routingReport } from "../../src/routing/report.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { compileText, openAdapter } from "./support.ts";
import { everywhere } from "./worked-cases.ts";

const routing = (
  experts: number,
  attrs: string,
): string => `model m (z: f32[T, ${experts}]) -> (ids: u32[T, n]) {
  ids, w = route(z, ${attrs})
  return ids = ids
}`;

/** All that the compiler says of what is wrong with a model. */
function problemOf(text: string): string {
  try {
    compileText(text);
  } catch (e) {
    if (e instanceof InputError) return JSON.stringify(e.diagnostics);
    throw e;
  }
  throw new Error("it was compiled");
}

describe("is refused while compiling, with both numbers", () => {
  test.each([
    ["more choices than experts", 4, "k = 5", /k = 5/, /1 to 4/],
    ["no choice", 4, "k = 0", /k = 0/, /1 to 4/],
    ["no experts", 0, "k = 1", /k = 1/, /1 to 0/],
    ["groups that do not divide", 4, "k = 1, groups = 3", /3 groups/, /4 experts/],
    ["too few experts in the groups that stay", 8, "k = 3, groups = 4", /1 groups of 2/, /k = 3/],
  ])("%s", (_, experts, attrs, first, second) => {
    const said = problemOf(routing(experts, attrs));
    expect(said).toMatch(first);
    expect(said).toMatch(second);
  });
});

/** Logits of many tokens with many ties: eighths of small whole numbers, from a counter. */
function tied(tokens: number, experts: number): number[][] {
  let state = 7;
  const next = (): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 29;
  return Array.from({ length: tokens }, () => Array.from({ length: experts }, () => next() / 8));
}

describe("on the reference, the interpreter and the adapter", { timeout: 300_000 }, () => {
  let opened: OpenedDevice;
  beforeAll(async () => void (opened = await openAdapter()));
  afterAll(() => opened?.device.destroy());

  it("no token has an expert twice, whatever ties there are, and all choices are the same", async () => {
    const z = tied(300, 6);
    const attrs = withDefaults(lookupOp("route")!, { k: 4, groups: 3, keep_groups: 2, group_score: "top2" });
    const wanted = z.map((row) => routeRow(row, undefined, attrs).experts);
    const model = `model m (z: f32[300, 6]) -> (ids: u32[300, 4]) {
      ids, w = route(z, k = 4, groups = 3, keep_groups = 2, group_score = top2, scores = logits)
      return ids = ids
    }`;
    for (const row of wanted) expect(new Set(row).size).toBe(4);
    for (const [place, { ids }] of await everywhere({ model, inputs: { z } }, opened)) {
      const got = z.map((_, t) => [...ids!.data.slice(4 * t, 4 * t + 4)]);
      for (const row of got) expect(new Set(row).size, place).toBe(4);
      const plain = withDefaults(lookupOp("route")!, { ...attrs, scores: "logits" });
      expect(got, place).toEqual(z.map((row) => routeRow(row, undefined, plain).experts));
    }
  });

  it("E = K: every expert of every token, best first", async () => {
    const model = `model m (z: f32[2, 3]) -> (ids: u32[2, 3]) {
      ids, w = route(z, k = 3)
      return ids = ids
    }`;
    for (const [place, { ids }] of await everywhere(
      {
        model,
        inputs: {
          z: [
            [1, 3, 2],
            [0, 0, 0],
          ],
        },
      },
      opened,
    ))
      // prettier-ignore
      expect([...ids!.data], place).toEqual([1, 2, 0, 0, 1, 2]);
  });

  it("a NaN logit changes its own token alone, to the bit, and is counted once", async () => {
    const z = tied(5, 4);
    const broken = z.map((row, t) => (t === 2 ? [row[0]!, NaN, row[2]!, row[3]!] : row));
    const model = `model m (z: f32[5, 4]) -> (ids: u32[5, 2], weights: f32[5, 2]) {
      ids, weights = route(z, k = 2, renorm = true)
      return ids = ids, weights = weights
    }`;
    const sound = await everywhere({ model, inputs: { z } }, opened);
    const spoilt = await everywhere({ model, inputs: { z: broken } }, opened);
    spoilt.forEach(([place, { ids, weights }], i) => {
      const [, before] = sound[i]!;
      for (let at = 0; at < 10; at++) {
        if (Math.floor(at / 2) === 2) continue;
        expect(ids!.data[at], place).toBe(before["ids"]!.data[at]);
        expect(weights!.data[at], place).toBe(before["weights"]!.data[at]);
      }
      expect([...ids!.data.slice(4, 6)], place).not.toContain(1);
      const attrs = withDefaults(lookupOp("route")!, { k: 2, renorm: true });
      const [report] = routingReport([{ layer: "m", attrs, logits: tensor("f32", [5, 4], broken.flat()), ids: ids! }]); // prettier-ignore
      expect(report!.nan, place).toBe(1);
    });
  });

  it("weights of a router in f16 are as good as the same numbers in f32: sums and scores are in f32", async () => {
    // Both products are exact in f32 and differ by 2^-12 of them: in f16 they would be equal, and expert 0 would win.
    const layer = (dtype: string): string => `model m (x: f32[1, 2]) -> (ids: u32[1, 1]) {
      weight table: ${dtype}[2, 2]
      ids, w = x |> linear(weight = ${dtype === "f16" ? "cast(table, dtype = f32)" : "table"}, bias = none) |> route(k = 1)
      return ids = ids
    }`;
    const inputs = { x: [[1, 2 ** -12]] };
    const weights = { table: [[1, 0], [1, 1]] }; // prettier-ignore
    for (const dtype of ["f32", "f16"])
      for (const [place, { ids }] of await everywhere({ model: layer(dtype), inputs, weights }, opened))
        expect([...ids!.data], `${dtype}, ${place}`).toEqual([1]);
  });

  it("with a capacity a token depends on the others of its batch, and without one it does not", async () => {
    const model = (tokens: number): string => `import { Capacity } from "std/routers"
    model m (z: f32[${tokens}, 3]) -> (ids: u32[${tokens}, 1], open: u32[${tokens}, 1]) {
      open, w = route(z, k = 1)
      ids, kept = Capacity(open, w, experts = 3, capacity = 1)
      return ids = ids, open = open
    }`;
    const z = [[2, 1, 0], [3, 1, 0]]; // prettier-ignore
    const together = await everywhere({ model: model(2), inputs: { z } }, opened);
    const alone = await everywhere({ model: model(1), inputs: { z: z.slice(1) } }, opened);
    together.forEach(([place, both], i) => {
      const [, one] = alone[i]!;
      expect([both["open"]!.data[1], one["open"]!.data[0]], place).toEqual([0, 0]);
      expect([both["ids"]!.data[1], one["ids"]!.data[0]], place).toEqual([3, 0]);
    });
  });

  it("a token that lost all its seats is what the residual path makes of it", async () => {
    const model = `import { Capacity } from "std/routers"
    import { Combine } from "std/experts"
    block Times (x: f32[..., d]) -> f32[..., d] {
      weight factor: f32[1]
      return x * factor
    }
    model m (x: f32[2, 1], z: f32[2, 2]) -> (y: f32[2, 1]) {
      i, w = route(z, k = 1, renorm = true)
      ids, weights = Capacity(i, w, experts = 2, capacity = 1)
      return y = x + (x |> per_expert(ids, of = Times, count = 2) @experts |> Combine(weights))
    }`;
    const inputs = { x: [[1], [5]], z: [[1, 0], [2, 0]] }; // prettier-ignore
    const weights = { "experts.*.factor": [[10], [100]] };
    for (const [place, { y }] of await everywhere({ model, inputs, weights }, opened))
      expect([...y!.data], place).toEqual([11, 5]);
  });

  it("what padding holds leaves no trace in a layer where tokens meet: infinities and NaN neither", async () => {
    const layers = {
      soft: "SoftMoe(unsqueeze(x, axes = [0]), unsqueeze(mask, axes = [0]), experts = 3, expert = Times)",
      choice: "ExpertChoiceMoe(x, mask, experts = 3, capacity = 2, expert = Times)",
    };
    const x = tied(5, 4);
    const inputs = (first: readonly number[], last: readonly number[]) => ({
      x: [[...first], ...x.slice(1, 4), [...last]],
      mask: [0, 1, 1, 1, 0],
    });
    const weights = {
      mu: [1, 2, 3, 4].map((d) => [[d], [-1], [2 - d]]),
      scale: [1.5],
      "gate.weight": tied(3, 4),
      "experts.*.factor": [[1], [10], [100]],
    };
    for (const [name, layer] of Object.entries(layers)) {
      const model = `import { ExpertChoiceMoe, SoftMoe } from "std/experts"
      block Times (x: f32[..., d]) -> f32[..., d] {
        weight factor: f32[1]
        return x * factor
      }
      model m (x: f32[5, 4], mask: i32[5]) -> (y: f32[5, 4]) {
        return y = ${layer} |> reshape(dims = [5, 4])
      }`;
      const sound = await everywhere({ model, inputs: inputs([1, 1, 1, 1], [0, 0, 0, 0]), weights }, opened);
      const spoilt = inputs([NaN, 1, NaN, 0], [Infinity, -Infinity, 3e38, 1]);
      for (const [i, [place, { y }]] of (
        await everywhere({ model, inputs: spoilt, weights }, opened)
      ).entries()) {
        expect([...y!.data], `${name}, ${place}`).toEqual([...sound[i]![1]["y"]!.data]);
        expect([...y!.data.slice(0, 4), ...y!.data.slice(16)], `${name}, ${place}`).toEqual(Array(8).fill(0));
        expect(
          y!.data.slice(4, 16).some((v) => v !== 0),
          `${name}, ${place}`,
        ).toBe(true);
      }
    }
  });
});
