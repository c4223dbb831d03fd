// The dispatches of a group of reductions, whichever way its kernels walk: one, or, where workgroups share what is reduced, one for each level
// of reductions, which leaves what each part found, and one that has all sums and writes the results. Sums are in f32, and every order is
// fixed, so the bits are too.

import { Bug } from "../support/bug.ts";
import { eq, splat, u32 } from "../ir/expr.ts";
import type { Node, Region, Value, ValueId } from "../ir/graph.ts";
import type { Expr } from "../ir/kernel.ts";
import type { DType } from "../ir/types.ts";
import { computedIn, type GroupCode } from "./group.ts";
import { buildKernel, stepOf, type GroupKernel, type GroupStep, type KernelShape } from "./kernel-of.ts";
import { partsType } from "./parts.ts";
import {
  combine,
  finishReduction,
  initial,
  isWhole,
  levelsOf,
  reducerOf,
  rowIndex,
  typesIn,
  type Domain,
} from "./reduction-domain.ts";
import type { Bounds } from "./sizes.ts";

/** Where one kernel writes: its code, what it sees of the group, and how many workgroups share a row in this dispatch. */
export interface WriterPlace {
  readonly code: GroupCode;
  readonly region: Region;
  readonly domain: Domain;
  readonly parts: number;
  /** Does it walk rows, or has it only what earlier dispatches found? */
  readonly sweeps: boolean;
}

/** One kernel of reductions; the two forms say how they sweep and how they put together what invocations found. */
export abstract class ReductionWriter {
  readonly code: GroupCode;
  readonly region: Region;
  readonly domain: Domain;
  readonly parts: number;

  constructor({ code, region, domain, parts }: WriterPlace) {
    this.code = code;
    this.region = region;
    this.domain = domain;
    this.parts = parts;
  }

  /** Writes the kernel around its body. */
  abstract within(body: () => void): void;
  /** Over all elements that are this workgroup's, in the order of memory. */
  protected abstract sweep(body: (index: readonly Expr[]) => void): void;
  /** A variable for a reduction, at its first value. */
  protected abstract running(node: Node): Expr;
  /** The same sum in every invocation that has the row. */
  protected abstract joined(node: Node, running: Expr): Expr;
  /** Runs where whole elements are written, and where there is one of something for a row. */
  protected abstract writing(body: () => void): void;
  protected abstract once(body: () => void, where?: Expr): void;
  /** Sums that an invocation has at the end: those of four neighbours, or one. */
  protected abstract readonly width: 1 | 4;
  /** Index of the row; of the reduced axes it says nothing. */
  protected abstract readonly base: readonly Expr[];
  protected abstract readonly part: Expr;
  abstract shape(more: string): KernelShape;

  /** One sweep for reductions that do not wait for each other. */
  reduce(level: readonly Node[], take: (node: Node, sum: Expr) => void): void {
    const running = level.map((node) => ({ node, variable: this.running(node) }));
    this.sweep((index) => {
      for (const { node, variable } of running) {
        const { reducer, element } = reducerOf(node);
        const value = element(this.code.read(node.inputs[0]!, index));
        this.code.emitter.set(variable, combine(reducer, variable, value));
      }
    });
    for (const { node, variable } of running) take(node, this.joined(node, variable));
  }

  /** From here on this reduction has this sum. */
  total(node: Node, sum: Expr): void {
    const { code, domain } = this;
    const value = code.emitter.bind(node.op.name, finishReduction(code, node, domain, sum));
    code.compute(node.results[0]!.id, () => value);
  }

  /** What this workgroup found of a reduction, for the next dispatch. */
  leave(node: Node, sum: Expr): void {
    const { id, type } = node.results[0]!;
    const part = this.region.nodes.find((n) => n.results[0]!.id === id)?.results[1];
    if (!part) throw new Bug(`${node.op.name} has no parts here`);
    const at = [this.part, ...rowIndex(type, this.domain, this.base)];
    this.once(() => this.code.write(this.region.results.indexOf(part.id), at, sum));
  }

  /** Reductions of earlier dispatches: what each of so many parts found, added up in order. */
  known(nodes: readonly Node[], count: number, parts: ReadonlyMap<ValueId, Value>): void {
    const { emitter: e } = this.code;
    for (const node of nodes) {
      const part = parts.get(node.results[0]!.id)!;
      if (!this.region.params.some((p) => p.id === part.id)) continue;
      const { reducer } = reducerOf(node);
      const row = rowIndex(node.results[0]!.type, this.domain, this.base);
      const total = e.variable("total", splat(initial(reducer, part.type), this.width));
      e.loop("part", u32(0), u32(count), u32(1), (at) =>
        e.set(total, combine(reducer, total, this.code.read(part.id, [at, ...row]))),
      );
      this.total(node, e.bind("total", total));
    }
  }

