// This compiler, as a program that uses the library sees it.

import { compileModule, elaborateFile, InputError, load } from "../../src/index.ts";
import { openDevice } from "../../src/runtime/device-node.ts";
import { inputsOf, options, source, weightsOf } from "../models.ts";
import { stopwatch, type Peer } from "./peer.ts";

export const tokenloom: Peer = {
  name: "tokenloom",
  doc: "this compiler, default passes, on Dawn",
  device: "gpu",
  async prepare({ model }) {
    const opened = await openDevice();
    const file = source(model.file);
    const chosen = options(model);
    const { module: forWeights, diagnostics } = elaborateFile(file, chosen);
    if (!forWeights) throw new InputError(diagnostics);
    const graph = forWeights.graphs[0]!;
    // Made ahead of time: a program would have them from a file.
    const weights = new Map(graph.weights.map((w) => [w.key, weightsOf(graph)(w.key)]));
    const inputs = inputsOf(graph, model);

    const { parts, step } = stopwatch();
    const front = await step("parse and elaborate", () => elaborateFile(file, chosen));
    const compiled = await step("passes and kernels", () =>
      compileModule(front.module!, { ...chosen, target: opened.target }, front),
    );
    const session = await step("weights, upload, pipelines", () =>
      load(compiled, (key) => weights.get(key)!, opened.device),
    );
    await step("first run", () => session.run(inputs));
    return {
      run: () => session.run(inputs),
      firstRun: parts,
      stats: {
        adapter: opened.name,
        dispatches: compiled.plan.entries[0]!.dispatches.length,
        kernels: compiled.kernels.length,
        "peak bytes": session.stats.peakLiveBytes,
      },
      async dispose() {
        await session.dispose();
      },
    };
  },
};
