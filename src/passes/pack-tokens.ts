// Padding costs nothing: where a mask says which tokens there are, and everything that leaves the layers goes through that mask again, rows
// that it leaves out are not computed. Rows are packed once (`pack_rows`; how many there are is known to the GPU alone), layers that treat
// rows one by one run on the packed ones, and attention, which does not, finds them at their places.
//
// Which values may be packed is found backwards: a value is wanted `where kept` if each of its readers drops the other rows (attention as
// keys, a product with the mask, a choice by it), picks single ones (which are kept then, too), or is row by row and itself wanted so.

import { constantOf, dim, mulDim, sameDim, type Dim } from "../ir/dim.ts";
import {
  atMost,
  freeSymbol,
  GraphBuilder,
  preparedValues,
  typesOf,
  type AttrValue,
  type Graph,
  type Node,
  type SymbolDecl,
  type ValueId,
} from "../ir/graph.ts";
import { axisRelations, type AttrSpec, type AxisRelation } from "../ir/op.ts";
import { nextIdAfter, printNode } from "../ir/print.ts";
import { externalReads } from "../ir/rewrite-graph.ts";
import type { Refusal, RewriteEvent, RuleDoc } from "../ir/rewrite-types.ts";
import type { TensorType } from "../ir/types.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

const packRows: RuleDoc = {
  name: "pack-rows",
  equation:
    "f(x)[rows] = f(x[rows])   if f is row by row; rows that the mask leaves out are wanted by nothing",
  doc: "Linear layers, norms and elementwise work between attentions run on the tokens that the mask has. Projections that other passes fold away (keys of a few queries, the last layers in front of a mean) stay where they are.",
};

/** How a value is wanted: not at all, in the rows that are kept, or whole. */
type Want = 0 | 1 | 2;

/** More positions than this, and a slice is no single token. */
const FEW = 4;

/** A position of each sample that is read by itself: those before a number, or the one that a value says. */
type Extra =
  { readonly kind: "first"; readonly end: number } | { readonly kind: "picked"; readonly by: ValueId };

class Packer {
  readonly #graph: Graph;
  readonly #types: ReadonlyMap<ValueId, TensorType>;
  readonly #prepared: ReadonlySet<ValueId>;
  readonly #producers = new Map<ValueId, Node>();
  readonly #mask: ValueId;
  readonly #batch: Dim;
  readonly #tokens: Dim;
  readonly #wants = new Map<ValueId, Want>();
  readonly #extras: Extra[] = [];
  readonly #factors = new Map<ValueId, boolean>();
  /** Nodes that run before any layer: the mask, and what says which position is read. */
  readonly #first = new Set<Node>();

