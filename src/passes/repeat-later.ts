// What is the same at many positions is computed once and repeated afterwards: a layer of one vector for each sample (a question beside
// every region of an image, DynamicViT's global half, D2) or of a class token that is the same for all samples.

import { addDim, dim, productDim, sameDim, type Dim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { allOps } from "../ops/index.ts";
import { axisOf } from "../ops/define.ts";
import { layerOf, withInputs, type Layer } from "./match.ts";
import type { Pass } from "./pass.ts";

const unary = allOps
  .filter(
    (op) => op.traits.includes("elementwise") && op.inputs.length === 1 && !op.traits.includes("movement"),
  )
  .map((op) => op.name);

/** What a value is a repetition of, where its last axis is there in full. */
function repeated(c: RewriteContext, id: ValueId): { readonly node: Node; readonly x: ValueId } | undefined {
  const node = c.soleProducer(id, "broadcast_to");
  if (!node || c.isPrepared(id)) return undefined;
  const [x] = node.inputs as readonly [ValueId];
  const [from, to] = [c.type(x).shape, c.type(id).shape];
  const last = from.at(-1);
  const fewer = !sameDim(productDim(from), productDim(to));
  return last && sameDim(last, to.at(-1)!) && fewer ? { node, x } : undefined;
}

const repeatBehind: Rule = {
  name: "repeat-behind",
  equation: "f(repeat(x)) = repeat(f(x))   for layers over the last axis and elementwise f",
  doc: "Fewer rows go through the layer.",
  roots: ["linear", ...unary],
  apply(root, c) {
    const found = repeated(c, root.inputs[0]!);
    if (!found || (root.op.name === "linear" && !layerOf(c, root))) return null;
    c.matched(found.node);
    const made = c.add(root.op.name, [found.x, ...root.inputs.slice(1)], root.attrs);
    return [c.add("broadcast_to", [made], { dims: c.type(root.results[0]!.id).shape })];
  },
};

const layerOfJoined: Rule = {
  name: "layer-of-joined-repeat",
  equation: "W [a; repeat(g)] + b = Wa a + b + repeat(Wg g)   where [;] joins channels",
  doc: "The half that is the same at all positions goes through its columns of the weight once.",
  roots: ["linear"],
  apply(root, c) {
    const layer = layerOf(c, root);
    const joined = layer && c.soleProducer(layer.x, "concat");
    if (!layer || !joined || axisOf(joined.attrs, "axis", layer.rank) !== layer.axis) return null;
    const parts = joined.inputs.map((x) => ({ x, of: repeated(c, x) }));
    const own = parts.filter((p) => !p.of);
    if (own.length === parts.length || own.length === 0) return null;
    c.matched(joined, ...parts.flatMap((p) => p.of?.node ?? []));
    let start = dim(0);
    const columns = parts.map(({ x }) => {
      const size = c.type(x).shape[layer.axis]!;
      const cut = { from: start, size };
      start = addDim(start, size);
      return cut;
    });
    const weightOf = (i: number) => columnsOf(c, layer, columns[i]!.from, columns[i]!.size);
    const weights = parts.flatMap((p, i) => (p.of ? [] : [weightOf(i)]));
    const x = own.length === 1 ? own[0]!.x : c.add("concat", own.map((p) => p.x), joined.attrs); // prettier-ignore
    const weight = weights.length === 1 ? weights[0]! : c.add("concat", weights, { axis: 1 });
    const made = withInputs(c, layer, { x, weight });
    return [
      parts.reduce(
        (sum, p, i) => (p.of ? c.add("add", [sum, c.add("linear", [p.of.x, weightOf(i)])]) : sum),
        made,
      ),
    ];
  },
};

function columnsOf(c: RewriteContext, layer: Layer, from: Dim, size: Dim): ValueId {
  return c.add("slice", [layer.weight], { axis: 1, start: from, end: addDim(from, size) });
}

export const repeatLater: Pass = {
  name: "repeat-later",
  doc: "Compute once what is the same at many positions, and repeat the result.",
  level: 1,
  numerics: "reassociates",
  domain: "finite inputs",
  needs: [],
  gives: [],
  rules: [repeatBehind, layerOfJoined],
};
