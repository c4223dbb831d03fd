// Every way of computing a layer of routed experts over a grid, beside the one that the cost model chooses:
//   node --import tsx bench/experts.ts [--device NAME] [--tokens 1,8,64] [--experts 8,16] [--k 2] [--runs N]
// A way that is estimated to take ten times as long as the fastest is not run. Times are those of the products and of what orders their
// rows, by the device's timestamps: medians of runs, the ways taken in turn. What the choice loses is the median of its ratio to the fastest
// way, run by run.
//
// With --growth: how the layer that the compiler makes grows with its experts. All dispatches, router and sum too; medians of runs taken in
// turn, and medians of the ratio to the first number of experts, run by run. `--k all` gives every token every expert.

import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { compile, load, seededInput, seededTensor, type Session } from "../src/index.ts";
import { constantOf, dim } from "../src/ir/dim.ts";
import { builtinTargets, type Target } from "../src/ir/target.ts";
import { chooseWay, estimateWays, type ExpertLayer, type ExpertWay } from "../src/passes/expert-cost.ts";
import { openDevice } from "../src/runtime/device-node.ts";
import { median } from "./compare.ts";

const { values: flags } = parseArgs({
  options: {
    device: { type: "string" },
    runs: { type: "string", default: "7" },
    tokens: { type: "string", default: "1,8,64,256,1024" },
    experts: { type: "string", default: "8,16,64" },
    k: { type: "string", default: "2" },
    dim: { type: "string", default: "256" },
    hidden: { type: "string", default: "256" },
    growth: { type: "boolean", default: false },
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
model layer (x: f32[${tokens}, ${width}]) -> (y: f32[${tokens}, ${width}], ids: u32[${tokens}, ${k}]) {
  ids, weights = x |> linear(out = ${experts}, bias = false) @router |> route(k = ${k})
  y = x |> per_expert(ids, of = Gated(hidden = ${hidden}), count = ${experts}) @experts
  return y = sum(y * unsqueeze(weights, axes = [-1]), axes = [-2]), ids = ids
}`;

const ways: readonly ExpertWay[] = ["gather", "sort", "dense"];
const opened = await openDevice(flags.device === undefined ? {} : { device: flags.device });

/** Compiled one way, or the one that the compiler chooses. */
async function sessionOf(text: string, way?: ExpertWay): Promise<Session> {
  const compiled = compile(
    { name: "layer.model", text },
    { target: opened.target, ...(way && { experts: way, without: ["fuse-router"] }) },
  );
  const shapes = new Map(
    compiled.module.graphs[0]!.weights.map((w) => [w.key, w.type.shape.map((d) => constantOf(d)!)]),
  );
  return load(compiled, (key) => seededTensor(key, shapes.get(key)!, 0, "f32"), opened.device);
}

const inputOf = (tokens: number) => ({ x: seededInput("x", [tokens, width]) });

/** Milliseconds of all dispatches behind the first `without`. */
async function timed(session: Session, tokens: number, without = 0): Promise<number> {
  const { nanoseconds } = await session.runWith(inputOf(tokens), { profile: true, outputs: [] });
  return nanoseconds!.slice(without).reduce((a, b) => a + b, 0) / 1e6;
}

function layerOf(tokens: number, experts: number, k: number): ExpertLayer {
  const macs = 3 * width * hidden;
  return { rows: dim(tokens * k), ...(k > 1 && { k }), experts, bytes: 4 * macs, macs };
}

/** The constants that choices are made with: the adapter's; where it was tuned, those that come with the compiler too. */
const builtIn = builtinTargets.find((t) => t.name === opened.target.name);
const constants: readonly (readonly [string, Target])[] = [
  ["chosen", opened.target],
  ...(builtIn && opened.target.measured.experts
    ? [["untuned", { ...opened.target, measured: builtIn.measured }] as const]
    : []),
];

const rounds = Number(flags.runs);
/** The router's product and its choice. */
const ROUTER = 2;

async function compareWays(tokens: number, experts: number, k: number): Promise<string> {
  const layer = layerOf(tokens, experts, k);
  const estimates = estimateWays(layer, tokens * k, opened.target);
  const limit = 10 * Math.min(...estimates.map((e) => e.microseconds));
  const run: { readonly way: ExpertWay; readonly session: Session; readonly times: number[] }[] = [];
  for (const { way, microseconds } of estimates)
    if (microseconds <= limit)
      run.push({ way, session: await sessionOf(source(tokens, experts, k), way), times: [] });
  for (let round = 0; round < rounds; round++)
    for (const r of run) r.times.push(await timed(r.session, tokens, ROUTER));
  for (const r of run) await r.session.dispose();
  const cell = (way: string): string => {
    const e = estimates.find((x) => x.way === way);
    if (!e) return "-";
    const times = run.find((r) => r.way === way)?.times;
    const tile = way === "sort" ? ` /${e.tile}` : "";
    return `${times ? median(times).toFixed(1) : "-"} (${(e.microseconds / 1000).toFixed(1)})${tile}`;
  };
  const best = run.reduce((a, b) => (median(b.times) < median(a.times) ? b : a));
  const cells = constants.map(([, target]) => {
    const { way } = chooseWay(layer, { target });
    const own = run.find((r) => r.way === way);
    const loss = own && median(own.times.map((t, i) => t / best.times[i]!)) - 1;
    return `${way} | ${loss === undefined ? "not run" : `${(100 * loss).toFixed(0)} %`}`;
  });
  return `| ${tokens} | ${experts} | ${k} | ${ways.map(cell).join(" | ")} | ${best.way} | ${cells.join(" | ")} |`;
}

/** One row for each number of experts: those that have tokens, the way that was chosen, the time, and the ratio to the first row. */
async function growth(tokens: number, all: readonly number[], k: string): Promise<readonly string[]> {
  const run: { experts: number; k: number; active: number; session: Session; times: number[] }[] = [];
  for (const experts of all) {
    const each = k === "all" ? experts : Number(k);
    const session = await sessionOf(source(tokens, experts, each));
    const { ids } = await session.run(inputOf(tokens));
    run.push({ experts, k: each, active: new Set(ids!.data).size, session, times: [] });
  }
  for (let round = 0; round < rounds; round++)
    for (const r of run) r.times.push(await timed(r.session, tokens));
  for (const r of run) await r.session.dispose();
  const [first] = run;
  return run.map((r) => {
    const { way, tile } = chooseWay(layerOf(tokens, r.experts, r.k), { target: opened.target });
    const ratio = median(r.times.map((t, i) => t / first!.times[i]!)).toFixed(2);
    const how = way === "sort" ? `${way} /${tile}` : way;
    return `| ${tokens} | ${r.k} | ${r.experts} | ${r.active} | ${how} | ${median(r.times).toFixed(2)} | ${ratio} |`;
  });
}

const about = `${opened.name}; ${width} channels, experts of ${hidden}; milliseconds`;
if (flags.growth) {
  console.log(`${about}, medians of ${rounds}\n`);
  console.log("| tokens | k | experts | with tokens | way | ms | ratio |");
  console.log("| ---: | ---: | ---: | ---: | --- | ---: | ---: |");
  for (const tokens of list(flags.tokens))
    for (const k of flags.k.split(","))
      for (const row of await growth(tokens, list(flags.experts), k)) console.log(row);
} else {
  console.log(`${about} measured (estimated)\n`);
  const choices = constants.map(([name]) => ` ${name} | loss |`).join("");
  console.log(`| tokens | experts | k | ${ways.join(" | ")} | fastest |${choices}`);
  console.log(
    `| ---: | ---: | ---: |${ways.map(() => " ---: |").join("")} --- |${" --- | ---: |".repeat(constants.length)}`,
  );
  for (const tokens of list(flags.tokens))
    for (const experts of list(flags.experts))
      for (const k of flags.k.split(","))
        console.log(await compareWays(tokens, experts, k === "all" ? experts : Number(k)));
}
console.log(`\nload ${loadavg()[0]!.toFixed(1)}`);
opened.device.destroy();
