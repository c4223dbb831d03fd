// The graph of the step that is on: builds its tree, has it laid out by the worker, and draws what is in sight. Events of the canvas.

import type { App } from "./app.ts";
import { byId, fill, sizeToScreen } from "./dom.ts";
import { looksOf, typesOf, type StillLook } from "./graph-looks.ts";
import { GraphMap, type Sight } from "./graph-map.ts";
import { paint, paletteOf, type Camera, type Look, type Palette } from "./graph-paint.ts";
import { onPointer } from "./graph-pointer.ts";
import type { PlacedBox } from "./layout.ts";
import type { LayoutRequest } from "./layout-worker.ts";
import { layoutOf, sceneOf, type Placed, type Scene } from "./scene.ts";
import { nothing, type Selection } from "./state.ts";
import { stepNodes, stepTree, type Shown } from "./step-tree.ts";
import { deepest, holds, isBox, type Box, type Item, type Tree } from "./tree.ts";

/** Boxes are opened, outermost first, until this many things are in sight. */
const AT_FIRST = 45;

export class GraphView {
  readonly #app: App;
  readonly #canvas = byId<HTMLCanvasElement>("graph");
  readonly #map: GraphMap;
  readonly #status = byId("graph-status");
  readonly #worker: Worker;
  readonly #open = new Set<string>();
  #palette: Palette = {};
  #tree: Tree | undefined;
  #scene: Scene | undefined;
  #looks: ReadonlyMap<string, StillLook> = new Map();
  #types: ReadonlyMap<string, string> = new Map();
  #camera: Camera = { scale: 1, x: 0, y: 0 };
  #request = 0;
  #pending: { tree: Tree; then: (() => void)[] } | undefined;
  #stale = true;
  #drawing = false;
  #show: Shown = { prepared: false, removed: true };
  /** Where the reader moved to by hand; until then the graph is fitted. */
  #fitted = false;

  constructor(app: App, worker: Worker) {
    this.#app = app;
    this.#worker = worker;
    worker.onmessage = (e: MessageEvent<{ id: number; placed: PlacedBox }>) => this.#placed(e.data.id, e.data.placed); // prettier-ignore
    worker.onerror = (e) => fill(this.#status, `the layout failed: ${e.message}`);
    this.#map = new GraphMap(
      byId("minimap"),
      () => this.#scene,
      (x, y) => this.#lookAt(x, y),
    );
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
    const tree = this.#makeTree();
    // Whole levels: equal blocks are all open, or all closed.
    for (let level = tree.root.children.filter(isBox); level.length > 0;) {
      const more = level.filter((b) => b.kind !== "group");
      const size = more.reduce((n, b) => n + b.children.length, tree.root.children.length);
      if (size > AT_FIRST) break;
      for (const b of more) this.#open.add(b.id);
      level = more.flatMap((b) => b.children.filter(isBox));
    }
  }

  #makeTree(): Tree {
    const { model, view } = this.#app;
    return stepTree(model, view.step, this.#show, (b) => this.#open.has(b.id));
  }

  #build(then?: () => void): void {
    this.#stale = false;
    const tree = this.#makeTree();
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
    this.#looks = looksOf(this.#app, tree);
    this.#types = typesOf(this.#app, stepNodes(this.#app.model, this.#app.view.step, this.#show));
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

  // ---- drawing ----

  get #width(): number {
    return this.#canvas.clientWidth;
  }

  get #height(): number {
    return this.#canvas.clientHeight;
  }

  #resize(): void {
    sizeToScreen(this.#canvas);
    this.#map.resize();
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
      const sight = this.#sight;
      if (!context || !sight || this.#width === 0) return;
      const { lit } = this.#app;
      paint(
        context,
        {
          ...sight,
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

  get #sight(): Sight | undefined {
    const scene = this.#scene;
    return scene && { scene, camera: this.#camera, width: this.#width, height: this.#height };
  }

  #drawMap(): void {
    const sight = this.#sight;
    if (sight) this.#map.draw(sight, (item) => this.#look(item), this.#palette);
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
    this.#map.place(this.#sight!);
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

  #lookAt(x: number, y: number): void {
    const { scale } = this.#camera;
    this.#fitted = true;
    this.#camera = { scale, x: this.#width / 2 - x * scale, y: this.#height / 2 - y * scale };
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
    this.#show = { ...this.#show, [what]: on };
    this.#build();
  }

  // ---- events ----

  #at(e: { readonly offsetX: number; readonly offsetY: number }): Placed | undefined {
    const { scale, x, y } = this.#camera;
    const [px, py] = [(e.offsetX - x) / scale, (e.offsetY - y) / scale];
    return this.#scene?.placed.findLast((p) => px >= p.x && px <= p.x + p.w && py >= p.y && py <= p.y + p.h);
  }

  #events(): void {
    onPointer(this.#canvas, {
      hover: (e) => this.#hoverAt(e),
      leave: () => this.#app.hover(nothing),
      click: (e) => this.#click(e),
      open: (e) => {
        const item = this.#at(e)?.item;
        if (item && isBox(item)) this.toggle(item.id);
      },
      pan: (dx, dy) => this.#pan(dx, dy),
      zoom: (by, at) => this.zoom(by, at),
    });
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

function selectionOf(item: Item): Selection {
  if (item.kind === "scope") return { kind: "scope", path: item.id.slice("scope:".length) };
  if (item.kind === "weight") return { kind: "weight", key: item.id.slice(1) };
  if (item.kind === "output" || item.kind === "input" || item.kind === "run") return nothing;
  return { kind: "node", id: item.id };
}
