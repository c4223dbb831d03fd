// A mean of what routed experts give: the last product of an expert is linear, so what it reads is added up for each expert first, weighted
// by the gates, and the product is made once for each expert of a sample instead of once for each token and choice.

import { addDim, constantOf, dim, mulDim, productDim, type Dim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import { typicalOf } from "../ir/positions.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { axesOf, numberOf, numbersOf } from "../ops/define.ts";
import { allF32, operandWhere, reshapeTo, scalar } from "./match.ts";

/** sum over the choices of gate * product, as std/experts puts them together: [..., choices, channels] without the choices. */
export interface RoutedSum {
  readonly nodes: readonly Node[];
  readonly product: Node;
  /** [..., choices, 1]. */
  readonly gates: ValueId;
  /** The axes in front of the choices. */
  readonly leading: readonly Dim[];
  readonly choices: Dim;
}

export function routedSum(c: RewriteContext, id: ValueId): RoutedSum | undefined {
  const sum = c.soleProducer(id, "sum");
  const weighted = sum && c.soleProducer(sum.inputs[0]!, "mul");
  if (!sum || !weighted || sum.attrs["keepdims"] === true) return undefined;
  const { shape } = c.type(sum.inputs[0]!);
  const rank = shape.length;
  const [only, ...more] = axesOf(sum.attrs, "axes", rank);
  const match = operandWhere(weighted, (g) => constantOf(c.type(g).shape.at(-1)!) === 1);
  if (rank < 3 || only !== rank - 2 || more.length > 0 || !match) return undefined;
  const turned = c.soleProducer(match.other, "reshape");
  const product = turned && c.soleProducer(turned.inputs[0]!, "grouped_linear");
  if (!turned || !product || numberOf(product.attrs, "tile") !== 1) return undefined;
  const [x, weight, bias] = product.inputs;
  const known = c.isPrepared(weight!) && (!bias || c.isPrepared(bias));
  if (!known || c.isPrepared(x!) || !allF32(c, [x, weight, bias, match.found])) return undefined;
  if (c.type(match.found).shape.length !== rank || c.type(match.other).shape.length !== rank)
    return undefined;
  return {
    nodes: [sum, weighted, turned, product],
    product,
    gates: match.found,
    leading: shape.slice(0, rank - 2),
    choices: shape[rank - 2]!,
  };
}

export const meanOfRouted: Rule = {
  name: "mean-of-routed",
  equation:
    "mean over t of sum over k of g[t, k] (W[e[t, k]] h[t, k] + b[e[t, k]]) = 1/T sum over e of (W[e] S[e] + b[e] G[e]),  S[e] = sum of g h, G[e] = sum of g where e[t, k] = e,  and for sums",
  doc: "The last product of routed experts, once for each expert of a sample.",
  roots: ["mean", "sum"],
  apply(root, c) {
    // An image's channels are turned in front after its experts.
    const turned = c.soleProducer(root.inputs[0]!, "transpose");
    const routed = routedSum(c, turned ? turned.inputs[0]! : root.inputs[0]!);
    if (!routed) return null;
    const rank = routed.leading.length + 1;
    const perm = turned ? numbersOf(turned.attrs, "perm") : Array.from({ length: rank }, (_, i) => i);
    const reduced = axesOf(root.attrs, "axes", rank).map((a) => perm[a]!);
    const first = rank - 1 - reduced.length;
    const kept = perm.filter((a) => !reduced.includes(a));
    if (reduced.some((a) => a < first || a === rank - 1) || kept.some((a, i) => i > 0 && a < kept[i - 1]!))
      return c.refuse("what is averaged is not all positions of a sample, or the channels too");
    const [x, weight, bias, ids] = routed.product.inputs as readonly ValueId[];
    const [experts, out, into] = c.type(weight!).shape as readonly [Dim, Dim, Dim];
    const samples = routed.leading.slice(0, first);
    const rows = mulDim(productDim(routed.leading.slice(first)), routed.choices);
    const sums = mulDim(experts, addDim(rows, out));
    if (typicalOf(sums) >= typicalOf(mulDim(rows, out)))
      return c.refuse("with so few rows for so many experts the sums are as much work as the products");
    c.matched(...routed.nodes, ...(turned ? [turned] : []));

    const wide = (...behind: readonly Dim[]): readonly Dim[] => [productDim(samples), rows, ...behind];
    const gates = reshapeTo(c, routed.gates, wide(dim(1)));
    const index = reshapeTo(c, ids!, wide());
    const perExpert = (v: ValueId) => c.add("segment_reduce", [v, index], { axis: 1, segments: experts });
    const added = perExpert(c.add("mul", [reshapeTo(c, x!, wide(into)), gates]));
    const joined = reshapeTo(c, added, [productDim(samples), mulDim(experts, into)]);
    const flat = c.add("reshape", [c.add("transpose", [weight!], { perm: [1, 0, 2] })], {
      dims: [out, mulDim(experts, into)],
    });
    let y = c.add("linear", [joined, flat]);
    if (bias) {
      const shares = reshapeTo(c, perExpert(gates), [productDim(samples), experts]);
      y = c.add("add", [y, c.add("linear", [shares, c.add("transpose", [bias], { perm: [1, 0] })])]);
    }
    if (root.op.name === "mean") y = c.add("div", [y, countOf(c, routed.leading.slice(first))]);
    return [reshapeTo(c, y, c.type(root.results[0]!.id).shape)];
  },
};

/** How many positions there are, as a number. */
function countOf(c: RewriteContext, sizes: readonly Dim[]): ValueId {
  const count = constantOf(productDim(sizes));
  if (count !== undefined) return scalar(c, count);
  return c.add("size", [], { of: productDim(sizes) });
}
