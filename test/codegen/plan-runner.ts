// Runs a whole plan on the kernel interpreter, weights given by key.

import { interpretPlan, type PlanResults, type PlanRunOptions } from "../../src/codegen/interpret-plan.ts";
import { packWeights, type Compiled, type Tensor } from "../../src/index.ts";
import type { DimEnv } from "../../src/ir/dim.ts";

export function runPlan(
  compiled: Compiled,
  weights: (key: string) => Tensor,
  inputs: Readonly<Record<string, Tensor>>,
  dims: DimEnv,
  options: PlanRunOptions = {},
): PlanResults {
  return interpretPlan(compiled, packWeights(compiled, weights), inputs, dims, options);
}
