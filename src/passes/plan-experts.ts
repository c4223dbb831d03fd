// How the rows of routed experts are laid out. As the model says it, every row reads the weights of its own expert: right for a few rows.
// For many, rows are sorted by expert, so that each expert's weights are read once for a tile of rows; what stands between the products
// is done on sorted rows too, and only what leaves is brought back in order. Which it is the cost model says (expert-cost.ts).

import { constantOf, sameDim, dim, type Dim } from "../ir/dim.ts";
import {
  atMost,
  freeSymbol,
  preparedValues,
  typesOf,
  withDefaults,
  type Attrs,
  type Graph,
  type Node,
  type SymbolDecl,
  type ValueId,
} from "../ir/graph.ts";
import { axisRelations, inferTypes, type OpDefinition } from "../ir/op.ts";
import { printNode } from "../ir/print.ts";
import { removeDead } from "../ir/rewrite-helpers.ts";
import type { Refusal, RewriteEvent } from "../ir/rewrite-types.ts";
import type { TensorType } from "../ir/types.ts";
import { numberOf } from "../ops/define.ts";
import { rowBound } from "../ops/experts.ts";
import { Bug } from "../support/bug.ts";
import { seatingOf, type Seating } from "./expert-capacity.ts";
import { chooseWay, weightsOfExperts, type ExpertWay } from "./expert-cost.ts";
import { tokensOfRows } from "./expert-rows.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

export const planExperts: Pass = {
  name: "plan-experts",
  doc: "Rows are sorted by their expert where there are enough of them, so that weights are read once for a tile of rows.",
  level: 1,
  numerics: "exact",
  needs: ["primitive"],
  gives: [],
  run: (graph, c) => new Planner(graph, c).run(),
  changes: [
    {
      name: "sort-by-expert",
      equation:
        "E[id[n]](x[n]) = y[places[n]],  y[r] = E[tiles[floor(r / tile)]](x[slots[r]]),  slots in order of their experts",
      doc: "Rows of one expert lie together, from a multiple of the tile on.",
    },
    {
      name: "seat-by-expert",
      equation:
        "E[id[n]](x[n]) = y[places[n]],  places[n] = id[n] * rows + seat[n] where the seat is below the capacity,  rows = the capacity in whole tiles",
      doc: "Where a router has a capacity, every expert has fixed rows, and a choice goes to its seat among them: nothing is bounded.",
    },
  ],
};

/** The rows of one routing, and what has been made of them. */
interface Sorted {
  readonly ids: ValueId;
  readonly rows: Dim;
  readonly experts: number;
  readonly tile: number;
  /** Why they are sorted, and in such tiles. */
  readonly why: string;
  readonly first: Node;
  /** Where every expert has fixed rows, to which slots are seated. */
  readonly seating?: Seating;
  plan?: { readonly slots: ValueId; readonly tiles: ValueId; readonly places: ValueId };
  /** What a value of all rows is on sorted rows. */
  readonly twins: Map<ValueId, ValueId>;
  /** Values found not to come from these products. */
  readonly foreign: Set<ValueId>;
  readonly before: Node[];
  readonly after: Node[];
}

class Planner {
  readonly #graph: Graph;
  readonly #lookup: PassContext["lookup"];
  readonly #context: PassContext;
  readonly #types: Map<ValueId, TensorType>;
  readonly #producers = new Map<ValueId, Node>();
  readonly #sorted = new Map<ValueId, Sorted>();
  readonly #out: Node[] = [];
  readonly #symbols: SymbolDecl[];
  readonly #refusals: Refusal[] = [];
  #nextId: number;

  constructor(graph: Graph, c: PassContext) {
    this.#graph = graph;
    this.#lookup = c.lookup;
    this.#context = c;
    this.#types = new Map(typesOf(graph));
    this.#symbols = [...graph.symbols];
    this.#nextId = graph.nextId;
    for (const n of graph.nodes) for (const r of n.results) this.#producers.set(r.id, n);
  }

