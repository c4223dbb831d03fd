// Kernels of row reductions: what is reduced lies together in memory, and the invocations of a workgroup walk a row together: LayerNorm,
// softmax, the statistics of a GroupNorm.

import { ceilDiv, constantOf, dim, mulDim, type Dim } from "../ir/dim.ts";
import {
  add,
  binary,
  BOOL,
  builtin,
  component,
  constant,
  constantValue,
  div,
  eq,
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
import type { Node, Region, ValueId } from "../ir/graph.ts";
import type { Expr, KernelType } from "../ir/kernel.ts";
import type { Reducer } from "../ir/op.ts";
import type { Target } from "../ir/target.ts";
import { computedIn } from "./group.ts";
import { FOLD, foldedGrid, foldedIndex, type GroupStep, type KernelShape } from "./kernel-of.ts";
import {
  combine,
  domainOf,
  initial,
  itemsOf,
  reducerOf,
  rowCount,
  rowReads,
  wholeParams,
  type RowReads,
} from "./reduction-domain.ts";
import { reductionSteps, ReductionWriter, type WriterPlace } from "./reduction-steps.ts";
import { bySubgroups, rowText, type RowSchedule } from "./row-schedule.ts";
import type { Bounds } from "./sizes.ts";

interface Rows {
  readonly reads: RowReads;
  readonly schedule: RowSchedule;
  readonly why: string;
  readonly target: Target;
}

export function rowSteps(
  region: Region,
  schedule: RowSchedule,
  why: string,
  target: Target,
  bounds: Bounds,
): readonly GroupStep[] {
  const domain = domainOf(region);
  const rows: Rows = { reads: rowReads(region, domain, bounds), schedule, why, target };
  return reductionSteps({
    ...{ region, domain, bounds, parts: schedule.parts },
    // Without a sweep, one invocation has all of a row that there is to do.
    writer: (place) =>
      new RowWriter(
        place,
        place.sweeps ? rows : { ...rows, schedule: { ...schedule, threads: 1 } },
        schedule,
      ),
  });
}

class RowWriter extends ReductionWriter {
  protected readonly width = 1;
  protected readonly base: readonly Expr[];
  protected readonly part: Expr;
  readonly #rows: Rows;
  /** What the whole group runs by. */
  readonly #shown: RowSchedule;
  readonly #items: Dim;
  /** The place of this invocation in its row. */
  readonly #lane: Expr;
  /** Which of the rows of the workgroup it has. */
  readonly #own: Expr;
  /** Is there such a row? */
  readonly #exists: Expr;
  readonly #arrays = new Map<string, string>();
  /** What stays in registers: by turn, then by value. */
  #kept: readonly (readonly { readonly id: ValueId; readonly value: Expr }[])[] = [];

  constructor(place: WriterPlace, rows: Rows, shown: RowSchedule) {
    super(place);
    const { code, domain, parts } = this;
    const { schedule } = rows;
    const e = code.emitter;
    this.#rows = rows;
    this.#shown = shown;
    this.#items = itemsOf(domain, schedule.width);
    const local = builtin("local");
    const each = schedule.rows;
    this.#own = each === 1 ? u32(0) : e.bind("own", div(local, u32(schedule.threads)));
    this.#lane = each === 1 ? local : e.bind("at", mod(local, u32(schedule.threads)));
    const at = foldedIndex(code);
    this.#leaveBehindLast(at);
    const first = parts > 1 ? e.bind("row", div(at, u32(parts))) : at;
    this.part = parts > 1 ? e.bind("part", mod(at, u32(parts))) : u32(0);
    const row = each === 1 ? first : e.bind("row", add(mul(first, u32(each)), this.#own));
    const count = rowCount(domain);
    const known = constantOf(count);
    const isEven = each === 1 || (known !== undefined && known % each === 0);
    const rowTotal = isEven ? u32(0) : code.sizes.of("rows", count);
    this.#exists = isEven ? constant(true, BOOL) : e.bind("exists", lt(row, rowTotal));
    // Invocations without a row walk the last one again, since all have to reach the barriers.
    const safe = isEven ? row : e.bind("row", min(row, sub(rowTotal, u32(1))));
    const extents = domain.kept.map((a) => domain.type.shape[a]!);
    const keptIndex = code.space.merge("row", safe, extents);
    this.base = domain.type.shape.map((_, a) =>
      domain.kept.includes(a) ? keptIndex[domain.kept.indexOf(a)]! : u32(0),
    );
  }

  within(body: () => void): void {
    this.#keep();
    body();
  }

  /** Workgroups that the folded grid has too many. */
  #leaveBehindLast(at: Expr): void {
    const groups = this.#groups();
    const known = constantOf(groups);
    if (known !== undefined && known <= FOLD) return;
    const role = this.parts === 1 && this.#rows.schedule.rows === 1 ? "rows" : "workgroups";
    const behind = binary("ge", at, this.code.sizes.of(role, groups));
    this.code.emitter.when({ ...behind, type: BOOL }, () => this.code.emitter.leave());
  }

  #groups(): Dim {
    const groups = ceilDiv(rowCount(this.domain), dim(this.#rows.schedule.rows));
    return this.parts === 1 ? groups : mulDim(groups, dim(this.parts));
  }

  // ---- sweeps -----------------------------------------------------------------------------------------------------------

  /** Values that are read at the place of the sweep alone are read once, as far as registers go. */
  #keep(): void {
    const { schedule } = this.#rows;
    const { code } = this;
    const params = wholeParams(this.region, this.domain).filter((p) => p.isAligned);
    this.#kept = Array.from({ length: schedule.keep }, (_, turn) => {
      const held = params.map((p) => {
        const type = computedIn(p.type.dtype);
        return { id: p.id, variable: code.emitter.variable("kept", splat(constant(0, type), this.#wide)) };
      });
      this.#turn(turn, (index) => {
        for (const h of held) code.emitter.set(h.variable, code.read(h.id, index));
      });
      return held.map((h) => ({ id: h.id, value: code.emitter.snapshot("kept", h.variable) }));
    });
  }

  /** Elements of a read. */
  get #wide(): 1 | 4 {
    return this.#rows.schedule.width === 4 ? 4 : 1;
  }

  /** One of the turns that are kept, where the row is that long. */
  #turn(turn: number, body: (index: readonly Expr[]) => void): void {
    const { threads } = this.#rows.schedule;
    const e = this.code.emitter;
    const known = constantOf(this.#items);
    if (known !== undefined && known <= turn * threads) return;
    const item = e.bind("item", add(this.#lane, u32(turn * threads)));
    const isInside = known !== undefined && known >= (turn + 1) * threads;
    const inside = isInside ? constant(true, BOOL) : lt(item, this.code.sizes.of("items", this.#items));
    e.when(inside, () => this.#at(item, body));
  }

  #at(item: Expr, body: (index: readonly Expr[]) => void): void {
    const { code } = this;
    const index = [...this.base];
    const mark = code.space.mark();
    this.#placeReduced(item, index);
    body(index);
    code.closeVector();
    code.space.release(mark);
  }

  /** Over all elements of the row, or of this workgroup's part of it. */
  protected sweep(body: (index: readonly Expr[]) => void): void {
    const { code } = this;
    const { threads } = this.#rows.schedule;
    for (const [turn, held] of this.#kept.entries())
      this.#turn(turn, (index) => {
        for (const h of held) code.compute(h.id, () => h.value);
        body(index);
        for (const h of held) code.forget(h.id);
      });
    const done = this.#kept.length * threads;
    const known = constantOf(this.#items);
    if (known !== undefined && known <= done) return;
    const items = code.sizes.of("items", this.#items);
    let [start, end] = [done === 0 ? this.#lane : add(this.#lane, u32(done)), items];
    if (this.parts > 1) {
      const chunk = code.sizes.of("chunk", ceilDiv(this.#items, dim(this.parts)));
      const from = code.emitter.bind("from", mul(this.part, chunk));
      start = code.emitter.bind("first", add(from, this.#lane));
      end = code.emitter.bind("end", min(items, add(from, chunk)));
    }
    code.emitter.loop("item", start, end, u32(threads), (item) => this.#at(item, body));
  }

  /** Fills in the index of the reduced axes for one item of the flat sweep. */
  #placeReduced(item: Expr, index: Expr[]): void {
    const { code } = this;
    const { reduced, type } = this.domain;
    const inner = reduced.at(-1)!;
    const extents = (axes: readonly number[]): readonly Dim[] => axes.map((a) => type.shape[a]!);
    if (this.#wide === 1) {
      const parts = code.space.merge("item", item, extents(reduced));
      reduced.forEach((a, i) => (index[a] = parts[i]!));
      return;
    }
    // One vector counter over all of them, at the innermost axis, while nothing needs them apart.
    if (reduced.length === 1 || this.#rows.reads.isRun) {
      for (const a of reduced) index[a] = u32(0);
      index[inner] = code.openVector(item);
      return;
    }
    const quarter = code.sizes.of("inner_quarters", ceilDiv(type.shape[inner]!, dim(4)));
    const group = code.emitter.bind("q", binary("mod", item, quarter));
    const rest = code.emitter.bind("q", binary("div", item, quarter));
    const outer = reduced.slice(0, -1);
    const parts = code.space.merge("item", rest, extents(outer));
    outer.forEach((a, i) => (index[a] = parts[i]!));
    index[inner] = code.openVector(group);
  }

  // ---- reductions -------------------------------------------------------------------------------------------------------

  protected running(node: Node): Expr {
    const zero = initial(reducerOf(node).reducer, node.results[0]!.type);
    return this.code.emitter.variable(node.op.name, splat(zero, this.#wide));
  }

  #mine(node: Node, variable: Expr): Expr {
    const { emitter: e } = this.code;
    const { reducer } = reducerOf(node);
    const mine = e.bind("mine", variable);
    if (this.#wide === 1) return mine;
    const [a, b, c, d] = [0, 1, 2, 3].map((lane) => component(mine, lane));
    return e.bind("mine", combine(reducer, combine(reducer, a!, b!), combine(reducer, c!, d!)));
  }

  protected joined(node: Node, variable: Expr): Expr {
    const mine = this.#mine(node, variable);
    const { schedule } = this.#rows;
    const { reducer } = reducerOf(node);
    if (schedule.threads === 1) return mine;
    return bySubgroups(schedule, this.#rows.target.subgroupSize)
      ? this.#joinedBySubgroups(reducer, mine, initial(reducer, node.results[0]!.type))
      : this.#joinedByHalves(reducer, mine);
  }

  #joinedBySubgroups(reducer: Reducer, mine: Expr, zero: Expr): Expr {
    const { emitter: e } = this.code;
    const { type } = mine;
    const { threads } = this.#rows.schedule;
    const width = this.#rows.target.subgroupSize;
    const ours = e.bind("ours", subgroup(reducer === "sum" ? "add" : reducer, mine));
    if (threads === width) return ours;
    const partials = this.#array(type);
    e.when(eq(builtin("lane"), u32(0)), () => e.store(partials, builtin("subgroup"), ours));
    e.barrier();
    const total = e.variable("total", zero);
    const first = mul(this.#own, u32(threads / width));
    e.loop("part", u32(0), u32(threads / width), u32(1), (part) =>
      e.set(total, combine(reducer, total, load(partials, add(first, part), type))),
    );
    e.barrier();
    return e.bind("total", total);
  }

  #joinedByHalves(reducer: Reducer, mine: Expr): Expr {
    const { emitter: e } = this.code;
    const { type } = mine;
    const { threads } = this.#rows.schedule;
    const local = builtin("local");
    const partials = this.#array(type);
    e.store(partials, local, mine);
    e.barrier();
    for (let half = threads / 2; half >= 1; half /= 2) {
      const [near, far] = [local, add(local, u32(half))].map((at) => load(partials, at, type));
      e.when(lt(this.#lane, u32(half)), () => e.store(partials, local, combine(reducer, near!, far!)));
      e.barrier();
    }
    const total = e.bind("total", load(partials, mul(this.#own, u32(threads)), type));
    e.barrier();
    return total;
  }

  /** Workgroup memory for one number an invocation, of each type that is reduced. */
  #array(type: KernelType): string {
    const { threads, rows } = this.#rows.schedule;
    const known = this.#arrays.get(type.scalar);
    if (known !== undefined) return known;
    const name = this.code.emitter.sharedArray("partial", kernelType(type.scalar), threads * rows);
    this.#arrays.set(type.scalar, name);
    return name;
  }

  // ---- results ----------------------------------------------------------------------------------------------------------

  protected writing(body: () => void): void {
    this.code.emitter.when(this.#exists, body);
  }

  /** One invocation of a row. */
  protected once(body: () => void, where?: Expr): void {
    const all = [eq(this.#lane, u32(0)), ...(where ? [where] : []), this.#exists];
    const open = all.filter((x) => constantValue(x) !== true);
    this.code.emitter.when(
      open.reduce((x, y) => binary("and", x, y)),
      body,
    );
  }

  shape(more: string): KernelShape {
    const { schedule, why, target } = this.#rows;
    const [y, z] = foldedGrid(this.#groups());
    return {
      workgroupSize: [schedule.threads * schedule.rows, 1, 1],
      subgroupSize: bySubgroups(schedule, target.subgroupSize) ? target.subgroupSize : 0,
      grid: [dim(1), y, z],
      schedule: `reduction, ${rowText.show(this.#shown)}${more}`,
      why,
    };
  }
}
