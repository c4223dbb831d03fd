// Constants of the cost model of routed experts from measured times: those at which estimates are off by the smallest factor. Pure.

import { runsOnCores, type ExpertConstants, type Target } from "../ir/target.ts";
import { descend, offBy } from "../support/descent.ts";
import { estimateWay, expertConstants, type ExpertLayer, type ExpertWay } from "./expert-cost.ts";

export interface ExpertPoint {
  readonly layer: ExpertLayer;
  readonly rows: number;
  readonly way: ExpertWay;
  /** Rows of a tile, where rows are sorted. */
  readonly tile: number;
  /** Of the products, and what orders their rows. */
  readonly milliseconds: number;
}

export interface ExpertFit {
  readonly experts: ExpertConstants;
  /** By which factor estimates are off: of most points (root mean square of logarithms), before and after. */
  readonly before: number;
  readonly after: number;
}

/** `rows` stays: how many sums stay where they are computed is a matter of registers, not of time. */
export function fitExperts(points: readonly ExpertPoint[], target: Target): ExpertFit {
  const off = (experts: ExpertConstants): number => {
    const own: Target = { ...target, measured: { ...target.measured, experts } };
    return offBy(points.map((p) => estimateWay(p.layer, p.rows, p.way, p.tile, own) / 1000 / p.milliseconds));
  };
  const start = expertConstants(target);
  const { at, error } = descend(start, ["gigabytesPerSecond", "gflops", "dense"], off);
  return { experts: at, before: off(start), after: error };
}

/** Layers of which every token has every expert, so that it is known how many rows an expert has. */
export interface MeasuredLayer {
  readonly channels: number;
  readonly experts: number;
  readonly tokens: number;
  readonly way: ExpertWay;
}

/**
 * The most telling first: few rows tell what weights take to read, many what rows take to multiply. Many are no more than have their sums where
 * they are computed, but for the last layer.
 */
export function layersToMeasure(target: Target): readonly MeasuredLayer[] {
  const size = runsOnCores(target) ? { channels: 256, experts: 4 } : { channels: 512, experts: 32 };
  const many = expertConstants(target).rows;
  const all = [
    ["gather", 2],
    ["sort", many],
    ["dense", many],
    ["sort", 4],
    ["dense", 4],
    ["sort", 4 * many],
  ] as const;
  return all.map(([way, tokens]) => ({ ...size, tokens, way }));
}

/** So many have to be measured, whatever time that takes: one of each way. */
export const LEAST_LAYERS = 3;
