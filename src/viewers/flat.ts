// A graph of any stage as viewers want it: plain nodes with edges, in boxes. Boxes are the calls and loops of the model, and fused groups,
// whose bodies are drawn where the group stands. Knows no file format.

import { preparedValues, type Graph, type Node, type Value, type ValueId } from "../ir/graph.ts";
import { attrText, sameAttr } from "../ir/print.ts";
import { showType } from "../ir/types.ts";
import { showLocation, type Location } from "../support/source.ts";

/** A place in the nesting: its name is unique among those in the same box. */
export interface Box {
  readonly name: string;
  /** What a reader is told of it: the block, its lines. */
  readonly facts: Facts;
}

export type Facts = readonly (readonly [name: string, text: string])[];

export interface Edge {
  /** Id of a flat node, and which of its outputs. */
  readonly from: string;
  readonly output: number;
  /** What the op calls this input. */
  readonly name: string;
}

export interface FlatNode {
  readonly id: string;
  readonly kind: "input" | "weight" | "state" | "node" | "output";
  readonly label: string;
  /** From the outermost inwards. */
  readonly boxes: readonly Box[];
  readonly facts: Facts;
  readonly edges: readonly Edge[];
  /** Types of the results. */
  readonly outputs: readonly string[];
  /** Made from weights alone: it runs once, at load. */
  readonly prepared: boolean;
}

/** Inputs, weights and states first, then nodes in order, outputs last. */
export function flatten(graph: Graph): readonly FlatNode[] {
  const flat = new Flattener(graph);
  flat.nodes(graph.nodes, []);
  return flat.finish();
}

interface Source {
  readonly node: string;
  readonly output: number;
}

