// Expressions, types, labels and annotations in canonical form. Parentheses are written where precedence asks for
// them and nowhere else.

import type { Span } from "../support/source.ts";
import type {
  Annotation,
  Argument,
  Call,
  DimExpr,
  Expr,
  Label,
  MatchExpr,
  Name,
  ParamType,
  TensorTypeExpr,
} from "./ast.ts";
import {
  closerBehind,
  handUp,
  hasBlankLine,
  linesBefore,
  place,
  takeBefore,
  type CommentCursor,
} from "./comments.ts";
import {
  concat,
  concatAll,
  group,
  hardline,
  ifBroken,
  indent,
  isForced,
  joinDocs,
  line,
  softline,
  type Doc,
} from "./document.ts";
import { quote } from "./literals.ts";
import { binaryLevel, COMPARISON, NEGATION, NOT, OPERAND, PIPE, POWER, SUM } from "./precedence.ts";

/** Loosest: `if c then a else b` stands alone, never as an operand. */
const ALONE = 0;

export function expression(cursor: CommentCursor, expr: Expr, level = ALONE): Doc {
  const doc = bare(cursor, expr);
  return levelOf(expr) < level ? concat("(", doc, ")") : doc;
}

function levelOf(expr: Expr): number {
  if (expr.kind === "if") return ALONE;
  if (expr.kind === "binary") return binaryLevel(expr.op);
  if (expr.kind === "unary") return expr.op === "not" ? NOT : NEGATION;
  return expr.kind === "call" && expr.piped ? PIPE : OPERAND;
}

function bare(cursor: CommentCursor, expr: Expr): Doc {
  switch (expr.kind) {
    case "number":
      return expr.text;
    case "string":
      return quote(expr.value);
    case "bool":
      return expr.value ? "true" : "false";
    case "none":
      return "none";
    case "ellipsis":
      return "...";
    case "name":
      return expr.name;
    case "bad":
      return expr.span.file.text.slice(expr.span.start, expr.span.end);
    case "list":
      return list(cursor, "[", expr.elements.map(element(cursor)), "]", expr.span.end - 1);
    case "tuple": {
      const single = expr.elements.length === 1;
      const entries = expr.elements.map(element(cursor));
      return single
        ? concat("(", expression(cursor, expr.elements[0]!), ",)")
        : list(cursor, "(", entries, ")", expr.span.end - 1);
    }
    case "comprehension":
      return group(
        "[",
        indent(
          ...[softline, expression(cursor, expr.element), line, "for ", pattern(expr.pattern), " in "],
          expression(cursor, expr.list),
          expr.condition ? concat(line, "if ", expression(cursor, expr.condition)) : "",
        ),
        ...[softline, "]"],
      );
    case "unary":
      if (expr.op === "not") return concat("not ", expression(cursor, expr.operand, NOT));
      return concat("-", expression(cursor, expr.operand, NEGATION));
    case "binary":
      return binary(cursor, expr);
    case "if":
      return conditional(cursor, expr);
    case "match":
      return match(cursor, expr);
    case "call":
      return expr.piped ? pipe(cursor, expr) : call(cursor, expr);
    case "index":
      return concat(suffixed(cursor, expr.object), "[", expression(cursor, expr.index), "]");
    case "member":
      return concat(suffixed(cursor, expr.object), ".", expr.name.text);
    default:
      return expr satisfies never;
  }
}

/** `f(x) @a [0]` would give the index to the label. */
function suffixed(cursor: CommentCursor, object: Expr): Doc {
  const open = object.kind === "call" && (object.label !== undefined || object.annotations.length > 0);
  return open && !object.piped ? concat("(", bare(cursor, object), ")") : expression(cursor, object, OPERAND);
}

/** A chain of one level (`a + b - c`) breaks as a whole. */
function binary(cursor: CommentCursor, expr: Expr & { kind: "binary" }): Doc {
  const level = binaryLevel(expr.op);
  if (level === POWER) {
    return concat(expression(cursor, expr.left, OPERAND), " ** ", expression(cursor, expr.right, NEGATION));
  }
  const chain = [expr];
  for (
    let left = expr.left;
    level !== COMPARISON && left.kind === "binary" && binaryLevel(left.op) === level;
    left = left.left
  )
    chain.push(left);
  chain.reverse();
  const first = expression(cursor, chain[0]!.left, level === COMPARISON ? level + 1 : level);
  const rest = chain.map((each) => concat(line, `${each.op} `, expression(cursor, each.right, level + 1)));
  return group(first, indent(...rest));
}

