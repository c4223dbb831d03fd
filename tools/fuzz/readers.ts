// What is fuzzed: for each reader of foreign text or bytes, how inputs are made and what must hold for any of them. A check returns
// whether the input was accepted, and throws where the reader throws or breaks a promise.

import {
  compileModule,
  elaborateFile,
  format,
  InputError,
  parse,
  parseKernel,
  printKernel,
  printModule,
  render,
} from "../../src/index.ts";
import { verifyKernel } from "../../src/ir/kernel-verify.ts";
import { parseGraphs } from "../../src/ir/parse.ts";
import { checkPlan } from "../../src/ir/plan-check.ts";
import { verifyGraph } from "../../src/ir/verify.ts";
import { allOps, lookupOp } from "../../src/ops/index.ts";
import { memorySource, type Outcome } from "../../src/runtime/bytes.ts";
import { decodeImage } from "../../src/runtime/images-node.ts";
import { parseInputSpec } from "../../src/runtime/input-spec.ts";
import { readNpy } from "../../src/runtime/npy.ts";
import { preprocess } from "../../src/runtime/preprocess.ts";
import { openSafetensors } from "../../src/runtime/safetensors.ts";
import { parseShardIndex } from "../../src/runtime/sharded.ts";
import { parseWeightSpec } from "../../src/runtime/weights.ts";
import type { Diagnostic } from "../../src/support/diagnostic.ts";
import * as corpus from "./corpus.ts";
import { mutateBytes, mutateJson, mutateText } from "./mutate.ts";
import { random, type Random } from "./random.ts";

export type Input = string | Uint8Array;

export interface Reader {
  readonly name: string;
  /** Of the files that failures are kept in. */
  readonly extension: string;
  /** What one input may take at most, where the limits of the reader allow more than a moment. */
  readonly milliseconds?: number;
  /** Input number `index` of a seed. */
  make(r: Random): Input | Promise<Input>;
  /** Was it accepted? Throws where a promise is broken. */
  check(input: Input): boolean | Promise<boolean>;
}

/** Something that a reader promised and did not keep. */
class Broken extends Error {
  constructor(promise: string, detail = "") {
    super(`${promise}${detail && `: ${detail.slice(0, 2000)}`}`);
    this.name = "Broken";
  }
}

function demand(holds: boolean, promise: string, detail?: string): void {
  if (!holds) throw new Broken(promise, detail);
}

/** Diagnostics can be shown, point into their file, and are not endless. */
function demandShowable(diagnostics: readonly Diagnostic[]): void {
  demand(diagnostics.length <= 250, "a reader has at most 250 diagnostics");
  for (const { span, code, message, label = "", help = "", notes } of diagnostics) {
    demand(/^[a-z][\w.-]*$/.test(code), "a code is a word", code);
    demand(message !== "", "a message says something", code);
    for (const text of [message, label, help, ...notes.map((n) => n.message)])
      demand(text.length <= 2000, "a message has a length that can be read", text);
    demand(notes.length <= 100, "a diagnostic has notes that can be read", `${notes.length} for ${code}`);
    if (!span) continue;
    const ok = span.start >= 0 && span.start <= span.end && span.end <= span.file.text.length;
    demand(ok, "a span lies in its file", `${span.start} to ${span.end} for ${code}`);
  }
  render(diagnostics.slice(0, 5), { color: false, width: 100 });
}

const textOf = (input: Input): string =>
  typeof input === "string" ? input : new TextDecoder().decode(input);
const bytesOf = (input: Input): Uint8Array =>
  typeof input === "string" ? new TextEncoder().encode(input) : input;

function mutants(texts: () => readonly string[]): (r: Random) => string {
  return (r) => mutateText(r.pick(texts()), texts(), r);
}

/** Of whole models, mostly of valid ones: of those, every third is still valid. */
const modelMutants = (r: Random): string =>
  mutateText(r.pick(r.oneIn(4) ? corpus.wholeModels() : corpus.validModels()), corpus.wholeModels(), r);

