// Forms kernels: every node that runs on the device goes into a group, and one group is one dispatch.
//
//   contraction  a matrix product or convolution, elementwise work on its operands, and all elementwise work behind it
//   reduction    reductions over the same axes of one shape (LayerNorm's two, softmax's two), with the elementwise work between and around
//   program      an op that writes its own kernels, what it says may be computed in place before it, and elementwise work behind it
//   element      anything else: chains of elementwise nodes, windows and movements
//
// Invariant: merging never makes a cycle. A producer is absorbed only if all its readers are in one group; a consumer only if none of
// its other inputs depends on the group.

import { constantOf, productDim, symbolsOf } from "../ir/dim.ts";
import {
  preparedValues,
  unionSpans,
  unpacks,
  type Graph,
  type Node,
  type Region,
  type Value,
  type ValueId,
} from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import type { Refusal, RewriteEvent } from "../ir/rewrite-types.ts";
import { sameShape, sameType, type TensorType } from "../ir/types.ts";
import { Bug } from "../support/bug.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

export const formGroups: Pass = {
  name: "form-groups",
  doc: "Put what can share a dispatch into one group.",
  level: 0,
  numerics: "exact",
  needs: ["primitive"],
  gives: ["grouped"],
  run: (graph, c) => new Grouper(graph, c).run(),
};

type Kind = "contraction" | "reduction" | "program" | "element";

interface Group {
  readonly kind: Kind;
  readonly members: Set<number>;
}

/** Rows longer than this are too much work for one workgroup to also write: statistics only. */
const LONG_ROW = 8192;

/** Worth computing again for every tile of columns that reads it. */
const cheap: ReadonlySet<string> = new Set(["add", "sub", "mul", "neg", "relu", "square", "cast", "copy"]);

/** Movements that leave neighbours neighbours: reading through one is as good as reading a copy. */
const inOrder: ReadonlySet<string> = new Set(["reshape", "slice", "squeeze", "unsqueeze"]);

/** Products that can share what they read of their rows: everything but the weights is the same. */
const shareRows: ReadonlySet<string> = new Set(["linear", "grouped_linear"]);

function isSibling(a: Node, b: Node, types: ReadonlyMap<ValueId, TensorType>): boolean {
  const [weightA, weightB] = [types.get(a.inputs[1]!), types.get(b.inputs[1]!)];
  return (
    a !== b &&
    shareRows.has(a.op.name) &&
    a.op === b.op &&
    Object.entries(a.attrs).every(([name, value]) => b.attrs[name] === value) &&
    a.inputs[0] === b.inputs[0] &&
    a.inputs[3] === b.inputs[3] &&
    sameType(a.results[0]!.type, b.results[0]!.type) &&
    sameType(weightA!, weightB!)
  );
}

class Grouper {
  readonly #graph: Graph;
  readonly #limit: number;
  readonly #lookup: PassContext["lookup"];
  readonly #nodes: Node[];
  readonly #prepared: ReadonlySet<ValueId>;
  readonly #scopes: ReadonlySet<string>;
  readonly #bounded: ReadonlySet<string>;
  readonly #types = new Map<ValueId, TensorType>();
  readonly #producer = new Map<ValueId, number>();
  readonly #readers = new Map<ValueId, number[]>();
  readonly #kept = new Set<ValueId>();
  readonly #groupOf = new Map<number, Group>();
  readonly #events: RewriteEvent[] = [];
  readonly #refusals: Refusal[] = [];
  #nextId: number;

  constructor(graph: Graph, c: PassContext) {
    this.#graph = graph;
    this.#limit = c.target.limits.maxStorageBuffersPerShaderStage;
    this.#lookup = c.lookup;
    this.#nodes = [...graph.nodes];
    this.#prepared = preparedValues(graph);
    this.#scopes = new Set(graph.scopes.map((s) => s.path));
    this.#bounded = new Set(graph.symbols.flatMap((s) => (s.kind === "bounded" ? [s.name] : [])));
    this.#nextId = graph.nextId;
    for (const x of [...graph.inputs, ...graph.weights, ...graph.states]) this.#types.set(x.id, x.type);
    this.#nodes.forEach((_, i) => this.#index(i));
    for (const o of graph.outputs) this.#kept.add(o.value);
    for (const s of graph.states) this.#kept.add(s.next);
    for (const g of graph.guards) this.#kept.add(g.condition);
  }

