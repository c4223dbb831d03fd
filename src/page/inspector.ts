// All about what is selected: a line, a node, a scope, a kernel, a dispatch, a weight, a rule; the whole compilation where nothing is.

import { explainKernel, explainLine, explainWeight, whyNot } from "../explain/answers.ts";
import type { DispatchDoc, NodeDoc } from "../explain/document.ts";
import { explainNode } from "../explain/lineage.ts";
import { boundOf, intensity } from "../explain/speed.ts";
import { amount, bytes, sizesText } from "../explain/units.ts";
import type { App } from "./app.ts";
import { byId, fill, h, link } from "./dom.ts";
import * as part from "./parts.ts";
import type { Selection } from "./state.ts";

type Of<K extends Selection["kind"]> = Extract<Selection, { kind: K }>;
type Content = readonly (Node | string | false | undefined)[];

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
        return ["Overview", this.#overview()];
      case "line":
        return [`${this.#app.doc.sources[s.source]!.name}:${s.line}`, this.#line(s)];
      case "node":
        return [s.id, this.#node(s)];
      case "scope":
        return [s.path, this.#scope(s)];
      case "kernel":
        return [`kernel ${s.index}`, this.#kernel(s)];
      case "dispatch":
        return [`dispatch ${s.index}`, this.#dispatch(s)];
      case "weight":
        return [s.key, this.#weight(s)];
      case "rule":
        return [s.name, this.#rule(s)];
    }
  }

  // ---- overview ----

  #overview(): Content {
    const app = this.#app;
    const { doc, model } = app;
    const { entry } = model;
    const last = model.state(model.last).cost;
    const flops = entry.dispatches.reduce((n, d) => n + d.flops, 0);
    const moved = entry.dispatches.reduce((n, d) => n + d.bytes, 0);
    const settings = Object.entries(doc.settings).map(([k, v]) => `${k} = ${v}`).join(", "); // prettier-ignore
    const profile = entry.profile;
    const fired = entry.steps.reduce((n, s) => n + s.fired.length, 0);
    const refused = entry.steps.reduce((n, s) => n + s.refused.length, 0);
    return [
      part.facts(
        ["model", doc.model],
        ["settings", settings],
        ["sizes", sizesText(entry)],
        [
          "target",
          `${doc.target.name}: ${amount(doc.target.flopsPerSecond)}FLOP/s, ${bytes(doc.target.bytesPerSecond)}/s`,
        ],
        ["compiler", `tokenloom ${doc.compiler}`],
        ["profile", profile ? `${profile.adapter}, ${profile.method === "timestamps" ? "GPU timestamps" : "wall clock of each dispatch"}` : "none; run --profile makes one, --profile reads it"], // prettier-ignore
      ),
      part.section(
        "What became of it",
        undefined,
        part.facts(
          [
            "nodes",
            `${entry.cost.nodes} as written, ${last.nodes} at the end, ${last.prepared} more once at load`,
          ],
          ["rules", `${fired} times fired, ${refused} refused`],
          ["work", `${amount(entry.cost.flops)}FLOP, then ${amount(flops)}FLOP`],
          ["moves", `${bytes(entry.cost.bytes)}, then ${bytes(moved)}`],
          ["dispatches", `${entry.dispatches.length}, of ${doc.kernels.length} kernels`],
          [
            "arena",
            `${bytes(entry.memory.arenaBytes)}, peak ${bytes(entry.memory.peakBytes)} at dispatch ${entry.memory.peakAt}`,
          ],
          [
            "time",
            `${part.time(model.totalTime)} ${model.measured ? "measured" : "at best, by the target's figures"}`,
          ],
        ),
      ),
      part.section("Kernels that cost most", undefined, this.#topKernels()),
      part.section("Lines that cost most", undefined, this.#topLines()),
    ];
  }

  #topKernels(): Node {
    const { doc, model } = this.#app;
    const total = doc.kernels.map(() => 0);
    model.entry.dispatches.forEach((d, i) => (total[d.kernel]! += model.times[i]!));
    const order = total.map((t, i) => [t, i] as const).sort((a, b) => b[0] - a[0]); // prettier-ignore
    return bars(
      order
        .slice(0, 6)
        .map(([t, i]) => [
          part.kernelLink(this.#app, i),
          t / model.totalTime,
          part.percent(t / model.totalTime),
        ]),
    );
  }

  #topLines(): Node {
    const { doc, model } = this.#app;
    const rows = doc.sources.flatMap((_, source) =>
      [...model.costs(source).values()].map((c) => ({
        at: { source, line: c.line },
        share: c.timeShare ?? c.flops,
      })),
    );
    const total = model.measured ? 1 : model.entry.dispatches.reduce((n, d) => n + d.flops, 0);
    const order = rows.sort((a, b) => b.share - a.share).slice(0, 6);
    return h(
      "div",
      {},
      bars(
        order.map((r) => [part.lineLink(this.#app, r.at), r.share / total, part.percent(r.share / total)]),
      ),
      h(
        "p",
        { class: "quiet" },
        `Share of ${model.measured ? "the time" : "the FLOPs"}; a line counts what it calls too.`,
      ),
    );
  }

  // ---- a line ----

  #line(s: Of<"line">): Content {
    const app = this.#app;
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
        part.few(here, (n) => this.#nodeRow(n)),
      ),
      part.section(
        "Kernels",
        a.dispatches.length,
        part.few(a.dispatches, (d) => this.#dispatchRow(d.index)),
      ),
      a.weights.length > 0 &&
        part.section(
          "Weights",
          a.weights.length,
          part.few(a.weights, (w) => this.#weightRow(w)),
        ),
      part.section("Passes that touched it", a.steps.length, part.few(a.steps, (x) => {
        const step = app.doc.passes.findIndex((p) => p.name === x.pass) + 1;
        const counts = `−${x.removed.length} +${x.added.length} ~${x.changed.length}${x.refused.length > 0 ? `, ${x.refused.length} refused` : ""}`; // prettier-ignore
        return h("div", { class: "row" }, part.passLink(app, step), h("span", { class: "quiet num" }, counts));
      }, 20)), // prettier-ignore
      this.#refusals(a.steps.flatMap((x) => x.refused)),
    ];
  }

  #refusals(
    list: readonly { readonly rule: string; readonly reason: string; readonly node: string }[],
  ): Node | undefined {
    if (list.length === 0) return undefined;
    const counts = new Map<string, (typeof list)[number] & { times: number }>();
    for (const r of list) {
      const key = `${r.rule} ${r.reason}`;
      counts.set(key, { ...r, times: (counts.get(key)?.times ?? 0) + 1 });
    }
    return part.section("Refused", list.length, part.few([...counts.values()], (r) =>
      h("div", { class: "refusal" }, part.nodeLink(this.#app, r.node), " ", h("b", {}, r.rule), r.times > 1 ? ` ×${r.times}` : "", h("p", {}, r.reason)))); // prettier-ignore
  }

  #nodeRow(n: NodeDoc): HTMLElement {
    const { model } = this.#app;
    return h(
      "div",
      { class: "row" },
      part.nodeLink(this.#app, n.id, `${n.id} ${n.op}`),
      h("span", { class: "quiet num" }, model.shapes.short(n.results[0]!.type)),
    );
  }

  #dispatchRow(index: number): HTMLElement {
    const d = this.#app.model.entry.dispatches[index]!;
    return h("div", { class: "row" }, part.dispatchLink(this.#app, index), h("span", { class: "quiet num" }, `${amount(d.flops)}FLOP`)); // prettier-ignore
  }

  #weightRow(key: string): HTMLElement {
    const w = this.#app.model.entry.weights.find((x) => x.key === key);
    return h(
      "div",
      { class: "row" },
      link(key, () => this.#app.select({ kind: "weight", key }), { class: "mono" }),
      h("span", { class: "quiet num" }, w ? this.#app.model.shapes.short(w.type) : ""),
    );
  }

  // ---- a node ----

  #node(s: Of<"node">): Content {
    const app = this.#app;
    const { model, view } = app;
    const here = model.nodes(view.step).get(s.id);
    const at = here ? view.step : model.stepWith(s.id, view.step);
    const node = here ?? (at === undefined ? undefined : model.nodes(at).get(s.id));
    const input = model.entry.inputs.find((x) => x.id === s.id);
    if (!node || at === undefined)
      return [
        h(
          "p",
          { class: "quiet" },
          input ? `The input ${input.name}: ${input.type}` : "There is no such node at any step.",
        ),
      ];
    const a = explainNode(app.doc, model.entry, model.known(s.id));
    const readers = model.state(at).nodes.filter((n) => n.inputs.includes(s.id));
    const dispatches = model.dispatchesOf(at, s.id);
    const live = model.liveShare(at, node);
    const became = at < view.step ? model.lineage.descendants(at, s.id) : [];
    return [
      !here && h("p", { class: "note" }, `Not in this graph: it is ${at < view.step ? "gone since" : "not made before"} `, part.passLink(app, at < view.step ? at + 1 : at), became.length > 0 && [", and became ", ...became.flatMap((id) => [part.nodeLink(app, id), " "])]), // prettier-ignore
      h("div", { class: "quote" }, part.irText(app, node.text)),
      part.facts(
        ["makes", node.results.map((r) => `${model.shapes.short(r.type)}, ${bytes(r.bytes)}`).join("; ")],
        ["tokens", node.prepared ? "" : live < 1 ? `${amount(node.results[0]!.tokens * live)}of ${amount(node.results[0]!.tokens)}live in the end` : amount(node.results[0]!.tokens)], // prettier-ignore
        ["work", node.prepared ? "runs once, when weights are loaded" : `${amount(node.flops)}FLOP`],
        [
          "in",
          node.scope === "" ? "" : link(node.scope, () => app.select({ kind: "scope", path: node.scope })),
        ],
        ["lines", part.lineLinks(app, node.places)],
        ["reads", node.inputs.map((v) => this.#valueLink(v))],
        ["is read by", readers.map((n) => part.nodeLink(app, n.id, `${n.id} ${n.op}`))],
        ["runs in", dispatches.map((i) => part.dispatchLink(app, i))],
      ),
      node.body &&
        part.section("Fused here", node.body.nodes.length, part.few(node.body.nodes, (n) => this.#nodeRow(n), 20)), // prettier-ignore
      a && this.#refusals(a.refused.map((r) => ({ ...r, node: a.id }))),
      a &&
        part.section(
          "History",
          a.history.length,
          a.firstStep === 0
            ? h("p", { class: "quiet" }, "As the model says it:")
            : h("p", { class: "quiet" }, "Not in the model: made by ", part.passLink(app, a.firstStep), "."),
          a.firstStep === 0 && h("div", { class: "quote" }, part.irText(app, a.text)),
          a.history.map((x) => this.#historyRow(x)),
          a.history.length === 0 && h("p", { class: "quiet" }, "No pass changed it."),
        ),
    ];
  }

  #historyRow(x: NonNullable<ReturnType<typeof explainNode>>["history"][number]): HTMLElement {
    const app = this.#app;
    const rules = new Map(x.fired.map((f) => [f.rule, f.equation]));
    const text =
      x.before !== undefined && x.after !== undefined
        ? part.changedLines(app, x.before, x.after)
        : x.after !== undefined
          ? part.addedLine(app, x.after)
          : part.removedLine(app, x.before ?? "");
    return h(
      "div",
      { class: `history ${x.kind}` },
      h(
        "div",
        { class: "row" },
        part.passLink(app, x.step + 1),
        h("span", { class: `kind ${x.kind}` }, x.kind),
      ),
      [...rules].map(([rule, eq]) =>
        h("div", { class: "by" }, link(rule, () => app.go({ step: x.step + 1, selection: { kind: "rule", name: rule } })), eq !== undefined && part.equation(eq)),
      ), // prettier-ignore
      text,
    );
  }

  #valueLink(value: string): HTMLElement {
    if (value.startsWith("$")) {
      const key = value.slice(1);
      return link(value, () => this.#app.select({ kind: "weight", key }), { class: "mono" });
    }
    return part.nodeLink(this.#app, value);
  }

  // ---- a scope ----

  #scope(s: Of<"scope">): Content {
    const app = this.#app;
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
        part.few(nodes, (n) => this.#nodeRow(n)),
      ),
      part.section(
        "Dispatches",
        dispatches.length,
        part.few(dispatches, (i) => this.#dispatchRow(i)),
      ),
    ];
  }

  // ---- kernels and dispatches ----

  #kernel(s: Of<"kernel">): Content {
    const app = this.#app;
    const k = explainKernel(app.doc, app.model.entry, s.index);
    const t = k.dispatches.reduce((n, d) => n + app.model.times[d.index]!, 0);
    return [
      h("p", { class: "lead" }, k.name),
      app.view.tab !== "kernels" &&
        h(
          "p",
          {},
          link("Read its code →", () => app.go({ tab: "kernels" })),
        ),
      part.facts(
        ["schedule", [...new Set(k.dispatches.map((d) => d.schedule))].join("; ")],
        ["because", [...new Set(k.dispatches.map((d) => d.why))].join("; ")],
        ["workgroup", `${k.workgroupSize.join(" × ")} invocations`],
        ...workFacts(app, k, t),
        [
          "lines",
          part.lineLinks(
            app,
            k.dispatches.flatMap((d) => d.places),
          ),
        ],
      ),
      part.section("Bindings", k.bindings.length, bindings(k.bindings)),
      part.section(
        "Computes",
        k.nodes.length,
        h(
          "div",
          {},
          k.nodes.map((n) => h("div", { class: "quote" }, part.irText(app, n))),
        ),
      ),
      part.section(
        "Dispatches",
        k.dispatches.length,
        part.few(k.dispatches, (d) => this.#dispatchRow(d.index)),
      ),
    ];
  }

  #dispatch(s: Of<"dispatch">): Content {
    const app = this.#app;
    const { entry } = app.model;
    const d: DispatchDoc = entry.dispatches[s.index]!;
    const k = app.doc.kernels[d.kernel]!;
    const alive = entry.memory.lifetimes.filter((l) => l.first <= s.index && s.index <= l.last);
    return [
      h("p", { class: "lead" }, part.kernelLink(app, d.kernel)),
      part.facts(
        ["schedule", d.schedule],
        ["because", d.why],
        ["workgroups", `${d.grid.join(" × ")}, of ${k.workgroupSize.join(" × ")} invocations`],
        ...workFacts(app, d, app.model.times[s.index]!),
        ["lines", part.lineLinks(app, d.places)],
        ["nodes", d.nodes.map((id) => part.nodeLink(app, id))],
        ["alive", `${alive.length} buffers, ${bytes(alive.reduce((n, l) => n + l.bytes, 0))}`],
      ),
      part.section(
        "Buffers",
        d.buffers.length,
        h("table", { class: "grid" }, d.buffers.map((id, i) => h("tr", {}, h("td", { class: "mono" }, k.bindings[i]?.name ?? ""), h("td", {}, k.bindings[i]?.access ?? ""), h("td", {}, id.startsWith("%") ? part.nodeLink(app, id) : id)))),
      ), // prettier-ignore
      d.params.length > 0 &&
        part.section("Sizes", d.params.length, h("table", { class: "grid" }, d.params.map((p) => h("tr", {}, h("td", { class: "mono" }, p.name), h("td", { class: "mono" }, p.value))))), // prettier-ignore
    ];
  }

  // ---- weights and rules ----

  #weight(s: Of<"weight">): Content {
    const app = this.#app;
    const a = explainWeight(app.doc, app.model.entry, s.key);
    if (!a) return [];
    const places = app.model.entry.weights.find((w) => w.key === s.key)!.places;
    return [
      part.facts(["type", a.type], ["bytes", bytes(a.bytes)], ["lines", part.lineLinks(app, places)]),
      part.section("Read by, in the model", a.readers.length, h("div", {}, a.readers.map((r) => h("div", { class: "quote" }, part.irText(app, r))))),
      a.prepared.length > 0 && part.section("Once, at load", a.prepared.length, h("div", {}, a.prepared.map((r) => h("div", { class: "quote" }, part.irText(app, r))))),
      part.section("Stored as", a.constants.length, h("div", {}, a.constants.map((c) => part.facts(["constant", `${c.id}: ${c.type}`], ["bytes", `${bytes(c.bytes)} at ${c.offset}`], ["made of", c.keys.join(", ")])))),
      part.section("Kernels", a.dispatches.length, part.few(a.dispatches, (d) => this.#dispatchRow(d.index))),
    ]; // prettier-ignore
  }

  #rule(s: Of<"rule">): Content {
    const app = this.#app;
    const a = whyNot(app.doc, app.model.entry, s.name);
    return [
      a.equation !== undefined && part.equation(a.equation),
      a.doc !== undefined && h("p", {}, a.doc),
      part.facts(["in the compiler", part.codeLink(a.code)], ["fired", `${a.fired} times`], ["refused", `${a.refused.length} times`]),
      part.section("Fired in", undefined, h("div", { class: "rows" }, app.model.entry.steps.flatMap((x, i) => {
        const n = x.fired.filter((f) => f.rule === s.name).length;
        return n === 0 ? [] : [h("div", { class: "row" }, part.passLink(app, i + 1), h("span", { class: "quiet num" }, `${n} times`))];
      }))),
      this.#refusals(a.refused),
    ]; // prettier-ignore
  }
}

function workFacts(
  app: App,
  work: { readonly flops: number; readonly bytes: number },
  nanoseconds: number,
): readonly (readonly [string, string])[] {
  const { target } = app.doc;
  const best = boundOf(target, work);
  const { measured, totalTime } = app.model;
  const reached = measured && nanoseconds > 0 ? `, ${part.percent(best / nanoseconds)} of the ceiling` : "";
  return [
    ["work", `${amount(work.flops)}FLOP, ${bytes(work.bytes)} moved at least`],
    ["intensity", `${intensity(work).toPrecision(3)} FLOP a byte`],
    [
      measured ? "time" : "time, estimated",
      `${part.time(nanoseconds)}, ${part.percent(nanoseconds / totalTime)} of all${reached}`,
    ],
    [
      "at best",
      `${part.time(best)}, by ${work.flops / target.flopsPerSecond > work.bytes / target.bytesPerSecond ? "arithmetic" : "memory"}`,
    ],
  ];
}

export function bindings(
  list: readonly {
    readonly binding: number;
    readonly name: string;
    readonly access: string;
    readonly arena: boolean;
  }[],
): HTMLElement {
  return h(
    "table",
    { class: "grid" },
    list.map((b) => h("tr", {}, h("td", { class: "num" }, String(b.binding)), h("td", { class: "mono" }, b.name), h("td", {}, b.access), h("td", { class: "quiet" }, b.arena ? "arena" : b.access === "uniform" ? "" : "constants or input"))),
  ); // prettier-ignore
}

function bars(rows: readonly (readonly [Node, number, string])[]): HTMLElement {
  return h(
    "div",
    { class: "bars" },
    rows.map(([name, share, text]) => h("div", { class: "bar-row" }, name, h("span", { class: "meter", style: `--share:${share.toFixed(4)}` }, text))),
  ); // prettier-ignore
}
