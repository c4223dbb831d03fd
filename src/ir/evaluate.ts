// The reference evaluator: a graph as plain loops on the CPU, in f64 or f32. Every op brings its own meaning (`reference`); here
// are order, lifetimes, symbols and rounding. Also runs the prepare program: the part of a graph that depends on weights alone.
//
// A bounded dimension gets its live value from the first tensor that has it as an axis: an op returns a tensor that is smaller
// than its bound, and everything after sees that size.

import { Bug } from "../support/bug.ts";
import { InputError, error, type Diagnostic } from "../support/diagnostic.ts";
import { roundToHalf } from "../support/half.ts";
import { bindGraph, type Binding } from "./bind.ts";
import { evaluateDim, type DimEnv } from "./dim.ts";
import { typesOf, type Graph, type Node, type Region, type ValueId } from "./graph.ts";
import { inputIndex, type ReferenceContext } from "./op.ts";
import { toPrecision, zeros, type Precision, type Tensor } from "./tensor.ts";
import { showType, type TensorType } from "./types.ts";

export type WeightSource = ReadonlyMap<string, Tensor> | ((key: string) => Tensor | undefined);

/**
 * What is rounded beside the arithmetic. each: every f16 value. stored: those that leave a body, for f16 is how kernels store. none: not
 * even weights that are to be integers.
 */
export type Rounding = "each" | "stored" | "none";

export interface EvaluateOptions {
  /** Default f64. */
  readonly precision?: Precision;
  /** Symbols that no input fixes. */
  readonly dims?: Readonly<Record<string, number>>;
  /** By name; absent ones start at their initial value. */
  readonly states?: Readonly<Record<string, Tensor>>;
  /** Sees every node after it has run, those of bodies before the node that holds them. */
  observe?(node: Node, results: readonly Tensor[]): void;
  /** What is read in place of values that nodes of the graph made; `observe` sees what they made. */
  readonly given?: ReadonlyMap<ValueId, Tensor>;
  readonly rounding?: Rounding;
}

export interface Evaluated {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly states: Readonly<Record<string, Tensor>>;
  /** What every symbol stood for; a bounded one at its live value. */
  readonly dims: DimEnv;
}

/** Runs the graph; inputs, weights or states that do not fit are an InputError with every diagnostic. */
export function evaluate(
  graph: Graph,
  weights: WeightSource,
  inputs: Readonly<Record<string, Tensor>>,
  options: EvaluateOptions = {},
): Evaluated {
  const precision = options.precision ?? "f64";
  const shapes = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.shape]));
  const binding = bindGraph(graph, shapes, options.dims);
  const { env, diagnostics } = binding;
  const wrong = [...diagnostics, ...checkGiven(graph, inputs, options.states ?? {}, env)];
  if (wrong.length > 0) throw new InputError(wrong);

  if (binding.empty) return emptyResults(graph, env, precision);

  const run = new Run(precision, binding, graph, weights, options);
  for (const input of graph.inputs) run.set(input.id, input.type, inputs[input.name]!);
  for (const state of graph.states) {
    const given = options.states?.[state.name];
    const initial = () => filled(state.type, env, precision, state.initial);
    run.set(state.id, state.type, given ?? initial());
  }
  const kept = new Set([...graph.outputs.map((o) => o.value), ...graph.states.map((s) => s.next)]);
  run.nodes(graph.nodes, kept, options.given);
  return {
    outputs: Object.fromEntries(graph.outputs.map((o) => [o.name, run.get(o.value)])),
    states: Object.fromEntries(graph.states.map((s) => [s.name, run.get(s.next)])),
    dims: run.dims,
  };
}

function emptyResults(graph: Graph, env: DimEnv, precision: Precision): Evaluated {
  const types = typesOf(graph);
  const empty = (id: ValueId): Tensor => filled(types.get(id)!, env, precision, 0);
  return {
    outputs: Object.fromEntries(graph.outputs.map((o) => [o.name, empty(o.value)])),
    states: Object.fromEntries(graph.states.map((s) => [s.name, empty(s.next)])),
    dims: env,
  };
}

