// Kernels of groups without a reduction: each invocation computes one element, or four neighbours along the innermost axis.

import {
  addDim,
  ceilDiv,
  constantOf,
  dim,
  isMultipleOf,
  mulDim,
  productDim,
  sameDim,
  type Dim,
} from "../ir/dim.ts";
import { add, builtin, div, ge, lt, mod, mul, sub, u32 } from "../ir/expr.ts";
import type { Region } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { Target } from "../ir/target.ts";
import { orderOf, type TensorType } from "../ir/types.ts";
import {
  elementFacts,
  elementText,
  plainElement,
  whyElement,
  type ElementFacts,
  type ElementSchedule,
} from "./element-schedule.ts";
import type { GroupCode } from "./group.ts";
import {
  buildKernel,
  FOLD,
  foldedGrid,
  foldedIndex,
  type GroupKernel,
  type KernelShape,
} from "./kernel-of.ts";
import { typesIn } from "./reduction-domain.ts";
import type { Bounds } from "./sizes.ts";
import { placeOf } from "./rows.ts";
import { Walk, type WalkFacts } from "./walk.ts";

export interface ElementOptions {
  /** How values that are no element work are had (`GroupCode.compute`). */
  readonly prepare?: (code: GroupCode) => void;
  readonly schedule?: ElementSchedule;
  readonly why?: string;
}

export function elementKernel(
  region: Region,
  target: Target,
  bounds: Bounds = {},
  { prepare, ...o }: ElementOptions = {},
): GroupKernel {
  const result = typesIn(region).get(region.results[0]!)!;
  const facts = elementFacts(region, { target, bounds, sizes: {} });
  const schedule = o.schedule ?? plainElement(facts);
  return buildKernel(region, bounds, (code) => {
    prepare?.(code);
    const shape =
      schedule.kind === "flat"
        ? flat(code, region, result, schedule)
        : byRows(code, region, result, schedule, facts);
    return {
      ...shape,
      subgroupSize: 0,
      schedule: `element, ${elementText.show(schedule)}`,
      why: o.why ?? whyElement(schedule, facts),
    };
  });
}

type Shape = Pick<KernelShape, "workgroupSize" | "grid">;

function flat(code: GroupCode, region: Region, result: TensorType, s: ElementSchedule): Shape {
  const total = productDim(result.shape);
  const wide = s.width === 4;
  const items = wide ? ceilDiv(total, dim(4)) : total;
  const groups = ceilDiv(items, dim(s.threads));
  const at = code.emitter.bind("item", add(mul(foldedIndex(code), u32(s.threads)), builtin("local")));
  code.emitter.when(lt(at, code.sizes.of("items", items)), () => {
    // One counter over all axes, in memory order; the vector placeholder stands for the counter of the first of four.
    const counter = wide ? code.openVector(at) : at;
    const index = flatIndex(counter, result);
    region.results.forEach((id, i) => code.write(i, index, code.read(id, index)));
  });
  const [y, z] = foldedGrid(groups);
  return { workgroupSize: [s.threads, 1, 1], grid: [dim(1), y, z] };
}

/**
 * In a flat kernel every tensor is read at the same offset: the counter stands at the innermost axis, zero elsewhere. An axis of size 1 is
 * none: ops that broadcast read it at 0.
 */
function flatIndex(counter: Expr, t: TensorType): readonly Expr[] {
  const order = orderOf(t);
  const inner = order.findLast((a) => constantOf(t.shape[a]!) !== 1) ?? order.at(-1)!;
  return t.shape.map((_, i) => (i === inner ? counter : u32(0)));
}

/** Invocations along the row, which is the innermost axis or a run of them; rows over all others, whose index is the same for a workgroup. */
function byRows(
  code: GroupCode,
  region: Region,
  result: TensorType,
  s: ElementSchedule,
  facts: ElementFacts,
): Shape {
  const order = orderOf(result);
  const walk = s.kind === "walk" ? facts.walk : undefined;
  const along = s.kind === "run" ? facts.run! : order.slice(-1);
  const outer = order.slice(0, order.length - along.length).filter((a) => a !== walk?.axis);
  const alongExtents = along.map((a) => result.shape[a]!);
  const length = productDim(alongExtents);
  const wide = s.width === 4;
  const items = wide ? ceilDiv(length, dim(4)) : length;
  const { threads, rows: together } = s;
  const extents = outer.map((a) => result.shape[a]!);
  const rows = productDim(extents);
  // A run may be longer than one axis of the grid: it is cut into workgroups, which are counted with the rows.
  const chunks = s.kind === "run" ? ceilDiv(items, dim(threads)) : dim(1);
  const groups = mulDim(ceilDiv(rows, dim(together)), chunks);
  const [row, item] = s.kind === "run" ? placeInRun(code, threads, chunks) : placeOf(code, threads, together);
  const known = constantOf(groups);
  // One row needs no guard, unless invocations for more of them stand in its workgroup.
  const isWhole =
    s.kind !== "run" &&
    isMultipleOf(rows, together) &&
    (sameDim(groups, dim(1)) || (known ?? Infinity) <= FOLD);
  const inside = lt(item, code.sizes.of("items", items));
  code.emitter.when(
    !isWhole ? lt(row, code.sizes.of("rows", rows)) : { kind: "const", type: inside.type, value: true },
    () =>
      code.emitter.when(inside, () => {
        const parts = code.space.merge("row", row, extents);
        const counters = code.space.merge("item", wide ? code.openVector(item) : item, alongExtents);
        const at = (step: Expr): readonly Expr[] =>
          result.shape.map((_, a) =>
            along.includes(a)
              ? counters[along.indexOf(a)]!
              : a === walk?.axis
                ? step
                : parts[outer.indexOf(a)]!,
          );
        const store = (index: readonly Expr[]): void =>
          region.results.forEach((id, i) => code.write(i, index, code.read(id, index)));
        if (walk) walkAlong(code, walk, result.shape[walk.axis]!, at, store);
        else store(at(u32(0)));
      }),
  );
  const [y, z] = foldedGrid(groups);
  const across = s.kind === "run" ? dim(1) : ceilDiv(items, dim(threads));
  return { workgroupSize: [threads * together, 1, 1], grid: [across, y, z] };
}

function placeInRun(code: GroupCode, threads: number, chunks: Dim): readonly [row: Expr, item: Expr] {
  const e = code.emitter;
  const group = foldedIndex(code);
  const count = code.sizes.of("chunks", chunks);
  const first = mul(mod(group, count), u32(threads));
  return [e.bind("row", div(group, count)), e.bind("item", add(first, builtin("local")))];
}

/** All of the axis in one invocation. The number of turns is a parameter, or the driver would unroll the loop. */
function walkAlong(
  code: GroupCode,
  walk: WalkFacts,
  size: Dim,
  at: (along: Expr) => readonly Expr[],
  store: (index: readonly Expr[]) => void,
): void {
  const e = code.emitter;
  const lead = u32(walk.lead);
  e.loop("turn", u32(0), code.sizes.of("turns", addDim(size, dim(walk.lead))), u32(1), (turn) => {
    const index = at(e.bind("along", sub(turn, lead)));
    code.walk(new Walk(e, walk, index), () => e.whenTurn(ge(turn, lead), () => store(index)));
  });
}
