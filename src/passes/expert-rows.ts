// Rows of routed experts and the tokens they come from: what `per_expert` makes of its arguments, read back.

import { constantOf, dim, type Dim } from "../ir/dim.ts";
import type { Node, ValueId } from "../ir/graph.ts";
import type { RewriteContext } from "../ir/rewrite-types.ts";
import { sameShape } from "../ir/types.ts";
import { dimsOf, numberOf } from "../ops/define.ts";

/** A product whose rows each have an expert, in the order of the tokens. */
export function isRowProduct(n: Node | undefined): boolean {
  return n?.op.name === "grouped_linear" && numberOf(n.attrs, "tile") === 1;
}

export interface TokenRows {
  /** [..., channels] */
  readonly tokens: ValueId;
  readonly leading: readonly Dim[];
  /** Rows of each token, one after the other. */
  readonly k: number;
}

/** The tokens that these rows are, `k` times each; undefined where they are made in another way. */
export function tokensOfRows(
  c: Pick<RewriteContext, "producer" | "type">,
  rows: ValueId,
): TokenRows | undefined {
  const flat = c.producer(rows);
  if (flat?.op.name !== "reshape") return undefined;
  const width = c.type(rows).shape.at(-1)!;
  const spread = c.producer(flat.inputs[0]!);
  if (spread?.op.name !== "broadcast_to") {
    const { shape } = c.type(flat.inputs[0]!);
    const once = { tokens: flat.inputs[0]!, leading: shape.slice(0, -1), k: 1 };
    return shape.length > 1 && sameShape([shape.at(-1)!], [width]) ? once : undefined;
  }
  const dims = dimsOf(spread.attrs, "dims");
  const k = constantOf(dims.at(-2) ?? dim(0));
  const leading = dims.slice(0, -2);
  const from = spread.inputs[0]!;
  const apart = c.producer(from);
  if (k === undefined || !sameShape(c.type(from).shape, [...leading, dim(1), width])) return undefined;
  if (!apart || !["reshape", "unsqueeze"].includes(apart.op.name)) return undefined;
  const tokens = apart.inputs[0]!;
  return sameShape(c.type(tokens).shape, [...leading, width]) ? { tokens, leading, k } : undefined;
}
