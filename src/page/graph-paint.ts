// Draws a scene on a canvas: only what is in sight, and less of it the smaller it is. Knows colours and sizes, no events.

import type { ChangeKind } from "../explain/replay.ts";
import { secondLine, titleOf, TITLE, type Line, type Placed, type Scene } from "./scene.ts";
import { isBox, type Item } from "./tree.ts";

export interface Camera {
  /** Screen pixels for each unit of the scene, and where its origin is. */
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

/** What the document says of an item, beside its text. */
export interface Look {
  readonly change: ChangeKind | undefined;
  /** Of the largest in sight, 0 to 1. */
  readonly cost: number;
  /** Positions that nobody needs in the end, 0 to 1. */
  readonly dead: number;
  readonly lit: boolean;
  readonly hovered: boolean;
  readonly chosen: boolean;
  /** `+3 −2` on a closed box. */
  readonly badge: string;
}

export interface PaintInput {
  readonly scene: Scene;
  readonly camera: Camera;
  readonly width: number;
  readonly height: number;
  /** Something is lit, so that the rest steps back. */
  readonly anyLit: boolean;
  readonly look: (item: Item) => Look;
  readonly shape: (value: string) => string;
}

export type Palette = Readonly<Record<string, string>>;

const names = ["canvas", "node", "text", "quiet", "rule", "strong-rule", "accent", "accent-soft", "added", "added-soft", "removed", "removed-soft", "changed", "changed-soft", "group", "scope", "heat", "dead"]; // prettier-ignore

/** The colours of the theme that is on. */
export function paletteOf(element: Element): Palette {
  const style = getComputedStyle(element);
  return Object.fromEntries(names.map((n) => [n, style.getPropertyValue(`--${n}`).trim()]));
}

const FONT = `12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif`;
const BOLD = `600 ${FONT}`;
const SMALL = `10.5px system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif`;
const MONO = `10.5px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace`;

/** Below these scales text is a smudge, and left out. */
const READABLE = 0.34;
const DETAILED = 0.52;

export function paint(c: CanvasRenderingContext2D, p: PaintInput, colours: Palette): void {
  const { scene, camera } = p;
  const ratio = window.devicePixelRatio;
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.fillStyle = colours["canvas"]!;
  c.fillRect(0, 0, p.width, p.height);
  c.setTransform(ratio * camera.scale, 0, 0, ratio * camera.scale, ratio * camera.x, ratio * camera.y);
  const seen = {
    left: -camera.x / camera.scale,
    top: -camera.y / camera.scale,
    right: (p.width - camera.x) / camera.scale,
    bottom: (p.height - camera.y) / camera.scale,
  };
  const inSight = (x: Placed): boolean =>
    x.x < seen.right && x.x + x.w > seen.left && x.y < seen.bottom && x.y + x.h > seen.top;
  const visible = scene.placed.filter(inSight);
  for (const x of visible) if (isBox(x.item) && x.item.open) paintWall(c, x, p, colours);
  const lines = scene.lines.filter((l) => touches(l, seen));
  for (const l of lines) paintLine(c, l, p, colours);
  if (camera.scale >= DETAILED) paintShapes(c, lines, visible, p, colours);
  for (const x of visible)
    if (isBox(x.item) && x.item.open) paintTitle(c, x, p, colours);
    else paintLeaf(c, x, p, colours);
  if (camera.scale >= DETAILED) for (const x of visible) paintFar(c, x, p, colours);
}

/** Above an item, what it reads that has no line to it. */
function paintFar(c: CanvasRenderingContext2D, { item, x, y, w }: Placed, p: PaintInput, k: Palette): void {
  if (!item.far) return;
  const looks = item.far.map((f) => f.from && p.look(f.from));
  const chosen = looks.some((l) => l && (l.chosen || l.hovered));
  c.globalAlpha = p.anyLit && !p.look(item).lit && !chosen ? 0.45 : 1;
  c.fillStyle = chosen ? k["accent"]! : k["quiet"]!;
  // Beside the line in the middle, to the left: shapes are to the right of lines.
  c.textAlign = "right";
  c.textBaseline = "alphabetic";
  const names = [...new Set(item.far.map((f) => f.name))].join(" ");
  c.fillText(fit(c, `${names} ↴`, w, MONO), x + w / 2 - 8, y - 4);
  c.textAlign = "left";
  c.globalAlpha = 1;
}

function touches(l: Line, s: { left: number; top: number; right: number; bottom: number }): boolean {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < l.points.length; i += 2) {
    const [x, y] = [l.points[i]!, l.points[i + 1]!];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  return left < s.right && right > s.left && top < s.bottom && bottom > s.top;
}

function rounded(c: CanvasRenderingContext2D, x: number, y: number, w: number, h: number, r: number): void {
  c.beginPath();
  c.roundRect(x, y, w, h, r);
}

const changeColour: Readonly<Record<ChangeKind, string>> = {
  added: "added",
  removed: "removed",
  changed: "changed",
};

// ---- boxes ----------------------------------------------------------------------------------------------------------

function paintWall(
  c: CanvasRenderingContext2D,
  { item, x, y, w, h }: Placed,
  p: PaintInput,
  k: Palette,
): void {
  const look = p.look(item);
  rounded(c, x, y, w, h, 6);
  c.fillStyle = item.kind === "group" ? k["group"]! : k["scope"]!;
  c.fill();
  c.lineWidth = look.chosen ? 2 : 1;
  c.setLineDash(item.kind === "run" ? [4, 3] : []);
  const change = item.kind === "group" && look.change ? k[changeColour[look.change]]! : undefined;
  c.strokeStyle = look.chosen
    ? k["accent"]!
    : (change ?? (item.kind === "group" ? k["strong-rule"]! : k["rule"]!));
  c.stroke();
  c.setLineDash([]);
}

function paintTitle(c: CanvasRenderingContext2D, { item, x, y, w }: Placed, p: PaintInput, k: Palette): void {
  if (p.camera.scale < READABLE || !isBox(item)) return;
  const look = p.look(item);
  const text = fit(c, `▾ ${titleOf(item)}`, w - 16, SMALL);
  c.font = SMALL;
  c.fillStyle = item.kind === "group" ? k["group"]! : k["scope"]!;
  c.fillRect(x + 6, y + 4, c.measureText(text).width + 6, TITLE - 8);
  c.fillStyle = look.chosen || look.lit ? k["accent"]! : k["quiet"]!;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillText(text, x + 8, y + TITLE / 2);
}

// ---- leaves ---------------------------------------------------------------------------------------------------------

function paintLeaf(c: CanvasRenderingContext2D, placed: Placed, p: PaintInput, k: Palette): void {
  const { item, x, y, w, h } = placed;
  const look = p.look(item);
  const pill = item.kind === "input" || item.kind === "output" || item.kind === "weight";
  const strong = look.lit || look.hovered || look.chosen || look.change !== undefined;
  c.globalAlpha = p.anyLit && !strong ? 0.45 : 1;
  rounded(c, x, y, w, h, pill ? h / 2 : 4);
  const soft = look.change ? k[`${changeColour[look.change]}-soft`]! : undefined;
  const own = item.kind === "group" ? k["group"]! : isBox(item) ? k["scope"]! : k["node"]!;
  c.fillStyle = look.lit ? k["accent-soft"]! : (soft ?? own);
  c.fill();
  if (look.dead > 0.001) paintDead(c, placed, look.dead, k);
  if (look.cost > 0.004) {
    c.fillStyle = k["heat"]!;
    c.fillRect(x + 3, y + h - 3.5, Math.max(2, (w - 6) * look.cost), 2);
  }
  rounded(c, x, y, w, h, pill ? h / 2 : 4);
  c.lineWidth = look.chosen ? 2.5 : look.hovered || look.change ? 1.5 : 1;
  c.setLineDash(look.change === "removed" ? [4, 3] : []);
  const edge = look.change ? k[changeColour[look.change]]! : isBox(item) ? k["strong-rule"]! : k["rule"]!;
  c.strokeStyle = look.chosen || look.lit || look.hovered ? k["accent"]! : edge;
  c.stroke();
  c.setLineDash([]);
  if (isBox(item)) {
    // A second sheet behind the first: there is more in it.
    c.beginPath();
    c.moveTo(x + 4, y + h + 2.5);
    c.lineTo(x + w - 2, y + h + 2.5);
    c.quadraticCurveTo(x + w + 2.5, y + h + 2.5, x + w + 2.5, y + h - 2);
    c.lineTo(x + w + 2.5, y + 4);
    c.lineWidth = 1;
    c.stroke();
  }
  if (p.camera.scale >= READABLE) paintWords(c, placed, look, p.camera.scale, k);
  c.globalAlpha = 1;
}

/** Hatched from the right: the part of the positions that is computed for nothing. */
function paintDead(c: CanvasRenderingContext2D, { x, y, w, h }: Placed, dead: number, k: Palette): void {
  c.save();
  c.beginPath();
  c.rect(x + w * (1 - dead), y, w * dead, h);
  c.clip();
  c.beginPath();
  for (let at = x - h; at < x + w; at += 6) {
    c.moveTo(at, y + h);
    c.lineTo(at + h, y);
  }
  c.lineWidth = 1;
  c.strokeStyle = k["dead"]!;
  c.stroke();
  c.restore();
}

function paintWords(
  c: CanvasRenderingContext2D,
  placed: Placed,
  look: Look,
  scale: number,
  k: Palette,
): void {
  const { item, x, y, w, h } = placed;
  const second = secondLine(item);
  const two = second !== "" && h > 30;
  c.textBaseline = "middle";
  c.textAlign = "left";
  const middle = two ? y + 13 : y + h / 2;
  const closed = isBox(item);
  const right = item.kind === "node" ? item.id : look.badge;
  c.font = MONO;
  const room = right === "" ? 0 : c.measureText(right).width + 8;
  const removed = look.change === "removed";
  c.fillStyle = removed ? k["removed"]! : k["text"]!;
  const label = (closed ? "▸ " : "") + item.label;
  const pill = item.kind === "input" || item.kind === "output" || item.kind === "weight";
  c.font = pill ? SMALL : BOLD;
  const text = fit(c, label, w - 14 - room, c.font);
  c.fillText(text, pill ? x + (w - c.measureText(text).width) / 2 : x + 8, middle);
  if (right !== "") {
    c.font = MONO;
    c.textAlign = "right";
    c.fillStyle = k["quiet"]!;
    c.fillText(right, x + w - 8, middle);
    c.textAlign = "left";
  }
  if (!two || scale < DETAILED) return;
  c.font = SMALL;
  c.fillStyle = k["quiet"]!;
  c.fillText(fit(c, second, w - 16, SMALL), x + 8, y + 28);
}

/** Cut with an ellipsis where there is no room. */
function fit(c: CanvasRenderingContext2D, text: string, room: number, font: string): string {
  c.font = font;
  if (c.measureText(text).width <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (c.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low === 0 ? "" : `${text.slice(0, low)}…`;
}

// ---- lines ----------------------------------------------------------------------------------------------------------

function paintLine(c: CanvasRenderingContext2D, l: Line, p: PaintInput, k: Palette): void {
  const ends = [l.from, l.to].map((e) => (e ? p.look(e) : undefined));
  const lit = ends.every((e) => e === undefined || e.lit) && ends.some((e) => e?.lit);
  const removed = l.gone || ends.some((e) => e?.change === "removed");
  const added = !removed && ends.some((e) => e?.change === "added");
  c.globalAlpha = p.anyLit && !lit ? 0.4 : 1;
  c.strokeStyle = lit ? k["accent"]! : removed ? k["removed"]! : added ? k["added"]! : k["strong-rule"]!;
  c.lineWidth = lit ? 1.75 : 1.1;
  c.setLineDash(removed ? [4, 3] : []);
  curve(c, l.points);
  c.stroke();
  c.setLineDash([]);
  if (l.to && !(isBox(l.to) && l.to.open)) arrow(c, l.points);
  c.globalAlpha = 1;
}

/** Smooth through the middles of its segments, and straight at both ends. */
function curve(c: CanvasRenderingContext2D, points: readonly number[]): void {
  const n = points.length;
  c.beginPath();
  c.moveTo(points[0]!, points[1]!);
  for (let i = 2; i < n - 2; i += 2) {
    const [x, y] = [points[i]!, points[i + 1]!];
    c.quadraticCurveTo(x, y, (x + points[i + 2]!) / 2, (y + points[i + 3]!) / 2);
  }
  c.lineTo(points[n - 2]!, points[n - 1]!);
}

function arrow(c: CanvasRenderingContext2D, points: readonly number[]): void {
  const n = points.length;
  const [x, y] = [points[n - 2]!, points[n - 1]!];
  const angle = Math.atan2(y - points[n - 3]!, x - points[n - 4]!);
  c.beginPath();
  c.moveTo(x, y);
  for (const turn of [2.75, -2.75]) c.lineTo(x + 7 * Math.cos(angle + turn), y + 7 * Math.sin(angle + turn));
  c.closePath();
  c.fillStyle = c.strokeStyle;
  c.fill();
}

/** Shapes, where values leave their makers; those of several results of one node beside each other. */
function paintShapes(
  c: CanvasRenderingContext2D,
  lines: readonly Line[],
  visible: readonly Placed[],
  p: PaintInput,
  k: Palette,
): void {
  c.font = MONO;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.globalAlpha = p.anyLit ? 0.5 : 1;
  c.fillStyle = k["quiet"]!;
  const bottoms = new Map(visible.map((x) => [x.item, x.y + x.h]));
  const taken = new Map<
    Item | undefined,
    { readonly from: number; readonly to: number; readonly y: number }[]
  >();
  for (const l of lines) {
    const text = l.labelled ? p.shape(l.value) : "";
    if (text === "") continue;
    const y = Math.max(l.points[1]!, bottoms.get(l.from!) ?? -Infinity) + 11;
    const width = c.measureText(text).width;
    const beside = taken.get(l.from) ?? [];
    let x = l.points[0]! + 5;
    for (const t of beside)
      if (Math.abs(t.y - y) < 11 && x < t.to + 8 && x + width > t.from - 8) x = t.to + 8;
    beside.push({ from: x, to: x + width, y });
    beside.sort((a, b) => a.from - b.from);
    taken.set(l.from, beside);
    c.fillText(text, x, y);
  }
  c.globalAlpha = 1;
}
