// What tuning runs: the model with some of its weights turned into states, and around it the loss at perturbed weights and the step
// along a direction. Directions are random signs made inside the kernels from a key (random_bits), so none is ever stored or sent.
//
//   loss    theta + epsilon z(key) for theta, then the mean cross-entropy of an output against labels
//   update  theta <- theta - step z(key)
//   model   the model at theta

import { constantOf, dim } from "../ir/dim.ts";
import {
  GraphBuilder,
  typesOf,
  type Graph,
  type Input,
  type Module,
  type Node,
  type State,
  type ValueId,
  type Weight,
} from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import { tensorType, type TensorType } from "../ir/types.ts";

export const entryNames = { loss: "loss", update: "update", model: "model" } as const;
/** Names of the inputs that tuning adds. */
export const inputNames = {
  key: "tune.key",
  epsilon: "tune.epsilon",
  step: "tune.step",
  labels: "tune.labels",
} as const;
export const lossName = "loss";

export interface TuningOptions {
  /** Keys of the weights that are tuned; float ones of the graph. */
  readonly tuned: ReadonlySet<string>;
  /** The output that the loss is of, [rows, classes]. */
  readonly output: string;
  readonly lookup: OpLookup;
}

/** Why the loss of this output is not known, or undefined. */
export function refuseOutput(graph: Graph, output: string): string | undefined {
  const found = graph.outputs.find((o) => o.name === output);
  if (!found)
    return `the model has no output ${output}; it has ${graph.outputs.map((o) => o.name).join(", ")}`;
  const { shape, dtype } = typesOf(graph).get(found.value)!;
  return shape.length === 2 && dtype === "f32" && constantOf(shape[1]!) !== undefined
    ? undefined
    : `cross-entropy is of an f32 output [rows, classes], and ${output} is ${dtype}[${shape.map((d) => d.key).join(", ")}]`;
}

/** Three graphs that share their states, which are called like the weights they stand for. */
export function tuningModule(graph: Graph, options: TuningOptions): Module {
  return {
    name: graph.name,
    graphs: [lossGraph(graph, options), updateGraph(graph, options), modelGraph(graph, options)],
  };
}

