// `--weights` for a graph: opens the checkpoints, finds the map of the file that fits their names, checks all before any GPU work.

import { planCheckpoint, type AvailableTensor, type Recipe } from "../elaborate/checkpoint.ts";
import type { CheckpointMap } from "../elaborate/checkpoint-map.ts";
import { constantOf } from "../ir/dim.ts";
import type { Module } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { loadWeights } from "../runtime/weights-node.ts";
import type { WeightRecipe } from "../runtime/weight-recipe.ts";
import type { WantedWeight, WeightMap } from "../runtime/weights.ts";
import { Bug } from "../support/bug.ts";
import { need } from "./common.ts";

/** Every weight of the module, once. */
export function wantedWeights(module: Module): readonly WantedWeight[] {
  const byKey = new Map<string, WantedWeight>();
  for (const g of module.graphs)
    for (const w of g.weights)
      byKey.set(w.key, {
        key: w.key,
        dtype: w.type.dtype,
        shape: w.type.shape.map((d) => constantOf(d) ?? 0),
        ...(w.seed && { seed: w.seed }),
      });
  return [...byKey.values()];
}

export async function weightsFor(
  module: Module,
  maps: readonly CheckpointMap[],
  specs: readonly string[],
): Promise<(key: string) => Tensor> {
  const wanted = wantedWeights(module);
  const all = need(
    await loadWeights(specs, wanted, { maps: (available, some) => mapsFor(maps, available, some) }),
  );
  return (key) => {
    const found = all.get(key);
    if (!found) throw new Bug(`weight ${key} was not loaded`);
    return found;
  };
}

/** The maps of the file, worked out for one checkpoint, the best fit first; the model's own names among them. */
function mapsFor(
  maps: readonly CheckpointMap[],
  available: readonly AvailableTensor[],
  wanted: readonly WantedWeight[],
): readonly WeightMap[] {
  // Without a map there are still the shapes that differ by ones only: [o, i] for [o, i, 1, 1].
  const candidates = [undefined, ...maps].map((map) => ({
    map,
    plan: planCheckpoint(map, available, wanted),
  }));
  candidates.sort((a, b) => a.plan.missing.length - b.plan.missing.length);
  return candidates.map(({ map, plan }) => {
    const unused = new Set(plan.unused);
    return {
      name: map?.name ?? "the model's own names",
      recipes: new Map([...plan.sources].map(([key, r]) => [key, recipe(r)])),
      ignores: (key) => !unused.has(key),
    };
  });
}

function recipe(r: Recipe): WeightRecipe {
  switch (r.kind) {
    case "copy":
      return r;
    case "reshape":
    case "transpose":
      return { ...r, of: recipe(r.of) };
    case "slice":
      return { kind: "slice", of: recipe(r.of), axis: r.axis, start: r.start, length: r.end - r.start };
    case "concat":
    case "stack":
      return { ...r, parts: r.parts.map(recipe) };
    default:
      return r satisfies never;
  }
}
