// The explain document of a compilation: what compilation already keeps, as plain JSON with numbers for one set of sizes. Pure.

import { evaluateDim, symbolsOf } from "../ir/dim.ts";
import type { Graph, Module } from "../ir/graph.ts";
import { printKernel } from "../ir/kernel-print.ts";
import type { Kernel } from "../ir/kernel.ts";
import type { Plan, PlanEntry, PlanKernel, PlanTensor } from "../ir/plan.ts";
import type { Refusal, RewriteEvent, RuleDoc as Change } from "../ir/rewrite-types.ts";
import { axisLetters } from "../ir/types.ts";
import { namedChanges, type Pass } from "../passes/pass.ts";
import type { Step } from "../passes/run.ts";
import { dimReader, planMemory, type DimReader } from "../runtime/memory.ts";
import type {
  DispatchDoc,
  EntryDoc,
  ExplainDocument,
  FiredDoc,
  KernelDoc,
  MemoryDoc,
  PassDoc,
  ProfileDoc,
  RefusedDoc,
  RuleDoc,
  StepDoc,
} from "./document.ts";
import { difference, GraphDocs, type GraphDoc } from "./graphs.ts";
import { Places } from "./places.ts";

/** A compilation, as `compile` gives it. */
export interface Compilation {
  readonly module: Module;
  readonly steps: readonly (readonly Step[])[];
  readonly plan: Plan;
  readonly kernels: readonly Kernel[];
}

export interface ExplainOptions {
  /** The model file: first among the sources. */
  readonly root: string;
  /** Text of a source file by the name it was compiled under. */
  readonly source: (name: string) => string | undefined;
  /** Sizes by name; what is missing is assumed. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Where passes and rules are in the compiler, by name. */
  readonly code?: Readonly<Record<string, string>>;
  /** Profiles by entry point. */
  readonly profiles?: Readonly<Record<string, ProfileDoc>>;
}

export function explain(compiled: Compilation, options: ExplainOptions): ExplainDocument {
  const { plan } = compiled;
  const places = new Places(options.source);
  const passes = compiled.steps[0]?.map((s) => s.pass) ?? [];
  const code = (name: string): { code?: string } => {
    const at = options.code?.[name];
    return at === undefined ? {} : { code: at };
  };
  places.source(options.root);
  const entries = plan.entries.map((e, i) =>
    entryDoc(e, compiled.module.graphs[i]!, compiled.steps[i]!, plan, places, options),
  );
  return {
    format: "tokenloom-explain",
    version: 1,
    compiler: plan.compiler,
    model: plan.model,
    settings: plan.settings,
    target: {
      name: plan.target.name,
      flopsPerSecond: plan.target.measured.gflops * 1e9,
      bytesPerSecond: plan.target.measured.gigabytesPerSecond * 1e9,
    },
    sources: places.sources,
    places: places.list,
    passes: passes.map((p) => passDoc(p, code)),
    rules: rulesOf(passes).map(([rule, pass]) => ({ ...rule, pass, ...code(rule.name) })),
    kernels: plan.kernels.map((k, i) => kernelDoc(k, compiled.kernels[i]!)),
    constants: plan.constants.map((c) => ({
      id: c.id,
      type: planType(c),
      keys: c.keys,
      offset: c.offset,
      bytes: c.bytes,
    })),
    entries,
  };
}

function passDoc(p: Pass, code: (name: string) => { code?: string }): PassDoc {
  return {
    name: p.name,
    doc: p.doc,
    numerics: p.numerics,
    ...(p.domain !== undefined && { domain: p.domain }),
    ...code(p.name.replace(/-again$/, "")),
  };
}

/** Each rule once, with the first pass that has it. */
function rulesOf(passes: readonly Pass[]): readonly (readonly [Omit<RuleDoc, "pass">, string])[] {
  const found = new Map<string, readonly [Change, string]>();
  for (const p of passes)
    for (const rule of namedChanges(p)) if (!found.has(rule.name)) found.set(rule.name, [rule, p.name]);
  return [...found.values()].map(([{ name, equation, doc }, pass]) => [{ name, equation, doc }, pass]);
}

function kernelDoc(planned: PlanKernel, kernel: Kernel): KernelDoc {
  const own = (binding: number, name: string) =>
    ({ name, binding, access: "uniform", arena: false }) as const;
  return {
    name: planned.name,
    text: printKernel(kernel),
    wgsl: planned.wgsl,
    workgroupSize: planned.workgroupSize,
    features: planned.features,
    bindings: [
      ...planned.buffers.map(({ name, binding, access, arena }) => ({ name, binding, access, arena })),
      ...(planned.uniform ? [own(planned.uniform.binding, "sizes")] : []),
    ],
  };
}

