// Every way of computing a layer of routed experts over a grid, beside the one that the cost model chooses:
//   node --import tsx bench/experts.ts [--device NAME] [--tokens 1,8,64] [--experts 8,16] [--k 2] [--runs N]
// A way that is estimated to take ten times as long as the fastest is not run. Times are those of the products and of what orders their
// rows, by the device's timestamps; of each the least of several runs, the ways taken in turn.

import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { compile, load, seededInput, seededTensor, type Session } from "../src/index.ts";
import { constantOf, dim } from "../src/ir/dim.ts";
import { chooseWay, estimateWays, type ExpertLayer, type ExpertWay } from "../src/passes/expert-cost.ts";
import { openDevice } from "../src/runtime/device-node.ts";

const { values: flags } = parseArgs({
  options: {
    device: { type: "string" },
    runs: { type: "string", default: "7" },
    tokens: { type: "string", default: "1,8,64,256,1024" },
    experts: { type: "string", default: "8,16,64" },
    k: { type: "string", default: "2" },
    dim: { type: "string", default: "256" },
    hidden: { type: "string", default: "256" },
  },
});
const list = (text: string): number[] => text.split(",").map(Number);
const [width, hidden] = [Number(flags.dim), Number(flags.hidden)];

const source = (tokens: number, experts: number, k: number): string => `
block Gated(hidden: int) (x: f32[..., dim]) -> f32[..., dim] {
  gate = x |> linear(out = hidden, bias = false) @gate |> silu()
  up = x |> linear(out = hidden, bias = false) @up
  return gate * up |> linear(out = dim, bias = false) @down
}
model layer (x: f32[${tokens}, ${width}]) -> f32[${tokens}, ${width}] {
  ids, weights = x |> linear(out = ${experts}, bias = false) @router |> route(k = ${k})
  y = x |> per_expert(ids, of = Gated(hidden = ${hidden}), count = ${experts}) @experts
  return sum(y * unsqueeze(weights, axes = [-1]), axes = [-2])
}`;

const ways: readonly ExpertWay[] = ["gather", "sort", "dense"];
const opened = await openDevice(flags.device === undefined ? {} : { device: flags.device });

async function sessionOf(text: string, way: ExpertWay) {
  const compiled = compile({ name: "layer.model", text }, { target: opened.target, experts: way });
  const shapes = new Map(
    compiled.module.graphs[0]!.weights.map((w) => [w.key, w.type.shape.map((d) => constantOf(d)!)]),
  );
  const session = await load(compiled, (key) => seededTensor(key, shapes.get(key)!, 0, "f32"), opened.device);
  return { way, session, least: Infinity };
}

/** Milliseconds of all but the router's two dispatches. */
async function timed(session: Session, tokens: number): Promise<number> {
  const x = seededInput("x", [tokens, width]);
  const { nanoseconds } = await session.runWith({ x }, { profile: true, outputs: [] });
  return nanoseconds!.slice(2).reduce((a, b) => a + b, 0) / 1e6;
}

console.log(`${opened.name}; ${width} channels, experts of ${hidden}; milliseconds measured (estimated)\n`);
console.log(`| tokens | experts | k | ${ways.join(" | ")} | chosen | fastest | loss |`);
console.log(`| ---: | ---: | ---: |${ways.map(() => " ---: |").join("")} --- | --- | ---: |`);
for (const tokens of list(flags.tokens))
  for (const experts of list(flags.experts))
    for (const k of list(flags.k)) {
      const macs = 3 * width * hidden;
      const layer: ExpertLayer = {
        rows: dim(tokens * k),
        ...(k > 1 && { k }),
        experts,
        bytes: 4 * macs,
        macs,
      };
      const estimates = estimateWays(layer, tokens * k, opened.target);
      const limit = 10 * Math.min(...estimates.map((e) => e.microseconds));
      const run: Awaited<ReturnType<typeof sessionOf>>[] = [];
      for (const e of estimates)
        if (e.microseconds <= limit) run.push(await sessionOf(source(tokens, experts, k), e.way));
      for (let round = 0; round < Number(flags.runs); round++)
        for (const r of run) r.least = Math.min(r.least, await timed(r.session, tokens));
      for (const r of run) await r.session.dispose();
      const cell = (way: string): string => {
        const e = estimates.find((x) => x.way === way);
        if (!e) return "-";
        const ms = run.find((r) => r.way === way)?.least;
        const tile = way === "sort" ? ` /${e.tile}` : "";
        return `${ms === undefined ? "-" : ms.toFixed(1)} (${(e.microseconds / 1000).toFixed(1)})${tile}`;
      };
      const { way: chosen } = chooseWay(layer, { target: opened.target });
      const best = run.reduce((a, b) => (b.least < a.least ? b : a));
      const own = run.find((r) => r.way === chosen)!;
      const loss = `${(100 * (own.least / best.least - 1)).toFixed(0)} %`;
      console.log(
        `| ${tokens} | ${experts} | ${k} | ${ways.map(cell).join(" | ")} | ${chosen} | ${best.way} | ${loss} |`,
      );
    }
console.log(`\nload ${loadavg()[0]!.toFixed(1)}`);
opened.device.destroy();
