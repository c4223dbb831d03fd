// The three ways to compute a tile of a contraction: by a subgroup, by each invocation alone, or by a workgroup that shares slabs of
// both operands. Each leaves its sums in variables; what happens to a finished sum is the caller's (`finish`).

import { dim, ceilDiv, isMultipleOf, type Dim } from "../ir/dim.ts";
import {
  add,
  binary,
  builtin,
  cast,
  component,
  div,
  f32,
  fma,
  kernelType,
  load,
  lt,
  min,
  mod,
  mul,
  select,
  splat,
  sub,
  subgroup,
  u32,
} from "../ir/expr.ts";
import type { Expr, KernelType, Width } from "../ir/kernel.ts";
import type { GroupCode } from "./group.ts";
import { readOperand, type Roles } from "./contraction-roles.ts";
import type { ContractionSchedule } from "./schedule.ts";

/** The tiles of one kernel, and where the tile of this workgroup is. */
export interface Tiling {
  readonly code: GroupCode;
  /** Those of the first product; all have the same rows. */
  readonly roles: Roles;
  /** What is computed of these rows: mostly one product. */
  readonly products: readonly Roles[];
  readonly schedule: ContractionSchedule;
  /** Index of the result for a row counter and a column counter. */
  index(row: Expr, column: Expr): readonly Expr[];
  readonly rowCount: Expr;
  /** Columns by the schedule's width. */
  readonly columnItems: Expr;
  /** Which tile along the rows. */
  readonly rowTile: Expr;
  /** Which along the columns. */
  readonly columnTile: Expr;
  /** Which part of the reduction; absent where it is not split. */
  readonly part?: Expr;
  /** Whose right operand these rows have; absent where all have the same. */
  readonly group?: TileGroup;
  /** Takes the sums of one row and one item of columns, one for each product. */
  finish(row: Expr, item: Expr, sums: readonly Expr[]): void;
}

export interface TileGroup {
  /** An index in bounds. */
  readonly index: Expr;
  /** False where the rows have none: their results are 0. */
  readonly exists: Expr;
}

export function writeTile(t: Tiling): void {
  if (t.schedule.kind === "subgroup") subgroupTile(t);
  else if (t.schedule.kind === "register") registerTile(t);
  else workgroupTile(t);
}

// ---- the reduction --------------------------------------------------------------------------------------------------

/** Loops over the reduction: all axes but the last one by one, the last by `step`, within the part of this workgroup. */
function reduce(t: Tiling, body: (outer: readonly Expr[], last: Expr, end: Expr) => void): void {
  const { code } = t;
  const axes = t.roles.spec.reduce;
  const descend = (depth: number, outer: readonly Expr[]): void => {
    const axis = axes[depth]!;
    const size = code.sizes.of(`k${depth}`, axis);
    if (depth < axes.length - 1)
      return code.emitter.loop("k", u32(0), size, u32(1), (k) => descend(depth + 1, [...outer, k]));
    const [start, end] = t.part ? partOf(t, t.part, axis, size) : [u32(0), ownEnd(t, size)];
    code.emitter.loop("k", start, end, u32(t.schedule.step), (k) => body(outer, k, end));
  };
  descend(0, []);
}

/** Rows of no group have nothing to sum. Where there are barriers in the loop, all invocations must be known to go through it. */
function ownEnd(t: Tiling, size: Expr): Expr {
  if (!t.group || t.schedule.kind === "workgroup") return size;
  return t.code.emitter.bind("k_end", select(t.group.exists, size, u32(0)));
}

/** Parts are whole steps long but for the last, which may be short or empty. */
function partOf(t: Tiling, part: Expr, axis: Dim, size: Expr): readonly [Expr, Expr] {
  const { split, step } = t.schedule;
  const steps = ceilDiv(ceilDiv(axis, dim(step)), dim(split));
  const length = mul(t.code.sizes.of("part_steps", steps), u32(step));
  const start = t.code.emitter.bind("k_start", mul(part, t.code.emitter.bind("k_part", length)));
  return [start, t.code.emitter.bind("k_end", min(add(start, t.code.emitter.bind("k_part", length)), size))];
}

/** How many steps one read of the row operand spans. */
function rowLanes(t: Tiling): 1 | 4 {
  return t.schedule.step % 4 === 0 && isMultipleOf(t.roles.spec.reduce.at(-1)!, 4) ? 4 : 1;
}

