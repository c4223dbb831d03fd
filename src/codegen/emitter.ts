// Writes kernel statements with automatic naming, common-subexpression sharing and loop-invariant placement: an expression that is
// bound lands in the outermost block where all names it uses exist. Loads never leave the `if` that guards them.
// Knows Kernel IR only.

import { Bug } from "../support/bug.ts";
import { constantValue, kernelType, name as nameExpr, operands, splat } from "../ir/expr.ts";
import type { Expr, KernelType, Scalar, SharedDecl, Statement } from "../ir/kernel.ts";

const integers: readonly Scalar[] = ["i32", "u32"];

interface Block {
  readonly statements: Statement[];
  /** Opened by an `if`: loads inside must stay inside, where their address is known no further out than in this block. */
  readonly guard?: number;
  readonly isLoop: boolean;
  readonly names: Set<string>;
  /** Structural key of an expression -> the name it is bound to. */
  readonly bound: Map<string, Expr>;
}

export class Emitter {
  readonly #blocks: Block[] = [];
  readonly #taken = new Set<string>();
  /** Depth of the block in which a name was defined. */
  readonly #depth = new Map<string, number>();
  readonly #mutable = new Set<string>();
  readonly #keys = new WeakMap<Expr, string>();
  readonly #numbers = new Map<string, string>();
  readonly shared: SharedDecl[] = [];

  constructor(reserved: Iterable<string> = []) {
    for (const r of reserved) this.#taken.add(r);
    this.#open();
  }

  /** The finished body; no block may be open. */
  finish(): readonly Statement[] {
    if (this.#blocks.length !== 1) throw new Bug("a block was left open");
    return this.#blocks[0]!.statements;
  }

  #open(guard?: number, isLoop = false): Block {
    const block: Block = {
      statements: [],
      isLoop,
      ...(guard !== undefined && { guard }),
      names: new Set(),
      bound: new Map(),
    };
    this.#blocks.push(block);
    return block;
  }

  #close(): void {
    for (const text of this.#blocks.pop()!.names) this.#depth.delete(text);
  }

  /** Are all names the expression uses still defined here? */
  isLive(e: Expr): boolean {
    return e.kind === "name" ? this.#depth.has(e.name) : operands(e).every((x) => this.isLive(x));
  }

