// The kernel of route, and what it shares with that of top_k. It chooses by rounds: the next choice is the best of those behind the last one
// in the order of (larger value, lower index), so nothing has to be marked or sorted. NaN is told by its bits, because WGSL may assume there
// is none.

import { ceilDiv, dim, productDim, type Dim } from "../ir/dim.ts";
import {
  add,
  and,
  binary,
  bitcast,
  div,
  eq,
  F32,
  f32,
  gt,
  le,
  lt,
  max,
  min,
  mod,
  mul,
  ne,
  or,
  select,
  sub,
  u32,
  U32,
  unary,
} from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter, Program, ProgramFacts, SharedArray } from "../ir/program.ts";
import { numberOf, flagOf, textOf } from "./define.ts";

const WORKGROUP = 64;
export const LOWEST = -3.4028234663852886e38;
/** Before the first choice. */
export const NONE = 0xffffffff;

/** Is it a number? */
export function isNumber(x: Expr): Expr {
  return le(binary("bit_and", bitcast(x, "u32"), u32(0x7fffffff)), u32(0x7f800000));
}

/** The index along each of some axes of a counter over all of them. */
export function indexOf(k: KernelWriter, counter: Expr, sizes: readonly Dim[]): readonly Expr[] {
  const out: Expr[] = [];
  let rest = counter;
  for (let i = sizes.length - 1; i > 0; i--) {
    out.unshift(k.bind("at", mod(rest, k.size(sizes[i]!))));
    rest = k.bind("rest", div(rest, k.size(sizes[i]!)));
  }
  return sizes.length === 0 ? [] : [rest, ...out];
}

/** Is (value, index) behind the last choice? */
export function behind(value: Expr, index: Expr, last: { readonly value: Expr; readonly index: Expr }): Expr {
  const lower = or(lt(value, last.value), and(eq(value, last.value), gt(index, last.index)));
  return or(eq(last.index, u32(NONE)), lower);
}

export function routeProgram(facts: ProgramFacts): Program {
  const rows = facts.type("x").shape.slice(0, -1);
  return {
    steps: [
      {
        reads: facts.has("bias") ? ["x", "bias"] : ["x"],
        writes: ["experts", "weights"],
        workgroups: [ceilDiv(productDim(rows), dim(WORKGROUP))],
        invocations: WORKGROUP,
        schedule: `one invocation a token, ${WORKGROUP} in a workgroup, a round for each expert chosen`,
        write(k) {
          const token = k.bind("token", add(mul(k.workgroup[0]!, u32(WORKGROUP)), k.local));
          k.when(lt(token, k.size(productDim(rows))), () => {
            const row = indexOf(k, token, rows);
            const experts = k.size(facts.type("x").shape.at(-1)!);
            const logit = (e: Expr): Expr => k.read("x", [...row, e]);
            new Router(k, facts, { row, experts, logit, tokens: WORKGROUP }).write();
          });
        },
      },
    ],
  };
}

/** What has been chosen for each token of a workgroup. */
interface Chosen {
  readonly values: SharedArray;
  readonly ids: SharedArray;
  slot(j: Expr): Expr;
  readonly count: number;
}

/** Where a token's logits are, and what its choice is written to. */
export interface RoutedToken {
  /** Indices of the token. */
  readonly row: readonly Expr[];
  readonly experts: Expr;
  logit(expert: Expr): Expr;
  /** Tokens of a workgroup, of which each invocation has at most one. */
  readonly tokens: number;
}

/** Writes the choice of one token. */
export class Router {
  readonly #k: KernelWriter;
  readonly #facts: ProgramFacts;
  readonly #token: RoutedToken;
  readonly #row: readonly Expr[];
  readonly #experts: Expr;
  readonly #scores: string;
  readonly #groups: number;
  /** Of a softmax over all experts. */
  #most: Expr = f32(0);
  #sum: Expr = f32(1);
  /** Bits of the groups that stay. */
  #kept: Expr | undefined;

