// Kernels of column reductions: what lies together in memory is kept, and each invocation sums alone for its own (four) results: a mean over
// tokens, pooling of a whole image whose channels lie innermost.

import { ceilDiv, dim, mulDim, productDim, type Dim } from "../ir/dim.ts";
import { add, binary, div, lt, min, mod, mul, splat, u32 } from "../ir/expr.ts";
import type { Node, Region } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import { columnAxes, columnText, type ColumnSchedule } from "./column-schedule.ts";
import { foldedGrid, type GroupStep, type KernelShape } from "./kernel-of.ts";
import { domainOf, initial, reducerOf } from "./reduction-domain.ts";
import { reductionSteps, ReductionWriter, type WriterPlace } from "./reduction-steps.ts";
import { placeOf } from "./rows.ts";
import type { Bounds } from "./sizes.ts";

export function columnSteps(
  region: Region,
  schedule: ColumnSchedule,
  why: string,
  bounds: Bounds,
): readonly GroupStep[] {
  const domain = domainOf(region);
  return reductionSteps({
    ...{ region, domain, bounds, parts: schedule.parts },
    writer: (place) => new ColumnWriter(place, schedule, why),
  });
}

class ColumnWriter extends ReductionWriter {
  protected readonly width: 1 | 4;
  protected readonly base: readonly Expr[];
  protected readonly part: Expr;
  readonly #schedule: ColumnSchedule;
  readonly #why: string;
  readonly #items: Dim;
  readonly #rows: Dim;
  readonly #inside: Expr;

  constructor(place: WriterPlace, schedule: ColumnSchedule, why: string) {
    super(place);
    const { code, domain, parts } = this;
    const { type } = domain;
    const { outer, inner } = columnAxes(domain);
    this.#schedule = schedule;
    this.#why = why;
    this.width = schedule.width === 4 ? 4 : 1;
    this.#items = schedule.width === 4 ? ceilDiv(type.shape[inner]!, dim(4)) : type.shape[inner]!;
    const extents = outer.map((a) => type.shape[a]!);
    const rows = productDim(extents);
    this.#rows = parts === 1 ? rows : mulDim(rows, dim(parts));
    const [at, item] = placeOf(code, schedule.threads, schedule.rows);
    const all = code.sizes.of(parts === 1 ? "rows" : "row_parts", this.#rows);
    this.#inside = binary("and", lt(at, all), lt(item, code.sizes.of("items", this.#items)));
    this.part = parts === 1 ? u32(0) : code.emitter.bind("part", mod(at, u32(parts)));
    const row = parts === 1 ? at : code.emitter.bind("row", div(at, u32(parts)));
    const index = code.space.merge("row", row, extents);
    const base: Expr[] = type.shape.map((_, a) => (outer.includes(a) ? index[outer.indexOf(a)]! : u32(0)));
    base[inner] = this.width === 4 ? code.openVector(item) : item;
    this.base = base;
  }

  within(body: () => void): void {
    this.code.emitter.when(this.#inside, () => {
      body();
      this.code.closeVector();
    });
  }

  /** Nested loops over the reduced axes, outermost in memory first; of that, a part of its own. */
  protected sweep(body: (index: readonly Expr[]) => void): void {
    const { code, domain, parts } = this;
    const index = [...this.base];
    const descend = (depth: number): void => {
      const axis = domain.reduced[depth];
      if (axis === undefined) return body(index);
      const extent = domain.type.shape[axis]!;
      const size = code.sizes.of(`reduced_${axis}`, extent);
      let [start, end] = [u32(0), size];
      if (depth === 0 && parts > 1) {
        const chunk = code.sizes.of("chunk", ceilDiv(extent, dim(parts)));
        start = code.emitter.bind("from", mul(this.part, chunk));
        end = code.emitter.bind("end", min(size, add(start, chunk)));
      }
      code.emitter.loop("r", start, end, u32(1), (counter) => {
        index[axis] = counter;
        descend(depth + 1);
      });
    };
    descend(0);
  }

  protected running(node: Node): Expr {
    const zero = initial(reducerOf(node).reducer, node.results[0]!.type);
    return this.code.emitter.variable(node.op.name, splat(zero, this.width));
  }

  protected joined(_: Node, running: Expr): Expr {
    return running;
  }

  protected writing(body: () => void): void {
    body();
  }

  protected once(body: () => void, where?: Expr): void {
    if (where) this.code.emitter.when(where, body);
    else body();
  }

  shape(more: string): KernelShape {
    const { threads, rows } = this.#schedule;
    const [y, z] = foldedGrid(ceilDiv(this.#rows, dim(rows)));
    return {
      workgroupSize: [threads * rows, 1, 1],
      subgroupSize: 0,
      grid: [ceilDiv(this.#items, dim(threads)), y, z],
      schedule: `reduction, ${columnText.show(this.#schedule)}${more}`,
      why: this.#why,
    };
  }
}
