// Where only some positions of a value can matter (a class token, the last token, every second row), only those are computed. Which
// they are is found from the outputs backwards (ir/liveness.ts); here the graph is made again with just these boxes, in one sweep.
// How axes relate is on the op's record, so this holds for any op whose result at a position needs that position of its inputs alone.

import { constantOf, dim, sameDim, showDim, subDim, type Dim } from "../ir/dim.ts";
import { GraphBuilder, preparedValues, typesOf } from "../ir/graph.ts";
import type { AttrValue, Attrs, Graph, Node, Value, ValueId } from "../ir/graph.ts";
import {
  liveBoxes,
  isAssembled,
  narrows,
  neededOf,
  shapeAttr,
  tiesOf,
  type Liveness,
  type Stop,
  type Tie,
} from "../ir/liveness.ts";
import {
  boxKey,
  countOf,
  endOf,
  holds,
  isPicked,
  isWhole,
  relativeTo,
  sameBox,
  wholeBox,
  type Box,
  type Range,
} from "../ir/positions.ts";
import { inputName } from "../ir/op.ts";
import { nextIdAfter, printNode } from "../ir/print.ts";
import { externalReads } from "../ir/rewrite-graph.ts";
import type { Refusal, RewriteEvent, RuleDoc } from "../ir/rewrite-types.ts";
import { removeDead, renameUses } from "../ir/rewrite.ts";
import type { TensorType } from "../ir/types.ts";
import { Bug } from "../support/bug.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

const livePositions: RuleDoc = {
  name: "live-positions",
  equation:
    "f(x)[live] = f(x[live])   if f is row-wise along the axis; what no output depends on is not computed",
  doc: "Linear layers, elementwise ops and norms over channels are row-wise along the tokens, and attention along its queries; keys, values and pooling are not. Where one part of a fused projection is wanted of fewer tokens than another, each is computed by itself.",
};
const rule = livePositions.name;

function run(graph: Graph, c: PassContext): PassResult {
  const types = typesOf(graph);
  const live = removeDead(graph).nodes;
  const liveness = live.some((n) => narrows(tiesOf(n, types))) ? liveBoxes(graph) : undefined;
  const stops = [...(liveness?.stops ?? []), ...live.flatMap((n) => readerOfAll(n, types) ?? [])];
  const refusals = stops.map(({ node, reason }): Refusal => {
    return { rule, reason, node: node.results[0]!.id, spans: node.spans };
  });
  const shrinks =
    liveness &&
    graph.nodes.some((n) => n.results.some((r) => liveness.boxes.get(r.id)?.some((box) => !isWhole(box))));
  if (!shrinks) return { graph, events: [], refusals };
  const { graph: smaller, events } = new Shrinker(graph, liveness, c).run();
  return { graph: smaller, events, refusals };
}

/** Where an axis ends because all of its positions go into the result: why none of those in front is dropped. */
function readerOfAll(node: Node, types: ReadonlyMap<ValueId, TensorType>): Stop | undefined {
  const { shape } = node.results[0]!.type;
  const ended = tiesOf(node, types).find(
    ({ relation, size }) =>
      relation.kind === "reduced" && constantOf(size) === undefined && !shape.some((d) => sameDim(d, size)),
  );
  if (!ended) return undefined;
  const name = inputName(node.op, ended.input);
  return { node, reason: `${node.op.name} reads all ${showDim(ended.size)} positions of ${name}` };
}

interface Made {
  readonly box: Box;
  readonly id: ValueId;
}

/** Makes the graph again, node by node, each value in the boxes that are wanted of it. */
class Shrinker {
  readonly #graph: Graph;
  readonly #liveness: Liveness;
  readonly #types;
  readonly #prepared;
  readonly #builder: GraphBuilder;
  /** Per value of the graph as it was: the boxes of it that there are. */
  readonly #made = new Map<ValueId, Made[]>();
  readonly #events: RewriteEvent[] = [];
  /** A value made new -> the id of what it stands for: a slice that is no longer needed leaves its name to what it was of. */
  readonly #heirs = new Map<ValueId, ValueId>();

  constructor(graph: Graph, liveness: Liveness, c: PassContext) {
    this.#graph = graph;
    this.#liveness = liveness;
    this.#types = typesOf(graph);
    this.#prepared = preparedValues(graph);
    this.#builder = new GraphBuilder(graph.name, c.lookup, graph.nextId);
    for (const x of [...graph.inputs, ...graph.weights, ...graph.states]) {
      this.#builder.declare(x.id, x.type);
      this.#made.set(x.id, [{ box: wholeBox(x.type.shape.length), id: x.id }]);
    }
  }

