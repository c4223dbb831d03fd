// How many tokens went to each expert, and how even that is.

/** Tokens of each expert. Ids beyond the last expert are slots without one. */
export function loadsOf(ids: ArrayLike<number>, experts: number): number[] {
  const loads = new Array<number>(experts).fill(0);
  for (let i = 0; i < ids.length; i++) if (ids[i]! < experts) loads[ids[i]!]!++;
  return loads;
}

/** max load / mean load - 1: 0 is even, E/K - 1 is all on the same K experts. */
export function maxViolation(loads: readonly number[]): number {
  const mean = loads.reduce((a, b) => a + b, 0) / loads.length;
  return mean === 0 ? 0 : Math.max(...loads) / mean - 1;
}
