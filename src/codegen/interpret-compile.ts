// Turns a kernel into JavaScript text for the interpreter. Straight-line statements become small functions with one loop over
// the active invocations; control flow around them keeps lists of active invocations. Values that live from one function to
// the next are typed arrays with one element per invocation; writing to them rounds and wraps.
// Knows kernels and arithmetic; memory, errors and races are the `env` that interpret.ts passes in.

import { unreachable } from "../support/bug.ts";
import { operands } from "../ir/expr.ts";
import type { Expr, Kernel, KernelType, Scalar, Statement } from "../ir/kernel.ts";
import { binaryText, castText, constantNumber, fmaText, numberText, unaryText } from "./arithmetic.ts";

export interface CompileOptions {
  readonly subgroupSize: number;
  readonly outOfBounds: "error" | "zero";
  readonly checkRaces: boolean;
}

/** Functions longer than this are cut: V8 does not optimize very long ones. */
const maxGroupLines = 300;

const arrayOf: Readonly<Record<Scalar, string>> = {
  f32: "Float32Array",
  f16: "Float32Array",
  i32: "Int32Array",
  u32: "Uint32Array",
  bool: "Uint8Array",
};

interface Local {
  /** One array name per component. */
  readonly arrays: readonly string[];
  readonly constant: boolean;
}

type Scope = ReadonlyMap<string, Local>;

/** Texts of values already computed for the invocation at hand, by expression or array name. */
interface Known {
  readonly values: Map<Expr, (string | undefined)[]>;
  readonly names: Map<string, string>;
  /** Loads whose address was checked. */
  readonly checked: Set<Expr>;
}

const nothingKnown = (): Known => ({ values: new Map(), names: new Map(), checked: new Set() });

