// Worked examples as models: numbers go in and named numbers come out, on the reference in f64, the kernel interpreter and the adapter.

import { expect } from "vitest";
import { baseline, evaluate, load, type Graph, type Tensor } from "../../src/index.ts";
import type { NestedNumbers } from "../../src/ir/op.ts";
import { tensor } from "../../src/ir/tensor.ts";
import type { OpenedDevice } from "../../src/runtime/device-node.ts";
import { runPlan } from "../codegen/plan-runner.ts";
import { flatten, shapeOf } from "../ops/support.ts";
import { compileText } from "./support.ts";

export interface Case {
  readonly about: string;
  readonly model: string;
  readonly inputs: Readonly<Record<string, NestedNumbers>>;
  readonly weights?: Readonly<Record<string, NestedNumbers>>;
  readonly outputs: Readonly<Record<string, NestedNumbers>>;
  /** How near kernels in f32 come, where less than 2e-5 cannot be: a difference of near numbers, say. */
  readonly within?: number;
}

type Outputs = Readonly<Record<string, Tensor>>;

function near(got: Tensor, wanted: NestedNumbers, within: number, what: string): void {
  expect(got.shape, what).toEqual(shapeOf(wanted));
  flatten(wanted).forEach((w, i) => {
    if (got.data[i] !== w)
      expect(Math.abs(got.data[i]! - w), `${what}[${i}] is ${got.data[i]}, not ${w}`).toBeLessThan(within);
  });
}

/** What a model gives in each of the three places. */
export async function everywhere(
  c: Pick<Case, "model" | "inputs" | "weights">,
  opened: OpenedDevice,
): Promise<readonly (readonly [place: string, outputs: Outputs])[]> {
  const any = compileText(c.model, { target: baseline });
  const graph = any.module.graphs[0]!;
  const given = (name: string, x: NestedNumbers): Tensor =>
    tensor(graph.inputs.find((i) => i.name === name)!.type.dtype, shapeOf(x), flatten(x));
  const inputs = Object.fromEntries(Object.entries(c.inputs).map(([name, x]) => [name, given(name, x)]));
  const weights = weightsOf(graph, c.weights ?? {});
  const session = await load(compileText(c.model, { target: opened.target }), weights, opened.device);
  const onAdapter = await session.run(inputs);
  await session.dispose();
  return [
    ["reference", evaluate(graph, weights, inputs).outputs],
    ["interpreter", runPlan(any, weights, inputs, {}).outputs],
    ["adapter", onAdapter],
  ];
}

function weightsOf(graph: Graph, given: NonNullable<Case["weights"]>): (key: string) => Tensor {
  const dtypes = new Map(graph.weights.map((w) => [w.key, w.type.dtype]));
  return (key) => {
    const numbers = given[key];
    if (numbers === undefined) throw new Error(`the case has no weight ${key}`);
    return tensor(dtypes.get(key)!, shapeOf(numbers), flatten(numbers));
  };
}

export async function expectEverywhere(c: Case, opened: OpenedDevice): Promise<void> {
  for (const [place, outputs] of await everywhere(c, opened))
    for (const [name, wanted] of Object.entries(c.outputs))
      near(outputs[name]!, wanted, place === "reference" ? 2e-5 : (c.within ?? 2e-5), `${place}: ${name}`);
}
