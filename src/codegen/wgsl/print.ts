// Kernel IR as a WGSL module with one entry point, `main`: declarations and statements. Expressions are expression.ts, bindings
// bindings.ts. This folder is the only place that writes shader text; it expects a kernel that the verifier accepts.

import { Bug, unreachable } from "../../support/bug.ts";
import { showLocation } from "../../support/source.ts";
import { operands } from "../../ir/expr.ts";
import type { Builtin, Expr, Kernel, Statement } from "../../ir/kernel.ts";
import { uniformity } from "../../ir/kernel-uniform.ts";
import { bindingLayout } from "./bindings.ts";
import { ExpressionPrinter, wgslType } from "./expression.ts";
import { Names } from "./names.ts";

export interface WgslOptions {
  /** Comment lines on top. */
  readonly header?: readonly string[];
  /** Buffers declared `read_write` though they are only read: slices of an arena that the kernel also writes. */
  readonly buffersReadWrite?: readonly string[];
}

type NonFinite = "infinity" | "not_a_number" | "half_infinity" | "half_not_a_number";

export function printWgsl(kernel: Kernel, options: WgslOptions = {}): string {
  return new Printer(kernel, options).module();
}

class Printer {
  readonly #kernel: Kernel;
  readonly #options: WgslOptions;
  readonly #names = new Names();
  readonly #expressions: ExpressionPrinter;
  readonly #boolBuffers: ReadonlySet<string>;
  readonly #builtins = new Set<Builtin>();
  readonly #liveUsed = new Set<string>();
  readonly #nonFinite = new Set<NonFinite>();
  readonly #body: string[] = [];

