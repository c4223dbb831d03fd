// What a router and the sum behind its experts can be said more simply as, before anything is chosen about how experts are computed.

import { constantOf } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { sameShape } from "../ir/types.ts";
import { flagOf, numberOf, textOf } from "../ops/define.ts";
import { isRowProduct } from "./expert-rows.ts";
import { reshapeTo } from "./match.ts";
import type { Pass } from "./pass.ts";

/**
 * Softmax keeps the order of logits, so that the choice, of groups by their best expert too, is the same; and the sum over all experts
 * cancels where weights are divided by theirs.
 */
const softmaxOfChosen: Rule = {
  name: "softmax-of-chosen",
  equation:
    "s[id] / sum over chosen of s,  s = softmax(z),  id = top_k(s)  =  softmax(z[id]),  id = top_k(z);  no bias, nothing added to the sum",
  doc: "Where weights are divided by their sum, the softmax is of the chosen logits alone: no sweep over all experts before them.",
  roots: ["route"],
  apply(root, c) {
    if (textOf(root.attrs, "scores") !== "softmax" || textOf(root.attrs, "weights") !== "scores") return null;
    const reason = whyAllCount(root);
    if (reason !== undefined) return c.refuse(reason);
    // Of weightless experts the others' shares are of a smaller sum, by which they are divided still.
    const renorm = numberOf(root.attrs, "weightless") >= 0;
    const changed = { ...root.attrs, scores: "logits", weights: "softmax", renorm };
    return c.producer(c.add("route", root.inputs, changed))!.results.map((r) => r.id);
  },
};

function whyAllCount(root: Node): string | undefined {
  if (!flagOf(root.attrs, "renorm"))
    return "weights are shares of all experts: they are not divided by their sum";
  if (numberOf(root.attrs, "eps") !== 0) return "a number is added to the sum that weights are divided by";
  if (root.inputs[1]) return "a bias is added to the scores, not to the logits, before the choice";
  if (numberOf(root.attrs, "groups") > 1 && textOf(root.attrs, "group_score") !== "max")
    return "groups are compared by a sum of scores, which softmax does not keep in order";
  return undefined;
}

/** Of one choice there is no sum: the weight is a factor of the product's rows, in its own kernel where rows are as tokens are. */
const oneChoice: Rule = {
  name: "one-choice",
  equation: "reshape(reshape(E[id](x), [T, 1, d]) * w[T, 1, 1], [T, d]) = E[id](x) * reshape(w, [T, 1])",
  doc: "With one choice for each token the weight is multiplied behind the last product, and nothing is left of the sum over choices.",
  roots: ["reshape"],
  apply(root, c) {
    const scaled = c.soleProducer(root.inputs[0]!, "mul");
    if (!scaled) return null;
    for (const [rows, weights] of [scaled.inputs, [...scaled.inputs].reverse()] as [ValueId, ValueId][]) {
      const product = productBehind(c, rows, root);
      const own = c.type(weights).shape;
      if (!product || own.length !== 3 || constantOf(own[1]!) !== 1 || constantOf(own[2]!) !== 1) continue;
      c.matched(scaled);
      return [c.add("mul", [product, reshapeTo(c, weights, [own[0]!, own[2]!])])];
    }
    return null;
  },
};

/** The product of which `rows` are the same rows with an axis of one choice; of the shape of `root`. */
function productBehind(c: RewriteContext, rows: ValueId, root: Node): ValueId | undefined {
  const apart = c.producer(rows);
  if (apart?.op.name !== "reshape" || !isRowProduct(c.producer(apart.inputs[0]!))) return undefined;
  const { shape } = c.type(rows);
  const same = sameShape(c.type(apart.inputs[0]!).shape, root.results[0]!.type.shape);
  return same && shape.length === 3 && constantOf(shape[1]!) === 1 ? apart.inputs[0]! : undefined;
}

export const simplifyRouting: Pass = {
  name: "simplify-routing",
  doc: "Softmax of the chosen logits alone where weights are divided by their sum; no sum over one choice.",
  level: 1,
  numerics: "reassociates",
  domain: "logits within 80 of the largest, so that no score is 0",
  needs: ["primitive"],
  gives: [],
  rules: [softmaxOfChosen, oneChoice],
};
