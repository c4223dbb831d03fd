// Schedules of elementwise kernels, of stencils and of what moves elements: how invocations lie on the result. element-kernel.ts makes a
// kernel for any that is not refused here.

import {
  ceilDiv,
  constantOf,
  dim,
  isMultipleOf,
  productDim,
  substituteDim,
  symbolsOf,
  type Dim,
  type DimEnv,
} from "../ir/dim.ts";
import type { Region } from "../ir/graph.ts";
import { runsOnCores, type Target } from "../ir/target.ts";
import { bytesOf, orderOf, sameShape, sameType, stridesOf, type TensorType } from "../ir/types.ts";
import { typesIn } from "./reduction-domain.ts";
import { cut, WORKGROUP } from "./rows.ts";
import { countText, sizeIn, type Ranked, type ScheduleCost, type SpaceOptions } from "./schedule-family.ts";
import { cardBandwidth, surelyBest, HELD, ITEM, shaderOf } from "./streaming-cost.ts";
import type { Bounds } from "./sizes.ts";
import { tileConstants } from "./tile-cost.ts";
import { walkOf, type WalkFacts } from "./walk.ts";

/**
 * flat: one counter over all axes. rows: invocations along the innermost axis, rows over all others. run: the same, where the innermost axes
 * together are the row, so that it can be taken by four where the innermost alone cannot. walk: as rows, but each invocation walks along one
 * axis of the rows, and windows that slide along it keep in registers what neighbours share.
 */
const kinds = ["flat", "rows", "run", "walk"] as const;

export interface ElementSchedule {
  readonly kind: (typeof kinds)[number];
  /** Invocations along a row, in one workgroup; of `flat`, of a workgroup. */
  readonly threads: number;
  /** Rows of a workgroup. */
  readonly rows: number;
  /** Neighbours that an invocation has: 1 or 4. */
  readonly width: number;
}

export interface ElementFacts {
  readonly target: Target;
  readonly isFlat: boolean;
  /** Axes of the result that are a row together; undefined where elements need them apart, or there is no four of them. */
  readonly run?: readonly number[];
  readonly walk?: WalkFacts;
  /** Of the result: all elements, those along the innermost axis, those along a run, and along the axis of the walk. */
  readonly total: Dim;
  readonly inner: Dim;
  readonly runLength: Dim;
  readonly turns: Dim;
  /** The innermost axis lies in fours. */
  readonly wide: boolean;
  /** All elements together are a multiple of four. */
  readonly flatWide: boolean;
  /** Reads for one result, and those of them that a walk still makes. */
  readonly taps: number;
  readonly newTaps: number;
  /** Bytes of an element of all that is read whole, and of all that is written. */
  readonly bytes: number;
  readonly expected: DimEnv;
}

export type ElementSizes = { readonly elements: number; readonly inner: number; readonly turns: number };

export const elementKinds = kinds;
export const elementText = countText<ElementSchedule>([
  { name: "threads", most: 1024 },
  { name: "rows", most: 1024, default: 1 },
  { name: "width", most: 4, default: 1 },
]);

export function elementFacts(region: Region, o: SpaceOptions): ElementFacts {
  const { bounds } = o;
  const types = typesIn(region);
  const result = types.get(region.results[0]!)!;
  const order = orderOf(result);
  const innerAxis = order.at(-1);
  const inner = innerAxis === undefined ? dim(1) : result.shape[innerAxis]!;
  const isFlat = isFlatGroup(region, types, bounds);
  const run = isFlat ? undefined : runOf(region, types, bounds);
  const walk = isFlat ? undefined : walkOf(region, types, bounds);
  const of = (d: Dim): Dim => substituteDim(d, bounds);
  const along = (axes: readonly number[]): Dim => of(productDim(axes.map((a) => result.shape[a]!)));
  const whole = [...region.params.map((p) => p.type), ...region.results.map((id) => types.get(id)!)];
  const total = productDim(result.shape);
  return {
    ...{ target: o.target, isFlat, expected: o.sizes, ...tapsOf(region, walk) },
    ...(run && { run }),
    ...(walk && { walk }),
    total: of(total),
    inner: of(inner),
    runLength: along(run ?? []),
    turns: walk ? along([walk.axis]) : dim(1),
    wide:
      innerAxis !== undefined && isMultipleOf(inner, 4) && constantOf(stridesOf(result)[innerAxis]!) === 1,
    flatWide: isMultipleOf(total, 4),
    bytes: whole.reduce((n, t) => n + (sameShape(t.shape, result.shape) ? bytesOf[t.dtype] : 0), 0),
  };
}

