// Iteration over several tensor axes by one counter. Each axis is a placeholder name; an address that runs over all of them with
// matching strides uses the counter itself, and only where one axis is needed alone is the counter divided.
// So the same code walks [B, H, W] as one row index when it can, and as three when a window needs them.

import { constantOf, dim, mulDim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import { div, mod, mul, add, name as nameExpr, U32 } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import { mentions, substitute, type Emitter } from "./emitter.ts";
import type { Sizes } from "./sizes.ts";

/** A counter over some axes, outermost first. */
export interface MergedAxes {
  /** Names the sizes it is divided by: `row`, `batch`. */
  readonly tag: string;
  readonly counter: Expr;
  readonly parts: readonly { readonly placeholder: string; readonly extent: Dim }[];
}

export class AxisSpace {
  readonly #emitter: Emitter;
  readonly #sizes: Sizes;
  #merged: MergedAxes[] = [];
  #serial = 0;

  constructor(emitter: Emitter, sizes: Sizes) {
    this.#emitter = emitter;
    this.#sizes = sizes;
  }

  /** Index expressions for the axes that `counter` runs over. */
  merge(tag: string, counter: Expr, extents: readonly Dim[]): readonly Expr[] {
    if (extents.length === 0) return [];
    if (extents.length === 1) return [counter];
    const parts = extents.map((extent) => ({ placeholder: `@${this.#serial++}`, extent }));
    this.#merged.push({ tag, counter, parts });
    return parts.map((p) => nameExpr(p.placeholder, U32));
  }

  /** Sum of index times stride in the fewest operations; `role` names the strides. */
  address(role: string, index: readonly Expr[], strides: readonly Dim[]): Expr {
    const left = index.map((e, axis) => ({ e, axis, done: e.kind === "const" && e.value === 0 }));
    let sum: Expr | undefined;
    const accumulate = (e: Expr, axis: number, stride: Dim) => {
      const term = mul(this.resolve(e), this.#sizes.stride(`${role}_s${axis}`, stride));
      sum = sum ? add(sum, this.#emitter.bind("i", term)) : term;
    };
    for (const merged of this.#merged) {
      const at = merged.parts.map((p) =>
        left.find((x) => !x.done && x.e.kind === "name" && x.e.name === p.placeholder),
      );
      if (at.some((x) => x === undefined)) continue;
      const found = at as { e: Expr; axis: number; done: boolean }[];
      // Memory is laid out for the bound of a live size, so what lies outside of it is further apart than the live counter says.
      const chained = found.every((x, i) => {
        const next = found[i + 1];
        if (next && this.#sizes.isLive(merged.parts[i + 1]!.extent)) return false;
        return !next || sameDim(strides[x.axis]!, mulDim(strides[next.axis]!, merged.parts[i + 1]!.extent));
      });
      if (!chained) continue;
      for (const x of found) x.done = true;
      const last = found[found.length - 1]!;
      accumulate(merged.counter, last.axis, strides[last.axis]!);
    }
    for (const x of left) if (!x.done) accumulate(x.e, x.axis, strides[x.axis]!);
    return sum ?? { kind: "const", type: U32, value: 0 };
  }

  /** The axes that the counter of this name runs over, where there are several. */
  countedBy(counter: string): MergedAxes | undefined {
    return this.#merged.find((m) => m.counter.kind === "name" && m.counter.name === counter);
  }

  /** Do these axes of a tensor lie one inside the other, without gaps, the innermost element by element? */
  isRun(merged: MergedAxes, index: readonly Expr[], strides: readonly Dim[]): boolean {
    const at = merged.parts.map((p) => index.findIndex((e) => e.kind === "name" && e.name === p.placeholder));
    return at.every((axis, i) => {
      if (axis < 0) return false;
      const next = at[i + 1];
      const { extent } = merged.parts[i + 1] ?? { extent: dim(1) };
      if (next === undefined) return constantOf(strides[axis]!) === 1;
      return (
        next >= 0 && !this.#sizes.isLive(extent) && sameDim(strides[axis]!, mulDim(strides[next]!, extent))
      );
    });
  }

  /** An index with another counter in place of that of some axes. */
  counted(merged: MergedAxes, index: readonly Expr[], counter: Expr): readonly Expr[] {
    return index.map((e) => {
      const i = merged.parts.findIndex((p) => e.kind === "name" && e.name === p.placeholder);
      return i < 0 ? e : this.#part({ ...merged, counter }, i);
    });
  }

  /** Placeholders written out as divisions of their counters. */
  resolve(e: Expr): Expr {
    let out = e;
    for (const merged of this.#merged)
      merged.parts.forEach((p, i) => {
        if (mentions(out, p.placeholder)) out = substitute(out, p.placeholder, this.#part(merged, i));
      });
    return out;
  }

  #part(merged: MergedAxes, i: number): Expr {
    const later = merged.parts.slice(i + 1).map((p) => p.extent);
    const role = `${merged.tag}${i}`;
    let e = merged.counter;
    if (later.length > 0)
      e = this.#emitter.bind("q", div(e, this.#sizes.of(`${role}_below`, productDim(later))));
    if (i > 0) e = this.#emitter.bind("q", mod(e, this.#sizes.of(`${role}_size`, merged.parts[i]!.extent)));
    return e;
  }

  /** Forgets counters made since `mark`, when their loop has ended. */
  mark(): number {
    return this.#merged.length;
  }
  release(mark: number): void {
    this.#merged = this.#merged.slice(0, mark);
  }
}