class Flattener {
  readonly #graph: Graph;
  readonly #prepared: ReadonlySet<ValueId>;
  readonly #scopes: ReadonlyMap<string, readonly Box[]>;
  readonly #sources = new Map<ValueId, Source>();
  readonly #nodes: FlatNode[] = [];
  /** Weights stand where they are read first. */
  readonly #weightBoxes = new Map<ValueId, readonly Box[]>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#prepared = preparedValues(graph);
    this.#scopes = scopeBoxes(graph);
    for (const x of [...graph.inputs, ...graph.weights, ...graph.states])
      this.#sources.set(x.id, { node: x.id, output: 0 });
  }

  nodes(list: readonly Node[], inside: readonly Box[]): void {
    for (const n of list) {
      const boxes = inside.length > 0 ? inside : (this.#scopes.get(n.scope) ?? []);
      if (n.body) this.#group(n, boxes);
      else this.#node(n, boxes);
    }
  }

  /** The body stands in a box of its own; its parameters are what the group is given, its results what the group gives. */
  #group(n: Node, boxes: readonly Box[]): void {
    const body = n.body!;
    body.params.forEach((p, i) => this.#link(p.id, n.inputs[i]!));
    const name = `${attrOf(n, "name") ?? n.op.name} ${n.results[0]!.id}`;
    this.nodes(body.nodes, [...boxes, { name, facts: [...attrFacts(n), ...lineFacts(n.spans)] }]);
    n.results.forEach((r, i) => this.#link(r.id, body.results[i]!));
  }

  #link(id: ValueId, to: ValueId): void {
    const source = this.#sources.get(to);
    if (source) this.#sources.set(id, source);
  }

  #node(n: Node, boxes: readonly Box[]): void {
    const id = n.results[0]!.id;
    n.results.forEach((r, output) => this.#sources.set(r.id, { node: id, output }));
    const edges = n.inputs.flatMap((x, i): Edge[] => {
      const source = this.#sources.get(x);
      if (!source) return [];
      if (source.node.startsWith("$") && !this.#weightBoxes.has(source.node))
        this.#weightBoxes.set(source.node, boxes);
      return [{ from: source.node, output: source.output, name: n.op.inputs[i]?.name ?? `input ${i}` }];
    });
    this.#nodes.push({
      ...{ id, kind: "node", label: n.op.name, boxes, edges },
      facts: [["value", n.results.map((r) => r.id).join(", ")], ...attrFacts(n), ...lineFacts(n.spans)],
      outputs: n.results.map(typeText),
      prepared: n.results.some((r) => this.#prepared.has(r.id)),
    });
  }

  finish(): readonly FlatNode[] {
    const g = this.#graph;
    const bare = { edges: [], boxes: [], prepared: false } as const;
    const declared: FlatNode[] = [
      ...g.inputs.map((x) => ({
        ...bare,
        ...{
          id: x.id,
          kind: "input" as const,
          label: x.name,
          outputs: [typeText(x)],
          facts: lineFacts(x.spans),
        },
      })),
      ...g.weights.map((x) => ({
        ...bare,
        ...{
          id: x.id,
          kind: "weight" as const,
          label: x.key,
          outputs: [typeText(x)],
          facts: lineFacts(x.spans),
        },
        boxes: this.#weightBoxes.get(x.id) ?? [],
        prepared: true,
      })),
      ...g.states.map((x) => ({
        ...bare,
        ...{
          id: x.id,
          kind: "state" as const,
          label: x.name,
          outputs: [typeText(x)],
          facts: lineFacts(x.spans),
        },
      })),
    ];
    const results = [
      ...g.outputs.map((o) => ({ id: `output ${o.name}`, label: o.name, value: o.value, spans: o.spans })),
      ...g.states.map((s) => ({
        id: `next ${s.name}`,
        label: `next ${s.name}`,
        value: s.next,
        spans: s.spans,
      })),
    ];
    const ends = results.flatMap((o): FlatNode[] => {
      const source = this.#sources.get(o.value);
      const edges = source ? [{ from: source.node, output: source.output, name: "value" }] : [];
      return [
        {
          ...bare,
          ...{ id: o.id, kind: "output", label: o.label, edges, outputs: [], facts: lineFacts(o.spans) },
        },
      ];
    });
    return [...declared, ...this.#nodes, ...ends];
  }
}

function typeText(v: Pick<Value, "type">): string {
  return showType(v.type);
}

/** The boxes of each scope: one for each call and loop around, named by what its label adds. */
function scopeBoxes(graph: Graph): ReadonlyMap<string, readonly Box[]> {
  const out = new Map<string, readonly Box[]>([["", []]]);
  for (const s of [...graph.scopes].sort((a, b) => a.path.length - b.path.length)) {
    const around = enclosing(s.path, out);
    const name = s.path.slice(around === "" ? 0 : around.length + 1);
    const facts: Facts = [["block", s.block], ...lineFacts(s.spans)];
    out.set(s.path, [...out.get(around)!, { name, facts }]);
  }
  // A node may be in a scope that is not declared: it stands in the nearest one that is.
  for (const n of graph.nodes) if (!out.has(n.scope)) out.set(n.scope, out.get(enclosing(n.scope, out))!);
  return out;
}

function enclosing(path: string, known: ReadonlyMap<string, unknown>): string {
  for (let at = path.lastIndexOf("."); at > 0; at = path.lastIndexOf(".", at - 1))
    if (known.has(path.slice(0, at))) return path.slice(0, at);
  return "";
}

function attrFacts(n: Node): Facts {
  return Object.entries(n.attrs).flatMap(([name, value]) => {
    const spec = Object.hasOwn(n.op.attrs, name) ? n.op.attrs[name] : undefined;
    return sameAttr(value, spec?.default) ? [] : [[name, attrText(value, spec?.kind)] as const];
  });
}

function attrOf(n: Node, name: string): string | undefined {
  const value = n.attrs[name];
  return value === undefined ? undefined : String(value);
}

function lineFacts(spans: readonly Location[]): Facts {
  return spans.length === 0 ? [] : [["lines", spans.map(showLocation).join(", ")]];
}
