// The map in the corner of the graph: all of it, small, with a frame around what is in sight.

import type { Camera, Look, Palette } from "./graph-paint.ts";
import { sizeToScreen } from "./dom.ts";
import type { Placed, Scene } from "./scene.ts";
import { isBox, type Item } from "./tree.ts";

/** Where it may be, as style.css has it: the first is its place unless another hides less. */
const corners = ["bottom right", "bottom left", "top right", "top left"] as const;
/** Its size with the space around it. */
const SIZE = { w: 122, h: 202 } as const;

/** What the graph's canvas shows of a scene. */
export interface Sight {
  readonly scene: Scene;
  readonly camera: Camera;
  readonly width: number;
  readonly height: number;
}

export class GraphMap {
  readonly #canvas: HTMLCanvasElement;

  /** `moved`: the reader wants this point of the scene in the middle. */
  constructor(
    canvas: HTMLCanvasElement,
    scene: () => Scene | undefined,
    moved: (x: number, y: number) => void,
  ) {
    this.#canvas = canvas;
    const jump = (e: PointerEvent): void => {
      const now = scene();
      if (e.buttons === 0 || !now) return;
      const { kx, ky, left } = this.#scale(now);
      moved((e.offsetX - left) / kx, e.offsetY / ky);
    };
    canvas.onpointerdown = canvas.onpointermove = jump;
  }

  resize(): void {
    sizeToScreen(this.#canvas);
  }

  /** Tall graphs are drawn wider than they are, so that there is something to see. */
  #scale({ w, h }: Scene): { readonly kx: number; readonly ky: number; readonly left: number } {
    const { clientWidth, clientHeight } = this.#canvas;
    const whole = Math.min(clientWidth / w, clientHeight / h);
    const kx = Math.min(clientWidth / w, whole * 8);
    return { kx, ky: whole, left: (clientWidth - w * kx) / 2 };
  }

  /** Into the corner where it hides the fewest nodes. */
  place({ scene, camera: { scale, x, y }, width, height }: Sight): void {
    const leaves = scene.placed.filter((p) => !(isBox(p.item) && p.item.open));
    const hidden = corners.map((corner) => {
      const left = corner.endsWith("left") ? 0 : width - SIZE.w;
      const top = corner.startsWith("top") ? 0 : height - SIZE.h;
      const across = (p: Placed): boolean =>
        p.x * scale + x < left + SIZE.w && (p.x + p.w) * scale + x > left;
      const down = (p: Placed): boolean => p.y * scale + y < top + SIZE.h && (p.y + p.h) * scale + y > top;
      return leaves.filter((p) => across(p) && down(p)).length;
    });
    this.#canvas.dataset["corner"] = corners[hidden.indexOf(Math.min(...hidden))]!;
  }

  draw(
    { scene, camera: { scale, x, y }, width, height }: Sight,
    look: (item: Item) => Look,
    palette: Palette,
  ): void {
    const c = this.#canvas.getContext("2d");
    if (!c) return;
    const whole = scene.w * scale <= width && scene.h * scale <= height;
    if (this.#canvas.hidden !== whole) {
      this.#canvas.hidden = whole;
      this.resize();
    }
    if (whole) return;
    const ratio = window.devicePixelRatio;
    const { kx, ky, left } = this.#scale(scene);
    const { clientWidth, clientHeight } = this.#canvas;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, clientWidth, clientHeight);
    for (const p of scene.placed) {
      const { change, lit } = look(p.item);
      const open = isBox(p.item) && p.item.open;
      const mark = lit && !open ? "accent" : change && !open ? change : open ? "scope" : "strong-rule";
      c.fillStyle = palette[mark]!;
      c.fillRect(left + p.x * kx, p.y * ky, p.w * kx, Math.max(0.75, p.h * ky));
    }
    c.strokeStyle = palette["accent"]!;
    c.lineWidth = 1.5;
    const [x0, x1] = [left - (x / scale) * kx, left + ((width - x) / scale) * kx];
    const [y0, y1] = [(-y / scale) * ky, ((height - y) / scale) * ky];
    const [l, t] = [Math.max(1, x0), Math.max(1, y0)];
    const [r, b] = [Math.min(clientWidth - 1, x1), Math.min(clientHeight - 1, y1)];
    c.strokeRect(l, t, Math.max(3, r - l), Math.max(3, b - t));
  }
}
