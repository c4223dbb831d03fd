// Low-rank adapters as PEFT saves them: `adapter_config.json`, and tensors named `base_model.model.<module>.lora_A.weight` and `.lora_B.weight`.
// Reads what they say; applying them is lora.ts's.

import { error, InputError } from "../support/diagnostic.ts";

export interface LoraConfig {
  readonly rank: number;
  readonly alpha: number;
  /** Rank-stabilised: the factor is alpha / sqrt(rank). */
  readonly stabilised: boolean;
  /** Other ranks and alphas for modules whose path ends in, or fits, a pattern. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
}

export interface LoraModule {
  /** Path of the layer as PEFT has it, `model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  readonly down: AdapterTensor;
  readonly up: AdapterTensor;
  /** alpha / rank, or alpha / sqrt(rank). */
  readonly factor: number;
}

export interface AdapterTensor {
  /** Key in the adapter's file. */
  readonly key: string;
  readonly dtype: "f32" | "f16";
  readonly shape: readonly number[];
}

export interface LoraAdapter {
  readonly name: string;
  readonly modules: readonly LoraModule[];
}

const prefix = "base_model.model.";

/** Throws InputError where the text is no configuration of a LoRA adapter, or asks for what is not supported. */
export function readConfig(text: string, file: string): LoraConfig {
  const bad = (what: string, help?: string): never => {
    throw new InputError([error("adapter-config", `${file}: ${what}`, help === undefined ? {} : { help })]);
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return bad("it is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return bad("it is not an object");
  const v = value as Readonly<Record<string, unknown>>;
  const type = v["peft_type"] ?? "LORA";
  if (type !== "LORA")
    bad(`it is of an adapter of type ${String(type)}`, "LORA is the type that can be applied");
  if (v["use_dora"] === true)
    bad("it has use_dora", "magnitudes of DoRA are not applied; merge it with PEFT first");
  const rank = v["r"];
  const alpha = v["lora_alpha"];
  if (!(typeof rank === "number" && Number.isSafeInteger(rank) && rank > 0)) return bad("r is no rank");
  if (!(typeof alpha === "number" && Number.isFinite(alpha))) return bad("lora_alpha is no number");
  const pattern = (name: string): Readonly<Record<string, number>> => {
    const p = v[name] ?? {};
    if (
      typeof p !== "object" ||
      Array.isArray(p) ||
      !Object.values(p as object).every((x) => typeof x === "number")
    )
      return bad(`${name} is no map of numbers`);
    return p as Readonly<Record<string, number>>;
  };
  return {
    rank,
    alpha,
    stabilised: v["use_rslora"] === true,
    rankPattern: pattern("rank_pattern"),
    alphaPattern: pattern("alpha_pattern"),
  };
}

export interface StoredAdapterTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** The modules of an adapter. Throws InputError where a tensor has no partner, another shape than the other, or is of no kind known. */
export function readAdapter(
  name: string,
  tensors: ReadonlyMap<string, StoredAdapterTensor>,
  config: LoraConfig,
  file: string,
): LoraAdapter {
  const halves = new Map<string, { down?: AdapterTensor; up?: AdapterTensor }>();
  const wrong: string[] = [];
  for (const [key, { dtype, shape }] of tensors) {
    const found = /^(?:base_model\.model\.)?(.+)\.lora_(A|B)\.weight$/.exec(key);
    if (!found) {
      wrong.push(key);
      continue;
    }
    const [, path = "", half] = found;
    const tensor: AdapterTensor = { key, dtype: dtype === "f16" ? "f16" : "f32", shape };
    const both = halves.get(path) ?? {};
    halves.set(path, half === "A" ? { ...both, down: tensor } : { ...both, up: tensor });
  }
  if (wrong.length > 0)
    throw new InputError([
      error(
        "adapter-tensors",
        `${file}: ${wrong.slice(0, 3).join(", ")} ${wrong.length === 1 ? "is" : "are"} no part of a LoRA`,
        {
          help: `its tensors are called ${prefix}<module>.lora_A.weight and .lora_B.weight`,
        },
      ),
    ]);
  const modules = [...halves].map(([path, { down, up }]): LoraModule => {
    if (!down || !up)
      throw new InputError([
        error("adapter-tensors", `${file}: ${path} has a lora_${down ? "A" : "B"} alone`),
      ]);
    const rank = valueFor(config.rankPattern, path) ?? config.rank;
    const alpha = valueFor(config.alphaPattern, path) ?? config.alpha;
    if (down.shape[0] !== rank || up.shape[1] !== rank)
      throw new InputError([
        error(
          "adapter-tensors",
          `${file}: ${path} has ranks ${down.shape[0]} and ${up.shape[1]} in lora_A and lora_B, and the configuration says ${rank}`,
        ),
      ]);
    return { path, down, up, factor: config.stabilised ? alpha / Math.sqrt(rank) : alpha / rank };
  });
  if (modules.length === 0) throw new InputError([error("adapter-tensors", `${file} holds no tensors`)]);
  return { name, modules };
}

/** As PEFT does: a pattern fits a path that it ends, from a dot on, or is. */
function valueFor(patterns: Readonly<Record<string, number>>, path: string): number | undefined {
  const plain = (key: string) => key.replace(/^\^/, "").replace(/\$$/, "");
  const key = Object.keys(patterns).find((k) => path === plain(k) || path.endsWith(`.${plain(k)}`));
  return key === undefined ? undefined : patterns[key];
}
