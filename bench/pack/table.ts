// The results of the pack as one short table: `table.js RESULTS.jsonl`.

import { readFileSync } from "node:fs";
import type { CeilingRow } from "./ceilings.ts";
import type { SweepRow } from "./sweep.ts";
import type { CaseRow, PeerRow } from "./survey.ts";
import type { TransferRow } from "./upload.ts";

export type Row =
  | ({ readonly kind: "case" } & CaseRow)
  | ({ readonly kind: "ceiling" } & CeilingRow)
  | ({ readonly kind: "transfer" } & TransferRow)
  | ({ readonly kind: "sweep" } & SweepRow);

const number = (x: number | undefined): string =>
  x === undefined ? "-" : x.toFixed(x < 1 ? 3 : x < 100 ? 2 : 0);

function line(c: CaseRow, p: PeerRow): string {
  const name = p.peer.padEnd(19);
  if (p.failed !== undefined && !p.wall) return `  ${name} failed: ${p.failed.split("\n")[0]!.slice(0, 90)}`;
  const device = p.device?.milliseconds ?? p.resident?.median;
  const rate = device !== undefined && c.macs > 0 ? ((2 * c.macs) / device / 1e9).toFixed(2) : "-";
  return [
    `  ${name}`,
    number(p.wall?.median).padStart(9),
    number(p.resident?.median).padStart(9),
    number(p.device?.milliseconds).padStart(9),
    rate.padStart(7),
    `  ${p.difference?.toExponential(1) ?? "-"}${p.agrees === false ? " DIFFERS" : ""}${p.failed === undefined ? "" : " then failed"}`,
  ].join(" ");
}

function block(row: Row): readonly string[] {
  switch (row.kind) {
    case "ceiling":
      return [`${row.name}: ${row.value.toPrecision(4)} ${row.unit}`];
    case "transfer":
      return [
        `${row.way} ${(row.bytes / 2 ** 20).toFixed(1)} MiB, ${row.how}: ${number(row.milliseconds)} ms (${number(row.wait)} of it waiting), ${number(row.rate)} GB/s`,
      ];
    case "case":
      return [row.case, ...row.peers.map((p) => line(row, p))];
    case "sweep":
      return [
        `${row.case}: best of ${row.tried.length}, TFLOP/s`,
        ...row.tried
          .slice(0, 3)
          .map((t) => `  ${((2 * row.macs) / t.milliseconds / 1e9).toFixed(2)} ${t.schedule}`),
      ];
    default:
      return row satisfies never;
  }
}

const rows = readFileSync(process.argv[2]!, "utf8")
  .split("\n")
  .filter((l) => l !== "")
  .map((l) => JSON.parse(l) as Row);
console.log("  milliseconds            host-host  resident    device  TFLOP/s  difference");
console.log(rows.flatMap(block).join("\n"));
