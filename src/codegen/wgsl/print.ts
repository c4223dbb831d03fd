// Kernel IR as WGSL: the only place that writes shader text.

import { Bug, unreachable } from "../../support/bug.ts";
import { showLocation } from "../../support/source.ts";
import { operands } from "../../ir/expr.ts";
import type { BinaryOp, Expr, Kernel, KernelType, Statement, UnaryOp } from "../../ir/kernel.ts";
import { bindingLayout } from "./bindings.ts";
import { safeName } from "./names.ts";

export interface WgslOptions {
  /** Comment lines on top. */
  readonly header?: readonly string[];
  /** Buffers declared `read_write` though they are only read: slices of an arena that the kernel also writes. */
  readonly buffersReadWrite?: readonly string[];
}

export function printWgsl(kernel: Kernel, options: WgslOptions = {}): string {
  return new Printer(kernel, options).print();
}

const symbols: Readonly<Partial<Record<BinaryOp, string>>> = {
  add: "+", sub: "-", mul: "*", div: "/", mod: "%",
  lt: "<", le: "<=", gt: ">", ge: ">=", eq: "==", ne: "!=", and: "&&", or: "||",
  bit_and: "&", bit_or: "|", bit_xor: "^", shift_left: "<<", shift_right: ">>",
}; // prettier-ignore

const functions: Readonly<Partial<Record<UnaryOp, string>>> = { rsqrt: "inverseSqrt" };

/** Binding strength; operands that bind less are put in parentheses. */
const MUL = 6;
const ADD = 5;
const COMPARE = 3;
const AND = 2;
const OR = 1;
const ATOM = 9;
const UNARY = 8;

function strength(op: BinaryOp): number {
  switch (op) {
    case "mul":
    case "div":
    case "mod":
      return MUL;
    case "add":
    case "sub":
      return ADD;
    case "and":
      return AND;
    case "or":
      return OR;
    case "lt":
    case "le":
    case "gt":
    case "ge":
    case "eq":
    case "ne":
      return COMPARE;
    default:
      return 4; // bits and shifts: WGSL wants parentheses around them and in them
  }
}

class Printer {
  readonly #kernel: Kernel;
  readonly #options: WgslOptions;
  readonly #names = new Map<string, string>();
  readonly #taken = new Set<string>();
  readonly #lines: string[] = [];
  #usesInfinity = false;

  constructor(kernel: Kernel, options: WgslOptions) {
    this.#kernel = kernel;
    this.#options = options;
  }