function entryDoc(
  entry: PlanEntry,
  graph: Graph,
  steps: readonly Step[],
  plan: Plan,
  places: Places,
  options: ExplainOptions,
): EntryDoc {
  const { dims, assumed } = sizesOf(graph, options.dims ?? {});
  const size = dimReader(entry, dims);
  const docs = new GraphDocs(withBounds([graph, ...steps.map((s) => s.after)], dims), places);
  const first = docs.graph(graph);
  let before = first;
  const stepDocs = steps.map((s, i): StepDoc => {
    const after = s.changed ? docs.graph(s.after, s.before) : before;
    const changes = s.changed ? difference(before, after) : { removed: [], set: [] };
    before = after;
    return {
      pass: i,
      ...changes,
      fired: s.events.map((e) => firedDoc(e, places)),
      refused: s.refusals.map((r) => refusedDoc(r, places)),
      cost: after.cost,
    };
  });
  const maker = computing(before);
  const profile = options.profiles?.[entry.name];
  return {
    name: entry.name,
    dims,
    assumed,
    inputs: graph.inputs.map((x) => ({ ...docs.value(x), name: x.name, places: places.of(x.spans) })),
    weights: graph.weights.map((x) => ({ ...docs.value(x), key: x.key, places: places.of(x.spans) })),
    scopes: graph.scopes.map((s) => ({ path: s.path, block: s.block, places: places.of(s.spans) })),
    ...first,
    steps: stepDocs,
    dispatches: entry.dispatches.map((d): DispatchDoc => ({
      kernel: d.kernel,
      nodes: [...new Set(d.nodes.map(maker))],
      buffers: d.buffers,
      params: d.params.map((value, i) => ({ name: plan.kernels[d.kernel]!.params[i]?.name ?? "", value })),
      grid: d.grid.map(size) as unknown as DispatchDoc["grid"],
      schedule: d.schedule,
      why: d.why,
      flops: size(d.flops),
      bytes: size(d.bytes),
      places: places.of(d.locations),
    })),
    memory: memoryDoc(entry, size, plan),
    ...(profile && { profile }),
  };
}

/** The node of the last graph that a value belongs to: its own, or the group whose sums in parts it holds (`%6.%301`). */
function computing({ nodes }: GraphDoc): (id: string) => string {
  const makers = new Map(nodes.flatMap((n) => n.results.map((r) => [r.id, n.id])));
  return (id) => {
    for (let end = id.length; end > 0; end = id.lastIndexOf(".", end - 1)) {
      const maker = makers.get(id.slice(0, end));
      if (maker !== undefined) return maker;
    }
    return id;
  };
}

function firedDoc({ spans, ...e }: RewriteEvent, places: Places): FiredDoc {
  return { ...e, places: places.of(spans) };
}

function refusedDoc({ spans, ...r }: Refusal, places: Places): RefusedDoc {
  return { ...r, places: places.of(spans) };
}

function memoryDoc(entry: PlanEntry, size: DimReader, plan: Plan): MemoryDoc {
  const memory = planMemory(entry, size, plan.target.limits.minStorageBufferOffsetAlignment);
  return {
    arenaBytes: memory.bytes,
    peakBytes: memory.peakLive,
    peakAt: memory.peakAt,
    lifetimes: memory.lifetimes.map((l) => ({ ...l, offset: memory.offsets.get(l.id)! })),
  };
}

function planType(t: PlanTensor): string {
  const letter = (axis: string): string =>
    Object.keys(axisLetters).find((l) => axisLetters[l] === axis) ?? axis;
  const axes = t.shape.map((d, i) => (t.axes[i] ? `${letter(t.axes[i]!)}=${d}` : d));
  return `${t.dtype}[${axes.join(", ")}]${t.order ? `{${t.order.join(", ")}}` : ""}`;
}

// ---- sizes ----------------------------------------------------------------------------------------------------------

/** What an axis that nobody sized counts as, where it is no batch: enough tokens to see which work grows with them. */
const ASSUMED_TOKENS = 128;

/** Sizes given, those of declared image preprocessing, and for the rest 1 for the batch B, else 128. */
function sizesOf(
  graph: Graph,
  given: Readonly<Record<string, number>>,
): { readonly dims: Record<string, number>; readonly assumed: readonly string[] } {
  const dims: Record<string, number> = {};
  const assumed: string[] = [];
  for (const s of graph.symbols) {
    if (s.kind !== "bound") continue;
    const known = given[s.name];
    dims[s.name] = known ?? assumedSize(graph, s.name);
    if (known === undefined) assumed.push(s.name);
  }
  return { dims, assumed };
}

function assumedSize(graph: Graph, name: string): number {
  const axes = graph.inputs.flatMap((x) =>
    x.type.shape.flatMap((d, axis) => (symbolsOf(d).has(name) ? [{ axis, image: x.preprocess }] : [])),
  );
  const image = axes.find((x) => x.image && x.axis >= 2)?.image;
  if (image) return image.size;
  return name === "B" || axes.length === 0 ? 1 : ASSUMED_TOKENS;
}

/** Bounded symbols at their bounds, those too that a pass brings. */
function withBounds(
  graphs: readonly Graph[],
  dims: Readonly<Record<string, number>>,
): Record<string, number> {
  const env: Record<string, number> = { ...dims };
  for (const s of graphs.flatMap((g) => g.symbols))
    if (s.kind === "bounded") env[s.name] ??= evaluateDim(s.bound, env);
  return env;
}
