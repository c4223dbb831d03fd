// Reads the text of a dimension back: parseDim(showDim(d)) equals d. Also reads what people write, `H/4` where that is exact,
// `ceil(H/2)`. Knows dimensions only, so that the runtime can read the sizes of a plan.
//
//   sum  = ["-"] term { ("+" | "-") term }          term = part { ("*" | "/") part }
//   part = INT | NAME | "-" part | "(" sum ")" | ("floor" | "ceil") "(" sum ")" | ("min" | "max") "(" sum "," sum ")"
//
// Inside floor and ceil a division need not be exact; anywhere else it must be.

import {
  addDim,
  ceilDiv,
  constantOf,
  dim,
  divideExact,
  floorDiv,
  maxDim,
  minDim,
  mulDim,
  subDim,
} from "./dim.ts";
import type { Dim } from "./dim.ts";

/** Nesting of parentheses and functions. */
const maxDepth = 24;
/** Terms of a polynomial, and of a product before like terms are collected. */
const maxTerms = 128;
/** Characters of the canonical text of any part of the dimension. */
const maxLength = 2000;

export type DimParse =
  | { readonly ok: true; readonly dim: Dim; readonly end: number }
  | { readonly ok: false; readonly message: string; readonly at: number };

/** The dimension that the whole text stands for; undefined where it is not one. */
export function parseDim(text: string): Dim | undefined {
  const parsed = parseDimAt(text, 0);
  if (!parsed.ok) return undefined;
  return text.slice(parsed.end).trim() === "" ? parsed.dim : undefined;
}

/** Reads the longest dimension that begins at `start`. */
export function parseDimAt(text: string, start: number): DimParse {
  const reader = new DimReader(text, start);
  try {
    const value = reader.sum(0, false);
    return { ok: true, dim: value.num, end: reader.at };
  } catch (e) {
    if (e instanceof DimStop) return { ok: false, message: e.message, at: e.at };
    throw e;
  }
}

class DimStop extends Error {
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** num / den; den is 1 outside floor and ceil. */
interface Fraction {
  readonly num: Dim;
  readonly den: Dim;
}

const one = dim(1);

class DimReader {
  readonly #text: string;
  /** Just past what has been read; white space is skipped only in front of something that is read. */
  at: number;

  constructor(text: string, at: number) {
    this.#text = text;
    this.at = at;
  }

  sum(depth: number, rational: boolean): Fraction {
    let total = this.#term(depth, rational);
    for (;;) {
      const sign = this.#take(/\s*[+-]/y);
      if (!sign) return total;
      const next = this.#term(depth, rational);
      const combine = sign.trim() === "+" ? addDim : subDim;
      total = {
        num: this.#limit(combine(this.#times(total.num, next.den), this.#times(next.num, total.den))),
        den: this.#times(total.den, next.den),
      };
    }
  }

  #term(depth: number, rational: boolean): Fraction {
    let product = this.#part(depth, rational);
    for (;;) {
      const operator = this.#take(/\s*(?:\*|\/(?!\/))/y);
      if (!operator) return product;
      const at = this.at;
      const next = this.#part(depth, rational);
      if (operator.trim() === "*") {
        product = { num: this.#times(product.num, next.num), den: this.#times(product.den, next.den) };
        continue;
      }
      if ((constantOf(next.num) ?? 1) <= 0) throw new DimStop("the divisor must be positive", at);
      const divided = { num: this.#times(product.num, next.den), den: this.#times(product.den, next.num) };
      product = rational ? divided : { num: this.#exact(divided, at), den: one };
    }
  }

  #exact(f: Fraction, at: number): Dim {
    const quotient = divideExact(f.num, f.den);
    if (quotient) return this.#limit(quotient);
    throw new DimStop(`${f.num.key} is not a multiple of ${f.den.key}: write floor(...) or ceil(...)`, at);
  }

  #part(depth: number, rational: boolean): Fraction {
    if (depth > maxDepth) throw new DimStop(`a dimension is nested more than ${maxDepth} deep`, this.at);
    if (this.#take(/\s*-/y)) {
      const part = this.#part(depth + 1, rational);
      return { num: subDim(dim(0), part.num), den: part.den };
    }
    const digits = this.#take(/\s*\d+/y);
    if (digits) {
      const value = Number(digits);
      if (!Number.isSafeInteger(value)) throw new DimStop("the number is too large", this.at - digits.length);
      return { num: dim(value), den: one };
    }
    if (this.#take(/\s*\(/y)) {
      const inner = this.sum(depth + 1, rational);
      this.#need(")");
      return inner;
    }
    const call = this.#take(/\s*(?:floor|ceil|min|max)\s*\(/y);
    if (call) return { num: this.#call(call.replace(/[\s(]/g, ""), depth + 1), den: one };
    const name = this.#take(/\s*[A-Za-z_]\w*/y);
    if (name) return { num: dim(name.trim()), den: one };
    throw new DimStop("expected a dimension: a number, a name, or floor(a/b)", this.#next());
  }

  #call(name: string, depth: number): Dim {
    if (name === "floor" || name === "ceil") {
      const at = this.#next();
      const f = this.sum(depth, true);
      this.#need(")");
      if ((constantOf(f.den) ?? 1) <= 0) throw new DimStop("the divisor must be positive", at);
      return this.#limit((name === "floor" ? floorDiv : ceilDiv)(f.num, f.den));
    }
    const a = this.sum(depth, false).num;
    this.#need(",");
    const b = this.sum(depth, false).num;
    this.#need(")");
    return this.#limit((name === "min" ? minDim : maxDim)(a, b));
  }

  #times(a: Dim, b: Dim): Dim {
    if (a.terms.length * b.terms.length > maxTerms)
      throw new DimStop(`a dimension has more than ${maxTerms} terms`, this.at);
    return this.#limit(mulDim(a, b));
  }

  #limit(d: Dim): Dim {
    if (d.terms.length > maxTerms) throw new DimStop(`a dimension has more than ${maxTerms} terms`, this.at);
    if (d.key.length > maxLength)
      throw new DimStop(`a dimension is longer than ${maxLength} characters`, this.at);
    if (d.terms.some((t) => !Number.isSafeInteger(t.coefficient)))
      throw new DimStop("a number in the dimension is too large", this.at);
    return d;
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.#text)?.[0];
    if (found) this.at += found.length;
    return found;
  }

  #need(mark: string): void {
    const at = this.#next();
    if (this.#text[at] !== mark) throw new DimStop(`expected \`${mark}\``, at);
    this.at = at + 1;
  }

  #next(): number {
    let at = this.at;
    while (/\s/.test(this.#text[at] ?? "")) at++;
    return at;
  }
}