function parsed(input: Input): ReturnType<typeof parse> {
  const result = parse(textOf(input), "fuzz.model");
  demandShowable(result.diagnostics);
  return result;
}

const withoutSpans = (value: unknown): string =>
  JSON.stringify(value, (key, child: unknown) => (key === "span" ? undefined : child));

const parser: Reader = {
  name: "parse",
  extension: "model",
  make: mutants(corpus.models),
  check: (input) => parsed(input).diagnostics.length === 0,
};

const formatter: Reader = {
  name: "format",
  extension: "model",
  make: mutants(corpus.models),
  check(input) {
    const { ast, file, diagnostics } = parsed(input);
    if (diagnostics.length > 0) return false;
    const once = format(ast, file);
    const again = parse(once);
    demand(again.diagnostics.length === 0, "formatted text parses", once);
    demand(withoutSpans(again.ast.items) === withoutSpans(ast.items), "formatting keeps the meaning", once);
    const comments = (a: typeof ast): string => withoutSpans(a.comments.map((c) => c.text).sort());
    demand(comments(again.ast) === comments(ast), "formatting keeps the comments", once);
    demand(format(again.ast, again.file) === once, "formatting twice changes nothing", once);
    return true;
  },
};

const elaborator: Reader = {
  name: "elaborate",
  extension: "model",
  // A hundred thousand operations are allowed, and take long on a slow machine.
  milliseconds: 60_000,
  make: modelMutants,
  check(input) {
    const source = { name: "fuzz.model", text: textOf(input) };
    const { module, diagnostics } = elaborateFile(source, { resolve: corpus.resolve });
    demandShowable(diagnostics);
    if (!module) {
      demand(diagnostics.length > 0, "where there is no model there is a reason");
      return false;
    }
    for (const graph of module.graphs) {
      const [fault] = verifyGraph(graph);
      demand(fault === undefined, "an elaborated graph is whole", fault);
    }
    if (module.graphs.every((g) => g.nodes.length <= 200)) demandRoundTrip(printModule(module));
    return true;
  },
};

const compiler: Reader = {
  name: "compile",
  extension: "model",
  milliseconds: 60_000,
  make: modelMutants,
  check(input) {
    const source = { name: "fuzz.model", text: textOf(input) };
    const front = elaborateFile(source, { resolve: corpus.resolve });
    // Larger ones take long, and hold nothing that smaller ones do not.
    if (!front.module || front.module.graphs.some((g) => g.nodes.length > 300)) return false;
    try {
      const { kernels } = compileModule(front.module);
      for (const k of kernels) demand(verifyKernel(k).length === 0, "a kernel is whole", verifyKernel(k)[0]);
      return true;
    } catch (e) {
      if (!(e instanceof InputError)) throw e;
      return false;
    }
  },
};

const opNames = allOps.map((op) => op.name);

function demandRoundTrip(text: string): void {
  const { module, diagnostics } = parseGraphs(text, "printed.ir", lookupOp, { opNames });
  demand(module !== undefined, "printed text reads back", `${diagnostics[0]?.message}\n${text}`);
  demand(printModule(module!) === text, "printed text reads back as the same graph", text);
}

const graphText: Reader = {
  name: "ir",
  extension: "ir",
  make: mutants(corpus.graphs),
  check(input) {
    const { module, diagnostics } = parseGraphs(textOf(input), "fuzz.ir", lookupOp, { opNames });
    demandShowable(diagnostics);
    if (!module) {
      demand(diagnostics.length > 0, "where there is no graph there is a reason");
      return false;
    }
    // What can be written down need not hold together; that is the verifier's to say.
    for (const graph of module.graphs) verifyGraph(graph);
    demandRoundTrip(printModule(module));
    return true;
  },
};

const kernelText: Reader = {
  name: "kernel",
  extension: "kernel",
  make: mutants(corpus.kernels),
  check(input) {
    const { kernel, diagnostics } = parseKernel(textOf(input), "fuzz.kernel");
    demandShowable(diagnostics);
    if (!kernel) {
      demand(diagnostics.length > 0, "where there is no kernel there is a reason");
      return false;
    }
    verifyKernel(kernel);
    const text = printKernel(kernel);
    const again = parseKernel(text);
    demand(
      again.kernel !== undefined,
      "printed text reads back",
      `${again.diagnostics[0]?.message}\n${text}`,
    );
    demand(printKernel(again.kernel!) === text, "printed text reads back as the same kernel", text);
    return true;
  },
};

