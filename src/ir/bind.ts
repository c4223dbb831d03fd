// Values of symbolic dimensions for one run: found by matching the shapes of the inputs, or given by name. What does not fit is told
// as diagnostics; sizes that a graph cannot have (empty, or absurdly large) too. Knows no values.

import { error, type Diagnostic } from "../support/diagnostic.ts";
import { showLocation, type Location } from "../support/source.ts";
import { constantOf, evaluateDim, symbolsOf, type Dim, type DimEnv } from "./dim.ts";
import { unionSpans, type Graph, type Node } from "./graph.ts";
import { showType, type TensorType } from "./types.ts";

/** Elements that one tensor may have. */
const maxElements = 2 ** 31;

export interface Binding {
  /** Every bound symbol that could be found; bounded ones where an input fixes their live value, else their bound. */
  readonly env: DimEnv;
  /** Live values that inputs fix. */
  readonly live: DimEnv;
  readonly diagnostics: readonly Diagnostic[];
}

/** One axis that must have a size: an equation for its symbols. */
interface Equation {
  readonly input: string;
  readonly axis: number;
  readonly dim: Dim;
  readonly size: number;
}

export function bindSymbols(
  graph: Graph,
  shapes: Readonly<Record<string, readonly number[]>>,
  dims: Readonly<Record<string, number>> = {},
): Binding {
  const diagnostics: Diagnostic[] = [];
  const known: Record<string, number> = {};
  for (const [name, value] of Object.entries(dims))
    if (!graph.symbols.some((s) => s.name === name))
      diagnostics.push(
        error("unknown-dimension", `the model has no dimension called ${name}`, {
          help: graph.symbols.length
            ? `its dimensions are ${graph.symbols.map((s) => s.name).join(", ")}`
            : undefined,
        }),
      );
    else if (!Number.isSafeInteger(value) || value < 1)
      diagnostics.push(error("bad-dimension", `dimension ${name} must be a positive integer, not ${value}`));
    else known[name] = value;

  const equations = inputEquations(graph, shapes, diagnostics);
  const source = solve(equations, known);
  for (const e of equations) checkEquation(graph, e, known, source, diagnostics);
  const live = { ...known };
  for (const s of graph.symbols) {
    if (s.kind === "bound" || Object.hasOwn(known, s.name)) continue;
    if (hasAll(s.bound, known)) known[s.name] = evaluateDim(s.bound, known);
  }
  checkBounds(graph, known, live, diagnostics);
  const missing = graph.symbols.filter((s) => !Object.hasOwn(known, s.name));
  if (diagnostics.length === 0)
    for (const s of missing)
      diagnostics.push(
        error("unbound-dimension", `no input says how large dimension ${s.name} is`, {
          help: `give it a value: --dim ${s.name}=1`,
        }),
      );
  if (diagnostics.length === 0) checkSizes(graph, known, diagnostics);
  return { env: known, live, diagnostics };
}

function inputEquations(
  graph: Graph,
  shapes: Readonly<Record<string, readonly number[]>>,
  diagnostics: Diagnostic[],
): Equation[] {
  const equations: Equation[] = [];
  for (const input of graph.inputs) {
    const shape = Object.hasOwn(shapes, input.name) ? shapes[input.name] : undefined;
    if (!shape) {
      diagnostics.push(
        error("missing-input", `input ${input.name} is not given`, {
          notes: declaredAt(input.name, input.type, input.spans),
        }),
      );
      continue;
    }
    if (shape.length !== input.type.shape.length) {
      diagnostics.push(
        error(
          "input-shape",
          `input ${input.name} has ${input.type.shape.length} axes, and [${shape.join(", ")}] has ${shape.length}`,
          { notes: declaredAt(input.name, input.type, input.spans) },
        ),
      );
      continue;
    }
    for (const [axis, dim] of input.type.shape.entries())
      equations.push({ input: input.name, axis, dim, size: shape[axis]! });
  }
  return equations;
}

function declaredAt(name: string, type: TensorType, spans: readonly Location[]) {
  const at = spans[0] ? `, declared at ${showLocation(spans[0])}` : "";
  return [{ message: `${name} is ${showType(type)}${at}` }];
}

/** Solves equations that are linear in one unknown, until none is left; returns which equation gave each symbol. */
function solve(equations: readonly Equation[], known: Record<string, number>): Map<string, Equation> {
  const source = new Map<string, Equation>();
  for (let found = true; found;) {
    found = false;
    for (const e of equations) {
      const unknown = [...symbolsOf(e.dim)].filter((s) => !Object.hasOwn(known, s));
      if (unknown.length !== 1) continue;
      const name = unknown[0]!;
      const value = solveLinear(e, name, known);
      if (value === undefined) continue;
      known[name] = value;
      source.set(name, e);
      found = true;
    }
  }
  return source;
}

