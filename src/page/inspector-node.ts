// A node: what it makes, from what, where it runs, and what each pass did to it.

import { explainNode } from "../explain/lineage.ts";
import { amount, bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { h, link } from "./dom.ts";
import { nodeRow, refusals, valueLink, type Content, type Of } from "./inspector-rows.ts";
import * as part from "./parts.ts";

export function node(app: App, s: Of<"node">): Content {
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
      ["reads", node.inputs.map((v) => valueLink(app, v))],
      ["is read by", readers.map((n) => part.nodeLink(app, n.id, `${n.id} ${n.op}`))],
      ["runs in", dispatches.map((i) => part.dispatchLink(app, i))],
    ),
    node.body &&
      part.section("Fused here", node.body.nodes.length, part.few(node.body.nodes, (n) => nodeRow(app, n), 20)), // prettier-ignore
    a &&
      refusals(
        app,
        a.refused.map((r) => ({ ...r, node: a.id })),
      ),
    a &&
      part.section(
        "History",
        a.history.length,
        a.firstStep === 0
          ? h("p", { class: "quiet" }, "As the model says it:")
          : h("p", { class: "quiet" }, "Not in the model: made by ", part.passLink(app, a.firstStep), "."),
        a.firstStep === 0 && h("div", { class: "quote" }, part.irText(app, a.text)),
        a.history.map((x) => historyRow(app, x)),
        a.history.length === 0 && h("p", { class: "quiet" }, "No pass changed it."),
      ),
  ];
}

function historyRow(
  app: App,
  x: NonNullable<ReturnType<typeof explainNode>>["history"][number],
): HTMLElement {
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
