// Weights of layers as integers of 8 or 4 bits, with a scale for each group of them along the summed axis, where `--quantize` asks for it.
// Kernels unpack them where they read them and sum in f32; activations are as they were. It runs behind everything that folds weights.

import { constantOf, mulDim, type Dim } from "../ir/dim.ts";
import {
  GraphBuilder,
  preparedValues,
  typesOf,
  weightKeysOf,
  type Graph,
  type Node,
  type ValueId,
} from "../ir/graph.ts";
import type { OpDefinition } from "../ir/op.ts";
import { printNode } from "../ir/print.ts";
import type { Refusal, RewriteEvent } from "../ir/rewrite-types.ts";
import { bytesOf, elementsOf, type PackedType, type TensorType } from "../ir/types.ts";
import { scaleShape } from "../ops/quantize.ts";
import { beforeChoices } from "./choices.ts";
import { rightAxes } from "./operand-axes.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

/** What weights become. */
export interface Quantization {
  readonly type: PackedType;
  /** How many neighbours along the summed axis share a scale. */
  readonly group: number;
}

const widths: Readonly<Record<string, Quantization>> = {
  int8: { type: "i8", group: 128 },
  int4: { type: "i4", group: 32 },
};

/** Reads `int8`, `int4:group=64`; undefined where the text says nothing of the kind. */
export function parseQuantization(text: string): Quantization | undefined {
  const [, width, group] = /^(\w+)(?::group=(\d+))?$/.exec(text) ?? [];
  const found = Object.hasOwn(widths, width ?? "") ? widths[width!]! : undefined;
  if (!found || group === undefined) return found;
  const size = Number(group);
  return size >= 1 && size <= 2 ** 20 ? { ...found, group: size } : undefined;
}

/** The share of their bytes that weights may take afterwards; more is not worth the rounding. */
const worthwhile = 0.55;

/** Keys of weights that a message lists. */
const listedKeys = 2;

export const quantizationHelp =
  "write int8 or int4, and the size of groups if it is to be another, as in int4:group=64";

export const quantizeWeights: Pass = {
  name: "quantize-weights",
  doc: "Weights of layers in 8 or 4 bits with a scale for each group, as `--quantize` asks; int8 unless it says otherwise.",
  level: 3,
  numerics: "approximates",
  roundsOnly: true,
  needs: [],
  gives: [],
  changes: [
    {
      name: "quantized",
      equation: "f(x, w) = f(x, q * scale)   where q = round(w / scale), scale = max |w| of the group / most",
      doc: "The right operand of a product or convolution, where it is made of weights. What a router or `top_k` chooses by is left, and what would not take half the memory.",
    },
  ],
  run: (graph: Graph, c: PassContext): PassResult =>
    new Quantizer(graph, c, c.quantize ?? widths["int8"]!).run(),
};

class Quantizer {
  readonly #graph: Graph;
  readonly #how: Quantization;
  readonly #b: GraphBuilder;
  readonly #prepared: ReadonlySet<ValueId>;
  readonly #types: ReadonlyMap<ValueId, TensorType>;
  readonly #makers = new Map<ValueId, Node>();
  readonly #quantize: OpDefinition;
  readonly #choosing: ReadonlySet<Node>;
  readonly #quantized = new Map<string, readonly ValueId[]>();
  readonly #events: RewriteEvent[] = [];
  readonly #refusals: Refusal[] = [];

  constructor(graph: Graph, { lookup }: PassContext, how: Quantization) {
    this.#graph = graph;
    this.#how = how;
    this.#quantize = lookup("quantize")!;
    this.#b = new GraphBuilder(graph.name, lookup, graph.nextId);
    this.#prepared = preparedValues(graph);
    this.#types = typesOf(graph);
    this.#choosing = beforeChoices(graph);
    for (const x of [...graph.inputs, ...graph.weights, ...graph.states]) this.#b.declare(x.id, x.type);
    for (const n of graph.nodes) for (const r of n.results) this.#makers.set(r.id, n);
  }

