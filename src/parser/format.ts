// The one canonical form of a file: two spaces of indentation, at most WIDTH columns where that is possible, comments
// and single empty lines kept, pipes kept as pipes. Formatting twice gives what formatting once gave.

import type { SourceFile } from "../support/source.ts";
import type {
  Block,
  Body,
  CheckpointRule,
  File,
  Import,
  Item,
  Param,
  Result,
  Statement,
  TensorParam,
} from "./ast.ts";
import { closerBehind, commentCursor, takeBehindBrace, type CommentCursor } from "./comments.ts";
import {
  concat,
  concatAll,
  group,
  hardline,
  indent,
  isForced,
  joinDocs,
  line,
  printDoc,
  type Doc,
} from "./document.ts";
import {
  annotationDoc,
  argumentList,
  expression,
  headerExpression,
  labelDoc,
  list,
} from "./format-expression.ts";
import { paramType, pattern, rowsOf, tail, tensorType, type Entry } from "./format-expression.ts";
import { quote } from "./literals.ts";

export const WIDTH = 100;

/** Only for a file that has been parsed without errors. */
export function format(ast: File, source: SourceFile): string {
  const cursor = commentCursor(source, ast.comments);
  const entries = ast.items.map((each) => ({ span: each.span, write: () => item(cursor, each) }));
  const isLong = (i: number) => ["block", "checkpoint"].includes(ast.items[i]!.kind);
  const rows = rowsOf(cursor, entries, Infinity, (before, after) => isLong(before) || isLong(after));
  const text = printDoc(concatAll(rows), WIDTH);
  return text === "" ? "" : `${text}\n`;
}

function item(cursor: CommentCursor, node: Item): Doc {
  switch (node.kind) {
    case "import":
      return importDoc(cursor, node);
    case "const": {
      const type = node.type ? `: ${paramType(node.type)}` : "";
      return concat(`const ${node.name.text}${type} = `, expression(cursor, node.value));
    }
    case "block":
      return blockDoc(cursor, node);
    case "config": {
      const base = node.extends ? ` extends ${node.extends.text}` : "";
      const head = `config ${node.name.text} of ${node.model.text}${base}`;
      return node.args.length === 0
        ? head
        : concat(head, " ", argumentList(cursor, node.args, node.span.end));
    }
    case "checkpoint": {
      const head = `checkpoint ${node.name.text} of ${node.model.text} {`;
      const rows = rowsOf(cursor, node.rules.map(ruleEntry), node.span.end - 1);
      return rows.length === 0 ? `${head}}` : concat(head, indent(hardline, concatAll(rows)), hardline, "}");
    }
    default:
      return node satisfies never;
  }
}

function importDoc(cursor: CommentCursor, node: Import): Doc {
  const entries = node.names.map(({ name, as }) => ({
    span: { ...name.span, end: (as ?? name).span.end },
    write: () => (as ? `${name.text} as ${as.text}` : name.text),
  }));
  const close = closerBehind(cursor.source, entries.at(-1)?.span.end ?? node.span.start);
  return concat("import ", list(cursor, "{", entries, "}", close, line), " from ", quote(node.from.text));
}

function ruleEntry(rule: CheckpointRule): Entry {
  const patterns = (all: CheckpointRule["from"]): Doc => {
    const texts = all.map(({ text }) => quote(text));
    return texts.length === 1 ? texts[0]! : concat("[", indent(joinDocs(texts, concat(",", line))), "]");
  };
  const to = rule.to.length > 0 ? concat(" = ", patterns(rule.to)) : "";
  const axis = rule.axis === undefined ? "" : ` axis ${rule.axis}`;
  return { span: rule.span, write: () => group(`${rule.verb.text} `, patterns(rule.from), to, axis) };
}

function blockDoc(cursor: CommentCursor, node: Block): Doc {
  const head = `${node.isDefault ? "default " : ""}${node.model ? "model" : "block"} ${node.name.text}`;
  const params = node.params.map((each) => paramEntry(cursor, each));
  const inputs = node.inputs.map((each) => inputEntry(cursor, each));
  return concat(
    head,
    params.length === 0 ? "" : signatureList(cursor, params),
    ...[" ", signatureList(cursor, inputs), " -> "],
    resultsDoc(cursor, node.results),
    ...[" ", bodyDoc(cursor, node.body)],
  );
}

function signatureList(cursor: CommentCursor, entries: readonly Entry[]): Doc {
  const last = entries.at(-1);
  return list(cursor, "(", entries, ")", last ? closerBehind(cursor.source, last.span.end) : -1);
}

function paramEntry(cursor: CommentCursor, node: Param): Entry {
  const head = `${node.name.text}: ${paramType(node.type)}`;
  return {
    span: node.span,
    write: () => (node.default ? concat(head, " = ", expression(cursor, node.default)) : head),
  };
}

