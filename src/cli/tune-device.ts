// `tune-device`: the constants of an adapter, measured, for every choice that counts with them; kept in the cache until the driver changes.

import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { fitShaders, fitTiles, type TileFit, type TilePoint } from "../codegen/fit-tiles.ts";
import { parseSchedule, showSchedule, type ContractionSchedule } from "../codegen/schedule.ts";
import { tileConstants } from "../codegen/tile-cost.ts";
import { compile, load, seededInput, seededTensor } from "../index.ts";
import { runsOnCores, type AdapterConstants, type Target } from "../ir/target.ts";
import {
  fitExperts,
  layersToMeasure,
  LEAST_LAYERS,
  type ExpertFit,
  type ExpertPoint,
} from "../passes/fit-experts.ts";
import { writeConstants } from "../runtime/adapter-files-node.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { copyBandwidth, dispatchCost, workgroupGain } from "../runtime/microbench.ts";
import { median } from "../support/statistics.ts";
import { colors, print, showJson } from "./common.ts";
import { readyLayer, type ReadyLayer } from "./measure-experts.ts";

interface DeviceFlags {
  readonly device?: string;
  readonly json?: boolean;
}

export function tuneDeviceCommand(program: Command): void {
  program
    .command("tune-device")
    .description("measure this adapter for the cost models, in about a minute, and keep the constants")
    .option("--device <name>", "auto, embedded, lavapipe, or part of an adapter's name")
    .option("--json", "print data instead of text")
    .action(tuneDevice);
}

/** Of tiles; what is under way is finished. */
const BUDGET = 35_000;
/** Of experts, and what tiles left. */
const EXPERTS = 15_000;
const RUNS = 8;

async function tuneDevice(flags: DeviceFlags): Promise<void> {
  // What the driver compiles is measured: it must not come from the driver's cache.
  process.env["MESA_SHADER_CACHE_DISABLE"] = "true";
  const begun = performance.now();
  const opened = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const say = (text: string): void => {
    const seconds = ((performance.now() - begun) / 1000).toFixed(0).padStart(3);
    process.stderr.write(`${seconds} s  ${text}\n`);
  };
  const { constants, fit, points, experts } = await measure(opened, begun + BUDGET, say);
  const path = writeConstants(opened.target.adapter!, constants);
  const seconds = (performance.now() - begun) / 1000;
  if (flags.json)
    showJson({ adapter: opened.target.adapter, path, seconds, constants, fit, points, experts });
  else {
    for (const line of showConstants(constants)) print(line);
    print(
      `tiles      predictions are off by a factor of ${fit.after.toFixed(2)}, ${fit.before.toFixed(2)} before (${points.length} measured)`,
    );
    print(
      `experts    estimates are off by a factor of ${experts.after.toFixed(2)}, ${experts.before.toFixed(2)} before (${experts.points.length} measured)`,
    );
    print(`kept in ${path}`);
    print(`${colors.dim("adapter")}  ${opened.name}, ${seconds.toFixed(0)} s`);
  }
  opened.device.destroy();
}

