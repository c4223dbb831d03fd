// Compute pipelines of a plan: all asked for at once, asynchronously, equal shader text compiled once.

import { Bug } from "../support/bug.ts";
import type { PlanKernel } from "../ir/plan.ts";

export class Pipelines {
  readonly #pipelines: readonly GPUComputePipeline[];

  private constructor(pipelines: readonly GPUComputePipeline[]) {
    this.#pipelines = pipelines;
  }

  static async create(device: GPUDevice, kernels: readonly PlanKernel[]): Promise<Pipelines> {
    const byText = new Map<string, Promise<GPUComputePipeline>>();
    const all = kernels.map((k) => {
      let made = byText.get(k.wgsl);
      if (!made) byText.set(k.wgsl, (made = compile(device, k)));
      return made;
    });
    return new Pipelines(await Promise.all(all));
  }

  at(kernel: number): GPUComputePipeline {
    return this.#pipelines[kernel]!;
  }
}

async function compile(device: GPUDevice, kernel: PlanKernel): Promise<GPUComputePipeline> {
  const module = device.createShaderModule({ label: kernel.name, code: kernel.wgsl });
  try {
    return await device.createComputePipelineAsync({
      label: kernel.name,
      layout: "auto",
      compute: { module, entryPoint: "main" },
    });
  } catch (e) {
    const info = await module.getCompilationInfo();
    const lines = kernel.wgsl.split("\n");
    const problems = info.messages
      .filter((m) => m.type === "error")
      .map((m) => `${m.lineNum}:${m.linePos} ${m.message}\n    ${lines[m.lineNum - 1] ?? ""}`);
    throw new Bug(
      `kernel ${kernel.name} was refused: ${problems[0] ?? String(e)}`,
      { wgsl: kernel.wgsl, problems: problems.join("\n") },
      { cause: e },
    );
  }
}
