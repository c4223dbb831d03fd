// The meaning of a graph: every node's reference, in order, on CPU tensors. In f64 it is what all else is held against; in f32 it is a
// second implementation. Also runs the prepare program. Knows graphs and op records, no op by name.

import { Bug } from "../support/bug.ts";
import { InputError } from "../support/diagnostic.ts";
import { roundToHalf } from "../support/half.ts";
import { evaluateDim, type DimEnv } from "./dim.ts";
import type { Graph, Node, Region, ValueId } from "./graph.ts";
import type { ReferenceContext } from "./op.ts";
import { bindSymbols } from "./symbols.ts";
import { newData, elementCount, toPrecision, type Precision, type Tensor } from "./tensor.ts";
import type { TensorType } from "./types.ts";

export type WeightSource = ReadonlyMap<string, Tensor> | ((key: string) => Tensor);

export interface EvaluateOptions {
  /** Default f64. */
  readonly precision?: Precision;
  /** Symbols that no input fixes. */
  readonly dims?: Readonly<Record<string, number>>;
  /** States at the start; absent ones have their initial value. */
  readonly states?: Readonly<Record<string, Tensor>>;
  /** Called after each node, bodies of groups included. */
  readonly observe?: (node: Node, results: readonly Tensor[]) => void;
}

export interface Evaluated {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly states: Readonly<Record<string, Tensor>>;
  readonly dims: DimEnv;
}

/** Throws InputError where inputs are missing or do not fit. */
export function evaluate(
  graph: Graph,
  weights: WeightSource,
  inputs: Readonly<Record<string, Tensor>>,
  options: EvaluateOptions = {},
): Evaluated {
  const precision = options.precision ?? "f64";
  const bound = graph.symbols.filter((s) => s.kind === "bound").map((s) => s.name);
  const shapes = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.shape]));
  const declared = graph.inputs.map((i) => ({ name: i.name, shape: i.type.shape }));
  const { values: dims, diagnostics } = bindSymbols(bound, declared, shapes, options.dims);
  if (diagnostics.length > 0) throw new InputError(diagnostics);
  const run = new Run(graph, dims, precision, options.observe);
  for (const i of graph.inputs) {
    const given = inputs[i.name];
    if (!given) throw new Bug(`no input ${i.name}`);
    run.set(i.id, toPrecision(given, precision));
  }
  for (const s of graph.states)
    run.set(s.id, options.states?.[s.name] ?? filled(s.type, s.initial, dims, precision));
  run.useWeights(weights);
  run.all(graph.nodes, new Set([...graph.outputs.map((o) => o.value), ...graph.states.map((s) => s.next)]));
  return {
    outputs: Object.fromEntries(graph.outputs.map((o) => [o.name, run.get(o.value)])),
    states: Object.fromEntries(graph.states.map((s) => [s.name, run.get(s.next)])),
    dims,
  };
}

/** Runs the part of the prepare program that the wanted values need. */
export function evaluatePrepared(
  graph: Graph,
  weights: WeightSource,
  wanted: readonly ValueId[],
  precision: Precision = "f64",
): ReadonlyMap<ValueId, Tensor> {
  const producers = new Map(graph.nodes.flatMap((n) => n.results.map((r) => [r.id, n] as const)));
  const needed = new Set<Node>();
  const stack = [...wanted];
  while (stack.length > 0) {
    const n = producers.get(stack.pop()!);
    if (!n || needed.has(n)) continue;
    needed.add(n);
    stack.push(...n.inputs.filter((x) => x !== ""));
  }
  const run = new Run(graph, {}, precision);
  run.useWeights(weights);
  run.all(
    graph.nodes.filter((n) => needed.has(n)),
    new Set(wanted),
  );
  return new Map(wanted.map((id) => [id, run.get(id)]));
}

function filled(type: TensorType, value: number, dims: DimEnv, precision: Precision): Tensor {
  const shape = type.shape.map((d) => evaluateDim(d, dims));
  const data = newData(type.dtype, elementCount(shape), precision);
  data.fill(value);
  return { dtype: type.dtype, shape, data };
}

