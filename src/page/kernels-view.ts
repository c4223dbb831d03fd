// Every kernel: what it costs, in a table; its place under the roof; its code in both languages, and why it is cut as it is.

import { explainKernel, type KernelAnswer } from "../explain/answers.ts";
import { boundOf, intensity } from "../explain/speed.ts";
import { amount, bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { byId, fill, h, link } from "./dom.ts";
import { listing } from "./highlight.ts";
import { bindings } from "./inspector-rows.ts";
import * as part from "./parts.ts";
import { Plot } from "./plot.ts";
import { drawRoofline } from "./roofline.ts";
import { nothing } from "./state.ts";

interface Row {
  readonly index: number;
  readonly name: string;
  readonly runs: number;
  readonly flops: number;
  readonly bytes: number;
  readonly time: number;
  readonly reached: number;
}

type Column = "name" | "runs" | "flops" | "bytes" | "time" | "reached";

export class KernelsView {
  readonly #app: App;
  readonly #table = byId("kernel-table");
  readonly #detail = byId("kernel-detail");
  readonly #roofline: Plot;
  #sort: Column = "time";
  #language: "wgsl" | "kernel" = "wgsl";
  #shown: number | undefined;

  constructor(app: App) {
    this.#app = app;
    this.#roofline = new Plot(byId<HTMLCanvasElement>("roofline"), (b) => drawRoofline(app, b), () => app.hover(nothing)); // prettier-ignore
    app.onChange((c) => {
      if (app.view.tab !== "kernels") return;
      if (c.entry || c.tab) this.#draw();
      if (c.entry || c.tab || c.selection) this.#follow();
      if (c.selection || c.hover || c.step) this.#light();
    });
  }

  recolour(): void {
    this.#roofline.draw();
  }

  #rows(): readonly Row[] {
    const { doc, model } = this.#app;
    const rows = doc.kernels.map((k, index): Row => {
      const own = model.entry.dispatches.flatMap((d, i) =>
        d.kernel === index ? [{ d, t: model.times[i]! }] : [],
      );
      const sum = (of: (x: (typeof own)[number]) => number): number => own.reduce((n, x) => n + of(x), 0);
      const best = sum((x) => boundOf(doc.target, x.d));
      const time = sum((x) => x.t);
      return { index, name: k.name, runs: own.length, flops: sum((x) => x.d.flops), bytes: sum((x) => x.d.bytes), time, reached: time > 0 ? best / time : 0 }; // prettier-ignore
    });
    const used = rows.filter((r) => r.runs > 0);
    const by = this.#sort;
    return by === "name" ? used.sort((a, b) => a.index - b.index) : by === "reached" ? used.sort((a, b) => a.reached - b.reached) : used.sort((a, b) => b[by] - a[by]); // prettier-ignore
  }

  #draw(): void {
    const { model } = this.#app;
    const head = (by: Column, text: string, title: string, right = true): HTMLElement =>
      h("th", { class: right ? "num" : "", title, "aria-sort": this.#sort === by ? "descending" : "none" }, link(text, () => { this.#sort = by; this.#draw(); this.#light(); })); // prettier-ignore
    const total = model.totalTime;
    fill(
      this.#table,
      h("thead", {}, h("tr", {}, head("name", "kernel", "in order of the plan", false), head("runs", "runs", "dispatches"), head("flops", "FLOP", "of all its dispatches"), head("bytes", "bytes", "what must move at least"), head("time", model.measured ? "time" : "at best", model.measured ? "measured" : "what the target's figures allow: no profile was given"), h("th", { class: "num" }, "share"), model.measured && head("reached", "ceiling", "how much of what the adapter's measured figures allow"))),
      h("tbody", {}, this.#rows().map((r) =>
        h("tr", { "data-kernel": String(r.index), tabindex: "0", onclick: () => this.#app.select({ kind: "kernel", index: r.index }) },
          h("td", {}, h("span", { class: "tag" }, `k${r.index}`), r.name),
          h("td", { class: "num" }, String(r.runs)),
          h("td", { class: "num" }, amount(r.flops)),
          h("td", { class: "num" }, bytes(r.bytes)),
          h("td", { class: "num" }, part.time(r.time)),
          h("td", {}, h("span", { class: "meter", style: `--share:${(r.time / total).toFixed(4)}` }, part.percent(r.time / total))),
          model.measured && h("td", { class: "num" }, part.percent(r.reached))),
      )),
    ); // prettier-ignore
    for (const row of this.#table.querySelectorAll<HTMLElement>("tbody tr"))
      row.onkeydown = (e) => e.key === "Enter" && row.click();
    this.#roofline.draw();
  }

  /** The kernel that is selected, or of which something is; the costliest at first. */
  #follow(): void {
    const { view, model, lit } = this.#app;
    const s = view.selection;
    const index =
      s.kind === "kernel" ? s.index : s.kind === "dispatch" ? model.entry.dispatches[s.index]!.kernel : ([...lit.kernels][0] ?? this.#shown ?? this.#rows()[0]?.index); // prettier-ignore
    if (index === undefined)
      return fill(this.#detail, h("p", { class: "quiet" }, "This entry point has no kernels."));
    this.#shown = index;
    this.#kernel(explainKernel(this.#app.doc, model.entry, index));
  }

  #kernel(k: KernelAnswer): void {
    const app = this.#app;
    const chosen = (language: "wgsl" | "kernel", text: string): HTMLElement => {
      const b = link(text, () => { this.#language = language; this.#kernel(k); }, { class: "pick", "aria-pressed": String(this.#language === language) }); // prettier-ignore
      return b;
    };
    const nanoseconds = k.dispatches.reduce((n, d) => n + app.model.times[d.index]!, 0);
    const grids = new Map<string, number>();
    for (const d of k.dispatches) grids.set(d.grid.join(" × "), (grids.get(d.grid.join(" × ")) ?? 0) + 1);
    const best = k.dispatches.reduce((n, d) => n + boundOf(app.doc.target, d), 0);
    const many = k.dispatches.length;
    fill(
      this.#detail,
      h("h2", {}, h("span", { class: "tag" }, `k${k.index}`), k.name),
      part.facts(
        ["schedule", [...new Set(k.dispatches.map((d) => d.schedule))].map((s) => h("div", {}, s))],
        ["because", [...new Set(k.dispatches.map((d) => d.why))].map((s) => h("div", {}, s))],
        ["workgroups", [...grids].map(([g, n]) => `${g}${n > 1 ? ` (${n} times)` : ""}`).join("; ") + `, of ${k.workgroupSize.join(" × ")} invocations`],
        ["work", `${amount(k.flops)}FLOP, ${bytes(k.bytes)}, ${intensity(k).toPrecision(3)} FLOP a byte`],
        [app.model.measured ? "time" : "at best", `${part.time(nanoseconds)}, ${part.percent(nanoseconds / app.model.totalTime)} of all${app.model.measured ? `; ${part.percent(best / nanoseconds)} of what ${app.doc.target.name}'s figures allow` : ", by the target's figures"}`],
        ["lines", part.lineLinks(app, k.dispatches.flatMap((d) => d.places))],
        ["dispatches", k.dispatches.slice(0, 24).map((d) => link(`#${d.index}`, () => app.select({ kind: "dispatch", index: d.index }), { class: "mono" })).concat(many > 24 ? [link(`and ${many - 24} more`, () => app.go({ tab: "run", selection: { kind: "kernel", index: k.index } }))] : [])],
        ["features", k.features.join(", ")],
      ),
      h("details", {}, h("summary", {}, "Bindings", h("span", { class: "count" }, String(k.bindings.length))), bindings(k.bindings)),
      h("details", {}, h("summary", {}, "Computes", h("span", { class: "count" }, String(k.nodes.length))), k.nodes.map((n) => h("div", { class: "quote" }, part.irText(app, n)))),
      h("div", { class: "picks" }, chosen("wgsl", "WGSL"), chosen("kernel", "kernel IR"), h("span", { class: "spring" }), link("copy", () => void navigator.clipboard.writeText(this.#language === "wgsl" ? k.wgsl : k.text))),
      this.#language === "wgsl" ? listing(k.wgsl, "wgsl") : listing(k.text, "kernel"),
    ); // prettier-ignore
    this.#detail.scrollTop = 0;
  }

  #light(): void {
    const { lit, hovered } = this.#app;
    for (const row of this.#table.querySelectorAll<HTMLElement>("tr[data-kernel]")) {
      const index = Number(row.dataset["kernel"]);
      row.classList.toggle("lit", lit.kernels.has(index));
      row.classList.toggle("hovered", hovered.kernels.has(index));
      row.classList.toggle("chosen", index === this.#shown);
    }
    this.#roofline.draw();
  }
}
