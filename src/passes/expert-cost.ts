// What each way of computing a layer of routed experts is estimated to take, and which one that makes the choice. A tile of r rows of one
// expert reads that expert's weights once and multiplies r rows by them: W / bandwidth + r * F / rate. Every way is a number of such
// tiles. Loads are taken as even chance makes them: the choice is made while compiling, from counts.

import { constantOf, evaluateDim, symbolsOf, type Dim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import { runsOnCores, type ExpertConstants, type Target } from "../ir/target.ts";
import { bytesOf, type TensorType } from "../ir/types.ts";
import { isRowProduct } from "./expert-rows.ts";
import type { PassContext } from "./pass.ts";

/** Each row by itself, rows sorted by expert, every expert on every token, or fixed rows for the seats of every expert. */
export const expertWays = ["gather", "sort", "dense", "capacity"] as const;
export type ExpertWay = (typeof expertWays)[number];

/** The products of one routing. */
export interface ExpertLayer {
  /** Pairs of a token and one of its experts. */
  readonly rows: Dim;
  /** Rows of each token, of different experts, where rows are the tokens `k` times each: every expert can compute every token then. */
  readonly k?: number;
  readonly experts: number;
  /** Seats of an expert, where choices without one are dropped. */
  readonly capacity?: number;
  /** Bytes of the weights of one expert. */
  readonly bytes: number;
  /** Multiply-adds of one row. */
  readonly macs: number;
}

export interface WayEstimate {
  readonly way: ExpertWay;
  readonly microseconds: number;
  /** Rows of a tile, where rows are sorted. */
  readonly tile: number;
}

export interface WayChoice {
  readonly way: ExpertWay;
  readonly tile: number;
  /** In the reader's words, with what each way is estimated to take. */
  readonly why: string;
}

/** Weights and work of all products that these experts' rows go through. */
export function weightsOfExperts(
  nodes: readonly Node[],
  typeOf: (id: ValueId) => TensorType,
  ids: ValueId,
): Pick<ExpertLayer, "bytes" | "macs"> {
  let [bytes, macs] = [0, 0];
  for (const n of nodes) {
    if (!isRowProduct(n) || n.inputs[3] !== ids) continue;
    const weight = typeOf(n.inputs[1]!);
    const [, out = NaN, into = NaN] = weight.shape.map((d) => constantOf(d) ?? NaN);
    bytes += out * into * bytesOf[weight.dtype];
    macs += out * into;
  }
  return { bytes, macs };
}

/** Where tiles are of a number of rows that nobody knows yet. */
const OPEN_TILE = 16;

/** No larger than what all seats of an expert fill. */
function openTile({ capacity = OPEN_TILE }: ExpertLayer): number {
  return Math.max(4, Math.min(OPEN_TILE, 2 ** Math.ceil(Math.log2(capacity))));
}

/** `able`: ways that nothing in the graph stands against. */
export function chooseWay(
  layer: ExpertLayer,
  c: Pick<PassContext, "target" | "experts" | "sizes">,
  able: readonly ExpertWay[] = expertWays,
): WayChoice {
  const ways = able.filter((way) => way !== "capacity" || layer.capacity !== undefined);
  const rows = numberFor(layer.rows, c);
  const found = rows === undefined ? [] : estimateWays(layer, rows, c.target);
  const asked = ways.find((way) => way === c.experts);
  if (asked) {
    const tile = found.find((e) => e.way === asked)?.tile ?? openTile(layer);
    return { way: asked, tile, why: `${asked} was asked for` };
  }
  const choice = rows === undefined ? openChoice(layer, ways) : fastest(layer, rows, found, ways);
  if (c.experts === undefined) return choice;
  return { ...choice, why: `${c.experts} was asked for and is no way to compute these: ${choice.why}` };
}

/** Where nobody says how many tokens there are. */
function openChoice(layer: ExpertLayer, ways: readonly ExpertWay[]): WayChoice {
  const tile = openTile(layer);
  if (layer.k === layer.experts && ways.includes("dense"))
    return { way: "dense", tile, why: "a token has every expert, whatever the number of tokens" };
  if (ways.includes("capacity"))
    return { way: "capacity", tile, why: "experts have a number of seats, whatever the number of tokens" };
  const why =
    "how many tokens there are is not known: sorted rows cost least where there are many (--dim says what to expect)";
  return { way: "sort", tile, why };
}

function fastest(
  layer: ExpertLayer,
  rows: number,
  found: readonly WayEstimate[],
  ways: readonly ExpertWay[],
): WayChoice {
  const open = found.filter((e) => ways.includes(e.way));
  const first = open.reduce((a, b) => (b.microseconds < a.microseconds ? b : a));
  return { way: first.way, tile: first.tile, why: showEstimates(open, rows, first, layer) };
}

/** Of each way, with its fastest tile, for so many rows. */
export function estimateWays(layer: ExpertLayer, rows: number, target: Target): readonly WayEstimate[] {
  const estimate = (way: ExpertWay, tiles: readonly number[]): WayEstimate =>
    tiles
      .map((tile) => ({ way, tile, microseconds: estimateWay(layer, rows, way, tile, target) }))
      .reduce((a, b) => (b.microseconds < a.microseconds ? b : a));
  return [
    estimate("gather", [1]),
    estimate("sort", tilesOf(target)),
    ...(layer.capacity === undefined ? [] : [estimate("capacity", tilesOf(target))]),
    ...(layer.k === undefined ? [] : [estimate("dense", [1])]),
  ];
}

/** Microseconds of one way, in tiles of so many rows where it has tiles. */
export function estimateWay(
  layer: ExpertLayer,
  rows: number,
  way: ExpertWay,
  tile: number,
  target: Target,
): number {
  if (way === "sort") return sortedCost(layer, rows, tile, target);
  if (way === "capacity") return seatedCost(layer, rows, tile, target);
  if (way === "dense") return denseCost(layer, rows / layer.k!, target);
  return rows * tileCost(layer, 1, target);
}

/**
 * Tiles that have rows. Even chance gives an expert each token with the probability `k / experts` (the `k` rows of a token go to different
 * experts), so its load is binomial: every token where `k` is all of them, and then no tile is half empty but by division.
 */
export function expectedTiles(
  rows: number,
  { experts, k = 1 }: Pick<ExpertLayer, "experts" | "k">,
  tile: number,
): number {
  const tokens = Math.round(rows / k);
  const odds = k / (experts - k);
  const likeliest = Math.min(tokens, Math.floor(((tokens + 1) * k) / experts));
  let [tiles, all] = [0, 0];
  const count = (load: number, weight: number): void => {
    tiles += weight * Math.ceil(load / tile);
    all += weight;
  };
  count(likeliest, 1);
  for (let [load, weight] = [likeliest, 1]; load < tokens && weight > RARE;) {
    weight *= ((tokens - load) / (load + 1)) * odds;
    count(++load, weight);
  }
  for (let [load, weight] = [likeliest, 1]; load > 0 && weight > RARE;) {
    weight *= load / (tokens - load + 1) / odds;
    count(--load, weight);
  }
  return (experts * tiles) / all;
}

/** Loads so much less likely than the likeliest are not counted. */
const RARE = 1e-9;

// ---- costs, in microseconds -------------------------------------------------------------------------------------------

const defaults = (target: Target): ExpertConstants => ({
  gigabytesPerSecond: target.measured.gigabytesPerSecond,
  gflops: target.measured.gflops,
  rows: runsOnCores(target) ? 32 : 64,
  dense: runsOnCores(target) ? 1.2 : 1,
});

export function expertConstants(target: Target): ExpertConstants {
  return target.measured.experts ?? defaults(target);
}

/** Beyond `rows` a row takes as long as two. On cores no tile has more: sums beyond the registers cost nothing there (codegen/tile-cost.ts). */
function tileCost({ bytes, macs }: ExpertLayer, tile: number, target: Target): number {
  const c = expertConstants(target);
  const rows = tile + Math.max(0, tile - c.rows);
  return bytes / (c.gigabytesPerSecond * 1e3) + (rows * 2 * macs) / (c.gflops * 1e3);
}

function tilesOf(target: Target): readonly number[] {
  return runsOnCores(target) ? [4, 8, 16, 32] : [4, 8, 16, 32, 64];
}

/** Operations of one slot while it is counted and placed: every slot of its block is looked at twice. */
const PLACING = 1024;

function sortedCost(layer: ExpertLayer, rows: number, tile: number, target: Target): number {
  const { dispatchMicroseconds, gflops } = target.measured;
  const plan = 2 * dispatchMicroseconds + (rows * PLACING) / (gflops * 1e3);
  return plan + expectedTiles(rows, layer, tile) * tileCost(layer, tile, target);
}

/** A workgroup that leaves at once, as a part of a dispatch. */
const EMPTY = 1 / 64;

/** Seats are counted in any case, to know who has one; a tile without any is left at once. */
function seatedCost(layer: ExpertLayer, rows: number, tile: number, target: Target): number {
  const fixed = layer.experts * Math.ceil(layer.capacity! / tile);
  const taken = Math.min(fixed, expectedTiles(rows, layer, tile));
  return taken * tileCost(layer, tile, target) + fixed * EMPTY * target.measured.dispatchMicroseconds;
}

/** Tiles of rows as in any product; all of them read the weights of all experts. */
const DENSE_TILE = 12;

function denseCost(layer: ExpertLayer, tokens: number, target: Target): number {
  const tiles = Math.ceil(tokens / DENSE_TILE);
  const one =
    tiles * tileCost(layer, 0, target) + tokens * (tileCost(layer, 1, target) - tileCost(layer, 0, target));
  return layer.experts * one * expertConstants(target).dense;
}

// ---- sizes and words ---------------------------------------------------------------------------------------------------

/** A size that is known, or expected. */
export function numberFor(d: Dim, { sizes = {} }: Pick<PassContext, "sizes">): number | undefined {
  const known = constantOf(d);
  if (known !== undefined) return known;
  return [...symbolsOf(d)].every((s) => Object.hasOwn(sizes, s)) ? evaluateDim(d, sizes) : undefined;
}

function showEstimates(
  all: readonly WayEstimate[],
  rows: number,
  first: WayEstimate,
  { experts }: ExpertLayer,
): string {
  const digits = (n: number): string => (n >= 99.5 ? n.toFixed(0) : n.toPrecision(2));
  const time = (us: number): string => (us >= 995 ? `${digits(us / 1000)} ms` : `${digits(us)} us`);
  const one = (e: WayEstimate): string =>
    `${e.way}${e.tile > 1 ? ` in tiles of ${e.tile}` : ""} ${time(e.microseconds)}`;
  const times = all.map(one).join(", ");
  return `${first.way} is estimated the fastest for ${rows} rows of ${experts} experts: ${times}`;
}
