// Kernels of groups with reductions over the same axes, and the elementwise work around them: LayerNorm, softmax, a mean, a variance.
// Two forms. Cooperative: a workgroup walks one row together, where the innermost axis in memory is reduced. Serial: each invocation
// walks alone for its own (four) results, where the innermost axis is kept. Sums are in f32.

import { Bug } from "../support/bug.ts";
import { ceilDiv, constantOf, dim, isMultipleOf, productDim, type Dim } from "../ir/dim.ts";
import {
  add,
  binary,
  builtin,
  cast,
  component,
  constant,
  eq,
  kernelType,
  load,
  lt,
  splat,
  subgroup,
  u32,
} from "../ir/expr.ts";
import type { Node, Region } from "../ir/graph.ts";
import type { Expr, KernelType } from "../ir/kernel.ts";
import type { Reducer } from "../ir/op.ts";
import { runsOnCores, type Target } from "../ir/target.ts";
import { orderOf, sameShape, stridesOf, type TensorType } from "../ir/types.ts";
import { computedIn, type GroupCode } from "./group.ts";
import { buildKernel, foldedGrid, foldedIndex, type GroupKernel, type KernelShape } from "./kernel-of.ts";
import { cut, placeOf } from "./rows.ts";
import type { Bounds, Sizes } from "./sizes.ts";

interface Domain {
  /** The shape reduced over, with its memory order. */
  readonly type: TensorType;
  readonly reduced: readonly number[];
  readonly kept: readonly number[];
}

export function reductionKernel(region: Region, target: Target, bounds: Bounds = {}): GroupKernel {
  const domain = domainOf(region);
  const inner = orderOf(domain.type).at(-1)!;
  const cooperative = domain.reduced.includes(inner);
  return buildKernel(region, bounds, (code) =>
    cooperative ? together(code, region, domain, target) : alone(code, region, domain, inner, target),
  );
}

/** All reductions of a group share one domain: the fusion pass sees to it. */
function domainOf(region: Region): Domain {
  const types = new Map(region.params.map((p) => [p.id, p.type]));
  for (const n of region.nodes) for (const r of n.results) types.set(r.id, r.type);
  const first = region.nodes.find((n) => n.op.lowering.kind === "reduce");
  if (!first || first.op.lowering.kind !== "reduce") throw new Bug("a reduction group without a reduction");
  const type = types.get(first.inputs[0]!)!;
  const reduced = first.op.lowering.axes(type, first.attrs);
  return { type, reduced, kept: type.shape.map((_, i) => i).filter((i) => !reduced.includes(i)) };
}

function reductions(region: Region): readonly Node[] {
  return region.nodes.filter((n) => n.op.lowering.kind === "reduce");
}

const identity: Readonly<Record<Reducer, number>> = {
  sum: 0,
  max: -3.4028234663852886e38,
  min: 3.4028234663852886e38,
};

function combine(reducer: Reducer, a: Expr, b: Expr): Expr {
  return binary(reducer === "sum" ? "add" : reducer, a, b);
}

function initial(reducer: Reducer, type: TensorType): Expr {
  const t = computedIn(type.dtype);
  if (t.scalar === "f32") return constant(identity[reducer], t);
  const low = t.scalar === "u32" ? 0 : -0x80000000;
  const high = t.scalar === "u32" ? 0xffffffff : 0x7fffffff;
  return constant(reducer === "sum" ? 0 : reducer === "max" ? low : high, t);
}

/** Is this value of the whole domain, or one per row? */
function isWhole(type: TensorType, domain: Domain): boolean {
  return sameShape(type.shape, domain.type.shape);
}

/** Index of a per-row value: reduced axes are gone, or of size one. */
function rowIndex(type: TensorType, domain: Domain, index: readonly Expr[]): readonly Expr[] {
  if (type.shape.length === domain.type.shape.length)
    return index.map((e, i) => (domain.reduced.includes(i) ? u32(0) : e));
  return domain.kept.map((a) => index[a]!);
}

function finishReduction(code: GroupCode, node: Node, domain: Domain, total: Expr): Expr {
  const lowering = node.op.lowering;
  if (lowering.kind !== "reduce") throw new Bug(`${node.op.name} is no reduction`);
  if (!lowering.finish) return total;
  const count = productDim(domain.reduced.map((a) => domain.type.shape[a]!));
  return lowering.finish(total, cast(code.sizes.of("count", count), "f32"));
}

