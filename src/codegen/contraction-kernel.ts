// The one generator of contractions: matrix products, linear layers, 1x1, strided and general convolutions (implicit GEMM), batched
// products; with whatever elementwise work was fused before (prologue, on the operands) and after (epilogue, on the result).
// Where the schedule splits the sum there are two kernels: one writes the parts, the other adds them up in order and does the epilogue.

import { Bug } from "../support/bug.ts";
import { ceilDiv, constantOf, dim, mulDim, type Dim } from "../ir/dim.ts";
import { add, binary, builtin, div, f32, lt, min, mod, mul, select, splat, sub, u32 } from "../ir/expr.ts";
import type { Node, Region, Value, ValueId } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { RowGroups } from "../ir/op.ts";
import type { Target } from "../ir/target.ts";
import { factsOf, productsOf, sizeOf, type Roles } from "./contraction-roles.ts";
import { writeTile, type TileGroup } from "./contraction-tiles.ts";
import { elementKernel } from "./element-kernel.ts";
import type { GroupCode } from "./group.ts";
import {
  buildKernel,
  FOLD,
  foldedGrid,
  foldedIndex,
  stepOf,
  type GroupStep,
  type KernelShape,
} from "./kernel-of.ts";
import { partsType } from "./parts.ts";
import {
  chooseSchedule,
  refuseSchedule,
  showSchedule,
  whySchedule,
  tileRows,
  type ContractionSchedule,
} from "./schedule.ts";
import type { Bounds } from "./sizes.ts";

/** Why this group cannot run by the schedule on the target, or undefined. */
export function refuseContraction(
  region: Region,
  target: Target,
  schedule: ContractionSchedule,
): string | undefined {
  return refuseSchedule(schedule, factsOf(region, productsOf(region), target));
}

/** The dispatches of a contraction group: one, or two where the sum is split. A forced schedule must not be one that is refused. */
export function contractionSteps(
  region: Region,
  target: Target,
  bounds: Bounds = {},
  forced?: ContractionSchedule,
  whyForced?: string,
): readonly GroupStep[] {
  const products = productsOf(region);
  const [roles] = products;
  const facts = factsOf(region, products, target, bounds);
  const schedule = forced ?? chooseSchedule(facts);
  const why = whyForced ?? whySchedule(facts, schedule);
  const refused = refuseSchedule(schedule, facts);
  if (refused !== undefined) throw new Bug(`${showSchedule(schedule)}: ${refused}`);
  if (schedule.split === 1) {
    const kernel = buildKernel(region, bounds, (code) =>
      writeTiles(code, products, schedule, why, (index, sums, { group }) =>
        epilogue(code, region, products, index, sums, group),
      ),
    );
    return [stepOf(region, kernel)];
  }
  return splitSteps(region, roles, schedule, why, target, bounds);
}

