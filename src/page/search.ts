// Search over everything that has a name: lines, nodes, kernels, weights, scopes, passes, rules.

import type { App } from "./app.ts";
import { byId, fill, h } from "./dom.ts";
import { nothing, type Selection, type View } from "./state.ts";

interface Hit {
  readonly kind: string;
  readonly text: string;
  readonly more: string;
  readonly go: () => void;
}

/** Of each kind, so that nodes do not push out all else. */
const MOST_OF_A_KIND = 8;

export class Search {
  readonly #app: App;
  readonly #input = byId<HTMLInputElement>("search");
  readonly #list = byId("search-hits");
  #hits: readonly Hit[] = [];
  #at = 0;

  constructor(app: App) {
    this.#app = app;
    this.#input.oninput = () => this.#find();
    this.#input.onfocus = () => this.#find();
    this.#input.onblur = () => setTimeout(() => this.#close(), 150);
    this.#input.onkeydown = (e) => this.#key(e);
  }

  focus(): void {
    this.#input.focus();
    this.#input.select();
  }

  #find(): void {
    const words = this.#input.value.toLowerCase().split(/\s+/).filter((w) => w !== ""); // prettier-ignore
    this.#at = 0;
    this.#hits = words.length === 0 ? [] : hits(this.#app, words);
    this.#draw();
  }

  #draw(): void {
    const asked = this.#input.value.trim() !== "";
    this.#list.hidden = !asked;
    fill(
      this.#list,
      this.#hits.length === 0 && h("div", { class: "quiet none" }, "nothing has that name"),
      this.#hits.map((x, i) =>
        h(
          "div",
          {
            class: i === this.#at ? "hit on" : "hit",
            role: "option",
            onclick: () => this.#take(x),
          },
          h("span", { class: "hit-kind" }, x.kind),
          h("span", { class: "hit-text" }, x.text),
          h("span", { class: "quiet" }, x.more),
        ),
      ),
    );
    this.#list.children[this.#at]?.scrollIntoView({ block: "nearest" });
  }

  #key(e: KeyboardEvent): void {
    if (e.key === "Escape") {
      this.#close();
      this.#input.blur();
    } else if (e.key === "Enter") {
      const hit = this.#hits[this.#at];
      if (hit) this.#take(hit);
    } else if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      const n = this.#hits.length;
      if (n > 0) this.#at = (this.#at + (e.key === "ArrowDown" ? 1 : n - 1)) % n;
      this.#draw();
    }
    e.stopPropagation();
  }

  #take(hit: Hit): void {
    this.#close();
    this.#input.blur();
    hit.go();
  }

  #close(): void {
    this.#list.hidden = true;
  }
}

function hits(app: App, words: readonly string[]): readonly Hit[] {
  const { doc, model, view } = app;
  const { entry } = model;
  const out: Hit[] = [];
  const collect = <T>(
    kind: string,
    items: Iterable<T>,
    of: (item: T) => readonly [string, string, Partial<View>],
  ) => {
    let n = 0;
    for (const item of items) {
      const [text, more, change] = of(item);
      const all = `${kind} ${text} ${more}`.toLowerCase();
      if (!words.every((w) => all.includes(w))) continue;
      out.push({ kind, text, more, go: () => app.go(change) });
      if (++n === MOST_OF_A_KIND) return;
    }
  };
  const select = (selection: Selection): Partial<View> => ({ selection });
  collect("pass", entry.steps.keys(), (i) => {
    const pass = doc.passes[entry.steps[i]!.pass]!;
    return [pass.name, pass.doc, { step: i + 1, selection: nothing }];
  });
  collect("rule", doc.rules, (r) => {
    const at = entry.steps.findIndex((s) => [...s.fired, ...s.refused].some((e) => e.rule === r.name));
    const change = at >= 0 ? { step: at + 1, tab: "changes" as const } : {};
    return [r.name, r.equation, { ...change, selection: { kind: "rule", name: r.name } }];
  });
  collect("kernel", doc.kernels.keys(), (index) => [
    `k${index} ${doc.kernels[index]!.name}`,
    entry.dispatches.find((d) => d.kernel === index)?.schedule ?? "",
    select({ kind: "kernel", index }),
  ]);
  collect("node", model.nodes(view.step).values(), (n) => [`${n.id} ${n.op}`, n.scope, select({ kind: "node", id: n.id })]); // prettier-ignore
  collect("scope", entry.scopes, (s) => [s.path, s.block, select({ kind: "scope", path: s.path })]);
  collect("weight", entry.weights, (w) => [w.key, model.shapes.short(w.type), select({ kind: "weight", key: w.key })]); // prettier-ignore
  const lines = doc.sources.flatMap((s, source) =>
    s.text.split("\n").map((text, i) => ({ source, line: i + 1, text: text.trim(), name: s.name })),
  );
  collect("line", lines, (l) => [
    l.text,
    `${l.name}:${l.line}`,
    select({ kind: "line", source: l.source, line: l.line }),
  ]);
  return out;
}
