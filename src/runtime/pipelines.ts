// Compute pipelines of a plan: all asked for at once, asynchronously, equal shader text compiled once. Bind group layouts are
// written out, since a layout that is derived from the shader leaves out what the shader happens not to use.

import { Bug } from "../support/bug.ts";
import { error, type Diagnostic } from "../support/diagnostic.ts";
import type { Plan, PlanKernel } from "../ir/plan.ts";
import { awaitDevice } from "./wait.ts";

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

const COMPUTE = 4;

/** One per kernel of the plan, in its order. Throws Bug for the first kernel that the device refuses. */
export async function createPipelines(
  device: GPUDevice,
  kernels: readonly PlanKernel[],
): Promise<readonly Pipeline[]> {
  const byText = new Map<string, Promise<Pipeline>>();
  const all = kernels.map((k) => {
    let made = byText.get(k.wgsl);
    if (!made) byText.set(k.wgsl, (made = compile(device, k)));
    return made;
  });
  const settled = await awaitDevice(Promise.allSettled(all));
  const refused = settled.find((s) => s.status === "rejected");
  if (refused) throw refused.reason;
  return settled.map((s) => (s as PromiseFulfilledResult<Pipeline>).value);
}

export function distinctKernels(kernels: readonly PlanKernel[]): number {
  return new Set(kernels.map((k) => k.wgsl)).size;
}

async function compile(device: GPUDevice, kernel: PlanKernel): Promise<Pipeline> {
  // What goes wrong in here makes the pipeline fail too, and is told there.
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: kernel.name, code: kernel.wgsl });
  const layout = device.createBindGroupLayout({ label: kernel.name, entries: layoutEntries(kernel.wgsl) });
  const bindGroupLayouts = [layout];
  const pipeline = device.createComputePipelineAsync({
    label: kernel.name,
    layout: device.createPipelineLayout({ label: kernel.name, bindGroupLayouts }),
    compute: { module, entryPoint: "main" },
  });
  device.popErrorScope().catch(() => undefined);
  try {
    return { pipeline: await pipeline, layout };
  } catch (e) {
    throw await refusal(kernel, module, e);
  }
}

/** What each `@binding` of the shader is, read from its declaration. */
export function layoutEntries(wgsl: string): GPUBindGroupLayoutEntry[] {
  const declared = wgsl.matchAll(
    /@group\(0\)\s*@binding\((\d+)\)\s*var<\s*(uniform|storage)\s*(?:,\s*(\w+)\s*)?>/g,
  );
  return [...declared].map(([, binding, space, access]) => ({
    binding: Number(binding),
    visibility: COMPUTE,
    buffer: {
      type: space === "uniform" ? "uniform" : access === "read_write" ? "storage" : "read-only-storage",
    },
  }));
}

/** The compiler's own message, with the line it points at and the two around it. */
async function refusal(kernel: PlanKernel, module: GPUShaderModule, cause: unknown): Promise<Bug> {
  const { messages } = await module.getCompilationInfo();
  const errors = messages.filter((m) => m.type === "error");
  const problems = errors.map((m) => `${m.lineNum}:${m.linePos}: ${m.message}\n${excerpt(kernel.wgsl, m)}`);
  const first = problems[0] ?? (cause instanceof Error ? cause.message : String(cause));
  return new Bug(
    `the device refused kernel ${kernel.name}: ${first}`,
    { kernel: kernel.name, problems: problems.join("\n"), wgsl: kernel.wgsl },
    { cause },
  );
}

function excerpt(wgsl: string, at: { readonly lineNum: number; readonly linePos: number }): string {
  const lines = wgsl.split("\n");
  const first = Math.max(1, at.lineNum - 1);
  const width = String(at.lineNum + 1).length;
  return lines
    .slice(first - 1, at.lineNum + 1)
    .flatMap((text, i) => {
      const line = `  ${String(first + i).padStart(width)} | ${text}`;
      return first + i === at.lineNum
        ? [line, `  ${" ".repeat(width)} | ${" ".repeat(Math.max(0, at.linePos - 1))}^`]
        : [line];
    })
    .join("\n");
}

// ---- does the plan fit the device? ----------------------------------------------------------------------------------

/** Every reason why the device cannot run the plan, before anything is made on it. */
export function checkDevice(device: GPUDevice, plan: Plan): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  const limits = device.limits;
  const recompile = "compile the model for this adapter";
  const over = (kernel: PlanKernel, name: keyof GPUSupportedLimits & string, value: number): void => {
    const most = limits[name] as number;
    if (value > most)
      found.push(
        error("device-limit", `kernel ${kernel.name} needs ${name} of ${value}, the adapter has ${most}`, {
          help: recompile,
        }),
      );
  };
  for (const k of plan.kernels) {
    for (const f of k.features)
      if (!device.features.has(f))
        found.push(
          error("device-feature", `kernel ${k.name} needs ${f}, which the adapter has not`, {
            help: f === "shader-f16" ? `${recompile}, without --storage f16` : recompile,
          }),
        );
    over(
      k,
      "maxComputeInvocationsPerWorkgroup",
      k.workgroupSize.reduce((a, b) => a * b, 1),
    );
    k.workgroupSize.forEach((n, i) => over(k, `maxComputeWorkgroupSize${"XYZ"[i] as "X" | "Y" | "Z"}`, n));
    over(k, "maxStorageBuffersPerShaderStage", k.buffers.length + (k.extents === undefined ? 0 : 1));
  }
  const width = plan.target.subgroupSize;
  const info = device.adapterInfo as GPUAdapterInfo | undefined;
  if (width > 0 && info && plan.kernels.some((k) => k.features.includes("subgroups"))) {
    const { subgroupMinSize: least, subgroupMaxSize: most } = info;
    if (least !== width || most !== width)
      found.push(
        error(
          "device-subgroups",
          `the plan is made for subgroups of ${width}, the adapter's are ${least === most ? least : `${least} to ${most}`} wide`,
          { help: recompile },
        ),
      );
  }
  return found;
}
