// Numbers for people, on the page and in the terminal.

import type { EntryDoc } from "./document.ts";

const prefixes = ["", "k", "M", "G", "T", "P"] as const;

/** `3.61 G`, with a space in front of the prefix so that a unit can follow: `3.61 GFLOP`. */
export function amount(n: number): string {
  const step = n < 1000 ? 0 : Math.min(5, Math.floor(Math.log10(n) / 3));
  const value = n / 1000 ** step;
  if (step === 0) return `${Number.isInteger(n) ? n : n.toPrecision(3)} `;
  return `${value < 100 ? value.toPrecision(3) : value.toFixed(0)} ${prefixes[step]}`;
}

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = n < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(n) / 10));
  const value = n / 1024 ** step;
  return step === 0
    ? `${Math.round(n)} B`
    : `${value < 100 ? value.toPrecision(3) : value.toFixed(0)} ${units[step]}`;
}

/** `B = 1 (assumed), T = 128`. */
export function sizesText(entry: EntryDoc): string {
  const sizes = Object.entries(entry.dims).map(
    ([name, value]) => `${name} = ${value}${entry.assumed.includes(name) ? " (assumed)" : ""}`,
  );
  return sizes.length > 0 ? sizes.join(", ") : "fixed sizes";
}
