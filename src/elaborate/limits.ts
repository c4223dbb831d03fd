// How much one elaboration may do. Every limit has an error code of its own, so that no file can hang the compiler or fill memory.

export interface Limits {
  /** Nodes of one graph: `too-many-nodes`. */
  readonly nodes: number;
  /** Blocks called within blocks: `too-deep`. */
  readonly blockDepth: number;
  /** Expressions and statements within one another: `too-deep`. */
  readonly nesting: number;
  /** Elements of a list: `list-too-long`. */
  readonly listLength: number;
  /** Turns of one loop: `too-many-iterations`. */
  readonly iterations: number;
  /** Characters of a string: `string-too-long`. */
  readonly stringLength: number;
  /** Terms of a symbolic dimension, and factors of a term: `dimension-too-large`. */
  readonly dimensionTerms: number;
  /** Expressions evaluated, list elements made and (eightfold) loop turns, all together: `too-much-work`. */
  readonly work: number;
  /** Files imported, directly or not: `too-many-files`. */
  readonly files: number;
  /** Imports within imports: `import-too-deep`. */
  readonly importDepth: number;
  /** Diagnostics kept; the rest are counted. */
  readonly diagnostics: number;
}

export const defaultLimits: Limits = {
  nodes: 100_000,
  blockDepth: 64,
  nesting: 500,
  listLength: 1_000_000,
  iterations: 100_000,
  stringLength: 65_536,
  dimensionTerms: 256,
  work: 4_000_000,
  files: 256,
  importDepth: 32,
  diagnostics: 100,
};
