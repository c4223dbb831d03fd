// Heads and the layer that made them: keys of shape [batch, tokens, heads, size] that are the result of a linear layer, however it was
// reshaped, turned and cut (one of three parts of a fused projection). Movements treat a row of the layer's weight like the channel it
// makes, so replaying them on the weight gives the weight per head. The rules are in fold-attention.ts.

import { dim, type Dim } from "../ir/dim.ts";
import type { Attrs, Node, ValueId } from "../ir/graph.ts";
import { axisRelations } from "../ir/op.ts";
import type { RewriteContext } from "../ir/rewrite-types.ts";
import { layerOf, namesSizes } from "./match.ts";

/** values[b, t, h, d] = sum over c of x[b, t, c] * weight[0, c, h, d] + bias[0, 0, h, d]. */
export interface Projection {
  /** [batch, tokens, channels]. */
  readonly x: ValueId;
  /** Makes the weight: [1, channels, heads, size]. */
  weight(): ValueId;
  /** Makes the bias: [1, 1, heads, size]; undefined where the layer has none. */
  readonly bias: (() => ValueId) | undefined;
  /** The layer, and what stands between it and the heads. */
  readonly nodes: readonly Node[];
}

export interface Obstacle {
  readonly obstacle: string;
}

/** The layer behind a value of shape [batch, tokens, heads, size], or what stands in front of it; undefined where there is none. */
export function projectionOf(c: RewriteContext, heads: ValueId): Projection | Obstacle | undefined {
  const moves: Node[] = [];
  let obstacle: string | undefined;
  let at = heads;
  for (let steps = 0; steps < 16; steps++) {
    const node = c.producer(at);
    if (!node || node.inputs.length === 0) return undefined;
    if (node.op.name === "linear")
      return obstacle === undefined ? projection(c, node, moves.reverse()) : { obstacle };
    const moving = node.op.traits.includes("movement") && node.inputs.length === 1;
    if (moving) moves.push(node);
    else obstacle ??= `${node.op.name} stands behind the projection`;
    at = node.inputs[0]!;
  }
  return undefined;
}

function projection(c: RewriteContext, node: Node, moves: readonly Node[]): Projection | Obstacle {
  const layer = layerOf(c, node);
  if (!layer || layer.rank !== 3)
    return { obstacle: "the layer is not of [batch, tokens, channels] with weights known at load" };
  const tracked = trackAxes(c, moves);
  if (!tracked) return { obstacle: "batch and tokens are mixed with channels" };
  const [out, into] = c.type(layer.weight).shape as readonly [Dim, Dim];
  const replay = (rows: ValueId, tokens: Dim) => {
    // Rows of the weight stand where the layer's results did: [1, tokens, out].
    return moves.reduce((x, move, i) => c.add(move.op.name, [x], sized(move, tracked[i]!, tokens)), rows);
  };
  return {
    x: layer.x,
    weight: () => {
      const turned = c.add("transpose", [layer.weight], { perm: [1, 0] });
      return replay(c.add("reshape", [turned], { dims: [dim(1), into, out] }), into);
    },
    bias: layer.bias
      ? () => replay(c.add("reshape", [layer.bias], { dims: [dim(1), dim(1), out] }), dim(1))
      : undefined,
    nodes: [node, ...moves],
  };
}

/** After each movement, the axes of batch and tokens; they end as the first two, and every step keeps them by themselves. */
function trackAxes(
  c: RewriteContext,
  moves: readonly Node[],
): readonly (readonly [number, number])[] | undefined {
  let axes: readonly [number, number] = [0, 1];
  const out: (readonly [number, number])[] = [];
  for (const move of moves) {
    const relations = axisRelations(move.op, [c.type(move.inputs[0]!)], move.attrs)[0]!;
    const [batch, tokens] = axes.map((a) => relations[a]);
    if (batch?.kind !== "same" || tokens?.kind !== "same") return undefined;
    axes = [batch.axis, tokens.axis];
    out.push(axes);
  }
  return axes[0] === 0 && axes[1] === 1 ? out : undefined;
}

/** Attributes of a movement where the batch is 1 and there are other tokens. */
function sized(move: Node, [batch, tokens]: readonly [number, number], count: Dim): Attrs {
  if (!("dims" in move.attrs) || !namesSizes(move)) return move.attrs;
  const { shape } = move.results[0]!.type;
  return { ...move.attrs, dims: shape.map((d, i) => (i === batch ? dim(1) : i === tokens ? count : d)) };
}

/** Are the projections read for nothing but these values of the node? Else they are made anyway. */
export function areOnlyFor(c: RewriteContext, reader: Node, projections: readonly Projection[]): boolean {
  const nodes = new Set([reader, ...projections.flatMap((p) => p.nodes)]);
  const inside = new Map<ValueId, number>();
  for (const n of nodes) for (const x of n.inputs) inside.set(x, (inside.get(x) ?? 0) + 1);
  return [...nodes].every((n) => n === reader || c.uses(n.results[0]!.id) === inside.get(n.results[0]!.id));
}
