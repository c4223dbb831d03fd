// `run`: a model file or a compiled folder, real inputs, on the GPU; outputs to a file or the terminal.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { traceOf } from "../explain/profile.ts";
import type { Plan, PlanEntry, PlanTensor } from "../ir/plan.ts";
import type { Tensor } from "../ir/tensor.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { inputPaths, loadInputs, writeOutputs } from "../runtime/files-node.ts";
import { createSession, entryOf, type Session } from "../runtime/session.ts";
import type { LayerRouting } from "../routing/report.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { readBytes } from "./files.ts";
import {
  colors,
  mebibytes,
  milliseconds,
  need,
  print,
  showJson,
  sizesOf,
  type ModelFlags,
} from "./common.ts";
import { showDigits } from "./digits.ts";
import { inputSpecs, isFolder, openFolder, recordedOutputs, refuseCompileFlags } from "./folder.ts";
import { difference } from "./measure.ts";
import { entryOption, runOptions } from "./options.ts";
import { takeRows } from "./rows.ts";
import { noteTunedElsewhere } from "./tuned.ts";

export interface RunFlags extends ModelFlags {
  readonly weights?: readonly string[];
  readonly input?: readonly string[];
  readonly dim?: readonly string[];
  readonly device?: string;
  readonly entry?: string;
  readonly output?: string;
  readonly top?: string;
  readonly labels?: string;
  readonly batch?: string;
  readonly state?: string;
  readonly profile?: string;
  readonly routing?: boolean;
}

export function runCommand(program: Command): void {
  entryOption(
    runOptions(
      program.command("run <file>").description("run a .model file, or a compiled folder, on the GPU"),
    ),
  )
    .option("--output <file>", "write the outputs to a .safetensors file")
    .option("--top <k>", "print the k largest values of each row of the output")
    .option(
      "--labels <file>",
      "names for --top, one a line; or a .safetensors file with a tensor `labels`, for the accuracy",
    )
    .option("--batch <n>", "run at most n rows at a time")
    .option(
      "--state <file>",
      "begin with the states in this .safetensors file, if it is there, and write them to it after the run",
    )
    .option(
      "--profile <file>",
      "run once more, measure each dispatch, and write a trace (Chrome trace format)",
    )
    .option("--routing", "say what the routers of experts did: loads, margins, drops; with --json, as data")
    .action(run);
}

interface SplitRouting {
  readonly own: Readonly<Record<string, Tensor>>;
  readonly layers: readonly LayerRouting[];
  print(): void;
}

/** What a run needs, from a file or from a folder. Inputs and weights are checked before anything goes to the device. */
export interface Ready {
  readonly plan: Plan;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly session: Session;
  readonly device: OpenedDevice;
  /** Which of the targets that a folder was compiled for. */
  readonly variant?: string;
  /** What a folder says the outputs are, where its recorded inputs are run. */
  readonly recorded?: Readonly<Record<string, Tensor>>;
  /** With --routing: takes what was asked of the routers out of the outputs. */
  routing?(outputs: Readonly<Record<string, Tensor>>): SplitRouting;
}

async function prepare(file: string, flags: RunFlags): Promise<Ready> {
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const options = { recreate: () => device.reopen() };
  if (isFolder(file)) {
    refuseCompileFlags(file, { ...flags });
    if (flags.routing)
      throw new InputError([
        error("routing-folder", "a compiled folder has no outputs of its routers", {
          help: "give the model file, with --weights",
        }),
      ]);
    const { plan, constants, variants } = openFolder(file, device);
    noteTunedElsewhere(file, device.target);
    const inputs = await inputsFor(plan, { ...flags, input: inputSpecs(file, flags.input) });
    const recorded = flags.input === undefined ? await recordedIn(file, plan) : undefined;
    const session = await createSession(device.device, plan, constants, options);
    const which = variants.length > 1 && { variant: `${plan.target.name} of ${variants.join(", ")}` };
    return { plan, inputs, device, session, ...which, ...(recorded && { recorded }) };
  }
  // The compiler is loaded where there is something to compile.
  const { prepareModel } = await import("./run-model.ts");
  return prepareModel(file, flags, device);
}

/** The outputs that a single kernel gave when it was taken out of its model. */
async function recordedIn(folder: string, plan: Plan): Promise<Readonly<Record<string, Tensor>> | undefined> {
  const path = join(folder, recordedOutputs);
  if (!existsSync(path)) return undefined;
  const wanted = plan.entries[0]!.outputs.map((o) => ({ name: o.name, ...plain(o.tensor) }));
  return need(await loadInputs([path], wanted, {}));
}

const plain = ({ dtype, shape }: PlanTensor): Pick<PlanTensor, "dtype" | "shape"> => ({ dtype, shape });

export async function inputsFor(plan: Plan, flags: RunFlags): Promise<Readonly<Record<string, Tensor>>> {
  return need(await loadInputs(flags.input ?? [], entryOf(plan, flags.entry).inputs, dimsOf(flags)));
}

