// Kernel IR as text, to be read by people and by kernel-parse.ts: parseKernel(printKernel(k)) equals k for every kernel that
// the verifier accepts. Precedence is C's, except that bit operators bind tighter than comparisons.
//
// A literal carries its type: `4` u32, `4i` i32, `4.0` f32, `4.0h` f16; `vec4<f32>(0.0)` is a vector constant, `vec4(x)` a splat.

import { unreachable } from "../support/bug.ts";
import type { BinaryOp, Expr, Kernel, KernelType, Statement } from "./kernel.ts";
import { components, typeText } from "./kernel-types.ts";

/** Words that a name cannot be without back-quotes. */
export const reservedWords: ReadonlySet<string> = new Set([
  ...["kernel", "workgroup", "subgroup", "loc", "note", "param", "live", "buffer", "shared"],
  ...["let", "var", "for", "in", "step", "if", "else", "barrier", "return"],
  ...["true", "false", "inf", "nan", "infh", "nanh"],
  ...["vec2", "vec4", "bitcast"],
  ...["workgroup_x", "workgroup_y", "workgroup_z", "local", "lane"],
]);

export interface Infix {
  readonly text: string;
  /** Higher binds tighter; operators of one level associate to the left, comparisons not at all. */
  readonly level: number;
}

export const comparisonLevel = 3;
const unaryLevel = 10;
const postfixLevel = 11;

/** Operators written between their operands; the others are calls. */
export const infix: Readonly<Partial<Record<BinaryOp, Infix>>> = {
  or: { text: "||", level: 1 },
  and: { text: "&&", level: 2 },
  lt: { text: "<", level: comparisonLevel },
  le: { text: "<=", level: comparisonLevel },
  gt: { text: ">", level: comparisonLevel },
  ge: { text: ">=", level: comparisonLevel },
  eq: { text: "==", level: comparisonLevel },
  ne: { text: "!=", level: comparisonLevel },
  bit_or: { text: "|", level: 4 },
  bit_xor: { text: "^", level: 5 },
  bit_and: { text: "&", level: 6 },
  shift_left: { text: "<<", level: 7 },
  shift_right: { text: ">>", level: 7 },
  add: { text: "+", level: 8 },
  sub: { text: "-", level: 8 },
  mul: { text: "*", level: 9 },
  div: { text: "/", level: 9 },
  mod: { text: "%", level: 9 },
};

export function printKernel(k: Kernel): string {
  const lines: string[] = [];
  const subgroup = k.subgroupSize ? ` subgroup(${k.subgroupSize})` : "";
  lines.push(`kernel @${nameText(k.name)} workgroup(${k.workgroupSize.join(", ")})${subgroup} {`);
  for (const note of k.notes) lines.push(`  ${noteText(note)}`);
  for (const at of k.locations)
    lines.push(`  loc ${JSON.stringify(at.file)}:${at.line}:${at.column}-${at.endLine}:${at.endColumn}`);
  for (const p of k.params)
    lines.push(`  ${p.live ? "live " : ""}param ${nameText(p.name)}: ${typeText(p.type)}`);
  for (const b of k.buffers) lines.push(`  buffer ${nameText(b.name)}: ${b.access} ${typeText(b.type)}`);
  for (const s of k.shared) lines.push(`  shared ${nameText(s.name)}: ${typeText(s.type)}[${s.length}]`);
  printBody(k.body, "  ", lines);
  lines.push("}");
  return lines.join("\n") + "\n";
}

/** Notes are comments where they are one printable line, so that they read like comments. */
function noteText(note: string): string {
  if (/[\u0000-\u001f\u007f\u2028\u2029]/.test(note)) return `note ${JSON.stringify(note)}`;
  return note === "" ? "//" : `// ${note}`;
}

function nameText(name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !reservedWords.has(name)) return name;
  return "`" + JSON.stringify(name).slice(1, -1).replaceAll("`", "\\u0060") + "`";
}

function printBody(body: readonly Statement[], indent: string, lines: string[]): void {
  for (const s of body) printStatement(s, indent, lines);
}

