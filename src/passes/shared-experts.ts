// Shared experts are experts that every token has: a network as wide as `s` routed ones, of the same form, is `s` slots more for each
// token, with the weight 1 (or the gate it has). Its weights join the stacks, in the prepare program, in front of the others; its rows join
// the rows that are sorted. Two dispatches less a layer, and the products of the shared network fill the grid of the routed ones.

import { constantOf, dim, mulDim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import { rewrite } from "../ir/rewrite.ts";
import type { RewriteContext, Rule, RuleDoc } from "../ir/rewrite-types.ts";
import { bytesOf, sameShape } from "../ir/types.ts";
import { chooseWay, numberFor, weightsOfExperts } from "./expert-cost.ts";
import { isRowProduct, tokensOfRows } from "./expert-rows.ts";
import { reshapeTo } from "./match.ts";
import type { Pass, PassContext } from "./pass.ts";

const slotsOfShared: RuleDoc = {
  name: "shared-as-slots",
  equation:
    "sum over k of w[k] E[id[k]](x) + g S(x) = sum over s of g E'[s](x) + sum over k of w[k] E'[id[k] + s](x),  E' = slices of S, then E",
  doc: "The hidden units of S are those of s experts side by side: each is computed by itself, and the last product sums over them.",
};

export const sharedExperts: Pass = {
  name: "shared-experts",
  doc: "Shared experts become slots of the routed ones' products, where they are of the same form and a multiple of their width.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs",
  needs: ["primitive"],
  gives: [],
  run: (graph, c) => rewrite(graph, [{ ...slotsOfShared, ...ruleFor(c) }], c.lookup),
  changes: [slotsOfShared],
};

function ruleFor(passes: PassContext): Pick<Rule, "roots" | "apply"> {
  return {
    roots: ["add"],
    apply(root, c) {
      const [a, b] = root.inputs as readonly [ValueId, ValueId];
      const routed = routedOf(c, b) ?? routedOf(c, a);
      if (!routed) return null;
      const shared = sharedOf(c, routed.result === b ? a : b);
      if (!shared) return null;
      const joining = new Joining(c, routed, shared, passes);
      const reason = joining.reason();
      return reason === undefined ? [joining.join()] : c.refuse(reason);
    },
  };
}

// ---- what there is ---------------------------------------------------------------------------------------------------

/** The sum over the choices of each token: sum(reshape(product of rows) * unsqueeze(weights)). */
interface Routed {
  readonly result: ValueId;
  readonly sum: Node;
  readonly last: Node;
  /** [..., k] */
  readonly weights: ValueId;
  /** Sizes of the tokens, and their choices. */
  readonly leading: readonly Dim[];
  readonly k: number;
  /** [N], of every product of these experts. */
  readonly ids: ValueId;
  readonly count: number;
}

/** What is stored in f16 is widened where it is summed: the value before that. */
function stored(c: RewriteContext, id: ValueId): ValueId {
  const maker = c.producer(id);
  const [from] = maker?.op.name === "cast" ? maker.inputs : [];
  return from !== undefined && c.type(from).dtype === "f16" ? from : id;
}

function routedOf(c: RewriteContext, result: ValueId): Routed | undefined {
  const sum = c.producer(result);
  const scaled = sum?.op.name === "sum" ? c.producer(sum.inputs[0]!) : undefined;
  if (!sum || scaled?.op.name !== "mul") return undefined;
  for (const [rows, weights] of [scaled.inputs, [...scaled.inputs].reverse()] as [ValueId, ValueId][]) {
    const shaped = c.producer(stored(c, rows));
    const last = shaped?.op.name === "reshape" ? c.producer(shaped.inputs[0]!) : undefined;
    const column = c.producer(weights);
    if (!last || !isRowProduct(last) || !column || !["unsqueeze", "reshape"].includes(column.op.name))
      continue;
    const shape = c.type(rows).shape;
    const k = constantOf(shape.at(-2)!);
    const count = constantOf(c.type(last.inputs[1]!).shape[0]!);
    const own = c.type(column.inputs[0]!).shape;
    const axes = sum.attrs["axes"] as readonly number[];
    const overSlots = axes.length === 1 && (axes[0] === shape.length - 2 || axes[0] === -2);
    if (k === undefined || count === undefined || !overSlots || sum.attrs["keepdims"] === true) continue;
    if (!sameShape(own, shape.slice(0, -1))) continue;
    const ids = last.inputs[3]!;
    return { result, sum, last, weights: column.inputs[0]!, leading: own.slice(0, -1), k, ids, count };
  }
  return undefined;
}

interface Shared {
  readonly result: ValueId;
  readonly last: Node;
  /** [..., 1] */
  readonly gate: ValueId | undefined;
}

function sharedOf(c: RewriteContext, result: ValueId): Shared | undefined {
  const maker = c.producer(stored(c, result));
  if (maker?.op.name === "linear") return { result, last: maker, gate: undefined };
  if (maker?.op.name !== "mul") return undefined;
  for (const [y, gate] of [maker.inputs, [...maker.inputs].reverse()] as [ValueId, ValueId][]) {
    const last = c.producer(stored(c, y));
    const { shape } = c.type(gate);
    const isColumn = shape.length === c.type(y).shape.length && constantOf(shape.at(-1)!) === 1;
    if (last?.op.name === "linear" && isColumn) return { result, last, gate };
  }
  return undefined;
}

// ---- what becomes of it ----------------------------------------------------------------------------------------------

class Joining {
  readonly #c: RewriteContext;
  readonly #routed: Routed;
  readonly #shared: Shared;
  readonly #passes: PassContext;
  readonly #joined = new Map<ValueId, ValueId>();
  #slices = 0;

  constructor(c: RewriteContext, routed: Routed, shared: Shared, passes: PassContext) {
    this.#c = c;
    this.#routed = routed;
    this.#shared = shared;
    this.#passes = passes;
  }

  /** Why not; undefined where it can be and is worth it. */
  reason(): string | undefined {
    const c = this.#c;
    const { sum, last, leading, k, count } = this.#routed;
    const [own, wide] = [last, this.#shared.last].map((n) => c.type(n.inputs[1]!).shape.at(-1)!) as [
      Dim,
      Dim,
    ];
    const slices = (constantOf(wide) ?? NaN) / (constantOf(own) ?? NaN);
    if (!Number.isInteger(slices))
      return `the shared network is ${wide.key} wide, which is no multiple of an expert's ${own.key}`;
    this.#slices = slices;
    const { result, gate } = this.#shared;
    // A lossless pass must not round anywhere else.
    if (c.type(last.results[0]!.id).dtype === "f16" && (slices > 1 || gate !== undefined))
      return `in f16 the shared network is rounded once, ${gate ? "behind its gate" : "and its slices each would be"}`;
    if ([sum.results[0]!.id, result, stored(c, result)].some((id) => c.uses(id) !== 1))
      return "the sum of the routed or of the shared experts is read elsewhere too";
    if (!sameShape(c.type(this.#shared.result).shape, c.type(sum.results[0]!.id).shape))
      return "the shared network is not over the same tokens";
    const unlike = this.#unlike(this.#shared.last.results[0]!.id, last.results[0]!.id);
    if (unlike !== undefined) return unlike;
    const tokens = productDim(leading);
    const weights = weightsOfExperts(c.graph.nodes, (id) => c.type(id), this.#routed.ids);
    const slots = k + slices;
    const layer = { rows: mulDim(tokens, dim(slots)), k: slots, experts: count + slices, ...weights };
    const { way, why } = chooseWay(layer, this.#passes, ["gather", "sort"]);
    if (way === "gather" && (this.#passes.experts === "gather" || numberFor(tokens, this.#passes) !== 1))
      return `rows would not be sorted, and each would read the shared weights by itself (${why})`;
    return undefined;
  }

  /** Where the two are not the same function of the same tokens; undefined where they are. */
  #unlike(shared: ValueId, routed: ValueId): string | undefined {
    const c = this.#c;
    const [a, b] = [c.producer(shared), c.producer(routed)];
    if (b && isRowProduct(b)) return a?.op.name === "linear" ? this.#unlikeProducts(a, b) : different(a, b);
    if (this.#isRows(routed, shared)) return undefined;
    if (!a || !b || a.op !== b.op || !b.op.traits.includes("elementwise")) return different(a, b);
    if (Object.entries(a.attrs).some(([name, value]) => b.attrs[name] !== value))
      return `${b.op.name} has other attributes in the shared network`;
    for (const [i, x] of b.inputs.entries()) {
      const y = a.inputs[i]!;
      if (x === y || (c.constant(x) !== undefined && c.constant(x) === c.constant(y))) continue;
      const reason = this.#unlike(y, x);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }

  #unlikeProducts(a: Node, b: Node): string | undefined {
    const c = this.#c;
    const [weight, stack] = [a.inputs[1]!, b.inputs[1]!];
    if (b.inputs[3] !== this.#routed.ids) return "the routed experts are those of two routings";
    if (![weight, stack, a.inputs[2], b.inputs[2]].every((x) => !x || c.isPrepared(x)))
      return "weights change between runs, so they cannot be stacked at load";
    if (c.type(weight).dtype !== c.type(stack).dtype) return "the shared weights have another element type";
    if (Boolean(a.inputs[2]) !== Boolean(b.inputs[2]))
      return "one of the two has a bias, and the other has not";
    const [out, into] = this.#widths(weight, stack);
    if (out === undefined || into === undefined || (out && into))
      return "a product of the shared network is no stack of the experts'";
    if (into && this.#slices > 1 && a.inputs[2])
      return "the bias of the last product is of all slices at once";
    const { shape } = c.type(stack);
    const bytes = productDim([dim(this.#routed.count + this.#slices), ...shape.slice(1)]);
    const most = this.#passes.target.limits.maxStorageBufferBindingSize;
    if ((constantOf(bytes) ?? Infinity) * bytesOf[c.type(stack).dtype] > most)
      return `the stack with the shared weights would be larger than the target's ${most} bytes a binding`;
    return this.#unlike(a.inputs[0]!, b.inputs[0]!);
  }

  /** Is the output, is the input that of all slices? Undefined where it is neither of one nor of all. */
  #widths(weight: ValueId, stack: ValueId): readonly [boolean | undefined, boolean | undefined] {
    const [all, own] = [this.#c.type(weight).shape, this.#c.type(stack).shape.slice(1)];
    const of = (axis: number): boolean | undefined => {
      if (sameDim(all[axis]!, own[axis]!)) return false;
      return sameDim(all[axis]!, mulDim(own[axis]!, dim(this.#slices))) ? true : undefined;
    };
    return [of(0), of(1)];
  }

  /** Are these the tokens, each once for every choice? */
  #isRows(rows: ValueId, tokens: ValueId): boolean {
    const made = tokensOfRows(this.#c, rows);
    if (!made) return rows === tokens && this.#routed.k === 1;
    const { leading, k } = this.#routed;
    return made.tokens === tokens && made.k === k && sameShape(made.leading, leading);
  }

  // ---- the new layer ---------------------------------------------------------------------------------------------------

  join(): ValueId {
    const c = this.#c;
    const { leading, k, sum, last, weights, ids, count } = this.#routed;
    const { gate } = this.#shared;
    c.matched(sum, last, this.#shared.last);
    const slots = dim(k + this.#slices);
    const ahead = [...leading, dim(this.#slices)];
    const axis = leading.length;
    const positions = c.add("iota", [], {
      dims: [...leading.map(() => dim(1)), dim(this.#slices)],
      dtype: "u32",
    });
    const always = c.add("broadcast_to", [positions], { dims: ahead });
    // An id beyond the last expert stays beyond it.
    const number = (value: number): ValueId => c.add("constant", [], { value, dtype: "u32" });
    const within = c.add("minimum", [reshapeTo(c, ids, [...leading, dim(k)]), number(count)]);
    const moved = c.add("add", [within, number(this.#slices)]);
    const all = c.add("concat", [always, moved], { axis });
    const rows = mulDim(productDim(leading), slots);
    const newIds = c.add("reshape", [all], { dims: [rows] });
    const one = c.add("constant", [], { value: 1, dtype: c.type(weights).dtype });
    const own = c.add("broadcast_to", [gate ?? one], { dims: ahead });
    const newWeights = c.add("concat", [own, weights], { axis });
    const y = this.#join(this.#shared.last.results[0]!.id, last.results[0]!.id, newIds, rows, slots);
    const width = c.type(y).shape[1]!;
    const shaped = c.add("reshape", [y], { dims: [...leading, slots, width] });
    const { dtype } = c.type(weights);
    const wide = c.type(shaped).dtype === dtype ? shaped : c.add("cast", [shaped], { dtype });
    const scaled = c.add("mul", [wide, c.add("unsqueeze", [newWeights], { axes: [-1] })]);
    return c.add("sum", [scaled], sum.attrs);
  }

  #join(shared: ValueId, routed: ValueId, ids: ValueId, rows: Dim, slots: Dim): ValueId {
    const known = this.#joined.get(routed);
    if (known !== undefined) return known;
    const c = this.#c;
    const [a, b] = [c.producer(shared)!, c.producer(routed)!];
    let id: ValueId;
    if (isRowProduct(b)) {
      c.matched(a, b);
      const x = this.#join(a.inputs[0]!, b.inputs[0]!, ids, rows, slots);
      const [bias, biases] = [a.inputs[2], b.inputs[2]];
      const stack = this.#stack(a.inputs[1]!, b.inputs[1]!);
      id = c.add(
        "grouped_linear",
        [x, stack, bias && biases ? this.#stackBias(bias, biases) : undefined, ids],
        b.attrs,
      );
    } else if (this.#isRows(routed, shared)) {
      const { leading } = this.#routed;
      const width = c.type(shared).shape.at(-1)!;
      const apart = c.add("reshape", [shared], { dims: [...leading, dim(1), width] });
      const spread = c.add("broadcast_to", [apart], { dims: [...leading, slots, width] });
      id = c.add("reshape", [spread], { dims: [rows, width] });
    } else {
      c.matched(a, b);
      const inputs = b.inputs.map((x, i) =>
        x === a.inputs[i] || c.constant(x) !== undefined ? x : this.#join(a.inputs[i]!, x, ids, rows, slots),
      );
      id = c.add(b.op.name, inputs, b.attrs);
    }
    this.#joined.set(routed, id);
    return id;
  }

  /** The slices of a weight, in front of those of the experts: rows of what makes hidden units, columns of what reads them. */
  #stack(weight: ValueId, stack: ValueId): ValueId {
    const c = this.#c;
    const [, out, into] = c.type(stack).shape as readonly [Dim, Dim, Dim];
    const slices = dim(this.#slices);
    const [, columns] = this.#widths(weight, stack);
    const own = columns
      ? c.add("transpose", [c.add("reshape", [weight], { dims: [out, slices, into] })], { perm: [1, 0, 2] })
      : c.add("reshape", [weight], { dims: [slices, out, into] });
    return c.add("concat", [own, stack], { axis: 0 });
  }

  #stackBias(bias: ValueId, biases: ValueId): ValueId {
    const [, out] = this.#c.type(biases).shape as readonly [Dim, Dim];
    const own = this.#c.add("reshape", [bias], { dims: [dim(this.#slices), out] });
    return this.#c.add("concat", [own, biases], { axis: 0 });
  }
}

function different(a: Node | undefined, b: Node | undefined): string {
  const name = (n: Node | undefined): string => n?.op.name ?? "an input";
  return `the shared network has ${name(a)} where an expert has ${name(b)}`;
}
