// The kernel of route_tokens: a workgroup has a few tokens. Its invocations share the experts' rows of the product, each sum in one order from the
// first channel to the last; logits go through workgroup memory, and then one invocation a token chooses.

import { ceilDiv, constantOf, dim, isMultipleOf, productDim } from "../ir/dim.ts";
import { add, component, div, F32, f32, fma, lt, min, mod, mul, splat, sub, u32 } from "../ir/expr.ts";
import type { Expr } from "../ir/kernel.ts";
import type { KernelWriter, Program, ProgramFacts, SharedArray } from "../ir/program.ts";
import { runsOnCores } from "../ir/target.ts";
import { numberOf } from "./define.ts";
import { indexOf, Router } from "./route-kernel.ts";

const WORKGROUP = 64;
/** Tokens whose sums an invocation has at once: a row of the weight is read once for them. */
const SUMS = 8;

export function routeTokensProgram(facts: ProgramFacts): Program {
  const tokens = numberOf(facts.attrs, "tokens");
  const rows = productDim(facts.type("x").shape.slice(0, -1));
  return {
    steps: [
      {
        reads: ["x", "weight", "offset", "bias"].filter((name) => facts.has(name)),
        writes: ["experts", "weights"],
        workgroups: [ceilDiv(rows, dim(tokens))],
        invocations: WORKGROUP,
        schedule: `${tokens} tokens a workgroup: ${WORKGROUP} invocations share their logits, and one for each token chooses`,
        write(k) {
          const first = k.bind("first_token", mul(k.workgroup[0]!, u32(tokens)));
          const count = k.size(rows);
          const experts = constantOf(facts.type("weight").shape[1]!)!;
          const logits = k.shared("logits", F32, tokens * experts);
          new Product(k, facts, { first, count, tokens, experts, logits }).write();
          k.barrier();
          const token = k.bind("token", add(first, k.local));
          k.when(lt(k.local, u32(tokens)), () =>
            k.when(lt(token, count), () => {
              const row = indexOf(k, token, facts.type("x").shape.slice(0, -1));
              const own = k.bind("own", mul(k.local, u32(experts)));
              const logit = (e: Expr): Expr => logits.load(add(own, e));
              new Router(k, facts, { row, experts: u32(experts), logit, tokens }).write();
            }),
          );
        },
      },
    ],
  };
}

interface Share {
  readonly first: Expr;
  /** Of all tokens. */
  readonly count: Expr;
  readonly tokens: number;
  readonly experts: number;
  readonly logits: SharedArray;
}

/** Writes the logits of a workgroup's tokens. A share of an invocation is some experts side by side, of some tokens. */
class Product {
  readonly #k: KernelWriter;
  readonly #facts: ProgramFacts;
  readonly #share: Share;
  readonly #sums: number;
  readonly #width: 1 | 4;

  constructor(k: KernelWriter, facts: ProgramFacts, share: Share) {
    this.#k = k;
    this.#facts = facts;
    this.#share = share;
    this.#sums = Math.min(SUMS, share.tokens);
    // Few shares are better small, so that each invocation has one; on cores, where lanes go together, they are never too few.
    const shares = (share.experts / 4) * (share.tokens / this.#sums);
    const enough = runsOnCores(facts.target) || shares >= WORKGROUP / 2;
    this.#width = share.experts % 4 === 0 && enough ? 4 : 1;
  }

  write(): void {
    const k = this.#k;
    const { tokens, experts } = this.#share;
    const across = experts / this.#width;
    const shares = across * (tokens / this.#sums);
    k.loop(
      "share",
      k.local,
      u32(shares),
      (share) => {
        const expert = k.bind("expert", mul(mod(share, u32(across)), u32(this.#width)));
        const token = k.bind("own_token", mul(div(share, u32(across)), u32(this.#sums)));
        this.#sum(expert, token);
      },
      u32(WORKGROUP),
    );
  }

  /** Experts from `expert` on, of tokens from `token` of the workgroup on. Tokens behind the last one are the last one again. */
  #sum(expert: Expr, token: Expr): void {
    const k = this.#k;
    const { shape } = this.#facts.type("x");
    const { first, count, experts, logits } = this.#share;
    const last = k.bind("last_token", sub(count, u32(1)));
    const own = Array.from({ length: this.#sums }, (_, i) => k.bind("own", add(token, u32(i))));
    const rows = own.map((t) => indexOf(k, k.bind("at_token", min(add(first, t), last)), shape.slice(0, -1)));
    const sums = own.map(() => k.variable("sum", splat(f32(0), this.#width)));
    const channels = k.size(shape.at(-1)!);
    const step = isMultipleOf(shape.at(-1)!, 4) ? 4 : 1;
    k.loop("channel", u32(0), div(channels, u32(step)), (c) => {
      const values = rows.map((row) =>
        step === 4 ? k.readFour("x", [...row, c], row.length) : k.bind("value", k.read("x", [...row, c])),
      );
      for (let i = 0; i < step; i++) {
        const weight = this.#weight(k.bind("i", add(mul(c, u32(step)), u32(i))), expert);
        values.forEach((value, t) => {
          const one = step === 4 ? component(value, i) : value;
          k.set(sums[t]!, fma(splat(one, this.#width), weight, sums[t]!));
        });
      }
    });
    own.forEach((t, i) => {
      for (let j = 0; j < this.#width; j++) {
        const e = k.bind("e", add(expert, u32(j)));
        const sum = this.#width === 4 ? component(sums[i]!, j) : sums[i]!;
        const logit = this.#facts.has("offset") ? add(sum, k.read("offset", [e])) : sum;
        logits.store(add(mul(t, u32(experts)), e), logit);
      }
    });
  }

  #weight(channel: Expr, expert: Expr): Expr {
    const k = this.#k;
    return this.#width === 4
      ? k.readFour("weight", [channel, div(expert, u32(4))], 1)
      : k.bind("weight", k.read("weight", [channel, expert]));
  }
}
