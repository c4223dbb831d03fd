// The MetaFormer family in all its sizes: numbers of parameters and multiply-adds as its papers and timm have them, and names of weights.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { elaborateFile } from "../../src/index.ts";
import { constantOf, evaluateDim } from "../../src/ir/dim.ts";
import type { Graph } from "../../src/ir/graph.ts";
import { graphStats } from "../../src/ir/stats.ts";
import { resolveStd } from "./support.ts";

const graphs = new Map<string, Graph>();

function graphOf(model: string, config: string): Graph {
  const key = `${model} ${config}`;
  const graph = graphs.get(key) ?? elaborated(model, config);
  graphs.set(key, graph);
  return graph;
}

function elaborated(model: string, config: string): Graph {
  const file = model === "poolformer" ? "poolformer" : "metaformer";
  const name = `examples/${file}.model`;
  const source = { name, text: readFileSync(name, "utf8") };
  const { module, diagnostics } = elaborateFile(source, { resolve: resolveStd, model, config });
  expect(diagnostics).toEqual([]);
  return module!.graphs[0]!;
}

const billions = (n: number, digits: number): number => Number((n / 1e9).toFixed(digits));

/** Parameters, then multiply-adds at 224 x 224 in billions: of convolutions and linear layers, and of the mixing products. */
type Row = readonly [model: string, config: string, parameters: number, layers: number, mixing: number];

const basic: readonly Row[] = [
  ["poolformerv2", "s12", 11_891_712, 1.8123, 0],
  ["poolformerv2", "s24", 21_341_464, 3.3922, 0],
  ["poolformerv2", "s36", 30_791_216, 4.9722, 0],
  ["poolformerv2", "m36", 56_077_168, 8.7588, 0],
  ["poolformerv2", "m48", 73_346_056, 11.5333, 0],
];
const frozen = [235_298, 470_596, 705_894, 705_894, 941_192];
const mixing = [0.0762, 0.1524, 0.2287, 0.2766, 0.3688];

const rows: readonly Row[] = [
  ...basic,
  ...basic.map(([, config, parameters, macs]): Row => ["identityformer", config, parameters, macs, 0]),
  ...basic.map(([, config, parameters, macs], i): Row => [
    "randformer",
    config,
    parameters + frozen[i]!,
    macs,
    mixing[i]!,
  ]),
  ["convformer", "s18", 26_774_448, 3.941, 0],
  ["convformer", "s36", 40_012_152, 7.64, 0],
  ["convformer", "m36", 57_051_640, 12.842, 0],
  ["convformer", "b36", 99_882_616, 22.629, 0],
  ["caformer", "s18", 26_341_656, 3.878, 0.229],
  ["caformer", "s36", 39_297_102, 7.522, 0.45],
  ["caformer", "m36", 56_204_878, 12.701, 0.539],
  ["caformer", "b36", 98_753_614, 22.441, 0.719],
];

describe("the size of", () => {
  const first: readonly Row[] = [
    ["poolformer", "s12", 11_915_176, 1.8123, 0],
    ["poolformer", "s24", 21_388_968, 3.3922, 0],
    ["poolformer", "s36", 30_862_760, 4.9722, 0],
    ["poolformer", "m36", 56_172_520, 8.7588, 0],
    ["poolformer", "m48", 73_473_448, 11.5333, 0],
  ];
  it.each([...first, ...rows])("%s %s", (model, config, parameters, layers, products) => {
    const stats = graphStats(graphOf(model, config));
    const at = (d: typeof stats.macs) => evaluateDim(d, { B: 1, H: 224, W: 224 });
    const digits = basic.some(([, , , macs]) => macs === layers) ? 4 : 3;
    expect(constantOf(stats.parameters)).toBe(parameters);
    expect(billions(at(stats.layerMacs), digits)).toBe(layers);
    expect(billions(at(stats.macs) - at(stats.layerMacs), digits)).toBe(products);
  });

  // Convolutions, linear layers and attention together.
  it.each([
    ["convformer", "s18", 11.58],
    ["convformer", "s36", 22.45],
    ["convformer", "m36", 37.73],
    ["convformer", "b36", 66.49],
    ["caformer", "s18", 13.37],
    ["caformer", "s36", 25.98],
    ["caformer", "m36", 41.98],
    ["caformer", "b36", 72.15],
  ])("%s %s on 384 x 384", (model, config, macs) => {
    const stats = graphStats(graphOf(model, config));
    expect(billions(evaluateDim(stats.macs, { B: 1, H: 384, W: 384 }), 2)).toBe(macs);
  });
});

describe("weights have timm's names and shapes", () => {
  const shapes = (model: string, config: string): Record<string, string> =>
    Object.fromEntries(
      graphOf(model, config).weights.map((w) => [w.key, w.type.shape.map((d) => d.key).join(" ")]),
    );

  it("poolformerv2_s12", () => {
    const keys = shapes("poolformerv2", "s12");
    expect(keys).toMatchObject({
      "stem.conv.weight": "64 3 7 7",
      "stem.norm.weight": "64",
      "stages.0.blocks.1.norm1.weight": "64",
      "stages.0.blocks.1.mlp.act.scale": "1",
      "stages.0.blocks.1.mlp.act.bias": "1",
      "stages.0.blocks.1.mlp.fc1.weight": "256 64 1 1",
      "stages.1.downsample.norm.weight": "64",
      "stages.1.downsample.conv.weight": "128 64 3 3",
      "stages.2.blocks.5.res_scale1.scale": "320",
      "stages.3.blocks.0.res_scale2.scale": "512",
      "head.norm.bias": "512",
      "head.fc.weight": "1000 512",
    });
    const absent = ["stem.norm.bias", "stages.0.blocks.0.norm1.bias", "stages.1.blocks.0.res_scale1.scale"];
    for (const key of absent) expect(Object.keys(keys)).not.toContain(key);
  });

  it("caformer_s18, with convolutions in front and tokens behind", () => {
    const keys = shapes("caformer", "s18");
    expect(keys).toMatchObject({
      "stages.0.blocks.0.token_mixer.pwconv1.weight": "128 64 1 1",
      "stages.0.blocks.0.token_mixer.act1.scale": "1",
      "stages.0.blocks.0.token_mixer.dwconv.weight": "128 1 7 7",
      "stages.0.blocks.0.token_mixer.pwconv2.weight": "64 128 1 1",
      "stages.2.blocks.8.token_mixer.qkv.weight": "960 320",
      "stages.2.blocks.8.token_mixer.proj.weight": "320 320",
      "stages.2.blocks.8.mlp.fc1.weight": "1280 320",
      "stages.2.blocks.8.mlp.act.bias": "1",
      "stages.3.blocks.2.res_scale1.scale": "512",
      "head.fc.fc1.weight": "2048 512",
      "head.fc.norm.bias": "2048",
      "head.fc.fc2.weight": "1000 2048",
    });
    expect(Object.keys(keys)).not.toContain("stages.2.blocks.0.token_mixer.qkv.bias");
  });

  it("randformer_s12", () => {
    expect(shapes("randformer", "s12")).toMatchObject({
      "stages.2.blocks.0.token_mixer.random_matrix": "196 196",
      "stages.3.blocks.1.token_mixer.random_matrix": "49 49",
    });
  });
});