  #index(i: number): void {
    const n = this.#nodes[i]!;
    for (const r of n.results) {
      this.#types.set(r.id, r.type);
      this.#producer.set(r.id, i);
    }
    for (const x of new Set(n.inputs)) {
      const list = this.#readers.get(x);
      if (list) list.push(i);
      else this.#readers.set(x, [i]);
    }
  }

  #runs(i: number): boolean {
    return !this.#nodes[i]!.results.every((r) => this.#prepared.has(r.id));
  }

  run(): PassResult {
    const count = this.#nodes.length;
    for (let i = 0; i < count; i++) if (this.#runs(i) && !this.#groupOf.has(i)) this.#seed(i);
    for (let i = 0; i < count; i++)
      if (this.#runs(i) && this.#nodes[i]!.op.lowering.kind === "reduce" && !this.#groupOf.has(i))
        this.#growReduction(i);
    for (const i of this.#ordered(new Set(this.#nodes.keys())).reverse())
      if (this.#runs(i) && !this.#groupOf.has(i)) this.#absorb(i);
    const graph = this.#build();
    return { graph, events: this.#events, refusals: this.#refusals };
  }

  // ---- growing ----------------------------------------------------------------------------------------------------

  #shape(id: ValueId): TensorType {
    return this.#types.get(id)!;
  }

  #isElementwise(n: Node): boolean {
    return n.op.lowering.kind === "element" && n.op.traits.includes("elementwise");
  }

  /** The only reader of a value that nothing else keeps. */
  #soleReader(id: ValueId): number | undefined {
    const readers = this.#readers.get(id) ?? [];
    return readers.length === 1 && !this.#kept.has(id) ? readers[0] : undefined;
  }

  /** Storage buffers a group would bind, with one more node in it. */
  #bindings(members: ReadonlySet<number>): number {
    const bound = new Set<ValueId>();
    for (const i of members) {
      for (const x of this.#nodes[i]!.inputs)
        if (x !== "" && !members.has(this.#producer.get(x) ?? -1) && !this.#literal(x))
          for (const y of this.#packed(x)) bound.add(y);
      for (const r of this.#nodes[i]!.results) if (this.#leaves(r.id, members)) bound.add(r.id);
    }
    // Sizes that a kernel sets are read from a buffer of their own.
    return bound.size + Number([...bound].some((id) => this.#isLive(id)));
  }

  /** What stands in memory for a value: of one that is unpacked where it is read, what it is unpacked from. */
  #packed(id: ValueId): readonly ValueId[] {
    const n = this.#nodes[this.#producer.get(id) ?? -1];
    return n && unpacks(n) ? n.inputs.flatMap((x) => this.#packed(x)) : [id];
  }

  #isLive(id: ValueId): boolean {
    if (this.#bounded.size === 0) return false;
    const shape = this.#types.get(id)?.shape ?? [];
    return shape.some((d) => [...symbolsOf(d)].some((s) => this.#bounded.has(s)));
  }

  /** A constant of the program: written into every kernel that uses it. */
  #literal(id: ValueId): Node | undefined {
    const n = this.#nodes[this.#producer.get(id) ?? -1];
    return n && n.inputs.length === 0 && n.op.lowering.kind === "element" ? n : undefined;
  }

  #leaves(id: ValueId, members: ReadonlySet<number>): boolean {
    return this.#kept.has(id) || (this.#readers.get(id) ?? []).some((i) => !members.has(i));
  }

  #fits(group: Group, add: number, at: number): boolean {
    const n = this.#bindings(new Set([...group.members, add]));
    if (n <= this.#limit) return true;
    this.#refuse(at, `the kernel would bind ${n} buffers, the target allows ${this.#limit}`);
    return false;
  }

  #refuse(i: number, reason: string): void {
    const n = this.#nodes[i]!;
    this.#refusals.push({ rule: "form-groups", reason, node: n.results[0]!.id, spans: n.spans });
  }

  /** Ops with loops of their own begin a group. */
  #seed(i: number): void {
    const { lowering } = this.#nodes[i]!.op;
    if (lowering.kind === "contraction") this.#growEpilogue(i, "contraction");
    else if (lowering.kind === "program" && lowering.epilogue) this.#growEpilogue(i, "program");
    else if (lowering.kind === "program") this.#groupOf.set(i, { kind: "program", members: new Set([i]) });
  }

  #growEpilogue(start: number, kind: Kind): void {
    const group: Group = { kind, members: new Set([start]) };
    this.#groupOf.set(start, group);
    let last = start;
    for (;;) {
      const value = this.#nodes[last]!.results[0]!;
      const next = this.#soleReader(value.id);
      if (next === undefined) this.#refuseShared(last);
      if (next === undefined || this.#groupOf.has(next)) break;
      const n = this.#nodes[next]!;
      if (!this.#isElementwise(n) || !sameShape(n.results[0]!.type.shape, value.type.shape)) break;
      if (!this.#fits(group, next, next)) break;
      if (kind === "contraction") this.#absorbSibling(start, next, group);
      group.members.add(next);
      this.#groupOf.set(next, group);
      last = next;
    }
    if (this.#isLeftToReaders(last, group.members)) {
      group.members.delete(last);
      this.#groupOf.delete(last);
    }
  }

  /** What is stored is the f16, where nothing in the group reads it in f32: readers outside widen it. */
  #isLeftToReaders(i: number, members: ReadonlySet<number>): boolean {
    if (!this.#widens(i)) return false;
    const { id } = this.#nodes[i]!.results[0]!;
    return !this.#kept.has(id) && !(this.#readers.get(id) ?? []).some((r) => members.has(r));
  }

  /** From f16 as it is stored to f32 as kernels compute: what every load of f16 does, so it is free where it is read. */
  #widens(i: number): boolean {
    const n = this.#nodes[i]!;
    return (
      n.op.name === "cast" &&
      n.results[0]!.type.dtype === "f32" &&
      this.#types.get(n.inputs[0]!)!.dtype === "f16"
    );
  }

  /**
   * Another product of the same rows that `reader` combines with what is in the group (a gate, and what it gates), with the elementwise
   * work between: both are computed by one kernel, which reads the rows once.
   */
  #absorbSibling(start: number, reader: number, group: Group): void {
    for (const x of this.#nodes[reader]!.inputs) {
      const chain = this.#chainTo(x, reader, start, group);
      if (!chain || this.#bindings(new Set([...group.members, ...chain, reader])) > this.#limit) continue;
      for (const i of chain) {
        group.members.add(i);
        this.#groupOf.set(i, group);
      }
      return;
    }
  }

  /** The sibling product that a value is, and elementwise nodes from it to the value that nothing else reads. */
  #chainTo(id: ValueId, reader: number, start: number, group: Group): readonly number[] | undefined {
    const chain: number[] = [];
    const { shape } = this.#nodes[start]!.results[0]!.type;
    for (let at = this.#producer.get(id), by = reader; at !== undefined;) {
      const n = this.#nodes[at]!;
      const value = n.results[0]!;
      if (group.members.has(at) || this.#groupOf.has(at) || !this.#runs(at)) return undefined;
      if (this.#soleReader(value.id) !== by || !sameShape(value.type.shape, shape)) return undefined;
      chain.push(at);
      if (isSibling(this.#nodes[start]!, n, this.#types)) return chain;
      if (!this.#isElementwise(n)) return undefined;
      if (n.inputs.slice(1).some((x) => this.#dependsOn(x, group.members, 0))) return undefined;
      [at, by] = [this.#producer.get(n.inputs[0]!), at];
    }
    return undefined;
  }

  #growReduction(start: number): void {
    const seed = this.#nodes[start]!;
    const source = seed.inputs[0]!;
    const domain = this.#shape(source);
    const axes = reducedAxes(seed, domain);
    const row = constantOf(productDim(axes.map((a) => domain.shape[a]!)));
    const long = row === undefined || row > LONG_ROW;
    const isWhole = (id: ValueId) => id !== "" && sameShape(this.#shape(id).shape, domain.shape);
    const members = new Set([start]);
    const queue = [start];
    const seen = new Set(queue);
    while (queue.length > 0) {
      const from = queue.shift()!;
      const readers = this.#nodes
        [from]!.results.flatMap((r) => this.#readers.get(r.id) ?? [])
        .sort((a, b) => a - b);
      for (const i of readers) {
        if (seen.has(i) || this.#groupOf.has(i) || !this.#runs(i)) continue;
        const n = this.#nodes[i]!;
        const sameReduction =
          n.op.lowering.kind === "reduce" &&
          sameShape(this.#shape(n.inputs[0]!).shape, domain.shape) &&
          reducedAxes(n, domain).join() === axes.join();
        const type = n.results[0]!.type;
        const elementwise =
          this.#isElementwise(n) && (sameShape(type.shape, domain.shape) || isReduced(type, domain, axes));
        if (!sameReduction && !elementwise) continue;
        // A long row is swept by many workgroups: statistics of the source alone, or each sweep would read other tensors as well.
        const foreign = (x: ValueId) =>
          isWhole(x) && x !== source && !members.has(this.#producer.get(x) ?? -1);
        if (long && n.inputs.some(foreign)) continue;
        if (n.inputs.some((x) => this.#dependsOn(x, members, start))) continue;
        if (!this.#fits({ kind: "reduction", members }, i, i)) continue;
        seen.add(i);
        members.add(i);
        queue.push(i);
      }
    }
    this.#dropWhole(members, domain, long);
    for (const i of [...members]) if (this.#isLeftToReaders(i, members)) members.delete(i);
    const group: Group = { kind: "reduction", members };
    for (const i of members) this.#groupOf.set(i, group);
  }

  /**
   * Does a value from outside the group depend on it by another way? Walks back, no further than the group's first node: what stands
   * before it cannot.
   */
  #dependsOn(id: ValueId, members: ReadonlySet<number>, first: number): boolean {
    const at = this.#producer.get(id);
    if (at === undefined || members.has(at)) return false;
    const stack = [at];
    const seen = new Set<number>(stack);
    while (stack.length > 0) {
      const i = stack.pop()!;
      if (i < first) continue;
      for (const x of this.#nodes[i]!.inputs) {
        const p = this.#producer.get(x);
        if (p === undefined || seen.has(p)) continue;
        if (members.has(p)) return true;
        seen.add(p);
        stack.push(p);
      }
    }
    return false;
  }

  /**
   * Long rows keep only what their reductions need; the elementwise work behind them runs in a kernel of its own, on all cores. A value
   * that both need (x - mean) is computed again there: it costs less than a trip through memory.
   */
  #dropWhole(members: Set<number>, domain: TensorType, long: boolean): void {
    if (!long) return;
    const needed = new Set<number>();
    const mark = (i: number): void => {
      if (needed.has(i) || !members.has(i)) return;
      needed.add(i);
      for (const x of this.#nodes[i]!.inputs) {
        const p = this.#producer.get(x);
        if (p !== undefined) mark(p);
      }
    };
    for (const i of members)
      if (
        this.#nodes[i]!.op.lowering.kind === "reduce" ||
        !sameShape(this.#nodes[i]!.results[0]!.type.shape, domain.shape)
      )
        mark(i);
    for (const i of [...members]) if (!needed.has(i)) members.delete(i);
    for (const i of [...members].sort((a, b) => b - a)) {
      const n = this.#nodes[i]!;
      const value = n.results[0]!;
      if (!this.#isElementwise(n) || !sameShape(value.type.shape, domain.shape)) continue;
      const outside = (this.#readers.get(value.id) ?? []).filter((r) => !members.has(r));
      if (outside.length > 0 && !this.#kept.has(value.id)) this.#recompute(n, value, outside);
    }
  }

  /** A copy of the node for its readers outside. */
  #recompute(n: Node, value: Value, outside: readonly number[]): void {
    const twin: Value = { id: `%${this.#nextId++}`, type: value.type };
    this.#nodes.push({ ...n, results: [twin] });
    for (const r of outside) {
      const reader = this.#nodes[r]!;
      this.#nodes[r] = { ...reader, inputs: reader.inputs.map((x) => (x === value.id ? twin.id : x)) };
    }
    this.#readers.set(
      value.id,
      (this.#readers.get(value.id) ?? []).filter((r) => !outside.includes(r)),
    );
    this.#index(this.#nodes.length - 1);
    this.#readers.set(twin.id, [...outside]);
  }

  /** An element node joins the one group that reads it, or starts its own. */
  #absorb(i: number): void {
    const n = this.#nodes[i]!;
    if (n.op.lowering.kind !== "element")
      throw new Bug(`${n.op.name} has no lowering that a kernel could be made of`);
    const readers = this.#readersByGroup(n);
    if (readers.size > 1 && this.#spread(i, readers)) return;
    const [group] = readers.keys();
    if (!group || readers.size !== 1) this.#refuseShared(i);
    else {
      const obstacle = this.#obstacle(i, group, readers.get(group)!);
      if (obstacle !== undefined) this.#refuse(i, obstacle);
      else if (this.#fits(group, i, i)) return this.#join(i, group);
    }
    this.#groupOf.set(i, { kind: "element", members: new Set([i]) });
  }

  #join(i: number, group: Group): void {
    group.members.add(i);
    this.#groupOf.set(i, group);
  }

  /**
   * Each of several kernels that read a part of what is in memory anyway takes it out by itself: a copy would be read as often, and be
   * written before. Not where elements change their order: a copy is read in rows. Each widens f16 by itself, too.
   */
  #spread(i: number, readers: ReadonlyMap<Group, readonly number[]>): boolean {
    const n = this.#nodes[i]!;
    const partly = inOrder.has(n.op.name) && this.#isInMemory(n.inputs[0]!);
    if (!unpacks(n) && !this.#widens(i) && !partly) return false;
    for (const [group, own] of readers)
      if (this.#obstacle(i, group, own) !== undefined) return false;
      else if (this.#bindings(new Set([...group.members, i])) > this.#limit) return false;
    const [first, ...others] = readers;
    for (const [group, own] of others) {
      this.#recompute(n, n.results[0]!, own);
      this.#join(this.#nodes.length - 1, group);
    }
    this.#join(i, first![0]);
    return true;
  }

  /** Is it written whoever reads it, or is it a part of what is? */
  #isInMemory(id: ValueId): boolean {
    for (let at = this.#producer.get(id); at !== undefined;) {
      const n = this.#nodes[at]!;
      if (this.#groupOf.has(at) || !this.#runs(at)) return true;
      if (!inOrder.has(n.op.name)) return false;
      at = this.#producer.get(n.inputs[0]!);
    }
    return true;
  }

  /** A value that several kernels read is written once. Outputs are written anyway. */
  #refuseShared(i: number): void {
    const readers = this.#nodes[i]!.results.flatMap((r) => this.#readers.get(r.id) ?? []);
    if (readers.length > 1 && !this.#nodes[i]!.results.some((r) => this.#kept.has(r.id)))
      this.#refuse(i, `its result is written to memory, because ${readers.length} nodes read it`);
  }

  /** The groups that read what the node makes, with the readers in each; none where something else keeps it, or reads it. */
  #readersByGroup(n: Node): ReadonlyMap<Group, readonly number[]> {
    const found = new Map<Group, number[]>();
    if (n.results.some((r) => this.#kept.has(r.id))) return found;
    for (const r of new Set(n.results.flatMap((x) => this.#readers.get(x.id) ?? []))) {
      const group = this.#groupOf.get(r);
      if (!group) return new Map();
      found.set(group, [...(found.get(group) ?? []), r]);
    }
    return found;
  }

  /** Why a node is not computed in place inside the group that reads it; undefined where it is. */
  #obstacle(i: number, group: Group, direct: readonly number[]): string | undefined {
    const n = this.#nodes[i]!;
    const movement = moves(n) || this.#widens(i);
    const { ids, readers } = this.#throughWidening(n, direct);
    for (const r of readers) {
      const reader = this.#nodes[r]!;
      const kind = reader.op.lowering.kind;
      const elementwise = this.#isElementwise(n);
      if (kind === "contraction") {
        if (!movement && !unpacks(n) && !(elementwise && cheap.has(n.op.name)))
          return `${reader.op.name} reads it once for every tile of columns, and ${n.op.name} is not cheap to repeat`;
      } else if (kind === "program") {
        const op = reader.op;
        if (op.lowering.kind !== "program") throw new Bug("a program is no longer one");
        const inPlace = [...(op.lowering.inPlace ?? []), ...(movement ? (op.lowering.moved ?? []) : [])];
        const slots = reader.inputs.flatMap((x, at) => (ids.has(x) ? [op.inputs[at]!.name] : []));
        const other = slots.find((slot) => !inPlace.includes(slot));
        if (other !== undefined)
          return `${op.name} reads its ${other} from memory, many times or out of order`;
        if (!movement && !elementwise)
          return `${n.op.name} would be computed again for every read of ${op.name}`;
      } else if (kind === "reduce") {
        if (!movement && !elementwise) return `${reader.op.name} would compute it again in every sweep`;
      } else if (!movement && !this.#isElementwise(reader) && !reader.op.traits.includes("movement"))
        return `${reader.op.name} is a window, which reads each element many times`;
    }
    if (group.kind === "element" || movement || unpacks(n) || this.#isElementwise(n)) return undefined;
    return group.kind === "reduction"
      ? "a reduction sweeps its row more than once"
      : `${n.op.name} reads many elements, and the product's epilogue is to stay short`;
  }

  /** Who reads a value in the end, where some of its readers only widen it, and the ids under which they read it. */
  #throughWidening(
    n: Node,
    direct: readonly number[],
  ): { readonly ids: ReadonlySet<ValueId>; readonly readers: readonly number[] } {
    const ids = new Set([n.results[0]!.id]);
    const readers = direct.flatMap((r) => {
      if (!this.#widens(r)) return [r];
      const wide = this.#nodes[r]!.results[0]!.id;
      ids.add(wide);
      return this.#readers.get(wide) ?? [];
    });
    return { ids, readers };
  }

  // ---- the new graph ----------------------------------------------------------------------------------------------

  #build(): Graph {
    const out: Node[] = [];
    const unit = (i: number): Group | number => this.#groupOf.get(i) ?? i;
    // Post-order over units, by an explicit stack: graphs are deep.
    const stack: { unit: Group | number; inputs: number[] }[] = [];
    // Units that are on the stack or made.
    const met = new Set<Group | number>();
    const push = (i: number): void => {
      const u = unit(i);
      if (met.has(u)) return;
      met.add(u);
      stack.push({ unit: u, inputs: this.#unitInputs(u) });
    };
    for (const i of this.#nodes.keys()) {
      push(i);
      for (let top = stack.at(-1); top; top = stack.at(-1)) {
        const next = top.inputs.shift();
        if (next !== undefined) push(next);
        else {
          stack.pop();
          out.push(typeof top.unit === "number" ? this.#nodes[top.unit]! : this.#groupNode(top.unit));
        }
      }
    }
    return { ...this.#graph, nodes: out, nextId: this.#nextId };
  }

  #unitInputs(u: Group | number): number[] {
    const members = new Set(typeof u === "number" ? [u] : u.members);
    const inputs = new Set<number>();
    for (const i of members)
      for (const x of this.#nodes[i]!.inputs) {
        const p = this.#producer.get(x);
        if (p !== undefined && !members.has(p)) inputs.add(p);
      }
    return [...inputs].sort((a, b) => a - b);
  }

  #groupNode(group: Group): Node {
    const members = this.#ordered(group.members).map((i) => this.#nodes[i]!);
    const inside = new Map<ValueId, ValueId>();
    const params: Value[] = [];
    const inputs: ValueId[] = [];
    const body: Node[] = [];
    const fresh = () => `%${this.#nextId++}`;
    const made = new Set(members.flatMap((n) => n.results.map((r) => r.id)));
    for (const n of members)
      for (const x of n.inputs) {
        if (x === "" || inside.has(x) || made.has(x)) continue;
        const id = fresh();
        const type = this.#types.get(x)!;
        const literal = this.#literal(x);
        inside.set(x, id);
        if (literal) body.push({ ...literal, spans: n.spans, scope: n.scope, results: [{ id, type }] });
        else {
          inputs.push(x);
          params.push({ id, type });
        }
      }
    for (const n of members) {
      const results = n.results.map((r) => {
        const id = fresh();
        inside.set(r.id, id);
        return { id, type: r.type };
      });
      body.push({ ...n, inputs: n.inputs.map((x) => (x === "" ? "" : inside.get(x)!)), results });
    }
    const leaving = members.flatMap((n) => n.results).filter((r) => this.#leaves(r.id, group.members));
    const leavingIds = new Set(leaving.map((r) => r.id));
    const region: Region = { params, nodes: body, results: leaving.map((r) => inside.get(r.id)!) };
    const node: Node = {
      op: this.#lookup("group")!,
      inputs,
      attrs: { kind: group.kind, name: groupName(members, group.kind) },
      results: leaving,
      spans: unionSpans(...members.map((n) => n.spans)),
      scope: commonScope(
        members.map((n) => n.scope),
        this.#scopes,
      ),
      annotations: members.flatMap((n) => n.annotations),
      body: region,
    };
    const removed = [...made].filter((id) => !leavingIds.has(id));
    this.#events.push(formed(group.kind, members, node, removed));
    return node;
  }

  /** Members in topological order; recomputed twins stand at the end of the list of nodes. */
  #ordered(members: ReadonlySet<number>): number[] {
    const out: number[] = [];
    const seen = new Set<number>();
    const visit = (i: number): void => {
      if (seen.has(i) || !members.has(i)) return;
      seen.add(i);
      for (const x of this.#nodes[i]!.inputs) {
        const p = this.#producer.get(x);
        if (p !== undefined) visit(p);
      }
      out.push(i);
    };
    for (const i of [...members].sort((a, b) => a - b)) visit(i);
    return out;
  }
}

/** Its texts are written when somebody reads them: there is an event for each kernel, and nodes never change. */
function formed(kind: Kind, members: readonly Node[], node: Node, removed: readonly ValueId[]): RewriteEvent {
  return {
    rule: `form-${kind}`,
    get before() {
      return members.map(printNode);
    },
    get after() {
      return [printNode(node)];
    },
    removed,
    added: [],
    spans: node.spans,
  };
}

/** Computes nothing: reading its result is reading its input elsewhere. */
function moves({ op }: Node): boolean {
  return op.traits.includes("movement") || op.traits.includes("view");
}

function reducedAxes(n: Node, type: TensorType): readonly number[] {
  return n.op.lowering.kind === "reduce" ? n.op.lowering.axes(type, n.attrs) : [];
}

/** The domain's shape with the reduced axes gone, or of size one. */
function isReduced(type: TensorType, domain: TensorType, axes: readonly number[]): boolean {
  if (type.shape.length === domain.shape.length)
    return type.shape.every((d, i) =>
      axes.includes(i) ? constantOf(d) === 1 : d.key === domain.shape[i]!.key,
    );
  const kept = domain.shape.filter((_, i) => !axes.includes(i));
  return sameShape(type.shape, kept);
}

/** Arithmetic that is named only where a kernel has nothing more telling. */
const plain: ReadonlySet<string> = new Set(["constant", "add", "sub", "mul", "div", "square"]);

/** `conv2d_gelu`: what the kernel is about, then what was fused; movements and copies go unnamed. */
function groupName(members: readonly Node[], kind: Kind): string {
  const main = members.find(({ op }) => op.lowering.kind === "contraction" || op.lowering.kind === "program")
    ?.op.name;
  const rest = members.filter((n) => !moves(n) && n.op.name !== main).map((n) => n.op.name);
  const telling = rest.filter((name) => !plain.has(name));
  const chosen = [...new Set([...(main ? [main] : []), ...(telling.length > 0 ? telling : rest)])];
  if (chosen.length === 0) return members[0]?.op.name ?? kind;
  return chosen.length > 4 ? `${chosen.slice(0, 3).join("_")}_and_${chosen.length - 3}` : chosen.join("_");
}

/** The innermost scope that all of them are in. Not every prefix of a path is one: `stages.0` may be without `stages`. */
function commonScope(scopes: readonly string[], known: ReadonlySet<string>): string {
  const parts = scopes.map((s) => s.split("."));
  const first = parts[0] ?? [];
  let length = first.length;
  for (const p of parts) {
    let i = 0;
    while (i < length && p[i] === first[i]) i++;
    length = i;
  }
  while (length > 0 && !known.has(first.slice(0, length).join("."))) length--;
  return first.slice(0, length).join(".");
}
