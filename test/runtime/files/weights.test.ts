// Weights: the check before use, recipes, namespaces, shards, and paths that try to leave their folder.

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tensor, type Tensor } from "../../../src/ir/tensor.ts";
import { memorySource, ok, failed } from "../../../src/runtime/bytes.ts";
import { openSafetensors, writeSafetensors } from "../../../src/runtime/safetensors.ts";
import { seededTensor } from "../../../src/runtime/seeded.ts";
import { parseShardIndex } from "../../../src/runtime/sharded.ts";
import { applyRecipe, recipeShape, type WeightRecipe } from "../../../src/runtime/weight-recipe.ts";
import {
  checkWeights,
  openWeights,
  parseWeightSpec,
  type WeightMap,
  type WeightType,
} from "../../../src/runtime/weights.ts";
import { loadWeights, openCheckpoint } from "../../../src/runtime/weights-node.ts";
import { codes, damage, fixtures, must, temporaryFolder } from "./support.ts";

const f32 = (key: string, ...shape: number[]): WeightType => ({ key, dtype: "f32", shape });
const copy = (key: string): WeightRecipe => ({ kind: "copy", key });

describe("the check", () => {
  it("says nothing when all fits", () => {
    expect(checkWeights([f32("a", 2)], [{ key: "a", dtype: "f16", shape: [2] }])).toEqual([]);
  });

  it("lists what is missing with the likeliest name, and what is unused", () => {
    const found = checkWeights(
      [f32("head.fc.weight", 10, 4), f32("head.fc.bias", 10)],
      [f32("head.fc.wieght", 10, 4), f32("head.fc.bias", 10)],
      {
        source: "x.safetensors",
      },
    );
    expect(found.map((d) => [d.severity, d.code, d.message, d.notes.map((n) => n.message)])).toEqual([
      [
        "error",
        "weights-missing",
        "1 of 2 weights are not in x.safetensors",
        ["head.fc.weight: f32[10, 4]; is it head.fc.wieght?"],
      ],
      ["warning", "weights-unused", "1 tensor of x.safetensors is not used", ["head.fc.wieght: f32[10, 4]"]],
    ]);
  });

  it("abbreviates by the first labels, and counts", () => {
    const many = Array.from({ length: 100 }, (_, i) => f32(`stages.${i % 4}.blocks.${i}.weight`, 1));
    const [missing] = checkWeights(many, []);
    expect(missing!.message).toBe("100 of 100 weights are not in the checkpoint");
    expect(missing!.notes).toHaveLength(24);
    expect(missing!.notes.slice(20).map((n) => n.message)).toEqual(
      [0, 1, 2, 3].map((i) => `stages.${i}.*: 20 more`),
    );
  });

  it("sees a wrapper's prefix before every name", () => {
    const wanted = [f32("a.weight", 1), f32("b.weight", 1)];
    const [missing] = checkWeights(
      wanted,
      wanted.map((w) => ({ ...w, key: `module.model.${w.key}` })),
    );
    expect(missing!.help).toBe(
      "2 of them are there with module.model. before the name: a checkpoint map can strip it",
    );
  });

  it("points to a map that fits better", () => {
    const original: WeightMap = {
      name: "original",
      recipes: new Map([["a", copy("old.a")]]),
      ignores: () => false,
    };
    const [missing] = checkWeights([f32("a", 1)], [f32("old.a", 1)], { otherMaps: [original] });
    expect(missing!.help).toBe("the checkpoint map original fits 1 of the 1 weights");
    expect(checkWeights([f32("a", 1)], [f32("old.a", 1)], { map: original })).toEqual([]);
    const [wrongMap] = checkWeights([f32("a", 1)], [f32("a", 1)], { map: original });
    expect(wrongMap!.help).toBe("without the checkpoint map original, 1 of the 1 weights fit");
  });

  it("compares shapes and types, with the way out where there is one", () => {
    const of = (wanted: WeightType, has: WeightType) =>
      checkWeights([wanted], [has]).map((d) => [d.code, d.help]);
    expect(of(f32("a", 4, 3, 1, 1), f32("a", 4, 3))).toEqual([
      ["weights-shape", "the numbers are the same: a checkpoint map can reshape it"],
    ]);
    expect(of(f32("a", 4, 3), f32("a", 3, 4))).toEqual([
      ["weights-shape", "the axes are the other way round: a checkpoint map can transpose it"],
    ]);
    expect(of(f32("a", 4), f32("a", 5))).toEqual([["weights-shape", undefined]]);
    expect(of(f32("a", 4), { key: "a", dtype: "i32", shape: [4] })).toEqual([["weights-dtype", undefined]]);
    const many = Array.from({ length: 50 }, (_, i) => f32(`w${i}`, 1));
    const shapes = checkWeights(
      many,
      many.map((w) => ({ ...w, shape: [2] })),
    );
    expect(shapes).toHaveLength(20);
    expect(shapes.at(-1)!.notes[0]!.message).toBe("and 30 more weights do not fit");
  });
});

