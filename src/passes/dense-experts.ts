// Every expert on every token, where the cost model says so: few experts, of which each token has most. Then nothing is planned,
// the first products are one product with all weights on top of each other, and each row takes the result of its own expert. It is taken,
// not multiplied by 0: what an expert makes of a token that did not choose it may be anything, NaN too.

import { constantOf, dim, mulDim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import { rewrite } from "../ir/rewrite.ts";
import type { RewriteContext, Rule, RuleDoc } from "../ir/rewrite-types.ts";
import { chooseWay, weightsOfExperts, type WayChoice } from "./expert-cost.ts";
import { isRowProduct, tokensOfRows, type TokenRows } from "./expert-rows.ts";
import { readersOf, reshapeTo } from "./match.ts";
import type { Pass, PassContext } from "./pass.ts";

const everyExpert: RuleDoc = {
  name: "every-expert",
  equation: "y[t k] = E[id[t, k]](x[t]) = Y[t, id[t, k]],  Y[t, e] = E[e](x[t]) for all e;  0 where id >= E",
  doc: "Products of all experts with all tokens; rows of no expert take nothing.",
};

export const denseExperts: Pass = {
  name: "dense-experts",
  doc: "Every expert computes every token where that is estimated to take the least time, and each row takes that of its own.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs",
  needs: ["primitive"],
  gives: [],
  run: (graph, c) => rewrite(graph, [{ ...everyExpert, ...ruleFor(c) }], c.lookup),
  changes: [everyExpert],
};

function ruleFor(passes: PassContext): Pick<Rule, "roots" | "apply"> {
  return {
    roots: ["grouped_linear"],
    apply(root, c) {
      if (
        !isRowProduct(root) ||
        c.isPrepared(root.results[0]!.id) ||
        leadsToProduct(root, root.inputs[3]!, c)
      )
        return null;
      const dense = new Dense(c, root);
      const unable = dense.unable();
      if (unable !== undefined) return c.refuse(unable);
      const { way, why } = dense.choose(passes);
      if (way !== "dense") return c.refuse(why);
      c.because(why);
      return [dense.make()];
    },
  };
}

/** Does another product of these experts come from it? Between them there are rows alone. */
function leadsToProduct(root: Node, ids: ValueId, c: RewriteContext): boolean {
  const { id, type } = root.results[0]!;
  const seen = new Set<ValueId>();
  const comesFrom = (x: ValueId): boolean => {
    if (x === id) return true;
    if (x === "" || seen.has(x)) return false;
    seen.add(x);
    const { shape } = c.type(x);
    if (shape.length === 0 || !sameDim(shape[0]!, type.shape[0]!)) return false;
    return c.producer(x)?.inputs.some(comesFrom) ?? false;
  };
  return readersOf(c, ids).some((n) => n !== root && isRowProduct(n) && comesFrom(n.inputs[0]!));
}

class Dense {
  readonly #c: RewriteContext;
  readonly #root: Node;
  readonly #ids: ValueId;
  readonly #experts: Dim;
  readonly #made = new Map<ValueId, ValueId>();
  #rows!: TokenRows;

  constructor(c: RewriteContext, root: Node) {
    this.#c = c;
    this.#root = root;
    this.#ids = root.inputs[3]!;
    this.#experts = c.type(root.inputs[1]!).shape[0]!;
  }

  /** Why not every expert can compute every token; undefined where they can. */
  unable(): string | undefined {
    if (constantOf(this.#experts) === undefined) return "the number of experts is not known while compiling";
    return this.#check(this.#root.results[0]!.id);
  }

  choose(passes: PassContext): WayChoice {
    const { leading, k } = this.#rows;
    const weights = weightsOfExperts(this.#c.graph.nodes, (id) => this.#c.type(id), this.#ids);
    const rows = mulDim(productDim(leading), dim(k));
    return chooseWay({ rows, k, experts: constantOf(this.#experts)!, ...weights }, passes);
  }

  /** What stands in the way between here and the tokens; undefined where nothing does. */
  #check(id: ValueId): string | undefined {
    const c = this.#c;
    const n = c.producer(id);
    if (n && isRowProduct(n)) {
      if (n.inputs[3] !== this.#ids) return "a product of another routing stands before it";
      if (!c.isPrepared(n.inputs[1]!)) return "weights change between runs";
      return this.#check(n.inputs[0]!);
    }
    const rows = tokensOfRows(c, id);
    if (rows) {
      if (this.#rows && this.#rows.tokens !== rows.tokens) return "rows are of two kinds of tokens";
      this.#rows = rows;
      return undefined;
    }
    if (!n?.op.traits.includes("elementwise"))
      return `${n?.op.name ?? "an input"} stands between the products and the tokens`;
    for (const x of n.inputs) {
      if (c.constant(x) !== undefined) continue;
      const reason = this.#check(x);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }

  /** The rows of the root, each from the result of its own expert. */
  make(): ValueId {
    const c = this.#c;
    const { leading, k } = this.#rows;
    const tokens = productDim(leading);
    const width = c.type(this.#root.results[0]!.id).shape[1]!;
    const rows = [mulDim(tokens, this.#experts), width];
    const all = c.add("reshape", [this.#dense(this.#root.results[0]!.id)], { dims: rows });
    const number = (value: number): ValueId => c.add("constant", [], { value, dtype: "u32" });
    const own = reshapeTo(c, this.#ids, [tokens, dim(k)]);
    const token = c.add("iota", [], { dims: [tokens, dim(1)], axis: 0, dtype: "u32" });
    const at = c.add("add", [c.add("mul", [token, number(constantOf(this.#experts)!)]), own]);
    const exists = c.add("less", [own, number(constantOf(this.#experts)!)]);
    const index = c.add("where", [exists, at, number(0xffffffff)]);
    return c.add("take_rows", [all, c.add("reshape", [index], { dims: [mulDim(tokens, dim(k))] })]);
  }

  /** [tokens, experts * channels]: the value of every row, had it been of any expert. */
  #dense(id: ValueId): ValueId {
    const known = this.#made.get(id);
    if (known !== undefined) return known;
    const c = this.#c;
    const n = c.producer(id)!;
    const tokens = productDim(this.#rows.leading);
    const width = c.type(id).shape[1]!;
    const all = [tokens, mulDim(this.#experts, width)];
    let made: ValueId;
    if (isRowProduct(n)) {
      c.matched(n);
      made = this.#product(n, tokens, width);
    } else if (tokensOfRows(c, id)) {
      const apart = reshapeTo(c, this.#rows.tokens, [tokens, dim(1), width]);
      const spread = c.add("broadcast_to", [apart], { dims: [tokens, this.#experts, width] });
      made = c.add("reshape", [spread], { dims: all });
    } else {
      c.matched(n);
      const inputs = n.inputs.map((x) => (c.constant(x) === undefined ? this.#dense(x) : x));
      made = c.add(n.op.name, inputs, n.attrs);
    }
    this.#made.set(id, made);
    return made;
  }

  #product(n: Node, tokens: Dim, width: Dim): ValueId {
    const c = this.#c;
    const [x, weight, bias] = n.inputs as readonly [ValueId, ValueId, ValueId | undefined];
    const into = c.type(weight).shape[2]!;
    const all = mulDim(this.#experts, width);
    if (tokensOfRows(c, x)) {
      const given = reshapeTo(c, this.#rows.tokens, [tokens, into]);
      const stacked = c.add("reshape", [weight], { dims: [all, into] });
      return c.add("linear", [given, stacked, bias ? c.add("reshape", [bias], { dims: [all] }) : undefined]);
    }
    // Tokens of each expert, and back: movements, done where they are read.
    const apart = c.add("reshape", [this.#dense(x)], { dims: [tokens, this.#experts, into] });
    const byExpert = c.add("transpose", [apart], { perm: [1, 0, 2] });
    let y = c.add("matmul", [byExpert, weight], { transpose_b: true });
    if (bias) y = c.add("add", [y, c.add("reshape", [bias], { dims: [this.#experts, dim(1), width] })]);
    return c.add("reshape", [c.add("transpose", [y], { perm: [1, 0, 2] })], { dims: [tokens, all] });
  }
}
