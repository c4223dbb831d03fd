// Fewer tokens where the file or the command line asks for it: blocks of attention encoders (x + attention, then x + MLP) get a merge or
// a choice of tokens between their halves or in front of them. Everything behind has fewer tokens from there on. What is inserted is an
// op of src/ops/token-reduction.ts; which methods there are and what they mean is in reduction-methods.ts.

import { dim, type Dim } from "../ir/dim.ts";
import {
  GraphBuilder,
  unionSpans,
  type Annotation,
  type Attrs,
  type Graph,
  type Node,
  type ValueId,
  type Weight,
} from "../ir/graph.ts";
import { inferTypes, type OpLookup } from "../ir/op.ts";
import { printNode } from "../ir/print.ts";
import type { RewriteEvent } from "../ir/rewrite-types.ts";
import { sameShape, type TensorType } from "../ir/types.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { showLocation } from "../support/source.ts";
import { reshapeRuns } from "../ops/shape.ts";
import { findBlocks, type Block } from "./encoder-blocks.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";
import { BadRequest, methodWeight, reductionMethods, type Change } from "./reduction-methods.ts";

export const reduceTokens: Pass = {
  name: "reduce-tokens",
  doc: "Merge or drop tokens of attention encoders, as `reduce` in the file or `--reduce` asks.",
  level: 3,
  numerics: "approximates",
  needs: [],
  gives: [],
  changes: reductionMethods.map((m) => ({ name: m.name, equation: m.equation, doc: m.doc })),
  asked: (graph) => [...graph.nodes, ...graph.scopes].some((x) => x.annotations.some(isRequest)),
  run,
};

function run(graph: Graph, c: PassContext): PassResult {
  const { blocks, refusals } = findBlocks(graph);
  const changes = requests(graph, blocks);
  if (blocks.length === 0) {
    const [first] = refusals;
    const asking = graph.nodes.find((n) =>
      first ? n.results[0]!.id === first.node : requestsOf(graph, n).length > 0,
    );
    throw impossible(asking, first?.reason ?? "there is no attention here");
  }
  if (changes.length === 0) return { graph, events: [], refusals };
  return { ...new Rebuilder(graph, changes, c.lookup).run(), refusals };
}

/** What was asked for cannot be done: where, and why. */
function impossible(n: Node | undefined, reason: string): InputError {
  const [at] = n?.spans ?? [];
  const notes = n && at ? [{ message: `${n.op.name} is at ${showLocation(at)}` }] : [];
  return new InputError([error("reduce", `tokens cannot be reduced here: ${reason}`, { notes })]);
}

const isRequest = (a: Annotation): boolean => a.name === "reduce";

/** Requests on the node, and on the calls and loops around it. */
function requestsOf(graph: Graph, n: Node): readonly Annotation[] {
  const around = graph.scopes.filter((s) => `${n.scope}.`.startsWith(`${s.path}.`));
  return [...around, n].flatMap((x) => x.annotations.filter(isRequest));
}

/** What is asked of the blocks: those that are asked the same are the layers of one method. */
function requests(graph: Graph, blocks: readonly Block[]): readonly Change[] {
  const groups = new Map<string, { readonly call: string; readonly args: Attrs; readonly blocks: Block[] }>();
  for (const block of blocks)
    for (const { call, args } of requestsOf(graph, block.attention)) {
      const key = JSON.stringify([call, args]);
      const group = groups.get(key) ?? { call, args, blocks: [] };
      group.blocks.push(block);
      groups.set(key, group);
    }
  const changes = [...groups.values()].flatMap(({ call, args, blocks: asked }) => {
    const refuse = (reason: string): never => {
      throw impossible(asked[0]!.attention, `${call}: ${reason}`);
    };
    const method = reductionMethods.find((m) => m.name === call);
    if (!method)
      return refuse(`there is no such method; there are ${reductionMethods.map((m) => m.name).join(", ")}`);
    const unknown = Object.keys(args).find((name) => !Object.hasOwn(method.params, name));
    if (unknown !== undefined) refuse(`it has no parameter ${unknown}`);
    const defaults = Object.entries(method.params).flatMap(([name, p]) =>
      p.default === undefined ? [] : [[name, p.default]],
    );
    try {
      return method.plan(asked, { ...Object.fromEntries(defaults), ...args });
    } catch (e) {
      throw e instanceof BadRequest ? impossible(asked[0]!.attention, `${call}: ${e.message}`) : e;
    }
  });
  // In a layer that is left out no tokens are merged.
  const gone = new Set(changes.flatMap((x) => (x.method === "drop_layers" ? [x.block] : [])));
  return changes.filter((x) => x.method === "drop_layers" || !gone.has(x.block));
}