/** `lanes` neighbours of the row operand from step `k` on. */
function readRow(t: Tiling, row: Expr, outer: readonly Expr[], k: Expr, lanes: 1 | 4, hint: string): Expr {
  const { code, roles } = t;
  const mark = code.space.mark();
  const along = lanes === 4 ? code.openVector(code.emitter.bind("k4", div(k, u32(4)))) : k;
  const value = readOperand(code, roles, roles.rowOperand, t.index(row, u32(0)), [...outer, along]);
  const named = code.emitter.bind(hint, splat(value, lanes));
  code.closeVector();
  code.space.release(mark);
  return named;
}

/** One item of columns of a product's column operand at step `k`. */
function readColumn(t: Tiling, roles: Roles, item: Expr, outer: readonly Expr[], k: Expr): Expr {
  const { code } = t;
  const mark = code.space.mark();
  const along = t.schedule.width === 4 ? code.openVector(item) : item;
  const value = readOperand(
    code,
    roles,
    roles.columnOperand,
    t.index(u32(0), along),
    [...outer, k],
    t.group?.index,
  );
  const named = code.emitter.bind("column", splat(value, t.schedule.width));
  code.closeVector();
  code.space.release(mark);
  return named;
}

const after = (k: Expr, steps: number): Expr => (steps === 0 ? k : add(k, u32(steps)));

// ---- sums and what becomes of them ------------------------------------------------------------------------------------

/** For each row, one for each item of columns and product: the items of the first product, then those of the next. */
type Sums = readonly (readonly Expr[])[];

function newSums(t: Tiling, items: readonly Expr[]): Sums {
  const zero = splat(f32(0), t.schedule.width);
  return Array.from({ length: t.schedule.rows }, () =>
    t.products.flatMap(() => items.map(() => t.code.emitter.variable("sum", zero))),
  );
}

/** sums[r][j] += a[r].kk * columns[j] */
function accumulate(t: Tiling, sum: Expr, a: Expr, kk: number, column: Expr): void {
  t.code.emitter.set(sum, fma(splat(component(a, kk), t.schedule.width), column, sum));
}

/** Hands on the sums that are inside the result. `me` counts the invocations of the workgroup. */
function finishAll(t: Tiling, sums: Sums, firstRow: Expr, items: readonly Expr[], me: Expr): void {
  const e = t.code.emitter;
  const { rows, vectors, width, threads } = t.schedule;
  if (!t.schedule.stagedEpilogue) {
    sums.forEach((row, r) => {
      const at = e.bind("row", add(firstRow, u32(r)));
      items.forEach((item, j) => {
        const inside = binary("and", lt(at, t.rowCount), lt(item, t.columnItems));
        const own = t.products.map((_, p) => row[p * items.length + j]!);
        e.when(inside, () =>
          t.finish(
            at,
            item,
            own.map((sum) => e.bind("sum", sum)),
          ),
        );
      });
    });
    return;
  }
  const [across, down] = threads;
  const each = vectors * t.products.length;
  const staged = e.sharedArray("staged", kernelType("f32", width), rows * each * across * down);
  const slot = (r: Expr, j: number) => add(mul(add(mul(r, u32(each)), u32(j)), u32(across * down)), me);
  sums.forEach((row, r) => row.forEach((sum, j) => e.store(staged, slot(u32(r), j), sum)));
  // The bound and what bounds it are no constants: drivers see through a minimum with one, unroll the loop, and compile the epilogue
  // once for each row after all (11 s instead of 2 on lavapipe).
  const first = down === 1 ? firstRow : min(firstRow, t.rowCount);
  const tileRows = t.code.sizes.of("tile_rows", dim(rows));
  const here = e.bind("rows_here", min(tileRows, sub(t.rowCount, first)));
  // Items outside, rows inside: what the epilogue reads for a column alone, like a bias, is read once for all rows.
  items.forEach((item, j) =>
    e.when(lt(item, t.columnItems), () =>
      e.loop("r", u32(0), here, u32(1), (r) =>
        t.finish(
          e.bind("row", add(firstRow, r)),
          item,
          t.products.map((_, p) =>
            e.bind("sum", load(staged, slot(r, p * vectors + j), kernelType("f32", width))),
          ),
        ),
      ),
    ),
  );
}

