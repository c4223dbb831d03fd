// The explain document: everything that is known of one compilation, as plain JSON. The terminal commands and the page read nothing
// else. docs/explain.schema.json is its published schema. Types alone: no code, no imports.
//
// Numbers (FLOPs, bytes, tokens) are for the sizes in `EntryDoc.dims`. A node's id is the value id of its first result.

export interface ExplainDocument {
  readonly format: "tokenloom-explain";
  readonly version: 1;
  /** Version of the compiler. */
  readonly compiler: string;
  readonly model: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly target: TargetDoc;
  readonly sources: readonly SourceDoc[];
  /** Model lines; everything else points here by index. */
  readonly places: readonly PlaceDoc[];
  /** Passes that ran, in order; the same for every entry point. */
  readonly passes: readonly PassDoc[];
  /** Rules of these passes. */
  readonly rules: readonly RuleDoc[];
  readonly kernels: readonly KernelDoc[];
  readonly constants: readonly ConstantDoc[];
  readonly entries: readonly EntryDoc[];
}

/** What it was compiled for, and what that adapter reaches at most (`Target.measured`). */
export interface TargetDoc {
  readonly name: string;
  readonly flopsPerSecond: number;
  readonly bytesPerSecond: number;
}

export interface SourceDoc {
  readonly name: string;
  readonly text: string;
}

/** 1-based, as editors count; `source` is an index into `sources`. */
export interface PlaceDoc {
  readonly source: number;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
}

export interface PassDoc {
  readonly name: string;
  readonly doc: string;
  readonly numerics: "exact" | "reassociates" | "approximates";
  readonly domain?: string;
  /** Where it is in the compiler, `src/passes/x.ts:12`; absent where the build does not know. */
  readonly code?: string;
}

export interface RuleDoc {
  readonly name: string;
  /** The first pass that has it. */
  readonly pass: string;
  readonly equation: string;
  readonly doc: string;
  readonly code?: string;
}

export interface ValueDoc {
  readonly id: string;
  /** `f32[B, T, D=64]`, as in IR text. */
  readonly type: string;
  readonly bytes: number;
  /** Positions of the value: its elements without those of the channel axis. */
  readonly tokens: number;
}

export interface NodeDoc {
  readonly id: string;
  readonly op: string;
  /** IR text without lines; of a group, its head. */
  readonly text: string;
  readonly inputs: readonly string[];
  readonly results: readonly ValueDoc[];
  readonly scope: string;
  readonly places: readonly number[];
  /** Runs once, when weights are loaded. */
  readonly prepared?: true;
  /** Two for each multiply-add, one for each element of anything else; 0 where prepared. */
  readonly flops: number;
  /** A group: what shares its kernel. */
  readonly body?: BodyDoc;
}

export interface BodyDoc {
  readonly params: readonly string[];
  readonly nodes: readonly NodeDoc[];
  readonly results: readonly string[];
  /** Ids that the nodes of the body had before they were grouped, in the order of `nodes`; empty where it had none. */
  readonly were: readonly string[];
}

/** A graph's totals, prepared nodes left out but for their number. */
export interface CostDoc {
  readonly nodes: number;
  readonly prepared: number;
  readonly flops: number;
  /** Read and written, if every node were a kernel of its own. */
  readonly bytes: number;
}

export interface StepDoc {
  /** Index into `passes`. */
  readonly pass: number;
  readonly removed: readonly string[];
  /** Nodes added, or changed in text, lines or scope. `after` is the node before it; empty for the first. */
  readonly set: readonly { readonly node: NodeDoc; readonly after: string }[];
  /** All ids in order, only where removing and adding does not give the order. */
  readonly order?: readonly string[];
  /** Values that leave, only where they changed. */
  readonly outputs?: readonly OutputDoc[];
  readonly fired: readonly FiredDoc[];
  readonly refused: readonly RefusedDoc[];
  readonly cost: CostDoc;
}

export interface FiredDoc {
  readonly rule: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly removed: readonly string[];
  readonly added: readonly string[];
  /** Where there was a choice. */
  readonly why?: string;
  readonly places: readonly number[];
}

export interface RefusedDoc {
  readonly rule: string;
  readonly reason: string;
  readonly node: string;
  readonly places: readonly number[];
}

export interface OutputDoc {
  readonly name: string;
  readonly value: string;
}

export interface KernelDoc {
  readonly name: string;
  /** Kernel IR. */
  readonly text: string;
  readonly wgsl: string;
  readonly workgroupSize: readonly [number, number, number];
  readonly features: readonly string[];
  readonly bindings: readonly {
    readonly name: string;
    readonly binding: number;
    readonly access: "read" | "write" | "read_write" | "uniform";
    readonly arena: boolean;
  }[];
}

/** What the prepare program makes of weights. */
export interface ConstantDoc {
  readonly id: string;
  readonly type: string;
  readonly keys: readonly string[];
  readonly offset: number;
  readonly bytes: number;
}

export interface DispatchDoc {
  /** Index into `kernels`. */
  readonly kernel: number;
  /** Nodes of the last graph that it computes. */
  readonly nodes: readonly string[];
  readonly buffers: readonly string[];
  readonly params: readonly { readonly name: string; readonly value: string }[];
  /** Workgroups. */
  readonly grid: readonly [number, number, number];
  readonly schedule: string;
  /** Why this schedule. */
  readonly why: string;
  readonly flops: number;
  /** What must move at least. */
  readonly bytes: number;
  readonly places: readonly number[];
}

export interface LifetimeDoc {
  readonly id: string;
  readonly bytes: number;
  readonly offset: number;
  /** The dispatches that write it first and read it last; the number of dispatches where it leaves the run. */
  readonly first: number;
  readonly last: number;
}

export interface MemoryDoc {
  readonly arenaBytes: number;
  /** The largest sum of values alive at once, and the dispatch where that is. */
  readonly peakBytes: number;
  readonly peakAt: number;
  readonly lifetimes: readonly LifetimeDoc[];
}

export interface ProfileDoc {
  readonly adapter: string;
  /** timestamps: GPU timestamps around each dispatch. wall-clock: one submit for each dispatch, waited for. */
  readonly method: "timestamps" | "wall-clock";
  /** One per dispatch. */
  readonly nanoseconds: readonly number[];
}

export interface EntryDoc {
  readonly name: string;
  /** Sizes that numbers are for. */
  readonly dims: Readonly<Record<string, number>>;
  /** Those of them that nobody gave. */
  readonly assumed: readonly string[];
  readonly inputs: readonly (ValueDoc & { readonly name: string; readonly places: readonly number[] })[];
  readonly weights: readonly (ValueDoc & { readonly key: string; readonly places: readonly number[] })[];
  readonly scopes: readonly {
    readonly path: string;
    readonly block: string;
    readonly places: readonly number[];
  }[];
  /** As the model says it; steps are differences from there on. */
  readonly nodes: readonly NodeDoc[];
  readonly outputs: readonly OutputDoc[];
  readonly cost: CostDoc;
  readonly steps: readonly StepDoc[];
  readonly dispatches: readonly DispatchDoc[];
  readonly memory: MemoryDoc;
  readonly profile?: ProfileDoc;
}
