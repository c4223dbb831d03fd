// Valid inputs that mutation starts from, made of what the repository has: models, their graphs, kernels and plans, small files. Made when
// they are first asked for; the same every time.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { compile, elaborateFile, printKernel, printModule, type Compiled } from "../../src/index.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import type { DType } from "../../src/ir/types.ts";
import { newData } from "../../src/ir/tensor.ts";
import { writeNpy } from "../../src/runtime/npy.ts";
import { writeSafetensors } from "../../src/runtime/safetensors.ts";

/** `std/...` and nothing else: a fuzzed import never reaches another file. */
export function resolve(_: string, path: string): { name: string; text: string } | { problem: string } {
  const file = path.endsWith(".model") ? path : `${path}.model`;
  if (!/^std\/\w+\.model$/.test(file) || !existsSync(file)) return { problem: "there is no such file" };
  return { name: file, text: readFileSync(file, "utf8") };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

function files(folder: string, ending: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((f) => join(folder, f))
    .flatMap((f) => (statSync(f).isDirectory() ? files(f, ending) : f.endsWith(ending) ? [f] : []))
    .sort();
}

const texts = (folder: string, ending: string) => files(folder, ending).map((f) => readFileSync(f, "utf8"));

/** Models and fragments of models. Wrong ones are included: what reports an error has code of its own. */
export const models = once((): readonly string[] => [
  ...texts("examples", ".model"),
  ...texts("std", ".model"),
  ...texts("test/errors", ".model"),
  ...snippets(),
]);

/** Code blocks of the documents that look like models. */
function snippets(): string[] {
  return ["README.md", "docs/language.md"].flatMap((page) =>
    [...readFileSync(page, "utf8").matchAll(/^```\w*\n([\s\S]*?)^```/gm)]
      .map((m) => m[1]!)
      .filter((text) => /\b(?:block|model|checkpoint)\b/.test(text)),
  );
}

/** Small whole models, for the later stages: an input should take milliseconds. */
export const validModels = once((): readonly string[] =>
  [...small, ...models()].filter((text) => {
    if (text.length > 12_000) return false;
    const { module } = elaborateFile({ name: "m.model", text }, { resolve });
    return module !== undefined && module.graphs.every((g) => g.nodes.length <= 60);
  }),
);

const compiled = once((): readonly Compiled[] =>
  validModels().map((text, i) => compile({ name: `m${i}.model`, text }, { resolve })),
);

const small: readonly string[] = [
  `import { ConvMlp, PoolMixer, LayerScale } from "std/layers"
model tiny(dim: int = 8) (image: f32[B, 3, H, W]) -> (logits: f32[B, 3]) {
  x = image |> conv2d(out = dim, kernel = 4, stride = 4) @stem
  x = x + (x |> group_norm(groups = 1) @norm1 |> PoolMixer(size = 3) |> LayerScale() @scale1)
  x = x + (x |> group_norm(groups = 1) @norm2 |> ConvMlp(ratio = 2) @mlp)
  return x |> mean(axes = [H, W]) |> layer_norm() @norm |> linear(out = 3) @head
}
`,
  `model tokens(classes: int = 4) (x: f32[B, T, 8], mask: bool[B, T]) -> (a: f32[B, classes], b: f32[B, 2 * T, 8]) {
  y = x |> rms_norm() @norm |> linear(out = 8) @fc |> silu()
  z = where(unsqueeze(mask, axes = [-1]), y, x * 0.5)
  p = softmax(matmul(z, transpose(z, perm = [0, 2, 1])), axis = -1)
  w = matmul(p, z)
  return w |> mean(axes = [T]) |> linear(out = classes) @head, concat(w, w, axis = 1)
}
`,
  `model pool() (x: f32[B, 4, H, W]) -> f32[B, 4, floor((H - 1) / 2) + 1, floor((W - 1) / 2) + 1] {
  return x |> max_pool2d(size = 3, stride = 2, pad = 1) |> batch_norm() @bn |> relu()
}
`,
];

/** Whole models, valid ones among them. */
export const wholeModels = once((): readonly string[] => [...small, ...models()]);

export const graphs = once((): readonly string[] => [
  ...compiled().flatMap((c) => [
    printModule(c.module),
    printModule(c.optimized),
    printModule(c.optimized, { locations: false }),
  ]),
  ...texts("test/passes", ".ir").flatMap((text) => text.split("// ----\n")),
  ...texts("test/ir", ".ir"),
]);

export const kernels = once((): readonly string[] => [
  ...new Set(compiled().flatMap((c) => c.kernels.map((k) => printKernel(k)))),
]);

export const plans = once((): readonly string[] => compiled().map((c) => JSON.stringify(c.plan)));

export const inputSpecs: readonly string[] = [
  "data.safetensors",
  "image=cat.png",
  "images=digits.safetensors:images",
  "mask=ones",
  "image=seed:input",
  "w=a/b.npy",
  "ns=seed:12",
  "seed:0",
];

export const shardIndexes: readonly string[] = [
  JSON.stringify({
    metadata: { total_size: 100 },
    weight_map: { "a.weight": "model-00001-of-00002.safetensors", "b.bias": "sub/model-00002.safetensors" },
  }),
  '{"weight_map":{}}',
];

const dtypes: readonly DType[] = ["f32", "f16", "i32", "u32", "bool"];

function tensor(dtype: DType, shape: readonly number[]): Tensor {
  const data = newData(
    dtype,
    shape.reduce((a, b) => a * b, 1),
  );
  for (let i = 0; i < data.length; i++) data[i] = dtype === "bool" ? i % 2 : i;
  return { dtype, shape, data };
}

export const safetensors = once((): readonly Uint8Array[] => [
  writeSafetensors({}),
  writeSafetensors({ x: tensor("f32", [2, 3]) }),
  writeSafetensors(Object.fromEntries(dtypes.map((d, i) => [`layers.${i}.weight`, tensor(d, [2, 1 + i])])), {
    format: "pt",
  }),
  writeSafetensors({ empty: tensor("f32", [0, 4]), scalar: tensor("f32", []) }),
]);

export const npys = once((): readonly Uint8Array[] => [
  ...dtypes.map((d) => writeNpy(tensor(d, [2, 3]))),
  writeNpy(tensor("f32", [])),
  writeNpy(tensor("f32", [0, 4])),
  writeNpy(tensor("f32", [7])),
]);

/** Small pictures of every kind that is read, and of some that are not. */
export async function pictures(): Promise<readonly Uint8Array[]> {
  const { default: sharp } = await import("sharp");
  const raw = Uint8Array.from({ length: 12 * 10 * 4 }, (_, i) => (i * 37) % 256);
  const picture = () => sharp(raw, { raw: { width: 12, height: 10, channels: 4 } });
  return Promise.all([
    picture().png().toBuffer(),
    picture().png({ palette: true, progressive: true }).toBuffer(),
    picture().greyscale().removeAlpha().png().toBuffer(),
    picture().removeAlpha().jpeg({ quality: 70 }).toBuffer(),
    picture().removeAlpha().jpeg({ progressive: true }).toBuffer(),
    picture().webp().toBuffer(),
    picture().webp({ lossless: true }).toBuffer(),
    picture().gif().toBuffer(),
    picture().removeAlpha().toColourspace("cmyk").jpeg().toBuffer(),
  ]);
}