  constructor(graph: Graph, mask: ValueId) {
    this.#graph = graph;
    this.#types = typesOf(graph);
    this.#prepared = preparedValues(graph);
    for (const n of graph.nodes) for (const r of n.results) this.#producers.set(r.id, n);
    this.#mask = mask;
    [this.#batch, this.#tokens] = this.#types.get(mask)!.shape as readonly [Dim, Dim];
    this.#needFirst(mask);
  }

  /** The nodes that may run on packed rows, those that are worth it. */
  region(): ReadonlySet<Node> {
    this.#findWants();
    const left = this.#leftToOthers();
    const region = new Set(this.#graph.nodes.filter((n) => !left.has(n) && this.#isPackable(n)));
    this.#peel(region);
    return withProducts(region);
  }

  // ---- what is wanted ---------------------------------------------------------------------------------------------

  #isByRow(id: ValueId): boolean {
    const shape = this.#types.get(id)?.shape;
    return (
      shape !== undefined &&
      shape.length >= 2 &&
      sameDim(shape[0]!, this.#batch) &&
      sameDim(shape[1]!, this.#tokens)
    );
  }

  #findWants(): void {
    for (const id of externalReads(this.#graph)) this.#wants.set(id, 2);
    for (const n of [...this.#graph.nodes].reverse()) {
      const want = Math.max(...n.results.map((r) => this.#wants.get(r.id) ?? 0)) as Want;
      if (want === 0) continue;
      const relations = axisRelations(n.op, this.#typesIn(n), n.attrs);
      n.inputs.forEach((x, i) => {
        if (x === "") return;
        const own = this.#isByRow(x) ? this.#wantOf(n, i, want, relations[i]) : 2;
        this.#wants.set(x, Math.max(this.#wants.get(x) ?? 0, own) as Want);
      });
    }
  }

  #typesIn(n: Node): (TensorType | undefined)[] {
    return n.inputs.map((x) => (x === "" ? undefined : this.#types.get(x)));
  }

  /** How a node wants its input `i`, which has a row for each token. */
  #wantOf(n: Node, i: number, want: Want, relations: readonly AxisRelation[] | undefined): Want {
    if (this.#drops(n, i)) return 1;
    if (n.op.name === "slice" && n.attrs["axis"] === 1) {
      const [start, end] = [n.attrs["start"], n.attrs["end"]].map(numberIn);
      if (start !== undefined && end !== undefined && start >= 0 && end > start && end <= FEW) {
        this.#extras.push({ kind: "first", end });
        return 1;
      }
    }
    if (n.op.name === "take_along_axis" && n.attrs["axis"] === 1 && i === 0) {
      const by = n.inputs[1]!;
      if (
        this.#types
          .get(by)!
          .shape.slice(1)
          .every((d) => constantOf(d) === 1) &&
        this.#needFirst(by)
      ) {
        this.#extras.push({ kind: "picked", by });
        return 1;
      }
    }
    const follows =
      this.#isByRow(n.results[0]!.id) &&
      [0, 1].every((a) => {
        const r = relations?.[a];
        return (r?.kind === "same" || r?.kind === "tail") && r.axis === a;
      });
    return follows ? want : 2;
  }

  /** Does the node let nothing through of rows that the mask leaves out? */
  #drops(n: Node, i: number): boolean {
    if (n.op.name === "attention") return (i === 1 || i === 2) && n.inputs[3] === this.#mask;
    if (n.op.name === "mul") return this.#isFactor(n.inputs[1 - i]!);
    return n.op.name === "where" && i === 1 && this.#isFactor(n.inputs[0]!);
  }

  /** Is it 0, or false, in every row that the mask leaves out? */
  #isFactor(id: ValueId): boolean {
    if (id === this.#mask) return true;
    const known = this.#factors.get(id);
    if (known !== undefined) return known;
    const n = this.#producers.get(id);
    const found = n !== undefined && this.#isByRow(id) && this.#makesFactor(n);
    this.#factors.set(id, found);
    return found;
  }

  #makesFactor(n: Node): boolean {
    const [a = "", b = ""] = n.inputs;
    switch (n.op.name) {
      case "cast":
      case "reshape":
      case "unsqueeze":
        return this.#isFactor(a);
      case "mul":
      case "logical_and":
        return this.#isFactor(a) || this.#isFactor(b);
      case "not_equal":
      case "greater":
        return this.#isFactor(a) && this.#isZero(b);
      default:
        return false;
    }
  }

  #isZero(id: ValueId): boolean {
    const n = this.#producers.get(id);
    return n?.op.name === "constant" && n.attrs["value"] === 0;
  }

  /** Puts what makes the value in front; not where rows of layers are part of it. */
  #needFirst(id: ValueId): boolean {
    const own = new Set<Node>();
    const needed = new Set<ValueId>([id]);
    for (const n of [...this.#graph.nodes].reverse()) {
      if (!n.results.some((r) => needed.has(r.id))) continue;
      if (n.results.some((r) => this.#isByRow(r.id) && r.type.dtype.startsWith("f"))) return false;
      own.add(n);
      for (const x of n.inputs) needed.add(x);
    }
    for (const n of own) this.#first.add(n);
    return true;
  }

  // ---- what is packed ---------------------------------------------------------------------------------------------

  #isPackable(n: Node): boolean {
    const [result] = n.results;
    if (n.results.length !== 1 || !result || n.body || this.#first.has(n)) return false;
    if (!this.#isByRow(result.id) || this.#wants.get(result.id) !== 1) return false;
    const { lowering, traits } = n.op;
    if (lowering.kind === "program" || traits.includes("movement") || traits.includes("view")) return false;
    const sized = (a: AttrSpec) => a.role !== "weight-shape" && (a.kind === "dim" || a.kind === "dims");
    if (Object.values(n.op.attrs).some(sized)) return false;
    const relations = axisRelations(n.op, this.#typesIn(n), n.attrs);
    return n.inputs.every((x, i) => {
      if (x === "" || this.#prepared.has(x) || x.startsWith("$")) return true;
      const own = relations[i] ?? [];
      if (this.#isByRow(x) && ![0, 1].every((a) => own[a]?.kind === "same" && own[a].axis === a))
        return false;
      if (!this.#isByRow(x) && isByPlace(own)) return isAligned(own, result.type.shape.length);
      return own.every((r) => ["same", "broadcast", "reduced"].includes(r.kind) || isWithinRow(r));
    });
  }

  /** Projections of keys and values that few queries see: those become the queries' (fold-attention). */
  #leftToOthers(): ReadonlySet<Node> {
    const left = new Set<Node>();
    for (const n of this.#graph.nodes) {
      if (n.op.name !== "attention" || this.#isByRow(n.inputs[0]!)) continue;
      for (const x of n.inputs.slice(1, 3)) {
        let at = this.#producers.get(x);
        while (at && at.op.traits.includes("movement")) at = this.#producers.get(at.inputs[0]!);
        if (at) left.add(at);
      }
    }
    return left;
  }

  /** Linear layers right in front of a sum over the tokens are better done behind it (hoist-reductions). */
  #peel(region: Set<Node>): void {
    const readers = new Map<ValueId, [Node, number][]>();
    for (const n of this.#graph.nodes)
      n.inputs.forEach((x, i) => readers.set(x, [...(readers.get(x) ?? []), [n, i]]));
    const endsIt = (n: Node): boolean =>
      (n.op.traits.includes("linear") || ["linear", "add", "sub"].includes(n.op.name)) &&
      (readers.get(n.results[0]!.id) ?? []).every(
        ([r, i]) => !region.has(r) && (r.op.name === "mul" ? this.#drops(r, i) : peeled.has(r)),
      );
    const peeled = new Set<Node>();
    for (const n of [...this.#graph.nodes].reverse())
      if (region.has(n) && endsIt(n)) {
        region.delete(n);
        peeled.add(n);
      }
  }

  // ---- the graph --------------------------------------------------------------------------------------------------

  rewrite(region: ReadonlySet<Node>, c: PassContext): PassResult {
    const g = this.#graph;
    const b = new GraphBuilder(g.name, c.lookup, g.nextId);
    for (const x of [...g.inputs, ...g.weights, ...g.states]) b.declare(x.id, x.type);
    const symbol = freeSymbol("kept", (x) => g.symbols.some((s) => s.name === x));
    const all = mulDim(this.#batch, this.#tokens);
    const declared: SymbolDecl = { kind: "bounded", name: symbol, bound: atMost(all, g.symbols) };
    const kept = dim(symbol);
    const packed = new Map<ValueId, ValueId>();
    const unpacked = new Set<ValueId>();
    let places: { readonly rows: ValueId; readonly places: ValueId } | undefined;
    const added: Node[] = [];

    const copy = (n: Node): void => {
      const { spans, scope, annotations, body, attrs } = n;
      const [ids, types] = [n.results.map((r) => r.id), n.results.map((r) => r.type)];
      b.add(n.op, n.inputs, attrs, { spans, scope, annotations, ids, types, ...(body && { body }) });
    };
    const pack = (id: ValueId, reader: Node): ValueId => {
      const known = packed.get(id);
      if (known !== undefined) return known;
      const options = { spans: reader.spans, scope: reader.scope };
      places ??= this.#places(b, c, kept, reader);
      const { shape } = b.type(id);
      const missing = Math.max(0, reader.results[0]!.type.shape.length - shape.length);
      const rest = [...Array.from({ length: missing }, () => dim(1)), ...shape].slice(2);
      const whole = this.#isByRow(id)
        ? id
        : b.call("broadcast_to", [id], { dims: [this.#batch, this.#tokens, ...rest] }, options);
      const flat = b.call("reshape", [whole], { dims: [all, ...rest] }, options);
      const taken = b.call("take_rows", [flat, places.rows], {}, options);
      const made = b.call("reshape", [taken], { dims: [dim(1), kept, ...rest] }, options);
      packed.set(id, made);
      return made;
    };
    const unpack = (id: ValueId, reader: Node): void => {
      if (!packed.has(id) || unpacked.has(id) || !this.#isMadePacked(id, region)) return;
      const type = this.#types.get(id)!;
      const options = { spans: reader.spans, scope: reader.scope };
      const rest = type.shape.slice(2);
      const flat = b.call("reshape", [packed.get(id)!], { dims: [kept, ...rest] }, options);
      const taken = b.call("take_rows", [flat, places!.places], {}, options);
      const dims = [this.#batch, this.#tokens, ...rest];
      b.call("reshape", [taken], { dims }, { ...options, ids: [id], types: [type] });
      unpacked.add(id);
    };

    for (const n of [...g.nodes].sort((x, y) => Number(this.#first.has(y)) - Number(this.#first.has(x)))) {
      if (!region.has(n)) {
        for (const x of n.inputs) unpack(x, n);
        copy(n);
        continue;
      }
      const relations = axisRelations(n.op, this.#typesIn(n), n.attrs);
      const inputs = n.inputs.map((x, i) => {
        if (x === "") return undefined;
        return isByPlace(relations[i] ?? []) ? pack(x, n) : x;
      });
      const { spans, scope, annotations, attrs } = n;
      const made = b.add(n.op, inputs, attrs, { spans, scope, annotations });
      added.push(made);
      packed.set(n.results[0]!.id, made.results[0]!.id);
    }
    const nodes = b.nodes;
    const graph: Graph = { ...g, symbols: [...g.symbols, declared], nodes };
    const event: RewriteEvent = {
      rule: packRows.name,
      before: [...region].map(printNode),
      after: added.map(printNode),
      removed: [...region].flatMap((n) => n.results.map((r) => r.id)).filter((id) => !unpacked.has(id)),
      added: added.flatMap((n) => n.results.map((r) => r.id)),
      spans: [...region].flatMap((n) => n.spans),
    };
    return {
      graph: { ...graph, nextId: Math.max(b.nextId, nextIdAfter(graph)) },
      events: [event],
      refusals: [],
    };
  }

  #isMadePacked(id: ValueId, region: ReadonlySet<Node>): boolean {
    const n = this.#producers.get(id);
    return n !== undefined && region.has(n);
  }

  /** `pack_rows` of the mask and of the positions that are read by themselves. */
  #places(
    b: GraphBuilder,
    c: PassContext,
    kept: Dim,
    reader: Node,
  ): { readonly rows: ValueId; readonly places: ValueId } {
    const options = { spans: reader.spans, scope: "" };
    const number = (value: number, dtype: "i32" | "u32") => b.call("constant", [], { value, dtype }, options);
    const mask = b.type(this.#mask);
    let keep =
      mask.dtype === "bool"
        ? this.#mask
        : b.call("not_equal", [this.#mask, number(0, mask.dtype as "i32")], {}, options);
    const or = (more: ValueId): void => void (keep = b.call("logical_or", [keep, more], {}, options));
    const end = Math.max(0, ...this.#extras.map((e) => (e.kind === "first" ? e.end : 0)));
    const at = (dtype: "i32" | "u32") =>
      b.call("iota", [], { dims: [dim(1), this.#tokens], axis: 1, dtype }, options);
    if (end > 0) or(b.call("less", [at("i32"), number(end, "i32")], {}, options));
    for (const by of new Set(this.#extras.flatMap((e) => (e.kind === "picked" ? [e.by] : [])))) {
      const dtype = b.type(by).dtype as "i32" | "u32";
      const flat = b.call("reshape", [by], { dims: [b.type(by).shape[0]!, dim(1)] }, options);
      // As take_along_axis reads it: an index below 0 counts as 0, one beyond the end as the last.
      const least = dtype === "i32" ? b.call("maximum", [flat, number(0, "i32")], {}, options) : flat;
      const last = b.call("sub", [b.call("size", [], { of: this.#tokens, dtype }, options), number(1, dtype)], {}, options); // prettier-ignore
      or(b.call("equal", [at(dtype), b.call("minimum", [least, last], {}, options)], {}, options));
    }
    const flat = b.call("reshape", [keep], { dims: [mulDim(this.#batch, this.#tokens)] }, options);
    const node = b.add(c.lookup("pack_rows")!, [flat], { kept }, options);
    return { rows: node.results[0]!.id, places: node.results[1]!.id };
  }
}

/** Is a row of the result made of a row of the input, of the same sample or position? */
const isByPlace = (own: readonly AxisRelation[]): boolean => own.some((r) => r.kind === "same" && r.axis < 2);

/** Do its axes stand as those of the result do, the last ones below each other? */
const isAligned = (own: readonly AxisRelation[], rank: number): boolean =>
  own.every((r, a) => (r.kind === "same" || r.kind === "broadcast") && r.axis === a + rank - own.length);

const isWithinRow = (r: AxisRelation): boolean => r.kind === "whole" && r.axis > 1;

function numberIn(value: AttrValue | undefined): number | undefined {
  if (typeof value === "number") return value;
  return typeof value === "object" && !Array.isArray(value) ? constantOf(value as Dim) : undefined;
}

/** Without the parts of the region that have no product of matrices: packing those costs more than it saves. */
function withProducts(region: ReadonlySet<Node>): ReadonlySet<Node> {
  const part = new Map<Node, Node>();
  const rootOf = (n: Node): Node => {
    let at = n;
    while (part.has(at) && part.get(at) !== at) at = part.get(at)!;
    return at;
  };
  const makers = new Map<ValueId, Node>();
  for (const n of region) {
    part.set(n, n);
    for (const r of n.results) makers.set(r.id, n);
  }
  for (const n of region)
    for (const x of n.inputs) {
      const maker = makers.get(x);
      if (maker) part.set(rootOf(n), rootOf(maker));
    }
  const worth = new Set([...region].filter((n) => n.op.traits.includes("contraction")).map(rootOf));
  return new Set([...region].filter((n) => worth.has(rootOf(n))));
}

function run(graph: Graph, c: PassContext): PassResult {
  const masked = graph.nodes.filter((n) => n.op.name === "attention" && (n.inputs[3] ?? "") !== "");
  const masks = [...new Set(masked.map((n) => n.inputs[3]!))];
  const [mask] = masks;
  if (mask === undefined) return { graph, events: [], refusals: [] };
  const refuse = (reason: string): PassResult => {
    const { results, spans } = masked[0]!;
    const refusals: Refusal[] = [{ rule: packRows.name, reason, node: results[0]!.id, spans }];
    return { graph, events: [], refusals };
  };
  if (masks.length > 1)
    return refuse(`there are ${masks.length} masks, and rows that one leaves out another may want`);
  const packer = new Packer(graph, mask);
  const region = packer.region();
  if (region.size === 0)
    return refuse("an output, or an op that is not row by row, wants the tokens that the mask leaves out");
  return packer.rewrite(region, c);
}

export const packTokens: Pass = {
  name: "pack-tokens",
  doc: "Where a mask says which tokens there are, layers between attentions run on these alone.",
  level: 1,
  numerics: "reassociates",
  domain: "finite values in the rows that the mask leaves out",
  needs: [],
  gives: [],
  run,
  changes: [packRows],
};
