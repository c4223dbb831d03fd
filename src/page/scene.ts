// A tree with places: what is drawn where, in one coordinate system. Pure.

import type { LayoutBox, LayoutLeaf, PlacedBox, Points } from "./layout.ts";
import { isBox, type Box, type Item } from "./tree.ts";

export interface Placed {
  readonly item: Item;
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

export interface Line {
  readonly value: string;
  readonly points: Points;
  /** What it joins; undefined where it comes from, or goes to, the wall of its box. */
  readonly from: Item | undefined;
  readonly to: Item | undefined;
  /** This reading was removed by the step. */
  readonly gone: boolean;
  /** The one line of its value that has the shape on it: the first that comes out of what made it. */
  readonly labelled: boolean;
}

export interface Scene {
  readonly w: number;
  readonly h: number;
  /** Boxes before what they hold. */
  readonly placed: readonly Placed[];
  readonly lines: readonly Line[];
  readonly byId: ReadonlyMap<string, Placed>;
}

export const TITLE = 24;

/** Width of text at 12 pixels; near enough to make room for it. */
const wide = (text: string, size = 12): number => text.length * size * 0.56;
const MOST_WIDE = 250;
const between = (x: number, least: number, most: number): number =>
  Math.round(Math.min(most, Math.max(least, x)));

export function sizeOf(item: Item): LayoutLeaf {
  const second = secondLine(item);
  const first = item.kind === "node" ? `${item.label}   ${item.id}` : item.label;
  const extra = isBox(item) ? 30 : 20;
  const round = item.kind === "input" || item.kind === "output" || item.kind === "weight";
  return {
    w: between(
      Math.max(wide(first), wide(second, 10.5)) + extra,
      round ? 48 : isBox(item) ? 148 : 84,
      MOST_WIDE,
    ),
    h: round ? 22 : second === "" ? 26 : 40,
  };
}

export function secondLine(item: Item): string {
  // A group of one op is called what it holds.
  if (item.kind === "group" && item.detail === item.label) return "";
  if (!isBox(item) || item.kind === "group") return item.detail;
  const ops = `${item.size} op${item.size === 1 ? "" : "s"}`;
  return item.detail === "" ? ops : `${item.detail} · ${ops}`;
}

/** An open box's title: `stages.0  MetaFormerStage`. */
export function titleOf(b: Box): string {
  return b.kind === "scope" && b.detail !== "" ? `${b.label}  ${b.detail}` : b.label;
}

export function layoutOf(b: Box): LayoutBox {
  const index = new Map(b.children.map((c, i) => [c, i]));
  return {
    title: b.kind === "root" ? { w: 0, h: 0 } : { w: between(wide(titleOf(b)) + 30, 60, 400), h: TITLE },
    children: b.children.map((c) => (isBox(c) && c.open ? layoutOf(c) : sizeOf(c))),
    edges: [...b.edges.values()].map((e) => [index.get(e.from)!, index.get(e.to)!]),
    ins: [...b.ins.values()].map((readers) => [...readers].map((c) => index.get(c)!)),
    outs: [...b.outs.values()].map((c) => index.get(c)!),
  };
}

export function sceneOf(root: Box, layout: PlacedBox): Scene {
  const placed: Placed[] = [];
  const lines: Line[] = [];
  compose(root, layout, 0, 0, placed, lines);
  return { w: layout.w, h: layout.h, placed, lines, byId: new Map(placed.map((p) => [p.item.id, p])) };
}

function compose(b: Box, l: PlacedBox, x: number, y: number, placed: Placed[], lines: Line[]): void {
  const index = new Map(b.children.map((c, i) => [c, i]));
  const labelled = new Set<string>();
  // Where a line meets an open box it meets the port of its value.
  const meet = (item: Item, value: string, end: "in" | "out"): readonly [number, number] | undefined => {
    const i = index.get(item)!;
    const inner = l.boxes[i];
    if (!inner || !isBox(item)) return undefined;
    const k = [...(end === "in" ? item.ins : item.outs).keys()].indexOf(value);
    const [cx, cy] = l.at[i]!;
    if (k < 0) return undefined;
    return end === "in" ? [cx + inner.insAt[k]!, cy] : [cx + inner.outsAt[k]!, cy + inner.h];
  };
  const put = (value: string, gone: boolean, route: Points, from: Item | undefined, to: Item | undefined) => {
    const points = route.map((p, i) => p + (i % 2 === 0 ? x : y));
    const start = from && meet(from, value, "out");
    const end = to && meet(to, value, "in");
    if (start) points.splice(0, 2, start[0] + x, start[1] + y);
    if (end) points.splice(-2, 2, end[0] + x, end[1] + y);
    // A value on its way through walls has its shape where it was made.
    const passing = !from || (isBox(from) && from.open);
    const first = !gone && !passing && !labelled.has(value);
    if (first) labelled.add(value);
    lines.push({ value, points, from, to, gone, labelled: first });
  };
  [...b.edges.values()].forEach((e, i) => {
    for (const [value, gone] of e.values) put(value, gone, l.edges[i]!, e.from, e.to);
  });
  [...b.ins].forEach(([value, readers], k) =>
    [...readers].forEach((c, i) => put(value, false, l.ins[k]![i]!, undefined, c)),
  );
  [...b.outs].forEach(([value, c], k) => put(value, false, l.outs[k]!, c, undefined));
  b.children.forEach((item, i) => {
    const [cx, cy] = l.at[i]!;
    const inner = l.boxes[i];
    const size = inner ?? sizeOf(item);
    placed.push({ item, x: x + cx, y: y + cy, w: size.w, h: size.h });
    if (inner && isBox(item)) compose(item, inner, x + cx, y + cy, placed, lines);
  });
}
