// `verify`: is the GPU's answer the model's meaning? Holds it against the CPU reference in f64 (and stored results), and where they differ
// names the first pass and its rewrite, else the first kernel, that is wrong, with its model lines. Where the function was changed on
// request (f16, fewer bits, fewer tokens) the distance from the model as written is what that costs, and no error: then all else is held,
// pass by pass and kernel by kernel.

import type { Command } from "commander";
import { weightSpecs } from "./adapter.ts";
import { packWeights, settleGuards } from "../index.ts";
import { evaluate } from "../ir/evaluate.ts";
import type { Tensor } from "../ir/tensor.ts";
import { openDevice, type OpenedDevice } from "../runtime/device-node.ts";
import { loadInputs } from "../runtime/files-node.ts";
import { createSession, entryOf, type Session } from "../runtime/session.ts";
import { error, InputError } from "../support/diagnostic.ts";
import { showLocation } from "../support/source.ts";
import { colors, need, print, settings, showJson } from "./common.ts";
import { compileFile } from "./model-file.ts";
import { findFault, type Fault } from "./fault.ts";
import { measureKernels, type KernelMeasure } from "./measure-kernels.ts";
import {
  difference,
  isApproximate,
  measured,
  scaleOf,
  stretches,
  type Checked,
  type PassMeasure,
  type WorstNode,
} from "./measure.ts";
import { entryOption, runOptions } from "./options.ts";
import { dimsFor, dimsOf, type RunFlags } from "./run.ts";
import { weightsFor } from "./weights.ts";

interface VerifyFlags extends RunFlags {
  readonly expected?: string;
  readonly tolerance: string;
  readonly passes?: boolean;
  readonly map?: readonly string[];
}

export function verifyCommand(program: Command): void {
  entryOption(
    runOptions(
      program.command("verify <file>").description("hold the GPU's answer against the CPU reference"),
    ),
    "verify only this entry point",
  )
    .option("--expected <file>", "a .safetensors file with the right outputs")
    .option("--map <output=tensor...>", "names in --expected, where they are not the outputs' own")
    .option("--tolerance <t>", "largest absolute difference allowed", "1e-4")
    .option("--passes", "measure every pass against its numerics contract, in f64")
    .action(verify);
}

async function verify(file: string, flags: VerifyFlags): Promise<void> {
  const tolerance = Number(flags.tolerance);
  if (!(tolerance > 0))
    throw new InputError([error("tolerance-spec", `--tolerance ${flags.tolerance} is no positive number`)]);
  const device = await openDevice(flags.device === undefined ? {} : { device: flags.device });
  const unsettled = compileFile(file, flags, device.target);
  const weights = await weightsFor(
    unsettled.module,
    unsettled.checkpoints,
    weightSpecs(flags.weights ?? ["seed:0"], flags),
  );
  const { compiled } = settleGuards(unsettled, weights);
  const { entries } = compiled.plan;
  const chosen = flags.entry === undefined ? entries : [entryOf(compiled.plan, flags.entry)];
  if (flags.expected !== undefined && chosen.length > 1)
    throw new InputError([
      error("which-entry", "--expected is of one entry point, and there are several", {
        help: `choose one with --entry: ${chosen.map((e) => e.name).join(", ")}`,
      }),
    ]);
  const session = await createSession(device.device, compiled.plan, packWeights(compiled, weights));
  const results: Verified[] = [];
  for (const entry of chosen) {
    const dims = dimsFor(compiled.plan, entry, dimsOf(flags));
    const inputs = need(await loadInputs(flags.input ?? [], entry.inputs, dims, { seedMissing: true }));
    const checked: Checked = { compiled, entry: entries.indexOf(entry), weights, inputs, dims };
    results.push(await verifyEntry(checked, device, session, flags, tolerance));
  }
  await session.dispose();
  const bad = results.some((r) => r.fault !== undefined);
  if (flags.json)
    showJson({
      ok: !bad,
      adapter: device.name,
      tolerance,
      outputs: results.flatMap((r) => r.outputs),
      passes: results.flatMap((r) => r.passes),
      kernels: results.flatMap((r) => r.kernels.map((k) => ({ entry: r.entry, ...k }))),
      fault: results.find((r) => r.fault)?.fault,
    });
  else {
    for (const r of results) showVerified(r, tolerance, chosen.length > 1);
    print(`${colors.dim("adapter")}  ${device.name}${device.software ? "  (software: no GPU)" : ""}`);
  }
  device.device.destroy();
  process.exitCode = bad ? 1 : 0;
}

interface OutputMeasure {
  readonly entry: string;
  readonly name: string;
  readonly against: string;
  readonly difference: number;
  readonly scale: number;
  /** Is it held to the tolerance? Otherwise it is what was asked for that makes the difference. */
  readonly held: boolean;
}

interface Verified {
  readonly entry: string;
  readonly outputs: readonly OutputMeasure[];
  readonly passes: readonly PassMeasure[];
  /** Where outputs alone say too little. */
  readonly kernels: readonly KernelMeasure[];
  readonly fault?: Fault;
}