/** Sizes that are of other entry points only are left out. */
export function dimsFor(
  plan: Plan,
  entry: PlanEntry,
  dims: Readonly<Record<string, number>>,
): Record<string, number> {
  const has = (e: PlanEntry, name: string): boolean => e.symbols.some((s) => s.name === name);
  return Object.fromEntries(
    Object.entries(dims).filter(([name]) => has(entry, name) || !plan.entries.some((e) => has(e, name))),
  );
}

export function dimsOf(flags: RunFlags): Record<string, number> {
  return sizesOf(flags.dim);
}

async function run(file: string, flags: RunFlags): Promise<void> {
  const { inputs, session, device, variant, recorded, routing } = await prepare(file, flags);
  if (flags.state !== undefined) await readStates(session, flags.state, flags);
  const start = performance.now();
  const all = await inBatches(session, inputs, flags);
  const split = routing?.(all);
  const outputs = split?.own ?? all;
  const took = performance.now() - start;
  const profile = flags.profile === undefined ? undefined : await profileRun(session, device, inputs, flags);
  const off = recorded && Math.max(...Object.entries(recorded).map(([k, t]) => difference(outputs[k]!, t)));
  const labels = flags.labels === undefined ? undefined : await readLabels(flags.labels);
  if (flags.output !== undefined)
    need(
      await writeOutputs(flags.output, outputs, [...inputPaths(flags.input ?? []), ...(flags.weights ?? [])]),
    );
  if (flags.state !== undefined) await writeStates(session, flags.state, flags);
  if (flags.json)
    showJson({
      adapter: device.name,
      entry: entryOf(session.plan, flags.entry).name,
      milliseconds: took,
      stats: session.stats,
      ...(variant !== undefined && { variant: session.plan.target.name }),
      ...(split && { routing: split.layers }),
      ...(off !== undefined && { differenceFromRecorded: off }),
      outputs: Object.fromEntries(
        Object.entries(outputs).map(([k, t]) => [
          k,
          { dtype: t.dtype, shape: t.shape, ...(t.data.length <= 10000 && { data: [...t.data] }) },
        ]),
      ),
    });
  else report(outputs, inputs, labels, flags);
  if (!flags.json) {
    print();
    if (split) {
      split.print();
      print();
    }
    const { entries } = session.plan;
    if (entries.length > 1)
      print(
        `${colors.dim("entry")}  ${entryOf(session.plan, flags.entry).name} of ${entries.map((e) => e.name).join(", ")}`,
      );
    print(
      `${colors.dim("adapter")}  ${device.name}${device.software ? colors.yellow("  (software: no GPU)") : ""}`,
    );
    print(
      `${colors.dim("first run")}  ${milliseconds(took)} with ${session.stats.dispatches} dispatches, ${session.stats.kernels} kernels, arena ${mebibytes(session.stats.arenaBytes)}`,
    );
    if (variant !== undefined) print(`${colors.dim("variant")}  ${variant}`);
    if (off !== undefined)
      print(
        `${colors.dim("recorded")}  the outputs differ by at most ${off.toExponential(2)} from those recorded`,
      );
    if (profile !== undefined) print(`${colors.dim("profile")}  ${profile}`);
  }
  session.dispose();
  device.device.destroy();
}

/** States of the entry point, from a file that an earlier run wrote; where there is none they begin as the model says. */
async function readStates(session: Session, path: string, flags: RunFlags): Promise<void> {
  const { name, states } = entryOf(session.plan, flags.entry);
  if (states.length === 0)
    throw new InputError([
      error("no-state", `${name} has no state`, {
        help: "leave --state out, or declare one: state total: f32[8] = 0",
      }),
    ]);
  if (!existsSync(path)) return;
  const wanted = states.map((s) => ({ name: s.name, ...plain(s) }));
  const found = need(await loadInputs([path], wanted, dimsOf(flags)));
  for (const [state, value] of Object.entries(found)) await session.state.set(state, value);
}

async function writeStates(session: Session, path: string, flags: RunFlags): Promise<void> {
  const values: Record<string, Tensor> = {};
  for (const { name } of entryOf(session.plan, flags.entry).states)
    values[name] = await session.state.get(name);
  need(await writeOutputs(path, values, [...inputPaths(flags.input ?? []), ...(flags.weights ?? [])]));
}

