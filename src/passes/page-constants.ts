// Prepared weights that are larger than one storage binding may be (a stack of experts, a table of words) are cut along their first axis into
// pages that fit, each a constant of its own. Every reader binds all pages and reads the one that has its row: for a grouped product that is
// one page for a whole workgroup, because all of its rows have one expert.

import { constantOf, dim } from "../ir/dim.ts";
import {
  preparedValues,
  typesOf,
  weightKeysOf,
  withDefaults,
  type Graph,
  type Node,
  type ValueId,
} from "../ir/graph.ts";
import { inferTypes } from "../ir/op.ts";
import { printNode } from "../ir/print.ts";
import type { Refusal, RewriteEvent, RuleDoc } from "../ir/rewrite-types.ts";
import { byteSizeOf, isPacked, type TensorType } from "../ir/types.ts";
import { Bug } from "../support/bug.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

const intoPages: RuleDoc = {
  name: "into-pages",
  equation: "f(w) = f(pages(w[0 .. r], w[r .. 2r], ...)),  a page no larger than one binding may be",
  doc: "A weight that one binding cannot hold is bound in parts.",
};

export const pageConstants: Pass = {
  name: "page-constants",
  doc: "Weights larger than one storage binding are split into pages along their first axis.",
  level: 0,
  numerics: "exact",
  needs: ["primitive"],
  gives: [],
  run: (graph, c) => new Pager(graph, c).run(),
  changes: [intoPages],
};

class Pager {
  readonly #graph: Graph;
  readonly #context: PassContext;
  readonly #types: Map<ValueId, TensorType>;
  readonly #prepared: ReadonlySet<ValueId>;
  readonly #pages = new Map<ValueId, readonly ValueId[]>();
  readonly #out: Node[] = [];
  readonly #events: RewriteEvent[] = [];
  readonly #refusals: Refusal[] = [];
  #nextId: number;

  constructor(graph: Graph, c: PassContext) {
    this.#graph = graph;
    this.#context = c;
    this.#types = new Map(typesOf(graph));
    this.#prepared = preparedValues(graph);
    this.#nextId = graph.nextId;
  }