  print(): string {
    const k = this.#kernel;
    const layout = bindingLayout(k);
    this.#block(k.body, 1);
    const body = this.#lines.splice(0);
    const used = builtinsOf(k.body);
    const head: string[] = (this.#options.header ?? []).map((h) => `// ${h}`);
    head.push(`// ${k.name}`);
    for (const n of k.notes) head.push(`// ${n}`);
    for (const at of k.locations) head.push(`// from ${showLocation(at)}`);
    if (k.subgroupSize > 0) head.push("enable subgroups;");
    if (usesHalf(k)) head.push("enable f16;");
    head.push("");
    const sizes = k.params.filter((p) => !p.live);
    if (layout.params !== undefined) {
      head.push("struct Params {", ...sizes.map((p) => `  ${this.#name(p.name)}: ${typeText(p.type)},`), "}");
      head.push(`@group(0) @binding(${layout.params}) var<uniform> params: Params;`);
    }
    if (layout.extents !== undefined)
      head.push(`@group(0) @binding(${layout.extents}) var<storage, read> extents: array<u32>;`);
    const shared = new Set(this.#options.buffersReadWrite ?? []);
    for (const b of k.buffers) {
      const access = b.access === "read" && !shared.has(b.name) ? "read" : "read_write";
      const element = b.type.scalar === "bool" ? { ...b.type, scalar: "u32" as const } : b.type;
      head.push(
        `@group(0) @binding(${layout.buffers[b.name]}) var<storage, ${access}> ${this.#name(b.name)}: array<${typeText(element)}>;`,
      );
    }
    for (const s of k.shared)
      head.push(`var<workgroup> ${this.#name(s.name)}: array<${typeText(s.type)}, ${s.length}>;`);
    if (this.#usesInfinity)
      head.push("var<private> infinity_bits: u32 = 0x7f800000u; // WGSL has no infinite constant");
    const args: string[] = [];
    if (["workgroup_x", "workgroup_y", "workgroup_z"].some((b) => used.has(b)))
      args.push("@builtin(workgroup_id) workgroup_id: vec3u");
    if (used.has("local") || used.has("subgroup"))
      args.push("@builtin(local_invocation_index) local_index: u32");
    if (used.has("lane")) args.push("@builtin(subgroup_invocation_id) lane: u32");
    head.push("", `@compute @workgroup_size(${k.workgroupSize.join(", ")})`, `fn main(${args.join(", ")}) {`);
    return [...head, ...body, "}", ""].join("\n");
  }

  #name(text: string): string {
    const known = this.#names.get(text);
    if (known) return known;
    const base = safeName(text);
    let name = base;
    for (let i = 1; this.#taken.has(name); i++) name = `${base}_v${i}`;
    this.#taken.add(name);
    this.#names.set(text, name);
    return name;
  }

  #line(depth: number, text: string): void {
    this.#lines.push("  ".repeat(depth) + text);
  }

  #block(body: readonly Statement[], depth: number): void {
    for (const s of body) this.#statement(s, depth);
  }

  #statement(s: Statement, depth: number): void {
    switch (s.kind) {
      case "let":
        return this.#line(depth, `let ${this.#name(s.name)} = ${this.#expr(s.value)};`);
      case "var":
        return this.#line(depth, `var ${this.#name(s.name)}: ${typeText(s.type)} = ${this.#expr(s.value)};`);
      case "set":
        return this.#line(depth, `${this.#name(s.name)} = ${this.#expr(s.value)};`);
      case "store":
        return this.#line(
          depth,
          `${this.#name(s.to)}[${this.#expr(s.index)}] = ${this.#stored(s.to, s.value)};`,
        );
      case "for": {
        const i = this.#name(s.name);
        const type = typeText(s.start.type);
        this.#line(
          depth,
          `for (var ${i}: ${type} = ${this.#expr(s.start)}; ${i} < ${this.#expr(s.end, COMPARE + 1)}; ${i} += ${this.#expr(s.step)}) {`,
        );
        this.#block(s.body, depth + 1);
        return this.#line(depth, "}");
      }
      case "if":
        this.#line(depth, `if (${this.#expr(s.condition)}) {`);
        this.#block(s.then, depth + 1);
        if (s.else.length > 0) {
          this.#line(depth, "} else {");
          this.#block(s.else, depth + 1);
        }
        return this.#line(depth, "}");
      case "barrier":
        return this.#line(depth, "workgroupBarrier();");
      case "return":
        return this.#line(depth, "return;");
      default:
        return unreachable(s);
    }
  }

  /** A bool buffer holds u32. */
  #stored(to: string, value: Expr): string {
    const buffer = this.#kernel.buffers.find((b) => b.name === to);
    const text = this.#expr(value);
    return buffer?.type.scalar === "bool" ? `select(0u, 1u, ${text})` : text;
  }

  #expr(e: Expr, outer = 0): string {
    const [text, inner] = this.#raw(e);
    return inner < outer ? `(${text})` : text;
  }

  #raw(e: Expr): readonly [string, number] {
    switch (e.kind) {
      case "const":
        return [this.#literal(e.value, e.type), ATOM];
      case "param": {
        const p = this.#kernel.params.find((x) => x.name === e.name);
        if (!p) throw new Bug(`kernel ${this.#kernel.name} has no parameter ${e.name}`);
        if (!p.live) return [`params.${this.#name(e.name)}`, ATOM];
        return [`extents[${this.#kernel.params.filter((x) => x.live).indexOf(p)}u]`, ATOM];
      }
      case "builtin":
        return this.#builtin(e.name);
      case "name":
        return [this.#name(e.name), ATOM];
      case "load": {
        const text = `${this.#name(e.from)}[${this.#expr(e.index)}]`;
        const isBool = this.#kernel.buffers.find((b) => b.name === e.from)?.type.scalar === "bool";
        return isBool
          ? [`${text} != ${e.type.width === 1 ? "0u" : `vec${e.type.width}u()`}`, COMPARE]
          : [text, ATOM];
      }
      case "unary":
        if (e.op === "neg") return [`-${this.#expr(e.a, UNARY)}`, UNARY];
        if (e.op === "not") return [`!${this.#expr(e.a, UNARY)}`, UNARY];
        return [`${functions[e.op] ?? e.op}(${this.#expr(e.a)})`, ATOM];
      case "binary":
        return this.#binary(e.op, e.a, e.b);
      case "fma":
        return [`fma(${this.#expr(e.a)}, ${this.#expr(e.b)}, ${this.#expr(e.c)})`, ATOM];
      case "select":
        return [`select(${this.#expr(e.no)}, ${this.#expr(e.yes)}, ${this.#expr(e.condition)})`, ATOM];
      case "cast":
        return [`${e.bits ? `bitcast<${typeText(e.type)}>` : typeText(e.type)}(${this.#expr(e.a)})`, ATOM];
      case "vector":
        return [`${typeText(e.type)}(${e.parts.map((p) => this.#expr(p)).join(", ")})`, ATOM];
      case "component":
        return e.index.kind === "const"
          ? [`${this.#expr(e.a, ATOM)}.${"xyzw"[Number(e.index.value)]}`, ATOM]
          : [`${this.#expr(e.a, ATOM)}[${this.#expr(e.index)}]`, ATOM];
      case "subgroup":
        return [this.#subgroup(e.op, this.#expr(e.a), e.lane && this.#expr(e.lane)), ATOM];
      default:
        return unreachable(e);
    }
  }

  #subgroup(op: string, a: string, lane: string | undefined): string {
    const name = {
      broadcast: "Broadcast",
      shuffle: "Shuffle",
      shuffle_xor: "ShuffleXor",
      add: "Add",
      max: "Max",
      min: "Min",
    }[op];
    return `subgroup${name}(${a}${lane === undefined ? "" : `, ${lane}`})`;
  }

  #builtin(name: string): readonly [string, number] {
    if (name.startsWith("workgroup_")) return [`workgroup_id.${name.at(-1)}`, ATOM];
    if (name === "local") return ["local_index", ATOM];
    if (name === "lane") return ["lane", ATOM];
    return [`local_index / ${this.#kernel.subgroupSize}u`, MUL];
  }

  #binary(op: BinaryOp, a: Expr, b: Expr): readonly [string, number] {
    if (op === "min" || op === "max" || op === "pow")
      return [`${op}(${this.#expr(a)}, ${this.#expr(b)})`, ATOM];
    const vectorLogic = (op === "and" || op === "or") && a.type.width > 1;
    const symbol = vectorLogic ? (op === "and" ? "&" : "|") : symbols[op];
    if (!symbol) throw new Bug(`no symbol for ${op}`);
    const mine = vectorLogic ? 4 : strength(op);
    // Bits, and mixtures of && and ||, take parentheses on both sides; comparisons do not chain.
    if (mine === 4) return [`${this.#expr(a, UNARY)} ${symbol} ${this.#expr(b, UNARY)}`, mine];
    const left = mine === COMPARE || mine === OR ? mine + 1 + (mine === OR ? 1 : 0) : mine;
    return [
      `${this.#expr(a, op === "or" && isOp(a, "or") ? OR : left)} ${symbol} ${this.#expr(b, mine + (mine === OR ? 2 : 1))}`,
      mine,
    ];
  }

  #literal(value: number | boolean, type: KernelType): string {
    const one = this.#scalar(value, type.scalar);
    return type.width === 1 ? one : `${typeText(type)}(${one})`;
  }

  #scalar(value: number | boolean, scalar: KernelType["scalar"]): string {
    if (typeof value === "boolean" || scalar === "bool") return String(Boolean(value));
    if (scalar === "u32") return `${value >>> 0}u`;
    if (scalar === "i32")
      return value === -2147483648 ? "(-2147483647i - 1i)" : value < 0 ? `(${value}i)` : `${value}i`;
    if (!Number.isFinite(value)) {
      this.#usesInfinity = true;
      const bits = Number.isNaN(value)
        ? "infinity_bits + 1u"
        : value > 0
          ? "infinity_bits"
          : "infinity_bits + 0x80000000u";
      return scalar === "f16" ? `f16(bitcast<f32>(${bits}))` : `bitcast<f32>(${bits})`;
    }
    const rounded = scalar === "f32" ? Math.fround(value) : value;
    const digits = shortest(rounded, scalar);
    const text = /[.e]/.test(digits) ? digits : `${digits}.0`;
    const full = scalar === "f16" ? `${text}h` : text;
    return Object.is(rounded, -0) ? "(-0.0)" : value < 0 ? `(${full})` : full;
  }
}

