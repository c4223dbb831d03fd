// Results as JSON and as the tables of docs/performance.md.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Ceiling } from "./ceiling.ts";
import type { FirstRun, PeerTimes } from "./measure.ts";
import type { PeerMemory } from "./memory.ts";

export interface CaseResult {
  readonly case: string;
  readonly doc: string;
  /** Multiply-adds of one run. */
  readonly macs: number;
  /** What it ran on, where that is not what the results say of all. */
  readonly machine?: string;
  /** When, where that is another day than the results say. */
  readonly date?: string;
  readonly peers: readonly PeerTimes[];
  readonly firstRun: readonly FirstRun[];
  readonly memory?: readonly PeerMemory[];
  /** The fastest product in the same run. */
  readonly ceiling?: Ceiling;
}

export interface Results {
  /** 2026-01-31 */
  readonly date: string;
  readonly adapter: string;
  readonly machine: string;
  readonly node: string;
  readonly cases: readonly CaseResult[];
}

const folder = join(import.meta.dirname, "results");
const page = join(import.meta.dirname, "..", "docs", "performance.md");
const begin = "<!-- tables: made by `npm run bench -- --save` from bench/results -->";
const end = "<!-- end of tables -->";

/** Cases of the newest results before stay, unless they were measured again. */
export function save(results: Results): string {
  mkdirSync(folder, { recursive: true });
  const adapter = results.adapter
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, "-")
    .replace(/^-|-$/g, "");
  const path = join(folder, `${results.date}-${adapter}.json`);
  const newest = readdirSync(folder)
    .filter((f) => f.endsWith(`-${adapter}.json`))
    .sort()
    .at(-1);
  const before =
    newest === undefined ? undefined : (JSON.parse(readFileSync(join(folder, newest), "utf8")) as Results);
  writeFileSync(path, `${JSON.stringify(joined(before, results), null, 1)}\n`);
  return path;
}

export function joined(before: Results | undefined, now: Results): Results {
  const again = new Set(now.cases.map((c) => c.case));
  const kept = (before?.cases ?? [])
    .filter((c) => !again.has(c.case))
    .map((c) => (before!.machine === now.machine ? c : { ...c, machine: c.machine ?? before!.machine }))
    .map((c) => (before!.date === now.date ? c : { ...c, date: c.date ?? before!.date }));
  return { ...now, cases: [...kept, ...now.cases] };
}

/** Puts the tables of the newest results of each adapter in their place on the page. */
export function updatePage(): void {
  const newest = new Map<string, Results>();
  for (const name of readdirSync(folder)
    .filter((f) => f.endsWith(".json"))
    .sort()) {
    const results = JSON.parse(readFileSync(join(folder, name), "utf8")) as Results;
    newest.set(results.adapter, results);
  }
  const text = readFileSync(page, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error("docs/performance.md has lost the marks around its tables");
  const tables = [...newest.values()].map(tablesOf).join("\n");
  writeFileSync(page, `${text.slice(0, from)}${begin}\n\n${tables}\n${text.slice(to)}`);
}

export function tablesOf(results: Results): string {
  const title = `### ${results.adapter}\n\n${results.date}, ${results.machine}, Node ${results.node}\n`;
  return [title, ...results.cases.map((c) => caseTable(c))].join("\n");
}

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
const ms = (x: number): string => x.toFixed(x < 10 ? 2 : x < 100 ? 1 : 0);

export function caseTable(c: CaseResult): string {
  const rate = (p: PeerTimes) => ((2 * c.macs) / p.median / 1e6).toFixed(1);
  const ratio = (p: PeerTimes) =>
    `${p.ratio.median.toFixed(2)} (${p.ratio.p10.toFixed(2)}-${p.ratio.p90.toFixed(2)})`;
  const peak = (p: PeerTimes): string => {
    const m = c.memory?.find((x) => x.peer === p.peer);
    return m ? `${mib(m.firstRun)}, ${mib(m.allRuns)}` : "";
  };
  const measured = (c.memory?.length ?? 0) > 0;
  const rows = c.peers.map((p) => [
    p.peer,
    ms(p.median),
    ms(p.p90),
    rate(p),
    ...(c.ceiling ? [`${((100 * Number(rate(p))) / c.ceiling.gflops).toFixed(0)} %`] : []),
    ratio(p),
    p.difference.toExponential(1),
    ...(measured ? [peak(p)] : []),
  ]);
  const head = [
    ...["", "median ms", "p90 ms", "GFLOP/s"],
    ...(c.ceiling ? ["of ceiling"] : []),
    ...["times tokenloom (p10-p90)", "difference"],
    ...(measured ? ["peak memory MiB: first run, all"] : []),
  ];
  const lines = [
    `**${c.case}**: ${c.doc}, ${(c.macs / 1e9).toPrecision(3)} GMAC, ${c.peers[0]?.times.length ?? 0} rounds${c.machine === undefined ? "" : `, on ${c.machine}`}${c.date === undefined ? "" : `, ${c.date}`}`,
    "",
  ];
  lines.push(...table(head, rows), "");
  if (c.ceiling)
    lines.push(
      `Ceiling: ${c.ceiling.gflops.toFixed(1)} GFLOP/s, the fastest of ${c.ceiling.tried} schedules at 512 x 512 x 512, \`${c.ceiling.schedule}\``,
      "",
    );
  if (c.firstRun.length > 0) {
    const first = c.firstRun.map((f) => [
      f.peer,
      ms(f.total),
      f.parts.map((p) => `${p.name} ${ms(p.milliseconds)}`).join(", "),
    ]);
    lines.push(...table(["first run, nothing cached", "total ms", "of which"], first), "");
  }
  return lines.join("\n");
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((h, i) => Math.max(h.length, 3, ...rows.map((r) => r[i]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((x, i) => x.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(head), line(widths.map((w) => "-".repeat(w))), ...rows.map(line)];
}
