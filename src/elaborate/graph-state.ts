// The graph while it grows: nodes, weights by key, states, taps, scopes. Knows nothing of syntax.

import type { Dim } from "../ir/dim.ts";
import { GraphBuilder, unionSpans } from "../ir/graph.ts";
import type {
  Annotation,
  Graph,
  Input,
  Node,
  Output,
  Scope,
  Seed,
  State,
  SymbolDecl,
  ValueId,
  Weight,
} from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import type { TensorType } from "../ir/types.ts";
import { locationOf, type Location, type Span } from "../support/source.ts";

export interface WeightEntry {
  readonly weight: Weight;
  readonly span: Span;
}

/** A state between its declaration and the end of the run. */
export interface StateCell {
  readonly name: string;
  readonly id: ValueId;
  readonly type: TensorType;
  readonly initial: number;
  readonly span: Span;
  next: ValueId;
}

export interface GraphState {
  readonly builder: GraphBuilder;
  readonly symbols: Map<string, SymbolDecl>;
  readonly inputs: Input[];
  readonly weights: Map<string, WeightEntry>;
  readonly states: Map<string, StateCell>;
  readonly outputs: Map<string, Output & { readonly span: Span }>;
  readonly scopes: Map<string, Scope>;
  readonly producers: Map<ValueId, Node>;
  /** Where each value is made, for notes. */
  readonly origins: Map<ValueId, Span>;
  /** Scalar constants by type and value, so that `x * 2` twice makes one node. */
  readonly constants: Map<string, ValueId>;
  /** Sizes that a kernel writes. */
  readonly bounds: Map<string, Dim>;
}

export function newGraphState(name: string, lookup: OpLookup): GraphState {
  return {
    builder: new GraphBuilder(name, lookup),
    symbols: new Map(),
    inputs: [],
    weights: new Map(),
    states: new Map(),
    outputs: new Map(),
    scopes: new Map(),
    producers: new Map(),
    origins: new Map(),
    constants: new Map(),
    bounds: new Map(),
  };
}

export function addWeight(
  g: GraphState,
  key: string,
  type: TensorType,
  seed: Seed | undefined,
  span: Span,
  spans: readonly Location[],
): ValueId {
  const id = `$${key}`;
  g.builder.declare(id, type);
  g.origins.set(id, span);
  g.weights.set(key, { weight: { id, key, type, ...(seed && { seed }), spans }, span });
  return id;
}

export function addScope(
  g: GraphState,
  path: string,
  block: string,
  annotations: readonly Annotation[],
  span: Span,
): void {
  const old = g.scopes.get(path);
  const spans = unionSpans(old?.spans ?? [], [locationOf(span)]);
  g.scopes.set(path, old ? { ...old, spans } : { path, block, annotations, spans });
}

export function declareSymbol(g: GraphState, name: string, bound?: Dim): void {
  if (g.symbols.has(name)) return;
  g.symbols.set(name, bound ? { kind: "bounded", name, bound } : { kind: "bound", name });
  if (bound) g.bounds.set(name, bound);
}

export function finish(g: GraphState): Graph {
  const states: State[] = [...g.states.values()].map((s) => ({
    name: s.name,
    id: s.id,
    type: s.type,
    next: s.next,
    initial: s.initial,
    spans: [locationOf(s.span)],
  }));
  return {
    name: g.builder.name,
    symbols: [...g.symbols.values()],
    inputs: g.inputs,
    weights: [...g.weights.values()].map((w) => w.weight),
    states,
    scopes: [...g.scopes.values()],
    nodes: g.builder.nodes,
    outputs: [...g.outputs.values()].map(({ name, value, spans }) => ({ name, value, spans })),
    guards: [],
    nextId: g.builder.nextId,
  };
}
