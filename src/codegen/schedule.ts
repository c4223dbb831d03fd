// Schedules of contractions: how the work is cut. A schedule is data with a text form, chosen here from the target and what is known of
// the sizes; a tuner can search the same space. The builder (contraction-kernel.ts) can make a kernel for any that is not refused here.

import { constantOf, isMultipleOf, type Dim } from "../ir/dim.ts";
import { runsOnCores, type Target } from "../ir/target.ts";
import { rankSchedules, sizesOf } from "./schedule-rank.ts";
import type { TileSizes } from "./tile-cost.ts";

/**
 * subgroup: a workgroup is one subgroup; its lanes lie along the columns, each loads other rows, and values of the row operand are
 * handed round by broadcast. register: every invocation holds a tile of its own and reads both operands itself. workgroup: the same
 * tiles, but slabs of both operands go through workgroup memory first, and every element is read from its buffer once a workgroup.
 */
export const scheduleKinds = ["subgroup", "register", "workgroup"] as const;

export interface ContractionSchedule {
  readonly kind: (typeof scheduleKinds)[number];
  /** Invocations along the columns and along the rows; a subgroup lies along the columns and holds the same rows. */
  readonly threads: readonly [number, number];
  /** Rows of the result in one invocation. */
  readonly rows: number;
  /** Vectors of columns in one invocation. */
  readonly vectors: number;
  /** Columns in a vector: neighbours in memory, read and written at once. */
  readonly width: 1 | 4;
  /** Steps along the innermost axis of the reduction at once; the depth of a slab where operands go through workgroup memory. */
  readonly step: number;
  /** Parts of the reduction, each in workgroups of its own; a second dispatch adds them up in order and does the epilogue. */
  readonly split: number;
  /**
   * Workgroups for as many rows as there can be, of which those leave that have none; or for the rows that there are, from a buffer, where
   * a kernel sets their number.
   */
  readonly grid: "bound" | "live";
  /** Results go through workgroup memory, so that the epilogue is written once, in a loop over the rows: small shaders compile fast. */
  readonly stagedEpilogue: boolean;
  /** Tiles of rows that run one after another before the next columns: what one reads of the weights is still near for the others. */
  readonly swizzle: number;
  /** What slabs hold of an operand that is stored in f16: its numbers widened, or as they are, which takes half the room, and each invocation widens what it reads. */
  readonly slabs: "f32" | "f16";
}

/** What is known of a contraction before a schedule is chosen. */
export interface ContractionFacts {
  readonly target: Target;
  readonly rows: Dim;
  readonly columns: Dim;
  readonly batch: Dim;
  /** Innermost axis of the reduction. */
  readonly reduction: Dim;
  /** The row operand can be read four at a time along the innermost reduction axis. */
  readonly rowVectors: boolean;
  /** The result can be written four columns at a time. */
  readonly columnVectors: boolean;
  /** Rows that have a right operand together, where the product is grouped: a power of two, and tiles must not cross its multiples. */
  readonly groupTile?: number;
  /** How many right operands there are. */
  readonly groups?: number;
  /** One live size says how many rows there are; `rows` is how many there can be. */
  readonly live?: boolean;
  /** Products with the same rows, each with columns and sums of its own; absent where it is one. */
  readonly products?: number;
  /** Which operands are f16 numbers from a buffer; absent where none is. */
  readonly halves?: Halves;
  /** All steps of a sum; absent where they are those of `reduction`. */
  readonly steps?: Dim;
  /** Sizes that runs are expected to have, where those of the graph are open. */
  readonly expected?: Omit<TileSizes, "products">;
}

export interface Halves {
  readonly row: boolean;
  readonly column: boolean;
}

/** Rows of a workgroup. */
export function tileRows(s: ContractionSchedule): number {
  return s.rows * (s.kind === "subgroup" ? 1 : s.threads[1]);
}

export function chooseSchedule(f: ContractionFacts): ContractionSchedule {
  const sizes = sizesOf(f) ?? sizesOfGroups(f);
  // On a GPU few rows, and groups, are no matter of these tiles.
  const ranked = sizes && (runsOnCores(f.target) || (f.groupTile === undefined && !isFew(f)));
  const cheapest = ranked && rankSchedules(f, sizes)[0];
  if (cheapest) return cheapest.schedule;
  const s = withSums(chooseForAll(f), f.products ?? 1);
  return f.groupTile === undefined ? s : withinGroups(s, f.groupTile);
}