  run(): PassResult {
    for (const n of this.#graph.nodes) this.#node(n);
    const graph = { ...this.#graph, nodes: this.#b.nodes, nextId: this.#b.nextId };
    return {
      graph: this.#events.length > 0 ? graph : this.#graph,
      events: this.#events,
      refusals: this.#refusals,
    };
  }

  #node(n: Node): void {
    const found = this.#summed(n);
    const refusal = found && this.#whyNot(n, found.axis);
    if (refusal !== undefined)
      this.#refusals.push({ rule: "quantized", reason: refusal, node: n.results[0]!.id, spans: n.spans });
    const weight = found && refusal === undefined ? this.#unpacked(n, found.axis) : undefined;
    const made = this.#b.add(
      n.op,
      n.inputs.map((x, i) => (i === 1 && weight !== undefined ? weight : x || undefined)),
      n.attrs,
      {
        ids: n.results.map((r) => r.id),
        types: n.results.map((r) => r.type),
        spans: n.spans,
        scope: n.scope,
        annotations: n.annotations,
        ...(n.body && { body: n.body }),
      },
    );
    if (weight === undefined) return;
    const added = this.#b.nodes.filter((x) => x.results.some((r) => r.id === weight));
    this.#events.push({
      rule: "quantized",
      before: [printNode(n)],
      after: [...added, made].map(printNode),
      removed: [],
      added: [weight],
      spans: n.spans,
    });
  }

  /** The longest axis of the weights of a layer that is summed over. */
  #summed(n: Node): { readonly axis: number } | undefined {
    const { lowering } = n.op;
    if (lowering.kind !== "contraction" || n.results.every((r) => this.#prepared.has(r.id))) return undefined;
    if (!this.#prepared.has(n.inputs[1]!)) return undefined;
    const types = n.inputs.map((x) => (x === "" ? undefined : this.#types.get(x)));
    const result = n.results[0]!.type;
    const spec = lowering.describe(types, n.attrs, result);
    const axes = rightAxes(spec, n, types, result);
    let best: { axis: number; size: number } | undefined;
    spec.reduce.forEach((d, i) => {
      const axis = axes?.get(`k${i}`);
      const size = constantOf(d) ?? 0;
      if (axis !== undefined && size > (best?.size ?? 0)) best = { axis, size };
    });
    return best;
  }

  #whyNot(n: Node, axis: number): string | undefined {
    if (this.#choosing.has(n))
      return `its weights stay as they are: a choice is made by what ${n.op.name} computes`;
    const type = this.#types.get(n.inputs[1]!)!;
    const count = (d: Dim): number => constantOf(d) ?? 0;
    const elements = count(elementsOf(type));
    const scales = scaleShape(type.shape, axis, this.#how.group).reduce((a, d) => mulDim(a, d));
    const bytes = elements * bytesOf[this.#how.type] + count(scales) * 4;
    const before = elements * bytesOf[type.dtype];
    if (bytes <= worthwhile * before) return undefined;
    return `its weights stay as they are: with their scales they would take ${bytes} bytes in place of ${before}`;
  }

  /** The weights of a node, read back from integers; those of several nodes are kept once. */
  #unpacked(n: Node, axis: number): ValueId {
    const id = n.inputs[1]!;
    const { type, group } = this.#how;
    const where = { spans: n.spans, scope: n.scope };
    const source = this.#inFull(id);
    const key = `${source} ${axis}`;
    let parts = this.#quantized.get(key);
    if (!parts) {
      const made = this.#b.add(
        this.#quantize,
        [source],
        { axis, group, type, of: this.#keys(source) },
        where,
      );
      parts = made.results.map((r) => r.id);
      this.#quantized.set(key, parts);
    }
    const { dtype } = this.#types.get(id)!;
    return this.#b.call("dequantize", parts, { axis, group, dtype }, where);
  }

  /** Weights as they were before they were rounded to f16. */
  #inFull(id: ValueId): ValueId {
    const maker = this.#makers.get(id);
    return maker?.op.name === "cast" && this.#types.get(maker.inputs[0]!)!.dtype === "f32"
      ? maker.inputs[0]!
      : id;
  }

  /** Keys of the weights that a value is made of. */
  #keys(id: ValueId): string {
    const keys = weightKeysOf(this.#graph, id);
    const more = keys.length - listedKeys;
    return `${keys.slice(0, listedKeys).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  }
}
