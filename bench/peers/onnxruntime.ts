// onnxruntime-node with one of its execution providers, given our export of the same model with its sizes fixed.

import { graphOf, inputsOf, onnxOf } from "../models.ts";
import { fromOrtTensor, loadOrt, toOrtTensor } from "../../test/oracle/ort.ts";
import { stopwatch, type Peer } from "./peer.ts";

export function onnxruntime(name: string, provider: "webgpu" | "cpu", doc: string): Peer {
  return {
    name,
    doc,
    device: provider === "cpu" ? "cpu" : "gpu",
    async prepare({ model }) {
      const ort = loadOrt();
      const bytes = onnxOf(model);
      const inputs = inputsOf(graphOf(model), model);
      // Tensors are made once: run() of this compiler gets its inputs as they are, too.
      const feeds = Object.fromEntries(
        Object.entries(inputs).map(([input, t]) => [input, toOrtTensor(ort, t)]),
      );
      const { parts, step } = stopwatch();
      const session = await step("create session", () =>
        ort.InferenceSession.create(bytes, {
          executionProviders: [provider],
          graphOptimizationLevel: "all",
        }),
      );
      const run = async () => {
        const outputs = await session.run(feeds);
        return Object.fromEntries(Object.entries(outputs).map(([output, t]) => [output, fromOrtTensor(t)]));
      };
      await step("first run", run);
      return {
        run,
        firstRun: parts,
        stats: { version: ort.env.versions["node"] ?? "unknown", "model bytes": bytes.length },
        dispose: () => session.release(),
      };
    },
  };
}
