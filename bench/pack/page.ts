// The results of the pack, kept: `node --import tsx bench/pack/page.ts OUT --date 2026-01-31` reads the folder that `run.sh` wrote, writes
// bench/results/pack/DATE-CARD.json, and puts its tables in their place in docs/performance.md.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { table } from "../report.ts";
import type { CeilingRow } from "./ceilings.ts";
import type { CaseRow, PeerRow } from "./survey.ts";
import type { Row } from "./table.ts";
import type { TransferRow } from "./upload.ts";

/** One file of results: what `run.sh` measured, with the card and the driver. Rows are those of results.jsonl. */
interface Kept {
  readonly date: string;
  readonly card: string;
  readonly driver: string;
  readonly node: string;
  readonly rows: readonly Row[];
}

const page = join(import.meta.dirname, "../../docs/performance.md");
const folder = join(import.meta.dirname, "../results/pack");
const begin = "<!-- tables of a GPU: made by bench/pack/page.ts from bench/results/pack -->";
const end = "<!-- end of tables of a GPU -->";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { date: { type: "string" } } });
const [out] = positionals;
if (out === undefined || values.date === undefined) throw new Error("page OUT --date 2026-01-31");
const doctor = JSON.parse(readFileSync(join(out, "doctor.json"), "utf8")) as {
  readonly system: { readonly node: string };
  readonly adapters: readonly { readonly name: string; readonly facts: { readonly driver: string } }[];
};
const [adapter] = doctor.adapters;
const rows = readFileSync(join(out, "results.jsonl"), "utf8")
  .split("\n")
  .filter((l) => l !== "")
  .map((l) => JSON.parse(l) as Row);
const kept: Kept = {
  date: values.date,
  card: adapter!.name,
  driver: adapter!.facts.driver,
  node: doctor.system.node,
  rows,
};
mkdirSync(folder, { recursive: true });
const slug = kept.card.toLowerCase().replace(/[^a-z0-9.]+/g, "-");
writeFileSync(join(folder, `${kept.date}-${slug}.json`), `${JSON.stringify(kept, null, 1)}\n`);
const text = readFileSync(page, "utf8");
const [from, to] = [text.indexOf(begin), text.indexOf(end)];
if (from < 0 || to < from) throw new Error("docs/performance.md has lost the marks around its tables");
writeFileSync(page, `${text.slice(0, from)}${begin}\n\n${tables(kept)}\n${earlier(kept)}${text.slice(to)}`);

/** What only earlier runs on this card measured, with the code of their day. */
function earlier(newest: Kept): string {
  const seen = new Set(newest.rows.flatMap((r) => (r.kind === "case" ? [r.case] : [])));
  const older = readdirSync(folder)
    .filter((f) => f.endsWith(`-${slug}.json`) && f < `${newest.date}-${slug}.json`)
    .sort()
    .reverse()
    .map((f) => JSON.parse(readFileSync(join(folder, f), "utf8")) as Kept);
  return older
    .map((run) => {
      const cases = run.rows.filter((r) => r.kind === "case").filter((r) => !seen.has(r.case));
      for (const c of cases) seen.add(c.case);
      if (cases.length === 0) return "";
      const peak = ceilingOf(run.rows);
      return [`On ${run.date}, with the code of that day:\n`, caseTable(cases, peak), "", ""].join("\n");
    })
    .join("\n");
}

function tables({ date, card, driver, rows }: Kept): string {
  const ceilings = rows.filter((r) => r.kind === "ceiling");
  const cases = rows.filter((r) => r.kind === "case");
  const transfers = rows.filter((r) => r.kind === "transfer");
  const moved =
    transfers.length > 0
      ? [...table(["MiB", "", "how", "ms", "of them waiting", "GB/s"], transfers.map(transferLine)), ""]
      : [];
  return [
    `${card}, ${driver}, ${date}\n`,
    ...table(["ceiling", "measured"], ceilings.map(ceilingLine)),
    "",
    ...moved,
    caseTable(cases, ceilingOf(rows)),
    "",
  ].join("\n");
}

function ceilingOf(rows: readonly Row[]): number | undefined {
  return rows.filter((r) => r.kind === "ceiling").find((c) => c.name === "multiply-adds in f32")?.value;
}

function caseTable(cases: readonly CaseRow[], peak: number | undefined): string {
  const head = ["case", "peer", "host-host ms", "resident ms", "device ms", "TFLOP/s", "of multiply-adds"];
  return table(
    [...head, "difference"],
    cases.flatMap((c) => c.peers.map((p, i) => caseLine(c, p, i === 0, peak))),
  ).join("\n");
}

function ceilingLine(c: CeilingRow): readonly string[] {
  return [c.name, `${c.value.toPrecision(4)} ${c.unit}`];
}

function transferLine(t: TransferRow): readonly string[] {
  const wait = t.wait === undefined ? "" : t.wait.toPrecision(3);
  const rate = t.bytes > 0 ? t.rate.toPrecision(3) : "";
  return [String(t.bytes / 2 ** 20), t.way, t.how, t.milliseconds.toPrecision(3), wait, rate];
}

function caseLine(c: CaseRow, p: PeerRow, first: boolean, peak: number | undefined): readonly string[] {
  const ms = (x: number | undefined): string => (x === undefined ? "" : x.toPrecision(3));
  const device = p.device?.milliseconds;
  const rate = device !== undefined && c.macs > 0 ? (2 * c.macs) / device / 1e9 : undefined;
  // With fewer bits products go through other units: a share of f32's multiply-adds says nothing there.
  const share = rate !== undefined && peak !== undefined && !/tf32|f16/.test(`${p.peer} ${c.case}`);
  const differs = p.agrees === false ? " DIFFERS" : "";
  const unmeasured =
    p.wall === undefined ? (p.failed === undefined ? "timed out" : "failed") : ms(p.wall.median);
  return [
    first ? c.case : "",
    p.peer,
    unmeasured,
    ms(p.resident?.median),
    ms(device),
    rate === undefined ? "" : rate.toFixed(rate < 10 ? 2 : 1),
    share ? `${Math.round((100 * rate) / peak)} %` : "",
    `${p.difference?.toExponential(1) ?? ""}${differs}`,
  ];
}
