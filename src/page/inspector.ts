// All about what is selected: a line, a node, a scope, a kernel, a dispatch, a weight, a rule; the whole compilation where nothing is.

import { explainLine, explainWeight, whyNot } from "../explain/answers.ts";
import { amount, bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { byId, fill, h, link } from "./dom.ts";
import { dispatch, kernel } from "./inspector-kernel.ts";
import { node } from "./inspector-node.ts";
import { overview } from "./inspector-overview.ts";
import { dispatchRow, nodeRow, refusals, weightRow, type Content, type Of } from "./inspector-rows.ts";
import * as part from "./parts.ts";
import type { Selection } from "./state.ts";

export class Inspector {
  readonly #app: App;
  readonly #place = byId("inspector-body");
  readonly #title = byId("inspector-title");

  constructor(app: App) {
    this.#app = app;
    app.onChange((c) => {
      const byStep = ["node", "line", "scope", "rule"].includes(app.view.selection.kind);
      if (c.entry || c.selection || (c.step && byStep)) this.#draw();
    });
  }

  #draw(): void {
    const s = this.#app.view.selection;
    const [title, content] = this.#content(s);
    fill(this.#title, title);
    fill(this.#place, content);
    this.#place.scrollTop = 0;
  }

  #content(s: Selection): readonly [string, Content] {
    switch (s.kind) {
      case "nothing":
        return ["Overview", overview(this.#app)];
      case "line":
        return [`${this.#app.doc.sources[s.source]!.name}:${s.line}`, line(this.#app, s)];
      case "node":
        return [s.id, node(this.#app, s)];
      case "scope":
        return [s.path, scope(this.#app, s)];
      case "kernel":
        return [`kernel ${s.index}`, kernel(this.#app, s)];
      case "dispatch":
        return [`dispatch ${s.index}`, dispatch(this.#app, s)];
      case "weight":
        return [s.key, weight(this.#app, s)];
      case "rule":
        return [s.name, rule(this.#app, s)];
    }
  }
}

function line(app: App, s: Of<"line">): Content {
  const a = explainLine(app.doc, app.model.entry, s);
  const c = a.cost;
  const here = [...app.model.nodes(app.view.step).values()].filter((n) => app.lit.nodes.has(n.id));
  if (!c && a.nodes.length === 0) return [h("p", { class: "quiet" }, "Nothing came from this line.")];
  return [
    h("pre", { class: "quote" }, a.text),
    c &&
      part.facts(
        ["makes", c.types.map((t) => app.model.shapes.short(t)).join(", ")],
        [
          "tokens",
          c.tokens === 0
            ? ""
            : c.liveTokens < c.tokens
              ? `${amount(c.liveTokens)}of ${amount(c.tokens)}live`
              : amount(c.tokens),
        ],
        ["work", `${amount(c.flops)}FLOP`],
        ["moves", bytes(c.bytes)],
        ["time", c.timeShare === undefined ? "" : part.percent(c.timeShare)],
        ["at the peak", c.peakBytes > 0 ? bytes(c.peakBytes) : ""],
      ),
    part.section(
      "Nodes at this step",
      here.length,
      part.few(here, (n) => nodeRow(app, n)),
    ),
    part.section(
      "Kernels",
      a.dispatches.length,
      part.few(a.dispatches, (d) => dispatchRow(app, d.index)),
    ),
    a.weights.length > 0 &&
      part.section(
        "Weights",
        a.weights.length,
        part.few(a.weights, (w) => weightRow(app, w)),
      ),
    part.section("Passes that touched it", a.steps.length, part.few(a.steps, (x) => {
      const step = app.doc.passes.findIndex((p) => p.name === x.pass) + 1;
      const counts = `−${x.removed.length} +${x.added.length} ~${x.changed.length}${x.refused.length > 0 ? `, ${x.refused.length} refused` : ""}`; // prettier-ignore
      return h("div", { class: "row" }, part.passLink(app, step), h("span", { class: "quiet num" }, counts));
    }, 20)), // prettier-ignore
    refusals(
      app,
      a.steps.flatMap((x) => x.refused),
    ),
  ];
}

function scope(app: App, s: Of<"scope">): Content {
  const { model, view } = app;
  const scope = model.entry.scopes.find((x) => x.path === s.path)!;
  const inside = (path: string): boolean => path === s.path || path.startsWith(`${s.path}.`);
  const nodes = model.state(view.step).nodes.filter((n) => !n.prepared && inside(n.scope));
  const dispatches = [...app.lit.dispatches].sort((a, b) => a - b);
  const share = dispatches.reduce((n, i) => n + model.times[i]!, 0) / model.totalTime;
  const parts = model.entry.scopes.filter((x) => x.path.startsWith(`${s.path}.`));
  return [
    part.facts(
      ["block", scope.block],
      ["lines", part.lineLinks(app, scope.places)],
      ["nodes", `${nodes.length} at this step`],
      ["work", `${amount(nodes.reduce((n, x) => n + x.flops, 0))}FLOP`],
      [
        "dispatches",
        `${dispatches.length}, ${part.percent(share)} of the time${model.measured ? "" : " (estimate)"}`,
      ],
    ),
    parts.length > 0 &&
      part.section("Parts", parts.length, part.few(parts, (x) =>
        h("div", { class: "row" }, link(x.path.slice(s.path.length + 1), () => app.select({ kind: "scope", path: x.path })), h("span", { class: "quiet" }, x.block)))), // prettier-ignore
    part.section(
      "Nodes at this step",
      nodes.length,
      part.few(nodes, (n) => nodeRow(app, n)),
    ),
    part.section(
      "Dispatches",
      dispatches.length,
      part.few(dispatches, (i) => dispatchRow(app, i)),
    ),
  ];
}

function weight(app: App, s: Of<"weight">): Content {
  const a = explainWeight(app.doc, app.model.entry, s.key);
  if (!a) return [];
  const places = app.model.entry.weights.find((w) => w.key === s.key)!.places;
  return [
    part.facts(["type", a.type], ["bytes", bytes(a.bytes)], ["lines", part.lineLinks(app, places)]),
    part.section("Read by, in the model", a.readers.length, h("div", {}, a.readers.map((r) => h("div", { class: "quote" }, part.irText(app, r))))),
    a.prepared.length > 0 && part.section("Once, at load", a.prepared.length, h("div", {}, a.prepared.map((r) => h("div", { class: "quote" }, part.irText(app, r))))),
    part.section("Stored as", a.constants.length, h("div", {}, a.constants.map((c) => part.facts(["constant", `${c.id}: ${c.type}`], ["bytes", `${bytes(c.bytes)} at ${c.offset}`], ["made of", c.keys.join(", ")])))),
    part.section("Kernels", a.dispatches.length, part.few(a.dispatches, (d) => dispatchRow(app, d.index))),
  ]; // prettier-ignore
}

function rule(app: App, s: Of<"rule">): Content {
  const a = whyNot(app.doc, app.model.entry, s.name);
  return [
    a.equation !== undefined && part.equation(a.equation),
    a.doc !== undefined && h("p", {}, a.doc),
    part.facts(["in the compiler", part.codeLink(a.code)], ["fired", `${a.fired} times`], ["refused", `${a.refused.length} times`]),
    part.section("Fired in", undefined, h("div", { class: "rows" }, app.model.entry.steps.flatMap((x, i) => {
      const n = x.fired.filter((f) => f.rule === s.name).length;
      return n === 0 ? [] : [h("div", { class: "row" }, part.passLink(app, i + 1), h("span", { class: "quiet num" }, `${n} times`))];
    }))),
    refusals(app, a.refused),
  ]; // prettier-ignore
}