function printStatement(s: Statement, indent: string, lines: string[]): void {
  switch (s.kind) {
    case "let":
      lines.push(`${indent}let ${nameText(s.name)} = ${printExpr(s.value)}`);
      return;
    case "var":
      lines.push(`${indent}var ${nameText(s.name)}: ${typeText(s.type)} = ${printExpr(s.value)}`);
      return;
    case "set":
      lines.push(`${indent}${nameText(s.name)} = ${printExpr(s.value)}`);
      return;
    case "store":
      lines.push(`${indent}${nameText(s.to)}[${printExpr(s.index)}] = ${printExpr(s.value)}`);
      return;
    case "for": {
      const one =
        s.step.kind === "const" && s.step.value === 1 && typeText(s.step.type) === typeText(s.start.type);
      const step = one ? "" : ` step ${printExpr(s.step)}`;
      lines.push(`${indent}for ${nameText(s.name)} in ${printExpr(s.start)}..${printExpr(s.end)}${step} {`);
      printBody(s.body, indent + "  ", lines);
      lines.push(`${indent}}`);
      return;
    }
    case "if":
      printIf(s, indent, lines);
      return;
    case "barrier":
    case "return":
      lines.push(indent + s.kind);
      return;
    default:
      unreachable(s);
  }
}

function printIf(first: Extract<Statement, { kind: "if" }>, indent: string, lines: string[]): void {
  let s = first;
  lines.push(`${indent}if ${printExpr(s.condition)} {`);
  for (;;) {
    printBody(s.then, indent + "  ", lines);
    const only: Statement | undefined = s.else.length === 1 ? s.else[0] : undefined;
    if (only?.kind !== "if") break;
    lines.push(`${indent}} else if ${printExpr(only.condition)} {`);
    s = only;
  }
  if (s.else.length > 0) {
    lines.push(`${indent}} else {`);
    printBody(s.else, indent + "  ", lines);
  }
  lines.push(`${indent}}`);
}

export function printExpr(e: Expr): string {
  return print(e, 0);
}

/** `level` is the loosest operator that may stand here without parentheses. */
function print(e: Expr, level: number): string {
  switch (e.kind) {
    case "const":
      return constantText(e.value, e.type);
    case "param":
    case "name":
      return nameText(e.name);
    case "builtin":
      return e.name;
    case "load":
      return `${nameText(e.from)}[${print(e.index, 0)}]`;
    case "unary":
      if (e.op !== "neg" && e.op !== "not") return call(e.op, [e.a]);
      // `-1.0` is a negative constant, so the negation of a constant is `-(1.0)`.
      if (e.op === "neg" && e.a.kind === "const")
        return parenthesise(`-(${print(e.a, 0)})`, unaryLevel < level);
      return parenthesise((e.op === "neg" ? "-" : "!") + print(e.a, unaryLevel), unaryLevel < level);
    case "binary": {
      const operator = infix[e.op];
      if (!operator) return call(e.op, [e.a, e.b]);
      const own = operator.level;
      const left = own === comparisonLevel ? own + 1 : own;
      return parenthesise(`${print(e.a, left)} ${operator.text} ${print(e.b, own + 1)}`, own < level);
    }
    case "fma":
      return call("fma", [e.a, e.b, e.c]);
    case "select":
      return call("select", [e.condition, e.yes, e.no]);
    case "cast":
      return call(e.bits ? `bitcast<${e.type.scalar}>` : e.type.scalar, [e.a]);
    case "vector":
      return call(`vec${e.type.width}`, e.parts);
    case "component": {
      const a = print(e.a, postfixLevel);
      const at = e.index;
      const letter =
        at.kind === "const" && at.type.scalar === "u32" ? components[Number(at.value)] : undefined;
      return letter ? `${a}.${letter}` : `${a}[${print(at, 0)}]`;
    }
    case "subgroup": {
      const name = e.op === "add" || e.op === "max" || e.op === "min" ? `subgroup_${e.op}` : e.op;
      return call(name, e.lane ? [e.a, e.lane] : [e.a]);
    }
    default:
      return unreachable(e);
  }
}

function call(name: string, args: readonly Expr[]): string {
  return `${name}(${args.map((a) => print(a, 0)).join(", ")})`;
}

function parenthesise(text: string, needed: boolean): string {
  return needed ? `(${text})` : text;
}

function constantText(value: number | boolean, type: KernelType): string {
  const text = literal(value, type);
  return type.width === 1 ? text : `${typeText(type)}(${text})`;
}

/** JavaScript's shortest text of a number reads back as the same number; the rest marks the type. */
function literal(value: number | boolean, type: KernelType): string {
  if (typeof value === "boolean") return String(value);
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const magnitude = String(Math.abs(value));
  switch (type.scalar) {
    case "u32":
    case "bool":
      return sign + magnitude;
    case "i32":
      return `${sign}${magnitude}i`;
    case "f32":
    case "f16": {
      const suffix = type.scalar === "f16" ? "h" : "";
      if (Number.isNaN(value)) return `nan${suffix}`;
      if (!Number.isFinite(value)) return `${sign}inf${suffix}`;
      return sign + (/[.e]/.test(magnitude) ? magnitude : `${magnitude}.0`) + suffix;
    }
    default:
      return unreachable(type.scalar);
  }
}
