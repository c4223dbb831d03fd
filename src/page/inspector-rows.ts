// Rows and tables that the inspector's pages share.

import type { NodeDoc } from "../explain/document.ts";
import { boundOf, intensity } from "../explain/speed.ts";
import { amount, bytes } from "../explain/units.ts";
import type { App } from "./app.ts";
import { h, link } from "./dom.ts";
import * as part from "./parts.ts";
import type { Selection } from "./state.ts";

export type Of<K extends Selection["kind"]> = Extract<Selection, { kind: K }>;
export type Content = readonly (Node | string | false | undefined)[];

export function nodeRow(app: App, n: NodeDoc): HTMLElement {
  const { model } = app;
  return h(
    "div",
    { class: "row" },
    part.nodeLink(app, n.id, `${n.id} ${n.op}`),
    h("span", { class: "quiet num" }, model.shapes.short(n.results[0]!.type)),
  );
}

export function dispatchRow(app: App, index: number): HTMLElement {
  const d = app.model.entry.dispatches[index]!;
  return h("div", { class: "row" }, part.dispatchLink(app, index), h("span", { class: "quiet num" }, `${amount(d.flops)}FLOP`)); // prettier-ignore
}

export function weightRow(app: App, key: string): HTMLElement {
  const w = app.model.entry.weights.find((x) => x.key === key);
  return h(
    "div",
    { class: "row" },
    link(key, () => app.select({ kind: "weight", key }), { class: "mono" }),
    h("span", { class: "quiet num" }, w ? app.model.shapes.short(w.type) : ""),
  );
}

export function valueLink(app: App, value: string): HTMLElement {
  if (value.startsWith("$")) {
    const key = value.slice(1);
    return link(value, () => app.select({ kind: "weight", key }), { class: "mono" });
  }
  return part.nodeLink(app, value);
}

export function refusals(
  app: App,
  list: readonly { readonly rule: string; readonly reason: string; readonly node: string }[],
): Node | undefined {
  if (list.length === 0) return undefined;
  const counts = new Map<string, (typeof list)[number] & { times: number }>();
  for (const r of list) {
    const key = `${r.rule} ${r.reason}`;
    counts.set(key, { ...r, times: (counts.get(key)?.times ?? 0) + 1 });
  }
  return part.section("Refused", list.length, part.few([...counts.values()], (r) =>
    h("div", { class: "refusal" }, part.nodeLink(app, r.node), " ", h("b", {}, r.rule), r.times > 1 ? ` ×${r.times}` : "", h("p", {}, r.reason)))); // prettier-ignore
}

export function workFacts(
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

export function bars(rows: readonly (readonly [Node, number, string])[]): HTMLElement {
  return h(
    "div",
    { class: "bars" },
    rows.map(([name, share, text]) => h("div", { class: "bar-row" }, name, h("span", { class: "meter", style: `--share:${share.toFixed(4)}` }, text))),
  ); // prettier-ignore
}
