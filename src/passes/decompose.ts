// Expands every op that is written with other ops (norms, softmax, variance) into them, where it stands, keeping its lines and scope.
// Late, because the passes before match the whole norm.

import { GraphBuilder, type Node, type ValueId } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import { rewrite } from "../ir/rewrite.ts";
import type { TensorType } from "../ir/types.ts";
import type { RewriteContext, Rule } from "../ir/rewrite-types.ts";
import type { Pass, PassResult } from "./pass.ts";

export const decompose: Pass = {
  name: "decompose",
  doc: "Write norms, softmax and their like with reductions and elementwise ops.",
  level: 0,
  numerics: "reassociates",
  domain: "finite inputs; the definition's own order of operations against the op's plain loops",
  needs: [],
  gives: ["primitive"],
  run(graph, c): PassResult {
    const roots = new Set(
      graph.nodes.filter((n) => n.op.lowering.kind === "decompose" || n.op.expand).map((n) => n.op.name),
    );
    return rewrite(graph, [expandRule([...roots], c.lookup)], c.lookup);
  },
};

/** One rule for all: what an op is made of is on its record. */
function expandRule(roots: readonly string[], lookup: OpLookup): Rule {
  return {
    name: "decompose",
    equation: "op(x) = its definition",
    doc: "What an op is made of is on its record.",
    roots,
    apply: (root, c) => expand(root, root.inputs, c, lookup),
  };
}

/** Ids of a scratch builder, out of reach of the graph's own. */
const SCRATCH = 2 ** 40;

function expand(
  node: Node,
  inputs: readonly ValueId[],
  c: RewriteContext,
  lookup: OpLookup,
): readonly ValueId[] | null {
  const scratch = new GraphBuilder(node.op.name, lookup, SCRATCH);
  const results = expansion(scratch, node, inputs, c.type.bind(c));
  if (!results) return null;
  const made = new Map<ValueId, ValueId>();
  const real = (x: ValueId): ValueId => made.get(x) ?? x;
  for (const n of scratch.nodes) {
    const from = n.inputs.map(real);
    // A definition may use ops that have definitions.
    const nested = expand(n, from, c, lookup);
    const ids = nested ?? resultsOf(c, n, from);
    n.results.forEach((r, i) => made.set(r.id, ids[i]!));
  }
  return results.map(real);
}

function resultsOf(c: RewriteContext, n: Node, inputs: readonly ValueId[]): readonly ValueId[] {
  const given = inputs.map((x) => (x === "" ? undefined : x));
  const first = c.add(n.op.name, given, n.attrs);
  return n.results.length === 1 ? [first] : c.producer(first)!.results.map((r) => r.id);
}

/** The definition of this call, built in `scratch`; undefined where a kernel can be made of it as it stands. */
export function expansion(
  scratch: GraphBuilder,
  node: Node,
  inputs: readonly ValueId[],
  type: (id: ValueId) => TensorType,
): readonly ValueId[] | undefined {
  const { op, attrs } = node;
  const { lowering } = op;
  if (lowering.kind !== "decompose" && !op.expand) return undefined;
  for (const x of new Set(inputs)) if (x !== "") scratch.declare(x, type(x));
  const given = inputs.map((x) => (x === "" ? undefined : x));
  return (
    op.expand?.(scratch, given, attrs) ??
    (lowering.kind === "decompose" ? lowering.decompose(scratch, given, attrs) : undefined)
  );
}
