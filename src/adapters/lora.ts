// Puts a low-rank adapter into a graph: W + s B A in place of W, which the prepare program makes once at load; or, where the base weights
// are to stay as they are, s B (A x) beside each layer. Either way these are ordinary nodes, read and rewritten like all others.

import { dim } from "../ir/dim.ts";
import { GraphBuilder, type Graph, type Node, type ValueId, type Weight } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import { showType, tensorType } from "../ir/types.ts";
import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { showLocation } from "../support/source.ts";
import { nearest } from "../support/suggest.ts";
import type { AdapterTensor, LoraAdapter, LoraModule } from "./peft.ts";

/** fold: into the weights, once; beside: as two small layers, for weights that several adapters share. */
export type AdapterMode = "fold" | "beside";

/** The graph with the adapter in it. Throws InputError with every module that has no place or does not fit. */
export function applyLora(graph: Graph, adapter: LoraAdapter, mode: AdapterMode, lookup: OpLookup): Graph {
  const places = placesOf(graph, adapter);
  return mode === "fold" ? folded(graph, adapter, places, lookup) : besides(graph, adapter, places, lookup);
}

interface Place {
  readonly module: LoraModule;
  readonly weight: Weight;
}

function placesOf(graph: Graph, adapter: LoraAdapter): readonly Place[] {
  const byKey = new Map(graph.weights.map((w) => [w.key, w]));
  const wrong: Diagnostic[] = [];
  const places: Place[] = [];
  for (const module of adapter.modules) {
    // A model with a head wraps the one without: `model.layers.0` is `layers.0` of it.
    const keys = [`${module.path}.weight`, `${module.path.replace(/^model\./, "")}.weight`];
    const weight = keys.map((k) => byKey.get(k)).find((w) => w !== undefined);
    if (!weight) {
      const near = nearest(keys[0]!, [...byKey.keys()]);
      wrong.push(
        error("adapter-place", `adapter ${adapter.name} changes ${module.path}, which the model has not`, {
          help:
            near === undefined
              ? "`tokenloom weights FILE` lists its layers"
              : `is it ${near.replace(/\.weight$/, "")}?`,
        }),
      );
      continue;
    }
    const [out, inner] = [
      weight.type.shape[0]?.key,
      weight.type.shape
        .slice(1)
        .map((d) => d.key)
        .join(", "),
    ];
    const fits =
      out === String(module.up.shape[0]) &&
      inner.replaceAll(", 1", "") === module.down.shape.slice(1).join(", ").replaceAll(", 1", "");
    if (fits) places.push({ module, weight });
    else
      wrong.push(
        error(
          "adapter-place",
          `${module.path}: lora_B [${module.up.shape.join(", ")}] times lora_A [${module.down.shape.join(", ")}] is no change of ${showType(weight.type)}`,
        ),
      );
  }
  if (wrong.length > 0) throw new InputError(wrong);
  return places;
}

const weightKey = (adapter: LoraAdapter, tensor: AdapterTensor): string => `${adapter.name}:${tensor.key}`;

function weightOf(adapter: LoraAdapter, tensor: AdapterTensor, base: Weight): Weight {
  const key = weightKey(adapter, tensor);
  return { id: `$${key}`, key, type: tensorType(tensor.dtype, tensor.shape), spans: base.spans };
}

/** A builder that knows all values of the graph that it could read, and the adapter's weights. */
function builderFor(graph: Graph, adapter: LoraAdapter, places: readonly Place[], lookup: OpLookup) {
  const added = places.flatMap(({ module, weight }) => [
    weightOf(adapter, module.down, weight),
    weightOf(adapter, module.up, weight),
  ]);
  const b = new GraphBuilder(graph.name, lookup, graph.nextId);
  for (const x of [...graph.inputs, ...graph.weights, ...graph.states, ...added]) b.declare(x.id, x.type);
  return { b, weights: [...graph.weights, ...added] };
}

function wide(b: GraphBuilder, x: ValueId, at: { readonly spans: Weight["spans"] }): ValueId {
  return b.type(x).dtype === "f16" ? b.call("cast", [x], { dtype: "f32" }, at) : x;
}

