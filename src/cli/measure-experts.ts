// Layers of routed experts, computed one way after another, for `tune-device`.

import { compile, load, seededInput, seededTensor } from "../index.ts";
import { constantOf, dim } from "../ir/dim.ts";
import type { Target } from "../ir/target.ts";
import { estimateWays, type ExpertLayer } from "../passes/expert-cost.ts";
import type { ExpertPoint, MeasuredLayer } from "../passes/fit-experts.ts";

/** Every token has every expert, in order; what orders the rows and adds them up is measured with the products. */
const source = ({ channels, experts, tokens }: MeasuredLayer): string => `
block Gated() (x: f32[..., dim]) -> f32[..., dim] {
  gate = x |> linear(out = ${channels}, bias = false) @gate |> silu()
  up = x |> linear(out = ${channels}, bias = false) @up
  return gate * up |> linear(out = dim, bias = false) @down
}
model layer (x: f32[${tokens}, ${channels}], ids: u32[${tokens}, ${experts}]) -> f32[${tokens}, ${channels}] {
  return x |> per_expert(ids, of = Gated(), count = ${experts}) @experts |> sum(axes = [-2])
}`;

/** Compiled and ready to run; its first run is behind it. */
export interface ReadyLayer {
  readonly layer: MeasuredLayer;
  /** Milliseconds of one run: by the device's clock where it has one. */
  run(): Promise<number>;
  point(milliseconds: number): ExpertPoint;
  dispose(): Promise<void>;
}

export async function readyLayer(
  device: GPUDevice,
  target: Target,
  measured: MeasuredLayer,
): Promise<ReadyLayer> {
  const { channels, experts, tokens, way } = measured;
  const [rows, macs] = [tokens * experts, 3 * channels * channels];
  const layer: ExpertLayer = { rows: dim(rows), k: experts, experts, bytes: 4 * macs, macs };
  const compiled = compile({ name: "experts.model", text: source(measured) }, { target, experts: way });
  const shapes = new Map(
    compiled.module.graphs[0]!.weights.map((w) => [w.key, w.type.shape.map((d) => constantOf(d)!)]),
  );
  const session = await load(compiled, (key) => seededTensor(key, shapes.get(key)!, 0, "f32"), device);
  const ids = Uint32Array.from({ length: rows }, (_, i) => i % experts);
  const inputs = {
    x: seededInput("x", [tokens, channels]),
    ids: { dtype: "u32" as const, shape: [tokens, experts], data: ids },
  };
  const { tile } = estimateWays(layer, rows, target).find((e) => e.way === way)!;
  await session.run(inputs);
  return {
    layer: measured,
    async run() {
      const at = performance.now();
      const { nanoseconds } = await session.runWith(inputs, { profile: true, outputs: [] });
      return nanoseconds ? nanoseconds.reduce((a, b) => a + b, 0) / 1e6 : performance.now() - at;
    },
    point: (milliseconds) => ({ layer, rows, way, tile, milliseconds }),
    dispose: () => session.dispose(),
  };
}