  run(): PassResult {
    const prepared = preparedValues(this.#graph);
    for (const n of this.#graph.nodes)
      if (
        n.op.name === "grouped_linear" &&
        numberOf(n.attrs, "tile") === 1 &&
        !prepared.has(n.results[0]!.id)
      )
        this.#consider(n);
    if (this.#sorted.size === 0) return { graph: this.#graph, events: [], refusals: this.#refusals };
    for (const n of this.#graph.nodes) {
      const sorted = this.#sortedOf(n);
      const seated = [...this.#sorted.values()].find((s) => s.seating?.kept === n);
      if (sorted) this.#sortOne(n, sorted);
      else if (seated) this.#seat(n, seated);
      else this.#out.push(n);
    }
    const graph = removeDead({
      ...this.#graph,
      symbols: this.#symbols,
      nodes: this.#out,
      nextId: this.#nextId,
    });
    const left = new Set(graph.nodes);
    const events = [...this.#sorted.values()].map((s) => eventOf(s, left));
    return { graph, events, refusals: this.#refusals };
  }

  #sortedOf(n: Node): Sorted | undefined {
    return n.op.name === "grouped_linear" && numberOf(n.attrs, "tile") === 1
      ? this.#sorted.get(n.inputs[3]!)
      : undefined;
  }

  #consider(n: Node): void {
    const ids = n.inputs[3]!;
    if (this.#sorted.has(ids)) return;
    const rows = this.#types.get(ids)!.shape[0]!;
    const experts = constantOf(this.#types.get(n.inputs[1]!)!.shape[0]!);
    const refuse = (reason: string): void =>
      void this.#refusals.push({ rule: "sort-by-expert", reason, node: n.results[0]!.id, spans: n.spans });
    if (experts === undefined) return refuse("the number of experts is not known while compiling");
    const typeOf = (id: ValueId): TensorType => this.#types.get(id)!;
    const producer = (id: ValueId): Node | undefined => this.#producers.get(id);
    const seating = seatingOf(ids, experts, producer, typeOf);
    const weights = weightsOfExperts(this.#graph.nodes, typeOf, ids);
    const tokens = tokensOfRows({ producer, type: typeOf }, n.inputs[0]!);
    const layer = {
      ...{ rows, experts, ...weights },
      ...(tokens && { k: tokens.k }),
      ...(seating && { capacity: seating.capacity }),
    };
    const ways: ExpertWay[] = seating ? ["gather", "sort", "capacity"] : ["gather", "sort"];
    const { way, tile, why } = chooseWay(layer, this.#context, ways);
    if (way === "gather") return refuse(why);
    this.#sorted.set(ids, {
      ids,
      rows,
      experts,
      tile,
      why,
      first: n,
      ...(seating && way === "capacity" && { seating }),
      twins: new Map(),
      foreign: new Set(),
      before: [],
      after: [],
    });
  }

  // ---- nodes ------------------------------------------------------------------------------------------------------

  #add(
    s: Sorted,
    like: Node,
    op: OpDefinition,
    inputs: readonly ValueId[],
    attrs: Attrs,
    ids?: readonly ValueId[],
  ): Node {
    const full = withDefaults(op, attrs);
    const inferred = inferTypes(
      op,
      inputs.map((x) => (x === "" ? undefined : this.#types.get(x))),
      full,
    );
    if ("failure" in inferred) throw new Bug(`${op.name} on sorted rows: ${inferred.failure.label}`);
    const results = inferred.types.map((type, i) => ({ id: ids?.[i] ?? `%${this.#nextId++}`, type }));
    for (const r of results) this.#types.set(r.id, r.type);
    const node: Node = { ...like, op, inputs, attrs: full, results, annotations: [] };
    this.#out.push(node);
    s.after.push(node);
    return node;
  }

  #op(name: string): OpDefinition {
    const op = this.#lookup(name);
    if (!op) throw new Bug(`no op called ${name}`);
    return op;
  }

  #planOf(s: Sorted): NonNullable<Sorted["plan"]> {
    if (s.plan) return s.plan;
    if (s.seating) return (s.plan = this.#fixedPlan(s, s.seating));
    const name = freeSymbol("rows", (x) => this.#symbols.some((known) => known.name === x));
    const attrs = withDefaults(this.#op("expert_plan"), {
      ...{ experts: s.experts, tile: s.tile, rows: dim(name) },
    });
    this.#symbols.push({ kind: "bounded", name, bound: atMost(rowBound(s.rows, attrs), this.#symbols) });
    const [slots, tiles, places] = this.#add(s, s.first, this.#op("expert_plan"), [s.ids], attrs).results;
    return (s.plan = { slots: slots!.id, tiles: tiles!.id, places: places!.id });
  }

  /** Every expert has the rows of its seats, taken or not: where a slot goes is its expert and its seat, and nothing is bounded. */
  #fixedPlan(s: Sorted, { choices, k, capacity }: Seating): NonNullable<Sorted["plan"]> {
    const op = this.#op("expert_plan");
    const ids = this.#add(s, s.first, this.#op("reshape"), [choices], { dims: [s.rows] });
    const seated = { experts: s.experts, tile: s.tile, capacity, k };
    const rows = rowBound(s.rows, seated);
    const plan = this.#add(s, s.first, op, [ids.results[0]!.id], { ...seated, rows });
    const [slots, tiles, places] = plan.results;
    return { slots: slots!.id, tiles: tiles!.id, places: places!.id };
  }

  /** A choice that has a row has a seat. */
  #seat(kept: Node, s: Sorted): void {
    const { places } = this.#planOf(s);
    const shape = kept.results[0]!.type.shape;
    const rows = constantOf(this.#types.get(s.plan!.slots)!.shape[0]!)!;
    const end = this.#add(s, kept, this.#op("constant"), [], { value: rows, dtype: "u32" });
    const own = this.#add(s, kept, this.#op("reshape"), [places], { dims: shape });
    s.before.push(kept);
    this.#add(s, kept, kept.op, [own.results[0]!.id, end.results[0]!.id], kept.attrs, [kept.results[0]!.id]);
  }

  #sortOne(n: Node, s: Sorted): void {
    const { tiles, places } = this.#planOf(s);
    const [x, weight, bias] = n.inputs as readonly [ValueId, ValueId, ValueId];
    const inputs = [this.#twin(x, s), weight, bias, tiles];
    const product = this.#add(s, n, n.op, inputs, { tile: s.tile });
    s.twins.set(n.results[0]!.id, product.results[0]!.id);
    s.before.push(n);
    this.#add(s, n, this.#op("take_rows"), [product.results[0]!.id, places], {}, [n.results[0]!.id]);
  }

  /** The value on sorted rows: computed there where it comes from products of these experts, else its rows taken in that order. */
  #twin(id: ValueId, s: Sorted): ValueId {
    const known = s.twins.get(id);
    if (known !== undefined) return known;
    const producer = this.#producers.get(id);
    const lifted = producer && this.#comesFrom(producer, s) ? this.#lift(producer, s) : undefined;
    const made = lifted ?? this.#add(s, producer ?? s.first, this.#op("take_rows"), [id, s.plan!.slots], {});
    s.twins.set(id, made.results[0]!.id);
    return made.results[0]!.id;
  }

  #lift(n: Node, s: Sorted): Node {
    s.before.push(n);
    const types = n.inputs.map((x) => (x === "" ? undefined : this.#types.get(x)));
    const relations = axisRelations(n.op, types, n.attrs);
    const inputs = n.inputs.map((x, i) =>
      relations[i]?.[0]?.kind === "same" && isByRow(types[i], s.rows) ? this.#twin(x, s) : x,
    );
    return this.#add(s, n, n.op, inputs, n.attrs);
  }

  /** Is it made row by row of products of these experts? */
  #comesFrom(n: Node, s: Sorted): boolean {
    const id = n.results[0]!.id;
    if (s.foreign.has(id)) return false;
    if (this.#treatsRowsAlone(n, s.rows) && this.#readsProducts(n, s)) return true;
    s.foreign.add(id);
    return false;
  }

  #readsProducts(n: Node, s: Sorted): boolean {
    return n.inputs.some((x) => {
      if (s.twins.has(x)) return true;
      const producer = this.#producers.get(x);
      return producer !== undefined && isByRow(this.#types.get(x), s.rows) && this.#comesFrom(producer, s);
    });
  }

  /** Does each row of the result depend on the same row of its inputs alone, and does no attribute say how many rows there are? */
  #treatsRowsAlone(n: Node, rows: Dim): boolean {
    if (n.results.length !== 1 || !isByRow(n.results[0]!.type, rows) || n.op.traits.includes("movement"))
      return false;
    if (n.op.traits.includes("contraction")) return false;
    const types = n.inputs.map((x) => (x === "" ? undefined : this.#types.get(x)));
    return axisRelations(n.op, types, n.attrs).every((relations, i) =>
      relations.every((r, axis) => {
        if (axis === 0 && isByRow(types[i], rows)) return r.kind === "same" && r.axis === 0;
        return r.kind === "reduced" || ("axis" in r && r.axis !== 0);
      }),
    );
  }
}

function isByRow(type: TensorType | undefined, rows: Dim): boolean {
  return type !== undefined && type.shape.length > 0 && sameDim(type.shape[0]!, rows);
}

function eventOf(s: Sorted, left: ReadonlySet<Node>): RewriteEvent {
  const after = s.after.filter((n) => left.has(n));
  return {
    rule: s.seating ? "seat-by-expert" : "sort-by-expert",
    before: s.before.map(printNode),
    after: after.map(printNode),
    removed: s.before.flatMap((n) => n.results.map((r) => r.id)),
    added: after.flatMap((n) => n.results.map((r) => r.id)),
    why: s.why,
    spans: s.first.spans,
  };
}
