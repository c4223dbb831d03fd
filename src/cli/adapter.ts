// `--adapter`: reads the folder that PEFT saves, and puts the adapter into the graphs that have its layers.

import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { applyLora, type AdapterMode } from "../adapters/lora.ts";
import { readAdapter, readConfig, type LoraAdapter } from "../adapters/peft.ts";
import { lookupOp, type Module } from "../index.ts";
import { parseSafetensorsHeader, safetensorsLimits } from "../runtime/safetensors.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { readBytes } from "./files.ts";

interface AdapterFlags {
  readonly adapter?: readonly string[];
  readonly adapterMode?: string;
}

const MAX_CONFIG = 2 ** 20;
const files = { config: "adapter_config.json", tensors: "adapter_model.safetensors" } as const;

interface AdapterSpec {
  /** The namespace of its weights. */
  readonly name: string;
  readonly config: string;
  readonly tensors: string;
}

function specsOf(flags: AdapterFlags): readonly AdapterSpec[] {
  return (flags.adapter ?? []).map((text, i) => {
    const [, named, path = ""] = /^(?:([A-Za-z_]\w*)=)?(.+)$/s.exec(text) ?? [];
    const name = named ?? (i === 0 ? "adapter" : `adapter${i + 1}`);
    const isFile = /\.safetensors$/.test(path);
    if (!isFile && !(existsSync(path) && statSync(path).isDirectory()))
      throw new InputError([
        error("adapter-spec", `--adapter ${text}: there is no folder ${path}`, {
          help: `a folder holds ${files.config} and ${files.tensors}; a .safetensors file has its ${files.config} beside it`,
        }),
      ]);
    const folder = isFile ? dirname(path) : path;
    return { name, config: join(folder, files.config), tensors: isFile ? path : join(path, files.tensors) };
  });
}

/** `--weights` and, in a namespace of its own, the file of each adapter. */
export function weightSpecs(weights: readonly string[], flags: AdapterFlags): readonly string[] {
  return [...weights, ...specsOf(flags).map((s) => `${s.name}=${s.tensors}`)];
}

/** The module with the adapters in it, one after the other. */
export function withAdapters(module: Module, flags: AdapterFlags): Module {
  const mode = modeOf(flags);
  const specs = specsOf(flags);
  const twice = specs.find((s, i) => specs.findIndex((o) => o.name === s.name) !== i);
  if (twice) throw new InputError([error("adapter-spec", `two adapters are called ${twice.name}`)]);
  return specs
    .map(readFolder)
    .reduce(
      (m, adapter) => ({ ...m, graphs: m.graphs.map((g) => applyLora(g, adapter, mode, lookupOp)) }),
      module,
    );
}

/** Graph text has the adapters in it that it was made with. */
export function refuseAdapters(path: string, flags: AdapterFlags): void {
  if (!flags.adapter?.length) return;
  throw new InputError([
    error("adapter-spec", `${path} is graph text, and adapters go into models`, {
      help: "give --adapter where the text is made: `compile FILE.model --adapter FOLDER --to PASS`",
    }),
  ]);
}

function modeOf({ adapterMode = "fold" }: AdapterFlags): AdapterMode {
  if (adapterMode === "fold" || adapterMode === "beside") return adapterMode;
  throw new InputError([error("adapter-spec", `--adapter-mode ${adapterMode} is neither fold nor beside`)]);
}

function readFolder(spec: AdapterSpec): LoraAdapter {
  const config = readConfig(readBytes(spec.config, MAX_CONFIG).toString("utf8"), spec.config);
  return readAdapter(spec.name, headerOf(spec.tensors), config, spec.tensors);
}

/** Types and shapes of a .safetensors file; its values are read with the other weights. */
function headerOf(path: string) {
  // For what is wrong with a file that is none: the first bytes.
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const first = bytes >= 8 ? readPart(path, 0, 8) : readBytes(path, 8);
  const length = first.length === 8 ? Number(first.readBigUInt64LE()) : 0;
  if (first.length < 8 || length > Math.min(bytes - 8, safetensorsLimits.headerBytes))
    throw new InputError([
      error("safetensors-limit", `${path} is too short for what it says, or no .safetensors file`),
    ]);
  const parsed = parseSafetensorsHeader(readPart(path, 8, length), bytes - 8 - length, path);
  if (!parsed.value) throw new InputError(parsed.diagnostics);
  return new Map([...parsed.value.entries].map(([key, e]) => [key, { dtype: e.dtype, shape: e.shape }]));
}

function readPart(path: string, at: number, length: number): Buffer {
  const file = openSync(path, "r");
  try {
    const out = Buffer.alloc(length);
    return out.subarray(0, readSync(file, out, 0, length, at));
  } finally {
    closeSync(file);
  }
}