describe("recipes", () => {
  const source: Record<string, Tensor> = {
    a: tensor("f32", [2, 3], [1, 2, 3, 4, 5, 6]),
    b: tensor("f32", [2, 3], [7, 8, 9, 10, 11, 12]),
  };
  const apply = async (recipe: WeightRecipe) => applyRecipe(recipe, async (key) => ok(source[key]!));
  const a = copy("a");
  const b = copy("b");
  const cases: readonly (readonly [string, WeightRecipe, number[], number[]])[] = [
    ["reshape", { kind: "reshape", of: a, shape: [3, 2, 1] }, [3, 2, 1], [1, 2, 3, 4, 5, 6]],
    ["transpose", { kind: "transpose", of: a, perm: [1, 0] }, [3, 2], [1, 4, 2, 5, 3, 6]],
    ["slice rows", { kind: "slice", of: a, axis: 0, start: 1, length: 1 }, [1, 3], [4, 5, 6]],
    ["slice columns", { kind: "slice", of: a, axis: 1, start: 1, length: 2 }, [2, 2], [2, 3, 5, 6]],
    [
      "concat rows",
      { kind: "concat", axis: 0, parts: [a, b] },
      [4, 3],
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    ],
    [
      "concat columns",
      { kind: "concat", axis: 1, parts: [a, b] },
      [2, 6],
      [1, 2, 3, 7, 8, 9, 4, 5, 6, 10, 11, 12],
    ],
    ["stack", { kind: "stack", axis: 1, parts: [a, b] }, [2, 2, 3], [1, 2, 3, 7, 8, 9, 4, 5, 6, 10, 11, 12]],
    [
      "stack last",
      { kind: "stack", axis: 2, parts: [a, b] },
      [2, 3, 2],
      [1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12],
    ],
  ];
  it.each(cases)("%s", async (_, recipe, shape, values) => {
    expect(recipeShape(recipe, (key) => source[key]!.shape)).toEqual({ shape });
    expect(must(await apply(recipe))).toEqual(tensor("f32", shape, values));
  });

  it("turns three axes", async () => {
    const t = tensor(
      "f32",
      [2, 3, 4],
      Array.from({ length: 24 }, (_, i) => i),
    );
    const turned = must(
      await applyRecipe({ kind: "transpose", of: copy("t"), perm: [2, 0, 1] }, async () => ok(t)),
    );
    expect(turned.shape).toEqual([4, 2, 3]);
    // [k, i, j] was [i, j, k].
    expect(turned.data[3 * 6 + 1 * 3 + 2]).toBe(1 * 12 + 2 * 4 + 3);
  });

  it("says why a recipe does not fit", async () => {
    const wrong: readonly WeightRecipe[] = [
      { kind: "reshape", of: a, shape: [7] },
      { kind: "transpose", of: a, perm: [0, 0] },
      { kind: "slice", of: a, axis: 1, start: 2, length: 2 },
      { kind: "slice", of: a, axis: 5, start: 0, length: 1 },
      { kind: "concat", axis: 0, parts: [a, { kind: "reshape", of: b, shape: [6] }] },
      { kind: "stack", axis: 3, parts: [a, b] },
      { kind: "stack", axis: 0, parts: [] },
    ];
    for (const recipe of wrong) {
      expect(recipeShape(recipe, (key) => source[key]!.shape)).toHaveProperty("problem");
      expect(codes(await apply(recipe))).toEqual(["checkpoint-rule"]);
    }
    expect(codes(await applyRecipe({ kind: "stack", axis: 0, parts: [a] }, async () => failed()))).toEqual(
      [],
    );
  });
});

