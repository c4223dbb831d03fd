// The plan: all that running needs and nothing of the compiler. Pure JSON (plan.schema.json in a compiled folder's docs), with sizes
// as dimension text over symbols, so that another batch or image size re-plans memory and compiles nothing.
//
// A value lives in one of four places: an input's own buffer, the constants (prepared weights), a state's own buffer, or the arena.
// Arena offsets are not in the plan: they follow from lifetimes (the order of dispatches) and the sizes of this run (`planMemory`).

import type { Location } from "../support/source.ts";
import type { Preprocess } from "./graph.ts";
import type { Target } from "./target.ts";
import type { DType } from "./types.ts";

export const planFormat = "tokenloom-plan";
export const planVersion = 1;

export interface Plan {
  readonly format: typeof planFormat;
  readonly version: typeof planVersion;
  /** Version of the compiler that made it. */
  readonly compiler: string;
  readonly model: string;
  /** Named configuration and `--set` values, for the reader. */
  readonly settings: Readonly<Record<string, string>>;
  readonly target: Target;
  readonly constants: readonly PlanConstant[];
  readonly kernels: readonly PlanKernel[];
  /** One per entry point; they share constants and kernels. */
  readonly entries: readonly PlanEntry[];
}

/** A tensor as the plan knows it: shape as dimension text (`B`, `floor((H - 1)/2) + 1`), physical order where not row-major. */
export interface PlanTensor {
  readonly id: string;
  readonly dtype: DType;
  readonly shape: readonly string[];
  readonly axes: readonly (string | null)[];
  readonly order?: readonly number[];
}

/** A prepared weight: computed once at load by the prepare program, stored in physical order. */
export interface PlanConstant extends PlanTensor {
  /** Checkpoint keys it was made from. */
  readonly keys: readonly string[];
  /** Bytes from the start of the constants file, a multiple of 256. */
  readonly offset: number;
  readonly bytes: number;
}

export interface PlanKernel {
  readonly name: string;
  readonly wgsl: string;
  readonly workgroupSize: readonly [number, number, number];
  readonly features: readonly ("shader-f16" | "subgroups")[];
  /** Binding number of the uniform block, and its size; absent where the kernel has no sizes. */
  readonly uniform?: { readonly binding: number; readonly bytes: number };
  /** Binding number of the live extents, absent where none is read. */
  readonly extents?: number;
  readonly params: readonly {
    readonly name: string;
    readonly offset: number;
    readonly scalar: "u32" | "f32";
    /** A bounded symbol: the dispatch passes its name, and the word at `offset` gets the place of its value in the extents. */
    readonly live: boolean;
  }[];
  readonly buffers: readonly PlanBinding[];
}

export interface PlanBinding {
  readonly name: string;
  readonly binding: number;
  /** What the kernel does with it. The WGSL declares `read_write` for every arena value: one buffer cannot be both in one dispatch. */
  readonly access: "read" | "write" | "read_write";
  readonly arena: boolean;
}

export interface PlanEntry {
  readonly name: string;
  readonly symbols: readonly ({ readonly kind: "bound"; readonly name: string } | PlanBounded)[];
  readonly inputs: readonly (PlanTensor & { readonly name: string; readonly preprocess?: Preprocess })[];
  readonly outputs: readonly { readonly name: string; readonly value: string; readonly tensor: PlanTensor }[];
  readonly states: readonly (PlanTensor & {
    readonly name: string;
    readonly next: string;
    readonly initial: number;
  })[];
  /** Arena values, in order of definition. */
  readonly values: readonly PlanTensor[];
  readonly dispatches: readonly PlanDispatch[];
  /** Words of the extents; absent where they are the live values alone. */
  readonly extents?: number;
  /** What the sizes of a run must keep to: `size` must be 0 or more. Absent where there is nothing. */
  readonly limits?: readonly PlanLimit[];
}

export interface PlanLimit {
  readonly size: string;
  readonly text: string;
  readonly at?: Location;
}

/** The value id under which a kernel binds the live extents in order to write them: live values, then grids of later dispatches. */
export const extentsId = "@extents";

/** A symbol whose live value a kernel writes to `extents[slot]`; buffers and grids are sized by the bound. */
export interface PlanBounded {
  readonly kind: "bounded";
  readonly name: string;
  readonly bound: string;
  readonly slot: number;
  /** What it is until a kernel says otherwise, where that is not the bound: recorded with a kernel that was taken out of its model. */
  readonly live?: number;
}

export interface PlanDispatch {
  /** Index into `Plan.kernels`. */
  readonly kernel: number;
  /** Value ids, one per buffer of the kernel. */
  readonly buffers: readonly string[];
  /** Dimension text, one per parameter of the kernel; the bare name of the symbol for a live one. */
  readonly params: readonly string[];
  /** Workgroups in x, y, z, as dimension text. */
  readonly grid: readonly [string, string, string];
  /** Where in the extents a kernel writes how many of them are needed; the dispatch takes its grid from there. */
  readonly indirect?: number;
  /** Model lines, graph nodes, the schedule, and why it was chosen. */
  readonly locations: readonly Location[];
  readonly nodes: readonly string[];
  readonly schedule: string;
  readonly why: string;
  /** Multiply-adds counted as two, and bytes that must move at least; dimension text. */
  readonly flops: string;
  readonly bytes: string;
}
