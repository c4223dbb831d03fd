// Checkpoints on disk: one .safetensors file, a sharded one by its index, or the folder of either.

import { realpath, readFile, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import type { Tensor } from "../ir/tensor.ts";
import { error, hasErrors, type Diagnostic } from "../support/diagnostic.ts";
import { failed, ok, reasonOf, shown, type Outcome } from "./bytes.ts";
import { fileSource, regularFile } from "./open-node.ts";
import { openSafetensors } from "./safetensors.ts";
import { parseShardIndex, shardLimits } from "./sharded.ts";
import { mergeStores, type StoredTensor, type TensorStore } from "./store.ts";
import {
  openWeights,
  parseWeightSpec,
  readAll,
  type OpenWeightsOptions,
  type WantedWeight,
  type WeightReader,
  type WeightSpec,
} from "./weights.ts";

/** Opens whatever the path is: a file, an index, a folder. The store must be closed. */
export async function openCheckpoint(path: string): Promise<Outcome<TensorStore>> {
  const file = await fileOf(path);
  if (/\.(pth?|bin|ckpt|pkl|pickle|npz|onnx|h5|gguf)$/i.test(file))
    return failed(
      error("weights-format", `${path} is not a safetensors file`, {
        help: "with PyTorch: safetensors.torch.save_file(torch.load(path, weights_only=True), 'model.safetensors')",
      }),
    );
  if (/\.json$/i.test(file)) return openSharded(file);
  const source = await fileSource(file);
  return source.value ? openSafetensors(source.value) : failed(...source.diagnostics);
}

/** A folder stands for the checkpoint in it under its usual names. */
async function fileOf(path: string): Promise<string> {
  const isThere = (p: string): Promise<boolean> =>
    stat(p).then(
      (s) => s.isFile(),
      () => false,
    );
  if (await isThere(path)) return path;
  for (const name of ["model.safetensors", "model.safetensors.index.json"])
    if (await isThere(join(path, name))) return join(path, name);
  return path;
}

async function openSharded(path: string): Promise<Outcome<TensorStore>> {
  const info = await regularFile(path);
  if (!info.value) return failed(...info.diagnostics);
  if (info.value.size > shardLimits.indexBytes)
    return failed(error("weights-index-limit", `${path} has more than ${shardLimits.indexBytes} bytes`));
  const index = await readFile(path, "utf8").then(
    (text) => parseShardIndex(text, path),
    (cause: unknown) => failed(error("file-read", `${path} cannot be read: ${reasonOf(cause)}`)),
  );
  if (!index.value) return failed(...index.diagnostics);

  const stores: TensorStore[] = [];
  const diagnostics: Diagnostic[] = [];
  for (const [shard, keys] of index.value) {
    const opened = await openShard(dirname(path), shard, keys);
    diagnostics.push(...opened.diagnostics);
    if (opened.value) stores.push(opened.value);
    if (diagnostics.length >= 10) break;
  }
  const merged = hasErrors(diagnostics)
    ? failed<TensorStore>(...diagnostics)
    : mergeStores(
        path,
        stores.map((store) => ({ prefix: "", store })),
      );
  if (!merged.value) await Promise.all(stores.map((s) => s.close()));
  return merged;
}

/** One shard, with the tensors that the index says are its own. */
async function openShard(
  folder: string,
  shard: string,
  keys: ReadonlySet<string>,
): Promise<Outcome<TensorStore>> {
  const path = join(folder, shard);
  try {
    // A link may lead elsewhere however innocent its name.
    const [inside, real] = [await realpath(folder), await realpath(path)];
    if (!real.startsWith(inside.endsWith(sep) ? inside : inside + sep))
      return failed(
        error("weights-shard-path", `shard ${shown(shard)} is a link that leads out of ${folder}`, {
          help: "copy the files into one folder (cp -rL)",
        }),
      );
  } catch {
    return failed(error("file-missing", `there is no file ${path}, which the index names`));
  }
  const source = await fileSource(path);
  if (!source.value) return failed(...source.diagnostics);
  const opened = await openSafetensors(source.value);
  if (!opened.value) return opened;
  const store = opened.value;
  const tensors = new Map<string, StoredTensor>();
  const absent: string[] = [];
  for (const key of keys) {
    const found = store.tensors.get(key);
    if (found) tensors.set(key, found);
    else absent.push(key);
  }
  if (absent.length === 0) return ok({ ...store, tensors });
  await store.close();
  const some = absent.slice(0, 5).map(shown).join(", ");
  return failed(
    error("weights-index", `${path} has not the ${absent.length} tensors that the index puts there: ${some}`),
  );
}

export type LoadWeightsOptions = Omit<OpenWeightsOptions, "open">;

/** `--weights` arguments to a reader of single weights, after every check that needs no values. */
export async function openWeightFiles(
  specs: readonly string[],
  wanted: readonly WantedWeight[],
  options: LoadWeightsOptions = {},
): Promise<Outcome<WeightReader>> {
  const parsed: WeightSpec[] = [];
  const diagnostics: Diagnostic[] = [];
  for (const text of specs) {
    const spec = parseWeightSpec(text);
    diagnostics.push(...spec.diagnostics);
    if (spec.value) parsed.push(spec.value);
  }
  if (hasErrors(diagnostics)) return failed(...diagnostics);
  return openWeights(parsed, wanted, { ...options, open: openCheckpoint });
}

/** The same, read whole. */
export async function loadWeights(
  specs: readonly string[],
  wanted: readonly WantedWeight[],
  options: LoadWeightsOptions = {},
): Promise<Outcome<ReadonlyMap<string, Tensor>>> {
  const opened = await openWeightFiles(specs, wanted, options);
  if (!opened.value) return failed(...opened.diagnostics);
  const all = await readAll(opened.value, wanted);
  return { value: all.value, diagnostics: [...opened.diagnostics, ...all.diagnostics] };
}
