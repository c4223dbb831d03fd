// How an op writes kernels of its own, where its loops are none of a generator's: a scan, a sort, top-k, attention with an online
// softmax. The op says how many workgroups each dispatch has, what it reads and writes, and writes the body in Kernel IR through a
// `KernelWriter`, which knows layouts, storage types and sizes. The code generator is the only one that implements it.

import type { Dim } from "./dim.ts";
import type { Attrs } from "./graph.ts";
import type { Expr, KernelType } from "./kernel.ts";
import type { Target } from "./target.ts";
import type { TensorType } from "./types.ts";

/** What a program is made for. Results have the physical order that the layout pass chose; a writer handles it. */
export interface ProgramFacts {
  readonly attrs: Attrs;
  type(input: string): TensorType;
  has(input: string): boolean;
  readonly results: readonly TensorType[];
  readonly target: Target;
}

/** A way to cut an op's kernels: its kind, which begins its text, and counts by name. */
export interface ProgramCut {
  readonly kind: string;
}

/** The ways in which an op's kernels can be cut, where there are several: what `--schedule` asks for and `tune-schedules` measures. */
export interface ProgramCuts {
  readonly kinds: readonly string[];
  /** Counts of a cut, in the order of its text. */
  readonly counts: readonly { readonly name: string; readonly least?: 0 | 1; readonly most: number }[];
  readonly example: string;
  /** Sizes that matter to what it costs. */
  sizes(f: ProgramFacts): Readonly<Record<string, Dim>>;
  choose(f: ProgramFacts): ProgramCut;
  why(cut: ProgramCut, f: ProgramFacts): string;
  /** Why the kernels cannot be cut so, or undefined where they can. */
  refuse(cut: ProgramCut, f: ProgramFacts): string | undefined;
  candidates(f: ProgramFacts): readonly ProgramCut[];
  /** Cycles of a core, as far as a model goes: for an order among candidates. */
  cycles(cut: ProgramCut, f: ProgramFacts, sizes: Readonly<Record<string, number>>): number;
}

/** The dispatches of one node, in order. Values are called by name: inputs and results of the op, and scratch. */
export interface Program {
  /** Values between dispatches that the graph does not know. */
  readonly scratch?: Readonly<Record<string, TensorType>>;
  readonly steps: readonly ProgramStep[];
}

export interface ProgramStep {
  /** What this dispatch does, where there are several: `count`, `scan`. Part of the kernel's name. */
  readonly name?: string;
  /** Inputs, scratch and results of earlier steps. Optional inputs that are not there are left out. */
  readonly reads: readonly string[];
  /** Scratch and results. A dispatch cannot read what it writes. */
  readonly writes: readonly string[];
  /** Bounded symbols whose live values this dispatch writes. It must not ask for their `size`. */
  readonly sets?: readonly string[];
  /** Sizes of the grid of workgroups, outermost first; bounded symbols stand at their bounds. */
  readonly workgroups: readonly Dim[];
  /** Invocations of a workgroup. */
  readonly invocations: number;
  /** Where it uses subgroup operations: the target's width. */
  readonly subgroupSize?: number;
  /** For the reader of dumps: `one workgroup a row, 256 invocations`. */
  readonly schedule: string;
  write(k: KernelWriter): void;
}

/** Workgroup memory. */
export interface SharedArray {
  load(index: Expr): Expr;
  store(index: Expr, value: Expr): void;
}

/**
 * Writes statements in order. Elements are f32 for f16 and f32 tensors, else as stored, bool as bool. Expressions come from
 * ir/expr.ts; those that a method returns are names and cost nothing to repeat.
 */
export interface KernelWriter {
  /** This workgroup's place in the grid, one index for each of `workgroups`. */
  readonly workgroup: readonly Expr[];
  /** This invocation's place in its workgroup. */
  readonly local: Expr;
  /** A size as u32: a parameter of the kernel, the live value where it is bounded, or a constant 1. */
  size(d: Dim): Expr;
  /** One element, at one index for each axis. */
  read(from: string, index: readonly Expr[]): Expr;
  /** Elements 4q .. 4q+3 along `axis`, where `index[axis]` is q: one load where they are neighbours in memory, else four. All four must exist. */
  readFour(from: string, index: readonly Expr[], axis: number): Expr;
  /** Stores one element. What follows the op elementwise, and was fused, is computed here. */
  write(to: string, index: readonly Expr[], value: Expr): void;
  writeFour(to: string, index: readonly Expr[], axis: number, value: Expr): void;
  /** Sets the live value of a bounded symbol; one invocation of the dispatch does. */
  setLive(symbol: string, value: Expr): void;
  /** A name for the value, in the outermost block that can hold it; of a variable, for the value that it has now. */
  bind(hint: string, value: Expr): Expr;
  variable(hint: string, initial: Expr): Expr;
  set(variable: Expr, value: Expr): void;
  /** `for counter in start..end` by `step` (default 1), u32. */
  loop(hint: string, start: Expr, end: Expr, body: (counter: Expr) => void, step?: Expr): void;
  when(condition: Expr, then: () => void, otherwise?: () => void): void;
  shared(hint: string, type: KernelType, length: number): SharedArray;
  /** Workgroup memory written before is seen after; reached by all invocations of a workgroup or by none. */
  barrier(): void;
}