/** The stream of a weight's directions: a hash of its key (FNV-1a, 32 bits), so that they do not depend on the other weights. */
export function streamOf(key: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(key)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

function tunedWeights(graph: Graph, { tuned }: TuningOptions): readonly Weight[] {
  return graph.weights.filter((w) => tuned.has(w.key));
}

const stateId = (i: number): ValueId => `%theta_${i}.in`;

function statesOf(weights: readonly Weight[], next: (i: number) => ValueId): State[] {
  return weights.map((w, i) => ({
    name: w.key,
    id: stateId(i),
    type: w.type,
    next: next(i),
    initial: 0,
    spans: w.spans,
  }));
}

function addedInput(name: string, type: TensorType): Input {
  return { id: `%${name}`, name, type, spans: [] };
}

/** The graph's nodes, reading other values in place of weights. */
function reading(nodes: readonly Node[], instead: ReadonlyMap<ValueId, ValueId>): Node[] {
  return nodes.map((n) =>
    n.inputs.some((x) => instead.has(x)) ? { ...n, inputs: n.inputs.map((x) => instead.get(x) ?? x) } : n,
  );
}

function outputsReading(graph: Graph, instead: ReadonlyMap<ValueId, ValueId>): Graph["outputs"] {
  return graph.outputs.map((o) => ({ ...o, value: instead.get(o.value) ?? o.value }));
}

function modelGraph(graph: Graph, options: TuningOptions): Graph {
  const weights = tunedWeights(graph, options);
  const instead = new Map(weights.map((w, i) => [w.id, stateId(i)]));
  return {
    ...graph,
    name: entryNames.model,
    weights: graph.weights.filter((w) => !options.tuned.has(w.key)),
    states: [...graph.states, ...statesOf(weights, stateId)],
    nodes: reading(graph.nodes, instead),
    outputs: outputsReading(graph, instead),
  };
}

/** A builder that knows the states and the added inputs. */
function builderFor(graph: Graph, weights: readonly Weight[], inputs: readonly Input[], o: TuningOptions) {
  const b = new GraphBuilder(graph.name, o.lookup, graph.nextId);
  weights.forEach((w, i) => b.declare(stateId(i), w.type));
  for (const x of inputs) b.declare(x.id, x.type);
  return b;
}

/** theta +- amount, the sign of each element by the top bit of its word. */
function moved(b: GraphBuilder, w: Weight, theta: ValueId, key: ValueId, amount: ValueId): ValueId {
  const spans = { spans: w.spans };
  const bits = b.call("random_bits", [key], { dims: w.type.shape, stream: streamOf(w.key) }, spans);
  const half = b.call("constant", [], { value: 0x80000000, dtype: "u32" }, spans);
  const positive = b.call("less", [bits, half], {}, spans);
  const wide = w.type.dtype === "f16" ? b.call("cast", [theta], { dtype: "f32" }, spans) : theta;
  const sum = b.call(
    "where",
    [positive, b.call("add", [wide, amount], {}, spans), b.call("sub", [wide, amount], {}, spans)],
    {},
    spans,
  );
  return w.type.dtype === "f16" ? b.call("cast", [sum], { dtype: "f16" }, spans) : sum;
}

function updateGraph(graph: Graph, options: TuningOptions): Graph {
  const weights = tunedWeights(graph, options);
  const key = addedInput(inputNames.key, tensorType("u32", [2]));
  const step = addedInput(inputNames.step, tensorType("f32", []));
  const b = builderFor(graph, weights, [key, step], options);
  const down = b.call("neg", [step.id], {}, { spans: weights[0]?.spans ?? [] });
  const next = weights.map((w, i) => moved(b, w, stateId(i), key.id, down));
  return {
    name: entryNames.update,
    symbols: [],
    inputs: [key, step],
    weights: [],
    states: statesOf(weights, (i) => next[i]!),
    scopes: [],
    nodes: b.nodes,
    outputs: [],
    guards: [],
    nextId: b.nextId,
  };
}

function lossGraph(graph: Graph, options: TuningOptions): Graph {
  const weights = tunedWeights(graph, options);
  const key = addedInput(inputNames.key, tensorType("u32", [2]));
  const epsilon = addedInput(inputNames.epsilon, tensorType("f32", []));
  const output = graph.outputs.find((o) => o.name === options.output)!;
  const type = typesOf(graph).get(output.value)!;
  const labels = addedInput(inputNames.labels, tensorType("i32", [type.shape[0]!]));
  const before = builderFor(graph, weights, [key, epsilon], options);
  const instead = new Map(weights.map((w, i) => [w.id, moved(before, w, stateId(i), key.id, epsilon.id)]));
  const behind = new GraphBuilder(graph.name, options.lookup, before.nextId);
  const logits = behind.declare(instead.get(output.value) ?? output.value, type);
  behind.declare(labels.id, labels.type);
  const loss = crossEntropy(behind, logits, labels.id, output.spans);
  return {
    ...graph,
    name: entryNames.loss,
    inputs: [...graph.inputs, labels, key, epsilon],
    weights: graph.weights.filter((w) => !options.tuned.has(w.key)),
    // The model's own states, if it has any, keep their values: a loss is no run of the model.
    states: [...graph.states.map((s) => ({ ...s, next: s.id })), ...statesOf(weights, stateId)],
    nodes: [...before.nodes, ...reading(graph.nodes, instead), ...behind.nodes],
    outputs: [{ name: lossName, value: loss, spans: output.spans }],
    nextId: behind.nextId,
  };
}

/** -mean over rows of log softmax(logits)[label], accumulated in f32 in a fixed order. */
function crossEntropy(
  b: GraphBuilder,
  logits: ValueId,
  labels: ValueId,
  spans: Graph["outputs"][number]["spans"],
): ValueId {
  const call = (op: string, inputs: readonly ValueId[], attrs = {}) => b.call(op, inputs, attrs, { spans });
  const classes = b.type(logits).shape[1]!;
  const logs = call("log_softmax", [logits], { axis: 1 });
  const numbers = call("iota", [], { dims: [dim(1), classes], axis: 1, dtype: "i32" });
  const right = call("equal", [numbers, call("unsqueeze", [labels], { axes: [1] })]);
  const zero = call("constant", [], { value: 0, dtype: "f32" });
  const picked = call("sum", [call("where", [right, logs, zero])], { axes: [1] });
  return call("neg", [call("mean", [picked], { axes: [0] })]);
}
