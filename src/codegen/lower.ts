// From a grouped graph to a plan: one kernel for each kind of group, one dispatch for each group, constants for what the prepare program
// makes. Knows how groups become kernels; knows no op by name and no GPU API.

import { Bug } from "../support/bug.ts";
import {
  addDim,
  constantOf,
  dim,
  evaluateDim,
  showDim,
  substituteDim,
  symbolsOf,
  type Dim,
  type DimEnv,
} from "../ir/dim.ts";
import {
  preparedValues,
  typesOf,
  weightKeysOf,
  type Graph,
  type Module,
  type Node,
  type ValueId,
} from "../ir/graph.ts";
import { printKernel } from "../ir/kernel-print.ts";
import { printNodeWhole } from "../ir/print.ts";
import { verifyKernel } from "../ir/kernel-verify.ts";
import { flopsOf } from "../ir/stats.ts";
import type { Kernel } from "../ir/kernel.ts";
import { limitsOf } from "../ir/limits.ts";
import type { SizeLimit } from "../ir/symbols.ts";
import {
  extentsId,
  planFormat,
  planVersion,
  type Plan,
  type PlanConstant,
  type PlanDispatch,
  type PlanEntry,
  type PlanKernel,
  type PlanLimit,
  type PlanTensor,
} from "../ir/plan.ts";
import { defaultFirstRunWeight, type Target } from "../ir/target.ts";
import { byteSizeOf, type TensorType } from "../ir/types.ts";
import { chooseSchedules, type Chosen } from "./choose-schedules.ts";
import { Generated } from "./generated.ts";
import type { GroupStep } from "./kernel-of.ts";
import { programSteps } from "./program-kernel.ts";
import { familiesOf } from "./schedule-families.ts";
import { ScheduleOverrides } from "./schedule-overrides.ts";
import type { Bounds, LiveGrid, LiveWrites } from "./sizes.ts";
import type { TunedEntry, TunedSource } from "./tuned.ts";
import { bindingLayout } from "./wgsl/bindings.ts";
import { printWgsl } from "./wgsl/print.ts";

export interface LowerOptions {
  readonly target: Target;
  readonly compiler: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** Schedules other than those that would be chosen, as text, by kernel (`linear_gelu`), value (`%12`) or for all (`*`). */
  readonly schedules?: Readonly<Record<string, string>>;
  /** Sizes that runs are expected to have: schedules are chosen for them, and run for any. */
  readonly sizes?: DimEnv;
  /** Schedules that were measured. */
  readonly tuned?: readonly TunedSource[];
  /** What a millisecond of compilation counts, of one of a run. */
  readonly firstRunWeight?: number;
}

/** A value that the prepare program makes, and where it goes. */
export interface PreparedConstant {
  readonly constant: PlanConstant;
  readonly graph: Graph;
  readonly value: ValueId;
  readonly type: TensorType;
}

export interface Lowered {
  readonly plan: Plan;
  /** Same order as `plan.kernels`. */
  readonly kernels: readonly Kernel[];
  readonly prepared: readonly PreparedConstant[];
  /** Entries of `tuned` that were used. */
  readonly tuned: readonly TunedEntry[];
}

const ALIGNMENT = 256;

/** What the entry points of a plan share while they are lowered. */
interface Lowering {
  readonly kernels: KernelTable;
  readonly constants: ConstantTable;
  readonly target: Target;
  readonly overrides: ScheduleOverrides;
  readonly options: LowerOptions;
  readonly tuned: Set<TunedEntry>;
}

export function lowerModule(module: Module, options: LowerOptions): Lowered {
  const kernels = new KernelTable();
  const constants = new ConstantTable(module.graphs.length > 1);
  const families = familiesOf(module.graphs.flatMap((g) => g.nodes));
  const overrides = new ScheduleOverrides(options.schedules ?? {}, families);
  const context: Lowering = {
    kernels,
    constants,
    target: options.target,
    overrides,
    options,
    tuned: new Set(),
  };
  const entries = module.graphs.map((g) => {
    const limits = limitsOf(g).map(planLimit);
    return { ...lowerGraph(g, context), ...(limits.length > 0 && { limits }) };
  });
  overrides.finish();
  const plan: Plan = {
    format: planFormat,
    version: planVersion,
    compiler: options.compiler,
    model: module.name,
    settings: options.settings ?? {},
    target: options.target,
    constants: constants.prepared.map((p) => p.constant),
    kernels: kernels.planned,
    entries,
  };
  return { plan, kernels: kernels.kernels, prepared: constants.prepared, tuned: [...context.tuned] };
}

