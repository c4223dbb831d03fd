// Which layers of an encoder change its tokens least, from a forward pass alone: 1 - cos between what goes into a block and what comes out,
// the block influence of ShortGPT (arXiv 2403.03853). Made on the device: what leaves it is one number for each sample and layer.

import { GraphBuilder, typesOf, type Graph, type Output } from "../ir/graph.ts";
import type { OpLookup } from "../ir/op.ts";
import { findBlocks, type Block } from "./encoder-blocks.ts";

export interface ScoredLayer {
  readonly block: Block;
  /** Output of the graph: [rows], the mean of the cosine over the tokens. */
  readonly output: string;
}

/** The model with a cosine for each of its blocks in place of its outputs, or why it has none. */
export function layerScores(
  graph: Graph,
  lookup: OpLookup,
): { readonly graph: Graph; readonly layers: readonly ScoredLayer[] } | string {
  const { blocks, refusals } = findBlocks(graph);
  if (blocks.length === 0)
    return (
      refusals[0]?.reason ?? "it has no attention: layers are those of an encoder, x + attention, x + MLP"
    );
  const types = typesOf(graph);
  const b = new GraphBuilder(graph.name, lookup, graph.nextId);
  const outputs: Output[] = [];
  const layers = blocks.flatMap((block): ScoredLayer[] => {
    if (block.output === undefined) return [];
    for (const id of [block.input, block.output]) if (!b.has(id)) b.declare(id, types.get(id)!);
    const { spans } = block.attention;
    const unit = (id: string): string => b.call("l2_normalize", [id], { axis: 2 }, { spans });
    const product = b.call("mul", [unit(block.input), unit(block.output)], {}, { spans });
    const cosine = b.call("sum", [product], { axes: [2] }, { spans });
    const output = `cosine.${block.index}`;
    outputs.push({ name: output, value: b.call("mean", [cosine], { axes: [1] }, { spans }), spans });
    return [{ block, output }];
  });
  if (layers.length === 0) return `no sum with an MLP ends ${blocks[0]!.name}`;
  return {
    graph: { ...graph, nodes: [...graph.nodes, ...b.nodes], outputs, nextId: b.nextId },
    layers,
  };
}