async function measure(
  { device, target, software }: OpenedDevice,
  end: number,
  say: (text: string) => void,
): Promise<{
  readonly constants: AdapterConstants;
  readonly fit: TileFit;
  readonly points: readonly TilePoint[];
  readonly experts: ExpertFit & { readonly points: readonly ExpertPoint[] };
}> {
  say("copying");
  const bytes = software ? 2 ** 25 : Math.min(2 ** 28, device.limits.maxStorageBufferBindingSize);
  const gigabytesPerSecond = await copyBandwidth(device, bytes, RUNS);
  say("dispatches");
  const count = software ? 100 : 1000;
  const dispatchMicroseconds = await dispatchCost(device, count, RUNS);
  const indirect = await dispatchCost(device, count, RUNS, true);
  // On a processor both are memory, whatever a loop over one or the other takes.
  const workgroupMemoryGain = software ? 1 : Math.max(1.01, await workgroupGain(device, 1024, RUNS));
  const base: Target = { ...target, measured: { ...target.measured, workgroupMemoryGain } };
  const { tiles: _, experts: __, ...unfitted } = base.measured;
  const fresh: Target = { ...base, measured: unfitted };
  const points = await measureTiles(device, fresh, end, say);
  const fit = fitOf(points, fresh);
  const flops = ({ sizes, milliseconds }: TilePoint): number =>
    (2 * sizes.rows * sizes.columns * sizes.reduction) / milliseconds / 1e6;
  const constants: AdapterConstants = {
    ...{ gflops: Math.max(...points.map(flops)), gigabytesPerSecond, dispatchMicroseconds },
    indirectMicroseconds: Math.max(0, indirect - dispatchMicroseconds),
    ...{ workgroupMemoryGain, ...fitShaders(points), tiles: fit.tiles },
  };
  // By the schedules that later compilations have.
  const experts = await measureExperts(device, { ...base, measured: constants }, end + EXPERTS, say);
  return { points, fit, experts, constants: { ...constants, experts: experts.experts } };
}

async function measureExperts(
  device: GPUDevice,
  target: Target,
  end: number,
  say: (text: string) => void,
): Promise<ExpertFit & { readonly points: readonly ExpertPoint[] }> {
  const ready: ReadyLayer[] = [];
  for (const layer of layersToMeasure(target)) {
    if (ready.length >= LEAST_LAYERS && performance.now() > end) break;
    ready.push(await readyLayer(device, target, layer));
  }
  // In turns, so that what else the machine does falls on all of them.
  const times = ready.map((): number[] => []);
  for (let round = 0; round <= RUNS; round++)
    for (const [i, layer] of ready.entries()) times[i]!.push(await layer.run());
  const points = ready.map((layer, i) => layer.point(Math.min(...times[i]!)));
  for (const layer of ready) await layer.dispose();
  for (const { layer, way, tile, rows, milliseconds } of points) {
    const tiles = way === "sort" ? ` in tiles of ${tile}` : "";
    say(`${layer.experts} experts, ${rows} rows, ${way}${tiles}: ${milliseconds.toFixed(2)} ms`);
  }
  return { ...fitExperts(points, target), points };
}

/** On a processor the cores and their width are known, and nothing waits for slabs; on a card neither is. */
function fitOf(points: readonly TilePoint[], target: Target): TileFit {
  const start = tileConstants(target);
  if (!runsOnCores(target)) return fitTiles(points, target);
  const cores = { ...start, cores: availableParallelism() };
  return fitTiles(points, target, cores, ["workgroup", "far"]);
}

type Shape = readonly [rows: number, reduction: number, columns: number];

const onCores: readonly Shape[] = [
  [196, 1280, 320],
  [784, 128, 512],
  [49, 512, 512],
];
const onCard: readonly Shape[] = [
  [2048, 2048, 2048],
  [196, 1280, 320],
  [12544, 64, 256],
];

function schedules(target: Target): readonly ContractionSchedule[] {
  const lanes = target.subgroupSize;
  const texts = !runsOnCores(target)
    ? ["16x16,tile=4x1", "16x16,tile=8x2", "8x16,tile=8x2", "16x8,tile=4x1", "8x8,tile=4x1"].map(
        (t) => `workgroup:threads=${t},width=4,step=16`,
      )
    : lanes > 0
      ? [24, 8, 16, 28, 4, 1].map(
          (rows) => `subgroup:threads=${lanes}x1,tile=${rows}x1,epilogue=staged,swizzle=4`,
        )
      : [4, 8, 2].map((rows) => `register:threads=8x8,tile=${rows}x1,swizzle=4`);
  return texts.map((t) => parseSchedule(t).schedule!);
}

