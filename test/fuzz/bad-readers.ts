// Readers that break their promises, to see the fuzzer find it.

import { random } from "../../tools/fuzz/random.ts";
import type { Reader } from "../../tools/fuzz/readers.ts";

const digits = (name: string, index: number): string => String(random(name, 1, index).below(1_000_000));

/** Inputs are numbers; the one at `index` of seed 1 is the one that breaks it. */
function breaksAt(name: string, index: number, breaks: () => void): Reader {
  return {
    name,
    extension: "txt",
    make: (r) => String(r.below(1_000_000)),
    check(input) {
      if (input === digits(name, index)) breaks();
      return true;
    },
  };
}

export const readers: readonly Reader[] = [
  {
    name: "throws",
    extension: "txt",
    make: (r) => "abc".repeat(r.below(9)) + (r.oneIn(2) ? "!" : "") + "de".repeat(r.below(9)),
    check(input) {
      if (String(input).includes("!")) throw new TypeError("no exclamation mark");
      return true;
    },
  },
  breaksAt("hangs", 5, () => {
    for (;;);
  }),
  breaksAt("fills-memory", 3, () => {
    const all: number[][] = [];
    for (;;) all.push(Array.from({ length: 1000 }, (_, i) => i + all.length));
  }),
];