/** The prepare program: values made from weights and constants alone, and only what these need. */
export function evaluatePrepared(
  graph: Graph,
  weights: WeightSource,
  wanted: readonly ValueId[],
  precision: Precision = "f64",
): Map<ValueId, Tensor> {
  const run = new Run(precision, { env: {}, undecided: new Set() }, graph, weights);
  const needed = new Set<ValueId>(wanted);
  const nodes: Node[] = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!node.results.some((r) => needed.has(r.id))) continue;
    nodes.unshift(node);
    for (const id of node.inputs) needed.add(id);
  }
  run.nodes(nodes, new Set(wanted));
  return new Map(wanted.map((id) => [id, run.get(id)]));
}

function checkGiven(
  graph: Graph,
  inputs: Readonly<Record<string, Tensor>>,
  states: Readonly<Record<string, Tensor>>,
  env: DimEnv,
): Diagnostic[] {
  const out: Diagnostic[] = [];
  for (const input of graph.inputs) {
    const given = inputs[input.name];
    if (given && given.dtype !== input.type.dtype)
      out.push(error("input-dtype", `input ${input.name} is ${given.dtype}, expected ${input.type.dtype}`));
  }
  for (const [name, given] of Object.entries(states)) {
    const state = graph.states.find((s) => s.name === name);
    if (!state) {
      out.push(error("unknown-state", `the model has no state called ${name}`));
      continue;
    }
    const fits =
      given.dtype === state.type.dtype &&
      given.shape.length === state.type.shape.length &&
      state.type.shape.every((d, i) => tryEvaluate(d, env) === given.shape[i]);
    if (!fits)
      out.push(
        error(
          "state-type",
          `state ${name} is ${given.dtype}[${given.shape.join(", ")}], expected ${showType(state.type)}`,
        ),
      );
  }
  return out;
}

function tryEvaluate(d: Parameters<typeof evaluateDim>[0], env: DimEnv): number | undefined {
  try {
    return evaluateDim(d, env);
  } catch {
    return undefined;
  }
}

function filled(type: TensorType, env: DimEnv, precision: Precision, value: number): Tensor {
  const t = zeros(
    type.dtype,
    type.shape.map((d) => evaluateDim(d, env)),
    precision,
  );
  t.data.fill(value);
  return t;
}

/** Values of one run. */
class Run {
  readonly #precision: Precision;
  /** Bounded symbols without a live value stand at their bound. */
  readonly #env: Record<string, number>;
  readonly #undecided: Set<string>;
  readonly #values = new Map<ValueId, Tensor>();
  readonly #weights: ReadonlyMap<ValueId, { readonly key: string; readonly type: TensorType }>;
  readonly #fetch: (key: string) => Tensor | undefined;
  readonly #observe: EvaluateOptions["observe"];
  readonly #rounding: Rounding;
  #inBody = false;

  constructor(
    precision: Precision,
    { env, undecided }: Pick<Binding, "env" | "undecided">,
    graph: Graph,
    weights: WeightSource,
    { observe, rounding = "each" }: Pick<EvaluateOptions, "observe" | "rounding"> = {},
  ) {
    this.#precision = precision;
    this.#env = { ...env };
    this.#undecided = new Set(undecided);
    this.#weights = new Map(graph.weights.map((w) => [w.id, w]));
    this.#fetch = typeof weights === "function" ? weights : (key) => weights.get(key);
    this.#observe = observe;
    this.#rounding = rounding;
  }

  get dims(): DimEnv {
    return { ...this.#env };
  }

  set(id: ValueId, type: TensorType, value: Tensor): void {
    this.#settle(type, value.shape);
    this.#values.set(id, this.#stored(value, type));
  }

  get(id: ValueId): Tensor {
    const value = this.#values.get(id) ?? this.#weight(id);
    if (!value) throw new Bug(`value ${id} is used before it is made`);
    return value;
  }

  /** Weights are fetched when first read, and held until their last use like any other value. */
  #weight(id: ValueId): Tensor | undefined {
    const weight = this.#weights.get(id);
    if (!weight) return undefined;
    const value = this.#fetch(weight.key);
    const shape = weight.type.shape.map((d) => this.size(d));
    if (!value) throw new InputError([error("weights-missing", `there is no weight called ${weight.key}`)]);
    if (value.shape.join() !== shape.join())
      throw new InputError([
        error(
          "weights-shape",
          `weight ${weight.key} is [${value.shape.join(", ")}], expected ${showType(weight.type)}`,
        ),
      ]);
    const stored = this.#stored({ ...value, dtype: weight.type.dtype }, weight.type);
    this.#values.set(id, stored);
    return stored;
  }

