// A graph in Graphviz's DOT language: boxes as clusters, shapes on edges, weights as lines of the node that reads them.

import type { Graph } from "../ir/graph.ts";
import { flatten, type Box, type FlatNode } from "./flat.ts";

/** With a name of DOT's own: Graphviz takes names that begin with % for its own. */
interface Drawn extends FlatNode {
  readonly name: string;
}

interface Cluster {
  readonly box: Box | undefined;
  readonly nodes: Drawn[];
  readonly inside: Map<string, Cluster>;
}

export function toDot(graph: Graph): string {
  const nodes = flatten(graph);
  const byId = new Map(nodes.map((n, i) => [n.id, { ...n, name: `n${i}` }]));
  const isWeight = (id: string): boolean => byId.get(id)?.kind === "weight";
  const top: Cluster = { box: undefined, nodes: [], inside: new Map() };
  for (const n of byId.values()) if (n.kind !== "weight") clusterOf(top, n.boxes).nodes.push(n);
  const count = { clusters: 0 };
  const lines = [
    `digraph ${quoted(graph.name)} {`,
    `  rankdir=TB; compound=true; fontname="Helvetica"; labeljust=l;`,
    `  node [shape=box, style="rounded,filled", fillcolor="#f5f7fa", color="#8a94a6", fontname="Helvetica", fontsize=10];`,
    `  edge [color="#8a94a6", fontname="Helvetica", fontsize=8];`,
    ...clusterLines(top, byId, count, "  "),
    ...[...byId.values()].flatMap((n) =>
      n.edges.flatMap((e) => {
        if (isWeight(e.from)) return [];
        const from = byId.get(e.from)!;
        const type = from.outputs[e.output] ?? "";
        const style = from.prepared ? ", style=dashed" : "";
        return `  ${from.name} -> ${n.name} [label=${quoted(type)}${style}];`;
      }),
    ),
    "}",
  ];
  return `${lines.join("\n")}\n`;
}

function clusterOf(top: Cluster, boxes: readonly Box[]): Cluster {
  let at = top;
  for (const box of boxes) {
    let next = at.inside.get(box.name);
    if (!next) at.inside.set(box.name, (next = { box, nodes: [], inside: new Map() }));
    at = next;
  }
  return at;
}

function clusterLines(
  c: Cluster,
  byId: ReadonlyMap<string, Drawn>,
  count: { clusters: number },
  indent: string,
): string[] {
  const inner = c.box ? `${indent}  ` : indent;
  const body = [
    ...c.nodes.map((n) => inner + nodeLine(n, byId)),
    ...[...c.inside.values()].flatMap((x) => clusterLines(x, byId, count, inner)),
  ];
  if (!c.box) return body;
  const block = c.box.facts.find(([name]) => name === "block")?.[1];
  const label = block === undefined ? c.box.name : `${c.box.name}: ${block}`;
  return [
    `${indent}subgraph "cluster_${count.clusters++}" {`,
    `${inner}label=${quoted(label)}; tooltip=${quoted(factText(c.box.facts))}; color="#c3cad5"; style=rounded; fontsize=10;`,
    ...body,
    `${indent}}`,
  ];
}

const fill: Readonly<Record<FlatNode["kind"], string>> = {
  input: "#dcebff",
  weight: "#eeeeee",
  state: "#fff1d6",
  node: "#f5f7fa",
  output: "#dff5e3",
};

function nodeLine(n: Drawn, byId: ReadonlyMap<string, Drawn>): string {
  const weights = n.edges.flatMap((e) => {
    const w = byId.get(e.from);
    return w?.kind === "weight" ? [`${w.label}: ${w.outputs[0]!}`] : [];
  });
  const shown = n.facts.filter(([name]) => name !== "value" && name !== "lines");
  const title = n.kind === "node" ? `${n.id} ${n.label}` : `${n.kind} ${n.label}`;
  const lines = [title, ...shown.map(([name, text]) => `${name} = ${text}`), ...weights];
  // A line that ends in \l is set to the left.
  const label = lines.length === 1 ? quoted(title) : `"${lines.map((l) => `${escaped(l)}\\l`).join("")}"`;
  const style = n.prepared ? `, style="rounded,dashed"` : "";
  return `${n.name} [label=${label}, fillcolor="${fill[n.kind]}", tooltip=${quoted(factText(n.facts))}${style}];`;
}

function factText(facts: FlatNode["facts"]): string {
  return facts.map(([name, text]) => `${name}: ${text}`).join("\n");
}

/** Only the quote and the backslash mean something inside a quoted string; control characters are left out of it. */
function escaped(text: string): string {
  return text.replace(/[\\"]/g, "\\$&").replace(/[\u0000-\u001f\u007f]+/g, " ");
}

function quoted(text: string): string {
  return `"${text.split("\n").map(escaped).join("\\n")}"`;
}
