// `replay`: a capsule run again, here: compiled anew from its texts for the adapter it was made on, compared stage by stage, and run on this
// machine's adapter, or on the kernel interpreter where there is none that can. The capsule is not trusted: nothing of it touches a disk.

import type { Command } from "commander";
import { interpretPlan } from "../codegen/interpret-plan.ts";
import {
  compileModule,
  elaborateFile,
  packWeights,
  type CompileOptions,
  type Compiled,
  type Resolve,
  type Tensor,
} from "../index.ts";
import { evaluate } from "../ir/evaluate.ts";
import type { Plan } from "../ir/plan.ts";
import { memorySource } from "../runtime/bytes.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { extractedBytes, extractedPlan, firstDispatch, recordingPlan } from "../runtime/extract.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { openSafetensors } from "../runtime/safetensors.ts";
import { createSession, entryOf } from "../runtime/session.ts";
import { error, hasErrors, InputError } from "../support/diagnostic.ts";
import { resultsOf, stageFiles } from "./capsule.ts";
import { readRecord, type CapsuleRecord, type CapsuleResult } from "./capsule-format.ts";
import { colors, need, print, showJson } from "./common.ts";
import { kernelIndex } from "./extract.ts";
import { readBytes } from "./files.ts";
import { difference, scaleOf } from "./measure.ts";
import { weightsFor } from "./weights.ts";
import { readZip } from "./zip.ts";

interface ReplayFlags {
  readonly kernel?: string;
  readonly weights?: readonly string[];
  readonly input?: readonly string[];
  readonly device?: string;
  readonly cpu?: boolean;
  readonly json?: boolean;
}

/** Of the zip itself. */
const MAX_ZIP_BYTES = 2 ** 30;

export function replayCommand(program: Command): void {
  program
    .command("replay <zip>")
    .description(
      "run a capsule again, on this machine's adapter or on the CPU, and compare with what it recorded",
    )
    .option(
      "--kernel <kernel>",
      "only this kernel, by number or name, on the values that it had: against the interpreter",
    )
    .option("--weights <spec...>", "where the capsule has none: FILE.safetensors, NAMESPACE=FILE, or seed:N")
    .option("--input <spec...>", "where the capsule has none")
    .option("--device <name>", "auto, embedded, lavapipe, or part of an adapter's name")
    .option("--cpu", "on the kernel interpreter, whatever adapter there is")
    .option("--json", "print data instead of text")
    .action(replay);
}

/** What is run, and on what values. */
interface Ready {
  readonly record: CapsuleRecord;
  readonly compiled: Compiled;
  readonly constants: Uint8Array<ArrayBuffer>;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly meaning: ReturnType<typeof evaluate>;
  /** The first stage that is not as it was packed. */
  readonly changed: string | undefined;
}

async function replay(path: string, flags: ReplayFlags): Promise<void> {
  const ready = await prepare(path, flags);
  const { record } = ready;
  const runner = await runnerFor(ready.compiled.plan, flags);
  const text =
    flags.kernel === undefined ? await whole(ready, runner) : await oneKernel(ready, runner, flags.kernel);
  if (flags.json)
    showJson({
      ok: text.ok,
      ran: runner.name,
      changed: ready.changed,
      recorded: record.results,
      ...text.data,
    });
  else {
    print(
      `${path}: ${record.root}, entry point ${record.entry}, packed by version ${record.compiler} on ${record.adapter.name}`,
    );
    print(
      ready.changed === undefined
        ? "every stage is as it was packed"
        : `the first stage that is another now: ${ready.changed}`,
    );
    if (record.failure !== undefined) print(`then the run failed: ${record.failure}`);
    for (const line of text.lines) print(line);
    print(`${colors.dim("ran on")}  ${runner.name}`);
  }
  runner.end();
  process.exitCode = text.ok ? 0 : 1;
}