function reducerOf(node: Node): { reducer: Reducer; element: (e: Expr) => Expr } {
  const lowering = node.op.lowering;
  if (lowering.kind !== "reduce") throw new Bug(`${node.op.name} is no reduction`);
  return { reducer: lowering.reducer, element: lowering.element ?? ((e) => e) };
}

// ---- one workgroup, one row ---------------------------------------------------------------------------------------

function together(code: GroupCode, region: Region, domain: Domain, target: Target): KernelShape {
  const order = orderOf(domain.type);
  const reduced = order.filter((a) => domain.reduced.includes(a));
  const kept = order.filter((a) => domain.kept.includes(a));
  const length = productDim(reduced.map((a) => domain.type.shape[a]!));
  const inner = reduced.at(-1)!;
  // Four neighbours of the flat counter are neighbours in memory only if the innermost axis is a multiple of four.
  // A run of whole reads needs only that its length is.
  const strides = stridesOf(domain.type);
  const run = isRun(domain.type, reduced, code.sizes) && code.onlyWholeReads(domain.type);
  const wide = constantOf(strides[inner]!) === 1 && isMultipleOf(run ? length : domain.type.shape[inner]!, 4);
  const items = wide ? ceilDiv(length, dim(4)) : length;
  const threads = invocationsFor(items, target);
  const rows = productDim(kept.map((a) => domain.type.shape[a]!));
  const row = foldedIndex(code);
  const keptIndex = code.space.merge(
    "row",
    row,
    kept.map((a) => domain.type.shape[a]!),
  );
  const knownRows = constantOf(rows);
  if (knownRows === undefined || knownRows > 32768)
    code.emitter.when(
      { kind: "binary", op: "ge", a: row, b: code.sizes.of("rows", rows), type: kernelType("bool") },
      () => code.emitter.leave(),
    );

  const sweep = (body: (index: readonly Expr[]) => void): void =>
    code.emitter.loop("item", builtin("local"), code.sizes.of("items", items), u32(threads), (item) => {
      const mark = code.space.mark();
      const index: Expr[] = domain.type.shape.map((_, a) =>
        kept.includes(a) ? keptIndex[kept.indexOf(a)]! : u32(0),
      );
      placeReduced(code, domain, reduced, item, wide, run, index);
      body(index);
      code.closeVector();
      code.space.release(mark);
    });

  const partials = partialArrays(code, threads);
  for (const node of reductions(region)) {
    const { reducer, element } = reducerOf(node);
    const type = node.results[0]!.type;
    const zero = initial(reducer, type);
    const running = code.emitter.variable(node.op.name, splat(zero, wide ? 4 : 1));
    sweep((index) =>
      code.emitter.set(running, combine(reducer, running, element(code.read(node.inputs[0]!, index)))),
    );
    let mine: Expr = code.emitter.bind("mine", running);
    if (wide)
      mine = code.emitter.bind(
        "mine",
        combine(
          reducer,
          combine(reducer, component(mine, 0), component(mine, 1)),
          combine(reducer, component(mine, 2), component(mine, 3)),
        ),
      );
    const total = threads > 1 ? acrossWorkgroup(code, reducer, mine, partials, threads, target, zero) : mine;
    const value = code.emitter.bind(node.op.name, finishReduction(code, node, domain, total));
    code.compute(node.results[0]!.id, () => value);
  }

  region.results.forEach((id, i) => {
    const type = code.type(id);
    if (isWhole(type, domain)) sweep((index) => code.write(i, index, code.read(id, index)));
    else
      code.emitter.when(eq(builtin("local"), u32(0)), () => {
        const index = rowIndex(
          type,
          domain,
          domain.type.shape.map((_, a) => (kept.includes(a) ? keptIndex[kept.indexOf(a)]! : u32(0))),
        );
        code.write(i, index, code.read(id, index));
      });
  });
  const [y, z] = foldedGrid(rows);
  return {
    workgroupSize: [threads, 1, 1],
    subgroupSize: usesSubgroups(target, threads) ? target.subgroupSize : 0,
    grid: [dim(1), y, z],
    schedule: `row reduction, ${threads} invocations a row${wide ? ", by 4" : ""}`,
    why: `what is summed lies together in memory, so that a workgroup takes a row: about eight ${wide ? "vectors" : "elements"} an invocation where it is long enough`,
  };
}