/** A value or reasons, and never both errors and a value. */
function demandOutcome(outcome: Outcome<unknown>): boolean {
  demandShowable(outcome.diagnostics);
  const errors = outcome.diagnostics.some((d) => d.severity === "error");
  demand(errors === (outcome.value === undefined), "there is a value, or an error that says why not");
  return outcome.value !== undefined;
}

const safetensors: Reader = {
  name: "safetensors",
  extension: "safetensors",
  make: (r) => mutateBytes(r.pick(corpus.safetensors()), corpus.safetensors(), r),
  async check(input) {
    const opened = await openSafetensors(memorySource("fuzz.safetensors", bytesOf(input)));
    if (!demandOutcome(opened)) return false;
    for (const [key, { shape }] of opened.value!.tensors) {
      const read = await opened.value!.read(key);
      if (demandOutcome(read))
        demand(
          read.value!.data.length === shape.reduce((a, b) => a * b, 1),
          "a tensor has the elements of its shape",
        );
    }
    return true;
  },
};

const npy: Reader = {
  name: "npy",
  extension: "npy",
  make: (r) => mutateBytes(r.pick(corpus.npys()), corpus.npys(), r),
  async check(input) {
    return demandOutcome(await readNpy(memorySource("fuzz.npy", bytesOf(input))));
  },
};

const howPictures = {
  size: 16,
  cropPct: 0.9,
  interpolation: "bicubic",
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
} as const;

let pictures: Promise<readonly Uint8Array[]> | undefined;

const image: Reader = {
  name: "image",
  extension: "image",
  async make(r) {
    const all = await (pictures ??= corpus.pictures());
    return mutateBytes(r.pick(all), all, r);
  },
  async check(input) {
    const decoded = await decodeImage(bytesOf(input), "fuzz.png");
    if (!demandOutcome(decoded)) return false;
    const { width, height, channels, pixels } = decoded.value!;
    demand(pixels.length === width * height * channels, "a picture has the bytes of its size");
    demandOutcome(preprocess(decoded.value!, howPictures));
    return true;
  },
};

const plan: Reader = {
  name: "plan",
  extension: "json",
  make: (r) => mutateJson(r.pick(corpus.plans()), r),
  check(input) {
    let data: unknown;
    try {
      data = JSON.parse(textOf(input));
    } catch {
      return false; // the command line's to report
    }
    const problems = checkPlan(data);
    demand(problems.length <= 50, "a plan has at most 50 problems");
    demand(
      problems.every((p) => typeof p === "string" && p !== ""),
      "a problem is a sentence",
    );
    return problems.length === 0;
  },
};

const inputSpec: Reader = {
  name: "input-spec",
  extension: "txt",
  make: mutants(() => corpus.inputSpecs),
  check(input) {
    const weights = demandOutcome(parseWeightSpec(textOf(input)));
    return demandOutcome(parseInputSpec(textOf(input))) || weights;
  },
};

const shards: Reader = {
  name: "shard-index",
  extension: "json",
  make: mutants(() => corpus.shardIndexes),
  check: (input) => demandOutcome(parseShardIndex(textOf(input), "fuzz.index.json")),
};

/** The cheap ones first. */
export const readers: readonly Reader[] = [
  ...[inputSpec, shards, npy, safetensors, plan, parser, formatter, kernelText, graphText],
  ...[image, elaborator, compiler],
];

export function readerNamed(name: string, among: readonly Reader[] = readers): Reader | undefined {
  return among.find((r) => r.name === name);
}

/** The same input for the same numbers, on every machine. */
export function inputOf(reader: Reader, seed: number, index: number): Input | Promise<Input> {
  return reader.make(random(reader.name, seed, index));
}
