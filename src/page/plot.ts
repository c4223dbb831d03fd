// A canvas that is drawn again when its size or what it shows changes, and knows what the pointer is on. No library: three plots.

import { paletteOf, type Palette } from "./graph-paint.ts";

export interface Mark {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
  readonly title: string;
  readonly click: () => void;
  readonly hover: () => void;
}

export interface Brush {
  readonly c: CanvasRenderingContext2D;
  readonly width: number;
  readonly height: number;
  readonly colours: Palette;
}

export class Plot {
  readonly canvas: HTMLCanvasElement;
  /** Draws, and says where the marks are. */
  readonly #draw: (b: Brush) => readonly Mark[];
  #marks: readonly Mark[] = [];

  constructor(canvas: HTMLCanvasElement, draw: (b: Brush) => readonly Mark[], leave: () => void) {
    this.canvas = canvas;
    this.#draw = draw;
    canvas.onpointermove = (e) => {
      const mark = this.#at(e);
      canvas.style.cursor = mark ? "pointer" : "default";
      canvas.title = mark?.title ?? "";
      if (mark) mark.hover();
      else leave();
    };
    canvas.onpointerleave = leave;
    canvas.onclick = (e) => this.#at(e)?.click();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  draw(): void {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const c = canvas.getContext("2d");
    if (!c || width === 0 || height === 0) return;
    const ratio = window.devicePixelRatio;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    this.#marks = this.#draw({ c, width, height, colours: paletteOf(document.documentElement) });
  }

  #at(e: { readonly offsetX: number; readonly offsetY: number }): Mark | undefined {
    const near = 2;
    return this.#marks.findLast(
      (m) =>
        e.offsetX >= m.x - near &&
        e.offsetX <= m.x + m.w + near &&
        e.offsetY >= m.y &&
        e.offsetY <= m.y + m.h,
    );
  }
}

export const LABEL = `10.5px system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif`;

export function words(
  b: Brush,
  text: string,
  x: number,
  y: number,
  align: CanvasTextAlign = "left",
  colour = "quiet",
): void {
  b.c.font = LABEL;
  b.c.textAlign = align;
  b.c.textBaseline = "middle";
  b.c.fillStyle = b.colours[colour]!;
  b.c.fillText(text, x, y);
}

export function rule(
  b: Brush,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
  colour = "rule",
  dash: readonly number[] = [],
): void {
  b.c.beginPath();
  b.c.moveTo(x0, y0);
  b.c.lineTo(x1, y1);
  b.c.lineWidth = 1;
  b.c.setLineDash([...dash]);
  b.c.strokeStyle = b.colours[colour]!;
  b.c.stroke();
  b.c.setLineDash([]);
}