/** Tiles of groups are of known rows, even where nobody knows how many tiles there are. */
function sizesOfGroups(f: ContractionFacts): TileSizes | undefined {
  const [columns, reduction] = [constantOf(f.columns), constantOf(f.steps ?? f.reduction)];
  if (f.groupTile === undefined || columns === undefined || reduction === undefined) return undefined;
  return { rows: MANY_TILES * f.groupTile, columns, reduction, batch: 1, products: f.products ?? 1 };
}

/** Enough for all cores to have some. */
const MANY_TILES = 64;

/** Several products have as many sums together as one would: fewer rows. */
export function withSums(s: ContractionSchedule, products: number): ContractionSchedule {
  return products === 1 ? s : { ...s, rows: Math.max(1, Math.floor(s.rows / products)) };
}

/** The same with fewer rows, so that a tile is of one group. Invocations that are left along the rows go along the columns. */
export function withinGroups(s: ContractionSchedule, tile: number): ContractionSchedule {
  const within = (n: number, most: number): number => 2 ** Math.floor(Math.log2(Math.min(n, most)));
  const rows = within(s.rows, tile);
  if (s.kind === "subgroup") return { ...s, rows };
  const down = within(s.threads[1], tile / rows);
  const across = s.kind === "register" ? Math.min(64, (s.threads[0] * s.threads[1]) / down) : s.threads[0];
  return { ...s, rows, threads: [across, down] };
}

function chooseForAll(f: ContractionFacts): ContractionSchedule {
  const step = f.rowVectors ? 4 : 1;
  const lanes = f.target.subgroupSize;
  const few = isFew(f);
  const common = {
    vectors: 1,
    width: f.columnVectors ? 4 : 1,
    step,
    split: 1,
    grid: "bound",
    swizzle: swizzleOf(f),
    slabs: "f32",
  } as const;
  // What workgroup memory gains, it gains by being nearer than a buffer. On a software adapter both are the same memory.
  if (!runsOnCores(f.target) && !few) return tiled(f);
  if (lanes > 0) {
    // Each step costs one read for the rows a lane fetches and one for each column: more rows, fewer reads, and more to compile. On lavapipe
    // 32 rows take 0.93 of the time of 24, and a third of a second more in the first run of each kernel.
    const rows = Math.min(24, 3 * lanes);
    // Of a batch alone four rows on cores: one alone takes as long, and larger batches read the weights a quarter as often. A GPU has
    // workgroups enough to read them for one row each.
    if (few)
      return {
        ...common,
        kind: "subgroup",
        threads: [lanes, 1],
        rows: runsOnCores(f.target) ? 4 : 1,
        split: partsOfFew(f, lanes * common.width),
        stagedEpilogue: false,
      };
    return { ...common, kind: "subgroup", threads: [lanes, 1], rows, stagedEpilogue: true };
  }
  return {
    ...common,
    kind: "register",
    threads: few ? [64, 1] : [8, 8],
    rows: few ? 1 : 4,
    split: few ? partsOfFew(f, 64 * common.width) : 1,
    stagedEpilogue: false,
  };
}

/**
 * Few rows have as many workgroups as there are columns to share out, and each reads its part of the weights from end to end: on a GPU
 * the sum is shared out too, in parts of at least 64 steps.
 */
function partsOfFew(f: ContractionFacts, columnsOfWorkgroup: number): number {
  const [columns, reduction] = [constantOf(f.columns), constantOf(f.reduction)];
  if (runsOnCores(f.target) || columns === undefined || reduction === undefined) return 1;
  if (f.products !== undefined || f.groupTile !== undefined) return 1;
  const most = Math.min(reduction / 64, 64 / Math.ceil(columns / columnsOfWorkgroup), MOST.split);
  return 2 ** Math.max(0, Math.floor(Math.log2(most)));
}

/** The classic tiles of a GPU: 64 x 64 results, 16 an invocation, slabs of 16 steps. Smaller where the result or the sum is. */
export function tiled(f: ContractionFacts): ContractionSchedule {
  const width = f.columnVectors ? 4 : 1;
  const columns = constantOf(f.columns) ?? 64;
  const across = columns <= 8 * width ? 8 : 16;
  const reduction = constantOf(f.reduction) ?? 16;
  return {
    kind: "workgroup",
    threads: [across, across],
    rows: 4,
    vectors: 1,
    width,
    step: reduction < 8 ? 4 : reduction < 16 ? 8 : 16,
    split: 1,
    grid: "bound",
    stagedEpilogue: false,
    swizzle: 1,
    slabs: "f32",
  };
}

/** On cores, so that weights stay in a core's cache for four tiles. A GPU runs workgroups side by side anyway: not measured there. */
export function swizzleOf(f: ContractionFacts): number {
  const few = f.groupTile === undefined && isFew(f);
  return runsOnCores(f.target) && !few ? 4 : 1;
}

