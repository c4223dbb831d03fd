// The text of a sweep: `tome:r=0..24`, `pitome:ratio=0.5..1/0.1`, a list of requests with one parameter that runs; several methods at once
// with `+`.

import { error, InputError } from "../support/diagnostic.ts";

/** More settings than this are a slip of the pen. */
const MOST = 200;

/** The requests that a sweep stands for, in order; a text without a range is one. */
export function expandSweep(text: string): readonly string[] {
  const range = /=(-?[\d.]+?)\.\.(-?[\d.]+)(?:\/([\d.]+))?(?=[,+]|$)/.exec(text);
  if (!range) return [text];
  const [from, to, step] = [range[1], range[2], range[3] ?? "1"].map(Number) as [number, number, number];
  const count = Math.floor((to - from) / step + 1e-9) + 1;
  if (!(step > 0) || !(count >= 1) || count > MOST)
    throw new InputError([
      error("reduce", `${text} is no range of 1 to ${MOST} settings`, {
        help: "write FROM..TO or FROM..TO/STEP, as in tome:r=0..24/4",
      }),
    ]);
  return Array.from({ length: count }, (_, i) => {
    // Sums of decimal steps, without their binary tails.
    const value = Number((from + i * step).toFixed(10));
    return `${text.slice(0, range.index)}=${value}${text.slice(range.index + range[0].length)}`;
  });
}