/** A factory's body: given `env` it returns `run(x, y, z)`, which executes one workgroup. */
export function compileToText(kernel: Kernel, options: CompileOptions): string {
  const invocations = kernel.workgroupSize.reduce((a, b) => a * b, 1);
  const memory = new Map([...kernel.buffers, ...kernel.shared].map((m) => [m.name, m]));
  const memoryIds = new Map([...memory.keys()].map((name, i) => [name, `m${i}`]));
  const sharedNames = new Set(kernel.shared.map((s) => s.name));
  const paramIds = new Map(kernel.params.map((p, i) => [p.name, `p${i}`]));

  const head: string[] = [];
  const functions: string[] = [];
  const control: string[] = [];
  let group: string[] = [];
  let known = nothingKnown();
  let counter = 0;
  const fresh = (prefix: string): string => `${prefix}${counter++}`;

  for (const [name, id] of memoryIds) head.push(`const ${id} = env.memory[${JSON.stringify(name)}];`);
  for (const [name, id] of paramIds) head.push(`const ${id} = env.params[${JSON.stringify(name)}];`);
  for (const [name, id] of memoryIds) {
    head.push(`const ${id}_length = env.lengths[${JSON.stringify(name)}];`);
    if (sharedNames.has(name) && options.checkRaces)
      head.push(`const ${id}_trace = env.trace(${JSON.stringify(name)}, ${id}_length);`);
  }

  function newArrays(type: KernelType): string[] {
    const arrays = Array.from({ length: type.width }, () => fresh("v"));
    for (const a of arrays) head.push(`const ${a} = new ${arrayOf[type.scalar]}(${invocations});`);
    return arrays;
  }

  // Straight-line code

  const emit = (line: string): void => void group.push(line);

  function value(text: string): string {
    if (/^[\w$]+$/.test(text) || /^\(-[\d.e+-]+\)$/.test(text)) return text;
    const t = fresh("t");
    emit(`const ${t} = ${text};`);
    return t;
  }

  /** Ends the function at hand; what follows sees all that every invocation did in it. */
  function flush(): void {
    known = nothingKnown();
    if (group.length === 0) return;
    const f = fresh("group");
    functions.push(
      `function ${f}(A, n) {`,
      "for (let i = 0; i < n; i++) {",
      "const l = A[i];",
      ...group,
      "}",
      "}",
    );
    group = [];
    control.push(`${f}(A, n);`);
  }

  /** Code that not every active invocation runs: what it computes is forgotten after it. */
  function conditionally(condition: string, inside: () => void): void {
    const outer = known;
    known = {
      values: new Map([...outer.values].map(([e, texts]) => [e, [...texts]])),
      names: new Map(outer.names),
      checked: new Set(outer.checked),
    };
    emit(`if (${condition}) {`);
    inside();
    emit("}");
    known = outer;
  }

  function component(e: Expr, at: number, scope: Scope): string {
    let texts = known.values.get(e);
    if (!texts) known.values.set(e, (texts = []));
    return (texts[at] ??= value(componentText(e, at, scope)));
  }

  function componentText(e: Expr, at: number, scope: Scope): string {
    const { scalar } = e.type;
    switch (e.kind) {
      case "const":
        return numberText(constantNumber(e.value, scalar));
      case "param":
        return paramIds.get(e.name)!;
      case "builtin":
        return builtinText(e.name, options.subgroupSize);
      case "name": {
        const array = scope.get(e.name)!.arrays[at]!;
        let text = known.names.get(array);
        if (!text) known.names.set(array, (text = value(`${array}[l]`)));
        return text;
      }
      case "load":
        return loadText(e, at, scope);
      case "unary":
        return unaryText(e.op, e.a.type.scalar, component(e.a, at, scope));
      case "binary": {
        if ((e.op !== "and" && e.op !== "or") || e.type.width > 1) {
          const a = component(e.a, at, scope);
          return binaryText(e.op, e.a.type.scalar, a, component(e.b, at, scope));
        }
        // As in WGSL, the right side of a scalar && or || is not evaluated where the left decides.
        const result = fresh("t");
        const a = component(e.a, at, scope);
        emit(`let ${result} = ${a};`);
        conditionally(e.op === "and" ? result : `!${result}`, () =>
          emit(`${result} = ${component(e.b, at, scope)};`),
        );
        return result;
      }
      case "fma": {
        const [a, b, c] = [e.a, e.b, e.c].map((x) => component(x, at, scope));
        return fmaText(scalar, a!, b!, c!);
      }
      case "select": {
        const condition = component(e.condition, e.condition.type.width === 1 ? 0 : at, scope);
        const yes = component(e.yes, at, scope);
        return `(${condition} ? ${yes} : ${component(e.no, at, scope)})`;
      }
      case "cast":
        return castText(e.a.type.scalar, scalar, e.bits, component(e.a, at, scope));
      case "vector":
        return component(e.parts[e.parts.length === 1 ? 0 : at]!, 0, scope);
      case "component": {
        if (e.index.kind === "const") return component(e.a, Number(e.index.value), scope);
        const index = component(e.index, 0, scope);
        emit(`if (!(${index} >= 0 && ${index} < ${e.a.type.width})) env.badComponent(${index}, l);`);
        const all = Array.from({ length: e.a.type.width }, (_, i) => component(e.a, i, scope));
        return all.reduceRight((rest, text, i) => `(${index} === ${i} ? ${text} : ${rest})`);
      }
      case "subgroup":
        return subgroupText(e, at, scope);
      default:
        return unreachable(e);
    }
  }

  function loadText(e: Extract<Expr, { kind: "load" }>, at: number, scope: Scope): string {
    const id = memoryIds.get(e.from)!;
    const index = component(e.index, 0, scope);
    const inside =
      e.index.type.scalar === "u32" ? `${index} < ${id}_length` : `${index} >= 0 && ${index} < ${id}_length`;
    // Check the address once for all components of one load.
    if (!known.checked.has(e)) {
      known.checked.add(e);
      if (options.outOfBounds === "error")
        emit(`if (!(${inside})) env.outOfBounds("load of", ${JSON.stringify(e.from)}, ${index}, l);`);
      if (sharedNames.has(e.from) && options.checkRaces) emit(`env.onRead(${id}_trace, ${index}, l);`);
    }
    const { width } = e.type;
    const raw = `${id}[${width === 1 ? index : `${index} * ${width} + ${at}`}]`;
    const isBuffer = !sharedNames.has(e.from);
    const element =
      isBuffer && e.type.scalar === "f16"
        ? `env.halfTable[${raw}]`
        : isBuffer && e.type.scalar === "bool"
          ? `(${raw} !== 0 ? 1 : 0)`
          : raw;
    return options.outOfBounds === "error" ? element : `(${inside} ? ${element} : 0)`;
  }

  // Subgroup operations: `prepare` has put the operand where other lanes can see it, and flushed.

  const prepared = new Map<Expr, { readonly arrays: readonly string[]; readonly reduced: boolean }>();

  function prepare(e: Expr, scope: Scope): void {
    if (!usesSubgroup(e) || prepared.has(e)) return;
    for (const part of operands(e)) prepare(part, scope);
    if (e.kind !== "subgroup") return;
    const name = e.a.kind === "name" ? scope.get(e.a.name) : undefined;
    let arrays = name?.constant ? name.arrays : undefined;
    if (!arrays) {
      const own = newArrays(e.a.type);
      for (const [i, array] of own.entries()) emit(`${array}[l] = ${component(e.a, i, scope)};`);
      arrays = own;
    }
    flush();
    control.push(`if (n !== ${invocations}) env.wholeSubgroups(A, n, ${JSON.stringify(e.op)});`);
    const reduced = e.op === "add" || e.op === "max" || e.op === "min";
    prepared.set(e, { arrays: reduced ? reduce(e.op, e.a.type, arrays) : arrays, reduced });
  }

  const subgroupUse = new WeakMap<Expr, boolean>();

  function usesSubgroup(e: Expr): boolean {
    let uses = subgroupUse.get(e);
    if (uses === undefined)
      subgroupUse.set(e, (uses = e.kind === "subgroup" || operands(e).some(usesSubgroup)));
    return uses;
  }

  function reduce(op: "add" | "max" | "min", type: KernelType, arrays: readonly string[]): string[] {
    const size = options.subgroupSize;
    return arrays.map((array) => {
      const total = fresh("v");
      const f = fresh("reduce");
      head.push(`const ${total} = new ${arrayOf[type.scalar]}(${invocations / size});`);
      functions.push(
        `function ${f}() {`,
        `for (let s = 0; s < ${invocations}; s += ${size}) {`,
        `let a = ${array}[s];`,
        `for (let j = 1; j < ${size}; j++) { const b = ${array}[s + j]; a = ${binaryText(op, type.scalar, "a", "b")}; }`,
        `${total}[s / ${size}] = a;`,
        "}",
        "}",
      );
      control.push(`${f}();`);
      return total;
    });
  }

  function subgroupText(e: Extract<Expr, { kind: "subgroup" }>, at: number, scope: Scope): string {
    const { arrays, reduced } = prepared.get(e)!;
    const size = options.subgroupSize;
    if (reduced) return `${arrays[at]}[(l / ${size}) | 0]`;
    const lane = component(e.lane!, 0, scope);
    const from = e.op === "shuffle_xor" ? value(`((l % ${size} ^ ${lane}) >>> 0)`) : lane;
    if (e.lane!.kind !== "const" || e.op === "shuffle_xor")
      emit(`if (${from} >= ${size}) env.badLane(${JSON.stringify(e.op)}, ${from}, l);`);
    return `${arrays[at]}[l - l % ${size} + ${from}]`;
  }

  /** Gets ready to evaluate these in the function at hand. */
  function begin(expressions: readonly Expr[], scope: Scope): void {
    if (group.length > maxGroupLines) flush();
    known.values.clear();
    known.checked.clear();
    prepared.clear();
    for (const e of expressions) prepare(e, scope);
  }

  // Statements

  function assign(arrays: readonly string[], e: Expr, scope: Scope): void {
    const texts = arrays.map((_, i) => component(e, i, scope));
    for (const [i, array] of arrays.entries()) {
      emit(`${array}[l] = ${texts[i]};`);
      known.names.set(array, texts[i]!);
    }
  }

  function store(s: Extract<Statement, { kind: "store" }>, scope: Scope): void {
    begin([s.index, s.value], scope);
    const id = memoryIds.get(s.to)!;
    const index = component(s.index, 0, scope);
    const inside =
      s.index.type.scalar === "u32" ? `${index} < ${id}_length` : `${index} >= 0 && ${index} < ${id}_length`;
    const { scalar, width } = s.value.type;
    const texts = Array.from({ length: width }, (_, i) => component(s.value, i, scope));
    const isBuffer = !sharedNames.has(s.to);
    const slots = texts.map((_, i) => `${id}[${width === 1 ? index : `${index} * ${width} + ${i}`}]`);
    if (options.outOfBounds === "error")
      emit(`if (!(${inside})) env.outOfBounds("store to", ${JSON.stringify(s.to)}, ${index}, l);`);
    else emit(`if (${inside}) {`);
    if (!isBuffer && options.checkRaces) {
      // Compared as bits are: not-a-number equals itself.
      const same = texts.map((t, i) => `Object.is(${slots[i]}, ${t})`).join(" && ");
      emit(`env.onWrite(${id}_trace, ${index}, l, ${same});`);
    }
    for (const [i, slot] of slots.entries())
      emit(`${slot} = ${isBuffer && scalar === "f16" ? `halfToBits(${texts[i]})` : texts[i]};`);
    if (options.outOfBounds === "zero") emit("}");
  }

  function block(body: readonly Statement[], outer: Scope): void {
    const scope = new Map(outer);
    for (const s of body) {
      switch (s.kind) {
        case "let":
        case "var": {
          begin([s.value], scope);
          const local = { arrays: newArrays(s.value.type), constant: s.kind === "let" };
          assign(local.arrays, s.value, scope);
          scope.set(s.name, local);
          break;
        }
        case "set":
          begin([s.value], scope);
          assign(scope.get(s.name)!.arrays, s.value, scope);
          break;
        case "store":
          store(s, scope);
          break;
        case "for":
          loop(s, scope);
          break;
        case "if":
          branch(s, scope);
          break;
        case "barrier":
          flush();
          control.push("env.barrier(n);");
          break;
        case "return":
          flush();
          control.push("n = env.leave(A, n);");
          break;
        default:
          unreachable(s);
      }
    }
    flush();
  }

  /** Opens `{`, with its own list of active invocations. */
  function openBlock(list: string, count: string): void {
    control.push(`{ const A = ${list}; let n = ${count};`);
  }

  function newList(): string {
    const list = fresh("list");
    head.push(`const ${list} = new Int32Array(${invocations});`);
    return list;
  }

  function branch(s: Extract<Statement, { kind: "if" }>, scope: Scope): void {
    begin([s.condition], scope);
    const condition = component(s.condition, 0, scope);
    const [yes, no] = [newList(), newList()];
    const f = fresh("branch");
    functions.push(
      ...[
        `function ${f}(A, n) {`,
        "let yes = 0, no = 0;",
        "for (let i = 0; i < n; i++) {",
        "const l = A[i];",
      ],
      ...[...group, `if (${condition}) ${yes}[yes++] = l; else ${no}[no++] = l;`, "}", "return yes;", "}"],
    );
    group = [];
    flush();
    const taken = fresh("taken");
    control.push(`const ${taken} = ${f}(A, n);`, `if (${taken} > 0)`);
    openBlock(yes, taken);
    block(s.then, scope);
    control.push("}");
    if (s.else.length > 0) {
      const others = fresh("others");
      control.push(`const ${others} = n - ${taken};`, `if (${others} > 0)`);
      openBlock(no, others);
      block(s.else, scope);
      control.push("}");
    }
    if (returns([s])) control.push("n = env.remaining(A, n);");
  }

  function loop(s: Extract<Statement, { kind: "for" }>, scope: Scope): void {
    begin([s.start, s.end, s.step], scope);
    const [at, end, step] = [s.start, s.end, s.step].map((e) => {
      const [array] = newArrays(e.type);
      const text = component(e, 0, scope);
      emit(`${array}[l] = ${text};`);
      return array!;
    });
    emit(`if (!(${step}[l] > 0)) env.badStep(${step}[l], l);`);
    flush();
    const list = newList();
    const f = fresh("next");
    // The second call and every later one has moved on; a counter that wraps would never end.
    functions.push(
      ...[`function ${f}(A, n, more) {`, "let kept = 0;", "for (let i = 0; i < n; i++) {", "const l = A[i];"],
      `if (more) { const was = ${at}[l]; ${at}[l] = was + ${step}[l]; if (${at}[l] < was) env.badStep(${step}[l], l); }`,
      `if (${at}[l] < ${end}[l]) ${list}[kept++] = l;`,
      ...["}", "return kept;", "}"],
    );
    const first = fresh("first");
    control.push(`const ${first} = ${f}(A, n, false);`);
    openBlock(list, first);
    control.push(`for (; n > 0; n = ${f}(A, n, true)) {`);
    block(s.body, new Map(scope).set(s.name, { arrays: [at!], constant: true }));
    control.push("}", "}");
    if (returns(s.body)) control.push("n = env.remaining(A, n);");
  }

  block(kernel.body, new Map());
  return [
    '"use strict";',
    ...head,
    "let workgroup_x = 0, workgroup_y = 0, workgroup_z = 0;",
    ...functions,
    "return function run(x, y, z) {",
    "workgroup_x = x; workgroup_y = y; workgroup_z = z;",
    "const A = env.everyone();",
    "let n = A.length;",
    ...control,
    "};",
  ].join("\n");
}

function builtinText(name: Extract<Expr, { kind: "builtin" }>["name"], subgroupSize: number): string {
  switch (name) {
    case "workgroup_x":
    case "workgroup_y":
    case "workgroup_z":
      return name;
    case "local":
      return "l";
    case "lane":
      return `l % ${subgroupSize}`;
    case "subgroup":
      return `(l / ${subgroupSize}) | 0`;
    default:
      return unreachable(name);
  }
}

function returns(body: readonly Statement[]): boolean {
  return body.some((s) => {
    if (s.kind === "for") return returns(s.body);
    return s.kind === "if" ? returns(s.then) || returns(s.else) : s.kind === "return";
  });
}