  constructor(k: KernelWriter, facts: ProgramFacts, token: RoutedToken) {
    this.#k = k;
    this.#facts = facts;
    this.#token = token;
    this.#row = token.row;
    this.#experts = token.experts;
    this.#scores = textOf(facts.attrs, "scores");
    this.#groups = numberOf(facts.attrs, "groups");
  }

  write(): void {
    if (this.#scores === "softmax") this.#sums();
    if (this.#groups > 1) this.#keepGroups();
    this.#choose();
  }

  #logit(expert: Expr): { readonly z: Expr; readonly valid: Expr } {
    const raw = this.#k.bind("raw", this.#token.logit(expert));
    return { z: this.#k.bind("z", min(max(raw, f32(-3e38)), f32(3e38))), valid: isNumber(raw) };
  }

  /** Score of an expert, and what it is chosen by. */
  #score(expert: Expr): { readonly z: Expr; readonly s: Expr; readonly by: Expr; readonly valid: Expr } {
    const { z, valid } = this.#logit(expert);
    const s = this.#k.bind(
      "score",
      this.#scores === "softmax"
        ? div(unary("exp", sub(z, this.#most)), this.#sum)
        : this.#scores === "sigmoid"
          ? sigmoid(z)
          : z,
    );
    if (!this.#facts.has("bias")) return { z, s, by: s, valid };
    const by = this.#k.bind("by", add(s, this.#k.read("bias", [expert])));
    return { z, s, by, valid: and(valid, isNumber(by)) };
  }

  #sums(): void {
    const k = this.#k;
    const most = k.variable("most", f32(-3e38));
    k.loop("e", u32(0), this.#experts, (e) => {
      const { z, valid } = this.#logit(e);
      k.when(valid, () => k.set(most, max(most, z)));
    });
    this.#most = k.bind("largest", most);
    const sum = k.variable("sum", f32(0));
    k.loop("e", u32(0), this.#experts, (e) => {
      const { z, valid } = this.#logit(e);
      k.when(valid, () => k.set(sum, add(sum, unary("exp", sub(z, this.#most)))));
    });
    this.#sum = k.bind("denominator", sum);
  }

  #keepGroups(): void {
    const k = this.#k;
    const { attrs } = this.#facts;
    const groups = this.#groups;
    const size = k.bind("group_size", div(this.#experts, u32(groups)));
    const scores = k.shared("group_scores", F32, this.#token.tokens * groups);
    const slot = (g: Expr): Expr => add(mul(k.local, u32(groups)), g);
    k.loop("g", u32(0), u32(groups), (g) => {
      const first = k.variable("first", f32(LOWEST));
      const second = k.variable("second", f32(LOWEST));
      k.loop("j", u32(0), size, (j) => {
        const { by, valid } = this.#score(k.bind("e", add(mul(g, size), j)));
        k.when(valid, () => {
          k.set(second, max(second, min(first, by)));
          k.set(first, max(first, by));
        });
      });
      const both = select(gt(second, f32(LOWEST)), add(first, second), first);
      scores.store(slot(g), textOf(attrs, "group_score") === "top2" ? both : first);
    });
    const kept = k.variable("kept", u32(0));
    k.loop("round", u32(0), u32(numberOf(attrs, "keep_groups")), () => {
      const best = k.variable("best", f32(LOWEST));
      const at = k.variable("best_at", u32(NONE));
      k.loop("g", u32(0), u32(groups), (g) => {
        const value = scores.load(slot(g));
        const free = eq(binary("bit_and", kept, binary("shift_left", u32(1), g)), u32(0));
        k.when(and(free, or(eq(at, u32(NONE)), gt(value, best))), () => {
          k.set(best, value);
          k.set(at, g);
        });
      });
      k.set(kept, binary("bit_or", kept, binary("shift_left", u32(1), at)));
    });
    this.#kept = k.bind("kept_groups", kept);
  }

  #isKept(expert: Expr): Expr {
    if (!this.#kept) return { kind: "const", type: { scalar: "bool", width: 1 }, value: true };
    const size = this.#k.bind("group_size", div(this.#experts, u32(this.#groups)));
    const bit = binary("shift_left", u32(1), div(expert, size));
    return ne(binary("bit_and", this.#kept, bit), u32(0));
  }

  #choose(): void {
    const k = this.#k;
    const { attrs } = this.#facts;
    const count = numberOf(attrs, "k");
    const kind = textOf(attrs, "weights");
    const weightless = numberOf(attrs, "weightless");
    const values = k.shared("chosen", F32, this.#token.tokens * count);
    const slot = (j: Expr): Expr => add(mul(k.local, u32(count)), j);
    const last = { value: k.variable("last", f32(0)), index: k.variable("last_at", u32(NONE)) };
    // Weights before they are divided by their sum; softmax over the chosen needs their largest first.
    const most = k.variable("most_chosen", f32(LOWEST));
    const ids = kind === "softmax" ? k.shared("chosen_ids", U32, this.#token.tokens * count) : undefined;
    k.loop("slot", u32(0), u32(count), (j) => {
      const best = k.variable("best", f32(LOWEST));
      const at = k.variable("best_at", this.#experts);
      const weight = k.variable("weight", f32(kind === "softmax" ? LOWEST : 0));
      k.loop("e", u32(0), this.#experts, (e) => {
        const { z, s, by, valid } = this.#score(e);
        const better = or(eq(at, this.#experts), gt(by, best));
        k.when(and(and(valid, this.#isKept(e)), and(behind(by, e, last), better)), () => {
          k.set(best, by);
          k.set(at, e);
          k.set(weight, kind === "scores" ? s : kind === "sigmoid" ? sigmoid(z) : z);
        });
      });
      k.set(last.value, best);
      k.set(last.index, at);
      k.write("experts", [...this.#row, j], at);
      if (kind !== "softmax" && weightless >= 0) k.when(le(u32(weightless), at), () => k.set(weight, f32(0)));
      values.store(slot(j), weight);
      ids?.store(slot(j), at);
      k.set(most, max(most, weight));
    });
    if (ids) this.#softmaxOfChosen({ values, ids, slot, count }, k.bind("largest_chosen", most));
    this.#finish(values, slot, count);
  }

  /** Slots without an expert, and those of weightless ones, have 0. */
  #softmaxOfChosen({ values, ids, slot, count }: Chosen, most: Expr): void {
    const k = this.#k;
    const sum = k.variable("sum_chosen", f32(0));
    k.loop("slot", u32(0), u32(count), (j) => {
      const power = k.bind("power", unary("exp", sub(values.load(slot(j)), most)));
      values.store(slot(j), power);
      k.when(lt(ids.load(slot(j)), this.#experts), () => k.set(sum, add(sum, power)));
    });
    const total = k.bind("total_chosen", sum);
    const weightless = numberOf(this.#facts.attrs, "weightless");
    const end = weightless < 0 ? this.#experts : min(u32(weightless), this.#experts);
    k.loop("slot", u32(0), u32(count), (j) => {
      const weight = div(values.load(slot(j)), total);
      values.store(slot(j), select(lt(ids.load(slot(j)), end), weight, f32(0)));
    });
  }

  #finish(values: SharedArray, slot: (j: Expr) => Expr, count: number): void {
    const k = this.#k;
    const { attrs } = this.#facts;
    const scale = numberOf(attrs, "scale");
    let total: Expr | undefined;
    if (flagOf(attrs, "renorm")) {
      const sum = k.variable("sum_weights", f32(0));
      k.loop("slot", u32(0), u32(count), (j) => k.set(sum, add(sum, values.load(slot(j)))));
      total = k.bind("divisor", add(sum, f32(numberOf(attrs, "eps"))));
    }
    k.loop("slot", u32(0), u32(count), (j) => {
      const value = values.load(slot(j));
      const shared = total ? select(eq(total, f32(0)), f32(0), div(value, total)) : value;
      k.write("weights", [...this.#row, j], scale === 1 ? shared : mul(shared, f32(scale)));
    });
  }
}

function sigmoid(z: Expr): Expr {
  return div(f32(1), add(f32(1), unary("exp", unary("neg", z))));
}