/** Writes the tiles of this workgroup; `finish` takes the sums at each index of the result, one for each product. */
function writeTiles(
  code: GroupCode,
  products: readonly [Roles, ...Roles[]],
  schedule: ContractionSchedule,
  why: string,
  finish: (
    index: readonly Expr[],
    sums: readonly Expr[],
    tile: { readonly part: Expr; readonly group?: TileGroup },
  ) => void,
): KernelShape {
  const [roles] = products;
  const [across, down] = schedule.threads;
  const wide = schedule.width === 4;
  const columnSize = sizeOf(roles, roles.columns);
  const columnItems = wide ? ceilDiv(columnSize, dim(4)) : columnSize;
  const rowSize = sizeOf(roles, roles.rows);
  const batchSize = sizeOf(roles, roles.batch);
  const rowGroups = ceilDiv(rowSize, dim(tileRows(schedule)));

  // y and z together count row tiles, batches outside of them, and parts of the sum outside of those.
  const inner = mulDim(rowGroups, batchSize);
  const tiles = mulDim(inner, dim(schedule.split));
  const columnTiles = ceilDiv(columnItems, dim(across * schedule.vectors));
  const folded = foldedIndex(code);
  if (!(constantOf(tiles) !== undefined && constantOf(tiles)! <= FOLD))
    code.emitter.when(binary("ge", folded, code.sizes.of("tiles", tiles)), () => code.emitter.leave());
  const [tileIndex, columnTile] =
    schedule.swizzle === 1
      ? [folded, builtin("workgroup_x")]
      : swizzled(code, folded, { tiles, columnTiles, together: schedule.swizzle });
  const split = schedule.split > 1;
  const batched = constantOf(batchSize) !== 1;
  const part = split ? code.emitter.bind("part", div(tileIndex, code.sizes.of("part_tiles", inner))) : u32(0);
  const inPart = split
    ? code.emitter.bind("tile", mod(tileIndex, code.sizes.of("part_tiles", inner)))
    : tileIndex;
  const rowTile = batched
    ? code.emitter.bind("row_tile", mod(inPart, code.sizes.of("row_tiles", rowGroups)))
    : inPart;
  const batchCounter = batched
    ? code.emitter.bind("batch", div(inPart, code.sizes.of("row_tiles", rowGroups)))
    : u32(0);

  const group = roles.spec.group && tileGroup(code, roles, roles.spec.group, schedule, rowTile);
  const extents = (axes: readonly number[]) => axes.map((a) => roles.result.shape[a]!);
  const batchIndex = code.space.merge("batch", batchCounter, extents(roles.batch));
  const index = (row: Expr, column: Expr): readonly Expr[] => {
    const rowParts = code.space.merge("row", row, extents(roles.rows));
    return roles.result.shape.map((_, a) =>
      roles.rows.includes(a)
        ? rowParts[roles.rows.indexOf(a)]!
        : roles.columns.includes(a)
          ? column
          : batchIndex[roles.batch.indexOf(a)]!,
    );
  };
  writeTile({
    code,
    roles,
    products,
    schedule,
    index,
    rowCount: code.sizes.of("rows", rowSize),
    columnItems: code.sizes.of("columns", columnItems),
    rowTile,
    columnTile,
    ...(split && { part }),
    ...(group && { group }),
    finish(row, item, sums) {
      const mark = code.space.mark();
      const tile = { part, ...(group && { group }) };
      finish(index(row, wide ? code.openVector(item) : item), sums, tile);
      code.closeVector();
      code.space.release(mark);
    },
  });
  const [y, z] = foldedGrid(tiles);
  return {
    workgroupSize: [across * down, 1, 1],
    subgroupSize: schedule.kind === "subgroup" ? across : 0,
    grid: [columnTiles, y, z],
    liveGrid: schedule.grid === "live",
    schedule: `contraction, ${showSchedule(schedule)}`,
    why,
  };
}

/**
 * The tiles in another order: a band of some along the rows, then the next columns. Every workgroup has one as before, so that an adapter
 * that gives each core one stretch of the workgroups gives them as much to do as before.
 */
function swizzled(
  code: GroupCode,
  folded: Expr,
  o: { readonly tiles: Dim; readonly columnTiles: Dim; readonly together: number },
): readonly [row: Expr, column: Expr] {
  const { emitter: e, sizes } = code;
  const columns = sizes.of("column_tiles", o.columnTiles);
  const band = e.bind("band", mul(columns, u32(o.together)));
  const at = e.bind("at", add(mul(folded, columns), builtin("workgroup_x")));
  const first = e.bind("band_row", mul(div(at, band), u32(o.together)));
  const rows = e.bind("band_rows", min(u32(o.together), sub(sizes.of("tiles", o.tiles), first)));
  const within = e.bind("within", mod(at, band));
  return [e.bind("row_tile", add(first, mod(within, rows))), e.bind("column_tile", div(within, rows))];
}