/** Do the axes, given outermost first, lie one inside the other in memory, without gaps? */
function isRun(type: TensorType, axes: readonly number[], sizes: Sizes): boolean {
  const strides = stridesOf(type);
  return axes.every((a, i) => {
    const next = axes[i + 1];
    if (next !== undefined && sizes.isLive(type.shape[next]!)) return false;
    return next === undefined || strides[a]!.key === productDim([strides[next]!, type.shape[next]!]).key;
  });
}

/** Fills in the index of the reduced axes for one item of the flat sweep. */
function placeReduced(
  code: GroupCode,
  domain: Domain,
  reduced: readonly number[],
  item: Expr,
  wide: boolean,
  run: boolean,
  index: Expr[],
): void {
  const inner = reduced.at(-1)!;
  if (!wide) {
    const parts = code.space.merge(
      "item",
      item,
      reduced.map((a) => domain.type.shape[a]!),
    );
    reduced.forEach((a, i) => (index[a] = parts[i]!));
    return;
  }
  if (reduced.length === 1) {
    index[inner] = code.openVector(item);
    return;
  }
  // One vector counter over all of them, at the innermost axis, while nothing needs them apart.
  if (run) {
    index[inner] = code.openVector(item);
    for (const a of reduced.slice(0, -1)) index[a] = u32(0);
    return;
  }
  const quarter = ceilDiv(domain.type.shape[inner]!, dim(4));
  const group = code.emitter.bind("q", binary("mod", item, code.sizes.of("inner_quarters", quarter)));
  const rest = code.emitter.bind("q", binary("div", item, code.sizes.of("inner_quarters", quarter)));
  const parts = code.space.merge(
    "item",
    rest,
    reduced.slice(0, -1).map((a) => domain.type.shape[a]!),
  );
  reduced.slice(0, -1).forEach((a, i) => (index[a] = parts[i]!));
  index[inner] = code.openVector(group);
}

function usesSubgroups(target: Target, threads: number): boolean {
  return target.subgroupSize > 0 && threads > 1 && threads % target.subgroupSize === 0;
}

/** Workgroup memory for one number an invocation, of each type that is reduced. */
function partialArrays(code: GroupCode, threads: number): (type: KernelType) => string {
  const made = new Map<string, string>();
  return (type) => {
    const known = made.get(type.scalar);
    if (known !== undefined) return known;
    const name = code.emitter.sharedArray("partial", type, threads);
    made.set(type.scalar, name);
    return name;
  };
}

/** The same total in every invocation; the order of additions is fixed, so the bits are too. */
function acrossWorkgroup(
  code: GroupCode,
  reducer: Reducer,
  mine: Expr,
  partialsOf: (type: KernelType) => string,
  threads: number,
  target: Target,
  zero: Expr,
): Expr {
  const e = code.emitter;
  const { type } = mine;
  const local = builtin("local");
  if (usesSubgroups(target, threads)) {
    const width = target.subgroupSize;
    const ours = e.bind("ours", subgroup(reducer === "sum" ? "add" : reducer, mine));
    if (threads === width) return ours;
    const partials = partialsOf(type);
    e.when(eq(builtin("lane"), u32(0)), () => e.store(partials, builtin("subgroup"), ours));
    e.barrier();
    const total = e.variable("total", zero);
    e.loop("part", u32(0), u32(threads / width), u32(1), (part) =>
      e.set(total, combine(reducer, total, load(partials, part, type))),
    );
    e.barrier();
    return e.bind("total", total);
  }
  const partials = partialsOf(type);
  e.store(partials, local, mine);
  e.barrier();
  for (let half = threads / 2; half >= 1; half /= 2) {
    e.when(lt(local, u32(half)), () =>
      e.store(
        partials,
        local,
        combine(reducer, load(partials, local, type), load(partials, add(local, u32(half)), type)),
      ),
    );
    e.barrier();
  }
  const total = e.bind("total", load(partials, u32(0), type));
  e.barrier();
  return total;
}

/**
 * Short rows get one subgroup, or 32; long ones as many as the adapter allows by default, very long ones as many as it allows. Where one core runs a workgroup, a subgroup
 * at a time, one subgroup is as fast as many, and needs no barrier: a shader with barriers takes five times as long to compile there.
 */
