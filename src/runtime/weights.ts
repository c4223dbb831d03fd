// The weights a model wants, held against what checkpoints have, before any GPU work: every missing and unused key, every wrong
// shape or type, with the likeliest reason. Then read one by one, from checkpoints or made from their names. Knows no file system.

import type { Seed } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import type { DType } from "../ir/types.ts";
import { error, hasErrors, warning, type Diagnostic } from "../support/diagnostic.ts";
import { nearest } from "../support/suggest.ts";
import { failed, ok, shown, showShape, type Outcome } from "./bytes.ts";
import { seededTensor } from "./seeded.ts";
import { mergeStores, renamed, splitKey, type StoredTensor, type TensorStore } from "./store.ts";
import { applyRecipe, recipeKeys, recipeShape, type WeightRecipe } from "./weight-recipe.ts";

export interface WeightType {
  readonly key: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface WantedWeight extends WeightType {
  readonly seed?: Seed;
}

/** A checkpoint map worked out for one model: recipes by the model's keys; a weight without one is copied under its own key. */
export interface WeightMap {
  readonly name: string;
  readonly recipes: ReadonlyMap<string, WeightRecipe>;
  /** Checkpoint keys that need not be used. */
  ignores(key: string): boolean;
}

export interface CheckOptions {
  /** Where the weights come from, for messages. */
  readonly source?: string;
  readonly map?: WeightMap;
  /** Other maps of the same model: one that fits better is hinted at. */
  readonly otherMaps?: readonly WeightMap[];
}

const recipeOf = (map: WeightMap | undefined, key: string): WeightRecipe =>
  map?.recipes.get(key) ?? { kind: "copy", key };

const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f16";

/** How many keys are listed one by one; beyond, they are counted by their first labels. */
const maxListed = 20;

/** Missing keys, shapes and types are errors; keys that nothing wants are a warning. */
export function checkWeights(
  wanted: readonly WeightType[],
  available: readonly WeightType[],
  options: CheckOptions = {},
): Diagnostic[] {
  const source = options.source ?? "the checkpoint";
  const has = new Map(available.map((a) => [a.key, a]));
  const used = new Set<string>();
  const missing: { readonly weight: WeightType; readonly key: string }[] = [];
  const wrong: Diagnostic[] = [];
  for (const weight of wanted) {
    const recipe = recipeOf(options.map, weight.key);
    const keys = recipeKeys(recipe);
    for (const key of keys) used.add(key);
    const absent = keys.filter((key) => !has.has(key));
    if (absent.length > 0) missing.push(...absent.map((key) => ({ weight, key })));
    else wrong.push(...checkOne(weight, recipe, has, source));
  }
  const unused = available.filter((a) => !used.has(a.key) && !options.map?.ignores(a.key));
  const out = missing.length > 0 ? [missingKeys(missing, wanted, unused, source, options, has)] : [];
  out.push(...abbreviated(wrong));
  if (unused.length > 0) {
    const verb = unused.length === 1 ? "tensor" : "tensors";
    out.push(
      warning(
        "weights-unused",
        `${unused.length} ${verb} of ${source} ${unused.length === 1 ? "is" : "are"} not used`,
        {
          notes: listed(unused.map((u) => ({ key: u.key, text: describe(u.key, u) }))),
        },
      ),
    );
  }
  return out;
}

function checkOne(
  weight: WeightType,
  recipe: WeightRecipe,
  has: ReadonlyMap<string, WeightType>,
  source: string,
): Diagnostic[] {
  const out: Diagnostic[] = [];
  const from =
    recipe.kind === "copy" && recipe.key === weight.key
      ? ""
      : ` (made from ${recipeKeys(recipe).slice(0, 4).map(shown).join(", ")})`;
  const found = recipeShape(recipe, (key) => has.get(key)!.shape);
  const name = `weight ${shown(weight.key)}${from}`;
  if ("problem" in found) out.push(error("checkpoint-rule", `${name}: ${found.problem}`));
  else if (!sameShape(found.shape, weight.shape)) {
    const squeezed = (s: readonly number[]): readonly number[] => s.filter((x) => x !== 1);
    const help = sameShape(squeezed(found.shape), squeezed(weight.shape))
      ? "the numbers are the same: a checkpoint map can reshape it"
      : sameShape([...found.shape].reverse(), weight.shape)
        ? "the axes are the other way round: a checkpoint map can transpose it"
        : undefined;
    out.push(
      error(
        "weights-shape",
        `${name} is ${showShape(weight.shape)} in the model and ${showShape(found.shape)} in ${source}`,
        {
          help,
        },
      ),
    );
  }
  for (const key of recipeKeys(recipe)) {
    const { dtype } = has.get(key)!;
    if (isFloat(dtype) === isFloat(weight.dtype)) continue;
    out.push(error("weights-dtype", `${name} is ${weight.dtype} in the model and ${dtype} in ${source}`));
    break;
  }
  return out;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}

function missingKeys(
  missing: readonly { readonly weight: WeightType; readonly key: string }[],
  wanted: readonly WeightType[],
  unused: readonly WeightType[],
  source: string,
  options: CheckOptions,
  has: ReadonlyMap<string, WeightType>,
): Diagnostic {
  const rows = missing.map(({ weight, key }, i) => {
    // Only what is listed needs a suggestion; comparing every name with every other would take long.
    const meant = i < maxListed ? suggestion(key, weight, unused) : undefined;
    const via = key === weight.key ? "" : `, wanted for ${shown(weight.key)}`;
    return { key, text: `${describe(key, weight)}${via}${meant ? `; is it ${shown(meant)}?` : ""}` };
  });
  const count = new Set(missing.map((m) => m.weight.key)).size;
  return error("weights-missing", `${count} of ${wanted.length} weights are not in ${source}`, {
    notes: listed(rows),
    help:
      betterMap(wanted, has, options) ??
      commonPrefix(
        missing.map((m) => m.key),
        has,
      ),
  });
}

/** The nearest unused name, of the same shape if there is one. */
function suggestion(key: string, weight: WeightType, unused: readonly WeightType[]): string | undefined {
  const few = unused.slice(0, 4000);
  return (
    nearest(
      key,
      few.filter((u) => sameShape(u.shape, weight.shape)).map((u) => u.key),
    ) ??
    nearest(
      key,
      few.map((u) => u.key),
    )
  );
}

/** Another map under which more of the weights are there. */
function betterMap(
  wanted: readonly WeightType[],
  has: ReadonlyMap<string, WeightType>,
  { map, otherMaps = [] }: CheckOptions,
): string | undefined {
  const fits = (m: WeightMap | undefined): number =>
    wanted.filter((w) => {
      const recipe = recipeOf(m, w.key);
      if (!recipeKeys(recipe).every((key) => has.has(key))) return false;
      const found = recipeShape(recipe, (key) => has.get(key)!.shape);
      return "shape" in found && sameShape(found.shape, w.shape);
    }).length;
  const now = fits(map);
  const scored = otherMaps.map((m) => ({ name: m.name, count: fits(m) }));
  const best = scored.reduce((a, b) => (b.count > a.count ? b : a), { name: "", count: now });
  if (best.count > now)
    return `the checkpoint map ${best.name} fits ${best.count} of the ${wanted.length} weights`;
  const plain = map ? fits(undefined) : now;
  return plain > now
    ? `without the checkpoint map ${map!.name}, ${plain} of the ${wanted.length} weights fit`
    : undefined;
}

/** `model.stem.conv.weight` for `stem.conv.weight`: a wrapper's name before every key is the commonest difference. */
function commonPrefix(missing: readonly string[], has: ReadonlyMap<string, WeightType>): string | undefined {
  const first = missing[0]!;
  for (const key of has.keys()) {
    if (!key.endsWith(`.${first}`)) continue;
    const prefix = key.slice(0, key.length - first.length);
    const count = missing.filter((m) => has.has(prefix + m)).length;
    if (2 * count > missing.length)
      return `${count} of them are there with ${shown(prefix)} before the name: a checkpoint map can strip it`;
  }
  return undefined;
}

function describe(key: string, t: WeightType): string {
  return `${shown(key)}: ${t.dtype}${showShape(t.shape)}`;
}

function listed(rows: readonly { readonly key: string; readonly text: string }[]): { message: string }[] {
  const notes = rows.slice(0, maxListed).map((r) => ({ message: r.text }));
  const groups = new Map<string, number>();
  for (const { key } of rows.slice(maxListed)) {
    const labels = key.split(".");
    const group = labels.length > 2 ? `${labels.slice(0, 2).join(".")}.*` : key;
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  const shownGroups = [...groups].slice(0, maxListed);
  for (const [group, count] of shownGroups) notes.push({ message: `${shown(group)}: ${count} more` });
  const rest = [...groups].slice(maxListed).reduce((sum, [, count]) => sum + count, 0);
  if (rest > 0) notes.push({ message: `and ${rest} others` });
  return notes;
}

function abbreviated(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  if (diagnostics.length <= maxListed) return [...diagnostics];
  const last = diagnostics[maxListed - 1]!;
  const more = { message: `and ${diagnostics.length - maxListed} more weights do not fit` };
  return [...diagnostics.slice(0, maxListed - 1), { ...last, notes: [...last.notes, more] }];
}

// ---- Where weights come from

/** `seed:N`, `PATH`, and either with `NAMESPACE=` before it. */
export type WeightSpec =
  | { readonly kind: "seed"; readonly namespace: string; readonly seed: number }
  | { readonly kind: "file"; readonly namespace: string; readonly path: string };

export function parseWeightSpec(text: string): Outcome<WeightSpec> {
  const [, named, value = ""] = /^(?:([A-Za-z_]\w*)=)?(.*)$/s.exec(text)!;
  const namespace = named ?? "";
  if (value === "")
    return failed(error("weights-spec", `--weights ${shown(text)} names no file`, { help: specHelp }));
  if (!value.startsWith("seed:")) return ok({ kind: "file", namespace, path: value });
  const seed = /^seed:(\d{1,10})$/.exec(value)?.[1];
  if (seed === undefined)
    return failed(
      error("weights-spec", `--weights ${shown(text)} has no number after seed:`, { help: specHelp }),
    );
  return ok({ kind: "seed", namespace, seed: Number(seed) });
}

const specHelp = "give FILE.safetensors, NAMESPACE=FILE.safetensors or seed:N";

export interface WeightReader {
  /** Checked to be there and to fit; a diagnostic is still possible (numbers out of range, a failing disk). */
  read(key: string): Promise<Outcome<Tensor>>;
  close(): Promise<void>;
}

export interface OpenWeightsOptions {
  readonly open: (path: string) => Promise<Outcome<TensorStore>>;
  /** The maps of the model worked out for one checkpoint, the best fit first. */
  readonly maps?: (
    available: readonly StoredTensor[],
    wanted: readonly WantedWeight[],
  ) => readonly WeightMap[];
}

/** The weights of one namespace: what is wanted, by the names inside the checkpoint, and where it comes from. */
interface Source {
  readonly namespace: string;
  readonly wanted: readonly WantedWeight[];
  readonly seed: number | undefined;
  /** Absent where nothing is read. */
  readonly store?: TensorStore;
  readonly map?: WeightMap;
}

/**
 * Opens the checkpoints, checks them against what is wanted, and gives a reader of single weights. Each namespace is checked by itself,
 * under the names inside its checkpoint. A seed without a namespace fills every namespace that has no source of its own.
 */
export async function openWeights(
  specs: readonly WeightSpec[],
  wanted: readonly WantedWeight[],
  options: OpenWeightsOptions,
): Promise<Outcome<WeightReader>> {
  const diagnostics: Diagnostic[] = [...checkNamespaces(specs, wanted)];
  if (hasErrors(diagnostics)) return failed(...diagnostics);
  const opened: { readonly namespace: string; readonly store: TensorStore }[] = [];
  for (const s of specs) {
    if (s.kind !== "file") continue;
    const file = await options.open(s.path);
    diagnostics.push(...file.diagnostics);
    if (file.value) opened.push({ namespace: s.namespace, store: file.value });
  }
  const close = async (): Promise<void> => {
    await Promise.all(opened.map((o) => o.store.close()));
  };
  const sources = new Map<string, Source>();
  if (!hasErrors(diagnostics))
    for (const namespace of namespacesOf(wanted, opened)) {
      const source = sourceOf(namespace, specs, wanted, opened, options);
      diagnostics.push(...source.diagnostics);
      if (source.value) sources.set(namespace, source.value);
    }
  if (hasErrors(diagnostics)) {
    await close();
    return failed(...diagnostics);
  }
  return ok({ ...reader(sources), close }, diagnostics);
}

type Opened = readonly { readonly namespace: string; readonly store: TensorStore }[];

function namespacesOf(wanted: readonly WantedWeight[], opened: Opened): ReadonlySet<string> {
  return new Set([
    ...wanted.map((w) => splitKey(w.key).namespace),
    ...opened.map((o) => o.namespace), // what nobody wants is reported as unused
  ]);
}

function sourceOf(
  namespace: string,
  specs: readonly WeightSpec[],
  allWanted: readonly WantedWeight[],
  opened: Opened,
  options: OpenWeightsOptions,
): Outcome<Source> {
  const wanted = allWanted
    .map((w) => ({ ...w, ...splitKey(w.key) }))
    .filter((w) => w.namespace === namespace)
    .map(({ local, namespace: _, ...w }): WantedWeight => ({ ...w, key: local }));
  const seedFor = (n: string): number | undefined =>
    specs.flatMap((s) => (s.kind === "seed" && s.namespace === n ? [s.seed] : []))[0];
  const others = new Set(allWanted.map((w) => splitKey(w.key).namespace));
  const views = opened.flatMap((o): TensorStore[] => {
    if (o.namespace === namespace && namespace !== "") return [o.store];
    if (o.namespace !== "") return [];
    // One file may hold everything, under the model's own names.
    const view = renamed(o.store, (key) => {
      const { namespace: found, local } = splitKey(key);
      return namespace === ""
        ? others.has(found) && found !== ""
          ? undefined
          : key
        : found === namespace
          ? local
          : undefined;
    });
    return namespace === "" || view.tensors.size > 0 ? [view] : [];
  });
  const isFiled = views.length > 0;
  const seed = seedFor(namespace) ?? (isFiled ? undefined : seedFor(""));
  if (seed !== undefined) return ok({ namespace, wanted, seed });
  if (!isFiled && namespace !== "")
    return failed(
      error(
        "weights-missing",
        `no checkpoint is given for ${namespace}, which has ${wanted.length} weights`,
        {
          help: `--weights ${namespace}=FILE.safetensors, or seed:0 for all that no file gives`,
        },
      ),
    );
  const prefix = namespace && `${namespace}=`;
  const name = views.map((v) => prefix + v.name).join(" and ") || "any checkpoint";
  const merged = mergeStores(
    name,
    views.map((store) => ({ prefix: "", store })),
  );
  if (!merged.value) return failed(...merged.diagnostics);
  const available = [...merged.value.tensors.values()];
  const [map, ...otherMaps] = options.maps?.(available, wanted) ?? [];
  const diagnostics = checkWeights(wanted, available, { source: name, ...(map && { map }), otherMaps });
  if (hasErrors(diagnostics)) return failed(...diagnostics);
  return ok({ namespace, wanted, seed, store: merged.value, ...(map && { map }) }, diagnostics);
}

function checkNamespaces(specs: readonly WeightSpec[], wanted: readonly WantedWeight[]): Diagnostic[] {
  const known = new Set(wanted.map((w) => splitKey(w.key).namespace));
  const out: Diagnostic[] = [];
  for (const spec of specs) {
    const { namespace } = spec;
    if (namespace !== "" && !known.has(namespace)) {
      const named = [...known].filter((n) => n !== "");
      const near = nearest(namespace, named);
      out.push(
        error("weights-namespace", `the model has no weights in a namespace ${namespace}`, {
          help: near
            ? `is it ${near}?`
            : named.length > 0
              ? `it has ${named.join(", ")}`
              : "leave out the name before =",
        }),
      );
    }
    const same = specs.filter((s) => s.namespace === namespace);
    if (same[0] === spec && same.length > 1 && same.some((s) => s.kind === "seed"))
      out.push(
        error(
          "weights-spec",
          `the weights${namespace && ` of ${namespace}`} are given by a seed and once more`,
        ),
      );
  }
  return out;
}

function reader(sources: ReadonlyMap<string, Source>): Pick<WeightReader, "read"> {
  const byKey = new Map(
    [...sources.values()].map((s) => [s.namespace, new Map(s.wanted.map((w) => [w.key, w]))] as const),
  );
  // A split q, k, v or an unstacked expert reads the same tensor several times in a row.
  let last: { readonly id: string; readonly tensor: Tensor } | undefined;
  const readStored = async (
    { store, namespace }: Source,
    key: string,
    dtype: DType,
    keep: boolean,
  ): Promise<Outcome<Tensor>> => {
    const id = `${dtype} ${namespace}:${key}`;
    if (last?.id === id) return ok(last.tensor);
    const found = await store!.read(key, dtype);
    if (found.value && keep) last = { id, tensor: found.value };
    return found;
  };
  return {
    read: async (key) => {
      const { namespace, local } = splitKey(key);
      const source = sources.get(namespace);
      const weight = byKey.get(namespace)?.get(local);
      if (!source || !weight) return failed(error("tensor-missing", `the model has no weight ${shown(key)}`));
      const { shape, dtype } = weight;
      if (source.seed !== undefined) return ok(seededTensor(key, shape, source.seed, dtype, weight.seed));
      const recipe = recipeOf(source.map, local);
      return applyRecipe(recipe, (k) => readStored(source, k, dtype, recipe.kind !== "copy"));
    },
  };
}

/** All of them, in the order wanted. Closes the reader. */
export async function readAll(
  reader: WeightReader,
  wanted: readonly WantedWeight[],
): Promise<Outcome<ReadonlyMap<string, Tensor>>> {
  const out = new Map<string, Tensor>();
  const diagnostics: Diagnostic[] = [];
  for (const { key } of wanted) {
    const found = await reader.read(key);
    diagnostics.push(...found.diagnostics);
    if (found.value) out.set(key, found.value);
    if (diagnostics.length >= maxListed) break;
  }
  await reader.close();
  return hasErrors(diagnostics) ? failed(...diagnostics) : ok(out, diagnostics);
}