function planLimit({ size, text, at }: SizeLimit): PlanLimit {
  return { size: showDim(size), text, ...(at && { at }) };
}

// ---- kernels --------------------------------------------------------------------------------------------------------

/** Kernels by their text: equal groups of other layers share one. */
class KernelTable {
  readonly kernels: Kernel[] = [];
  readonly planned: PlanKernel[] = [];
  readonly #byText = new Map<string, number>();
  readonly #names = new Map<string, number>();
  /** What was made once for equal groups needs no text to be found again. */
  readonly #added = new Map<Kernel, Map<string, number>>();

  /** `arena` says which buffers are slices of the arena. */
  add(made: Kernel, name: string, node: Node, arena: readonly boolean[]): number {
    const added = this.#added.get(made) ?? new Map<string, number>();
    this.#added.set(made, added);
    const places = arena.join();
    const index = added.get(places) ?? this.#addNew(made, name, node, arena);
    added.set(places, index);
    return index;
  }

  #addNew(made: Kernel, name: string, node: Node, arena: readonly boolean[]): number {
    const text = `${printKernel({ ...made, name: "k", notes: [], locations: [] })} ${arena.join()}`;
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const seen = this.#names.get(name) ?? 0;
    this.#names.set(name, seen + 1);
    const kernel: Kernel = {
      ...made,
      name: seen === 0 ? name : `${name}_${seen + 1}`,
      locations: node.spans,
    };
    const problems = verifyKernel(kernel);
    if (problems.length > 0)
      throw new Bug(`kernel ${kernel.name} does not verify: ${problems[0]}`, { kernel: printKernel(kernel) });
    const index = this.kernels.length;
    this.#byText.set(text, index);
    this.kernels.push(kernel);
    this.planned.push(this.#plan(kernel, arena));
    return index;
  }

  #plan(kernel: Kernel, arena: readonly boolean[]): PlanKernel {
    const layout = bindingLayout(kernel);
    const shared = kernel.buffers.filter((_, i) => arena[i]).map((b) => b.name);
    const features: PlanKernel["features"][number][] = [];
    if (kernel.subgroupSize > 0) features.push("subgroups");
    if (kernel.buffers.some((b) => b.type.scalar === "f16")) features.push("shader-f16");
    return {
      name: kernel.name,
      wgsl: printWgsl(kernel, { buffersReadWrite: shared }),
      workgroupSize: kernel.workgroupSize,
      features,
      ...(layout.params !== undefined && { uniform: { binding: layout.params, bytes: layout.uniformBytes } }),
      ...(layout.extents !== undefined && { extents: layout.extents }),
      params: kernel.params.map((p) => ({
        name: p.name,
        offset: layout.uniformOffsets[p.name] ?? 0,
        scalar: p.type.scalar === "f32" ? "f32" : "u32",
        live: p.live,
      })),
      buffers: kernel.buffers.map((b, i) => ({
        name: b.name,
        binding: layout.buffers[b.name]!,
        access: b.access,
        arena: arena[i]!,
      })),
    };
  }
}

function stepsOf(
  node: Node,
  { target }: Lowering,
  generated: Generated,
  bounds: Bounds,
  live: LiveWrites,
  chosen: Chosen | undefined,
): readonly GroupStep[] {
  const { body } = node;
  if (!body) throw new Bug(`${node.op.name} was not grouped`);
  const kind = String(node.attrs["kind"]);
  const schedule = chosen ? chosen.family.show(chosen.schedule) : "";
  return generated.of(body, `${kind} ${schedule}`, () => {
    if (chosen)
      return chosen.family.steps(node, chosen.schedule, chosen.why, { target, bounds, live, sizes: {} });
    if (kind === "program") return programSteps(body, target, bounds, live);
    throw new Bug(`no generator for groups of kind ${kind}`);
  });
}

// ---- constants ------------------------------------------------------------------------------------------------------

/** Prepared values that something on the device reads, shared between entry points where they are made in the same way. */
class ConstantTable {
  readonly prepared: PreparedConstant[] = [];
  readonly #ids = new Map<string, string>();
  readonly #several: boolean;
  readonly #formulas = new Formulas();
  #offset = 0;