describe("sources", () => {
  it("reads --weights arguments", () => {
    expect(must(parseWeightSpec("seed:7"))).toEqual({ kind: "seed", namespace: "", seed: 7 });
    expect(must(parseWeightSpec("small=dir/a=b.safetensors"))).toEqual({
      kind: "file",
      namespace: "small",
      path: "dir/a=b.safetensors",
    });
    expect(must(parseWeightSpec("./a=b.safetensors"))).toEqual({
      kind: "file",
      namespace: "",
      path: "./a=b.safetensors",
    });
    for (const wrong of ["", "a=", "seed:", "seed:x", "seed:-1"])
      expect(codes(parseWeightSpec(wrong))).toEqual(["weights-spec"]);
  });

  const wanted = [f32("a", 2), f32("small:a", 2)];
  const files: Record<string, Record<string, Tensor>> = {
    one: { a: tensor("f32", [2], [1, 2]) },
    two: { a: tensor("f32", [2], [3, 4]) },
    both: { a: tensor("f32", [2], [5, 6]), "small:a": tensor("f32", [2], [7, 8]) },
  };
  const open = async (path: string) => openSafetensors(memorySource(path, writeSafetensors(files[path]!)));
  const load = async (...specs: string[]) => {
    const opened = await openWeights(
      specs.map((s) => must(parseWeightSpec(s))),
      wanted,
      { open },
    );
    if (!opened.value) return codes(opened);
    const values = [must(await opened.value.read("a")), must(await opened.value.read("small:a"))];
    return values.map((t) => [...t.data]);
  };
  const seeded = (key: string, seed: number): number[] => [...seededTensor(key, [2], seed).data];

  it("merges checkpoints by namespace, and seeds what they leave", async () => {
    expect(await load("one", "small=two")).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(await load("both")).toEqual([
      [5, 6],
      [7, 8],
    ]);
    expect(await load("seed:0")).toEqual([seeded("a", 0), seeded("small:a", 0)]);
    expect(await load("seed:3", "small=two")).toEqual([seeded("a", 3), [3, 4]]);
    expect(await load("one", "small=seed:2")).toEqual([[1, 2], seeded("small:a", 2)]);
  });

  it("refuses doubles, strangers and gaps", async () => {
    expect(await load("one", "two", "small=two")).toEqual(["weights-shard-duplicate"]);
    expect(await load("one", "smal=two")).toEqual(["weights-namespace"]);
    expect(await load("one", "seed:1")).toEqual(["weights-spec"]);
    expect(await load("one")).toEqual(["weights-missing"]);
  });
});