  results(): void {
    const { code, domain, base } = this;
    const all = this.region.results.map((id, i) => ({ id, i, type: code.type(id) }));
    const whole = all.filter((r) => isWhole(r.type, domain));
    if (whole.length > 0)
      this.writing(() =>
        this.sweep((index) => {
          for (const { id, i } of whole) code.write(i, index, code.read(id, index));
        }),
      );
    for (const { id, i, type } of all.filter((r) => !isWhole(r.type, domain))) {
      const index = rowIndex(type, domain, base);
      const ofRow = this.parts > 1 ? eq(this.part, u32(0)) : undefined;
      this.once(() => code.write(i, index, code.read(id, index)), ofRow);
    }
  }
}

// ---- dispatches ---------------------------------------------------------------------------------------------------------

export interface ReductionForm {
  readonly region: Region;
  readonly domain: Domain;
  readonly bounds: Bounds;
  /** Workgroups that share a row. */
  readonly parts: number;
  writer(place: WriterPlace): ReductionWriter;
}

export function reductionSteps(form: ReductionForm): readonly GroupStep[] {
  const levels = levelsOf(form.region);
  if (form.parts > 1) return splitSteps(form, levels);
  const kernel = kernelOf(form, form.region, 1, true, "", (w) => {
    for (const level of levels) w.reduce(level, (node, sum) => w.total(node, sum));
    w.results();
  });
  return [stepOf(form.region, kernel)];
}

const kernelOf = (
  { domain, bounds, writer }: ReductionForm,
  region: Region,
  parts: number,
  sweeps: boolean,
  more: string,
  body: (w: ReductionWriter) => void,
): GroupKernel =>
  buildKernel(region, bounds, (code) => {
    const w = writer({ code, region, domain, parts, sweeps });
    w.within(() => body(w));
    return w.shape(more);
  });

const storedScalars: Readonly<Record<string, DType>> = { f32: "f32", i32: "i32", u32: "u32" };

function splitSteps(form: ReductionForm, levels: readonly (readonly Node[])[]): readonly GroupStep[] {
  const { region, domain, parts } = form;
  const found = new Map<ValueId, Value>();
  for (const [i, node] of levels.flat().entries()) {
    const { id, type } = node.results[0]!;
    const dtype = storedScalars[computedIn(type.dtype).scalar]!;
    found.set(id, { id: `parts${i}`, type: partsType(type, parts, dtype) });
  }
  const steps = levels.map((level, i): GroupStep => {
    const scratch = level.map((n) => found.get(n.results[0]!.id)!);
    const own = stageRegion(region, found, scratch);
    const more = i === 0 ? "" : `, sums that wait for ${i === 1 ? "others" : `${i} others`}`;
    const kernel = kernelOf(form, own, parts, true, more, (w) => {
      w.known(levels.slice(0, i).flat(), parts, found);
      w.reduce(level, (node, sum) => w.leave(node, sum));
    });
    return { ...stepOf(own, kernel), name: levels.length === 1 ? "parts" : `parts${i + 1}`, scratch };
  });
  const last = stageRegion(region, found, []);
  const types = typesIn(region);
  const sweeps = region.results.some((id) => isWhole(types.get(id)!, domain));
  const over = `, over ${parts} parts of each sum`;
  const kernel = kernelOf(form, last, sweeps ? parts : 1, sweeps, over, (w) => {
    w.known(levels.flat(), parts, found);
    w.results();
  });
  return [...steps, stepOf(last, kernel)];
}

/**
 * What one dispatch sees: the nodes that it needs, but for those that only a reduction of an earlier one does, whose parts are parameters.
 * `scratch`: the parts that it leaves; none in the last, which writes the results.
 */
function stageRegion(region: Region, parts: ReadonlyMap<ValueId, Value>, scratch: readonly Value[]): Region {
  const results = scratch.length > 0 ? scratch.map((v) => v.id) : region.results;
  const needed = new Set<ValueId>(results);
  const nodes: Node[] = [];
  const earlier: Value[] = [];
  for (const n of [...region.nodes].reverse()) {
    const part = parts.get(n.results[0]!.id);
    const isOwn = part !== undefined && scratch.includes(part);
    if (!isOwn && !n.results.some((r) => needed.has(r.id))) continue;
    nodes.unshift(isOwn ? { ...n, results: [...n.results, part] } : n);
    if (part && !isOwn) earlier.unshift(part);
    else for (const x of n.inputs) needed.add(x);
  }
  return { params: [...region.params.filter((p) => needed.has(p.id)), ...earlier], nodes, results };
}
