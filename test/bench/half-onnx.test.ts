// A model's ONNX file in f16: every float in it is, its inputs and outputs are as they were, and onnxruntime's CPU provider computes
// nearly the same with it.

import { expect, it } from "vitest";
import { difference } from "../../bench/compare.ts";
import { graphOf, inputsOf, onnxOf, type Model } from "../../bench/models.ts";
import { decodeModel, elementType } from "../../src/onnx/proto.ts";
import { fromOrtTensor, loadOrt, toOrtTensor } from "../oracle/ort.ts";
import type { Tensor } from "../../src/ir/tensor.ts";

const model: Model = { file: "examples/digits_poolformer.model", dims: { B: 2 } };
const inHalf: Model = { ...model, storage: "f16" };

async function outputOf(m: Model): Promise<Tensor> {
  const ort = loadOrt();
  const session = await ort.InferenceSession.create(onnxOf(m), { executionProviders: ["cpu"] });
  const given = Object.entries(inputsOf(graphOf(m), m)).map(([name, t]) => [name, toOrtTensor(ort, t)]);
  const made = await session.run(Object.fromEntries(given));
  await session.release();
  return fromOrtTensor(Object.values(made)[0]!);
}

it("has no f32 but its inputs and outputs", () => {
  const [{ graph: wide }, { graph }] = [decodeModel(onnxOf(model)), decodeModel(onnxOf(inHalf))];
  expect(graph.input).toEqual(wide.input);
  expect(graph.output).toEqual(wide.output);
  expect(wide.initializer.some((t) => t.dataType === elementType.f32)).toBe(true);
  expect(graph.initializer.filter((t) => t.dataType === elementType.f32)).toEqual([]);
  const bytes = (of: typeof graph): number => of.initializer.reduce((sum, t) => sum + t.rawData.length, 0);
  expect(bytes(graph) / bytes(wide)).toBeCloseTo(0.5, 2);
});

it("computes the same, as near as f16 is", async () => {
  const apart = difference(await outputOf(inHalf), await outputOf(model));
  expect(apart).toBeGreaterThan(1e-6);
  expect(apart).toBeLessThan(2e-2);
});
