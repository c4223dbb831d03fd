// The inputs of a run from files, and its outputs to a file. What an `--input` argument means is input-spec.ts's; each format has its
// own reader. Checks element types, ranks and fixed sizes; how sizes of several inputs fit together is the run's business.

import { open, realpath, rename, rm, stat } from "node:fs/promises";
import { constantOf, evaluateDim, symbolsOf, type Dim } from "../ir/dim.ts";
import type { Preprocess } from "../ir/graph.ts";
import { parseDim } from "../ir/dim-parse.ts";
import { bindSymbols } from "../ir/symbols.ts";
import { elementCount, newData, type Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { error, hasErrors, type Diagnostic } from "../support/diagnostic.ts";
import { nearest } from "../support/suggest.ts";
import { failed, ok, reasonOf, shown, showShape, type Outcome } from "./bytes.ts";
import { roundToHalf } from "../support/half.ts";
import { readImage } from "./images-node.ts";
import { parseInputSpec, type InputSpec } from "./input-spec.ts";
import { readNpy, writeNpy } from "./npy.ts";
import { fileSource } from "./open-node.ts";
import { preprocess, toGrey } from "./preprocess.ts";
import { openSafetensors, writeSafetensors } from "./safetensors.ts";
import { seededInput } from "./seeded.ts";

/** An input as a plan has it: the shape is dimension text (`B`, `3`, `2*H`). */
export interface WantedInput {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly string[];
  readonly preprocess?: Preprocess;
}

export interface LoadInputsOptions {
  /** Inputs that no argument gives are made from their own names. */
  readonly seedMissing?: boolean;
}

interface Wanted extends Omit<WantedInput, "shape"> {
  readonly shape: readonly Dim[];
}

type FileSpec = Extract<InputSpec, { kind: "file" }>;
type MadeSpec = Exclude<InputSpec, FileSpec>;

/**
 * Every input of the model by name. Several pictures for one input become its batch, in order. `dims` are the sizes given by
 * `--dim`, for inputs that are made rather than read.
 */
export async function loadInputs(
  specs: readonly string[],
  wanted: readonly WantedInput[],
  dims: Readonly<Record<string, number>> = {},
  options: LoadInputsOptions = {},
): Promise<Outcome<Readonly<Record<string, Tensor>>>> {
  const diagnostics: Diagnostic[] = [];
  const inputs = wanted.flatMap((input): Wanted[] => {
    const shape = input.shape.flatMap((text) => parseDim(text) ?? []);
    if (shape.length === input.shape.length) return [{ ...input, shape }];
    diagnostics.push(error("input-shape", `the shape of input ${shown(input.name)} cannot be read`));
    return [];
  });
  const found = new Map<string, Tensor[]>();
  const made: MadeSpec[] = [];
  for (const text of specs) {
    const spec = parseInputSpec(text);
    const problem = spec.value && checkName(spec.value, inputs);
    diagnostics.push(...spec.diagnostics, ...(problem ? [problem] : []));
    if (!spec.value || problem) continue;
    if (spec.value.kind !== "file") {
      made.push(spec.value);
      continue;
    }
    const read = await readFileSpec(spec.value, inputs);
    diagnostics.push(...read.diagnostics);
    for (const [name, t] of read.value ?? []) {
      const before = found.get(name);
      if (!before) found.set(name, [t]);
      else if (spec.value.format === "image") before.push(t);
      else diagnostics.push(givenTwice(name));
    }
  }
  if (hasErrors(diagnostics)) return failed(...diagnostics);

  const tensors = new Map([...found].map(([name, list]) => [name, batchOf(list)]));
  const missing = inputs.filter((i) => !tensors.has(i.name) && !made.some((m) => m.name === i.name));
  if (options.seedMissing)
    made.push(...missing.map((i) => ({ kind: "seed", name: i.name, seed: i.name }) as const));
  else if (missing.length > 0) diagnostics.push(...missing.map((i) => notGiven(i)));
  const sizes = knownDims(inputs, tensors, dims);
  for (const spec of made) {
    if (tensors.has(spec.name)) diagnostics.push(givenTwice(spec.name));
    else {
      const t = make(
        spec,
        inputs.find((i) => i.name === spec.name)!,
        sizes,
      );
      diagnostics.push(...t.diagnostics);
      if (t.value) tensors.set(spec.name, t.value);
    }
  }
  return hasErrors(diagnostics) ? failed(...diagnostics) : ok(Object.fromEntries(tensors), diagnostics);
}

function checkName(spec: InputSpec, inputs: readonly Wanted[]): Diagnostic | undefined {
  const names = inputs.map((i) => i.name);
  if (spec.name === undefined) {
    if (spec.kind !== "file" || spec.format === "safetensors" || inputs.length === 1) return undefined;
    return error("input-spec", `${spec.path} may be for any of the inputs ${names.join(", ")}`, {
      help: `write ${names[0] ?? "NAME"}=${spec.path}`,
    });
  }
  if (names.includes(spec.name)) return undefined;
  const near = nearest(spec.name, names);
  return error("unknown-input", `the model has no input ${spec.name}`, {
    help: near ? `is it ${near}?` : `its inputs are ${names.join(", ")}`,
  });
}

function givenTwice(name: string): Diagnostic {
  return error("input-duplicate", `input ${name} is given twice`, {
    help: "only pictures add up, to a batch",
  });
}

function notGiven(input: Wanted): Diagnostic {
  const file = input.preprocess ? "FILE.png" : "FILE.npy";
  return error("missing-input", `input ${input.name} (${showInput(input)}) is not given`, {
    help: `add --input ${input.name}=${file}, or ${input.name}=seed:${input.name} to try the model out`,
  });
}

function showInput(input: Wanted): string {
  return `${input.dtype}[${input.shape.map((d) => d.key).join(", ")}]`;
}

async function readFileSpec(
  spec: FileSpec,
  inputs: readonly Wanted[],
): Promise<Outcome<readonly (readonly [string, Tensor])[]>> {
  const input = inputs.find((i) => i.name === (spec.name ?? inputs[0]?.name));
  if (spec.format === "safetensors") return readSafetensors(spec, inputs);
  if (!input) return failed(error("unknown-input", "the model has no input"));
  const read =
    spec.format === "npy" ? await readArray(spec.path, input.dtype) : await readPicture(spec.path, input);
  const checked = read.value ? checkShape(read.value, input, spec.path) : read;
  return checked.value ? ok([[input.name, checked.value]]) : failed(...checked.diagnostics);
}

async function readArray(path: string, dtype: DType): Promise<Outcome<Tensor>> {
  const source = await fileSource(path);
  if (!source.value) return failed(...source.diagnostics);
  const read = await readNpy(source.value, dtype);
  await source.value.close();
  return read;
}

async function readSafetensors(
  { path, name, tensor }: FileSpec,
  inputs: readonly Wanted[],
): Promise<Outcome<readonly (readonly [string, Tensor])[]>> {
  const source = await fileSource(path);
  if (!source.value) return failed(...source.diagnostics);
  const opened = await openSafetensors(source.value);
  if (!opened.value) return failed(...opened.diagnostics);
  const store = opened.value;
  const keys = [...store.tensors.keys()];
  // One input and a file with one tensor need no agreement on names.
  const only = keys.length === 1 ? keys[0] : undefined;
  const pairs = inputs.flatMap((input) => {
    if (name !== undefined && input.name !== name) return [];
    const named =
      tensor ?? (store.tensors.has(input.name) ? input.name : name === undefined ? undefined : only);
    return named !== undefined && store.tensors.has(named) ? [{ input, key: named }] : [];
  });
  const out: [string, Tensor][] = [];
  const diagnostics: Diagnostic[] = [];
  if (pairs.length === 0) {
    const wanted = tensor ?? name ?? inputs.map((i) => i.name).join(" or ");
    const near = nearest(wanted, keys);
    diagnostics.push(
      error("input-tensor", `${path} has no tensor ${shown(wanted)}`, {
        help: near ? `is it ${shown(near)}?` : `it has ${keys.slice(0, 10).map(shown).join(", ") || "none"}`,
      }),
    );
  }
  for (const { input, key } of pairs) {
    const read = await store.read(key, input.dtype);
    const checked = read.value ? checkShape(read.value, input, path) : read;
    diagnostics.push(...checked.diagnostics);
    if (checked.value) out.push([input.name, checked.value]);
  }
  await store.close();
  return diagnostics.length > 0 ? failed(...diagnostics) : ok(out);
}

async function readPicture(path: string, input: Wanted): Promise<Outcome<Tensor>> {
  const how = input.preprocess;
  if (!how)
    return failed(
      error("input-preprocess", `the model does not say how a picture becomes its input ${input.name}`, {
        help: `add a preprocess statement for ${input.name} to the model, or give the numbers as .npy`,
      }),
    );
  const channels = input.shape.length === 4 ? (constantOf(input.shape[1]!) ?? 3) : 0;
  if ((channels !== 1 && channels !== 3) || (input.dtype !== "f32" && input.dtype !== "f16"))
    return failed(
      error("input-shape", `a picture cannot become input ${input.name}, which is ${showInput(input)}`, {
        help: "a picture is f32[B, 3, H, W], or f32[B, 1, H, W] in grey",
      }),
    );
  const picture = await readImage(path);
  if (!picture.value) return failed(...picture.diagnostics);
  const ready = preprocess(channels === 1 ? toGrey(picture.value) : picture.value, how);
  if (!ready.value || input.dtype === "f32") return ready;
  return ok({ ...ready.value, dtype: "f16", data: ready.value.data.map(roundToHalf) });
}

/** Rank and the sizes that are numbers in the model. */
function checkShape(t: Tensor, input: Wanted, path: string): Outcome<Tensor> {
  const fits =
    t.shape.length === input.shape.length &&
    t.shape.every((size, i) => (constantOf(input.shape[i]!) ?? size) === size);
  if (fits) return ok(t);
  return failed(
    error("input-shape", `input ${input.name} is ${showInput(input)}, and ${showShape(t.shape)} in ${path}`),
  );
}

function batchOf(list: readonly Tensor[]): Tensor {
  const first = list[0]!;
  if (list.length === 1) return first;
  const data = newData(first.dtype, first.data.length * list.length);
  list.forEach((t, i) => data.set(t.data, i * first.data.length));
  return { dtype: first.dtype, shape: first.shape.with(0, first.shape[0]! * list.length), data };
}

/** Sizes of symbols: those given, and those that the inputs read so far show. Contradictions come out when the run binds them. */
function knownDims(
  inputs: readonly Wanted[],
  tensors: ReadonlyMap<string, Tensor>,
  given: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  const symbols = [...new Set(inputs.flatMap((i) => i.shape.flatMap((d) => [...symbolsOf(d)])))];
  const shapes = Object.fromEntries([...tensors].map(([name, t]) => [name, t.shape]));
  return { ...bindSymbols(symbols, inputs, shapes, given).values };
}

/** More than a GPU binds at once; `--dim` is the user's to mistype. */
const maxMadeElements = 2 ** 30;

function make(spec: MadeSpec, input: Wanted, dims: Readonly<Record<string, number>>): Outcome<Tensor> {
  const open = [...new Set(input.shape.flatMap((d) => [...symbolsOf(d)]))].filter(
    (s) => !Object.hasOwn(dims, s),
  );
  if (open.length > 0)
    return failed(
      error(
        "input-dim",
        `nothing says how large ${open.join(" and ")} of input ${input.name} (${showInput(input)}) is`,
        {
          help: `add ${open.map((s) => `--dim ${s}=SIZE`).join(" ")}`,
        },
      ),
    );
  const shape = input.shape.map((d) => evaluateDim(d, dims));
  const count = elementCount(shape);
  if (!shape.every((s) => Number.isInteger(s) && s >= 0) || !(count <= maxMadeElements))
    return failed(error("input-dim", `input ${input.name} cannot have the shape ${showShape(shape)}`));
  if (spec.kind === "seed") return ok(seededInput(spec.seed, shape, input.dtype));
  if (!holds(input.dtype, spec.value))
    return failed(
      error("tensor-range", `input ${input.name} is ${input.dtype}, which cannot be ${spec.value}`, {
        help: input.dtype === "bool" ? "write ones or zeros" : "write a number of that type",
      }),
    );
  return ok({ dtype: input.dtype, shape, data: newData(input.dtype, count).fill(spec.value) });
}

const ranges: Readonly<Record<DType, readonly [number, number]>> = {
  f32: [-3.4028234663852886e38, 3.4028234663852886e38],
  f16: [-65504, 65504],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  bool: [0, 1],
  i8: [-128, 127],
  i4: [-8, 7],
};

function holds(dtype: DType, value: number): boolean {
  const [least, most] = ranges[dtype];
  return value >= least && value <= most && (dtype[0] === "f" || Number.isInteger(value));
}

/** Paths that the arguments read, for `writeOutputs` to spare. */
export function inputPaths(specs: readonly string[]): string[] {
  return specs.flatMap((text) => {
    const spec = parseInputSpec(text).value;
    return spec?.kind === "file" ? [spec.path] : [];
  });
}

/**
 * Writes .safetensors, or .npy for a single tensor. The file appears whole or not at all, and never in place of one of `spare`
 * (the inputs and weights of the run), by whatever name.
 */
export async function writeOutputs(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  spare: readonly string[] = [],
): Promise<Outcome<{ readonly path: string; readonly bytes: number }>> {
  const names = Object.keys(tensors);
  const isNpy = /\.npy$/i.test(path);
  if (!isNpy && !/\.safetensors$/i.test(path))
    return failed(error("output-format", `${path} ends in neither .safetensors nor .npy`));
  if (isNpy && names.length !== 1)
    return failed(
      error(
        "output-format",
        `${path} holds one array, and there are ${names.length} outputs: ${names.join(", ")}`,
        {
          help: "write .safetensors, which holds them all",
        },
      ),
    );
  const there = await stat(path).catch(() => undefined);
  if (there && !there.isFile()) return failed(error("file-kind", `${path} is not a regular file`));
  for (const other of there ? spare : []) {
    const info = await stat(other).catch(() => undefined);
    if (info && info.ino === there!.ino && info.dev === there!.dev)
      return failed(
        error("output-is-input", `${path} is an input of this run (${other}) and would be overwritten`),
      );
  }
  const bytes = isNpy ? writeNpy(tensors[names[0]!]!) : writeSafetensors(tensors);
  try {
    await replaceFile(there ? await realpath(path) : path, bytes);
    return ok({ path, bytes: bytes.length });
  } catch (cause) {
    return failed(error("file-write", `${path} cannot be written: ${reasonOf(cause)}`));
  }
}

async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  const handle = await open(partial, "wx");
  try {
    await handle.writeFile(bytes);
    await handle.close();
    await rename(partial, path);
  } catch (cause) {
    await handle.close().catch(() => {});
    await rm(partial, { force: true });
    throw cause;
  }
}
