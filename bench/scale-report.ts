// What bench/scale.ts measured: as JSON, as tables, and as a plot.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { table } from "./report.ts";

export interface ScalePoint {
  readonly size: number;
  /** The least milliseconds of a run, by a clock and of the process on all cores. */
  readonly wall: number;
  readonly processor: number;
  /** Multiply-adds of the network's convolutions and products. */
  readonly macs: number;
  readonly units: number;
}

export interface ScaleSeries {
  readonly name: string;
  readonly doc: string;
  /** What grows, and what a unit of work is. */
  readonly size: string;
  readonly unit: string;
  /** The time that says what a run costs here. */
  readonly by: "wall" | "processor";
  /** Load average of the machine behind the last run. */
  readonly load: number;
  readonly rounds: number;
  readonly points: readonly ScalePoint[];
}

interface Machine {
  /** 2026-01-31 */
  readonly date: string;
  readonly adapter: string;
  readonly machine: string;
}

interface Kept extends Machine {
  readonly series: readonly ScaleSeries[];
}

const folder = join(import.meta.dirname, "results/scale");
const docs = join(import.meta.dirname, "..", "docs");
const begin = "<!-- tables of scale: made by bench/scale.ts from bench/results/scale -->";
const end = "<!-- end of tables of scale -->";

/** Series measured on the same day stay, unless they were measured again. */
export function saveScale(machine: Machine, series: ScaleSeries): string {
  mkdirSync(folder, { recursive: true });
  const adapter = machine.adapter
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, "-")
    .replace(/^-|-$/g, "");
  const path = join(folder, `${machine.date}-${adapter}.json`);
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Kept).series : [];
  const kept: Kept = { ...machine, series: [...before.filter((s) => s.name !== series.name), series] };
  writeFileSync(path, `${JSON.stringify(kept, null, 1)}\n`);
  return path;
}

/** Puts the newest results on the page, and their plot beside it. */
export function updateScalePage(): void {
  const newest = readdirSync(folder).sort().at(-1)!;
  const kept = JSON.parse(readFileSync(join(folder, newest), "utf8")) as Kept;
  const page = join(docs, "performance.md");
  const text = readFileSync(page, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from)
    throw new Error("docs/performance.md has lost the marks around its tables of scale");
  const plot = "![Time of a run against size, for each series](scale.svg)";
  const parts = [
    begin,
    `${kept.adapter}, ${kept.date}, ${kept.machine}`,
    plot,
    ...kept.series.map(seriesTable),
  ];
  writeFileSync(page, `${text.slice(0, from)}${parts.join("\n\n")}\n${text.slice(to)}`);
  writeFileSync(join(docs, "scale.svg"), scalePlot(kept.series));
}

const short = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toPrecision(3));

export function seriesTable(s: ScaleSeries): string {
  const rows = s.points.map((p) => [
    String(p.size),
    short(p.wall),
    short(p.processor),
    short((2 * p.macs) / 1e9),
    short(p[s.by] / p.units),
    short((p[s.by] * 1e9) / (2 * p.macs)),
  ]);
  const of = s.by === "wall" ? "ms" : "processor ms";
  const head = [s.size, "ms", "processor ms", "GFLOP", `${of} for each ${s.unit}`, `${of} for each GFLOP`];
  const title = `**${s.name}**: ${s.doc}; least of ${s.rounds}, load ${s.load.toFixed(1)}`;
  return [title, "", ...table(head, rows), ""].join("\n");
}

const panel = { width: 200, height: 180, left: 46, right: 10, top: 30, bottom: 40 };

/** A panel for each series, both axes logarithmic. The dashed line is time in proportion to FLOPs, at the best rate of the series. */
export function scalePlot(series: readonly ScaleSeries[]): string {
  const panels = series.map((s, i) => `<g transform="translate(${i * panel.width} 0)">${panelOf(s)}</g>`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${series.length * panel.width} ${panel.height}" font-family="sans-serif" font-size="10">`,
    "<title>Time of a run against size; dashed: in proportion to the work</title>",
    '<rect width="100%" height="100%" fill="#fff"/>',
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function panelOf({ name, size, by, points }: ScaleSeries): string {
  const best = points.reduce((a, b) => (b[by] * a.macs < a[by] * b.macs ? b : a));
  const ideal = points.map((p) => (best[by] * p.macs) / best.macs);
  const times = points.map((p) => p[by]);
  const low = 10 ** Math.floor(Math.log10(Math.min(...times, ...ideal)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...times, ...ideal)));
  const [first, last] = [points[0]!.size, points.at(-1)!.size];
  const along = (v: number, from: number, to: number): number => Math.log(v / from) / Math.log(to / from);
  const [bottom, right] = [panel.height - panel.bottom, panel.width - panel.right];
  const x = (v: number): string => (panel.left + along(v, first, last) * (right - panel.left)).toFixed(1);
  const y = (v: number): string => (bottom - along(v, low, high) * (bottom - panel.top)).toFixed(1);
  const path = (values: readonly number[]): string =>
    values.map((v, i) => `${i === 0 ? "M" : "L"}${x(points[i]!.size)} ${y(v)}`).join("");
  const lines = [`<text x="${panel.left}" y="16" font-weight="bold">${name}</text>`];
  for (let v = low; v <= high * 1.001; v *= 10)
    lines.push(
      `<path d="M${panel.left} ${y(v)}H${right}" stroke="#ddd"/>`,
      `<text x="${panel.left - 4}" y="${y(v)}" dy="3" text-anchor="end">${v >= 1000 ? `${v / 1000} s` : `${v} ms`}</text>`,
    );
  for (const [v, anchor] of [
    [first, "start"],
    [last, "end"],
  ] as const)
    lines.push(`<text x="${x(v)}" y="${bottom + 14}" text-anchor="${anchor}">${v}</text>`);
  lines.push(
    `<text x="${(panel.left + right) / 2}" y="${bottom + 28}" text-anchor="middle">${size}</text>`,
    `<path d="${path(ideal)}" fill="none" stroke="#999" stroke-dasharray="4 3"/>`,
    `<path d="${path(times)}" fill="none" stroke="#0072b2" stroke-width="1.5"/>`,
    ...points.map(
      (p) =>
        `<circle cx="${x(p.size)}" cy="${y(p[by])}" r="2.5" fill="#0072b2"><title>${p.size}: ${short(p[by])} ms</title></circle>`,
    ),
  );
  return lines.join("\n");
}
