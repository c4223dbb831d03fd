// Finds the blocks of attention encoders in a graph: x + attention(...) and then + MLP(...), whatever norms and scales are between.

import { constantOf } from "../ir/dim.ts";
import { typesOf, type Graph, type Node, type ValueId } from "../ir/graph.ts";
import type { Refusal } from "../ir/rewrite-types.ts";
import { sameShape, type TensorType } from "../ir/types.ts";

export interface Block {
  /** Its place among the blocks of the graph. */
  readonly index: number;
  /** Path of the labels around its sums, `blocks.3`; empty at the top. */
  readonly name: string;
  readonly attention: Node;
  /** The tokens that come in, [B, N, C]. */
  readonly input: ValueId;
  /** The sum behind attention, and the one behind the MLP where that was found. */
  readonly middle: ValueId;
  readonly output: ValueId | undefined;
  /** N. */
  readonly tokens: number;
}

/** Steps from attention to its sum: reshape, projection, scale. */
const STEPS = 8;

export function findBlocks(graph: Graph): {
  readonly blocks: readonly Block[];
  readonly refusals: readonly Refusal[];
} {
  const types = typesOf(graph);
  const readers = new Map<ValueId, Node[]>();
  for (const n of graph.nodes)
    for (const x of new Set(n.inputs)) readers.set(x, [...(readers.get(x) ?? []), n]);
  const blocks: Block[] = [];
  const refusals: Refusal[] = [];
  for (const n of graph.nodes.filter((x) => x.op.name === "attention")) {
    const found = blockOf(n, blocks.length, types, (id) => readers.get(id) ?? []);
    if (typeof found === "string")
      refusals.push({ rule: "reduce-tokens", reason: found, node: n.results[0]!.id, spans: n.spans });
    else blocks.push(found);
  }
  return { blocks, refusals };
}

function blockOf(
  attention: Node,
  index: number,
  types: ReadonlyMap<ValueId, TensorType>,
  readers: (id: ValueId) => readonly Node[],
): Block | string {
  const [q, k] = attention.inputs.map((x) => types.get(x)) as [TensorType, TensorType];
  if (q.shape[1]!.key !== k.shape[1]!.key) return "queries and keys are not the same tokens";
  const tokens = constantOf(q.shape[1]!);
  if (tokens === undefined) return `the number of tokens, ${q.shape[1]!.key}, is not known while compiling`;
  let value = attention.results[0]!.id;
  for (let step = 0; step < STEPS; step++) {
    const [next, ...more] = readers(value);
    if (!next) break;
    if (more.length > 0) return "what attention gives is read in several places";
    const sum = residual(next, value, types);
    if (sum !== undefined) {
      const middle = next.results[0]!.id;
      const behind = readers(middle).find((n) => residual(n, middle, types) !== undefined);
      return {
        index,
        name: next.scope,
        attention,
        input: sum,
        middle,
        output: behind?.results[0]!.id,
        tokens,
      };
    }
    value = next.results[0]!.id;
  }
  return "no sum with the tokens that came in follows";
}

/** The other operand of a sum of tokens, [B, N, C]. */
function residual(n: Node, value: ValueId, types: ReadonlyMap<ValueId, TensorType>): ValueId | undefined {
  if (n.op.name !== "add" || types.get(value)!.shape.length !== 3) return undefined;
  const other = n.inputs.find((x) => x !== value);
  return other !== undefined && sameShape(types.get(other)!.shape, types.get(value)!.shape)
    ? other
    : undefined;
}