  run(): { readonly graph: Graph; readonly events: readonly RewriteEvent[] } {
    for (const node of this.#inOrder()) {
      const boxes = this.#liveness.boxes.get(node.results[0]!.id) ?? [];
      if (node.results.length > 1 || node.body || this.#prepared.has(node.results[0]!.id)) {
        if (node.results.some((r) => this.#liveness.boxes.has(r.id))) this.#copy(node);
      } else for (const box of boxes) this.#make(node, box);
    }
    const renamed = new Map<ValueId, ValueId>();
    for (const id of new Set(externalReads(this.#graph))) {
      const now = this.#read(id, wholeBox(this.#types.get(id)!.shape.length), undefined);
      if (now !== id) renamed.set(id, now);
    }
    const made = this.#withHeirs(renameUses({ ...this.#graph, nodes: this.#builder.nodes }, renamed));
    const nextId = Math.max(this.#graph.nextId, nextIdAfter(made));
    return { graph: { ...made, nextId }, events: this.#events };
  }

  /** The nodes, with those that say which positions are wanted in front of those that are wanted of them. */
  #inOrder(): readonly Node[] {
    const needed = new Set<ValueId>();
    for (const boxes of this.#liveness.boxes.values())
      for (const p of boxes.flat()) if (isPicked(p)) needed.add(p.by);
    if (needed.size === 0) return this.#graph.nodes;
    const first = new Set<Node>();
    for (const node of [...this.#graph.nodes].reverse()) {
      if (!node.results.some((r) => needed.has(r.id))) continue;
      first.add(node);
      for (const x of node.inputs) needed.add(x);
    }
    return [...this.#graph.nodes].sort((a, b) => Number(first.has(b)) - Number(first.has(a)));
  }

  /** The node as it is, of inputs that are whole. */
  #copy(node: Node): void {
    const inputs = node.inputs.map((x) => (x === "" ? x : this.#read(x, this.#wholeOf(x), node)));
    this.#add(node, inputs, node.attrs, node.results);
  }

  #add(node: Node, inputs: readonly ValueId[], attrs: Attrs, results: readonly Value[]): Node {
    const { spans, scope, annotations, body } = node;
    const ids = results.map((r) => r.id);
    const types = results.map((r) => r.type);
    const options = { spans, scope, annotations, ids, types, ...(body && { body }) };
    const made = this.#builder.add(node.op, inputs, attrs, options);
    for (const r of results)
      if (this.#types.has(r.id)) this.#remember(r.id, { box: this.#wholeOf(r.id), id: r.id });
    return made;
  }

  #isWhole(id: ValueId): boolean {
    return this.#made.get(id)?.some((m) => isWhole(m.box)) === true;
  }

  #wholeOf(id: ValueId): Box {
    return wholeBox(this.#types.get(id)!.shape.length);
  }

  #remember(id: ValueId, made: Made): void {
    this.#made.set(id, [...(this.#made.get(id) ?? []), made]);
  }

  #make(node: Node, box: Box): void {
    const [result] = node.results as readonly [Value];
    const ties = tiesOf(node, this.#types);
    const whole = isWhole(box);
    if (whole && node.inputs.every((x) => x === "" || this.#isWhole(x))) return this.#copy(node);
    if (isAssembled(node, ties, box)) {
      const id = this.#assemble(node, ties, box);
      this.#remember(result.id, { box, id });
      if (whole && !this.#types.has(id) && !this.#heirs.has(id)) this.#heirs.set(id, result.id);
      return;
    }
    const needs = node.inputs.map((x, i) => {
      if (x === "") return undefined;
      // A layer with a stride skips positions by itself where they are all there.
      if (whole && this.#isWhole(x)) return this.#wholeOf(x);
      return neededOf(ties, i, box, result.type.shape, node.inputs)!;
    });
    const inputs = node.inputs.map((x, i) => (x === "" ? x : this.#read(x, needs[i]!, node)));
    const attrs = attrsFor(node, ties, box, needs);
    const shape = result.type.shape.map((d, i) => countOf(box[i]!, d));
    const id = whole ? result.id : this.#builder.freshId();
    const made = this.#add(node, inputs, attrs, [{ id, type: { ...result.type, shape } }]);
    if (!whole) this.#remember(result.id, { box, id });
    if (!whole || attrs !== node.attrs) this.#log(node, made);
  }

  #log(node: Node, made: Node): void {
    const { id } = node.results[0]!;
    const gone = this.#liveness.boxes.get(id)!.every((b) => !isWhole(b));
    this.#events.push({
      rule,
      before: [printNode(node)],
      after: [printNode(made)],
      removed: gone ? [id] : [],
      added: made.results.map((r) => r.id).filter((r) => r !== id),
      spans: node.spans,
    });
  }

  /** What a slice, or another node that only puts parts together, comes to where the parts are there. */
  #assemble(node: Node, ties: readonly Tie[], box: Box): ValueId {
    const { shape } = node.results[0]!.type;
    const picks = ties.some((t) => t.relation.kind === "picked");
    const pieces = (picks ? node.inputs.slice(0, 1) : node.inputs).flatMap((x, i): ValueId[] => {
      const needed = neededOf(ties, i, box, shape, node.inputs);
      return needed ? [this.#read(x, needed, node)] : [];
    });
    const { spans, scope, op, attrs } = node;
    return pieces.length === 1 ? pieces[0]! : this.#builder.call(op.name, pieces, attrs, { spans, scope });
  }

  /** A value at a box: cut out of what there is of it. */
  #read(id: ValueId, needed: Box, reader: Node | undefined): ValueId {
    const { shape } = this.#types.get(id)!;
    const made = this.#made.get(id) ?? [];
    const holder = made.find((m) => sameBox(m.box, needed)) ?? made.find((m) => holds(m.box, needed, shape));
    if (!holder) throw new Bug(`${id} is not made at [${boxKey(needed)}]`, { graph: this.#graph.name });
    if (sameBox(holder.box, needed)) return holder.id;
    const options = { spans: reader?.spans ?? [], scope: reader?.scope ?? "" };
    let at = holder.id;
    for (const [axis, p] of needed.entries()) {
      const cut = relativeTo(holder.box[axis]!, p, shape[axis]!)!;
      if (cut === "all") continue;
      if (isPicked(cut)) {
        const dims = shape.map((_, i) => (i === 0 ? cut.batch : i === axis ? cut.count : dim(1)));
        const by = this.#read(cut.by, this.#wholeOf(cut.by), reader);
        const index = this.#builder.call("reshape", [by], { dims }, options);
        at = this.#builder.call("take_along_axis", [at, index], { axis }, options);
        continue;
      }
      const size = countOf(holder.box[axis]!, shape[axis]!);
      at = this.#builder.call("slice", [at], { axis, ...cutOf(cut, size), step: cut.step }, options);
    }
    this.#remember(id, { box: needed, id: at });
    return at;
  }

  /** The graph with the ids of slices on the values that took their places. */
  #withHeirs(graph: Graph): Graph {
    if (this.#heirs.size === 0) return graph;
    const now = (id: ValueId) => this.#heirs.get(id) ?? id;
    const nodes = graph.nodes.map((n) => ({
      ...n,
      inputs: n.inputs.map(now),
      results: n.results.map((r) => ({ ...r, id: now(r.id) })),
    }));
    return { ...renameUses(graph, this.#heirs), nodes };
  }
}

/** Start and end of a slice, counted from the end of the axis where that is shorter. */
function cutOf(range: Range, size: Dim): Attrs {
  const behind = subDim(range.start, size);
  const start =
    constantOf(range.start) === undefined && constantOf(behind) !== undefined ? behind : range.start;
  return sameDim(endOf(range), size) ? { start } : { start, end: endOf(range) };
}

/** Attributes that say sizes of the result, or where windows stand, for a part of it. */
function attrsFor(node: Node, ties: readonly Tie[], box: Box, needs: readonly (Box | undefined)[]): Attrs {
  const { shape } = node.results[0]!.type;
  const changed = new Map<string, AttrValue>();
  const sized = shapeAttr(node);
  if (sized !== undefined && !isWhole(box))
    changed.set(sized, shape.map((d, i) => countOf(box[i]!, d))); // prettier-ignore
  for (const { relation: r, input, axis } of ties) {
    if (r.kind !== "window" || (box[r.axis] === "all" && needs[input]?.[axis] === "all")) continue;
    // Windows run along the last axes, and their attributes are lists along these.
    const put = (name: string, value: number) => {
      const values = changed.get(name) ?? node.attrs[name];
      if (typeof values === "number") changed.set(name, value);
      if (Array.isArray(values))
        changed.set(name, (values as AttrValue[]).with(r.axis - shape.length + values.length, value));
    };
    put("pad", 0);
    if (r.size === 1) put("stride", 1);
  }
  return changed.size === 0 ? node.attrs : { ...node.attrs, ...Object.fromEntries(changed) };
}

export const deadTokens: Pass = {
  name: "dead-tokens",
  doc: "Compute only the positions that can matter: of a class token, of the last token, of one projection out of three.",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  run,
  changes: [livePositions],
};
