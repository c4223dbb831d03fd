// Sizes of one run of a graph: symbols by symbols.ts, and what only the graph knows - inputs that are missing, bounded symbols, and
// tensors that would be empty or absurdly large. Knows no values.

import { error, type Diagnostic } from "../support/diagnostic.ts";
import { showLocation } from "../support/source.ts";
import { evaluateDim, symbolsOf, type Dim, type DimEnv } from "./dim.ts";
import { typesOf, type Graph, type Node } from "./graph.ts";
import { limitsOf } from "./limits.ts";
import { bindSymbols, checkLimits } from "./symbols.ts";
import { showType, type TensorType } from "./types.ts";

/** Elements that one tensor may have. */
const maxElements = 2 ** 31;

export interface Binding {
  /** Value of every symbol; a bounded one that no input fixes stands at its bound. */
  readonly env: DimEnv;
  /** Names of the bounded symbols that no input fixes: an op will say. */
  readonly undecided: ReadonlySet<string>;
  /** An input has no elements, and so has no result: there is nothing to compute. */
  readonly empty: boolean;
  readonly diagnostics: readonly Diagnostic[];
}

export function bindGraph(
  graph: Graph,
  shapes: Readonly<Record<string, readonly number[]>>,
  dims: Readonly<Record<string, number>> = {},
): Binding {
  const diagnostics: Diagnostic[] = [];
  for (const input of graph.inputs)
    if (!Object.hasOwn(shapes, input.name))
      diagnostics.push(
        error("missing-input", `input ${input.name} is not given`, {
          help: `the model wants ${showType(input.type)}`,
        }),
      );
  for (const [name, shape] of Object.entries(shapes))
    if (shape.some((n) => !Number.isSafeInteger(n) || n < 0))
      diagnostics.push(error("input-shape", `input ${name} has the impossible shape [${shape.join(", ")}]`));
  for (const [name, value] of Object.entries(dims))
    if (!Number.isSafeInteger(value) || value < 1)
      diagnostics.push(error("bad-dimension", `dimension ${name} must be a positive integer, not ${value}`));

  // A bounded symbol takes its live value from an input that has it as an axis, if there is one.
  const onInputs = new Set(graph.inputs.flatMap((x) => x.type.shape.map((d) => d.key)));
  const symbols = graph.symbols.filter(
    (s) => s.kind === "bound" || onInputs.has(s.name) || Object.hasOwn(dims, s.name),
  );
  const declared = graph.inputs.map((x) => ({ name: x.name, shape: x.type.shape }));
  const found = bindSymbols(
    symbols.map((s) => s.name),
    declared,
    // No prototype: an input may be called `constructor`.
    Object.assign(Object.create(null) as object, shapes) as typeof shapes,
    dims,
  );
  diagnostics.push(...found.diagnostics);
  const env: Record<string, number> = { ...found.values };
  const undecided = new Set<string>();
  for (const s of graph.symbols) {
    if (s.kind !== "bounded" || !hasAll(s.bound, env)) continue;
    const bound = evaluateDim(s.bound, env);
    const live = Object.hasOwn(env, s.name) ? env[s.name]! : undefined;
    if (live === undefined) {
      env[s.name] = bound;
      undecided.add(s.name);
    } else if (live > bound)
      diagnostics.push(
        error("dimension-conflict", `${s.name} is ${live}, above its bound ${s.bound.key} = ${bound}`),
      );
  }
  const without = Object.keys(shapes).filter((name) => shapes[name]!.includes(0));
  const empty = diagnostics.length === 0 && without.length > 0 && resultsAreEmpty(graph, env);
  if (diagnostics.length === 0 && !empty)
    diagnostics.push(
      ...(without.length > 0
        ? without.map((name) => emptyInput(name, shapes[name]!))
        : [...checkLimits(limitsOf(graph), env), ...checkSizes(graph, env)].slice(0, 1)),
    );
  return { env, undecided, empty, diagnostics };
}

function emptyInput(name: string, shape: readonly number[]): Diagnostic {
  return error(
    "empty-input",
    `input ${name} is [${shape.join(", ")}], and there are results that are not empty`,
    {
      help: "give it at least one element along every axis",
    },
  );
}

function resultsAreEmpty(graph: Graph, env: DimEnv): boolean {
  const types = typesOf(graph);
  return [...graph.outputs.map((o) => o.value), ...graph.states.map((s) => s.next)].every((id) =>
    types.get(id)!.shape.some((d) => evaluateDim(d, env) === 0),
  );
}

function hasAll(d: Dim, env: DimEnv): boolean {
  return [...symbolsOf(d)].every((s) => Object.hasOwn(env, s));
}

/** Every tensor has at least one element, and not too many. The first failure only: later ones follow from it. */
function checkSizes(graph: Graph, env: DimEnv): readonly Diagnostic[] {
  for (const node of graph.nodes)
    for (const { type } of node.results) {
      const problem = sizeProblem(type, env);
      if (problem) return [sizeError(node, problem)];
    }
  return [];
}

interface SizeProblem {
  readonly code: "empty-tensor" | "too-large";
  readonly text: string;
}

function sizeProblem(type: TensorType, env: DimEnv): SizeProblem | undefined {
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

function sizeError(node: Node, { code, text }: SizeProblem): Diagnostic {
  const at = node.spans[0];
  return error(code, `${node.op.name} cannot run with these inputs: ${text}`, {
    notes: at ? [{ message: `${node.op.name} is at ${showLocation(at)}` }] : [],
    help: code === "empty-tensor" ? "give a larger input" : "give a smaller input",
  });
}
