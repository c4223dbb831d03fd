// This compiler, as a program that uses the library sees it.

import { compileModule, elaborateFile, InputError, load, type Plan, type Session } from "../../src/index.ts";
import type { PlanEntry } from "../../src/ir/plan.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { usage } from "../../src/runtime/buffers.ts";
import { openDevice } from "../../src/runtime/device-node.ts";
import { bytesOfTensor, type GpuTensor } from "../../src/runtime/transfer.ts";
import { median } from "../compare.ts";
import { inputsOf, options, source, weightsOf } from "../models.ts";
import { stopwatch, type DeviceTime, type Peer } from "./peer.ts";

const PROFILED_RUNS = 10;

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
    const entry = session.plan.entries[0]!;
    let onDevice: Readonly<Record<string, GpuTensor>> | undefined;
    return {
      run: () => session.run(inputs),
      async resident() {
        onDevice ??= Object.fromEntries(
          entry.inputs.map((i) => [i.name, uploaded(opened.device, i, inputs[i.name]!)]),
        );
        const start = performance.now();
        const outputs = await session.runOnGpu(onDevice);
        const took = performance.now() - start;
        for (const t of Object.values(outputs)) t.destroy();
        return took;
      },
      device: () => profiled(session, entry, inputs),
      firstRun: parts,
      stats: {
        adapter: opened.name,
        dispatches: entry.dispatches.length,
        kernels: session.plan.kernels.length,
        "peak bytes": session.stats.peakLiveBytes,
        "host ms": session.stats.hostMilliseconds,
      },
      async dispose() {
        await session.dispose();
      },
    };
  },
};

function uploaded(device: GPUDevice, input: PlanEntry["inputs"][number], t: Tensor): GpuTensor {
  const data = bytesOfTensor(t, input.dtype, input.order);
  const buffer = device.createBuffer({
    size: data.byteLength,
    usage: usage.COPY_SRC | usage.COPY_DST | usage.STORAGE,
  });
  device.queue.writeBuffer(buffer, 0, data);
  const { dtype, shape } = t;
  return {
    ...{ dtype, shape, memoryShape: shape, device, buffer, offset: 0, bytes: data.byteLength },
    ...(input.order && { order: input.order }),
    read: () => Promise.resolve(t),
    destroy: () => buffer.destroy(),
  };
}

/** Timestamps around every dispatch, kernels of one text and schedule together. */
async function profiled(
  session: Session,
  entry: Plan["entries"][number],
  inputs: Readonly<Record<string, Tensor>>,
): Promise<DeviceTime | undefined> {
  const runs: (readonly number[])[] = [];
  for (let i = 0; i < PROFILED_RUNS; i++) {
    const { nanoseconds } = await session.runWith(inputs, { profile: true });
    if (!nanoseconds) return undefined;
    runs.push(nanoseconds);
  }
  const rows = new Map<string, { name: string; count: number; milliseconds: number; note: string }>();
  entry.dispatches.forEach((d, i) => {
    const { name } = session.plan.kernels[d.kernel]!;
    const row = rows.get(`${name} ${d.schedule}`) ?? { name, count: 0, milliseconds: 0, note: d.schedule };
    row.count++;
    row.milliseconds += median(runs.map((r) => r[i]!)) / 1e6;
    rows.set(`${name} ${d.schedule}`, row);
  });
  return {
    milliseconds: median(runs.map((r) => r.reduce((sum, n) => sum + n, 0))) / 1e6,
    by: "timestamps of every dispatch",
    kernels: [...rows.values()].sort((a, b) => b.milliseconds - a.milliseconds),
  };
}
