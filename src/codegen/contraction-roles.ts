// What takes part in a contraction, sorted for the generator: result axes into columns (of the axes that come from one operand alone, the
// innermost in memory), rows (all axes of the other operand) and batch (the rest). The row operand is handed round, the column operand is read by
// neighbours in memory.

import { Bug } from "../support/bug.ts";
import {
  constantOf,
  evaluateDim,
  isMultipleOf,
  productDim,
  sameDim,
  substituteDim,
  symbolsOf,
  type Dim,
  type DimEnv,
} from "../ir/dim.ts";
import { f32, splat, u32 } from "../ir/expr.ts";
import type { Node, Region } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { ContractionSpec, ElementContext } from "../ir/op.ts";
import type { Target } from "../ir/target.ts";
import { orderOf, stridesOf, type TensorType } from "../ir/types.ts";
import type { GroupCode } from "./group.ts";
import type { ContractionFacts, Halves } from "./schedule.ts";
import type { Bounds } from "./sizes.ts";

/** How the result's axes and the operands take part. */
export interface Roles {
  readonly node: Node;
  readonly result: TensorType;
  readonly spec: ContractionSpec;
  /** Operand index: 0 or 1. */
  readonly columnOperand: 0 | 1;
  readonly rowOperand: 0 | 1;
  readonly columns: readonly number[];
  readonly rows: readonly number[];
  readonly batch: readonly number[];
  /** Which operands are f16 numbers from a buffer, so that nothing is lost where they are kept in f16. */
  readonly halves: Halves;
}

export function sizeOf(roles: Roles, axes: readonly number[]): Dim {
  return productDim(axes.map((a) => roles.result.shape[a]!));
}

/**
 * The contractions of a group: one, or several that read the same row operand and have results alike, so that what they read of it is
 * read once (the gate of a gated layer, and what it gates).
 */
export function productsOf(region: Region): readonly [Roles, ...Roles[]] {
  const [first, ...others] = region.nodes.filter((n) => n.op.lowering.kind === "contraction");
  if (!first) throw new Bug("a contraction group without a contraction");
  return [rolesOf(region, first), ...others.map((n) => rolesOf(region, n))];
}

function rolesOf(region: Region, node: Node): Roles {
  if (node.op.lowering.kind !== "contraction") throw new Bug(`${node.op.name} is no contraction`);
  const types = new Map(region.params.map((p) => [p.id, p.type]));
  for (const n of region.nodes) for (const r of n.results) types.set(r.id, r.type);
  const result = node.results[0]!.type;
  const spec = node.op.lowering.describe(
    node.inputs.map((x) => (x === "" ? undefined : types.get(x))),
    node.attrs,
    result,
  );
  const order = orderOf(result);
  // Of a batch axis both operands have a part of their own: where it is the innermost, because the others have size 1, it is no column.
  const inner = order.findLast((a) => spec.left.includes(a) || spec.right.includes(a)) ?? order.at(-1)!;
  const columnOperand = spec.left.includes(inner) ? 0 : 1;
  const columns = [inner];
  const other = columnOperand === 0 ? spec.right : spec.left;
  const rows = order.filter((a) => other.includes(a));
  const batch = order.filter((a) => !rows.includes(a) && !columns.includes(a));
  const rowOperand = columnOperand === 0 ? 1 : 0;
  const isHalf = (operand: 0 | 1): boolean =>
    region.params.some((p) => p.id === node.inputs[operand] && p.type.dtype === "f16");
  const halves = { row: isHalf(rowOperand), column: isHalf(columnOperand) };
  return { node, result, spec, columnOperand, rowOperand, columns, rows, batch, halves };
}

/** What a schedule is chosen by. A size that a kernel sets counts as what it may be at most. */
export function factsOf(
  region: Region,
  products: readonly [Roles, ...Roles[]],
  target: Target,
  bounds: Bounds = {},
  expected: DimEnv = {},
): ContractionFacts {
  const [roles] = products;
  const columns = sizeOf(roles, roles.columns);
  const inner = roles.columns.at(-1)!;
  const rowSize = sizeOf(roles, roles.rows);
  const rows = substituteDim(rowSize, bounds);
  const batchSize = sizeOf(roles, roles.batch);
  const batch = substituteDim(batchSize, bounds);
  const liveSymbols = new Set(
    [...symbolsOf(rowSize), ...symbolsOf(batchSize)].filter((s) => bounds[s] !== undefined),
  );
  const steps = productDim(roles.spec.reduce);
  const halves = { row: roles.halves.row, column: products.every((p) => p.halves.column) };
  const sizes = expectedSizes({ rows, columns, batch, reduction: steps }, expected);
  return {
    ...{ target, rows, columns, batch, steps },
    reduction: roles.spec.reduce.at(-1)!,
    ...(sizes && { expected: sizes }),
    rowVectors: rowVectors(region, roles),
    columnVectors: isMultipleOf(columns, 4) && constantOf(stridesOf(roles.result)[inner]!) === 1,
    ...(roles.spec.group && { groupTile: roles.spec.group.tile, ...groupsOf(roles.spec.group.count) }),
    ...(liveSymbols.size === 1 && { live: true }),
    ...((halves.row || halves.column) && { halves }),
    ...(products.length > 1 && { products: products.length }),
  };
}

function groupsOf(count: Dim): Pick<ContractionFacts, "groups"> {
  const known = constantOf(count);
  return known === undefined ? {} : { groups: known };
}

/** Sizes of a run with these values of symbols; undefined where one is open still. */
function expectedSizes(
  sizes: Readonly<Record<"rows" | "columns" | "batch" | "reduction", Dim>>,
  env: DimEnv,
): ContractionFacts["expected"] {
  const of = (d: Dim): number =>
    [...symbolsOf(d)].every((s) => Object.hasOwn(env, s)) ? evaluateDim(d, env) : NaN;
  const [rows, columns] = [of(sizes.rows), of(sizes.columns)];
  const [batch, reduction] = [of(sizes.batch), of(sizes.reduction)];
  return [rows, columns, batch, reduction].some(Number.isNaN)
    ? undefined
    : { rows, columns, batch, reduction };
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

/** What `describe` asks of its context: sizes only. */
function specContext(code: GroupCode, roles: Roles): ElementContext {
  const no = (): never => {
    throw new Bug(`${roles.node.op.name}: an index function may only ask for sizes`);
  };
  return {
    attrs: roles.node.attrs,
    count: roles.node.inputs.length,
    result: roles.result,
    type: (i) => code.type(roles.node.inputs[i]!),
    has: (i) => (roles.node.inputs[i] ?? "") !== "",
    size: (d) => code.size(d),
    read: no,
    readInside: no,
    readOr: no,
    bind: (_, e) => e,
    sliding: no,
  };
}

/** Reads an operand at a result index and a reduction index; padding reads zero. */
export function readOperand(
  code: GroupCode,
  roles: Roles,
  operand: 0 | 1,
  out: readonly Expr[],
  k: readonly Expr[],
  group?: Expr,
): Expr {
  const c = specContext(code, roles);
  const id = roles.node.inputs[operand]!;
  if (operand === 1) return code.read(id, roles.spec.rightIndex(c, out, k, group).index);
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
