// This compiler, as a program sees it that runs a compiled folder: the plan was made for the sizes of the case, with default options.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFolder } from "../../src/cli/folder.ts";
import { usage } from "../../src/runtime/buffers.ts";
import { openDevice } from "../../src/runtime/device-node.ts";
import { loadInputs } from "../../src/runtime/files-node.ts";
import { createSession, type Session } from "../../src/runtime/session.ts";
import { bytesOfTensor, type GpuTensor } from "../../src/runtime/transfer.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import { median } from "../compare.ts";
import { compileCase } from "../compiled.ts";
import { stopwatch, type DeviceTime, type Peer } from "./peer.ts";

const PROFILED_RUNS = 10;
/** Milliseconds of runs before: a card that has waited raises its clock slowly. */
const WARMING = 300;

export const tokenloom: Peer = {
  name: "tokenloom",
  doc: "this compiler, default passes, on Dawn",
  device: "gpu",
  async prepare({ name, model }) {
    const folder = mkdtempSync(join(tmpdir(), "tokenloom-bench-"));
    process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
    const compiling = await compileCase(name, folder);

    const { parts, step } = stopwatch();
    const opened = await step("open device", () => openDevice());
    const { plan, constants } = await step("read folder", () => openFolder(folder, opened));
    const session = await step("upload, pipelines", () => createSession(opened.device, plan, constants));
    const entry = plan.entries[0]!;
    const { value: inputs, diagnostics } = await loadInputs([], entry.inputs, model.dims, {
      seedMissing: true,
    });
    if (!inputs) throw new InputError(diagnostics);
    await step("first run", () => session.run(inputs));
    // What the program does itself in a run that is not the first.
    await session.run(inputs);
    let onDevice: Readonly<Record<string, GpuTensor>> | undefined;
    const there = () => (onDevice ??= uploaded(session, inputs));
    return {
      run: () => session.run(inputs),
      async resident() {
        const given = there();
        const start = performance.now();
        const outputs = await session.runOnGpu(given);
        const took = performance.now() - start;
        for (const t of Object.values(outputs)) t.destroy();
        return took;
      },
      device: () => profiled(session, there()),
      firstRun: parts,
      stats: {
        adapter: opened.name,
        dispatches: entry.dispatches.length,
        kernels: session.plan.kernels.length,
        "compile ms": compiling,
        "peak bytes": session.stats.peakLiveBytes,
        "host ms": session.stats.hostMilliseconds,
      },
      dispose: () => session.dispose(),
    };
  },
};

/** The inputs in buffers, as the first entry point wants them. */
export function uploaded(
  { device, plan }: Session,
  inputs: Readonly<Record<string, Tensor>>,
): Readonly<Record<string, GpuTensor>> {
  return Object.fromEntries(
    plan.entries[0]!.inputs.map((i) => {
      const t = inputs[i.name]!;
      const data = bytesOfTensor(t, i.dtype, i.order);
      const buffer = device.createBuffer({
        size: data.byteLength,
        usage: usage.COPY_SRC | usage.COPY_DST | usage.STORAGE,
      });
      device.queue.writeBuffer(buffer, 0, data);
      const { dtype, shape } = t;
      const there: GpuTensor = {
        ...{ dtype, shape, memoryShape: shape, device, buffer, offset: 0, bytes: data.byteLength },
        ...(i.order && { order: i.order }),
        read: () => Promise.resolve(t),
        destroy: () => buffer.destroy(),
      };
      return [i.name, there];
    }),
  );
}

/** Nanoseconds of every dispatch of one run, by timestamps; nothing is read back. */
export async function nanoseconds(
  session: Session,
  inputs: Readonly<Record<string, GpuTensor>>,
): Promise<readonly number[] | undefined> {
  return (await session.runWith(inputs, { profile: true, outputs: [] })).nanoseconds;
}

/** Kernels of one name and schedule together. */
async function profiled(
  session: Session,
  inputs: Readonly<Record<string, GpuTensor>>,
): Promise<DeviceTime | undefined> {
  for (const end = performance.now() + WARMING; performance.now() < end;) await nanoseconds(session, inputs);
  const runs: (readonly number[])[] = [];
  for (let i = 0; i < PROFILED_RUNS; i++) {
    const run = await nanoseconds(session, inputs);
    if (!run) return undefined;
    runs.push(run);
  }
  const { plan } = session;
  const rows = new Map<string, { name: string; count: number; milliseconds: number; note: string }>();
  plan.entries[0]!.dispatches.forEach((d, i) => {
    const { name } = plan.kernels[d.kernel]!;
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
