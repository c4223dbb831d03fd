// A kernel, and one dispatch of it.

import { explainKernel } from "../explain/answers.ts";
import type { DispatchDoc } from "../explain/document.ts";
import { bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { h, link } from "./dom.ts";
import { bindings, dispatchRow, workFacts, type Content, type Of } from "./inspector-rows.ts";
import * as part from "./parts.ts";

export function kernel(app: App, s: Of<"kernel">): Content {
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
      part.few(k.dispatches, (d) => dispatchRow(app, d.index)),
    ),
  ];
}

export function dispatch(app: App, s: Of<"dispatch">): Content {
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