class Run {
  readonly #values = new Map<ValueId, Tensor>();
  readonly #graph: Graph;
  readonly #dims: DimEnv;
  readonly #precision: Precision;
  readonly #observe: EvaluateOptions["observe"];
  #weights: (id: ValueId) => Tensor | undefined = () => undefined;

  constructor(graph: Graph, dims: DimEnv, precision: Precision, observe?: EvaluateOptions["observe"]) {
    this.#graph = graph;
    this.#dims = dims;
    this.#precision = precision;
    this.#observe = observe;
  }

  useWeights(source: WeightSource): void {
    const keys = new Map(this.#graph.weights.map((w) => [w.id, w.key]));
    this.#weights = (id) => {
      const key = keys.get(id);
      if (key === undefined) return undefined;
      const t = typeof source === "function" ? source(key) : source.get(key);
      if (!t) throw new Bug(`no weight ${key}`);
      return toPrecision(t, this.#precision);
    };
  }

  set(id: ValueId, t: Tensor): void {
    this.#values.set(id, t);
  }

  get(id: ValueId): Tensor {
    const known = this.#values.get(id) ?? this.#weights(id);
    if (!known) throw new Bug(`value ${id} was not computed`);
    return known;
  }

  /** Values are let go after their last reader, unless kept. */
  all(nodes: readonly Node[], keep: ReadonlySet<ValueId>): void {
    const last = new Map<ValueId, number>();
    nodes.forEach((n, i) => n.inputs.forEach((x) => last.set(x, i)));
    nodes.forEach((n, i) => {
      const results = this.#node(n, (id) => this.get(id));
      n.results.forEach((r, j) => this.#values.set(r.id, results[j]!));
      for (const x of n.inputs) if (last.get(x) === i && !keep.has(x)) this.#values.delete(x);
    });
  }

  #node(n: Node, read: (id: ValueId) => Tensor): readonly Tensor[] {
    const inputs = n.inputs.map((x) => (x === "" ? undefined : read(x)));
    const results =
      n.body && n.op.lowering.kind === "group" ? this.#region(n.body, inputs) : this.#reference(n, inputs);
    const rounded = results.map((t) => (t.dtype === "f16" ? roundHalf(t) : t));
    this.#observe?.(n, rounded);
    return rounded;
  }

  #region(body: Region, inputs: readonly (Tensor | undefined)[]): readonly Tensor[] {
    const local = new Map<ValueId, Tensor>();
    body.params.forEach((p, i) => {
      const t = inputs[i];
      if (t) local.set(p.id, t);
    });
    const read = (id: ValueId): Tensor => {
      const t = local.get(id);
      if (!t) throw new Bug(`value ${id} is not in the body`);
      return t;
    };
    for (const n of body.nodes) this.#node(n, read).forEach((t, i) => local.set(n.results[i]!.id, t));
    return body.results.map(read);
  }

  #reference(n: Node, inputs: readonly (Tensor | undefined)[]): readonly Tensor[] {
    const shapes = n.results.map((r) => r.type.shape.map((d) => evaluateDim(d, this.#dims)));
    const at = (name: string) => inputs[n.op.inputs.findIndex((x) => x.name === name)];
    const context: ReferenceContext = {
      attrs: n.attrs,
      precision: this.#precision,
      shapes,
      has: (name) => at(name) !== undefined,
      input(name) {
        const t = at(name);
        if (!t) throw new Bug(`${n.op.name} has no input ${name}`);
        return t;
      },
      result: (i = 0) => {
        const type = n.results[i]!.type;
        const shape = shapes[i]!;
        return { dtype: type.dtype, shape, data: newData(type.dtype, elementCount(shape), this.#precision) };
      },
      size: (d) => evaluateDim(d, this.#dims),
    };
    return n.op.reference(context);
  }
}

function roundHalf(t: Tensor): Tensor {
  return { ...t, data: t.data.map(roundToHalf) as Tensor["data"] };
}