function conditional(cursor: CommentCursor, expr: Expr & { kind: "if" }): Doc {
  const parts: Doc[] = [];
  let rest: Expr = expr;
  while (rest.kind === "if") {
    const lead = parts.length === 0 ? "if " : concat(line, "else if ");
    parts.push(
      lead,
      expression(cursor, rest.condition, PIPE),
      line,
      "then ",
      expression(cursor, rest.then, PIPE),
    );
    rest = rest.else;
  }
  return group(
    parts[0]!,
    parts[1]!,
    indent(...parts.slice(2), line, "else ", expression(cursor, rest, PIPE)),
  );
}

function match(cursor: CommentCursor, expr: MatchExpr): Doc {
  const head = concat("match ", expression(cursor, expr.subject), " {");
  const rows = expr.arms.map((arm, i) => {
    const next = expr.arms[i + 1]?.pattern;
    // Without the comma, `-1 =>` would go on with the value before it.
    const comma = next !== undefined && next !== "_" && next.kind === "unary" ? "," : "";
    const text = arm.pattern === "_" ? "_" : expression(cursor, arm.pattern);
    return { span: arm.span, write: () => concat(text, " => ", expression(cursor, arm.value), comma) };
  });
  const lines = rowsOf(cursor, rows, expr.span.end - 1);
  return lines.length === 0
    ? concat(head, "}")
    : concat(head, indent(hardline, concatAll(lines)), hardline, "}");
}

/** `x |> f(a) |> g(b)`: on one line, or each stage on its own. */
function pipe(cursor: CommentCursor, last: Call): Doc {
  const stages: Call[] = [];
  let source: Expr = last;
  while (source.kind === "call" && source.piped) {
    stages.push(source);
    source = source.piped;
  }
  stages.reverse();
  // A comment before the source is one before the whole pipe, and whoever holds the pipe has a line for it.
  handUp(cursor, takeBefore(cursor, source.span.start));
  const start = place(cursor, source.span, () => expression(cursor, source, PIPE));
  handUp(cursor, start.before);
  const rest = stages.map((stage) => {
    const span = { ...stage.span, start: stage.callee.span.start };
    const placed = place(cursor, span, () => call(cursor, stage), stage !== last);
    return concat(line, linesBefore(placed.before), "|> ", placed.doc, placed.behind);
  });
  return group(start.doc, start.behind, indent(...rest));
}

/** Without what is piped in. Label and annotations stay on the line of the closing bracket: the grammar asks for it. */
function call(cursor: CommentCursor, expr: Call): Doc {
  const args = argumentList(cursor, expr.args, expr.span.end);
  return concat(expr.callee.text, args, tail(cursor, expr.label, expr.annotations));
}

export function argumentList(cursor: CommentCursor, args: readonly Argument[], end: number): Doc {
  const entries = args.map((argument) => ({
    span: argument.span,
    write: () => {
      const value = expression(cursor, argument.value);
      return argument.name ? concat(argument.name.text, " = ", value) : value;
    },
  }));
  const last = args.at(-1);
  const close = last ? closerBehind(cursor.source, last.span.end) : end;
  return list(cursor, "(", entries, ")", last ? close : -1);
}

export function tail(
  cursor: CommentCursor,
  label: Label | undefined,
  annotations: readonly Annotation[],
): Doc {
  const parts: Doc[] = label ? [" ", labelDoc(cursor, label)] : [];
  for (const annotation of annotations) parts.push(" ", annotationDoc(cursor, annotation));
  return concatAll(parts);
}

export function labelDoc(cursor: CommentCursor, label: Label): Doc {
  const parts = label.parts.map(({ name, index }) =>
    index ? concat(name.text, "[", expression(cursor, index), "]") : name.text,
  );
  const path = parts.length === 0 ? "" : concat("@", joinDocs(parts, "."), label.shared ? " shared" : "");
  if (!label.from) return path;
  return concat(path, parts.length === 0 ? "" : " ", `from ${label.from.text}`);
}

export function annotationDoc(cursor: CommentCursor, annotation: Annotation): Doc {
  const head = `with ${annotation.name.text}`;
  return annotation.value ? concat(head, " ", expression(cursor, annotation.value)) : head;
}

