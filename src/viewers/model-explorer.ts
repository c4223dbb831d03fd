// Graphs as Model Explorer reads them: a graph collection of its JSON format (input_graph.ts in its repository). One graph for each stage
// given; boxes are namespaces.

import type { Graph } from "../ir/graph.ts";
import { flatten, type Box, type Facts } from "./flat.ts";

export interface GraphCollection {
  readonly label: string;
  readonly graphs: readonly ExplorerGraph[];
}

export interface ExplorerGraph {
  readonly id: string;
  readonly nodes: readonly ExplorerNode[];
  /** By namespace. */
  readonly groupNodeAttributes: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export interface ExplorerNode {
  readonly id: string;
  readonly label: string;
  /** Boxes from the outermost inwards, with `/` between; the label is no part of it. */
  readonly namespace: string;
  readonly attrs: readonly KeyValue[];
  readonly incomingEdges: readonly {
    readonly sourceNodeId: string;
    readonly sourceNodeOutputId: string;
    readonly targetNodeInputId: string;
  }[];
  readonly inputsMetadata: readonly Port[];
  readonly outputsMetadata: readonly Port[];
}

interface KeyValue {
  readonly key: string;
  readonly value: string;
}

interface Port {
  readonly id: string;
  readonly attrs: readonly KeyValue[];
}

/** A graph and what it is called: `tiny`, `tiny after pool-mixer`. */
export interface NamedGraph {
  readonly name: string;
  readonly graph: Graph;
}

export function toModelExplorer(label: string, graphs: readonly NamedGraph[]): GraphCollection {
  return { label, graphs: graphs.map(explorerGraph) };
}

function explorerGraph({ name, graph }: NamedGraph): ExplorerGraph {
  const groups: Record<string, Record<string, string>> = {};
  const nodes = flatten(graph).map((n): ExplorerNode => {
    n.boxes.forEach((box, i) => {
      groups[namespaceOf(n.boxes.slice(0, i + 1))] ??= Object.fromEntries(box.facts);
    });
    return {
      id: n.id,
      label: n.label,
      namespace: namespaceOf(n.boxes),
      attrs: keyValues([
        ["kind", n.kind],
        ...n.facts,
        ...(n.prepared ? [["runs", "once, at load"] as const] : []),
      ]),
      incomingEdges: n.edges.map((e, i) => ({
        sourceNodeId: e.from,
        sourceNodeOutputId: String(e.output),
        targetNodeInputId: String(i),
      })),
      inputsMetadata: n.edges.map((e, i) => ({ id: String(i), attrs: keyValues([["name", e.name]]) })),
      outputsMetadata: n.outputs.map((type, i) => ({
        id: String(i),
        attrs: keyValues([["tensor_shape", type]]),
      })),
    };
  });
  return { id: name, nodes, groupNodeAttributes: groups };
}

function namespaceOf(boxes: readonly Box[]): string {
  return boxes.map((b) => b.name.replaceAll("/", "_")).join("/");
}

function keyValues(facts: Facts): readonly KeyValue[] {
  return facts.map(([key, value]) => ({ key, value }));
}