function tapsOf(region: Region, walk: WalkFacts | undefined): { taps: number; newTaps: number } {
  let [taps, newTaps] = [1, 1];
  for (const { op, attrs } of region.nodes) {
    if (op.lowering.kind !== "element" || !op.lowering.slides) continue;
    const windows = op.lowering.slides(attrs);
    taps = Math.max(
      taps,
      windows.reduce((n, w) => n * w.size, 1),
    );
    newTaps = Math.max(
      newTaps,
      windows.reduce((n, w) => n * (w.axis === walk?.axis ? w.step : w.size), 1),
    );
  }
  return { taps, newTaps };
}

const isLive = (d: Dim, bounds: Bounds): boolean => [...symbolsOf(d)].some((s) => bounds[s]);
const isScalar = (t: TensorType): boolean => t.shape.every((d) => constantOf(d) === 1);

/** Every value has the same shape and order, or one element, and none has gaps behind a live size: the axes do not matter. */
export function isFlatGroup(region: Region, types: ReadonlyMap<string, TensorType>, bounds: Bounds): boolean {
  const result = types.get(region.results[0]!)!;
  if (orderOf(result).some((axis, i) => i > 0 && isLive(result.shape[axis]!, bounds))) return false;
  return (
    result.shape.length > 0 &&
    region.nodes.every((n) => n.op.traits.includes("elementwise")) &&
    [...types.values()].every((t) => isScalar(t) || sameType({ ...t, dtype: result.dtype }, result))
  );
}

/**
 * The fewest innermost axes, more than one, whose elements together are a multiple of four, where everything is elementwise: then values of
 * the result's shape are read by four, and others each at its own index.
 */
function runOf(
  region: Region,
  types: ReadonlyMap<string, TensorType>,
  bounds: Bounds,
): readonly number[] | undefined {
  const result = types.get(region.results[0]!)!;
  const order = orderOf(result);
  const isNumber = (n: Region["nodes"][number]): boolean =>
    n.inputs.length === 0 && isScalar(n.results[0]!.type);
  if (!region.nodes.every((n) => n.op.traits.includes("elementwise") || isNumber(n))) return undefined;
  if (!region.results.every((id) => sameType({ ...types.get(id)!, dtype: result.dtype }, result)))
    return undefined;
  if (result.shape.some((d) => isLive(d, bounds))) return undefined;
  for (let n = 2; n <= order.length; n++) {
    const axes = order.slice(-n);
    if (isMultipleOf(productDim(axes.map((a) => result.shape[a]!)), 4)) return axes;
  }
  return undefined;
}

export function elementSizes(f: ElementFacts): ElementSizes | undefined {
  const [elements, inner] = [sizeIn(f.total, f.expected), sizeIn(f.inner, f.expected)];
  const turns = sizeIn(f.turns, f.expected);
  if (elements === undefined || inner === undefined || turns === undefined) return undefined;
  return { elements, inner, turns };
}

export function refuseElement(s: ElementSchedule, f: ElementFacts): string | undefined {
  const { limits } = f.target;
  const most = Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX);
  if (s.threads * s.rows > most) return `${s.threads * s.rows} invocations, and ${most} are the most`;
  if (s.width !== 1 && s.width !== 4) return "width is 1 or 4";
  if (f.isFlat !== (s.kind === "flat"))
    return f.isFlat
      ? "everything here has one shape and order, so that there are no rows: flat"
      : "shapes or orders differ, so that one counter cannot go over all axes";
  if (s.kind === "flat" && s.rows > 1) return "there are no rows: rows=1";
  if (s.kind === "walk" && !f.walk) return "no window slides along an axis of the rows";
  if (s.kind === "run") {
    if (!f.run) return "axes are needed apart, or have no multiple of four elements together";
    if (s.rows > 1) return "a run is longer than a workgroup: rows=1";
    return s.width === 4 ? undefined : "a run is taken by four: width=4";
  }
  if (s.width === 4 && !(f.isFlat ? f.flatWide : f.wide))
    return "elements do not lie in fours in memory: they have to be taken one by one (width=1)";
  return undefined;
}

// ---- choosing ---------------------------------------------------------------------------------------------------------

export function chooseElement(f: ElementFacts): ElementSchedule {
  const plain = plainElement(f);
  const sizes = elementSizes(f);
  if (runsOnCores(f.target) || !sizes) return plain;
  return surelyBest(plain, elementCost(plain, f, sizes), rankElements(f, sizes));
}

/**
 * Windows are walked along on cores alone: there a few invocations keep all of them busy, and a read is dear. Runs are for a GPU: on cores
 * a read at an index of each lane's own is the dearest there is.
 */
