// `verify`: is the GPU's answer the model's meaning? Holds it against the CPU reference in f64 (and stored results), and where they differ
// names the first pass and its rewrite, else the first kernel, that is wrong, with its model lines.

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
import { colors, compileFile, need, print, settings, showJson } from "./common.ts";
import { findFault, type Fault } from "./fault.ts";
import { difference, measured, scaleOf, type Checked, type PassMeasure, type WorstNode } from "./measure.ts";
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
}

interface Verified {
  readonly entry: string;
  readonly outputs: readonly OutputMeasure[];
  readonly passes: readonly PassMeasure[];
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
  const outputs: OutputMeasure[] = Object.entries(meaning.outputs).map(([name, t]) => ({
    entry,
    name,
    against: "CPU reference, f64",
    difference: difference(got[name]!, t),
    scale: scaleOf(t),
  }));
  if (flags.expected !== undefined)
    outputs.push(...(await against(flags, got)).map((r) => ({ entry, ...r })));
  const passes = flags.passes ? [...measured(c)].map((m) => m.measure) : [];
  const bad = outputs.some((r) => !(r.difference <= tolerance)) || passes.some((p) => !p.ok);
  return { entry, outputs, passes, ...(bad && { fault: await findFault(c, device, tolerance) }) };
}

function showVerified(r: Verified, tolerance: number, several: boolean): void {
  const of = several ? `${r.entry}: ` : "";
  const mark = (ok: boolean): string => (ok ? colors.green("ok  ") : colors.red("BAD "));
  for (const o of r.outputs)
    print(
      `${mark(o.difference <= tolerance)} ${of}${o.name}  differs by at most ${o.difference.toExponential(2)} from the ${o.against}  (values up to ${o.scale.toPrecision(3)})`,
    );
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

function passText(p: PassMeasure): string {
  const limit = p.allowed === null ? "any" : p.allowed === 0 ? "none" : p.allowed.toExponential(0);
  return `${p.contract}, relative difference ${p.difference.toExponential(2)}, allowed ${limit}; ${p.compared} values compared`;
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
    return { name, against: flags.expected!, difference: difference(t, want), scale: scaleOf(want) };
  });
}