async function prepare(path: string, flags: ReplayFlags): Promise<Ready> {
  const files = readZip(readBytes(path, MAX_ZIP_BYTES), path);
  const record = readRecord(files, path);
  const textOf = (name: string): string | undefined => {
    const source = record.sources.find((s) => s.name === name);
    return source && new TextDecoder().decode(files.get(source.file));
  };
  const resolve: Resolve = (from, wanted) => {
    const found = record.imports.find((i) => i.from === from && i.path === wanted);
    const text = found && textOf(found.name);
    return found && text !== undefined
      ? { name: found.name, text }
      : { problem: `${wanted} is not in the capsule` };
  };
  const { set, without, also, schedules, models, config } = record.options;
  const options: CompileOptions = {
    ...{ resolve, set, without, also, schedules, target: record.target },
    ...(models && { models }),
    ...(config !== undefined && { config }),
  };
  const front = elaborateFile({ name: record.root, text: textOf(record.root) ?? "" }, options);
  if (hasErrors(front.diagnostics) || !front.module) throw new InputError(front.diagnostics);
  const compiled = compileModule(front.module, options, front);
  const weights = await weightsOf(compiled, record, files, flags);
  const entry = entryOf(compiled.plan, record.entry);
  const packed = record.packedInputs ? await tensorsIn(files, "inputs.safetensors", path) : undefined;
  const inputs =
    packed ??
    need(
      await loadInputs(specsOf(record.inputs, flags.input, "inputs"), entry.inputs, record.dims, {
        seedMissing: true,
      }),
    );
  const graph = compiled.module.graphs[compiled.plan.entries.indexOf(entry)]!;
  return {
    ...{ record, compiled, inputs },
    constants: packWeights(compiled, weights),
    meaning: evaluate(graph, weights, inputs, { dims: record.dims }),
    changed: firstChange(compiled, files),
  };
}

/** What was named and not packed can be made again only from its name. */
function specsOf(
  recorded: readonly string[],
  given: readonly string[] | undefined,
  what: string,
): readonly string[] {
  if (given) return given;
  if (recorded.every((s) => /(^|=)seed:/.test(s))) return recorded;
  throw new InputError([
    error(
      "capsule-values",
      `the capsule was packed without the values of its ${what}: ${recorded.join(" ")}`,
      {
        help: `give them (--${what === "inputs" ? "input" : "weights"}), or pack again with --with-${what}`,
      },
    ),
  ]);
}

async function weightsOf(
  compiled: Compiled,
  record: CapsuleRecord,
  files: ReadonlyMap<string, Uint8Array>,
  flags: ReplayFlags,
): Promise<(key: string) => Tensor> {
  const packed =
    record.packedWeights && !flags.weights
      ? await tensorsIn(files, "weights.safetensors", "the capsule")
      : undefined;
  if (!packed)
    return weightsFor(
      compiled.module,
      compiled.checkpoints,
      specsOf(record.weights, flags.weights, "weights"),
    );
  return (key) => {
    const found = Object.hasOwn(packed, key) ? packed[key] : undefined;
    if (!found) throw new InputError([error("capsule-content", `the weights of the capsule lack ${key}`)]);
    return found;
  };
}

async function tensorsIn(
  files: ReadonlyMap<string, Uint8Array>,
  name: string,
  path: string,
): Promise<Readonly<Record<string, Tensor>>> {
  const bytes = files.get(name);
  if (!bytes) throw new InputError([error("capsule-content", `${path} has no ${name}`)]);
  const store = need(await openSafetensors(memorySource(name, bytes)));
  const out: Record<string, Tensor> = {};
  for (const key of store.tensors.keys()) out[key] = need(await store.read(key));
  await store.close();
  return out;
}

/** Stages as they were packed against those of this compiler. */
function firstChange(compiled: Compiled, files: ReadonlyMap<string, Uint8Array>): string | undefined {
  for (const [name, text] of stageFiles(compiled)) {
    if (name === "source.ir") continue; // it carries the version
    const packed = files.get(name);
    if (!packed || new TextDecoder().decode(packed) !== text) return name;
  }
  return undefined;
}

// ---- where it runs --------------------------------------------------------------------------------------------------

interface Runner {
  readonly name: string;
  run(
    plan: Plan,
    compiled: Compiled,
    constants: Uint8Array<ArrayBuffer>,
    inputs: Readonly<Record<string, Tensor>>,
    dims: Readonly<Record<string, number>>,
  ): Promise<Readonly<Record<string, Tensor>>>;
  end(): void;
}

/** The adapter of this machine, where it can run what was compiled for another one; else the interpreter, and why. */
async function runnerFor(plan: Plan, flags: ReplayFlags): Promise<Runner> {
  if (flags.cpu) return onCpu("as asked for");
  let device: OpenedDevice;
  try {
    device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  } catch (e) {
    if (!(e instanceof InputError) || flags.device !== undefined) throw e;
    return onCpu("there is no adapter here");
  }
  try {
    await (
      await createSession(device.device, { ...plan, constants: [], entries: [] }, new Uint8Array())
    ).dispose();
  } catch (e) {
    if (!(e instanceof InputError)) throw e;
    device.device.destroy();
    return onCpu(`${device.name} cannot run it: ${e.diagnostics[0]!.message}`);
  }
  return {
    name: device.name,
    async run(what, _, constants, inputs, dims) {
      const session = await createSession(device.device, what, constants);
      const outputs = await session.run(inputs, { dims });
      await session.dispose();
      return outputs;
    },
    end: () => device.device.destroy(),
  };
}

