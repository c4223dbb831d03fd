// Says what is wrong with a kernel: types, names, access, barriers and subgroup operations. Everything after it (printers,
// interpreter) may assume a kernel without complaints. The limits of a particular device are checked against the target.

import { operands } from "./expr.ts";
import type { Expr, Kernel, KernelType, Statement } from "./kernel.ts";
import { isInteger, maxExpressionDepth, maxNesting, sameType, typeError, typeText } from "./kernel-types.ts";
import { uniformity } from "./kernel-uniform.ts";

const maxComplaints = 50;
const maxInvocations = 1024;
const maxSharedLength = 1 << 20;
/** Nodes of one expression written out: parts that are shared in memory are repeated in every text. */
const maxExpressionSize = 100_000;

type Declared =
  | { readonly kind: "param" | "let" | "var" | "counter"; readonly type: KernelType }
  | { readonly kind: "memory"; readonly type: KernelType; readonly access: "read" | "write" | "read_write" };

type Scope = ReadonlyMap<string, Declared>;

/** Complaints, each one sentence; none means that the kernel is well formed. Never throws. */
export function verifyKernel(kernel: Kernel): string[] {
  const complaints: string[] = [];
  const complain = (text: string): void => {
    if (complaints.length < maxComplaints && !complaints.includes(text)) complaints.push(text);
  };
  const tooBig = shapeError(kernel.body);
  if (tooBig) return [tooBig];
  checkSizes(kernel, complain);
  checkBody(kernel, kernel.body, declarations(kernel, complain), complain);
  if (complaints.length > 0) return complaints;
  const { barriers, subgroups } = uniformity(kernel);
  if (barriers > 0) complain("a barrier may be reached by only some invocations of a workgroup");
  if (subgroups > 1) complain("a subgroup operation may be reached by only some lanes of a subgroup");
  return complaints;
}

/** Depth and size, without recursion: what passes may be walked recursively. */
function shapeError(body: readonly Statement[]): string | undefined {
  const pending: { statement: Statement; nesting: number }[] = [];
  const enter = (inner: readonly Statement[], nesting: number): void => {
    for (const statement of inner) pending.push({ statement, nesting });
  };
  enter(body, 0);
  const measured = new Map<Expr, { depth: number; size: number }>();
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { statement, nesting } = next;
    if (nesting > maxNesting) return `blocks nest more than ${maxNesting} deep`;
    for (const e of expressionsOf(statement)) {
      const { depth, size } = measure(e, measured);
      if (depth > maxExpressionDepth)
        return `an expression is more than ${maxExpressionDepth} operations deep`;
      if (size > maxExpressionSize)
        return `an expression has more than ${maxExpressionSize} operations: use let`;
    }
    if (statement.kind === "for") enter(statement.body, nesting + 1);
    if (statement.kind === "if") {
      enter(statement.then, nesting + 1);
      enter(statement.else, nesting + 1);
    }
  }
  return undefined;
}

function measure(root: Expr, measured: Map<Expr, { depth: number; size: number }>) {
  const pending = [root];
  while (pending.length > 0) {
    const e = pending.at(-1)!;
    const missing = measured.has(e) ? [] : operands(e).filter((x) => !measured.has(x));
    if (missing.length > 0) {
      pending.push(...missing);
      continue;
    }
    pending.pop();
    let depth = 0;
    let size = 1;
    for (const part of operands(e)) {
      const m = measured.get(part)!;
      depth = Math.max(depth, m.depth);
      size += m.size;
    }
    measured.set(e, { depth: depth + 1, size });
  }
  return measured.get(root)!;
}

function expressionsOf(s: Statement): readonly Expr[] {
  switch (s.kind) {
    case "let":
    case "var":
    case "set":
      return [s.value];
    case "store":
      return [s.index, s.value];
    case "for":
      return [s.start, s.end, s.step];
    case "if":
      return [s.condition];
    case "barrier":
    case "return":
      return [];
    default:
      return s satisfies never;
  }
}

