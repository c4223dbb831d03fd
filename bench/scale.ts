// How a run's time grows with the work, of this compiler alone: node --import tsx bench/scale.ts [--device NAME] [--series NAME] [--rounds N]
// [--save]. Each series changes one size of a model. The sizes of a series take turns; of each the least time counts, as other work on
// the machine only ever adds to it. On a software adapter that is the time of the process on all cores, which other work changes least. A run is from inputs in the program's memory to outputs there. --save writes bench/results/scale, and the
// tables and the plot of docs/performance.md.

import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { compileModule, elaborateFile, InputError, load, type Session } from "../src/index.ts";
import { evaluateDim } from "../src/ir/dim.ts";
import { graphStats } from "../src/ir/stats.ts";
import type { Tensor } from "../src/ir/tensor.ts";
import { openDevice, type OpenedDevice } from "../src/runtime/device-node.ts";
import { graphOf, inputsOf, options as chosen, source, weightsOf, type Model } from "./models.ts";
import {
  saveScale,
  seriesTable,
  updateScalePage,
  type ScalePoint,
  type ScaleSeries,
} from "./scale-report.ts";

interface Series extends Pick<ScaleSeries, "name" | "doc" | "size" | "unit"> {
  readonly sizes: readonly number[];
  model(size: number): Model;
  /** Units of work in a run. */
  units(size: number): number;
}

const doublings = (from: number, to: number): readonly number[] =>
  from > to ? [] : [from, ...doublings(2 * from, to)];

const poolformer = (dims: Model["dims"], depths = "[2, 2, 6, 2]"): Model => ({
  file: "examples/poolformer.model",
  set: { head: "timm", depths },
  dims,
});

const TOKENS_OF_EXPERTS = 256;

const series: readonly Series[] = [
  {
    name: "batch",
    doc: "PoolFormer-S12, images at 64",
    size: "images",
    unit: "image",
    sizes: doublings(1, 64),
    model: (B) => poolformer({ B, H: 64, W: 64 }),
    units: (B) => B,
  },
  {
    name: "image",
    doc: "PoolFormer-S12, one square image",
    size: "height",
    unit: "1,000 pixels",
    sizes: doublings(64, 1024),
    model: (H) => poolformer({ B: 1, H, W: H }),
    units: (H) => (H * H) / 1000,
  },
  {
    name: "tokens",
    doc: "PoNet of 2 layers, 128 channels, 4 heads",
    size: "tokens",
    unit: "1,000 tokens",
    sizes: doublings(512, 32_768),
    model: (T) => ({
      file: "examples/ponet.model",
      set: { depth: "2", dim: "128", heads: "4", vocabulary: "1000", positions: "32768" },
      dims: { B: 1, T },
    }),
    units: (T) => T / 1000,
  },
  {
    name: "experts",
    doc: `routed experts, 4 for each of ${TOKENS_OF_EXPERTS} tokens of 256 channels, 128 hidden units each`,
    size: "experts",
    unit: "token",
    sizes: doublings(8, 256),
    model: (experts) => ({
      file: "examples/moe_layers.model",
      set: { kind: "softmax", dim: "256", hidden: "128", k: "4", experts: String(experts) },
      dims: { T: TOKENS_OF_EXPERTS },
    }),
    units: () => TOKENS_OF_EXPERTS,
  },
  {
    name: "depth",
    doc: "PoolFormer of S12's widths and a growing number of blocks, one image at 64",
    size: "blocks",
    unit: "block",
    sizes: doublings(6, 48),
    model: (n) => poolformer({ B: 1, H: 64, W: 64 }, `[${n / 6}, ${n / 6}, ${n / 2}, ${n / 6}]`),
    units: (n) => n,
  },
];

const { values: flags } = parseArgs({
  options: {
    device: { type: "string" },
    series: { type: "string", multiple: true },
    rounds: { type: "string", default: "3" },
    save: { type: "boolean", default: false },
  },
});

async function sessionOf(model: Model, opened: OpenedDevice): Promise<Session> {
  const front = elaborateFile(source(model.file), chosen(model));
  if (!front.module) throw new InputError(front.diagnostics);
  const compiled = compileModule(front.module, { ...chosen(model), target: opened.target }, front);
  return load(compiled, weightsOf(front.module.graphs[0]!), opened.device);
}

interface Sized {
  readonly size: number;
  readonly session: Session;
  readonly macs: number;
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Milliseconds of a clock, and of the process on all cores. */
  readonly wall: number[];
  readonly processor: number[];
}

/** Sizes that the plan leaves open share a session. */
async function prepare(s: Series, opened: OpenedDevice): Promise<readonly Sized[]> {
  const sessions = new Map<string, Session>();
  const sized: Sized[] = [];
  for (const size of s.sizes) {
    const model = s.model(size);
    const key = JSON.stringify(model.set);
    const session = sessions.get(key) ?? (await sessionOf(model, opened));
    sessions.set(key, session);
    const graph = graphOf(model);
    const macs = evaluateDim(graphStats(graph).macs, model.dims);
    sized.push({ size, session, inputs: inputsOf(graph, model), macs, wall: [], processor: [] });
  }
  return sized;
}

/** The first run with other sizes makes buffers; the next is timed. */
async function turn({ session, inputs, wall, processor }: Sized): Promise<void> {
  await session.run(inputs);
  const [start, before] = [performance.now(), process.cpuUsage()];
  await session.run(inputs);
  const { user, system } = process.cpuUsage(before);
  wall.push(performance.now() - start);
  processor.push((user + system) / 1000);
}

const pointOf = (s: Series, { size, macs, wall, processor }: Sized): ScalePoint => ({
  ...{ size, macs, units: s.units(size) },
  wall: Math.min(...wall),
  processor: Math.min(...processor),
});

async function measure(s: Series, rounds: number, opened: OpenedDevice): Promise<ScaleSeries> {
  const sized = await prepare(s, opened);
  for (let round = 0; round < rounds; round++) for (const one of sized) await turn(one);
  const points = sized.map((one) => pointOf(s, one));
  for (const session of new Set(sized.map((x) => x.session))) await session.dispose();
  const { name, doc, size, unit } = s;
  const by = opened.software ? "processor" : "wall";
  return { ...{ name, doc, size, unit, by, rounds, points }, load: loadavg()[0]! };
}

const rounds = Number(flags.rounds);
if (!Number.isInteger(rounds) || rounds < 1) throw new Error("--rounds is a whole number of at least 1");
const unknown = flags.series?.find((n) => !series.some((s) => s.name === n));
if (unknown !== undefined)
  throw new Error(`there is no series ${unknown}; there are ${series.map((s) => s.name).join(", ")}`);
const opened = await openDevice(flags.device === undefined ? {} : { device: flags.device });
for (const s of series.filter(({ name }) => flags.series?.includes(name) ?? true)) {
  const result = await measure(s, rounds, opened);
  console.log(seriesTable(result));
  if (!flags.save) continue;
  const machine = `${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown processor"}`;
  const path = saveScale(
    { date: new Date().toISOString().slice(0, 10), adapter: opened.name, machine },
    result,
  );
  updateScalePage();
  console.error(`written: ${path}, docs/performance.md`);
}
opened.device.destroy();