/** Every shape by every tile, the most telling first, until the time is up. */
async function measureTiles(
  device: GPUDevice,
  target: Target,
  end: number,
  say: (text: string) => void,
): Promise<readonly TilePoint[]> {
  const points: TilePoint[] = [];
  const shaders = new Map<string, number>();
  for (const schedule of schedules(target))
    for (const shape of runsOnCores(target) ? onCores : onCard) {
      if (points.length >= 3 && performance.now() > end) return points;
      const { text, point } = await measureTile(device, target, schedule, shape);
      // A text that was compiled before comes from memory.
      const shaderMilliseconds = shaders.get(text) ?? point.shaderMilliseconds;
      shaders.set(text, shaderMilliseconds);
      points.push({ ...point, shaderMilliseconds });
      const tile = `${schedule.threads.join("x")} of ${schedule.rows}x${schedule.vectors}`;
      say(
        `${shape.join(" x ")} by ${tile}: ${point.milliseconds.toFixed(2)} ms, shader ${shaderMilliseconds.toFixed(0)} ms`,
      );
    }
  return points;
}

async function measureTile(
  device: GPUDevice,
  target: Target,
  schedule: ContractionSchedule,
  [rows, reduction, columns]: Shape,
): Promise<{ readonly text: string; readonly point: TilePoint }> {
  const source = `model tile (x: f32[M, ${reduction}]) -> f32[M, ${columns}] { return x |> linear(out = ${columns}) @fc }`;
  const asked = showSchedule(schedule);
  const compiled = compile({ name: "tile.model", text: source }, { target, schedules: { "*": asked } });
  const weights = (key: string) =>
    seededTensor(key, key.endsWith("bias") ? [columns] : [columns, reduction], 0, "f32");
  const inputs = { x: seededInput("x", [rows, reduction]) };
  const start = performance.now();
  const session = await load(compiled, weights, device);
  const packed = performance.now();
  await session.run(inputs);
  const first = performance.now() - packed + session.stats.pipelineMilliseconds;
  const times: number[] = [];
  const whole: number[] = [];
  for (let i = 0; i < RUNS + 1; i++) {
    const at = performance.now();
    const { nanoseconds } = await session.runWith(inputs, { profile: true, outputs: [] });
    whole.push(performance.now() - at);
    times.push(nanoseconds ? nanoseconds.reduce((a, b) => a + b, 0) / 1e6 : whole.at(-1)!);
  }
  await session.dispose();
  const text = compiled.plan.kernels.map((k) => k.wgsl).join("\n");
  const sizes = { rows, columns, reduction, batch: 1, products: 1 };
  return {
    text,
    point: {
      // What the adapter can do, whatever else the machine does.
      ...{ schedule, sizes, milliseconds: Math.min(...times) },
      shaderMilliseconds: Math.max(0, Math.min(first, performance.now() - start) - median(whole)),
    },
  };
}

// ---- text -----------------------------------------------------------------------------------------------------------

export function showConstants(c: AdapterConstants): readonly string[] {
  const amount = (n: number): string => (n >= 100 ? n.toFixed(0) : n.toPrecision(3));
  const shader =
    c.shaderMilliseconds === undefined
      ? "not measured"
      : `${amount(c.shaderMilliseconds)} ms, and ${amount(c.shaderMillisecondsPerKibibyte ?? 0)} ms for each KiB`;
  return [
    `matmul     ${amount(c.gflops)} GFLOP/s`,
    `copy       ${amount(c.gigabytesPerSecond)} GB/s, read plus written`,
    `dispatch   ${amount(c.dispatchMicroseconds)} microseconds${c.indirectMicroseconds === undefined ? "" : `, ${amount(c.indirectMicroseconds)} more with a grid from a buffer`}`,
    `workgroup  memory ${amount(c.workgroupMemoryGain)} times as near as a buffer`,
    `shader     ${shader}`,
    ...(c.experts
      ? [
          `experts    weights at ${amount(c.experts.gigabytesPerSecond)} GB/s, rows at ${amount(c.experts.gflops)} GFLOP/s, ${amount(c.experts.dense)} times as long where all compute all`,
        ]
      : []),
  ];
}