/** Why `chooseSchedule` chose this one, for the reader. */
export function whySchedule(f: ContractionFacts, s: ContractionSchedule): string {
  const { name, measured, subgroupSize } = f.target;
  const [across, down] = s.threads;
  const tile = `${down * s.rows} x ${across * s.vectors * s.width} results`;
  const columnsNote = s.width === 4 ? "" : "; columns one by one, because they do not lie in fours in memory";
  const of = f.groupTile === undefined ? "" : ` in a tile of a group (${f.groupTile})`;
  const parts = s.split === 1 ? "" : `; the sum in ${s.split} parts, or most of the adapter would wait`;
  const wide = `${columnsNote}${parts}`;
  const rows = `there are ${isFew(f) ? "few" : "many"} rows${of}`;
  if (s.kind === "workgroup")
    return `workgroup memory is ${measured.workgroupMemoryGain} times as near as a buffer on ${name}, and ${rows}: tiles of ${tile}, both operands read once a workgroup${wide}`;
  if (s.kind === "subgroup")
    return `${name} has subgroups of ${subgroupSize}, and ${rows}: a lane reads for the others of its subgroup${wide}`;
  const instead = subgroupSize > 0 ? "" : `, and ${name} has no subgroups of a fixed size`;
  return `${rows}${instead}: every invocation reads for itself, ${s.rows} row${s.rows === 1 ? "" : "s"} at a time${wide}`;
}

function isFew(f: ContractionFacts): boolean {
  if (f.groupTile !== undefined) return f.groupTile < 16;
  const known = sizesOf(f)?.rows;
  return known === undefined ? fewRows(f.rows) : known < 16;
}

/** A batch alone (a head's [B, C]) has few rows; tokens or pixels have many. */
function fewRows(rows: Dim): boolean {
  const known = constantOf(rows);
  if (known !== undefined) return known < 16;
  const only = rows.terms.length === 1 ? rows.terms[0]! : undefined;
  return only !== undefined && only.atoms.length === 1 && only.coefficient < 16;
}

// ---- which of them a target can run --------------------------------------------------------------------------------

/** Bounds of the space; beyond them shaders only grow. */
const MOST = { rows: 64, vectors: 8, accumulators: 128, step: 64, split: 64, swizzle: 16 };

/** Why there is no kernel for this schedule here, or undefined where there is one. */
export function refuseSchedule(s: ContractionSchedule, f: ContractionFacts): string | undefined {
  const { limits, subgroupSize } = f.target;
  const [across, down] = s.threads;
  const invocations = across * down;
  for (const [what, n, most] of [
    ["invocations", invocations, limits.maxComputeInvocationsPerWorkgroup],
    ["invocations in x", invocations, limits.maxComputeWorkgroupSizeX],
    ["rows", s.rows, MOST.rows],
    ["vectors", s.vectors, MOST.vectors],
    ["registers for sums", s.rows * s.vectors * (f.products ?? 1), MOST.accumulators],
    ["steps", s.step, MOST.step],
    ["parts of the sum", s.split, MOST.split],
    ["tiles one after another", s.swizzle, MOST.swizzle],
  ] as const)
    if (n > most) return `${n} ${what}, and ${most} are the most`;
  if (s.width === 4 && !f.columnVectors)
    return `the columns do not lie in fours in memory: they have to be taken one by one (width=1)`;
  if (f.groupTile !== undefined) {
    if (f.groupTile % tileRows(s) !== 0)
      return `a workgroup has ${tileRows(s)} rows, and every ${f.groupTile} rows have weights of their own`;
    if (s.split > 1) return "the sums of a grouped product are not split";
  }
  if (s.grid === "live" && !f.live) return "no one live size says how many rows there are: grid=bound";
  if (s.split > 1 && f.products !== undefined) return "the sums of several products are not split";
  if (s.kind === "subgroup") {
    if (subgroupSize === 0) return `${f.target.name} has no subgroups of a fixed size`;
    if (across !== subgroupSize || down !== 1)
      return `a workgroup is one subgroup here: threads=${subgroupSize}x1`;
  }
  if (s.kind !== "workgroup" && !isMultipleOf(f.reduction, s.step))
    return `the reduction is no multiple of ${s.step}, and only slabs in workgroup memory have an uneven end`;
  if (s.slabs === "f16") {
    if (s.kind !== "workgroup") return "only workgroup memory has slabs to hold f16 in: slabs=f32";
    if (!f.halves?.row && !f.halves?.column) return "no operand is read as it is stored in f16: slabs=f32";
  }
  const bytes = sharedBytes(s, f.products, f.halves);
  if (bytes > limits.maxComputeWorkgroupStorageSize)
    return `${bytes} bytes of workgroup memory, and ${limits.maxComputeWorkgroupStorageSize} are the most`;
  return undefined;
}