/** Which group the rows of a tile are of. A tile of the schedule lies within one of the groups' tiles. */
function tileGroup(
  code: GroupCode,
  roles: Roles,
  { input, tile, count }: RowGroups,
  schedule: ContractionSchedule,
  rowTile: Expr,
): TileGroup {
  const e = code.emitter;
  const at = e.bind("group_at", div(rowTile, u32(tile / tileRows(schedule))));
  const id = e.bind("group_id", code.read(roles.node.inputs[input]!, [at]));
  const size = code.size(count);
  return { index: e.bind("group", min(id, sub(size, u32(1)))), exists: e.bind("exists", lt(id, size)) };
}

/** Bias, then whatever the group computes from the contraction, at one index (or four neighbours); then the stores. */
function epilogue(
  code: GroupCode,
  region: Region,
  products: readonly Roles[],
  index: readonly Expr[],
  sums: readonly Expr[],
  group?: TileGroup,
): void {
  products.forEach((roles, p) => {
    const value = withBias(code, roles, index, sums[p]!, group);
    code.compute(roles.node.results[0]!.id, () => value);
  });
  region.results.forEach((id, i) => code.write(i, index, code.read(id, index)));
}

function withBias(code: GroupCode, roles: Roles, index: readonly Expr[], sum: Expr, group?: TileGroup): Expr {
  const bias = roles.node.inputs[2] ?? "";
  const axis = roles.spec.biasAxis;
  const { width } = sum.type;
  let value = sum;
  if (bias !== "" && axis !== undefined) {
    const at = group ? [group.index, index[axis]!] : [index[axis]!];
    value = code.emitter.bind("biased", binary("add", sum, splat(code.read(bias, at), width)));
  }
  return group
    ? code.emitter.bind("own", select(splat(group.exists, width), value, splat(f32(0), width)))
    : value;
}

// ---- split sums -------------------------------------------------------------------------------------------------------

function splitSteps(
  region: Region,
  roles: Roles,
  schedule: ContractionSchedule,
  why: string,
  target: Target,
  bounds: Bounds,
): readonly GroupStep[] {
  const contracted = roles.node.results[0]!;
  const partial: Value = { id: "parts", type: partsType(contracted.type, schedule.split, "f32") };
  // The parts are a second result of the contraction, so that the types of both are known.
  const parting: Node = { ...roles.node, results: [contracted, partial] };
  const [left = "", right = "", bias = ""] = roles.node.inputs;
  const first = subRegion(region, parting, [left, right], [partial.id]);
  const withEpilogue = subRegion(region, roles.node, [...region.results, bias], region.results);
  const last = { ...withEpilogue, params: [partial, ...withEpilogue.params] };
  const partRoles: Roles = { ...roles, node: parting };
  const parts = buildKernel(first, bounds, (code) =>
    writeTiles(code, [partRoles], schedule, why, (index, [sum], { part }) =>
      code.write(0, [part, ...index], sum!),
    ),
  );
  const prepare = (code: GroupCode): void =>
    code.compute(contracted.id, (index) => {
      const e = code.emitter;
      const sum = e.variable("total", code.read(partial.id, [u32(0), ...index]));
      e.loop("part", u32(1), u32(schedule.split), u32(1), (part) =>
        e.set(sum, add(sum, code.read(partial.id, [part, ...index]))),
      );
      return withBias(code, roles, index, e.bind("total", sum));
    });
  const total = elementKernel(last, target, bounds, { prepare });
  return [
    { ...stepOf(first, parts), name: "parts", scratch: [partial] },
    stepOf(last, { ...total, schedule: `${total.schedule}, over ${schedule.split} parts of a sum` }),
  ];
}

/** The contraction and the nodes of a region that `wanted` values need, but for those that only the contraction does. */
function subRegion(
  region: Region,
  contraction: Node,
  wanted: readonly ValueId[],
  results: readonly ValueId[],
): Region {
  const needed = new Set(wanted);
  const nodes: Node[] = [];
  for (const n of [...region.nodes].reverse())
    if (n.results[0]!.id === contraction.results[0]!.id) nodes.unshift(contraction);
    else if (n.results.some((r) => needed.has(r.id))) {
      nodes.unshift(n);
      for (const x of n.inputs) needed.add(x);
    }
  return { params: region.params.filter((p) => needed.has(p.id)), nodes, results };
}