function checkSizes(kernel: Kernel, complain: (text: string) => void): void {
  const { workgroupSize, subgroupSize } = kernel;
  const invocations = workgroupSize.reduce((a, b) => a * b, 1);
  if (!workgroupSize.every((n) => Number.isInteger(n) && n >= 1))
    complain(`workgroup size ${workgroupSize.join(", ")} is not positive`);
  else if (invocations > maxInvocations)
    complain(`a workgroup has at most ${maxInvocations} invocations, not ${invocations}`);
  if (subgroupSize === 0) return;
  if (!Number.isInteger(Math.log2(subgroupSize)) || subgroupSize > 128)
    complain(`subgroup size ${subgroupSize} is not a power of two up to 128`);
  else if (invocations % subgroupSize !== 0)
    complain(`a workgroup of ${invocations} invocations is no multiple of subgroups of ${subgroupSize}`);
  // Only then is an invocation's subgroup known from its flattened index.
  if (workgroupSize[1] !== 1 || workgroupSize[2] !== 1)
    complain("a workgroup that uses subgroups has one dimension");
}

function declarations(kernel: Kernel, complain: (text: string) => void): Map<string, Declared> {
  const names = new Map<string, Declared>();
  const declare = (name: string, declared: Declared): void => {
    if (name === "") complain("a name is empty");
    if (names.has(name)) complain(`${name} is defined twice`);
    names.set(name, declared);
  };
  if (kernel.name === "") complain("a kernel has no name");
  for (const p of kernel.params) {
    if (p.type.width !== 1 || !["u32", "i32", "f32"].includes(p.type.scalar))
      complain(`param ${p.name} is ${typeText(p.type)}: a param is u32, i32 or f32`);
    if (p.live && p.type.scalar !== "u32") complain(`live param ${p.name} is ${typeText(p.type)}, not u32`);
    declare(p.name, { kind: "param", type: p.type });
  }
  for (const b of kernel.buffers) declare(b.name, { kind: "memory", type: b.type, access: b.access });
  for (const s of kernel.shared) {
    if (!Number.isInteger(s.length) || s.length < 1 || s.length > maxSharedLength)
      complain(`workgroup array ${s.name} has length ${s.length}`);
    declare(s.name, { kind: "memory", type: s.type, access: "read_write" });
  }
  return names;
}

function checkBody(
  kernel: Kernel,
  body: readonly Statement[],
  outer: Scope,
  complain: (text: string) => void,
): void {
  const scope = new Map(outer);
  const check = (e: Expr, where: string): void =>
    checkExpr(kernel, e, scope, (t) => complain(`${where}: ${t}`));
  const declare = (name: string, declared: Declared, into: Map<string, Declared>): void => {
    if (name === "") complain("a name is empty");
    if (into.has(name)) complain(`${name} is defined twice`);
    into.set(name, declared);
  };
  for (const [i, s] of body.entries()) {
    switch (s.kind) {
      case "let":
        check(s.value, `let ${s.name}`);
        declare(s.name, { kind: "let", type: s.value.type }, scope);
        break;
      case "var":
        check(s.value, `var ${s.name}`);
        if (!sameType(s.type, s.value.type))
          complain(`var ${s.name}: ${typeText(s.value.type)} for a ${typeText(s.type)}`);
        declare(s.name, { kind: "var", type: s.type }, scope);
        break;
      case "set": {
        check(s.value, `set ${s.name}`);
        const declared = scope.get(s.name);
        if (!declared) complain(`set ${s.name}: unknown name`);
        else if (declared.kind !== "var") complain(`set ${s.name}: it is no var`);
        else if (!sameType(declared.type, s.value.type))
          complain(`set ${s.name}: ${typeText(s.value.type)} for a ${typeText(declared.type)}`);
        break;
      }
      case "store":
        checkStore(s, scope, check, complain);
        checkLength(kernel, s.to, s.index, complain);
        break;
      case "for": {
        for (const e of [s.start, s.end, s.step]) check(e, `for ${s.name}`);
        const { type } = s.start;
        if (type.width !== 1 || !isInteger(type.scalar))
          complain(`for ${s.name}: a counter is u32 or i32, not ${typeText(type)}`);
        if (!sameType(type, s.end.type) || !sameType(type, s.step.type))
          complain(`for ${s.name}: ${[s.start, s.end, s.step].map((e) => typeText(e.type)).join(", ")}`);
        if (s.step.kind === "const" && !(Number(s.step.value) > 0))
          complain(`for ${s.name}: step ${s.step.value} is not positive`);
        const inside = new Map(scope);
        declare(s.name, { kind: "counter", type }, inside);
        checkBody(kernel, s.body, inside, complain);
        break;
      }
      case "if":
        check(s.condition, "if");
        if (!sameType(s.condition.type, { scalar: "bool", width: 1 }))
          complain(`if: the condition is ${typeText(s.condition.type)}`);
        checkBody(kernel, s.then, scope, complain);
        checkBody(kernel, s.else, scope, complain);
        break;
      case "barrier":
        break;
      case "return":
        if (i < body.length - 1) complain("statements after return are never run");
        break;
      default:
        s satisfies never;
    }
  }
}

