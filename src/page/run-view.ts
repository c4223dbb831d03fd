// One run: the dispatches in order, as wide as they take time, and below them the memory plan on the same axis.

import { amount, bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { byId, fill } from "./dom.ts";
import { percent, time } from "./parts.ts";
import { Plot, rule, words, type Brush, type Mark } from "./plot.ts";
import { nothing } from "./state.ts";

const LEFT = 66;
const RIGHT = 14;

export class RunView {
  readonly #app: App;
  readonly #timeline: Plot;
  readonly #memory: Plot;
  readonly #axis = byId<HTMLSelectElement>("run-axis");
  /** Where each dispatch begins on the axis, 0 to 1; one more for the end. */
  #starts: readonly number[] = [0];

  constructor(app: App) {
    this.#app = app;
    const leave = (): void => app.hover(nothing);
    this.#timeline = new Plot(byId<HTMLCanvasElement>("timeline"), (b) => this.#drawTimeline(b), leave);
    this.#memory = new Plot(byId<HTMLCanvasElement>("memory"), (b) => this.#drawMemory(b), leave);
    this.#axis.onchange = () => this.#draw();
    app.onChange((c) => {
      if (app.view.tab !== "run") return;
      if (c.entry || c.tab) this.#draw();
      else if (c.selection || c.hover || c.step) this.recolour();
    });
  }

  recolour(): void {
    this.#timeline.draw();
    this.#memory.draw();
  }

  #draw(): void {
    const { model } = this.#app;
    const { entry } = model;
    const widths = this.#axis.value === "time" ? model.times : entry.dispatches.map(() => 1);
    const total = Math.max(1e-9, widths.reduce((a, b) => a + b, 0)); // prettier-ignore
    let at = 0;
    this.#starts = [0, ...widths.map((w) => (at += w) / total)];
    const note = model.measured
      ? `measured on ${entry.profile!.adapter}, ${entry.profile!.method === "timestamps" ? "by GPU timestamps" : "by the wall clock, one submit each"}`
      : `no profile was given: times are what ${this.#app.doc.target.name}'s figures allow at best`;
    fill(byId("timeline-note"), `${entry.dispatches.length} dispatches, ${time(model.totalTime)}; ${note}`);
    const { memory } = entry;
    const constants = this.#app.doc.constants.reduce((n, c) => n + c.bytes, 0);
    fill(
      byId("memory-note"),
      `arena ${bytes(memory.arenaBytes)}; at most ${bytes(memory.peakBytes)} alive at once, at dispatch ${memory.peakAt}; beside it ${bytes(constants)} of weights`,
    );
    this.recolour();
  }

  #x(b: Brush): (dispatch: number) => number {
    return (i) => LEFT + this.#starts[Math.min(i, this.#starts.length - 1)]! * (b.width - LEFT - RIGHT);
  }

  // ---- dispatches ----

  #drawTimeline(b: Brush): readonly Mark[] {
    const { doc, model, lit, hovered } = this.#app;
    const x = this.#x(b);
    const [top, height] = [20, b.height - 40];
    const anyLit = lit.dispatches.size > 0;
    const byTime = this.#axis.value === "time";
    const most = Math.max(...model.times, 1e-9);
    const marks = model.entry.dispatches.map((d, i): Mark => {
      const strong = lit.dispatches.has(i) || hovered.dispatches.has(i);
      const [left, right] = [x(i), x(i + 1)];
      const share = byTime ? 1 : model.times[i]! / most;
      const h = Math.max(2, height * share);
      const gap = right - left > 3 ? 0.75 : 0;
      b.c.globalAlpha = anyLit && !strong ? 0.3 : 1;
      b.c.fillStyle = strong ? b.colours["accent"]! : hue(d.kernel, doc.kernels.length);
      b.c.fillRect(left, top + height - h, Math.max(0.75, right - left - gap), h);
      if (byTime && right - left > 40) {
        b.c.save();
        b.c.beginPath();
        b.c.rect(left, top, right - left - 2, height);
        b.c.clip();
        words(b, doc.kernels[d.kernel]!.name, left + 5, top + height / 2, "left", "canvas");
        b.c.restore();
      }
      b.c.globalAlpha = 1;
      return this.#mark(i, { x: left, y: top, w: right - left, h: height });
    });
    words(b, byTime ? "kernel" : "time", LEFT - 8, top + height / 2, "right");
    this.#ticks(b, top + height + 10);
    return marks;
  }

  #mark(i: number, at: { x: number; y: number; w: number; h: number }): Mark {
    const { doc, model } = this.#app;
    const d = model.entry.dispatches[i]!;
    return {
      ...at,
      title: `#${i} ${doc.kernels[d.kernel]!.name}\n${time(model.times[i]!)}, ${percent(model.times[i]! / model.totalTime)}\n${amount(d.flops)}FLOP, ${bytes(d.bytes)}`,
      click: () => this.#app.select({ kind: "dispatch", index: i }),
      hover: () => this.#app.hover({ kind: "dispatch", index: i }),
    };
  }

  #ticks(b: Brush, y: number): void {
    const x = this.#x(b);
    const n = this.#app.model.entry.dispatches.length;
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].find((s) => n / s <= 14) ?? 5000;
    let last = -Infinity;
    for (let i = 0; i < n; i += step)
      if (x(i) - last > 34) {
        words(b, `#${i}`, x(i), y);
        last = x(i);
      }
  }

  // ---- memory ----

  #drawMemory(b: Brush): readonly Mark[] {
    const { model, lit, hovered, view } = this.#app;
    const { memory, dispatches } = model.entry;
    const x = this.#x(b);
    const [top, bottom] = [22, b.height - 22];
    const y = (offset: number): number => bottom - (offset / Math.max(1, memory.arenaBytes)) * (bottom - top);
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      rule(b, LEFT, y(part * memory.arenaBytes), b.width - RIGHT, y(part * memory.arenaBytes));
      words(b, bytes(part * memory.arenaBytes), LEFT - 8, y(part * memory.arenaBytes), "right");
    }
    const [from, to] = [x(memory.peakAt), x(memory.peakAt + 1)];
    b.c.fillStyle = b.colours["changed-soft"]!;
    b.c.fillRect(from, top, Math.max(1.5, to - from), bottom - top);
    const s = view.selection;
    const chosen = s.kind === "node" ? s.id : "";
    const anyLit = lit.dispatches.size > 0;
    const marks = memory.lifetimes.map((l): Mark => {
      const strong = lit.dispatches.has(l.first) || hovered.dispatches.has(l.first) || l.id === chosen;
      const alive = l.first <= memory.peakAt && memory.peakAt <= l.last;
      const [left, right] = [x(l.first), x(Math.min(l.last + 1, dispatches.length))];
      const at = {
        x: left,
        y: y(l.offset + l.bytes),
        w: Math.max(1, right - left),
        h: Math.max(1, y(l.offset) - y(l.offset + l.bytes)),
      };
      b.c.globalAlpha = anyLit && !strong ? 0.35 : 1;
      b.c.fillStyle = strong ? b.colours["accent-soft"]! : b.colours[alive ? "changed-soft" : "scope"]!;
      b.c.fillRect(at.x, at.y, at.w, at.h);
      b.c.lineWidth = 1;
      b.c.strokeStyle = strong ? b.colours["accent"]! : b.colours[alive ? "changed" : "strong-rule"]!;
      b.c.strokeRect(at.x + 0.5, at.y + 0.5, Math.max(0, at.w - 1), Math.max(0, at.h - 1));
      if (at.w > 60 && at.h > 13) words(b, `${l.id}  ${bytes(l.bytes)}`, at.x + 6, at.y + at.h / 2, "left", strong ? "accent" : "text"); // prettier-ignore
      b.c.globalAlpha = 1;
      const ends = l.last >= dispatches.length ? "leaves the run" : `read last by #${l.last}`;
      return {
        ...at,
        title: `${l.id}: ${bytes(l.bytes)} at ${l.offset}\nwritten by #${l.first}, ${ends}`,
        click: () => this.#app.select({ kind: "node", id: l.id }),
        hover: () => this.#app.hover({ kind: "dispatch", index: l.first }),
      };
    });
    rule(b, (from + to) / 2, top - 6, (from + to) / 2, bottom, "changed", [3, 3]);
    const right = (from + to) / 2 > b.width / 2;
    words(b, `peak ${bytes(memory.peakBytes)}`, (from + to) / 2 + (right ? -5 : 5), top - 10, right ? "right" : "left", "changed"); // prettier-ignore
    this.#ticks(b, bottom + 11);
    return marks;
  }
}

/** Kernels in order around half of the circle, calm enough for both themes. */
function hue(kernel: number, of: number): string {
  return `hsl(${Math.round(185 + (kernel / Math.max(of, 1)) * 160)} 38% 56%)`;
}
