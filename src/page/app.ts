// The one place where what the reader looks at changes: views read it, ask for changes, and are told.

import type { ExplainDocument } from "../explain/document.ts";
import { dark, litOf } from "./lit.ts";
import { Model, type Lit } from "./model.ts";
import { hashOf, nothing, viewOf, type Selection, type View } from "./state.ts";

export interface Changed {
  readonly entry: boolean;
  readonly step: boolean;
  readonly tab: boolean;
  readonly selection: boolean;
  /** What the pointer is on. */
  readonly hover: boolean;
}

export class App {
  readonly doc: ExplainDocument;
  view: View;
  model: Model;
  lit: Lit = dark;
  /** Lit beside it, and gone when the pointer is. */
  hovered: Lit = dark;
  readonly #listeners: ((c: Changed) => void)[] = [];
  #hover: Selection = nothing;

  constructor(doc: ExplainDocument) {
    this.doc = doc;
    this.view = viewOf(doc, location.hash);
    this.model = new Model(doc, doc.entries[this.view.entry]!);
    this.lit = litOf(this.model, this.view.selection, this.view.step);
    window.addEventListener("hashchange", () => this.#apply(viewOf(doc, location.hash)));
    window.addEventListener("popstate", () => this.#apply(viewOf(doc, location.hash)));
  }

  onChange(listener: (c: Changed) => void): void {
    this.#listeners.push(listener);
  }

  /** Everything, for views that have not drawn yet. */
  start(): void {
    this.#tell({ entry: true, step: true, tab: true, selection: true, hover: true });
  }

  go(change: Partial<View>): void {
    const next = { ...this.view, ...change };
    const hash = `#${hashOf(this.doc, next)}`;
    // A walk through the passes is one step of the browser's history, anything else is one each.
    const walk = change.step !== undefined && change.selection === undefined && change.tab === undefined;
    if (hash !== location.hash) history[walk ? "replaceState" : "pushState"](null, "", hash);
    this.#apply(next);
  }

  select(selection: Selection): void {
    this.go({ selection });
  }

  walk(to: number): void {
    this.go({ step: Math.max(0, Math.min(this.model.last, to)) });
  }

  hover(selection: Selection): void {
    if (JSON.stringify(selection) === JSON.stringify(this.#hover)) return;
    this.#hover = selection;
    this.hovered = litOf(this.model, selection, this.view.step);
    this.#tell({ entry: false, step: false, tab: false, selection: false, hover: true });
  }

  #apply(next: View): void {
    const was = this.view;
    this.view = next;
    const entry = was.entry !== next.entry;
    if (entry) this.model = new Model(this.doc, this.doc.entries[next.entry]!);
    const selection = JSON.stringify(was.selection) !== JSON.stringify(next.selection);
    const step = entry || was.step !== next.step;
    if (entry || step || selection) this.lit = litOf(this.model, next.selection, next.step);
    if (step) [this.hovered, this.#hover] = [dark, nothing];
    this.#tell({
      entry,
      step,
      tab: entry || was.tab !== next.tab,
      selection: entry || selection,
      hover: step,
    });
  }

  #tell(c: Changed): void {
    for (const listener of this.#listeners) listener(c);
  }
}