export function plainElement(f: ElementFacts): ElementSchedule {
  const cores = runsOnCores(f.target);
  if (f.isFlat) return { kind: "flat", threads: WORKGROUP, rows: 1, width: f.flatWide ? 4 : 1 };
  const width = f.wide ? 4 : 1;
  if (f.walk && cores) return { kind: "walk", threads: 16, rows: 1, width };
  if (f.run && !f.wide && !cores) return { kind: "run", threads: WORKGROUP, rows: 1, width: 4 };
  const { width: threads, together } = cut(f.wide ? ceilDiv(f.inner, dim(4)) : f.inner, f.target);
  return { kind: "rows", threads, rows: together, width };
}

export function whyElement(s: ElementSchedule, f: ElementFacts): string {
  if (s.kind === "flat")
    return `everything here has one shape and order, so that one counter goes over all axes${s.width === 4 ? "; the count is a multiple of four" : f.flatWide ? "" : "; four at once needs a count that is a multiple of four"}`;
  if (s.kind === "run")
    return `shapes differ, and the innermost axis has no multiple of four elements: the innermost ${f.run!.length} axes are a row together`;
  const shared = s.rows > 1 ? ", and short rows share a workgroup" : "";
  const walked =
    s.kind === "walk" ? "; neighbouring windows share what they read, which stays in registers" : "";
  return `shapes or orders differ, so that rows are told apart: ${s.threads} invocations along a row${shared}${walked}`;
}

// ---- cost -------------------------------------------------------------------------------------------------------------

export function elementCost(s: ElementSchedule, f: ElementFacts, z: ElementSizes): ScheduleCost {
  const c = tileConstants(f.target);
  const along =
    s.kind === "flat" ? z.elements : s.kind === "run" ? (sizeIn(f.runLength, f.expected) ?? 1) : z.inner;
  const items = Math.ceil(along / s.width);
  const turns = s.kind === "walk" ? z.turns + f.walk!.lead : 1;
  const rows = z.elements / along / (s.kind === "walk" ? z.turns : 1);
  const workgroups = Math.ceil(items / s.threads) * Math.ceil(rows / s.rows);
  const taps = s.kind === "walk" ? f.newTaps : f.taps;
  const shaderMilliseconds = shaderOf(f.target, taps, 1);
  const invocations = workgroups * s.threads * s.rows;
  if (runsOnCores(f.target)) {
    const subgroups = Math.max(1, (s.threads * s.rows) / (f.target.subgroupSize || c.lanes));
    // Of a run, what is not read by four is read for each lane.
    const reads = taps * (s.kind === "run" ? 4 : 1);
    const one = c.workgroup + subgroups * turns * (c.far * reads + 2 * s.width * taps);
    return {
      microseconds: (Math.ceil(workgroups / c.cores) * one) / c.cyclesPerMicrosecond,
      shaderMilliseconds,
    };
  }
  const held = Math.max(1, Math.min(HELD.workgroups, Math.floor(HELD.invocations / (s.threads * s.rows))));
  const waiting = (Math.ceil(workgroups / (c.cores * held)) * turns * c.slab) / c.cyclesPerMicrosecond;
  const each = ITEM * (taps + (s.kind === "run" ? 3 : 0)) * turns;
  const lanes = (invocations * each) / (c.cores * c.lanes * c.cyclesPerMicrosecond);
  const bytes = (z.elements * f.bytes) / cardBandwidth(f.target);
  return { microseconds: Math.max(bytes, waiting, lanes), shaderMilliseconds };
}

export function rankElements(f: ElementFacts, z: ElementSizes): readonly Ranked<ElementSchedule>[] {
  const found = new Map<string, Ranked<ElementSchedule>>();
  for (const schedule of [plainElement(f), ...candidates(f, z)])
    if (refuseElement(schedule, f) === undefined)
      found.set(elementText.show(schedule), { schedule, ...elementCost(schedule, f, z) });
  return [...found.values()].sort((a, b) => a.microseconds - b.microseconds);
}

function candidates(f: ElementFacts, z: ElementSizes): readonly ElementSchedule[] {
  const cores = runsOnCores(f.target);
  const most = cores ? [8, 16, 32, 64] : [32, 64, 128, 256];
  if (f.isFlat) return most.map((threads) => ({ kind: "flat", threads, rows: 1, width: f.flatWide ? 4 : 1 }));
  const width = f.wide ? 4 : 1;
  const items = Math.ceil(z.inner / width);
  const short = [1, 2, 4, 8, 16, 32, 64, 128, 256].filter((t) => t < 2 * items && t <= most.at(-1)!);
  const found: ElementSchedule[] = [];
  for (const threads of short)
    for (const invocations of cores ? [16, 64] : [64, 256])
      found.push({ kind: "rows", threads, rows: Math.max(1, invocations / threads), width });
  for (const threads of most) {
    if (f.run) found.push({ kind: "run", threads, rows: 1, width: 4 });
    if (f.walk) found.push({ kind: "walk", threads, rows: 1, width });
  }
  return found;
}
