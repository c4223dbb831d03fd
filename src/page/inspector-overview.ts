// The whole compilation: what the inspector shows where nothing is selected.

import { amount, bytes, sizesText } from "../explain/units.ts";
import type { App } from "./app.ts";
import { h } from "./dom.ts";
import { bars, type Content } from "./inspector-rows.ts";
import * as part from "./parts.ts";

export function overview(app: App): Content {
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
    part.section("Kernels that cost most", undefined, topKernels(app)),
    part.section("Lines that cost most", undefined, topLines(app)),
  ];
}

function topKernels(app: App): Node {
  const { doc, model } = app;
  const total = doc.kernels.map(() => 0);
  model.entry.dispatches.forEach((d, i) => (total[d.kernel]! += model.times[i]!));
  const order = total.map((t, i) => [t, i] as const).sort((a, b) => b[0] - a[0]); // prettier-ignore
  return bars(
    order
      .slice(0, 6)
      .map(([t, i]) => [part.kernelLink(app, i), t / model.totalTime, part.percent(t / model.totalTime)]),
  );
}

function topLines(app: App): Node {
  const { doc, model } = app;
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
    bars(order.map((r) => [part.lineLink(app, r.at), r.share / total, part.percent(r.share / total)])),
    h(
      "p",
      { class: "quiet" },
      `Share of ${model.measured ? "the time" : "the FLOPs"}; a line counts what it calls too.`,
    ),
  );
}