/** The fewest digits that read back to the same f32. */
function shortest(value: number, scalar: string): string {
  if (scalar !== "f32") return String(value);
  for (let digits = 1; digits <= 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(value);
}

function isOp(e: Expr, op: BinaryOp): boolean {
  return e.kind === "binary" && e.op === op;
}

function typeText(t: KernelType): string {
  return t.width === 1 ? t.scalar : `vec${t.width}<${t.scalar}>`;
}

function usesHalf(k: Kernel): boolean {
  return (
    [...k.buffers, ...k.shared].some((b) => b.type.scalar === "f16") ||
    walk(k.body, (e) => e.type.scalar === "f16")
  );
}

function builtinsOf(body: readonly Statement[]): ReadonlySet<string> {
  const used = new Set<string>();
  walk(body, (e) => {
    if (e.kind === "builtin") used.add(e.name);
    return false;
  });
  return used;
}

/** Does the test hold for any expression? Visits all of them until it does. */
function walk(body: readonly Statement[], test: (e: Expr) => boolean): boolean {
  const inExpr = (e: Expr): boolean => test(e) || operands(e).some(inExpr);
  return body.some((s) => {
    switch (s.kind) {
      case "let":
      case "var":
      case "set":
        return inExpr(s.value);
      case "store":
        return inExpr(s.index) || inExpr(s.value);
      case "for":
        return inExpr(s.start) || inExpr(s.end) || inExpr(s.step) || walk(s.body, test);
      case "if":
        return inExpr(s.condition) || walk(s.then, test) || walk(s.else, test);
      default:
        return false;
    }
  });
}