async function verifyEntry(
  c: Checked,
  device: OpenedDevice,
  session: Session,
  flags: VerifyFlags,
  tolerance: number,
): Promise<Verified> {
  const entry = c.compiled.plan.entries[c.entry]!.name;
  const meaning = evaluate(c.compiled.module.graphs[c.entry]!, c.weights, c.inputs, { dims: c.dims });
  const got = await session.run(c.inputs, { dims: c.dims, entry });
  const approximate = isApproximate(c);
  const from = (wanted: Tensors, against: string, held: boolean): OutputMeasure[] =>
    Object.entries(wanted).map(([output, t]) => ({
      ...{ entry, name: output, against, held },
      ...{ difference: difference(got[output]!, t), scale: scaleOf(t) },
    }));
  const alone = approximate ? await measureKernels(c, device, tolerance) : undefined;
  const outputs = [
    ...from(meaning.outputs, approximate ? "model as written, f64" : "CPU reference, f64", !approximate),
    ...(alone ? from(alone.outputs, "same kernels one by one", true) : []),
    ...(flags.expected !== undefined ? (await against(flags, got)).map((r) => ({ entry, ...r })) : []),
  ];
  const steps = flags.passes ? c.compiled.steps[c.entry]! : approximate ? stretches(c) : [];
  const passes = steps.length > 0 ? [...measured(c, steps)].map((m) => m.measure) : [];
  const kernels = alone?.measures ?? [];
  const bad =
    outputs.some((r) => !isRight(r, tolerance)) || passes.some((p) => !p.ok) || kernels.some((k) => !k.ok);
  return { entry, outputs, passes, kernels, ...(bad && { fault: await findFault(c, device, tolerance) }) };
}

type Tensors = Readonly<Record<string, Tensor>>;

const isRight = (o: OutputMeasure, tolerance: number): boolean => !o.held || o.difference <= tolerance;

function showVerified(r: Verified, tolerance: number, several: boolean): void {
  const of = several ? `${r.entry}: ` : "";
  const mark = (ok: boolean): string => (ok ? colors.green("ok  ") : colors.red("BAD "));
  for (const o of r.outputs)
    print(
      `${o.held ? mark(isRight(o, tolerance)) : "cost"} ${of}${o.name}  differs by at most ${o.difference.toExponential(2)} from the ${o.against}  (values up to ${o.scale.toPrecision(3)})`,
    );
  if (r.kernels.length > 0) print(kernelsText(r.kernels, of, mark));
  for (const p of r.passes.filter((x) => x.changed)) {
    print(`${mark(p.ok)} ${of}pass ${p.pass}: ${passText(p)}`);
    if (p.worst) print(colors.dim(`       most in ${worstText(p.worst)}`));
  }
  const idle = r.passes.filter((x) => !x.changed).map((p) => p.pass);
  if (idle.length > 0) print(colors.dim(`     ${of}nothing to do for ${idle.join(", ")}`));
  if (r.fault) {
    print(colors.bold(r.fault.text));
    for (const line of r.fault.before ?? []) print(`  - ${line}`);
    for (const line of r.fault.after ?? []) print(`  + ${line}`);
  }
}

function kernelsText(kernels: readonly KernelMeasure[], of: string, mark: (ok: boolean) => string): string {
  const share = (k: KernelMeasure): number => k.difference / k.allowed;
  const worst = kernels.reduce((a, b) => (share(b) > share(a) ? b : a));
  const wrong = kernels.filter((k) => !k.ok).length;
  const text = `${kernels.length} results of kernels, each against f64 on the numbers its kernel read`;
  const most = `${worst.kernel} is off most, by ${worst.difference.toExponential(2)} of ${worst.allowed.toExponential(2)} allowed`;
  return `${mark(wrong === 0)} ${of}${text}: ${wrong === 0 ? "" : `${wrong} wrong, `}${most}`;
}

function passText(p: PassMeasure): string {
  const limit = p.allowed === null ? "any" : p.allowed === 0 ? "none" : p.allowed.toExponential(0);
  const rounds = p.unrounded === undefined ? "" : ` by rounding, else ${p.unrounded.toExponential(2)}`;
  return `${p.contract}, relative difference ${p.difference.toExponential(2)}${rounds}, allowed ${limit}; ${p.compared} values compared`;
}

function worstText({ node, difference: off, locations }: WorstNode): string {
  const made = /^.*? = \S+/.exec(node)?.[0] ?? node;
  return `${made}: ${off.toExponential(2)}${locations.length > 0 ? `, ${locations.map(showLocation).join(", ")}` : ""}`;
}

async function against(
  flags: VerifyFlags,
  got: Readonly<Record<string, Tensor>>,
): Promise<Omit<OutputMeasure, "entry">[]> {
  const names = settings(flags.map);
  const wanted = Object.entries(got).map(([name, t]) => ({
    name: names[name] ?? name,
    dtype: t.dtype,
    shape: t.shape.map(String),
  }));
  const expected = need(await loadInputs([flags.expected!], wanted, {}));
  return Object.entries(got).map(([name, t]) => {
    const want = expected[names[name] ?? name]!;
    return {
      name,
      against: flags.expected!,
      difference: difference(t, want),
      scale: scaleOf(want),
      held: true,
    };
  });
}