function invocationsFor(items: Dim, target: Target): number {
  if (runsOnCores(target) && target.subgroupSize > 0) return target.subgroupSize;
  const known = constantOf(items);
  const { maxComputeInvocationsPerWorkgroup: all } = target.limits;
  // A whole image is a long row at any size, and one workgroup waits for each of its reads: the more at once, the better.
  const veryLong = known === undefined ? items.terms.some((t) => t.atoms.length > 1) : known >= 16384;
  const most = Math.min(veryLong ? 1024 : 256, all);
  if (known === undefined) return most;
  let threads = Math.max(8, target.subgroupSize);
  while (threads * 8 < known && threads < most) threads *= 2;
  return threads;
}

// ---- one invocation, one result (or four) -------------------------------------------------------------------------

function alone(code: GroupCode, region: Region, domain: Domain, inner: number, target: Target): KernelShape {
  const order = orderOf(domain.type);
  const kept = order.filter((a) => domain.kept.includes(a) && a !== inner);
  const reduced = order.filter((a) => domain.reduced.includes(a));
  const innerSize = domain.type.shape[inner]!;
  const wide = isMultipleOf(innerSize, 4) && constantOf(stridesOf(domain.type)[inner]!) === 1;
  const items = wide ? ceilDiv(innerSize, dim(4)) : innerSize;
  const rows = productDim(kept.map((a) => domain.type.shape[a]!));
  const { width, together } = cut(items, target);
  const [row, item] = placeOf(code, width, together);
  const guard = binary("and", lt(row, code.sizes.of("rows", rows)), lt(item, code.sizes.of("items", items)));
  code.emitter.when(guard, () => {
    const parts = code.space.merge(
      "row",
      row,
      kept.map((a) => domain.type.shape[a]!),
    );
    const base: Expr[] = domain.type.shape.map((_, a) =>
      kept.includes(a) ? parts[kept.indexOf(a)]! : u32(0),
    );
    base[inner] = wide ? code.openVector(item) : item;
    const sweep = (body: (index: readonly Expr[]) => void): void => walk(code, domain, reduced, base, body);
    for (const node of reductions(region)) {
      const { reducer, element } = reducerOf(node);
      const running = code.emitter.variable(
        node.op.name,
        splat(initial(reducer, node.results[0]!.type), wide ? 4 : 1),
      );
      sweep((index) =>
        code.emitter.set(running, combine(reducer, running, element(code.read(node.inputs[0]!, index)))),
      );
      const value = code.emitter.bind(node.op.name, finishReduction(code, node, domain, running));
      code.compute(node.results[0]!.id, () => value);
    }
    region.results.forEach((id, i) => {
      const type = code.type(id);
      if (isWhole(type, domain)) sweep((index) => code.write(i, index, code.read(id, index)));
      else {
        const index = rowIndex(type, domain, base);
        code.write(i, index, code.read(id, index));
      }
    });
    code.closeVector();
  });
  const [y, z] = foldedGrid(ceilDiv(rows, dim(together)));
  const several = together > 1 ? `, ${together} rows a workgroup` : "";
  return {
    workgroupSize: [width * together, 1, 1],
    subgroupSize: 0,
    grid: [ceilDiv(items, dim(width)), y, z],
    schedule: `column reduction, each of ${width} invocations along the row alone${wide ? ", by 4" : ""}${several}`,
    why: `what lies together in memory is kept, not summed: neighbours are read by neighbouring invocations${together > 1 ? ", and short rows share a workgroup" : ""}`,
  };
}

/** Nested loops over the reduced axes, outermost in memory first. */
function walk(
  code: GroupCode,
  domain: Domain,
  reduced: readonly number[],
  base: readonly Expr[],
  body: (index: readonly Expr[]) => void,
): void {
  const index = [...base];
  const descend = (depth: number): void => {
    const axis = reduced[depth];
    if (axis === undefined) return body(index);
    code.emitter.loop(
      "r",
      u32(0),
      code.sizes.of(`reduced_${axis}`, domain.type.shape[axis]!),
      u32(1),
      (counter) => {
        index[axis] = counter;
        descend(depth + 1);
      },
    );
  };
  descend(0);
}
