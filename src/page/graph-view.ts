// The graph of the step that is on: builds its tree, has it laid out by the worker, and draws what is in sight. Events of the canvas.

import type { NodeDoc } from "../explain/document.ts";
import type { ChangeKind } from "../explain/replay.ts";
import type { App } from "./app.ts";
import { byId, fill } from "./dom.ts";
import { paint, paletteOf, type Camera, type Look, type Palette } from "./graph-paint.ts";
import type { PlacedBox } from "./layout.ts";
import type { LayoutRequest } from "./layout-worker.ts";
import { layoutOf, sceneOf, type Placed, type Scene } from "./scene.ts";
import { nothing, type Selection } from "./state.ts";
import { isBox, treeOf, type Box, type Item, type Tree } from "./tree.ts";

/** Boxes are opened, outermost first, until this many things are in sight. */
const AT_FIRST = 45;

/** Where the map may be, as style.css has it: the first is its place unless another hides less. */
const corners = ["bottom right", "bottom left", "top right", "top left"] as const;
/** Its size with the space around it. */
const MAP_SIZE = { w: 122, h: 202 } as const;

export class GraphView {
  readonly #app: App;
  readonly #canvas = byId<HTMLCanvasElement>("graph");
  readonly #map = byId<HTMLCanvasElement>("minimap");
  readonly #status = byId("graph-status");
  readonly #worker: Worker;
  readonly #open = new Set<string>();
  #palette: Palette = {};
  #tree: Tree | undefined;
  #scene: Scene | undefined;
  #looks = new Map<string, Omit<Look, "lit" | "hovered" | "chosen">>();
  #types = new Map<string, string>();
  #camera: Camera = { scale: 1, x: 0, y: 0 };
  #request = 0;
  #pending: { tree: Tree; then: (() => void)[] } | undefined;
  #stale = true;
  #drawing = false;
  #prepared = false;
  #removed = true;
  /** Where the reader moved to by hand; until then the graph is fitted. */
  #fitted = false;

