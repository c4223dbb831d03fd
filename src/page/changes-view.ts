// What one pass did: its promise and its cost effect, the rules that fired with their equations, those refused with the condition that
// failed, and the difference of the text.

import type { NodeDoc, PassDoc, StepDoc } from "../explain/document.ts";
import { amount, bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { byId, fill, h, link, longList } from "./dom.ts";
import * as part from "./parts.ts";

const promises = {
  exact: "bit-equal in f64",
  reassociates: "equal in real arithmetic",
  approximates: "changes the function",
} as const;

export class ChangesView {
  readonly #app: App;
  readonly #place = byId("changes");

  constructor(app: App) {
    this.#app = app;
    app.onChange((c) => {
      if (app.view.tab === "changes" && (c.entry || c.step || c.tab)) this.#draw();
      if (app.view.tab === "changes" && c.selection) this.#show();
    });
  }

  #draw(): void {
    const { model, view, doc } = this.#app;
    const step = model.pass(view.step);
    this.#place.parentElement!.scrollTop = 0;
    if (!step) return this.#start();
    const pass = doc.passes[step.pass]!;
    const diff = h("div", { class: "diffs" });
    const rows = this.#rows(step);
    fill(
      this.#place,
      h("h2", {}, pass.name, h("span", { class: `numerics ${pass.numerics}`, title: promises[pass.numerics] }, pass.numerics)),
      h("p", {}, pass.doc),
      pass.domain !== undefined && h("p", { class: "quiet" }, `Holds for ${pass.domain}.`),
      h("p", { class: "quiet" }, part.codeLink(pass.code)),
      this.#costs(step),
      this.#fired(step),
      this.#refused(step),
      this.#silent(pass, step),
      part.section("Difference", rows.length, rows.length === 0 && h("p", { class: "quiet" }, "It changed nothing."), diff),
    ); // prettier-ignore
    longList(diff, rows, (r) => this.#row(r));
    this.#show();
  }

  #start(): void {
    const { model } = this.#app;
    const { cost, nodes } = model.state(0);
    const list = h("div", { class: "diffs" });
    fill(
      this.#place,
      h("h2", {}, "As the model says it"),
      h("p", {}, "The graph before any pass. Walk on with the slider, or with the keys ← and →."),
      part.facts(["nodes", String(cost.nodes)], ["work", `${amount(cost.flops)}FLOP`], ["memory", `${bytes(cost.bytes)} moved, if every node were a kernel`]),
      part.section("Text", nodes.length, list),
    ); // prettier-ignore
    longList(list, nodes, (n) => h("div", { class: "diff", "data-node": n.id }, h("span", { class: "mark" }), part.irText(this.#app, n.text))); // prettier-ignore
  }

  // ---- cost ----

  #costs(step: StepDoc): HTMLElement {
    const { model, view } = this.#app;
    const [was, now] = [model.state(view.step - 1).cost, step.cost];
    const row = (name: string, a: number, b: number, show: (n: number) => string): HTMLElement => {
      const change = b - a;
      const share =
        a > 0 && change !== 0 ? ` (${change > 0 ? "+" : "−"}${part.percent(Math.abs(change) / a)})` : "";
      const kind = change < 0 ? "better" : change > 0 ? "worse" : "quiet";
      const sign = change > 0 ? "+" : "−";
      const by = change === 0 ? "same" : `${sign}${show(Math.abs(change)).trimEnd()}${share}`;
      return h("tr", {}, h("td", {}, name), h("td", { class: "num" }, show(a)), h("td", { class: "quiet" }, "→"), h("td", { class: "num" }, show(b)), h("td", { class: `num ${kind}` }, by)); // prettier-ignore
    };
    return h(
      "table",
      { class: "grid costs" },
      row("nodes of a run", was.nodes, now.nodes, String),
      row("nodes at load", was.prepared, now.prepared, String),
      row("FLOPs", was.flops, now.flops, amount),
      row("memory, unfused", was.bytes, now.bytes, bytes),
    );
  }

  // ---- rules ----

  #fired(step: StepDoc): HTMLElement | undefined {
    if (step.fired.length === 0) return undefined;
    const names = [...new Set(step.fired.map((f) => f.rule))];
    return part.section("Rules that fired", step.fired.length, h("div", {}, names.map((name) => this.#rule(name, step)))); // prettier-ignore
  }

  #rule(name: string, step: StepDoc): HTMLElement {
    const app = this.#app;
    const rule = app.doc.rules.find((r) => r.name === name);
    const events = step.fired.filter((f) => f.rule === name);
    const details = h("details", {}, h("summary", {}, `what it did, ${events.length} times`));
    // Nobody reads all of them: they are made when they are asked for.
    details.addEventListener("toggle", () => {
      if (details.open && !details.querySelector(".rows"))
        details.append(part.few(events, (f) => part.firing(app, f), 3));
    });
    return h(
      "div",
      { class: "rule", "data-rule": name },
      h("div", { class: "row" }, h("span", {}, link(h("b", {}, name), () => app.select({ kind: "rule", name }), { title: "light up what it touched" }), h("span", { class: "count" }, `×${events.length}`)), part.codeLink(rule?.code)),
      rule && part.equation(rule.equation),
      rule && h("p", { class: "quiet" }, rule.doc),
      details,
    ); // prettier-ignore
  }

  #refused(step: StepDoc): HTMLElement | undefined {
    if (step.refused.length === 0) return undefined;
    const app = this.#app;
    const groups = new Map<string, StepDoc["refused"][number][]>();
    for (const r of step.refused) {
      const key = `${r.rule}\n${r.reason}`;
      groups.set(key, [...(groups.get(key) ?? []), r]);
    }
    return part.section(
      "Refused",
      step.refused.length,
      h("div", {}, [...groups.values()].map((list) =>
        h("div", { class: "refusal" }, h("b", {}, list[0]!.rule), " ", h("span", { class: "count" }, `×${list.length}`), h("p", {}, list[0]!.reason),
          part.few(list, (r) => h("div", { class: "row" }, part.nodeLink(app, r.node), h("span", { class: "chips" }, part.lineLinks(app, r.places))), 3)),
      )), // prettier-ignore
    );
  }

  /** Rules that found nothing are rules too: their equations are here to be read. */
  #silent(pass: PassDoc, step: StepDoc): HTMLElement | undefined {
    const spoken = new Set([...step.fired, ...step.refused].map((e) => e.rule));
    const first = pass.name.replace(/-again$/, "");
    const rest = this.#app.doc.rules.filter((r) => r.pass === first && !spoken.has(r.name));
    if (rest.length === 0) return undefined;
    return h(
      "details",
      { class: "silent" },
      h("summary", {}, "Rules that found nothing to do", h("span", { class: "count" }, String(rest.length))),
      rest.map((r) => h("div", { class: "refusal" }, h("b", {}, r.name), " ", part.codeLink(r.code), part.equation(r.equation), h("p", { class: "quiet" }, r.doc))),
    ); // prettier-ignore
  }

  // ---- the text ----

  /** In the order of the graph after; what was removed stands where it was. */
  #rows(step: StepDoc): readonly Row[] {
    const { model, view } = this.#app;
    const changes = model.changes(view.step);
    const before = model.nodes(view.step - 1);
    const now = model.state(view.step).nodes;
    const groups = new Map(
      step.set.flatMap(({ node }) => (node.body?.were ?? []).map((id) => [id, node.id] as const)),
    );
    const behind = model.goneBehind(view.step);
    const gone = (id: string): Row[] =>
      (behind.get(id) ?? []).map((n) => {
        const into = groups.get(n.id);
        return { kind: "removed", before: n, ...(into !== undefined && { into }) };
      });
    return [
      ...gone(""),
      ...now.flatMap((n): Row[] => {
        const kind = changes.get(n.id);
        const was = before.get(n.id);
        const own: Row[] =
          kind === "added" || (kind === "changed" && !was) ? [{ kind: "added", after: n }] : kind === "changed" ? [{ kind, before: was!, after: n }] : []; // prettier-ignore
        return [...own, ...gone(n.id)];
      }),
    ];
  }

  #row(r: Row): HTMLElement {
    const app = this.#app;
    if (r.before && r.after) {
      const pair = part.changedLines(app, r.before.text, r.after.text);
      pair.dataset["node"] = r.after.id;
      return pair;
    }
    const n = (r.after ?? r.before)!;
    const line = r.after ? part.addedLine(app, n.text) : part.removedLine(app, n.text);
    line.dataset["node"] = n.id;
    if (r.into !== undefined) line.append(h("span", { class: "into" }, "into ", part.nodeLink(app, r.into)));
    return line;
  }

  /** Marks the lines of what is selected, and goes to the first. */
  #show(): void {
    const { lit, view } = this.#app;
    const s = view.selection;
    const rows = [...this.#place.querySelectorAll<HTMLElement>("[data-node]")];
    for (const row of rows) row.classList.toggle("lit", lit.nodes.has(row.dataset["node"] ?? ""));
    if (s.kind === "node") rows.find((r) => r.dataset["node"] === s.id)?.scrollIntoView({ block: "nearest" });
    if (s.kind !== "rule") return;
    const rule = this.#place.querySelector<HTMLElement>(`[data-rule="${CSS.escape(s.name)}"]`);
    rule?.scrollIntoView({ block: "nearest" });
  }
}

interface Row {
  readonly kind: "added" | "removed" | "changed";
  readonly before?: NodeDoc;
  readonly after?: NodeDoc;
  /** The group that took it in. */
  readonly into?: string;
}
