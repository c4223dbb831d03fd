// Kernels that an op writes itself (ir/program.ts): the writer it is given, over the code of a group, so that what was fused before the
// op is read in place and what was fused behind it is computed at its stores.

import { Bug } from "../support/bug.ts";
import { constantOf, dim, productDim, substituteDim } from "../ir/dim.ts";
import { binary, builtin, cast, load, splat, u32 } from "../ir/expr.ts";
import type { Node, Region, Value, ValueId } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type {
  KernelWriter,
  Program,
  ProgramCut,
  ProgramFacts,
  ProgramStep,
  SharedArray,
} from "../ir/program.ts";
import type { Target } from "../ir/target.ts";
import type { TensorType } from "../ir/types.ts";
import type { GroupCode } from "./group.ts";
import {
  buildKernel,
  foldedGrid,
  foldedIndex,
  stepOf,
  type GroupStep,
  type KernelShape,
} from "./kernel-of.ts";
import { typesIn } from "./reduction-domain.ts";
import type { Bounds, LiveWrites } from "./sizes.ts";

/** The node of a group that writes its own kernels. */
export function programNode(region: Region): Node {
  const node = region.nodes.find((n) => n.op.lowering.kind === "program");
  if (!node) throw new Bug("a program group without a program");
  return node;
}

/** What its op is asked with. */
export function programFacts(region: Region, target: Target): ProgramFacts {
  const node = programNode(region);
  const types = typesIn(region);
  return {
    attrs: node.attrs,
    has: (name) => inputOf(node, name) !== "",
    type(name) {
      const type = types.get(inputOf(node, name));
      if (!type) throw new Bug(`${node.op.name} has no input ${name} here`);
      return type;
    },
    results: node.results.map((r) => r.type),
    target,
  };
}

const inputOf = (node: Node, name: string): ValueId =>
  node.inputs[node.op.inputs.findIndex((x) => x.name === name)] ?? "";

/** How the kernels of a program are cut, and what the reader is told of it. */
export interface ShownCut {
  readonly cut: ProgramCut;
  readonly text: string;
  readonly why: string;
}

/** The dispatches of a group whose main node writes its own kernels. */
export function programSteps(
  region: Region,
  target: Target,
  bounds: Bounds,
  live: LiveWrites,
  shown?: ShownCut,
): readonly GroupStep[] {
  const node = programNode(region);
  if (node.op.lowering.kind !== "program") throw new Bug("a program group without a program");
  const program = node.op.lowering.program(programFacts(region, target), shown?.cut);
  const values = new Values(node, program, (name) => inputOf(node, name));
  return program.steps.map((step) =>
    stepKernel({ region, node, step, values, bounds, live, ...(shown && { shown }) }),
  );
}

/** Names of an op's inputs, results and scratch, and what they are in the group. */
class Values {
  readonly #ids = new Map<string, ValueId>();
  readonly #names = new Map<ValueId, string>();
  readonly #scratch: ReadonlyMap<string, TensorType>;

