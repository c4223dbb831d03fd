// Where things stand: each open box is laid out by itself, from the inside out, by dagre. Boxes of the same form have the same
// layout, so that forty-eight equal blocks cost one. Knows sizes and edges by number; runs in a worker.

import { graphlib, layout as dagre } from "@dagrejs/dagre";

export interface LayoutLeaf {
  readonly w: number;
  readonly h: number;
}

export interface LayoutBox {
  /** Room that the title takes. */
  readonly title: LayoutLeaf;
  readonly children: readonly (LayoutLeaf | LayoutBox)[];
  /** Pairs of indices into `children`. */
  readonly edges: readonly (readonly [number, number])[];
  /** For each value that enters: the children that read it. */
  readonly ins: readonly (readonly number[])[];
  /** For each value that leaves: the child that makes it. */
  readonly outs: readonly number[];
}

/** x and y, one after the other. */
export type Points = readonly number[];

export interface PlacedBox {
  readonly w: number;
  readonly h: number;
  /** Upper left corners of the children, relative to the box. */
  readonly at: readonly (readonly [number, number])[];
  readonly edges: readonly Points[];
  /** Where values enter at the top and leave at the bottom, and the lines from there. */
  readonly insAt: readonly number[];
  readonly ins: readonly (readonly Points[])[];
  readonly outsAt: readonly number[];
  readonly outs: readonly Points[];
  readonly boxes: readonly (PlacedBox | undefined)[];
}

const PAD = 12;
const PORT = 14;
/** The exact ranking is worth its time only where people see all of it. */
const FEW = 60;

/** What dagre leaves on nodes and on edges. */
interface Placing {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}
interface Routed {
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

type Known = Map<string, Omit<PlacedBox, "boxes">>;

export class Layouts {
  readonly #known: Known = new Map();

  place(b: LayoutBox): PlacedBox {
    const boxes = b.children.map((c) => ("children" in c ? this.place(c) : undefined));
    const sizes = b.children.map((c, i): LayoutLeaf => boxes[i] ?? (c as LayoutLeaf));
    const key = JSON.stringify([b.title, sizes.map((s) => [s.w, s.h]), b.edges, b.ins, b.outs]);
    const known = this.#known.get(key) ?? placeOne(b, sizes);
    this.#known.set(key, known);
    return { ...known, boxes };
  }
}

function placeOne(b: LayoutBox, sizes: readonly LayoutLeaf[]): Omit<PlacedBox, "boxes"> {
  const g = new graphlib.Graph();
  g.setGraph({
    rankdir: "TB",
    nodesep: 22,
    edgesep: 14,
    ranksep: 36,
    ranker: sizes.length > FEW ? "longest-path" : "network-simplex",
  });
  g.setDefaultEdgeLabel(() => ({}));
  sizes.forEach((s, i) => g.setNode(`${i}`, { width: s.w, height: s.h }));
  for (const [from, to] of b.edges) g.setEdge(`${from}`, `${to}`);
  if (b.ins.length > 0) g.setNode("in", { width: b.ins.length * PORT, height: 1 });
  if (b.outs.length > 0) g.setNode("out", { width: b.outs.length * PORT, height: 1 });
  for (const readers of b.ins) for (const i of readers) g.setEdge("in", `${i}`);
  for (const i of b.outs) g.setEdge(`${i}`, "out");
  dagre(g);
  const nodeAt = (name: string): Placing => g.node(name) as Placing;
  const line = (from: string, to: string): number[] =>
    (g.edge(from, to) as Routed).points.flatMap((p) => [p.x, p.y]);

  let [right, bottom] = [0, 0];
  let [left, top] = [Infinity, Infinity];
  for (const name of g.nodes()) {
    const n = nodeAt(name);
    [left, top] = [Math.min(left, n.x - n.width / 2), Math.min(top, n.y - n.height / 2)];
    [right, bottom] = [Math.max(right, n.x + n.width / 2), Math.max(bottom, n.y + n.height / 2)];
  }
  for (const e of g.edges())
    for (const p of (g.edge(e) as Routed).points) [left, right] = [Math.min(left, p.x), Math.max(right, p.x)];
  if (!Number.isFinite(left)) [left, top] = [0, 0];
  const w = Math.max(right - left, b.title.w) + 2 * PAD;
  // A title that is wider than the rest leaves it in the middle.
  const dx = (w - (right - left)) / 2 - left;
  const dy = b.title.h + (b.ins.length > 0 ? 0 : PAD) - top;
  const h = bottom + dy + (b.outs.length > 0 ? 0 : PAD);
  const shift = (points: readonly number[]): number[] => points.map((p, i) => p + (i % 2 === 0 ? dx : dy));

  const insAt = portsAt(b.ins.length, dx, nodeAt("in"), (k) => mean(b.ins[k]!.map((i) => nodeAt(`${i}`).x)));
  const outsAt = portsAt(b.outs.length, dx, nodeAt("out"), (k) => nodeAt(`${b.outs[k]!}`).x);
  return {
    w,
    h,
    at: sizes.map((s, i) => [nodeAt(`${i}`).x - s.w / 2 + dx, nodeAt(`${i}`).y - s.h / 2 + dy]),
    edges: b.edges.map(([from, to]) => shift(line(`${from}`, `${to}`))),
    insAt,
    ins: b.ins.map((readers, k) =>
      readers.map((i) => [insAt[k]!, 0, insAt[k]!, b.title.h, ...shift(line("in", `${i}`)).slice(2)]),
    ),
    outsAt,
    outs: b.outs.map((i, k) => [...shift(line(`${i}`, "out")).slice(0, -2), outsAt[k]!, h]),
  };
}

/** Ports side by side, in the order of what they go to. */
function portsAt(n: number, dx: number, strip: Placing | undefined, target: (k: number) => number): number[] {
  const at = new Array<number>(n);
  const order = Array.from({ length: n }, (_, k) => k).sort((a, b) => target(a) - target(b));
  order.forEach((k, place) => (at[k] = strip!.x - strip!.width / 2 + (place + 0.5) * PORT + dx));
  return at;
}

function mean(list: readonly number[]): number {
  return list.reduce((a, b) => a + b, 0) / Math.max(list.length, 1);
}