  run(): PassResult {
    for (const n of this.#graph.nodes) {
      const large = n.results.every((r) => this.#prepared.has(r.id)) ? [] : this.#largeInputs(n);
      this.#out.push(large.length === 0 ? n : this.#paged(n, large));
    }
    if (this.#events.length === 0) return { graph: this.#graph, events: [], refusals: this.#refusals };
    const graph = { ...this.#graph, nodes: this.#out, nextId: this.#nextId };
    return { graph, events: this.#events, refusals: this.#refusals };
  }

  #largeInputs(n: Node): readonly ValueId[] {
    const most = this.#context.target.limits.maxStorageBufferBindingSize;
    return [...new Set(n.inputs)].filter((x) => this.#prepared.has(x) && (this.#bytes(x) ?? 0) > most);
  }

  #bytes(id: ValueId): number | undefined {
    return constantOf(byteSizeOf(this.#types.get(id)!));
  }

  #paged(n: Node, large: readonly ValueId[]): Node {
    const reason = this.#unable(n, large);
    if (reason !== undefined) {
      this.#refusals.push({ rule: intoPages.name, reason, node: n.results[0]!.id, spans: n.spans });
      return n;
    }
    const added: Node[] = [];
    const renamed = new Map(large.map((x) => [x, this.#together(n, x, added)]));
    const after: Node = { ...n, inputs: n.inputs.map((x) => renamed.get(x) ?? x) };
    this.#out.push(...added);
    this.#events.push({
      rule: intoPages.name,
      before: [printNode(n)],
      after: [...added, after].map(printNode),
      removed: [],
      added: added.flatMap((x) => x.results.map((r) => r.id)),
      why: large.map((x) => this.#tooLarge(x)).join("; "),
      spans: n.spans,
    });
    return after;
  }

  #tooLarge(x: ValueId): string {
    const { maxStorageBufferBindingSize: most } = this.#context.target.limits;
    return `${this.#name(x)} takes ${this.#bytes(x)} bytes, and one binding holds ${most}`;
  }

  /** The weight, or the weights that a prepared value is made of. */
  #name(x: ValueId): string {
    return weightKeysOf(this.#graph, x).join(", ") || x;
  }

  /** Why the kernel that reads them cannot bind pages; undefined where it can. */
  #unable(n: Node, large: readonly ValueId[]): string | undefined {
    const { maxStorageBuffersPerShaderStage: most } = this.#context.target.limits;
    for (const x of large)
      if (this.#rowsOfPage(x) < 1)
        return `${this.#tooLarge(x)}: a single row of it, of ${constantOf(this.#types.get(x)!.shape[0]!)}, is larger than that`;
    const packed = large.find((x) => isPacked(this.#types.get(x)!.dtype));
    if (packed !== undefined) return `${this.#tooLarge(packed)}, and packed integers are not split`;
    const { kind } = n.op.lowering;
    if (kind !== "contraction" && kind !== "element" && kind !== "reduce")
      return `${this.#tooLarge(large[0]!)}, and ${n.op.name} reads it in a way of its own`;
    const others = new Set(n.inputs.filter((x) => x !== "" && !large.includes(x)));
    const pages = large.reduce((sum, x) => sum + this.#countOf(x), 0);
    // Its results, and the sizes that a kernel may have set.
    const bound = pages + others.size + n.results.length + 1;
    return bound > most
      ? `${large.map((x) => this.#tooLarge(x)).join("; ")}: with ${pages} pages ${n.op.name} would bind ${bound} buffers, and a kernel has ${most}`
      : undefined;
  }

  #rowsOfPage(x: ValueId): number {
    const rows = constantOf(this.#types.get(x)!.shape[0] ?? dim(1))!;
    return Math.floor(this.#context.target.limits.maxStorageBufferBindingSize / (this.#bytes(x)! / rows));
  }

  #countOf(x: ValueId): number {
    return Math.ceil(constantOf(this.#types.get(x)!.shape[0]!)! / this.#rowsOfPage(x));
  }

  /** Pages are made once; every reader puts them together for itself. */
  #together(reader: Node, x: ValueId, added: Node[]): ValueId {
    let parts = this.#pages.get(x);
    if (!parts) {
      const count = constantOf(this.#types.get(x)!.shape[0]!)!;
      const rows = Math.ceil(count / this.#countOf(x));
      parts = Array.from({ length: Math.ceil(count / rows) }, (_, i) => {
        const attrs = { axis: 0, start: dim(i * rows), end: dim(Math.min(count, (i + 1) * rows)) };
        return this.#add(reader, "slice", [x], attrs, x, added);
      });
      this.#pages.set(x, parts);
    }
    return this.#add(reader, "pages", parts, {}, x, added);
  }

  /** In the physical order of what it is a part of. */
  #add(
    like: Node,
    name: string,
    inputs: readonly ValueId[],
    attrs: Node["attrs"],
    of: ValueId,
    added: Node[],
  ): ValueId {
    const op = this.#context.lookup(name);
    if (!op) throw new Bug(`no op called ${name}`);
    const full = withDefaults(op, attrs);
    const inferred = inferTypes(
      op,
      inputs.map((x) => this.#types.get(x)),
      full,
    );
    if ("failure" in inferred) throw new Bug(`${name} of ${of}: ${inferred.failure.label}`);
    const { order } = this.#types.get(of)!;
    const type = { ...inferred.types[0]!, ...(order && { order }) };
    const id = `%${this.#nextId++}`;
    this.#types.set(id, type);
    added.push({ ...like, op, inputs, attrs: full, results: [{ id, type }], annotations: [] });
    return id;
  }
}