function onCpu(why: string): Runner {
  return {
    name: `the kernel interpreter, on the CPU (${why})`,
    run: (plan, { kernels }, constants, inputs, dims) =>
      Promise.resolve(interpretPlan({ plan, kernels }, constants, inputs, dims).outputs),
    end: () => undefined,
  };
}

// ---- what is compared -----------------------------------------------------------------------------------------------

interface Told {
  readonly ok: boolean;
  readonly lines: readonly string[];
  readonly data: Readonly<Record<string, unknown>>;
}

async function whole({ record, compiled, constants, inputs, meaning }: Ready, runner: Runner): Promise<Told> {
  const only = onlyEntry(compiled.plan, record.entry);
  const got = await runner.run(only, compiled, constants, inputs, meaning.dims);
  const results = resultsOf(got, meaning.outputs);
  const within = (r: CapsuleResult): boolean => r.difference !== null && r.difference <= record.tolerance;
  const lines = results.map((r) => {
    const was = record.results.find((x) => x.name === r.name);
    const same =
      was === undefined
        ? ""
        : was.hash === r.hash
          ? ", the same bits as recorded"
          : `, recorded ${number(was.difference)}`;
    return `${mark(within(r))} ${r.name}  differs by at most ${number(r.difference)} from the CPU reference, f64  (values up to ${r.scale.toPrecision(3)})${same}`;
  });
  return { ok: results.every(within), lines, data: { outputs: results } };
}

/** The plan with the entry point that was recorded alone. */
function onlyEntry(plan: Plan, name: string): Plan {
  return { ...plan, entries: plan.entries.filter((e) => e.name === name) };
}

/** One kernel on the values that it had in the model, computed by the interpreter up to it. */
async function oneKernel(ready: Ready, runner: Runner, wanted: string): Promise<Told> {
  const { record, compiled, constants, inputs, meaning } = ready;
  const plan = onlyEntry(compiled.plan, record.entry);
  const at = firstDispatch(plan, plan.entries[0]!, kernelIndex(plan, wanted));
  if (!at)
    throw new InputError([
      error("unknown-kernel", `entry point ${record.entry} does not run kernel ${wanted}`),
    ]);
  const before = interpretPlan(
    { plan: recordingPlan(plan, at), kernels: compiled.kernels },
    constants,
    inputs,
    meaning.dims,
  );
  const extracted = extractedPlan(plan, at, meaning.dims);
  const values = new Map(Object.entries(before.outputs));
  for (const i of at.entry.inputs) values.set(i.id, inputs[i.name]!);
  const [own] = extracted.plan.entries;
  const given = Object.fromEntries(own!.inputs.map((i) => [i.name, values.get(extracted.values[i.name]!)!]));
  const alone = { ...compiled, kernels: [compiled.kernels[at.dispatch.kernel]!] };
  const got = await runner.run(extracted.plan, alone, extractedBytes(extracted, constants), given, {});
  const outputs = own!.outputs.map((o) => {
    const want = values.get(o.value)!;
    return { name: o.name, value: o.value, difference: difference(got[o.name]!, want), scale: scaleOf(want) };
  });
  const within = (o: (typeof outputs)[number]): boolean =>
    o.difference <= record.tolerance * Math.max(1, o.scale);
  return {
    ok: outputs.every(within),
    lines: [
      `kernel ${at.kernel.name}, dispatch ${at.index}, ${at.dispatch.schedule}`,
      ...outputs.map(
        (o) =>
          `${mark(within(o))} ${o.name} (${o.value})  differs by at most ${o.difference.toExponential(2)} from the kernel interpreter  (values up to ${o.scale.toPrecision(3)})`,
      ),
    ],
    data: { kernel: at.kernel.name, dispatch: at.index, outputs },
  };
}

function mark(ok: boolean): string {
  return ok ? colors.green("ok  ") : colors.red("BAD ");
}

function number(off: number | null): string {
  return off === null ? "more than can be said (not finite)" : off.toExponential(2);
}
