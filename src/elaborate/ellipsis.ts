// `...` in shapes: any number of axes, the same ones wherever it stands in a signature and in the body behind it. It is bound like a
// name, to the list of their sizes.

import type * as ast from "../parser/ast.ts";
import type { Span } from "../support/source.ts";
import { fail, type Context } from "./context.ts";
import type { Value } from "./value.ts";

/** What it is called among the names of a block; no name is written so. */
export const ELLIPSIS = "...";

/** The sizes bound, or undefined where nothing has bound them. */
export function boundEllipsis(ctx: Context): readonly Value[] | undefined {
  const value = ctx.env.get(ELLIPSIS)?.value;
  return value?.kind === "list" ? value.items : undefined;
}

/** The sizes that it stands for; undefined, once reported, where nothing says which. */
export function ellipsisSizes(ctx: Context, span: Span): readonly Value[] | undefined {
  const sizes = boundEllipsis(ctx);
  if (!sizes)
    fail(ctx, "ellipsis", "nothing says which axes `...` stands for here", {
      span,
      help: "an input of the block binds it: x: f32[..., C]",
    });
  return sizes;
}

/** An axis of a tensor with what its type declares for it. */
export interface DeclaredAxis {
  readonly declared: ast.DimExpr;
  /** Which of the axes of `...` it is. */
  readonly run?: number;
}

/** Does the type leave open how many axes there are? */
export function isOpen(t: ast.TensorTypeExpr): boolean {
  return t.dims.some((d) => d.size.kind === "ellipsis");
}

/** What a type declares for each of `rank` axes; undefined where it has no such number of axes. */
export function alignAxes(t: ast.TensorTypeExpr, rank: number): readonly DeclaredAxis[] | undefined {
  const more = rank - t.dims.length + 1;
  if (isOpen(t) ? more < 0 : more !== 1) return undefined;
  return t.dims.flatMap((declared): DeclaredAxis[] =>
    declared.size.kind === "ellipsis"
      ? Array.from({ length: more }, (_, run) => ({ declared, run }))
      : [{ declared }],
  );
}