function solveLinear(e: Equation, name: string, known: DimEnv): number | undefined {
  const at = (value: number) => evaluateDim(e.dim, { ...known, [name]: value });
  const slope = at(2) - at(1);
  if (slope === 0 || at(3) - at(2) !== slope) return undefined;
  const value = 1 + (e.size - at(1)) / slope;
  return Number.isSafeInteger(value) && value >= 1 ? value : undefined;
}

function checkEquation(
  graph: Graph,
  e: Equation,
  known: DimEnv,
  source: ReadonlyMap<string, Equation>,
  diagnostics: Diagnostic[],
): void {
  const input = graph.inputs.find((x) => x.name === e.input)!;
  const notes = declaredAt(e.input, input.type, input.spans);
  if (!Number.isSafeInteger(e.size) || e.size < 1) {
    diagnostics.push(
      error("empty-input", `axis ${e.axis} of input ${e.input} has size ${e.size}, and must have at least 1`),
    );
    return;
  }
  if (!hasAll(e.dim, known)) {
    const unknown = [...symbolsOf(e.dim)].filter((s) => !Object.hasOwn(known, s));
    // A lone symbol always has a solution; here the size fits none, or there are several unknowns.
    if (unknown.length === 1 && isLinear(e.dim, unknown[0]!, known))
      diagnostics.push(
        error(
          "input-shape",
          `axis ${e.axis} of input ${e.input} is ${e.dim.key}, which cannot be ${e.size}`,
          {
            notes,
          },
        ),
      );
    return;
  }
  const expected = evaluateDim(e.dim, known);
  if (expected === e.size) return;
  const fixed = constantOf(e.dim) !== undefined;
  for (const name of symbolsOf(e.dim)) {
    const from = source.get(name);
    notes.push({
      message: from
        ? `${name} is ${known[name]} by axis ${from.axis} of input ${from.input}`
        : `${name} is ${known[name]} as given`,
    });
  }
  diagnostics.push(
    error(
      fixed ? "input-shape" : "dimension-conflict",
      `axis ${e.axis} of input ${e.input} has size ${e.size}, expected ${fixed ? "" : `${e.dim.key} = `}${expected}`,
      { notes },
    ),
  );
}

function isLinear(d: Dim, name: string, known: DimEnv): boolean {
  const at = (value: number) => evaluateDim(d, { ...known, [name]: value });
  return at(2) !== at(1) && at(3) - at(2) === at(2) - at(1);
}

function hasAll(d: Dim, env: DimEnv): boolean {
  return [...symbolsOf(d)].every((s) => Object.hasOwn(env, s));
}

/** A live value that was given stays within its bound. */
function checkBounds(graph: Graph, known: DimEnv, live: DimEnv, diagnostics: Diagnostic[]): void {
  for (const s of graph.symbols) {
    if (s.kind !== "bounded" || !Object.hasOwn(live, s.name) || !hasAll(s.bound, known)) continue;
    const bound = evaluateDim(s.bound, known);
    if (live[s.name]! > bound)
      diagnostics.push(
        error(
          "dimension-conflict",
          `dimension ${s.name} is ${live[s.name]}, above its bound ${s.bound.key} = ${bound}`,
        ),
      );
  }
}

/** Every tensor of the graph has at least one element, and not too many. One message per run: later ones follow from it. */
function checkSizes(graph: Graph, env: DimEnv, diagnostics: Diagnostic[]): void {
  for (const node of graph.nodes)
    for (const result of node.results) {
      const problem = sizeProblem(result.type, env);
      if (!problem) continue;
      diagnostics.push(sizeError(node, problem));
      return;
    }
}

function sizeProblem(type: TensorType, env: DimEnv): { code: string; text: string } | undefined {
  let count = 1;
  for (const [axis, d] of type.shape.entries()) {
    const size = evaluateDim(d, env);
    if (!Number.isSafeInteger(size) || size < 1)
      return { code: "empty-tensor", text: `axis ${axis} of its result is ${d.key} = ${size}` };
    count *= size;
  }
  if (count <= maxElements) return undefined;
  return { code: "too-large", text: `its result ${showType(type)} would have ${count} elements` };
}

function sizeError(node: Node, problem: { code: string; text: string }): Diagnostic {
  const at = unionSpans(node.spans)[0];
  return error(problem.code, `${node.op.name} cannot run with these inputs: ${problem.text}`, {
    notes: at ? [{ message: `${node.op.name} is at ${showLocation(at)}` }] : [],
    help: problem.code === "empty-tensor" ? "give a larger input" : "give a smaller input",
  });
}
