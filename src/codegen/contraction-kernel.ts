// The one generator of contractions: matrix products, linear layers, 1x1, strided and general convolutions (implicit GEMM), batched
// products; with whatever elementwise work was fused before (prologue, on the operands) and after (epilogue, on the result).
//
// Result axes are sorted into columns (the axis that is innermost in memory, from one operand), rows (all axes of the other operand)
// and batch (the rest). The row operand is handed round, the column operand is read four neighbours at a time.

import { Bug } from "../support/bug.ts";
import { ceilDiv, constantOf, dim, isMultipleOf, mulDim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import {
  add,
  binary,
  builtin,
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
  splat,
  sub,
  subgroup,
  u32,
} from "../ir/expr.ts";
import type { Node, Region } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { ContractionSpec, ElementContext } from "../ir/op.ts";
import type { Target } from "../ir/target.ts";
import { orderOf, stridesOf, type TensorType } from "../ir/types.ts";
import type { GroupCode } from "./group.ts";
import { buildKernel, foldedGrid, foldedIndex, type GroupKernel, type KernelShape } from "./kernel-of.ts";
import type { Bounds } from "./sizes.ts";
import { chooseSchedule, showSchedule, type ContractionSchedule } from "./schedule.ts";

/** How the result's axes and the operands take part. */
interface Roles {
  readonly node: Node;
  readonly result: TensorType;
  readonly spec: ContractionSpec;
  /** Operand index: 0 or 1. */
  readonly columnOperand: 0 | 1;
  readonly rowOperand: 0 | 1;
  readonly columns: readonly number[];
  readonly rows: readonly number[];
  readonly batch: readonly number[];
}

export function contractionKernel(
  region: Region,
  target: Target,
  bounds: Bounds = {},
  forced?: ContractionSchedule,
): GroupKernel {
  const roles = rolesOf(region);
  const schedule =
    forced ??
    chooseSchedule({
      target,
      rows: sizeOf(roles, roles.rows),
      rowVectors: rowVectors(region, roles),
    });
  return buildKernel(region, bounds, (code) => write(code, region, roles, schedule, target));
}

function sizeOf(roles: Roles, axes: readonly number[]): Dim {
  return productDim(axes.map((a) => roles.result.shape[a]!));
}

function rolesOf(region: Region): Roles {
  const node = region.nodes.find((n) => n.op.lowering.kind === "contraction");
  if (!node || node.op.lowering.kind !== "contraction")
    throw new Bug("a contraction group without a contraction");
  const types = new Map(region.params.map((p) => [p.id, p.type]));
  for (const n of region.nodes) for (const r of n.results) types.set(r.id, r.type);
  const result = node.results[0]!.type;
  const spec = node.op.lowering.describe(
    node.inputs.map((x) => (x === "" ? undefined : types.get(x))),
    node.attrs,
    result,
  );
  const order = orderOf(result);
  const inner = order.at(-1)!;
  const columnOperand = spec.left.includes(inner) ? 0 : 1;
  const columns = [inner];
  const other = columnOperand === 0 ? spec.right : spec.left;
  const rows = order.filter((a) => other.includes(a));
  const batch = order.filter((a) => !rows.includes(a) && !columns.includes(a));
  return { node, result, spec, columnOperand, rowOperand: columnOperand === 0 ? 1 : 0, columns, rows, batch };
}

/** Is the row operand contiguous along the innermost reduction axis, in fours? */
function rowVectors(region: Region, roles: Roles): boolean {
  const inner = roles.spec.reduce.at(-1);
  if (!inner || !isMultipleOf(inner, 4)) return false;
  const type = region.params.find((p) => p.id === roles.node.inputs[roles.rowOperand])?.type;
  if (!type) return true; // computed inside the kernel: its own loads decide
  const last = orderOf(type).at(-1)!;
  return sameDim(type.shape[last]!, inner);
}

/** Where the tile of this workgroup or invocation starts, and how its operands are read. */
interface Tile {
  /** Index of the result for a row counter and a column counter. */
  index(row: Expr, column: Expr): readonly Expr[];
  readonly rowCount: Expr;
  readonly columnItems: Expr;
  /** Columns come four at a time. */
  readonly wide: boolean;
}

function write(
  code: GroupCode,
  region: Region,
  roles: Roles,
  schedule: ContractionSchedule,
  target: Target,
): KernelShape {
  const columnSize = sizeOf(roles, roles.columns);
  const wide =
    isMultipleOf(columnSize, 4) && constantOf(stridesOf(roles.result)[roles.columns.at(-1)!]!) === 1;
  const columnItems = wide ? ceilDiv(columnSize, dim(4)) : columnSize;
  const rowSize = sizeOf(roles, roles.rows);
  const batchSize = sizeOf(roles, roles.batch);
  const rowsPerGroup = schedule.rows * schedule.threads[1];
  const itemsPerGroup = schedule.threads[0] * schedule.vectors;
  const rowGroups = ceilDiv(rowSize, dim(rowsPerGroup));

  // y and z together count row tiles, and batches outside of them.
  const tileIndex = foldedIndex(code);
  const batched = constantOf(batchSize) !== 1;
  const rowTile = batched
    ? code.emitter.bind("row_tile", mod(tileIndex, code.sizes.of("row_tiles", rowGroups)))
    : tileIndex;
  const batchCounter = batched
    ? code.emitter.bind("batch", div(tileIndex, code.sizes.of("row_tiles", rowGroups)))
    : u32(0);
  const tiles = mulDim(rowGroups, batchSize);
  if (!(constantOf(tiles) !== undefined && constantOf(tiles)! <= 32768))
    code.emitter.when(binary("ge", tileIndex, code.sizes.of("tiles", tiles)), () => code.emitter.leave());

  const batchIndex = code.space.merge(
    "batch",
    batchCounter,
    roles.batch.map((a) => roles.result.shape[a]!),
  );
  const tile: Tile = {
    rowCount: code.sizes.of("rows", rowSize),
    columnItems: code.sizes.of("columns", columnItems),
    wide,
    index(row, column) {
      const rowParts = code.space.merge(
        "row",
        row,
        roles.rows.map((a) => roles.result.shape[a]!),
      );
      return roles.result.shape.map((_, a) =>
        roles.rows.includes(a)
          ? rowParts[roles.rows.indexOf(a)]!
          : roles.columns.includes(a)
            ? column
            : batchIndex[roles.batch.indexOf(a)]!,
      );
    },
  };
  if (schedule.kind === "subgroup")
    subgroupTile(code, region, roles, schedule, tile, rowTile, target.subgroupSize);
  else registerTile(code, region, roles, schedule, tile, rowTile);
  const [y, z] = foldedGrid(tiles);
  return {
    workgroupSize: [schedule.threads[0] * schedule.threads[1], 1, 1],
    subgroupSize: schedule.kind === "subgroup" ? target.subgroupSize : 0,
    grid: [ceilDiv(columnItems, dim(itemsPerGroup)), y, z],
    schedule: showSchedule(schedule),
  };
}

/** What `describe` asks of its context: sizes only. */
function specContext(code: GroupCode, roles: Roles): ElementContext {
  const no = (): never => {
    throw new Bug(`${roles.node.op.name}: an index function may only ask for sizes`);
  };
  return {
    attrs: roles.node.attrs,
    result: roles.result,
    type: (i) => code.type(roles.node.inputs[i]!),
    has: (i) => (roles.node.inputs[i] ?? "") !== "",
    size: (d) => code.size(d),
    read: no,
    readInside: no,
    bind: (_, e) => e,
  };
}

/** Reads an operand at a result index and a reduction index; padding reads zero. */
function readOperand(
  code: GroupCode,
  roles: Roles,
  operand: 0 | 1,
  out: readonly Expr[],
  k: readonly Expr[],
): Expr {
  const c = specContext(code, roles);
  const id = roles.node.inputs[operand]!;
  if (operand === 1) return code.read(id, roles.spec.rightIndex(c, out, k).index);
  const at = roles.spec.leftIndex(c, out, k);
  if (!at.inside) return code.read(id, at.index);
  const inside = code.emitter.bind("inside", code.space.resolve(at.inside));
  const safe = at.index.map((e) =>
    e.kind === "const" || (e.kind === "name" && e.name.startsWith("@"))
      ? e
      : code.emitter.bind("at", {
          kind: "select",
          condition: inside,
          yes: code.space.resolve(e),
          no: u32(0),
          type: e.type,
        }),
  );
  const value = code.read(id, safe);
  return code.emitter.bind("padded", {
    kind: "select",
    condition: splat(inside, value.type.width),
    yes: value,
    no: splat(f32(0), value.type.width),
    type: value.type,
  });
}

/** Loops over the reduction: all axes but the last one by one, the last by `step`. */
function reduce(
  code: GroupCode,
  roles: Roles,
  step: number,
  body: (outer: readonly Expr[], last: Expr) => void,
): void {
  const axes = roles.spec.reduce;
  const descend = (depth: number, outer: readonly Expr[]): void => {
    const size = code.sizes.of(`k${depth}`, axes[depth]!);
    const last = depth === axes.length - 1;
    code.emitter.loop("k", u32(0), size, u32(last ? step : 1), (k) =>
      last ? body(outer, k) : descend(depth + 1, [...outer, k]),
    );
  };
  descend(0, []);
}

// ---- one subgroup, one tile ---------------------------------------------------------------------------------------

function subgroupTile(
  code: GroupCode,
  region: Region,
  roles: Roles,
  s: ContractionSchedule,
  tile: Tile,
  rowTile: Expr,
  width: number,
): void {
  const e = code.emitter;
  const lane = builtin("lane");
  const firstRow = e.bind("row0", mul(rowTile, u32(s.rows)));
  const lastRow = e.bind("row_last", sub(tile.rowCount, u32(1)));
  const lastItem = e.bind("item_last", sub(tile.columnItems, u32(1)));
  const items = Array.from({ length: s.vectors }, (_, j) =>
    e.bind("item", add(mul(builtin("workgroup_x"), u32(width * s.vectors)), add(lane, u32(j * width)))),
  );
  const safeItems = items.map((item) => e.bind("item_in", min(item, lastItem)));
  // Each lane fetches the rows lane, lane + width, ...; past the end it fetches the last row again, and nobody stores it.
  const fetches = Math.ceil(s.rows / width);
  const fetchRows = Array.from({ length: fetches }, (_, i) =>
    e.bind("fetch_row", min(add(firstRow, add(lane, u32(i * width))), lastRow)),
  );
  const lanesWide = tile.wide ? 4 : 1;
  const zero = splat(f32(0), lanesWide);
  const accumulators = Array.from({ length: s.rows }, () => items.map(() => e.variable("sum", zero)));

  reduce(code, roles, s.step, (outer, k) => {
    const fetched = fetchRows.map((row) => {
      const mark = code.space.mark();
      const along = s.step === 4 ? code.openVector(e.bind("k4", div(k, u32(4)))) : k;
      const value = readOperand(code, roles, roles.rowOperand, tile.index(row, u32(0)), [...outer, along]);
      const named = e.bind("fetched", splat(value, s.step));
      code.closeVector();
      code.space.release(mark);
      return named;
    });
    const columns = Array.from({ length: s.step }, (_, kk) =>
      safeItems.map((item) => {
        const mark = code.space.mark();
        const along = tile.wide ? code.openVector(item) : item;
        const value = readOperand(code, roles, roles.columnOperand, tile.index(u32(0), along), [
          ...outer,
          kk === 0 ? k : e.bind("kk", add(k, u32(kk))),
        ]);
        const named = e.bind("column", splat(value, lanesWide));
        code.closeVector();
        code.space.release(mark);
        return named;
      }),
    );
    for (let r = 0; r < s.rows; r++) {
      const shared = e.bind("a", subgroup("broadcast", fetched[Math.floor(r / width)]!, u32(r % width)));
      for (let kk = 0; kk < s.step; kk++)
        for (let j = 0; j < items.length; j++) {
          const sum = accumulators[r]![j]!;
          e.set(sum, fma(splat(component(shared, kk), lanesWide), columns[kk]![j]!, sum));
        }
    }
  });

  if (s.stagedEpilogue) {
    const staged = e.sharedArray("staged", kernelType("f32", lanesWide), s.rows * s.vectors * width);
    const slot = (r: Expr, j: number) => add(mul(add(mul(r, u32(s.vectors)), u32(j)), u32(width)), lane);
    accumulators.forEach((row, r) => row.forEach((sum, j) => e.store(staged, slot(u32(r), j), sum)));
    // The bound is not a constant, or drivers unroll the loop and compile the epilogue once for each row after all.
    const here = e.bind("rows_here", min(u32(s.rows), sub(tile.rowCount, firstRow)));
    e.loop("r", u32(0), here, u32(1), (r) => {
      const row = e.bind("row", add(firstRow, r));
      items.forEach((item, j) =>
        e.when(lt(item, tile.columnItems), () => {
          const sum = e.bind("sum", load(staged, slot(r, j), kernelType("f32", lanesWide)));
          epilogue(code, region, roles, tile, row, item, sum);
        }),
      );
    });
  } else
    accumulators.forEach((row, r) =>
      row.forEach((sum, j) => {
        const at = e.bind("row", add(firstRow, u32(r)));
        e.when(binary("and", lt(at, tile.rowCount), lt(items[j]!, tile.columnItems)), () =>
          epilogue(code, region, roles, tile, at, items[j]!, e.bind("sum", sum)),
        );
      }),
    );
}

// ---- one invocation, one tile -------------------------------------------------------------------------------------

function registerTile(
  code: GroupCode,
  region: Region,
  roles: Roles,
  s: ContractionSchedule,
  tile: Tile,
  rowTile: Expr,
): void {
  const e = code.emitter;
  const [across, down] = s.threads;
  const x = across === 1 ? u32(0) : e.bind("x", mod(builtin("local"), u32(across)));
  const y = down === 1 ? u32(0) : e.bind("y_in", div(builtin("local"), u32(across)));
  const firstRow = e.bind("row0", mul(add(mul(rowTile, u32(down)), y), u32(s.rows)));
  const lastRow = e.bind("row_last", sub(tile.rowCount, u32(1)));
  const lastItem = e.bind("item_last", sub(tile.columnItems, u32(1)));
  const items = Array.from({ length: s.vectors }, (_, j) =>
    e.bind("item", add(mul(builtin("workgroup_x"), u32(across * s.vectors)), add(x, u32(j * across)))),
  );
  const safeItems = items.map((item) => e.bind("item_in", min(item, lastItem)));
  const rows = Array.from({ length: s.rows }, (_, r) => e.bind("row", add(firstRow, u32(r))));
  const safeRows = rows.map((row) => e.bind("row_in", min(row, lastRow)));
  const lanesWide = tile.wide ? 4 : 1;
  const zero = splat(f32(0), lanesWide);
  const accumulators = rows.map(() => items.map(() => e.variable("sum", zero)));

  reduce(code, roles, s.step, (outer, k) => {
    const fetched = safeRows.map((row) => {
      const mark = code.space.mark();
      const along = s.step === 4 ? code.openVector(e.bind("k4", div(k, u32(4)))) : k;
      const value = readOperand(code, roles, roles.rowOperand, tile.index(row, u32(0)), [...outer, along]);
      const named = e.bind("a", splat(value, s.step));
      code.closeVector();
      code.space.release(mark);
      return named;
    });
    for (let kk = 0; kk < s.step; kk++)
      safeItems.forEach((item, j) => {
        const mark = code.space.mark();
        const along = tile.wide ? code.openVector(item) : item;
        const value = readOperand(code, roles, roles.columnOperand, tile.index(u32(0), along), [
          ...outer,
          kk === 0 ? k : e.bind("kk", add(k, u32(kk))),
        ]);
        const column = e.bind("column", splat(value, lanesWide));
        code.closeVector();
        code.space.release(mark);
        rows.forEach((_, r) => {
          const sum = accumulators[r]![j]!;
          e.set(sum, fma(splat(component(fetched[r]!, kk), lanesWide), column, sum));
        });
      });
  });
  rows.forEach((row, r) =>
    items.forEach((item, j) => {
      const sum = e.bind("sum", accumulators[r]![j]!);
      const inside = binary("and", lt(row, tile.rowCount), lt(item, tile.columnItems));
      e.when(inside, () => epilogue(code, region, roles, tile, row, item, sum));
    }),
  );
}

/** Bias, then whatever the group computes from the contraction, for one row and one item of columns; then the stores. */
function epilogue(
  code: GroupCode,
  region: Region,
  roles: Roles,
  tile: Tile,
  row: Expr,
  item: Expr,
  sum: Expr,
): void {
  const mark = code.space.mark();
  const column = tile.wide ? code.openVector(item) : item;
  const index = tile.index(row, column);
  const bias = roles.node.inputs[2] ?? "";
  const axis = roles.spec.biasAxis;
  const value =
    bias !== "" && axis !== undefined
      ? code.emitter.bind(
          "biased",
          binary("add", sum, splat(code.read(bias, [index[axis]!]), sum.type.width)),
        )
      : sum;
  code.compute(roles.node.results[0]!.id, () => value);
  region.results.forEach((id, i) => code.write(i, index, code.read(id, index)));
  code.closeVector();
  code.space.release(mark);
}