  constructor(several: boolean) {
    this.#several = several;
  }

  add(graph: Graph, value: ValueId, type: TensorType): string {
    const order = type.order ? `{${type.order.join(", ")}}` : "";
    const formula = `${this.#formulas.of(graph, value)}${order}`;
    const known = this.#ids.get(formula);
    if (known !== undefined) return known;
    const key = value.startsWith("$") || !this.#several ? `${value}${order}` : `${graph.name}/${value}`;
    this.#ids.set(formula, key);
    const shape = type.shape.map((d) => {
      const size = constantOf(d);
      if (size === undefined) throw new Bug(`prepared value ${value} has a free dimension ${showDim(d)}`);
      return size;
    });
    const bytes = Math.ceil(evaluateDim(byteSizeOf(type), {}) / 4) * 4;
    const constant: PlanConstant = {
      ...planTensor(key, type),
      shape: shape.map(String),
      keys: weightKeysOf(graph, value),
      offset: this.#offset,
      bytes,
    };
    this.#offset += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    this.prepared.push({ constant, graph, value, type });
    return key;
  }
}

/** Names for prepared values, the same name for two that are made by the same operations from the same weights. */
class Formulas {
  readonly #byText = new Map<string, string>();
  readonly #byGraph = new Map<Graph, ReadonlyMap<ValueId, string>>();

  of(graph: Graph, value: ValueId): string {
    let known = this.#byGraph.get(graph);
    if (!known) this.#byGraph.set(graph, (known = this.#name(graph)));
    const found = known.get(value);
    if (found === undefined) throw new Bug(`${value} is not prepared`);
    return found;
  }

  #name(graph: Graph): ReadonlyMap<ValueId, string> {
    const prepared = preparedValues(graph);
    const names = new Map<ValueId, string>(graph.weights.map((w) => [w.id, `$${w.key}`]));
    for (const node of graph.nodes) {
      if (!node.results.every((r) => prepared.has(r.id))) continue;
      const text = printNodeWhole({
        ...node,
        inputs: node.inputs.map((x) => names.get(x) ?? x),
        results: node.results.map((r, i) => ({ ...r, id: `%${i}` })),
        scope: "",
        annotations: [],
      });
      const name = this.#byText.get(text) ?? `%${this.#byText.size}`;
      this.#byText.set(text, name);
      node.results.forEach((r, i) => names.set(r.id, `${name}.${i}`));
    }
    return names;
  }
}

function planTensor(id: string, type: TensorType): PlanTensor {
  return {
    id,
    dtype: type.dtype,
    shape: type.shape.map(showDim),
    axes: type.axes,
    ...(type.order && { order: type.order }),
  };
}

// ---- one entry point ------------------------------------------------------------------------------------------------

