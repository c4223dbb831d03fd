// npm run fuzz -- --count 100000 --seed S [--reader parse,format,...]
// Damaged inputs for every reader of foreign text and bytes; what fails is kept in test/fuzz/failures. See docs/fuzzing.md.

import { parseArgs } from "node:util";
import { fuzz, keep } from "./fuzz/harness.ts";
import { readers } from "./fuzz/readers.ts";

const names = readers.map((r) => r.name);

function number(text: string, flag: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${flag} ${text} is no whole number`);
  return value;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      count: { type: "string", default: "2000" },
      seed: { type: "string", default: "1" },
      reader: { type: "string", default: names.join(",") },
    },
  });
  const chosen = values.reader.split(",");
  const unknown = chosen.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`no reader ${unknown}; there are ${names.join(", ")}`);
  const [count, seed] = [number(values.count, "count"), number(values.seed, "seed")];
  let kinds = 0;
  process.stdout.write("reader        inputs  accepted  failed  kinds   seconds\n");
  for (const reader of chosen) {
    const r = await fuzz({ reader, count, seed, onProgress: progress(reader, count) });
    const cells = [String(r.count), String(r.accepted), String(r.failed), String(r.failures.length)];
    const widths = [6, 8, 6, 5];
    const row = cells.map((c, i) => c.padStart(widths[i]!)).join("  ");
    process.stdout.write(`${reader.padEnd(12)}  ${row}  ${r.seconds.toFixed(1).padStart(8)}\n`);
    for (const f of r.failures)
      process.stdout.write(
        `\n${keep(reader, f.input)}  (input ${f.index} of seed ${seed})\n${f.message}\n\n`,
      );
    kinds += r.failures.length;
  }
  return kinds === 0 ? 0 : 1;
}

function progress(reader: string, count: number) {
  if (!process.stderr.isTTY) return () => {};
  return (done: number, accepted: number, failed: number): void => {
    process.stderr.write(`\r${reader}: ${done} of ${count}, ${accepted} accepted, ${failed} failed  \r`);
  };
}

process.exitCode = await main();
