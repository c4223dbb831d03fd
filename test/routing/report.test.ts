// The routing report against numbers worked out by hand, and the update rule of loss-free balancing on `route`.

import { describe, expect, it } from "vitest";
import { withDefaults, type Attrs } from "../../src/ir/graph.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { routeRow } from "../../src/ops/route.ts";
import { routingReport } from "../../src/routing/report.ts";

const attrs = (given: Attrs): Attrs => withDefaults(lookupOp("route")!, given);
const layer = "mlp";

/** Logits whose softmax is these shares. */
const logs = (rows: readonly (readonly number[])[]) => tensor("f32", [rows.length, rows[0]!.length], rows.flat().map(Math.log), "f64"); // prettier-ignore

describe("a report", () => {
  it("of loads 10, 4, 2, 0", () => {
    const ids = tensor("u32", [16, 1], [...Array<number>(10).fill(0), 1, 1, 1, 1, 2, 2]);
    const logits = tensor("f32", [16, 4], new Float64Array(64), "f64");
    const [r] = routingReport([{ layer, attrs: attrs({ k: 1 }), logits, ids }]);
    expect(r!.loads).toEqual([10, 4, 2, 0]);
    expect(r!.maxVio).toBeCloseTo(1.5, 6);
    expect(r!.variation).toBeCloseTo(0.935414, 6);
    expect(r!.loadEntropy).toBeCloseTo(0.649397, 6);
    expect(r!.dead).toBe(1);
    expect(r!.warnings.join("; ")).toMatch(/equal logits.*1 of 4 experts got no token/);
  });

  it("of the balance loss within micro-batches and over all", () => {
    const one = logs([[0.9, 0.1], [0.2, 0.8]]); // prettier-ignore
    const logits = { ...one, shape: [2, 1, 2] };
    const ids = tensor("u32", [2, 1, 1], [0, 1]);
    const [r] = routingReport([{ layer, attrs: attrs({ k: 1 }), logits, ids }]);
    expect(r!.microBalanceLoss).toBeCloseTo(1.7, 6);
    expect(r!.balanceLoss).toBeCloseTo(1, 6);
  });

  it("of the z-loss, NaN, and dropped and free slots", () => {
    const logits = tensor("f32", [2, 4], [2, 1, 0, -1, 0, 0, 0, 0], "f64");
    const ids = tensor("u32", [2, 2], [0, 1, 0, 3]);
    const served = tensor("u32", [4], [0, 4, 0, 3]);
    const source = { layer, attrs: attrs({ k: 2 }), logits, ids, served, networks: 3 };
    const [r] = routingReport([source]);
    expect(r!.zLoss).toBeCloseTo(3.938168, 5);
    expect(r!.dropRate).toBeCloseTo(1 / 4, 6);
    expect(r!.zeroComputation).toBeCloseTo(1 / 4, 6);
    const broken = tensor("f32", [2, 4], [NaN, 1, 0, -1, 0, 0, 0, 0], "f64");
    expect(routingReport([{ ...source, logits: broken }])[0]!.nan).toBe(1);
  });

  it("of margins, with the places of the smallest", () => {
    const logits = { ...logs([[0.5, 0.3, 0.2], [0.4, 0.3, 0.3]]), shape: [1, 2, 3] }; // prettier-ignore
    const ids = tensor("u32", [1, 2, 2], [0, 1, 0, 1]);
    const [r] = routingReport([{ layer, attrs: attrs({ k: 2 }), logits, ids }]);
    expect(r!.closest[0]).toMatchObject({ token: [0, 1] });
    expect(r!.closest[0]!.margin).toBeLessThan(1e-12);
    expect(r!.closest[1]!.margin).toBeCloseTo(0.1, 9);
    expect(r!.warnings).toContain("a token is a near-tie: another rounding may choose otherwise");
  });
});

describe("loss-free balancing", () => {
  const scores = [
    [0.92, 0.53, 0.11],
    [0.83, 0.61, 0.24],
    [0.71, 0.32, 0.66],
    [0.86, 0.47, 0.33],
    [0.64, 0.57, 0.52],
    [0.97, 0.28, 0.15],
  ];
  const chosen = (bias: readonly number[]) =>
    scores.map((s) => routeRow(s, bias, attrs({ k: 1, scores: "logits" })).experts[0]!);

  it("moves tokens by the sign of what is too much, the least attached first", () => {
    let bias = [0, 0, 0];
    const loads: string[] = [];
    for (let step = 0; step < 4; step++) {
      const load = [0, 1, 2].map((e) => chosen(bias).filter((x) => x === e).length);
      loads.push(load.join(""));
      bias = bias.map((b, e) => b + 0.05 * Math.sign(2 - load[e]!));
    }
    expect(loads).toEqual(["600", "411", "411", "321"]);
  });

  it("does not ask for more than differences of the biases", () => {
    expect(chosen([0.1, 5.3, -0.2].map((b) => b + 5))).toEqual(chosen([0.1, 5.3, -0.2]));
  });
});