/** Items of columns of one invocation, and the same where they can be read: past the end, the last again. */
function columnItems(
  t: Tiling,
  x: Expr,
): { readonly items: readonly Expr[]; readonly safe: readonly Expr[] } {
  const e = t.code.emitter;
  const { vectors, threads } = t.schedule;
  const [across] = threads;
  const last = e.bind("item_last", sub(t.columnItems, u32(1)));
  const items = Array.from({ length: vectors }, (_, j) =>
    e.bind("item", add(mul(t.columnTile, u32(across * vectors)), add(x, u32(j * across)))),
  );
  return { items, safe: items.map((item) => e.bind("item_in", min(item, last))) };
}

// ---- one subgroup, one tile ---------------------------------------------------------------------------------------

function subgroupTile(t: Tiling): void {
  const e = t.code.emitter;
  const { rows, step, threads } = t.schedule;
  const [width] = threads;
  const lane = builtin("lane");
  const firstRow = e.bind("row0", mul(t.rowTile, u32(rows)));
  const lastRow = e.bind("row_last", sub(t.rowCount, u32(1)));
  const { items, safe } = columnItems(t, lane);
  // Each lane fetches the rows lane, lane + width, ...; past the end it fetches the last row again, and nobody stores it.
  const fetchRows = Array.from({ length: Math.ceil(rows / width) }, (_, i) =>
    e.bind("fetch_row", min(add(firstRow, add(lane, u32(i * width))), lastRow)),
  );
  const sums = newSums(t, items);
  const lanes = rowLanes(t);
  reduce(t, (outer, k) => {
    for (let at = 0; at < step; at += lanes) {
      const from = e.bind("k_at", after(k, at));
      const fetched = fetchRows.map((row) => readRow(t, row, outer, from, lanes, "fetched"));
      const columns = Array.from({ length: lanes }, (_, kk) =>
        t.products.flatMap((product) =>
          safe.map((item) => readColumn(t, product, item, outer, e.bind("kk", after(k, at + kk)))),
        ),
      );
      for (let r = 0; r < rows; r++) {
        const shared = e.bind("a", subgroup("broadcast", fetched[Math.floor(r / width)]!, u32(r % width)));
        for (let kk = 0; kk < lanes; kk++)
          columns[kk]!.forEach((column, j) => accumulate(t, sums[r]![j]!, shared, kk, column));
      }
    }
  });
  finishAll(t, sums, firstRow, items, lane);
}

// ---- one invocation, one tile -------------------------------------------------------------------------------------

/** Where this invocation is in its workgroup. */
function placeOf(t: Tiling): { readonly x: Expr; readonly y: Expr } {
  const e = t.code.emitter;
  const [across, down] = t.schedule.threads;
  return {
    x: across === 1 ? u32(0) : e.bind("x", mod(builtin("local"), u32(across))),
    y: down === 1 ? u32(0) : e.bind("y_in", div(builtin("local"), u32(across))),
  };
}

function registerTile(t: Tiling): void {
  const e = t.code.emitter;
  const { rows, step, threads } = t.schedule;
  const { x, y } = placeOf(t);
  const firstRow = e.bind("row0", mul(add(mul(t.rowTile, u32(threads[1])), y), u32(rows)));
  const lastRow = e.bind("row_last", sub(t.rowCount, u32(1)));
  const { items, safe } = columnItems(t, x);
  const safeRows = Array.from({ length: rows }, (_, r) =>
    e.bind("row_in", min(add(firstRow, u32(r)), lastRow)),
  );
  const sums = newSums(t, items);
  const lanes = rowLanes(t);
  reduce(t, (outer, k) => {
    for (let at = 0; at < step; at += lanes) {
      const from = e.bind("k_at", after(k, at));
      const fetched = safeRows.map((row) => readRow(t, row, outer, from, lanes, "a"));
      for (let kk = 0; kk < lanes; kk++)
        t.products.forEach((product, p) =>
          safe.forEach((item, j) => {
            const column = readColumn(t, product, item, outer, e.bind("kk", after(k, at + kk)));
            fetched.forEach((a, r) => accumulate(t, sums[r]![p * safe.length + j]!, a, kk, column));
          }),
        );
    }
  });
  finishAll(t, sums, firstRow, items, builtin("local"));
}

// ---- one workgroup, slabs of both operands in its memory --------------------------------------------------------------

/** What a slab of that type holds, and what is computed with. */
const as = (value: Expr, { scalar }: KernelType): Expr =>
  value.type.scalar === scalar ? value : cast(value, scalar);
const widened = (value: Expr): Expr => as(value, kernelType("f32"));