  constructor(app: App, worker: Worker) {
    this.#app = app;
    this.#worker = worker;
    worker.onmessage = (e: MessageEvent<{ id: number; placed: PlacedBox }>) => this.#placed(e.data.id, e.data.placed); // prettier-ignore
    worker.onerror = (e) => fill(this.#status, `the layout failed: ${e.message}`);
    this.recolour();
    new ResizeObserver(() => this.#resize()).observe(this.#canvas.parentElement!);
    this.#events();
    app.onChange((c) => {
      if (c.entry) this.#forget();
      if (c.entry || c.step) this.#stale = true;
      if (c.selection && !c.entry) this.#reveal();
      if (app.view.tab !== "graph") return;
      if (this.#stale) this.#build(c.entry ? () => this.#reveal() : undefined);
      else if (c.selection || c.hover || c.tab) this.#draw();
    });
  }

  recolour(): void {
    this.#palette = paletteOf(document.documentElement);
    this.#draw();
    this.#drawMap();
  }

  // ---- what is shown ----

  #forget(): void {
    this.#open.clear();
    this.#fitted = false;
    this.#tree = this.#scene = undefined;
    const tree = this.#makeTree(this.#app.view.step);
    // Whole levels: equal blocks are all open, or all closed.
    for (let level = tree.root.children.filter(isBox); level.length > 0;) {
      const more = level.filter((b) => b.kind !== "group");
      const size = more.reduce((n, b) => n + b.children.length, tree.root.children.length);
      if (size > AT_FIRST) break;
      for (const b of more) this.#open.add(b.id);
      level = more.flatMap((b) => b.children.filter(isBox));
    }
  }

  /** Nodes of the step, and where asked for those that it removed, each where it stood. */
  #nodes(step: number): readonly NodeDoc[] {
    const { model } = this.#app;
    const now = model.state(step).nodes;
    const removed = new Set(this.#removed ? model.removed(step).map((n) => n.id) : []);
    if (removed.size === 0) return now;
    const behind = model.goneBehind(step);
    const gone = (id: string): readonly NodeDoc[] => behind.get(id)?.filter((n) => removed.has(n.id)) ?? [];
    return [...gone(""), ...now.flatMap((n) => [n, ...gone(n.id)])];
  }

  #makeTree(step: number): Tree {
    const { model } = this.#app;
    const nodes = this.#nodes(step);
    const removed = new Set(this.#removed ? model.removed(step).map((n) => n.id) : []);
    const before = removed.size > 0 ? model.nodes(step - 1) : undefined;
    const gone = before
      ? nodes.flatMap((n) => {
          const was = removed.has(n.id) ? undefined : before.get(n.id);
          const inputs = was?.inputs.filter((v) => removed.has(v)) ?? [];
          return inputs.length > 0 ? [{ id: n.id, inputs }] : [];
        })
      : [];
    return treeOf({
      entry: model.entry,
      nodes,
      outputs: model.state(step).outputs,
      gone,
      prepared: this.#prepared,
      isOpen: (b) => this.#open.has(b.id),
    });
  }

  #build(then?: () => void): void {
    this.#stale = false;
    const tree = this.#makeTree(this.#app.view.step);
    const request: LayoutRequest = { id: ++this.#request, root: layoutOf(tree.root) };
    this.#pending = { tree, then: [...(this.#pending?.then ?? []), ...(then ? [then] : [])] };
    this.#worker.postMessage(request);
    const { id } = request;
    setTimeout(() => {
      if (this.#request === id && this.#pending) fill(this.#status, "laying out …");
    }, 200);
  }

  #placed(id: number, placed: PlacedBox): void {
    if (id !== this.#request || !this.#pending) return;
    const { tree, then } = this.#pending;
    this.#pending = undefined;
    const scene = sceneOf(tree.root, placed);
    this.#keepPlace(scene, tree);
    this.#tree = tree;
    this.#scene = scene;
    this.#describe(tree);
    if (!this.#fitted) this.fit();
    for (const t of then) t();
    const boxes = [...tree.items.values()].filter((x) => isBox(x) && x.open).length;
    fill(this.#status, `${tree.items.size - boxes}/${tree.root.size}`);
    document.documentElement.dataset["graph"] = String(this.#app.view.step);
    this.#draw();
    this.#drawMap();
  }

  /** What the reader looks at stays where it is, when the rest moves. */
  #keepPlace(scene: Scene, tree: Tree): void {
    if (!this.#scene) return;
    const { scale, x, y } = this.#camera;
    const [cx, cy] = [(this.#width / 2 - x) / scale, (this.#height / 2 - y) / scale];
    const chosen = this.#scene.byId.get(this.#chosenId() ?? "");
    const far = (p: Placed): number => Math.hypot(p.x + p.w / 2 - cx, p.y + p.h / 2 - cy);
    let [best, least] = [chosen && this.#inSight(chosen) ? chosen : undefined, Infinity];
    if (!best)
      for (const p of this.#scene.placed) {
        if (isBox(p.item) && p.item.open) continue;
        const now = tree.anchor(p.item.id);
        if (now && scene.byId.has(now.id) && far(p) < least) [best, least] = [p, far(p)];
      }
    const now = best && scene.byId.get(tree.anchor(best.item.id)?.id ?? "");
    if (!best || !now) return;
    this.#camera = {
      scale,
      x: x + (best.x + best.w / 2 - now.x - now.w / 2) * scale,
      y: y + (best.y - now.y) * scale,
    };
  }

  #describe(tree: Tree): void {
    const { model, view } = this.#app;
    const changes = model.changes(view.step);
    this.#types = new Map();
    const typed = (n: NodeDoc): void => n.results.forEach((r) => this.#types.set(r.id, r.type));
    for (const n of this.#nodes(view.step)) [n, ...(n.body?.nodes ?? [])].forEach(typed);
    for (const x of [...model.entry.inputs, ...model.entry.weights]) this.#types.set(x.id, x.type);
    const sums = new Map<string, Sum>();
    for (const item of tree.items.values()) sums.set(item.id, this.#sum(item, changes));
    const leaves = [...tree.items.values()].filter((x) => !(isBox(x) && x.open));
    const most = Math.max(1, ...leaves.map((x) => sums.get(x.id)!.flops));
    this.#looks = new Map(
      [...sums].map(([id, s]) => [
        id,
        {
          change: s.change,
          cost: s.flops / most,
          dead: s.tokens > 0 ? s.dead / s.tokens : 0,
          badge: badge(s),
        },
      ]),
    );
  }

  #sum(item: Item, changes: ReadonlyMap<string, ChangeKind>): Sum {
    const { model, view } = this.#app;
    const n = item.node;
    if (n) {
      const change = changes.get(n.id);
      const tokens = n.prepared ? 0 : n.results[0]!.tokens;
      const dead = change === "removed" ? 0 : tokens * (1 - model.liveShare(view.step, n));
      return {
        ...empty,
        change,
        flops: change === "removed" ? 0 : n.flops,
        tokens,
        dead,
        [change ?? "same"]: 1,
      };
    }
    if (!isBox(item)) return empty;
    return item.children.map((c) => this.#sum(c, changes)).reduce((a, b) => ({
      change: undefined,
      flops: a.flops + b.flops,
      tokens: a.tokens + b.tokens,
      dead: a.dead + b.dead,
      added: a.added + b.added,
      removed: a.removed + b.removed,
      changed: a.changed + b.changed,
    }), empty); // prettier-ignore
  }

  // ---- drawing ----

  get #width(): number {
    return this.#canvas.clientWidth;
  }

  get #height(): number {
    return this.#canvas.clientHeight;
  }

  #resize(): void {
    size(this.#canvas);
    size(this.#map);
    if (this.#scene && !this.#fitted) this.fit();
    this.#draw(true);
    this.#drawMap();
  }

  /** `now`: a canvas that changed its size is empty until it is drawn. */
  #draw(now = false): void {
    if (this.#drawing && !now) return;
    this.#drawing = true;
    const draw = (): void => {
      this.#drawing = false;
      const context = this.#canvas.getContext("2d");
      if (!context || !this.#scene || this.#width === 0) return;
      const { lit } = this.#app;
      paint(
        context,
        {
          scene: this.#scene,
          camera: this.#camera,
          width: this.#width,
          height: this.#height,
          anyLit: lit.nodes.size > 0,
          look: (item) => this.#look(item),
          shape: (value) => this.#app.model.shapes.short(this.#types.get(value) ?? ""),
        },
        this.#palette,
      );
      this.#drawMap();
    };
    if (now) draw();
    else requestAnimationFrame(draw);
  }

  #look(item: Item): Look {
    const { lit, hovered } = this.#app;
    const known = this.#looks.get(item.id) ?? { change: undefined, cost: 0, dead: 0, badge: "" };
    const chosen = item.id === this.#chosenId();
    const closed = isBox(item) && !item.open;
    const inside = (ids: ReadonlySet<string>): boolean =>
      ids.has(item.id) || (closed && ids.size > 0 && holds(item, ids));
    return { ...known, chosen, lit: inside(lit.nodes), hovered: inside(hovered.nodes) };
  }

  #chosenId(): string | undefined {
    const s = this.#app.view.selection;
    return s.kind === "node" ? s.id : s.kind === "scope" ? `scope:${s.path}` : undefined;
  }

  // ---- the map in the corner ----

  /** Tall graphs are drawn wider than they are, so that there is something to see. */
  #mapScale(): { readonly kx: number; readonly ky: number; readonly left: number } {
    const { w, h } = this.#scene!;
    const { clientWidth, clientHeight } = this.#map;
    const whole = Math.min(clientWidth / w, clientHeight / h);
    const kx = Math.min(clientWidth / w, whole * 8);
    return { kx, ky: whole, left: (clientWidth - w * kx) / 2 };
  }

  /** Into the corner where it hides the fewest nodes. */
  #placeMap(): void {
    const { scale, x, y } = this.#camera;
    const leaves = this.#scene!.placed.filter((p) => !(isBox(p.item) && p.item.open));
    const hidden = corners.map((corner) => {
      const left = corner.endsWith("left") ? 0 : this.#width - MAP_SIZE.w;
      const top = corner.startsWith("top") ? 0 : this.#height - MAP_SIZE.h;
      const across = (p: Placed): boolean =>
        p.x * scale + x < left + MAP_SIZE.w && (p.x + p.w) * scale + x > left;
      const down = (p: Placed): boolean =>
        p.y * scale + y < top + MAP_SIZE.h && (p.y + p.h) * scale + y > top;
      return leaves.filter((p) => across(p) && down(p)).length;
    });
    this.#map.dataset["corner"] = corners[hidden.indexOf(Math.min(...hidden))]!;
  }

  #drawMap(): void {
    const c = this.#map.getContext("2d");
    const scene = this.#scene;
    if (!c || !scene) return;
    const { scale, x, y } = this.#camera;
    const whole = scene.w * scale <= this.#width && scene.h * scale <= this.#height;
    if (this.#map.hidden !== whole) {
      this.#map.hidden = whole;
      size(this.#map);
    }
    if (whole) return;
    const ratio = window.devicePixelRatio;
    const { kx, ky, left } = this.#mapScale();
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.#map.clientWidth, this.#map.clientHeight);
    for (const p of scene.placed) {
      const { change, lit } = this.#look(p.item);
      const open = isBox(p.item) && p.item.open;
      c.fillStyle = lit && !open ? this.#palette["accent"]! : change && !open ? this.#palette[change]! : this.#palette[open ? "scope" : "strong-rule"]!; // prettier-ignore
      c.fillRect(left + p.x * kx, p.y * ky, p.w * kx, Math.max(0.75, p.h * ky));
    }
    c.strokeStyle = this.#palette["accent"]!;
    c.lineWidth = 1.5;
    const [x0, x1] = [left - (x / scale) * kx, left + ((this.#width - x) / scale) * kx];
    const [y0, y1] = [(-y / scale) * ky, ((this.#height - y) / scale) * ky];
    const [l, t] = [Math.max(1, x0), Math.max(1, y0)];
    const [r, b] = [Math.min(this.#map.clientWidth - 1, x1), Math.min(this.#map.clientHeight - 1, y1)];
    c.strokeRect(l, t, Math.max(3, r - l), Math.max(3, b - t));
  }

  // ---- moving ----

  /** All of it where that can be read; else its width, from the top. */
  fit(): void {
    const scene = this.#scene;
    if (!scene || this.#width === 0) return;
    const pad = 24;
    const across = (this.#width - 2 * pad) / scene.w;
    const whole = Math.min(across, (this.#height - 2 * pad) / scene.h);
    const scale = Math.min(1, whole >= 0.45 ? whole : Math.max(Math.min(across, 0.85), 0.1));
    const x = (this.#width - scene.w * scale) / 2;
    this.#camera = { scale, x, y: Math.max(pad, (this.#height - scene.h * scale) / 2) };
    if (scene.h * scale > this.#height - 2 * pad) this.#camera = { scale, x, y: pad };
    this.#placeMap();
    this.#draw();
  }

  zoom(by: number, at?: { readonly x: number; readonly y: number }): void {
    const { scale, x, y } = this.#camera;
    const next = Math.min(3, Math.max(0.03, scale * by));
    const [px, py] = at ? [at.x, at.y] : [this.#width / 2, this.#height / 2];
    this.#fitted = true;
    this.#camera = { scale: next, x: px - ((px - x) * next) / scale, y: py - ((py - y) * next) / scale };
    this.#draw();
  }

  #pan(dx: number, dy: number): void {
    this.#fitted = true;
    this.#camera = { ...this.#camera, x: this.#camera.x + dx, y: this.#camera.y + dy };
    this.#draw();
  }

  #centre(p: Placed): void {
    this.#fitted = true;
    const scale = Math.max(this.#camera.scale, 0.7);
    const x = this.#width / 2 - (p.x + p.w / 2) * scale;
    const y = this.#height / 2 - (p.y + Math.min(p.h / 2, this.#height / 3 / scale)) * scale;
    this.#camera = { scale, x, y };
  }

  #inSight(p: Placed): boolean {
    const { scale, x, y } = this.#camera;
    const [left, top] = [p.x * scale + x, p.y * scale + y];
    return left < this.#width && left + p.w * scale > 0 && top < this.#height && top + p.h * scale > 0;
  }

  /** Goes to what is selected, if none of it is in sight. Opens what hides a single node. */
  #reveal(): void {
    const tree = this.#tree;
    const chosen = this.#chosenId();
    if (!tree || !this.#scene) return;
    let opened = false;
    if (chosen !== undefined) {
      const anchor = tree.anchor(chosen);
      const full = anchor && isBox(anchor) && anchor.id !== chosen;
      for (let b: Box | undefined = full ? deepest(anchor, chosen) : undefined; b; b = b.parent) {
        if (!this.#open.has(b.id) && b.kind !== "root") opened = true;
        this.#open.add(b.id);
      }
    }
    const ids = chosen === undefined ? [...this.#app.lit.nodes] : [chosen];
    const go = (): void => {
      const places = ids.flatMap((id) => this.#scene!.byId.get(this.#tree!.anchor(id)?.id ?? id) ?? []);
      if (places.length > 0 && !places.some((p) => this.#inSight(p))) this.#centre(places[0]!);
      this.#draw();
    };
    if (opened) this.#build(go);
    else go();
  }

  /** The next node that the step touched, below or above what is chosen. */
  nextChange(way: 1 | -1): void {
    const scene = this.#scene;
    if (!scene) return;
    const changed = scene.placed
      .filter((p) => p.item.node && this.#looks.get(p.item.id)?.change)
      .sort((a, b) => a.y - b.y || a.x - b.x);
    const at = changed.findIndex((p) => p.item.id === this.#chosenId());
    const next = changed[at < 0 ? (way > 0 ? 0 : changed.length - 1) : at + way];
    if (next) this.#app.select({ kind: "node", id: next.item.id });
  }

  // ---- opening ----

  toggle(id: string): void {
    if (!this.#open.delete(id)) this.#open.add(id);
    this.#build();
  }

  openAll(open: boolean): void {
    const boxes = (b: Box): readonly Box[] => b.children.flatMap((c) => (isBox(c) ? [c, ...boxes(c)] : []));
    const root = this.#tree?.root;
    if (!root) return;
    for (const b of boxes(root))
      if (open) this.#open.add(b.id);
      else this.#open.delete(b.id);
    this.#build(() => (this.#fitted ? undefined : this.fit()));
  }

  show(what: "prepared" | "removed", on: boolean): void {
    if (what === "prepared") this.#prepared = on;
    else this.#removed = on;
    this.#build();
  }

  // ---- events ----

  #at(e: { readonly offsetX: number; readonly offsetY: number }): Placed | undefined {
    const { scale, x, y } = this.#camera;
    const [px, py] = [(e.offsetX - x) / scale, (e.offsetY - y) / scale];
    return this.#scene?.placed.findLast((p) => px >= p.x && px <= p.x + p.w && py >= p.y && py <= p.y + p.h);
  }

  #events(): void {
    const canvas = this.#canvas;
    let from: { x: number; y: number; moved: boolean } | undefined;
    canvas.onpointerdown = (e) => {
      from = { x: e.clientX, y: e.clientY, moved: false };
      canvas.setPointerCapture(e.pointerId);
    };
    canvas.onpointermove = (e) => {
      if (!from) return this.#hoverAt(e);
      const [dx, dy] = [e.clientX - from.x, e.clientY - from.y];
      if (!from.moved && Math.hypot(dx, dy) < 4) return;
      from = { x: e.clientX, y: e.clientY, moved: true };
      this.#pan(dx, dy);
    };
    canvas.onpointerup = (e) => {
      const moved = from?.moved;
      from = undefined;
      if (!moved) this.#click(e);
    };
    canvas.onpointercancel = () => (from = undefined);
    canvas.onpointerleave = () => this.#app.hover(nothing);
    canvas.ondblclick = (e) => {
      const item = this.#at(e)?.item;
      if (item && isBox(item)) this.toggle(item.id);
    };
    canvas.addEventListener(
      "wheel",
      (e) => {
        e.preventDefault();
        const lines = e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
        if (e.ctrlKey || e.metaKey)
          this.zoom(Math.exp(-e.deltaY * lines * 0.004), { x: e.offsetX, y: e.offsetY });
        else if (e.shiftKey && e.deltaX === 0) this.#pan(-e.deltaY * lines, 0);
        else this.#pan(-e.deltaX * lines, -e.deltaY * lines);
      },
      { passive: false },
    );
    const jump = (e: PointerEvent): void => {
      if (e.buttons === 0 || !this.#scene) return;
      const { kx, ky, left } = this.#mapScale();
      const { scale } = this.#camera;
      this.#fitted = true;
      const [x, y] = [(e.offsetX - left) / kx, e.offsetY / ky];
      this.#camera = { scale, x: this.#width / 2 - x * scale, y: this.#height / 2 - y * scale };
      this.#draw();
    };
    this.#map.onpointerdown = this.#map.onpointermove = jump;
  }

  #hoverAt(e: PointerEvent): void {
    const placed = this.#at(e);
    const item = placed?.item;
    this.#canvas.style.cursor = item && item.kind !== "run" ? "pointer" : "grab";
    this.#canvas.title = item?.node?.text ?? "";
    this.#app.hover(item?.node ? { kind: "node", id: item.node.id } : nothing);
  }

  #click(e: PointerEvent): void {
    const placed = this.#at(e);
    const item = placed?.item;
    if (!placed || !item) return this.#app.select(nothing);
    const { scale, x, y } = this.#camera;
    // The triangle opens and closes; the rest selects.
    const [px, py] = [(e.offsetX - x) / scale - placed.x, (e.offsetY - y) / scale - placed.y];
    if (isBox(item) && px < 22 && py < 26) return this.toggle(item.id);
    this.#app.select(selectionOf(item));
  }

  /** Where an item is on the screen, for tests and for the console. */
  rectOf(id: string): { x: number; y: number; w: number; h: number } | undefined {
    const p = this.#scene?.byId.get(id);
    const { left, top } = this.#canvas.getBoundingClientRect();
    const { scale, x, y } = this.#camera;
    return p && { x: left + x + p.x * scale, y: top + y + p.y * scale, w: p.w * scale, h: p.h * scale };
  }
}

/** As many pixels as the screen has for it. */
function size(canvas: HTMLCanvasElement): void {
  canvas.width = Math.round(canvas.clientWidth * window.devicePixelRatio);
  canvas.height = Math.round(canvas.clientHeight * window.devicePixelRatio);
}

interface Sum {
  readonly change: ChangeKind | undefined;
  readonly flops: number;
  readonly tokens: number;
  readonly dead: number;
  readonly added: number;
  readonly removed: number;
  readonly changed: number;
}

const empty: Sum = { change: undefined, flops: 0, tokens: 0, dead: 0, added: 0, removed: 0, changed: 0 };

function badge(s: Sum): string {
  const parts = [s.added && `+${s.added}`, s.removed && `−${s.removed}`, s.changed && `~${s.changed}`];
  return s.change ? "" : parts.filter(Boolean).join(" ");
}

function holds(b: Box, ids: ReadonlySet<string>): boolean {
  return b.children.some((c) => ids.has(c.id) || (isBox(c) && holds(c, ids)));
}

/** The innermost box that has the item as a child. */
function deepest(b: Box, id: string): Box | undefined {
  for (const c of b.children) {
    if (c.id === id) return b;
    const found = isBox(c) ? deepest(c, id) : undefined;
    if (found) return found;
  }
  return undefined;
}

function selectionOf(item: Item): Selection {
  if (item.kind === "scope") return { kind: "scope", path: item.id.slice("scope:".length) };
  if (item.kind === "weight") return { kind: "weight", key: item.id.slice(1) };
  if (item.kind === "output" || item.kind === "input" || item.kind === "run") return nothing;
  return { kind: "node", id: item.id };
}