/** Walks the graph once, with what is inserted in its place and the types of everything behind it inferred anew. */
class Rebuilder {
  readonly #graph: Graph;
  readonly #b: GraphBuilder;
  readonly #types: ReadonlyMap<ValueId, TensorType>;
  readonly #behind = new Map<ValueId, Change[]>();
  /** What later nodes read instead. */
  readonly #renamed = new Map<ValueId, ValueId>();
  readonly #events: RewriteEvent[] = [];
  /** The sizes of tokens from here on, where merges keep them. */
  #size: ValueId | undefined;
  #proportional = false;

  constructor(graph: Graph, changes: readonly Change[], lookup: OpLookup) {
    this.#graph = graph;
    this.#b = new GraphBuilder(graph.name, lookup, graph.nextId);
    const types = new Map<ValueId, TensorType>();
    for (const x of [...graph.inputs, ...graph.weights, ...graph.states]) {
      types.set(x.id, x.type);
      this.#b.declare(x.id, x.type);
    }
    for (const n of graph.nodes) for (const r of n.results) types.set(r.id, r.type);
    this.#types = types;
    for (const change of changes) {
      const list = this.#behind.get(change.at) ?? [];
      list.push(change);
      this.#behind.set(change.at, list);
    }
  }

  run(): { readonly graph: Graph; readonly events: readonly RewriteEvent[] } {
    const extra: Weight[] = [];
    for (const x of this.#graph.inputs) this.#insertBehind(x.id, undefined, extra);
    for (const n of this.#graph.nodes) {
      const made = this.#again(n);
      for (const r of n.results) this.#insertBehind(r.id, made, extra);
    }
    const renamed = (id: ValueId) => this.#now(id);
    return {
      graph: {
        ...this.#graph,
        nodes: this.#b.nodes,
        scopes: this.#graph.scopes.map((s) => ({
          ...s,
          annotations: s.annotations.filter((a) => !isRequest(a)),
        })),
        weights: [...this.#graph.weights, ...extra],
        outputs: this.#graph.outputs.map((o) => ({ ...o, value: renamed(o.value) })),
        states: this.#graph.states.map((s) => ({ ...s, next: renamed(s.next) })),
        nextId: this.#b.nextId,
      },
      events: this.#events,
    };
  }

  #insertBehind(id: ValueId, maker: Node | undefined, extra: Weight[]): void {
    for (const change of this.#behind.get(id) ?? []) {
      const before = this.#b.nodes.length;
      const written = this.#write(change, extra);
      this.#size = written.size;
      this.#proportional = change.proportional;
      this.#renamed.set(id, written.tokens);
      this.#log(change, maker, this.#b.nodes.slice(before));
    }
  }

  #write(change: Change, extra: Weight[]): ReturnType<Change["write"]> {
    const weight = (key: string, shape: readonly number[]): ValueId => {
      const made = methodWeight(key, shape);
      extra.push(made);
      return this.#b.declare(made.id, made.type);
    };
    try {
      return change.write({ b: this.#b, now: (id) => this.#now(id), size: this.#size, weight });
    } catch (e) {
      throw e instanceof BadRequest ? impossible(change.block.attention, e.message) : e;
    }
  }

  #now(id: ValueId): ValueId {
    const next = this.#renamed.get(id);
    return next === undefined ? id : this.#now(next);
  }

  /** The node with what its inputs are now; its results keep their names. */
  #again(n: Node): Node {
    const inputs = n.inputs.map((x) => (x === "" ? "" : this.#now(x)));
    const changed = inputs.some((x, i) => x !== "" && !this.#sameAsBefore(x, n.inputs[i]!));
    const weighed = n.op.name === "attention" ? this.#weighed(n, inputs) : inputs;
    const annotations = n.annotations.filter((a) => !isRequest(a));
    const attrs = changed ? this.#resized(n, inputs) : n.attrs;
    if (changed && n.body) throw impossible(n, `${n.op.name} computes with a body of its own`);
    const types = changed ? this.#inferred(n, weighed, attrs) : n.results.map((r) => r.type);
    return this.#b.add(
      n.op,
      weighed.map((x) => (x === "" ? undefined : x)),
      attrs,
      {
        ids: n.results.map((r) => r.id),
        types,
        spans: n.spans,
        scope: n.scope,
        annotations,
        ...(n.body && { body: n.body }),
      },
    );
  }

  #sameAsBefore(now: ValueId, before: ValueId): boolean {
    return sameShape(this.#b.type(now).shape, this.#types.get(before)!.shape);
  }

  #inferred(n: Node, inputs: readonly ValueId[], attrs: Attrs): readonly TensorType[] {
    const types = inputs.map((x) => (x === "" ? undefined : this.#b.type(x)));
    const inferred = inferTypes(n.op, types, attrs);
    if ("types" in inferred) return inferred.types;
    const { label } = inferred.failure;
    throw impossible(
      n,
      `with fewer tokens ${n.op.name} is none: it requires that ${n.op.constraints[label] ?? label}`,
    );
  }

  /** Attributes that name the sizes of the result, with the new number of tokens. */
  #resized(n: Node, inputs: readonly ValueId[]): Attrs {
    if (n.op.name !== "reshape" && n.op.name !== "broadcast_to") return n.attrs;
    const from = this.#types.get(n.inputs[0]!)!.shape;
    const now = this.#b.type(inputs[0]!).shape;
    const to = [...n.results[0]!.type.shape];
    from.forEach((d, axis) => {
      if (d.key === now[axis]!.key) return;
      const place = n.op.name === "reshape" ? ownAxis(from, to, axis) : axis + to.length - from.length;
      if (place === undefined || to[place]!.key !== d.key)
        throw impossible(n, "a reshape mixes the tokens with another axis");
      to[place] = now[axis]!;
    });
    return { ...n.attrs, dims: to };
  }

  /** Proportional attention: a token counts as many times as there are tokens in it. */
  #weighed(n: Node, inputs: readonly ValueId[]): readonly ValueId[] {
    if (this.#size === undefined || !this.#proportional) return inputs;
    const b = this.#b;
    const where = { spans: n.spans, scope: n.scope };
    const { shape } = b.type(this.#size);
    const log = b.call("log", [this.#size], {}, where);
    const bias = b.call("reshape", [log], { dims: [shape[0]!, dim(1), dim(1), shape[1]!] }, where);
    const [q, k, v, mask = "", own = ""] = inputs;
    const sum = own === "" ? bias : b.call("add", [own, bias], {}, where);
    return [q!, k!, v!, mask, sum];
  }

  #log(change: Change, maker: Node | undefined, added: readonly Node[]): void {
    const after = this.#b.type(this.#now(change.at)).shape[1]!;
    const before = this.#b.type(change.at).shape[1]!;
    this.#events.push({
      rule: change.method,
      before: maker ? [printNode(maker)] : [],
      after: [
        `// ${change.block.name || "a block"}: ${before.key} tokens become ${after.key}`,
        ...added.map(printNode),
      ],
      removed: [],
      added: added.flatMap((n) => n.results.map((r) => r.id)),
      spans: unionSpans(change.block.attention.spans, maker?.spans ?? []),
    });
  }
}

/** The axis of the new shape that alone holds an axis of the old one. */
function ownAxis(from: readonly Dim[], to: readonly Dim[], axis: number): number | undefined {
  const run = reshapeRuns(from, to).find((r) => r.from.includes(axis));
  return run?.from.length === 1 && run.to.length === 1 ? run.to[0] : undefined;
}