function workgroupTile(t: Tiling): void {
  const e = t.code.emitter;
  const { rows, vectors, width, step, threads } = t.schedule;
  const [across, down] = threads;
  const { x, y } = placeOf(t);
  const tileRows = down * rows;
  const tileItems = across * vectors;
  const tileRow = e.bind("row0", mul(t.rowTile, u32(tileRows)));
  const ownRow = e.bind("row_in_tile", mul(y, u32(rows)));
  const tileItem = mul(t.columnTile, u32(tileItems));
  const lastRow = e.bind("row_last", sub(t.rowCount, u32(1)));
  const lastItem = e.bind("item_last", sub(t.columnItems, u32(1)));
  const { items } = columnItems(t, x);
  const sums = newSums(t, items);
  const lanes = rowLanes(t);
  // What is stored in f16 was read from f16: narrowing it again loses nothing.
  const inHalf = t.schedule.slabs === "f16";
  const rowType = kernelType(inHalf && t.roles.halves.row ? "f16" : "f32", lanes as Width);
  const isHalfColumn = inHalf && t.products.every((p) => p.halves.column);
  const columnType = kernelType(isHalfColumn ? "f16" : "f32", width as Width);
  // Row slab: steps by `lanes`, then rows. Column slab: steps, then items of columns.
  const rowSlab = e.sharedArray("row_slab", rowType, (step / lanes) * tileRows);
  const columnSlabs = t.products.map(() => e.sharedArray("column_slab", columnType, step * tileItems));

  reduce(t, (outer, k, end) => {
    // Past the end of the sum both slabs hold zeros; what is read for them is the last step again.
    const even = isMultipleOf(t.roles.spec.reduce.at(-1)!, step);
    const within = (at: Expr, read: (at: Expr) => Expr): Expr => {
      if (even) return read(at);
      const inside = e.bind("inside", lt(at, end));
      const value = read(e.bind("k_in", select(inside, at, u32(0))));
      return select(splat(inside, value.type.width), value, splat(f32(0), value.type.width));
    };
    fill(t, (step / lanes) * tileRows, (slot) => {
      const at = e.bind("k_at", add(k, mul(mod(slot, u32(step / lanes)), u32(lanes))));
      const row = e.bind("slab_row", div(slot, u32(step / lanes)));
      const safe = e.bind("row_in", min(add(tileRow, row), lastRow));
      const value = within(at, (from) => readRow(t, safe, outer, from, lanes, "a"));
      e.store(rowSlab, add(mul(mod(slot, u32(step / lanes)), u32(tileRows)), row), as(value, rowType));
    });
    fill(t, step * tileItems, (slot) => {
      const at = e.bind("k_at", add(k, div(slot, u32(tileItems))));
      const item = add(tileItem, mod(slot, u32(tileItems)));
      const safe = e.bind("item_in", min(item, lastItem));
      t.products.forEach((product, p) =>
        e.store(
          columnSlabs[p]!,
          slot,
          as(
            within(at, (from) => readColumn(t, product, safe, outer, from)),
            columnType,
          ),
        ),
      );
    });
    e.barrier();
    e.loop("s", u32(0), u32(step / lanes), u32(1), (s) => {
      const fetched = sums.map((_, r) =>
        e.bind("a", widened(load(rowSlab, add(mul(s, u32(tileRows)), add(ownRow, u32(r))), rowType))),
      );
      for (let kk = 0; kk < lanes; kk++)
        items.forEach((_, j) => {
          const slot = add(mul(add(mul(s, u32(lanes)), u32(kk)), u32(tileItems)), add(x, u32(j * across)));
          columnSlabs.forEach((slab, p) => {
            const column = e.bind("column", widened(load(slab, slot, columnType)));
            fetched.forEach((a, r) => accumulate(t, sums[r]![p * items.length + j]!, a, kk, column));
          });
        });
    });
    e.barrier();
  });
  finishAll(t, sums, e.bind("row0", add(tileRow, ownRow)), items, builtin("local"));
}

/** Passes over a slab that are written out; more of them are a loop. */
const FLAT_PASSES = 8;

/** Each invocation takes every n-th slot. */
function fill(t: Tiling, slots: number, body: (slot: Expr) => void): void {
  const e = t.code.emitter;
  const n = t.schedule.threads[0] * t.schedule.threads[1];
  if (slots % n !== 0 || slots / n > FLAT_PASSES)
    return e.loop("slot", builtin("local"), u32(slots), u32(n), body);
  for (let pass = 0; pass < slots / n; pass++) body(e.bind("slot", add(builtin("local"), u32(pass * n))));
}
