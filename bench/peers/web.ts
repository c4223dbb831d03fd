// Peers made for browsers, in Node on stock Dawn: `navigator.gpu` is what they find. They are packages of `peers/web`, which
// `npm run bench:peers` installs. Each is a program of its own there; here is what they share.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { awaitDevice } from "../../src/runtime/wait.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import type { Case } from "../cases.ts";
import { graphOf, inputsOf, onnxOf, weightsOf } from "../models.ts";
import { browser } from "./browser.ts";
import { stopwatch, type Outputs, type Peer } from "./peer.ts";

const folder = join(import.meta.dirname, "web");

/** What a program of `peers/web` exports. */
export interface Program {
  prepare(given: {
    readonly weights: Readonly<Record<string, Tensor>>;
    readonly inputs: Readonly<Record<string, Tensor>>;
    readonly onnx: Uint8Array;
    /** To wait for the device: Dawn in Node takes a whole core otherwise, and a software adapter computes on it. */
    readonly settle: typeof awaitDevice;
    readonly step: ReturnType<typeof stopwatch>["step"];
  }): Promise<{ readonly run: () => Promise<Outputs>; readonly version?: string }>;
}

/** `takes`: the ONNX export, or a network written in its API, which there is of PoolFormer-S12. */
export function web(name: string, program: string, takes: "onnx" | "poolformer", doc: string): Peer {
  return {
    name,
    doc,
    device: "gpu",
    ...(takes === "poolformer" && { fits: isPoolFormer }),
    async prepare({ model }) {
      if (!existsSync(join(folder, "node_modules")))
        throw new Error("it is not installed: npm run bench:peers");
      const counted = await browser();
      const graph = graphOf(model);
      const key = weightsOf(graph);
      const { parts, step } = stopwatch();
      const { prepare } = (await import(join(folder, program))) as Program;
      const made = await prepare({
        weights: takes === "onnx" ? {} : Object.fromEntries(graph.weights.map((w) => [w.key, key(w.key)])),
        inputs: inputsOf(graph, model),
        onnx: takes === "onnx" ? onnxOf(model) : new Uint8Array(),
        settle: awaitDevice,
        step,
      });
      const before = { ...counted };
      await made.run();
      const stats = {
        ...(made.version !== undefined && { version: made.version }),
        dispatches: counted.dispatches - before.dispatches,
        submits: counted.submits - before.submits,
      };
      return { run: made.run, firstRun: parts, stats, dispose: () => Promise.resolve() };
    },
  };
}

const isPoolFormer = ({ model }: Case): boolean =>
  model.file === "examples/poolformer.model" && model.config === "s12";