  constructor(kernel: Kernel, options: WgslOptions) {
    // A buffer declared writable is one whose values are not uniform.
    const writable = new Set(options.buffersReadWrite);
    const buffers = kernel.buffers.map((b) =>
      writable.has(b.name) ? { ...b, access: "read_write" as const } : b,
    );
    this.#kernel = { ...kernel, buffers };
    this.#options = options;
    this.#boolBuffers = new Set(buffers.filter((b) => b.type.scalar === "bool").map((b) => b.name));
    // Outer names first, so that they are the ones that keep their spelling.
    for (const d of [...kernel.params, ...buffers, ...kernel.shared]) this.#names.of(d.name);
    this.#expressions = new ExpressionPrinter({
      name: (of) => this.#names.of(of),
      param: (name) => this.#param(name),
      builtin: (name) => this.#builtin(name),
      isBoolBuffer: (name) => this.#boolBuffers.has(name),
      nonFinite: (value, scalar) => this.#nonFiniteText(value, scalar),
    });
  }

  module(): string {
    this.#block(this.#kernel.body, 1);
    const parts = [this.#comments(), this.#directives(), this.#declarations(), this.#main()];
    return parts
      .filter((lines) => lines.length > 0)
      .map((lines) => lines.join("\n") + "\n")
      .join("\n");
  }

  #comments(): string[] {
    const { name, notes, locations } = this.#kernel;
    const lines = [...(this.#options.header ?? []), name, ...notes, ...locations.map(showLocation)];
    // Names and notes come from models: none may end its comment.
    return lines
      .flatMap((line) => line.split(/[\n\v\f\r\u0085\u2028\u2029]+/))
      .map((line) => `// ${line}`.trimEnd());
  }

  #directives(): string[] {
    const lines: string[] = [];
    if (usesHalf(this.#kernel)) lines.push("enable f16;");
    if (this.#kernel.subgroupSize > 0) lines.push("enable subgroups;");
    // That a condition is the same in a whole subgroup is beyond WGSL's analysis; the verifier has shown it.
    if (uniformity(this.#kernel).subgroups > 0) lines.push("diagnostic(off, subgroup_uniformity);");
    return lines;
  }

  #declarations(): string[] {
    const { params, buffers, shared } = this.#kernel;
    const layout = bindingLayout(this.#kernel);
    const lines: string[] = [];
    if (layout.params !== undefined) {
      lines.push("struct Params {");
      for (const p of params) {
        const comment = p.live ? " // where in extents" : "";
        lines.push(`  ${this.#names.of(p.name)}: ${wgslType(p.type)},${comment}`);
      }
      lines.push("}", `@group(0) @binding(${layout.params}) var<uniform> params: Params;`);
    }
    if (layout.extents !== undefined)
      lines.push(`@group(0) @binding(${layout.extents}) var<storage, read> extents: array<u32>;`);
    for (const b of buffers) {
      const access = b.access === "read" ? "read" : "read_write";
      const type = wgslType(b.type.scalar === "bool" ? { scalar: "u32", width: b.type.width } : b.type);
      const binding = `@group(0) @binding(${layout.buffers[b.name]})`;
      lines.push(`${binding} var<storage, ${access}> ${this.#names.of(b.name)}: array<${type}>;`);
    }
    for (const s of shared)
      lines.push(`var<workgroup> ${this.#names.of(s.name)}: array<${wgslType(s.type)}, ${s.length}>;`);
    return lines;
  }

  #main(): string[] {
    const uses = (...names: Builtin[]): boolean => names.some((n) => this.#builtins.has(n));
    const inputs: string[] = [];
    if (uses("workgroup_x", "workgroup_y", "workgroup_z"))
      inputs.push("@builtin(workgroup_id) workgroup_id: vec3u");
    if (uses("local", "subgroup")) inputs.push("@builtin(local_invocation_index) local_index: u32");
    if (uses("lane")) inputs.push("@builtin(subgroup_invocation_id) lane: u32");
    const head =
      inputs.length > 1 ? ["fn main(", ...inputs.map((i) => `  ${i},`), ") {"] : [`fn main(${inputs}) {`];
    const lines = [`@compute @workgroup_size(${this.#kernel.workgroupSize.join(", ")})`, ...head];
    if (uses("subgroup")) lines.push(`  let subgroup = local_index / ${this.#kernel.subgroupSize}u;`);
    for (const name of this.#liveUsed) {
      const safe = this.#names.of(name);
      lines.push(`  let ${safe} = extents[params.${safe}];`);
    }
    return [...lines, ...this.#nonFiniteLines(), ...this.#body, "}"];
  }

  // What expressions ask for

  #param(name: string): string {
    const declared = this.#kernel.params.find((p) => p.name === name);
    if (!declared) throw new Bug(`kernel ${this.#kernel.name} has no param ${name}`);
    if (!declared.live) return `params.${this.#names.of(name)}`;
    this.#liveUsed.add(name);
    return this.#names.of(name);
  }

  #builtin(name: Builtin): string {
    this.#builtins.add(name);
    switch (name) {
      case "workgroup_x":
        return "workgroup_id.x";
      case "workgroup_y":
        return "workgroup_id.y";
      case "workgroup_z":
        return "workgroup_id.z";
      case "local":
        return "local_index";
      case "lane":
      case "subgroup":
        return name;
      default:
        return unreachable(name);
    }
  }

  #nonFiniteText(value: number, scalar: "f32" | "f16"): string {
    const kind = Number.isNaN(value) ? "not_a_number" : "infinity";
    const name: NonFinite = scalar === "f32" ? kind : `half_${kind}`;
    this.#nonFinite.add(name);
    return value === -Infinity ? `-${name}` : name;
  }

  /** WGSL refuses constants that are not finite, and conversions to them while compiling; a variable's value it cannot know. */
  #nonFiniteLines(): string[] {
    const lines: string[] = [];
    const has = (name: NonFinite): boolean => this.#nonFinite.has(name);
    if (has("infinity") || has("not_a_number")) lines.push("  var infinity_bits = 0x7f800000u;");
    if (has("infinity")) lines.push("  let infinity = bitcast<f32>(infinity_bits);");
    if (has("not_a_number")) lines.push("  let not_a_number = bitcast<f32>(infinity_bits | 0x400000u);");
    if (has("half_infinity") || has("half_not_a_number")) lines.push("  var half_infinity_bits = 0x7c00u;");
    if (has("half_infinity")) lines.push("  let half_infinity = bitcast<vec2h>(half_infinity_bits).x;");
    if (has("half_not_a_number"))
      lines.push("  let half_not_a_number = bitcast<vec2h>(half_infinity_bits | 0x200u).x;");
    return lines;
  }

  // Statements

  #line(depth: number, text: string): void {
    this.#body.push("  ".repeat(depth) + text);
  }

  #block(body: readonly Statement[], depth: number): void {
    for (const s of body) this.#statement(s, depth);
  }

  #statement(s: Statement, depth: number): void {
    const print = (e: Expr): string => this.#expressions.print(e);
    switch (s.kind) {
      case "let":
        return this.#line(depth, `let ${this.#names.of(s.name)} = ${print(s.value)};`);
      case "var":
        return this.#line(depth, `var ${this.#names.of(s.name)} = ${print(s.value)};`);
      case "set":
        return this.#line(depth, `${this.#names.of(s.name)} = ${print(s.value)};`);
      case "store": {
        const value = print(s.value);
        const asNumber = wgslType({ scalar: "u32", width: s.value.type.width });
        const stored = this.#boolBuffers.has(s.to) ? `${asNumber}(${value})` : value;
        return this.#line(
          depth,
          `${this.#names.of(s.to)}[${this.#expressions.argument(s.index)}] = ${stored};`,
        );
      }
      case "for":
        return this.#for(s, depth);
      case "if":
        return this.#if(s, depth);
      case "barrier":
        return this.#line(depth, "workgroupBarrier();");
      case "return":
        return this.#line(depth, "return;");
      default:
        return unreachable(s);
    }
  }

  #for(s: Extract<Statement, { kind: "for" }>, depth: number): void {
    const counter = this.#names.of(s.name);
    const assigned = assignedIn(s.body);
    // The bounds of a loop are those at its start.
    const bound = (e: Expr, role: string, text: (e: Expr) => string): string => {
      if (!changes(e, assigned)) return text(e);
      const name = this.#names.fresh(`${s.name}_${role}`);
      this.#line(depth, `let ${name} = ${this.#expressions.print(e)};`);
      return name;
    };
    const end = bound(s.end, "end", (e) => this.#expressions.bound(e));
    const step = bound(s.step, "step", (e) => this.#expressions.print(e));
    const start = this.#expressions.print(s.start);
    this.#line(depth, `for (var ${counter} = ${start}; ${counter} < ${end}; ${counter} += ${step}) {`);
    this.#block(s.body, depth + 1);
    this.#line(depth, "}");
  }

  #if(first: Extract<Statement, { kind: "if" }>, depth: number): void {
    let s = first;
    this.#line(depth, `if (${this.#expressions.print(s.condition)}) {`);
    for (;;) {
      this.#block(s.then, depth + 1);
      const only: Statement | undefined = s.else.length === 1 ? s.else[0] : undefined;
      if (only?.kind !== "if") break;
      this.#line(depth, `} else if (${this.#expressions.print(only.condition)}) {`);
      s = only;
    }
    if (s.else.length > 0) {
      this.#line(depth, "} else {");
      this.#block(s.else, depth + 1);
    }
    this.#line(depth, "}");
  }
}

