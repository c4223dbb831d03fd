// Pieces that several views share: links to things of the document, facts in a list, differences of text.

import type { LineRef } from "../explain/answers.ts";
import type { FiredDoc } from "../explain/document.ts";
import type { App } from "./app.ts";
import { h, link } from "./dom.ts";
import { highlight } from "./highlight.ts";

export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}

export function time(nanoseconds: number): string {
  if (nanoseconds < 1e3) return `${nanoseconds.toFixed(0)} ns`;
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toPrecision(3)} µs`;
  return nanoseconds < 1e9
    ? `${(nanoseconds / 1e6).toPrecision(3)} ms`
    : `${(nanoseconds / 1e9).toPrecision(3)} s`;
}

export function facts(
  ...rows: readonly (readonly [string, Node | string | readonly Node[] | undefined])[]
): HTMLElement {
  return h(
    "dl",
    { class: "facts" },
    rows.map(
      ([name, value]) => value !== undefined && value !== "" && [h("dt", {}, name), h("dd", {}, value)],
    ),
  );
}

export function section(
  title: string,
  count: number | undefined,
  ...children: readonly (Node | string | false | undefined | readonly Node[])[]
): HTMLElement {
  return h(
    "section",
    {},
    h("h3", {}, title, count !== undefined && h("span", { class: "count" }, String(count))),
    children,
  );
}

/** The first few, and a button for the rest. */
export function few<T>(items: readonly T[], row: (item: T) => Node, most = 8): HTMLElement {
  const list = h("div", { class: "rows" }, items.slice(0, most).map(row));
  if (items.length > most) {
    const more = link(`${items.length - most} more`, () => {
      more.remove();
      list.append(...items.slice(most).map(row));
    }, { class: "more" }); // prettier-ignore
    list.append(more);
  }
  return list;
}

// ---- links ----------------------------------------------------------------------------------------------------------

export function lineLink(app: App, at: LineRef): HTMLElement {
  const name = app.doc.sources[at.source]!.name.replace(/^.*\//, "");
  const chip = link(`${name}:${at.line}`, () => app.select({ kind: "line", ...at }), { class: "chip" });
  chip.title = app.doc.sources[at.source]!.text.split("\n")[at.line - 1]?.trim() ?? "";
  return chip;
}

/** Lines of places, each once, those of the model file first. */
export function lineLinks(app: App, places: readonly number[]): readonly HTMLElement[] {
  const lines = new Map<string, LineRef>();
  for (const i of places) {
    const { source, line } = app.doc.places[i]!;
    lines.set(`${source}:${line}`, { source, line });
  }
  return [...lines.values()]
    .sort((a, b) => a.source - b.source || a.line - b.line)
    .map((at) => lineLink(app, at));
}

export function nodeLink(app: App, id: string, text: string = id): HTMLElement {
  return link(text, () => app.select({ kind: "node", id }), { class: "mono" });
}

export function kernelLink(app: App, index: number): HTMLElement {
  const name = app.doc.kernels[index]!.name;
  return link([h("span", { class: "tag" }, `k${index}`), name], () => app.select({ kind: "kernel", index }));
}

export function dispatchLink(app: App, index: number): HTMLElement {
  const d = app.model.entry.dispatches[index]!;
  const name = app.doc.kernels[d.kernel]!.name;
  return link([h("span", { class: "tag" }, `#${index}`), name], () =>
    app.select({ kind: "dispatch", index }),
  );
}

export function passLink(app: App, step: number, text?: string): HTMLElement {
  const pass = app.model.pass(step);
  const name = pass ? app.doc.passes[pass.pass]!.name : "the model";
  return link(text ?? name, () => app.walk(step), { class: "mono" });
}

/** One line of graph IR; its ids are links. */
export function irText(app: App, text: string): HTMLElement {
  const out = h("code", { class: "ir" });
  out.append(highlight(text, "graph"));
  for (const span of out.querySelectorAll<HTMLElement>(".t-value")) {
    const id = span.textContent;
    span.classList.add("jump");
    span.onclick = () => app.select({ kind: "node", id });
  }
  return out;
}

// ---- differences ----------------------------------------------------------------------------------------------------

export function removedLine(app: App, text: string): HTMLElement {
  return h("div", { class: "diff minus" }, h("span", { class: "mark" }, "−"), irText(app, text));
}

export function addedLine(app: App, text: string): HTMLElement {
  return h("div", { class: "diff plus" }, h("span", { class: "mark" }, "+"), irText(app, text));
}

/** Before and after of a line that changed, with what differs marked. */
export function changedLines(app: App, before: string, after: string): HTMLElement {
  const [a, b] = [words(before), words(after)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const line = (parts: readonly string[], row: HTMLElement): HTMLElement => {
    const code = h("code", { class: "ir" });
    const put = (from: number, to: number, marked: boolean): void => {
      const piece = highlight(parts.slice(from, to).join(""), "graph");
      code.append(marked ? h("mark", {}, piece) : piece);
    };
    put(0, start, false);
    if (parts.length - end > start) put(start, parts.length - end, true);
    put(parts.length - end, parts.length, false);
    row.append(code);
    for (const span of code.querySelectorAll<HTMLElement>(".t-value")) {
      span.classList.add("jump");
      span.onclick = () => app.select({ kind: "node", id: span.textContent });
    }
    return row;
  };
  return h(
    "div",
    { class: "pair" },
    line(a, h("div", { class: "diff minus" }, h("span", { class: "mark" }, "−"))),
    line(b, h("div", { class: "diff plus" }, h("span", { class: "mark" }, "+"))),
  );
}

function words(text: string): readonly string[] {
  return text.match(/[\w.$%]+|\s+|[^\w\s.$%]/g) ?? [];
}

export function firing(app: App, f: FiredDoc): HTMLElement {
  return h(
    "div",
    { class: "firing" },
    h("div", { class: "chips" }, lineLinks(app, f.places)),
    f.why === undefined ? undefined : h("p", { class: "quiet" }, f.why),
    f.before.map((t) => removedLine(app, t)),
    f.after.map((t) => addedLine(app, t)),
  );
}

export function equation(text: string): HTMLElement {
  return h("div", { class: "equation" }, text);
}

/** Where it is in the compiler. */
export function codeLink(at: string | undefined): HTMLElement | undefined {
  return at === undefined
    ? undefined
    : h("span", { class: "code-at", title: "in the compiler's own source" }, at);
}