  #top(): Block {
    return this.#blocks[this.#blocks.length - 1]!;
  }

  fresh(hint: string): string {
    const base = /^[a-z]\w*$/i.test(hint) ? hint : "t";
    let text = base;
    for (let i = 1; this.#taken.has(text); i++) text = `${base}_${i}`;
    this.#taken.add(text);
    return text;
  }

  #define(text: string, depth: number): void {
    this.#depth.set(text, depth);
    this.#blocks[depth]!.names.add(text);
  }

  /** Structural key: equal keys, equal values at the same point of the program. */
  key(e: Expr): string {
    const known = this.#keys.get(e);
    if (known !== undefined) return known;
    const head =
      e.kind === "const"
        ? `#${e.type.scalar}${e.type.width}:${Object.is(e.value, -0) ? "-0" : String(e.value)}`
        : e.kind === "param" || e.kind === "builtin" || e.kind === "name"
          ? `${e.kind[0]}:${e.name}`
          : e.kind === "load"
            ? `load:${e.from}`
            : e.kind === "unary" || e.kind === "binary" || e.kind === "subgroup"
              ? e.op
              : e.kind === "cast"
                ? `cast${e.bits ? "bits" : ""}:${e.type.scalar}`
                : e.kind === "vector"
                  ? `vec${e.type.width}`
                  : e.kind;
    // Numbers stand for the parts, or the text of an expression would grow with all that it is made of.
    const text = `${head}(${operands(e)
      .map((x) => this.key(x))
      .join(",")})`;
    let key = this.#numbers.get(text);
    if (key === undefined) this.#numbers.set(text, (key = String(this.#numbers.size)));
    this.#keys.set(e, key);
    return key;
  }

  /** Gives the expression a name in the outermost block that can hold it, or the name it already has. */
  bind(hint: string, value: Expr): Expr {
    if (value.kind === "name" || value.kind === "const" || value.kind === "param" || value.kind === "builtin")
      return value;
    if (value.kind === "vector" && value.parts.length === 1 && constantValue(value) !== undefined)
      return value;
    const key = this.key(value);
    for (let i = this.#blocks.length - 1; i >= 0; i--) {
      const found = this.#blocks[i]!.bound.get(key);
      if (found) return found;
    }
    const facts = this.#facts(value);
    if (facts.mutable) return this.#let(hint, value, this.#blocks.length - 1, undefined);
    let depth = facts.depth;
    if (facts.loads)
      for (let i = this.#blocks.length - 1; i > depth; i--) {
        const { guard } = this.#blocks[i]!;
        if (guard !== undefined && facts.depth >= guard) {
          depth = i;
          break;
        }
      }
    return this.#let(hint, this.#withoutTurns(value, depth), depth, key);
  }

  /**
   * The same value, with what divides and is the same in every turn of a loop around `depth` bound outside of that loop: a division is
   * dear, and a driver that is not sure of the divisor leaves it where it is.
   */
  #withoutTurns(value: Expr, depth: number): Expr {
    const loops = this.#blocks.flatMap((b, i) => (b.isLoop && i <= depth ? [i] : []));
    if (loops.length === 0) return value;
    const divides = new Map<Expr, boolean>();
    const dear = (e: Expr): boolean => {
      const known = divides.get(e);
      if (known !== undefined) return known;
      const own =
        e.kind === "binary" && (e.op === "div" || e.op === "mod") && integers.includes(e.type.scalar);
      const found = own || operands(e).some(dear);
      divides.set(e, found);
      return found;
    };
    const made = new Map<Expr, Expr>();
    const outside = (e: Expr): Expr => {
      if (!dear(e)) return e;
      const known = made.get(e);
      if (known) return known;
      const facts = this.#facts(e);
      const leaves = !facts.mutable && !facts.loads && loops.some((l) => l > facts.depth);
      const next = leaves ? this.bind("q", e) : rebuild(e, operands(e).map(outside));
      made.set(e, next);
      return next;
    };
    return outside(value);
  }

  /** The value that a variable has now, under a name of its own. */
  snapshot(hint: string, variable: Expr): Expr {
    return this.#let(hint, variable, this.#blocks.length - 1, undefined);
  }

  #let(hint: string, value: Expr, depth: number, key: string | undefined): Expr {
    const text = this.fresh(hint);
    const block = this.#blocks[depth]!;
    block.statements.push({ kind: "let", name: text, value });
    this.#define(text, depth);
    const bound = nameExpr(text, value.type);
    if (key !== undefined) block.bound.set(key, bound);
    return bound;
  }

  #facts(e: Expr): { depth: number; loads: boolean; mutable: boolean } {
    let depth = 0;
    let loads = false;
    let mutable = false;
    const visit = (x: Expr): void => {
      if (x.kind === "name") {
        depth = Math.max(depth, this.#depth.get(x.name) ?? 0);
        if (this.#mutable.has(x.name)) mutable = true;
      }
      // Subgroup operations must stay where control flow was asked for; a shared array changes between barriers.
      if (x.kind === "load") {
        loads = true;
        if (this.shared.some((s) => s.name === x.from)) mutable = true;
      }
      if (x.kind === "subgroup") mutable = true;
      for (const o of operands(x)) visit(o);
    };
    visit(e);
    return { depth, loads, mutable };
  }

  variable(hint: string, initial: Expr): Expr {
    return this.#variable(hint, initial, this.#blocks.length - 1);
  }

  /** In a loop: a variable that keeps its value from turn to turn. `initial` is a constant. */
  kept(hint: string, initial: Expr): Expr {
    return this.#variable(hint, initial, this.#blocks.length - 2);
  }

  #variable(hint: string, initial: Expr, depth: number): Expr {
    const text = this.fresh(hint);
    this.#blocks[depth]!.statements.push({ kind: "var", name: text, type: initial.type, value: initial });
    this.#define(text, depth);
    this.#mutable.add(text);
    return nameExpr(text, initial.type);
  }

  set(variable: Expr, value: Expr): void {
    if (variable.kind !== "name") throw new Bug("only a variable can be set");
    this.#top().statements.push({
      kind: "set",
      name: variable.name,
      value: splat(this.#withoutTurns(value, this.#blocks.length - 1), variable.type.width),
    });
  }

  store(to: string, index: Expr, value: Expr): void {
    const [at, what] = [index, value].map((e) => this.#withoutTurns(e, this.#blocks.length - 1));
    this.#top().statements.push({ kind: "store", to, index: at!, value: what! });
  }

  /** `for name in start..end step step`; a loop of one iteration known now is written flat. */
  loop(hint: string, start: Expr, end: Expr, step: Expr, body: (counter: Expr) => void): void {
    const [s, e, by] = [start, end, step].map(constantValue);
    if (typeof s === "number" && typeof e === "number" && typeof by === "number" && e > s && s + by >= e) {
      body(start);
      return;
    }
    const text = this.fresh(hint);
    const block = this.#open(undefined, true);
    this.#define(text, this.#blocks.length - 1);
    body(nameExpr(text, start.type));
    this.#close();
    this.#top().statements.push({ kind: "for", name: text, start, end, step, body: block.statements });
  }

  when(condition: Expr, then: () => void, otherwise: () => void = () => {}): void {
    const known = constantValue(condition);
    if (known === true) return then();
    if (known === false) return otherwise();
    const yes = this.#guarded(then, 0);
    const no = this.#guarded(otherwise, 0);
    if (yes.length > 0 || no.length > 0)
      this.#top().statements.push({ kind: "if", condition, then: yes, else: no });
  }

  /** In a loop: an `if` about this turn of it, so that loads that are the same in every turn may leave. */
  whenTurn(condition: Expr, then: () => void): void {
    const inside = this.#guarded(then, this.#blocks.length - 1);
    if (inside.length > 0) this.#top().statements.push({ kind: "if", condition, then: inside, else: [] });
  }

  #guarded(body: () => void, guard: number): readonly Statement[] {
    const block = this.#open(guard);
    body();
    this.#close();
    return block.statements;
  }

  barrier(): void {
    this.#top().statements.push({ kind: "barrier" });
  }

  leave(): void {
    this.#top().statements.push({ kind: "return" });
  }

  sharedArray(hint: string, type: KernelType, length: number): string {
    const text = this.fresh(hint);
    this.shared.push({ name: text, type: kernelType(type.scalar, type.width), length });
    return text;
  }
}