function checkStore(
  s: Extract<Statement, { kind: "store" }>,
  scope: Scope,
  check: (e: Expr, where: string) => void,
  complain: (text: string) => void,
): void {
  const where = `store to ${s.to}`;
  check(s.index, where);
  check(s.value, where);
  if (s.index.type.width !== 1 || !isInteger(s.index.type.scalar))
    complain(`${where}: the index is ${typeText(s.index.type)}`);
  const declared = scope.get(s.to);
  if (declared?.kind !== "memory") return complain(`${where}: no such buffer or workgroup array`);
  if (declared.access === "read") complain(`${where}: the buffer is read only`);
  if (!sameType(declared.type, s.value.type))
    complain(`${where}: ${typeText(s.value.type)} for a ${typeText(declared.type)}`);
}

/** Shared subexpressions are looked at once. */
function checkExpr(kernel: Kernel, root: Expr, scope: Scope, complain: (text: string) => void): void {
  const seen = { always: new Set<Expr>(), skippable: new Set<Expr>() };
  const visit = (e: Expr, skippable: boolean): void => {
    const done = skippable ? seen.skippable : seen.always;
    if (done.has(e)) return;
    done.add(e);
    for (const [i, part] of operands(e).entries())
      visit(part, skippable || (i === 1 && e.kind === "binary" && (e.op === "and" || e.op === "or")));
    const problem = typeError(e) ?? nameError(kernel, e, scope);
    if (problem) complain(problem);
    if (e.kind === "load") checkLength(kernel, e.from, e.index, complain);
    if (e.kind === "subgroup" && skippable) complain(`subgroup ${e.op} on the right of && or ||`);
  };
  visit(root, false);
}

function nameError(kernel: Kernel, e: Expr, scope: Scope): string | undefined {
  switch (e.kind) {
    case "param":
    case "name":
    case "load": {
      const name = e.kind === "load" ? e.from : e.name;
      const declared = scope.get(name);
      const fits =
        declared !== undefined &&
        (declared.kind === "memory" ? "load" : declared.kind === "param" ? "param" : "name") === e.kind;
      if (!fits) return e.kind === "load" ? `load from undeclared ${name}` : `unknown ${e.kind} ${name}`;
      if (declared.kind === "memory" && declared.access === "write")
        return `load from ${name}, which is write only`;
      if (!sameType(declared.type, e.type))
        return `${name} is ${typeText(declared.type)}, not ${typeText(e.type)}`;
      return undefined;
    }
    case "builtin":
      return (e.name === "lane" || e.name === "subgroup") && kernel.subgroupSize === 0
        ? `${e.name} in a kernel without a subgroup size`
        : undefined;
    case "subgroup":
      if (kernel.subgroupSize === 0) return `subgroup ${e.op} in a kernel without a subgroup size`;
      if (e.lane?.kind === "const" && Number(e.lane.value) >= kernel.subgroupSize)
        return `subgroup ${e.op}: lane ${e.lane.value} of ${kernel.subgroupSize}`;
      return undefined;
    default:
      return undefined;
  }
}

function checkLength(kernel: Kernel, name: string, index: Expr, complain: (text: string) => void): void {
  const shared = kernel.shared.find((s) => s.name === name);
  if (shared && index.kind === "const" && !(Number(index.value) >= 0 && Number(index.value) < shared.length))
    complain(`element ${index.value} of ${name}, which has ${shared.length}`);
}