/** The list or count of a loop. Its last call must not hand its label to the loop. */
export function headerExpression(cursor: CommentCursor, expr: Expr): Doc {
  let last: Expr | undefined = expr;
  while (last) {
    if (last.kind === "binary") last = last.right;
    else if (last.kind === "unary") last = last.operand;
    else if (last.kind === "if") last = last.else;
    else break;
  }
  const hasTail = last.kind === "call" && (last.label !== undefined || last.annotations.length > 0);
  return hasTail ? concat("(", bare(cursor, expr), ")") : expression(cursor, expr);
}

export function pattern(names: readonly Name[]): string {
  const text = names.map((name) => name.text).join(", ");
  return names.length === 1 ? text : `(${text})`;
}

export function tensorType(cursor: CommentCursor, type: TensorTypeExpr): Doc {
  const entries = type.dims.map((dim) => ({ span: dim.span, write: () => dimension(cursor, dim) }));
  return concat(type.dtype.text, list(cursor, "[", entries, "]", type.span.end - 1));
}

function dimension(cursor: CommentCursor, dim: DimExpr): Doc {
  const size = expression(cursor, dim.size, SUM);
  const bound = dim.bound ? concat(" <= ", expression(cursor, dim.bound, SUM)) : "";
  return concat(dim.axis ? `${dim.axis.text} = ` : "", size, bound);
}

export function paramType(type: ParamType): string {
  switch (type.kind) {
    case "name":
      return type.name.text;
    case "enum":
      return type.choices.map((choice) => choice.text).join(" | ");
    case "list":
      return `[${paramType(type.element)}]`;
    case "tuple":
      return `(${type.elements.map(paramType).join(", ")})`;
    case "optional":
      return `${paramType(type.of)}?`;
    default:
      return type satisfies never;
  }
}

export interface Entry {
  readonly span: Span;
  readonly write: () => Doc;
}

function element(cursor: CommentCursor): (expr: Expr) => Entry {
  return (expr) => ({ span: expr.span, write: () => expression(cursor, expr) });
}

/** On one line, or one entry on each with a comma behind the last. `close` is where the closing bracket stands. */
export function list(
  cursor: CommentCursor,
  left: string,
  entries: readonly Entry[],
  right: string,
  close: number,
  gap: Doc = softline,
): Doc {
  const docs = entries.map((entry) => {
    const placed = place(cursor, entry.span, entry.write);
    return concat(linesBefore(placed.before), placed.doc, placed.behind);
  });
  const rest = concatAll(takeBefore(cursor, close).map((comment) => concat(hardline, comment.text)));
  if (docs.length === 0 && !isForced(rest)) return left + right;
  if (docs.length === 0) return group(left, indent(rest), hardline, right);
  return group(left, indent(gap, joinDocs(docs, concat(",", line)), ifBroken(","), rest), gap, right);
}

/**
 * Things on lines of their own: each with its comments, with one empty line where the source has any (or where
 * `separate` asks for one). Line breaks stand between the rows only.
 */
export function rowsOf(
  cursor: CommentCursor,
  entries: readonly Entry[],
  close: number,
  separate: (before: number, after: number) => boolean = () => false,
): Doc[] {
  const rows: Doc[] = [];
  let end = -1;
  const add = (doc: Doc, blank: boolean): void => {
    if (rows.length > 0) rows.push(hardline);
    if (rows.length > 0 && blank) rows.push(hardline);
    rows.push(doc);
  };
  const blankBefore = (start: number): boolean => end >= 0 && hasBlankLine(cursor.source, end, start);
  entries.forEach((entry, i) => {
    const placed = place(cursor, entry.span, entry.write);
    const leading = placed.before.slice(0, placed.before.length - placed.moved);
    let first = i > 0 && separate(i - 1, i);
    for (const comment of leading) {
      add(comment.text, first || blankBefore(comment.span.start));
      end = comment.span.end;
      first = false;
    }
    const blank = first || blankBefore(entry.span.start);
    placed.before.slice(leading.length).forEach((comment, j) => add(comment.text, j === 0 && blank));
    add(concat(placed.doc, placed.behind), placed.moved === 0 && blank);
    end = placed.end;
  });
  for (const comment of takeBefore(cursor, close)) {
    add(comment.text, blankBefore(comment.span.start));
    end = comment.span.end;
  }
  return rows;
}