function lowerGraph(graph: Graph, context: Lowering): PlanEntry {
  const prepared = preparedValues(graph);
  const types = new Map(typesOf(graph));
  const bounds: Record<string, Dim> = {};
  for (const s of graph.symbols) if (s.kind === "bounded") bounds[s.name] = s.bound;
  const slots = new Map(Object.keys(bounds).map((name, i) => [name, i]));
  const stored: PlanTensor[] = [];
  const inArena = new Set<ValueId>();
  const place = (id: ValueId): string =>
    prepared.has(id) ? context.constants.add(graph, id, types.get(id)!) : id;

  const onDevice = graph.nodes.filter((n) => !n.results.every((r) => prepared.has(r.id)));
  const chosen = chooseSchedules(onDevice, context.overrides, {
    ...{ target: context.target, bounds, sizes: context.options.sizes ?? {} },
    tuned: context.options.tuned ?? [],
    firstRunWeight: context.options.firstRunWeight ?? defaultFirstRunWeight,
  });
  for (const { entry } of chosen.values()) if (entry) context.tuned.add(entry);
  const generated = new Generated();
  const live = new LiveGrids(bounds, slots);
  const make = (node: Node): readonly GroupStep[] =>
    stepsOf(node, context, generated, bounds, live, chosen.get(node));
  // Kernels that set live sizes write the grids of those that read them, and so they are made last.
  const isProgram = (node: Node): boolean => node.attrs["kind"] === "program";
  const steps = new Map(onDevice.filter((n) => !isProgram(n)).map((n) => [n, make(n)]));
  for (const [node, own] of steps) live.add(node, own);
  for (const node of onDevice) if (isProgram(node)) steps.set(node, make(node));
  const dispatches: PlanDispatch[] = [];
  for (const node of onDevice) {
    const name = String(node.attrs["name"]);
    const outside = namesOutside(node);
    steps.get(node)!.forEach((step, i) => {
      for (const v of step.scratch) {
        outside.set(v.id, `${node.results[0]!.id}.${v.id}`);
        types.set(outside.get(v.id)!, v.type);
      }
      const results = step.results.map((id) => outside.get(id)!);
      for (const id of results) {
        stored.push(planTensor(id, types.get(id)!));
        inArena.add(id);
      }
      const values = [...step.inputs.map((id) => outside.get(id)!), ...results];
      const bound = step.setsLive ? [...values, extentsId] : values;
      const indirect = live.placeOf(node, i);
      const kernel = context.kernels.add(
        step.kernel.kernel,
        step.name === undefined ? name : `${name}_${step.name}`,
        node,
        bound.map((id) => inArena.has(id)),
      );
      dispatches.push({
        kernel,
        buffers: bound.map(place),
        params: step.kernel.params.map(showDim),
        grid: step.kernel.grid.map((d) =>
          showDim(substituteDim(d, bounds)),
        ) as unknown as PlanDispatch["grid"],
        ...(indirect !== undefined && { indirect }),
        locations: node.spans,
        nodes: results,
        schedule: step.kernel.schedule,
        why: step.kernel.why,
        // Of a group in several steps, the first does nearly all.
        flops: i === 0 ? showDim(flopsOf(node, types)) : "0",
        bytes: showDim(values.map((id) => byteSizeOf(types.get(id)!)).reduce(addDim, dim(0))),
      });
    });
  }
  return {
    name: graph.name,
    symbols: graph.symbols.map((s) =>
      s.kind === "bound"
        ? s
        : { kind: "bounded", name: s.name, bound: showDim(s.bound), slot: slots.get(s.name)! },
    ),
    inputs: graph.inputs.map((i) => ({
      ...planTensor(i.id, i.type),
      name: i.name,
      ...(i.preprocess && { preprocess: i.preprocess }),
    })),
    outputs: graph.outputs.map((o) => {
      const id = place(o.value);
      return { name: o.name, value: id, tensor: planTensor(id, types.get(o.value)!) };
    }),
    states: graph.states.map((s) => ({
      ...planTensor(s.id, s.type),
      name: s.name,
      next: place(s.next),
      initial: s.initial,
    })),
    values: stored,
    dispatches,
    ...(live.words > slots.size && { extents: live.words }),
  };
}

/** Grids that are read from the extents, behind the live values there: those of one live size each. */
class LiveGrids implements LiveWrites {
  readonly places: ReadonlyMap<string, number>;
  readonly grids = new Map<string, LiveGrid[]>();
  words: number;
  readonly #bounds: Bounds;
  readonly #ofStep = new Map<Node, Map<number, number>>();

  constructor(bounds: Bounds, places: ReadonlyMap<string, number>) {
    this.places = places;
    this.words = places.size;
    this.#bounds = bounds;
  }

  add(node: Node, steps: readonly GroupStep[]): void {
    steps.forEach(({ kernel: { grid, liveGrid } }, i) => {
      if (!liveGrid) return;
      const symbols = new Set(grid.flatMap((d) => [...symbolsOf(d)]).filter((s) => this.#bounds[s]));
      const [symbol] = symbols;
      if (symbol === undefined || symbols.size > 1)
        throw new Bug("a grid of live rows does not depend on one live size");
      const of = this.grids.get(symbol) ?? [];
      this.grids.set(symbol, [...of, { place: this.words, grid }]);
      const places = this.#ofStep.get(node) ?? new Map<number, number>();
      this.#ofStep.set(node, places.set(i, this.words));
      this.words += grid.length;
    });
  }

  /** Where the grid of a node's step is; undefined where it is the one for the bound. */
  placeOf(node: Node, step: number): number | undefined {
    return this.#ofStep.get(node)?.get(step);
  }
}

/** What parameters and results of a group's body are called in the graph. */
function namesOutside(node: Node): Map<ValueId, ValueId> {
  const { params, results } = node.body!;
  return new Map([
    ...params.map((p, i) => [p.id, node.inputs[i]!] as const),
    ...results.map((id, i) => [id, node.results[i]!.id] as const),
  ]);
}