function assignedIn(body: readonly Statement[]): Set<string> {
  const names = new Set<string>();
  for (const s of body) {
    if (s.kind === "set") names.add(s.name);
    const inner = s.kind === "for" ? [s.body] : s.kind === "if" ? [s.then, s.else] : [];
    for (const b of inner) for (const name of assignedIn(b)) names.add(name);
  }
  return names;
}

/** Whether evaluating it again in a loop that assigns these could give another value; memory is not read twice either. */
function changes(e: Expr, assigned: ReadonlySet<string>): boolean {
  if (e.kind === "load" || e.kind === "subgroup" || (e.kind === "name" && assigned.has(e.name))) return true;
  return operands(e).some((x) => changes(x, assigned));
}

function usesHalf(kernel: Kernel): boolean {
  const seen = new Set<Expr>();
  const inExpr = (e: Expr): boolean => {
    if (seen.has(e)) return false;
    seen.add(e);
    return e.type.scalar === "f16" || operands(e).some(inExpr);
  };
  const inBody = (body: readonly Statement[]): boolean =>
    body.some((s) => {
      switch (s.kind) {
        case "let":
        case "var":
        case "set":
          return inExpr(s.value);
        case "store":
          return inExpr(s.index) || inExpr(s.value);
        case "for":
          return inExpr(s.start) || inExpr(s.end) || inExpr(s.step) || inBody(s.body);
        case "if":
          return inExpr(s.condition) || inBody(s.then) || inBody(s.else);
        case "barrier":
        case "return":
          return false;
        default:
          return unreachable(s);
      }
    });
  return [...kernel.buffers, ...kernel.shared].some((b) => b.type.scalar === "f16") || inBody(kernel.body);
}