/** The expression with one name put in place of another expression (by identity of the name). */
export function substitute(e: Expr, target: string, by: Expr, made = new Map<Expr, Expr>()): Expr {
  if (e.kind === "name") return e.name === target ? by : e;
  const inner = operands(e);
  if (inner.length === 0) return e;
  const known = made.get(e);
  if (known) return known;
  const next = inner.map((x) => substitute(x, target, by, made));
  const replaced = next.every((x, i) => x === inner[i]) ? e : rebuild(e, next);
  made.set(e, replaced);
  return replaced;
}

/** Does the name occur in it? Each part is looked at once, however many others it is part of. */
export function mentions(e: Expr, target: string, seen = new Set<Expr>()): boolean {
  if (e.kind === "name") return e.name === target;
  if (seen.has(e)) return false;
  seen.add(e);
  return operands(e).some((x) => mentions(x, target, seen));
}

function rebuild(e: Expr, next: readonly Expr[]): Expr {
  const [a, b, c] = next;
  switch (e.kind) {
    case "load":
      return { ...e, index: a! };
    case "unary":
    case "cast":
      return { ...e, a: a! };
    case "binary":
      return { ...e, a: a!, b: b! };
    case "fma":
      return { ...e, a: a!, b: b!, c: c! };
    case "select":
      return { ...e, condition: a!, yes: b!, no: c! };
    case "vector":
      return { ...e, parts: next };
    case "component":
      return { ...e, a: a!, index: b! };
    case "subgroup":
      return b ? { ...e, a: a!, lane: b } : { ...e, a: a! };
    default:
      return e;
  }
}
