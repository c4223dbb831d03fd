// What the kernels of attention have in common: where queries, keys and values are read, which keys a query sees, and how a result is
// written. Everything is in f32.

import { constantOf, type Dim } from "../ir/dim.ts";
import {
  add,
  and,
  component,
  div,
  f32,
  le,
  lt,
  max,
  min,
  mul,
  ne,
  select,
  splat,
  sub,
  u32,
} from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter, ProgramFacts } from "../ir/program.ts";
import type { TensorType } from "../ir/types.ts";
import type { AttentionSchedule } from "./attention-schedule.ts";
import { flagOf, isOne } from "./define.ts";
import { lowest, tiny } from "./softmax.ts";

export class Operands {
  readonly k: KernelWriter;
  readonly s: AttentionSchedule;
  readonly scale: number;
  /** How many there are. */
  readonly queries: Expr;
  readonly keys: Expr;
  /** Vectors of a head of q and k. */
  readonly parts: number;
  /** The same as a parameter of the kernel. */
  readonly partCount: Expr;
  readonly #f: ProgramFacts;
  readonly #sample: Expr;
  readonly #head: Expr;
  /** First vector of the result that this workgroup makes. */
  readonly #column: Expr;

  constructor(k: KernelWriter, f: ProgramFacts, s: AttentionSchedule, scale: number) {
    this.k = k;
    this.s = s;
    this.scale = scale;
    this.#f = f;
    const [sample, head, , block] = k.workgroup as readonly [Expr, Expr, Expr, Expr];
    this.queries = k.size(f.type("q").shape[1]!);
    this.keys = k.size(f.type("k").shape[1]!);
    this.parts = constantOf(f.type("q").shape[3]!)! / s.width;
    this.partCount = k.bind("parts", div(k.size(f.type("q").shape[3]!), u32(s.width)));
    this.#sample = sample;
    this.#head = head;
    this.#column = k.bind("column", mul(block, u32(s.columns)));
  }

  /** Vector `c` of a query, key or value, which must exist. */
  vector(name: "q" | "k" | "v", at: Expr, c: Expr): Expr {
    const type = this.#f.type(name);
    const index = [this.#sampleOf(type), at, name === "q" ? this.#head : this.#keyHead(type), c];
    const width = name === "v" ? this.s.valueWidth : this.s.width;
    return width === 4 ? this.k.readFour(name, index, 3) : this.k.read(name, index);
  }

  /** Place of this workgroup's vector `c` among those of a head, in bounds. */
  column(c: Expr): Expr {
    const place = add(this.#column, c);
    return this.k.bind(
      "c",
      this.#isWhole() ? place : select(this.hasColumn(c), place, sub(this.#columns(), u32(1))),
    );
  }

  hasColumn(c: Expr): Expr {
    const { k } = this;
    return k.bind("has_column", lt(add(this.#column, c), this.#columns()));
  }

  /** Do all workgroups have all of their columns? */
  #isWhole(): boolean {
    const size = constantOf(this.#width());
    return size !== undefined && size % (this.s.columns * this.s.valueWidth) === 0;
  }

  #width(): Dim {
    return this.#f.results[0]!.shape[3]!;
  }

  #columns(): Expr {
    return this.k.bind("columns", div(this.k.size(this.#width()), u32(this.s.valueWidth)));
  }

  /** Does query `i` see key `j`? undefined: yes. `inside`: is there such a key at all? */
  seen(i: Expr, j: Expr, inside: Expr | undefined): Expr | undefined {
    const { k } = this;
    const conditions: Expr[] = inside ? [inside] : [];
    if (this.#f.has("mask")) {
      const mask = k.read("mask", [this.#sampleOf(this.#f.type("mask")), j]);
      conditions.push(mask.type.scalar === "bool" ? mask : ne(mask, { ...u32(0), type: mask.type }));
    }
    if (this.#isCausal()) conditions.push(le(add(j, this.queries), add(i, this.keys)));
    return conditions.length === 0
      ? undefined
      : k.bind(
          "seen",
          conditions.reduce((a, b) => and(a, b)),
        );
  }

  /** One past the last key that a query before `after` sees. */
  end(after: Expr): Expr {
    if (!this.#isCausal()) return this.keys;
    const { k } = this;
    // min(after, queries) + keys - queries, where that is not negative.
    const beyond = k.bind("beyond", add(min(after, this.queries), this.keys));
    return k.bind("end", sub(max(beyond, this.queries), this.queries));
  }

  #isCausal(): boolean {
    return flagOf(this.#f.attrs, "causal");
  }

  /** The score of a product that is not yet scaled: the lowest number where it is not seen. */
  score(product: Expr, i: Expr, j: Expr, seen: Expr | undefined): Expr {
    const { k } = this;
    const scaled = mul(product, f32(this.scale));
    const score = this.#f.has("bias") ? add(scaled, this.#bias(i, j)) : scaled;
    return k.bind("score", seen ? select(seen, score, f32(lowest)) : score);
  }

  #bias(i: Expr, j: Expr): Expr {
    const at = [this.#sample, this.#head, i, j];
    const index = this.#f.type("bias").shape.map((d, axis) => (isOne(d) ? u32(0) : at[axis]!));
    return this.k.read("bias", index);
  }

  /** Writes this workgroup's vector `c` of query `i`: 0 where no key was seen. */
  write(i: Expr, c: Expr, sum: Expr, total: Expr): void {
    const { k } = this;
    const store = () => {
      const column = k.bind("c", add(this.#column, c));
      const below = k.bind("below", max(total, f32(tiny)));
      const mean = k.bind("mean", div(sum, splat(below, this.s.valueWidth)));
      const index = [this.#sample, i, this.#head, column];
      if (this.s.valueWidth === 4) k.writeFour("y", index, 3, mean);
      else k.write("y", index, mean);
    };
    if (this.#isWhole()) store();
    else k.when(this.hasColumn(c), store);
  }

  #sampleOf(type: TensorType): Expr {
    return isOne(type.shape[0]!) ? u32(0) : this.#sample;
  }

  #keyHead(type: TensorType): Expr {
    const [heads, own] = [constantOf(this.#f.type("q").shape[2]!), constantOf(type.shape[2]!)];
    if (own === 1) return u32(0);
    return this.k.bind("key_head", heads === undefined ? this.#head : div(this.#head, u32(heads / own!)));
  }

  /** A number as wide as a vector of values. */
  wide(x: Expr): Expr {
    return splat(x, this.s.valueWidth);
  }

  /** A sum of 0 as wide as a vector of values. */
  nothing(): Expr {
    return splat(f32(0), this.s.valueWidth);
  }
}

/** The sum of a vector's components. */
export function across(k: KernelWriter, x: Expr): Expr {
  if (x.type.width === 1) return x;
  const [a, b, c, d] = [0, 1, 2, 3].map((i) => component(x, i)) as [Expr, Expr, Expr, Expr];
  return k.bind("sum", add(add(a, b), add(c, d)));
}