describe("checkpoints on disk", () => {
  const digits = join(fixtures, "digits/digits_poolformer.safetensors");

  it("loads the digits by name", async () => {
    const wanted = [f32("stem.conv.weight", 32, 1, 3, 3), f32("head.fc.bias", 10)];
    const loaded = await loadWeights([digits], wanted);
    expect(codes(loaded)).toEqual(["weights-unused"]);
    expect([...must(loaded).keys()]).toEqual(["stem.conv.weight", "head.fc.bias"]);
    expect(codes(await loadWeights([digits], [f32("head.fc.bais", 10)]))).toEqual([
      "weights-missing",
      "weights-unused",
    ]);
    expect(codes(await loadWeights(["nowhere.safetensors"], wanted))).toEqual(["file-missing"]);
    expect(codes(await openCheckpoint("model.pth"))).toEqual(["weights-format"]);
  });

  function sharded(index: object | string): string {
    const folder = temporaryFolder();
    const x = tensor("f32", [1], [1]);
    mkdirSync(join(folder, "model/parts"), { recursive: true });
    writeFileSync(join(folder, "secret.safetensors"), writeSafetensors({ s: x }));
    writeFileSync(join(folder, "model/one.safetensors"), writeSafetensors({ a: x, extra: x }));
    writeFileSync(
      join(folder, "model/parts/two.safetensors"),
      writeSafetensors({ b: tensor("f32", [1], [2]) }),
    );
    symlinkSync(join(folder, "secret.safetensors"), join(folder, "model/link.safetensors"));
    symlinkSync(folder, join(folder, "model/up"));
    const text = typeof index === "string" ? index : JSON.stringify({ metadata: {}, weight_map: index });
    writeFileSync(join(folder, "model/model.safetensors.index.json"), text);
    return join(folder, "model");
  }

  it("reads shards through their index, also by the folder", async () => {
    const folder = sharded({ a: "one.safetensors", b: "parts/two.safetensors" });
    for (const path of [folder, join(folder, "model.safetensors.index.json")]) {
      const store = must(await openCheckpoint(path));
      expect([...store.tensors.keys()]).toEqual(["a", "b"]);
      expect([...must(await store.read("b")).data]).toEqual([2]);
      await store.close();
    }
  });

  it.each([
    ["weights-shard-path", "../secret.safetensors"],
    ["weights-shard-path", "parts/../../secret.safetensors"],
    ["weights-shard-path", "/etc/passwd"],
    ["weights-shard-path", "C:\\secret.safetensors"],
    ["weights-shard-path", "..\\secret.safetensors"],
    ["weights-shard-path", "a\u0000b"],
    ["weights-shard-path", ""],
    ["weights-shard-path", "link.safetensors"],
    ["weights-shard-path", "up/secret.safetensors"],
    ["file-missing", "three.safetensors"],
    ["file-kind", "parts"],
    ["weights-index", "parts/two.safetensors"],
  ])("%s: a shard called %j", async (code, shard) => {
    expect(codes(await openCheckpoint(sharded({ s: shard })))).toEqual([code]);
  });

  it("refuses broken indexes", async () => {
    const code = (text: string): string[] => codes(parseShardIndex(text, "x"));
    expect(code("{")).toEqual(["weights-index"]);
    expect(code("{}")).toEqual(["weights-index"]);
    expect(code('{"weight_map":{"a":1}}')).toEqual(["weights-index"]);
    expect(code('{"weight_map":{"a":"x","a":"y"}}')).toEqual(["weights-index"]);
    expect(code("[".repeat(1e6))).toEqual(["weights-index-limit"]);
    const many = Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`k${i}`, `s${i}`]));
    expect(code(JSON.stringify({ weight_map: many }))).toEqual(["weights-index-limit"]);
    expect(codes(await openCheckpoint(sharded("nonsense")))).toEqual(["weights-index"]);
  });

  it("survives 2,000 damaged indexes", () => {
    const valid = new TextEncoder().encode(
      '{"metadata":{"total_size":8},"weight_map":{"a":"one.safetensors","b":"parts/two.safetensors"}}',
    );
    for (let seed = 1; seed <= 2000; seed++) {
      const result = parseShardIndex(new TextDecoder().decode(damage(valid, seed)), "x");
      expect(result.value !== undefined || result.diagnostics.length > 0, `seed ${seed}`).toBe(true);
      for (const shard of result.value?.keys() ?? [])
        expect(join("/model", shard).startsWith("/model/")).toBe(true);
    }
  });
});
