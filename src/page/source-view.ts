// The model's text, with what each line costs beside it. A click on a line lights up all that came from it.

import type { LineCost } from "../explain/answers.ts";
import { amount, bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { byId, fill, h, link } from "./dom.ts";
import { highlight } from "./highlight.ts";
import { nothing } from "./state.ts";

/** Height of a line, as the style has it. */
const LINE = 18;
/** Files longer than this are laid out where they are looked at: nobody waits for the rest. */
const LONG = 1000;

interface Metric {
  readonly name: string;
  readonly label: string;
  readonly value: (c: LineCost) => number;
  readonly show: (c: LineCost) => string;
}

const metrics: readonly Metric[] = [
  { name: "flops", label: "FLOPs", value: (c) => c.flops, show: (c) => amount(c.flops).trimEnd() },
  { name: "bytes", label: "bytes", value: (c) => c.bytes, show: (c) => bytes(c.bytes) },
  { name: "time", label: "time", value: (c) => c.timeShare ?? 0, show: (c) => `${(100 * (c.timeShare ?? 0)).toFixed(1)} %` }, // prettier-ignore
  { name: "peak", label: "at the peak", value: (c) => c.peakBytes, show: (c) => bytes(c.peakBytes) },
  { name: "tokens", label: "live tokens", value: (c) => c.liveTokens, show: (c) => c.liveTokens < c.tokens ? `${amount(c.liveTokens).trimEnd()}/${amount(c.tokens).trimEnd()}` : amount(c.tokens).trimEnd() }, // prettier-ignore
];

export class SourceView {
  readonly #app: App;
  readonly #lines = byId("source-lines");
  readonly #files = byId<HTMLSelectElement>("source-file");
  readonly #metrics = byId<HTMLSelectElement>("source-metric");
  readonly #more = byId("source-more");
  #file = 0;
  #rows: readonly HTMLElement[] = [];

  constructor(app: App) {
    this.#app = app;
    fill(
      this.#files,
      app.doc.sources.map((s, i) => new Option(s.name, String(i))),
    );
    this.#files.onchange = () => this.show(Number(this.#files.value));
    this.#metrics.onchange = () => this.#draw();
    this.#lines.onclick = (e) => {
      const line = lineAt(e.target);
      if (line !== undefined && getSelection()?.isCollapsed !== false) this.#toggle(line);
    };
    this.#lines.onpointerover = (e) => this.#hover(lineAt(e.target));
    this.#lines.onpointerleave = () => this.#hover(undefined);
    this.#lines.onkeydown = (e) => this.#key(e);
    app.onChange((c) => {
      if (c.entry) this.#entry();
      if (c.selection) this.#follow();
      if (c.selection || c.step || c.hover) this.#light();
    });
  }

  show(file: number): void {
    this.#file = file;
    this.#files.value = String(file);
    this.#draw();
  }

  #entry(): void {
    const offered = metrics.filter((m) => m.name !== "time" || this.#app.model.measured);
    fill(
      this.#metrics,
      offered.map((m) => new Option(m.label, m.name)),
    );
    this.#metrics.value = this.#app.model.measured ? "time" : "flops";
    this.show(this.#file);
    // Comments and configurations come first in a file; what was compiled is what the reader came for.
    const first = Math.min(...this.#app.model.costs(this.#file).keys());
    this.#lines.scrollTop = first * LINE - this.#lines.clientHeight / 3;
  }

  #draw(): void {
    const { doc, model } = this.#app;
    const metric = metrics.find((m) => m.name === this.#metrics.value) ?? metrics[0]!;
    const costs = model.costs(this.#file);
    const most = Math.max(1e-12, ...[...costs.values()].map(metric.value));
    const source = doc.sources[this.#file]!;
    const lines = source.text.replace(/\n$/, "").split("\n");
    this.#lines.classList.toggle("long", lines.length > LONG);
    this.#rows = lines.map((text, i) => {
      const cost = costs.get(i + 1);
      const share = cost ? metric.value(cost) / most : 0;
      return h(
        "div",
        { class: cost ? "src live" : "src", "data-line": String(i + 1), ...(cost && { title: describe(cost) }) },
        h("span", { class: "number" }, String(i + 1)),
        h("span", { class: "meter", style: `--share:${share.toFixed(4)}` }, cost && metric.value(cost) > 0 ? metric.show(cost) : ""), // prettier-ignore
        h("code", {}, highlight(text, "model")),
      );
    }); // prettier-ignore
    fill(
      this.#lines,
      source.text === "" ? h("p", { class: "quiet" }, "The text of this file is not here.") : this.#rows,
    );
    this.#light();
  }

  #light(): void {
    const { lit, hovered, view } = this.#app;
    const s = view.selection;
    this.#rows.forEach((row, i) => {
      const name = `${this.#file}:${i + 1}`;
      row.classList.toggle("lit", lit.lines.has(name));
      row.classList.toggle("hovered", hovered.lines.has(name));
      const chosen = s.kind === "line" && s.source === this.#file && s.line === i + 1;
      row.classList.toggle("chosen", chosen);
    });
    this.#others();
  }

  /** Lines of other files that are lit: a click goes there, and keeps what is selected. */
  #others(): void {
    const { lit, doc } = this.#app;
    const byFile = new Map<number, number[]>();
    for (const [file, line] of [...lit.lines].map((l) => l.split(":").map(Number) as [number, number]))
      if (file !== this.#file) byFile.set(file, [...(byFile.get(file) ?? []), line]);
    this.#more.hidden = byFile.size === 0;
    fill(
      this.#more,
      h("span", { class: "quiet" }, "and in"),
      [...byFile].map(([file, lines]) => {
        const sorted = lines.sort((a, b) => a - b);
        return link(`${doc.sources[file]!.name}:${sorted.slice(0, 6).join(", ")}${lines.length > 6 ? ", …" : ""}`, () => {
          this.show(file);
          this.#rows[sorted[0]! - 1]?.scrollIntoView({ block: "center" });
        }); // prettier-ignore
      }),
    );
  }

  /** Shows a line of what is selected: in this file if there is one. */
  #follow(): void {
    const { lit, view } = this.#app;
    const s = view.selection;
    if (s.kind === "line" && s.source !== this.#file) this.show(s.source);
    const lines = [...lit.lines].map((l) => l.split(":").map(Number) as [number, number]);
    const here = lines.filter(([file]) => file === this.#file).map(([, line]) => line);
    if (here.length === 0) return;
    const box = this.#lines.getBoundingClientRect();
    const rows = here.map((line) => this.#rows[line - 1]?.getBoundingClientRect());
    if (rows.some((r) => r && r.top >= box.top && r.bottom <= box.bottom)) return;
    this.#rows[Math.min(...here) - 1]?.scrollIntoView({ block: "center" });
  }

  #toggle(line: number): void {
    const s = this.#app.view.selection;
    const again = s.kind === "line" && s.source === this.#file && s.line === line;
    this.#app.select(again ? nothing : { kind: "line", source: this.#file, line });
  }

  #hover(line: number | undefined): void {
    const known = line !== undefined && this.#app.model.costs(this.#file).has(line);
    this.#app.hover(known ? { kind: "line", source: this.#file, line } : nothing);
  }

  /** Up and down go from line to line that something came from. */
  #key(e: KeyboardEvent): void {
    const way = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[e.key];
    if (way === undefined || e.ctrlKey || e.metaKey || e.altKey) return;
    const s = this.#app.view.selection;
    const at = s.kind === "line" && s.source === this.#file ? s.line : way > 0 ? 0 : Infinity;
    const known = [...this.#app.model.costs(this.#file).keys()];
    const next = way > 0 ? known.find((l) => l > at) : known.findLast((l) => l < at);
    if (next === undefined) return;
    e.preventDefault();
    this.#app.select({ kind: "line", source: this.#file, line: next });
  }
}

function lineAt(target: EventTarget | null): number | undefined {
  const row = target instanceof Element ? target.closest<HTMLElement>(".src") : null;
  return row ? Number(row.dataset["line"]) : undefined;
}

function describe(c: LineCost): string {
  const live = c.liveTokens < c.tokens ? `${amount(c.liveTokens)}of ${amount(c.tokens)}tokens live` : `${amount(c.tokens)}tokens`; // prettier-ignore
  const time = c.timeShare === undefined ? "" : `\n${(100 * c.timeShare).toFixed(1)} % of the time`;
  return `${c.types.join("\n")}\n${live}\n${amount(c.flops)}FLOP, ${bytes(c.bytes)}${time}\n${c.nodes} nodes, ${c.kernels.length} kernels`;
}
