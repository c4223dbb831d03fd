// Sizes of a kernel: every extent and stride becomes a parameter in the uniform block, named by its role (not by its value), so that
// two layers of one kind give the same kernel text and share a pipeline.
// Bounded symbols: memory is laid out for the bound, so strides use the bound; extents use the live value, a parameter that the kernel
// reads from the extents buffer.

import { constantOf, substituteDim, symbolsOf, type Dim } from "../ir/dim.ts";
import { add, constant, div, min, max, mul, param, u32, U32 } from "../ir/expr.ts";
import type { Expr, ParamDecl } from "../ir/kernel.ts";

/** Bounded symbols and their bounds. */
export type Bounds = Readonly<Record<string, Dim>>;

interface Parameter {
  readonly name: string;
  readonly dim: Dim;
  readonly live: boolean;
}

export class Sizes {
  readonly #byRole = new Map<string, Parameter>();
  readonly #bounds: Bounds;

  constructor(bounds: Bounds = {}) {
    this.#bounds = bounds;
  }

  /** Does it differ between runs on the same memory: is a bounded symbol part of it? */
  isLive(d: Dim): boolean {
    return [...symbolsOf(d)].some((s) => this.#bounds[s]);
  }

  /** How many there are now. One is folded: it is structure, not size. */
  of(role: string, d: Dim): Expr {
    if (constantOf(d) === 1) return u32(1);
    if (this.isLive(d)) return this.#live(d);
    return this.#parameter(role, d, false);
  }

  /** How far apart they lie, or how many there can be. */
  stride(role: string, d: Dim): Expr {
    const most = substituteDim(d, this.#bounds);
    return constantOf(most) === 1 ? u32(1) : this.#parameter(role, most, false);
  }

  #parameter(role: string, d: Dim, live: boolean): Expr {
    const known = this.#byRole.get(role);
    if (known) return param(known.name);
    // Live sizes are told apart by number, not by their symbols, so that layers that have symbols of their own share code.
    const lives = [...this.#byRole.values()].filter((p) => p.live).length;
    const stem = live ? `live${lives === 0 ? "" : lives + 1}` : role.replace(/\W+/g, "_");
    // `H*W` and `H + W` are written alike.
    const taken = new Set([...this.#byRole.values()].map((p) => p.name));
    let name = stem;
    for (let i = 2; taken.has(name); i++) name = `${stem}_${i}`;
    this.#byRole.set(role, { name, dim: d, live });
    return param(name);
  }

  /** A dimension with live symbols, computed in the kernel from them. */
  #live(d: Dim): Expr {
    let sum: Expr | undefined;
    for (const t of d.terms) {
      let product: Expr = constant(t.coefficient, U32);
      for (const a of t.atoms) {
        const factor =
          a.kind === "symbol"
            ? this.#parameter(
                this.#bounds[a.name] === undefined ? a.name : `live ${a.name}`,
                substituteDim({ key: a.key, terms: [{ coefficient: 1, atoms: [a] }] }, {}),
                this.#bounds[a.name] !== undefined,
              )
            : a.kind === "floor"
              ? div(this.#live(a.num), this.#live(a.den))
              : a.kind === "min"
                ? min(this.#live(a.a), this.#live(a.b))
                : max(this.#live(a.a), this.#live(a.b));
        product = mul(product, factor);
      }
      sum = sum ? add(sum, product) : product;
    }
    return sum ?? u32(0);
  }

  get declarations(): readonly ParamDecl[] {
    return [...this.#byRole.values()].map((p) => ({ name: p.name, type: U32, live: p.live }));
  }

  /** What the dispatch passes, in order of declaration; for a live one, its symbol. */
  get values(): readonly Dim[] {
    return [...this.#byRole.values()].map((p) => p.dim);
  }
}
