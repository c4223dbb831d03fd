// Sizes of a kernel: every extent and stride becomes a parameter in the uniform block, named by its role (not by its value), so that
// two layers of one kind give the same kernel text and share a pipeline.
// Bounded symbols: memory is laid out for the bound, so strides use the bound; extents use the live value, a parameter that the kernel
// reads from the extents buffer.

import { constantOf, dim, substituteDim, symbolsOf, type Dim } from "../ir/dim.ts";
import { add, constant, div, load, min, max, mul, param, u32, U32 } from "../ir/expr.ts";
import type { Expr, ParamDecl } from "../ir/kernel.ts";
import { Bug } from "../support/bug.ts";

/** Bounded symbols and their bounds. */
export type Bounds = Readonly<Record<string, Dim>>;

interface Parameter {
  readonly name: string;
  readonly dim: Dim;
  readonly live: boolean;
}

/** The buffer of live extents in a kernel that writes them. */
export const LIVE = "live";

/** Place of each bounded symbol's live value in the extents. */
export type LivePlaces = ReadonlyMap<string, number>;

/** Workgroups of a later dispatch, and where in the extents they are written. */
export interface LiveGrid {
  readonly place: number;
  readonly grid: readonly [Dim, Dim, Dim];
}

/** What a kernel that sets live values writes into the extents: these, and the grids that follow from each symbol. */
export interface LiveWrites {
  readonly places: LivePlaces;
  readonly grids: ReadonlyMap<string, readonly LiveGrid[]>;
}

export class Sizes {
  readonly #byRole = new Map<string, Parameter>();
  readonly #bounds: Bounds;
  readonly #places: LivePlaces | undefined;
  readonly #known = new Map<string, Expr>();

  /** `places`, in a kernel that writes live extents: it reads them from the buffer that it writes, which cannot be bound twice. */
  constructor(bounds: Bounds = {}, places?: LivePlaces) {
    this.#bounds = bounds;
    this.#places = places;
  }

  /** Where in the extents the live value of a symbol is. */
  placeOf(symbol: string): Expr {
    const place = this.#places?.get(symbol);
    if (place === undefined) throw new Bug(`a kernel that does not write ${symbol} asks where it is`);
    return this.#parameter(`place of ${symbol}`, dim(place), false, "live_at");
  }

  /** Where in the extents the words of a grid begin, of those that this kernel writes. */
  placeOfGrid(number: number, place: number): Expr {
    return this.#parameter(`place of grid ${number}`, dim(place), false);
  }

  /** From here on the live value of a symbol is this one, which the kernel has just set. */
  know(symbol: string, value: Expr): void {
    this.#known.set(symbol, value);
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

  #parameter(role: string, d: Dim, live: boolean, called = role.replace(/\W+/g, "_")): Expr {
    const known = this.#byRole.get(role);
    if (known) return param(known.name);
    // Live sizes are told apart by number, not by their symbols, so that layers that have symbols of their own share code.
    const lives = [...this.#byRole.values()].filter((p) => p.live).length;
    const stem = live ? `live${lives === 0 ? "" : lives + 1}` : called;
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
            ? this.#symbol(a.name)
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

  #symbol(name: string): Expr {
    if (this.#bounds[name] === undefined) return this.#parameter(name, dim(name), false);
    const known = this.#known.get(name);
    if (known) return known;
    if (this.#places) return load(LIVE, this.placeOf(name), U32);
    return this.#parameter(`live ${name}`, dim(name), true);
  }

  get declarations(): readonly ParamDecl[] {
    return [...this.#byRole.values()].map((p) => ({ name: p.name, type: U32, live: p.live }));
  }

  /** What the dispatch passes, in order of declaration; for a live one, its symbol. */
  get values(): readonly Dim[] {
    return [...this.#byRole.values()].map((p) => p.dim);
  }
}
