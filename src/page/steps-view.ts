// The walk through the pipeline: a slider with a bar for each pass, as high as it changed much, and what the one that is on did.

import type { App } from "./app.ts";
import { byId, fill, h } from "./dom.ts";

export class StepsView {
  readonly #app: App;
  readonly #slider = byId<HTMLInputElement>("step");
  readonly #ticks = byId("ticks");
  readonly #label = byId("step-label");

  constructor(app: App) {
    this.#app = app;
    this.#slider.oninput = () => app.walk(Number(this.#slider.value));
    byId("previous").onclick = () => app.walk(app.view.step - 1);
    byId("next").onclick = () => app.walk(app.view.step + 1);
    app.onChange((c) => {
      if (c.entry) this.#entry();
      if (c.entry || c.step) this.#draw();
    });
  }

  #entry(): void {
    const { model, doc } = this.#app;
    this.#slider.max = String(model.last);
    const sizes = model.entry.steps.map((s) => s.removed.length + s.set.length);
    const most = Math.log1p(Math.max(1, ...sizes));
    this.#ticks.style.setProperty("--steps", String(Math.max(1, model.last)));
    fill(
      this.#ticks,
      [-1, ...sizes.keys()].map((i) => {
        const size = i < 0 ? 0 : sizes[i]!;
        const name = i < 0 ? "as the model says it" : doc.passes[model.entry.steps[i]!.pass]!.name;
        const height = size === 0 ? 0 : 0.2 + (0.8 * Math.log1p(size)) / most;
        const refused = i >= 0 && model.entry.steps[i]!.refused.length > 0;
        return h(
          "button",
          {
            type: "button",
            class: `tick${size === 0 ? " idle" : ""}${refused ? " refused" : ""}`,
            title: `${i + 1}  ${name}${size > 0 ? `: ${size} nodes touched` : i < 0 ? "" : ": nothing to do"}`,
            "aria-label": name,
            style: `--height:${height.toFixed(3)}`,
            tabindex: "-1",
            onclick: () => this.#app.walk(i + 1),
          },
          h("span", {}),
        );
      }),
    );
  }

  #draw(): void {
    const { model, doc, view } = this.#app;
    this.#slider.value = String(view.step);
    [...this.#ticks.children].forEach((t, i) => t.classList.toggle("on", i === view.step));
    byId<HTMLButtonElement>("previous").disabled = view.step === 0;
    byId<HTMLButtonElement>("next").disabled = view.step === model.last;
    const step = model.pass(view.step);
    const name = step ? doc.passes[step.pass]!.name : "as the model says it";
    this.#slider.setAttribute("aria-valuetext", name);
    const counts = { removed: 0, added: 0, changed: 0 };
    for (const kind of model.changes(view.step).values()) counts[kind]++;
    const cost = model.state(view.step).cost;
    fill(
      this.#label,
      h("b", {}, name),
      h("span", { class: "quiet num" }, `${view.step}/${model.last}`),
      step && [
        h("span", { class: "count-removed", title: "nodes removed" }, `−${counts.removed}`),
        h("span", { class: "count-added", title: "nodes added" }, `+${counts.added}`),
        h("span", { class: "count-changed", title: "nodes changed" }, `~${counts.changed}`),
      ],
      h("span", { class: "quiet num" }, `${cost.nodes} nodes`),
      step && step.refused.length > 0 && h("span", { class: "quiet num" }, `${step.refused.length} refused`),
    );
  }
}
