// Random graphs of the ops that passes look for, through the whole pipeline: verified after every pass, and the same numbers.

import { describe, expect, it } from "vitest";
import { GraphBuilder, type Attrs, type Graph, type ValueId, type Weight } from "../../src/ir/graph.ts";
import { baseline } from "../../src/ir/target.ts";
import { dim } from "../../src/ir/dim.ts";
import { tensorType } from "../../src/ir/types.ts";
import { lookupOp } from "../../src/ops/index.ts";
import { runPasses } from "../../src/passes/run.ts";
import { numbersFor, outputsOf } from "./contract.ts";

type Random = (below: number) => number;

function random(seed: number): Random {
  let state = Math.imul(seed + 1, 2654435761) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const image = tensorType("f32", ["B", 4, "H", "W"], ["batch", "channels", "height", "width"]);
const tokens = tensorType("f32", ["B", "T", 4], ["batch", "tokens", "channels"]);

/** A chain with branches: every step takes earlier values of the input's shape and makes another one. */
function randomGraph(seed: number): Graph {
  const next = random(seed);
  const isImage = next(2) === 0;
  const type = isImage ? image : tokens;
  const b = new GraphBuilder("g", lookupOp);
  const weights: Weight[] = [];
  const weight = (...shape: number[]): ValueId => {
    const key = `w${weights.length}`;
    const id = b.declare(`$${key}`, tensorType("f32", shape));
    weights.push({ id, key, type: tensorType("f32", shape), spans: [] });
    return id;
  };
  const values: ValueId[] = [b.declare("%x", type)];
  const axis = isImage ? 1 : 2;
  const channels = () =>
    isImage ? b.call("reshape", [weight(4)], { dims: b.type(image4).shape }) : weight(4);
  const image4 = b.declare("$shape", tensorType("f32", [4, 1, 1]));
  const positions = isImage ? [2, 3] : [1];
  const layer = (x: ValueId): ValueId => {
    const bias = next(3) > 0 ? weight(4) : undefined;
    if (!isImage) return b.call("linear", [x, weight(4, 4), bias]);
    const size = next(3) === 0 ? 3 : 1;
    return b.call("conv2d", [x, weight(4, 4, size, size), bias], { pad: [(size - 1) / 2, (size - 1) / 2] });
  };
  const norm = (x: ValueId): ValueId => {
    if (isImage && next(2) === 0)
      return b.call("group_norm", [x, weight(4), weight(4)], { groups: 1 + next(2) });
    if (next(2) === 0) return b.call("rms_norm", [x, weight(4)], { axis });
    return b.call("layer_norm", [x, weight(4), next(2) ? weight(4) : undefined], { axis });
  };
  const pooled = (x: ValueId, attrs: Attrs = {}): ValueId =>
    b.call("avg_pool2d", [x], { size: [3, 3], stride: [1, 1], pad: [1, 1], ...attrs });
  const last = () => values[values.length - 1 - next(Math.min(2, values.length))]!;
  const any = () => values[next(values.length)]!;
  /** Attention of two heads of width 2, its projections fused or not. */
  const attended = (x: ValueId): ValueId => {
    const heads = { dims: [dim("B"), dim("T"), dim(2), dim(2)] };
    const fused = next(2) === 0 && b.call("linear", [x, weight(12, 4)]);
    const projected = [0, 1, 2].map((i) =>
      fused
        ? b.call("slice", [fused], { axis: 2, start: 4 * i, end: 4 * i + 4 })
        : b.call("linear", [x, weight(4, 4), next(2) ? weight(4) : undefined]),
    );
    const [q, k, v] = projected.map((p) => b.call("reshape", [p], heads));
    const y = b.call("attention", [q, k, v], { causal: next(2) === 0 });
    return b.call("reshape", [y], { dims: b.type(x).shape });
  };
  /** The tokens in another order: the last one, then all but the last. */
  const turned = (x: ValueId): ValueId =>
    b.call("concat", [
      b.call("slice", [x], { axis: positions[0]!, start: -1 }),
      b.call("slice", [x], { axis: positions[0]!, start: 0, end: -1 }),
    ], { axis: positions[0]! }); // prettier-ignore
  const steps: (() => ValueId)[] = [
    () => (isImage ? turned(last()) : b.call("add", [last(), attended(norm(last()))])),
    () => (next(3) === 0 ? turned(last()) : layer(last())),
    () => layer(last()),
    () => layer(norm(last())),
    () => norm(last()),
    () => b.call("add", [any(), layer(last())]),
    () => b.call("mul", [last(), channels()]),
    () => b.call("add", [channels(), last()]),
    () => b.call("sub", [last(), channels()]),
    () => b.call(["gelu", "relu", "neg", "sigmoid"][next(4)]!, [last()]),
    () => b.call(["add", "sub", "maximum"][next(3)]!, [last(), any()]),
    () => b.call("mul", [last(), b.call("constant", [], { value: next(3) })]),
    () => b.call("add", [last(), b.call("mean", [any()], { axes: positions, keepdims: true })]),
    () => {
      if (!isImage) return b.call("softmax", [last()], { axis: 1 + next(2) });
      const n = norm(last());
      return b.call("sub", [pooled(n, { count_include_pad: next(4) === 0 }), n]);
    },
  ];
  for (let i = 0; i < 3 + next(9); i++) values.push(steps[next(steps.length)]!());
  const end = last();
  const ranges = [
    { start: 0, end: 1 },
    { start: -1 },
    { start: 1, end: 3 },
    { start: 0, step: 2 },
    { start: 1, end: -1 },
  ];
  /** A token that the numbers themselves say, another one in each sample; beyond the ends the nearest. */
  const picked = (x: ValueId): ValueId => {
    const sum = b.call("sum", [values[0]!], { axes: [1, 2], keepdims: true });
    return b.call("take_along_axis", [x, b.call("cast", [sum], { dtype: "i32" })], { axis: 1 });
  };
  const result =
    next(5) === 0 && !isImage
      ? picked(end)
      : next(2) === 0
        ? b.call("mean", [end], { axes: positions })
        : b.call("slice", [end], { axis: positions[0]!, ...ranges[next(ranges.length)] });
  const outputs = [{ name: "y", value: result, spans: [] }];
  if (next(3) === 0) outputs.push({ name: "z", value: any(), spans: [] });
  return {
    name: "g",
    symbols: type.shape.filter((d) => /^[A-Z]$/.test(d.key)).map((d) => ({ kind: "bound", name: d.key })),
    inputs: [{ id: "%x", name: "x", type, spans: [] }],
    weights,
    states: [],
    scopes: [],
    nodes: b.nodes,
    outputs,
    guards: [],
    nextId: b.nextId,
  };
}

const count = Number(process.env["PASSES_RANDOM"] ?? 150);

const fired = new Set<string>();

describe("random graphs", () => {
  it.each(Array.from({ length: count }, (_, seed) => [seed]))("seed %i", (seed) => {
    const graph = randomGraph(seed);
    const numbers = numbersFor(graph);
    const meaning = outputsOf(graph, numbers);
    const { graph: result, steps } = runPasses(graph, { target: baseline, lookup: lookupOp });
    for (const s of steps) for (const e of s.events) fired.add(e.rule);
    const after = outputsOf(result, numbers);
    const size = Math.max(...Object.values(meaning).flatMap((t) => Array.from(t.data, Math.abs)), 1e-3);
    for (const [name, a] of Object.entries(meaning)) {
      const b = after[name]!;
      const error = Math.max(...Array.from(a.data, (x, i) => Math.abs(x - b.data[i]!)));
      expect(error, name).toBeLessThanOrEqual(1e-8 * size);
    }
  });

  it("reach the rules that matter", () => {
    expect([...fired]).toEqual(
      expect.arrayContaining([
        "mixer-of-norm",
        "scale-behind-layer",
        "shift-before-layer",
        "reduction-of-layer",
        "reduction-of-sum",
        "norm-behind-layer",
        "live-positions",
        "form-reduction",
      ]),
    );
  });
});