  size(d: Parameters<typeof evaluateDim>[0]): number {
    return evaluateDim(d, this.#env);
  }

  /** Values are let go after their last reader, unless kept. */
  nodes(
    nodes: readonly Node[],
    kept: ReadonlySet<ValueId>,
    given: ReadonlyMap<ValueId, Tensor> = new Map(),
  ): void {
    const lastUse = new Map<ValueId, number>();
    for (const [i, node] of nodes.entries()) for (const id of node.inputs) lastUse.set(id, i);
    for (const [i, node] of nodes.entries()) {
      const results = this.#node(node);
      for (const [k, r] of node.results.entries()) {
        const instead = given.get(r.id);
        if (instead) this.set(r.id, r.type, instead);
        else this.#values.set(r.id, results[k]!);
      }
      this.#observe?.(node, results);
      for (const id of [...node.inputs, ...node.results.map((r) => r.id)])
        if ((lastUse.get(id) ?? i) <= i && !kept.has(id)) this.#values.delete(id);
    }
  }

  #node(node: Node): readonly Tensor[] {
    const results =
      node.op.lowering.kind === "group" ? this.#body(node) : node.op.reference(this.#context(node));
    if (results.length !== node.results.length)
      throw new Bug(`${node.op.name} gave ${results.length} results, expected ${node.results.length}`);
    return results.map((t, k) => {
      const { type } = node.results[k]!;
      this.#settle(type, t.shape);
      this.#checkShape(node, type, t);
      return this.#stored(t, type);
    });
  }

  #body(node: Node): readonly Tensor[] {
    const { body } = node;
    if (!body) throw new Bug(`${node.op.name} has no body`);
    if (body.params.length !== node.inputs.length)
      throw new Bug(`${node.op.name} has ${node.inputs.length} inputs for ${body.params.length} parameters`);
    for (const [i, p] of body.params.entries()) this.#values.set(p.id, this.get(node.inputs[i]!));
    const outer = this.#inBody;
    this.#inBody = true;
    this.nodes(body.nodes, bodyKept(body));
    this.#inBody = outer;
    const results = body.results.map((id) => this.get(id));
    for (const id of bodyKept(body)) this.#values.delete(id);
    return results;
  }

  #context(node: Node): ReferenceContext {
    const { op, attrs } = node;
    const idOf = (name: string) => node.inputs[inputIndex(op, name)] || undefined;
    const shapes = node.results.map((r) => r.type.shape.map((d) => this.size(d)));
    return {
      attrs,
      precision: this.#precision,
      unrounded: this.#rounding === "none",
      count: node.inputs.length,
      shapes,
      has: (name) => idOf(name) !== undefined,
      input: (name) => {
        const id = idOf(name);
        if (!id) throw new Bug(`${op.name} was not given ${name}`);
        return this.get(id);
      },
      result: (i = 0) => zeros(node.results[i]!.type.dtype, shapes[i]!, this.#precision),
      size: (d) => this.size(d),
    };
  }

  /** A tensor with an undecided dimension as an axis decides it. */
  #settle(type: TensorType, shape: readonly number[]): void {
    if (this.#undecided.size === 0) return;
    for (const [axis, d] of type.shape.entries()) {
      if (!this.#undecided.has(d.key)) continue;
      const size = shape[axis]!;
      if (size > this.#env[d.key]!)
        throw new Bug(`${d.key} became ${size}, above its bound ${this.#env[d.key]}`);
      this.#env[d.key] = size;
      this.#undecided.delete(d.key);
    }
  }

  #checkShape(node: Node, type: TensorType, t: Tensor): void {
    const expected = type.shape.map((d) => this.size(d));
    if (expected.join() !== t.shape.join() || t.dtype !== type.dtype)
      throw new Bug(
        `${node.op.name} gave ${t.dtype}[${t.shape}] where ${showType(type)} = [${expected}] was inferred`,
      );
  }

  /** In the precision of the run; f16 values are rounded where they are stored. */
  #stored(t: Tensor, type: TensorType): Tensor {
    const value = toPrecision(t, this.#precision);
    const isWide = this.#rounding === "none" || (this.#rounding === "stored" && this.#inBody);
    if (type.dtype !== "f16" || isWide) return value;
    return { ...value, data: value.data.map(roundToHalf) };
  }
}

/** Values of a body that outlive its nodes: its results, and its parameters (freed by the caller). */
function bodyKept(body: Region): ReadonlySet<ValueId> {
  return new Set([...body.results, ...body.params.map((p) => p.id)]);
}
