// Numbers in f16 between kernels, and weights in f16, where `--storage f16` asks for it. Kernels widen what they load and narrow what they
// store, so sums, the statistics of norms, softmax and attention stay in f32. In f32 too are stored: inputs, outputs and states as declared,
// router logits (a choice must not depend on rounding), statistics of rows, and what is counted, summed or beyond f16 until the next layer
// reads it.

import { GraphBuilder, preparedValues, type Graph, type Node, type ValueId } from "../ir/graph.ts";
import { inferTypes, type OpLookup } from "../ir/op.ts";
import { printNode } from "../ir/print.ts";
import type { RewriteEvent } from "../ir/rewrite-types.ts";
import { sameShape, type DType } from "../ir/types.ts";
import { beforeChoices, layers } from "./choices.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

export const halfStorage: Pass = {
  name: "half-storage",
  doc: "Weights and what kernels pass on in f16, sums in f32, as `--storage f16` asks.",
  level: 3,
  numerics: "approximates",
  roundsOnly: true,
  needs: [],
  gives: [],
  changes: [
    {
      name: "stored-in-half",
      equation: "y = f16(f(x))   where f is computed in f32 and x is read as f16",
      doc: "A node reads and stores f16. Router logits, statistics of rows, sums, counts and numbers beyond f16 are left in f32.",
    },
  ],
  run: (graph: Graph, c: PassContext): PassResult => new Narrowing(graph, c.lookup).run(),
};

/** What they add up over many elements is not rounded to 11 bits. */
export const summers: readonly string[] = ["sum", "cumsum", "segment_reduce"];

/** One number for many: it takes no room in f32, and what all of them are measured by is not rounded to 11 bits. */
export const statistics: readonly string[] = ["mean", "variance"];

/** What puts the numbers of a row on the scale of its statistics. */
const scalings: ReadonlySet<string> = new Set(["add", "sub", "mul", "div"]);

class Narrowing {
  readonly #graph: Graph;
  readonly #lookup: OpLookup;
  readonly #b: GraphBuilder;
  readonly #prepared: ReadonlySet<ValueId>;
  readonly #wideNodes: ReadonlySet<Node>;
  readonly #makers = new Map<ValueId, Node>();
  /** Values stored in f32 on purpose. */
  readonly #wide = new Set<ValueId>();
  /** Those of them that are made of statistics and literals, and of no sum and nothing that a choice is made by. */
  readonly #scales = new Set<ValueId>();
  readonly #casts = new Map<string, ValueId>();
  readonly #events: RewriteEvent[] = [];

  constructor(graph: Graph, lookup: OpLookup) {
    this.#graph = graph;
    this.#lookup = lookup;
    this.#b = new GraphBuilder(graph.name, lookup, graph.nextId);
    this.#prepared = preparedValues(graph);
    for (const x of [...graph.inputs, ...graph.weights, ...graph.states]) this.#b.declare(x.id, x.type);
    for (const n of graph.nodes) for (const r of n.results) this.#makers.set(r.id, n);
    const sums = graph.nodes.filter((n) => summers.includes(n.op.name));
    this.#wideNodes = new Set([...beforeChoices(graph), ...sums]);
  }