function inputEntry(cursor: CommentCursor, node: TensorParam): Entry {
  const head = `${node.name.text}${node.optional ? "?" : ""}: `;
  return { span: node.span, write: () => concat(head, tensorType(cursor, node.type)) };
}

function resultsDoc(cursor: CommentCursor, results: readonly Result[]): Doc {
  const [first] = results;
  if (results.length === 1 && first && !first.name) return tensorType(cursor, first.type);
  const entries = results.map((result) => ({
    span: result.span,
    write: () => concat(result.name ? `${result.name.text}: ` : "", tensorType(cursor, result.type)),
  }));
  return signatureList(cursor, entries);
}

/** `{` the statements `}`, each on its own line; `canBeOneLine` lets one that is simple stay beside the braces. */
function bodyDoc(cursor: CommentCursor, body: Body, canBeOneLine = false): Doc {
  const behindBrace = takeBehindBrace(cursor, body.span);
  const entries = body.statements.map((each) => ({ span: each.span, write: () => statement(cursor, each) }));
  const rows = rowsOf(cursor, entries, body.span.end - 1);
  if (rows.length === 0) return behindBrace === "" ? "{}" : concat("{", behindBrace, hardline, "}");
  const [only] = body.statements;
  const isShort = canBeOneLine && rows.length === 1 && only !== undefined && simple.has(only.kind);
  if (isShort && behindBrace === "" && !isForced(rows[0]!))
    return concat("{", indent(line, rows[0]!), line, "}");
  return concat("{", behindBrace, indent(hardline, concatAll(rows)), hardline, "}");
}

const simple: ReadonlySet<Statement["kind"]> = new Set(["assign", "return", "output", "assert"] as const);

function statement(cursor: CommentCursor, node: Statement): Doc {
  switch (node.kind) {
    case "assign": {
      const targets = node.targets.map((target) => target.text).join(", ");
      return concat(`${targets} = `, expression(cursor, node.value));
    }
    case "return": {
      const values = node.values.map(({ name, value }) =>
        name ? concat(`${name.text} = `, expression(cursor, value)) : expression(cursor, value),
      );
      return values.length === 1
        ? concat("return ", values[0]!)
        : group("return ", indent(joinDocs(values, concat(",", line))));
    }
    case "if":
      return ifDoc(cursor, node);
    case "for": {
      const head = concat(`for ${pattern(node.pattern)} in `, headerExpression(cursor, node.list));
      const rest = tail(cursor, node.label, node.annotations);
      return group(head, rest, " ", bodyDoc(cursor, node.body, true));
    }
    case "repeat": {
      const index = node.index ? ` as ${node.index.text}` : "";
      const head = concat("repeat ", headerExpression(cursor, node.count), index);
      const rest = tail(cursor, node.label, node.annotations);
      return group(head, rest, " ", bodyDoc(cursor, node.body, true));
    }
    case "state": {
      const type = tensorType(cursor, node.type);
      return concat(`state ${node.name.text}: `, type, " = ", expression(cursor, node.initial));
    }
    case "output": {
      const index = node.index ? concat("[", expression(cursor, node.index), "]") : "";
      return concat(`output ${node.name.text}`, index, " = ", expression(cursor, node.value));
    }
    case "weight": {
      const type = tensorType(cursor, node.type);
      return concat(
        `weight ${node.name.text}: `,
        type,
        node.label ? concat(" ", labelDoc(cursor, node.label)) : "",
      );
    }
    case "preprocess":
      return concat(`preprocess ${node.input.text} `, argumentList(cursor, node.args, node.span.end));
    case "assert": {
      const condition = expression(cursor, node.condition);
      if (!node.message) return concat("assert ", condition);
      return group("assert ", condition, ",", indent(line, expression(cursor, node.message)));
    }
    case "with": {
      const head = joinDocs(
        node.annotations.map((annotation) => annotationDoc(cursor, annotation)),
        " ",
      );
      return group(head, " ", bodyDoc(cursor, node.body, true));
    }
    default:
      return node satisfies never;
  }
}

/** `else { if ... }` and `else if ...` are the same tree; a body that begins where its only statement does had no braces. */
function ifDoc(cursor: CommentCursor, node: Statement & { kind: "if" }): Doc {
  const head = concat("if ", expression(cursor, node.condition), " ");
  if (!node.else) return group(head, bodyDoc(cursor, node.then, true));
  return concat(head, bodyDoc(cursor, node.then), " else ", elseDoc(cursor, node.else));
}

function elseDoc(cursor: CommentCursor, body: Body): Doc {
  const [only] = body.statements;
  const bare = body.statements.length === 1 && only?.kind === "if" && only.span.start === body.span.start;
  return bare ? ifDoc(cursor, only) : bodyDoc(cursor, body);
}
