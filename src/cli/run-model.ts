// `run` of a model file: it is compiled, and its weights are packed.

import { packWeights, settleGuards } from "../index.ts";
import type { OpenedDevice } from "../runtime/device-node.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { weightSpecs } from "./adapter.ts";
import { compileFile } from "./model-file.ts";
import { printRouting, splitRouting, withRouting } from "./routing.ts";
import { inputsFor, type Ready, type RunFlags } from "./run.ts";
import { weightsFor } from "./weights.ts";

export async function prepareModel(file: string, flags: RunFlags, device: OpenedDevice): Promise<Ready> {
  const unsettled = compileFile(file, flags, device.target, flags.routing ? withRouting : undefined);
  if (!flags.weights?.length)
    throw new InputError([
      error("weights-missing", "no weights are given", {
        help: "--weights FILE.safetensors for trained ones, --weights seed:0 for numbers made from their names",
      }),
    ]);
  const inputs = await inputsFor(unsettled.plan, flags);
  const weights = await weightsFor(
    unsettled.module,
    unsettled.checkpoints,
    weightSpecs(flags.weights, flags),
  );
  const { compiled } = settleGuards(unsettled, weights);
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights), {
    recreate: () => device.reopen(),
  });
  const entry = entryOf(compiled.plan, flags.entry).name;
  const graph = compiled.module.graphs.find((g) => g.name === entry)!;
  return {
    plan: compiled.plan,
    inputs,
    session,
    device,
    ...(flags.routing && {
      routing(outputs) {
        const { own, layers } = splitRouting(graph, outputs, weights);
        return { own, layers, print: () => printRouting(layers) };
      },
    }),
  };
}