  run(): PassResult {
    for (const n of this.#graph.nodes) this.#node(n);
    const asDeclared = (id: ValueId, dtype: DType): ValueId => this.#as(id, dtype, this.#makers.get(id));
    const before = new Map(this.#graph.nodes.flatMap((n) => n.results.map((r) => [r.id, r.type] as const)));
    const outputs = this.#graph.outputs.map((o) => ({
      ...o,
      value: asDeclared(o.value, (before.get(o.value) ?? this.#b.type(o.value)).dtype),
    }));
    const states = this.#graph.states.map((s) => ({ ...s, next: asDeclared(s.next, s.type.dtype) }));
    const graph = { ...this.#graph, nodes: this.#b.nodes, outputs, states, nextId: this.#b.nextId };
    return { graph: this.#events.length > 0 ? graph : this.#graph, events: this.#events, refusals: [] };
  }

  #node(n: Node): void {
    const isPrepared = n.results.every((r) => this.#prepared.has(r.id));
    const types = n.results.map((r) => r.type);
    const isFloat = types.some((t) => t.dtype === "f32");
    const made =
      isPrepared || !isFloat || n.inputs.length === 0 || n.body || this.#stays(n)
        ? undefined
        : this.#narrow(n);
    if (made) return;
    const inputs = n.inputs.map((x) => (x === "" ? undefined : this.#as(x, this.#declared(x), n)));
    if (!isPrepared && this.#scalesRow(n)) return this.#computedWide(n, inputs);
    this.#b.add(n.op, inputs, n.attrs, { ...this.#kept(n), types });
    if (isPrepared) return;
    const isScale =
      !this.#wideNodes.has(n) && n.inputs.every((x) => !this.#wide.has(x) || this.#scales.has(x));
    for (const r of n.results)
      if (r.type.dtype === "f32") {
        this.#wide.add(r.id);
        if (isScale) this.#scales.add(r.id);
      }
  }

  /** Are numbers in f16 put on the scale of their row (`x * rsqrt(variance + eps)`)? It is in f32; what it makes of them need not be. */
  #scalesRow(n: Node): boolean {
    const [result] = n.results;
    if (!scalings.has(n.op.name) || this.#wideNodes.has(n) || result!.type.dtype !== "f32") return false;
    const isWhole = (x: ValueId): boolean => sameShape(this.#b.type(x).shape, result!.type.shape);
    const wide = n.inputs.filter((x) => this.#wide.has(x));
    const half = n.inputs.filter((x) => this.#b.type(x).dtype === "f16" && isWhole(x));
    return wide.length === 1 && half.length === 1 && this.#scales.has(wide[0]!) && !isWhole(wide[0]!);
  }

  /** Computed in f32, and its result rounded where it is stored. */
  #computedWide(n: Node, inputs: readonly (ValueId | undefined)[]): void {
    const { ids, ...where } = this.#kept(n);
    const wide = this.#b.add(n.op, inputs, n.attrs, { ...where, types: n.results.map((r) => r.type) });
    const type = { ...n.results[0]!.type, dtype: "f16" as const };
    const cast = this.#lookup("cast")!;
    const made = this.#b.add(cast, [wide.results[0]!.id], { dtype: "f16" }, { ...where, ids, types: [type] });
    this.#log(n, [wide, made]);
  }

  #kept(n: Node) {
    return {
      ids: n.results.map((r) => r.id),
      spans: n.spans,
      scope: n.scope,
      annotations: n.annotations,
      ...(n.body && { body: n.body }),
    };
  }

  #declared(id: ValueId): DType {
    const maker = this.#makers.get(id);
    return (maker?.results.find((r) => r.id === id)?.type ?? this.#b.type(id)).dtype;
  }

  /** Layers read f16 whatever made their operands. All other ops stay in f32 where an operand is. */
  #stays(n: Node): boolean {
    if (this.#wideNodes.has(n) || statistics.includes(n.op.name)) return true;
    return (
      !layers.includes(n.op.name) &&
      n.inputs.some((x) => x !== "" && (this.#wide.has(x) || this.#isBeyond(x)))
    );
  }

  /** A literal that f16 has no normal number for. */
  #isBeyond(id: ValueId): boolean {
    const value = this.#literal(id);
    return value !== undefined && value !== 0 && (Math.abs(value) > 65504 || Math.abs(value) < 2 ** -14);
  }

  #literal(id: ValueId): number | undefined {
    const maker = this.#makers.get(id);
    const value = maker?.op.name === "constant" ? maker.attrs["value"] : undefined;
    return typeof value === "number" ? value : undefined;
  }

  /** The node on f16, where the op allows it; nothing is added where not. */
  #narrow(n: Node): Node | undefined {
    const types = n.inputs.map((x) => {
      if (x === "") return undefined;
      const type = this.#b.type(x);
      return type.dtype === "f32" ? { ...type, dtype: "f16" as const } : type;
    });
    const inferred = inferTypes(n.op, types, n.attrs);
    if (!("types" in inferred) || inferred.types.every((t, i) => t.dtype === n.results[i]!.type.dtype))
      return undefined;
    const inputs = n.inputs.map((x, i) => (x === "" ? undefined : this.#as(x, types[i]!.dtype, n)));
    const kept = n.results.map((r, i) => ({ ...r.type, dtype: inferred.types[i]!.dtype }));
    const made = this.#b.add(n.op, inputs, n.attrs, { ...this.#kept(n), types: kept });
    this.#log(n, [made]);
    return made;
  }

  #log(n: Node, made: readonly Node[]): void {
    this.#events.push({
      rule: "stored-in-half",
      before: [printNode(n)],
      after: made.map(printNode),
      removed: [],
      added: made.flatMap((m) => m.results.map((r) => r.id)),
      spans: n.spans,
    });
  }

  /** The value in another float type; cast once. */
  #as(id: ValueId, dtype: DType, by: Node | undefined): ValueId {
    const type = this.#b.type(id);
    if (type.dtype === dtype) return id;
    const key = `${id} ${dtype}`;
    const known = this.#casts.get(key);
    if (known !== undefined) return known;
    const where = { spans: by?.spans ?? [], scope: by?.scope ?? "" };
    const literal = this.#literal(id);
    const made =
      literal !== undefined && dtype === "f16"
        ? this.#b.call("constant", [], { value: literal, dtype, shape: type.shape }, where)
        : this.#b.call("cast", [id], { dtype }, where);
    this.#casts.set(key, made);
    return made;
  }
}
