// The page begins here: reads the document that was built into it, makes the views, and knows the keys.

import type { ExplainDocument } from "../explain/document.ts";
import { sizesText } from "../explain/units.ts";
import { App } from "./app.ts";
import { ChangesView } from "./changes-view.ts";
import { byId, fill } from "./dom.ts";
import { GraphView } from "./graph-view.ts";
import { Inspector } from "./inspector.ts";
import { KernelsView } from "./kernels-view.ts";
import { RunView } from "./run-view.ts";
import { Search } from "./search.ts";
import { SourceView } from "./source-view.ts";
import { nothing, tabs, type Tab } from "./state.ts";
import { StepsView } from "./steps-view.ts";

/** The text of the layout worker, put here by the build. */
declare const LAYOUT_WORKER: string;

async function documentOfPage(): Promise<ExplainDocument> {
  const text = byId("document").textContent;
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return (await new Response(stream).json()) as ExplainDocument;
}

function layoutWorker(): Worker {
  return new Worker(URL.createObjectURL(new Blob([LAYOUT_WORKER], { type: "text/javascript" })));
}

// ---- theme ----------------------------------------------------------------------------------------------------------

/** Follows the system until the reader chooses; a browser that forbids storage forgets the choice. */
function themes(changed: () => void): void {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (theme: string): void => {
    root.dataset["theme"] = theme;
    byId("theme").setAttribute("aria-label", `theme: ${theme}`);
    changed();
  };
  let chosen: string | null = null;
  try {
    chosen = localStorage.getItem("tokenloom-theme");
  } catch {
    // Storage is off: the theme of the system holds.
  }
  set(chosen ?? (dark.matches ? "dark" : "light"));
  dark.onchange = () => chosen === null && set(dark.matches ? "dark" : "light");
  byId("theme").onclick = () => {
    chosen = root.dataset["theme"] === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("tokenloom-theme", chosen);
    } catch {
      // As above.
    }
    set(chosen);
  };
}

// ---- panes ----------------------------------------------------------------------------------------------------------

/** Bars between the panes that can be dragged, or moved with the arrow keys. */
function splitters(): void {
  for (const bar of document.querySelectorAll<HTMLElement>(".splitter")) {
    const name = `--${bar.dataset["pane"]!}`;
    const way = bar.dataset["pane"] === "source" ? 1 : -1;
    const pane = byId(bar.dataset["pane"]!);
    const set = (width: number): void => {
      document.body.style.setProperty(name, `${Math.max(180, Math.min(window.innerWidth * 0.6, width))}px`);
    };
    bar.onpointerdown = (e) => {
      const [from, width] = [e.clientX, pane.clientWidth];
      bar.setPointerCapture(e.pointerId);
      bar.onpointermove = (m) => set(width + way * (m.clientX - from));
      bar.onpointerup = () => (bar.onpointermove = null);
    };
    bar.onkeydown = (e) => {
      const by = { ArrowLeft: -20, ArrowRight: 20 }[e.key];
      if (by === undefined) return;
      e.stopPropagation();
      set(pane.clientWidth + way * by);
    };
  }
}

function main(doc: ExplainDocument): void {
  const app = new App(doc);
  fill(byId("model-name"), doc.model);
  const entries = byId<HTMLSelectElement>("entry");
  fill(entries, doc.entries.map((e, i) => new Option(e.name, String(i)))); // prettier-ignore
  entries.hidden = doc.entries.length < 2;
  entries.onchange = () => app.go({ entry: Number(entries.value), step: 0, selection: nothing });

  new SourceView(app);
  new StepsView(app);
  const graph = new GraphView(app, layoutWorker());
  new ChangesView(app);
  const kernels = new KernelsView(app);
  const run = new RunView(app);
  new Inspector(app);
  const search = new Search(app);
  const help = byId<HTMLDialogElement>("help");

  const show = (tab: Tab): void => app.go({ tab });
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-tab]"))
    button.onclick = () => show(button.dataset["tab"] as Tab);
  app.onChange((c) => {
    if (c.entry) {
      entries.value = String(app.view.entry);
      fill(byId("sizes"), `${sizesText(app.model.entry)} · ${doc.target.name}`);
    }
    if (!c.tab) return;
    document.body.dataset["view"] = app.view.tab;
    for (const b of document.querySelectorAll<HTMLElement>("[data-tab]"))
      b.setAttribute("aria-selected", String(b.dataset["tab"] === app.view.tab));
  });

  byId("open-all").onclick = () => graph.openAll(true);
  byId("close-all").onclick = () => graph.openAll(false);
  byId("next-change").onclick = () => graph.nextChange(1);
  byId("fit").onclick = () => graph.fit();
  byId("zoom-in").onclick = () => graph.zoom(1.25);
  byId("zoom-out").onclick = () => graph.zoom(0.8);
  const option = (id: string, set: (on: boolean) => void): void => {
    const box = byId<HTMLInputElement>(id);
    box.onchange = () => set(box.checked);
  };
  option("show-prepared", (on) => graph.show("prepared", on));
  option("show-removed", (on) => graph.show("removed", on));
  byId("show-help").onclick = () => help.showModal();
  byId("help-close").onclick = () => help.close();

  themes(() => {
    graph.recolour();
    kernels.recolour();
    run.recolour();
  });
  splitters();

  const keys: Readonly<Record<string, () => void>> = {
    ArrowLeft: () => app.walk(app.view.step - 1),
    ArrowRight: () => app.walk(app.view.step + 1),
    Home: () => app.walk(0),
    End: () => app.walk(app.model.last),
    "/": () => search.focus(),
    Escape: () => app.select(nothing),
    "+": () => graph.zoom(1.25),
    "=": () => graph.zoom(1.25),
    "-": () => graph.zoom(0.8),
    f: () => graph.fit(),
    o: () => graph.openAll(true),
    c: () => graph.openAll(false),
    n: () => graph.nextChange(1),
    p: () => graph.nextChange(-1),
    t: () => byId("theme").click(),
    "?": () => help.showModal(),
    ...Object.fromEntries(tabs.map((tab, i) => [String(i + 1), () => show(tab)])),
    Enter: () => {
      const s = app.view.selection;
      const id = s.kind === "scope" ? `scope:${s.path}` : s.kind === "node" ? s.id : undefined;
      if (id !== undefined && app.view.tab === "graph") graph.toggle(id);
    },
  };
  document.addEventListener("keydown", (e) => {
    if (e.key === "k" && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      return search.focus();
    }
    const target = e.target as HTMLElement;
    const typing = target.matches("input:not([type=range], [type=checkbox]), select, textarea");
    const own = (e.key === "Enter" || e.key === " ") && target.matches("button, summary, tr");
    if (typing || own || help.open || e.ctrlKey || e.metaKey || e.altKey || !(e.key in keys)) return;
    e.preventDefault();
    keys[e.key]!();
  });

  Object.assign(window, { tokenloom: { document: doc, rectOf: (id: string) => graph.rectOf(id) } });
  app.start();
  document.documentElement.dataset["ready"] = "";
}

documentOfPage().then(main, (e: unknown) => {
  fill(byId("model-name"), `This page cannot be shown: ${e instanceof Error ? e.message : String(e)}`);
});
