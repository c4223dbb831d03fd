// A compiled folder: plan.json, constants.bin, one .wgsl file for each kernel; the same in variants/NAME for every further target that it
// was compiled for. Runs without the compiler.

import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { planFormat, planVersion, type Plan } from "../ir/plan.ts";
import { runsOnCores } from "../ir/target.ts";
import type { ConstantSource } from "../runtime/constants.ts";
import { constantsFile } from "../runtime/constants-node.ts";
import type { OpenedDevice } from "../runtime/device-node.ts";
import { checkDevice } from "../runtime/pipelines.ts";
import { error, InputError, type Diagnostic } from "../support/diagnostic.ts";
import { checkPlan } from "../ir/plan-check.ts";
import { readBytes } from "./files.ts";

/** What the folder of a single kernel holds too: tensors by the names of the kernel's buffers. */
export const recordedInputs = "inputs.safetensors";
export const recordedOutputs = "outputs.safetensors";

export function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** Flags that only a compilation has a use for. */
const compileFlags = [
  "model",
  "config",
  "set",
  "without",
  "also",
  "reduce",
  "experts",
  "reroute",
  "adapter",
  "storage",
  "quantize",
  "schedule",
  "tuned",
  "weights",
] as const;

export function refuseCompileFlags(folder: string, flags: Readonly<Record<string, unknown>>): void {
  const given = compileFlags.find((name) => flags[name] !== undefined);
  if (given !== undefined)
    throw wrong(
      "folder-flag",
      `--${given} has no meaning for ${folder}, which is compiled already`,
      "give it to tokenloom compile",
    );
}

/** The inputs that were asked for, else those recorded in the folder. */
export function inputSpecs(folder: string, given: readonly string[] | undefined): readonly string[] {
  if (given !== undefined) return given;
  const path = join(folder, recordedInputs);
  return existsSync(path) ? [path] : [];
}

const VARIANTS = "variants";

/** More than this is no plan. */
const MAX_PLAN_BYTES = 256 * 2 ** 20;

/** The shaders are files of their own, to be read and edited; the plan names them. */
export function writeFolder(folder: string, plan: Plan, constants: Uint8Array): readonly string[] {
  mkdirSync(join(folder, "kernels"), { recursive: true });
  const files: string[] = [];
  const kernels = plan.kernels.map((k) => {
    const file = `kernels/${k.name}.wgsl`;
    writeFileSync(join(folder, file), k.wgsl);
    files.push(file);
    return { ...k, wgsl: file };
  });
  writeFileSync(join(folder, "plan.json"), `${JSON.stringify({ ...plan, kernels }, null, 1)}\n`);
  writeFileSync(join(folder, "constants.bin"), constants);
  return ["plan.json", "constants.bin", ...files];
}

export interface Packed {
  readonly plan: Plan;
  readonly constants: Uint8Array<ArrayBuffer>;
}

export interface Opened {
  readonly plan: Plan;
  readonly constants: ConstantSource;
}

/** One variant for each target; the first is what a reader that knows no variants takes. */
export function writeVariants(folder: string, variants: readonly Packed[]): readonly string[] {
  rmSync(join(folder, VARIANTS), { recursive: true, force: true });
  return variants.flatMap(({ plan, constants }, i) => {
    const own = i === 0 ? "" : `${VARIANTS}/${plan.target.name}/`;
    return writeFolder(join(folder, own), plan, constants).map((f) => own + f);
  });
}

/**
 * The variant for a device: of those that it can run, the one made for its target, else one made for its kind of machine. Where it can
 * run none, the first, so that the session names the limit.
 */
export function openFolder(
  folder: string,
  { device, target }: Pick<OpenedDevice, "device" | "target">,
): Opened & { readonly variants: readonly string[] } {
  const all = [readFolder(folder)];
  for (const name of variantsIn(folder)) all.push(readFolder(join(folder, VARIANTS, name)));
  const runnable = all.filter(({ plan }) => checkDevice(device, plan).length === 0);
  const suits = ({ plan }: Opened): number => {
    if (plan.target.name === target.name) return 2;
    return runsOnCores(plan.target) === runsOnCores(target) ? 1 : 0;
  };
  const best = runnable.reduce<Opened | undefined>((a, b) => (!a || suits(b) > suits(a) ? b : a), undefined);
  return { ...(best ?? all[0]!), variants: all.map(({ plan }) => plan.target.name) };
}

/** Folders with plain names; no more than anyone has targets. */
function variantsIn(folder: string): readonly string[] {
  const path = join(folder, VARIANTS);
  if (!isFolder(path)) return [];
  return readdirSync(path)
    .filter((name) => /^[\w-][\w.-]*$/.test(name) && isFolder(join(path, name)))
    .sort()
    .slice(0, 32);
}

/** The plan with its shaders; the constants stay in their file until they are asked for. */
export function readFolder(folder: string): Opened {
  const text = readBytes(join(folder, "plan.json"), MAX_PLAN_BYTES).toString("utf8");
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw wrong("plan-syntax", `${join(folder, "plan.json")} is not JSON`);
  }
  const head = data as { format?: unknown; version?: unknown };
  if (head?.format !== planFormat) throw wrong("plan-format", `${folder} holds no compiled model`);
  if (head.version !== planVersion)
    throw wrong(
      "plan-version",
      `${folder} was compiled to plan version ${String(head.version)}, this program runs version ${planVersion}`,
      "compile the model again",
    );
  const available = new Set(existsSync(join(folder, "kernels")) ? readdirSync(join(folder, "kernels")) : []);
  const problems = checkPlan(data);
  if (problems.length > 0)
    throw new InputError(
      problems.slice(0, 10).map((p): Diagnostic => error("plan-content", `${folder}: ${p}`)),
    );
  const plan = data as Plan;
  const kernels = plan.kernels.map((k) => {
    // Only plain names of this folder: a plan cannot make us read another file.
    const name = /^kernels\/([\w.-]+\.wgsl)$/.exec(k.wgsl)?.[1];
    if (name === undefined || !available.has(name))
      throw wrong("plan-content", `${folder} has no shader ${k.wgsl}`);
    return { ...k, wgsl: readBytes(join(folder, "kernels", name), 2 ** 24).toString("utf8") };
  });
  const { bytes, source } = constantsFile(join(folder, "constants.bin"));
  for (const c of plan.constants)
    if (c.offset + c.bytes > bytes)
      throw wrong(
        "plan-content",
        `constants.bin of ${folder} is cut off: ${c.id} ends at byte ${c.offset + c.bytes} of ${bytes}`,
      );
  return { plan: { ...plan, kernels }, constants: source };
}

function wrong(code: string, message: string, help?: string): InputError {
  return new InputError([error(code, message, { help })]);
}
