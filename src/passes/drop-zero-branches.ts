// Residual branches that a checkpoint has scaled to zero (a pruned block, a LayerScale of zeros). Whether it has is not known when
// compiling, so each one dropped leaves a guard: a condition made from weights alone that the loader checks.

import {
  GraphBuilder,
  preparedValues,
  typesOf,
  unionSpans,
  type Graph,
  type Guard,
  type Node,
  type ValueId,
} from "../ir/graph.ts";
import { printNode } from "../ir/print.ts";
import { countUses, removeDead, renameUses } from "../ir/rewrite.ts";
import type { RewriteEvent } from "../ir/rewrite-types.ts";
import { sameShape } from "../ir/types.ts";
import type { Pass, PassContext, PassResult } from "./pass.ts";

export const dropZeroBranches: Pass = {
  name: "drop-zero-branches",
  doc: "x + m * s is x where the weights s are all zero, which is checked at load.",
  level: 3,
  numerics: "reassociates",
  domain: "finite inputs, and weights for which the guards hold",
  needs: [],
  gives: [],
  run,
};

/** `x + m * s`, s prepared: what stays, and what must be zero. */
interface Branch {
  readonly sum: Node;
  readonly product: Node;
  readonly kept: ValueId;
  readonly scale: ValueId;
}

function run(graph: Graph, c: PassContext): PassResult {
  const branches = findBranches(graph);
  if (branches.length === 0) return { graph, events: [], refusals: [] };
  const types = typesOf(graph);
  const builder = new GraphBuilder(graph.name, c.lookup, graph.nextId);
  const guards: Guard[] = [];
  const conditions = new Map<ValueId, ValueId>();
  for (const { scale, sum, product } of branches) {
    const spans = unionSpans(product.spans, sum.spans);
    let condition = conditions.get(scale);
    if (condition === undefined) {
      if (!builder.has(scale)) builder.declare(scale, types.get(scale)!);
      const options = { spans, scope: product.scope };
      const axes = types.get(scale)!.shape.map((_, i) => i);
      const sizes = builder.call("abs", [scale], {}, options);
      const largest = builder.call("reduce_max", [sizes], { axes }, options);
      const zero = builder.call("constant", [], { value: 0 }, options);
      condition = builder.call("equal", [largest, zero], {}, options);
      conditions.set(scale, condition);
    }
    guards.push({ pass: "drop-zero-branches", condition, spans });
  }
  const renamed = renameUses(
    { ...graph, nodes: [...graph.nodes, ...builder.nodes], nextId: builder.nextId },
    new Map(branches.map(({ sum, kept }) => [sum.results[0]!.id, kept])),
  );
  const events = branches.map(({ sum, product, kept }, i): RewriteEvent => ({
    rule: "zero-branch",
    before: [printNode(product), printNode(sum)],
    after: [`${sum.results[0]!.id} is now ${kept}`],
    removed: [product, sum].flatMap((n) => n.results.map((r) => r.id)),
    added: [guards[i]!.condition],
    spans: guards[i]!.spans,
  }));
  return {
    graph: removeDead({ ...renamed, guards: [...renamed.guards, ...guards] }),
    events,
    refusals: [],
  };
}

function findBranches(graph: Graph): readonly Branch[] {
  const types = typesOf(graph);
  const prepared = preparedValues(graph);
  const uses = countUses(graph);
  const producers = new Map(graph.nodes.flatMap((n) => n.results.map((r) => [r.id, n] as const)));
  return graph.nodes.flatMap((sum): Branch[] => {
    if (sum.op.name !== "add" || sum.annotations.length > 0) return [];
    const type = sum.results[0]!.type;
    const [a, b] = sum.inputs as readonly [ValueId, ValueId];
    for (const [kept, branch] of [
      [a, b],
      [b, a],
    ] as const) {
      const product = producers.get(branch);
      const scale = product?.op.name === "mul" ? product.inputs.find((x) => prepared.has(x)) : undefined;
      const fits = sameShape(types.get(kept)!.shape, type.shape) && type.dtype === "f32";
      if (product && scale !== undefined && fits && !prepared.has(branch) && uses.get(branch) === 1)
        return [{ sum, product, kept, scale }];
    }
    return [];
  });
}