/** Workgroup memory: slabs of both operands, and the results where the epilogue is staged. */
export function sharedBytes(s: ContractionSchedule, products = 1, halves?: Halves): number {
  const [across, down] = s.threads;
  const columns = across * s.vectors * s.width * products;
  const bytes = slabBytes(s, halves);
  const slabs = s.kind === "workgroup" ? s.step * (down * s.rows * bytes.row + columns * bytes.column) : 0;
  return slabs + (s.stagedEpilogue ? 4 * down * s.rows * columns : 0);
}

/** Bytes of an element in the slab of each operand. */
export function slabBytes(
  s: ContractionSchedule,
  halves: Halves | undefined,
): { readonly row: 2 | 4; readonly column: 2 | 4 } {
  const of = (half: boolean | undefined): 2 | 4 => (s.slabs === "f16" && half === true ? 2 : 4);
  return { row: of(halves?.row), column: of(halves?.column) };
}

// ---- text -----------------------------------------------------------------------------------------------------------

/** `workgroup:threads=16x16,tile=4x1,width=4,step=16,split=1,epilogue=direct`; the tile is rows x vectors of an invocation. Behind it swizzle, grid and slabs, where they are not 1, the bound and f32. */
export function showSchedule(s: ContractionSchedule): string {
  const epilogue = s.stagedEpilogue ? "staged" : "direct";
  const swizzle = s.swizzle === 1 ? "" : `,swizzle=${s.swizzle}`;
  const grid = s.grid === "live" ? ",grid=live" : "";
  const slabs = s.slabs === "f32" ? "" : ",slabs=f16";
  return `${s.kind}:threads=${s.threads.join("x")},tile=${s.rows}x${s.vectors},width=${s.width},step=${s.step},split=${s.split},epilogue=${epilogue}${swizzle}${grid}${slabs}`;
}

export type ParsedSchedule =
  { readonly schedule: ContractionSchedule } | { readonly problem: string; readonly schedule?: undefined };

const fields = ["threads", "tile", "width", "step", "split", "epilogue", "swizzle", "grid", "slabs"] as const;
const defaults = {
  ...{ width: "4", step: "4", split: "1", epilogue: "direct", swizzle: "1" },
  ...{ grid: "bound", slabs: "f32" },
};

/** Reads what `showSchedule` writes. Threads and tile must be given; the rest has defaults. */
export function parseSchedule(text: string): ParsedSchedule {
  const colon = text.indexOf(":");
  const kind = scheduleKinds.find((k) => k === text.slice(0, colon));
  if (!kind) return { problem: `a schedule begins with ${scheduleKinds.map((k) => `${k}:`).join(", ")}` };
  const given: Record<string, string> = { ...defaults };
  for (const part of text.slice(colon + 1).split(",")) {
    const [name = "", value = ""] = part.split("=", 2);
    if (!fields.some((f) => f === name))
      return { problem: `there is no ${name || "empty field"} in a schedule, only ${fields.join(", ")}` };
    given[name] = value;
  }
  const threads = pair(given["threads"]);
  const tile = pair(given["tile"]);
  if (!threads || !tile) return { problem: "threads and tile are two counts each: threads=16x16,tile=4x1" };
  const step = count(given["step"]);
  const split = count(given["split"]);
  const swizzle = count(given["swizzle"]);
  if (step === undefined || split === undefined || swizzle === undefined)
    return { problem: "step, split and swizzle are counts" };
  const width = given["width"] === "4" ? 4 : given["width"] === "1" ? 1 : undefined;
  if (width === undefined) return { problem: "width is 1 or 4" };
  const epilogue = given["epilogue"];
  if (epilogue !== "staged" && epilogue !== "direct") return { problem: "epilogue is staged or direct" };
  const grid = given["grid"];
  if (grid !== "bound" && grid !== "live") return { problem: "grid is bound or live" };
  const slabs = given["slabs"];
  if (slabs !== "f32" && slabs !== "f16") return { problem: "slabs is f32 or f16" };
  const stagedEpilogue = epilogue === "staged";
  return {
    schedule: {
      kind,
      threads,
      rows: tile[0],
      vectors: tile[1],
      width,
      step,
      split,
      grid,
      stagedEpilogue,
      swizzle,
      slabs,
    },
  };
}

function count(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : undefined;
}

function pair(text: string | undefined): readonly [number, number] | undefined {
  const [a, b, ...more] = (text ?? "").split("x").map(count);
  return a !== undefined && b !== undefined && more.length === 0 ? [a, b] : undefined;
}