/** A run of its own: measuring each dispatch costs time, so the numbers above are of the run without it. */
async function profileRun(
  session: Session,
  device: OpenedDevice,
  inputs: Readonly<Record<string, Tensor>>,
  flags: RunFlags,
): Promise<string> {
  const entry = entryOf(session.plan, flags.entry);
  const options = { dims: dimsFor(session.plan, entry, dimsOf(flags)), entry: entry.name };
  const stamped = await session.runWith(inputs, { ...options, profile: true });
  const method = stamped.nanoseconds ? "timestamps" : "wall-clock";
  const { nanoseconds = [], dims } = stamped.nanoseconds
    ? stamped
    : await session.runWith(inputs, { ...options, profile: "wall-clock" });
  const trace = traceOf(
    {
      entry: entry.name,
      target: session.plan.target,
      dims,
      doc: { adapter: device.name, method, nanoseconds },
    },
    entry.dispatches.map((d, i) => ({
      kernel: session.plan.kernels[d.kernel]!.name,
      nanoseconds: nanoseconds[i]!,
      args: {
        kernel: d.kernel,
        schedule: d.schedule,
        lines: d.locations.map((l) => `${l.file}:${l.line}`),
      },
    })),
  );
  writeFileSync(flags.profile!, JSON.stringify(trace));
  const total = nanoseconds.reduce((a, b) => a + b, 0);
  const how = method === "timestamps" ? "GPU timestamps" : "wall clock, one submit a dispatch: no timestamps";
  return `${flags.profile}: ${milliseconds(total / 1e6)} in ${nanoseconds.length} dispatches (${how})`;
}

/** Cuts along the first axis where `--batch` says so, and joins the outputs. */
export async function inBatches(
  session: Session,
  inputs: Readonly<Record<string, Tensor>>,
  flags: RunFlags,
): Promise<Readonly<Record<string, Tensor>>> {
  const dims = dimsFor(session.plan, entryOf(session.plan, flags.entry), dimsOf(flags));
  const most = flags.batch === undefined ? Infinity : Number(flags.batch);
  if (flags.batch !== undefined && !(Number.isSafeInteger(most) && most > 0))
    throw new InputError([error("batch-spec", `--batch ${flags.batch} is no number of rows`)]);
  const rows = Math.max(...Object.values(inputs).map((t) => t.shape[0] ?? 1));
  if (rows <= most) return session.run(inputs, { dims, entry: flags.entry });
  const parts: Readonly<Record<string, Tensor>>[] = [];
  for (let at = 0; at < rows; at += most)
    parts.push(
      await session.run(takeRows(inputs, at, Math.min(most, rows - at), rows), { dims, entry: flags.entry }),
    );
  return Object.fromEntries(Object.keys(parts[0]!).map((name) => [name, joined(parts.map((p) => p[name]!))]));
}

function joined(parts: readonly Tensor[]): Tensor {
  const first = parts[0]!;
  const data = first.data.constructor as new (n: number) => Tensor["data"];
  const out = new data(parts.reduce((n, p) => n + p.data.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p.data, at);
    at += p.data.length;
  }
  return {
    dtype: first.dtype,
    shape: [parts.reduce((n, p) => n + p.shape[0]!, 0), ...first.shape.slice(1)],
    data: out,
  };
}

/** Names of classes, or the right class of each row. */
type Labels =
  | { readonly kind: "names"; readonly names: readonly string[] }
  | { readonly kind: "classes"; readonly classes: Tensor };

/** More than this is no list of names. */
const MAX_LABEL_BYTES = 16 * 2 ** 20;

async function readLabels(path: string): Promise<Labels> {
  if (/\.safetensors$/.test(path)) {
    const found = need(await loadInputs([path], [{ name: "labels", dtype: "i32", shape: ["N"] }], {}));
    return { kind: "classes", classes: found["labels"]! };
  }
  const lines = readBytes(path, MAX_LABEL_BYTES).toString("utf8").split(/\r?\n/);
  return { kind: "names", names: lines.filter((l) => l !== "") };
}

function report(
  outputs: Readonly<Record<string, Tensor>>,
  inputs: Readonly<Record<string, Tensor>>,
  labels: Labels | undefined,
  flags: RunFlags,
): void {
  for (const [name, t] of Object.entries(outputs)) {
    const classes = t.shape.at(-1) ?? 1;
    const rows = t.data.length / classes;
    if (t.shape.length === 2 && (flags.top !== undefined || labels)) {
      if (labels?.kind === "classes" && name === Object.keys(outputs)[0]) {
        showDigits(inputs, t, labels.classes);
        continue;
      }
      const k = Math.min(classes, Number(flags.top ?? 1));
      for (let r = 0; r < Math.min(rows, 20); r++) {
        const row = Array.from(t.data.slice(r * classes, (r + 1) * classes)).map((v, i) => ({ v, i }));
        row.sort((a, b) => b.v - a.v || a.i - b.i);
        const best = row
          .slice(0, k)
          .map(
            ({ v, i }) =>
              `${labels?.kind === "names" ? (labels.names[i] ?? i) : i} ${colors.dim(v.toFixed(3))}`,
          );
        print(`${name}[${r}]  ${best.join("  ")}`);
      }
      if (rows > 20) print(`... ${rows - 20} more rows`);
    } else {
      let low = Infinity;
      let high = -Infinity;
      let sum = 0;
      for (const v of t.data) {
        low = Math.min(low, v);
        high = Math.max(high, v);
        sum += v;
      }
      const numbers =
        t.data.length === 0
          ? "no elements"
          : `mean ${(sum / t.data.length).toPrecision(5)}, from ${low.toPrecision(5)} to ${high.toPrecision(5)}`;
      print(`${colors.bold(name)}: ${t.dtype}[${t.shape.join(", ")}]  ${numbers}`);
    }
  }
}