function folded(graph: Graph, adapter: LoraAdapter, places: readonly Place[], lookup: OpLookup): Graph {
  const { b, weights } = builderFor(graph, adapter, places, lookup);
  const instead = new Map<ValueId, ValueId>();
  for (const { module, weight } of places) {
    const at = { spans: weight.spans };
    const { shape, dtype } = weight.type;
    const [down, up] = [module.down, module.up].map((t) => wide(b, `$${weightKey(adapter, t)}`, at));
    const rank = module.up.shape[1]!;
    const rows = b.call("reshape", [down], { dims: [dim(rank), dim(sizeOf(module.down) / rank)] }, at);
    const columns = b.call("reshape", [up], { dims: [shape[0]!, dim(rank)] }, at);
    const product = b.call("matmul", [columns, rows], {}, at);
    const factor = b.call("constant", [], { value: module.factor, dtype: "f32" }, at);
    const change = b.call("reshape", [b.call("mul", [product, factor], {}, at)], { dims: shape }, at);
    const sum = b.call("add", [wide(b, weight.id, at), change], {}, at);
    instead.set(weight.id, dtype === "f16" ? b.call("cast", [sum], { dtype: "f16" }, at) : sum);
  }
  return {
    ...graph,
    weights,
    nodes: [...b.nodes, ...graph.nodes.map((n) => reading(n, instead))],
    outputs: graph.outputs.map((o) => ({ ...o, value: instead.get(o.value) ?? o.value })),
    states: graph.states.map((s) => ({ ...s, next: instead.get(s.next) ?? s.next })),
    nextId: b.nextId,
  };
}

const sizeOf = (t: AdapterTensor): number => t.shape.reduce((a, b) => a * b, 1);

function reading(n: Node, instead: ReadonlyMap<ValueId, ValueId>): Node {
  if (!n.inputs.some((x) => instead.has(x))) return n;
  return { ...n, inputs: n.inputs.map((x) => instead.get(x) ?? x) };
}

function besides(graph: Graph, adapter: LoraAdapter, places: readonly Place[], lookup: OpLookup): Graph {
  const { b, weights } = builderFor(graph, adapter, places, lookup);
  const byWeight = new Map(places.map((p) => [p.weight.id, p]));
  const instead = new Map<ValueId, ValueId>();
  const nodes: Node[] = [];
  for (const original of graph.nodes) {
    const n = reading(original, instead);
    for (const r of n.results) b.declare(r.id, r.type);
    const place = n.inputs.map((x) => byWeight.get(x)).find((p) => p !== undefined);
    nodes.push(n);
    if (!place) continue;
    const from = b.nodes.length;
    instead.set(n.results[0]!.id, changed(b, n, place, adapter));
    nodes.push(...b.nodes.slice(from));
  }
  return {
    ...graph,
    weights,
    nodes,
    outputs: graph.outputs.map((o) => ({ ...o, value: instead.get(o.value) ?? o.value })),
    states: graph.states.map((s) => ({ ...s, next: instead.get(s.next) ?? s.next })),
    nextId: b.nextId,
  };
}

/** y + s B (A x), for a layer y = W x. */
function changed(b: GraphBuilder, n: Node, { module, weight }: Place, adapter: LoraAdapter): ValueId {
  const at = { spans: n.spans, scope: n.scope };
  const isLayer = (n.op.name === "linear" || n.op.name === "conv2d") && n.inputs[1] === weight.id;
  const line = n.spans[0] ? ` (${showLocation(n.spans[0])})` : "";
  if (!isLayer || (n.op.name === "conv2d" && n.attrs["groups"] !== undefined && n.attrs["groups"] !== 1))
    throw new InputError([
      error(
        "adapter-place",
        `adapter ${adapter.name} cannot stand beside ${n.op.name}${line}, which reads ${weight.key}`,
        {
          help: "linear layers and convolutions take one; --adapter-mode fold puts it into any weight",
        },
      ),
    ]);
  const [down, up] = [module.down, module.up].map((t) => {
    const id = `$${weightKey(adapter, t)}`;
    const own = b.type(n.inputs[0]!).dtype;
    return b.type(id).dtype === own ? id : b.call("cast", [id], { dtype: own }, at);
  }) as [ValueId, ValueId];
  const x = n.inputs[0]!;
  const inner =
    n.op.name === "linear"
      ? b.call("linear", [x, down], n.attrs, at)
      : b.call("conv2d", [x, asKernel(b, down, weight, at)], n.attrs, at);
  const outer =
    n.op.name === "linear"
      ? b.call("linear", [inner, up], n.attrs, at)
      : b.call(
          "conv2d",
          [
            inner,
            b.call("reshape", [up], { dims: [...module.up.shape.slice(0, 2), 1, 1].map((s) => dim(s)) }, at),
          ],
          {},
          at,
        );
  const type = b.type(outer).dtype;
  const factor = b.call("constant", [], { value: module.factor, dtype: type }, at);
  return b.call("add", [n.results[0]!.id, b.call("mul", [outer, factor], {}, at)], {}, at);
}

/** lora_A with the spatial axes of the layer's weight. */
function asKernel(b: GraphBuilder, down: ValueId, weight: Weight, at: object): ValueId {
  const rank = b.type(down).shape[0]!;
  return b.call("reshape", [down], { dims: [rank, ...weight.type.shape.slice(1)] }, at);
}
