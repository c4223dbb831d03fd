// Arithmetic on literals is done by the compiler, with the op's own reference in f64. Weights are not literals: what depends on them is
// the prepare program's.

import type { Node } from "../ir/graph.ts";
import type { ReferenceContext } from "../ir/op.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import { tensor, zeros } from "../ir/tensor.ts";
import { Bug } from "../support/bug.ts";
import { allOps } from "../ops/index.ts";
import type { Pass } from "./pass.ts";

const foldable = allOps.filter(
  (op) =>
    op.inputs.length > 0 &&
    op.lowering.kind === "element" &&
    (op.traits.includes("elementwise") || (op.traits.includes("movement") && op.inputs.length === 1)),
);

const foldLiterals: Rule = {
  name: "fold-literals",
  equation: "f(1, 2) = the number",
  doc: "One element is computed, because all are equal.",
  roots: foldable.map((op) => op.name),
  apply(root, c) {
    const values = root.inputs.map((x) => (x === "" ? undefined : c.constant(x)));
    if (root.results.length !== 1 || values.some((v) => v === undefined)) return null;
    const { dtype, shape } = c.type(root.results[0]!.id);
    // A half is rounded where it is stored, a literal is not.
    if (dtype === "f16") return null;
    const moves = root.op.traits.includes("movement");
    // Padding puts another number around it.
    if (moves && "value" in root.attrs) return null;
    const value = moves ? values[0]! : compute(root, values as readonly number[], c);
    // Beyond f32 is infinite for a kernel.
    if (!Number.isFinite(Math.fround(value)))
      return c.refuse(`the result is ${value}, which kernels have no literal for`);
    for (const x of root.inputs) {
      const producer = c.producer(x);
      if (producer) c.matched(producer);
    }
    return [c.add("constant", [], { value, dtype, shape })];
  },
};

/** The op's reference, on scalars. */
function compute(node: Node, values: readonly number[], c: RewriteContext): number {
  const { op, attrs } = node;
  const inputs = node.inputs.map((x, i) => tensor(c.type(x).dtype, [], [values[i]!], "f64"));
  const at = (name: string) => inputs[op.inputs.findIndex((x) => x.name === name)];
  const context: ReferenceContext = {
    attrs,
    precision: "f64",
    count: inputs.length,
    shapes: [[]],
    has: (name) => at(name) !== undefined,
    input(name) {
      const value = at(name);
      if (!value) throw new Bug(`${op.name} was not given ${name}`);
      return value;
    },
    result: () => zeros(c.type(node.results[0]!.id).dtype, [], "f64"),
    size() {
      throw new Bug(`${op.name} is elementwise and has no sizes`);
    },
  };
  return op.reference(context)[0]!.data[0]!;
}

export const foldConstants: Pass = {
  name: "fold-constants",
  doc: "Arithmetic on literals is done here, in f64.",
  level: 1,
  numerics: "exact",
  needs: [],
  gives: [],
  rules: [foldLiterals],
};
