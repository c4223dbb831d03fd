// `ir --extract`: one kernel with what it read and wrote in a run, as a folder that runs and is measured alone.

import { weightSpecs } from "./adapter.ts";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packWeights, printKernel, settleGuards } from "../index.ts";
import type { Plan } from "../ir/plan.ts";
import type { Tensor } from "../ir/tensor.ts";
import { openDevice } from "../runtime/device-node.ts";
import { extractedBytes, extractedPlan, firstDispatch, recordingPlan } from "../runtime/extract.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { writeSafetensors } from "../runtime/safetensors.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { nearest } from "../support/suggest.ts";
import { need, print, type ModelFlags } from "./common.ts";
import { compileFile } from "./model-file.ts";
import { recordedInputs, recordedOutputs, writeFolder } from "./folder.ts";
import { dimsFor, dimsOf, type RunFlags } from "./run.ts";
import { weightsFor } from "./weights.ts";

export interface ExtractFlags
  extends ModelFlags, Pick<RunFlags, "weights" | "input" | "dim" | "device" | "entry"> {
  readonly extract: string;
  readonly output?: string;
}

export async function extract(file: string, flags: ExtractFlags): Promise<void> {
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const unsettled = compileFile(file, flags, device.target);
  const entry = entryOf(unsettled.plan, flags.entry);
  const weights = await weightsFor(
    unsettled.module,
    unsettled.checkpoints,
    weightSpecs(flags.weights ?? ["seed:0"], flags),
  );
  const { compiled } = settleGuards(unsettled, weights);
  const { plan } = compiled;
  const at = firstDispatch(plan, entryOf(plan, entry.name), kernelIndex(plan, flags.extract));
  if (!at)
    throw new InputError([
      error("unknown-kernel", `entry point ${entry.name} does not run kernel ${flags.extract}`, {
        help: "choose another with --entry",
      }),
    ]);
  const folder = flags.output ?? at.kernel.name;
  if (existsSync(folder))
    throw new InputError([
      error("output-exists", `${folder} is there already`, { help: "-o names another folder" }),
    ]);
  const dims = dimsFor(plan, entry, dimsOf(flags));
  const inputs = need(await loadInputs(flags.input ?? [], entry.inputs, dims, { seedMissing: true }));
  const constants = packWeights(compiled, weights);
  const session = await createSession(device.device, recordingPlan(plan, at), constants);
  const recorded = await session.runWith(inputs, { dims, entry: entry.name });
  session.dispose();
  const extracted = extractedPlan(plan, at, recorded.dims);
  const files = writeFolder(folder, extracted.plan, extractedBytes(extracted, constants));
  const [own] = extracted.plan.entries;
  const byId = new Map(Object.entries(recorded.outputs));
  for (const i of entry.inputs) byId.set(i.id, inputs[i.name]!);
  const tensors = (list: readonly { readonly name: string }[]): Record<string, Tensor> =>
    Object.fromEntries(list.map((x) => [x.name, byId.get(extracted.values[x.name]!)!]));
  writeFileSync(join(folder, recordedInputs), writeSafetensors(tensors(own!.inputs)));
  writeFileSync(join(folder, recordedOutputs), writeSafetensors(tensors(own!.outputs)));
  writeFileSync(
    join(folder, "kernels", `${at.kernel.name}.kernel`),
    `${printKernel(compiled.kernels[at.dispatch.kernel]!).trimEnd()}\n`,
  );
  print(
    `${folder}: kernel ${at.kernel.name} as dispatch ${at.index} of ${entry.name}, ${files.length + 3} files; tokenloom run ${folder}, tokenloom bench ${folder}`,
  );
  device.device.destroy();
}

/** By number or name. */
export function kernelIndex(plan: Plan, text: string): number {
  const names = plan.kernels.map((k) => k.name);
  const at = /^\d{1,7}$/.test(text) ? Number(text) : names.indexOf(text);
  if (plan.kernels[at]) return at;
  const close = nearest(text, names);
  throw new InputError([
    error("unknown-kernel", `there is no kernel ${text} among the ${names.length} of the plan`, {
      help: close === undefined ? `there are ${names.slice(0, 12).join(", ")}` : `did you mean ${close}?`,
    }),
  ]);
}
