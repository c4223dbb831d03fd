// Hand-made plans: a few kernels written as WGSL in the tests, so that the runtime is tested without the compiler.

import type { Plan, PlanDispatch, PlanEntry, PlanKernel, PlanTensor } from "../../src/ir/plan.ts";
import { baseline } from "../../src/ir/target.ts";
import type { DType } from "../../src/ir/types.ts";

export function value(id: string, shape: readonly string[], dtype: DType = "f32"): PlanTensor {
  return { id, dtype, shape, axes: shape.map(() => null) };
}

export function dispatch(
  kernel: number,
  buffers: readonly string[],
  params: readonly string[] = [],
  grid: readonly [string, string, string] = ["1", "1", "1"],
): PlanDispatch {
  return {
    kernel,
    buffers,
    params,
    grid,
    locations: [{ file: "tiny.model", line: 3, column: 5, endLine: 3, endColumn: 9 }],
    nodes: [],
    schedule: "by hand",
    why: "for a test",
    flops: "0",
    bytes: "0",
  };
}

interface EntryInit {
  readonly name?: string;
  readonly symbols: readonly (string | PlanEntry["symbols"][number])[];
  readonly inputs: readonly PlanTensor[];
  readonly values: readonly PlanTensor[];
  readonly outputs: readonly string[];
  readonly states?: PlanEntry["states"];
  readonly dispatches: readonly PlanDispatch[];
}

/** Inputs and outputs are named by their ids. */
export function entryOf(init: EntryInit): PlanEntry {
  const known = [...init.inputs, ...init.values, ...(init.states ?? [])];
  return {
    name: init.name ?? "main",
    symbols: init.symbols.map((s) => (typeof s === "string" ? { kind: "bound", name: s } : s)),
    inputs: init.inputs.map((i) => ({ ...i, name: i.id })),
    outputs: init.outputs.map((id) => ({
      name: id.replace("%", ""),
      value: id,
      tensor: known.find((v) => v.id === id)!,
    })),
    states: init.states ?? [],
    values: init.values,
    dispatches: init.dispatches,
  };
}

export function planOf(
  entries: readonly PlanEntry[],
  kernels: readonly PlanKernel[],
  constants: Plan["constants"] = [],
): Plan {
  return {
    format: "tokenloom-plan",
    version: 1,
    compiler: "0.0.0",
    model: "tiny",
    settings: {},
    target: baseline,
    constants,
    kernels,
    entries,
  };
}
