// The least of a function of a few positive constants, by changing one after the other by smaller and smaller factors.

export interface Least<C> {
  readonly at: C;
  readonly error: number;
}

/** `free`: which constants may change. Begins at `start`, and ends where no change by a hundredth is better. */
export function descend<C extends Readonly<Record<K, number>>, K extends string>(
  start: C,
  free: readonly K[],
  errorAt: (constants: C) => number,
): Least<C> {
  let least: Least<C> = { at: start, error: errorAt(start) };
  for (const factor of [2, 1.5, 1.2, 1.1, 1.03, 1.01])
    for (let round = 0; round < 20; round++) {
      const last = least.error;
      for (const name of free)
        for (const f of [factor, 1 / factor]) {
          const at: C = { ...least.at, [name]: least.at[name] * f };
          const error = errorAt(at);
          if (error < least.error) least = { at, error };
        }
      if (least.error > last * 0.9999) break;
    }
  return least;
}

/** By which factor values are off, most of them: of the root mean square of their logarithms. */
export function offBy(ratios: readonly number[]): number {
  const squares = ratios.map((r) => Math.log(r) ** 2);
  return Math.exp(Math.sqrt(squares.reduce((a, b) => a + b, 0) / Math.max(1, squares.length)));
}
