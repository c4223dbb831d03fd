// Constants of the cost model of experts come back from times that were made with them.

import { describe, expect, it } from "vitest";
import { dim } from "../../src/ir/dim.ts";
import { baseline, lavapipe, type ExpertConstants, type Target } from "../../src/ir/target.ts";
import { estimateWay, estimateWays, type ExpertLayer } from "../../src/passes/expert-cost.ts";
import { fitExperts, layersToMeasure, LEAST_LAYERS, type ExpertPoint } from "../../src/passes/fit-experts.ts";

const truth: ExpertConstants = { gigabytesPerSecond: 2.5, gflops: 9, rows: 16, dense: 1.6 };

/** Times of the layers that `tune-device` measures, by the model with these constants. */
function pointsOf(target: Target, count: number): readonly ExpertPoint[] {
  const own: Target = { ...target, measured: { ...target.measured, experts: truth } };
  return layersToMeasure(target)
    .slice(0, count)
    .map(({ channels, experts, tokens, way }): ExpertPoint => {
      const macs = 3 * channels * channels;
      const rows = tokens * experts;
      const layer: ExpertLayer = { rows: dim(rows), k: experts, experts, bytes: 4 * macs, macs };
      const { tile } = estimateWays(layer, rows, target).find((e) => e.way === way)!;
      return { layer, rows, way, tile, milliseconds: estimateWay(layer, rows, way, tile, own) / 1000 };
    });
}

describe.each([lavapipe, baseline].map((t) => [t.name, t] as const))("on %s", (_, target) => {
  it.each([layersToMeasure(target).length, LEAST_LAYERS])("%i layers tell the constants", (count) => {
    const start: Target = {
      ...target,
      measured: { ...target.measured, experts: { ...truth, gigabytesPerSecond: 20, gflops: 200, dense: 1 } },
    };
    const fit = fitExperts(pointsOf(target, count), start);
    expect(fit.before).toBeGreaterThan(2);
    expect(fit.after).toBeLessThan(1.02);
    expect(fit.experts.gigabytesPerSecond / truth.gigabytesPerSecond).toBeCloseTo(1, 1);
    expect(fit.experts.gflops / truth.gflops).toBeCloseTo(1, 1);
    expect(fit.experts.dense / truth.dense).toBeCloseTo(1, 1);
    expect(fit.experts.rows).toBe(truth.rows);
  });
});
