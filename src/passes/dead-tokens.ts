// Where only some rows of a value are read (a class token, the last token), only those are computed: the slice goes in front of what
// made them. How axes relate is on the op's record, so this holds for any op whose result row needs that row of its inputs alone.

import type { ValueId } from "../ir/graph.ts";
import type { Rule } from "../ir/rewrite-types.ts";
import { axisOf } from "../ops/define.ts";
import { namesSizes } from "./match.ts";
import type { Pass } from "./pass.ts";

const sliceFirst: Rule = {
  name: "slice-first",
  equation: "slice(f(x)) = f(slice(x))   if f is row-wise along the axis and nothing else reads f(x)",
  doc: "Linear layers, elementwise ops and norms over channels are row-wise along the tokens; attention and pooling are not.",
  roots: ["slice"],
  apply(root, c) {
    const node = c.soleProducer(root.inputs[0]!);
    if (!node || node.body || node.results.length !== 1 || node.inputs.length === 0) {
      const maker = c.producer(root.inputs[0]!);
      return maker && !node ? c.refuse(`other readers need the whole result of ${maker.op.name}`) : null;
    }
    // Slices of different axes would trade places for ever.
    if (c.isPrepared(root.inputs[0]!) || node.op.name === "slice") return null;
    const sliced = axisOf(root.attrs, "axis", c.type(root.inputs[0]!).shape.length);
    // What the result says of sizes would no longer be true.
    if (namesSizes(node)) return c.refuse(`${node.op.name} names the sizes of its result`);
    const types = node.inputs.map((x) => (x === "" ? undefined : c.type(x)));
    const relations = node.op.axes(types, node.attrs);
    const inputs: (ValueId | undefined)[] = [];
    let cut = 0;
    for (const [i, x] of node.inputs.entries()) {
      const relation = (relations[i] ?? []).map((r, axis) => ({ r, axis }));
      const other = relation.find(({ r }) => r.kind === "other");
      if (other) return c.refuse(`${node.op.name} moves values across the axis`);
      const tied = relation.filter(({ r }) => "axis" in r && r.axis === sliced);
      const bad = tied.find(({ r }) => r.kind !== "same" && r.kind !== "broadcast");
      if (bad) return c.refuse(`${node.op.name} mixes positions of the axis`);
      const same = tied.find(({ r }) => r.kind === "same");
      if (x === "" || !same) inputs.push(x === "" ? undefined : x);
      else {
        inputs.push(c.add("slice", [x], { ...root.attrs, axis: same.axis }));
        cut++;
      }
    }
    if (cut === 0) return null;
    c.matched(node);
    return [c.add(node.op.name, inputs, node.attrs)];
  },
};

export const deadTokens: Pass = {
  name: "dead-tokens",
  doc: "Compute only the tokens that are read.",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  rules: [sliceFirst],
};
