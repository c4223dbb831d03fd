// onnxruntime-node with one of its execution providers, given our export of the same model with its sizes fixed.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { graphOf, hasExperts, inputsOf, onnxOf, type OnnxForm } from "../models.ts";
import { fromOrtTensor, loadOrt, toOrtTensor, type Ort, type OrtTensor } from "../../test/oracle/ort.ts";
import { median } from "../compare.ts";
import { stopwatch, type DeviceTime, type Peer } from "./peer.ts";

const PROFILED_RUNS = 8;
/** The first runs of a session do things once. */
const SETTLING_RUNS = 2;

export function onnxruntime(
  name: string,
  provider: "webgpu" | "cpu",
  doc: string,
  form: OnnxForm = "dense",
  allowed?: number,
): Peer {
  return {
    name,
    doc,
    ...(allowed !== undefined && { allowed }),
    ...(form !== "dense" && { fits: ({ model }) => hasExperts(graphOf(model)) }),
    device: provider === "cpu" ? "cpu" : "gpu",
    async prepare({ model }) {
      const ort = loadOrt();
      const bytes = onnxOf(model, form);
      const inputs = inputsOf(graphOf(model), model);
      // Tensors are made once: run() of this compiler gets its inputs as they are, too.
      const feeds = Object.fromEntries(
        Object.entries(inputs).map(([input, t]) => [input, toOrtTensor(ort, t)]),
      );
      const how = { executionProviders: [provider], graphOptimizationLevel: "all" };
      const { parts, step } = stopwatch();
      const session = await step("create session", () => ort.InferenceSession.create(bytes, how));
      const run = async () => {
        const outputs = await session.run(feeds);
        return Object.fromEntries(Object.entries(outputs).map(([output, t]) => [output, fromOrtTensor(t)]));
      };
      await step("first run", run);
      return {
        run,
        ...(provider === "webgpu" && { device: () => profiled(ort, bytes, how, feeds) }),
        firstRun: parts,
        stats: { version: ort.env.versions["node"] ?? "unknown", "model bytes": bytes.length },
        dispose: () => session.release(),
      };
    },
  };
}

interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  /** Microseconds. */
  readonly dur: number;
}

/** What its own profiler says of the kernels, by timestamps. Profiling is chosen with the session, so another one is made. */
async function profiled(
  ort: Ort,
  bytes: Uint8Array,
  how: Readonly<Record<string, unknown>>,
  feeds: Readonly<Record<string, OrtTensor>>,
): Promise<DeviceTime | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "tokenloom-profile-"));
  try {
    const session = await ort.InferenceSession.create(bytes, {
      ...how,
      enableProfiling: true,
      profileFilePrefix: join(folder, "p"),
    });
    for (let i = 0; i < PROFILED_RUNS; i++) await session.run(feeds);
    session.endProfiling();
    await session.release();
    const file = readdirSync(folder).find((f) => f.endsWith(".json"));
    if (file === undefined) return undefined;
    const events = (JSON.parse(readFileSync(join(folder, file), "utf8")) as ProfileEvent[])
      .filter((e) => e.cat === "Api")
      .sort((a, b) => a.ts - b.ts);
    const each = Math.floor(events.length / PROFILED_RUNS);
    if (each === 0) return undefined;
    // Kernels that run once, for weights, come first: the last runs are read from the end.
    const runs = Array.from({ length: PROFILED_RUNS - SETTLING_RUNS }, (_, i) =>
      events.slice(events.length - (i + 1) * each, events.length - i * each),
    );
    const rows = new Map<string, { name: string; count: number; milliseconds: number }>();
    runs[0]!.forEach((event, i) => {
      const kernel = event.name.split("&").slice(-1)[0]!;
      const row = rows.get(kernel) ?? { name: kernel, count: 0, milliseconds: 0 };
      row.count++;
      row.milliseconds += median(runs.map((r) => r[i]!.dur)) / 1e3;
      rows.set(kernel, row);
    });
    return {
      milliseconds: median(runs.map((r) => r.reduce((sum, e) => sum + e.dur, 0))) / 1e3,
      by: "timestamps of every dispatch, by its profiler",
      kernels: [...rows.values()].sort((a, b) => b.milliseconds - a.milliseconds),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
