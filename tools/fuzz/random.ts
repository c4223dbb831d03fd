// Numbers that look random and follow from a seed: input number i of a reader is the same on every machine.

export interface Random {
  /** A whole number from 0 up to `n`, which is not reached. */
  below(n: number): number;
  /** True once in `n`. */
  oneIn(n: number): boolean;
  pick<T>(from: readonly T[]): T;
}

/** mulberry32, seeded with a hash (FNV-1a) of all that is given. */
export function random(...seed: readonly (string | number)[]): Random {
  let state = 0x811c9dc5;
  for (const c of seed.join("/")) state = Math.imul(state ^ c.charCodeAt(0), 0x01000193);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return { below, oneIn: (n) => below(n) === 0, pick: (from) => from[below(from.length)]! };
}
