// Inlay shapes: behind each assigned name the type that it has, and what a document is made of.

import { constantOf } from "../ir/dim.ts";
import type * as ast from "../parser/ast.ts";
import type { Span } from "../support/source.ts";
import type { Analysis } from "./analysis.ts";
import { valuesText } from "./describe.ts";

export interface Hint {
  readonly offset: number;
  readonly text: string;
}

/** Behind every name that is assigned a tensor. */
export function hintsOf(a: Analysis, from: number, to: number): readonly Hint[] {
  const out: Hint[] = [];
  const visit = (body: ast.Body): void => {
    for (const s of body.statements) {
      if (s.kind === "if") (visit(s.then), s.else && visit(s.else));
      else if (s.kind === "for" || s.kind === "repeat" || s.kind === "with") visit(s.body);
      else if (s.kind === "assign") assign(s);
    }
  };
  const assign = (s: ast.Assign): void => {
    const seen = a.seen.get(s.value) ?? [];
    const tensors = seen.filter((o) => o.value.kind === "tensor");
    const [target] = s.targets;
    if (s.targets.length === 1 && tensors.length > 0 && from <= target!.span.end && target!.span.end <= to)
      out.push({ offset: target!.span.end, text: `: ${valuesText(tensors)!}` });
    if (s.targets.length < 2) return;
    s.targets.forEach((t, i) => {
      const parts = seen.flatMap((o) =>
        o.value.kind === "tuple" ? [{ ...o, value: o.value.items[i]! }] : [],
      );
      const text = valuesText(parts.filter((o) => o.value?.kind === "tensor"));
      if (text !== undefined && from <= t.span.end && t.span.end <= to)
        out.push({ offset: t.span.end, text: `: ${text}` });
    });
  };
  for (const item of a.file.ast.items) if (item.kind === "block") visit(item.body);
  return out;
}

export interface Outline {
  readonly name: string;
  readonly detail: string;
  readonly kind:
    "model" | "block" | "constant" | "config" | "checkpoint" | "input" | "parameter" | "weight" | "state";
  readonly span: Span;
  readonly nameSpan: Span;
  readonly children: readonly Outline[];
}

export function outlineOf(a: Analysis): readonly Outline[] {
  return a.file.ast.items.flatMap((item): Outline[] => {
    switch (item.kind) {
      case "import":
        return [];
      case "const":
        return [leaf("constant", item.name, item.span, "")];
      case "config":
        return [leaf("config", item.name, item.span, `of ${item.model.text}`)];
      case "checkpoint":
        return [leaf("checkpoint", item.name, item.span, `of ${item.model.text}`)];
      case "block":
        return [blockOutline(a, item)];
      default:
        return item satisfies never;
    }
  });
}

function blockOutline(a: Analysis, b: ast.Block): Outline {
  const text = (s: Span): string => s.file.text.slice(s.start, s.end);
  const owned = b.body.statements.flatMap((s): Outline[] =>
    s.kind === "weight" || s.kind === "state" ? [leaf(s.kind, s.name, s.span, text(s.type.span))] : [],
  );
  const graph = b.model ? a.graphs.find((g) => g.name === b.name.text) : undefined;
  const parameters = graph?.weights.reduce(
    (n, w) => n + w.type.shape.reduce((m, d) => m * (constantOf(d) ?? 0), 1),
    0,
  );
  return {
    ...leaf(
      b.model ? "model" : "block",
      b.name,
      b.span,
      parameters === undefined ? "" : `${parameters.toLocaleString("en-US")} parameters`,
    ),
    children: [
      ...b.params.map((p) => leaf("parameter", p.name, p.span, text(p.span).replace(/^\w+:\s*/, ""))),
      ...b.inputs.map((x) => leaf("input", x.name, x.span, text(x.type.span))),
      ...owned,
    ],
  };
}

function leaf(kind: Outline["kind"], name: ast.Name, span: Span, detail: string): Outline {
  return { name: name.text, detail, kind, span, nameSpan: name.span, children: [] };
}
