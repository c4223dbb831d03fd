// Holds the inputs of a run against what the entry point wants, and finds the sizes that its symbols stand for in this run. Everything
// that is wrong is said at once, with the name of the input, the axis, what was expected and what came.

import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";
import type { DimEnv } from "../ir/dim.ts";
import type { PlanEntry } from "../ir/plan.ts";
import { bindSymbols, checkLimits } from "../ir/symbols.ts";
import { elementCount, newData, type Tensor, type TensorData } from "../ir/tensor.ts";
import { dimOf, type DimReader } from "./memory.ts";
import { isGpuTensor, type GpuTensor } from "./transfer.ts";

export type RunInputs = Readonly<Record<string, Tensor | GpuTensor>>;

/** Memory of the caller for outputs, by their names. */
export type OutputMemory = Readonly<Record<string, TensorData>>;

type EntryInput = PlanEntry["inputs"][number];

/** Throws InputError with every problem; else the value of each bound symbol. */
export function checkInputs(
  entry: PlanEntry,
  inputs: RunInputs,
  given: Readonly<Record<string, number>>,
  device: GPUDevice,
): DimEnv {
  const diagnostics: Diagnostic[] = [
    ...entry.inputs.flatMap((i) => checkInput(i, inputs[i.name], device)),
    ...unknownInputs(entry, inputs),
    ...Object.entries(given).flatMap(([name, value]) => checkDim(name, value)),
  ];
  if (diagnostics.length > 0) throw new InputError(diagnostics);
  const { symbols, shapes, limits } = declarationOf(entry);
  const { values, diagnostics: wrong } = bindSymbols(
    symbols,
    shapes,
    Object.fromEntries(entry.inputs.map((i) => [i.name, inputs[i.name]!.shape])),
    given,
  );
  if (wrong.length > 0) throw new InputError(wrong);
  const broken = checkLimits(limits, values);
  if (broken.length > 0) throw new InputError(broken);
  return values;
}

/** What an entry point says of its sizes, read once: every run is held against it. */
const declarations = new WeakMap<PlanEntry, ReturnType<typeof readDeclaration>>();

function declarationOf(entry: PlanEntry): ReturnType<typeof readDeclaration> {
  let found = declarations.get(entry);
  if (!found) declarations.set(entry, (found = readDeclaration(entry)));
  return found;
}

function readDeclaration(entry: PlanEntry) {
  return {
    symbols: entry.symbols.filter((s) => s.kind === "bound").map((s) => s.name),
    shapes: entry.inputs.map((i) => ({ name: i.name, shape: i.shape.map(dimOf) })),
    limits: (entry.limits ?? []).map(({ size, text, at }) => ({ size: dimOf(size), text, at })),
  };
}

const showInput = (i: EntryInput): string => `${i.dtype}[${i.shape.join(", ")}]`;

function checkInput(
  i: EntryInput,
  t: Tensor | GpuTensor | undefined,
  device: GPUDevice,
): readonly Diagnostic[] {
  if (!t)
    return [
      error("missing-input", `input ${i.name} is missing`, { help: `the model wants ${showInput(i)}` }),
    ];
  const found: Diagnostic[] = [];
  if (t.dtype !== i.dtype)
    found.push(
      error("input-dtype", `input ${i.name} is ${t.dtype}, the model wants ${i.dtype}`, {
        help: `convert it to ${showInput(i)}`,
      }),
    );
  if (!t.shape.every((n) => Number.isSafeInteger(n) && n >= 0))
    found.push(error("input-shape", `input ${i.name} has the impossible shape [${t.shape.join(", ")}]`));
  else if (isGpuTensor(t)) {
    if (t.device !== device)
      found.push(
        error("input-device", `input ${i.name} lies on another device than the session's`, {
          help: "read it to the processor first, or keep both on one device",
        }),
      );
    if ((t.order ?? []).join() !== (i.order ?? []).join() || t.memoryShape.join() !== t.shape.join())
      found.push(
        error("input-order", `input ${i.name} lies in memory in another way than the model wants`, {
          help: "read it to the processor first",
        }),
      );
  } else if (t.data.length !== elementCount(t.shape))
    found.push(
      error(
        "input-data",
        `input ${i.name} has ${t.data.length} numbers for the shape [${t.shape.join(", ")}], which holds ${elementCount(t.shape)}`,
      ),
    );
  return found;
}

function unknownInputs(entry: PlanEntry, inputs: RunInputs): readonly Diagnostic[] {
  const known = entry.inputs.map((i) => i.name);
  return Object.keys(inputs)
    .filter((name) => !known.includes(name))
    .map((name) =>
      error("unknown-input", `the model has no input ${name}`, {
        help: known.length > 0 ? `its inputs are ${known.join(", ")}` : "it has no inputs",
      }),
    );
}

function checkDim(name: string, value: number): readonly Diagnostic[] {
  if (Number.isSafeInteger(value) && value >= 0) return [];
  return [error("bad-dimension", `dimension ${name} cannot be ${value}`, { help: "give a whole number" })];
}

/** The outputs that were asked for, in the order of the entry. */
export function wantedOutputs(
  entry: PlanEntry,
  names: readonly string[] | undefined,
): readonly PlanEntry["outputs"][number][] {
  if (!names) return entry.outputs;
  const known = entry.outputs.map((o) => o.name);
  const unknown = names.filter((n) => !known.includes(n));
  if (unknown.length > 0)
    throw new InputError(
      unknown.map((n) =>
        error("unknown-output", `the model has no output ${n}`, {
          help: `its outputs are ${known.join(", ")}`,
        }),
      ),
    );
  return entry.outputs.filter((o) => names.includes(o.name));
}

/** Throws InputError where memory is given for something else than an output that is wanted, is of another kind, or too small. */
export function checkMemory(
  outputs: readonly PlanEntry["outputs"][number][],
  memory: OutputMemory,
  size: DimReader,
): void {
  const found = Object.entries(memory).flatMap(([name, data]) => {
    const output = outputs.find((o) => o.name === name);
    if (!output)
      return error("unknown-output", `memory is given for ${name}, which is no output of this run`, {
        help: `its outputs are ${outputs.map((o) => o.name).join(", ")}`,
      });
    const { dtype, shape } = output.tensor;
    const kind = newData(dtype, 0).constructor.name;
    if (data.constructor.name !== kind)
      return error("output-memory", `the memory for output ${name} is no ${kind}`, {
        help: `${dtype} comes as ${kind}`,
      });
    const count = elementCount(shape.map(size));
    if (data.length >= count) return [];
    const holds = `the memory for output ${name} holds ${data.length} numbers, and it has ${count}`;
    return error("output-memory", shape.length > 0 ? `${holds} ([${shape.join(", ")}])` : holds);
  });
  if (found.length > 0) throw new InputError(found);
}