  constructor(node: Node, program: Program, input: (name: string) => ValueId) {
    this.#scratch = new Map(Object.entries(program.scratch ?? {}));
    const put = (name: string, id: ValueId): void => {
      if (id === "") return;
      if (this.#ids.has(name)) throw new Bug(`${node.op.name} has two values called ${name}`);
      this.#ids.set(name, id);
      if (!this.#names.has(id)) this.#names.set(id, name);
    };
    for (const spec of node.op.inputs) put(spec.name, input(spec.name));
    node.op.results.forEach((name, i) => put(name, node.results[i]!.id));
    for (const name of this.#scratch.keys()) put(name, name);
  }

  id(name: string): ValueId {
    const id = this.#ids.get(name);
    if (id === undefined) throw new Bug(`no value is called ${name}`);
    return id;
  }

  /** What buffers are called: as the op calls their values. */
  get names(): ReadonlyMap<ValueId, string> {
    return this.#names;
  }

  scratch(name: string): Value | undefined {
    const type = this.#scratch.get(name);
    return type && { id: name, type };
  }
}

interface StepFacts {
  readonly region: Region;
  readonly node: Node;
  readonly step: ProgramStep;
  readonly values: Values;
  readonly bounds: Bounds;
  readonly live: LiveWrites;
  readonly shown?: ShownCut;
}

function stepKernel(facts: StepFacts): GroupStep {
  const { step, values, bounds } = facts;
  const scratch = step.writes.flatMap((name) => values.scratch(name) ?? []);
  const own = stepRegion(facts, scratch);
  const kernel = buildKernel(
    own,
    bounds,
    (code) => writeStep(code, own, facts),
    values.names,
    step.sets && facts.live,
  );
  return {
    ...stepOf(own, kernel),
    scratch,
    ...(step.name !== undefined && { name: step.name }),
    ...(step.sets && { setsLive: true }),
  };
}

/**
 * The part of the group that one dispatch sees. The op's node has those results that are written here; what an earlier one wrote is a
 * parameter. Nodes behind the op belong to the dispatch that writes its first result.
 */
function stepRegion({ region, node, step, values }: StepFacts, scratch: readonly Value[]): Region {
  const read = new Set(step.reads.map((name) => values.id(name)));
  const written = step.writes.map((name) => values.id(name));
  const own: Node = {
    ...node,
    inputs: node.inputs.map((x) => (read.has(x) ? x : "")),
    results: [...node.results.filter((r) => written.includes(r.id)), ...scratch],
  };
  const behind = dependants(region, node);
  const isMain = written.includes(node.results[0]!.id);
  const results = isMain
    ? [...region.results.filter((id) => behind.has(id) || written.includes(id)), ...scratch.map((v) => v.id)]
    : written.filter((id) => region.results.includes(id) || scratch.some((v) => v.id === id));
  // What only a fused follower reads of the first result is not stored; every other result that is written must be read somewhere.
  const needed = new Set<ValueId>([...results, ...read, ...written]);
  const nodes: Node[] = [];
  for (const n of [...region.nodes].reverse())
    if (n === node) {
      nodes.unshift(own);
      for (const x of own.inputs) needed.add(x);
    } else if (n.results.some((r) => needed.has(r.id)) && (isMain || !behind.has(n.results[0]!.id))) {
      nodes.unshift(n);
      for (const x of n.inputs) needed.add(x);
    }
  const earlier: Value[] = step.reads.flatMap((name) => {
    const known = values.scratch(name) ?? node.results.find((r) => r.id === values.id(name));
    return known ? [{ id: known.id, type: known.type }] : [];
  });
  return { params: [...region.params.filter((p) => needed.has(p.id)), ...earlier], nodes, results };
}

/** Results of nodes that read the op's results, directly or not. */
function dependants(region: Region, node: Node): ReadonlySet<ValueId> {
  const behind = new Set<ValueId>();
  const seen = new Set<ValueId>(node.results.map((r) => r.id));
  for (const n of region.nodes)
    if (n !== node && n.inputs.some((x) => seen.has(x)))
      for (const r of n.results) {
        behind.add(r.id);
        seen.add(r.id);
      }
  return behind;
}

function writeStep(code: GroupCode, region: Region, facts: StepFacts): KernelShape {
  const { step } = facts;
  const extents = step.workgroups.map((d) => substituteDim(d, facts.bounds));
  const total = productDim(extents);
  const known = constantOf(total);
  const at = known === 1 ? u32(0) : foldedIndex(code);
  if (!(known !== undefined && known <= 32768))
    code.emitter.when(binary("ge", at, code.sizes.of("workgroups", total)), () => code.emitter.leave());
  const workgroup = code.space
    .merge("group", at, extents)
    .map((e) => code.emitter.bind("group", code.space.resolve(e)));
  step.write(new Writer(code, region, facts, workgroup));
  const [y, z] = foldedGrid(total);
  return {
    workgroupSize: [step.invocations, 1, 1],
    subgroupSize: step.subgroupSize ?? 0,
    grid: [dim(1), y, z],
    schedule: facts.shown ? `${step.schedule}, ${facts.shown.text}` : step.schedule,
    why: facts.shown?.why ?? "the op has kernels of its own: no generator's loops fit what it computes",
  };
}

class Writer implements KernelWriter {
  readonly workgroup: readonly Expr[];
  readonly local: Expr;
  readonly #code: GroupCode;
  readonly #region: Region;
  readonly #facts: StepFacts;
  readonly #reads: ReadonlySet<string>;
  readonly #writes: ReadonlySet<string>;
  readonly #behind: ReadonlySet<ValueId>;
  readonly #variables = new Set<string>();

  constructor(code: GroupCode, region: Region, facts: StepFacts, workgroup: readonly Expr[]) {
    this.#code = code;
    this.#region = region;
    this.#facts = facts;
    this.#reads = new Set(facts.step.reads);
    this.#writes = new Set(facts.step.writes);
    this.#behind = dependants(
      region,
      region.nodes.find((n) => n.op === facts.node.op)!,
    );
    this.workgroup = workgroup;
    this.local = builtin("local");
  }

  size: KernelWriter["size"] = (d) => this.#code.size(d);

  #source(from: string): ValueId {
    if (!this.#reads.has(from))
      throw new Bug(`${this.#facts.node.op.name} reads ${from}, which it has not said`);
    return this.#facts.values.id(from);
  }

  read(from: string, index: readonly Expr[]): Expr {
    return this.#code.read(this.#source(from), index);
  }

  readFour(from: string, index: readonly Expr[], axis: number): Expr {
    const id = this.#source(from);
    return this.#inFours(index, axis, (at) => this.bind("four", splat(this.#code.read(id, at), 4)));
  }

  #inFours<T>(index: readonly Expr[], axis: number, body: (index: readonly Expr[]) => T): T {
    const vector = this.#code.openVector(this.bind("q", index[axis]!));
    const made = body(index.map((e, i) => (i === axis ? vector : e)));
    this.#code.closeVector();
    return made;
  }

  write(to: string, index: readonly Expr[], value: Expr): void {
    if (!this.#writes.has(to))
      throw new Bug(`${this.#facts.node.op.name} writes ${to}, which it has not said`);
    const id = this.#facts.values.id(to);
    const made = this.bind(to, value);
    const main = id === this.#facts.node.results[0]!.id;
    if (main) this.#code.compute(id, () => made);
    this.#region.results.forEach((result, i) => {
      if (result === id) this.#code.write(i, index, made);
      else if (main && this.#behind.has(result)) this.#code.write(i, index, this.#code.read(result, index));
    });
  }

  writeFour(to: string, index: readonly Expr[], axis: number, value: Expr): void {
    this.#inFours(index, axis, (at) => this.write(to, at, value));
  }

  setLive(symbol: string, value: Expr): void {
    if (!this.#facts.step.sets?.includes(symbol))
      throw new Bug(
        `${this.#facts.node.op.name} sets ${symbol}, which is no bounded symbol that it has named`,
      );
    this.#code.setLive(symbol, cast(value, "u32"));
  }

  bind: KernelWriter["bind"] = (hint, value) =>
    value.kind === "name" && this.#variables.has(value.name)
      ? this.#code.emitter.snapshot(hint, value)
      : this.#code.emitter.bind(hint, value);

  variable(hint: string, initial: Expr): Expr {
    const made = this.#code.emitter.variable(hint, initial);
    if (made.kind === "name") this.#variables.add(made.name);
    return made;
  }

  set: KernelWriter["set"] = (variable, value) => this.#code.emitter.set(variable, value);
  barrier: KernelWriter["barrier"] = () => this.#code.emitter.barrier();
  when: KernelWriter["when"] = (condition, then, otherwise) =>
    this.#code.emitter.when(condition, then, otherwise);

  loop: KernelWriter["loop"] = (hint, start, end, body, step = u32(1)) =>
    this.#code.emitter.loop(hint, start, end, step, body);

  shared: KernelWriter["shared"] = (hint, type, length): SharedArray => {
    const array = this.#code.emitter.sharedArray(hint, type, length);
    return {
      load: (index) => this.bind(hint, load(array, index, type)),
      store: (index, value) => this.#code.emitter.store(array, index, splat(value, type.width)),
    };
  };
}
